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
"""What a request means, for both devices: plans, refusals and where engines are
kept. Nothing here needs a GPU or the GPU build, see tests/gpu."""

import dataclasses
import json
import os
import re

import programs
import pytest
from act import (
    capability,
    gpu,
    plan,
    predictor,
    readback,
    request,
    results,
    tensorrt,
)
from act.config import CpuSection, TensorrtSection
from act.errors import UserError
from act.program.model import ModelFiles
from act.request import Options
from act.shapes.ranges import Range, RangeFile
from conftest import PROJECT


def planned(directory, **options):
    return plan.plan(ModelFiles(directory),
                     CpuSection(),
                     threads=1,
                     prepare=False,
                     **options)


def test_every_combination_has_a_row():
    rows = list(capability.rows())
    assert len({str(r) for r in rows}) == len(rows) == 32
    for device, engines in capability.ENGINES.items():
        for engine in engines:
            for kind in (capability.FLOAT, capability.QUANTIZED):
                for precision in capability.PRECISIONS:
                    row = capability.find(device, engine, kind, precision)
                    assert bool(row.runs) != (row.refused in capability.REASONS)
    assert {r.refused for r in rows} - {''} == set(capability.REASONS)


@pytest.mark.parametrize('name, language', [('README.md', 'en'),
                                            ('README_cn.md', 'cn')])
def test_the_manual_holds_the_table(name, language):
    """Printed by python -m act.capability."""
    with open(os.path.join(PROJECT, name), encoding='utf-8') as f:
        text = f.read()
    made = capability.markdown(language)
    assert '<!-- capability -->\n' + made in text
    keys = re.findall(r'^\| `(\w+)` \|', made.split('\n\n')[1], re.MULTILINE)
    assert keys == list(capability.REASONS)


@pytest.mark.parametrize('row', [
    pytest.param(r, id=str(r).replace(', ', '-').replace(' ', '-'))
    for r in capability.rows()
])
def test_plans_follow_the_table(row, float_model, int8_model, monkeypatch):
    monkeypatch.setattr(plan.runtime, 'cpu_extensions', lambda: ['amx_bf16'])
    directory = {
        capability.FLOAT: float_model,
        capability.QUANTIZED: int8_model
    }[row.kind]
    options = dict(device=row.device,
                   precision=row.precision,
                   mkldnn={
                       capability.NATIVE: False,
                       capability.ONEDNN: True
                   }.get(row.engine),
                   use_trt=row.engine == capability.TENSORRT)
    if row.runs:
        made = planned(directory, **options)
        assert (made.device, made.backend) == (row.device, row.engine)
        assert made.precision == row.runs
        assert made.row == row
        return
    with pytest.raises(UserError) as error:
        planned(directory, **options)
    said = str(error.value)
    reason = capability.REASONS[row.refused]
    assert said == "--precision %s: '%s' %s; %s (capability: %s)" % (
        row.precision, directory, reason.why, reason.instead, row)


def test_auto_on_the_gpu(float_model, int8_model):
    assert planned(float_model, device='GPU').precision == 'fp32'
    made = planned(int8_model, device='GPU', use_trt=True)
    assert made.precision == 'int8' and made.backend == 'tensorrt'
    assert made.files.directory == int8_model and made.op_types == []
    # PaddleSlim #1862.
    with pytest.raises(UserError, match='silently computes garbage.*--use_trt'):
        planned(int8_model, device='GPU')


def test_all_refusals_are_kept(int8_model):
    refusals = plan.Refusals(keep=True)
    planned(int8_model,
            device='GPU',
            use_trt=True,
            precision='bf16',
            trt_options=TensorrtSection(deleted_passes=['a_pass', 'b_pass']),
            refusals=refusals)
    assert [line.split("'")[1]
            for line in refusals.lines] == [int8_model, 'a_pass', 'b_pass']


