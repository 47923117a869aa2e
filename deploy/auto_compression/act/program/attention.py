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
"""Deformable attention by one operator of ops/.

Exported, it is one `grid_sampler` a map among some forty operators that
reshape, transpose and copy. Paddle's grid_sampler is scalar loops in one thread
over one channel after the other: six sevenths of the time of DINO-R50.
"""

import contextlib
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from .. import runtime
from .fold import drop_variables, remove_dead
from .graph import Graph
from .model import Model, static_mode

OPERATOR = 'deformable_attention'


def deformable_attention(model: Model) -> int:
    """Put in the operator `deformable_attention`, see ops/.

    It stands for all from what the matrices for value, offsets and weights
    gave to where the heads' results are side by side again: the softmax,
    locations around reference points (of an encoder) or boxes (of a decoder),
    sampling and the weighted sum. Where softmax or locations are not those of
    ppdet, they stay. Outputs stay within rounding: 2e-4 pixels and 2e-6 in
    scores, on the small RT-DETR and DINO.

    Args:
        model: a float program, or a quantized one without observers (see
            `observers.strip_observers`); changed in place. The operator is
            registered.

    Returns:
        number of attentions that are one operator now.
    """
    block = model.program.global_block()
    flow = _Flow(model)
    found = []
    for op in block.ops:
        if op.type == 'transpose2':
            with contextlib.suppress(_Differs):
                found.append((op, _attention(flow, op)))
    if not found:
        return 0
    with static_mode(runtime.import_paddle()):
        for op, attention in found:
            index, outputs = block.ops.index(op), {'Out': op.output('Out')}
            block._remove_op(index, sync=False)
            block._insert_op(index,
                             type=OPERATOR,
                             inputs=attention.inputs(),
                             outputs=outputs,
                             attrs=attention.attributes())
        block._sync_with_cpp()
        remove_dead(model)
        drop_variables(model)
    return len(found)


class _Differs(Exception):
    """The operators are no deformable attention, or not one of ours."""


def _require(holds: Any) -> None:
    if not holds:
        raise _Differs


@dataclass(frozen=True)
class _Value:
    """What a name holds after an operator wrote it; None: a parameter."""
    name: str
    writer: Optional[Any]


@dataclass(frozen=True)
class _Attention:
    value: _Value
    offsets: _Value
    weights: _Value
    reference: Optional[_Value]
    # Heights and widths, or the variable that holds them.
    shapes: Union[_Value, Tuple[int, ...]]
    heads: int
    points: int
    softmax: bool

    def inputs(self) -> Dict[str, List[str]]:
        return {slot: [value.name] for slot, value in self.values()}

    def values(self) -> List[Tuple[str, _Value]]:
        """(slot, value) of each input that there is."""
        # Paddle marks optional inputs of custom operators in their names.
        slots = (('Value', self.value), ('Offsets', self.offsets),
                 ('Weights', self.weights),
                 ('Reference@OPTIONAL', self.reference), ('Shapes@OPTIONAL',
                                                          self.shapes))
        return [(s, v) for s, v in slots if isinstance(v, _Value)]

    def attributes(self) -> Dict[str, Any]:
        known = not isinstance(self.shapes, _Value)
        return {
            'heads': self.heads,
            'points': self.points,
            'softmax': self.softmax,
            'shapes': list(self.shapes) if known else []
        }


