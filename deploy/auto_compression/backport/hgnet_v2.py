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
"""PP-HGNetV2, the backbone of RT-DETR-L and -X (arXiv 2304.08069, table 2).

A stem of stride 4, then four stages. A block runs its layers one after the
other, concatenates its input and all their outputs, and squeezes that to the
stage's channels. From the third stage on, a layer is a 1x1 convolution and a
depthwise one.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import paddle
from paddle import ParamAttr, nn
from paddle.nn.initializer import KaimingNormal
from paddle.regularizer import L2Decay
from ppdet.modeling.shape_spec import ShapeSpec


class Stage(NamedTuple):
    """One stage. The first has no downsampling, the others halve the size."""
    mid_channels: int  # of a layer
    out_channels: int
    blocks: int
    downsample: bool
    light: bool  # layers of a 1x1 and a depthwise convolution
    kernel_size: int
    layers: int  # a block


# (channels of the stem: inside, out), stages.
ARCHITECTURES = {
    'L': ((32, 48), (
        Stage(48, 128, 1, False, False, 3, 6),
        Stage(96, 512, 1, True, False, 3, 6),
        Stage(192, 1024, 3, True, True, 5, 6),
        Stage(384, 2048, 1, True, True, 5, 6),
    )),
    'X': ((32, 64), (
        Stage(64, 128, 1, False, False, 3, 6),
        Stage(128, 512, 2, True, False, 3, 6),
        Stage(256, 1024, 5, True, True, 5, 6),
        Stage(512, 2048, 2, True, True, 5, 6),
    )),
}


class ConvBNAct(nn.Layer):
    """Convolution, batch norm and, with `act`, ReLU:
    (N, C, H, W) -> (N, out_channels, H / stride, W / stride)."""

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int,
                 stride: int = 1,
                 groups: int = 1,
                 act: bool = True,
                 lr_mult: float = 1.0,
                 freeze_norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            # An even kernel keeps the size only with padding on one side.
            padding=kernel_size // 2 if kernel_size % 2 else 'SAME',
            groups=groups,
            weight_attr=ParamAttr(learning_rate=lr_mult,
                                  initializer=KaimingNormal()),
            bias_attr=False)
        norm = {
            'regularizer': L2Decay(0.0),
            'learning_rate': 0.0 if freeze_norm else lr_mult,
            'trainable': not freeze_norm,
        }
        self.bn = nn.BatchNorm2D(out_channels,
                                 weight_attr=ParamAttr(**norm),
                                 bias_attr=ParamAttr(**norm),
                                 use_global_stats=True if freeze_norm else None)
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.act(self.bn(self.conv(x)))


class LightConvBNAct(nn.Layer):
    """A 1x1 convolution, then a depthwise one."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int,
                 **kwargs: Any) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(in_channels,
                               out_channels,
                               1,
                               act=False,
                               **kwargs)
        self.conv2 = ConvBNAct(out_channels,
                               out_channels,
                               kernel_size,
                               groups=out_channels,
                               **kwargs)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv2(self.conv1(x))


class Stem(nn.Layer):
    """(N, 3, H, W) -> (N, out_channels, H / 4, W / 4)."""

    def __init__(self, mid_channels: int, out_channels: int,
                 **kwargs: Any) -> None:
        super().__init__()
        half = mid_channels // 2
        self.stem1 = ConvBNAct(3, mid_channels, 3, stride=2, **kwargs)
        self.stem2a = ConvBNAct(mid_channels, half, 2, **kwargs)
        self.stem2b = ConvBNAct(half, mid_channels, 2, **kwargs)
        self.stem3 = ConvBNAct(2 * mid_channels,
                               mid_channels,
                               3,
                               stride=2,
                               **kwargs)
        self.stem4 = ConvBNAct(mid_channels, out_channels, 1, **kwargs)
        self.pool = nn.MaxPool2D(2, stride=1, ceil_mode=True, padding='SAME')

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem1(x)
        x = paddle.concat([self.pool(x), self.stem2b(self.stem2a(x))], axis=1)
        return self.stem4(self.stem3(x))


