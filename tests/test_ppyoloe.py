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
"""PP-YOLOE+, with its NMS in the model and without."""

import os
import subprocess
import sys

import numpy as np
import ppyoloe_small as small
import pytest
import yaml
from act import config, evaluate, int8_check, predictor
from act.compress import job
from act.errors import UserError
from act.program.inspect import dequantized
from act.program.model import Model, ModelFiles
from conftest import PROJECT, annotate

YAML = os.path.join(PROJECT, 'configs', 'ppyoloe_plus_crn_l_80e_qat.yml')
NMS = config.load(YAML, {'Preset': 'without_nms'}).own_nms


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Directory of the small models, see ppyoloe_small.py."""
    directory = str(tmp_path_factory.mktemp('ppyoloe'))
    done = subprocess.run([sys.executable, small.__file__, directory],
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(directory, 'said'), 'w') as f:
        f.write(done.stdout)
    return directory


def run(directory, nms):
    """The plan, the outputs and the detections of the small batch."""
    made = predictor.plan(ModelFiles(directory),
                          config.CpuSection(),
                          nms=nms,
                          mkldnn=False,
                          threads=1)
    batch = small.batch()
    outputs = predictor.Predictor(made).run(batch)
    return made, outputs, made.postprocess(outputs, batch)


@pytest.fixture(scope='module')
def ran(models):
    return {
        name: run(os.path.join(models, name), None if name == 'nms' else NMS)
        for name in small.FORMS
    }


def test_forms(ran):
    cells = sum((small.SIDE // stride)**2 for stride in (8, 16, 32))
    assert [o.shape for o in ran['apart'][1]] == [(2, cells, 4),
                                                  (2, small.CLASSES, cells)]
    assert [o.shape
            for o in ran['joined'][1]] == [(2, cells, 4 + small.CLASSES)]
    assert not ran['apart'][0].postprocess.rescale
    assert ran['joined'][0].postprocess.rescale


def test_export_computes_what_the_network_does(models, ran):
    wanted = np.load(os.path.join(models, 'dygraph.npz'))
    boxes, scores = ran['apart'][1]
    assert np.ptp(scores) > 0.5 and np.ptp(boxes) > 50
    np.testing.assert_allclose(boxes, wanted['boxes'], 0, 0.05)
    np.testing.assert_allclose(scores, wanted['scores'], 0, 1e-4)


@pytest.mark.parametrize('form', ('apart', 'joined'))
def test_same_detections_with_and_without(ran, form):
    wanted, counts = ran['nms'][2]
    rows, found = ran[form][2]
    assert min(counts) > 20 and found.tolist() == counts.tolist()
    np.testing.assert_array_equal(rows[:, 0], wanted[:, 0])
    np.testing.assert_allclose(rows[:, 1], wanted[:, 1], 0, 1e-5)
    np.testing.assert_allclose(rows[:, 2:], wanted[:, 2:], 0, 1e-2)


def test_nms_that_stays_is_told(models):
    with open(os.path.join(models, 'said')) as f:
        said = f.read()
    assert 'refused: export.nms=False has no effect on architecture YOLOv3' \
        in said and 'exclude_nms=True' in said
    assert not os.path.exists(os.path.join(models, 'none'))


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    """A reader file for the small models, relative paths as in the shipped."""
    shipped = config.load(YAML).Reader.file
    with open(shipped, encoding='utf-8') as f:
        text = f.read()
    path = tmp_path_factory.mktemp('reader') / 'reader.yml'
    assert '[640, 640]' in text
    path.write_text(text.replace('[640, 640]', str([small.SIDE] * 2)))
    return str(path)


def settings_of(models, reader, shapes, name):
    return config.load(
        YAML, {
            'Preset': 'with_nms' if name == 'nms' else 'without_nms',
            'Global': {
                'model_dir': os.path.join(models, name)
            },
            'Reader': {
                'file': reader,
                'dataset_dir': shapes
            },
            'Quantization': {
                'algo': 'avg',
                'calibration_images': 4,
                'weight_rounding': 'nearest'
            },
            'TrainConfig': {
                'train_iter': 2,
                'eval_iter': 2,
                'batch_size': 2,
                'eval_images': 4
            },
            'Deploy': {
                'input_shape': [small.SIDE] * 2
            },
        })


@pytest.fixture(scope='module')
def found_by_it(models, reader, shapes, tmp_path_factory):
    """An annotation file that holds what the model with NMS finds: its random
    weights find nothing of what there is."""
    return annotate(settings_of(models, reader, shapes, 'nms'), 7,
                    str(tmp_path_factory.mktemp('found') / 'found.json'))


def test_evaluation_with_and_without(models, reader, shapes, found_by_it,
                                     tmp_path, capsys):
    """paddle_inference_eval.py's function, image by image and in batches."""
    maps = {}
    for name in small.FORMS:
        settings = settings_of(models, reader, shapes, name)
        settings.Reader.anno_path = found_by_it
        record, _ = evaluate.evaluate(
            settings, settings.Global.model_dir,
            evaluate.Options(use_mkldnn=False,
                             threads=1,
                             batch_size=3,
                             num_images=7,
                             output_dir=str(tmp_path / name)), ['test'])
        maps[name] = record['map']
    assert maps['nms'] > 50
    assert maps['apart'] == pytest.approx(maps['nms'], abs=0.01)
    assert maps['joined'] == pytest.approx(maps['nms'], abs=0.01)
    settings = settings_of(models, reader, shapes, 'apart')
    with pytest.raises(UserError, match='include_nms is False, but'):
        evaluate.evaluate(settings, os.path.join(models, 'nms'),
                          evaluate.Options(output_dir=str(tmp_path)), ['test'])


