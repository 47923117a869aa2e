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

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

# See make test-gpu-config, make test-browser and make test-paddle3.
collect_ignore = ['gpu', 'browser', 'paddle3']

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


def call_script(name, *arguments):
    """Run a script's main in this process, which has imported the libraries.
    Returns the exit code."""
    from act import cli
    path = os.path.join(PROJECT, name)
    spec = importlib.util.spec_from_file_location(name[:-3] + '_', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [path, *map(str, arguments)])
        return cli.run(module.main)


def annotate(settings, count, path):
    """Write an annotation file that holds what the model of some settings finds
    in the first validation images: random weights find nothing of what there
    is. Returns its path."""
    from act import data, inference, predictor
    from act.program.model import ModelFiles
    opened = data.open_reader(settings.Reader)
    images = opened.val().take(count)
    made = predictor.plan(ModelFiles(settings.Global.model_dir),
                          settings.Deploy.cpu,
                          mkldnn=False,
                          threads=1)
    done, = inference.run([predictor.Predictor(made)], opened.pipeline,
                          images.records)
    rows = []
    for found in done.detections:
        for row in found.boxes[(-found.boxes[:, 1]).argsort()[:20]]:
            x1, y1, x2, y2 = map(float, row[2:])
            rows.append({
                'id': len(rows) + 1,
                'image_id': found.image_id,
                'category_id': images.category_ids[int(row[0])],
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1),
                'iscrowd': 0
            })
    with open(images.annotation_path, encoding='utf-8') as f:
        content = json.load(f)
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(dict(content, annotations=rows), f)
    return path


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


@pytest.fixture(scope='session')
def small_detector(tmp_path_factory):
    """Directory of a detector of few layers: scripts run it soon."""
    import programs
    from act import runtime
    runtime.import_ppdet()
    directory = str(tmp_path_factory.mktemp('models') / 'small')
    programs.save(directory, programs.detector)
    return directory


@pytest.fixture(scope='session')
def planted(small_detector, tmp_path_factory):
    """Directory of that detector with a wild channel; see programs.plant."""
    import programs
    from act.program.model import Model, ModelFiles
    directory = str(tmp_path_factory.mktemp('planted') / 'float')
    model = Model.load(ModelFiles(small_detector))
    programs.plant(model)
    model.save(ModelFiles(directory))
    return directory


@pytest.fixture(scope='session')
def small_settings(small_detector, shapes, tmp_path_factory):
    """Overrides of the shipped YAML for that detector. What it finds is what
    the annotation file says there is."""
    from act import config
    settings = config.load(YAML, {
        'Global': {
            'model_dir': small_detector
        },
        'Reader': {
            'dataset_dir': shapes
        }
    })
    found = annotate(settings, 24,
                     str(tmp_path_factory.mktemp('found') / 'found.json'))
    return [
        'Global.model_dir=' + small_detector, 'Reader.anno_path=' + found,
        'Reader.dataset_dir=' + shapes
    ]


@pytest.fixture(scope='session')
def training(small_settings):
    """Arguments of run.py for a training of nine iterations, the batch left
    out. More than a test stops at: a signal must not come too late."""
    return [
        '--config_path', YAML, '-o', *small_settings,
        'TrainConfig.train_iter=9', 'TrainConfig.eval_iter=2',
        'TrainConfig.eval_images=5', 'TrainConfig.checkpoint_iter=1',
        'TrainConfig.optimizer_builder.optimizer={type: Momentum}',
        'TrainConfig.learning_rate={type: PiecewiseDecay, boundaries: [1, 3], '
        'values: [0.01, 0.005, 0.001]}',
        'Quantization={strategy: qat, weight_rounding: gptq, algo: avg, '
        'calibration_images: 2}'
    ]


@pytest.fixture(scope='session')
def trained(training, tmp_path_factory):
    """Where that training was, of one process that nobody stopped, with four
    images a batch; see killing.py."""
    import killing
    place = str(tmp_path_factory.mktemp('trained') / 'whole')
    process = killing.start([
        os.path.join(PROJECT, 'run.py'), *training, 'TrainConfig.batch_size=4'
    ], place, place + '.log')
    with open(place + '.log', encoding='utf-8') as f:
        assert process.wait() == 0, f.read()
    assert killing.leftovers(place) == []
    return place
