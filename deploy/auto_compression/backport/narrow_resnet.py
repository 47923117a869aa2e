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
"""A ResNet of bottleneck blocks whose widths and numbers of blocks are free.

ppdet's has 64 channels in its narrowest stage, whatever its configuration says:
25 million parameters with bottleneck blocks. The layers here are ppdet's, with
its names for them."""

from typing import List, Sequence

import paddle
from paddle import nn
from ppdet.modeling.backbones.name_adapter import NameAdapter
from ppdet.modeling.backbones.resnet import (
    Blocks,
    BottleNeck,
    ConvNormLayer,
    ResNet,
)

STRIDES = (4, 8, 16, 32)


class NarrowResNet(ResNet):
    """Features of an image (N, 3, H, W), as a list: of stage i (N, 4 * width *
    2^i, H / stride, W / stride), strides 4, 8, 16 and 32.

    Args:
        width: channels inside the first stage's blocks; the following stages
            have two, four and eight times as many. 64 in a common ResNet.
        blocks: how many blocks each stage has; [3, 4, 6, 3] in a ResNet50.
        norm_type: 'bn' or 'sync_bn'. No layer is frozen.
        return_idx: the stages whose features are returned.
    """
    __shared__ = ['norm_type']

    def __init__(
        self,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        norm_type: str = 'bn',
        return_idx: Sequence[int] = (0, 1, 2, 3)) -> None:
        # ResNet's own would build its 25 million parameters.
        nn.Layer.__init__(self)
        self.variant = 'b'  # a stage's stride is in its first 3 x 3 convolution
        self.depth = 2 + 3 * sum(blocks)
        self._model_type = 'ResNet'
        self.return_idx = list(return_idx)
        self._out_channels = [
            BottleNeck.expansion * width * 2**i for i in range(len(blocks))
        ]
        self._out_strides = list(STRIDES[:len(blocks)])
        self.conv1 = nn.Sequential()
        self.conv1.add_sublayer(
            'conv1',
            ConvNormLayer(3,
                          width,
                          7,
                          2,
                          act='relu',
                          norm_type=norm_type,
                          freeze_norm=False))
        names = NameAdapter(self)
        channels = width
        self.res_layers: List[paddle.nn.Layer] = []
        for i, count in enumerate(blocks):
            stage = Blocks(BottleNeck,
                           channels,
                           width * 2**i,
                           count,
                           names,
                           i + 2,
                           variant=self.variant,
                           norm_type=norm_type,
                           freeze_norm=False)
            self.res_layers.append(self.add_sublayer('res%d' % (i + 2), stage))
            channels = self._out_channels[i]
