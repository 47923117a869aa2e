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
"""The parts of a program that are layers with weights, each as one operator.

Paddle Inference runs operator by operator: 25 us each for what it looks up and
allocates, more than half of the time of a small detector in int8; and an int8
convolution hands on float, which the next one's `quantize` reads again. The
operator `onednn_network` of ops/ holds a whole network of convolutions or of
linear layers, with what lies between them, as a list of oneDNN's primitives
that is made once.

The list is a text, one step a line, its words separated by spaces. A step that
makes a value begins with its kind and the value's number, from 0 on:

    feed V                          the next input, float: NCHW or, with three
                                    axes, rows of channels
    move V FROM TYPE SCALE SHIFT    the same in another type, and NHWC
    conv V FROM TYPE SCALE SHIFT WEIGHT BIAS SCALES GROUPS STRIDES BEFORE AFTER
         THEN
    linear V FROM TYPE SCALE SHIFT WEIGHT BIAS SCALES THEN
    norm V FROM GAMMA BETA EPSILON
    pool V FROM KIND SIZES STRIDES BEFORE AFTER
    act V FROM FUNCTION ALPHA BETA
    binary V FROM OTHER KIND TYPE SCALE SHIFT THEN
    resize V FROM FACTORS
    concat V COUNT FROM...          along the channels
    out FROM                        the next output, as inputs are

TYPE is f32, bf16, u8 or s8; the last two hold round(SCALE x + SHIFT). WEIGHT,
BIAS, SCALES, GAMMA and BETA are numbers of parameters; SCALES, -1 for none,
turns a channel's sum of integer products into its value. STRIDES, SIZES (0: the
whole map), BEFORE and AFTER (padding) have two numbers, for height and width.
THEN is a count, and so many of `FUNCTION ALPHA BETA`, `add VALUE` and `mul
VALUE`.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from .. import runtime
from . import halving
from .fold import drop_variables, fold
from .graph import Graph
from .linear import weight_of
from .model import Model, static_mode
from .unsigned import (
    Quantized,
    add_parameter,
    prune,
    quantized,
    source_scale,
)

# One operator for each number of outputs, up to the largest there is.
OPERATOR = 'onednn_network_%d'
MOST = 12
CONVOLUTIONS = ('conv2d', 'depthwise_conv2d')
LINEAR = 'matmul_v2'
WEIGHTED = (*CONVOLUTIONS, LINEAR)
# A network of fewer of them is not worth its copies in and out.
FEWEST = 2

# (type, scale, shift)
Form = Tuple[str, float, int]
FLOAT: Form = ('f32', 1.0, 0)
BF16: Form = ('bf16', 1.0, 0)
_FEED: Form = ('feed', 1.0, 0)


@dataclass(frozen=True)
class Types:
    """What networks compute in: bf16 or else float32, but for integers where a
    program is quantized. Its linear layers are left out if not `linear`, and
    are float if not `int8_linear`."""
    bf16: bool = False
    linear: bool = True
    int8_linear: bool = True


def join_layers(model: Model, types: Types) -> int:
    """Join convolutions, or linear layers, and what lies between them into
    networks.

    Quantized layers take integers, with the scales that the simulation has or,
    where a source has hardly any negative values, finer ones (see `unsigned`
    and `linear`). All else stays in float, or in bf16. A quantized program is
    left as it is on a CPU without VNNI, where signed sources need care.

    Args:
        model: changed in place; of a quantized one, observers are stripped.
        types: what to compute in.

    Returns:
        number of convolutions and linear layers that are in networks now.
    """
    joined = 0
    fold(model)
    with static_mode(runtime.import_paddle()):
        block = model.program.global_block()
        parts = _Parts(model, block, types)
        if parts.quantized and halving.halves():
            return 0
        for part in parts.split():
            writer = _Writer(model, block, parts, part)
            if writer.fits():
                joined += sum(op.type in WEIGHTED for op in part)
                writer.write()
        block._sync_with_cpp()
        prune(block)
        drop_variables(model)
    return joined


class _Parts:
    """What a program computes, and which of it a network can."""

    def __init__(self, model: Model, block: Any, types: Types) -> None:
        self.model = model
        self.block = block
        self.types = types
        self.graph = Graph(block)
        self.index = {id(op): i for i, op in enumerate(self.graph.ops)}
        # By the operator: the weight's and the source's quantization.
        slots = dict.fromkeys(CONVOLUTIONS, ('Filter', 'Input'))
        self.quantized = {
            id(q.op): q
            for q in quantized(block, {
                **slots, LINEAR: ('Y', 'X')
            })
        }
        written: Dict[str, int] = {}
        for op in self.graph.ops:
            for name in op.output_arg_names:
                written[name] = written.get(name, 0) + 1
        self.rewritten = {n for n, times in written.items() if times > 1}

    def sources(self, op: Any) -> List[Tuple[str, Optional[Any]]]:
        """(name, operator that wrote it) of the activations that an operator
        reads, a quantized convolution's as they are before quantization."""
        if id(op) in self.quantized:
            quantize = self.quantized[id(op)].source
            names, reader = quantize.input('X'), quantize
        else:
            names, reader = op.input_arg_names, op
        return [(n, self.graph.writer_of(reader, n)) for n in names
                if not self.is_parameter(n)]

    def is_parameter(self, name: str) -> bool:
        return self.block.has_var(name) and self.block.var(name).persistable

    def split(self) -> List[List[Any]]:
        """Groups of operators, each of which can run as one: nothing outside
        of a group stands between two of its operators."""
        level: Dict[int, Tuple[int, bool]] = {}
        groups: Dict[int, List[Any]] = {}
        for op in self.graph.ops:
            inside = self.can(op)
            names = self.sources(op) if inside else [
                (n, self.graph.writer_of(op, n)) for n in op.input_arg_names
            ]
            at = 0 if inside else -1
            for _, writer in names:
                if writer is None:
                    continue
                its, joined = level[id(writer)]
                at = max(at, its + (inside and not joined))
            level[id(op)] = at, inside
            if inside:
                groups.setdefault(at, []).append(op)
        return [
            ops for _, ops in sorted(groups.items())
            if sum(op.type in WEIGHTED for op in ops) >= FEWEST
        ]

    def can(self, op: Any) -> bool:
        """Whether a network can hold this operator."""
        read = _READERS.get(op.type)
        if read is None or any(n in self.rewritten
                               for n in op.output_arg_names + op.input_arg_names
                               if not self.is_parameter(n)):
            return False
        result = op.output(_RESULT.get(op.type, 'Out'))[0]
        axes = {
            len(self.block.var(n).shape)
            for n in [result] + [n for n, _ in self.sources(op)]
        }
        return len(axes) == 1 and self._takes(op.type, axes.pop()) and read(
            self, op)

    @staticmethod
    def _takes(kind: str, axes: int) -> bool:
        """Whether an operator of this type can work on maps (4 axes: N, C, H,
        W) or on rows (3: N, L, C)."""
        if kind in (LINEAR, 'layer_norm'):
            return axes == 3
        return axes == 4 or axes == 3 and (kind in _FUNCTIONS
                                           or kind.startswith('elementwise_'))


