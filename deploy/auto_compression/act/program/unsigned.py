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
"""Unsigned sources for int8 convolutions.

oneDNN's pass gives a source that may be negative a signed type: half of its
255 steps lie below zero. Nearly all sources of a modern detector are unsigned
but for a little: hard swish goes down to -0.375. `shift_to_unsigned` quantizes
those itself, with a zero point, so that nearly all steps serve values there
are: finer ones, and `HEADROOM` above the calibrated range, where the
simulation cuts off.

On a CPU without VNNI it does more. There oneDNN multiplies u8 by s8 and adds
neighbours two by two in 16 bits (vpmaddubsw), which saturates at 32767. For a
signed source it therefore halves the weights when it lays them out (`sa0.5` in
its log): they keep 7 bits, and what was calibrated for 8 loses accuracy. For an
unsigned source it does not, and may saturate: steps are then as wide as that
takes.

Real PicoDet-XS, 206 COCO images, agreement AP with its float model: see
README.md, "Which strategy". The time is the same.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .. import runtime
from .graph import readers_behind
from .model import Model, static_mode

# The least that an operator gives, whatever it is given.
_LEAST = {
    'relu': 0.0,
    'relu6': 0.0,
    'sigmoid': 0.0,
    'hard_sigmoid': 0.0,
    'hard_swish': -0.375,
    'swish': -0.2785,
    'silu': -0.2785,
}
# Operators that give nothing less than the least of their inputs and zero.
_KEEPING = ('quantize_linear', 'dequantize_linear', 'pool2d', 'concat',
            'nearest_interp_v2', 'bilinear_interp_v2', 'reshape2', 'transpose2')
_WITHIN_ONE = ('sigmoid', 'hard_sigmoid')

# A source that needs more values than fit gets wider steps, to this share of
# the simulation's number. Beyond it, if the CPU saturates: beyond half the
# steps, halved weights are the lesser loss.
_NARROWEST = {True: 0.55, False: 1.0}

# Share of the calibrated range that gets steps, where there is room. Chosen on
# 120 training images of COCO that calibration did not see, PicoDet-XS, CPU with
# VNNI, agreement AP with float, three seeds: 1.0 gives 95.9 to 96.6, 1.1 97.0
# to 97.5, 1.2 96.9 to 97.5, 1.6 96.1 to 96.7, 2.0 95.4 to 95.9; signed sources
# 93.4 to 94.1.
HEADROOM = 1.1


@dataclass(frozen=True)
class Quantized:
    """A quantized operator and where its operands come from."""
    index: int  # in its block
    op: Any
    weight: Any  # the weight's dequantize_linear
    source: Any  # the source's quantize_linear
    least: Optional[float]  # no value of the source is less; None: unknown


def quantized(block: Any, slots: Dict[str, Tuple[str, str]]) -> List[Quantized]:
    """The quantized operators of some types, in program order.

    Args:
        block: observers stripped.
        slots: {operator type: inputs that hold the weight and the source}.
    """
    # Names are written more than once: what is known of a value is looked up
    # where it is read.
    writer: Dict[str, Any] = {}
    least: Dict[str, float] = {}
    found = []
    for index, op in enumerate(block.ops):
        if op.type in slots:
            names = [op.input(slot)[0] for slot in slots[op.type]]
            weight, source = (writer.get(n) for n in names)
            if all(o is not None and o.type == 'dequantize_linear'
                   for o in (weight, source)):
                found.append(
                    Quantized(index, op, weight, writer[source.input('X')[0]],
                              least.get(names[1])))
        bound = _lower_bound(op, writer, least)
        for name in op.output_arg_names:
            writer[name] = op
            least.pop(name, None)
            if bound is not None:
                least[name] = bound
    return found


def _lower_bound(op: Any, writer: Dict[str, Any],
                 least: Dict[str, float]) -> Optional[float]:
    """What no value that an operator gives is less than, None if not known.

    Args:
        op: the operator.
        writer: {name: the operator that wrote it last}.
        least: {name: this bound for it}, where known.
    """
    if op.type in _LEAST:
        return _LEAST[op.type]
    if op.type in _KEEPING:
        inputs = [least.get(n) for n in op.input('X')]
        return None if None in inputs else min(inputs + [0.0])
    if op.type == 'elementwise_mul':  # attention: times something in 0 to 1
        names = op.input('X') + op.input('Y')
        for name, factor in (names, names[::-1]):
            if name in least and factor in writer and writer[
                    factor].type in _WITHIN_ONE:
                return min(least[name], 0.0)
    return None


def shift_to_unsigned(model: Model, saturates: bool) -> int:
    """Give convolutions unsigned sources.

    Such a convolution becomes what oneDNN's pass would make of it, but for the
    zero point: `quantize` with a shift, and `fused_conv2d` with its scales. The
    shift is taken off in the bias, which a batch norm joins. With padding only
    sources without negative values qualify: padding is zero, not the shift.

    Steps are finer than the simulation's where there is room for the
    calibrated range and `HEADROOM`, else the simulation's, or wider where two
    neighbours could saturate. Values are cut off at 255 only.

    Only oneDNN runs what it leaves.

    Args:
        model: changed in place; `observers.strip_observers` comes before.
        saturates: the sum of two products must fit in 16 bits: the CPU has no
            VNNI.

    Returns:
        number of convolutions changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            # From the end: what is before keeps its index.
            for convolution in reversed(
                    quantized(block, {'conv2d': ('Filter', 'Input')})):
                changed += _shift(model, block, convolution, saturates)
            prune(block)
    return changed