def test_operators_that_cannot_be_disabled(float_model):
    """matmul_v2 is matrix_multiply by the time TensorRT is asked."""
    section = TensorrtSection(disabled_ops=['matmul_v2', 'concta'])
    refusals = plan.Refusals(keep=True)
    planned(float_model,
            device='GPU',
            use_trt=True,
            trt_options=section,
            refusals=refusals)
    one, two = refusals.lines
    assert "name 'matrix_multiply'" in one and "did you mean 'concat'" in two


def test_what_the_yaml_says_of_tensorrt(float_model):
    made = planned(float_model,
                   device='GPU',
                   use_trt=True,
                   precision='fp16',
                   batch_size=3,
                   trt_options=TensorrtSection(
                       dynamic_shape=False,
                       disabled_ops=['concat'],
                       min_subgraph_size=5,
                       workspace_mb=2,
                       deleted_passes=['trt_skip_layernorm_fuse_pass']))
    assert made.tensorrt == tensorrt.Tensorrt(dynamic_shape=False,
                                              disabled_ops=['concat'],
                                              min_subgraph_size=5,
                                              workspace_mb=2,
                                              explicit_quantization=False,
                                              fixed={
                                                  'image': (3, 320, 320),
                                                  'scale_factor': (2, )
                                              })
    assert made.deleted_passes == [
        'trt_skip_layernorm_fuse_pass', tensorrt.FOR_INT8
    ]
    assert made.batch_size == 3
    assert planned(
        float_model,
        device='GPU',
        use_trt=True,
        dynamic_shape=True,
        trt_options=TensorrtSection(dynamic_shape=False)).tensorrt.dynamic_shape


@pytest.mark.parametrize('shape, fits', [
    ((1, 3, 320, 320), True),
    ((2, 3, 320, 320), True),
    ((3, 3, 320, 320), False),
    ((1, 3, 320, 352), False),
])
def test_inputs_of_fixed_shapes(shape, fits):
    engines = dataclasses.replace(KEY['engines'],
                                  fixed={'image': (3, 320, 320)})
    shapes = {'image': shape, 'scale_factor': (shape[0], 2)}
    if fits:
        tensorrt.check_input(engines, 2, shapes, "image 'x'")
        return
    with pytest.raises(UserError, match="^image 'x': input 'image' is "):
        tensorrt.check_input(engines, 2, shapes, "image 'x'")


@pytest.mark.parametrize('precision, version, explicit', [
    ('int8', tensorrt.VERSION, False),
    ('int8', (8, 6, 0), True),
    ('fp16', (8, 6, 0), False),
])
def test_explicit_quantization(precision, version, explicit):
    assert tensorrt.decide(TensorrtSection(), precision,
                           version=version).explicit_quantization is explicit


def test_fixed_shapes_of_a_model_that_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, 'check_outputs', lambda *_: None)
    directory = str(tmp_path / 'pyramid')
    programs.save(directory, programs.pyramid)
    made = planned(directory, device='GPU', use_trt=True)
    assert made.tensorrt.dynamic_shape
    with pytest.raises(UserError, match=r'of no fixed size;.*--input_size H W'):
        planned(directory, device='GPU', use_trt=True, dynamic_shape=False)


@pytest.mark.parametrize('options, words', [
    (dict(use_trt=True), ['--use_trt']),
    (dict(use_dynamic_shape=True), ['--use_dynamic_shape']),
    (dict(device='GPU', use_dynamic_shape=False), ['--use_dynamic_shape']),
    (dict(shape_range='rule',
          shape_range_file='f'), ['--shape_range', '--shape_range_file']),
    (dict(device='GPU', use_mkldnn=True), ['--use_mkldnn']),
    (dict(device='GPU', rewrites=()), ['--no_rewrite']),
    (dict(
        device='GPU', use_trt=True, use_dynamic_shape=False,
        shape_range='data'), ['--shape_range']),
    (dict(device='GPU', use_trt=True, shape_range='data'), []),
    (dict(device='GPU', use_mkldnn=False), []),
    (dict(use_mkldnn=True, rewrites=()), []),
])
def test_options_that_would_do_nothing(options, words):
    found = [str(e) for e in request.idle(Options(**options))]
    assert len(found) == len(words)
    for said, word in zip(found, words):
        assert said.startswith(word)


