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
"""RT-DETR's efficient hybrid encoder (arXiv 2304.08069, section 4.2).

Attention within a scale (AIFI) only on the coarsest map, whose features mean
most; scales are mixed by convolutions (CCFF: top-down, then bottom-up).
"""

from typing import Any, Dict, List, Optional, Sequence

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, nn
from paddle.regularizer import L2Decay
from ppdet.modeling.backbones.csp_darknet import BaseConv
from ppdet.modeling.backbones.cspresnet import RepVggBlock
from ppdet.modeling.ops import get_act_fn
from ppdet.modeling.shape_spec import ShapeSpec
from ppdet.modeling.transformers.detr_transformer import (
    TransformerEncoder,
    TransformerEncoderLayer,
)


def position_embedding(height: int,
                       width: int,
                       channels: int,
                       temperature: float = 10000.0) -> paddle.Tensor:
    """Sines and cosines of where a place is, (1, height * width, channels).

    The first half of the channels tells the row, the second the column: the
    published weights were trained so.

    Raises:
        ValueError: channels that four does not divide.
    """
    if channels % 4:
        raise ValueError('hidden_dim %d must be a multiple of 4' % channels)
    count = channels // 4
    omega = temperature**(-paddle.arange(count, dtype='float32') / count)
    rows, columns = paddle.meshgrid(paddle.arange(height, dtype='float32'),
                                    paddle.arange(width, dtype='float32'))
    rows = rows.flatten().unsqueeze(1) * omega
    columns = columns.flatten().unsqueeze(1) * omega
    return paddle.concat(
        [rows.sin(), rows.cos(),
         columns.sin(), columns.cos()], axis=1).unsqueeze(0)


class TransformerLayer(TransformerEncoderLayer):
    """DETR's encoder layer with RT-DETR's defaults: (N, L, d_model) in and
    out."""

    def __init__(self,
                 d_model: int,
                 nhead: int,
                 dim_feedforward: int = 1024,
                 dropout: float = 0.0,
                 activation: str = 'relu',
                 attn_dropout: Optional[float] = None,
                 act_dropout: Optional[float] = None,
                 normalize_before: bool = False) -> None:
        super().__init__(d_model, nhead, dim_feedforward, dropout, activation,
                         attn_dropout, act_dropout, normalize_before)


