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
"""The simulation whose layers are switched computes what programs do that are
quantized so."""

import os

import numpy as np
import pytest
from act import data
from act.compress import job
from act.errors import UserError
from act.predictor import plan
from act.program.model import Model, ModelFiles, static_mode
from act.search.simulation import Simulation
from conftest import PROJECT


@pytest.fixture(scope='module')
def simulation(int8_model, float_model):
    return Simulation(ModelFiles(int8_model), ModelFiles(float_model))


@pytest.fixture(scope='module')
def feed(settings, simulation):
    reader = data.open_reader(settings.Reader)
    return data.feed(reader.pipeline(reader.val().records[:1]),
                     simulation.inputs, None, 'test')


def outputs(directory, feed):
    """Of the program as it is saved, operator by operator."""
    import paddle
    model = Model.load(ModelFiles(directory))
    exe = paddle.static.Executor(paddle.CPUPlace())
    fetch = [v.name for v in model.outputs()]
    with static_mode(paddle), paddle.static.scope_guard(model.scope):
        values = exe.run(model.program,
                         feed=dict(feed),
                         fetch_list=fetch,
                         return_numpy=False)
    return [np.array(v) for v in values]


def same(found, wanted):
    for one, two in zip(found, wanted):
        np.testing.assert_array_equal(one, two)


def test_all_on_is_the_quantized_program(simulation, int8_model, settings,
                                         feed):
    simulation.set([layer.weight for layer in simulation.layers])
    same(simulation.run(feed)[0], outputs(int8_model, feed))


def test_all_off_is_the_float_program(simulation, float_model, settings, feed):
    simulation.set([])
    same(simulation.run(feed)[0], outputs(float_model, feed))


def test_one_off_is_what_calibration_makes_so(simulation, settings, feed,
                                              tmp_path):
    layer = simulation.layers[2]
    changed = settings.model_copy(deep=True)
    changed.QuantAware.float_weights = [layer.weight]
    made = str(tmp_path / 'made')
    job.compress(changed, made, ['test'])
    simulation.set([x.weight for x in simulation.layers if x is not layer])
    assert len(Simulation(ModelFiles(made)).layers) == \
        len(simulation.layers) - 1
    same(simulation.run(feed)[0], outputs(made, feed))


def test_each_switch_changes_its_layer_alone(simulation, feed):
    names = [x.weight for x in simulation.layers]
    simulation.set([])
    for layer in simulation.layers[::9]:
        before = simulation.run(feed, [layer.output])[1][layer.output]
        simulation.set([layer.weight])
        after = simulation.run(feed, [layer.output])[1][layer.output]
        simulation.set([])
        again = simulation.run(feed, [layer.output])[1][layer.output]
        assert np.abs(after - before).max() > 0
        np.testing.assert_array_equal(before, again)
    # A layer's output does not depend on those behind it.
    first = simulation.layers[0]
    simulation.set([first.weight])
    alone = simulation.run(feed, [first.output])[1][first.output]
    simulation.set(names)
    together = simulation.run(feed, [first.output])[1][first.output]
    np.testing.assert_array_equal(alone, together)


def test_layers_are_those_that_calibration_quantized(simulation, int8_model,
                                                     settings):
    made = plan(ModelFiles(int8_model), settings.Deploy.cpu)
    assert len(simulation.layers) == sum(made.quantized.values())
    parameters = {
        v.name
        for v in Model.load(ModelFiles(int8_model)).persistable()
    }
    for layer in simulation.layers:
        assert layer.weight in parameters and layer.highest > 0
        assert len(layer.shape) == 4


def test_without_the_float_model_weights_are_dequantized(
        int8_model, simulation, feed):
    alone = Simulation(ModelFiles(int8_model))
    layer = alone.layers[0]
    alone.set([])
    simulation.set([])
    differ = [
        s.run(feed, [layer.output])[1][layer.output]
        for s in (alone, simulation)
    ]
    # Of 8 bits, so by less than a hundredth.
    error = np.abs(differ[0] - differ[1]).max()
    assert 0 < error < 0.02 * np.abs(differ[1]).max()


def test_another_float_model(int8_model, small_detector, float_model):
    with pytest.raises(UserError, match='was not made from'):
        Simulation(ModelFiles(int8_model), ModelFiles(small_detector))
    with pytest.raises(UserError, match='holds no quantized layer'):
        Simulation(ModelFiles(float_model))


def test_linear_layers_and_shared_inputs(sibling, shapes, tmp_path):
    """An RT-DETR: products with a weight, and inputs that several read."""
    from act import config
    float_model = sibling('rtdetr_tiny')
    settings = config.load(
        os.path.join(PROJECT, 'demo', 'rtdetr_tiny_qat.yml'), {
            'Preset': 'linear_too',
            'Global': {
                'model_dir': float_model
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
    made = str(tmp_path / 'made')
    job.compress(settings, made, ['test'])
    simulation = Simulation(ModelFiles(made), ModelFiles(float_model))
    assert {x.type for x in simulation.layers} >= {'conv2d', 'matmul_v2'}
    reader = data.open_reader(settings.Reader)
    feed = data.feed(reader.pipeline(reader.val().records[:1]),
                     simulation.inputs, None, 'test')
    same(simulation.run(feed)[0], outputs(made, feed))
    simulation.set([])
    same(simulation.run(feed)[0], outputs(float_model, feed))
