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
"""Layers of a quantized program, switched one by one."""

import os

import numpy as np
import pytest
from act import config, data, runtime
from act.compress import job
from act.errors import UserError
from act.program.model import Model, ModelFiles, static_mode
from act.search.simulation import Simulation
from conftest import PROJECT


@pytest.fixture(scope='module')
def options(small_detector, shapes, settings):
    """Overrides for the detector of few layers, all of it in int8."""
    return {
        'Global': {
            'model_dir': small_detector,
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
            'algo': 'avg',
            'calibration_images': 3,
            'weight_rounding': 'nearest'
        }
    }


@pytest.fixture(scope='module')
def quantize(options, settings, tmp_path_factory):
    """Quantizes it with other options; gives the files."""

    def made(**changes):
        directory = str(tmp_path_factory.mktemp('made') / 'int8')
        job.compress(config.load(settings.path, config.merge(options, changes)),
                     directory, ['test'])
        return ModelFiles(directory)

    return made


@pytest.fixture(scope='module')
def whole(quantize):
    return quantize()


@pytest.fixture(scope='module')
def batches(settings):
    reader = data.open_reader(settings.Reader)
    return [reader.pipeline([r]) for r in reader.val().records[:2]]


def outputs_of(files, batches):
    """What a model's program gives, run by Paddle's executor as it is."""
    paddle = runtime.import_paddle()
    model = Model.load(files)
    names = [v.name for v in model.outputs()]
    inputs = model.inputs()
    block = model.program.global_block()
    for index in reversed(range(len(block.ops))):
        if block.ops[index].type in ('feed', 'fetch'):
            block._remove_op(index)
    executor = paddle.static.Executor(paddle.CPUPlace())
    with static_mode(paddle):
        return [[
            np.array(v) for v in executor.run(model.program,
                                              feed={n: b[n]
                                                    for n in inputs},
                                              fetch_list=names,
                                              scope=model.scope,
                                              return_numpy=False)
        ] for b in batches]


def same(found, wanted):
    return all(
        np.array_equal(a, b) for one, two in zip(found, wanted)
        for a, b in zip(one, two))


def runs(simulation, batches):
    return [simulation.run(b)[0] for b in batches]


def test_layers_are_named_by_their_weights(whole, small_detector):
    simulation = Simulation(whole, ModelFiles(small_detector))
    assert [(x.weight, x.type) for x in simulation.layers
            ] == [('stem', 'conv2d'), ('depthwise', 'depthwise_conv2d'),
                  ('point', 'conv2d')] + 2 * [('head', 'conv2d'),
                                              ('class', 'conv2d'),
                                              ('box', 'conv2d')]
    assert simulation.weights == ('stem', 'depthwise', 'point', 'head', 'class',
                                  'box')
    assert simulation.layers[0].input == 'image'
    assert not simulation.trained
    # The image's range, of normalized pixels.
    assert 1 < simulation.layers[0].highest < 3


def test_all_is_the_quantized_program_and_none_the_float_one(
        whole, small_detector, batches):
    simulation = Simulation(whole, ModelFiles(small_detector))
    quantized, plain = (outputs_of(f, batches)
                        for f in (whole, ModelFiles(small_detector)))
    assert not same(quantized, plain)
    for _ in range(2):  # there and back
        assert simulation.quantized == list(simulation.weights)
        assert same(runs(simulation, batches), quantized)
        simulation.set(())
        assert simulation.quantized == []
        assert same(runs(simulation, batches), plain)
        simulation.set(simulation.weights)


def test_the_same_on_a_trained_model(int8_model, float_model, batches):
    simulation = Simulation(ModelFiles(int8_model), ModelFiles(float_model))
    assert same(runs(simulation, batches),
                outputs_of(ModelFiles(int8_model), batches))
    simulation.set(())
    assert same(runs(simulation, batches),
                outputs_of(ModelFiles(float_model), batches))


@pytest.mark.parametrize('left', [['stem'], ['head'], ['depthwise', 'box']])
def test_some_are_what_quantization_makes_with_the_others_in_float(
        whole, small_detector, batches, quantize, left):
    wanted = quantize(QuantAware={'float_weights': left})
    simulation = Simulation(whole, ModelFiles(small_detector))
    simulation.set(set(simulation.weights) - set(left))
    found = runs(simulation, batches)
    assert same(found, outputs_of(wanted, batches))
    assert not same(found, outputs_of(whole, batches))


