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
"""Networks of convolutions that run as one operator compute what the program
did, in float, bf16 and int8, for any size of image."""

import os

import numpy as np
import pytest
from act import int8_check, predictor, runtime
from act.compress import ptq
from act.config import CpuSection, QuantAwareSection, QuantizationSection
from act.program import halving, network, observers
from act.program.model import Model, ModelFiles
from conftest import PROJECT
from programs import save

CPU = CpuSection(int8_ops=['conv2d', 'fused_conv2d'])


@pytest.fixture(scope='module', autouse=True)
def any_outputs():
    """The networks here are no detectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('act.plan.check_outputs', lambda *_, **__: None)
        yield


class Layers:
    """Builds a program of convolutions with random weights."""

    def __init__(self, paddle, parameter, seed):
        self.paddle = paddle
        self.parameter = parameter
        self.random = np.random.default_rng(seed)
        self.count = 0

    def new(self, *shape, scale=1.0):
        self.count += 1
        return self.parameter('p%d' % self.count,
                              self.random.normal(0, scale, shape))

    def conv(self, x, channels, kernel=1, stride=1, groups=1, bias=True):
        fan = x.shape[1] // groups * kernel**2
        return self.paddle.nn.functional.conv2d(
            x,
            self.new(channels,
                     x.shape[1] // groups,
                     kernel,
                     kernel,
                     scale=1.5 / np.sqrt(fan)),
            self.new(channels, scale=0.1) if bias else None,
            stride=stride,
            padding=kernel // 2 if kernel % 2 else 'SAME',
            groups=groups)

    def norm(self, x):
        channels = x.shape[1]
        mean, variance, scale, bias = (self.new(channels) for _ in range(4))
        for one, value in ((variance, self.random.uniform(0.5, 2, channels)),
                           (scale, self.random.uniform(-1, 2, channels))):
            self.fill(one, value)
        return self.paddle.nn.functional.batch_norm(x,
                                                    mean,
                                                    variance,
                                                    scale,
                                                    bias,
                                                    training=False)

    def fill(self, parameter, value):
        """Another initial value."""
        self.paddle.nn.initializer.Assign(value.astype(np.float32))(
            parameter,
            self.paddle.static.default_startup_program().global_block())


def everything(paddle, parameter, seed=0):
    """All that a network holds: each kind of layer, between two others."""
    nn = paddle.nn.functional
    layer = Layers(paddle, parameter, seed)
    x = paddle.static.data('x', [-1, 3, -1, -1])
    stem = nn.relu(layer.norm(layer.conv(x, 16, 3, 2, bias=False)))
    # Padded behind alone, as RT-DETR's stem is.
    pooled = nn.max_pool2d(stem, 2, 1, 'SAME', ceil_mode=True)
    left = nn.swish(layer.norm(layer.conv(pooled, 16, bias=False)))
    right = nn.hardswish(layer.norm(layer.conv(pooled, 16, bias=False)))
    # An activation before the addition, and one behind it.
    block = nn.relu(nn.silu(layer.conv(left, 16, 2)) + left)
    joined = paddle.concat([block, right, left], 1)
    gate = nn.hardsigmoid(layer.conv(nn.adaptive_avg_pool2d(joined, 1), 48))
    joined = layer.conv(joined * gate, 32)
    deep = nn.leaky_relu(
        layer.norm(layer.conv(joined, 32, 5, 2, groups=32, bias=False)), 0.1)
    deep = layer.conv(deep, 32)
    up = nn.interpolate(deep, scale_factor=2, mode='nearest')
    out = layer.conv(paddle.concat([up, joined], 1), 8, 3)
    small = nn.avg_pool2d(deep, 3, 2, 1)
    score = paddle.sqrt(
        nn.sigmoid(layer.conv(small, 4)) * nn.sigmoid(layer.conv(small, 1)))
    return [x], [out, score, deep]


CONVOLUTIONS = 11


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return save(str(tmp_path_factory.mktemp('network')), everything)


def images(batch, height, width, seed=0):
    return {
        'x':
        np.random.default_rng(seed).normal(
            0, 1, (batch, 3, height, width)).astype(np.float32)
    }


def joined(files, **options):
    """The plan and a predictor of the program in which networks are one
    operator."""
    made = predictor.plan(files,
                          CPU,
                          threads=1,
                          rewrites=['join_layers'],
                          **options)
    return made, predictor.Predictor(made)


@pytest.fixture(scope='module')
def plain(files):
    """As it was, without oneDNN."""
    return predictor.Predictor(
        predictor.plan(files, CPU, threads=1, mkldnn=False))


def error(found, expected):
    """Largest difference, relative to the largest value, of any output."""
    assert [f.shape for f in found] == [e.shape for e in expected]
    return max(
        np.abs(f - e).max() / np.abs(e).max() for f, e in zip(found, expected))


def test_all_is_one_operator(files):
    made, _ = joined(files)
    assert made.rewrites == {'join_layers': CONVOLUTIONS}
    types = [op.type for op in Model.load(made.files).ops]
    assert [t for t in types
            if t not in ('feed', 'fetch', 'scale')] == ['onednn_network_3']


def test_values_stay_for_any_size(files, plain):
    _, one = joined(files)
    # Sizes return: what was made for them is found again.
    for batch, height, width in ((1, 32, 48), (2, 64, 32), (1, 32, 48), (3, 16,
                                                                         16)):
        feed = images(batch, height, width, height)
        assert error(one.run(feed), plain.run(feed)) < 1e-5


def test_networks_of_one_shape_differ_by_their_weights(files, plain, tmp_path):
    other = save(str(tmp_path / 'other'),
                 lambda *arguments: everything(*arguments, seed=1))
    feed = images(1, 32, 32)
    expected = plain.run(feed)
    _, first = joined(files)
    assert error(first.run(feed), expected) < 1e-5
    _, second = joined(other)
    assert error(second.run(feed), expected) > 0.1
    assert error(first.run(feed), expected) < 1e-5


def test_bf16(files, plain):
    if not set(predictor.BF16) & set(runtime.cpu_extensions()):
        precision, tolerance = 'fp32', 1e-5
    else:
        precision, tolerance = 'bf16', 0.05  # 8 bits, a dozen layers
    _, one = joined(files, precision=precision)
    feed = images(1, 64, 64)
    assert error(one.run(feed), plain.run(feed)) < tolerance


def test_too_small_an_image_is_an_error(files):
    _, one = joined(files)
    with pytest.raises(Exception, match='onednn_network'):
        one.run({'x': np.zeros((1, 3, 0, 8), np.float32)})


def calibrated(files, directory, types):
    """The model with convolutions of these types quantized."""
    ptq.quantize(files.directory, files.model_filename, files.params_filename,
                 directory, lambda: (images(1, 32, 48, i) for i in range(8)), 8,
                 QuantAwareSection(quantize_op_types=types),
                 QuantizationSection(algo='abs_max',
                                     weight_rounding='nearest'), 'a.yml')
    return ModelFiles(directory)


@pytest.fixture(scope='module')
def quantized(files, tmp_path_factory):
    return calibrated(files, str(tmp_path_factory.mktemp('quantized')),
                      ['conv2d', 'depthwise_conv2d'])


def spread(found, expected):
    """Root mean square of the differences, relative to that of the values."""
    return max(
        np.sqrt(np.mean((f - e)**2) / np.mean(e**2))
        for f, e in zip(found, expected))


def test_int8_is_as_near_to_float(quantized, plain):
    """As near as without the network, where oneDNN has VNNI."""
    options = CpuSection(
        int8_ops=['conv2d', 'depthwise_conv2d', 'fused_conv2d'])
    simulation, without = (predictor.Predictor(
        predictor.plan(quantized,
                       options,
                       threads=1,
                       precision=precision,
                       rewrites=())) for precision in ('fp32', 'int8'))
    made, one = joined(quantized, precision='int8')
    if halving.halves():
        assert made.rewrites == {'join_layers': 0}
        return
    assert made.rewrites == {'join_layers': CONVOLUTIONS}
    errors = []
    for seed in range(4):
        feed = images(1, 32, 48, 100 + seed)
        expected = plain.run(feed)
        errors.append([
            spread(runs.run(feed), expected)
            for runs in (one, without, simulation)
        ])
    ours, paddles, simulated = np.mean(errors, 0)
    assert ours < 1.05 * min(paddles, simulated)
    count = int8_check.run(made, images(1, 32, 48))
    assert count.int8 == CONVOLUTIONS and count.fp32 == 0
    # Integers pass from one to the next where nothing else reads them.
    with_integers = [
        p for p in int8_check.primitives(made, images(1, 32, 48))
        if p.kind == 'convolution' and p.destination in ('s8', 'u8')
    ]
    assert with_integers


def test_bf16_beside_int8(files, plain, tmp_path, monkeypatch):
    """Where the CPU has it, else float, as without the option."""
    one_type = calibrated(files, str(tmp_path), ['conv2d'])

    def run(**options):
        made = predictor.plan(one_type,
                              CpuSection(int8_ops=CPU.int8_ops, **options),
                              threads=1,
                              precision='int8',
                              rewrites=['join_layers'])
        feed = images(1, 32, 48, 100)
        count = int8_check.run(made, feed)
        return made.bf16, count, predictor.Predictor(made).run(feed)

    bf16, count, without = run()
    assert not bf16 and count.bf16 == 0
    monkeypatch.setattr('act.plan.BF16_IN_HARDWARE', ())
    bf16, _, found = run(bf16_rest=True)
    assert not bf16 and error(found, without) == 0
    # Emulated where it has AVX-512 only.
    monkeypatch.setattr('act.plan.BF16_IN_HARDWARE', predictor.BF16)
    bf16, other, found = run(bf16_rest=True)
    has = set(predictor.BF16) & set(runtime.cpu_extensions())
    assert bf16 == (bool(has) and not halving.halves())
    assert other.int8 == count.int8 > other.bf16 == (count.fp32 if bf16 else 0)
    expected = plain.run(images(1, 32, 48, 100))
    assert spread(found, expected) < 1.1 * spread(without, expected)


def transformer(paddle, parameter):
    """A transformer's layers with weights, twice, attention between them."""
    nn = paddle.nn.functional
    layer = Layers(paddle, parameter, 5)
    x = paddle.static.data('x', [-1, -1, 16])

    def linear(y, channels, bias=True):
        y = paddle.matmul(
            y, layer.new(y.shape[-1], channels, scale=y.shape[-1]**-0.5))
        return y + layer.new(channels) if bias else y

    def block(y, activation):
        y = y + linear(activation(linear(y, 48)), 16)
        return nn.layer_norm(y, 16, layer.new(16), layer.new(16))

    first = block(x, nn.gelu)
    shares = nn.softmax(
        paddle.matmul(linear(first, 16), linear(first, 16), transpose_y=True))
    second = block(paddle.matmul(shares, first) + first, nn.relu)
    return [x], [nn.silu(linear(second, 8, bias=False)), first]


