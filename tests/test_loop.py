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
"""The training loop, with a session that is made up."""

import copy
import itertools
import math

import pytest
from act.compress import loop
from act.config import TrainSection
from act.errors import UserError


class Session:
    """Its state is the number of steps taken."""

    def __init__(self, losses=None):
        self.steps = 0
        self.losses = losses or {}

    def learning_rate(self):
        return 0.1 / (self.steps + 1)

    def step(self, feed):
        self.steps += 1
        return {'loss': self.losses.get(self.steps, 1.0), 'l2': 1.0}

    def state(self):
        return {'steps': self.steps}

    def restore(self, state):
        self.steps = state['steps']


def settings(**kwargs):
    values = dict(train_iter=10, eval_iter=4, batch_size=2, learning_rate=0.1)
    values.update(kwargs)
    return TrainSection(**values)


def run(session, train=None, metrics=None, **kwargs):
    evaluate = None
    if metrics:
        evaluate = lambda: metrics[session.steps]  # noqa: E731
    return loop.train(session,
                      itertools.repeat({}),
                      train or settings(),
                      evaluate=evaluate,
                      **kwargs)


def test_best_and_last():
    session = Session()
    result = run(session, metrics={4: 0.3, 8: 0.5, 10: 0.4})
    assert result.metrics == {4: 0.3, 8: 0.5, 10: 0.4}
    assert result.best_iteration == 8 and result.best_metric == 0.5
    assert result.best_state == {'steps': 8}
    assert session.steps == 10  # ends in the last state


def test_equal_metric_keeps_the_earlier():
    result = run(Session(), metrics={4: 0.5, 8: 0.5, 10: 0.5})
    assert result.best_iteration == 4


def test_without_evaluation_the_last_is_the_best():
    result = run(Session())
    assert result.best_iteration == 10 and result.best_metric is None
    assert result.best_state == {'steps': 10}


def test_log_has_the_rate_that_was_used():
    result = run(Session())
    assert [row['iteration'] for row in result.log] == list(range(1, 11))
    assert [row['learning_rate'] for row in result.log[:2]] == [0.1, 0.05]
    assert result.log[0]['l2'] == 1.0


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_loss_that_is_not_finite_stops(value):
    session = Session({3: value})
    with pytest.raises(UserError) as error:
        run(session, where='f.yml')
    message = str(error.value)
    assert 'f.yml' in message and 'iteration 3' in message
    assert 'TrainConfig.learning_rate' in message and '\n' not in message
    assert session.steps == 3


def test_hooks_and_what_was_done_before():
    seen = []
    before = loop.TrainResult(log=[{
        'iteration': i
    } for i in range(1, 8)],
                              seconds=50)
    session = Session()
    session.steps = 7
    result = run(session,
                 metrics={
                     8: 0.5,
                     10: 0.6
                 },
                 hooks=[lambda i, row: seen.append((i, *row))],
                 result=before)
    terms = ('loss', 'l2', 'iteration', 'learning_rate', 'images_per_second')
    assert seen == [(8, *terms), (8, 'mAP'), (9, *terms), (10, *terms),
                    (10, 'mAP')]
    assert session.steps == 10 and len(result.log) == 10
    assert 50 < result.seconds < 60


@pytest.mark.parametrize('at', range(1, 11))
@pytest.mark.parametrize('evaluated', [True, False])
def test_gone_on_with_as_if_never_stopped(at, evaluated):
    """What is kept at any iteration leads to the same end."""
    metrics = {4: 0.3, 8: 0.5, 10: 0.4} if evaluated else None
    kept = {}

    def keep(result, due):
        kept.setdefault(len(result.log), copy.deepcopy(result))
        assert due == (len(result.log) == 10
                       or evaluated and len(result.log) in metrics)

    whole = run(Session(), metrics=metrics, checkpoint=keep)
    assert sorted(kept) == list(range(1, 11))
    session = Session()
    session.steps = at
    again = run(session, metrics=metrics, result=kept[at])
    assert again.metrics == whole.metrics
    assert again.best_iteration == whole.best_iteration
    assert again.best_state == whole.best_state
    assert len(again.log) == 10 and session.steps == 10


def test_evaluation_that_was_cut_off_is_made_up_for():
    session = Session()
    session.steps = 4
    before = loop.TrainResult(log=[{'iteration': i} for i in range(1, 5)])
    result = run(session, metrics={4: 0.9, 8: 0.5, 10: 0.4}, result=before)
    assert result.best_iteration == 4 and result.best_state == {'steps': 4}
