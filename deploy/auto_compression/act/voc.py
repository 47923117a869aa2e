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
"""Pascal VOC annotations as PaddleDetection's VOCDataSet takes them: read, and
refused where they are wrong.

A data set is a text file of lines `IMAGE ANNOTATION.xml`, an XML file an image,
and a list of class names, whose order numbers the model's classes.
"""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple
from xml.etree import ElementTree

import numpy as np

from . import runtime
from .annotations import LARGEST
from .errors import UserError, hint, nearest

DATA_SET = 'VOCDataSet'
MAP_TYPES = ('11point', 'integral')


@dataclass(frozen=True)
class Metric:
    """What mAP means, as PaddleDetection's VOCMetric takes it.

    Attributes:
        map_type: 11point: the mean of the largest precisions at recalls of 0,
            0.1, ... 1; integral: the area below precision over recall.
        overlap_thresh: a box is right if its IoU is larger.
    """
    map_type: str = '11point'
    overlap_thresh: float = 0.5


@dataclass(frozen=True)
class Source:
    """What a reader file says of a data set beside its paths.

    Attributes:
        metric: to evaluate with.
        label_list: path of the class names, relative to the data set's
            directory; None: VOC's 20 classes.
        allow_empty: whether images without objects count.
        where: section and file, for messages.
    """
    metric: Metric
    label_list: Optional[str]
    allow_empty: bool
    where: str


@dataclass(frozen=True, eq=False)
class Objects:
    """What is annotated in one image.

    Attributes:
        boxes: (n, 4) float32: x1, y1, x2, y2, the last pixels included.
        classes: (n,) int: index in the class names.
        difficult: (n,) bool: neither counted nor missed.
    """
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray


@dataclass(frozen=True)
class Truth:
    """What detections are measured against.

    Attributes:
        metric: how.
        objects: by image id.
        files: that they were read from, beside the list of images.
    """
    metric: Metric
    objects: Mapping[int, Objects]
    files: Tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """An image of the list."""
    path: str
    height: int
    width: int
    objects: Objects


@dataclass(frozen=True)
class DataSet:
    """A data set that was read; `files` as in `Truth`."""
    images: List[Image]
    names: List[str]
    files: Tuple[str, ...]


def metric(content: Mapping[str, Any], path: str) -> Metric:
    """The metric of a reader file whose `metric` is VOC.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        UserError: map_type or overlap_thresh is not what it may be.
    """
    kind = content.get('map_type', Metric.map_type)
    if kind not in MAP_TYPES:
        raise UserError(
            '%s: map_type is %.60r; it must be 11point or '
            'integral%s' %
            (path, kind, "; did you mean '%s'?" %
             nearest(kind, MAP_TYPES) if nearest(kind, MAP_TYPES) else ''))
    overlap = content.get('overlap_thresh', Metric.overlap_thresh)
    if type(overlap) not in (int, float) or not 0 < overlap < 1:
        raise UserError('%s: overlap_thresh is %.60r; it must be a number '
                        'above 0 and below 1' % (path, overlap))
    return Metric(kind, float(overlap))


def source(section: Mapping[str, Any], how: Metric, where: str) -> Source:
    """What a section of a reader file says of a data set.

    Args:
        section: a `!VOCDataSet`.
        how: the file's metric.
        where: section and file, for messages.

    Raises:
        UserError: a value is not what it may be.
    """
    labels = section.get('label_list')
    if labels is not None and (not isinstance(labels, str) or not labels):
        raise UserError(
            '%s: label_list is %.60r; it must be the path of a file of class '
            'names; leave it out for the 20 of VOC' % (where, labels))
    empty = section.get('allow_empty', False)
    if not isinstance(empty, bool):
        raise UserError('%s: allow_empty is %.60r; it must be True or False' %
                        (where, empty))
    ratio = section.get('empty_ratio', 1.)
    # PaddleDetection takes all where it is no share.
    if type(ratio) not in (int, float) or empty and 0 <= ratio < 1:
        raise UserError(
            '%s: empty_ratio is %.60r; images without objects cannot be drawn '
            'at random: leave it out, and all count, or set allow_empty: False'
            % (where, ratio))
    return Source(how, labels, empty, where)