def test_without_the_float_model_weights_stay_on_their_grid(
        whole, small_detector, batches):
    alone = Simulation(whole)
    both = Simulation(whole, ModelFiles(small_detector))
    assert same(runs(alone, batches), runs(both, batches))
    outputs = []
    for simulation in (alone, both):
        simulation.set(())
        outputs.append(runs(simulation, batches))
    assert not same(*outputs)
    for one, two in zip(*outputs):
        # Of the same boxes, scores differ by the rounding of weights.
        assert abs(one[0][0, 1] - two[0][0, 1]) < .05


def test_a_switch_changes_its_layer_alone(int8_model, float_model, batches):
    simulation = Simulation(ModelFiles(int8_model), ModelFiles(float_model))
    feed = batches[0]

    def output_of(layer, quantized):
        simulation.set(quantized)
        return simulation.run(feed, [layer.output])[1][layer.output]

    for layer in simulation.layers[::9]:
        before = output_of(layer, ())
        assert np.abs(output_of(layer, [layer.weight]) - before).max() > 0
        assert np.array_equal(output_of(layer, ()), before)
    # A layer's output does not depend on those behind it.
    first = simulation.layers[0]
    assert np.array_equal(output_of(first, [first.weight]),
                          output_of(first, simulation.weights))


def test_linear_layers_and_shared_inputs(sibling, shapes, tmp_path):
    """An RT-DETR: products with a weight, and inputs that several read."""
    plain = ModelFiles(sibling('rtdetr_tiny'))
    settings = config.load(
        os.path.join(PROJECT, 'demo', 'rtdetr_tiny_qat.yml'), {
            'Preset': 'linear_too',
            'Global': {
                'model_dir': plain.directory
            },
            'Reader': {
                'dataset_dir': shapes
            },
            'Quantization': {
                'strategy': 'ptq',
                'calibration_images': 2,
                'weight_rounding': 'nearest'
            }
        })
    made = ModelFiles(str(tmp_path / 'made'))
    job.compress(settings, made.directory, ['test'])
    simulation = Simulation(made, plain)
    assert {x.type for x in simulation.layers} >= {'conv2d', 'matmul_v2'}
    assert len({x.input for x in simulation.layers}) < len(simulation.layers)
    reader = data.open_reader(settings.Reader)
    images = [reader.pipeline(reader.val().records[:1])]
    assert same(runs(simulation, images), outputs_of(made, images))
    simulation.set(())
    assert same(runs(simulation, images), outputs_of(plain, images))


def test_variables_are_fetched(whole, small_detector, batches):
    simulation = Simulation(whole, ModelFiles(small_detector))
    simulation.set(())
    names = [simulation.layers[0].input, simulation.layers[1].output]
    outputs, fetched = simulation.run(batches[0], names)
    assert list(fetched) == names and len(outputs) == 2
    assert np.array_equal(fetched['image'], batches[0]['image'])
    assert fetched[names[1]].shape[:2] == (1, 8)


def test_the_trained_model_keeps_its_own_weights(trained, small_detector,
                                                 batches):
    files = ModelFiles(os.path.join(trained, 'run'))
    simulation = Simulation(files, ModelFiles(small_detector))
    assert simulation.trained and 'stem' in simulation.weights
    assert same(runs(simulation, batches), outputs_of(files, batches))
    simulation.set(())
    alone = Simulation(files)
    alone.set(())
    assert same(runs(simulation, batches), runs(alone, batches))


def test_what_does_not_belong_is_refused(whole, small_detector, float_model,
                                         options, settings, tmp_path):
    quantized = ModelFiles(small_detector)
    with pytest.raises(UserError, match='holds no quantized layer; name a'):
        Simulation(quantized)
    with pytest.raises(UserError, match='is quantized itself; name the float'):
        Simulation(whole, whole)
    with pytest.raises(UserError, match="that has no weight 'stem'; name"):
        Simulation(whole, ModelFiles(float_model))
    # Another training of the same network.
    model = Model.load(quantized)
    rng = np.random.default_rng(1)
    for name in Simulation(whole).weights:
        value = model.parameter(name)
        model.set_parameter(name,
                            rng.permutation(value.ravel()).reshape(value.shape))
    other = ModelFiles(os.path.join(tmp_path, 'other'))
    model.save(other)
    with pytest.raises(UserError, match='6 of its 6 quantized weights have'):
        Simulation(whole, other)
    with pytest.raises(UserError, match="did you mean 'stem'"):
        Simulation(whole).set(['sten'])
