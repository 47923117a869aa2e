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
"""How good detections are: COCO's or VOC's mAP against annotations, agreement
of two models without annotations, and whether a difference in mAP is more than
chance.

Everything is on the CPU and in numpy; no model is run here.
"""

import contextlib
import functools
import io
import os
import sys
import zlib
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

import numpy as np

from . import annotations as coco_file
from . import runtime, voc
from .data import ImageSet
from .errors import CheckFailed, UserError, unknown

BACKENDS = ('auto', 'faster_coco_eval', 'pycocotools')

# COCO counts at most this many boxes of one class in one image.
_MAX_DETECTIONS = 100
# Elements of the largest matrix in the bootstrap: 32 MB as float64.
_CHUNK = 4000000

Annotations = Union[str, 'os.PathLike[str]', Mapping[str, Any]]
# Category id of each class index of the model.
CategoryIds = Union[Sequence[int], Mapping[int, int]]


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model found in one image.

    Attributes:
        image_id: id of the image in the annotation file.
        boxes: (n, 6) float32: class index (from 0), score, x1, y1, x2, y2 in
            pixels of the original image, as PaddleDetection's models give them.
    """
    image_id: int
    boxes: np.ndarray

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 6)
        if boxes.ndim != 2 or boxes.shape[1] != 6:
            raise UserError(
                'image %s: boxes must be (n, 6): class, score, x1, y1, x2, y2; '
                'found shape %s' % (self.image_id, boxes.shape))
        object.__setattr__(self, 'image_id', int(self.image_id))
        object.__setattr__(self, 'boxes', boxes)


class NothingToCompare(UserError):
    """Two models cannot be compared on these images: nothing is there that the
    figure could be of."""


@dataclass
class Accuracy:
    """Figures as fractions of 1; None where there is no ground truth. VOC has
    `map`, the metric's own, and `per_class` only; the others are COCO's.

    Attributes:
        map: AP averaged over IoU 0.50:0.05:0.95 and over classes.
        ap50, ap75: AP at one IoU.
        ap_small, ap_medium, ap_large: `map` on objects of an area below 32^2,
            between, and above 96^2 pixels.
        ar_1, ar_10, ar_100: recall averaged over IoU and classes, with at most
            so many boxes of a class in an image.
        ar_small, ar_medium, ar_large: `ar_100` by area.
        images: how many images were counted.
        boxes: how many ground truth boxes were counted, without crowds and
            difficult ones.
        per_class: `map` of each class, by name.
    """
    map: Optional[float]
    ap50: Optional[float]
    ap75: Optional[float]
    ap_small: Optional[float]
    ap_medium: Optional[float]
    ap_large: Optional[float]
    ar_1: Optional[float]
    ar_10: Optional[float]
    ar_100: Optional[float]
    ar_small: Optional[float]
    ar_medium: Optional[float]
    ar_large: Optional[float]
    images: int
    boxes: int
    per_class: Dict[str, Optional[float]]


@dataclass(frozen=True)
class PairedDifference:
    """mAP of b minus mAP of a, on the same images.

    Attributes:
        difference: on the images as they are.
        low, high: the bootstrap interval; if 0 lies inside, these images do
            not tell the two models apart.
        confidence: of the interval.
        resamples: how many it comes from.
        images: how many images were counted.
    """
    difference: float
    low: float
    high: float
    confidence: float
    resamples: int
    images: int


def from_model_output(image_ids: Sequence[int], bbox: np.ndarray,
                      bbox_num: np.ndarray) -> List[Detections]:
    """One batch of a PaddleDetection model's output, image by image.

    Rows of class -1 or of negative score stand for "nothing found" and are
    dropped. Three layouts occur: rows of all images one after another; each
    image padded to the same number of rows, which is what Paddle's TensorRT
    converter of multiclass_nms3 makes (`bbox_num` of them are real); and no
    valid row at all, where `bbox` may have any shape.

    Args:
        image_ids: N ids, in a list or an array of any shape.
        bbox: (sum of bbox_num, 6), (N * K, 6) or (N, K, 6) float: see
            `Detections.boxes`.
        bbox_num: (N,) integers: rows of each image.

    Returns:
        N Detections in the order of image_ids.

    Raises:
        UserError: shapes do not fit.
        CheckFailed: a box or score is NaN or infinite.
    """
    ids = [int(i) for i in np.asarray(image_ids).reshape(-1)]
    counts = np.asarray(bbox_num).reshape(-1).astype(np.int64)
    bbox = np.asarray(bbox)
    if len(counts) != len(ids):
        raise UserError('model output: bbox_num is for %d images, the batch '
                        'has %d' % (len(counts), len(ids)))
    total = int(counts.sum())
    if total == 0:
        return [Detections(i, np.zeros((0, 6), np.float32)) for i in ids]
    if bbox.ndim not in (2, 3) or bbox.shape[-1] != 6:
        raise UserError(
            'model output: bbox has shape %s, expected (n, 6): class, score, '
            'x1, y1, x2, y2 (rotated boxes and models without '
            'post-processing are not supported)' % (bbox.shape, ))
    rows = bbox.reshape(-1, 6).astype(np.float32)
    padded = len(rows) // len(ids)
    if len(rows) == total:
        starts = np.cumsum(counts) - counts
    elif padded * len(ids) == len(rows) and counts.max() <= padded:
        starts = np.arange(len(ids)) * padded
    else:
        raise UserError('model output: bbox has %d rows, bbox_num says %d' %
                        (len(rows), total))
    result = []
    for image_id, start, count in zip(ids, starts, counts):
        boxes = rows[start:start + count]
        boxes = boxes[~((boxes[:, 0] < 0) | (boxes[:, 1] < 0))]
        # NaN would sort anywhere and give a wrong figure without a word.
        if not np.isfinite(boxes).all():
            raise CheckFailed(
                'image %d: the model gives NaN or infinite boxes; its weights '
                'or scales are broken' % image_id)
        result.append(Detections(image_id, boxes))
    return result


@dataclass(frozen=True)
class _GroundTruth:
    """A COCO dictionary of what is counted, and what the classes mean."""
    dataset: Dict[str, Any]
    category_of: Dict[int, int]
    names: Dict[int, str]
    boxes: int

    @property
    def image_ids(self) -> Set[int]:
        return {image['id'] for image in self.dataset['images']}


def _names(categories: Sequence[Mapping[str, Any]]) -> Dict[int, str]:
    """{category id: name}; a name that occurs twice gets its id added."""
    names = {int(c['id']): str(c.get('name', c['id'])) for c in categories}
    all_names = list(names.values())
    return {
        i: name if all_names.count(name) == 1 else '%s (%d)' % (name, i)
        for i, name in names.items()
    }


def _ground_truth(annotations: Annotations, category_ids: Optional[CategoryIds],
                  image_ids: Optional[Iterable[int]]) -> _GroundTruth:
    """Read and check annotations; arguments as in `CocoEvaluator`."""
    if isinstance(annotations, Mapping):
        where, content = 'annotations', annotations
        coco_file.check(content, where, files=False)
    else:
        where = 'annotation file %r' % os.fspath(annotations)
        content = coco_file.read(os.fspath(annotations), files=False)
    names = _names(content['categories'])
    if category_ids is None:
        # The order of the file, as ppdet's COCODataSet numbers classes: it
        # does not sort the ids.
        category_ids = [int(c['id']) for c in content['categories']]
    pairs = category_ids.items() if isinstance(
        category_ids, Mapping) else enumerate(category_ids)
    category_of = {int(index): int(category) for index, category in pairs}
    missing = sorted(set(category_of.values()) - set(names))
    if missing:
        raise UserError('%s: no category %s, which the model has' %
                        (where, missing[0]))

    wanted = {int(image['id']) for image in content['images']}
    if image_ids is not None:
        chosen = {int(i) for i in image_ids}
        if not chosen <= wanted:
            raise UserError('%s: no image of id %d' %
                            (where, min(chosen - wanted)))
        wanted = chosen
    if not wanted:
        raise UserError('%s: no images to evaluate' % where)

    kept = []
    for item in content['annotations']:
        # As COCOeval, leave out what is of an unknown image.
        if int(item['image_id']) not in wanted:
            continue
        box = [float(v) for v in item['bbox']]
        kept.append({
            # Numbered anew: COCOeval takes id 0 for "unmatched", and ids that
            # occur twice for one object.
            'id': len(kept) + 1,
            'image_id': int(item['image_id']),
            'category_id': int(item['category_id']),
            'bbox': box,
            'area': float(item.get('area', box[2] * box[3])),
            'iscrowd': int(item.get('iscrowd', 0)),
        })
    dataset = {
        'images': [{
            'id': i
        } for i in sorted(wanted)],
        'annotations': kept,
        'categories': [{
            'id': i,
            'name': name
        } for i, name in names.items()],
    }
    return _GroundTruth(dataset, category_of, names,
                        sum(not item['iscrowd'] for item in kept))


def _no_class(image_id: int, index: int, count: int) -> UserError:
    return UserError(
        'image %d: the model gives class %d, but %d classes are annotated: '
        'model and annotation file do not belong together' %
        (image_id, index, count))


def _results(truth: _GroundTruth,
             detections: Iterable[Detections]) -> Dict[str, Any]:
    """Detections as the COCO dictionary that `COCO.loadRes` would make.

    Boxes become x, y, x2 - x1, y2 - y1 in double precision, as in ppdet's
    get_det_res with bias 0, its default. loadRes itself fails on no detections.

    Raises:
        UserError: a class the annotations do not have.
    """
    items = []
    for one in detections:
        rows = one.boxes.astype(np.float64)
        size = rows[:, 4:6] - rows[:, 2:4]
        boxes = np.concatenate([rows[:, 2:4], size], axis=1)
        for index, score, box, area in zip(rows[:, 0].astype(int).tolist(),
                                           rows[:, 1].tolist(), boxes.tolist(),
                                           size.prod(axis=1).tolist()):
            if index not in truth.category_of:
                raise _no_class(one.image_id, index, len(truth.category_of))
            items.append({
                'id': len(items) + 1,
                'image_id': one.image_id,
                'category_id': truth.category_of[index],
                'bbox': box,
                'area': area,
                'score': score,
                'iscrowd': 0,
            })
    return dict(truth.dataset, annotations=items)


def _load_backend(name: str) -> Tuple[Callable, Callable]:
    """The classes COCO and COCOeval of a backend.

    Both give the same figures but for rounding (1e-16); faster_coco_eval takes
    a sixth of the time.

    Raises:
        UserError: an unknown backend, or one that is not installed.
    """
    if name not in BACKENDS:
        raise unknown('backend', name, BACKENDS, 'COCO evaluation')
    # libpaddle exports its own zlib. A library whose first call into zlib comes
    # after `import paddle`, as pycocotools >= 2.0.9 does at import, lands there
    # and crashes; one round trip before binds the right symbols. With paddle
    # loaded the round trip itself would crash: runtime.prepare() has done it.
    if 'paddle' not in sys.modules:
        zlib.decompress(zlib.compress(b'x'))
    if name != 'pycocotools':
        try:
            from faster_coco_eval import COCO, COCOeval_faster
            return COCO, functools.partial(COCOeval_faster,
                                           print_function=lambda *_: None)
        except ImportError:
            if name == 'faster_coco_eval':
                raise UserError(
                    'faster_coco_eval is not installed: pip install '
                    'faster-coco-eval, or take backend pycocotools') from None
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise UserError('pycocotools is not installed: pip install '
                        'pycocotools') from None
    return COCO, COCOeval


def _coco_eval(backend: str, truth: _GroundTruth,
               detections: Iterable[Detections]) -> Any:
    """A COCOeval over boxes that is ready to run. It prints."""
    coco_class, eval_class = _load_backend(backend)

    def index(dataset):
        coco = coco_class()
        coco.dataset = dataset
        coco.createIndex()
        return coco

    return eval_class(index(truth.dataset), index(_results(truth, detections)),
                      'bbox')


def _fraction(value: float) -> Optional[float]:
    """COCO's -1 stands for 'no such objects'."""
    return float(value) if value > -1 else None