LINEAR = 7


def rows(batch, length, seed=0):
    return {
        'x':
        np.random.default_rng(seed).normal(0, 1, (batch, length, 16)).astype(
            np.float32)
    }


@pytest.fixture(scope='module')
def linear_files(tmp_path_factory):
    return save(str(tmp_path_factory.mktemp('linear')), transformer)


@pytest.fixture(scope='module')
def linear_plain(linear_files):
    return predictor.Predictor(
        predictor.plan(linear_files, CPU, threads=1, mkldnn=False))


def test_linear_layers(linear_files, linear_plain):
    made, one = joined(linear_files)
    assert made.rewrites == {'join_layers': LINEAR}
    types = [op.type for op in Model.load(made.files).ops]
    assert sum(t.startswith('onednn_network') for t in types) == 2
    assert types.count('matmul_v2') == 2 and 'layer_norm' not in types
    for batch, length in ((1, 9), (2, 5), (1, 9), (1, 1)):
        feed = rows(batch, length, length)
        assert error(one.run(feed), linear_plain.run(feed)) < 1e-5


def test_results_outlive_the_next_run(linear_files, linear_plain):
    """Memory of a result is written to again only when nobody holds it."""
    _, one = joined(linear_files)
    _, other = joined(linear_files)
    one.set_inputs(rows(1, 9, 1))
    one.compute()
    for seed in range(3):
        other.run(rows(1, 9, 2 + seed))
    assert error(one.outputs(), linear_plain.run(rows(1, 9, 1))) < 1e-5


