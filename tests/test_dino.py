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
"""DINO: what is mended in ppdet, its export, and folding for one size. All on a
network of DINO's parts that is small enough to export in seconds."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml
from act import config, mends, runtime
from act.errors import UserError
from act.program.fold import fold
from act.program.model import Model, ModelFiles, static_mode
from conftest import PROJECT, ROOT, run_script

SIZES = ('64x96', '96x64', '70x110')
BASE = os.path.join(PROJECT, 'configs', 'models', '_base_', 'dino_r50.yml')
SMALL = {
    'hidden_dim': 32,
    'num_classes': 4,
    'ResNet': {
        'depth': 18,
        'norm_type': 'bn',
        'freeze_at': 0,
        'return_idx': [1, 2, 3],
        'num_stages': 4
    },
    'DINOTransformer': {
        'num_queries': 12,
        'nhead': 4,
        'num_encoder_layers': 1,
        'num_decoder_layers': 1,
        'dim_feedforward': 32
    },
    'DETRBBoxPostProcess': {
        'num_top_queries': 10
    },
    'DETRPostProcess': {
        'num_top_queries': 10
    }
}


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """Path of the small network's ppdet configuration."""
    folder = tmp_path_factory.mktemp('dino')
    labels = folder / 'labels.txt'
    labels.write_text('a\nb\nc\nd\n')
    content = dict(SMALL, _BASE_=[BASE])
    path = folder / 'small_dino.yml'
    path.write_text(
        yaml.safe_dump(content) +
        'TestDataset: !ImageFolder {anno_path: %s}\n' % labels)
    return str(path)


@pytest.fixture(scope='module')
def compared(small, tmp_path_factory):
    """Directory that benchmarks/export_equality.py worked in: its result.json,
    random weights, and the network exported for any size."""
    folder = tmp_path_factory.mktemp('compared')
    done = subprocess.run([
        sys.executable,
        os.path.join(ROOT, 'benchmarks', 'export_equality.py'), '-c', small,
        '--work_dir',
        str(folder), '--output_json',
        str(folder / 'result.json'), '--sizes', *SIZES
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope='module')
def exported(small, compared, tmp_path_factory):
    """Directories of the small network: for any size, and for 64 x 96."""
    one = str(tmp_path_factory.mktemp('models') / 'one')
    done = run_script('export.py', '-c', small, '--save_dir', one,
                      '--input_size', '64', '96', '-o',
                      'weights=%s' % (compared / 'random.pdparams'))
    assert done.returncode == 0, done.stderr
    assert 'folded: ' in done.stdout
    return {'any': str(compared / SIZES[0]), 'one': one}


def feed(height=64, width=96):
    draw = np.random.RandomState(0)
    return {
        'image': draw.randn(1, 3, height, width).astype(np.float32),
        'im_shape': np.array([[height, width]], np.float32),
        'scale_factor': np.array([[0.8, 1.25]], np.float32)
    }


def outputs(model, inputs):
    paddle = runtime.import_paddle()
    with static_mode(paddle):
        return paddle.static.Executor(paddle.CPUPlace()).run(
            model.program,
            feed=inputs,
            fetch_list=model.outputs(),
            scope=model.scope)


def test_the_method_fails_without_its_mend():
    """The same small network, with ppdet's own method and with ours."""
    code = '''
        import sys
        sys.path[:0] = [%r, %r]
        import check
        from act import mends, runtime
        mended = mends.mend_ppdet
        mends.mend_ppdet = lambda: []
        runtime.import_ppdet()
        names = 'dino', 'deformable'
        before = [check.call(n) for n in names]
        done = mended()
        print([before, done, mended(), [check.call(n) for n in names]])
    ''' % (PROJECT, os.path.join(ROOT, 'patches'))
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)
    assert done.returncode == 0, done.stderr
    before, replaced, again, after = yaml.safe_load(
        done.stdout.strip().splitlines()[-1])
    for calls in before:
        assert set(calls) == {'dygraph', 'dynamic', 'fixed'}
        assert all('axis is expected to be in range of [0, 0)' in said
                   for said in calls.values()), before
    assert replaced == [
        'dino_transformer.DINOTransformer._get_encoder_input',
        'deformable_transformer.DeformableTransformer.forward'
    ]
    assert again == []
    for calls in after:
        assert not any(calls.values()), after


UNPACKED = '''
bs, _, h, w = {}
spatial_shapes.append(paddle.concat([h, w]))
'''


def test_only_the_fault_is_replaced():
    tensor = UNPACKED.format('paddle.shape(feat)')
    assert mends.mended_source(tensor) == tensor.replace('concat', 'stack')
    numbers = UNPACKED.format('feat.shape')
    assert mends.mended_source(numbers).endswith(
        'spatial_shapes.append(paddle.shape(feat)[2:])\n')
    # Slices with one element each: concat is right.
    sound = ('h = src_shape[2:3]\nw = src_shape[3:4]\n'
             'spatial_shapes.append(paddle.concat([h, w]))\n')
    assert mends.mended_source(sound) == sound
    for source in (tensor, numbers):
        once = mends.mended_source(source)
        assert mends.mended_source(once) == once