class Evaluator:
    """Takes in detections of images, and measures them.

    An image that was not processed counts as one in which nothing was found.
    """

    def __init__(self, image_ids: Iterable[int]) -> None:
        self._image_ids = set(image_ids)
        self._detections: Dict[int, Detections] = {}

    def reset(self) -> None:
        """Forget all detections."""
        self._detections = {}

    def process(self, detections: Iterable[Detections]) -> None:
        """Take in the detections of some images.

        Raises:
            UserError: an image that is not evaluated, or seen before.
        """
        for one in detections:
            if one.image_id not in self._image_ids:
                raise UserError('image %d is not among the %d images to '
                                'evaluate' %
                                (one.image_id, len(self._image_ids)))
            if one.image_id in self._detections:
                raise UserError('image %d was evaluated before' % one.image_id)
            self._detections[one.image_id] = one

    def evaluate(self) -> Accuracy:
        """The figures for what was processed since the last reset.

        Raises:
            UserError: a class the annotations do not have.
        """
        raise NotImplementedError


class CocoEvaluator(Evaluator):
    """mAP against COCO annotations, with the figures of ppdet's COCOMetric.
    Choose `image_ids` to evaluate on fewer images.
    """

    def __init__(self,
                 annotations: Annotations,
                 *,
                 category_ids: Optional[CategoryIds] = None,
                 image_ids: Optional[Iterable[int]] = None,
                 backend: str = 'auto') -> None:
        """
        Args:
            annotations: path of a COCO annotation file, or its content.
            category_ids: category of each class index of the model; by
                default the file's categories in the order of the file, as
                PaddleDetection numbers its classes.
            image_ids: only these images count; all by default.
            backend: 'auto' takes faster_coco_eval where it is installed.

        Raises:
            UserError: the annotations are bad, an id is not among them, or the
                backend is unknown or not installed.
        """
        _load_backend(backend)
        self._backend = backend
        self._truth = _ground_truth(annotations, category_ids, image_ids)
        super().__init__(self._truth.image_ids)

    @classmethod
    def of(cls, images: ImageSet) -> 'CocoEvaluator':
        """An evaluator of exactly these images, with the reader's classes."""
        return cls(images.annotation_path,
                   category_ids=images.category_ids,
                   image_ids=[r.id for r in images.records])

    def evaluate(self) -> Accuracy:
        """See `Evaluator`."""
        with contextlib.redirect_stdout(io.StringIO()):
            run = _coco_eval(self._backend, self._truth,
                             self._detections.values())
            run.evaluate()
            run.accumulate()
            run.summarize()
        per_class = {}
        for k, category in enumerate(run.params.catIds):
            # (IoU, recall, class, area range, maximum of detections)
            precision = np.asarray(run.eval['precision'])[:, :, k, 0, -1]
            precision = precision[precision > -1]
            per_class[self._truth.names[int(category)]] = float(
                precision.mean()) if precision.size else None
        # COCO's twelve figures are in the order of Accuracy's fields.
        return Accuracy(*[_fraction(value) for value in run.stats[:12]],
                        images=len(self._image_ids),
                        boxes=self._truth.boxes,
                        per_class=per_class)


