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
"""Which layers to leave in float: pure search, apart from measuring anything.

The gain of a layer is what the accuracy rises by when it is float too, beside
those that are already; its price the milliseconds that it costs more. Layers
are taken by gain for a millisecond. Meanwhile gains mostly shrink: so a
gain that was found earlier is taken for a bound, and only the best few are
looked at again (the lazy greedy algorithm of Minoux, 1978). Where no single
layer gains, the next ones are tried together: some gain only with another.
"""

import heapq
from dataclasses import dataclass
from typing import Callable, Dict, FrozenSet, Iterator, List, Mapping, Sequence

Floats = FrozenSet[str]
# Of single layers that turn out worse than they were, so many are looked at
# again before they are tried together.
PATIENCE = 8


@dataclass(frozen=True)
class Step:
    """Layers in float, the accuracy so, and what they cost in ms."""
    floats: Floats
    value: float
    cost: float


def pareto(points: Sequence[Step]) -> List[Step]:
    """Those that no other beats in accuracy without costing more; by cost."""
    best: List[Step] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.value)):
        if not best or point.value > best[-1].value:
            best.append(point)
    return best


def linear_evaluations(layers: int) -> int:
    """Of a search that looks at every remaining layer in each step."""
    return 1 + layers * (layers + 1) // 2


def greedy(names: Sequence[str],
           cost: Mapping[str, float],
           value: Callable[[Floats], float],
           *,
           enough: float = float('inf'),
           least: float = 0.) -> Iterator[Step]:
    """Steps from no layer in float to all that gain.

    Args:
        names: of the layers.
        cost: ms of each, above 0; they add up.
        value: accuracy with some layers in float; called as seldom as can be,
            never twice for the same.
        enough: accuracy at which it ends.
        least: a gain up to this is none (what the accuracy differs by chance).

    Yields:
        the step so far, the first without a layer in float. Its accuracy rises
        from step to step by more than `least`.
    """
    known: Dict[Floats, float] = {}

    def ask(floats: Floats) -> float:
        if floats not in known:
            known[floats] = value(floats)
        return known[floats]

    now: Floats = frozenset()
    reached = ask(now)
    yield Step(now, reached, 0.)
    gains = {n: ask(frozenset([n])) - reached for n in names}
    while reached < enough and len(now) < len(names):
        found = _best(now, reached, gains, cost, ask, least) or \
            _together(now, reached, gains, cost, ask, least)
        if not found:
            return
        now, reached = found, ask(found)
        yield Step(now, reached, sum(cost[n] for n in now))


def _best(now: Floats, reached: float, gains: Dict[str, float],
          cost: Mapping[str, float], ask: Callable[[Floats], float],
          least: float) -> Floats:
    """`now` and the layer with the most gain for a millisecond; nothing if none
    gains."""
    heap = [(-gains[n] / cost[n], n) for n in gains if n not in now]
    heapq.heapify(heap)
    fresh = set()
    while heap:
        _, name = heapq.heappop(heap)
        if name in fresh:
            return now | {name} if gains[name] > least else frozenset()
        if gains[name] <= least and len(fresh) >= PATIENCE:
            return frozenset()
        gains[name] = ask(now | {name}) - reached
        fresh.add(name)
        heapq.heappush(heap, (-gains[name] / cost[name], name))
    return frozenset()


def _together(now: Floats, reached: float, gains: Mapping[str, float],
              cost: Mapping[str, float], ask: Callable[[Floats], float],
              least: float) -> Floats:
    """`now` and the next 2, 4, 8, ... layers by their gains, as few as gain."""
    order = sorted((n for n in gains if n not in now),
                   key=lambda n: (-gains[n] / cost[n], cost[n], n))
    size = 2
    while order and size < 2 * len(order):
        floats = now | frozenset(order[:size])
        if ask(floats) - reached > least:
            return floats
        size *= 2
    return frozenset()
