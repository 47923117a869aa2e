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
"""What a program holds, above all: what in it is quantized.

In the format that PaddleSlim saves (`onnx_format`), a quantized operator reads
its weight through one `dequantize_linear` and its activation through a pair of
`quantize_linear` and `dequantize_linear`. Pairs marked `only_observer` compute
nothing: they carry ranges that training or calibration saw.
"""

from collections import Counter
from typing import Any, Dict, List, Set, Tuple

from ..errors import UserError
from .model import Model

# Where each operator type keeps its weight.
WEIGHT_INPUT = {
    'conv2d': 'Filter',
    'depthwise_conv2d': 'Filter',
    'conv2d_transpose': 'Filter',
    'mul': 'Y',
    'matmul': 'Y',
    'matmul_v2': 'Y',
}
# Q/DQ operators of the older format, which nothing here reads.
OLD_FORMAT = ('fake_quantize_', 'fake_dequantize_', 'fake_channel_wise_')


def is_observer(op: Any) -> bool:
    """Whether a Q/DQ operator only carries a range."""
    return op.type in ('quantize_linear', 'dequantize_linear') and \
        op.has_attr('only_observer') and bool(op.attr('only_observer'))


def is_quantized(model: Model) -> bool:
    """Whether any operator of the program quantizes.

    Raises:
        UserError: the program was quantized with onnx_format: False.
    """
    for op in model.ops:
        if op.type.startswith(OLD_FORMAT):
            raise UserError("the model was quantized in the old format (%s); "
                            "quantize it again with onnx_format: True" %
                            op.type)
        if op.type == 'quantize_linear':
            return True
    return False


def quantized_ops(model: Model) -> List[Any]:
    """Operators whose weight and activation are both quantized."""
    # Names are written more than once: whether a value is quantized is asked
    # where it is read.
    quantized: Set[str] = set()
    result = []
    for op in model.ops:
        weight = WEIGHT_INPUT.get(op.type)
        if weight is not None and all(n in quantized for n in op.input_arg_names
                                      if n not in _bias(op)):
            result.append(op)
        quantized.difference_update(op.output_arg_names)
        if op.type == 'dequantize_linear' and not is_observer(op):
            quantized.update(op.output('Y'))
    return result


def dequantized(model: Model) -> List[Tuple[Any, Any, Any]]:
    """(operator, its weight's dequantize_linear, its input's quantize_linear)
    of each quantized operator, in program order. Observers must be stripped."""
    writer: Dict[str, Any] = {}
    wanted = {op.output_arg_names[0] for op in quantized_ops(model)}
    found = []
    for op in model.ops:
        if op.type in WEIGHT_INPUT and op.output_arg_names[0] in wanted:
            slot = WEIGHT_INPUT[op.type]
            source = writer[op.input('Input' if slot == 'Filter' else 'X')[0]]
            found.append(
                (op, writer[op.input(slot)[0]], writer[source.input('X')[0]]))
        for name in op.output_arg_names:
            writer[name] = op
    return found


def _bias(op: Any) -> List[str]:
    return op.input('Bias') if 'Bias' in op.input_names else []


def count_types(ops: List[Any]) -> Dict[str, int]:
    """{operator type: how many}."""
    return dict(Counter(op.type for op in ops))