class VocEvaluator(Evaluator):
    """mAP against VOC annotations, with the figure of ppdet's VOCMetric."""

    def __init__(self, truth: voc.Truth, class_names: Sequence[str],
                 image_ids: Iterable[int]) -> None:
        """
        Args:
            truth: what is annotated, and the metric.
            class_names: of the model's classes.
            image_ids: only these images count.
        """
        self._truth = truth
        self._names = class_names
        super().__init__(image_ids)

    def evaluate(self) -> Accuracy:
        """See `Evaluator`."""
        nothing = np.zeros((0, 6), np.float32)
        # In the order of the data set, as ppdet: of boxes of the same score,
        # the one that came first counts first.
        counted, _ = _voc_count(self._truth, self._names, [
            self._detections.get(i, Detections(i, nothing))
            for i in sorted(self._image_ids)
        ])
        counted.accumulate()
        # ppdet's results by class leave out those without detections, and
        # then go on with the wrong name.
        measured = iter(counted.eval_results)
        per_class: Dict[str, Optional[float]] = {}
        for name, rows, count in zip(self._names, counted.class_score_poss,
                                     counted.class_gt_counts):
            per_class[name] = None if not count else float(
                next(measured)['ap']) if rows else 0.
        boxes = sum(counted.class_gt_counts)
        return Accuracy(float(counted.mAP) if boxes else None,
                        *[None] * 11,
                        images=len(self._image_ids),
                        boxes=boxes,
                        per_class=per_class)