def test_a_method_is_replaced_as_a_whole():

    class Owner:

        def method(self, feat, spatial_shapes, paddle, default=3):
            bs, _, h, w = paddle.shape(feat)
            spatial_shapes.append(paddle.concat([h, w]))
            return default, bs

    class Fake:
        shape = staticmethod(lambda feat: feat)
        stack = staticmethod(tuple)

    function, shapes = mends.mended(Owner.method), []
    assert function(None, (1, 2, 3, 4), shapes, Fake) == (3, 1)
    assert shapes == [(3, 4)]
    assert function.__qualname__ == Owner.method.__qualname__
    assert mends.mended(function) is None


def test_the_export_computes_what_the_network_does(compared):
    rows = json.loads((compared / 'result.json').read_text())['sizes']
    assert ['%dx%d' % tuple(r['size']) for r in rows] == list(SIZES)
    for row in rows:
        for way in ('program', 'inference'):
            assert row[way]['boxes'] == 10
            assert row[way]['unmatched'] == 0
            assert row[way]['score'] <= 1e-4 and row[way]['box'] <= 0.05


def test_detections_are_matched():
    sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))
    from export_equality import match
    rows = np.array([[0, .9, 0, 0, 9, 9], [0, .5, 20, 0, 29, 9],
                     [1, .4, 0, 0, 9, 9]])

    def found(other):
        done = match(rows, other, 1e-4, 0.05)
        return [done[k] for k in ('moved', 'at_the_cut', 'unmatched')]

    assert found(rows) == [0, 0, 0]
    assert found(rows[[1, 0, 2]]) == [2, 0, 0]
    assert found(rows + [0, 5e-5, .04, 0, 0, 0]) == [0, 0, 0]
    assert found(rows + [0, 0, .06, 0, 0, 0])[2] > 0
    # Another box took the last place: in each, one that only it has.
    last = np.vstack([rows[:2], [2, .4, 50, 50, 60, 60]])
    assert found(last) == [0, 2, 0]
    first = np.vstack([[2, .9, 50, 50, 60, 60], rows[1:]])
    assert found(first) == [0, 0, 2]
    assert found(rows[:0])[2] == 2


def test_the_static_export_is_equal_and_folded(exported):
    whole = Model.load(ModelFiles(exported['any']))
    folded = Model.load(ModelFiles(exported['one']))
    assert any(op.type == 'shape' for op in whole.ops)
    kinds = {op.type for op in folded.ops}
    assert not kinds & {'shape', 'range', 'meshgrid', 'cumsum', 'tile'}
    assert len(folded.ops) < 0.7 * len(whole.ops)
    for var in folded.program.list_vars():
        if var.name not in ('feed', 'fetch'):
            assert all(d >= 0 for d in var.shape), var.name
    # No size comes from a tensor any more.
    for op in folded.ops:
        for slot in op.input_names:
            assert 'Tensor' not in slot or not op.input(slot), op.type
    for ours, theirs in zip(outputs(folded, feed()), outputs(whole, feed())):
        np.testing.assert_array_equal(ours, theirs)
    with open(os.path.join(exported['one'], 'infer_cfg.yml')) as f:
        resize = yaml.safe_load(f)['Preprocess'][0]
    assert resize['target_size'] == [64, 96] and not resize['keep_ratio']


def test_folding_again_changes_nothing(exported):
    model = Model.load(ModelFiles(exported['one']))
    block = model.program.global_block()

    def listing():
        return [(op.type, op.input_arg_names, op.output_arg_names)
                for op in model.ops]

    before = listing()
    done = fold(model, {n: block.var(n).shape for n in model.inputs()})
    assert done.constants == 0 and done.before == done.after
    assert listing() == before


def test_folding_for_another_size(exported):
    shapes = {
        'image': [1, 3, 96, 64],
        'im_shape': [1, 2],
        'scale_factor': [1, 2]
    }
    model = Model.load(ModelFiles(exported['any']))
    inputs = feed(96, 64)
    wanted = outputs(model, inputs)
    done = fold(model, shapes)
    assert done.constants > 10 and done.after.get('shape', 0) == 0
    for ours, theirs in zip(outputs(model, inputs), wanted):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('shapes, line', [
    ({
        'imag': [1, 3, 64, 64]
    }, "unknown input 'imag'; did you mean 'image'"),
    ({
        'im_shape': None
    }, "input 'im_shape' cannot be left out"),
    ({
        'image': [1, 4, 64, 64]
    }, r"'image' cannot be \[1, 4, 64, 64\]: the model takes"),
    ({
        'image': [1, 3, 64]
    }, r"'image' cannot be \[1, 3, 64\]"),
    ({
        'image': [1, 3, 0, 64]
    }, r"'image' cannot be \[1, 3, 0, 64\]"),
    ({
        'image': [1, 3, 16, 16]
    }, r'\[1, 3, 16, 16\].*selects 12 of \d+ candidates.*choose another'),
])
def test_bad_shapes(exported, shapes, line):
    model = Model.load(ModelFiles(exported['any']))
    given = dict(
        {
            'image': [1, 3, 64, 64],
            'im_shape': [1, 2],
            'scale_factor': [1, 2]
        }, **shapes)
    with pytest.raises(UserError, match=line):
        fold(model, {k: v for k, v in given.items() if v})


