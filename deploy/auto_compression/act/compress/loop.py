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
"""The training loop: progress, schedule, evaluation, the best and the last.

It knows nothing of Paddle: a session gives `step`, `learning_rate`, `state` and
`restore` (see `qat.QatSession`), so that it is tested with a made one.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from tqdm import tqdm

from .. import signals
from ..config import TrainSection
from ..data import Batch
from ..errors import UserError

# Called with (iteration from 1, log row) after each step, and with
# (iteration, {'mAP': metric}) after each evaluation: loggers hang on here.
Hook = Callable[[int, Dict[str, float]], None]


@dataclass
class TrainResult:
    """What training did. Metrics are what `evaluate` returned, `seconds` those
    of all its parts, if it was gone on with.

    `stopped` is the signal that ended it early, None if it came to its end.
    """
    log: List[Dict[str, float]] = field(default_factory=list)
    metrics: Dict[int, float] = field(default_factory=dict)
    best_iteration: int = 0
    best_state: Optional[Dict[str, Any]] = None
    seconds: float = 0.0
    stopped: Optional[signals.Stopped] = None

    @property
    def best_metric(self) -> Optional[float]:
        return self.metrics.get(self.best_iteration)


def train(session: Any,
          feeds: Iterator[Batch],
          settings: TrainSection,
          *,
          evaluate: Optional[Callable[[], float]] = None,
          hooks: Sequence[Hook] = (),
          checkpoint: Optional[Callable[[TrainResult, bool], None]] = None,
          result: Optional[TrainResult] = None,
          check: Callable[[], None] = signals.check,
          images: Optional[int] = None,
          where: str = 'configuration') -> TrainResult:
    """Train up to iteration `settings.train_iter`.

    Evaluates after each `eval_iter` iterations and after the last. The best
    state is kept in memory; the session ends in the last one. A signal after
    the first iteration ends training with what there is by then: the iteration
    is finished first, unless a second signal comes.

    Args:
        session: see above.
        feeds: an endless iterator of batches.
        settings: the configuration's TrainConfig.
        evaluate: gives a metric, larger is better. None: no evaluation; the
            last state counts as the best.
        hooks: see Hook.
        checkpoint: called between iterations with the result so far, and
            whether it must be kept now: after an evaluation and at the end.
        result: what was done before, by a run that is gone on with; it is
            changed. The session is in its state.
        check: raises signals.Stopped if training is to stop; called between
            iterations.
        images: of an iteration, for their rate; None: a batch.
        where: the configuration, for messages.

    Raises:
        UserError: the loss is not finite.
    """
    result = result or TrainResult()
    begin, before = time.perf_counter(), result.seconds
    bar = tqdm(total=settings.train_iter,
               initial=min(len(result.log), settings.train_iter),
               desc='train',
               unit='iter')
    between = True  # iterations: a second signal may come inside one
    with bar:
        try:
            while True:
                done = len(result.log)
                ended = done >= settings.train_iter
                due = _evaluation_due(result, settings, evaluate)
                if due:
                    _evaluate(session, result, evaluate, bar)
                    for hook in hooks:
                        hook(done, {'mAP': result.metrics[done]})
                result.seconds = before + time.perf_counter() - begin
                if checkpoint is not None and done:
                    checkpoint(result, due or ended)
                if ended:
                    break
                check()
                feed = next(feeds)
                with signals.held(patient=False):
                    between = False
                    row = _step(session, feed, done + 1, images
                                or settings.batch_size, where)
                    result.log.append(row)
                    for hook in hooks:
                        hook(done + 1, row)
                    between = True
                bar.set_postfix_str(_postfix(row))
                bar.update()
        except signals.Stopped as e:
            if not between or not result.log:
                raise
            signals.accept()
            result.stopped = e
            result.seconds = before + time.perf_counter() - begin
            if checkpoint is not None:
                checkpoint(result, True)
    if result.best_state is None:
        result.best_iteration = len(result.log)
        result.best_state = session.state()
    result.seconds = before + time.perf_counter() - begin
    return result


def _step(session: Any, feed: Batch, iteration: int, images: int,
          where: str) -> Dict[str, float]:
    """One iteration. Returns its row of the log."""
    rate = session.learning_rate()
    tick = time.perf_counter()
    terms = session.step(feed)
    took = time.perf_counter() - tick
    bad = [n for n, v in terms.items() if not math.isfinite(v)]
    if bad:
        raise UserError(
            "%s: %s is %s at iteration %d (learning rate %.3g): lower "
            "TrainConfig.learning_rate, or clip gradients with "
            "TrainConfig.optimizer_builder.grad_clip" %
            (where, bad[0], terms[bad[0]], iteration, rate))
    return dict(terms,
                iteration=iteration,
                learning_rate=rate,
                images_per_second=images / took)


def _postfix(row: Dict[str, float]) -> str:
    terms = ('%s %.4g' % item for item in row.items()
             if item[0] not in ('iteration', 'learning_rate',
                                'images_per_second'))
    return '%s lr %.2e %.1f images/s' % (' '.join(terms), row['learning_rate'],
                                         row['images_per_second'])


def _evaluation_due(result: TrainResult, settings: TrainSection,
                    evaluate: Optional[Callable[[], float]]) -> bool:
    done = len(result.log)
    return (evaluate is not None and done > 0 and done not in result.metrics
            and (done >= settings.train_iter or done % settings.eval_iter == 0))


def _evaluate(session: Any, result: TrainResult, evaluate: Callable[[], float],
              bar: Any) -> None:
    metric = evaluate()
    better = result.best_metric is None or metric > result.best_metric
    iteration = len(result.log)
    with signals.held():
        result.metrics[iteration] = metric
        if better:
            result.best_iteration = iteration
            result.best_state = session.state()
    bar.write('iteration %d: mAP %.2f%s' %
              (iteration, 100 * metric, ' (best so far)' if better else ''))