class HGBlock(nn.Layer):
    """(N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, stage: Stage, identity: bool,
                 **kwargs: Any) -> None:
        super().__init__()
        self.identity = identity
        layer = LightConvBNAct if stage.light else ConvBNAct
        mid, out = stage.mid_channels, stage.out_channels
        self.layers = nn.LayerList([
            layer(mid if i else in_channels, mid, stage.kernel_size, **kwargs)
            for i in range(stage.layers)
        ])
        self.aggregation_squeeze_conv = ConvBNAct(
            in_channels + stage.layers * mid, out // 2, 1, **kwargs)
        self.aggregation_excitation_conv = ConvBNAct(out // 2, out, 1, **kwargs)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = self.aggregation_squeeze_conv(paddle.concat(outputs, axis=1))
        y = self.aggregation_excitation_conv(y)
        return x + y if self.identity else y


class HGStage(nn.Layer):
    """Downsampling by a depthwise convolution, then blocks; all but the first
    add their input to their output."""

    def __init__(self, in_channels: int, stage: Stage, **kwargs: Any) -> None:
        super().__init__()
        self.downsample = ConvBNAct(in_channels,
                                    in_channels,
                                    3,
                                    stride=2,
                                    groups=in_channels,
                                    act=False,
                                    **kwargs) if stage.downsample else None
        self.blocks = nn.Sequential(*[
            HGBlock(stage.out_channels if i else in_channels,
                    stage,
                    identity=i > 0,
                    **kwargs) for i in range(stage.blocks)
        ])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        return self.blocks(x)


class PPHGNetV2(nn.Layer):
    """The backbone: inputs['image'] (N, 3, H, W) -> a feature map for each of
    `return_idx`, of channels and stride as `out_shape` says."""

    def __init__(self,
                 arch: str = 'L',
                 lr_mult_list: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
                 return_idx: Sequence[int] = (1, 2, 3),
                 freeze_stem_only: bool = True,
                 freeze_at: int = 0,
                 freeze_norm: bool = True,
                 stem_channels: Optional[Sequence[int]] = None,
                 stages: Optional[Sequence[Dict[str, Any]]] = None) -> None:
        """
        Args:
            arch: of ARCHITECTURES.
            lr_mult_list: factors on the learning rate: stem, each stage.
            return_idx: indices of the stages whose outputs are returned.
            freeze_stem_only, freeze_at: at -1 nothing is frozen, from 0 on the
                stem; without `freeze_stem_only` also the stages up to that
                index.
            freeze_norm: batch norm keeps its parameters and statistics.
            stem_channels, stages: instead of `arch`, its two parts; a stage is
                a mapping with the fields of `Stage`.
        """
        super().__init__()
        stem, rows = ARCHITECTURES[arch]
        stem = tuple(stem_channels or stem)
        rows = [Stage(**row) for row in stages] if stages else rows
        if len(lr_mult_list) != len(rows) + 1:
            raise ValueError('PPHGNetV2.lr_mult_list needs %d values: the '
                             'stem, then each stage' % (len(rows) + 1))
        self.return_idx = list(return_idx)
        self.stem = Stem(*stem,
                         lr_mult=lr_mult_list[0],
                         freeze_norm=freeze_norm)
        self.stages = nn.LayerList()
        self._out: List[ShapeSpec] = []
        channels, stride = stem[1], 4
        for stage, lr_mult in zip(rows, lr_mult_list[1:]):
            self.stages.append(
                HGStage(channels,
                        stage,
                        lr_mult=lr_mult,
                        freeze_norm=freeze_norm))
            channels = stage.out_channels
            stride *= 2 if stage.downsample else 1
            self._out.append(ShapeSpec(channels=channels, stride=stride))
        if freeze_at >= 0:
            frozen = [self.stem]
            if not freeze_stem_only:
                frozen += list(self.stages)[:freeze_at + 1]
            for layer in frozen:
                for parameter in layer.parameters():
                    parameter.stop_gradient = True

    @property
    def out_shape(self) -> List[ShapeSpec]:
        return [self._out[i] for i in self.return_idx]

    def forward(self, inputs: Dict[str, paddle.Tensor]) -> List[paddle.Tensor]:
        x = self.stem(inputs['image'])
        outputs = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.return_idx:
                outputs.append(x)
        return outputs