def test_compression_without_nms(models, reader, shapes, tmp_path, capsys):
    """It is evaluated in training, and the result runs in int8 by the
    configuration that lies beside it."""
    settings = settings_of(models, reader, shapes, 'joined')
    settings.Quantization.strategy = 'qat'
    result = str(tmp_path / 'qat')
    record = job.compress(settings, result, ['test'])
    assert record['quantized_ops'] > 20
    assert record['num_images'] == 4 and record['map'] >= 0
    # The projection of the box distribution is a constant: not quantized.
    made = Model.load(ModelFiles(result))
    quantized = [
        made.parameter(weight.input('X')[0]).shape
        for _, weight, _ in dequantized(made)
    ]
    assert quantized and (1, 17, 1, 1) not in quantized
    projections = [
        made.parameter(op.input('Filter')[0]).reshape(-1) for op in made.ops
        if op.type == 'conv2d' and made.program.global_block().var(
            op.input('Filter')[0]).shape == (1, 17, 1, 1)
    ]
    assert len(projections) == 3
    for projection in projections:
        np.testing.assert_array_equal(projection, np.arange(17))
    beside = config.load(os.path.join(result, job.CONFIG))
    assert beside.own_nms == NMS
    made = predictor.plan(ModelFiles(result),
                          beside.Deploy.cpu,
                          nms=beside.own_nms,
                          threads=1)
    assert made.precision == 'int8' and made.postprocess.rescale
    count = int8_check.run(made, small.batch())
    assert count.int8 > 20 and int8_check.failures(made, count) == []
    rows, counts = made.postprocess(
        predictor.Predictor(made).run(small.batch()), small.batch())
    assert len(counts) == 2 and counts.min() > 20 and len(rows) == counts.sum()


def test_compression_refuses_the_wrong_form(models, reader, shapes, tmp_path):
    settings = settings_of(models, reader, shapes, 'nms')
    settings.Global.model_dir = os.path.join(models, 'joined')
    with pytest.raises(UserError, match='Global.include_nms is True, but'):
        job.compress(settings, str(tmp_path / 'x'), ['test'])
    assert os.listdir(str(tmp_path)) == []


def test_shipped():
    """The YAML says what the ppdet configuration and the reader say."""
    settings = config.load(YAML)
    assert settings.Global.include_nms and settings.own_nms is None
    model = os.path.join(os.path.dirname(settings.Export.config), '_base_',
                         'ppyoloe_plus_crn.yml')

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor('!', lambda *_: None)
    with open(model) as f:
        network = yaml.load(f, Loader)
    nms = dict(network['PPYOLOEHead']['nms'])
    assert nms.pop('name') == 'MultiClassNMS' and nms == NMS.model_dump()
    with open(settings.Reader.file) as f:
        reader = yaml.load(f, Loader)['EvalReader']['sample_transforms']
    assert reader == network['EvalReader']['sample_transforms']
    assert reader == network['TestReader']['sample_transforms']
    side = reader[1]['Resize']['target_size']
    assert tuple(side) == settings.Deploy.input_shape
    with open(settings.Export.config) as f:
        assert yaml.safe_load(f)['weights'] == settings.Export.weights
    assert config.load(YAML, {
        'Preset': 'without_nms'
    }).Export.options == {
        'exclude_nms': True
    }