def _voc_count(truth: voc.Truth, class_names: Sequence[str],
               found: Sequence[Detections]) -> Tuple[Any, List[List[int]]]:
    """ppdet's DetectionMAP with images taken in, as its VOCMetric does.

    Returns:
        it, and for each class the position in `found` of the image of each of
        its `class_score_poss`.

    Raises:
        UserError: a class the annotations do not have.
    """
    runtime.import_ppdet()
    from ppdet.metrics.map_utils import DetectionMAP
    count = len(class_names)
    counted = DetectionMAP(count,
                           overlap_thresh=truth.metric.overlap_thresh,
                           map_type=truth.metric.map_type,
                           catid2name=dict(enumerate(class_names)))
    images: List[List[int]] = [[] for _ in range(count)]
    for at, one in enumerate(found):
        classes = one.boxes[:, 0].astype(int)
        bad = classes[(classes < 0) | (classes >= count)]
        if len(bad):
            raise _no_class(one.image_id, int(bad[0]), count)
        objects = truth.objects[one.image_id]
        # Lists, since it looks at single numbers.
        counted.update(one.boxes[:, 2:].tolist(), one.boxes[:, 1].tolist(),
                       classes.tolist(), objects.boxes,
                       objects.classes.tolist(), objects.difficult.tolist())
        for seen, rows in zip(images, counted.class_score_poss):
            seen += [at] * (len(rows) - len(seen))
    return counted, images


