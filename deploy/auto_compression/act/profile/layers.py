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
"""Operators with their times, their primitives and how near both came to what
the machine can do."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from ..onednn import Primitive
from . import trace, work
from .logged import Logged
from .machine import Machine

# Operator types that are one kind of work; others are a kind of their own.
_KINDS = {
    'conv2d': 'convolution',
    'depthwise_conv2d': 'depthwise convolution',
    'conv2d_transpose': 'deconvolution',
    'fc': 'linear',
    'mul': 'linear',
    'matrix_nms': 'nms',
    'grid_sampler': 'grid_sample',
    'silu': 'activation',
    'swish': 'activation',
    'mish': 'activation',
    'gelu': 'activation',
    'sigmoid': 'activation',
    'hard_sigmoid': 'activation',
    'hard_swish': 'activation',
    'relu': 'activation',
    'relu6': 'activation',
    'leaky_relu': 'activation',
    # oneDNN's, of operators that are several primitives.
    'convolution': 'convolution',
    'inner_product': 'linear',
    'binary': 'elementwise',
    'eltwise': 'activation',
    'pooling': 'pool2d',
    'resampling': 'nearest_interp',
}
# Kinds with a weight that can be quantized.
WEIGHTED = ('convolution', 'depthwise convolution', 'deconvolution', 'linear')
_PREFIXES = (('elementwise_', 'elementwise'), ('reduce_', 'reduction'),
             ('multiclass_nms', 'nms'), ('quantize', 'quantize'),
             ('dequantize', 'quantize'), ('requantize',
                                          'quantize'), ('fake_', 'quantize'))
# Types that Paddle 2.6.2 runs on oneDNN as reorders and nothing else.
_BY_REORDER = ('quantize', 'dequantize', 'requantize', 'transpose',
               'fused_transpose', 'reshape', 'squeeze', 'unsqueeze', 'flatten',
               'split', 'slice', 'cast', 'pad3d', 'reorder')
_INT8 = {'s8', 'u8'}


def kind_of(operator_type: str, primitive: Optional[Primitive] = None) -> str:
    """The kind of work that an operator does.

    Args:
        operator_type: Paddle's, as it ran.
        primitive: its main one, which tells depthwise convolutions.
    """
    plain = re.sub(r'(_v)?\d+$', '', operator_type)
    for name in (operator_type, operator_type.replace('fused_', '', 1)):
        if name in _KINDS:
            kind = _KINDS[name]
            if kind == 'convolution' and primitive and primitive.depthwise:
                return 'depthwise convolution'
            return kind
        for prefix, kind in _PREFIXES:
            if name.startswith(prefix):
                return kind
    return plain.replace('fused_', '', 1).rstrip('_')


@dataclass(frozen=True)
class Layer:
    """One operator of a model, or one primitive of an operator that is several
    (see `parts`); milliseconds of wall time."""
    type: str  # Paddle's operator type, or oneDNN's kind of primitive
    ms: float
    outputs: Tuple[Tuple[str, trace.Shape], ...]
    primitives: Tuple[Primitive, ...]  # with times of their own run
    weight: str = ''  # name of its weight, '' if it has none

    @property
    def _output(self) -> Tuple[str, trace.Shape]:
        """Its largest output: batch normalization, for one, also writes back
        its statistics."""
        return max(self.outputs,
                   key=lambda output: math.prod(output[1]),
                   default=('', ()))

    @property
    def name(self) -> str:
        """Of its largest output: Paddle's programs have no other name for an
        operator. '' if it has none."""
        return self._output[0]

    @property
    def shape(self) -> trace.Shape:
        """Of its largest output."""
        return self._output[1]

    @property
    def main(self) -> Optional[Primitive]:
        """The primitive that does the work: the longest, but for reorders
        around it. None: Paddle's own code ran, or an operator of ops/, maybe
        after a reorder."""
        if self.type.startswith(_BY_REORDER):
            found = list(self.primitives)
        else:
            found = [p for p in self.primitives if p.kind != 'reorder']
        return max(found, key=lambda p: p.milliseconds, default=None)

    @property
    def kind(self) -> str:
        if self.type == 'reorder' and self.converts:
            return 'quantize'
        return kind_of(self.type, self.main)

    @property
    def implementation(self) -> str:
        """oneDNN's name of the code that ran, 'paddle' if it is not
        oneDNN's."""
        return self.main.implementation if self.main else 'paddle'

    @property
    def computed_in(self) -> str:
        """'int8', 'bf16', 'fp32', or the types where they are mixed otherwise;
        '' if Paddle's own code ran, whose types are not known."""
        if self.main is None:
            return ''
        types = {self.main.source, self.main.weights} - {None}
        if types and types <= _INT8:
            return 'int8'
        if len(types) == 1:
            only = types.pop()
            return {'f32': 'fp32'}.get(only, only)
        return ' '.join(sorted(types))

    @property
    def reference(self) -> bool:
        """Whether oneDNN had nothing but its reference code."""
        return self.implementation.startswith('ref')

    @property
    def reorder_ms(self) -> float:
        """Its share that went into reorders: all of it, for an operator that
        is one."""
        if self.main and self.main.kind == 'reorder':
            return self.ms
        reorders = sum(p.milliseconds for p in self.primitives
                       if p.kind == 'reorder')
        if not self.main:
            return min(reorders, self.ms)
        # oneDNN's log is of another run.
        total = sum(p.milliseconds for p in self.primitives)
        return self.ms * reorders / total if total else 0.0

    @property
    def converts(self) -> bool:
        """Whether it is a reorder between float and int8."""
        return self.main is not None and self.main.kind == 'reorder' and \
            (self.main.source in _INT8) != (self.main.destination in _INT8)

    @property
    def gflop(self) -> float:
        return sum(map(work.gflop, self.primitives))

    def ideal_ms(self, machine: Machine) -> Optional[float]:
        """Least time by the roofline. None: its primitives do not say what
        they do, or compute in a type whose rate was not measured."""
        if self.main is None or self.computed_in not in ('int8', 'fp32'):
            return None
        moved = work.megabytes(self.main)
        if moved is None:
            return None
        return machine.ideal_ms(work.gflop(self.main), moved,
                                self.computed_in == 'int8')