class CSPRepLayer(nn.Layer):
    """The fusion block: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Two 1x1 branches, one of them followed by re-parameterizable 3x3 blocks,
    added.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int,
                 expansion: float, act: Any) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = BaseConv(in_channels, hidden, ksize=1, stride=1)
        self.conv2 = BaseConv(in_channels, hidden, ksize=1, stride=1)
        self.bottlenecks = nn.Sequential(
            *[RepVggBlock(hidden, hidden, act=act) for _ in range(blocks)])
        self.conv3 = nn.Identity() if hidden == out_channels else BaseConv(
            hidden, out_channels, ksize=1, stride=1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


class HybridEncoder(nn.Layer):
    """Feature maps (N, C_i, H_i, W_i), finest first, each half as large as the
    one before -> maps (N, hidden_dim, H_i, W_i)."""

    __shared__ = ['depth_mult', 'act', 'trt', 'eval_size']
    __inject__ = ['encoder_layer']

    def __init__(self,
                 in_channels: Sequence[int] = (512, 1024, 2048),
                 feat_strides: Sequence[int] = (8, 16, 32),
                 hidden_dim: int = 256,
                 use_encoder_idx: Sequence[int] = (2, ),
                 num_encoder_layers: int = 1,
                 encoder_layer: Any = 'TransformerLayer',
                 pe_temperature: float = 10000,
                 expansion: float = 1.0,
                 depth_mult: float = 1.0,
                 act: Any = 'silu',
                 trt: bool = False,
                 eval_size: Optional[Sequence[int]] = None) -> None:
        """
        Args:
            in_channels, feat_strides: of the maps that come in.
            use_encoder_idx: maps that attention runs on.
            encoder_layer: a TransformerLayer of d_model `hidden_dim`.
            expansion: hidden channels of a fusion block, of `hidden_dim`.
            depth_mult: of three, re-parameterizable blocks a fusion block.
            act: of these blocks; other convolutions have SiLU.
            trt: takes activations that TensorRT has.
            eval_size: height, width of the image in evaluation; its position
                embedding is then a constant of the exported model.
        """
        super().__init__()
        self.hidden_dim = hidden_dim
        self.feat_strides = list(feat_strides)
        self.use_encoder_idx = list(use_encoder_idx)
        self.num_encoder_layers = num_encoder_layers
        self.pe_temperature = pe_temperature
        if not callable(act):
            act = get_act_fn(act, trt=trt)

        def norm_attr() -> ParamAttr:
            return ParamAttr(regularizer=L2Decay(0.0))

        def fusion() -> CSPRepLayer:
            return CSPRepLayer(2 * hidden_dim, hidden_dim,
                               round(3 * depth_mult), expansion, act)

        self.input_proj = nn.LayerList([
            nn.Sequential(
                nn.Conv2D(channels, hidden_dim, 1, bias_attr=False),
                nn.BatchNorm2D(hidden_dim,
                               weight_attr=norm_attr(),
                               bias_attr=norm_attr()))
            for channels in in_channels
        ])
        self.encoder = nn.LayerList([
            TransformerEncoder(encoder_layer, num_encoder_layers)
            for _ in use_encoder_idx
        ])
        self.lateral_convs = nn.LayerList()
        self.fpn_blocks = nn.LayerList()
        self.downsample_convs = nn.LayerList()
        self.pan_blocks = nn.LayerList()
        for _ in range(len(in_channels) - 1):
            self.lateral_convs.append(BaseConv(hidden_dim, hidden_dim, 1, 1))
            self.fpn_blocks.append(fusion())
            self.downsample_convs.append(BaseConv(hidden_dim, hidden_dim, 3, 2))
            self.pan_blocks.append(fusion())

        self._eval_sizes = {}
        for index in use_encoder_idx if eval_size else ():
            height, width = [s // feat_strides[index] for s in eval_size]
            self._eval_sizes[index] = (height, width)
            self.register_buffer('pos_embed%d' % index,
                                 position_embedding(height, width, hidden_dim,
                                                    pe_temperature),
                                 persistable=False)

    @classmethod
    def from_config(cls, cfg: Any,
                    input_shape: Sequence[ShapeSpec]) -> Dict[str, Any]:
        return {
            'in_channels': [i.channels for i in input_shape],
            'feat_strides': [i.stride for i in input_shape]
        }

    @property
    def out_shape(self) -> List[ShapeSpec]:
        return [
            ShapeSpec(channels=self.hidden_dim, stride=stride)
            for stride in self.feat_strides
        ]

    def forward(self, feats: Sequence[paddle.Tensor]) -> List[paddle.Tensor]:
        maps = [project(f) for project, f in zip(self.input_proj, feats)]
        if self.num_encoder_layers > 0:
            for encoder, index in zip(self.encoder, self.use_encoder_idx):
                maps[index] = self._attend(encoder, index, maps[index])

        # Top-down: each map with what the coarser ones say.
        fused = [maps[-1]]
        for lateral, block, fine in zip(self.lateral_convs, self.fpn_blocks,
                                        maps[-2::-1]):
            fused[0] = lateral(fused[0])
            coarse = F.interpolate(fused[0], scale_factor=2.0, mode='nearest')
            fused.insert(0, block(paddle.concat([coarse, fine], axis=1)))

        # Bottom-up: each map with what the finer ones say.
        outputs = [fused[0]]
        for down, block, coarse in zip(self.downsample_convs, self.pan_blocks,
                                       fused[1:]):
            fine = down(outputs[-1])
            outputs.append(block(paddle.concat([fine, coarse], axis=1)))
        return outputs

    def _attend(self, encoder: nn.Layer, index: int,
                x: paddle.Tensor) -> paddle.Tensor:
        """Attention of all places of one map, (N, hidden_dim, H, W)."""
        height, width = x.shape[2:]
        if self._eval_sizes.get(index) == (height, width):
            position = getattr(self, 'pos_embed%d' % index)
        else:
            position = position_embedding(height, width, self.hidden_dim,
                                          self.pe_temperature)
        tokens = encoder(x.flatten(2).transpose([0, 2, 1]), pos_embed=position)
        return tokens.transpose([0, 2, 1]).reshape(
            [-1, self.hidden_dim, height, width])
