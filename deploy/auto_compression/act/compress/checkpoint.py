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
"""Training that can be gone on with after a stop, a crash or SIGKILL.

A checkpoint is a directory with every value that the programs keep (weights,
ranges, optimizer), and what training knows beside them: schedule, log, metrics.
Data order and random numbers follow from the iteration. Checkpoints lie beside
the result: the last two, so that one may be broken, and the best. Each appears
whole, by being renamed; `Checkpoints.remove()` takes them away once the result
is there.
"""

import json
import os
import re
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import numpy as np

from ..errors import UserError
from ..files import replace_directory, work_directory
from .loop import TrainResult

# Added to the name of a result directory.
SUFFIX = '_checkpoints'
# Seconds between checkpoints where the configuration gives no iterations.
SECONDS = 300
_ARRAYS, _TRAINING = 'values.npz', 'training.json'
_KEPT = 2
_NAME = 'iteration_'  # and eight digits


@dataclass
class Checkpoint:
    """What was read.

    Attributes:
        result: of training so far.
        values: {variable: array}, for `QatSession.restore`.
        schedule: state of the learning rate's schedule, None without one.
        kept_ranges: for `QatSession.keep_ranges`.
        fields: of the record, from what came before training.
    """
    result: TrainResult
    values: Dict[str, np.ndarray]
    schedule: Optional[Dict[str, Any]]
    kept_ranges: List[str]
    fields: Dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, in a directory of their own."""

    def __init__(self,
                 save_dir: str,
                 origin: Dict[str, Any],
                 every: Optional[int] = None) -> None:
        """
        Args:
            save_dir: the result directory that they lie beside.
            origin: what a run must have in common to be gone on with; JSON.
            every: iterations between checkpoints; None: SECONDS.
        """
        self.directory = os.path.abspath(save_dir) + SUFFIX
        # As it will be read.
        self._origin = json.loads(json.dumps(origin))
        self._every = every
        self._written = time.monotonic()
        self._fresh = True

    def iterations(self) -> List[int]:
        """Of the checkpoints that are there, ascending."""
        if not os.path.isdir(self.directory):
            return []
        found = (re.fullmatch(_NAME + r'(\d{8})', name)
                 for name in os.listdir(self.directory))
        return sorted(int(match.group(1)) for match in found if match)

    def after(self, session: Any, result: TrainResult, due: bool,
              fields: Dict[str, Any]) -> None:
        """Write a checkpoint if one is due.

        Args:
            session: between two iterations.
            result: of training so far.
            due: whether one is due in any case.
            fields: see `Checkpoint`.

        Raises:
            OSError: it cannot be written; older ones stay.
        """
        iteration = len(result.log)
        if self._every:
            due = due or iteration % self._every == 0
        else:
            due = due or time.monotonic() - self._written >= SECONDS
        if due:
            self._write(session, result, fields)
            self._written = time.monotonic()

    def _write(self, session: Any, result: TrainResult,
               fields: Dict[str, Any]) -> None:
        iteration = len(result.log)
        training = {
            'origin': self._origin,
            'log': result.log,
            'metrics': result.metrics,
            'best_iteration': result.best_iteration,
            'seconds': result.seconds,
            'schedule': session.schedule(),
            'kept_ranges': session.kept_ranges,
            'fields': fields,
        }
        older = self.iterations()
        if self._fresh:
            # Of a run before that was not gone on with.
            for at in older:
                shutil.rmtree(self._path(at))
            older, self._fresh = [], False
        path = self._path(iteration)
        with work_directory(path, '.checkpoint_') as work:
            made = os.path.join(work, 'made')
            os.makedirs(made)
            with open(os.path.join(made, _ARRAYS), 'wb') as f:
                _write_arrays(f, session.values())
                _flush(f)
            with open(os.path.join(made, _TRAINING), 'w',
                      encoding='utf-8') as f:
                json.dump(training, f)
                _flush(f)
            replace_directory(made, path)
        kept = sorted({*older, iteration})[-_KEPT:] + [result.best_iteration]
        for at in set(older) - set(kept):
            shutil.rmtree(self._path(at))

    def read(self) -> Checkpoint:
        """The last checkpoint, or the one before if that is broken.

        Raises:
            UserError: there is none, none can be read, or the run that wrote
                them was another.
        """
        self._fresh = False
        place = os.path.relpath(self.directory)
        for iteration in reversed(self.iterations()):
            try:
                return self._read(iteration)
            except (OSError, EOFError, ValueError, KeyError,
                    zipfile.BadZipFile) as e:
                print("warning: '%s' is broken (%s): left out" %
                      (os.path.relpath(self._path(iteration)), e),
                      file=sys.stderr,
                      flush=True)
        raise UserError(
            "--resume: '%s' holds no checkpoint%s; start without "
            '--resume' %
            (place, ' that can be read' if self.iterations() else ''))

    def _read(self, iteration: int) -> Checkpoint:
        path = self._path(iteration)
        with open(os.path.join(path, _TRAINING), encoding='utf-8') as f:
            found = json.load(f)
        self._check(found['origin'])
        values = _arrays(path)
        result = TrainResult(log=found['log'],
                             metrics={
                                 int(k): v
                                 for k, v in found['metrics'].items()
                             },
                             best_iteration=found['best_iteration'],
                             seconds=found['seconds'])
        if result.best_iteration == iteration:
            result.best_state = values
        elif result.best_iteration:
            result.best_state = _arrays(self._path(result.best_iteration))
        return Checkpoint(result, values, found['schedule'],
                          found['kept_ranges'], found['fields'])

    def _check(self, origin: Dict[str, Any]) -> None:
        for key in sorted({*origin, *self._origin}):
            before, now = origin.get(key), self._origin.get(key)
            if before != now:
                raise UserError(
                    "--resume: %s was %s in the run that left '%s' and is %s "
                    'now; set it back, or start without --resume' %
                    (key, before, os.path.relpath(self.directory), now))

    def remove(self) -> None:
        """Take all of them away: the result is there."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, iteration: int) -> str:
        return os.path.join(self.directory, '%s%08d' % (_NAME, iteration))


def _flush(f: Any) -> None:
    """Onto the disk, so that a name never appears before its content."""
    f.flush()
    os.fsync(f.fileno())


def _write_arrays(f: Any, arrays: Dict[str, np.ndarray]) -> None:
    """np.savez, which on a full disk leaves its file to the destructor, and the
    user with a traceback from there."""
    with zipfile.ZipFile(f, 'w') as archive:
        for name, value in arrays.items():
            with archive.open(name + '.npy', 'w', force_zip64=True) as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)


def _arrays(path: str) -> Dict[str, np.ndarray]:
    with np.load(os.path.join(path, _ARRAYS)) as found:
        return {name: found[name] for name in found.files}
