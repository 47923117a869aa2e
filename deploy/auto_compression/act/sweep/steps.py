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
"""What a sweep does to one model, and what of it is done already.

Below the sweep's directory a model has models/NAME (the result of run.py),
evaluations/NAME, logs/NAME_STEP.log, state/NAME.json, and, if it failed,
errors/NAME/error.json.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from .. import config, evaluate
from ..compress import checkpoint, job
from ..files import file_digest, write_whole

COMPRESS, EVALUATE = 'compress', 'evaluate'
NAMES = (COMPRESS, EVALUATE)
FAILURE = 'error.json'
_SCRIPTS = os.path.normpath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))


@dataclass(frozen=True)
class Options:
    """What sweep.py was asked for.

    Attributes:
        save_dir: the sweep's directory.
        overrides: of all YAMLs, as KEY=VALUE.
        num_images, threads, benchmark: of the evaluations.
        fresh: whether finished steps are done again.
    """
    save_dir: str
    overrides: Sequence[str] = ()
    num_images: Optional[int] = None
    threads: Optional[int] = None
    benchmark: bool = False
    fresh: bool = False


@dataclass(frozen=True)
class Model:
    """One model of a sweep."""
    settings: config.Settings
    options: Options

    @property
    def name(self) -> str:
        """Of its YAML."""
        return self.settings.name

    def path(self, *parts: str) -> str:
        """A place below the sweep's directory."""
        return os.path.join(self.options.save_dir, *parts)

    @property
    def result(self) -> str:
        """Directory of the compressed model."""
        return self.path('models', self.name)

    @property
    def evaluation(self) -> str:
        """Directory of what was measured."""
        return self.path('evaluations', self.name)

    @property
    def failure(self) -> str:
        """Record of a step that failed."""
        return self.path('errors', self.name, FAILURE)

    def log(self, step: str) -> str:
        """File of all that a step printed."""
        return self.path('logs', '%s_%s.log' % (self.name, step))

    def record(self, step: str) -> str:
        """File that a step writes at its end."""
        if step == COMPRESS:
            return os.path.join(self.result, job.RECORD)
        return os.path.join(self.evaluation, evaluate.RECORD)

    def command(self, step: str) -> List[str]:
        """A step's command line."""
        if step == COMPRESS:
            made = [
                'run.py', '--config_path', self.settings.path, '--save_dir',
                self.result
            ]
            given = self.options.overrides
            return _script(made + (['-o', *given] if given else []))
        made = [
            'paddle_inference_eval.py', '--device', 'CPU', '--model_path',
            self.result, '--compare', self.settings.Global.model_dir,
            '--per_class', '--output_dir', self.evaluation
        ]
        for option, value in (('--num_images', self.options.num_images),
                              ('--cpu_threads', self.options.threads)):
            if value:
                made += [option, str(value)]
        return _script(made + ['--benchmark'] * self.options.benchmark)


def _script(words: List[str]) -> List[str]:
    """The Python that runs this, and the script as a user would name it."""
    path = os.path.join(_SCRIPTS, words[0])
    near = os.path.relpath(path)
    return [
        sys.executable, path if near.startswith(os.pardir) else near, *words[1:]
    ]


class State:
    """Which steps of a model were begun and finished, and for what: kept in a
    file, so that a sweep goes on where it was."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._path = model.path('state', model.name + '.json')
        self._known: Dict[str, Any] = {}
        try:
            with open(self._path, encoding='utf-8') as f:
                known = json.load(f)
            if isinstance(known, dict):
                self._known = known
        except (OSError, ValueError):
            pass  # nothing is known

    def finished(self, step: str) -> bool:
        """Whether a step has been done as it would be done now."""
        return (self._is_of(step) and self.seconds(step) is not None
                and os.path.isfile(self._model.record(step)))

    def seconds(self, step: str) -> Optional[float]:
        """What a step took, None if it was not finished."""
        return self._of(step).get('seconds')

    def resumable(self) -> bool:
        """Whether a training was stopped that can be gone on with."""
        return self._is_of(COMPRESS) and self.seconds(COMPRESS) is None and \
            os.path.isdir(self._model.result + checkpoint.SUFFIX)

    def begin(self, step: str) -> None:
        """A step begins.

        Raises:
            OSError: it cannot be written.
        """
        self._write(step, None)

    def finish(self, step: str, seconds: float) -> None:
        """A step was done.

        Raises:
            OSError: it cannot be written.
        """
        self._write(step, seconds)

    def _of(self, step: str) -> Dict[str, Any]:
        found = self._known.get(step)
        return found if isinstance(found, dict) else {}

    def _is_of(self, step: str) -> bool:
        return self._of(step).get('key') == _key(self._model, step)

    def _write(self, step: str, seconds: Optional[float]) -> None:
        self._known[step] = {'key': _key(self._model, step), 'seconds': seconds}
        write_whole(self._path, (json.dumps(self._known) + '\n').encode())


def _key(model: Model, step: str) -> str:
    """Digest of what a step's outcome depends on: its command, the
    configuration, the reader file, and of an evaluation the compression."""
    parts = [
        *model.command(step)[1:],
        config.dump(model.settings),
        file_digest(model.settings.Reader.file)
    ]
    if step == EVALUATE and os.path.isfile(model.record(COMPRESS)):
        parts.append(file_digest(model.record(COMPRESS)))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
