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
"""diagnose.py search and what it consists of, on a small detector in which one
channel is made far wider than its neighbours: the layer that reads it loses
most in int8."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import killing
import numpy as np
import pytest
from act import config, data, int8_check, results
from act.compress import job
from act.errors import UserError
from act.predictor import plan
from act.program.inspect import count_types, quantized_ops
from act.program.model import Model, ModelFiles, static_mode
from act.search import choice, cut, floats, measured, search_record, surrogate
from act.search.simulation import QuantizedLayer, Simulation
from conftest import PROJECT, YAML, annotate, call_script
from programs import WEIGHTS


@pytest.fixture(scope='module')
def made(planted, shapes, tmp_path_factory):
    """Directory of it in int8, all of it. What it finds in float is what the
    annotations say there is."""
    place = tmp_path_factory.mktemp('made')
    options = {
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
            'calibration_images': 6,
            'weight_rounding': 'nearest'
        },
        'TrainConfig': {
            'train_iter': 2,
            'eval_iter': 2,
            'eval_images': 2,
            'batch_size': 2
        }
    }
    reader = options['Reader']
    train = dict(reader,
                 image_dir='train2017',
                 anno_path='annotations/instances_train2017.json')
    reader.update(anno_path=annotate(config.load(YAML, options), 24,
                                     str(place / 'val.json')),
                  train_anno_path=annotate(
                      config.load(YAML, dict(options, Reader=train)), 12,
                      str(place / 'train.json')))
    directory = str(place / 'int8')
    job.compress(config.load(YAML, options), directory, ['test'])
    return directory


@pytest.fixture(scope='module')
def settings_of(made):
    return config.load(os.path.join(made, job.CONFIG), {})


@pytest.fixture(scope='module')
def feed(settings_of, made):
    reader = data.open_reader(settings_of.Reader)
    return data.feed(reader.pipeline(reader.train().records[:1]),
                     Model.load(ModelFiles(made)).inputs(), None, 'test')


def outputs(directory, feed):
    """Of the program as it is saved, operator by operator."""
    import paddle
    model = Model.load(ModelFiles(directory))
    exe = paddle.static.Executor(paddle.CPUPlace())
    with static_mode(paddle), paddle.static.scope_guard(model.scope):
        values = exe.run(model.program,
                         feed=dict(feed),
                         fetch_list=[v.name for v in model.outputs()],
                         return_numpy=False)
    return [np.array(v) for v in values]


def same(found, wanted):
    for one, two in zip(found, wanted):
        np.testing.assert_array_equal(one, two)


def cut_to(directory, made, weights, source=None):
    """Save a model with these layers in float. Returns its files."""
    model = Model.load(ModelFiles(made))
    assert cut.to_float(model, weights, source
                        and Model.load(ModelFiles(source))) >= len(weights)
    files = ModelFiles(str(directory))
    model.save(files)
    return files


@pytest.mark.parametrize('trained', [False, True])
@pytest.mark.parametrize('weights',
                         [['point'], ['stem', 'head'],
                          ['depthwise', 'point', 'class', 'box', 'head']])
def test_a_cut_model_is_the_simulation(made, planted, feed, weights, trained,
                                       tmp_path):
    """Bit by bit, with the float model's weights and with its own."""
    source = None if trained else planted
    files = cut_to(tmp_path / 'cut', made, weights, source)
    simulation = Simulation(ModelFiles(made), source and ModelFiles(source))
    simulation.set(set(WEIGHTS) - set(weights))
    same(simulation.run(feed)[0], outputs(files.directory, feed))
    simulation.set(WEIGHTS)
    with pytest.raises(AssertionError):
        same(simulation.run(feed)[0], outputs(files.directory, feed))


def test_a_cut_detector_is_the_simulation(int8_model, float_model, settings,
                                          tmp_path):
    """The demo's PicoDet, and as it is deployed, too."""
    simulation = Simulation(ModelFiles(int8_model), ModelFiles(float_model))
    names = [x.weight for x in simulation.layers]
    weights = names[:3] + names[20:22] + names[-2:]
    files = cut_to(tmp_path / 'cut', int8_model, weights, float_model)
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    feed = data.feed(batch, simulation.inputs, None, 'test')
    simulation.set(set(names) - set(weights))
    same(simulation.run(feed)[0], outputs(files.directory, feed))
    # Observers stay, quantizers of these layers are gone.
    made = plan(files, settings.Deploy.cpu, threads=1)
    assert made.quantized == {'conv2d': len(names) - len(weights)}
    assert int8_check.failures(made, int8_check.run(made, feed)) == []


def test_a_layer_that_is_not_there(made):
    with pytest.raises(UserError,
                       match="unknown weight of a quantized layer "
                       "'pont'.*did you mean 'point'"):
        cut.to_float(Model.load(ModelFiles(made)), ['pont'])


