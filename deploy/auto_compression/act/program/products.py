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
"""Products of a column and a row, as position embeddings take them.

oneDNN has no fast product where both operands are broadcast: 24 of them are 100
of 3300 ms in DINO-R50 at 800 x 1088 (`ref:any` in its log), for 14 MFLOP.
"""

from typing import Any, Dict, Optional

from .exchange import exchange
from .model import Model
from .unsigned import add_parameter


def outer_to_matmul(model: Model) -> int:
    """Make matrix products of products of (..., 1) with a constant (K).

    Each value is one product still, so it stays bit by bit.

    Args:
        model: changed in place.

    Returns:
        number of products changed.
    """

    def product(block: Any, op: Any) -> Optional[Dict[str, Any]]:
        if op.type != 'elementwise_mul' or op.attr('axis') != -1:
            return None
        column, row = (block.var(op.input(s)[0]) for s in ('X', 'Y'))
        if len(column.shape) < 2 or column.shape[-1] != 1 or \
                not row.persistable or len(row.shape) != 1 or \
                row.shape[0] < 2:
            return None
        matrix = add_parameter(model, block,
                               op.output('Out')[0] + '.row',
                               model.parameter(row.name)[None])
        return {
            'type': 'matmul_v2',
            'inputs': {
                'X': [column.name],
                'Y': [matrix]
            },
            'outputs': {
                'Out': op.output('Out')
            },
            'attrs': {
                'trans_x': False,
                'trans_y': False
            }
        }

    return exchange(model, product)