def _shift(model: Model, block: Any, it: Quantized, saturates: bool) -> bool:
    op = it.op
    if it.least is None or op.attr('groups') != 1 or it.least < 0 and (any(
            op.attr('paddings')) or op.attr('padding_algorithm') == 'SAME'):
        return False
    weight = model.parameter(it.weight.input('X')[0]).astype(np.float64)
    step = model.parameter(it.weight.input('Scale')[0]).reshape(-1) / 127.0
    highest = float(model.parameter(it.source.input('Scale')[0]).reshape(-1)[0])
    if step.size not in (1, len(weight)) or not highest > 0:
        return False
    scale, shift = source_scale(highest, it.least,
                                room(weight) if saturates else 255)
    if scale * highest < 127 * _NARROWEST[saturates]:
        return False

    result = op.output('Output')[0]
    norm = _norm_after(block, it.index, result)
    factor, bias = np.ones(len(weight)), np.zeros(len(weight))
    if norm is not None:
        value = {
            n: model.parameter(norm.input(n)[0]).astype(np.float64)
            for n in ('Scale', 'Bias', 'Mean', 'Variance')
        }
        factor = value['Scale'] / np.sqrt(value['Variance'] +
                                          norm.attr('epsilon'))
        bias = value['Bias'] - value['Mean'] * factor
    step = step * factor
    weight = weight * step[:, None, None, None]
    bias -= weight.sum((1, 2, 3)) * (shift / scale)

    source = it.source.input('X')[0]
    unsigned = block.create_var(name=result + '.unsigned',
                                shape=block.var(source).shape,
                                dtype='uint8').name
    op.desc.set_type('fused_conv2d')
    for slot, name in (('Input',
                        unsigned), ('Filter',
                                    add_parameter(model, block,
                                                  result + '.weight', weight)),
                       ('Bias',
                        add_parameter(model, block, result + '.bias', bias))):
        op.desc.set_input(slot, [name])
    for name, value in (
        ('mkldnn_data_type', 'int8'),
        ('force_fp32_output', True),
        ('use_mkldnn', True),
        ('Scale_in', scale),
            # A channel whose factor is 0 has weights of 0 in any scale.
        ('Scale_weights', [1 / abs(s) if s else 1.0 for s in step]),
            # oneDNN's pass would quantize it once more.
        ('skip_quant', 1)):
        op._set_attr(name, value)
    out = norm.output('Y')[0] if norm is not None else result
    if _is_added(block, it.index, norm, out):
        # oneDNN's pass would fuse the addition, and the operator then refuse to
        # run, as its output is float. One that has an activation is passed
        # over: this one is x for all x.
        op._set_attr('fuse_activation', 'leaky_relu')
        op._set_attr('fuse_alpha', 1.0)
    if norm is not None:
        op.desc.set_output('Output', norm.output('Y'))
        block._remove_op(block.ops.index(norm), sync=False)
    block._insert_op(it.index,
                     type='quantize',
                     inputs={'Input': [source]},
                     outputs={'Output': [unsigned]},
                     attrs={
                         'Scale': scale,
                         'Shift': float(shift),
                         'is_negative_input': False,
                         'output_format': 'NHWC'
                     })
    return True


