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
"""How many milliseconds a layer costs more in float than in int8, from the
profiles of both models on this machine.

A guess that saves measuring each choice of layers: reorders between int8 and
float depend on the neighbours. What is chosen by it is measured.
"""

import math
from collections import defaultdict
from typing import Dict, Sequence, Tuple

from ..profile.profiled import Profile
from .simulation import QuantizedLayer

# Least that a layer costs: what the profile calls free is so within its noise.
LEAST_MS = 1e-3
PROFILED, SHARED = 'profile', 'share'


def costs(plain: Profile, int8: Profile,
          layers: Sequence[QuantizedLayer]) -> Dict[str, Tuple[float, str]]:
    """{weight: (milliseconds, PROFILED or SHARED)}.

    Args:
        plain: of the float model.
        int8: of the quantized one, with the same number of threads.
        layers: those that are quantized.

    A layer that one profile does not name saves what the others save of their
    time in float; if neither does, its time in float is that of the others for
    a weight of this size.
    """
    before, after = by_weight(plain, layers), by_weight(int8, layers)
    names = list(dict.fromkeys(layer.weight for layer in layers))
    size = {layer.weight: math.prod(layer.shape) for layer in layers}
    named = [n for n in names if n in before and n in after]
    if named:
        spent = sum(before[n] for n in named)
        saved = max(spent - sum(after[n] for n in named), 0.)
    else:
        spent = plain.operators_ms
        saved = max(spent - int8.operators_ms, 0.)
    each = spent / sum(size[n] for n in named or names)
    found = {}
    for name in names:
        if name in before and name in after:
            cost, origin = before[name] - after[name], PROFILED
        else:
            ms = before.get(name, each * size[name])
            cost, origin = ms * saved / spent, SHARED
        found[name] = max(cost, LEAST_MS), origin
    return found


def by_weight(profile: Profile,
              layers: Sequence[QuantizedLayer]) -> Dict[str, float]:
    """{weight: milliseconds of its layers, reorders included}."""
    # What stands for a linear layer in int8 is named after its output.
    names = {layer.output + '.weight': layer.weight for layer in layers}
    wanted = {layer.weight for layer in layers}
    found: Dict[str, float] = defaultdict(float)
    for layer in profile.layers:
        name = names.get(layer.weight, layer.weight)
        if name in wanted:
            found[name] += layer.ms
    return dict(found)
