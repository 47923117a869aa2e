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
"""Which layers lose accuracy: act.search's layers and diagnose.py layers, on a
small detector in which one channel is made far wider than its neighbours."""

import json
import os
import subprocess
import sys

import killing
import numpy as np
import pytest
import yaml
from act import config, data, results
from act.compress import job
from act.errors import UserError
from act.postprocess import PostProcess, check_outputs
from act.program.model import Model, ModelFiles
from act.search import (
    agreement,
    channels,
    layers,
    layers_record,
    layers_words,
    sensitivity,
)
from act.search.journal import Journal
from act.search.simulation import QuantizedLayer, Simulation
from conftest import PROJECT, YAML, call_script
from programs import CHANNEL, WEIGHTS


@pytest.fixture(scope='module')
def made(planted, shapes, tmp_path_factory):
    """Directory of it in int8, all of it."""
    settings = config.load(
        YAML, {
            'Global': {
                'model_dir': planted,
                'Evaluation': False
            },
            'Reader': {
                'dataset_dir': shapes
            },
            'QuantAware': {
                'float_weights': [],
                'quantize_op_types': ['conv2d', 'depthwise_conv2d']
            },
            'Deploy': {
                'cpu': {
                    'int8_ops': ['conv2d', 'depthwise_conv2d', 'fused_conv2d']
                }
            },
            'Quantization': {
                'strategy': 'ptq',
                'algo': 'abs_max',
                'calibration_images': 8,
                'weight_rounding': 'nearest'
            }
        })
    directory = str(tmp_path_factory.mktemp('planted') / 'int8')
    job.compress(settings, directory, ['test'])
    return directory


@pytest.fixture(scope='module')
def settings_of(made):
    return config.load(os.path.join(made, job.CONFIG), {})


@pytest.fixture(scope='module')
def judge(made, planted, settings_of):
    """Of three training images."""
    reader = data.open_reader(settings_of.Reader)
    model = Model.load(ModelFiles(made))
    records = agreement.training_images(settings_of, reader, 3)
    return agreement.Judge(
        Simulation(ModelFiles(made), ModelFiles(planted)),
        agreement.prepare(settings_of, reader, records, model.inputs()),
        check_outputs(model, made))


def ask(made, output, *more):
    """diagnose.py layers, as a user calls it; returns the exit code."""
    return call_script('diagnose.py', 'layers', '--model_path', made,
                       '--output_dir', output, '--num_images', 3, *more)


@pytest.fixture(scope='module')
def whole(made, tmp_path_factory):
    """Record and output directory of a run that came to its end."""
    output = str(tmp_path_factory.mktemp('layers') / 'whole')
    assert ask(made, output) == 0
    return read(output), output


def read(output):
    with open(os.path.join(output, layers.RECORD), encoding='utf-8') as f:
        return json.load(f)


def test_ranges_of_channels():
    value = np.array([[[1., -3.], [0., 0.], [2., 50.]]])  # (1, 3, 2)
    ranges = channels.Ranges.of(value, 1)
    assert ranges.low.tolist() == [-3, 0, 2]
    assert ranges.high.tolist() == [1, 0, 50]
    # The channel that is always 0 is not counted.
    assert ranges.widest == 50 and ranges.median == 26.5
    wide = ranges.joined(channels.Ranges.of(-20 * value, 1))
    assert wide.low.tolist() == [-20, 0, -1000]
    assert wide.high.tolist() == [60, 0, 50]
    other = channels.Ranges.of(np.array([[1., 2., -40.], [0.5, 1., 7.]]), -1)
    assert other.wild() == [2] and other.median == 2
    assert other.steps() == pytest.approx(6.35)
    assert other.steps(4) == 63.5
    assert other.steps(1) == 127  # cut off: it has them all
    nothing = channels.Ranges.of(np.zeros((1, 3, 2)), 1)
    assert nothing.wild() == [] and nothing.steps() == 0


@pytest.mark.parametrize('kind, axis', [('conv2d', 1), ('depthwise_conv2d', 1),
                                        ('conv2d_transpose', 1),
                                        ('matmul_v2', -1), ('mul', -1)])
def test_the_axis_of_channels(kind, axis):
    assert channels.axis_of(kind) == axis


def test_the_planted_channel_is_found_and_its_layer_ranked_first(whole):
    record, _ = whole
    assert [r['weight'] for r in record['layers']][0] == 'point'
    assert sorted(r['weight'] for r in record['layers']) == sorted(WEIGHTS)
    first, second = record['layers'][:2]
    assert first['effect'] > second['effect'] + 5
    assert first['sqnr_db'] < min(r['sqnr_db'] for r in record['layers'][1:])
    assert first['input_wild'] == 1 and first['steps'] < channels.STEPS / 16
    assert [(r['weight'], r['side'], r['channel'])
            for r in record['wild']] == [('point', 'input', CHANNEL)]


