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
"""Models that were made with Paddle 2.6.2, run with Paddle 3: see
make test-paddle3."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from act import accuracy, runtime, versions
from act.plan import cpu_passes
from act.program.model import ModelFiles
from conftest import PROJECT, YAML, run_script

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import reference  # noqa: E402

HERE = runtime.installed()
FORMS = reference.FORMS if {'avx512f'} & set(runtime.cpu_extensions()) else [
    form for form in reference.FORMS if form[1] != 'bf16'
]


@pytest.fixture(scope='session')
def place(tmp_path_factory):
    """Directory of what reference.py makes."""
    place = str(tmp_path_factory.mktemp('reference'))
    done = subprocess.run([
        os.environ['PADDLE2_PYTHON'],
        reference.__file__,
        place,
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          encoding='utf-8')
    assert done.returncode == 0, done.stdout
    return place


@pytest.fixture(scope='session')
def said(place):
    """What 2.6.2 said."""
    with open(os.path.join(place, 'said.json'), encoding='utf-8') as f:
        return json.load(f)


def test_this_is_paddle_3():
    paddle = runtime.import_paddle()
    assert paddle.__version__ == HERE.version != versions.PADDLE
    assert not HERE.whole


def test_passes_have_the_names_of_the_table(said):
    here = cpu_passes()
    renamed = {name: HERE.pass_name(name) for name in said['passes']}
    assert set(renamed.values()) <= here
    assert {k: v for k, v in renamed.items() if k != v} == HERE.passes
    # None is in the table without need.
    assert not set(HERE.passes) & here


@pytest.mark.parametrize('model, precision', FORMS)
def test_detections_are_those_of_the_other_version(place, said, model,
                                                   precision):
    name = '%s_%s' % (model, precision)
    found, made = reference.detect(place, model, precision)
    assert made.rewrites == said[name]['rewrites']
    assert reference.accuracy_of(place,
                                 found) == pytest.approx(said[name]['map'],
                                                         abs=0.05)
    with np.load(os.path.join(place, name + '.npz')) as content:
        others = [
            accuracy.Detections(d.image_id, content[str(d.image_id)])
            for d in found
        ]
    agreement = accuracy.agreement_ap(others, found)
    assert agreement.boxes > 100
    assert agreement.map > 0.99


@pytest.mark.parametrize('options', [[], ['--no_rewrite']])
def test_int8_is_int8(place, said, tmp_path, options):
    path = str(tmp_path / 'record.json')
    done = run_script('paddle_inference_eval.py', '--device', 'CPU',
                      '--model_path', os.path.join(place, 'int8'), '--compare',
                      os.path.join(place, 'float'), '--output_json', path,
                      '--output_dir', str(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    assert 'warning: rewrites are left out' not in done.stderr
    with open(path, encoding='utf-8') as f:
        record = json.load(f)
    assert record['paddle'] == HERE.version
    assert record['int8_convs_ran'] == record['int8_convs_expected'] == 65
    assert record['fp32_convs_ran'] == 33
    assert record['map'] == pytest.approx(said['int8_int8']['map'], abs=1.0)
    assert record['agreement_ap'] > 90


def test_a_pass_is_deleted_under_its_old_name(place, tmp_path):
    """And so that it is gone: see `predictor.build_config`."""
    name = 'conv_activation_mkldnn_fuse_pass'
    path = str(tmp_path / 'record.json')
    done = run_script('paddle_inference_eval.py', '--device', 'CPU',
                      '--config_path', YAML, '--model_path',
                      os.path.join(place, 'float'), '--num_images', '1',
                      '--no_rewrite', '--output_json', path, '--output_dir',
                      str(tmp_path), '-o',
                      'Reader.dataset_dir=' + os.path.join(place, 'shapes'),
                      'Deploy.cpu.deleted_passes=[%s]' % name)
    assert done.returncode == 0, done.stderr
    with open(path, encoding='utf-8') as f:
        assert json.load(f)['deleted_passes'] == [HERE.pass_name(name)]
    ran = [
        sum(one.kind == 'eltwise' for one in primitives(place, deleted))
        for deleted in ((), (HERE.pass_name(name), ))
    ]
    assert ran[1] > ran[0] + 50


def primitives(place, deleted):
    """What oneDNN ran of the float model."""
    import dataclasses

    from act import config, data, int8_check, predictor
    settings = config.load(YAML, reference.overrides(place))
    plan = predictor.plan(ModelFiles(os.path.join(place, 'float')),
                          settings.Deploy.cpu,
                          rewrites=())
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    return int8_check.primitives(
        dataclasses.replace(plan, deleted_passes=deleted),
        data.feed(batch, ['image', 'scale_factor'], None, YAML))


@pytest.mark.parametrize('words', [
    ['run.py', '--config_path', YAML],
    ['export.py', '-c', 'demo/picodet_s_320_lcnet.yml'],
    ['demo/train.py', 'demo/recipes/picodet_s.yml'],
    ['sweep.py', '--config_path', YAML],
    ['diagnose.py', 'search', '--config_path', YAML],
    [
        'paddle_inference_eval.py', '--device', 'GPU', '--config_path', YAML,
        '--model_path', 'FLOAT'
    ],
])
def test_the_rest_needs_the_other_version(place, words):
    words = [w.replace('FLOAT', os.path.join(place, 'float')) for w in words]
    done = run_script(*words)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert 'needs paddlepaddle 2.6.2, found 3.3.1' in done.stderr
    assert done.stdout == ''


def test_profile(place, tmp_path):
    done = run_script('diagnose.py', 'profile', '--model_path',
                      os.path.join(place, 'int8'), '--runs', '3',
                      '--output_dir', str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert 'brg' in done.stdout and 'multiclass_nms_fast' in done.stdout


def test_constraints_hold():
    """Whatever is installed is pinned, but for Paddle and what brings pip."""
    pins = {}
    for name in ('constraints.txt', 'requirements-paddle3.txt'):
        with open(os.path.join(PROJECT, name), encoding='utf-8') as f:
            for line in f:
                package, equals, version = line.split('#')[0].partition('==')
                if equals:
                    pins[package.strip().lower()] = version.strip()
    import importlib.metadata
    for found in importlib.metadata.distributions():
        name = found.metadata['Name'].lower().replace('_', '-')
        if name != 'pip':
            assert pins.get(name,
                            pins.get(name.replace('-',
                                                  '_'))) == found.version, name
