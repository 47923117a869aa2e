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
           least: float = 0.,
           most: float = float('inf')) -> Iterator[Step]:
    """Steps from no layer in float to all that gain.

    Args:
        names: of the layers.
        cost: ms of each, above 0; they add up.
        value: accuracy with some layers in float; called as seldom as can be,
            never twice for the same.
        enough: accuracy at which it ends.
        least: a gain up to this is none (what the accuracy differs by chance).
        most: ms that all layers in float may cost together; what does not fit
            any more is not looked at.

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
    gains = {n: 0. for n in names if cost[n] <= most}
    gains = {n: ask(frozenset([n])) - reached for n in gains}
    while reached < enough and gains:
        found = _best(now, reached, gains, cost, ask, least) or \
            _together(now, reached, gains, cost, ask, least, most)
        if not found:
            return
        now, reached = found, ask(found)
        spent = sum(cost[n] for n in now)
        yield Step(now, reached, spent)
        most_more = most - spent
        gains = {
            n: g
            for n, g in gains.items() if n not in now and cost[n] <= most_more
        }


def _best(now: Floats, reached: float, gains: Dict[str, float],
          cost: Mapping[str, float], ask: Callable[[Floats], float],
          least: float) -> Floats:
    """`now` and the layer with the most gain for a millisecond; nothing if none
    gains."""
    heap = [(-gains[n] / cost[n], n) for n in gains]
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
              least: float, most: float) -> Floats:
    """`now` and those of the next 2, 4, 8, ... layers by their gains that gain
    together; nothing if none do."""
    left = most - sum(cost[n] for n in now)
    order = []
    for name in sorted(gains, key=lambda n: (-gains[n] / cost[n], cost[n], n)):
        if cost[name] <= left:
            left -= cost[name]
            order.append(name)
    size = 2
    while order and size < 2 * len(order):
        group = order[:size]
        value = ask(now | frozenset(group))
        if value - reached > least:
            return now | _needed(now, group, ask,
                                 max(value - least, reached + least))
        size *= 2
    return frozenset()


def _needed(now: Floats, group: Sequence[str], ask: Callable[[Floats], float],
            value: float) -> Floats:
    """As few layers of a group as are accurate enough beside `now`: halves,
    quarters, ... that can be done without are left out, the last first."""
    kept = list(group)
    size = len(kept) // 2
    while size:
        for at in reversed(range(0, len(kept), size)):
            fewer = kept[:at] + kept[at + size:]
            if fewer and ask(now | frozenset(fewer)) >= value:
                kept = fewer
        size //= 2
    return frozenset(kept)