def test_it_in_float_is_what_is_advised(whole, settings_of, judge):
    record, _ = whole
    rows = [(r['float_weights'], r['agreement_ap']) for r in record['together']]
    assert [len(weights) for weights, _ in rows] == [1, 2, 4]
    weights, ap = layers_words.advised(record['agreement_ap'], rows,
                                       record['agreement_boxes'])
    assert weights[0] == 'point' and ap > record['agreement_ap'] + 5
    # And it is so.
    assert judge.agreement(set(WEIGHTS) - set(weights)) == ap
    assert judge.agreement(WEIGHTS) == record['agreement_ap']
    assert judge.agreement(()) == 100


def test_the_numbers_are_those_of_the_definition(whole, judge):
    record, _ = whole
    row = next(r for r in record['layers'] if r['weight'] == 'head')
    assert row['operators'] == 2
    simulation = judge.simulation
    outputs = [x.output for x in simulation.layers if x.weight == 'head']
    inputs = [x.input for x in simulation.layers if x.weight == 'head']
    values = []
    for quantized in ((), ['head']):
        simulation.set(quantized)
        values.append([
            simulation.run(i.feed, outputs)[1][n].astype(np.float64)
            for i in judge.images for n in outputs
        ])
    signal = sum((y**2).sum() for y in values[0])
    noise = sum(((y - q)**2).sum() for y, q in zip(*values))
    assert row['sqnr_db'] == pytest.approx(10 * np.log10(signal / noise))
    simulation.set(())
    seen = [
        simulation.run(i.feed, inputs)[1][n] for i in judge.images
        for n in inputs
    ]
    assert row['input_low'] == min(v.min() for v in seen)
    assert row['input_high'] == max(v.max() for v in seen)
    assert row['lost'] == pytest.approx(100 - judge.agreement(['head']))
    assert row['regained'] == pytest.approx(
        judge.agreement(set(WEIGHTS) - {'head'}) - judge.agreement(WEIGHTS))
    assert row['effect'] == pytest.approx((row['lost'] + row['regained']) / 2)


def test_images_that_have_no_room_count_for_the_detections(
        judge, whole, monkeypatch, tmp_path):
    monkeypatch.setattr(sensitivity, '_MEMORY', 1)
    few = sensitivity.Sensitivity(judge, Journal(str(tmp_path / 'p'), {}))
    found = {f.weight: f for f in few.measure()}
    for row in whole[0]['layers']:
        assert row['lost'] == pytest.approx(found[row['weight']].lost)
        # Of the first image.
        assert abs(row['sqnr_db'] - found[row['weight']].sqnr_db) < 6
    alone = sensitivity.Sensitivity(
        agreement.Judge(judge.simulation, judge.images[:1], PostProcess()),
        Journal(str(tmp_path / 'q'), {}))
    for finding in alone.measure():
        assert finding.sqnr_db == pytest.approx(found[finding.weight].sqnr_db)


def test_what_is_said(whole, made, planted, tmp_path, capsys):
    """All is known from the run before, so nothing is measured."""
    record, output = whole
    assert ask(made, output) == 0
    said = capsys.readouterr().out
    again = read(output)
    assert again['reused_probes'] > 12
    assert "going on: '%s' knows" % os.path.join(output, layers.JOURNAL) in said
    for row in record['wild']:
        assert 'point input channel 3: %.4g to %.4g, the median channel ' % (
            row['low'], row['high']) in said
    assert 'Put these lines into the YAML' in said and planted in said
    text = said[said.index('QuantAware:'):said.index('\npicture:')]
    assert yaml.safe_load(text)['QuantAware']['float_weights'][0] == 'point'
    for name in ('layers', 'wild', 'together'):
        assert again[name] == record[name]
    with open(os.path.join(output, layers.PICTURE), 'rb') as f:
        assert f.read(8) == b'\x89PNG\r\n\x1a\n'