def evaluator_on(images: ImageSet) -> Evaluator:
    """An evaluator of exactly these images, with the reader's classes and
    metric."""
    if images.truth is None:
        return CocoEvaluator.of(images)
    return VocEvaluator(images.truth, images.class_names,
                        [r.id for r in images.records])


def _pair(first: Sequence[Detections],
          second: Sequence[Detections]) -> List[Tuple[Detections, Detections]]:
    """The two models' detections image by image, in the order of the ids.

    Raises:
        UserError: not the same images, an image twice, or none.
    """
    one = {d.image_id: d for d in first}
    two = {d.image_id: d for d in second}
    if len(one) != len(first) or len(two) != len(second):
        raise UserError('comparison of two models: an image occurs twice')
    if one.keys() != two.keys():
        raise UserError(
            'comparison of two models: they ran on different images, image '
            '%d is in one set only' % min(one.keys() ^ two.keys()))
    if not one:
        raise UserError('comparison of two models: no images')
    return [(one[i], two[i]) for i in sorted(one)]


def agreement_ap(reference: Sequence[Detections],
                 candidate: Sequence[Detections],
                 *,
                 score_threshold: float = 0.3,
                 class_names: Optional[Sequence[str]] = None,
                 backend: str = 'auto') -> Accuracy:
    """How far a model still finds what the reference model finds.

    This is COCO's AP of all the candidate's detections with the reference's
    detections of score >= score_threshold as ground truth, at most 100 of a
    class in an image. It needs no annotations, and on few images it ranks
    compressed models that mAP cannot tell apart. A class that the reference
    never finds does not count, as in COCO.

    Args:
        reference: e.g. of the fp32 model, one entry for each image.
        candidate: of the compressed model, on the same images.
        score_threshold: in [0, 1].
        class_names: for `per_class`; class indices by default.
        backend: see `CocoEvaluator`.

    Returns:
        Accuracy; `boxes` is the number of reference boxes.

    Raises:
        NothingToCompare: the reference has no such boxes.
        UserError: the images differ.
    """
    pairs = _pair(reference, candidate)
    # What runs in int8 by mistake gives classes that are not whole.
    classes = np.unique(
        np.concatenate([d.boxes[:, 0] for pair in pairs
                        for d in pair]).astype(int)).tolist()
    items = []
    for one, _ in pairs:
        rows = one.boxes[one.boxes[:, 1] >= score_threshold].astype(np.float64)
        # A model may give what no annotation may hold.
        rows[:, 2:] = rows[:, 2:].clip(-coco_file.LARGEST / 2,
                                       coco_file.LARGEST / 2)
        for index, _, x1, y1, x2, y2 in rows.tolist():
            items.append({
                'image_id': one.image_id,
                'category_id': int(index),
                'bbox': [x1, y1, max(x2 - x1, 0.0),
                         max(y2 - y1, 0.0)],
            })
    if not items:
        raise NothingToCompare(
            'agreement: the reference has no box of score >= %g in %d images; '
            'lower the threshold or check the reference model' %
            (score_threshold, len(pairs)))
    if class_names is not None and classes[-1] >= len(class_names):
        raise UserError('agreement: class %d has no name, there are %d names' %
                        (classes[-1], len(class_names)))
    evaluator = CocoEvaluator(
        {
            'images': [{
                'id': one.image_id
            } for one, _ in pairs],
            'annotations':
            items,
            'categories': [{
                'id': i,
                'name': class_names[i] if class_names else str(i)
            } for i in classes],
        },
        category_ids={i: i
                      for i in classes},
        backend=backend)
    evaluator.process(candidate)
    return evaluator.evaluate()