KEY = dict(model='a' * 64,
           ranges='b' * 64,
           precision='fp16',
           batch_size=1,
           deleted_passes=['p', 'q'],
           engines=tensorrt.decide(TensorrtSection(), 'fp16'),
           gpu='NVIDIA A100-SXM4-40GB',
           compute='8.0',
           versions={
               'paddle': '2.6.2',
               'cuda': '11.8',
               'tensorrt': '8.5.3'
           })


def test_engines_lie_where_their_name_says(cache):
    directory = tensorrt.engine_dir(tensorrt.engine_key(**KEY))
    assert directory.startswith(str(cache))
    assert re.fullmatch(
        'aaaaaaaaaaaa-fp16-shapes_bbbbbbbbbbbb-paddle2.6.2-trt8.5.3-cuda11.8-'
        'NVIDIA_A100_SXM4_40GB-sm8.0-[0-9a-f]{16}', os.path.basename(directory))
    fixed = tensorrt.engine_dir(tensorrt.engine_key(**dict(KEY, ranges=None)))
    assert '-shapes_fixed-' in fixed


def test_engines_of_anything_else_lie_elsewhere():
    # 'a' * 64 and 'a' * 63 + 'b' have one name and two hashes.
    changes = [
        dict(model='a' * 63 + 'b'),
        dict(ranges='b' * 63 + 'a'),
        dict(precision='fp32'),
        dict(batch_size=2),
        dict(deleted_passes=['p']),
        dict(gpu='NVIDIA A100 SXM4 40GB'),
        dict(compute='8.6'),
        dict(versions=dict(KEY['versions'], paddle='2.6.1')),
        dict(versions=dict(KEY['versions'], cuda='12.0')),
        dict(versions=dict(KEY['versions'], tensorrt='8.6.1')),
    ] + [
        dict(engines=dataclasses.replace(KEY['engines'], **change))
        for change in (dict(disabled_ops=['concat']), dict(min_subgraph_size=4),
                       dict(workspace_mb=1), dict(dynamic_shape=False),
                       dict(explicit_quantization=True))
    ]
    found = {
        tensorrt.engine_dir(tensorrt.engine_key(**dict(KEY, **change)))
        for change in [{}] + changes
    }
    assert len(found) == 1 + len(changes)
    # All that may change them is in the key, and the order of names is not.
    assert {f.name
            for f in dataclasses.fields(tensorrt.Tensorrt)
            } - {'ranges', 'cache_dir', 'key', 'fixed'} < set(
                tensorrt.engine_key(**KEY))
    assert tensorrt.engine_dir(
        tensorrt.engine_key(**dict(KEY, deleted_passes=['q', 'p']))) in found


def engines_at(directory):
    return dataclasses.replace(KEY['engines'],
                               cache_dir=str(directory),
                               key={'model': 'm'})


def test_engines_appear_whole(tmp_path):
    target = tmp_path / 'cache' / 'engines'
    with tensorrt.building(engines_at(target)) as engines:
        assert engines.cache_dir != str(target) and not target.exists()
        with open(os.path.join(engines.cache_dir, 'trt_serialized'), 'w'):
            pass
        assert not tensorrt.cached(str(target))
    assert tensorrt.cached(str(target))
    assert json.loads((target / tensorrt.KEY).read_text()) == {'model': 'm'}
    with tensorrt.building(engines_at(target)) as engines:
        assert engines.cache_dir == str(target)


