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
"""A program made ready for oneDNN on the CPU.

The saved model serves TensorRT as well, so none of this is done to it: each
rewrite works on a copy, when a CPU predictor is built. Each returns how many
places it changed. Those of `faster` come first; the others make a quantized
program ready for oneDNN's int8 kernels. Of these, those of this module leave
what the program computes as it is (the tests compare outputs); `unsigned` and
`halving` bring what oneDNN computes nearer to the float model.
"""

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from . import copies, faster, halving, linear, network, unsigned
from .inspect import WEIGHT_INPUT, quantized_ops
from .model import Model, ModelFiles
from .observers import strip_observers

# Part of the cache key: count up when a rewrite changes.
VERSION = 11


@dataclass(frozen=True)
class Target:
    """What a program is made ready for.

    `rewrites` are names of `faster.ALL`, `types` what they compute in, `int8`
    whether it is quantized and shall run so, `int8_fc` whether its quantized
    linear layers shall too.
    """
    rewrites: Tuple[str, ...] = ()
    types: network.Types = network.Types()
    int8: bool = False
    int8_fc: bool = False


def mark_float_ops(model: Model) -> int:
    """Set `skip_quant` on each convolution that training did not quantize.

    oneDNN turns depthwise convolutions into plain ones and would quantize them
    with ranges nobody chose.

    Returns:
        number of operators marked.
    """
    names = {op.output_arg_names[0] for op in quantized_ops(model)}
    marked = 0
    for op in model.ops:
        if op.type in WEIGHT_INPUT and op.output_arg_names[0] not in names:
            op._set_attr('skip_quant', 1)
            marked += 1
    return marked


def mend_integer_weights(model: Model) -> List[str]:
    """Make float weights with integer values recognisable as float.

    oneDNN's pass takes an fp32 weight whose values are all integers (zeros
    included) for an int8 one and stops with "Could not find threshold
    information". One element is moved by the least there is: the largest by
    one ULP, or a zero to 1e-30.

    Returns:
        names of the weights mended.
    """
    int8_names = {
        op.input('X')[0]
        for op in model.ops if op.type == 'dequantize_linear'
    }
    shared = {v.name for v in model.persistable()}
    mended = []
    for op in model.ops:
        if op.type not in WEIGHT_INPUT:
            continue
        for name in op.input_arg_names:
            if name not in shared or name in int8_names or name in mended:
                continue
            value = model.parameter(name)
            if value.dtype != np.float32 or not np.array_equal(
                    value, np.rint(value)):
                continue
            flat = value.reshape(-1)
            at = int(np.abs(flat).argmax())
            flat[at] = np.nextafter(flat[at], np.float32(
                np.inf)) if flat[at] else np.float32(1e-30)
            model.set_parameter(name, value)
            mended.append(name)
    return mended


def prepare(model: Model, target: Target, halves: bool) -> Dict[str, Any]:
    """Make a program ready for oneDNN.

    Args:
        model: changed in place.
        target: what for.
        halves: whether the CPU has no VNNI, see `halving`.

    Returns:
        {rewrite's name: its result}.
    """
    done: Dict[str, Any] = {}
    if target.int8:
        done['strip_observers'] = strip_observers(model)
    done.update(faster.apply(model, target.rewrites, target.types))
    if target.int8:
        done['mark_float_ops'] = mark_float_ops(model)
        done['mend_integer_weights'] = mend_integer_weights(model)
        if target.int8_fc:
            done['to_int8'] = linear.to_int8(model, saturates=halves)
        done['dequantize_weights'] = linear.dequantize_weights(model)
        done['shift_to_unsigned'] = unsigned.shift_to_unsigned(model,
                                                               saturates=halves)
        if halves:
            done['round_to_even'] = halving.round_to_even(model)
    return done


def prepared(files: ModelFiles,
             target: Target,
             model: Optional[Model] = None) -> copies.Prepared:
    """The prepared copy of a model, made on first use.

    See `copies.prepared`.

    Args:
        files: the model as the user has it.
        target: what for. If there is nothing to do, the copy is the model.
        model: the same, if it is loaded already; changed.

    Raises:
        UserError: see `Model.load`.
    """
    model = model or Model.load(files)
    target = replace(target, rewrites=faster.usable(model, target.rewrites))
    if not target.int8 and not target.rewrites:
        return copies.Prepared(files, {})
    halves = target.int8 and halving.halves()
    return copies.prepared(files, (VERSION, target, halves), model,
                           lambda m: prepare(m, target, halves))
