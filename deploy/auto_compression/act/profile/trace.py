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
"""Paddle's profiler: what `paddle.profiler.Profiler.export` writes.

A Chrome trace: JSON with one object an event, its name followed by its
duration ("conv2d[369.593 us]"), its kind in `cat`, and its times in `args`.
Each operator of a predictor is an event of kind Operator, with its parts
(prepare_data, infer_shape, compute: OperatorInner) inside it. What a process
marks itself with `paddle.profiler.RecordEvent` is a PythonUserDefined one;
`run_mark` and `output_mark` name those that are read here.
"""

import contextlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

from ..errors import UserError

Shape = Tuple[int, ...]

_DURATION = re.compile(r'\[[\d.]+ [mun]?s\]$')
_RUN = 'run '
_OUTPUT = 'output '


@dataclass(frozen=True)
class Event:
    """One event; times in microseconds since the profiler began."""
    name: str
    kind: str
    start: float
    end: float


@dataclass(frozen=True)
class Operator:
    """One execution of one operator. Operators inside it (of a sub-block) are
    part of it."""
    type: str
    ms: float
    outputs: Tuple[Tuple[str, Shape], ...]  # name and shape, where marked


@dataclass(frozen=True)
class Run:
    """One inference run that was marked."""
    label: str
    ms: float
    operators: Tuple[Operator, ...]

    @property
    def operators_ms(self) -> float:
        return sum(o.ms for o in self.operators)


def run_mark(label: str) -> str:
    """Name of the event around a run."""
    return _RUN + label


def output_mark(name: str, shape: Sequence[int]) -> str:
    """Name of the event that says that an operator wrote an output."""
    return '%s%s %s' % (_OUTPUT, 'x'.join(map(str, shape)) or '-', name)


def parse(text: str) -> List[Event]:
    """Read the events of a trace, in order of their start; an event before
    those inside it.

    Raises:
        UserError: it is no trace, or an event lacks its times.
    """
    try:
        events = json.loads(text)['traceEvents']
        found = [
            Event(_DURATION.sub('', e['name']), e['cat'],
                  _microseconds(e['args']['start_time']),
                  _microseconds(e['args']['end_time'])) for e in events
            # The others say how a viewer shows processes and threads.
            if e.get('ph') == 'X'
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise UserError("the profiler's trace cannot be read: %s: %s" %
                        (type(e).__name__, e)) from None
    return sorted(found, key=lambda e: (e.start, -e.end))


def _microseconds(text: str) -> float:
    number, unit = text.split()
    if unit != 'us':
        raise ValueError("'%s' is not in us" % text)
    return float(number)


def runs(events: Sequence[Event]) -> List[Run]:
    """The marked runs, in order, each with its operators.

    Args:
        events: as `parse` gives them.
    """
    found: List[Run] = []
    marks = [
        e for e in events
        if e.kind == 'PythonUserDefined' and e.name.startswith(_RUN)
    ]
    at = 0
    for mark in marks:
        while events[at] is not mark:
            at += 1
        inside = []
        for event in events[at + 1:]:
            if event.start >= mark.end:
                break
            inside.append(event)
        found.append(
            Run(mark.name[len(_RUN):], (mark.end - mark.start) / 1e3,
                _operators(inside)))
    return found


def _operators(events: Sequence[Event]) -> Tuple[Operator, ...]:
    found: List[Operator] = []
    end = 0.0
    for event in events:
        if event.kind == 'Operator' and event.start >= end:
            end = event.end
            found.append(
                Operator(event.name, (event.end - event.start) / 1e3, ()))
        elif event.kind == 'PythonUserDefined' and found and \
                event.start >= end and event.name.startswith(_OUTPUT):
            shape, _, name = event.name[len(_OUTPUT):].partition(' ')
            sizes = () if shape == '-' else tuple(map(int, shape.split('x')))
            last = found[-1]
            found[-1] = Operator(last.type, last.ms,
                                 last.outputs + ((name, sizes), ))
    return tuple(found)


def record(body: Callable[[], None]) -> List[Run]:
    """Call a function with Paddle's profiler on.

    Args:
        body: marks its runs, see `run_mark`.

    Returns:
        its marked runs.
    """
    from paddle import profiler
    with tempfile.TemporaryDirectory(prefix='act_trace_') as work:
        path = os.path.join(work, 'trace.json')
        one = profiler.Profiler(targets=[profiler.ProfilerTarget.CPU],
                                on_trace_ready=lambda p: p.export(path))
        with one:
            body()
        with open(path, encoding='utf-8') as f:
            return runs(parse(f.read()))


@contextlib.contextmanager
def marked(name: str):
    """An event of that name, for as long as it lasts."""
    from paddle.profiler import RecordEvent
    with RecordEvent(name):
        yield
