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
"""The fast deformable attention against grid_sample's."""

import copy

import numpy as np
import pytest
from act import runtime

runtime.import_ppdet()

import paddle  # noqa: E402
from backport import rtdetr_transformer as slow  # noqa: E402
from ops.deformable import Core, accelerate, deformable_sample  # noqa: E402
from ppdet.modeling.transformers import deformable_transformer  # noqa: E402

# As in test_depthwise.py: relative to the largest value of the array.
TOLERANCE = 1e-5
SHAPES = [[7, 5], [4, 3], [1, 2]]
PLACES = sum(h * w for h, w in SHAPES)


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)
    paddle.seed(0)


def assert_close(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    error = np.abs(found - wanted).max()
    assert error <= TOLERANCE * max(1., np.abs(wanted).max())


def tensor(*shape, low=-1.0, high=1.0):
    values = np.random.uniform(low, high, shape).astype('float32')
    return paddle.to_tensor(values, stop_gradient=False)


def inputs(channels, batch=3, queries=9, heads=2, points=4):
    """Value, locations (some beyond the maps' edges) and weights."""
    return (tensor(batch, PLACES, heads, channels),
            tensor(batch, queries, heads, 3, points, 2, low=-0.4,
                   high=1.4), tensor(batch, queries, heads, 3, points))


@pytest.mark.parametrize('channels', [8, 16, 32, 5])
def test_output_and_gradients(channels):
    value, locations, weights = inputs(channels)
    every = [value, locations, weights]
    wanted = slow.deformable_sample(value, SHAPES, None, locations, weights)
    factor = tensor(*wanted.shape).detach()
    wanted_grads = paddle.grad((wanted * factor).sum(), every)
    for _ in range(2):
        found = deformable_sample(value, SHAPES, locations, weights)
        assert_close(found, wanted)
        for grad, wanted_grad in zip(paddle.grad((found * factor).sum(), every),
                                     wanted_grads):
            assert_close(grad, wanted_grad)


def test_on_the_edges():
    """Places' centers, maps' edges, far outside: no read beyond a map."""
    at = [-1e9, -1.0, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 1e9]
    x, y = np.meshgrid(at, at)
    locations = np.stack([x, y], -1).reshape([1, 81, 1, 1, 1, 2])
    locations = paddle.to_tensor(locations.astype('float32'))
    value, weights = tensor(1, 25, 1, 8), tensor(1, 81, 1, 1, 1)
    found = deformable_sample(value, [[5, 5]], locations, weights)
    assert_close(
        found, slow.deformable_sample(value, [[5, 5]], None, locations,
                                      weights))
    outside = np.isin(x, at[:2] + at[-2:]) | np.isin(y, at[:2] + at[-2:])
    assert not np.asarray(found)[0, outside.ravel()].any()
    nothing = paddle.full_like(locations, float('nan'))
    found = deformable_sample(value, [[5, 5]], nothing, weights)
    assert not np.asarray(found).any()


def test_strided_views():
    value, locations, weights = inputs(8)
    turned = value.transpose([0, 2, 1, 3]).detach()
    assert_close(
        deformable_sample(turned.transpose([0, 2, 1, 3]), SHAPES, locations,
                          weights),
        deformable_sample(value, SHAPES, locations, weights))


def test_wrong_inputs():
    value, locations, weights = inputs(8)
    with pytest.raises(Exception, match='places'):
        deformable_sample(value, SHAPES[:2] + [[1, 1]], locations, weights)
    with pytest.raises(Exception, match='maps'):
        deformable_sample(value, [[1, PLACES]], locations, weights)
    with pytest.raises(Exception, match='float32'):
        deformable_sample(value.astype('float64'), SHAPES, locations, weights)
    with pytest.raises(Exception, match='Weights'):
        deformable_sample(value, SHAPES, locations, weights[:, 1:])


@pytest.mark.parametrize(
    'kind',
    [deformable_transformer.MSDeformableAttention, slow.DeformableAttention])
def test_accelerate(kind):
    layer = paddle.nn.LayerList([kind(16, 2, 3, 4)])
    fast = copy.deepcopy(layer)
    assert accelerate(fast) == 1
    assert accelerate(fast) == 0
    fast = copy.deepcopy(fast)
    assert isinstance(fast[0].ms_deformable_attn_core, Core)
    assert not isinstance(layer[0].ms_deformable_attn_core, Core)
    assert list(fast.state_dict()) == list(layer.state_dict())
    query, value = tensor(2, 6, 16), tensor(2, PLACES, 16)
    boxes = tensor(2, 6, 1, 4, low=0.1, high=0.9).detach().tile([1, 1, 3, 1])
    if kind is deformable_transformer.MSDeformableAttention:
        # Its shapes are a tensor, and grid_sample wants numbers.
        shapes = paddle.to_tensor(SHAPES)
        layer[0].ms_deformable_attn_core = (
            lambda v, s, i, loc, w: slow.deformable_sample(
                v, SHAPES, i, loc, w))
    else:
        shapes, boxes = SHAPES, boxes[:, :, :1]
    wanted = layer[0](query, boxes, value, shapes, None)
    found = fast[0](query, boxes, value, shapes, None)
    assert_close(found, wanted)
    factor = tensor(*wanted.shape).detach()
    (wanted * factor).sum().backward()
    (found * factor).sum().backward()
    for a, b in zip(layer.parameters(), fast.parameters()):
        assert_close(b.grad, a.grad)


def test_elsewhere_the_layers_own_core_runs():
    value, locations, weights = [v.astype('float64') for v in inputs(8)]
    wanted = slow.deformable_sample(value, SHAPES, None, locations, weights)
    found = Core(slow.deformable_sample)(value, SHAPES, None, locations,
                                         weights)
    assert_close(found, wanted)
