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
"""Every call and getter of paddle.inference.Config that a plan for the GPU
needs, on Paddle's GPU build. None needs a device: see make test-gpu-config."""

import dataclasses
import json
import os
import shutil

import pytest
from act import config, gpu, plan, predictor, readback, runtime, tensorrt
from act.config import CpuSection, TensorrtSection
from act.errors import UserError
from act.program.model import ModelFiles
from act.shapes import collect
from conftest import run_script

paddle = runtime.import_paddle()
from paddle import inference  # noqa: E402

PASS = 'trt_prompt_tuning_embedding_eltwise_layernorm_fuse_pass'
SECTION = TensorrtSection(disabled_ops=['concat'],
                          min_subgraph_size=7,
                          workspace_mb=300,
                          deleted_passes=[PASS])


def has_tensorrt():
    try:
        return bool(gpu.tensorrt_version())
    except UserError:
        return False


@pytest.fixture(scope='module')
def ranges(settings, float_model, int8_model, tmp_path_factory):
    """Range files, by the model's directory."""
    place = tmp_path_factory.mktemp('ranges')
    return {
        directory:
        collect.ensure(settings,
                       ModelFiles(directory),
                       path=str(place / ('%d.pbtxt' % at)))
        for at, directory in enumerate((float_model, int8_model))
    }


def make(directory, **options):
    return plan.plan(ModelFiles(directory),
                     CpuSection(),
                     device='GPU',
                     trt_options=SECTION,
                     threads=2,
                     **options)


def complete(made, ranges=None, cache_dir=''):
    return dataclasses.replace(made,
                               tensorrt=dataclasses.replace(
                                   made.tensorrt,
                                   ranges=ranges,
                                   cache_dir=cache_dir))


def test_this_is_the_gpu_build():
    assert paddle.is_compiled_with_cuda()
    assert runtime.version('paddlepaddle-gpu') == runtime.PADDLE
    assert inference.get_trt_compile_version() == tensorrt.VERSION


@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_without_tensorrt(float_model, precision):
    made = make(float_model, precision=precision)
    built = predictor.build_config(made)
    assert built.use_gpu() and not built.tensorrt_engine_enabled()
    rows = readback.summary(built)
    assert rows['mixed_precision_mode'] == precision
    assert readback.check(built, made) == []


@pytest.mark.parametrize('dynamic', [True, False])
@pytest.mark.parametrize('cached', [True, False])
@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_with_tensorrt(float_model, int8_model, ranges, tmp_path, precision,
                       cached, dynamic):
    directory = int8_model if precision == 'int8' else float_model
    made = complete(
        make(directory,
             precision=precision,
             use_trt=True,
             dynamic_shape=dynamic,
             batch_size=4), ranges[directory] if dynamic else None,
        str(tmp_path) if cached else '')
    built = predictor.build_config(made)
    assert built.tensorrt_engine_enabled()
    assert built.tuned_tensorrt_dynamic_shape() is dynamic
    assert built.trt_allow_build_at_runtime() is False
    assert PASS not in built.pass_builder().all_passes()
    assert built.tensorrt_explicit_quantization_enabled() is False
    unverified = {'disabled_ops'
                  } | ({'engine_cache directory'} if cached else set())
    if has_tensorrt():
        rows = readback.summary(built)
        assert rows['tensorrt_use_calib_mode'] == 'false'
        assert rows['tensorrt_workspace_size'] == str(300 << 20)
        assert rows['tensorrt_max_batch_size'] == '4'
        assert rows['tensorrt_min_subgraph_size'] == '7'
        assert rows['tensorrt_use_static_engine'] == str(cached).lower()
    else:
        # The summary asks TensorRT's library for its version.
        unverified |= {g.option for g in readback.GETTERS if g.row}
    assert set(readback.check(built, made)) == unverified


