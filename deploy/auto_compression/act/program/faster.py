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
"""The rewrites that make a program faster on the CPU, and only that.

What the program computes stays, within the tolerance that each states. All are
tried on every model: one that does not find its pattern changes nothing.
"""

import functools
import sys
from dataclasses import dataclass
from typing import Callable, Dict, Mapping, Optional, Sequence, Tuple

from ..errors import UserError, unknown
from . import attention, distribution, network, nms, pooling, products
from .model import Model


@dataclass(frozen=True)
class Rewrite:
    """A rewrite: `apply` returns how many places it changed.

    `finds` are types of operators that it looks for; `operator` the source
    file of ops/ with the one that it puts in, if that is not one of Paddle's,
    and `cost` what is lost without it. If it is `typed`, it is told what to
    compute in.
    """
    apply: Callable[..., int]
    finds: Tuple[str, ...]
    operator: str = ''
    cost: str = ''
    typed: bool = False

    @property
    def name(self) -> str:
        return self.apply.__name__


# In the order in which they are applied.
REWRITES = (
    Rewrite(pooling.mean_to_pooling, ('reduce_mean', )),
    Rewrite(distribution.softmax_over_last_axis, ('softmax', )),
    Rewrite(products.outer_to_matmul, ('elementwise_mul', )),
    Rewrite(nms.select_boxes, ('multiclass_nms3', ), 'multiclass_nms',
            'NMS takes about ten times as long'),
    Rewrite(attention.deformable_attention, ('grid_sampler', ),
            attention.OPERATOR,
            'DINO-R50 takes about six times as long and RT-DETR-L 1.4 times'),
    Rewrite(network.join_layers,
            network.WEIGHTED,
            'network',
            'small models take up to twice as long',
            typed=True),
)
ALL: Tuple[str, ...] = tuple(r.name for r in REWRITES)
# What they put in computes in bf16, too, beside int8.
TYPED: Tuple[str, ...] = tuple(r.name for r in REWRITES if r.typed)


def chosen(left_out: Optional[Sequence[str]]) -> Tuple[str, ...]:
    """Names of the rewrites that --no_rewrite leaves.

    Args:
        left_out: what was given to it: None if it was not, names, or no name,
            which means all.

    Raises:
        UserError: one of them is no rewrite's.
    """
    for name in left_out or ():
        if name not in ALL:
            raise unknown('rewrite', name, ALL, '--no_rewrite')
    if left_out is not None and not left_out:
        return ()
    return tuple(name for name in ALL if name not in (left_out or ()))


def candidates(model: Model, names: Sequence[str]) -> Tuple[str, ...]:
    """Those of the rewrites that may find something in a program."""
    types = {op.type for op in model.ops}
    return tuple(r.name for r in REWRITES
                 if r.name in names and not types.isdisjoint(r.finds))


def usable(model: Model, names: Sequence[str]) -> Tuple[str, ...]:
    """Those of the rewrites that may find something in a program, and whose
    operators can be had here; they are registered, and built on first use.

    Those whose operators are missing are left out, with one warning.
    """
    from ops import build
    names = candidates(model, names)
    found, missing, reason = [], [], ''
    for rewrite in REWRITES:
        if rewrite.name not in names:
            continue
        if rewrite.operator:
            try:
                build.load(rewrite.operator)
            except UserError as e:
                missing.append('%s (without it %s)' %
                               (rewrite.name, rewrite.cost))
                reason = reason or str(e)
                continue
        found.append(rewrite.name)
    if missing:
        _warn('rewrites are left out: %s; %s' % (', '.join(missing), reason))
    return tuple(found)


@functools.lru_cache(maxsize=None)
def _warn(text: str) -> None:
    """Print a warning, once a process."""
    print('warning: ' + text, file=sys.stderr)


def apply(model: Model, names: Sequence[str],
          types: network.Types) -> Dict[str, int]:
    """Apply the rewrites of these names, in the order of `REWRITES`.

    Args:
        model: changed in place.
        names: of those that `usable` found.
        types: what to compute in.

    Returns:
        {name: number of places changed}.
    """
    return {
        r.name: r.apply(model, types) if r.typed else r.apply(model)
        for r in REWRITES if r.name in names
    }


def load_operators(done: Mapping[str, int]) -> None:
    """Register the operators that a program needs.

    Args:
        done: {rewrite's name: places it changed} of the program.

    Raises:
        UserError: one cannot be built here.
    """
    from ops import build
    for rewrite in REWRITES:
        if rewrite.operator and done.get(rewrite.name):
            build.load(rewrite.operator)