_RESULT = {
    'conv2d': 'Output',
    'depthwise_conv2d': 'Output',
    'batch_norm': 'Y',
    'layer_norm': 'Y'
}


def _reads_convolution(parts: _Parts, op: Any) -> bool:
    if list(op.attr('dilations')) != [1, 1] or not _has_paddings(op) or \
            op.attr('data_format') not in ('NCHW', 'AnyLayout'):
        return False
    if 'Bias' in op.input_names and op.input('Bias'):
        return False
    if id(op) in parts.quantized:
        step = parts.model.parameter(
            parts.quantized[id(op)].weight.input('Scale')[0])
        return step.size in (1, parts.block.var(op.input('Filter')[0]).shape[0])
    return parts.is_parameter(op.input('Filter')[0])


def _reads_linear(parts: _Parts, op: Any) -> bool:
    if not parts.types.linear or op.attr('trans_x') or op.attr('trans_y'):
        return False
    it = parts.quantized.get(id(op))
    weight = op.input('Y')[0]
    if it is not None:
        weight = it.weight.input('X')[0]
        step = parts.model.parameter(it.weight.input('Scale')[0])
        if step.size != 1 and it.weight.attr('quant_axis') != 1:
            return False
    return parts.is_parameter(weight) and len(
        parts.block.var(weight).shape) == 2


