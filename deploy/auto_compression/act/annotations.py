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
"""COCO annotation files: read, and refused where they are wrong.

COCO's own file has 860 thousand annotations, so each rule looks at a whole
column at once, and at single values only to find the one to name.
"""

import contextlib
import gc
import json
import numbers
import os
import re
import reprlib
from dataclasses import dataclass
from itertools import chain
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence

import numpy as np

from .errors import UserError

# Of numbers in pixels: no image is that large, and areas do not overflow.
LARGEST = 1e9
_LARGEST_ID = 2**63 - 1
_MISSING = object()
# What the JSON parser has not read of a file that ends within a word, a number
# or an escape.
_WORDS = ('true', 'false', 'null', 'NaN', 'Infinity', '-Infinity')
_CUT = re.compile(r'\.|[eE][-+]?|\\?u?[0-9a-fA-F]{0,4}')

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


@dataclass(frozen=True)
class _Rule:
    """What the values of one key must be.

    `good` tells of one value. `all_good` tells of many, fast; it may be too
    strict, never too lax.
    """
    allowed: str
    good: Callable[[Any], bool]
    all_good: Callable[[Sequence[Any]], bool]


def _integers(low: int, high: int, allowed: str) -> _Rule:

    def good(value: Any) -> bool:
        return isinstance(value, numbers.Integral) and not isinstance(
            value, bool) and low <= value <= high

    def all_good(values: Sequence[Any]) -> bool:
        # `type`, since true is an int to isinstance.
        return set(map(type, values)) <= {
            int
        } and (not values or low <= min(values) and max(values) <= high)

    return _Rule(allowed, good, all_good)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(
        value, bool) and -LARGEST <= value <= LARGEST