class _Flow:
    """Walks from values to what they were made of."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.block = model.program.global_block()
        self.graph = Graph(self.block)

    def read(self, op: Any, slot: str, index: int = 0) -> _Value:
        """What an operator reads."""
        names = op.input(slot) if slot in op.input_names else []
        _require(index < len(names))
        return _Value(names[index], self.graph.writer_of(op, names[index]))

    def up(self, value: _Value, kind: str, **attributes: Any) -> Any:
        """The operator that wrote a value, which must be of a type, with these
        attributes."""
        return _checked(value.writer, kind, **attributes)

    def through(self, value: _Value, kind: str, **attributes: Any) -> _Value:
        """What such an operator made a value of."""
        return self.read(self.up(value, kind, **attributes), 'X')

    def shape(self, value: _Value) -> List[int]:
        """-1: not known."""
        _require(self.block.has_var(value.name))
        return list(self.block.var(value.name).shape)

    def is_float32(self, value: _Value) -> bool:
        return self.block.var(
            value.name).dtype == runtime.import_paddle().float32

    def constant(self, value: _Value) -> Optional[np.ndarray]:
        """The value of a constant, None if it is none."""
        op = value.writer
        if op is not None:
            if op.type != 'fill_constant' or any(op.input_arg_names):
                return None
            return np.full(op.attr('shape'), op.attr('value'))
        kept = self.block.var(value.name).persistable and not any(
            value.name in op.output_arg_names for op in self.graph.ops)
        return self.model.parameter(value.name) if kept else None

    def still(self, value: _Value, end: Any) -> bool:
        """Whether the name holds that value when an operator runs."""
        ops = self.graph.ops
        first = 0 if value.writer is None else ops.index(value.writer) + 1
        return not any(value.name in op.output_arg_names
                       for op in ops[first:ops.index(end)])


def _checked(op: Optional[Any], kind: str, **attributes: Any) -> Any:
    _require(op is not None and op.type == kind)
    for name, wanted in attributes.items():
        _require(op.has_attr(name) and op.attr(name) == wanted)
    return op


def _attention(flow: _Flow, end: Any) -> _Attention:
    """The attention whose result, (N, Q, C), an operator writes.

    Raises:
        _Differs: there is none.
    """
    joined = flow.read(_checked(end, 'transpose2', axis=[0, 2, 1]), 'X')
    total = flow.through(joined, 'reshape2')
    add = flow.up(total, 'reduce_sum', keep_dim=False, reduce_all=False)
    _require(list(add.attr('dim')) in ([-1], [3]))
    product = flow.up(flow.read(add, 'X'), 'elementwise_mul', axis=-1)
    stacked = flow.through(flow.read(product, 'X'),
                           'flatten_contiguous_range',
                           start_axis=3,
                           stop_axis=4)
    stack = flow.up(stacked, 'stack')
    _require(stack.attr('axis') in (-2, 3))
    weights = flow.through(flow.through(flow.read(product, 'Y'), 'reshape2'),
                           'transpose2',
                           axis=[0, 2, 1, 3, 4])

    # (N, Q, heads, levels, points); (N, places, heads, channels).
    sizes = flow.shape(weights)
    _require(len(sizes) == 5 and min(sizes[2:]) > 0)
    heads, levels, points = sizes[2:]
    _require(levels == len(stack.input('X')))
    value, locations, shapes = _samples(flow, stack)
    grouped = flow.shape(value)
    _require(len(grouped) == 4 and grouped[2] == heads and grouped[3] > 0)
    channels = grouped[3]
    _require(flow.shape(locations)[2:] == [heads, levels, points, 2])
    _require(flow.shape(flow.read(product, 'Y'))[1::2] == [1, levels * points])
    _require(flow.shape(stacked)[1] in (channels, -1))
    _require(flow.shape(joined)[1] == heads * channels)

    softmax = _logits(flow, weights)
    placed = _placed(flow, locations, shapes, points)
    reference, offsets = placed or (None, locations)
    made = _Attention(value=_flat(flow, value, heads * channels),
                      offsets=_flat(flow, offsets, heads * levels * points * 2),
                      weights=_flat(flow, softmax or weights,
                                    heads * levels * points),
                      reference=reference,
                      shapes=shapes,
                      heads=heads,
                      points=points,
                      softmax=softmax is not None)
    for _, used in made.values():
        # The operator runs last of all; its inputs must still be there.
        _require(flow.still(used, end))
        if used != shapes:
            _require(flow.is_float32(used))
    return made


def _samples(
        flow: _Flow,
        stack: Any) -> Tuple[_Value, _Value, Union[_Value, Tuple[int, ...]]]:
    """What is sampled in each map: the value, locations from 0 to 1, and the
    maps' shapes."""
    splits, grids, sides = set(), set(), []
    count = len(stack.input('X'))
    for level in range(count):
        sampler = flow.up(flow.read(stack, 'X', level),
                          'grid_sampler',
                          mode='bilinear',
                          padding_mode='zeros',
                          align_corners=False)
        plane = flow.up(flow.read(sampler, 'X'), 'reshape2')
        part = flow.through(flow.through(flow.read(plane, 'X'),
                                         'transpose2',
                                         axis=[0, 2, 1]),
                            'flatten_contiguous_range',
                            start_axis=2,
                            stop_axis=3)
        split = flow.up(part, 'split', axis=1)
        _require(len(split.output('Out')) == count)
        _require(split.output('Out')[level] == part.name)
        splits.add(flow.read(split, 'X'))
        grid = flow.through(flow.through(flow.read(sampler, 'Grid'),
                                         'flatten_contiguous_range',
                                         start_axis=0,
                                         stop_axis=1),
                            'transpose2',
                            axis=[0, 2, 1, 3, 4])
        grids.add(_sliced(flow, grid, 3, level, level + 1, drop=True))
        sides += [_side(flow, plane, level, axis) for axis in (0, 1)]
    _require(len(splits) == len(grids) == 1)
    # Coordinates of grid_sampler go from -1 to 1.
    locations, factor, offset = _scaled(flow, grids.pop(), 2)
    _require((factor, offset) == (2, -1))
    if all(isinstance(side, int) for side in sides):
        return splits.pop(), locations, tuple(sides)
    _require(len(set(sides)) == 1)
    shapes = sides[0]
    _require(isinstance(shapes, _Value) and flow.shape(shapes) == [count, 2])
    return splits.pop(), locations, shapes


