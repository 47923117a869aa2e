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
"""--explain, and the command line of the GPU: through the script's own main, on
the CPU build."""

import dataclasses
import json
import os

import jsonschema
import pytest
from act import cli, config, data, explain, gpu, request, tensorrt
from act.program.model import ModelFiles
from act.shapes import ranges
from conftest import PROJECT, YAML, call_script
from test_bad_input import snapshot
from test_docs import ENGLISH, read, script_commands

EVALUATION = 'paddle_inference_eval.py'


@pytest.fixture
def said(tmp_path, monkeypatch, capfd, small_settings, small_detector, cache):
    """Runs it in a directory of its own: exit code, record, stdout, stderr."""
    place = tmp_path / 'place'
    place.mkdir()
    monkeypatch.chdir(place)

    def run(*words, model=small_detector):
        path = tmp_path / 'plan.json'
        before = snapshot(place, model, cache)
        capfd.readouterr()
        code = call_script(EVALUATION, '--explain', '--output_json', path,
                           '--config_path', YAML, '--model_path', model, '-o',
                           *small_settings, *words)
        out, err = capfd.readouterr()
        assert snapshot(place, model, cache) == before
        record = json.loads(path.read_text()) if path.exists() else None
        return code, record, out, err

    return run


def test_of_the_cpu(said, cache):
    code, record, out, err = said('--device', 'CPU', '--cpu_threads', '3')
    assert code == 0, err
    jsonschema.validate(record, explain.schema())
    one, = record['plans']
    assert (one['device'], one['backend'],
            one['precision']) == ('CPU', 'onednn', 'fp32')
    assert one['capability'] == 'CPU, onednn, float model, fp32'
    assert one['threads'] == 3 and 'select_boxes' in one['rewrites']
    assert one['program_cache'].startswith(str(cache))
    assert one['refused'] == [] and one['missing'] is None
    assert out.rstrip().endswith('would run')


def test_of_tensorrt(said, small_detector, cache):
    code, record, out, err = said('--device', 'GPU', '--use_trt', '--precision',
                                  'fp16', '--num_images', '3')
    assert code == 0, err
    jsonschema.validate(record, explain.schema())
    one, = record['plans']
    assert one['capability'] == 'GPU, tensorrt, float model, fp16'
    assert one['dynamic_shape'] and one['workspace_mib'] == 1024
    # The model takes one size: one image will do.
    assert one['shapes'] == 'ranges to be collected: there are none'
    assert one['shape_inputs'] == 1 and len(one['shape_images']) == 1
    assert os.path.isfile(one['shape_images'][0])
    assert one['shape_range_file'].startswith(small_detector)
    assert one['engine_cache'].startswith(str(cache))
    assert 'CPU build of Paddle' in one['missing']
    assert one['refused'] == [] and 'would run where the device is' in out


def test_all_that_would_be_refused(said, int8_model):
    code, record, out, err = said('--device',
                                  'GPU',
                                  '--precision',
                                  'fp32',
                                  '--use_dynamic_shape',
                                  '--no_rewrite',
                                  '--compare',
                                  int8_model,
                                  model=int8_model)
    assert code == 0, err
    first, second = record['plans']
    assert len(first['refused']) == 3
    for words in ('--no_rewrite', '--use_dynamic_shape', 'without TensorRT'):
        assert any(words in line for line in first['refused'])
    # The reference runs in its own precision.
    assert second['precision'] == 'int8'
    assert out.count('refused: ') == 6 and 'would run' not in out


def test_what_the_yaml_names_wrongly(said):
    code, record, _, err = said(
        '--device', 'GPU', '--use_trt', '-o',
        'Deploy.tensorrt.deleted_passes=[no_such_pass]')
    assert code == 0, err
    assert 'Deploy.tensorrt.deleted_passes' in record['plans'][0]['refused'][0]


def test_data_and_figures_that_are_not_there(said):
    code, record, _, err = said('--device', 'GPU', '--use_trt', '--precision',
                                'fp16', '--check', '-o',
                                'Reader.dataset_dir=/nowhere',
                                'Reader.anno_path=nowhere.json')
    assert code == 0, err
    rows, place = record['plans'][0]['refused']
    assert 'has no row for fp16' in rows and '/nowhere' in place


def refused(capfd, *words):
    capfd.readouterr()
    assert call_script(EVALUATION, '--config_path', YAML, *words) == 2
    said = capfd.readouterr().err
    assert said.splitlines()[-1].startswith('error: ')
    return said.splitlines()[-1]


def test_collecting_shapes_and_then_the_device(small_detector, small_settings,
                                               tmp_path, monkeypatch, capfd):
    """On the CPU build: a file for another machine, which is then checked."""
    monkeypatch.chdir(tmp_path)
    model = ['--model_path', small_detector, '--num_images', '3']
    file = ['--shape_range_file', 'ranges.pbtxt']
    over = ['-o', *small_settings]
    assert call_script(EVALUATION, '--config_path', YAML,
                       '--collect_shapes_only', *file, *model, *over) == 0
    assert 'shape ranges' in capfd.readouterr().out
    assert os.listdir(tmp_path) == ['ranges.pbtxt']

    gpu = ['--device', 'GPU', '--use_trt', *model]
    assert 'is the CPU build of Paddle' in refused(capfd, *gpu, *file, *over)
    text = (tmp_path / 'ranges.pbtxt').read_text()
    digest = json.loads(text.split('# meta: ')[1].splitlines()[0])['model']
    (tmp_path / 'ranges.pbtxt').write_text(text.replace(digest, 'f' * 64))
    # Before the device.
    assert 'was made for another model' in refused(capfd, *gpu, *file, *over)
    assert sorted(os.listdir(tmp_path)) == ['ranges.pbtxt']