def room(weight: np.ndarray) -> int:
    """The largest value of a source, at most 255, whose products with the int8
    weights of two neighbouring input channels add up to 16 bits."""
    if weight.shape[1] % 2:
        weight = np.concatenate([weight, np.zeros_like(weight[:, :1])], 1)
    largest = int(
        max((np.maximum(w[:, ::2], 0) + np.maximum(w[:, 1::2], 0)).max()
            for w in (weight, -weight)))
    return min(255, 32767 // max(largest, 1))


def source_scale(highest: float, least: float, room: int) -> Tuple[float, int]:
    """Scale and zero point that take values from `least` (at most 0) to the
    calibrated `highest` into 0 to `room`.

    With H the headroom: (room - 1) / (H highest - least) if that is finer than
    the simulation's 127 / highest, which the values else keep if they fit. One
    step goes to the rounding up of the zero point.
    """
    scale = max((room - 1) / (HEADROOM * highest - least),
                min(127 / highest, (room - 1) / (highest - least)))
    return scale, int(np.ceil(-least * scale))


def _norm_after(block: Any, index: int, name: str) -> Optional[Any]:
    """The batch norm that alone reads `name`, as written at `index`."""
    readers = readers_behind(block, index, name)
    if len(readers) != 1 or readers[0].type != 'batch_norm':
        return None
    # Its result will be written earlier: nothing may touch it in between.
    written = readers[0].output('Y')[0]
    for op in block.ops[index + 1:block.ops.index(readers[0])]:
        if written in op.input_arg_names + op.output_arg_names:
            return None
    return readers[0]


def _is_added(block: Any, index: int, norm: Optional[Any], name: str) -> bool:
    """Whether an addition reads `name`, as written at `index` or by `norm`."""
    for op in block.ops[index + 1:]:
        if op is norm:
            continue
        if op.type == 'elementwise_add' and name in op.input_arg_names:
            return True
        if name in op.output_arg_names:
            break
    return False


def add_parameter(model: Model,
                  block: Any,
                  name: str,
                  value: np.ndarray,
                  dtype: str = 'float32') -> str:
    """Make a parameter of this dtype. Returns its name."""
    block.create_var(name=name,
                     shape=list(value.shape),
                     dtype=dtype,
                     persistable=True)
    model.scope.var(name)
    model.set_parameter(name, value.astype(dtype))
    return name


def prune(block: Any) -> None:
    """Remove Q/DQ operators that nobody reads, and their parameters."""
    reads = Counter(n for op in block.ops for n in op.input_arg_names)
    touched = set()
    for index in reversed(range(len(block.ops))):
        op = block.ops[index]
        if op.type in ('quantize_linear', 'dequantize_linear') and not any(
                reads[n] for n in op.output_arg_names):
            reads.subtract(op.input_arg_names)
            touched.update(op.input_arg_names)
            block._remove_op(index, sync=False)
    block._sync_with_cpp()
    for name in touched:
        if not reads[name] and block.has_var(name) and block.var(
                name).persistable:
            block._remove_var(name, sync=False)
    block._sync_with_cpp()
