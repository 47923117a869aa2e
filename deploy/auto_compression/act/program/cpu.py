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
"""A quantized program made ready for oneDNN's int8 kernels on the CPU.

The saved model serves TensorRT as well, so none of this is done to it: each
rewrite works on a copy, when a CPU predictor is built. Each returns how many
places it changed. Those of this module leave what the program computes as it
is (the tests compare outputs); `unsigned` and `halving` bring what oneDNN
computes nearer to the float model.
"""

import os
import tempfile
from typing import Any, Dict, List

import numpy as np

from .. import runtime
from ..errors import UserError
from . import halving, linear, unsigned
from .inspect import WEIGHT_INPUT, quantized_ops
from .model import Model, ModelFiles
from .observers import strip_observers

# Part of the cache key: count up when a rewrite changes.
VERSION = 5


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


def clean(model: Model) -> Dict[str, Any]:
    """Apply the rewrites of this module, in order.

    Returns:
        {rewrite's name: its result}.
    """
    return {
        rewrite.__name__: rewrite(model)
        for rewrite in (strip_observers, mark_float_ops, mend_integer_weights)
    }


def prepare(model: Model, halves: bool, int8_fc: bool) -> Dict[str, Any]:
    """Make a quantized program ready for oneDNN.

    Args:
        model: changed in place.
        halves: whether the CPU has no VNNI, see `halving`.
        int8_fc: whether linear layers that were quantized run in int8.

    Returns:
        {rewrite's name: its result}.
    """
    done = clean(model)
    if int8_fc:
        done['to_int8'] = linear.to_int8(model, saturates=halves)
    done['dequantize_weights'] = linear.dequantize_weights(model)
    done['shift_to_unsigned'] = unsigned.shift_to_unsigned(model,
                                                           saturates=halves)
    if halves:
        done['round_to_even'] = halving.round_to_even(model)
    return done


def cache_dir() -> str:
    """Directory for prepared programs."""
    return runtime.user_cache('programs')


def prepared(files: ModelFiles, int8_fc: bool = False) -> ModelFiles:
    """The prepared copy of a quantized model, made on first use.

    Copies lie in the user's cache, keyed by the model's hash and by what the
    CPU needs; never beside the user's model. If the cache cannot be written, a
    temporary directory is used.

    Args:
        files: the model as the user has it.
        int8_fc: see `prepare`.

    Raises:
        UserError: see `Model.load`.
    """
    files.check()
    halves = halving.halves()
    name = '%s-v%d%s%s' % (files.digest()[:32], VERSION, '-halving'
                           if halves else '', '-fc' if int8_fc else '')
    target = ModelFiles(os.path.join(cache_dir(), name))
    if os.path.isdir(target.directory):
        try:
            return target.check()
        except UserError:
            pass  # left behind half-cleaned: made anew below
    model = Model.load(files)
    prepare(model, halves, int8_fc)
    try:
        model.save(target)
    except OSError:
        target = ModelFiles(
            os.path.join(tempfile.mkdtemp(prefix='act_program_'), name))
        model.save(target)
    return target