def _reads_layer_norm(parts: _Parts, op: Any) -> bool:
    return op.attr('begin_norm_axis') == 2 and all(
        op.input(s) for s in ('Scale', 'Bias'))


def _reads_norm(parts: _Parts, op: Any) -> bool:
    """Only one that follows a convolution, and joins its weights."""
    writer = _followed(parts, op)
    return writer is not None and writer.type in CONVOLUTIONS


def _followed(parts: _Parts, op: Any) -> Optional[Any]:
    """The layer whose result an operator, and no other, reads first."""
    writer = parts.graph.writer(op, 'X')
    if writer is None or writer.type not in WEIGHTED or \
            not parts.can(writer) or len(
                parts.graph.readers_of(writer, op.input('X')[0])) != 1:
        return None
    return writer


def _reads_pooling(parts: _Parts, op: Any) -> bool:
    if op.attr('adaptive') and list(op.attr('ksize')) != [1, 1]:
        return False
    # With a stride of 1 there is nothing to round up.
    return op.attr('pooling_type') in ('max', 'avg') and _has_paddings(op) and (
        not op.attr('ceil_mode') or list(op.attr('strides')) == [1, 1])


def _has_paddings(op: Any) -> bool:
    """Whether its paddings do not depend on the size of the image."""
    return op.attr('padding_algorithm') in ('EXPLICIT', 'VALID') or \
        op.attr('padding_algorithm') == 'SAME' and \
        list(op.attr('strides')) == [1, 1]


def _reads_resize(parts: _Parts, op: Any) -> bool:
    scale = op.attr('scale')
    return not any(
        op.input(s) for s in ('OutSize', 'SizeTensor', 'Scale')
        if s in op.input_names) and not op.attr('align_corners') and len(
            scale) == 2 and all(s == int(s) for s in scale)


def _reads_concat(parts: _Parts, op: Any) -> bool:
    return op.attr('axis') in (1, -3) and not ('AxisTensor' in op.input_names
                                               and op.input('AxisTensor'))


def _reads_binary(parts: _Parts, op: Any) -> bool:
    """An addition or product of two values of one size, or a map's with one of
    one value a channel or a place; or that of a bias and a layer's result."""
    first, second = op.input('X')[0], op.input('Y')[0]
    if parts.is_parameter(first):
        return False
    if parts.is_parameter(second):
        return op.type == 'elementwise_add' and _is_bias(parts, op)
    if op.attr('axis') not in (-1, 0):
        return False
    a, b = (parts.block.var(n).shape for n in (first, second))
    if len(a) == 3:
        return a[1:] == b[1:] and a[2] > 0
    return a[1] > 0 and all(j in (i, 1) for i, j in zip(a[1:], b[1:]))


def _is_bias(parts: _Parts, op: Any) -> bool:
    writer = _followed(parts, op)
    if writer is None:
        return False
    size = parts.block.var(op.input('X')[0]).shape
    shape = tuple(parts.block.var(op.input('Y')[0]).shape)
    if writer.type == LINEAR:
        return shape == (size[2], ) and op.attr('axis') in (-1, 2)
    return shape == (1, size[1], 1, 1) or \
        shape == (size[1], ) and op.attr('axis') == 1