@dataclass(frozen=True)
class _ClassMatches:
    """Matches of one class over I images, its D detections by falling score.

    Attributes:
        image: (D,) int: index of the image of each detection.
        true: (T, D) bool: matched at each of the T IoU thresholds.
        ignored: (T, D) bool: neither right nor wrong (on a crowd).
        ground_truth: (I,) float64: objects in each image, without crowds.
        recalls: (n,) float64: recall thresholds at which precision is averaged;
            None: it is integrated over recall.
    """
    image: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    ground_truth: np.ndarray
    recalls: Optional[np.ndarray]


def _match(truth: _GroundTruth,
           detections: Iterable[Detections]) -> List[_ClassMatches]:
    """COCO's matching, done once for any number of resamples, for each class
    that has ground truth."""
    # faster_coco_eval keeps the matches in C++, out of reach.
    with contextlib.redirect_stdout(io.StringIO()):
        run = _coco_eval('pycocotools', truth, detections)
        run.params.areaRng = run.params.areaRng[:1]  # 'all'
        run.params.areaRngLbl = run.params.areaRngLbl[:1]
        run.params.maxDets = [_MAX_DETECTIONS]
        run.evaluate()
    images = len(run.params.imgIds)
    classes = []
    for k in range(len(run.params.catIds)):
        found = [
            (i, e)
            for i, e in enumerate(run.evalImgs[k * images:(k + 1) * images])
            if e is not None
        ]
        ground_truth = np.zeros(images)
        for i, e in found:
            ground_truth[i] = np.count_nonzero(e['gtIgnore'] == 0)
        if not ground_truth.any():
            continue
        scores = np.concatenate([e['dtScores'] for _, e in found])
        order = np.argsort(-scores, kind='mergesort')  # COCO's order of ties
        image = np.repeat([i for i, _ in found],
                          [len(e['dtScores']) for _, e in found])[order]
        matched = np.concatenate([e['dtMatches'] for _, e in found],
                                 axis=1)[:, order] > 0
        ignored = np.concatenate([e['dtIgnore'] for _, e in found],
                                 axis=1)[:, order].astype(bool)
        classes.append(
            _ClassMatches(image, matched & ~ignored, ignored, ground_truth,
                          run.params.recThrs))
    return classes


def _voc_match(truth: voc.Truth, class_names: Sequence[str],
               found: Sequence[Detections]) -> List[_ClassMatches]:
    """As `_match`, of VOC's metric. Boxes on difficult objects are no longer
    among the detections."""
    counted, images = _voc_count(truth, class_names, found)
    recalls = np.arange(11) / 10 if truth.metric.map_type == '11point' else None
    objects = [truth.objects[one.image_id] for one in found]
    classes = []
    for k, rows in enumerate(counted.class_score_poss):
        ground_truth = np.array(
            [np.count_nonzero(o.classes[~o.difficult] == k) for o in objects],
            np.float64)
        if not ground_truth.any():
            continue
        scores, true = np.array(rows, np.float64).reshape(-1, 2).T
        order = np.argsort(-scores, kind='mergesort')  # ppdet's order of ties
        classes.append(
            _ClassMatches(
                np.array(images[k], int)[order], true[order][None] > 0,
                np.zeros((1, len(order)), bool), ground_truth, recalls))
    return classes


def _integral(drawn: np.ndarray, hits: np.ndarray,
              counted: np.ndarray) -> np.ndarray:
    """Sums of precision, not interpolated, over true positives, each of which
    counts as often as its image was drawn.

    Args:
        drawn: (R, N) float64: how often.
        hits: (R, N) float64: true positives up to and with this one.
        counted: (R, N) float64: detections, likewise.

    Returns:
        (R,) float64.
    """
    total = np.zeros(len(drawn))
    for again in range(int(drawn.max())):
        # A true positive before each of this one's further copies.
        after = np.maximum(counted - again, 1)
        total += ((drawn > again) * (hits - again) / after).sum(axis=1)
    return total


