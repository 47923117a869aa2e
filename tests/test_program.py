# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Programs: loading, what is quantized, and rewrites that keep the outputs."""

import os
import shutil

import numpy as np
import pytest
from act import predictor
from act.config import CpuSection
from act.errors import UserError
from act.program import cpu, inspect, observers
from act.program.model import Model, ModelFiles


def simulate(files, feed):
    plan = predictor.plan(files, CpuSection(), precision='fp32', threads=1)
    return predictor.Predictor(plan).run(feed)


@pytest.fixture(scope='module')
def feed(settings):
    from act import data
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:2])
    return {k: batch[k] for k in ('image', 'scale_factor')}


def test_load_and_save_keep_the_model(float_model, tmp_path):
    files = ModelFiles(float_model)
    model = Model.load(files)
    copy = ModelFiles(str(tmp_path / 'copy'))
    model.save(copy)
    again = Model.load(copy)
    assert [op.type for op in again.ops] == [op.type for op in model.ops]
    for var in model.persistable():
        np.testing.assert_array_equal(model.parameter(var.name),
                                      again.parameter(var.name))
    # No operators are added by a round, however many there are.
    again.save(ModelFiles(str(tmp_path / 'copy')))
    assert len(Model.load(copy).ops) == len(model.ops)
    assert sorted(model.inputs()) == ['image', 'scale_factor']


def test_bad_models(float_model, tmp_path):
    files = ModelFiles(str(tmp_path / 'm'))
    with pytest.raises(UserError, match='does not exist'):
        Model.load(files)
    shutil.copytree(float_model, files.directory)
    with open(files.params_path, 'r+b') as f:
        f.truncate(100000)
    with pytest.raises(UserError, match='truncated, or of another model'):
        Model.load(files)
    with open(files.model_path, 'r+b') as f:
        f.truncate(1000)
    with pytest.raises(UserError, match='not a Paddle inference program'):
        Model.load(files)
    os.truncate(files.model_path, 0)
    with pytest.raises(UserError, match='is empty'):
        Model.load(files)
    os.remove(files.params_path)
    with pytest.raises(UserError, match='is empty|does not exist'):
        Model.load(files)


def test_what_is_quantized(float_model, int8_model):
    assert not inspect.is_quantized(Model.load(ModelFiles(float_model)))
    model = Model.load(ModelFiles(int8_model))
    assert inspect.is_quantized(model)
    # PicoDet-S: 65 convolutions; its 33 depthwise ones stay float.
    assert inspect.count_types(inspect.quantized_ops(model)) == {'conv2d': 65}
    assert inspect.count_types(model.ops)['depthwise_conv2d'] == 33


def test_stripping_observers_changes_no_bit(int8_model, feed, tmp_path):
    files = ModelFiles(int8_model)
    model = Model.load(files)
    before = len(model.ops)
    removed = observers.strip_observers(model)
    assert removed > 300 and len(model.ops) == before - removed
    assert not any(inspect.is_observer(op) for op in model.ops)
    assert inspect.count_types(inspect.quantized_ops(model)) == {'conv2d': 65}
    stripped = ModelFiles(str(tmp_path / 'stripped'))
    model.save(stripped)
    for a, b in zip(simulate(files, feed), simulate(stripped, feed)):
        np.testing.assert_array_equal(a, b)
    assert observers.strip_observers(model) == 0


