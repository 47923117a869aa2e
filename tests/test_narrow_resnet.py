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
"""DINO's narrow backbone against ppdet's ResNet, whose layers it takes."""

import numpy as np
import pytest
from act import runtime

runtime.import_ppdet()

import paddle  # noqa: E402
from backport.narrow_resnet import NarrowResNet  # noqa: E402
from ppdet.modeling.backbones.resnet import ResNet  # noqa: E402


@pytest.fixture()
def image():
    return {
        'image':
        paddle.to_tensor(
            np.random.RandomState(0).rand(1, 3, 64, 96).astype(np.float32))
    }


def test_of_full_width_it_is_resnet50(image):
    theirs = ResNet(depth=50,
                    variant='b',
                    freeze_at=-1,
                    freeze_norm=False,
                    return_idx=[1, 2, 3])
    ours = NarrowResNet(return_idx=[1, 2, 3])
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.set_state_dict(state)
    theirs.eval()
    ours.eval()
    for a, b in zip(ours(image), theirs(image)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert ours.out_shape == theirs.out_shape


def test_width_and_blocks(image):
    net = NarrowResNet(width=16, blocks=[2, 2, 3, 2])
    shapes = [tuple(f.shape) for f in net(image)]
    assert shapes == [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6),
                      (1, 512, 2, 3)]
    assert [s.channels for s in net.out_shape] == [64, 128, 256, 512]
    # Nothing is frozen; the statistics of batch norms never have gradients.
    frozen = {n for n, p in net.named_parameters() if p.stop_gradient}
    assert frozen == {
        n
        for n, _ in net.named_parameters()
        if n.endswith(('._mean', '._variance'))
    }
