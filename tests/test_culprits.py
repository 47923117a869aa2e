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
"""The search for the guilty among many, with planted ones. `-s` prints the
probes that each case took, beside those of a linear search."""

import itertools
import math
import random

import pytest
from act.search import culprits

SIZES = (5, 60, 200)


class Planted:
    """A check that fails by what was planted: `groups` of items each break it
    where all of a group are in; it crashes where an item of `needed` is out."""

    def __init__(self, *groups, needed=()):
        self.groups = [frozenset(g) for g in groups]
        self.needed = frozenset(needed)
        self.asked = []

    def __call__(self, out):
        assert out not in self.asked
        self.asked.append(out)
        return not out & self.needed and all(g & out for g in self.groups)


def names(count):
    return ['pass_%d' % i for i in range(count)]


def search(items, probe):
    """What was found, and that D is good and each of its members needed."""
    made = culprits.Search(items)
    expected = []
    while made.candidate is not None:
        expected.append(made.probes + made.remaining())
        made.step(probe(made.candidate))
    assert made.remaining() == 0 and made.probes == len(probe.asked)
    found = made.found
    if isinstance(probe, Planted) and found.culprits:
        answer = Planted(*probe.groups, needed=probe.needed)
        assert answer(frozenset(found.culprits))
    return found, expected


def bound(count, guilty):
    """Probes for so many guilty, each by itself, among so many."""
    return guilty * (math.ceil(math.log2(count)) + 3) + 1


def hunted(count):
    """Probes of all parts, halves to single ones."""
    return 2 * (count + math.ceil(math.log2(count)))


def told(title, count, probe):
    # One that finds more than one guilty item: from all out, each is put in
    # again, and stays where that does no harm.
    print('%-32s of %3d: %3d probes, linear %3d' %
          (title, count, len(probe.asked), count + 1))


@pytest.mark.parametrize('count', SIZES)
def test_one_guilty(count):
    items = names(count)
    for at in sorted({0, 1, count // 3, count // 2, count - 2, count - 1}):
        probe = Planted([items[at]])
        found, _ = search(items, probe)
        assert found == culprits.Found((items[at], ), {items[at]: ()})
        assert len(probe.asked) <= bound(count, 1)
        told('one guilty, place %d' % at, count, probe)


@pytest.mark.parametrize('guilty', [2, 3])
@pytest.mark.parametrize('count', SIZES)
def test_several_guilty(count, guilty):
    items = names(count)
    places = [
        tuple(range(guilty)),
        tuple(range(count - guilty, count)),
        tuple(i * (count - 1) // (guilty - 1) for i in range(guilty))
    ]
    drawn = random.Random(count + guilty)
    places += [
        tuple(sorted(drawn.sample(range(count), guilty))) for _ in range(20)
    ]
    most = Planted()
    for at in places:
        probe = Planted(*([items[i]] for i in at))
        found, _ = search(items, probe)
        assert found.culprits == tuple(items[i] for i in at)
        assert not any(found.partners.values())
        assert len(probe.asked) <= bound(count, guilty)
        most = max(most, probe, key=lambda p: len(p.asked))
    told('%d guilty, at most' % guilty, count, most)


@pytest.mark.parametrize('count', SIZES)
def test_two_that_break_it_together(count):
    """Either can be taken out; the other is named as its partner."""
    items = names(count)
    for one, two in itertools.islice(
            itertools.combinations([0, 1, count // 2, count - 2, count - 1], 2),
            10):
        if one == two:
            continue
        probe = Planted([items[one], items[two]])
        found, _ = search(items, probe)
        # The later one: items come in the order in which one would keep them.
        assert found.culprits == (items[two], )
        assert found.partners == {items[two]: (items[one], )}
        assert len(probe.asked) <= bound(count, 2)
        told('together, places %d and %d' % (one, two), count, probe)


def test_three_that_break_it_together():
    items = names(60)
    found, _ = search(items, Planted([items[i] for i in (4, 30, 50)]))
    assert found.culprits == (items[50], )
    assert set(found.partners[items[50]]) == {items[4], items[30]}


def test_guilty_ones_and_an_interaction():
    items = names(60)
    probe = Planted([items[7]], [items[20], items[45]])
    found, _ = search(items, probe)
    assert found.culprits == (items[7], items[45])
    assert found.partners == {items[7]: (), items[45]: (items[20], )}
    assert len(probe.asked) <= bound(60, 3)
    told('one guilty, two together', 60, probe)


@pytest.mark.parametrize('count', SIZES)
def test_crashes_without_items_that_are_needed(count):
    """All out crashes, so a part that is good must be found first."""
    items = names(count)
    for needed, at in ((0, count - 1), (count - 1, 0), (count // 2, 1),
                       (1, count // 2), (0, 1), (1, 0)):
        probe = Planted([items[at]], needed=[items[needed]])
        found, _ = search(items, probe)
        assert found == culprits.Found((items[at], ), {items[at]: ()})
        assert len(probe.asked) <= hunted(count)
        told('guilty %d, crash without %d' % (at, needed), count, probe)


@pytest.mark.parametrize('count', SIZES)
def test_nothing_helps(count):
    """Something else than these is guilty; also where there are no items."""
    items = names(count)
    probe = Planted([])
    found, _ = search(items, probe)
    assert found == culprits.Found()
    assert len(probe.asked) <= hunted(count)
    told('none of them guilty', count, probe)
    assert search([], Planted([]))[0] == culprits.Found()


@pytest.mark.parametrize('count', SIZES)
def test_all_are_guilty(count):
    """No worse than thrice a linear search."""
    items = names(count)
    probe = Planted(*([i] for i in items))
    found, _ = search(items, probe)
    assert found.culprits == tuple(items)
    assert len(probe.asked) <= 3 * count + math.log2(count)
    told('all guilty', count, probe)


@pytest.mark.parametrize('seed', range(300))
def test_whatever_the_probes_say(seed):
    """Of verdicts without any order D was probed good and no member of it can
    stay; nothing is found only where no part that was tried is good."""
    drawn = random.Random(seed)
    items = names(drawn.choice([1, 2, 5, 12]))
    share = drawn.choice([.1, .5, .9])
    verdicts = {}

    def probe(out):
        assert out and out not in verdicts
        verdicts[out] = drawn.random() < share
        return verdicts[out]

    made = culprits.Search(items)
    while made.candidate is not None:
        made.step(probe(made.candidate))
    found = made.found
    if not found.culprits:
        assert not any(verdicts.values())
        return
    assert verdicts[frozenset(found.culprits)]
    for one in found.culprits:
        less = frozenset(found.culprits) - {one}
        assert not less or verdicts[less] is False
        assert not set(found.partners[one]) & set(found.culprits)


@pytest.mark.parametrize('guilty', [1, 2, 3])
def test_what_is_left_comes_true(guilty):
    """What is said at the start holds of one guilty item, and never falls
    below what is made."""
    items = names(60)
    probe = Planted(*([items[i]] for i in (10, 31, 50)[:guilty]))
    _, expected = search(items, probe)
    assert abs(expected[0] - bound(60, 1)) <= 2
    for made, total in enumerate(expected):
        assert total > made
    assert abs(expected[-1] - len(probe.asked)) <= 1


def test_a_search_that_has_ended():
    made = culprits.Search(['a'])
    made.step(False)
    with pytest.raises(ValueError, match='ended'):
        made.step(True)
