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
"""A range file: for each variable of a model the least, the greatest and the
best shape that TensorRT builds for.

It is Paddle's own format, protobuf text, of which each tensor of integers that
may be a shape holds values too. Lines of comment at its top, which Paddle
passes over, say what it was made of: the model, and the inputs that it covers.

Paddle 2.6.2 refuses no file: of a broken one it logs a "libprotobuf ERROR" and
goes on without ranges.
"""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from .. import runtime
from ..errors import UserError
from ..program.model import Model, ModelFiles
from . import levels

VERSION = 1
NAME = 'shape_range.pbtxt'  # beside the model
_TITLE = ('# Shape ranges for TensorRT, of a Paddle inference model. Made by '
          'paddle_inference_eval.py;\n# made again when the model or its '
          'inputs change.\n')
_META = '# meta: '
# Operators whose results are as long as the image's content has it.
_FINDERS = ('multiclass_nms3', 'matrix_nms', 'where_index')


@dataclass(frozen=True)
class Range:
    """Of one variable. Values: of integer tensors with up to 8 elements."""
    min_shape: Tuple[int, ...]
    max_shape: Tuple[int, ...]
    opt_shape: Tuple[int, ...]
    min_value: Tuple[int, ...] = ()
    max_value: Tuple[int, ...] = ()
    opt_value: Tuple[int, ...] = ()


# Numbered as in Paddle's shape_range_info.proto, after `name`.
_FIELDS = ('min_shape', 'max_shape', 'opt_shape', 'min_value', 'max_value',
           'opt_value')


@dataclass(frozen=True)
class Meta:
    """What a range file was made of."""
    model: str  # ModelFiles.digest()
    paddle: str  # its version: others may name variables otherwise
    source: str  # 'data': images; 'rule': all that the reader's rule makes
    image: str  # name of the model's image input, (images, 3, height, width)
    # Images, height, width of what was run. Opt shapes are those of the first.
    runs: List[Tuple[int, int, int]]
    version: int = VERSION


@dataclass(frozen=True)
class RangeFile:
    """A range file. `command` makes it again."""
    path: str
    ranges: Dict[str, Range]
    meta: Optional[Meta] = None  # None: another program made it
    command: str = field(default='', compare=False)

    def refused(self, why: str) -> 'Refused':
        """The error for a file that does not do."""
        return Refused(self, why)


class Refused(UserError):
    """A range file that does not do for a model or its inputs."""

    def __init__(self, file: RangeFile, why: str) -> None:
        super().__init__("shape ranges '%s': %s; collect them again: %s" %
                         (file.path, why, file.command))
        self.why = why


def _message() -> Any:
    """An empty ShapeRangeInfos: Paddle's Python part does not hold its class.
    """
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    package = 'paddle.inference.proto'
    file = descriptor_pb2.FileDescriptorProto(name='shape_range_info.proto',
                                              package=package,
                                              syntax='proto2')
    infos = file.message_type.add(name='ShapeRangeInfos')
    info = infos.nested_type.add(name='ShapeRangeInfo')
    info.field.add(name='name',
                   number=1,
                   label=kinds.LABEL_REQUIRED,
                   type=kinds.TYPE_STRING)
    for number, name in enumerate(_FIELDS, 2):
        info.field.add(name=name,
                       number=number,
                       label=kinds.LABEL_REPEATED,
                       type=kinds.TYPE_INT32)
    infos.field.add(name='shape_range_info',
                    number=1,
                    label=kinds.LABEL_REPEATED,
                    type=kinds.TYPE_MESSAGE,
                    type_name='.%s.ShapeRangeInfos.ShapeRangeInfo' % package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(package + '.ShapeRangeInfos'))()


def parse(text: str) -> Dict[str, Range]:
    """The ranges of a file's text.

    Raises:
        ValueError: it is not such a file, or a range is none.
    """
    # Before protobuf is imported.
    runtime.prepare()
    from google.protobuf import text_format
    message = _message()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as e:
        raise ValueError(str(e)) from None
    found: Dict[str, Range] = {}
    for info in message.shape_range_info:
        one = Range(*(tuple(getattr(info, name)) for name in _FIELDS))
        for least, most, best in ((one.min_shape, one.max_shape, one.opt_shape),
                                  (one.min_value, one.max_value,
                                   one.opt_value)):
            if not len(least) == len(most) == len(best):
                raise ValueError("'%s' has ranges of different lengths" %
                                 info.name)
        if not one.min_shape or not all(a <= b <= c for a, b, c in zip(
                one.min_shape, one.opt_shape, one.max_shape)):
            raise ValueError("'%s' has no least, best and greatest shape" %
                             info.name)
        found[info.name] = one
    if not found:
        raise ValueError('it holds no range')
    return found