def test_a_reader_gets_the_pair_written_before_it():
    """An activation that is quantized and observed has two pairs that write
    the same names (what PaddleSlim's convert leaves)."""
    from act import runtime
    paddle = runtime.import_paddle()
    paddle.enable_static()
    try:
        program = paddle.static.Program()
        block = program.global_block()
        for name in ('x', 's', 'z', 'q', 'd', 'a', 'b'):
            block.create_var(name=name, shape=[1], dtype='float32')

        def pair(observer):
            for kind, source, target in (('quantize', 'x', 'q'), ('dequantize',
                                                                  'q', 'd')):
                block.append_op(type=kind + '_linear',
                                inputs={
                                    'X': source,
                                    'Scale': 's',
                                    'ZeroPoint': 'z'
                                },
                                outputs={'Y': target},
                                attrs={
                                    'only_observer': observer,
                                    'bit_length': 8,
                                    'quant_axis': -1
                                })

        pair(True)
        block.append_op(type='relu', inputs={'X': 'd'}, outputs={'Out': 'a'})
        pair(False)
        block.append_op(type='relu', inputs={'X': 'd'}, outputs={'Out': 'b'})
        model = Model(program, paddle.static.Scope())
        assert observers.strip_observers(model) == 2
        first, quantize, dequantize, second = model.ops
        assert first.input('X') == ['x']
        assert quantize.input('X') == ['x']
        assert dequantize.input('X') == ['q']
        assert second.input('X') == ['d']
    finally:
        paddle.disable_static()


def test_float_operators_are_marked(int8_model):
    model = Model.load(ModelFiles(int8_model))
    observers.strip_observers(model)
    cpu.mark_float_ops(model)
    marked = [
        op.type for op in model.ops
        if op.has_attr('skip_quant') and op.attr('skip_quant') == 1
    ]
    assert marked.count('depthwise_conv2d') == 33
    assert marked.count('conv2d') == 0


def test_integer_weights_are_mended(int8_model):
    model = Model.load(ModelFiles(int8_model))
    names = [
        v.name for v in model.persistable()
        if model.parameter(v.name).tolist() == list(range(8))
    ]
    assert len(names) == 1  # the projection 0..7 of PicoDet's head
    assert cpu.mend_integer_weights(model) == names
    value = model.parameter(names[0])
    assert not np.array_equal(value, np.rint(value))
    np.testing.assert_allclose(value, np.arange(8), rtol=2e-7)
    assert cpu.mend_integer_weights(model) == []


def test_zero_weights_are_mended(float_model):
    model = Model.load(ModelFiles(float_model))
    name = next(
        op.input('Filter')[0] for op in model.ops if op.type == 'conv2d')
    model.set_parameter(name, np.zeros_like(model.parameter(name)))
    assert name in cpu.mend_integer_weights(model)
    value = model.parameter(name)
    assert 0 < np.abs(value).max() < 1e-29


@pytest.mark.parametrize('halves', [True, False])
def test_preparation(int8_model, halves):
    model = Model.load(ModelFiles(int8_model))
    done = cpu.prepare(model, cpu.Target(int8=True, int8_fc=True), halves)
    assert list(done) == [
        'strip_observers', 'mark_float_ops', 'mend_integer_weights', 'to_int8',
        'dequantize_weights', 'shift_to_unsigned'
    ] + ['round_to_even'] * halves
    assert done['to_int8'] == done['dequantize_weights'] == 0
    # All but the stem, which reads the image.
    assert done['shift_to_unsigned'] > 40


def test_cleaning_keeps_what_is_computed(int8_model, feed, tmp_path):
    files = ModelFiles(int8_model)
    model = Model.load(files)
    assert observers.strip_observers(model)
    assert cpu.mark_float_ops(model)
    cpu.mend_integer_weights(model)
    prepared = ModelFiles(str(tmp_path / 'prepared'))
    model.save(prepared)
    # The same but for the moved ULP.
    for a, b in zip(simulate(files, feed), simulate(prepared, feed)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2)


def test_preparation_leaves_the_users_model_alone(int8_model, cache):
    files = ModelFiles(int8_model)
    before = {
        n: os.stat(os.path.join(int8_model, n)).st_mtime_ns
        for n in os.listdir(int8_model)
    }
    target = cpu.Target(int8=True)
    prepared = cpu.prepared(files, target).files
    assert prepared.directory.startswith(str(cache))
    after = {
        n: os.stat(os.path.join(int8_model, n)).st_mtime_ns
        for n in os.listdir(int8_model)
    }
    assert after == before
    stamp = os.stat(prepared.model_path).st_mtime_ns
    assert cpu.prepared(files, target).files == prepared
    assert os.stat(prepared.model_path).st_mtime_ns == stamp
