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
"""DINO's losses with IoU-aware class scores (arXiv 2304.08069, section 4.3).

A query's score for its object's class is taught to be the IoU of its box with
the object's: varifocal loss (arXiv 2008.13367), so that a good score means a
good box.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import paddle
import paddle.nn.functional as F
from ppdet.modeling.bbox_utils import bbox_iou
from ppdet.modeling.losses import detr_loss
from ppdet.modeling.transformers.utils import bbox_cxcywh_to_xyxy

# For each image, indices of queries and of the objects that they are to find.
Matches = List[Tuple[paddle.Tensor, paddle.Tensor]]
Losses = Dict[str, paddle.Tensor]


def denoising_matches(gt_class: Sequence[paddle.Tensor],
                      dn_meta: Dict[str, Any]) -> Matches:
    """Which object each positive denoising query was made of: a group has one
    query an object, in the objects' order."""
    matches = []
    for classes, queries in zip(gt_class, dn_meta['dn_positive_idx']):
        objects = paddle.arange(len(classes), dtype='int64')
        if len(classes):
            objects = objects.tile([dn_meta['dn_num_group']])
        matches.append((queries, objects))
    return matches


class DINOLoss(detr_loss.DINOLoss):
    """ppdet's DINOLoss with `use_vfl`: varifocal instead of focal loss."""

    def __init__(self,
                 num_classes: int = 80,
                 matcher: Any = 'HungarianMatcher',
                 loss_coeff: Optional[Dict[str, float]] = None,
                 aux_loss: bool = True,
                 use_focal_loss: bool = False,
                 use_vfl: bool = False) -> None:
        """
        Args:
            loss_coeff: weights of 'class', 'bbox', 'giou' (and 'no_object',
                without use_focal_loss).
            aux_loss: all layers are taught, not the last alone.
            use_focal_loss: scores are sigmoids; varifocal loss needs it.
        """
        coeff = {'class': 1, 'bbox': 5, 'giou': 2, 'no_object': 0.1}
        coeff.update(loss_coeff or {})
        super().__init__(num_classes, matcher, coeff, aux_loss, use_focal_loss)
        if use_vfl and not use_focal_loss:
            raise ValueError('DINOLoss: use_vfl needs use_focal_loss')
        self.use_vfl = use_vfl

    def forward(self,
                boxes: paddle.Tensor,
                logits: paddle.Tensor,
                gt_bbox: Sequence[paddle.Tensor],
                gt_class: Sequence[paddle.Tensor],
                masks: Any = None,
                gt_mask: Any = None,
                postfix: str = '',
                dn_out_bboxes: Optional[paddle.Tensor] = None,
                dn_out_logits: Optional[paddle.Tensor] = None,
                dn_meta: Optional[Dict[str, Any]] = None,
                **kwargs: Any) -> Losses:
        """
        Args:
            boxes, logits: (layers, N, Q, 4) and (layers, N, Q, classes); the
                first layer is the encoder's selection.
            gt_bbox, gt_class: of each image, (n, 4) and (n, 1).
            dn_out_bboxes, dn_out_logits: likewise of the denoising queries.
            dn_meta: where these are; None without them.

        Returns:
            loss_class, loss_bbox, loss_giou of the last layer, with `_aux` the
            sums of the others', each again with `_dn`; shape (1,).
        """
        if not self.use_vfl:
            return super().forward(boxes,
                                   logits,
                                   gt_bbox,
                                   gt_class,
                                   dn_out_bboxes=dn_out_bboxes,
                                   dn_out_logits=dn_out_logits,
                                   dn_meta=dn_meta)
        count = self._object_count(gt_class)
        result = self._layers_loss(boxes, logits, gt_bbox, gt_class, count)
        if dn_meta is None:
            noised = {name: paddle.zeros([1]) for name in result}
        else:
            noised = self._layers_loss(dn_out_bboxes, dn_out_logits, gt_bbox,
                                       gt_class,
                                       count * dn_meta['dn_num_group'],
                                       denoising_matches(gt_class, dn_meta))
        result.update({name + '_dn': loss for name, loss in noised.items()})
        return result

    @staticmethod
    def _object_count(gt_class: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """Objects a process, at least 1; (1,)."""
        count = paddle.to_tensor([float(sum(len(c) for c in gt_class))])
        if paddle.distributed.get_world_size() > 1:
            paddle.distributed.all_reduce(count)
            count /= paddle.distributed.get_world_size()
        return count.clip(min=1.0)

    def _layers_loss(self,
                     boxes: paddle.Tensor,
                     logits: paddle.Tensor,
                     gt_bbox: Sequence[paddle.Tensor],
                     gt_class: Sequence[paddle.Tensor],
                     count: paddle.Tensor,
                     matches: Optional[Matches] = None) -> Losses:
        """Losses of the last layer, and the sums of the others'."""
        each = []
        for layer_boxes, layer_logits in zip(boxes, logits):
            pairs = matches or self.matcher(
                layer_boxes.detach(), layer_logits.detach(), gt_bbox, gt_class)
            loss = {
                'loss_class':
                self._varifocal_loss(layer_boxes, layer_logits, gt_bbox,
                                     gt_class, pairs, count)
            }
            loss.update(self._get_loss_bbox(layer_boxes, gt_bbox, pairs, count))
            each.append(loss)
        result = dict(each[-1])
        if self.aux_loss and len(each) > 1:
            for name in each[-1]:
                result[name + '_aux'] = paddle.add_n(
                    [loss[name] for loss in each[:-1]])
        return result

    def _varifocal_loss(self,
                        boxes: paddle.Tensor,
                        logits: paddle.Tensor,
                        gt_bbox: Sequence[paddle.Tensor],
                        gt_class: Sequence[paddle.Tensor],
                        matches: Matches,
                        count: paddle.Tensor,
                        alpha: float = 0.75,
                        gamma: float = 2.0) -> paddle.Tensor:
        """Of one layer, a matched object; (1,).

        The target is the IoU at each match and 0 elsewhere. Cross entropy is
        weighted by the target at a match, elsewhere by alpha * score^gamma.
        """
        target = paddle.zeros_like(logits)
        positive = paddle.zeros_like(logits)
        index = []
        for image, (queries, objects) in enumerate(matches):
            if len(queries):
                classes = paddle.gather(gt_class[image], objects).flatten()
                index.append(
                    paddle.stack([
                        paddle.full_like(queries, image), queries,
                        classes.astype('int64')
                    ],
                                 axis=-1))
        if index:
            index = paddle.concat(index)
            found, wanted = self._get_src_target_assign(boxes.detach(), gt_bbox,
                                                        matches)
            iou = bbox_iou(
                bbox_cxcywh_to_xyxy(found).split(4, -1),
                bbox_cxcywh_to_xyxy(wanted).split(4, -1)).flatten()
            target = paddle.scatter_nd(index, iou, logits.shape)
            positive = paddle.scatter_nd(index, paddle.ones_like(iou),
                                         logits.shape)
        weight = target + alpha * F.sigmoid(logits).pow(gamma) * (1 - positive)
        loss = F.binary_cross_entropy_with_logits(logits,
                                                  target,
                                                  weight=weight,
                                                  reduction='sum')
        return self.loss_coeff['class'] * loss / count