def read(path: str, made_by: str) -> RangeFile:
    """Read a range file.

    Args:
        path: of the file.
        made_by: the command that makes it again.

    Raises:
        UserError: missing, broken or not a range file.
    """
    empty = RangeFile(path, {}, command=made_by)
    try:
        with open(path, encoding='utf-8') as f:
            text = f.read()
    except OSError as e:
        raise empty.refused('cannot be read: %s' % (e.strerror or e)) from None
    except UnicodeDecodeError:
        raise empty.refused('is no text') from None
    try:
        meta = _meta(text)
        return RangeFile(path, parse(text), meta, made_by)
    except ValueError as e:
        raise empty.refused('cannot be read: %s' % e) from None


def _meta(text: str) -> Optional[Meta]:
    for line in text.splitlines():
        if not line.startswith('#'):
            return None
        if line.startswith(_META):
            break
    else:
        return None
    try:
        values = json.loads(line[len(_META):])
        meta = Meta(**values)
        runs = [tuple(map(int, run)) for run in meta.runs]
        if not runs or any(len(run) != 3 or min(run) < 1 for run in runs):
            raise ValueError
        return replace(meta, runs=runs)
    except (TypeError, ValueError):
        raise ValueError("its line '%s' is broken, or of another version" %
                         _META.strip()) from None


def text_of(file: RangeFile) -> str:
    """The text of a file with its `meta`, the same for the same content."""
    runtime.prepare()
    from google.protobuf import text_format
    message = _message()
    for name in sorted(file.ranges):
        info = message.shape_range_info.add(name=name)
        for key in _FIELDS:
            getattr(info, key).extend(getattr(file.ranges[name], key))
    return _TITLE + _META + json.dumps(asdict(
        file.meta)) + '\n' + text_format.MessageToString(message)


def merge(runs: Sequence[Mapping[str, Range]]) -> Dict[str, Range]:
    """The ranges of several runs.

    Args:
        runs: of each the ranges of its own. Opt shapes and values are the
            first one's, of all variables. TensorRT refuses an engine whose opt
            shapes contradict each other ("kOPT values for profile 0 violate
            shape constraints", NVIDIA/TensorRT #2472), and those that Paddle
            chooses, each dimension apart, may. Least and greatest shapes may
            contradict (#1947).

    Raises:
        UserError: a variable has fewer dimensions in one run than in another.
    """
    merged: Dict[str, Range] = {}
    for one in runs:
        for name, new in one.items():
            old = merged.get(name)
            merged[name] = new if old is None else _joined(old, new, name)
    return merged


def _joined(old: Range, new: Range, name: str) -> Range:
    if len(old.min_shape) != len(new.min_shape):
        raise UserError(
            "'%s' has %d dimensions for one input and %d for another, "
            'which TensorRT does not take' %
            (name, len(old.min_shape), len(new.min_shape)))

    def each(choose: Any, a: Sequence[int], b: Sequence[int]) -> Any:
        return tuple(map(choose, a, b))

    shapes = (each(min, old.min_shape,
                   new.min_shape), each(max, old.max_shape,
                                        new.max_shape), old.opt_shape)
    # The values of a shape are as many in each run; others are no shape's.
    if len(old.min_value) != len(new.min_value) or \
            shapes[0] != shapes[1]:
        return Range(*shapes)
    return Range(*shapes, each(min, old.min_value, new.min_value),
                 each(max, old.max_value, new.max_value), old.opt_value)


def check(file: RangeFile,
          files: ModelFiles,
          model: Optional[Model] = None) -> None:
    """Check that a range file is of a model.

    Args:
        file: the range file.
        files: the model.
        model: the same, if it is loaded.

    Raises:
        UserError: it is of another model or version, or lacks variables.
    """
    meta = file.meta
    if meta is not None:
        if meta.version != VERSION:
            raise file.refused('is of version %s, not %d' %
                               (meta.version, VERSION))
        if meta.paddle != runtime.PADDLE:
            raise file.refused('was made by Paddle %s, not %s' %
                               (meta.paddle, runtime.PADDLE))
        if meta.model != files.digest():
            raise file.refused("was made for another model than '%s'" %
                               files.directory)
    model = model or Model.load(files)
    read_by = {
        name
        for op in model.ops if op.type not in ('feed', 'fetch')
        for name in op.input_arg_names
    }
    missing = sorted(read_by - set(file.ranges) - _perhaps_empty(model))
    if missing:
        raise file.refused(
            "holds no range of '%s'%s of '%s'" %
            (missing[0], ' and %d more variables' %
             (len(missing) - 1) if missing[1:] else '', files.directory))
    if meta is not None:
        return
    # What other programs wrote tells no model; its parameters do.
    for var in model.persistable():
        one = file.ranges.get(var.name)
        shape = tuple(model.parameter(var.name).shape) or (1, )
        if one is not None and not one.min_shape == one.max_shape == shape:
            raise file.refused("parameter '%s' has %s there and %s in '%s'" %
                               (var.name, _shape(one.min_shape), _shape(shape),
                                files.directory))