def test_each_true_getter_sees_a_difference(float_model, ranges, tmp_path):
    """A getter that says the same whatever was asked for proves nothing."""
    plans = [
        plan.plan(ModelFiles(float_model),
                  CpuSection(),
                  mkldnn=False,
                  threads=1),
        plan.plan(ModelFiles(float_model), CpuSection(), threads=2),
        make(float_model, precision='fp16'),
        complete(make(float_model, use_trt=True), ranges[float_model],
                 str(tmp_path)),
        complete(make(float_model, use_trt=True, dynamic_shape=False)),
        dataclasses.replace(complete(
            make(float_model,
                 precision='fp16',
                 use_trt=True,
                 dynamic_shape=False)),
                            batch_size=2),
    ]
    built = [predictor.build_config(p) for p in plans]
    constant = {
        # The same in each plan here.
        'prog_file',
        'params_file',
        'ir_optim',
        'gpu_device_id',
        'trt_allow_build_at_runtime',
        'mkldnn_int8_enabled',
        'pass_builder',
        'tensorrt_explicit_quantization_enabled'
    }
    for getter in readback.GETTERS:
        if getter.row or getter.source in constant:
            continue
        seen = {
            str(getattr(b, getter.source)())
            for b, p in zip(built, plans) if getter.applies(p)
        }
        assert len(seen) > 1, getter.source
    for getter, value in (('ir_optim', False), ('trt_allow_build_at_runtime',
                                                True)):
        other = inference.Config()
        other.enable_use_gpu(100, 0)
        other.switch_ir_optim(False)
        other.enable_tensorrt_engine()
        other.enable_tuned_tensorrt_dynamic_shape('x', True)
        assert getattr(other, getter)() is value


def test_a_difference_is_an_error(float_model):
    made = make(float_model, precision='fp32')
    built = predictor.build_config(made)
    with pytest.raises(UserError,
                       match='mixed_precision_mode says fp32 where '
                       'fp16'):
        readback.check(built, dataclasses.replace(made, precision='fp16'))
    with pytest.raises(UserError, match='cpu_math_library_num_threads says 2'):
        readback.check(built, dataclasses.replace(made, threads=3))


def test_getters_that_are_not_true(float_model, ranges):
    made = complete(make(float_model, use_trt=True), ranges[float_model])
    built = predictor.build_config(made)
    assert built.tuned_tensorrt_dynamic_shape()
    assert not built.tensorrt_dynamic_shape_enabled()
    assert built.mkldnn_enabled()
    if not paddle.device.cuda.device_count():
        with pytest.raises(Exception, match='Device id must be less than GPU'):
            built.fraction_of_gpu_memory_for_pool()
    assert set(readback.UNTRUE) == {
        'tensorrt_dynamic_shape_enabled', 'mkldnn_enabled',
        'fraction_of_gpu_memory_for_pool'
    }
    for name in readback.UNTRUE:
        assert not any(g.source == name and g.applies(made)
                       for g in readback.GETTERS)


def test_no_getter_reports_disabled_ops(float_model):
    made = complete(make(float_model, use_trt=True, dynamic_shape=False))
    reports = []
    for ops in ([], ['concat']):
        built = predictor.build_config(
            dataclasses.replace(made,
                                tensorrt=dataclasses.replace(made.tensorrt,
                                                             disabled_ops=ops)))
        reports.append({
            name: str(getattr(built, name)())
            for name in dir(built) if name.startswith(('tensorrt_', 'trt_'))
        })
    assert reports[0] == reports[1]


def test_tensorrt_before_the_gpu_is_silently_off(capfd):
    """The order that build_config keeps."""
    wrong = inference.Config()
    wrong.enable_tensorrt_engine()
    wrong.enable_use_gpu(100, 0)
    assert wrong.use_gpu() and not wrong.tensorrt_engine_enabled()
    right = inference.Config()
    right.enable_use_gpu(100, 0)
    right.enable_tensorrt_engine()
    assert right.tensorrt_engine_enabled()


