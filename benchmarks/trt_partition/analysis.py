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
"""The analysis of one model, from another process."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Optional

from act.errors import UserError
from act.runtime import user_cache

from . import events

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
SOURCE = os.path.join(HERE, 'pretended_gpu.cc')
# The wheel whose functions pretended_gpu.cc stands for.
PADDLE, CUDA = '2.6.2', '11.8'
COMMIT = '8ce0de584c570589117e403322f3d1a0de6554e5'
# TensorRT is the version that it was built against.
BUILD = {
    'paddlepaddle-gpu': PADDLE,
    'commit': COMMIT,
    'cuda': CUDA,
    'tensorrt': '8.5.3',
    'compute_capability': '8.6'
}
# What Paddle opens by name.
LIBRARIES = ('libcuda.so', 'libcuda.so.1', 'libcudnn.so', 'libcublas.so',
             'libcublasLt.so', 'libnvrtc.so', 'libnvinfer.so',
             'libnvinfer_plugin.so')
CREATED, TIMEOUT, CRASHED, REFUSED = 'created', 'timeout', 'crashed', 'refused'


@dataclass(frozen=True)
class Request:
    """What is analysed: the model in a directory, as a configuration (and what
    is laid over it) says that it runs. `range_file` is that of dynamic shapes;
    `dynamic_shape` None means as configured. `prepare` False: without the
    rewrites for TensorRT."""
    model: str
    config: str
    precision: str = 'auto'
    dynamic_shape: Optional[bool] = None
    range_file: str = ''
    overrides: Dict[str, Any] = field(default_factory=dict)
    compute_capability: int = 86
    prepare: bool = True


@dataclass(frozen=True)
class Outcome:
    """How it ended, in so many seconds: CREATED with its partition, or another
    of the above; `reason` then says where, or why."""
    status: str
    seconds: float
    partition: Optional[events.Partition] = None
    reason: str = ''

    def as_dict(self) -> Dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in (None, '')}


class Analysis:
    """Analyses models with the GPU build of Paddle of one Python."""

    def __init__(self, python: str) -> None:
        """
        Raises:
            UserError: it has no such build of Paddle, or there is no g++.
        """
        self._python = python
        self._libpaddle = _libpaddle(python)
        self._library = _library()

    def run(self, request: Request, timeout: float) -> Outcome:
        """Analyse one model.

        Args:
            request: what.
            timeout: seconds after which it counts as stalled.
        """
        with tempfile.TemporaryDirectory(prefix='trt_partition_') as work:
            path = os.path.join(work, 'request.json')
            with open(path, 'w', encoding='utf-8') as f:
                json.dump(dict(asdict(request), directory=work), f)
            begin = time.perf_counter()
            with open(os.path.join(work, 'stderr'), 'wb+') as log:
                child = subprocess.Popen(
                    [self._python, '-m', 'trt_partition.worker', path],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log)
                try:
                    code: Optional[int] = child.wait(timeout)
                except subprocess.TimeoutExpired:
                    code = None
                finally:
                    child.kill()
                    child.wait()
                log.seek(0)
                said = log.read().decode(errors='replace')
            return outcome(work, code, time.perf_counter() - begin, said)

    def _environment(self) -> Dict[str, str]:
        env = dict(os.environ,
                   LD_PRELOAD=self._library,
                   PARTITION_LIBPADDLE=self._libpaddle)
        for name, first in (('PYTHONPATH', [PROJECT,
                                            os.path.dirname(HERE)]),
                            ('LD_LIBRARY_PATH',
                             [os.path.dirname(self._library)])):
            env[name] = os.pathsep.join(first +
                                        [p for p in [env.get(name)] if p])
        return env


def outcome(work: str, code: Optional[int], seconds: float,
            said: str) -> Outcome:
    """What a worker left behind. Its code is None if it was stopped."""
    seconds = round(seconds, 1)
    log = events.Events([], [])
    path = os.path.join(work, events.EVENTS)
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            log = events.read_events(f.read())
    if code == 0:
        with open(os.path.join(work, events.PROGRAM), 'rb') as f:
            outside, engines = events.read_program(f.read())
        return Outcome(CREATED, seconds,
                       events.partition(log, outside, engines))
    where = 'in %s' % log.last_pass if log.last_pass else 'before the passes'
    if code is None:
        return Outcome(TIMEOUT, seconds, reason=where)
    errors = [
        line.strip() for line in said.splitlines()
        if 'rror:' in line or 'what():' in line
    ]
    if code == 2 and errors:
        return Outcome(REFUSED, seconds, reason=errors[-1])
    how = signal.Signals(-code).name if code < 0 else 'exit code %d' % code
    return Outcome(CRASHED,
                   seconds,
                   reason='%s %s%s' %
                   (how, where, ': ' + errors[0] if errors else ''))


def _libpaddle(python: str) -> str:
    """The path of a Python's libpaddle.so.

    Raises:
        UserError: there is no such Python, or its Paddle is another.
    """
    code = ("import importlib.util as u, os; "
            "d = u.find_spec('paddle').submodule_search_locations[0]; "
            "v = {}; exec(open(os.path.join(d, 'version', '__init__.py'))"
            ".read(), v); print(v['full_version'], v['cuda_version'], "
            "v['commit'], os.path.join(d, 'base', 'libpaddle.so'))")
    try:
        found = subprocess.run([python, '-c', code],
                               stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL,
                               check=True).stdout.decode().split(None, 3)
    except (OSError, subprocess.CalledProcessError):
        raise UserError("'%s' is no Python with Paddle's GPU build; make one "
                        'with: make setup GPU=1' % python) from None
    if found[:3] != [PADDLE, CUDA, COMMIT]:
        raise UserError("'%s' has Paddle %s (CUDA %s, commit %s); the analysis "
                        'is written for %s (CUDA %s, commit %s): make setup '
                        'GPU=1' % (python, *found[:3], PADDLE, CUDA, COMMIT))
    return found[3].strip()


def _library() -> str:
    """pretended_gpu.cc compiled, among links to it by the names that Paddle
    opens; made once.

    Raises:
        UserError: there is no g++, or it fails.
    """
    with open(SOURCE, 'rb') as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    directory = user_cache('trt_partition', digest[:16])
    library = os.path.join(directory, 'pretended_gpu.so')
    if os.path.isfile(library):
        return library
    if not shutil.which('g++'):
        raise UserError('the analysis needs g++ to be built, and there is none '
                        'in PATH: install it (Debian: apt-get install g++)')
    os.makedirs(directory, exist_ok=True)
    made = '%s.%d' % (library, os.getpid())
    done = subprocess.run([
        'g++', '-std=c++17', '-O1', '-Wall', '-shared', '-fPIC', SOURCE, '-o',
        made, '-ldl'
    ],
                          stderr=subprocess.PIPE,
                          check=False)
    if done.returncode:
        raise UserError('g++ cannot build %s: %s' %
                        (SOURCE, done.stderr.decode(errors='replace')))
    for name in LIBRARIES:
        link = os.path.join(directory, name)
        if not os.path.lexists(link):
            os.symlink(os.path.basename(library), link)
    os.replace(made, library)
    return library
