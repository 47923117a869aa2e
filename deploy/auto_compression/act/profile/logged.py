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
"""Operators with the oneDNN primitives that each of them ran.

Paddle's profiler knows operators and no primitives, oneDNN's log primitives and
no operators. A hook that Paddle calls after each operator, once for each of its
outputs, writes a mark into the log, so each primitive stands before the outputs
of the operator that ran it. One more run, with the profiler on, tells which
outputs are one operator's. Nothing is guessed from order or sizes.

A process of its own, as the log must be on when oneDNN is loaded: this module,
see `child`. Its runs are slower than others; only shares within an operator are
taken from them.
"""

import json
import os
import tempfile
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Dict, List, Sequence, Tuple

from .. import child, onednn
from ..data import Batch
from ..errors import UserError
from ..predictor import Plan
from . import trace

WARMUP = 2
RUNS = 3


@dataclass(frozen=True)
class Logged:
    """One operator of a run, in the order of execution."""
    type: str
    outputs: Tuple[Tuple[str, trace.Shape], ...]  # name and shape
    # Times are medians over the runs.
    primitives: Tuple[onednn.Primitive, ...]


@dataclass(frozen=True)
class Recording:
    operators: Tuple[Logged, ...]
    # {name of an output that was watched: values above its threshold}
    above: Dict[str, int]


def record(plan: Plan, feed: Batch, watched: Dict[str, float]) -> Recording:
    """Run a plan with oneDNN's log on.

    Args:
        plan: of the predictor.
        feed: one batch, under the model's input names.
        watched: {name of a variable: threshold}, see Recording.above.

    Raises:
        UserError: the process failed, or its runs differ.
    """
    answer, lines = run(plan, feed, watched)
    return Recording(assign(answer['operators'], lines), answer['above'])


def run(plan: Plan, feed: Batch,
        watched: Dict[str, float]) -> Tuple[Dict[str, Any], List[List[str]]]:
    """What `main` answers, and the log of each of its runs; see `record`."""
    with tempfile.TemporaryDirectory(prefix='act_profile_') as work:
        answer = os.path.join(work, 'operators.json')
        command = child.command('act.profile.logged', plan, feed, work,
                                json.dumps(watched), answer)
        lines = onednn.record_runs(command, env=child.environment())
        with open(answer, encoding='utf-8') as f:
            return json.load(f), lines


def assign(operators: Sequence[Sequence[Any]],
           runs: Sequence[Sequence[str]]) -> Tuple[Logged, ...]:
    """Give each operator its primitives.

    Args:
        operators: (type, its outputs: (name, shape) each) in order.
        runs: the log of each run, a mark after each output.

    Raises:
        UserError: a run has another number of outputs, or other primitives
            than the first.
    """
    marks = sum(len(written) for _, written in operators)
    parsed = []
    for lines in runs:
        parts = onednn.by_output(lines)
        if len(parts) != marks + 1:
            raise UserError("oneDNN's log has marks of %d outputs where the "
                            'operators have %d' % (len(parts) - 1, marks))
        parsed.append([onednn.parse(part) for part in parts])
    merged = [_medians(same) for same in zip(*parsed)]
    found, at = [], 0
    for kind, written in operators:
        ran = [p for part in merged[at:at + len(written)] for p in part]
        at += len(written)
        outputs = tuple((name, tuple(shape)) for name, shape in written)
        found.append(Logged(kind, outputs, tuple(ran)))
    return tuple(found)


def _medians(
        runs: Sequence[Sequence[onednn.Primitive]]) -> List[onednn.Primitive]:
    """Of the same primitives in several runs."""
    first = [replace(p, milliseconds=0.0) for p in runs[0]]
    for other in runs[1:]:
        if [replace(p, milliseconds=0.0) for p in other] != first:
            raise UserError("oneDNN's log: the runs are not alike")
    return [
        replace(same[0], milliseconds=median(p.milliseconds for p in same))
        for same in zip(*runs)
    ]


def main(arguments: List[str]) -> None:
    """The process: runs to warm up, one for the operators, those to log."""
    watched: Dict[str, float] = json.loads(arguments[2])
    above: Dict[str, int] = {}
    predictor = child.predictor(arguments)
    for _ in range(WARMUP):
        predictor.compute()

    def written(name: str, tensor: Any) -> None:
        if name in watched:
            above[name] = int((tensor.numpy() > watched[name]).sum())
        with trace.marked(trace.output_mark(name, tensor.shape)):
            pass
        onednn.mark_output()

    def once() -> None:
        with trace.marked(trace.run_mark('')):
            predictor.compute()

    predictor.on_output(written)
    run, = trace.record(once)
    for index in range(RUNS):
        onednn.mark_begin(index)
        predictor.compute()
        onednn.mark_end(index)
    with open(arguments[3], 'w', encoding='utf-8') as f:
        json.dump(
            {
                'operators': [(o.type, o.outputs) for o in run.operators],
                'above': above
            }, f)


if __name__ == '__main__':
    child.run(main)