@pytest.mark.parametrize('fails', [True, False])
def test_engines_that_were_not_built_leave_nothing(tmp_path, fails):
    target = tmp_path / 'cache' / 'engines'

    def build():
        with tensorrt.building(engines_at(target)) as engines:
            if fails:
                with open(os.path.join(engines.cache_dir, 'half'), 'w'):
                    pass
                raise RuntimeError('killed')

    if fails:
        with pytest.raises(RuntimeError, match='killed'):
            build()
    else:
        build()
    assert os.listdir(tmp_path) == []


def test_engines_without_a_place_are_not_kept(tmp_path):
    (tmp_path / 'file').write_text('')
    with tensorrt.building(engines_at(tmp_path / 'file' / 'engines')) as made:
        assert made.cache_dir == ''


def test_the_cpu_build_says_so(float_model):
    for options in ({}, {'use_trt': True}):
        made = planned(float_model, device='GPU', **options)
        with pytest.raises(UserError, match='is the CPU build.*GPU=1 make'):
            predictor.build_config(made)
        with pytest.raises(UserError, match='is the CPU build'):
            gpu.find(**{'use_trt': False, **options})


# Of the GPU build with TensorRT's library.
SUMMARY = """
+-------------------------------+-----------+
| Option                        | Value     |
+-------------------------------+-----------+
+-------------------------------+-----------+
| use_gpu                       | true      |
| mixed_precision_mode          | fp32      |
| tensorrt_workspace_size       | 536870912 |
| tensorrt_transformer_posid    |           |
+-------------------------------+-----------+
"""


class _Reported:
    """What reports a recorded summary."""

    def summary(self):
        return SUMMARY


def test_the_summary_is_read():
    rows = readback.summary(_Reported())
    assert rows['tensorrt_workspace_size'] == '536870912'
    assert (rows['use_gpu'], rows['tensorrt_transformer_posid']) == ('true', '')


def test_a_cpu_plan_is_read_back(float_model, int8_model):
    made = plan.plan(ModelFiles(float_model), CpuSection(), threads=1)
    assert predictor.Predictor(made).unverified == []
    made = plan.plan(ModelFiles(int8_model), CpuSection(), threads=1)
    built = predictor.build_config(made)
    assert readback.check(built, made) == ['int8_ops']
    with pytest.raises(UserError, match='mkldnn_int8_enabled says True'):
        readback.check(built, dataclasses.replace(made, precision='fp32'))
    with pytest.raises(UserError, match='prog_file says'):
        readback.check(built,
                       dataclasses.replace(made, files=ModelFiles('other')))


def test_getters_are_of_the_build_and_options_of_the_record():
    from paddle import inference
    for getter in readback.GETTERS:
        assert getter.row or hasattr(inference.Config, getter.source)
    for name in readback.UNTRUE:
        assert hasattr(inference.Config, name)


def test_nvml_that_is_not_there_is_said_once(capsys):
    """Neither nvidia-ml-py nor a driver."""
    monitor = gpu.Monitor()
    monitor.sample()
    monitor.sample()
    said = capsys.readouterr().out
    assert said.startswith('GPU memory and clocks are not measured: NVML: ')
    assert said.count('\n') == 1
    fields = monitor.fields()
    assert set(fields.values()) == {None}
    assert set(fields) <= set(results.FIELDS)


def test_inputs_outside_of_the_ranges(float_model):
    made = planned(float_model, device='GPU', use_trt=True)
    assert made.tensorrt.range_file == '' and made.tensorrt.fixed == {}
    one = Range((1, 3, 320, 320), (1, 3, 320, 640), (1, 3, 320, 320))
    engines = dataclasses.replace(made.tensorrt,
                                  ranges=RangeFile('a.pbtxt', {'image': one}))
    assert engines.range_file == 'a.pbtxt'
    tensorrt.check_input(engines, 1, {'image': (1, 3, 320, 640)}, 'it')
    with pytest.raises(UserError, match="'a.pbtxt': it: input 'image' is"):
        tensorrt.check_input(engines, 1, {'image': (1, 3, 320, 641)}, 'it')