def _is_box(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(
        map(_is_number, value)) and value[2] >= 0 and value[3] >= 0


def _array(values: List[Any]) -> np.ndarray:
    """(n,) float64, NaN for all if one of them is no number."""
    # numpy takes '1' and true for numbers, hence the types.
    if set(map(type, values)) <= {int, float}:
        try:
            return np.fromiter(values, np.float64, len(values))
        except OverflowError:
            pass
    return np.full(len(values), np.nan)


def _are_areas(values: Sequence[Any]) -> bool:
    areas = _array(values)
    return bool(((areas >= 0) & (areas <= LARGEST**2)).all())


def _are_boxes(values: Sequence[Any]) -> bool:
    if not (set(map(type, values)) <= {list} and set(map(len, values)) <= {4}):
        return False
    boxes = _array(list(chain.from_iterable(values))).reshape(-1, 4)
    return bool((np.abs(boxes) <= LARGEST).all() and (boxes[:, 2:] >= 0).all())


def _is_name(value: Any) -> bool:
    try:
        return isinstance(value, (str, numbers.Integral)) and not isinstance(
            value, bool) and str(value).encode() is not None
    except UnicodeEncodeError:  # half of a surrogate pair cannot be printed
        return False


def _one_by_one(values: Sequence[Any]) -> bool:
    return False


_ID = _integers(-_LARGEST_ID, _LARGEST_ID, 'a whole number')
_SIZE = _integers(1, int(LARGEST), 'a whole number of pixels, at least 1')
_OBJECT = _Rule('an object {...}', lambda value: isinstance(value, Mapping),
                lambda values: set(map(type, values)) <= {dict})
_FILE = _Rule('the path of an image file, as text',
              lambda value: isinstance(value, str) and bool(value.strip()),
              _one_by_one)
_NAME = _Rule('a text', _is_name, _one_by_one)
_BOX = _Rule(
    '[x, y, width, height]: four finite numbers, width and height not '
    'negative', _is_box, _are_boxes)
_AREA = _Rule(
    'a finite number, not negative',
    lambda value: isinstance(value, numbers.Real) and not isinstance(
        value, bool) and 0 <= value <= LARGEST**2, _are_areas)
_CROWD = _Rule(
    '0 or 1', lambda value: isinstance(value, numbers.Integral) and value in
    (0, 1),
    lambda values: set(map(type, values)) <= {int} and set(values) <= {0, 1})


def read(path: str, *, files: bool = True) -> Dict[str, Any]:
    """Read a COCO annotation file and check it.

    Args:
        path: of the file.
        files: see `check`.

    Raises:
        UserError: missing, not JSON, truncated, or not in COCO's format.
    """
    where = 'annotation file %r' % os.fspath(path)
    try:
        # Some programs put a byte order mark before UTF-8.
        with open(path, encoding='utf-8-sig') as f:
            text = f.read()
    except UnicodeDecodeError as e:
        # A file cut within a character, the one error at the very end.
        raise UserError(
            '%s %s; copy or export it again' %
            (where, 'looks truncated: it ends within a character' if e.reason
             == 'unexpected end of data' else 'is not UTF-8 text')) from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise UserError('%s: %s; name another with -o Reader.anno_path=FILE' %
                        (where, getattr(e, 'strerror', None) or e)) from None
    try:
        with _no_collection():
            content = json.loads(text)
            check(content, where, files=files)
    except json.JSONDecodeError as e:
        raise UserError('%s %s' % (where, _json_problem(text, e))) from None
    except RecursionError:
        raise UserError('%s is not a COCO detection file: lists within lists '
                        'beyond any use; export it again' % where) from None
    except ValueError as e:  # a number of more digits than Python reads
        raise UserError('%s is not a COCO detection file: %s; correct the '
                        'number' % (where, e)) from None
    return content


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for cycles: JSON has none, and looking for them
    in millions of new objects takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _json_problem(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return 'is empty; copy or export it again'
    rest = text[error.pos:].strip()
    if error.msg.startswith('Unterminated') or _CUT.fullmatch(rest) or any(
            word.startswith(rest) for word in _WORDS):
        return ('is not valid JSON and looks truncated: it stops within '
                'something, in line %d; copy or export it again' %
                (text.count('\n') + 1))
    return ('is not valid JSON: line %d, column %d: %s; correct it there or '
            'export it again' % (error.lineno, error.colno, error.msg))


def check(content: Any, where: str, *, files: bool = True) -> None:
    """Check the content of an annotation file.

    An annotation of an image that is not listed is let pass, since
    PaddleDetection and COCOeval leave it out; so is a box of width or height 0,
    which COCO's own files have.

    Args:
        content: of the file.
        where: the file, for messages.
        files: whether images must have file_name, height and width, too.

    Raises:
        UserError: it is not in COCO's format; the first wrong value is named.
    """
    if not isinstance(content, Mapping):
        raise UserError(
            '%s has no images: its top level is %s; a COCO detection file is '
            'an object with images, annotations and categories' %
            (where, _repr.repr(content)))
    for key in ('images', 'annotations', 'categories'):
        value = content.get(key, _MISSING)
        if value is _MISSING:
            raise UserError(
                '%s has no %s: not a COCO detection file, which has images, '
                'annotations and categories; name or export another' %
                (where, key))
        if not isinstance(value, list):
            raise UserError('%s: %s is %s; it must be a list of objects' %
                            (where, key, _repr.repr(value)))
        if not value and key != 'annotations':
            raise UserError('%s has no %s: the list is empty; name or export a '
                            'file that has some' % (where, key))
        _hold(_OBJECT, value, value, '', key, where)
    images, annotations, categories = (content['images'],
                                       content['annotations'],
                                       content['categories'])
    _check_ids(images, 'images', where)
    _check_ids(categories, 'categories', where)
    _column(_NAME, categories, 'name', 'categories', where, default='')
    if files:
        _column(_FILE, images, 'file_name', 'images', where)
        _column(_SIZE, images, 'height', 'images', where)
        _column(_SIZE, images, 'width', 'images', where)

    _column(_BOX, annotations, 'bbox', 'annotations', where)
    _column(_AREA, annotations, 'area', 'annotations', where, default=0)
    _column(_CROWD, annotations, 'iscrowd', 'annotations', where, default=0)
    of_category = _column(_ID, annotations, 'category_id', 'annotations', where)
    of_image = _column(_ID, annotations, 'image_id', 'annotations', where)
    known = {item['id'] for item in categories}
    if not known.issuperset(of_category):
        at = next(i for i, v in enumerate(of_category) if v not in known)
        raise UserError(
            '%s: category_id of %s is %d, which categories does not list (%s); '
            'correct it, or add the category' %
            (where, _item(annotations, at, 'annotations'), of_category[at],
             _repr.repr(sorted(known)).strip('[]')))
    if annotations and {item['id'] for item in images}.isdisjoint(of_image):
        raise UserError(
            '%s: none of the %d annotations is of an image that it lists, the '
            'first is of image_id %d; images and annotations must be of one '
            'data set' % (where, len(annotations), of_image[0]))


def _item(items: Sequence[Any], at: int, key: str) -> str:
    """An item for messages, counted from 1."""
    text = '%s %d' % ('category' if key == 'categories' else key[:-1], at + 1)
    if isinstance(items[at], Mapping) and 'id' in items[at]:
        text += ' (id %s)' % _repr.repr(items[at]['id'])
    return text


def _hold(rule: _Rule, values: Sequence[Any], items: Sequence[Any], name: str,
          key: str, where: str) -> None:
    """Raise UserError for the first value that does not hold to the rule."""
    if rule.all_good(values):
        return
    for at, value in enumerate(values):
        if value is _MISSING or not rule.good(value):
            raise UserError(
                '%s: %s%s %s; allowed is %s; correct or remove it' %
                (where, name and name + ' of ', _item(items, at, key),
                 'is missing' if value is _MISSING else 'is ' +
                 _repr.repr(value), rule.allowed))


def _column(rule: _Rule,
            items: Sequence[Mapping[str, Any]],
            name: str,
            key: str,
            where: str,
            default: Any = _MISSING) -> List[Any]:
    """The values of one key of all items, checked."""
    values = [item.get(name, default) for item in items]
    _hold(rule, values, items, name, key, where)
    return values


def _check_ids(items: Sequence[Mapping[str, Any]], key: str,
               where: str) -> None:
    ids = _column(_ID, items, 'id', key, where)
    if len(set(ids)) == len(ids):
        return
    first: Dict[int, int] = {}
    for at, value in enumerate(ids):
        if first.setdefault(value, at) != at:
            raise UserError(
                '%s: id %d is that of two %s, the %d. and the %d. of the list; '
                'ids must differ: remove one of them or number it anew' %
                (where, value, key, first[value] + 1, at + 1))
