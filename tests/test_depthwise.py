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
"""The fast depthwise convolution against Paddle's own."""

import copy
import os

import numpy as np
import pytest
from act.errors import UserError
from act.runtime import import_paddle
from ops import build
from ops.depthwise import DepthwiseConv2D, accelerate, depthwise_conv2d

paddle = import_paddle()
nn = paddle.nn
F = paddle.nn.functional

# Both sides sum in float32 in different orders; errors are relative to the
# largest value of the array, as sums that nearly cancel keep the absolute
# error of their terms.
TOLERANCE = 2e-6
SIZES = [(8, 8), (7, 9), (13, 13), (10, 40), (33, 70)]


def assert_close(found: paddle.Tensor, wanted: paddle.Tensor) -> None:
    found, wanted = found.numpy(), wanted.numpy()
    assert found.shape == wanted.shape
    error = np.abs(found - wanted).max()
    assert error <= TOLERANCE * max(1., np.abs(wanted).max())


def tensor(*shape: int) -> paddle.Tensor:
    values = np.random.uniform(-1, 1, shape).astype('float32')
    return paddle.to_tensor(values, stop_gradient=False)


def check(x: paddle.Tensor, weight: paddle.Tensor, stride: int,
          padding: int) -> None:
    """Compare output and gradients, with a gradient that differs by place."""
    wanted = F.conv2d(x,
                      weight,
                      stride=stride,
                      padding=padding,
                      groups=x.shape[1])
    factor = tensor(*wanted.shape).detach()
    wanted_grads = paddle.grad((wanted * factor).sum(), [x, weight])
    # Twice: the first call's scratch must not reach into the second.
    for _ in range(2):
        found = depthwise_conv2d(x, weight, stride, padding)
        assert_close(found, wanted)
        grads = paddle.grad((found * factor).sum(), [x, weight])
        for grad, wanted_grad in zip(grads, wanted_grads):
            assert_close(grad, wanted_grad)


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)
    paddle.seed(0)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kernel', [3, 5, 7])
def test_same_padding(kernel, stride, size):
    for channels in (2, 5):
        check(tensor(3, channels, *size), tensor(channels, 1, kernel, kernel),
              stride, (kernel - 1) // 2)


@pytest.mark.parametrize('shape,kernel,stride,padding', [
    ((2, 3, 9, 11), (3, 3), 1, 0),
    ((2, 3, 9, 11), (3, 3), 2, 0),
    ((2, 3, 10, 12), (5, 5), 2, 1),
    ((2, 3, 10, 12), (3, 3), 3, 1),
    ((2, 3, 11, 13), (5, 5), 3, 4),
    ((1, 4, 12, 9), (1, 1), 2, 0),
    ((1, 4, 12, 9), (2, 2), 2, 1),
    ((1, 4, 12, 9), (3, 5), 1, 2),
    ((1, 2, 1, 1), (3, 3), 1, 1),
    ((1, 2, 2, 1), (5, 5), 2, 2),
    ((1, 2, 5, 5), (5, 5), 1, 0),
    ((1, 1, 6, 6), (3, 3), 1, 1),
])
def test_other_geometries(shape, kernel, stride, padding):
    check(tensor(*shape), tensor(shape[1], 1, *kernel), stride, padding)


def test_strided_view():
    """Inputs and gradients may be views that are not contiguous."""
    base, weight = tensor(2, 9, 8, 4), tensor(4, 1, 3, 3)
    factor = tensor(2, 9, 8, 4).detach()
    results = []
    for conv in (lambda x: depthwise_conv2d(x, weight, 1, 1),
                 lambda x: F.conv2d(x, weight, padding=1, groups=4)):
        out = conv(base.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])
        results.append([out] + paddle.grad(out, [base, weight], factor))
    for found, wanted in zip(*results):
        assert_close(found, wanted)


def test_wrong_inputs():
    with pytest.raises(Exception, match='larger than the padded input'):
        depthwise_conv2d(tensor(1, 2, 3, 3), tensor(2, 1, 5, 5), 1, 0)
    with pytest.raises(Exception, match='float32'):
        depthwise_conv2d(
            tensor(1, 2, 3, 3).astype('float64'), tensor(2, 1, 3, 3), 1, 1)
    with pytest.raises(Exception, match='must be \\[N, C, H, W\\]'):
        depthwise_conv2d(tensor(1, 2, 3, 3), tensor(3, 1, 3, 3), 1, 1)