def test_the_passes_are_those_of_the_build(float_model, int8_model):
    found = set()
    for precision in ('Float32', 'Half', 'Int8'):
        built = inference.Config()
        built.enable_use_gpu(100, 0)
        built.enable_tensorrt_engine(
            precision_mode=getattr(inference.PrecisionType, precision))
        found.update(built.pass_builder().all_passes())
    assert found == set(tensorrt.PASSES)


def test_explicit_quantization_keeps_the_pairs(int8_model):
    """What it does to the passes, in a build that is new enough."""
    made = complete(make(int8_model, use_trt=True, dynamic_shape=False))
    passes = []
    for explicit in (False, True):
        engines = dataclasses.replace(made.tensorrt,
                                      explicit_quantization=explicit)
        built = predictor.build_config(
            dataclasses.replace(made, tensorrt=engines))
        passes.append(set(built.pass_builder().all_passes()))
    assert passes[0] - passes[1] == {
        'delete_quant_dequant_linear_op_pass',
        'trt_delete_weight_dequant_linear_op_pass'
    }


def test_a_missing_library_is_named():
    if has_tensorrt():
        assert gpu.tensorrt_version().startswith('8.')
        return
    with pytest.raises(UserError, match=r'TensorRT 8.5.3 \(libnvinfer.so.8\)'):
        gpu.tensorrt_version()


@pytest.fixture(scope='module')
def arguments(shapes, float_model):
    return [
        '--config_path', 'configs/picodet_s_320_lcnet_qat.yml', '--model_path',
        float_model, '--num_images', '4', '-o', 'Reader.dataset_dir=' + shapes,
        'Global.model_dir=' + float_model
    ]


@pytest.mark.parametrize(
    'more', [[], ['--precision', 'fp16'], ['--use_trt', '--precision', 'fp16'],
             ['--use_trt', '--use_dynamic_shape', 'False']])
def test_the_script_up_to_the_device(arguments, tmp_path, more):
    out = ['--output_dir', str(tmp_path)]
    done = run_script('paddle_inference_eval.py', '--device', 'GPU', *more,
                      *out, *arguments)
    if paddle.device.cuda.device_count():
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        'error: --device GPU: CUDA finds no GPU; nvidia-smi must list one')
    assert os.listdir(tmp_path) == []


def test_the_range_file_is_checked_before_the_device(arguments, ranges,
                                                     int8_model, tmp_path):
    """That of another model."""
    path = str(tmp_path / 'ranges.pbtxt')
    shutil.copy(ranges[int8_model].path, path)
    done = run_script('paddle_inference_eval.py', '--device', 'GPU',
                      '--use_trt', '--shape_range_file', path, *arguments)
    assert done.returncode == 2
    assert 'was made for another model' in done.stderr
    assert '--collect_shapes_only' in done.stderr


def test_the_cpu_half_runs_on_this_build(arguments, tmp_path):
    record = tmp_path / 'record.json'
    done = run_script('paddle_inference_eval.py', '--device',
                      'CPU', '--output_dir', str(tmp_path), '--output_json',
                      str(record), *arguments)
    assert done.returncode == 0, done.stderr
    content = json.loads(record.read_text())
    assert content['device'] == 'CPU' and content['backend'] == 'onednn'
    assert content['map'] > 40
    assert content['paddle'] == runtime.PADDLE


def test_int8_runs_on_the_cpu_of_this_build(int8_model, settings):
    from act import data, int8_check
    made = plan.plan(ModelFiles(int8_model), CpuSection(), threads=1)
    batch = data.open_reader(settings.Reader)
    feed = data.feed(batch.pipeline(batch.val().records[:1]),
                     ['image', 'scale_factor'], None, 'reader')
    assert int8_check.run(made, feed).int8 == 65


def test_a_yaml_may_name_the_passes(float_model):
    made = config.TensorrtSection(deleted_passes=['trt_skip_layernorm_fuse'])
    with pytest.raises(UserError,
                       match="did you mean 'trt_skip_layernorm_fuse_pass'"):
        plan.plan(ModelFiles(float_model),
                  CpuSection(),
                  device='GPU',
                  use_trt=True,
                  trt_options=made)
