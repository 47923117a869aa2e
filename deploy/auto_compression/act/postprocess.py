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
"""From a model's outputs to detections: rows of class, score, x1, y1, x2, y2 in
pixels of the image.

A detector is exported with its non-maximum suppression (NMS) or without. What
ppdet 2.6.0 exports without:

    exclude_nms=True (PP-YOLOE)           boxes (N, M, 4) in image pixels and
                                          scores (N, C, M); takes scale_factor
    export.nms=False (PicoDet)            the same in input pixels; does not
    exclude_post_process=True (PP-YOLOE)  both in one (N, M, 4 + C), in input
                                          pixels

`multiclass_nms` is then what Paddle's operator multiclass_nms3 is. OpenCV's NMS
is not: 4.6 has none for classes, and it computes overlaps in double precision,
so that boxes near the threshold come out otherwise.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .config import NmsSection
from .errors import CheckFailed, UserError

WITH_NMS, APART, JOINED = 'with its NMS', 'boxes and scores', 'joined'
SCALE = 'scale_factor'
BLOCK = 64  # boxes compared at once with all others


@dataclass(frozen=True)
class PostProcess:
    """What is done to a model's outputs. Made by `check_outputs`.

    nms: parameters, None if the model holds its NMS.
    rescale: boxes are in pixels of the input, not of the image.
    where: the model, for messages.
    """
    nms: Optional[NmsSection] = None
    rescale: bool = False
    where: str = 'the model'

    def __call__(self, outputs: Sequence[np.ndarray],
                 batch: Dict[str, np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
        """One batch.

        Args:
            outputs: of the model, in its order.
            batch: from `data.Pipeline`; its scale_factor (N, 2), as height,
                width, is asked for if boxes are to be rescaled.

        Returns:
            rows (n, 6) float32 of all images, and their number in each image
            (N,). Without the model's own NMS: by class, then falling score.

        Raises:
            UserError: the outputs are not those that were expected.
            CheckFailed: a score is NaN or infinite.
        """
        if self.nms is None:
            return split_outputs(outputs, self.where)
        boxes, scores = self._boxes_and_scores(outputs)
        if not np.isfinite(scores).all():
            raise CheckFailed("'%s': the model gives scores that are NaN or "
                              'infinite' % self.where)
        if self.rescale:
            height, width = np.split(batch[SCALE].astype(boxes.dtype), 2, 1)
            boxes = boxes / np.stack([width, height, width, height], -1)
        rows = [
            multiclass_nms(*image, self.nms) for image in zip(boxes, scores)
        ]
        return np.concatenate(rows), np.array([len(r) for r in rows], np.int32)

    def _boxes_and_scores(
            self,
            outputs: Sequence[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
        """(N, M, 4) and (N, C, M)."""
        shapes = [o.shape for o in outputs]
        form = form_of(shapes)
        if form == JOINED:
            whole, = outputs
            return whole[..., :4], whole[..., 4:].transpose(0, 2, 1)
        if form != APART:
            raise _without_nms(self.where, shapes)
        boxes, scores = outputs
        return (boxes, scores) if _fit(*shapes) else (scores, boxes)


def form_of(shapes: Sequence[Sequence[int]]) -> Optional[str]:
    """Which of the forms above outputs of these shapes have: WITH_NMS, APART,
    JOINED, or None if none. -1 is a size that is not known."""
    ranks = sorted(len(s) for s in shapes)
    if ranks == [1, 2] and any(len(s) == 2 and s[1] in (6, -1) for s in shapes):
        return WITH_NMS
    if ranks == [3, 3] and (_fit(*shapes) or _fit(*reversed(shapes))):
        return APART
    if ranks == [3] and shapes[0][2] > 4:
        return JOINED
    return None


def _fit(boxes: Sequence[int], scores: Sequence[int]) -> bool:
    """Whether shapes are those of boxes and of their scores."""
    return boxes[2] == 4 and (boxes[1] == scores[2]
                              or -1 in (boxes[1], scores[2]))


def check_outputs(model: Any,
                  where: str,
                  nms: Optional[NmsSection] = None,
                  input_list: Optional[Dict[str, str]] = None,
                  config: str = 'configuration') -> PostProcess:
    """Check that a model's outputs are what the configuration says.

    Args:
        model: a `program.model.Model`.
        where: its directory, for messages.
        nms: parameters of the NMS that the model does not hold
            (Global.include_nms False); None: it holds it.
        input_list: {reader's name: model's name}, None if they are the same.
        config: the configuration, for messages.

    Raises:
        UserError: they are not, or not those of a detector.
    """
    shapes = [tuple(v.shape) for v in model.outputs()]
    form = form_of(shapes)
    if nms is None and form in (APART, JOINED):
        raise UserError(
            "%s: Global.include_nms is True, but '%s' was exported without its "
            'NMS (it gives %s): give -o Global.include_nms=False, and Deploy.'
            'nms' % (config, where, _listed(shapes)))
    if nms is None and form is None:
        raise _no_detector(where, shapes)
    if nms is not None and form == WITH_NMS:
        raise UserError(
            "%s: Global.include_nms is False, but '%s' holds its NMS (it gives "
            '%s): give -o Global.include_nms=True, or export it without, with '
            '-o exclude_nms=True (PicoDet: export.nms=False)' %
            (config, where, _listed(shapes)))
    if nms is not None and form is None:
        raise _without_nms(where, shapes)
    scale = (input_list or {}).get(SCALE, SCALE)
    return PostProcess(
        nms, form == JOINED or form == APART and scale not in model.inputs(),
        where)


def _listed(shapes: Sequence[Sequence[int]]) -> str:
    return ' and '.join(str(list(s)) for s in shapes)


def _no_detector(where: str, shapes: Sequence[Sequence[int]]) -> UserError:
    return UserError(
        "'%s': expected boxes (n, 6) and their number, the model gives %s; "
        'export a detector with export.nms=True' % (where, _listed(shapes)))


def _without_nms(where: str, shapes: Sequence[Sequence[int]]) -> UserError:
    return UserError(
        "'%s': Global.include_nms is False: expected boxes (N, M, 4) and "
        'scores (N, C, M), or both in one (N, M, 4 + C), the model gives %s; '
        'export it with exclude_nms=True (PicoDet: export.nms=False). Outputs '
        'of the head (export.post_process=False, export.benchmark=True) are '
        'not supported' % (where, _listed(shapes)))


def split_outputs(outputs: Sequence[np.ndarray],
                  where: str) -> Tuple[np.ndarray, np.ndarray]:
    """The boxes (n, 6) and the number of boxes of each image (N,).

    Raises:
        UserError: the outputs are not those of a detector with NMS.
    """
    boxes = [o for o in outputs if o.ndim == 2 and o.shape[1] == 6]
    counts = [o for o in outputs if o.ndim == 1]
    if len(outputs) != 2 or not boxes or not counts:
        raise _no_detector(where, [o.shape for o in outputs])
    return boxes[0], counts[0]


def multiclass_nms(boxes: np.ndarray, scores: np.ndarray,
                   options: NmsSection) -> np.ndarray:
    """Detections of one image, as Paddle's operator multiclass_nms3 finds them
    (with normalized=True, nms_eta=1 and no background class, as ppdet's heads
    call it): the same rows in the same order.

    Args:
        boxes: (M, 4) float32: x1, y1, x2, y2.
        scores: (C, M) float32.
        options: thresholds and numbers.

    Returns:
        (n, 6) float32: class, score, x1, y1, x2, y2; by class, and in it by
        falling score.
    """
    classes, places = np.nonzero(scores > np.float32(options.score_threshold))
    scores = scores[classes, places]
    begins = np.searchsorted(classes,
                             np.arange(len(classes) and classes[-1] + 2))
    kept: List[np.ndarray] = []
    for begin, end in zip(begins, begins[1:]):
        if begin == end:
            continue
        order = np.argsort(-scores[begin:end], kind='stable')
        if options.nms_top_k > -1:
            order = order[:options.nms_top_k]
        order += begin
        kept.append(order[_unsuppressed(boxes[places[order]],
                                        options.nms_threshold)])
    if not kept:
        return np.zeros((0, 6), np.float32)
    rows = np.concatenate(kept)
    if -1 < options.keep_top_k < len(rows):
        best = np.argsort(-scores[rows], kind='stable')[:options.keep_top_k]
        rows = rows[np.sort(best)]
    return np.concatenate(
        [classes[rows, None], scores[rows, None], boxes[places[rows]]],
        axis=1).astype(np.float32)


def _unsuppressed(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Which boxes (n, 4), best first, overlap no better one that is kept by
    more than a threshold. Indices in order.

    Boxes are compared in blocks, a third of the time of one by one. Formulas
    and float32 as in Paddle (phi/kernels/cpu/multiclass_nms3_kernel.cc): an
    overlap of 0 / 0, of boxes without area in one place, suppresses.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas = (right - left) * (bottom - top)
    areas[(right < left) | (bottom < top)] = 0
    threshold = np.float32(threshold)
    kept, alive = [], np.arange(len(boxes))
    while len(alive) > 1:
        block = alive[:BLOCK]
        rows = block[:, None]
        common = (np.minimum(right[alive], right[rows]) - np.maximum(
            left[alive], left[rows])) * (np.minimum(bottom[alive], bottom[rows])
                                         - np.maximum(top[alive], top[rows]))
        apart = (left[alive] > right[rows]) | (right[alive] < left[rows]) | (
            top[alive] > bottom[rows]) | (bottom[alive] < top[rows])
        with np.errstate(invalid='ignore', divide='ignore'):
            overlap = common / (areas[alive] + areas[rows] - common)
        suppresses = ~(apart | (overlap <= threshold))
        gone = np.zeros(len(alive), bool)
        for row in range(len(block)):
            if not gone[row]:
                gone[row + 1:] |= suppresses[row, row + 1:]
        kept.append(block[~gone[:len(block)]])
        alive = alive[len(block):][~gone[len(block):]]
    return np.concatenate(kept + [alive])
