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
"""The whole of RT-DETR (arXiv 2304.08069), and its boxes in pixels."""

from typing import Any, Dict

from ppdet.core.workspace import create
from ppdet.modeling.architectures import detr
from ppdet.modeling.post_process import DETRBBoxPostProcess


class DETR(detr.DETR):
    """ppdet's DETR with a neck between backbone and transformer.

    In training, forward gives the losses by name; else `bbox` (N * queries, 6)
    and `bbox_num` (N,), see DETRPostProcess.
    """

    def __init__(self,
                 backbone: Any,
                 transformer: Any,
                 detr_head: Any,
                 neck: Any = None,
                 post_process: Any = 'DETRBBoxPostProcess',
                 exclude_post_process: bool = False) -> None:
        super().__init__(backbone, transformer, detr_head, post_process,
                         exclude_post_process)
        # After the others: published weights list it last.
        self.neck = neck

    @classmethod
    def from_config(cls, cfg: Any, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        backbone = create(cfg['backbone'])
        shape = backbone.out_shape
        neck = create(cfg['neck'], input_shape=shape) if cfg['neck'] else None
        transformer = create(cfg['transformer'],
                             input_shape=neck.out_shape if neck else shape)
        head = create(cfg['detr_head'],
                      hidden_dim=transformer.hidden_dim,
                      nhead=transformer.nhead,
                      input_shape=shape)
        return {
            'backbone': backbone,
            'transformer': transformer,
            'detr_head': head,
            'neck': neck,
        }

    def _forward(self) -> Any:
        feats = self.backbone(self.inputs)
        if self.neck is not None:
            feats = self.neck(feats)
        # Only readers that pad images make a mask.
        mask = self.inputs.get('pad_mask') if self.training else None
        out = self.transformer(feats, mask, self.inputs)
        if self.training:
            return self.detr_head(out, feats, self.inputs)
        boxes, logits, _ = head_out = self.detr_head(out, feats)
        if self.exclude_post_process:
            return boxes, logits
        return self.post_process(head_out, self.inputs['im_shape'],
                                 self.inputs['scale_factor'])


class DETRPostProcess(DETRBBoxPostProcess):
    """ppdet 2.6.0's post-process under its later name: the best (query, class)
    pairs as rows of class, score, x1, y1, x2, y2 in pixels of the original
    image, `num_top_queries` an image, and their number for each image."""