def read(list_path: str, image_root: str, dataset_dir: str,
         given: Source) -> DataSet:
    """Read and check a data set's annotations. Image files are not looked at.

    As in PaddleDetection, images without objects are left out, or come last
    where they count, and boxes end at the last pixel, width - 1.

    Args:
        list_path: of the list of images.
        image_root: what its paths are relative to.
        dataset_dir: what the list of class names is relative to.
        given: what the reader file says.

    Raises:
        UserError: a file is missing or cannot be read, or what it says is
            wrong; the first wrong value is named.
    """
    names, labels = _names(dataset_dir, given)
    index = {name: at for at, name in enumerate(names)}
    where = 'image list %r' % list_path
    listed: List[Tuple[str, str]] = []
    for number, line in enumerate(_lines(list_path, where), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise UserError(
                "%s: line %d is %.60r; it must be 'IMAGE ANNOTATION.xml', two "
                'paths without blanks, relative to %r; write such a list, or '
                'name another with anno_path' %
                (where, number, line, image_root))
        image, annotation = (os.path.join(image_root, w) for w in words)
        if not os.path.isfile(annotation):
            raise UserError('%s: line %d: annotation file %r is missing; add '
                            'it, or remove the line' %
                            (where, number, annotation))
        listed.append((image, annotation))
    if not listed:
        raise UserError('%s has no lines; name or write a list that has some' %
                        where)
    full: List[Image] = []
    empty: List[Image] = []
    for image, annotation in listed:
        one = _read_image(image, annotation, index, labels)
        (full if len(one.objects.classes) else empty).append(one)
    if given.allow_empty:
        full += empty
    if not full:
        raise UserError(
            '%s: none of its %d images has an object; name another list, or '
            'set allow_empty: True in %s' % (where, len(listed), given.where))
    files = tuple(annotation for _, annotation in listed)
    if given.label_list:
        files = (labels, *files)
    return DataSet(full, names, files)


def _lines(path: str, where: str) -> List[str]:
    try:
        # Some programs put a byte order mark before UTF-8.
        with open(path, encoding='utf-8-sig') as f:
            return [line.strip() for line in f]
    except UnicodeDecodeError:
        raise UserError('%s is not UTF-8 text; name or write another' %
                        where) from None
    except OSError as e:
        raise UserError('%s: %s; name another' % (where, e.strerror)) from None


def _names(dataset_dir: str, given: Source) -> Tuple[List[str], str]:
    """Class names in the model's order, and where they stand."""
    if not given.label_list:
        runtime.import_ppdet()
        from ppdet.data.source.voc import pascalvoc_label
        numbers: Dict[str, int] = pascalvoc_label()
        return sorted(numbers, key=lambda name: numbers[name]), 'the 20 of VOC'
    path = os.path.join(dataset_dir, given.label_list)
    where = 'label_list %r (%s)' % (path, given.where)
    if not os.path.isfile(path):
        raise UserError('%s is no file; correct it there, or leave it out for '
                        'the 20 classes of VOC' % where)
    names = _lines(path, where)
    while names and not names[-1]:
        names.pop()
    if not names:
        raise UserError('%s is empty; write a class name a line' % where)
    for number, name in enumerate(names, 1):
        if not name:
            raise UserError('%s: line %d is empty, and would be a class; write '
                            "the name of the model's class %d" %
                            (where, number, number - 1))
        if names.index(name) != number - 1:
            raise UserError(
                '%s: %.60r stands in line %d and in line %d; names must '
                'differ: correct one' %
                (where, name, names.index(name) + 1, number))
    return names, path


def _read_image(image: str, path: str, index: Mapping[str, int],
                labels: str) -> Image:
    """One annotation file, checked; arguments as in `_object`."""
    where = 'annotation file %r' % path
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as e:
        raise UserError('%s is not XML, or is cut short: %s; copy or export it '
                        'again' % (where, e)) from None
    except (OSError, ValueError, LookupError) as e:
        # Of its encoding, which may be one that is unknown.
        raise UserError('%s cannot be read: %s; copy or export it again' %
                        (where, getattr(e, 'strerror', None) or e)) from None
    width, height = (_number(root, 'size/' + key, where)
                     for key in ('width', 'height'))
    for key, value in (('width', width), ('height', height)):
        if value < 1 or value != int(value):
            raise UserError(
                '%s: size/%s is %g; it must be a whole number of pixels, at '
                'least 1; write what the image has' % (where, key, value))
    found = [
        _object(node, '%s: object %d' % (where, number), index, labels, width,
                height)
        for number, node in enumerate(root.iterfind('object'), 1)
    ]
    boxes, classes, difficult = zip(*found) if found else ((), (), ())
    return Image(
        image, int(height), int(width),
        Objects(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, int),
            np.array(difficult, bool)))


def _object(node: ElementTree.Element, where: str, index: Mapping[str, int],
            labels: str, width: float,
            height: float) -> Tuple[List[float], int, bool]:
    """Box, class and whether it is difficult, of one object.

    Args:
        node: of the object.
        where: for messages.
        index: class index by name.
        labels: where the names stand, for messages.
        width, height: of the image.
    """
    name = _text(node, 'name', where)
    if name not in index:
        raise UserError('%s: class %.60r is not among those of %s; %s' %
                        (where, name, labels, hint(name, index)))
    # Data sets of users' own may leave it out.
    difficult = '0' if node.find('difficult') is None else _text(
        node, 'difficult', where)
    if difficult not in ('0', '1'):
        raise UserError('%s: difficult is %.60r; it must be 0 or 1; correct '
                        'it' % (where, difficult))
    given = [
        _number(node, 'bndbox/' + key, where)
        for key in ('xmin', 'ymin', 'xmax', 'ymax')
    ]
    x1, y1 = (max(0., v) for v in given[:2])
    x2, y2 = min(width - 1, given[2]), min(height - 1, given[3])
    if not (x2 > x1 and y2 > y1):
        raise UserError(
            '%s (%.60s): the box [%g, %g, %g, %g] has no size within the image '
            'of %g x %g pixels; correct or remove it' %
            (where, name, *given, width, height))
    return [x1, y1, x2, y2], index[name], difficult == '1'


def _text(node: ElementTree.Element, path: str, where: str) -> str:
    found = node.findtext(path)
    if found is None or not found.strip():
        raise UserError('%s has no %s; add it, or export the file again' %
                        (where, path))
    return found.strip()


def _number(node: ElementTree.Element, path: str, where: str) -> float:
    text = _text(node, path, where)
    try:
        value = float(text)
    except ValueError:
        value = float('nan')
    if not abs(value) <= LARGEST:
        raise UserError('%s: %s is %.60r; it must be a finite number; correct '
                        'it' % (where, path, text))
    return value
