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

    A layer that the profiles do not name gets its share, by its part of these
    layers' weights, of what the named ones leave of the difference.
    """
    before, after = by_weight(plain, layers), by_weight(int8, layers)
    names = list(dict.fromkeys(layer.weight for layer in layers))
    named = {
        n: before[n] - after[n]
        for n in names if n in before and n in after
    }
    left = {}
    for layer in layers:
        if layer.weight not in named:
            size = 1
            for length in layer.shape:
                size *= length
            left[layer.weight] = size
    rest = sum(before.values()) - sum(after.values()) - sum(named.values())
    found = {}
    for name in names:
        if name in named:
            found[name] = max(named[name], LEAST_MS), PROFILED
        else:
            share = rest * left[name] / sum(left.values())
            found[name] = max(share, LEAST_MS), SHARED
    return found


def by_weight(profile: Profile,
              layers: Sequence[QuantizedLayer]) -> Dict[str, float]:
    """{weight: milliseconds of its layers, reorders included}; under '' those
    of layers that have a weight without a name."""
    # What stands for a linear layer in int8 is named after its output.
    names = {layer.output + '.weight': layer.weight for layer in layers}
    wanted = {layer.weight for layer in layers}
    found: Dict[str, float] = defaultdict(float)
    for layer in profile.layers:
        name = names.get(layer.weight, layer.weight)
        if name in wanted:
            found[name] += layer.ms
    return dict(found)