def _side(flow: _Flow, plane: Any, level: int, axis: int) -> Union[_Value, int]:
    """Height (axis 0) or width of a map as `reshape2` has it: a number, or the
    variable with the shapes of all maps."""
    _require('Shape' not in plane.input_names or not plane.input('Shape'))
    if 'ShapeTensor' not in plane.input_names or \
            not plane.input('ShapeTensor'):
        sizes = list(plane.attr('shape'))
        _require(len(sizes) == 4 and sizes[2 + axis] > 0)
        return sizes[2 + axis]
    _require(len(plane.input('ShapeTensor')) == 4)
    side = flow.read(plane, 'ShapeTensor', 2 + axis)
    number = flow.constant(side)
    if number is not None:
        _require(number.size == 1 and number.reshape(-1)[0] > 0)
        return int(number.reshape(-1)[0])
    row = _sliced(flow, side, 0, axis, axis + 1, drop=True)
    return _sliced(flow, row, 0, level, level + 1, drop=True)


def _sliced(flow: _Flow, value: _Value, axis: int, start: int, end: int,
            drop: bool) -> _Value:
    """What a value is `[start:end]` of, along an axis, which is dropped or
    not."""
    op = flow.up(value,
                 'slice',
                 axes=[axis],
                 starts=[start],
                 decrease_axis=[axis] if drop else [])
    # Python's open end is written as a large number.
    _require(
        op.attr('ends')[0] == end
        or not drop and op.attr('ends')[0] >= 4 and end == 4)
    _require(op.input_arg_names == op.input('Input'))
    return flow.read(op, 'Input')


def _scaled(flow: _Flow, value: _Value,
            most: int) -> Tuple[_Value, float, float]:
    """(x, a, b) of a value that `most` scale operators made as a * x + b."""
    factor, offset = 1.0, 0.0
    for _ in range(most):
        op = value.writer
        if op is None or op.type != 'scale':
            break
        _require(op.input_arg_names == op.input('X'))
        bias = op.attr('bias')
        if not op.attr('bias_after_scale'):
            bias *= op.attr('scale')
        offset += factor * bias
        factor *= op.attr('scale')
        value = flow.read(op, 'X')
    return value, factor, offset