def build(make):
    """A Model of a program that `make(static)` builds; it returns the inputs
    and the outputs."""
    paddle = runtime.import_paddle()
    static = paddle.static
    with static_mode(paddle):
        program, startup = static.Program(), static.Program()
        with static.program_guard(program, startup):
            inputs, results = make(paddle)
            program = static.normalize_program(program, inputs, results)
        scope = static.Scope()
        with static.scope_guard(scope):
            static.Executor(paddle.CPUPlace()).run(startup)
    return Model(program, scope)


def test_shape_of_a_constant_of_unknown_shape():
    """`shape` of what is constant, but whose static shape is not known until
    it is computed: it was taken for [-1, -1]."""

    def make(paddle):
        x = paddle.static.data('x', [-1, -1], 'float32')
        ones = paddle.ones([paddle.shape(x)[0], paddle.shape(x)[1]])
        return [x], [x / paddle.shape(ones)[1].astype('float32')]

    model = build(make)
    x = np.random.RandomState(0).rand(3, 5).astype(np.float32)
    wanted, = outputs(model, {'x': x})
    fold(model, {'x': [3, 5]})
    found, = outputs(model, {'x': x})
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found, x / np.float32(5))
    assert 'shape' not in [op.type for op in model.ops]


def test_what_must_not_be_folded_is_kept():

    def make(paddle):
        x = paddle.static.data('x', [-1, 4], 'float32')
        noise = paddle.uniform([2, 4])
        twice = paddle.full([2, 4], 1.0)
        paddle.increment(paddle.full([1], 1.0))
        return [x], [x + noise, x + twice]

    model = build(make)
    fold(model, {'x': [2, 4]})
    kinds = [op.type for op in model.ops]
    assert 'uniform_random' in kinds
    # Constants that need no input stay operators.
    assert 'fill_constant' in kinds


def test_output_that_is_constant_can_be_saved_again():
    """The number of DINO's boxes is. As a parameter Paddle refuses it: "has
    been created before", at the end of a calibration of half an hour."""

    def make(paddle):
        x = paddle.static.data('x', [-1, 4], 'float32')
        return [x], [2 * x, paddle.shape(x)[0] + 1]

    model = build(make)
    fold(model, {'x': [3, 4]})
    kinds = [op.type for op in model.ops]
    assert 'shape' not in kinds
    fetched = [v.name for v in model.outputs()]
    assert not set(fetched) & {v.name for v in model.persistable()}
    _, number = outputs(model, {'x': np.ones([3, 4], np.float32)})
    assert number == 4
    paddle = runtime.import_paddle()
    block = model.program.global_block()
    with static_mode(paddle):
        again = paddle.static.normalize_program(model.program, [block.var('x')],
                                                [block.var(n) for n in fetched])
    assert len(again.global_block().ops) > 2


def test_shipped_configurations():
    settings = config.load(
        os.path.join(PROJECT, 'configs', 'dino_r50_4scale_2x_qat.yml'))
    assert settings.QuantAware.quantize_op_types == ['conv2d', 'matmul_v2']
    assert settings.TrainConfig.batch_size == 1
    assert os.path.isfile(settings.Reader.file)
    assert os.path.isfile(settings.Export.config)


def test_images_keep_their_ratio(shapes):
    from act import data
    reader = data.open_reader(
        config.load(
            os.path.join(PROJECT, 'configs', 'dino_r50_4scale_2x_qat.yml'), {
                'Reader': {
                    'dataset_dir': shapes
                }
            }).Reader)
    record = reader.val().records[0]
    image = reader.pipeline([record])['image']
    short, long = sorted((record.height, record.width))
    scale = min(800 / short, 1333 / long)
    assert image.shape == (1, 3, round(record.height * scale),
                           round(record.width * scale))


@pytest.mark.parametrize('arguments, line', [
    (['--input_size', '0', '64'], "'0' is not a whole number"),
    (['--input_size', '64'], 'expected 2 arguments'),
])
def test_bad_sizes(small, tmp_path, arguments, line):
    target = tmp_path / 'none'
    done = run_script('export.py', '-c', small, '--save_dir', str(target),
                      *arguments)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
    assert not target.exists()
