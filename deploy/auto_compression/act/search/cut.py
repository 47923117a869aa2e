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
"""A quantized model with some of its layers back in float."""

from typing import Any, Collection, List, Optional, Tuple

import numpy as np

from .. import runtime
from ..errors import unknown
from ..program.fold import fold
from ..program.graph import Graph
from ..program.inspect import (
    WEIGHT_INPUT,
    dequantized,
    is_observer,
    quantized_ops,
)
from ..program.model import Model, static_mode
from ..program.observers import strip_observers
from ..program.unsigned import add_parameter, prune

_QUANTIZERS = ('quantize_linear', 'dequantize_linear')


def to_float(model: Model,
             weights: Collection[str],
             source: Optional[Model] = None,
             where: str = 'the model') -> int:
    """Take the quantization of some layers out.

    A layer reads what is quantized for it as it was before, and a weight in
    float; so does what reads that value beside the layer, if no other layer
    needs it quantized. Ranges that observers carry stay.

    Args:
        model: as run.py saves it; changed in place.
        weights: names of the layers' weights.
        source: the float model it was made from, for its weights; changed.
            None: the dequantized ones, as a trained model has them.
        where: the model, for messages.

    Returns:
        number of operators in float that were quantized.

    Raises:
        UserError: a weight that is of no quantized layer.
    """
    if source is not None:
        fold(source)
    done = set()
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            layers, others = _layers(model, block)
            known = {layer.weight for layer in layers}
            done |= known & set(weights)
            chosen = [x for x in layers if x.weight in weights]
            kept = {x.first for x in layers if x.weight not in weights}
            for layer in chosen:
                _free(model, block, layer, source)
            for op, name, first, origin in others:
                if first not in kept and any(x.first == first for x in chosen):
                    op._rename_input(name, origin)
            changed += len(chosen)
            prune(block)
    wrong = sorted(set(weights) - done)
    if wrong:
        raise unknown('weight of a quantized layer', wrong[0], _names(model),
                      where)
    return changed


def different(one: Model, other: Model) -> List[str]:
    """Names of the weights of quantized layers that two models do not have
    alike: in one of them alone, or with other values, scales or ranges.

    Args:
        one, other: changed: they lose their observers.
    """
    found = []
    for model in (one, other):
        strip_observers(model)
        found.append({
            weight.input('X')[0]: [
                model.parameter(name)
                for name in (weight.input('X')[0], weight.input('Scale')[0],
                             quantize.input('Scale')[0])
            ]
            for _, weight, quantize in dequantized(model)
        })
    first, second = found
    return sorted(n for n in {*first, *second}
                  if n not in first or n not in second
                  or not all(map(np.array_equal, first[n], second[n])))


class _Layer:
    """A quantized operator, and where its quantized input comes from."""

    def __init__(self, graph: Graph, op: Any) -> None:
        slot = WEIGHT_INPUT[op.type]
        self.op = op
        self.slot = slot
        self.name = op.input('Input' if slot == 'Filter' else 'X')[0]
        self.dequantize = graph.writer_of(op, op.input(slot)[0])
        self.weight: str = self.dequantize.input('X')[0]
        self.first, self.origin, self.whole = _origin(graph, op, self.name)


def _origin(graph: Graph, op: Any, name: str) -> Tuple[int, str, bool]:
    """Of a value behind quantizers: the one that made it (its place in the
    program, -1 if observers are all there are), what that reads, and whether it
    can be read under that name where the operator stands."""
    quantizer = None
    at, read = op, name
    while True:
        writer = graph.writer_of(at, read)
        if writer is None or writer.type not in _QUANTIZERS:
            break
        if not is_observer(writer) and writer.type == 'quantize_linear':
            quantizer = writer
        at, read = writer, writer.input('X')[0]
    place = graph.ops.index(op)
    begin = graph.ops.index(at)
    whole = not any(read in x.output_arg_names
                    for x in graph.ops[begin + 1:place])
    first = -1 if quantizer is None else graph.ops.index(quantizer)
    return first, read, whole


def _layers(model: Model,
            block: Any) -> Tuple[List[_Layer], List[Tuple[Any, str, int, str]]]:
    """The quantized layers of a block, and what else reads their inputs:
    (operator, name, quantizer, origin)."""
    graph = Graph(block)
    wanted = {op.output_arg_names[0] for op in quantized_ops(model)}
    layers = [
        _Layer(graph, op) for op in graph.ops
        if op.type in WEIGHT_INPUT and op.output_arg_names[0] in wanted
    ]
    of_layers = {id(layer.op) for layer in layers}
    firsts = {layer.first for layer in layers}
    others = []
    for op in graph.ops:
        if op.type in _QUANTIZERS or id(op) in of_layers:
            continue
        for name in op.input_arg_names:
            writer = graph.writer_of(op, name)
            if writer is None or writer.type != 'dequantize_linear' or \
                    not writer.input('X')[0]:
                continue
            if graph.writer_of(writer, writer.input('X')[0]) is None:
                continue  # a weight
            first, origin, _ = _origin(graph, op, name)
            if first in firsts:
                others.append((op, name, first, origin))
    return layers, others


def _free(model: Model, block: Any, layer: _Layer,
          source: Optional[Model]) -> None:
    origin = layer.origin
    if not layer.whole:
        origin = layer.op.output_arg_names[0] + '.float_input'
        block.create_var(name=origin, dtype='float32')
        block._insert_op(layer.first,
                         type='assign',
                         inputs={'X': [layer.origin]},
                         outputs={'Out': [origin]})
    layer.op._rename_input(layer.name, origin)
    value = _float_weight(model, layer, source)
    name = layer.weight + '.float'
    if not block.has_var(name):
        add_parameter(model, block, name, value)
    layer.op._rename_input(layer.op.input(layer.slot)[0], name)


def _float_weight(model: Model, layer: _Layer,
                  source: Optional[Model]) -> np.ndarray:
    if source is not None:
        output = layer.op.output_arg_names[0]
        for op in source.ops:
            if op.type in WEIGHT_INPUT and output in op.output_arg_names:
                return source.parameter(op.input(WEIGHT_INPUT[op.type])[0])
    return dequantized_weight(model, layer.dequantize)


def _names(model: Model) -> List[str]:
    return [
        layer.weight for block in model.program.blocks
        for layer in _layers(model, block)[0]
    ]


def dequantized_weight(model: Model, weight: Any) -> np.ndarray:
    """A weight as dequantize_linear computes it, in its order of operations."""
    integers = model.parameter(weight.input('X')[0]).astype(np.float32)
    scale = model.parameter(weight.input('Scale')[0]).reshape(-1)
    if scale.size > 1:
        axis = weight.attr('quant_axis')
        scale = np.expand_dims(scale,
                               [i for i in range(integers.ndim) if i != axis])
    return integers * scale.astype(np.float32) / np.float32(127)