def _class_ap(matches: _ClassMatches, weights: np.ndarray) -> np.ndarray:
    """AP of one class, averaged over IoU, for each resample.

    The interpolation of pycocotools' COCOeval.accumulate, or that of ppdet's
    DetectionMAP, which differs in its thresholds only: precision
    at a recall threshold is the largest precision at or after the first
    detection that reaches the recall. An image drawn m times counts m times:
    its detections stay one entry of weight m, which gives the same value, since
    within m equal true positives precision only rises. Precision matters at
    true positives alone, so only those columns are kept.

    Args:
        matches: of the class.
        weights: (R, I) float64: how often each image was drawn.

    Returns:
        (R,) float64, 0 where a resample has no object of the class.
    """
    objects = np.maximum(weights @ matches.ground_truth, 1)[:, None]
    result = np.zeros(len(weights))
    if not len(matches.image):
        return result
    step = max(1, _CHUNK // len(matches.image))
    for start in range(0, len(weights), step):
        rows = slice(start, start + step)
        drawn = weights[rows][:, matches.image]
        seen = drawn.cumsum(axis=1)
        for true, ignored in zip(matches.true, matches.ignored):
            columns = np.flatnonzero(true)
            if not len(columns):
                continue
            hits = drawn[:, columns].cumsum(axis=1)
            counted = seen[:, columns]
            if ignored.any():
                counted = (drawn * ~ignored).cumsum(axis=1)[:, columns]
            if matches.recalls is None:
                result[rows] += _integral(drawn[:, columns], hits,
                                          counted) / objects[rows, 0]
                continue
            precision = hits / (counted + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1],
                                              axis=1)[:, ::-1]
            reached = np.searchsorted(matches.recalls,
                                      hits / objects[rows],
                                      side='right')
            newly = np.diff(reached, axis=1, prepend=0)
            result[rows] += (precision * newly).sum(axis=1)
    points = 1 if matches.recalls is None else len(matches.recalls)
    return result / (len(matches.true) * points)


def _resampled_map(classes: Sequence[_ClassMatches],
                   weights: np.ndarray) -> np.ndarray:
    """mAP of each resample, NaN where it has no object at all.

    Args:
        classes: from `_match`.
        weights: (R, I) float64.

    Returns:
        (R,) float64.
    """
    total = np.zeros(len(weights))
    present = np.zeros(len(weights))
    for matches in classes:
        total += _class_ap(matches, weights)
        present += weights @ matches.ground_truth > 0
    return np.divide(total,
                     present,
                     out=np.full(len(weights), np.nan),
                     where=present > 0)


def paired_difference(a: Sequence[Detections],
                      b: Sequence[Detections],
                      annotations: Annotations,
                      *,
                      category_ids: Optional[CategoryIds] = None,
                      resamples: int = 1000,
                      seed: int = 0,
                      confidence: float = 0.95) -> PairedDifference:
    """Is COCO's mAP of b really other than that of a?

    A percentile bootstrap (Efron and Tibshirani, 1993, ch. 13) over images:
    each resample draws as many images as there are, with replacement, and both
    models are measured on the same draw.

    Args:
        a, b: detections of two models on the same images, one entry for each
            image; these images are what is counted.
        annotations, category_ids: see `CocoEvaluator`.
        resamples: number of draws.
        seed: of the draws.
        confidence: of the interval, between 0 and 1.

    Raises:
        NothingToCompare: the images have no ground truth.
        UserError: the images differ, or a number is out of range.
    """
    pairs = _pair(a, b)
    truth = _ground_truth(annotations, category_ids,
                          [one.image_id for one, _ in pairs])
    return _bootstrap(pairs, functools.partial(_match, truth), resamples, seed,
                      confidence)


def paired_difference_on(images: ImageSet, a: Sequence[Detections],
                         b: Sequence[Detections],
                         **options: Any) -> PairedDifference:
    """`paired_difference` in the mAP of the images' metric.

    Args:
        images: that both models ran on.
        a, b: their detections.
        options: resamples, seed and confidence.
    """
    if images.truth is None:
        return paired_difference(a,
                                 b,
                                 images.annotation_path,
                                 category_ids=images.category_ids,
                                 **options)
    return _bootstrap(
        _pair(a, b),
        functools.partial(_voc_match, images.truth, images.class_names),
        **options)


