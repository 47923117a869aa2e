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
"""RT-DETR's decoder (arXiv 2304.08069, sections 4.3 and 4.4).

The places of the encoder's maps with the best class scores become the queries
(query selection); each decoder layer refines their boxes. Training adds DINO's
denoising queries (arXiv 2203.03605).

Shapes: L is the number of places of all maps, Q of queries (in training, the
denoising ones first), C of channels (hidden_dim). Boxes are (center x, center
y, width, height) relative to the image; `unact` marks them before the sigmoid.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, nn
from paddle.regularizer import L2Decay
from ppdet.modeling.heads.detr_head import MLP
from ppdet.modeling.initializer import (
    bias_init_with_prob,
    constant_,
    linear_init_,
    xavier_uniform_,
)
from ppdet.modeling.shape_spec import ShapeSpec
from ppdet.modeling.transformers import (
    deformable_transformer,
    dino_transformer,
)
from ppdet.modeling.transformers.utils import (
    _get_clones,
    get_contrastive_denoising_training_group,
)

Shapes = List[List[int]]  # height, width of each map
# Stands for the logit of 1. Infinity would do, but a quantizer that trains
# constants turns it into NaN with its weight decay.
LOGIT_OF_ONE = 1e4


def inverse_sigmoid(x: paddle.Tensor, eps: float = 1e-5) -> paddle.Tensor:
    """The logit of x, finite for 0 and 1. (ppdet 2.6.0's differs in eps.)"""
    x = x.clip(min=0.0, max=1.0)
    return paddle.log(x.clip(min=eps) / (1 - x).clip(min=eps))


def deformable_sample(value: paddle.Tensor, shapes: Shapes, starts: Any,
                      locations: paddle.Tensor,
                      weights: paddle.Tensor) -> paddle.Tensor:
    """Weighted sums of values at places between the grid's.

    Args:
        value: (N, L, heads, C / heads).
        shapes: of the maps that the L places are.
        starts: not used; ppdet's has it.
        locations: (N, Q, heads, maps, points, 2), x and y from 0 to 1.
        weights: (N, Q, heads, maps, points).

    Returns:
        (N, Q, C).
    """
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = locations.shape
    values = value.split([h * w for h, w in shapes], axis=1)
    grids = 2 * locations - 1  # as grid_sample counts
    sampled = []
    for level, (height, width) in enumerate(shapes):
        plane = values[level].flatten(2).transpose([0, 2, 1]).reshape(
            [batch * heads, channels, height, width])
        grid = grids[:, :, :, level].transpose([0, 2, 1, 3, 4]).flatten(0, 1)
        sampled.append(F.grid_sample(plane, grid, align_corners=False))
    weights = weights.transpose([0, 2, 1, 3, 4]).reshape(
        [batch * heads, 1, queries, levels * points])
    output = (paddle.stack(sampled, axis=-2).flatten(-2) * weights).sum(-1)
    return output.reshape([batch, heads * channels,
                           queries]).transpose([0, 2, 1])


class DeformableAttention(deformable_transformer.MSDeformableAttention):
    """ppdet's deformable attention with the maps' shapes as plain numbers.

    Exported, they are constants; as the tensors that ppdet 2.6.0 expects, they
    cannot be exported with Paddle 2.6.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ms_deformable_attn_core = deformable_sample

    def forward(self,
                query: paddle.Tensor,
                reference_points: paddle.Tensor,
                value: paddle.Tensor,
                value_spatial_shapes: Shapes,
                value_level_start_index: Any = None,
                value_mask: Optional[paddle.Tensor] = None) -> paddle.Tensor:
        """
        Args:
            query: (N, Q, C).
            reference_points: boxes (N, Q, 1, 4).
            value: (N, L, C).
            value_spatial_shapes: of the maps.
            value_level_start_index, value_mask: not used.

        Returns:
            (N, Q, C).
        """
        batch, queries = query.shape[:2]
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        value = self.value_proj(value).reshape(
            [batch, value.shape[1], heads, self.head_dim])
        offsets = self.sampling_offsets(query).reshape(
            [batch, queries, heads, levels, points, 2])
        weights = F.softmax(
            self.attention_weights(query).reshape([
                batch, queries, heads, levels * points
            ])).reshape([batch, queries, heads, levels, points])
        # `points` steps of an offset reach from a box's center to its side.
        locations = (
            reference_points[:, :, None, :, None, :2] +
            offsets / points * reference_points[:, :, None, :, None, 2:] * 0.5)
        return self.output_proj(
            self.ms_deformable_attn_core(value, value_spatial_shapes, None,
                                         locations, weights))


class DecoderLayer(dino_transformer.DINOTransformerDecoderLayer):
    """DINO's decoder layer with that attention: self-attention of the queries,
    attention to the places around their boxes, feed-forward; (N, Q, C)."""

    def __init__(self, d_model: int, n_head: int, dim_feedforward: int,
                 dropout: float, activation: str, n_levels: int,
                 n_points: int) -> None:
        super().__init__(d_model, n_head, dim_feedforward, dropout, activation,
                         n_levels, n_points)
        self.cross_attn = DeformableAttention(d_model,
                                              n_head,
                                              n_levels,
                                              n_points,
                                              lr_mult=1.0)


class Decoder(nn.Layer):
    """Layers that refine the boxes one after the other."""

    def __init__(self, layer: DecoderLayer, num_layers: int,
                 eval_idx: int) -> None:
        """
        Args:
            layer: copied `num_layers` times.
            eval_idx: the layer that answers in evaluation; those after it are
                not run.
        """
        super().__init__()
        self.layers = _get_clones(layer, num_layers)
        self.eval_idx = eval_idx if eval_idx >= 0 else num_layers + eval_idx

    def forward(self, target: paddle.Tensor, boxes_unact: paddle.Tensor,
                memory: paddle.Tensor, shapes: Shapes, bbox_head: nn.LayerList,
                score_head: nn.LayerList, query_pos_head: nn.Layer,
                inverse_sigmoid_first: bool,
                attn_mask: Optional[paddle.Tensor]) \
            -> Tuple[paddle.Tensor, paddle.Tensor]:
        """
        Args:
            target: content of the queries (N, Q, C).
            boxes_unact: of the queries (N, Q, 4).
            memory: the encoder's maps (N, L, C).
            shapes: of the maps.
            bbox_head, score_head: one of each a layer.
            query_pos_head: box (or, with `inverse_sigmoid_first`, its logits)
                -> the query's position.
            attn_mask: (Q, Q) bool, whether a query sees another.

        Returns:
            boxes (layers, N, Q, 4) and class logits (layers, N, Q, classes) of
            all layers in training, else of the one that answers.
        """
        all_boxes, all_logits = [], []
        # A layer starts from boxes without gradient; what it adds is taught
        # together with the layer before ("look forward twice" of DINO).
        boxes = with_gradient = F.sigmoid(boxes_unact)
        count = len(self.layers) if self.training else self.eval_idx + 1
        for index in range(count):
            position = query_pos_head(
                inverse_sigmoid(boxes) if inverse_sigmoid_first else boxes)
            target = self.layers[index](target, boxes.unsqueeze(2), memory,
                                        shapes, None, attn_mask, None, position)
            delta = bbox_head[index](target)
            refined = F.sigmoid(delta + inverse_sigmoid(boxes))
            if self.training:
                all_boxes.append(
                    F.sigmoid(delta + inverse_sigmoid(with_gradient)))
                all_logits.append(score_head[index](target))
                with_gradient, boxes = refined, refined.detach()
            else:
                boxes = refined
        if not self.training:
            all_boxes = [boxes]
            all_logits = [score_head[self.eval_idx](target)]
        return paddle.stack(all_boxes), paddle.stack(all_logits)


class RTDETRTransformer(nn.Layer):
    """Query selection and decoder. See `forward`."""

    __shared__ = ['num_classes', 'hidden_dim', 'eval_size']

    def __init__(self,
                 num_classes: int = 80,
                 hidden_dim: int = 256,
                 num_queries: int = 300,
                 position_embed_type: str = 'sine',
                 backbone_feat_channels: Sequence[int] = (512, 1024, 2048),
                 feat_strides: Sequence[int] = (8, 16, 32),
                 num_levels: int = 3,
                 num_decoder_points: int = 4,
                 nhead: int = 8,
                 num_decoder_layers: int = 6,
                 dim_feedforward: int = 1024,
                 dropout: float = 0.0,
                 activation: str = 'relu',
                 num_denoising: int = 100,
                 label_noise_ratio: float = 0.5,
                 box_noise_scale: float = 1.0,
                 learnt_init_query: bool = True,
                 query_pos_head_inv_sig: bool = False,
                 eval_size: Optional[Sequence[int]] = None,
                 eval_idx: int = -1,
                 eps: float = 1e-2) -> None:
        """
        Args:
            position_embed_type: 'sine'; of no effect, published configurations
                name it.
            backbone_feat_channels, feat_strides: of the maps that come in,
                `num_levels` in number.
            num_decoder_points: that a head samples on each map.
            num_denoising: about how many pairs of denoising queries.
            learnt_init_query: the queries' content is learnt, not the chosen
                places' features.
            query_pos_head_inv_sig: see Decoder.
            eval_size: height, width of the image in evaluation; the anchors of
                its places are then constants of the exported model.
            eval_idx: see Decoder.
            eps: places whose anchor comes nearer to the image's edge, or is
                smaller, are not chosen.
        """
        super().__init__()
        if not len(backbone_feat_channels) == len(feat_strides) == num_levels:
            raise ValueError(
                'RTDETRTransformer.num_levels is %d, with %d maps and %d '
                'strides; all three must be the same' %
                (num_levels, len(backbone_feat_channels), len(feat_strides)))
        self.hidden_dim = hidden_dim
        self.nhead = nhead
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.num_denoising = num_denoising
        self.label_noise_ratio = label_noise_ratio
        self.box_noise_scale = box_noise_scale
        self.learnt_init_query = learnt_init_query
        self.query_pos_head_inv_sig = query_pos_head_inv_sig
        self.eps = eps

        def norm_attr() -> ParamAttr:
            return ParamAttr(regularizer=L2Decay(0.0))

        self.input_proj = nn.LayerList([
            nn.Sequential(
                ('conv', nn.Conv2D(channels, hidden_dim, 1, bias_attr=False)),
                ('norm',
                 nn.BatchNorm2D(hidden_dim,
                                weight_attr=norm_attr(),
                                bias_attr=norm_attr())))
            for channels in backbone_feat_channels
        ])
        self.decoder = Decoder(
            DecoderLayer(hidden_dim, nhead, dim_feedforward, dropout,
                         activation, num_levels, num_decoder_points),
            num_decoder_layers, eval_idx)
        self.denoising_class_embed = nn.Embedding(
            num_classes,
            hidden_dim,
            weight_attr=ParamAttr(initializer=nn.initializer.Normal()))
        if learnt_init_query:
            self.tgt_embed = nn.Embedding(num_queries, hidden_dim)
        self.query_pos_head = MLP(4, 2 * hidden_dim, hidden_dim, num_layers=2)
        self.enc_output = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim),
            nn.LayerNorm(hidden_dim,
                         weight_attr=norm_attr(),
                         bias_attr=norm_attr()))
        self.enc_score_head = nn.Linear(hidden_dim, num_classes)
        self.enc_bbox_head = MLP(hidden_dim, hidden_dim, 4, num_layers=3)
        self.dec_score_head = nn.LayerList([
            nn.Linear(hidden_dim, num_classes)
            for _ in range(num_decoder_layers)
        ])
        self.dec_bbox_head = nn.LayerList([
            MLP(hidden_dim, hidden_dim, 4, num_layers=3)
            for _ in range(num_decoder_layers)
        ])
        self._reset_parameters()

        self._eval_shapes: Shapes = []
        if eval_size:
            self._eval_shapes = [[s // stride for s in eval_size]
                                 for stride in feat_strides]
            anchors, valid = self._anchors(self._eval_shapes)
            self.register_buffer('anchors', anchors, persistable=False)
            self.register_buffer('valid_mask', valid, persistable=False)

    def _reset_parameters(self) -> None:
        # Each class begins at a score of 0.01, each box at its anchor.
        bias = bias_init_with_prob(0.01)
        for score in [self.enc_score_head, *self.dec_score_head]:
            linear_init_(score)
            constant_(score.bias, bias)
        for box in [self.enc_bbox_head, *self.dec_bbox_head]:
            constant_(box.layers[-1].weight)
            constant_(box.layers[-1].bias)
        linear_init_(self.enc_output[0])
        xavier_uniform_(self.enc_output[0].weight)
        if self.learnt_init_query:
            xavier_uniform_(self.tgt_embed.weight)
        for layer in self.query_pos_head.layers:
            xavier_uniform_(layer.weight)
        for layer in self.input_proj:
            xavier_uniform_(layer[0].weight)

    @classmethod
    def from_config(cls, cfg: Any,
                    input_shape: Sequence[ShapeSpec]) -> Dict[str, Any]:
        return {'backbone_feat_channels': [i.channels for i in input_shape]}

    def forward(self,
                feats: Sequence[paddle.Tensor],
                pad_mask: Optional[paddle.Tensor] = None,
                gt_meta: Optional[Dict[str, Any]] = None) -> Tuple[Any, ...]:
        """
        Args:
            feats: the encoder's maps (N, channels, H_i, W_i).
            pad_mask: not used: images of a batch have one size, unpadded.
            gt_meta: in training, gt_class and gt_bbox: for each image the
                classes (n, 1) int and boxes (n, 4).

        Returns:
            what ppdet's DINOHead takes: boxes and class logits of the decoder
            layers (see Decoder), then boxes (N, Q, 4) and class logits (N, Q,
            classes) of the selected places, and where the denoising queries
            are (None without them).
        """
        memory, shapes = self._flatten(feats)
        dn_class = dn_boxes_unact = attn_mask = dn_meta = None
        if self.training:
            dn_class, dn_boxes_unact, attn_mask, dn_meta = \
                get_contrastive_denoising_training_group(
                    gt_meta, self.num_classes, self.num_queries,
                    self.denoising_class_embed.weight, self.num_denoising,
                    self.label_noise_ratio, self.box_noise_scale)
        target, boxes_unact, logits = self._select_queries(memory, shapes)
        selected = F.sigmoid(boxes_unact)
        if self.training:
            # The encoder is taught by its own outputs, not through the
            # decoder's.
            target, boxes_unact = target.detach(), boxes_unact.detach()
        if self.learnt_init_query:
            target = self.tgt_embed.weight.unsqueeze(0).tile(
                [memory.shape[0], 1, 1])
        if dn_meta is not None:
            target = paddle.concat([dn_class, target], axis=1)
            boxes_unact = paddle.concat([dn_boxes_unact, boxes_unact], axis=1)
        boxes, scores = self.decoder(target, boxes_unact, memory, shapes,
                                     self.dec_bbox_head, self.dec_score_head,
                                     self.query_pos_head,
                                     self.query_pos_head_inv_sig, attn_mask)
        return boxes, scores, selected, logits, dn_meta

    def _flatten(
            self,
            feats: Sequence[paddle.Tensor]) -> Tuple[paddle.Tensor, Shapes]:
        """Maps (N, channels, H_i, W_i) -> (N, L, C), and their shapes."""
        maps = [project(f) for project, f in zip(self.input_proj, feats)]
        shapes = [[int(s) for s in m.shape[2:]] for m in maps]
        flat = [m.flatten(2).transpose([0, 2, 1]) for m in maps]
        return paddle.concat(flat, axis=1), shapes

    def _anchors(self,
                 shapes: Shapes,
                 size: float = 0.05) -> Tuple[paddle.Tensor, paddle.Tensor]:
        """A box around the center of each place, twice as large on each next
        map: its logits (1, L, 4), and which places may be chosen (1, L, 1)."""
        anchors = []
        for level, (height, width) in enumerate(shapes):
            y, x = paddle.meshgrid(paddle.arange(height, dtype='float32'),
                                   paddle.arange(width, dtype='float32'))
            center = (paddle.stack([x, y], axis=-1) + 0.5) / paddle.to_tensor(
                [width, height], dtype='float32')
            wide = paddle.full_like(center, size * 2.0**level)
            anchors.append(paddle.concat([center, wide], -1).reshape([-1, 4]))
        boxes = paddle.concat(anchors).unsqueeze(0)
        valid = ((boxes > self.eps) & (boxes < 1 - self.eps)).all(-1,
                                                                  keepdim=True)
        logits = paddle.where(valid, paddle.log(boxes / (1 - boxes)),
                              paddle.full_like(boxes, LOGIT_OF_ONE))
        return logits, valid

    def _select_queries(self, memory: paddle.Tensor, shapes: Shapes) \
            -> Tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        """The places with the best class scores: their features (N, Q, C),
        boxes_unact (N, Q, 4) and class logits (N, Q, classes)."""
        if shapes == self._eval_shapes:
            anchors, valid = self.anchors, self.valid_mask
        else:
            anchors, valid = self._anchors(shapes)
        features = self.enc_output(
            paddle.where(valid, memory, paddle.to_tensor(0.0)))
        logits = self.enc_score_head(features)
        boxes_unact = self.enc_bbox_head(features) + anchors
        _, chosen = paddle.topk(logits.max(-1), self.num_queries, axis=1)
        image = paddle.arange(end=memory.shape[0], dtype=chosen.dtype)
        image = image.unsqueeze(-1).tile([1, self.num_queries])
        index = paddle.stack([image, chosen], axis=-1)
        return (paddle.gather_nd(features,
                                 index), paddle.gather_nd(boxes_unact, index),
                paddle.gather_nd(logits, index))