def _function(op: Any) -> Optional[Tuple[str, float, float]]:
    """An activation as oneDNN names it, with its two numbers."""
    if op.type in ('relu', 'sqrt', 'sigmoid'):
        return op.type, 0.0, 0.0
    if op.type == 'leaky_relu':
        return 'relu', op.attr('alpha'), 0.0
    if op.type == 'gelu' and not op.attr('approximate'):
        return 'gelu', 0.0, 0.0
    if op.type == 'silu':
        return 'swish', 1.0, 0.0
    if op.type == 'swish':
        return 'swish', op.attr('beta') if op.has_attr('beta') else 1.0, 0.0
    if op.type == 'hard_sigmoid':
        return 'hard_sigmoid', op.attr('slope'), op.attr('offset')
    if op.type == 'hard_swish' and op.attr('threshold') == op.attr('scale'):
        return ('hard_swish', 1 / op.attr('scale'),
                op.attr('offset') / op.attr('scale'))
    return None


def _reads_function(parts: _Parts, op: Any) -> bool:
    return _function(op) is not None


_FUNCTIONS = ('relu', 'sqrt', 'sigmoid', 'leaky_relu', 'silu', 'swish',
              'hard_sigmoid', 'hard_swish', 'gelu')
_READERS = {
    'conv2d': _reads_convolution,
    'depthwise_conv2d': _reads_convolution,
    LINEAR: _reads_linear,
    'batch_norm': _reads_norm,
    'layer_norm': _reads_layer_norm,
    'pool2d': _reads_pooling,
    'nearest_interp_v2': _reads_resize,
    'concat': _reads_concat,
    'elementwise_add': _reads_binary,
    'elementwise_mul': _reads_binary,
    **dict.fromkeys(_FUNCTIONS, _reads_function),
}


@dataclass
class _Step:
    """A primitive of the network to be: the operators that it stands for, the
    names that it reads and the one that it makes."""
    op: Any
    sources: List[str]
    result: str
    then: List[Tuple] = field(default_factory=list)
    bias: Optional[np.ndarray] = None
    factor: Optional[np.ndarray] = None  # of a batch norm, by channel

    @property
    def others(self) -> List[str]:
        """The values that `then` reads."""
        return [one[1] for one in self.then if one[0] in ('add', 'mul')]


