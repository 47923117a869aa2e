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
"""The fewest images whose collection spans the range of every tensor.

An image is needed for the least and one for the greatest of each quantity that
dimensions follow (see `levels`); one image may serve for many. To choose the
fewest is a minimum set cover. What is left of it after obvious reductions is
small, and is searched to the end.
"""

from typing import Dict, List

import numpy as np

from . import levels


def cover(sizes: np.ndarray) -> List[int]:
    """The fewest inputs that have the extremes of all.

    Args:
        sizes: (N, 2) height and width, or (N, 3) images, height and width.

    Returns:
        indices of inputs, ascending. Among sizes that serve alike the one of
        the fewest pixels, of it the first.
    """
    if not len(sizes):
        return []
    runs, first = np.unique(levels.as_runs(sizes), axis=0, return_index=True)
    # So that the first of what serves alike is the cheapest to run.
    order = np.argsort(runs.prod(1), kind='stable')
    runs, first = runs[order], first[order]
    columns = _columns(runs)
    return sorted(int(first[c]) for c in minimum(columns))


def commonest(sizes: np.ndarray) -> int:
    """The first input of the size that most have."""
    _, first, count = np.unique(levels.as_runs(sizes),
                                axis=0,
                                return_index=True,
                                return_counts=True)
    most = count == count.max()
    return int(first[most].min())


def _columns(runs: np.ndarray) -> Dict[int, int]:
    """{index of a run: the extremes it has, as bits}, without runs that have
    what an earlier one has, too."""
    _, values = levels.quantities(runs)
    has = np.concatenate([
        values == values.min(1, keepdims=True),
        values == values.max(1, keepdims=True)
    ])
    # An extreme that all or the same runs have asks for nothing new.
    has = np.unique(has[~has.all(1)], axis=0)
    if not len(has):
        return {0: 1}
    bits = np.packbits(has, axis=0).T
    _, first = np.unique(bits, axis=0, return_index=True)
    return {
        int(c): int.from_bytes(bits[c].tobytes(), 'big')
        for c in np.sort(first) if bits[c].any()
    }


def minimum(columns: Dict[int, int]) -> List[int]:
    """Exact minimum set cover: the fewest columns that together have every bit
    that one of them has.

    Args:
        columns: {column: its bits}. What has fewer bits than another is never
            taken for it; of what has the same, the earlier is.
    """
    columns = _without_dominated(columns)
    needs = 0
    for bits in columns.values():
        needs |= bits
    rows = []  # for each bit the columns that have it
    while needs:
        bit = needs & -needs
        needs ^= bit
        rows.append(frozenset(c for c, bits in columns.items() if bits & bit))
    # Whoever serves a row serves those that hold it.
    rows = sorted(set(rows), key=len)
    rows = [r for i, r in enumerate(rows) if not any(s < r for s in rows[:i])]
    return _search(rows)


def _without_dominated(columns: Dict[int, int]) -> Dict[int, int]:
    kept: Dict[int, int] = {}
    # More bits first; the sort is stable.
    for c, bits in sorted(columns.items(),
                          key=lambda item: -bin(item[1]).count('1')):
        if not any(bits | other == other for other in kept.values()):
            kept[c] = bits
    return kept


def _search(rows: List[frozenset]) -> List[int]:
    """Branch and bound: a smallest set of columns that meets each row."""
    best = _greedy(rows)

    def search(left: List[frozenset], chosen: List[int]) -> None:
        nonlocal best
        if not left:
            best = chosen if len(chosen) < len(best) else best
            return
        # Rows that share no column need one each.
        apart, seen = 0, set()
        for row in left:
            if seen.isdisjoint(row):
                apart += 1
                seen |= row
        if len(chosen) + apart >= len(best):
            return
        serves = {c: sum(c in row for row in left) for c in left[0]}
        for c in sorted(serves, key=lambda c: (-serves[c], c)):
            search([row for row in left if c not in row], [*chosen, c])

    search(rows, [])
    return best


def _greedy(rows: List[frozenset]) -> List[int]:
    """A cover, not always the smallest."""
    chosen = []
    while rows:
        columns = sorted(set().union(*rows))
        chosen.append(max(columns, key=lambda c: sum(c in r for r in rows)))
        rows = [r for r in rows if chosen[-1] not in r]
    return chosen
