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
"""How long each operator takes in the steady state, by Paddle's profiler.

Models run in turn, in one process; the first runs are left out. Everything is
the median over the runs, an operator's time as well as a whole run's. Where
other work interrupts a run, it interrupts another operator each time: it is in
the median of the runs, and in that of hardly any operator. So the share of the
operators in their run is taken run by run, and what the medians do not add up
to is named for what it is.
"""

import time
from dataclasses import dataclass
from statistics import median
from typing import Dict, List, Sequence, Tuple

from tqdm import tqdm

from ..data import Batch
from ..errors import UserError
from ..predictor import Predictor
from . import trace

WARMUP = 5


@dataclass(frozen=True)
class Timing:
    """Of one model; milliseconds of wall time unless said otherwise."""
    operators: Tuple[trace.Operator, ...]  # in order of execution
    run_ms: float  # a whole run in which the operators were timed
    share: float  # of the operators in their run, 0 to 1
    plain_ms: float  # a run without the profiler
    cpu_ms: float  # CPU time of all threads in such a run
    runs: int  # how many of each kind were made

    @property
    def operators_ms(self) -> float:
        return sum(o.ms for o in self.operators)

    @property
    def between_ms(self) -> float:
        """Of a run, what is in no operator."""
        return self.run_ms * (1 - self.share)

    @property
    def disturbed_ms(self) -> float:
        """Of a run, what other work on the machine took from its operators:
        what their medians lack. Near 0 on an idle machine."""
        return self.run_ms - self.operators_ms - self.between_ms


def measure(predictors: Dict[str, Predictor], feeds: Dict[str, Batch],
            runs: int) -> Dict[str, Timing]:
    """Time models in turn.

    Args:
        predictors: by a label of their own.
        feeds: one batch each, under the models' input names.
        runs: of each model, with the profiler; as many without, half of them
            before and half after.

    Returns:
        by label.

    Raises:
        UserError: the runs of a model differ in their operators.
    """
    plain: Dict[str, List[Tuple[float, float]]] = {n: [] for n in predictors}
    for label, predictor in predictors.items():
        predictor.set_inputs(feeds[label])
    with tqdm(total=(2 * runs + WARMUP) * len(predictors),
              desc='profile',
              unit='run') as bar:

        def in_turn(times: int, plainly: bool) -> None:
            for _ in range(times):
                for label, predictor in predictors.items():
                    if plainly:
                        used, start = time.process_time(), time.perf_counter()
                        predictor.compute()
                        wall = time.perf_counter() - start
                        used = time.process_time() - used
                        plain[label].append((1e3 * wall, 1e3 * used))
                    else:
                        with trace.marked(trace.run_mark(label)):
                            predictor.compute()
                    bar.update()

        in_turn(WARMUP, True)
        plain = {label: [] for label in predictors}
        in_turn(runs - runs // 2, True)
        found = trace.record(lambda: in_turn(runs, False))
        in_turn(runs // 2, True)
    return {
        label: summarize([r for r in found if r.label == label], plain[label])
        for label in predictors
    }


def summarize(profiled: Sequence[trace.Run],
              plain: Sequence[Tuple[float, float]]) -> Timing:
    """One model's figures.

    Args:
        profiled: its runs with the profiler.
        plain: (wall, CPU) milliseconds of each run without.

    Raises:
        UserError: the runs differ in their operators.
    """
    types = [o.type for o in profiled[0].operators]
    for run in profiled:
        if [o.type for o in run.operators] != types:
            raise UserError('the runs of a model differ in their operators: '
                            'they cannot be told apart')
    operators = tuple(
        trace.Operator(same[0].type, median(o.ms
                                            for o in same), same[0].outputs)
        for same in zip(*(run.operators for run in profiled)))
    return Timing(operators, median(run.ms for run in profiled),
                  median(run.operators_ms / run.ms for run in profiled),
                  median(wall for wall, _ in plain),
                  median(used for _, used in plain), len(profiled))
