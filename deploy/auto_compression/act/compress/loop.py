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

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from tqdm import tqdm

from .. import signals
from ..config import TrainSection
from ..data import Batch
from ..errors import UserError

# Called with (iteration from 1, log row) after each step. Checkpoints, other
# loggers and several devices hang on here.
Hook = Callable[[int, Dict[str, float]], None]


@dataclass
class TrainResult:
    """What training did. Metrics are what `evaluate` returned.

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


@contextlib.contextmanager
def _stoppable(result: TrainResult) -> Iterator[None]:
    """Let a signal end the with-block instead of the run, once there is an
    iteration to keep."""
    try:
        yield
    except signals.Stopped as e:
        if not result.log:
            raise
        signals.accept()
        result.stopped = e


def train(session: Any,
          feeds: Iterator[Batch],
          settings: TrainSection,
          *,
          evaluate: Optional[Callable[[], float]] = None,
          hooks: Sequence[Hook] = (),
          start: int = 0,
          where: str = 'configuration') -> TrainResult:
    """Train for `settings.train_iter` iterations.

    Evaluates after each `eval_iter` iterations and after the last. The best
    state is kept in memory; the session ends in the last one. A signal after
    the first iteration ends training with what there is by then.

    Args:
        session: see above.
        feeds: an endless iterator of batches.
        settings: the configuration's TrainConfig.
        evaluate: gives a metric, larger is better. None: no evaluation; the
            last state counts as the best.
        hooks: see Hook.
        start: iterations done before, by a run that is gone on with.
        where: the configuration, for messages.

    Raises:
        UserError: the loss is not finite.
    """
    result = TrainResult()
    begin = time.perf_counter()
    images = settings.batch_size
    with _stoppable(result), tqdm(total=settings.train_iter,
                                  initial=start,
                                  desc='train',
                                  unit='iter') as bar:
        for iteration in range(start + 1, settings.train_iter + 1):
            signals.check()
            rate = session.learning_rate()
            feed = next(feeds)
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
            row = dict(terms,
                       iteration=iteration,
                       learning_rate=rate,
                       images_per_second=images / took)
            result.log.append(row)
            bar.set_postfix_str(
                ' '.join(['%s %.4g' % (n, v) for n, v in terms.items()] + [
                    'lr %.2e' % rate,
                    '%.1f images/s' % row['images_per_second'],
                ]))
            bar.update()
            for hook in hooks:
                hook(iteration, row)
            last = iteration == settings.train_iter
            if evaluate and (last or iteration % settings.eval_iter == 0):
                metric = evaluate()
                better = result.best_metric is None or \
                    metric > result.best_metric
                with signals.held():
                    result.metrics[iteration] = metric
                    if better:
                        result.best_iteration = iteration
                        result.best_state = session.state()
                bar.write('iteration %d: mAP %.2f%s' %
                          (iteration, 100 * metric,
                           ' (best so far)' if better else ''))
    if result.best_state is None:
        result.best_iteration = start + len(result.log)
        result.best_state = session.state()
    result.seconds = time.perf_counter() - begin
    return result