def test_calibration_makes_what_was_cut(made, planted, settings_of, tmp_path):
    weights = ['point', 'class']
    changed = settings_of.model_copy(deep=True)
    changed.QuantAware.float_weights = weights
    again = str(tmp_path / 'again')
    job.compress(changed, again, ['test'])
    files = cut_to(tmp_path / 'cut', made, weights, planted)

    def different(one, other):
        return cut.different(Model.load(ModelFiles(one)),
                             Model.load(ModelFiles(other)))

    assert different(files.directory, again) == []
    assert different(made, again) == sorted(weights)
    # A range that is not the same is seen.
    model = Model.load(files)
    scale = next(
        op.input('Scale')[0] for op in model.ops
        if op.type == 'quantize_linear' and op.input('X') == ['image'])
    model.set_parameter(scale, model.parameter(scale) * np.float32(1.01))
    model.save(ModelFiles(str(tmp_path / 'wider')))
    assert different(str(tmp_path / 'wider'), again) == ['stem']


def candidate(name, ratio, agreement, drop=0.):
    precision = name if name in ('fp32', 'bf16') else 'int8'
    return choice.Candidate(name, precision, (), 30 - drop, agreement, drop,
                            ratio, 10 * ratio, 10 * ratio)


FP32 = candidate('fp32', 1., 100.)


@pytest.mark.parametrize(
    'others, max_drop, min_gain, chosen',
    [
        # The fastest that loses no more.
        ([('int8', .5, 90., .5), ('mixed', .6, 95., .2)], .3, None, 'mixed'),
        ([('int8', .5, 90., .3), ('mixed', .6, 95., .2)], .3, None, 'int8'),
        # Not told apart from the fastest: the more accurate.
        ([('int8', .5, 90., 0), ('mixed', .51, 95., .2)], .3, None, 'mixed'),
        # Int8 is slower, or loses too much.
        ([('int8', 1.2, 99., 0)], .3, None, 'fp32'),
        ([('int8', .5, 90., 2.), ('bf16', .7, 99., .1)], .3, None, 'bf16'),
        ([('int8', .90, 97., 0), ('bf16', .91, 99., 0)], .3, None, 'bf16'),
        # So much speed is enough: the most accurate.
        ([('int8', .5, 90., 0), ('mixed', .6, 95., .2),
          ('slow', .8, 99., .1)], .3, 1.5, 'mixed'),
        ([('int8', .5, 90., 0), ('mixed', .6, 95., .4)], .3, 1.5, 'int8'),
        ([('int8', .7, 90., 0)], .3, 1.5, None),
    ])
def test_the_rule(others, max_drop, min_gain, chosen):
    found = choice.choose([FP32] + [candidate(*o) for o in others], max_drop,
                          min_gain)
    assert (found and found.name) == chosen


def test_what_comes_nearest():
    near, bad = candidate('near', .9, 95., .2), candidate('bad', .5, 80., 3.)
    assert choice.nearest([FP32, near, bad], .3) is near
    assert choice.nearest([bad, candidate('worse', .4, 70., 4.)], .3) is bad


def profile_of(**ms):
    return SimpleNamespace(
        layers=[SimpleNamespace(weight=n, ms=v) for n, v in ms.items()],
        operators_ms=sum(ms.values()))


def layer(name, *shape):
    return QuantizedLayer(name, 'conv2d', 'in', name + '.out', shape, 1.)


def test_costs_of_layers():
    layers = [layer('a', 4, 4), layer('b', 8, 4), layer('c', 4, 4)]
    found = surrogate.costs(profile_of(a=4., b=6., c=1., other=9.),
                            profile_of(a=2., b=1., c=1.5), layers)
    assert found == {
        'a': (2., 'profile'),
        'b': (5., 'profile'),
        'c': (surrogate.LEAST_MS, 'profile')
    }
    # Not named in int8: 7 of 10 ms are saved elsewhere.
    found = surrogate.costs(profile_of(a=4., b=6., c=1.),
                            profile_of(a=2., b=1.), layers)
    assert found['c'] == (pytest.approx(.7), 'share')
    # Nor in float: 10 ms are of 48 values, c has 16.
    found = surrogate.costs(profile_of(a=4., b=6.), profile_of(a=2., b=1.),
                            layers)
    assert found['c'] == (pytest.approx(10 * 16 / 48 * .7), 'share')
    # No layer is named: by size.
    found = surrogate.costs(profile_of(x=8.), profile_of(x=4.), layers)
    assert found == {
        'a': (pytest.approx(1.), 'share'),
        'b': (pytest.approx(2.), 'share'),
        'c': (pytest.approx(1.), 'share')
    }


class Roomy(floats.Search):
    """Looks at all layers, whatever machine the tests run on."""

    def room(self):
        return float('inf')


