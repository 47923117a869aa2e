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
"""Which operators are quantized: those of the configured types that multiply by
a trained weight, but for the weights and name scopes that shall stay in float.

Paddle chooses by type alone. Of `matmul_v2` it would also take the products of
two activations, queries by keys and probabilities by values, which have no
weight to make smaller and whose softmax makes much of small errors. Of `conv2d`
it takes constants too: PP-YOLOE sums up the distribution of a box's side with a
convolution by 0, 1, ... 16, which int8 rounds to multiples of 0.126.
"""

from typing import Any

import numpy as np

from ..config import QuantAwareSection
from ..program.inspect import WEIGHT_INPUT

# Paddle and PaddleSlim quantize no operator in a name scope of this name.
SKIPPED = 'skip_quant'


def is_constant(weight: np.ndarray) -> bool:
    """Whether a weight is no trained one: all its values are integers."""
    return bool(np.array_equal(weight, np.rint(weight)))


def leave_in_float(program: Any, scope: Any, quant: QuantAwareSection) -> None:
    """Put the operators that are not to be quantized into a name scope that
    says so.

    Args:
        program: of the float model, before quantization; changed in place.
        scope: holds its weights.
        quant: the configuration's section.
    """
    for block in program.blocks:
        weights = {v.name for v in block.vars.values() if v.persistable}
        for op in block.ops:
            if op.type not in WEIGHT_INPUT:
                continue
            name = op.input(WEIGHT_INPUT[op.type])[0]
            place = _name_scope(op)
            if name not in weights or name in quant.float_weights or any(
                    pattern in place
                    for pattern in quant.not_quant_pattern) or is_constant(
                        np.array(scope.find_var(name).get_tensor())):
                op._set_attr('op_namescope', SKIPPED)


def is_skipped(op: Any) -> bool:
    """Whether Paddle will leave an operator in float."""
    return SKIPPED in _name_scope(op)


def _name_scope(op: Any) -> str:
    return op.attr('op_namescope') if op.has_attr('op_namescope') else ''
