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
"""int8 on oneDNN: what must run, and the mistakes that must be caught.

On PicoDet-S with conv2d quantized, 65 convolutions run in int8 and the 33
depthwise ones in fp32.
"""

import dataclasses
import json
import os

import pytest
from act import data, int8_check, predictor
from act.config import CpuSection
from act.errors import UserError
from act.program.model import ModelFiles
from conftest import run_script


@pytest.fixture(scope='module')
def feed(settings):
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    return {k: batch[k] for k in ('image', 'scale_factor')}


@pytest.fixture(scope='module')
def plan(int8_model):
    return predictor.plan(ModelFiles(int8_model), CpuSection(), threads=1)


def test_all_that_training_quantized_runs_in_int8(plan, feed):
    assert plan.precision == 'int8' and plan.mkldnn
    count = int8_check.run(plan, feed)
    assert (count.int8, count.fp32) == (65, 33)
    assert (count.depthwise_int8, count.depthwise_fp32) == (0, 33)
    assert int8_check.failures(plan, count) == []
    assert int8_check.fields(plan, count)['int8_convs_ran'] == 65


def test_conv2d_alone_is_refused(int8_model):
    with pytest.raises(UserError, match="'fused_conv2d' is missing"):
        predictor.plan(ModelFiles(int8_model), CpuSection(int8_ops=['conv2d']))


def test_conv2d_alone_is_caught_by_the_count(int8_model, feed):
    # In a network the set is of no effect.
    plain = predictor.plan(ModelFiles(int8_model),
                           CpuSection(),
                           threads=1,
                           rewrites=())
    wrong = dataclasses.replace(plain, op_types=['conv2d'])
    count = int8_check.run(wrong, feed)
    assert count.int8 < 65
    assert 'training quantized 65' in int8_check.failures(wrong, count)[0]


def test_operators_that_training_did_not_quantize_are_refused(int8_model):
    with pytest.raises(UserError, match="'matmul' was not quantized"):
        predictor.plan(
            ModelFiles(int8_model),
            CpuSection(int8_ops=['conv2d', 'fused_conv2d', 'matmul']))


def test_the_default_set_is_refused(plan):
    with pytest.raises(UserError, match='operator types named'):
        predictor.build_config(dataclasses.replace(plan, op_types=[]))


def test_observers_left_in_are_caught_by_the_count(plan, int8_model, feed):
    wrong = dataclasses.replace(plan, files=ModelFiles(int8_model))
    try:
        count = int8_check.run(wrong, feed)
    except UserError as error:
        # The same unprepared program also holds an integer-valued weight.
        assert 'threshold information' in str(error)
        return
    assert count.int8 != 65
    assert int8_check.failures(wrong, count)


def test_observers_alone_are_caught_by_the_count(plan, int8_model, feed,
                                                 tmp_path):
    """Everything prepared but the observers: depthwise goes int8 too."""
    from act.program import cpu
    from act.program.model import Model
    model = Model.load(ModelFiles(int8_model))
    cpu.mend_integer_weights(model)
    files = ModelFiles(str(tmp_path / 'observers'))
    model.save(files)
    wrong = dataclasses.replace(plan, files=files)
    count = int8_check.run(wrong, feed)
    assert count.int8 != 65 and count.depthwise_int8 > 0
    assert 'training quantized 65' in int8_check.failures(wrong, count)[0]


def test_precisions_a_model_does_not_have(float_model, int8_model):
    with pytest.raises(UserError, match='holds no quantization'):
        predictor.plan(ModelFiles(float_model), CpuSection(), precision='int8')
    with pytest.raises(UserError, match='is quantized'):
        predictor.plan(ModelFiles(int8_model), CpuSection(), precision='bf16')
    with pytest.raises(UserError, match='needs oneDNN'):
        predictor.plan(ModelFiles(int8_model),
                       CpuSection(),
                       precision='int8',
                       mkldnn=False)


def test_bf16_needs_the_cpu(float_model, monkeypatch):
    monkeypatch.setattr(predictor.runtime, 'cpu_extensions', lambda: ['avx2'])
    with pytest.raises(UserError, match='no AVX-512'):
        predictor.plan(ModelFiles(float_model), CpuSection(), precision='bf16')


def test_bf16_that_ran_in_fp32_is_caught(plan):
    from act import onednn
    wanted = dataclasses.replace(plan, precision='bf16')
    assert int8_check.failures(wanted, onednn.LayerCount(fp32=98))
    assert not int8_check.failures(wanted, onednn.LayerCount(bf16=98))


def test_auto_is_what_the_model_is(float_model, int8_model):
    assert predictor.plan(ModelFiles(float_model),
                          CpuSection()).precision == 'fp32'
    simulated = predictor.plan(ModelFiles(int8_model),
                               CpuSection(),
                               precision='fp32')
    assert simulated.precision == 'simulated_int8' and not simulated.mkldnn


def test_unknown_pass_is_an_error(float_model):
    with pytest.raises(UserError, match="did you mean 'conv_bn_fuse_pass'"):
        predictor.plan(ModelFiles(float_model),
                       CpuSection(deleted_passes=['conv_bn_fuse_pas']),
                       threads=1)


def test_a_pass_of_another_precision_is_none(float_model):
    """A configuration serves int8 and the float model it is compared with."""
    plan = predictor.plan(ModelFiles(float_model),
                          CpuSection(deleted_passes=['cpu_quantize_pass']),
                          threads=1)
    predictor.build_config(plan)


def test_native_and_onednn_agree(float_model, feed):
    import numpy as np
    outputs = []
    for mkldnn in (False, True):
        plan = predictor.plan(ModelFiles(float_model),
                              CpuSection(),
                              mkldnn=mkldnn,
                              threads=1)
        outputs.append(predictor.Predictor(plan).run(feed)[0])
    # Rows may swap where scores tie to the last digit.
    for one in outputs:
        one.sort(axis=0)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-2)


def test_a_cpu_without_vnni(int8_model, settings, tmp_path):
    """As oneDNN sees one: all runs in int8 still, and the tool says that float
    is faster. In a process of its own, for oneDNN reads the limit once."""
    record = tmp_path / 'record.json'
    done = run_script('paddle_inference_eval.py',
                      '--model_path',
                      int8_model,
                      '--num_images',
                      '8',
                      '--output_dir',
                      str(tmp_path / 'out'),
                      '--output_json',
                      str(record),
                      '-o',
                      'Reader.dataset_dir=' + settings.Reader.dataset_dir,
                      env=dict(os.environ, ONEDNN_MAX_CPU_ISA='AVX2'))
    assert done.returncode == 0, done.stderr
    assert 'no VNNI: run the float model with --precision fp32' in done.stdout
    found = json.loads(record.read_text())
    assert found['int8_convs_ran'] == found['int8_convs_expected'] == 65
    assert found['rewrites']['join_layers'] == 0
    assert found['cpu_extensions'] == ['avx2']
    assert found['map'] > 30


def test_precisions_that_are_slower(plan, monkeypatch):
    for extensions, slow in ((['avx2'], {'int8', 'bf16'}),
                             (['avx2', 'avx512f', 'avx512_vnni'], {'bf16'}),
                             (['avx512_vnni', 'avx512_bf16'], set())):
        monkeypatch.setattr(predictor.runtime,
                            'cpu_extensions',
                            lambda e=extensions: e)
        for precision in ('fp32', 'int8', 'bf16'):
            reason = predictor.slower_than_fp32(
                dataclasses.replace(plan, precision=precision))
            assert bool(reason) == (precision in slow)
            assert not reason or '--precision fp32' in reason
