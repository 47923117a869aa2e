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
"""One probe: plans run over images in a process of their own, so that crashes
are results.

The process is this module. It reads the plans and then the inputs, one batch
after another, from its standard input, so that many images need no memory.
"""

import contextlib
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import (
    Any,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from .. import child
from ..accuracy import Detections, from_model_output
from ..data import Batch
from ..errors import UserError, reason
from ..predictor import Plan, Predictor

RAN = 'ran'
# Nothing that runs a model ends itself so: someone else stopped it.
STOPPED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Seconds until a process is ended of which nothing is known yet: a large model
# without optimisation takes a minute an image.
LIMIT = 1800.0


@dataclass(frozen=True)
class Images:
    """One batch: ids of its images, the model's inputs, and what the reader
    made beside the image, which boxes may need."""
    ids: Tuple[int, ...]
    feed: Batch
    rest: Batch


@dataclass(frozen=True)
class Outcome:
    """What became of a probe.

    end: RAN, or why it has no result, in a line.
    detections: of the first plan, of each image.
    ms: of each plan, the time of each of its runs, interleaved.
    seconds: that the process took.
    """
    end: str
    seconds: float
    detections: Tuple[Detections, ...] = ()
    ms: Tuple[Tuple[float, ...], ...] = ()

    @property
    def ran(self) -> bool:
        return self.end == RAN


@dataclass(frozen=True)
class _Job:
    """What the process is told first."""
    plans: Sequence[Plan]
    rounds: int
    memory: Optional[int]


def run(plans: Sequence[Plan],
        images: Iterable[Images],
        *,
        rounds: int = 1,
        limit: float = LIMIT) -> Outcome:
    """Run plans over images, in turn, in a fresh process.

    Args:
        plans: one or more. Detections are the first one's.
        images: as they come.
        rounds: how often each plan sees each of them.
        limit: seconds after which the process is ended.

    Returns:
        what became of it.

    Raises:
        UserError: someone stopped it, which is not the plan's doing.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix='act_probe_') as work:
        answer = os.path.join(work, 'answer')
        end = _process(_Job(plans, rounds, _free_memory(plans)), images, work,
                       answer, limit)
        seconds = time.perf_counter() - start
        if end != RAN:
            return Outcome(end, seconds)
        with open(answer, 'rb') as f:
            found, ms = pickle.load(f)
    try:
        detections = [
            d for ids, boxes, counts in found
            for d in from_model_output(ids, boxes, counts)
        ]
    except UserError as error:  # NaN
        return Outcome(str(error), seconds)
    return Outcome(RAN, seconds, tuple(detections), tuple(map(tuple, ms)))


def _process(job: _Job, images: Iterable[Images], work: str, answer: str,
             limit: float) -> str:
    """Run the process; how it ended."""
    with open(os.path.join(work, 'said'), 'w+b') as said:
        process = subprocess.Popen(
            [sys.executable, '-m', 'act.search.probe', answer],
            env=child.environment(),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said)
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                pickle.dump(job, process.stdin)
                for one in images:
                    pickle.dump(one, process.stdin)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            code = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        if late.is_set():
            return 'not done after %.0f s' % limit
        if -code in STOPPED:
            raise UserError(
                'a probe was stopped from outside (%s); run the command again, '
                'it goes on where it was' % signal.Signals(-code).name)
        if code < 0:
            return 'crashed: signal %d (%s)' % (-code,
                                                signal.Signals(-code).name)
        said.seek(0)
        lines = said.read().decode(errors='replace').splitlines()
    if code:
        lines = [line for line in lines if line.strip()]
        return lines[-1] if lines else 'failed: exit code %d' % code
    return RAN


def _free_memory(plans: Sequence[Plan]) -> Optional[int]:
    """Bytes that a probe may take: what is free, so that one which runs away
    is ended before the machine swaps. None: no limit, as on a GPU, whose driver
    reserves more than there is."""
    if any(p.device == 'GPU' for p in plans):
        return None
    with contextlib.suppress(OSError, StopIteration, ValueError):
        with open('/proc/meminfo', encoding='ascii') as f:
            line = next(x for x in f if x.startswith('MemAvailable:'))
        return int(line.split()[1]) * 1024
    return None


def _received() -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(sys.stdin.buffer)
        except EOFError:
            return


def _failure(error: Exception) -> str:
    """A line of what Paddle says in many."""
    if isinstance(error, UserError):
        return re.sub(r"^Paddle Inference cannot run '.*?' in \w+: ",
                      'not made: ', str(error))
    return 'failed: %s' % reason(error)


def main(arguments: List[str]) -> None:
    """The process."""
    received = _received()
    job = next(received)
    if job.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    try:
        done = _run(job, received)
    except Exception as error:
        sys.exit(_failure(error))
    with open(arguments[0], 'wb') as f:
        pickle.dump(done, f)


_Found = List[Tuple[Tuple[int, ...], np.ndarray, np.ndarray]]


def _run(job: _Job,
         received: Iterator[Images]) -> Tuple[_Found, List[List[float]]]:
    predictors = [Predictor(plan) for plan in job.plans]
    found: _Found = []
    ms: List[List[float]] = [[] for _ in predictors]
    kept: List[Images] = []
    for one in received:
        found.append((one.ids, *_once(predictors, one, ms, len(found))))
        if job.rounds > 1:
            kept.append(one)
    for number in range(1, job.rounds):
        for at, one in enumerate(kept):
            _once(predictors, one, ms, number + at)
    return found, ms


def _once(predictors: Sequence[Predictor], images: Images,
          ms: List[List[float]], number: int) -> Tuple[np.ndarray, np.ndarray]:
    """Each predictor on one batch, every other time in the other order; the
    first one's boxes."""
    order = range(len(predictors))
    for at in reversed(order) if number % 2 else order:
        predictors[at].set_inputs(images.feed)
        start = time.perf_counter()
        predictors[at].compute()
        ms[at].append((time.perf_counter() - start) * 1e3 / len(images.ids))
    first = predictors[0]
    return first.plan.postprocess(first.outputs(), images.rest)


def as_json(detections: Sequence[Detections]) -> List[Any]:
    """Detections as a journal keeps them."""
    return [[d.image_id, d.boxes.tolist()] for d in detections]


def from_json(rows: Sequence[Any]) -> List[Detections]:
    """What `as_json` gave."""
    return [Detections(i, np.asarray(boxes, np.float32)) for i, boxes in rows]


if __name__ == '__main__':
    main(sys.argv[1:])