def test_linear_layers_in_bf16(linear_files, linear_plain):
    if not set(predictor.BF16) & set(runtime.cpu_extensions()):
        precision, tolerance = 'fp32', 1e-5
    else:
        precision, tolerance = 'bf16', 0.03
    made, one = joined(linear_files, precision=precision)
    assert made.rewrites == {'join_layers': LINEAR}
    assert error(one.run(rows(1, 9)), linear_plain.run(rows(1, 9))) < tolerance


@pytest.fixture(scope='module')
def linear_quantized(linear_files, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp('linear_int8'))
    ptq.quantize(linear_files.directory, linear_files.model_filename,
                 linear_files.params_filename, directory, lambda:
                 (rows(1, 9, i) for i in range(8)), 8,
                 QuantAwareSection(quantize_op_types=['matmul_v2']),
                 QuantizationSection(algo='abs_max',
                                     weight_rounding='nearest'), 'a.yml')
    return ModelFiles(directory)


def test_linear_layers_in_int8(linear_quantized, linear_plain):
    made = predictor.plan(linear_quantized,
                          CpuSection(int8_ops=['fc']),
                          threads=1,
                          precision='int8')
    assert made.rewrites['join_layers'] == 0 if halving.halves() else LINEAR
    feed = rows(1, 9, 20)
    found = predictor.Predictor(made).run(feed)
    assert spread(found, linear_plain.run(feed)) < 0.04
    assert int8_check.run(made, feed).linear_int8 == LINEAR


