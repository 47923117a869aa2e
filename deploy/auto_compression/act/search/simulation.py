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
"""A quantized program in float arithmetic, in which each layer's quantization
is switched while it is loaded.

What to quantize is asked a few hundred times of a model, and to quantize it
anew takes minutes. Here each layer reads its input through a switch: the
quantized value or the value itself, whichever a number in the scope says; its
weight is a parameter that is overwritten. Nothing is rebuilt in between.
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
    Tuple,
)

import numpy as np

from .. import runtime
from ..data import Batch
from ..errors import UserError, unknown
from ..program.fold import fold
from ..program.graph import Graph
from ..program.inspect import WEIGHT_INPUT, is_quantized
from ..program.model import Model, ModelFiles, static_mode
from ..program.observers import strip_observers
from ..program.unsigned import add_parameter


@dataclass(frozen=True)
class QuantizedLayer:
    """An operator whose weight and input are quantized.

    Attributes:
        weight: name of its weight, which is the layer's name and what
            QuantAware.float_weights takes. Layers may share one.
        type: of the operator.
        input: variable that it reads, before quantization.
        output: variable that it writes.
        shape: of the weight.
        highest: its input's range; 127 steps lead there from 0.
    """
    weight: str
    type: str
    input: str
    output: str
    shape: Tuple[int, ...]
    highest: float


@dataclass(frozen=True)
class Place:
    """Where a layer is in the program.

    Attributes:
        name: of its weight.
        op: itself.
        weight: the dequantize_linear of its weight, until that is removed.
        source: the dequantize_linear of its input.
    """
    name: str
    op: Any
    weight: Any
    source: Any

    @property
    def weight_slot(self) -> str:
        return WEIGHT_INPUT[self.op.type]


class Simulation:
    """A quantized program in float arithmetic in which each layer's
    quantization is switched without a rebuild. At first all are quantized.

    With all layers quantized it computes what the quantized program does, bit
    by bit, and with none what the float model does. With some, it is what
    post-training quantization makes with the others in
    QuantAware.float_weights and weights rounded to nearest.

    What reads a quantized value and is no layer, as an addition behind one in
    a small RT-DETR that PaddleSlim saved, gets it quantized if one of the
    layers does that read the same.

    Attributes:
        layers: in program order.
        weights: their weights' names, each once, in program order.
        trained: whether the float model's parameters were trained further, so
            that they are of no use here: a layer that is switched off then has
            the quantized model's own weight, on its int8 grid.
        inputs, outputs: names of the program's.
        model: the program that runs, with its parameters.
        places: of the layers in it.
        quantized_values: {weight: what the quantized program makes of its
            integers}, float32.
    """

    def __init__(self,
                 quantized: ModelFiles,
                 float_model: Optional[ModelFiles] = None) -> None:
        """
        Args:
            quantized: a model that run.py made.
            float_model: what it was made from. None: a layer that is switched
                off keeps the weight that int8 made of its own.

        Raises:
            UserError: a model is not what it should be, or the one was not
                made from the other.
        """
        self.model = model = Model.load(quantized)
        where = quantized.directory
        if not is_quantized(model):
            raise UserError("'%s' holds no quantized layer; name a model that "
                            'run.py made' % where)
        strip_observers(model)
        self.places = find(model, where)
        self._paddle = runtime.import_paddle()
        self._executor = self._paddle.static.Executor(self._paddle.CPUPlace())
        self.inputs = model.inputs()
        self.outputs = [v.name for v in model.outputs()]
        graph = Graph(model.program.global_block())
        self.layers = tuple(
            _layer(model, graph, place) for place in self.places)
        self.weights = tuple(dict.fromkeys(p.name for p in self.places))
        with static_mode(self._paddle):
            self.quantized_values = self._dequantized(self.places)
            self._float, self.trained = dict(self.quantized_values), False
            if float_model is not None:
                self._compare(float_model, where)
            self._switches = _put_switches(model, self.places)
            self._parameters = _put_parameters(model, self.places,
                                               self.quantized_values)
        self._on = set(self.weights)
        self.set(self.weights)

    @property
    def quantized(self) -> List[str]:
        """Weights of the layers that are quantized now, in program order."""
        return [w for w in self.weights if w in self._on]

    def set(self, quantized: Collection[str]) -> None:
        """Quantize these layers and no others.

        Args:
            quantized: their weights' names.

        Raises:
            UserError: no layer has such a weight.
        """
        wanted = set(quantized)
        for name in sorted(wanted - set(self.weights)):
            raise unknown('weight of a quantized layer', name, self.weights,
                          'simulation')
        for name in self.weights:
            if (name in self._on) != (name in wanted):
                values = self.quantized_values if name in wanted else \
                    self._float
                self.model.set_parameter(self._parameters[name], values[name])
        for weights, number in self._switches.items():
            self.model.set_parameter(
                number, np.array([not weights.isdisjoint(wanted)], np.int32))
        self._on = wanted

    def run(
        self, feed: Batch, fetch: Sequence[str] = ()
    ) -> Tuple[List[np.ndarray], Dict[str, np.ndarray]]:
        """Run the program once.

        Args:
            feed: the model's inputs by its own names; more is left out.
            fetch: further variables to give. Of a name that is written more
                than once it is the last value. Another list than before costs
                one preparation of the program; eight are kept.

        Returns:
            the model's outputs, in its order, and {name: what was fetched}.
        """
        names = [*self.outputs, *fetch]
        with static_mode(self._paddle):
            # What carries the rows of each image (LoD) is no numpy array by
            # itself.
            values = self._executor.run(self.model.program,
                                        feed={n: feed[n]
                                              for n in self.inputs},
                                        fetch_list=names,
                                        scope=self.model.scope,
                                        return_numpy=False)
        arrays = [np.array(v) for v in values]
        count = len(self.outputs)
        return arrays[:count], dict(zip(fetch, arrays[count:]))

    def _dequantized(self, places: Sequence[Place]) -> Dict[str, np.ndarray]:
        """{weight: what the program makes of its integers}, float32."""
        block = self.model.program.global_block()
        names = {p.name: p.weight.output('Y')[0] for p in places}
        part = self.model.program._prune([block.var(n) for n in names.values()])
        values = self._executor.run(part,
                                    fetch_list=list(names.values()),
                                    scope=self.model.scope)
        return dict(zip(names, values))

    def _compare(self, files: ModelFiles, where: str) -> None:
        """Take the weights from the float model, if they belong here.

        Raises:
            UserError: it is not the model that the other was made from.
        """

        def other(problem: str) -> UserError:
            return UserError(
                "'%s' was not made from '%s': %s; name the float model that "
                'it was made from' % (where, files.directory, problem))

        source = Model.load(files)
        if is_quantized(source):
            raise UserError("'%s' is quantized itself; name the float model "
                            "that '%s' was made from" %
                            (files.directory, where))
        fold(source)  # as before quantization
        there = {v.name for v in source.persistable()}
        far = 0
        for name, value in self.quantized_values.items():
            if name not in there:
                raise other("that has no weight '%s'" % name)
            found = source.parameter(name)
            if found.shape != value.shape:
                raise other("weight '%s' has shape %s there and %s here" %
                            (name, list(found.shape), list(value.shape)))
            far += np.linalg.norm(found - value) > np.linalg.norm(found)
            self._float[name] = found
        # Rounding changes a weight by a hundredth of its norm, and training
        # for int8 hardly by more; of two networks of another training each
        # weight differs by more than its norm.
        if 2 * far > len(self.quantized_values):
            raise other('%d of its %d quantized weights have other values' %
                        (far, len(self.quantized_values)))
        here = {v.name for v in self.model.persistable()}
        self.trained = not all(
            np.array_equal(source.parameter(n), self.model.parameter(n))
            for n in here & there - set(self.quantized_values))
        if self.trained:
            self._float = dict(self.quantized_values)


def load_quantized(files: ModelFiles) -> Model:
    """Read a quantized model.

    Raises:
        UserError: it cannot be read, or is none.
    """
    model = Model.load(files)
    if not is_quantized(model):
        raise UserError("'%s' is a float model; name an int8 model that run.py "
                        'made with --model_path' % files.directory)
    return model


def find(model: Model, where: str) -> List[Place]:
    """The quantized layers of a program without observers, in its order.

    Args:
        model: as run.py made it.
        where: its directory, for messages.

    Raises:
        UserError: there is none.
    """
    graph = Graph(model.program.global_block())
    places = []
    for op in graph.ops:
        if op.type not in WEIGHT_INPUT:
            continue
        slot = WEIGHT_INPUT[op.type]
        weight = graph.writer(op, slot)
        source = graph.writer(op, 'Input' if slot == 'Filter' else 'X')
        if _quantizes(graph, source) and weight is not None and \
                weight.type == 'dequantize_linear' and \
                graph.writer(weight, 'X') is None:
            places.append(Place(weight.input('X')[0], op, weight, source))
    if not places:
        raise UserError("'%s' holds no quantized layer with a weight; name a "
                        'model that run.py made' % where)
    return places


def _quantizes(graph: Graph, op: Optional[Any]) -> bool:
    """Whether it ends a pair that quantizes an activation."""
    if op is None or op.type != 'dequantize_linear':
        return False
    before = graph.writer(op, 'X')
    return before is not None and before.type == 'quantize_linear'


def _layer(model: Model, graph: Graph, place: Place) -> QuantizedLayer:
    quantize = graph.writer(place.source, 'X')
    return QuantizedLayer(
        place.name, place.op.type,
        quantize.input('X')[0], place.op.output_arg_names[0],
        tuple(model.parameter(place.name).shape),
        float(model.parameter(quantize.input('Scale')[0]).max()))


def _put_switches(model: Model,
                  places: Sequence[Place]) -> Dict[FrozenSet[str], str]:
    """Let what reads a quantized value read it through a switch.

    Returns:
        {weights: the number that switches, which must be 1 if one of their
        layers is quantized}.
    """
    block = model.program.global_block()
    graph = Graph(block)
    weights_at: Dict[int, List[str]] = {}
    for place in places:
        weights_at.setdefault(id(place.source), []).append(place.name)
    name_of = {id(p.op): p.name for p in places}
    switches: Dict[FrozenSet[str], str] = {}
    for index in reversed(range(len(graph.ops))):
        op = graph.ops[index]
        if id(op) not in weights_at:
            continue
        plain, quantized = graph.writer(op,
                                        'X').input('X')[0], op.output('Y')[0]
        together: Dict[FrozenSet[str], List[Any]] = {}
        for reader in graph.readers(op, 'Y'):
            own = name_of.get(id(reader))
            weights = frozenset(weights_at[id(op)] if own is None else [own])
            together.setdefault(weights, []).append(reader)
        for weights, readers in together.items():
            if weights not in switches:
                switches[weights] = add_parameter(model, block,
                                                  'switch_%d' % len(switches),
                                                  np.zeros(1), 'int32')
            chosen = _insert_switch(block, index + 1, plain, quantized,
                                    switches[weights])
            for reader in readers:
                reader._rename_input(quantized, chosen)
    block._sync_with_cpp()
    return switches


def _insert_switch(block: Any, index: int, plain: str, quantized: str,
                   number: str) -> str:
    """Returns the name of what is chosen. The operator copies it."""
    old = block.var(quantized)
    chosen = block.create_var(name='%s.%s' % (quantized, number),
                              shape=old.shape,
                              dtype=old.dtype)
    block._insert_op(index,
                     type='select_input',
                     inputs={
                         'X': [plain, quantized],
                         'Mask': [number]
                     },
                     outputs={'Out': [chosen]})
    return chosen.name


def _put_parameters(model: Model, places: Sequence[Place],
                    values: Dict[str, np.ndarray]) -> Dict[str, str]:
    """Let each layer read its weight from a float parameter. Feed, fetch and
    the operators that dequantize weights go. Returns {weight: the
    parameter}."""
    block = model.program.global_block()
    parameters: Dict[str, str] = {}
    for place in places:
        if place.name not in parameters:
            parameters[place.name] = add_parameter(model, block,
                                                   place.name + '.float',
                                                   values[place.name])
        place.op.desc.set_input(place.weight_slot, [parameters[place.name]])
    gone = {id(p.weight) for p in places}
    for index in reversed(range(len(block.ops))):
        op = block.ops[index]
        if id(op) in gone or op.type in ('feed', 'fetch'):
            block._remove_op(index, sync=False)
    block._sync_with_cpp()
    return parameters
