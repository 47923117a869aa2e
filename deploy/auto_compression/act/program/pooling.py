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
"""Means over height and width, as squeeze-and-excitation takes them.

Paddle's `reduce_mean` runs oneDNN's reduction, which for the NCHW of the
blocked layouts around it is the reference implementation: 240 of 800 ms in
PP-YOLOE+_crn_l_80e, one thread, AVX-512. Its global pooling is not.
"""

from typing import Any, Dict, Optional

from .exchange import exchange
from .model import Model


def mean_to_pooling(model: Model) -> int:
    """Make global average pooling of means over the last two of four axes.

    The sum is taken in another order: relative differences of 1e-6.

    Args:
        model: changed in place.

    Returns:
        number of operators changed.
    """
    return exchange(model, _pooling)


def _pooling(block: Any, op: Any) -> Optional[Dict[str, Any]]:
    if op.type != 'reduce_mean' or not op.attr('keep_dim') or \
            op.attr('reduce_all'):
        return None
    axes = sorted(axis % 4 for axis in op.attr('dim'))
    if len(block.var(op.input('X')[0]).shape) != 4 or axes != [2, 3]:
        return None
    return {
        'type': 'pool2d',
        'inputs': {
            'X': op.input('X')
        },
        'outputs': {
            'Out': op.output('Out')
        },
        'attrs': {
            'pooling_type': 'avg',
            'ksize': [1, 1],
            'global_pooling': True
        }
    }