@pytest.fixture(scope='module')
def searched(made, settings_of, tmp_path_factory):
    """A search up to the choice."""
    place = tmp_path_factory.mktemp('searched')
    options = floats.Options(score_images=3,
                             select_images=4,
                             confirm_images=5,
                             threads=1,
                             save_dir=str(place / 'chosen'),
                             output_dir=str(place / 'search'))
    one = Roomy(settings_of, made, options)
    one.measure_whole()
    one.costs()
    one.rank()
    one.measure_mixed()
    return one


def test_the_planted_layer_comes_first(searched):
    found = searched.found
    assert sorted(found.costs) == sorted(WEIGHTS)
    assert all(c > 0 for c, _ in found.costs.values())
    assert max(found.gains, key=found.gains.get) == 'point'
    values = [s.value for s in found.steps]
    assert values == sorted(values) and values[-1] > values[0] + 20
    without = [s for s in found.steps if 'point' not in s.floats]
    assert max(s.value for s in without) < values[-1] - 20
    assert found.evaluations < 2**len(WEIGHTS)


def test_what_is_measured_follows(searched):
    found = searched.found
    names = [c.name for c in found.candidates]
    assert names[0] == 'fp32' and 'int8' in names
    assert ('bf16' in names) == measured.bf16_here()
    by_name = {c.name: c for c in found.candidates}
    assert by_name['fp32'].agreement == 100 and by_name['fp32'].drop == 0
    mixed = [c for c in found.candidates if c.floats]
    assert 0 < len(mixed) <= floats.MEASURED
    best = max(mixed, key=lambda c: c.agreement)
    assert 'point' in best.floats
    assert best.agreement > by_name['int8'].agreement + 20
    assert best.drop < by_name['int8'].drop


def test_no_room_where_int8_is_slow(made, settings_of, searched):
    """And none for what would be slower than was asked."""
    one = SimpleNamespace(
        options=floats.Options(),
        found=floats.Found(candidates=[
            FP32, candidate('bf16', .7, 99.),
            candidate('int8', .5, 90.)
        ]))
    room = floats.Search.room(one)
    assert room == pytest.approx(7 * (1 + choice.NOISE) - 5)
    one.options = floats.Options(min_gain=1.6)
    assert floats.Search.room(one) < room
    one.found.candidates[-1] = candidate('int8', .8, 90.)
    assert floats.Search.room(one) == 0


def mixed_of(searched):
    return max((c for c in searched.found.candidates if c.floats),
               key=lambda c: c.agreement)


def test_the_chosen_model_is_made_and_judged(searched, capsys):
    found = searched.found
    found.chosen = mixed_of(searched)
    found.directory = searched.make(['diagnose.py', 'search'])
    assert 'warning' not in capsys.readouterr().out
    settings = config.load(os.path.join(found.directory, job.CONFIG), {})
    assert settings.QuantAware.float_weights == sorted(found.chosen.floats)
    types = count_types(quantized_ops(Model.load(ModelFiles(found.directory))))
    made = measured.deployed(settings, found.directory, 'int8', 1)
    assert made.quantized == types
    searched.confirm()
    rows = {row['model']: row for row in found.confirmed}
    assert list(rows) == ['fp32', 'int8', found.chosen.name]
    assert all(row['images'] == 5 for row in rows.values())
    mixed = rows[found.chosen.name]
    assert mixed['agreement_ap'] > rows['int8']['agreement_ap'] + 10
    assert mixed['map_difference_low'] <= mixed['map_difference'] <= \
        mixed['map_difference_high']
    record = search_record.make(searched, searched.options, ['x'], 1.)
    assert record['float_weights'] == sorted(found.chosen.floats)
    assert sum(row['chosen'] for row in record['candidates']) == 1
    assert [row['weight'] for row in record['layers']] == WEIGHTS
    said = search_record.tables(record)
    assert '%s *' % found.chosen.name in said
    assert '  float_weights: [' in said
    found.chosen = None


def test_other_settings_are_noticed(searched, capsys, tmp_path):
    """Calibrated otherwise, the model is not the one measured."""
    before = searched.settings, searched.options, searched.found.chosen
    searched.settings = before[0].model_copy(deep=True)
    searched.settings.Quantization.seed = 5
    searched.settings.Quantization.algo = 'avg'
    searched.options = floats.Options(save_dir=str(tmp_path / 'other'))
    searched.found.chosen = mixed_of(searched)
    try:
        searched.make(['x'])
    finally:
        searched.settings, searched.options, searched.found.chosen = before
    assert 'are not as in the model that was chosen' in capsys.readouterr().out