def test_quantized_linear_layers_in_float(linear_quantized, linear_plain,
                                          tmp_path):
    model = Model.load(linear_quantized)
    observers.strip_observers(model)
    joined_layers = network.join_layers(model, network.Types(int8_linear=False))
    assert joined_layers == (0 if halving.halves() else LINEAR)
    files = ModelFiles(str(tmp_path / 'float'))
    model.save(files)
    one = predictor.Predictor(
        predictor.plan(files, CPU, threads=1, mkldnn=False, precision='fp32'))
    feed = rows(1, 9, 20)
    # Only the weights are rounded.
    assert spread(one.run(feed), linear_plain.run(feed)) < 0.02


def chain(kinds, outputs=1):
    """A program of convolutions with something between them."""

    def build(paddle, parameter):
        layer = Layers(paddle, parameter, 3)
        x = paddle.static.data('x', [-1, 3, -1, -1])
        made, y = [], x
        for kind in kinds:
            y = kind(paddle, layer.conv(y, 8))
        for _ in range(outputs):
            made.append(layer.conv(y, 4))
        return [x], made

    return build


@pytest.mark.parametrize(
    'between, convolutions, networks',
    [
        (lambda p, y: y, 4, 1),
        # Not among what a network holds: two networks.
        (lambda p, y: p.tanh(y), 4, 0),
        (lambda p, y: p.nn.functional.pad(y, [1, 1, 1, 1]), 4, 0),
        (lambda p, y: p.nn.functional.max_pool2d(y, 2, ceil_mode=True), 4, 0),
        (lambda p, y: p.nn.functional.interpolate(
            y, scale_factor=2, mode='bilinear'), 4, 0),
        (lambda p, y: p.concat([y, y], 2), 4, 0),
    ])
def test_what_is_left(tmp_path, between, convolutions, networks):
    files = save(str(tmp_path / 'chain'), chain([between] * 3))
    model = Model.load(files)
    assert network.join_layers(
        model, network.Types()) == (convolutions if networks else 0)
    types = [op.type for op in model.ops]
    assert sum(t.startswith('onednn_network') for t in types) == networks


def test_two_networks_with_something_between(tmp_path):
    files = save(
        str(tmp_path / 'two'),
        chain([
            lambda p, y: y, lambda p, y: p.tanh(y), lambda p, y: y,
            lambda p, y: p.nn.functional.relu(y)
        ]))
    plain = predictor.Predictor(
        predictor.plan(files, CPU, threads=1, mkldnn=False))
    made, one = joined(files)
    assert made.rewrites == {'join_layers': 5}
    types = [op.type for op in Model.load(made.files).ops]
    assert types.count('onednn_network_1') == 2 and 'tanh' in types
    feed = images(1, 8, 8)
    assert error(one.run(feed), plain.run(feed)) < 1e-5


def test_more_outputs_than_an_operator_has(tmp_path):
    build = chain([lambda p, y: y] * 2, network.MOST + 1)
    model = Model.load(save(str(tmp_path / 'wide'), build))
    before = [op.type for op in model.ops if op.type == 'conv2d']
    assert network.join_layers(model, network.Types()) == 0
    assert [op.type for op in model.ops if op.type == 'conv2d'] == before


@pytest.mark.parametrize('name, convolutions', [('ppyoloe_plus_tiny', 83),
                                                ('rtdetr_tiny', 120)])
def test_trained_models(sibling, shapes, name, convolutions):
    """Detections stay, all but the last digits."""
    from act import config, data
    settings = config.load(os.path.join(PROJECT, 'demo', name + '_qat.yml'),
                           {'Reader': {
                               'dataset_dir': shapes
                           }})
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:2])
    files = ModelFiles(sibling(name))
    plain = predictor.Predictor(
        predictor.plan(files, CPU, threads=1, mkldnn=False))
    made, one = joined(files)
    assert made.rewrites['join_layers'] == convolutions
    feed = {n: batch[n] for n in one.inputs}
    for found, expected in zip(one.run(feed), plain.run(feed)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
