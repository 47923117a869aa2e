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
"""Quantized linear layers (`matmul_v2` by a weight) for oneDNN.

oneDNN's passes of Paddle 2.6.2 spoil them, in two ways that say nothing:

- Weights become float again before anything else, each multiplied by its
  channel's scale. A linear layer keeps its output channels in the second axis,
  but where the matrix is square the pass takes the first one
  (`ConvertFromINT8ToFP32` in quant_dequant_mkldnn_pass.cc compares the number
  of scales with the first size before the second). Nearly all layers of an
  attention are square.
- With 'fc' among the int8 types it quantizes weights and results anew. A small
  RT-DETR, 40 images, AVX2: agreement AP with float 77.6 with the right weights,
  where the simulation has 99.3; among its int8 layers were two whose input the
  simulation leaves in float.

`dequantize_weights` mends the first, for layers that run in float. `to_int8`
makes int8 operators of those that were quantized, and of no others, so that no
pass need do it.
"""

from typing import Any, Dict, Optional, Tuple

import numpy as np

from .. import runtime
from .graph import readers_behind
from .model import Model, static_mode
from .unsigned import (
    Quantized,
    add_parameter,
    prune,
    quantized,
    room,
    source_scale,
)

TYPES = ('matmul_v2', 'matmul', 'mul')


def dequantize_weights(model: Model) -> int:
    """Give linear layers with quantized weights these weights in float.

    Args:
        model: changed in place; `observers.strip_observers` comes before.

    Returns:
        number of layers changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            writer: Dict[str, Any] = {}
            for op in block.ops:
                if op.type in TYPES:
                    weight = writer.get(op.input('Y')[0])
                    if weight is not None and \
                            weight.type == 'dequantize_linear' and \
                            block.var(weight.input('X')[0]).persistable:
                        op.desc.set_input('Y', [
                            add_parameter(model, block, op.output_arg_names[0] +
                                          '.weight', weight_of(model, weight))
                        ])
                        changed += 1
                for name in op.output_arg_names:
                    writer[name] = op
            prune(block)
    return changed


def to_int8(model: Model, saturates: bool) -> int:
    """Make int8 `fc` operators of quantized linear layers.

    Their sources are unsigned with a zero point, which is taken off in the
    bias, as those of convolutions are (see `unsigned`).

    Args:
        model: changed in place; `observers.strip_observers` comes before.
        saturates: the sum of two products must fit in 16 bits: the CPU has no
            VNNI. Sources then get fewer steps, as few as 129 of 255.

    Returns:
        number of layers changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            made: Dict[Tuple[int, float, int], str] = {}
            for layer in quantized(block, dict.fromkeys(TYPES, ('Y', 'X'))):
                changed += _convert(model, block, layer, saturates, made)
            prune(block)
    return changed


def weight_of(model: Model, dequantize: Any) -> np.ndarray:
    """The weight as the simulation has it, (I, O) float64."""
    integers = model.parameter(dequantize.input('X')[0]).astype(np.float64)
    step = model.parameter(dequantize.input('Scale')[0]).reshape(-1) / 127.0
    if step.size == 1:
        return integers * step
    axis = dequantize.attr('quant_axis')
    return integers * np.expand_dims(
        step, [i for i in range(integers.ndim) if i != axis])


def _convert(model: Model, block: Any, layer: Quantized, saturates: bool,
             made: Dict[Tuple[int, float, int], str]) -> bool:
    op, quantize, least = layer.op, layer.source, layer.least
    matrix = weight_of(model, layer.weight)
    highest = float(model.parameter(quantize.input('Scale')[0]).reshape(-1)[0])
    transposed = any(
        op.has_attr(a) and op.attr(a) for a in ('trans_x', 'trans_y'))
    if transposed or matrix.ndim != 2 or not highest > 0:
        return False
    step = np.abs(matrix).max(0) / 127
    step[step == 0] = 1
    scale, shift = source_scale(
        highest, -highest if least is None else max(least, -highest),
        room((matrix / step).T) if saturates else 255)

    source = quantize.input('X')[0]
    key = (id(quantize), scale, shift)
    if key not in made:
        # Where the simulation quantizes: the name may be written again.
        made[key] = block.create_var(name='%s.unsigned.%d' %
                                     (source, block.ops.index(quantize)),
                                     shape=block.var(source).shape,
                                     dtype='uint8').name
        block._insert_op(block.ops.index(quantize),
                         type='quantize',
                         inputs={'Input': [source]},
                         outputs={'Output': [made[key]]},
                         attrs={
                             'Scale': scale,
                             'Shift': float(shift),
                             'is_negative_input': False,
                             'output_format': 'NHWC'
                         })
    at = block.ops.index(op)
    result = op.output_arg_names[0]
    add = _bias_after(model, block, at, result, matrix.shape[1])
    bias = -matrix.sum(0) * (shift / scale)
    last, out = op, result
    if add is not None:
        bias += model.parameter(add.input('Y')[0]).reshape(-1)
        last, out = add, add.output('Out')[0]
    block._insert_op(
        block.ops.index(last),
        type='fc',
        inputs={
            'Input': [made[key]],
            'W': [add_parameter(model, block, result + '.weight', matrix)],
            'Bias': [add_parameter(model, block, result + '.bias', bias)]
        },
        outputs={'Out': [out]},
        attrs={
            'in_num_col_dims': len(block.var(source).shape) - 1,
            'use_mkldnn': True,
            'mkldnn_data_type': 'int8',
            'force_fp32_output': True,
            'Scale_in': scale,
            'Scale_weights': [1 / s for s in step],
            'Scale_out': 1.0
        })
    for gone in {id(op): op, id(last): last}.values():
        block._remove_op(block.ops.index(gone), sync=False)
    return True


def _bias_after(model: Model, block: Any, index: int, name: str,
                size: int) -> Optional[Any]:
    """The addition of a bias that alone reads `name`, as written at `index`."""
    readers = readers_behind(block, index, name)
    if len(readers) != 1 or readers[0].type != 'elementwise_add' or \
            readers[0].input('X') != [name]:
        return None
    bias = block.var(readers[0].input('Y')[0])
    fits = bias.persistable and tuple(bias.shape) == (size, )
    return readers[0] if fits else None
