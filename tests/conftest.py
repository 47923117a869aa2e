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
"""Fixtures that several modules share. Each model is made once a session."""

import os
import signal
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

YAML = os.path.join(PROJECT, 'configs', 'picodet_s_320_lcnet_qat.yml')


def run_script(name, *arguments, cwd=PROJECT, **kwargs):
    """Run one of the project's scripts as a user would; returns what
    subprocess.run does, output as text."""
    return subprocess.run(
        [sys.executable, os.path.join(PROJECT, name)] + list(arguments),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **kwargs)


@pytest.fixture(scope='session', autouse=True)
def cache(tmp_path_factory):
    """Keep the user's cache out of the tests."""
    directory = tmp_path_factory.mktemp('cache')
    os.environ['XDG_CACHE_HOME'] = str(directory)
    return directory


@pytest.fixture
def signals_arrive():
    """Also where the tests were started with signals ignored, as by nohup."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(n, signal.SIG_DFL) for n in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A small shapes data set: 12 training and 24 validation images."""
    from demo import shapes as generator
    root = str(tmp_path_factory.mktemp('data') / 'shapes')
    generator.generate(root, train=12, val=24, seed=7)
    return root


@pytest.fixture(scope='session')
def float_model(tmp_path_factory):
    """Directory of the demo's detector, exported from its trained weights."""
    directory = str(tmp_path_factory.mktemp('models') / 'float')
    done = run_script('export.py', '-c', 'demo/picodet_s_320_lcnet.yml',
                      '--save_dir', directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope='session')
def sibling(tmp_path_factory):
    """Gives the directory of a small trained model of demo/ by its name,
    exported as its compression YAML says."""
    made = {}

    def export(name):
        if name not in made:
            directory = str(tmp_path_factory.mktemp('siblings') / name)
            done = run_script('export.py', '--config_path',
                              os.path.join('demo', name + '_qat.yml'),
                              '--save_dir', directory)
            assert done.returncode == 0, done.stderr
            made[name] = directory
        return made[name]

    return export


@pytest.fixture(scope='session')
def settings(shapes, float_model):
    """The shipped configuration, for the small data set and that model."""
    from act import config
    return config.load(
        YAML,
        {
            'Global': {
                'model_dir': float_model
            },
            'Reader': {
                'dataset_dir': shapes
            },
            'Quantization': {
                'strategy': 'ptq',
                'algo': 'avg',
                'calibration_images': 6,
                # Quick; test_refine.py has what is the default.
                'weight_rounding': 'nearest'
            },
        })


@pytest.fixture(scope='session')
def int8_model(tmp_path_factory, settings):
    """Directory of the detector after post-training quantization."""
    from act.compress import job
    directory = str(tmp_path_factory.mktemp('models') / 'int8')
    job.compress(settings, directory, ['test'])
    return directory
