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
"""How a driver asks a worker process: one JSON object a line, each way, over
pipes. A request is {'do': NAME, ...}; an answer is {'ok': RESULT} or
{'error': LINE}."""

import contextlib
import json
import os
import select
import subprocess
import time
from typing import Any, Callable, List, Mapping, TextIO

# The most that loading or one run may take, in seconds.
TIMEOUT = 1800.0


class EngineError(Exception):
    """What a worker could not do, in one line."""


def one_line(text: str, limit: int = 300) -> str:
    """The last line of a message that says something, cut to `limit`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else 'no message')[:limit]


def serve(handlers: Mapping[str, Callable[..., Any]], requests: TextIO,
          answers: TextIO) -> None:
    """The worker's side: answer requests until there are no more.

    Args:
        handlers: what a request may name under 'do'; called with the rest of
            it as keyword arguments. Results are JSON.
        requests, answers: where requests come from, where answers go.
    """
    for line in requests:
        request = json.loads(line)
        try:
            answer = {'ok': handlers[request.pop('do')](**request)}
        except Exception as e:  # engines raise what they like
            answer = {'error': '%s: %s' % (type(e).__name__, one_line(str(e)))}
        answers.write(json.dumps(answer) + '\n')
        answers.flush()


class Worker:
    """The driver's side: a process that answers."""

    def __init__(self, command: List[str], env: Mapping[str, str],
                 log: str) -> None:
        """
        Args:
            command: of the process.
            env: its environment.
            log: file for what it writes to stderr.

        Raises:
            EngineError: it cannot be started.
        """
        self._log = log
        self._rest = b''
        with open(log, 'wb') as sink:
            try:
                self._process = subprocess.Popen(command,
                                                 env=dict(env),
                                                 stdin=subprocess.PIPE,
                                                 stdout=subprocess.PIPE,
                                                 stderr=sink)
            except OSError as e:
                raise EngineError("'%s' cannot be started: %s" %
                                  (command[0], e.strerror)) from None

    def ask(self, do: str, timeout: float = TIMEOUT, **values: Any) -> Any:
        """Have something done and return its result.

        Args:
            do: name of the handler.
            timeout: in seconds.
            values: its arguments.

        Raises:
            EngineError: it failed, took too long, or the process has ended.
        """
        request = json.dumps(dict(values, do=do)) + '\n'
        try:
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ended, or closed by us
            raise self._ended() from None
        answer = json.loads(self._line(timeout))
        if 'error' in answer:
            raise EngineError(answer['error'])
        return answer['ok']

    def _line(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        stdout = self._process.stdout.fileno()
        while b'\n' not in self._rest:
            ready, _, _ = select.select([stdout], [], [],
                                        max(0.0, end - time.monotonic()))
            if not ready:
                self.close()
                raise EngineError('no answer within %g s' % timeout)
            block = os.read(stdout, 1 << 16)
            if not block:
                raise self._ended()
            self._rest += block
        line, self._rest = self._rest.split(b'\n', 1)
        return line

    def _ended(self) -> EngineError:
        code = self._process.wait()
        with open(self._log, errors='replace') as f:
            said = one_line(f.read())
        return EngineError('the process ended with exit code %d: %s' %
                           (code, said))

    def close(self) -> None:
        """End the process. More than once does no harm."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