def _bootstrap(pairs: Sequence[Tuple[Detections, Detections]],
               match: Callable[[Sequence[Detections]], List[_ClassMatches]],
               resamples: int = 1000,
               seed: int = 0,
               confidence: float = 0.95) -> PairedDifference:
    """See `paired_difference`; `match` is that of the metric."""
    if resamples < 1 or not 0 < confidence < 1:
        raise UserError(
            'bootstrap: resamples must be at least 1 and confidence between 0 '
            'and 1, found %s and %s' % (resamples, confidence))
    count = len(pairs)
    draws = np.random.default_rng(seed).multinomial(count,
                                                    np.full(count, 1 / count),
                                                    size=resamples)
    # The first row is the images as they are.
    weights = np.concatenate([np.ones((1, count)), draws])
    classes = [match(model) for model in zip(*pairs)]
    if not classes[0]:
        raise NothingToCompare('bootstrap: the %d images have no ground truth' %
                               count)
    before, after = [_resampled_map(found, weights) for found in classes]
    change = after - before
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(change[1:], [tail, 1 - tail])
    return PairedDifference(float(change[0]), float(low), float(high),
                            confidence, resamples, count)


@dataclass(frozen=True)
class Figures:
    """A model on some images, and against another there, in percent.

    Attributes:
        map: mAP; 0 if no class counts.
        difference, low, high: mAP less the other's, and the ends of its
            interval; see PairedDifference.
        agreement: see `agreement_ap`.
    """
    map: float
    difference: float
    low: float
    high: float
    agreement: float


def figures(reference: Sequence[Detections], candidate: Sequence[Detections],
            images: ImageSet) -> Figures:
    """What a model finds, against the annotations and another model.

    Args:
        reference: of the other model, on these images.
        candidate: of the model.
        images: with their annotations.

    Raises:
        UserError: they are not of these annotations, as classes that these do
            not have; see `agreement_ap`.
    """
    evaluator = evaluator_on(images)
    evaluator.process(candidate)
    paired = paired_difference_on(images, reference, candidate)
    agreement = agreement_ap(reference, candidate)
    return Figures(100 * (evaluator.evaluate().map or 0.0),
                   100 * paired.difference, 100 * paired.low, 100 * paired.high,
                   100 * (agreement.map or 0.0))


def _change(reference: np.ndarray, candidate: np.ndarray,
            score_threshold: float) -> float:
    """See `most_changed`; (n, 6) and (m, 6) boxes of one image."""
    from pycocotools import mask
    from scipy.optimize import linear_sum_assignment
    agreed = total = 0.0
    for index in np.unique(np.concatenate([reference[:, 0], candidate[:, 0]])):
        ours, theirs = [
            rows[rows[:, 0] == index].astype(np.float64)
            for rows in (reference, candidate)
        ]
        lost = [ours[:, 1] >= score_threshold, theirs[:, 1] >= score_threshold]
        if len(ours) and len(theirs):
            iou = mask.iou(
                *[
                    np.concatenate([r[:, 2:4], r[:, 4:6] - r[:, 2:4]], axis=1)
                    for r in (ours, theirs)
                ], [0] * len(theirs))
            score = np.minimum(ours[:, 1][:, None], theirs[:, 1])
            shown = lost[0][:, None] | lost[1]
            gain = iou * score * ((iou >= 0.5) & shown)
            for i, j in zip(*linear_sum_assignment(gain, maximize=True)):
                if gain[i, j] > 0:
                    agreed += gain[i, j]
                    total += max(ours[i, 1], theirs[j, 1])
                    lost[0][i] = lost[1][j] = False
        total += ours[lost[0], 1].sum() + theirs[lost[1], 1].sum()
    return 1 - agreed / total if total else 0.0


def most_changed(reference: Sequence[Detections],
                 candidate: Sequence[Detections],
                 *,
                 count: int,
                 score_threshold: float = 0.3) -> List[int]:
    """The images on which two models differ most.

    Boxes of one class are paired, at IoU >= 0.5, such that agreement is
    largest. The change of an image is a weighted Jaccard distance:

        1 - sum(IoU * min(score, score')) / sum(max(score, score'))

    over pairs of which one box at least has the threshold's score, and over
    boxes of that score without a partner (min is 0). So a box that moves from
    0.31 to 0.29 changes an image little.

    Args:
        reference, candidate: one entry for each image, the same images.
        count: how many images.
        score_threshold: of boxes that matter.

    Returns:
        At most `count` image ids, the most changed one first; at equal change
        the smaller id first.

    Raises:
        UserError: the images differ, or count is below 1.
    """
    if count < 1:
        raise UserError('most changed images: count must be at least 1, found '
                        '%s' % count)
    _load_backend('pycocotools')  # zlib before the import in _change
    ranked = sorted(
        (-_change(one.boxes, two.boxes, score_threshold), one.image_id)
        for one, two in _pair(reference, candidate))
    return [image_id for _, image_id in ranked[:count]]
