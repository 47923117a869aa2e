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
"""A program made ready for TensorRT, and the operators it is asked about."""

import collections
import os

import numpy as np
import pytest
from act import config, runtime
from act.optimized import optimized, wrong_ops
from act.program import copies, tensorrt
from act.program.model import Model, ModelFiles, static_mode

SIZES = ((64, 96), (70, 50))


def detections(files, size):
    """Outputs of Paddle's own kernels, without any pass."""
    runtime.prepare()
    from paddle import inference
    made = inference.Config(files.model_path, files.params_path)
    made.disable_gpu()
    made.disable_mkldnn()
    made.disable_glog_info()
    made.switch_ir_optim(False)
    predictor = inference.create_predictor(made)
    image = np.random.default_rng(0).random((1, 3, *size), np.float32)
    feed = {
        'image': image,
        'im_shape': np.array([size], np.float32),
        'scale_factor': np.ones((1, 2), np.float32)
    }
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(feed[name])
    predictor.run()
    return [
        predictor.get_output_handle(n).copy_to_cpu()
        for n in predictor.get_output_names()
    ]


@pytest.fixture(scope='module')
def prepared(sibling):
    """The trained DINO of any size, and its copy for TensorRT."""
    files = ModelFiles(sibling('dino_tiny'))
    return files, tensorrt.prepared(files)


def test_all_that_cuts_dino_is_found(prepared):
    files, made = prepared
    before = collections.Counter(op.type for op in Model.load(files).ops)
    after = collections.Counter(op.type for op in Model.load(made.files).ops)
    assert set(made.done) == {
        'split_to_slices', 'meshgrid_to_sums', 'filled_like', 'flags_to_and'
    }
    assert before['meshgrid'] == made.done['meshgrid_to_sums']
    assert not after['meshgrid']
    ops = Model.load(made.files).ops
    assert not [
        op
        for op in ops if op.type == 'split' and op.input('SectionsTensorList')
        or op.type == 'fill_constant' and 'ShapeTensorList' in op.input_names
        and op.input('ShapeTensorList')
    ]


@pytest.mark.parametrize('size', SIZES)
def test_values_stay_bit_by_bit(prepared, size):
    files, made = prepared
    outputs = detections(files, size)
    assert len(outputs[0]) and np.ptp(outputs[0])
    for old, new in zip(outputs, detections(made.files, size)):
        np.testing.assert_array_equal(old, new)


def test_the_copy_is_kept_and_found_again(prepared):
    files, made = prepared
    assert made.files.directory.startswith(copies.cache_dir())
    stamp = os.stat(made.files.model_path).st_mtime_ns
    assert tensorrt.prepared(files) == made
    assert os.stat(made.files.model_path).st_mtime_ns == stamp


def test_what_need_not_be_rewritten_is_the_model_itself(float_model):
    files = ModelFiles(float_model)
    assert tensorrt.prepared(files) == copies.Prepared(files, {})


def test_projections_that_stay_float(sibling, tmp_path):
    files = ModelFiles(sibling('ppyoloe_plus_tiny'))
    model = Model.load(files)
    assert not tensorrt.projections_to_sums(model)
    labelled = [
        op for op in model.ops
        if op.type == 'conv2d' and model.program.global_block().var(
            op.input('Filter')[0]).shape[0] == 1
    ]
    for op in labelled:
        op._set_attr('skip_quant', True)
    assert tensorrt.projections_to_sums(model) == len(labelled) == 3
    model.save(ModelFiles(str(tmp_path / 'made')))
    for old, new in zip(
            detections(files, (256, 256)),
            detections(ModelFiles(str(tmp_path / 'made')), (256, 256))):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)


def filled(axes, between=None):
    """A program that fills sizes of its input's axes with ones."""
    paddle = runtime.import_paddle()
    with static_mode(paddle):
        program = paddle.static.Program()
        with paddle.static.program_guard(program):
            x = paddle.static.data('x', [-1, -1, -1, -1], 'float32')
            sizes = paddle.shape(x)
            if between:
                between(x)
            ones = paddle.ones([sizes[axis] for axis in axes])
            paddle.static.normalize_program(program, [x], [ones])
    return Model(program, paddle.static.Scope())


@pytest.mark.parametrize('axes, changed', (
    ([0, 2, 3], 1),
    ([0, 1, 2, 3], 1),
    ([3, 2], 0),
    ([2, 2], 0),
))
def test_sizes_in_their_order_only(axes, changed):
    assert tensorrt.filled_like(filled(axes)) == changed


def test_not_of_a_value_written_since():

    def overwrite(x):
        block = x.block
        block.append_op(type='scale',
                        inputs={'X': [x]},
                        outputs={'Out': [x]},
                        attrs={'scale': 2.0})

    assert not tensorrt.filled_like(filled([0, 2, 3], overwrite))


def test_disabled_ops_that_can_match(prepared):
    model = Model.load(prepared[1].files)
    made = optimized(model, dynamic_shape=True)
    variable = model.ops[-2].output_arg_names[0]
    names = ['matrix_multiply', 'skip_layernorm', 'reshape2', variable]
    assert not list(wrong_ops(names, made, 'x.yml'))


@pytest.mark.parametrize('name, said', (
    ('matmul_v2', "matches nothing: Paddle's passes leave none; name "
     "'matrix_multiply'"),
    ('reshape', "is neither a type of operator nor a variable of the program "
     "that TensorRT is asked about; did you mean 'reshape2'?"),
    ('topk_v2', "did you mean 'top_k_v2'?"),
    ('multihead', 'is neither a type of operator'),
))
def test_disabled_ops_that_cannot(prepared, name, said):
    made = optimized(Model.load(prepared[0]), dynamic_shape=True)
    error, = wrong_ops(['reshape2', name], made, 'x.yml')
    assert str(error).startswith('x.yml: Deploy.tensorrt.disabled_ops: '
                                 "'%s' " % name)
    assert said in str(error)


def test_fixed_shapes_and_deleted_passes_leave_products(prepared):
    model = Model.load(prepared[0])
    for made in (optimized(model, dynamic_shape=False),
                 optimized(
                     model,
                     dynamic_shape=True,
                     deleted_passes=['trt_map_ops_to_matrix_multiply_pass'])):
        assert not list(wrong_ops(['matmul_v2'], made, 'x.yml'))
        assert list(wrong_ops(['matrix_multiply'], made, 'x.yml'))


def test_quantization_is_gone(int8_model):
    made = optimized(Model.load(ModelFiles(int8_model)), dynamic_shape=True)
    error, = wrong_ops(['dequantize_linear'], made, 'x.yml')
    assert str(error).endswith('leave none, take it out')


def test_shipped_configurations_disable_what_is_there(prepared):
    settings = config.load(
        os.path.join(os.path.dirname(runtime.__file__), '..', 'configs',
                     'dino_r50_4scale_2x_qat.yml'))
    made = optimized(Model.load(prepared[1].files), dynamic_shape=True)
    assert not list(
        wrong_ops(settings.Deploy.tensorrt.disabled_ops, made, 'x.yml'))