def join(timed: Sequence[trace.Operator],
         logged: Sequence[Logged]) -> Tuple[Tuple[Layer, ...], bool]:
    """Bring together what the profiler and the log say of one model.

    Args:
        timed: operators with times.
        logged: operators with primitives, of another process.

    Returns:
        the layers, and whether both saw the same operators in the same order.
        If they did not, the layers have neither outputs nor primitives.
    """
    same = [o.type for o in timed] == [o.type for o in logged]
    if not same:
        return tuple(Layer(o.type, o.ms, (), ()) for o in timed), False
    found: List[Layer] = []
    for one, other in zip(timed, logged):
        found += parts(Layer(one.type, one.ms, other.outputs, other.primitives))
    return tuple(found), True


def parts(layer: Layer) -> List[Layer]:
    """A layer, or what it consists of: an operator of ops/ may run a whole
    network of primitives.

    Each primitive is a layer then, named by its place in the operator, with
    the time that oneDNN's log gives; last comes what is left of the operator's
    time. Where the log, which is of another run, says more than the operator
    took, its times are scaled down.
    """
    work_done = [p for p in layer.primitives if p.kind != 'reorder']
    if len(work_done) < 2:
        return [layer]
    total = sum(p.milliseconds for p in layer.primitives)
    scale = min(1.0, layer.ms / total) if total else 0.0
    found = [
        Layer(p.kind, p.milliseconds * scale,
              (('%s #%d' % (layer.name, index), work.shape(p)), ), (p, ))
        for index, p in enumerate(layer.primitives)
    ]
    rest = layer.ms - total * scale
    return found + [Layer(layer.type, rest, layer.outputs, ())]


def counterparts(first: Sequence[Layer],
                 second: Sequence[Layer]) -> Dict[int, Layer]:
    """Which layer of one model is which of another of the same network.

    Passes rename what they touch. So where both models write the same shapes
    in the same order with the operators of one kind, these are paired by their
    order; else by the name of what they write, if it is unique.

    Returns:
        {index in second: layer of first}.
    """
    found = {}
    kinds = {layer.kind for layer in second}
    for kind in kinds:
        ours = [layer for layer in first if layer.kind == kind]
        places = [i for i, layer in enumerate(second) if layer.kind == kind]
        if [x.shape for x in ours] == [second[i].shape for i in places] and \
                all(x.shape for x in ours):
            found.update(zip(places, ours))
            continue
        names = Counter(x.name for x in ours)
        by_name = {x.name: x for x in ours if names[x.name] == 1 and x.name}
        found.update((i, by_name[second[i].name]) for i in places
                     if second[i].name in by_name)
    return found


def known_name(layer: Layer, counterpart: Optional[Layer]) -> str:
    """A layer's name, or its counterpart's where a pass of Paddle's renamed it:
    such names have slashes (dequantize/in/0)."""
    if counterpart and '/' in layer.name:
        return counterpart.name
    return layer.name


@dataclass(frozen=True)
class Kind:
    """The layers of one kind together."""
    name: str
    count: int
    ms: float
    int8: int  # how many computed in int8
    reorder_ms: float
    reference_ms: float
    gflop: float
    roofline: Optional[float]  # ideal time / time, of those that have both


def by_kind(layers: Sequence[Layer], machine: Machine) -> List[Kind]:
    """Sums by kind, the slowest first."""
    groups: Dict[str, List[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.kind, []).append(layer)
    found = []
    for name, group in groups.items():
        pairs = [(layer.ideal_ms(machine), layer.ms) for layer in group]
        known = [(ideal, ms) for ideal, ms in pairs if ideal is not None]
        spent = sum(ms for _, ms in known)
        found.append(
            Kind(name, len(group), sum(layer.ms for layer in group),
                 sum(layer.computed_in == 'int8' for layer in group),
                 sum(layer.reorder_ms for layer in group),
                 sum(layer.ms for layer in group if layer.reference),
                 sum(layer.gflop for layer in group),
                 sum(ideal for ideal, _ in known) / spent if spent else None))
    return sorted(found, key=lambda kind: -kind.ms)