def test_a_trained_model_is_cut(searched, made, tmp_path):
    before = searched.settings, searched.options, searched.found.chosen
    searched.settings = before[0].model_copy(deep=True)
    searched.settings.Quantization.strategy = 'qat'
    searched.options = floats.Options(save_dir=str(tmp_path / 'kept'))
    searched.found.chosen = mixed_of(searched)
    searched.trained = True
    try:
        kept = searched.make(['diagnose.py', 'search'])
    finally:
        searched.trained = False
        chosen = searched.found.chosen
        searched.settings, searched.options, searched.found.chosen = before
    wanted = cut_to(tmp_path / 'wanted', made, chosen.floats)
    assert ModelFiles(kept).digest() == wanted.digest()
    settings = config.load(os.path.join(kept, job.CONFIG), {})
    assert settings.QuantAware.float_weights == sorted(chosen.floats)
    with open(os.path.join(kept, job.RECORD), encoding='utf-8') as f:
        record = json.load(f)
    results.validate(record)
    assert record['model_hash'] == wanted.digest()
    assert sorted(os.listdir(tmp_path)) == ['kept', 'wanted']


def test_refined(searched, tmp_path):
    before = searched.options, searched.found.chosen
    searched.options = floats.Options(refine=True,
                                      save_dir=str(tmp_path / 'refined'))
    searched.found.chosen = mixed_of(searched)
    try:
        made = searched.make(['x'])
    finally:
        chosen = searched.found.chosen
        searched.options, searched.found.chosen = before
    settings = config.load(os.path.join(made, job.CONFIG), {})
    assert settings.Quantization.strategy == 'qat'
    assert settings.QuantAware.float_weights == sorted(chosen.floats)
    layers = Simulation(ModelFiles(made)).layers
    assert {x.weight for x in layers} == set(WEIGHTS) - set(chosen.floats)


def ask(made, place, *more):
    """diagnose.py search, as a user calls it; returns the exit code."""
    return call_script('diagnose.py', 'search', *arguments(made, place), *more)


def arguments(made, place):
    return [
        '--model_path', made, '--score_images', '3', '--select_images', '4',
        '--confirm_images', '5', '--cpu_threads', '1', '--save_dir',
        os.path.join(place, 'chosen'), '--output_dir',
        os.path.join(place, 'search')
    ]


def read(place):
    with open(os.path.join(place, 'search', floats.RECORD),
              encoding='utf-8') as f:
        return json.load(f)


def test_a_search_that_is_killed_is_gone_on_with(made, planted, tmp_path,
                                                 capsys):
    place = str(tmp_path / 'killed')
    halt = killing.Halt(str(tmp_path / 'halted'),
                        made='*/' + floats.JOURNAL,
                        count=3)
    process = subprocess.Popen(
        [sys.executable, 'diagnose.py', 'search', *arguments(made, place)],
        cwd=PROJECT,
        env=halt.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    halt.send(process)
    assert os.listdir(place) == ['search']
    # What is chosen depends on the machine.
    assert ask(made, place) == 0
    record = read(place)
    results.check(record, search_record.schema(), 'search')
    assert record['reused_probes'] >= 1
    chosen, = (row for row in record['candidates'] if row['chosen'])
    assert chosen['feasible'] and chosen['model'] == record['chosen']
    if chosen['precision'] != 'int8':
        assert record['chosen_dir'] == planted
    else:
        assert record['chosen_dir'] == \
            (os.path.join(place, 'chosen') if chosen['floats'] else made)
    with open(os.path.join(place, 'search', floats.PICTURE), 'rb') as f:
        assert f.read(8) == b'\x89PNG\r\n\x1a\n'
    capsys.readouterr()
    # All is known; so fast nothing is.
    assert ask(made, place, '--min_gain', '100') == 1
    again = read(place)
    assert again['chosen'] is None and again['confirmed'] == []
    assert again['candidates'][0]['map'] == record['candidates'][0]['map']
    line, = [
        x for x in capsys.readouterr().err.splitlines() if x[:6] == 'error:'
    ]
    assert 'No model here has at most 0.3 points of mAP lost and at least ' \
        '100 times the speed' in line and 'Nearest is' in line


def test_bad_input(made, planted, tmp_path, capsys):
    place = str(tmp_path / 'none')

    def error(*more):
        assert ask(made, place, *more) == 2
        assert not os.path.exists(place)
        line, = capsys.readouterr().err.splitlines()
        return line

    assert 'is a float model; name an int8 model' in error(
        '--model_path', planted, '--config_path',
        os.path.join(made, job.CONFIG))
    assert 'Global.model_dir) does not exist' in error(
        '-o', 'Global.model_dir=nowhere')
    assert "'1' is not a number above 1" in error('--min_gain', '1')
    assert "'-1' is not a number from 0 to 100" in error('--max_drop', '-1')
    assert 'is not empty and no result of run.py' in error(
        '--save_dir', os.path.dirname(made))
