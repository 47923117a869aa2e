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
"""RT-DETR for a ppdet that is older than it (the paddledet 2.6.0 wheel).

"DETRs Beat YOLOs on Real-time Object Detection", arXiv 2304.08069. The parts
have the names, arguments and parameter names of PaddleDetection's, so that its
configurations and its published weights fit. What ppdet 2.6.0 has is used from
there: the decoder layer and heads of DINO, the matcher, the denoising queries.

    image (N, 3, H, W)
      hgnet_v2            features of strides 8, 16, 32
      hybrid_encoder      the same strides, hidden_dim channels each
      rtdetr_transformer  queries chosen from the features, then decoder layers
      ppdet's DINOHead    in training: losses; else the last layer's outputs
      detr                the whole; boxes (N * queries, 6)

And `narrow_resnet`, which no ppdet has: a small DINO's backbone.
"""

import importlib
from typing import List

# (module, class, argument that the class must have). A class of that name
# without the argument is replaced by a subclass of it that has it.
PARTS = (
    ('hgnet_v2', 'PPHGNetV2', ''),
    ('hybrid_encoder', 'TransformerLayer', ''),
    ('hybrid_encoder', 'HybridEncoder', ''),
    ('rtdetr_transformer', 'RTDETRTransformer', ''),
    ('detr', 'DETR', 'neck'),
    ('detr', 'DETRPostProcess', ''),
    ('losses', 'DINOLoss', 'use_vfl'),
    ('narrow_resnet', 'NarrowResNet', ''),
)


def register() -> List[str]:
    """Register with ppdet's workspace what it lacks; ppdet is imported before.

    A second call does nothing. Call it before a configuration is loaded, which
    would take the place of a class that is not there.

    Returns:
        names of the classes that were registered: none of them where ppdet has
        RT-DETR.
    """
    from ppdet.core import workspace
    made = []
    for module, name, argument in PARTS:
        known = workspace.get_registered_modules().get(name)
        if known is not None and (not argument or argument in known.schema):
            continue
        cls = getattr(importlib.import_module('.' + module, __name__), name)
        workspace.global_config.pop(name, None)
        workspace.register(cls)
        made.append(name)
    return made
