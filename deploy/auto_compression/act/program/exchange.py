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
"""One operator in the place of another, wherever a rewrite wants it."""

from typing import Any, Callable, Dict, Optional

from .. import runtime
from .model import Model, static_mode


def exchange(model: Model, new: Callable[[Any, Any],
                                         Optional[Dict[str, Any]]]) -> int:
    """Put another operator in the place of each that `new` gives one for.

    Args:
        model: changed in place.
        new: called with a block and one of its operators; gives the other's
            type, inputs, outputs and attrs, or None to leave it.

    Returns:
        number of operators changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            for index, op in enumerate(list(block.ops)):
                other = new(block, op)
                if other is not None:
                    block._remove_op(index, sync=False)
                    block._insert_op(index, **other)
                    changed += 1
            block._sync_with_cpp()
    return changed