@pytest.fixture
def tensorrt_plan(small_detector, small_settings):
    """Settings, options, plan, reader, and images of the small detector."""
    settings = config.load(YAML, cli.parse_overrides(small_settings))
    options = request.Options(device='GPU', use_trt=True, threads=1)
    reader = data.open_reader(settings.Reader)
    return (settings, options, request.plan_of(settings,
                                               small_detector, options), reader,
            reader.val().take(2))


def test_ranges_of_one_image_lie_aside(tensorrt_plan, small_detector, tmp_path):
    settings, options, made, reader, images = tensorrt_plan
    place = ranges.default_path(ModelFiles(small_detector))
    assert not os.path.exists(place)
    aside = request.with_ranges(made,
                                settings,
                                small_detector,
                                options,
                                images,
                                reader,
                                aside=str(tmp_path))
    assert aside.tensorrt.range_file == str(tmp_path / ranges.NAME)
    assert not os.path.exists(place)


def test_engines_of_the_device(tensorrt_plan, cache):
    made = tensorrt_plan[2]
    device = gpu.Device('A GPU', '8.6', '11.8', '8.5.3')
    placed = request.with_engines(made, device).tensorrt
    assert placed.cache_dir == tensorrt.engine_dir(placed.key)
    assert placed.cache_dir.startswith(str(cache / 'paddle_auto_compression'))
    assert placed.key['model'] == made.files.digest()
    other = dataclasses.replace(device, compute='8.9')
    assert request.with_engines(made, other).tensorrt.cache_dir != \
        placed.cache_dir
    plain = dataclasses.replace(made, tensorrt=None)
    assert request.with_engines(plain, device) == plain


def test_fixed_shapes_are_not_collected(small_detector, small_settings, capfd):
    assert 'fixed shapes have no range' in refused(
        capfd, '--collect_shapes_only', '--use_dynamic_shape', 'False',
        '--model_path', small_detector, '-o', *small_settings)


@pytest.mark.parametrize('words, said', [
    (['--use_trt'], '--use_trt: TensorRT is of the GPU'),
    (['--use_multi_img_for_dynamic_shape_collect', 'False'
      ], 'one image does not span the shapes'),
    (['--precision', 'fp16'], 'no fp16 kernels for CPUs'),
    (['--device', 'GPU', '--precision', 'bf16'], 'use fp16'),
    (['--device', 'GPU', '--precision', 'int8', '--use_trt'
      ], 'holds no quantization'),
    (['--device', 'GPU'], 'is the CPU build of Paddle'),
])
def test_the_command_line(small_detector, small_settings, capfd, tmp_path,
                          monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capfd, *words, '--model_path', small_detector, '-o',
                           *small_settings)
    assert os.listdir(tmp_path) == []


COMMANDS = [
    words[1:] for words in script_commands(read(ENGLISH))
    if words[0] == EVALUATION and 'GPU' in words
]


def option(words, name, default=None):
    return words[words.index(name) + 1] if name in words else default


def test_the_manual_has_commands_for_the_gpu():
    tables = [w for w in COMMANDS if '--compare' in w]
    assert len(tables) == 4 and len(COMMANDS) == 7
    assert len({option(w, '--config_path') for w in tables}) == 4


@pytest.mark.parametrize('words', COMMANDS, ids=' '.join)
def test_commands_of_the_manual(words, float_model, int8_model, shapes,
                                tmp_path, capfd):
    """The plan of each, and its way up to the device: with the YAML that it
    names, and the demo's models and images in the place of those of COCO."""
    quantized = option(words, '--precision') is None
    words = list(words)
    for name, value in (('--model_path',
                         int8_model if quantized else float_model),
                        ('--config_path',
                         os.path.join(PROJECT,
                                      option(words, '--config_path', YAML))),
                        ('--compare', float_model)):
        if name in words:
            words[words.index(name) + 1] = value
        elif name != '--compare':
            words = [name, value, *words]
    over = [
        '-o', 'Reader.dataset_dir=' + shapes,
        'Reader.file=readers/picodet_320.yml', 'Deploy.tensorrt.disabled_ops=[]'
    ]
    record = tmp_path / 'plan.json'
    words += ['--num_images', '3', '--output_json', str(record)]
    words = [w for w in words if w != '--explain']
    assert call_script(EVALUATION, *words, '--explain', *over) == 0
    plans = json.loads(record.read_text())['plans']
    assert len(plans) == 1 + ('--compare' in words)
    for one in plans:
        assert one['refused'] == [] and one['backend'] == 'tensorrt'
    assert plans[0]['precision'] == ('int8' if quantized else 'fp16')
    capfd.readouterr()
    assert call_script(EVALUATION, *words, *over) == 2
    assert 'error: --device GPU: this is the CPU build of Paddle' in \
        capfd.readouterr().err
