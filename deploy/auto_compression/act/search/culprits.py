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
"""Which of many items are guilty, by group testing: pure, apart from what tries
a set.

A set of items is taken out, and the check holds (good) or does not. `Search`
looks for a smallest set D that is good: none of its members can stay. A linear
loop finds one guilty item in n probes, and of two that each break the check
neither. Here sets are halved: about log2(n) probes an item of D.

Whatever the probes answer, D was itself probed good. And each of its members
was found where one set is bad and the same with it is good, of two sets that
were both really probed. So a probe that crashes is simply bad.

As Polygraphy's `debug reduce` does, the search is driven from outside: `step`
with each verdict, `remaining` for the time left.
"""

import math
from dataclasses import dataclass, field
from typing import (
    Callable,
    Dict,
    FrozenSet,
    Generator,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

Item = str
Out = FrozenSet[Item]
_T = TypeVar('_T')
# Asks for sets that are taken out, is told whether each is good.
_Asking = Generator[Out, bool, _T]


@dataclass(frozen=True)
class Found:
    """What a search has found.

    culprits: D, in the order of the items. Empty: no set was found that is
        good, so that something else than these items is guilty.
    partners: {culprit: items that it breaks the check with}. Empty for one
        that breaks it by itself, whatever the others do.
    """
    culprits: Tuple[Item, ...] = ()
    partners: Dict[Item, Tuple[Item, ...]] = field(default_factory=dict)


class Search:
    """Looks for the guilty among items, with the check known to fail when all
    are in.

    `candidate` is the set to take out next, None at the end; `found` is there
    then. No set is asked for twice.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        """
        Args:
            items: all different. Of several answers the search finds the one
                whose items are late in the order: those that one would rather
                keep come first.
        """
        self._items = list(items)
        self._verdicts: Dict[Out, bool] = {frozenset(): False}
        self._left = 0.0
        self.found = Found()
        self.candidate: Optional[Out] = None
        self._asking = self._search()
        self._next(lambda: next(self._asking))

    @property
    def probes(self) -> int:
        """How many were made."""
        return len(self._verdicts) - 1

    def remaining(self) -> int:
        """How many probes are left, if nothing more turns up than is known."""
        return 0 if self.candidate is None else max(1, round(self._left))

    def step(self, good: bool) -> None:
        """Take in the verdict on `candidate`, and choose the next."""
        out = self.candidate
        if out is None:
            raise ValueError('the search has ended')
        self._verdicts[out] = good
        self._left -= 1
        self._next(lambda: self._asking.send(good))

    def _next(self, ask: Callable[[], Out]) -> None:
        try:
            out = ask()
            while out in self._verdicts:
                out = self._asking.send(self._verdicts[out])
            self.candidate = out
        except StopIteration as end:
            self.candidate, self.found = None, end.value

    def _search(self) -> _Asking[Found]:
        everything = yield from self._some_good()
        if everything is None:
            return Found()
        culprits = yield from self._smallest(everything)
        partners = {}
        for at, one in enumerate(culprits):
            self._left = len(culprits) - at
            partners[one] = yield from self._partners(one, culprits, everything)
        return Found(tuple(culprits), partners)

    def _some_good(self) -> _Asking[Optional[List[Item]]]:
        """Some good set: all items; else, since some may be needed, smaller
        and smaller parts of them; None if no such part is good."""
        items = self._items
        tried: List[List[Item]] = [items] if items else []
        size = len(items)
        while size > 1:
            size = math.ceil(size / 2)
            parts = [items[i:i + size] for i in range(0, len(items), size)]
            tried += parts[::-1]
        self._left = 1 + _halvings(len(items)) + 2
        for at, part in enumerate(tried):
            good = yield frozenset(part)
            if good:
                return part
            self._left = len(tried) - at - 1
        return None

    def _smallest(self, good: List[Item]) -> _Asking[List[Item]]:
        """The smallest set within one that is good, in the items' order.

        With `taken` known to be in it, from the end of the others as many are
        taken out as make it good: the last of them is needed.
        """
        taken: List[Item] = []
        rest = good
        adjacent = False
        enough = False
        while not enough:
            self._left = _halvings(len(rest)) + 2
            at = yield from self._boundary(taken, rest, adjacent)
            adjacent = at == 0
            taken, rest = taken + [rest[at]], rest[at + 1:]
            enough = yield frozenset(taken)
        # Each was needed beside others; is it beside these?
        at = 0
        while at < len(taken) and len(taken) > 1:
            less = taken[:at] + taken[at + 1:]
            needless = yield frozenset(less)
            taken, at = (less, 0) if needless else (taken, at + 1)
        return sorted(taken, key=self._items.index)

    def _boundary(self, taken: List[Item], rest: List[Item],
                  first: bool) -> _Asking[int]:
        """Where to begin, so that `taken` and what is in `rest` from there on
        is good, and without that one item bad. Good from 0 on, bad with none.

        Args:
            first: look whether it is 0 before all else. Items that are guilty
                often stand together.
        """
        low, high = 0, len(rest)
        while high - low > 1:
            middle = low + 1 if first else (low + high) // 2
            first = False
            good = yield frozenset(taken + rest[middle:])
            low, high = (middle, high) if good else (low, middle)
        return low

    def _partners(self, one: Item, culprits: List[Item],
                  everything: List[Item]) -> _Asking[Tuple[Item, ...]]:
        """The items without which a culprit does no harm.

        Of the good set `everything` it is put in again, and with it more and
        more of those that are no culprits, until it is bad: the last of them
        is needed for that.
        """
        others = [i for i in everything if i not in culprits]
        out = [i for i in everything if i != one]
        back: List[Item] = []
        while True:
            good = yield frozenset(out) - frozenset(back)
            if not good or not others:
                return tuple(back)
            self._left += _halvings(len(others)) + 1
            low, high = 0, len(others)
            while high - low > 1:
                middle = (low + high) // 2
                good = yield frozenset(out) - frozenset(back + others[:middle])
                low, high = (middle, high) if good else (low, middle)
            back, others = back + [others[low]], others[:low]


def _halvings(count: int) -> int:
    return math.ceil(math.log2(count)) if count > 1 else 0