def test_a_run_that_is_killed_is_gone_on_with(made, whole, tmp_path):
    output = str(tmp_path / 'killed')
    halt = killing.Halt(str(tmp_path / 'halted'),
                        made='*/' + layers.JOURNAL,
                        count=6)
    process = subprocess.Popen([
        sys.executable, 'diagnose.py', 'layers', '--model_path', made,
        '--output_dir', output, '--num_images', '3'
    ],
                               cwd=PROJECT,
                               env=halt.env,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    halt.send(process)
    assert os.listdir(output) == [layers.JOURNAL]
    assert ask(made, output) == 0
    record = read(output)
    assert 5 <= record['reused_probes'] < 17
    for name in ('layers', 'wild', 'together', 'agreement_ap'):
        assert record[name] == whole[0][name]
    assert ask(made, output, '--fresh') == 0
    # The agreement of all is asked again for each layer.
    assert read(output)['layers'] == record['layers']
    assert read(output)['reused_probes'] <= 1


def test_bad_input(made, planted, tmp_path, capsys):
    output = str(tmp_path / 'none')

    def error(*more):
        assert ask(made, output, *more) == 2
        assert not os.path.exists(output)
        line, = capsys.readouterr().err.splitlines()
        return line

    assert "float model 'nowhere' (--compare) does not exist; name" in error(
        '--compare', 'nowhere')
    assert 'Global.model_dir) does not exist; name the one that' in error(
        '-o', 'Global.model_dir=nowhere')
    assert 'leave --compare out' in error('--compare', planted, '-o',
                                          'Quantization.strategy=qat')
    assert 'is a float model; name an int8 model' in error(
        '--model_path', planted, '--config_path',
        os.path.join(made, job.CONFIG))


def test_images_of_calibration_come_last(settings_of):
    reader = data.open_reader(settings_of.Reader)
    drawn = [r.id for r in reader.train().drawn(0)]
    for count in (4, 12, 99):
        found = agreement.training_images(settings_of, reader, count)
        assert [r.id for r in found] == (drawn[8:] + drawn[:8])[:count]


def test_a_layer_that_makes_nan_agrees_in_nothing(made, planted, settings_of,
                                                  judge, tmp_path):
    broken = Model.load(ModelFiles(made))
    simulation = Simulation(ModelFiles(made), ModelFiles(planted))
    weight = next(
        op for op in broken.ops
        if op.type == 'dequantize_linear' and op.input('X') == ['box'])
    scale = weight.input('Scale')[0]
    broken.set_parameter(scale, np.full_like(broken.parameter(scale), np.nan))
    files = ModelFiles(str(tmp_path / 'broken'))
    broken.save(files)
    simulation = Simulation(files, ModelFiles(planted))
    one = agreement.Judge(simulation, judge.images, check_outputs(broken, 'it'))
    assert one.agreement(['box']) == 0
    assert one.agreement(['stem']) == judge.agreement(['stem'])


def test_a_float_model_that_finds_nothing(judge, monkeypatch):
    monkeypatch.setattr(agreement, 'SCORE', 1.5)
    empty = agreement.Judge(judge.simulation, judge.images, PostProcess())
    with pytest.raises(UserError,
                       match='nothing of score >= 1.5 in 3 training'):
        empty.agreement(['point'])


def test_the_fewest_layers_that_regain_most_are_advised():
    rows = [(['a'], 90.2), (['a', 'b'], 94.5), (list('abcd'), 95.0)]
    assert layers_words.advised(90.0, rows, 1000) == rows[1]
    assert layers_words.advised(94.6, rows, 1000) is None
    assert layers_words.advised(90.0, [], 1000) is None
    assert layers_words.advised(96.0, rows, 1000) is None
    # Five points are less than two of 30 boxes.
    assert layers_words.advised(90.0, rows, 30) is None


@pytest.mark.parametrize('whole, regained, said', [
    (99.8, 0, 'nothing needs to stay in float'),
    (90.0, 0.1, 'less than 0.5 points, which is chance. Round weights'),
    (90.0, 6.0, 'With the first 2 of the ranking in float, it is 96.00.'),
])
def test_the_conclusion(whole, regained, said, settings_of):
    ranges = channels.Ranges(np.array([0.]), np.array([1.]))
    found = [
        sensitivity.Finding((QuantizedLayer(name, 'conv2d', 'x', 'y',
                                            (1, ), 1.0), ), None, 99.0, whole,
                            whole, ranges, ranges) for name in 'abc'
    ]
    rows = [(['a'], whole), (['a', 'b'], whole + regained)]
    record = {
        'agreement_ap': whole,
        'agreement_boxes': 1000,
        'num_images': 100,
        'reference_model_dir': 'float'
    }
    text = layers_words.conclusion(settings_of, found, rows, record)
    assert said in ' '.join(text.split())
    assert ('float_weights: [a, b]' in text) == (regained > 1)


def test_the_yaml_lines_name_each_weight_once():
    names = ['conv2d_%d.w_0' % i for i in range(30)]
    text = layers_words.yaml_lines(names + names[:3])
    assert yaml.safe_load(text) == {'QuantAware': {'float_weights': names}}
    assert max(map(len, text.splitlines())) <= 80


def test_the_record_is_checked(whole):
    record, _ = whole
    results.check(record, layers_record.schema(), 'layers')
    record = json.loads(json.dumps(record))
    record['layers'][0]['regained'] = 'much'
    with pytest.raises(UserError, match='layers: 0: regained'):
        results.check(record, layers_record.schema(), 'layers')
