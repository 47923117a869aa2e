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
"""The choice of what stays in float: pure, on fake accuracies."""

import itertools
import random

import pytest
from act.search import front

NAMES = ['layer%02d' % i for i in range(40)]


class Fake:
    """Accuracies by a function of the layers in float; counts its calls."""

    def __init__(self, function):
        self.function, self.seen = function, []

    def __call__(self, floats):
        assert floats not in self.seen
        self.seen.append(floats)
        return self.function(floats)


def additive(gains):
    return Fake(lambda floats: 90 + sum(gains.get(n, 0.) for n in floats))


def test_the_front():
    points = [
        front.Step(frozenset(str(i)), value, cost)
        for i, (value,
                cost) in enumerate([(1, 0), (3, 2), (2, 1), (2,
                                                             2), (3,
                                                                  3), (4,
                                                                       5), (1,
                                                                            1)])
    ]
    assert [(p.value, p.cost) for p in front.pareto(points)] == [(1, 0), (2, 1),
                                                                 (3, 2), (4, 5)]


def test_layers_come_by_gain_for_a_millisecond():
    gains = {'layer03': 4., 'layer17': 3., 'layer30': 1.}
    cost = dict.fromkeys(NAMES, 1.)
    cost['layer03'] = 2.
    value = additive(gains)
    steps = list(front.greedy(NAMES, cost, value))
    assert [sorted(s.floats)
            for s in steps] == [[], ['layer17'], ['layer03', 'layer17'],
                                ['layer03', 'layer17', 'layer30']]
    assert [s.value for s in steps] == [90, 93, 97, 98]
    assert [s.cost for s in steps] == [0, 1, 3, 4]
    # Once each layer, then a few.
    print('evaluations: %d, linear %d' %
          (len(value.seen), front.linear_evaluations(len(NAMES))))
    assert len(value.seen) <= 1 + len(NAMES) + 3 * (front.PATIENCE + 6)
    assert len(value.seen) < front.linear_evaluations(len(NAMES)) / 8


def test_it_ends_where_it_is_enough():
    gains = dict.fromkeys(NAMES, 1.0)
    steps = list(
        front.greedy(NAMES,
                     dict.fromkeys(NAMES, 1.),
                     additive(gains),
                     enough=92.5))
    assert [s.value for s in steps] == [90, 91, 92, 93]


def test_a_gain_by_chance_is_none():
    gains = dict.fromkeys(NAMES, 0.01)
    gains['layer05'] = 1.
    steps = list(
        front.greedy(NAMES,
                     dict.fromkeys(NAMES, 1.),
                     additive(gains),
                     least=0.5))
    assert [sorted(s.floats) for s in steps] == [[], ['layer05']]


@pytest.mark.parametrize('pair', [('layer02', 'layer03'),
                                  ('layer09', 'layer31')])
def test_layers_that_help_only_together(pair):
    value = Fake(lambda floats: 90 + 5. * (set(pair) <= floats))
    steps = list(front.greedy(NAMES, dict.fromkeys(NAMES, 1.), value))
    assert steps[-1].floats == set(pair) and steps[-1].value == 95
    print('evaluations: %d' % len(value.seen))
    assert len(value.seen) < front.linear_evaluations(len(NAMES)) / 8


def test_two_groups_that_help_only_together():
    groups = [{'layer02', 'layer15', 'layer33'}, {'layer08', 'layer09'}]
    value = Fake(lambda floats: 90 + sum(g <= floats for g in groups))
    steps = list(front.greedy(NAMES, dict.fromkeys(NAMES, 1.), value))
    assert steps[-1].floats == groups[0] | groups[1]
    assert [s.value for s in steps] in ([90, 91, 92], [90, 92])
    print('evaluations: %d' % len(value.seen))
    assert len(value.seen) < front.linear_evaluations(len(NAMES)) / 4


def test_layers_that_hardly_cost_come_first_and_ties_by_name():
    cost = {'a': 1e-3, 'b': 1., 'c': 1e-3, 'd': 1.}
    gains = {'a': .5, 'b': 3., 'c': .5, 'd': 3.}
    steps = list(front.greedy(list('dcba'), cost, additive(gains)))
    added = [s.floats - t.floats for s, t in zip(steps[1:], steps)]
    assert added == [{'a'}, {'c'}, {'b'}, {'d'}]


def test_what_does_not_fit_is_not_looked_at():
    gains = dict.fromkeys(NAMES, 1.)
    gains['layer00'] = 50.
    cost = {n: 2. if n < 'layer20' else 1. for n in NAMES}
    cost['layer00'] = 9.
    value = additive(gains)
    steps = list(front.greedy(NAMES, cost, value, most=4.5))
    assert steps[-1].cost == 4 and steps[-1].value == 94
    assert all('layer00' not in floats for floats in value.seen)
    assert all(sum(cost[n] for n in floats) <= 4.5 for floats in value.seen)
    value = additive(gains)
    assert len(list(front.greedy(NAMES, cost, value, most=0.5))) == 1
    assert len(value.seen) == 1


def test_a_layer_that_helps_behind_another():
    """Its gain grows once the other is float."""

    def accuracy(floats):
        return 90 + ('layer01' in floats) * (2 + 3 * ('layer02' in floats))

    steps = list(
        front.greedy(NAMES[:8], dict.fromkeys(NAMES, 1.), Fake(accuracy)))
    assert steps[-1].value == 95


def test_nothing_gains():
    value = Fake(lambda floats: 90 - 0.1 * len(floats))
    assert len(list(front.greedy(NAMES, dict.fromkeys(NAMES, 1.), value))) == 1


@pytest.mark.parametrize('seed', range(10))
def test_against_all_choices(seed):
    """Of gains that add up, each step is the best choice of its cost or
    cheaper, but for what the next layer would have brought."""
    rng = random.Random(seed)
    names = NAMES[:9]
    gains = {n: rng.uniform(0, 1) for n in names}
    cost = {n: rng.uniform(0.1, 1) for n in names}
    steps = list(front.greedy(names, cost, additive(gains)))
    assert len(steps) == len(names) + 1
    for step in steps:
        best = max(
            sum(gains[n] for n in chosen) for size in range(len(names) + 1)
            for chosen in itertools.combinations(names, size)
            if sum(cost[n] for n in chosen) <= step.cost + 1e-9)
        assert step.value - 90 >= best - 1e-9