class Net(nn.Layer):
    """Four depthwise layers that can be accelerated, and ones that cannot."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, padding=1)
        self.depthwise = nn.Sequential(
            nn.Conv2D(8, 8, 3, padding=1, groups=8, bias_attr=False),
            nn.BatchNorm2D(8),
            nn.Conv2D(8, 8, 5, stride=2, padding=[2, 2], groups=8),
            nn.Conv2D(8, 8, 3, padding='VALID', groups=8),
            nn.Conv2D(8, 8, 3, padding=[1, 1, 1, 1], groups=8),
        )
        self.other = nn.Sequential(
            nn.Conv2D(8, 8, 3, padding=2, dilation=2, groups=8),
            nn.Conv2D(8, 8, 3, padding=[0, 1], groups=8),
            nn.Conv2D(8, 8, 3, padding=[0, 1, 0, 1], groups=8),
            nn.Conv2D(8, 8, 3, padding='SAME', groups=8),
            nn.Conv2D(8, 8, 3, stride=[1, 2], padding=1, groups=8),
            nn.Conv2D(8, 8, 3, padding=1, padding_mode='reflect', groups=8),
            nn.Conv2D(8, 16, 3, padding=1, groups=8),
            nn.Conv2D(16, 16, 3, padding=1, groups=4))

    def forward(self, x):
        return self.other(self.depthwise(self.stem(x)))


def test_accelerate():
    net = Net()
    fast = copy.deepcopy(net)
    names = [n for n, _ in fast.named_parameters()]
    parameters = list(fast.parameters())
    assert accelerate(fast) == 4
    assert accelerate(fast) == 0
    assert list(fast.state_dict()) == list(net.state_dict())
    assert [n for n, _ in fast.named_parameters()] == names
    assert all(a is b for a, b in zip(fast.parameters(), parameters))
    # A copy computes with its own parameters.
    fast = copy.deepcopy(fast)

    x = tensor(2, 3, 21, 26)
    wanted, found = net(x), fast(x)
    factor = tensor(*wanted.shape).detach()
    (wanted * factor).sum().backward()
    (found * factor).sum().backward()
    np.testing.assert_allclose(found.numpy(),
                               wanted.numpy(),
                               rtol=1e-4,
                               atol=1e-5)
    for (name, a), b in zip(net.named_parameters(), fast.parameters()):
        if a.stop_gradient:  # batch norm's mean and variance
            continue
        scale = max(1., np.abs(a.grad.numpy()).max())
        np.testing.assert_allclose(b.grad.numpy(),
                                   a.grad.numpy(),
                                   rtol=0,
                                   atol=1e-4 * scale,
                                   err_msg=name)


def test_export_keeps_paddles_operator():
    """A program traced from an accelerated model runs anywhere."""
    conv = nn.Conv2D(4, 4, 3, padding=1, groups=4)
    assert accelerate(conv) == 1
    assert isinstance(conv, DepthwiseConv2D)
    traced = paddle.jit.to_static(
        conv,
        input_spec=[paddle.static.InputSpec([1, 4, 8, 8], 'float32')],
        full_graph=True)
    ops = [op.type for op in traced.forward.main_program.global_block().ops]
    assert 'depthwise_conv2d' in ops
    assert 'depthwise_conv2d_fast' not in ops


def test_other_dtype_falls_back():
    conv = nn.Conv2D(4, 4, 3, padding=1, groups=4)
    conv.to(dtype='float64')
    x = tensor(1, 4, 6, 6).astype('float64')
    wanted = conv(x)
    assert accelerate(conv) == 1
    assert wanted.dtype == paddle.float64
    assert (conv(x).numpy() == wanted.numpy()).all()


def test_build_is_cached(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    source = str(tmp_path / 'nothing.cc')
    with open(source, 'w') as f:
        f.write('int nothing() { return 0; }\n')
    library = build.build(source)
    assert library.startswith(str(tmp_path / 'paddle_auto_compression' / 'ops'))
    assert os.listdir(os.path.dirname(library)) == ['nothing.so']
    # A library in the cache needs no compiler.
    monkeypatch.setenv('PATH', '')
    assert build.build(source) == library


def test_build_errors(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    source = str(tmp_path / 'broken.cc')
    with open(source, 'w') as f:
        f.write('int broken( { return 0; }\n')
    with pytest.raises(UserError) as broken:
        build.build(source)
    monkeypatch.setenv('PATH', '')
    with pytest.raises(UserError) as missing:
        build.build(source)
    assert 'broken.cc:1' in str(broken.value)
    assert 'needs g++' in str(missing.value)
    for error in (broken, missing):
        assert '\n' not in str(error.value)