def _logits(flow: _Flow, weights: _Value) -> Optional[_Value]:
    """What a softmax over all maps and points made weights of, if one did."""
    heads, levels, points = flow.shape(weights)[2:]
    try:
        soft = flow.through(weights, 'reshape2')
        op = flow.up(soft, 'softmax')
        logits = flow.read(op, 'X')
        _require(flow.shape(logits)[2:] == [heads, levels * points])
        _require(op.attr('axis') in (-1, 3))
        return logits
    except _Differs:
        return None


def _placed(flow: _Flow, locations: _Value, shapes: Union[_Value,
                                                          Sequence[int]],
            points: int) -> Optional[Tuple[_Value, _Value]]:
    """(reference points or boxes, offsets) that locations were made of, if
    they were."""
    for way in (_around_points, _around_boxes):
        with contextlib.suppress(_Differs):
            add = flow.up(locations, 'elementwise_add', axis=-1)
            reference, offsets = way(flow, flow.read(add, 'X'),
                                     flow.read(add, 'Y'), shapes, points)
            _require(flow.shape(offsets)[2:] == flow.shape(locations)[2:])
            return reference, offsets
    return None


def _around_points(flow: _Flow, point: _Value, shift: _Value,
                   shapes: Union[_Value, Sequence[int]],
                   points: int) -> Tuple[_Value, _Value]:
    """Of an encoder: point + offset / (width, height)."""
    div = flow.up(shift, 'elementwise_div', axis=-1)
    size = flow.read(div, 'Y')
    levels = flow.shape(shift)[3]
    _require(flow.shape(size) == [1, 1, 1, levels, 1, 2])
    _require(flow.shape(point)[2:] in ([1, levels, 1, 2], [1, 1, 1, 2]))
    number = flow.constant(size)
    if number is not None:
        _require(not isinstance(shapes, _Value))
        _require(
            np.array_equal(
                number.reshape(-1, 2)[:, ::-1], np.reshape(shapes, (-1, 2))))
    else:
        turned = flow.through(flow.through(size, 'cast'), 'reshape2')
        _require(flow.through(turned, 'flip', axis=[1]) == shapes)
    return point, flow.read(div, 'X')


def _around_boxes(flow: _Flow, center: _Value, shift: _Value,
                  shapes: Union[_Value, Sequence[int]],
                  points: int) -> Tuple[_Value, _Value]:
    """Of a decoder: center + offset / points * size / 2."""
    product, outer, bias = _scaled(flow, shift, 1)
    mul = flow.up(product, 'elementwise_mul', axis=-1)
    offsets, inner, more = _scaled(flow, flow.read(mul, 'X'), 1)
    _require(bias == more == 0 and abs(outer * inner * points * 2 - 1) < 1e-6)
    ends = [
        flow.through(value, 'unsqueeze2', axes=[2, 4])
        for value in (center, flow.read(mul, 'Y'))
    ]
    box = _sliced(flow, ends[0], 3, 0, 2, drop=False)
    _require(_sliced(flow, ends[1], 3, 2, 4, drop=False) == box)
    levels = flow.shape(shift)[3]
    _require(flow.shape(box)[2:] in ([1, 4], [levels, 4]))
    return box, offsets


def _flat(flow: _Flow, value: _Value, count: int) -> _Value:
    """What `reshape2` made a value of, where it only split or joined its axes
    from the third on, with `count` elements: the operator reads either."""
    op = value.writer
    if op is None or op.type != 'reshape2':
        return value
    before = flow.read(op, 'X')
    known = flow.shape(before)
    same = len(known) == 3 and known[2] == count and \
        known[:2] == flow.shape(value)[:2]
    return before if same else value