def _perhaps_empty(model: Model) -> Set[str]:
    """Names of what holds as much as was found in an image, of which Paddle
    writes no range where that is nothing. It stays out of TensorRT."""
    found: Set[str] = set()
    for op in model.ops:
        if op.type in _FINDERS or not found.isdisjoint(op.input_arg_names):
            found.update(op.output_arg_names)
    return found


def check_input(file: RangeFile, shapes: Mapping[str, Sequence[int]],
                what: str) -> None:
    """Check that TensorRT was built for an input.

    Args:
        file: the range file.
        shapes: {input's name: its shape}.
        what: is run, e.g. "image 'x.jpg'".

    Raises:
        UserError: a dimension of an input, or one that follows from it (see
            `levels`), is outside of what was collected.
    """
    for name, shape in shapes.items():
        one = file.ranges.get(name)
        if one is None:  # no operator reads it, see `check`
            continue
        if len(shape) != len(one.min_shape):
            raise file.refused(
                "%s: input '%s' is %s, of other dimensions than "
                '%s' % (what, name, _shape(shape), _shape(one.min_shape)))
        for at, size in enumerate(shape):
            if not one.min_shape[at] <= size <= one.max_shape[at]:
                raise file.refused(
                    "%s: input '%s' is %s, outside of %s to %s" %
                    (what, name, _shape(shape), _shape(
                        one.min_shape), _shape(one.max_shape)))
    if file.meta is not None:
        shape = shapes[file.meta.image]
        run = np.array([[shape[0], *shape[-2:]]])
        found = outside(file, run)
        if found:
            raise file.refused('%s, %s: %s' % (what, _shape(shape), found[1]))


def check_runs(file: RangeFile, runs: np.ndarray, image: str) -> None:
    """Check that a range file covers inputs.

    Args:
        file: the range file.
        runs: (N, 3) images, height, width.
        image: name of the model's image input.

    Raises:
        UserError: one is outside.
    """
    what = 'input of %d x %d (height x width)'
    if file.meta is None:
        low, high = runs.min(0), runs.max(0)
        for run in (low, high):
            check_input(file, {image: (run[0], 3, *run[1:])},
                        what % tuple(run[1:]))
        return
    found = outside(file, runs)
    if found:
        raise file.refused('%s: %s' %
                           (what % tuple(runs[found[0]][1:]), found[1]))


def outside(file: RangeFile, runs: np.ndarray) -> Optional[Tuple[int, str]]:
    """The first of some inputs that a file's runs do not cover.

    Args:
        file: a range file with its `meta`.
        runs: (N, 3) images, height, width.

    Returns:
        its index and, in words, which tensor leaves which range; None if all
        are covered. Quantities that no tensor follows may be any.
    """
    covered = levels.as_runs(np.array(file.meta.runs))
    # Together, so that both have the same quantities.
    names, values = levels.quantities(np.concatenate([covered, runs]))
    known, new = np.split(values, [len(covered)], 1)
    low, high = known.min(1), known.max(1)
    bad = (new < low[:, None]) | (new > high[:, None])
    tensors = {}
    for row in np.flatnonzero(bad.any(1)):
        tensor = _follower(file, int(low[row]), int(high[row]))
        if tensor is None:
            bad[row] = False
        else:
            tensors[row] = tensor
    if not bad.any():
        return None
    at = int(bad.any(0).argmax())
    row = int(bad[:, at].argmax())
    return at, '%s%s would be %d, outside of %d to %d' % (
        tensors[row], names[row], new[row, at], low[row], high[row])


def _follower(file: RangeFile, low: int, high: int) -> Optional[str]:
    """The first tensor that may follow a quantity of this range: with a
    dimension of it, of a multiple of it, or of more by a constant. '' if that
    cannot be told, None if there is none."""
    if low == high:
        return ''
    for name, one in file.ranges.items():
        for at, (least, most) in enumerate(zip(one.min_shape, one.max_shape)):
            times, rest = divmod(most - least, high - low)
            more = least - times * low
            if times and not rest and more >= 0:
                return "tensor '%s', dimension %d: %s%s" % (
                    name, at, '%d + ' % more if more else '',
                    '%d x ' % times if times > 1 else '')
    return None


def _shape(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))


def default_path(files: ModelFiles) -> str:
    """Where the ranges of a model lie unless another place is named."""
    return os.path.join(files.directory, NAME)
