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
"""Q/DQ pairs that only carry a range, which Paddle puts after every operator
that it knows when it saves a quantized program."""

from typing import Any, Dict, List, Set

from .. import runtime
from .inspect import WEIGHT_INPUT, is_observer
from .model import Model, static_mode


def strip_observers(model: Model) -> int:
    """Remove Q/DQ pairs that serve no quantized operator.

    oneDNN's pass takes every operator between such pairs for a quantized one.
    On a real PicoDet-XS that left 0.04 mAP of 26.4.

    Returns:
        number of operators removed.
    """
    removed = 0
    for block in model.program.blocks:
        source: Dict[str, str] = {}
        doomed: List[int] = []
        for index, op in enumerate(block.ops):
            for name in op.input_arg_names:
                if name in source:
                    op._rename_input(name, source[name])
            if is_observer(op):
                source[op.output('Y')[0]] = op.input('X')[0]
                doomed.append(index)
            else:
                # An activation that is quantized and observed has two pairs
                # that write the same names; a reader gets the one before it.
                for name in op.output_arg_names:
                    source.pop(name, None)
        for index in reversed(doomed):
            block._remove_op(index, sync=False)
        block._sync_with_cpp()
        removed += len(doomed)
    return removed


def separate(model: Model) -> int:
    """Let each operator with a quantized weight read its quantized input.

    An activation that is quantized and observed has two pairs that write the
    same names, and Paddle orders them as its graph happens to be walked: an
    operator that stands behind both got the observer's value, which is float.
    In a small RT-DETR that were 2 of 57 linear layers. Here the pair that
    quantizes gets a name of its own.

    Returns:
        number of operators that read another value than before.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            names = _shadowed(block)
            changed += _rename(block, names)
    return changed


def _shadowed(block: Any) -> Set[str]:
    """Names that an operator with a quantized weight reads as an observer
    wrote them, after a pair that quantizes did."""
    found = set()
    writer: Dict[str, Any] = {}
    quantizing: Set[str] = set()
    for op in block.ops:
        if _has_quantized_weight(op, writer):
            found.update(
                n for n in op.input_arg_names
                if n in quantizing and n in writer and is_observer(writer[n]))
        for name in op.output_arg_names:
            writer[name] = op
            if op.type == 'dequantize_linear' and not is_observer(op):
                quantizing.add(name)
    return found


def _rename(block: Any, names: Set[str]) -> int:
    """Returns the number of operators that read another value than before."""
    changed = 0
    writer: Dict[str, Any] = {}
    fresh: Dict[str, str] = {}
    for op in block.ops:
        weighted = _has_quantized_weight(op, writer)
        for name in set(op.input_arg_names) & names & set(fresh):
            observed = is_observer(writer[name])
            if weighted or not observed:
                op._rename_input(name, fresh[name])
                changed += observed
        outputs = op.output_arg_names
        for name in outputs:
            writer[name] = op
        if op.type == 'dequantize_linear' and not is_observer(op):
            for name in set(outputs) & names:
                old = block.var(name)
                fresh[name] = block.create_var(name=name + '.input',
                                               shape=old.shape,
                                               dtype=old.dtype).name
                op._rename_output(name, fresh[name])
    block._sync_with_cpp()
    return changed


def _has_quantized_weight(op: Any, writer: Dict[str, Any]) -> bool:
    if op.type not in WEIGHT_INPUT:
        return False
    weight = writer.get(op.input(WEIGHT_INPUT[op.type])[0])
    return weight is not None and weight.type == 'dequantize_linear' and \
        not is_observer(weight)
