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
"""A quantized program computed in float, in which each layer's quantization is
switched on and off without building anything anew.

A layer's input becomes on * quantized + off * float, where on and off are 0 and
1 in the scope: exact, as long as the values are finite. Its weight is a float
parameter that is set.
"""

from dataclasses import dataclass
from typing import (
    Any,
    Collection,
    Dict,
    FrozenSet,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from .. import runtime
from ..data import Batch
from ..errors import UserError
from ..program.fold import fold
from ..program.graph import Graph
from ..program.inspect import WEIGHT_INPUT, dequantized
from ..program.model import Model, ModelFiles, static_mode
from ..program.observers import strip_observers

_LIMIT = np.float32(127)
_SUFFIX = '.switched'


@dataclass(frozen=True)
class QuantizedLayer:
    """An operator with a quantized weight.

    Attributes:
        weight: name of its weight, by which the layer goes everywhere:
            `QuantAware.float_weights` takes it.
        type: of the operator.
        input, output: variables.
        shape: of the weight.
        highest: its input's range is -highest to highest.
    """
    weight: str
    type: str
    input: str
    output: str
    shape: Tuple[int, ...]
    highest: float


@dataclass(frozen=True)
class _Weight:
    """A weight's two values, and the parameters that layers read."""
    quantized: np.ndarray
    plain: np.ndarray
    parameters: List[str]


@dataclass(frozen=True)
class _Switch:
    """Parameters of 0 and 1. It is on if one of these weights' layers is."""
    on: str
    off: str
    weights: FrozenSet[str]


class Simulation:
    """A quantized model in which layers are switched.

    `layers` are in program order. Layers that share a weight are one by name.
    """

    def __init__(self,
                 quantized: ModelFiles,
                 float_model: Optional[ModelFiles] = None) -> None:
        """
        Args:
            quantized: a quantized model.
            float_model: the one it was made from, whose weights a layer has
                that is switched off. None: the dequantized ones, as of a model
                that was trained.

        Raises:
            UserError: a model cannot be read, holds no quantization, or was
                not made from that float model.
        """
        model = Model.load(quantized)
        strip_observers(model)
        found = dequantized(model)
        if not found:
            raise UserError("'%s' holds no quantized layer; make an int8 model "
                            'with run.py' % quantized.directory)
        source = Model.load(float_model) if float_model else None
        if source:
            fold(source)
        self._model = model
        self.inputs: List[str] = model.inputs()
        self._outputs = [v.name for v in model.outputs()]
        self._weights: Dict[str, _Weight] = {}
        self._switches: List[_Switch] = []
        others = _other_readers(model, found)
        layers = []
        with static_mode(runtime.import_paddle()):
            for op, weight, quantize in found:
                layers.append(_layer(model, op, weight, quantize))
                self._switch(op, layers[-1].input, _source(op), quantize,
                             [layers[-1].weight])
                self._keep(layers[-1], op, weight, source, float_model)
            for op, name, quantize, weights in others:
                self._switch(op,
                             quantize.input('X')[0], name, quantize, weights)
            self._prune()
        self.layers: Tuple[QuantizedLayer, ...] = tuple(layers)
        self._copies = self._copy_outputs()
        self._now: Set[str] = set()
        self.set([layer.weight for layer in layers])
        paddle = runtime.import_paddle()
        self._executor = paddle.static.Executor(paddle.CPUPlace())

    def set(self, quantized: Collection[str]) -> None:
        """Choose the layers that are quantized.

        Args:
            quantized: names of their weights; all other layers are float.

        Raises:
            KeyError: a name that is of no layer.
        """
        wanted = set(quantized)
        for name in sorted(wanted ^ self._now):
            weight = self._weights[name]
            for parameter in weight.parameters:
                self._model.set_parameter(
                    parameter,
                    weight.quantized if name in wanted else weight.plain)
        for switch in self._switches:
            on = bool(wanted & switch.weights)
            if on != bool(self._now & switch.weights):
                self._model.set_parameter(switch.on, np.float32([on]))
                self._model.set_parameter(switch.off, np.float32([not on]))
        self._now = wanted

    def run(
        self, feed: Batch, fetch: Sequence[str] = ()
    ) -> Tuple[List[np.ndarray], Dict[str, np.ndarray]]:
        """Run one batch.

        Args:
            feed: by the model's input names.
            fetch: outputs of layers that are wanted too. Each new choice of
                them is prepared by Paddle once.

        Returns:
            the model's outputs, and {output of a layer: its value}.
        """
        paddle = runtime.import_paddle()
        names = self._outputs + [self._copies.get(n, n) for n in fetch]
        with static_mode(paddle), paddle.static.scope_guard(self._model.scope):
            values = self._executor.run(self._model.program,
                                        feed={n: feed[n]
                                              for n in self.inputs},
                                        fetch_list=names,
                                        return_numpy=False)
        found = [np.array(v) for v in values]
        count = len(self._outputs)
        return found[:count], dict(zip(fetch, found[count:]))

    def _switch(self, op: Any, plain: str, simulated: str, quantize: Any,
                weights: Collection[str]) -> None:
        """Let an operator read a quantized value through a switch."""
        block = op.block
        key = '%s.%s%s' % (op.output_arg_names[0], simulated, _SUFFIX)
        on, off = (self._parameter(block, key + end, np.float32([0]))
                   for end in ('.on', '.off'))
        self._switches.append(_Switch(on, off, frozenset(weights)))
        made = [
            block.create_var(name=key + end,
                             shape=block.var(plain).shape,
                             dtype='float32').name
            for end in ('.float', '.int8', '')
        ]
        # Where it is quantized: the name may be written again after that.
        self._insert(block, quantize, 'elementwise_mul', plain, off, made[0])
        self._insert(block, op, 'elementwise_mul', simulated, on, made[1])
        self._insert(block, op, 'elementwise_add', made[1], made[0], made[2])
        op._rename_input(simulated, made[2])

    @staticmethod
    def _insert(block: Any, before: Any, kind: str, x: str, y: str,
                out: str) -> None:
        block._insert_op(block.ops.index(before),
                         type=kind,
                         inputs={
                             'X': [x],
                             'Y': [y]
                         },
                         outputs={'Out': [out]},
                         attrs={'axis': -1})

    def _parameter(self, block: Any, name: str, value: np.ndarray) -> str:
        block.create_var(name=name,
                         shape=value.shape,
                         dtype='float32',
                         persistable=True)
        self._model.scope.var(name)
        self._model.set_parameter(name, value)
        return name

    def _keep(self, layer: QuantizedLayer, op: Any, weight: Any,
              source: Optional[Model],
              float_model: Optional[ModelFiles]) -> None:
        """Both values of a layer's weight, and its parameter."""
        slot = WEIGHT_INPUT[op.type]
        if layer.weight not in self._weights:
            value = dequantized_weight(self._model, weight)
            plain = value
            if source is not None:
                plain = _float_weight(source, layer, float_model.directory)
            self._weights[layer.weight] = _Weight(value, plain, [])
        kept = self._weights[layer.weight]
        # One an operator: an input is renamed for all readers of a name.
        name = layer.output + _SUFFIX + '.weight'
        kept.parameters.append(self._parameter(op.block, name, kept.plain))
        op._rename_input(op.input(slot)[0], name)

    def _prune(self) -> None:
        """Remove what dequantized the weights, if nothing reads it any more."""
        for block in self._model.program.blocks:
            read = {n for op in block.ops for n in op.input_arg_names}
            for index in reversed(range(len(block.ops))):
                op = block.ops[index]
                if op.type in ('feed', 'fetch') or \
                        op.type == 'dequantize_linear' and \
                        op.output('Y')[0] not in read:
                    block._remove_op(index, sync=False)
            block._sync_with_cpp()

    def _copy_outputs(self) -> Dict[str, str]:
        """Copies of outputs whose names are written again: {output: copy}."""
        made = {}
        wanted = {layer.output for layer in self.layers}
        with static_mode(runtime.import_paddle()):
            for block in self._model.program.blocks:
                writers: Dict[str, List[Any]] = {}
                for op in block.ops:
                    for name in op.output_arg_names:
                        writers.setdefault(name, []).append(op)
                for name in sorted(wanted & set(writers)):
                    if len(writers[name]) == 1:
                        continue
                    layer = next(o for o in writers[name]
                                 if o.type in WEIGHT_INPUT)
                    copy = block.create_var(name=name + _SUFFIX + '.copy',
                                            dtype='float32').name
                    block._insert_op(block.ops.index(layer) + 1,
                                     type='assign',
                                     inputs={'X': [name]},
                                     outputs={'Out': [copy]})
                    made[name] = copy
                block._sync_with_cpp()
        return made


def _source(op: Any) -> str:
    """The variable that an operator with a weight reads beside it."""
    return op.input('Input' if WEIGHT_INPUT[op.type] == 'Filter' else 'X')[0]


def _layer(model: Model, op: Any, weight: Any, quantize: Any) -> QuantizedLayer:
    name = weight.input('X')[0]
    return QuantizedLayer(
        name, op.type,
        quantize.input('X')[0], op.output_arg_names[0],
        tuple(model.parameter(name).shape),
        float(model.parameter(quantize.input('Scale')[0]).max()))


def _other_readers(
    model: Model,
    found: Sequence[Tuple[Any, Any,
                          Any]]) -> List[Tuple[Any, str, Any, List[str]]]:
    """Operators that read a quantized value and are no layers, as an addition
    behind a layer's input: (operator, name, its quantize_linear, weights of the
    layers that it is quantized for)."""
    graphs = {id(block): Graph(block) for block in model.program.blocks}
    layers = {id(op) for op, _, _ in found}
    made: Dict[Tuple[int, str], Tuple[Any, str, Any, List[str]]] = {}
    for op, weight, quantize in found:
        graph, name = graphs[id(op.block)], _source(op)
        for reader in graph.readers_of(graph.writer_of(op, name), name):
            if id(reader) not in layers:
                made.setdefault((id(reader), name),
                                (reader, name, quantize, []))[3].append(
                                    weight.input('X')[0])
    return list(made.values())


def dequantized_weight(model: Model, weight: Any) -> np.ndarray:
    """A weight as dequantize_linear computes it, in its order of operations."""
    integers = model.parameter(weight.input('X')[0]).astype(np.float32)
    scale = model.parameter(weight.input('Scale')[0]).reshape(-1)
    if scale.size > 1:
        axis = weight.attr('quant_axis')
        scale = np.expand_dims(scale,
                               [i for i in range(integers.ndim) if i != axis])
    return integers * scale.astype(np.float32) / _LIMIT


def _float_weight(source: Model, layer: QuantizedLayer,
                  directory: str) -> np.ndarray:
    """A layer's weight in the float model.

    Raises:
        UserError: there is no such layer.
    """
    for op in source.ops:
        if op.type in WEIGHT_INPUT and layer.output in op.output_arg_names:
            value = source.parameter(op.input(WEIGHT_INPUT[op.type])[0])
            if value.shape == layer.shape:
                return value
    raise UserError(
        "the quantized model was not made from '%s', which has no %s with "
        "weight '%s' of shape %s; name the float model that it was made from" %
        (directory, layer.type, layer.weight, list(layer.shape)))