class _Writer:
    """Writes one network's text and puts its operator in."""

    def __init__(self, model: Model, block: Any, parts: _Parts,
                 part: Sequence[Any]) -> None:
        self.model = model
        self.block = block
        self.parts = parts
        self.part = list(part)
        self.members = {id(op) for op in part}
        self.inputs = list(
            dict.fromkeys(n for op in part for n, writer in parts.sources(op)
                          if writer is None or id(writer) not in self.members))
        self.outputs = [
            n for op in part for n in self._results(op) if any(
                self._is_outside(reader)
                for reader in parts.graph.readers_of(op, n))
        ]
        self.steps = self._fuse()
        self.needed = self._forms()
        self.lines: List[str] = []
        self.values: Dict[Tuple[str, Form], int] = {}
        self.count = 0
        self.parameters: List[Tuple[str, np.ndarray]] = []

    @staticmethod
    def _results(op: Any) -> List[str]:
        return op.output(_RESULT.get(op.type, 'Out'))

    def _is_outside(self, reader: Any) -> bool:
        """Whether a reader needs the value itself: it is no operator of this
        network, nor a quantizer that only its convolutions read."""
        if reader.type == 'quantize_linear':
            return any(
                id(r) not in self.members or id(r) not in self.parts.quantized
                for back in self.parts.graph.readers(reader, 'Y')
                for r in self.parts.graph.readers(back, 'Y'))
        return id(reader) not in self.members

    def fits(self) -> bool:
        """Whether the operator can stand where all its inputs are there and
        none of its outputs was read yet."""
        return 0 < len(self.outputs) <= MOST and self._position() is not None

    def _position(self) -> Optional[int]:
        """Index of the operator that it comes before, None if there is none.

        Operators of a block have a fixed order, so one that computes an input
        of the network may come after one that reads an output.
        """
        index, graph = self.parts.index, self.parts.graph
        after = [
            index[id(writer)] for op in self.part
            for _, writer in self.parts.sources(op)
            if writer is not None and id(writer) not in self.members
        ]
        before = [
            index[id(reader)] for op in self.part for n in self._results(op)
            for reader in graph.readers_of(op, n) if self._is_outside(reader)
        ]
        if not before or after and max(after) >= min(before):
            return None
        return min(before)

    def _fuse(self) -> List[_Step]:
        """The steps, with batch norms, biases, activations, additions and
        products joined to what they follow."""
        steps: List[_Step] = []
        made: Set[str] = set(self.inputs)
        done: Set[int] = set()
        for op in self.part:
            if id(op) in done:
                continue
            step = _Step(op, [n for n, _ in self.parts.sources(op)],
                         self._results(op)[0])
            if op.type in WEIGHTED or op.type in ('elementwise_add',
                                                  'elementwise_mul'):
                self._absorb(step, made, done)
            made.add(step.result)
            steps.append(step)
        return steps

    def _absorb(self, step: _Step, made: Set[str], done: Set[int]) -> None:
        last = step.op
        while step.result not in self.outputs:
            readers = self.parts.graph.readers_of(last, step.result)
            if len(readers) != 1 or id(readers[0]) not in self.members:
                return
            op = readers[0]
            if op.type == 'batch_norm':
                value = {
                    n: self.model.parameter(op.input(n)[0]).astype(np.float64)
                    for n in ('Scale', 'Bias', 'Mean', 'Variance')
                }
                step.factor = value['Scale'] / np.sqrt(value['Variance'] +
                                                       op.attr('epsilon'))
                step.bias = value['Bias'] - value['Mean'] * step.factor
            elif op.type in ('elementwise_add', 'elementwise_mul'):
                first, second = op.input('X')[0], op.input('Y')[0]
                if self.parts.is_parameter(second):
                    step.bias = self.model.parameter(second).reshape(-1).astype(
                        np.float64) + (0 if step.bias is None else step.bias)
                else:
                    other = second if first == step.result else first
                    shape = self.block.var(step.result).shape
                    if other == step.result or other not in made or \
                            len(step.then) > 2 or \
                            self.block.var(other).shape != shape:
                        return
                    step.then.append((op.type[len('elementwise_'):], other))
            elif op.type in _FUNCTIONS:
                if len(step.then) > 2:
                    return
                step.then.append(_function(op))
            else:
                return
            done.add(id(op))
            last, step.result = op, self._results(op)[0]

    def _base(self, name: str) -> Form:
        """What a value is in, if no layer alone reads it. Rows stay in float,
        as the sums that a transformer carries on."""
        rows = len(self.block.var(name).shape) == 3
        return BF16 if self.parts.types.bf16 and not rows else FLOAT

    def _forms(self) -> Dict[str, Set[Form]]:
        """The forms in which values are read, by name."""
        needed: Dict[str, Set[Form]] = {
            n: {self._base(n)}
            for n in self.outputs
        }
        for step in reversed(self.steps):
            its = needed.setdefault(step.result, set())
            for name in step.sources:
                form = self._base(name)
                if step.op.type in WEIGHTED:
                    form = self._source_form(step.op)
                elif self._keeps(step) and len(its) == 1:
                    # What it does to values it does to their quantized ones.
                    form, = its
                needed.setdefault(name, set()).add(form)
            for name in step.others:
                needed.setdefault(name, set()).add(self._base(name))
        return needed

    @staticmethod
    def _keeps(step: _Step) -> bool:
        """Whether each value of the result is one of the sources'."""
        op = step.op
        return op.type in ('concat', 'nearest_interp_v2') or \
            op.type == 'pool2d' and op.attr('pooling_type') == 'max'

    def _source_form(self, op: Any) -> Form:
        it = self._quantization(op)
        if it is None:
            return BF16 if self.parts.types.bf16 else FLOAT
        highest = float(
            self.model.parameter(it.source.input('Scale')[0]).reshape(-1)[0])
        if highest > 0:
            least = it.least
            if op.type == LINEAR:
                least = -highest if least is None else max(least, -highest)
            if least is not None and (op.type == LINEAR or least >= 0
                                      or not any(self._paddings(op))):
                scale, shift = source_scale(highest, least, 255)
                if op.type == LINEAR or scale * highest >= 127:
                    return 'u8', scale, shift
        return 's8', 127 / highest if highest > 0 else 1.0, 0

    def _quantization(self, op: Any) -> Optional[Quantized]:
        """How a layer is quantized, None if it runs in float."""
        if op.type == LINEAR and not self.parts.types.int8_linear:
            return None
        return self.parts.quantized.get(id(op))

    def write(self) -> None:
        """Put the operator in, and take out what it stands for."""
        for name in self.inputs:
            self.values[name, _FEED] = self._value('feed')
        for step in self.steps:
            self._write_step(step)
        for name in self.outputs:
            self.lines.append('out %d' % self._in_form(name, self._base(name)))
        position = self._position()
        at = self.block.ops.index(self.parts.graph.ops[position])
        stem = self.outputs[0] + '.network'
        digest = hashlib.sha256()
        names = []
        for suffix, value in self.parameters:
            digest.update(value.tobytes())
            names.append(
                add_parameter(self.model, self.block, '%s.%s' % (stem, suffix),
                              value, str(value.dtype)))
        # The operator knows a network by its text.
        self.lines.insert(0, 'parameters %s' % digest.hexdigest())
        for op in self.part:
            self.block._remove_op(self.block.ops.index(op), sync=False)
            at -= self.parts.index[id(op)] < position
        shapes = {n: list(self.block.var(n).shape) for n in self.outputs}
        # Paddle's names for slots of several tensors end so.
        self.block._insert_op(at,
                              type=OPERATOR % len(self.outputs),
                              inputs={
                                  'X@VECTOR': self.inputs,
                                  'Parameters@VECTOR': names
                              },
                              outputs={
                                  'Out%d' % i: [name]
                                  for i, name in enumerate(self.outputs)
                              },
                              attrs={'text': '\n'.join(self.lines)})
        # The operator cannot tell: what it makes of text Paddle does not know.
        for name, shape in shapes.items():
            self.block.var(name).desc.set_shape(shape)

    def _value(self, kind: str, *words: Any) -> int:
        """Write a step that makes a value. Returns its number."""
        self.lines.append(' '.join([kind, str(self.count)] +
                                   [_word(w) for w in words]))
        self.count += 1
        return self.count - 1

    def _in_form(self, name: str, form: Form) -> int:
        """The number of a value in some form."""
        if (name, form) not in self.values:
            have = next(f for f in (self._base(name), _FEED)
                        if (name, f) in self.values)
            if have == _FEED and form == FLOAT and \
                    len(self.block.var(name).shape) == 3:
                return self.values[name, have]  # lies as it should
            self.values[name, form] = self._value('move', self.values[name,
                                                                      have],
                                                  *form)
        return self.values[name, form]

    def _emitted(self, name: str) -> Form:
        """The form in which a value is made, others are made of it."""
        needed = self.needed[name]
        return next(iter(needed)) if len(needed) == 1 else self._base(name)

    def _write_step(self, step: _Step) -> None:
        op, form = step.op, self._base(step.result)
        if op.type in WEIGHTED:
            source = self._source_form(op)
            # What oneDNN's layers can make of a source of a type.
            if (source[0], self._emitted(
                    step.result)[0]) not in (('f32', 'u8'), ('f32', 's8'),
                                             ('f32', 'bf16'), ('bf16', 'u8'),
                                             ('bf16', 's8')):
                form = self._emitted(step.result)
            value = self._layer(step, source, form)
        elif op.type in ('elementwise_add', 'elementwise_mul'):
            value = self._value(
                'binary',
                *(self._in_form(n, self._base(n))
                  for n in (op.input('X')[0], op.input('Y')[0])),
                op.type[len('elementwise_'):], *form, *self._then(step))
        elif self._keeps(step):
            form = self._emitted(step.result)
            sources = [self._in_form(n, form) for n in step.sources]
            if op.type == 'concat':
                value = self._value('concat', len(sources), *sources)
            elif op.type == 'pool2d':
                value = self._value('pool', *sources, *_pooling(op))
            else:
                value = self._value('resize', *sources, *op.attr('scale'))
        else:
            source = self._in_form(step.sources[0], form)
            if op.type == 'pool2d':
                value = self._value('pool', source, *_pooling(op))
            elif op.type == 'layer_norm':
                value = self._value(
                    'norm', source,
                    *(self._parameter(n, self.model.parameter(op.input(n)[0]))
                      for n in ('Scale', 'Bias')), op.attr('epsilon'))
            else:
                value = self._value('act', source, *_function(op))
        self.values[step.result, form] = value

    def _layer(self, step: _Step, source: Form, form: Form) -> int:
        """Write a layer with weights."""
        op = step.op
        words = [self._in_form(step.sources[0], source), *form]
        words += self._weights(step, source)
        if op.type == LINEAR:
            return self._value('linear', *words, *self._then(step))
        return self._value('conv', *words, op.attr('groups'),
                           *op.attr('strides'), *self._paddings(op),
                           *self._then(step))

    def _paddings(self, op: Any) -> List[int]:
        shape = self.block.var(op.input('Filter')[0]).shape
        return _paddings(op, shape[2:])

    def _then(self, step: _Step) -> List[Any]:
        words: List[Any] = [len(step.then)]
        for one in step.then:
            if one[0] in ('add', 'mul'):
                words += [one[0], self._in_form(one[1], self._base(one[1]))]
            else:
                words += one
        return words

    def _parameter(self, suffix: str, value: np.ndarray) -> int:
        self.parameters.append(
            ('%d.%s' % (len(self.parameters), suffix), value))
        return len(self.parameters) - 1

    def _weights(self, step: _Step, source: Form) -> List[int]:
        """Numbers of weight, bias and scales, output channels first."""
        op = step.op
        it = self._quantization(op)
        linear = op.type == LINEAR
        if it is not None:
            weight = self.model.parameter(it.weight.input('X')[0])
        elif id(op) in self.parts.quantized:
            weight = weight_of(self.model, self.parts.quantized[id(op)].weight)
        else:
            weight = self.model.parameter(
                op.input('Y' if linear else 'Filter')[0])
        if linear:
            weight = weight.T
        channels = len(weight)
        # One value a channel, against the weight's axes.
        along = (channels, ) + (1, ) * (weight.ndim - 1)
        factor = np.ones(channels) if step.factor is None else step.factor
        bias = np.zeros(channels) if step.bias is None else step.bias
        if it is None:
            weight = weight * factor.reshape(along)
            return [
                self._parameter('weight', weight.astype(np.float32)),
                self._parameter('bias', bias.astype(np.float32)), -1
            ]
        size = self.model.parameter(
            it.weight.input('Scale')[0]).reshape(-1).astype(
                np.float64) / 127 * factor
        # Scales are positive, as all kernels take them.
        weight = weight * np.where(size < 0, -1, 1).reshape(along)
        size = np.abs(size)
        _, scale, shift = source
        bias = bias - weight.reshape(channels,
                                     -1).sum(1) * size * (shift / scale)
        return [
            self._parameter('weight', weight.astype(np.int8)),
            self._parameter('bias', bias.astype(np.float32)),
            self._parameter('scales', (size / scale).astype(np.float32))
        ]


def _word(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)


def _paddings(op: Any, kernel: Sequence[int]) -> List[int]:
    """Top, left, bottom, right, for a kernel of this height and width."""
    if op.attr('padding_algorithm') == 'VALID':
        return [0, 0, 0, 0]
    if op.attr('padding_algorithm') == 'SAME':  # the stride is 1
        return [(k - 1) // 2 for k in kernel] + [k // 2 for k in kernel]
    pads = list(op.attr('paddings'))
    if len(pads) == 2:
        return pads * 2
    top, bottom, left, right = pads
    return [top, left, bottom, right]


def _pooling(op: Any) -> List[Any]:
    kind = 'max' if op.attr('pooling_type') == 'max' else \
        'mean' if op.attr('exclusive') else 'mean_with_padding'
    if op.attr('global_pooling') or op.attr('adaptive'):
        return [kind, 0, 0, 1, 1, 0, 0, 0, 0]
    size = op.attr('ksize')
    return [kind, *size, *op.attr('strides'), *_paddings(op, size)]
