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
"""What one engine's outputs are worth: against another's, number by number and
as detections, and against annotations."""

from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
from act import accuracy, data
from act.postprocess import PostProcess

SCORE = 0.3  # from which a box of the reference counts for agreement AP
BEST = 50  # boxes of an image that are looked for, see `matched_iou`


def relative_error(found: Sequence[np.ndarray],
                   reference: Sequence[np.ndarray]) -> Optional[float]:
    """The largest, over outputs, of the root mean square of the difference by
    that of the reference.

    Returns:
        None where shapes differ.
    """
    worst = 0.0
    if len(found) != len(reference):
        return None
    for one, other in zip(found, reference):
        if one.shape != other.shape:
            return None
        if other.size and other.dtype.kind == 'f':
            difference = np.linalg.norm(
                one.astype(np.float64).ravel() - other.ravel())
            size = np.linalg.norm(other.astype(np.float64).ravel())
            worst = max(worst, float(difference / size) if size else 0.0)
    return worst


def worst(found: Mapping[int, Sequence[np.ndarray]],
          reference: Mapping[int, Sequence[np.ndarray]]) -> Optional[float]:
    """The largest `relative_error` of some images; None if any has none."""
    errors = [
        relative_error(outputs, reference[index])
        for index, outputs in found.items() if index in reference
    ]
    return None if None in errors else max(errors, default=None)


def detections(outputs: Mapping[int, Sequence[np.ndarray]],
               batches: Sequence[Dict[str, np.ndarray]], ids: Sequence[int],
               postprocess: PostProcess) -> List[accuracy.Detections]:
    """What was found in each image.

    Args:
        outputs: {index of the image: the model's outputs}.
        batches: of all images, without pixels.
        ids: of all images.
        postprocess: of the model's outputs.
    """
    found = []
    for index, arrays in sorted(outputs.items()):
        boxes, counts = postprocess(arrays, batches[index])
        found += accuracy.from_model_output([ids[index]], boxes, counts)
    return found


def matched_iou(found: Sequence[accuracy.Detections],
                reference: Sequence[accuracy.Detections],
                best: int = BEST) -> Optional[float]:
    """How well boxes are found again, whatever their order and scores: the
    mean, over the reference's best boxes of each image, of the highest IoU with
    a box of the same class; 0 where there is none.

    Args:
        found, reference: of the same images, in the same order.
        best: boxes of an image.

    Returns:
        None where the reference found nothing.
    """
    highest: List[float] = []
    for one, other in zip(found, reference):
        order = np.argsort(-other.boxes[:, 1], kind='stable')[:best]
        for box in other.boxes[order]:
            same = one.boxes[one.boxes[:, 0] == box[0], 2:]
            low = np.maximum(same[:, :2], box[2:4])
            high = np.minimum(same[:, 2:], box[4:])
            inner = np.prod(np.maximum(high - low, 0), axis=1)
            areas = np.prod(same[:, 2:] - same[:, :2],
                            axis=1) + np.prod(box[4:] - box[2:4]) - inner
            highest.append(
                float(np.max(inner / np.maximum(areas, 1e-9), initial=0.0)))
    return float(np.mean(highest)) if highest else None


def figures(found: List[accuracy.Detections],
            reference: List[accuracy.Detections], images: data.ImageSet,
            trained: bool) -> Dict[str, Any]:
    """Agreement AP and, of a trained model, mAP, in percent; `matched_iou`.

    Args:
        found: of the engine.
        reference: of the reference, in the same images.
        images: all that were run.
        trained: whether the weights mean something.
    """
    result: Dict[str, Any] = {'matched_iou': matched_iou(found, reference)}
    # Random weights may find nothing that counts.
    if any((one.boxes[:, 1] >= SCORE).any() for one in reference):
        agreement = accuracy.agreement_ap(reference,
                                          found,
                                          score_threshold=SCORE)
        result.update(agreement_ap=100 * (agreement.map or 0.0),
                      agreement_boxes=agreement.boxes)
    if trained:
        evaluator = accuracy.CocoEvaluator.of(images)
        evaluator.process(found)
        result['map'] = 100 * (evaluator.evaluate().map or 0.0)
    return result
