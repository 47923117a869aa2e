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
"""Ctrl-C and its like: what a signal interrupts, and what it must not.

`handled()` is put around a script's main. The rest finds its handler through
the signal module, and does nothing where there is none.
"""

import contextlib
import signal
import sys
import threading
from typing import Any, Iterator, Optional

# A closed terminal ends a long run as often as Ctrl-C does.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end.

    A KeyboardInterrupt, so that what lets Ctrl-C through lets this through.
    """

    def __init__(self, number: int, message: str = 'stopped') -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number


class _Handler:
    """Raises Stopped, at once or when it is no longer held."""

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self.held = False
        self.patient = True
        self.pending = False

    def __call__(self, number: int, frame: Any) -> None:
        self.received = number
        if not self.held or self.pending and not self.patient:
            raise Stopped(number)
        self.pending = True


def _current() -> Optional[_Handler]:
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(handler, _Handler):
            return handler
    return None


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Raise Stopped for signals inside the with-block, at its end at the
    latest: others swallow it, or make another error of it, as ppdet's Decode
    makes a broken image.

    A signal that is ignored (nohup) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    handler = _Handler()
    before = {n: signal.getsignal(n) for n in SIGNALS}
    hook = sys.unraisablehook

    def unraisable(what: Any) -> None:
        # Python prints and drops what is raised in a __del__; the handler
        # remembers the signal.
        if not issubclass(what.exc_type, Stopped):
            hook(what)

    sys.unraisablehook = unraisable
    for number, old in before.items():
        if old not in (signal.SIG_IGN, None):
            signal.signal(number, handler)
    try:
        yield
        check()
    except Stopped:
        raise
    except Exception:
        check()
        raise
    finally:
        sys.unraisablehook = hook
        for number, old in before.items():
            if old is not None:
                signal.signal(number, old)


def check() -> None:
    """Raise Stopped if a signal has come and somebody swallowed its exception:
    PaddleSlim and Paddle's quantization passes hold bare `except`s."""
    handler = _current()
    if handler is not None and handler.received is not None and \
            not handler.held:
        raise Stopped(handler.received)


def accept() -> None:
    """What came so far has been dealt with: go on until the next signal."""
    handler = _current()
    if handler is not None:
        handler.received, handler.pending = None, False


def pending() -> Optional[int]:
    """The signal that waits for the end of `held`, None without one."""
    handler = _current()
    return handler.received if handler is not None and handler.pending else None


@contextlib.contextmanager
def held(patient: bool = True, message: str = 'stopped') -> Iterator[None]:
    """For what must not be cut in two: signals inside the with-block are raised
    at its end.

    Args:
        patient: False, for more than some milliseconds: only the first signal
            waits, a second one is raised at once.
        message: of what is raised at the end.

    Raises:
        Stopped: after the block, if a signal came inside.
    """
    handler = _current()
    if handler is None or handler.held:
        yield
        return
    handler.held, handler.patient = True, patient
    try:
        yield
    finally:
        handler.held = False
        pending, handler.pending = handler.pending, False
    if pending:
        raise Stopped(handler.received, message)
