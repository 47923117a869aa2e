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
"""Unsigned sources, and weights that oneDNN would halve, on a made network with
each kind of place.

What only a CPU without VNNI shows, or only one with it, is tested on numbers.
"""

import dataclasses

import numpy as np
import pytest
from act import predictor, runtime
from act.config import CpuSection
from act.program import halving, inspect, unsigned
from act.program.model import Model, ModelFiles

CHANNELS = 16


@pytest.fixture(autouse=True)
def any_outputs(monkeypatch):
    """The networks here are no detectors."""
    monkeypatch.setattr('act.plan.check_outputs', lambda *_, **__: None)


class Network:
    """Builds a quantized program operator by operator."""

    def __init__(self, paddle):
        self.paddle = paddle
        self.random = np.random.RandomState(5)
        self.program = paddle.static.Program()
        self.block = self.program.global_block()
        self.scope = paddle.static.Scope()
        self.pairs = {}
        self.block.create_var(
            name='feed',
            persistable=True,
            type=paddle.base.core.VarDesc.VarType.FEED_MINIBATCH)
        self.block.create_var(name='fetch',
                              persistable=True,
                              type=paddle.base.core.VarDesc.VarType.FETCH_LIST)
        self.block.create_var(name='x', shape=[-1, 8, 8, 8], dtype='float32')
        self.append('feed', {'X': 'feed'}, {'Out': 'x'}, col=0)

    def append(self, kind, inputs, outputs, **attrs):
        self.block.append_op(type=kind,
                             inputs=inputs,
                             outputs=outputs,
                             attrs=attrs)

    def new(self, name, kind, inputs, slot='Out', dtype='float32', **attrs):
        self.block.create_var(name=name, dtype=dtype)
        self.append(kind, inputs, {slot: name}, **attrs)
        return name

    def parameter(self, name, value):
        self.block.create_var(name=name,
                              shape=list(value.shape),
                              dtype=str(value.dtype),
                              persistable=True)
        self.scope.var(name).get_tensor().set(value, self.paddle.CPUPlace())
        return name

    def scalar(self, name, value):
        return self.parameter(name, np.array([value], np.float32))

    def quantized(self, name, highest):
        """One pair of Q/DQ, however many read it."""
        if name not in self.pairs:
            scale = self.scalar(name + '@scale', highest)
            zero = self.parameter(name + '@zero', np.zeros(1, np.int32))
            q = self.new(name + '.q',
                         'quantize_linear', {
                             'X': name,
                             'Scale': scale,
                             'ZeroPoint': zero
                         },
                         'Y',
                         quant_axis=-1,
                         bit_length=8)
            self.pairs[name] = self.new(name + '.dq',
                                        'dequantize_linear', {
                                            'X': q,
                                            'Scale': scale,
                                            'ZeroPoint': zero
                                        },
                                        'Y',
                                        quant_axis=-1,
                                        bit_length=8)
        return self.pairs[name]

    def convolution(self,
                    name,
                    source,
                    highest,
                    kernel=1,
                    norm=True,
                    weight=None):
        channels = 8 if source == 'x' else CHANNELS
        if weight is None:
            weight = self.random.randint(-90, 91,
                                         (CHANNELS, channels, kernel, kernel))
            weight[:, 0, 0, 0] = 127
        scale = self.random.uniform(0.05, 0.2, CHANNELS)
        dq = self.new(
            name + '.w.dq',
            'dequantize_linear', {
                'X':
                self.parameter(name + '.w', weight.astype(np.int8)),
                'Scale':
                self.parameter(name + '.s', scale.astype(np.float32)),
                'ZeroPoint':
                self.parameter(name + '.z', np.zeros(CHANNELS, np.int32))
            },
            'Y',
            quant_axis=0,
            bit_length=8)
        out = self.new(name,
                       'conv2d', {
                           'Input': self.quantized(source, highest),
                           'Filter': dq
                       },
                       'Output',
                       strides=[1, 1],
                       paddings=[kernel // 2] * 2,
                       dilations=[1, 1],
                       groups=1,
                       padding_algorithm='EXPLICIT',
                       data_format='NCHW')
        if not norm:
            return out
        values = [
            self.parameter(
                '%s.bn%d' % (name, i),
                self.random.uniform(low, high, CHANNELS).astype(np.float32))
            for i, (low, high) in enumerate(((-1.2, 1.2), (-0.5, 0.5),
                                             (-0.5, 0.5), (0.5, 2.0)))
        ]
        for stat in ('mean', 'variance'):
            self.block.create_var(name='%s.%s' % (name, stat), dtype='float32')
        self.block.create_var(name=name + '.bn', dtype='float32')
        self.append('batch_norm',
                    dict(zip(('Scale', 'Bias', 'Mean', 'Variance'), values),
                         X=out), {
                             'Y': name + '.bn',
                             'MeanOut': values[2],
                             'VarianceOut': values[3],
                             'SavedMean': name + '.mean',
                             'SavedVariance': name + '.variance'
                         },
                    epsilon=1e-5,
                    is_test=True,
                    use_global_stats=True)
        return name + '.bn'

    def activation(self, kind, source):
        return self.new('%s.%s' % (source, kind), kind, {'X': source})

    def fetch(self, *names):
        for column, name in enumerate(names):
            self.append('fetch', {'X': name}, {'Out': 'fetch'}, col=column)


@pytest.fixture()
def network():
    """What each convolution stands for:

    signed: its source has no least value. plain: hard swish, 1x1. padded: the
    same source, but padded. relu: padded, of a source without negative values,
    with weights that saturate. narrow: a source that needs wider steps.
    squeezed, scaled: squeeze and excite.
    """
    paddle = runtime.import_paddle()
    paddle.enable_static()
    try:
        net = Network(paddle)
        a = net.activation('hard_swish',
                           net.convolution('signed', 'x', 1.0, kernel=3))
        plain = net.activation('hard_swish', net.convolution('plain', a, 2.0))
        c = net.activation('relu', net.convolution('padded', a, 2.0, kernel=3))
        weight = net.random.randint(-90, 91, (CHANNELS, CHANNELS, 3, 3))
        weight[0], weight[1] = 127, -127
        weight[2:, 0] = 127
        d = net.convolution('relu', c, 3.0, kernel=3, norm=False, weight=weight)
        out = net.new('sum', 'elementwise_add', {'X': d, 'Y': plain}, axis=-1)
        low = net.activation('hard_swish',
                             net.convolution('narrow', plain, 0.6))
        pooled = net.new('pooled',
                         'pool2d', {'X': low},
                         pooling_type='avg',
                         ksize=[1, 1],
                         adaptive=True,
                         strides=[1, 1],
                         paddings=[0, 0],
                         global_pooling=False)
        gate = net.activation(
            'hard_sigmoid', net.convolution('squeezed', pooled, 2.0,
                                            norm=False))
        scaled = net.new('gated',
                         'elementwise_mul', {
                             'X': low,
                             'Y': gate
                         },
                         axis=-1)
        net.fetch(out, net.convolution('scaled', scaled, 2.0, norm=False))
        net.program._sync_with_cpp()
        yield Model(net.program, net.scope)
    finally:
        paddle.disable_static()


@pytest.fixture()
def feed():
    random = np.random.RandomState(11)
    return {'x': random.uniform(0, 1, (1, 8, 8, 8)).astype(np.float32)}


def run(model, directory, feed, original=None):
    """Outputs of the simulation, or of oneDNN's int8 if `original` is given,
    which says what is quantized."""
    files = ModelFiles(str(directory))
    model.save(files)
    if original is None:
        plan = predictor.plan(files, CpuSection(), precision='fp32', threads=1)
    else:
        plan = predictor.plan(original,
                              CpuSection(),
                              precision='int8',
                              threads=1)
        plan = dataclasses.replace(plan, files=files)
    return predictor.Predictor(plan).run(feed)


def error(outputs, reference):
    return max(
        np.abs(a - b).mean() / np.abs(b).mean()
        for a, b in zip(outputs, reference))


def weights(model):
    """{convolution: its int8 weight}, of those that read one."""
    return {
        v.name[:-2]: model.parameter(v.name).astype(int)
        for v in model.persistable() if v.name.endswith('.w')
    }


def test_which_cpus():
    assert halving.halves(['avx2'])
    assert halving.halves(['avx2', 'avx512f'])
    for extension in ('avx512_vnni', 'avx_vnni', 'amx_int8'):
        assert not halving.halves(['avx2', extension])
    assert halving.halves() == halving.halves(runtime.cpu_extensions())


@pytest.fixture(params=[True, False], ids=['saturating', 'vnni'])
def saturates(request):
    return request.param


def test_which_convolutions_get_unsigned_sources(network, saturates):
    assert unsigned.shift_to_unsigned(network, saturates) == 5
    shifted = [op for op in network.ops if op.type == 'fused_conv2d']
    assert [op.input('Input')[0] for op in shifted] == [
        name + '.unsigned'
        for name in ('plain', 'relu', 'narrow', 'squeezed', 'scaled')
    ]
    # The signed and the padded one are left.
    assert inspect.count_types(inspect.quantized_ops(network)) == {'conv2d': 2}
    assert set(weights(network)) == {'signed', 'padded'}
    assert unsigned.shift_to_unsigned(network, saturates) == 0


def floating(model):
    """Take Q/DQ of activations away, in place."""
    source = {}
    for op in model.ops:
        for name in op.input_arg_names:
            if name in source:
                op._rename_input(name, source[name])
        if op.type == 'quantize_linear' or (op.type == 'dequantize_linear'
                                            and op.attr('quant_axis') != 0):
            source[op.output('Y')[0]] = op.input('X')[0]
    block = model.program.global_block()
    for index in reversed(range(len(block.ops))):
        if block.ops[index].output_arg_names[0] in source:
            block._remove_op(index, sync=False)
    block._sync_with_cpp()
    return model


def simulations_steps(highest, least, room):
    """The very steps of the simulation where they fit: with others, even finer
    ones, values round in another way."""
    scale = 127 / highest
    if 127 + np.ceil(-least * scale) > room:
        scale = (room - 1) / (highest - least)
    return scale, int(np.ceil(-least * scale))


def test_unsigned_sources_compute_what_the_simulation_does(
        network, feed, tmp_path, monkeypatch):
    """With the same steps, on this CPU."""
    original = ModelFiles(str(tmp_path / 'original'))
    simulated = run(network, original.directory, feed)
    plain = run(network, tmp_path / 'plain', feed, original)
    monkeypatch.setattr(unsigned, 'source_scale', simulations_steps)
    halves = halving.halves()
    unsigned.shift_to_unsigned(network, saturates=halves)
    deployed = run(network, tmp_path / 'shifted', feed, original)
    assert error(deployed, simulated) < 0.01
    if halves:
        assert error(deployed, simulated) < error(plain, simulated) / 2


def test_what_is_added_to_another_branch_runs(feed, tmp_path):
    """As in ResNet: oneDNN would fuse the addition, and then refuse it."""
    paddle = runtime.import_paddle()
    paddle.enable_static()
    try:
        net = Network(paddle)
        a = net.activation('relu', net.convolution('stem', 'x', 1.0))
        b = net.activation('relu', net.convolution('inner', a, 2.0))
        c = net.convolution('last', b, 2.0)
        added = net.new('added', 'elementwise_add', {'X': c, 'Y': a}, axis=-1)
        net.fetch(net.activation('relu', added))
        net.program._sync_with_cpp()
        model = Model(net.program, net.scope)
        original = ModelFiles(str(tmp_path / 'original'))
        simulated = run(model, original.directory, feed)
        halves = halving.halves()
        assert unsigned.shift_to_unsigned(model, saturates=halves) == 2
        deployed = run(model, tmp_path / 'shifted', feed, original)
        assert error(deployed, simulated) < 0.1
    finally:
        paddle.disable_static()


def test_unsigned_sources_come_nearer_to_float(network, feed, tmp_path):
    """Than the simulation and oneDNN's own int8 do, on this CPU."""
    original = ModelFiles(str(tmp_path / 'original'))
    simulated = run(network, original.directory, feed)
    float_files = ModelFiles(str(tmp_path / 'float'))
    floating(Model.load(original)).save(float_files)
    expected = predictor.Predictor(
        predictor.plan(float_files, CpuSection(), threads=1)).run(feed)
    plain = run(network, tmp_path / 'plain', feed, original)
    halves = halving.halves()
    unsigned.shift_to_unsigned(network, saturates=halves)
    deployed = run(network, tmp_path / 'shifted', feed, original)
    # Where products may saturate there is room for finer steps in few places.
    share = 1.0 if halves else 0.8
    assert error(deployed, expected) < share * error(simulated, expected)
    assert error(deployed, expected) < share * error(plain, expected)


def test_no_pair_of_products_saturates():
    random = np.random.RandomState(3)
    for channels in (1, 7, 16):
        weight = random.randint(-127, 128, (5, channels, 3, 3)).astype(float)
        # By hand: neighbours along the channels, those of one sign.
        largest = 0
        for row in np.moveaxis(weight, 1, 3).reshape(-1, channels):
            for i in range(0, channels, 2):
                pair = row[i:i + 2]
                largest = max(largest, pair[pair > 0].sum(),
                              -pair[pair < 0].sum())
        room = unsigned.room(weight)
        assert room * largest <= 32767
        assert room == 255 or (room + 1) * largest > 32767
    assert unsigned.room(np.zeros((2, 3, 1, 1))) == 255


@pytest.mark.parametrize('room', [129, 160, 220, 255])
@pytest.mark.parametrize('highest, least', [(4.0, -0.375), (0.5, -0.375),
                                            (3.0, 0.0)])
def test_steps(room, highest, least):
    scale, shift = unsigned.source_scale(highest, least, room)
    low, zero, high = np.rint(np.array([least, 0, highest]) * scale) + shift
    assert low >= 0 and zero == shift and high <= room
    # Finer than the simulation only where there is room above the range too.
    if scale > 127 / highest:
        top = np.rint(unsigned.HEADROOM * highest * scale) + shift
        assert room - 1 <= top <= room


def test_steps_are_the_simulations_where_they_fit_and_no_finer_ones_do():
    assert unsigned.source_scale(4.0, -0.375, 140) == (127 / 4.0, 12)
    scale, _ = unsigned.source_scale(4.0, -0.375, 255)
    assert scale > 1.5 * 127 / 4.0


def test_a_source_with_too_many_values_is_left(network, saturates):
    # 0.1 up and 0.375 down.
    network.set_parameter('plain.bn.hard_swish@scale',
                          np.array([0.1], np.float32))
    assert unsigned.shift_to_unsigned(network, saturates) == 4
    assert set(weights(network)) == {'signed', 'padded', 'narrow'}


def test_even_weights(network):
    before = weights(network)
    assert halving.round_to_even(network) == len(before) == 7
    changed = 0
    for name, new in weights(network).items():
        old = before[name]
        same = np.abs(old) == 127
        assert (same | (new % 2 == 0)).all()
        assert (new[same] == old[same]).all()
        np.testing.assert_array_equal(new[old % 2 == 0], old[old % 2 == 0])
        assert np.abs(new - old).max() <= 1
        # Errors of a channel cancel out, on the way too.
        steps = np.cumsum((new - old).reshape(len(new), -1), axis=1)
        assert np.abs(steps).max() <= 1
        changed += (new != old).sum()
    assert changed > 1000
    assert halving.round_to_even(network) == 7
    for name, new in weights(network).items():
        assert (np.abs(new - before[name]) <= 1).all()


def test_a_channel_without_the_largest_weight_is_left():
    weight = np.array([[3, 5, 127, 7], [3, 5, 126, 7], [0, 0, 0, 0]], np.int8)
    new = halving._even(weight.reshape(3, 2, 1, 2))
    assert new.dtype == np.int8 and new.shape == (3, 2, 1, 2)
    np.testing.assert_array_equal(new.reshape(
        3, 4), [[4, 4, 127, 8], [3, 5, 126, 7], [0, 0, 0, 0]])


def test_even_weights_are_nearer_than_plain_rounding(network, feed, tmp_path):
    expected = run(network, tmp_path / 'original', feed)
    before = {n + '.w': w for n, w in weights(network).items()}

    for name, weight in before.items():
        plain = np.where(
            np.abs(weight) == 127, weight,
            2 * np.rint(weight / 2))  # half to even
        network.set_parameter(name, plain.astype(np.int8))
    plain = error(run(network, tmp_path / 'plain', feed), expected)

    for name, weight in before.items():
        network.set_parameter(name, weight.astype(np.int8))
    halving.round_to_even(network)
    even = error(run(network, tmp_path / 'even', feed), expected)
    assert 0 < even < plain
