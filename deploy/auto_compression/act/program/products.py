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

from .. import runtime
from .model import Model, static_mode
from .unsigned import add_parameter


def outer_to_matmul(model: Model) -> int:
    """Make matrix products of products of (..., 1) with a constant (K).

    Each value is one product still, so it stays bit by bit.

    Args:
        model: changed in place.

    Returns:
        number of products changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            for index, op in enumerate(list(block.ops)):
                if op.type != 'elementwise_mul' or op.attr('axis') != -1:
                    continue
                column, row = op.input('X')[0], op.input('Y')[0]
                shape = block.var(column).shape
                if len(shape) < 2 or shape[-1] != 1 or \
                        not block.var(row).persistable or \
                        len(block.var(row).shape) != 1 or \
                        block.var(row).shape[0] < 2:
                    continue
                result = op.output('Out')[0]
                matrix = add_parameter(model, block, result + '.row',
                                       model.parameter(row)[None])
                block._remove_op(index, sync=False)
                block._insert_op(index,
                                 type='matmul_v2',
                                 inputs={
                                     'X': [column],
                                     'Y': [matrix]
                                 },
                                 outputs={'Out': [result]},
                                 attrs={
                                     'trans_x': False,
                                     'trans_y': False
                                 })
                changed += 1
            block._sync_with_cpp()
    return changed
