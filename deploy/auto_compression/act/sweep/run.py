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
"""A sweep: the models one after the other, and a report of them all."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from typing import Iterator, List, Optional, Sequence

from .. import config, files, process, results, runtime, signals
from ..cli import parse_overrides
from ..errors import UserError
from ..report import make
from .progress import Progress
from .steps import COMPRESS, EVALUATE, NAMES, Model, Options, State

REPORT = 'report'
# Seconds for a training that is stopped to write a checkpoint.
_PATIENCE = 30


def sweep(paths: Sequence[str], options: Options) -> List[str]:
    """Compress and evaluate models, each step in a process of its own.

    What a model's step raises ends that model, not the sweep.

    Args:
        paths: their YAMLs.
        options: see Options.

    Returns:
        one line for each model that failed.

    Raises:
        UserError: a YAML cannot be read, two have one name, nothing can be
            written, or another sweep is at work there.
        signals.Stopped: a signal came; the same command goes on.
    """
    overrides = parse_overrides(options.overrides)
    models = [Model(config.load(path, overrides), options) for path in paths]
    _check_names(models)
    what = "--save_dir '%s'" % options.save_dir
    files.check_writable(options.save_dir, what, directory=True)
    with files.writing(what), _alone(options.save_dir) as lock:
        failures = _all(models, options, lock)
        records = [record for model in models for record in _records(model)]
        make.make(records, os.path.join(options.save_dir, REPORT))
    return failures


def _check_names(models: Sequence[Model]) -> None:
    seen = {}
    for model in models:
        other = seen.setdefault(model.name, model)
        if other is not model:
            raise UserError(
                "--config_path: '%s' and '%s' have one name, which results are "
                'called by; rename one' %
                (other.settings.path, model.settings.path))


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[int]:
    """A lock on the sweep's directory. Steps inherit it: what a sweep that was
    killed has started may be at work still.

    Raises:
        UserError: another one has it.
    """
    os.makedirs(directory, exist_ok=True)
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UserError(
            "--save_dir '%s': another sweep, or what it started, is "
            'at work there; wait for its end, or name another '
            'place' % directory) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield held
    finally:
        os.close(held)


def _all(models: Sequence[Model], options: Options, lock: int) -> List[str]:
    states = [State(model) for model in models]
    todo = [_todo(state, options) for state in states]
    taken = {
        step: [s for s in (state.seconds(step) for state in states) if s]
        for step in NAMES
    }
    progress = Progress([step for steps in todo for step in steps], taken,
                        len(NAMES) * len(models))
    failures = []
    try:
        for model, state, steps in zip(models, states, todo):
            before = [step for step in NAMES if step not in steps]
            if before:
                progress.say('%s: %s done before' %
                             (model.name, ' and '.join(before)))
            failed = _model(model, state, steps, progress, lock)
            if failed:
                failures.append('%s: %s' % (model.name, failed))
    except signals.Stopped as e:
        raise signals.Stopped(e.number,
                              'stopped; the same command goes on') from None
    finally:
        progress.close()
    return failures


def _todo(state: State, options: Options) -> List[str]:
    """Steps of a model that are to be done; after one that is, all are."""
    done = [not options.fresh and state.finished(step) for step in NAMES]
    first = done.index(False) if False in done else len(NAMES)
    return list(NAMES[first:])


def _model(model: Model, state: State, steps: Sequence[str], progress: Progress,
           lock: int) -> Optional[str]:
    """Do steps of a model. Returns why one failed."""
    if steps:
        for old in (os.path.dirname(model.failure), model.evaluation):
            shutil.rmtree(old, ignore_errors=True)
    for at, step in enumerate(steps):
        command = model.command(step)
        if step == COMPRESS and state.resumable() and \
                not model.options.fresh:
            command.append('--resume')
        progress.begin(model.name, step)
        state.begin(step)
        start = time.monotonic()
        failed = _run(command, model.log(step), progress, lock)
        if failed:
            _write_failure(model, command, failed)
            progress.say('%s: %s failed: %s (see %s)' %
                         (model.name, step, failed, model.log(step)))
            progress.end(step, None, len(steps) - at - 1)
            return failed
        seconds = time.monotonic() - start
        state.finish(step, seconds)
        progress.say('%s: %s done in %.0f s' % (model.name, step, seconds))
        progress.end(step, seconds)
    return None


def _run(command: Sequence[str], log: str, progress: Progress,
         lock: int) -> Optional[str]:
    """Run a step. Returns why it failed."""
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, 'wb') as f, process.started(command,
                                               patience=_PATIENCE,
                                               stdout=f,
                                               stderr=subprocess.STDOUT,
                                               pass_fds=(lock, )) as child:
        while True:
            try:
                code = child.wait(timeout=progress.interval)
                break
            except subprocess.TimeoutExpired:
                progress.refresh()
    return _reason(code, log) if code else None


def _reason(code: int, log: str) -> str:
    """Why a step failed: its error, or else its end and the last line."""
    with open(log, encoding='utf-8', errors='replace') as f:
        lines = [x.strip() for x in f.read().splitlines() if x.strip()]
    for line in reversed(lines):
        if line.startswith('error: '):
            return line[len('error: '):]
    ended = 'exit code %d' % code
    if code < 0:
        ended = 'ended by %s' % signal.Signals(-code).name
    return '%s; its last line: %s' % (ended, lines[-1]) if lines else ended


def _write_failure(model: Model, command: Sequence[str], failed: str) -> None:
    record = results.new_record(os.path.basename(command[1]), command[1:])
    record.update(runtime.environment())
    record.update(model_name=model.name,
                  config=model.settings.path,
                  error=failed)
    results.write_json(record, model.failure)


def _records(model: Model) -> List[str]:
    """What the report gets of a model: all that is of this sweep."""
    state = State(model)
    made = [model.record(s) for s in NAMES if state.finished(s)]
    if os.path.isfile(model.failure):
        made.append(model.failure)
        # Of a check that failed there are figures, too.
        made += [r for r in [model.record(EVALUATE)] if os.path.isfile(r)]
    return list(dict.fromkeys(made))
