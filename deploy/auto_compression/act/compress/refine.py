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
"""Ranges and weights of a quantized model, chosen anew by what they do to the
outputs of its operators.

Calibration looks at one tensor at a time and rounds each weight by itself.
Here a few images run through the float model; for each quantized operator the
range of its input (`ranges`) and then its weights (`rounding`) are chosen so
that its output changes least. Nothing is trained.

Real PicoDet-XS, 206 COCO images, agreement AP of the deployed int8 model: 91.5
as Paddle's histogram leaves it, 95.2 with the weights, 96.3 with both.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
from tqdm import tqdm

from ..data import Batch
from ..program.cpu import strip_observers
from ..program.inspect import WEIGHT_INPUT, dequantized, quantized_ops
from ..program.model import Model, ModelFiles
from . import ranges, rounding, samples

_LIMIT = 127
# Sampled rows held at a time; more operators take another pass of the images.
_MEMORY = 1 << 30


@dataclass(frozen=True)
class _Quantized:
    """A quantized operator: its float twin and its quantizers' parameters."""
    product: samples.Product
    kernel: np.ndarray  # the float weight
    weight: str  # the int8 weight
    step: np.ndarray  # of the weight, (O,) or (1,)
    range_names: Tuple[str, ...]  # parameters that hold the input's range


def refine(source: ModelFiles,
           made: ModelFiles,
           batches: Callable[[], Iterator[Batch]],
           count: int,
           *,
           choose_ranges: bool = True,
           round_jointly: bool = True,
           seed: int = 0) -> Dict[str, int]:
    """Choose ranges and weights of a quantized model anew.

    Args:
        source: the float model.
        made: the model quantized from it, in place.
        batches: gives a fresh iterator over feeds.
        count: feeds that one iterator yields.
        choose_ranges: search the ranges of activations.
        round_jointly: round weights by GPTQ instead of one by one.
        seed: of the choice of positions in the images.

    Returns:
        {'refined': operators changed, 'left': quantized operators that are no
        plain products, e.g. depthwise convolutions}.
    """
    model = Model.load(made)
    # What follows reads the operators between the quantizers' names.
    stripped = Model.load(made)
    strip_observers(stripped)
    found = _find(stripped, Model.load(source))
    with tqdm(total=len(found), desc='refine', unit='operator') as bar:
        for part in _parts(found):
            float_model = Model.load(source)
            twins = {op.output_arg_names[0]: op for op in float_model.ops}
            products = [
                samples.Product(twins[q.product.name], q.product.source,
                                q.product.weight) for q in part
            ]
            rows = samples.sample(float_model, products, batches(), count, seed)
            highest = _ranges(model, part, rows) if choose_ranges else {
                q.range_names: float(model.parameter(q.range_names[0]).max())
                for q in part
            }
            for q in part:
                if round_jointly:
                    _round(model, q, rows[q.product.name],
                           highest[q.range_names])
                bar.update()
    model.save(made)
    return {
        'refined': len(found),
        'left': len(quantized_ops(stripped)) - len(found)
    }


def _find(model: Model, source: Model) -> List[_Quantized]:
    """The quantized operators that are products, in program order."""
    twins = {
        op.output_arg_names[0]: op
        for op in source.ops if op.type in WEIGHT_INPUT
    }
    parameters = {v.name for v in source.persistable()}
    found = []
    for op, weight, quantize in dequantized(model):
        twin = twins.get(op.output_arg_names[0])
        if twin is None:
            continue
        slot = WEIGHT_INPUT[twin.type]
        name = twin.input(slot)[0]
        if name not in parameters:
            continue
        kernel = source.parameter(name)
        product = samples.as_product(
            twin,
            twin.input('Input' if slot == 'Filter' else 'X')[0], name,
            kernel.shape)
        if product is None:
            continue
        step = model.parameter(weight.input('Scale')[0]).astype(np.float64)
        scale = quantize.input('Scale')[0]
        names = [scale] + [
            o.input('Scale')[0]
            for o in model.ops if o.type == 'dequantize_linear'
            and o.input('X')[0] in quantize.output('Y')
        ]
        found.append(
            _Quantized(product, kernel,
                       weight.input('X')[0],
                       step.reshape(-1) / _LIMIT, tuple(dict.fromkeys(names))))
    return found


def _parts(found: List[_Quantized]) -> Iterator[List[_Quantized]]:
    """Consecutive operators whose rows fit into memory. Those that read one
    range stay together."""
    groups: Dict[Any, List[_Quantized]] = {}
    for q in found:
        groups.setdefault(q.range_names, []).append(q)
    part: List[_Quantized] = []
    held = 0
    for group in groups.values():
        size = sum(4 * samples.ROWS * q.product.matrix(q.kernel).shape[1]
                   for q in group)
        if part and held + size > _MEMORY:
            yield part
            part, held = [], 0
        part += group
        held += size
    if part:
        yield part


def _ranges(model: Model, part: List[_Quantized],
            rows: Dict[str, np.ndarray]) -> Dict[Any, float]:
    """Search and set the ranges. Returns {range's names: range}."""
    readers: Dict[Any, List[_Quantized]] = {}
    for q in part:
        readers.setdefault(q.range_names, []).append(q)
    chosen = {}
    for names, group in readers.items():
        highest = ranges.search(
            [(rows[q.product.name], q.product.matrix(q.kernel)) for q in group],
            _LIMIT)
        if highest == 0:  # never anything but zero: leave what is there
            highest = float(model.parameter(names[0]).max())
        chosen[names] = highest
        for name in names:
            old = model.parameter(name)
            model.set_parameter(name, np.full_like(old, highest))
    return chosen


def _round(model: Model, q: _Quantized, rows: np.ndarray,
           highest: float) -> None:
    # Errors are balanced on the inputs as they will be, but for rounding:
    # rows within a fraction of a step of each other are one to it.
    rows = np.clip(rows, -highest, highest)
    old = model.parameter(q.weight)
    matrix = rounding.round_jointly(q.product.matrix(q.kernel), rows, q.step,
                                    _LIMIT)
    model.set_parameter(
        q.weight,
        q.product.weight_of(matrix, q.kernel.shape).astype(old.dtype))
