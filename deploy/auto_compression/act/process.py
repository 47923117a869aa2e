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
"""One of our scripts as a process of its own."""

import contextlib
import subprocess
from typing import Any, Iterator, Sequence

from . import signals
from .ranks import environment_alone


@contextlib.contextmanager
def started(command: Sequence[str],
            patience: float = 10,
            **options: Any) -> Iterator['subprocess.Popen[Any]']:
    """A process, until the with-block ends.

    Ctrl-C in a terminal reaches a whole session, so it has one of its own:
    passed on by us alone, the signal comes once, and does not cut the script's
    own cleaning up.

    Args:
        command: the script, with the Python that runs it.
        patience: seconds that it has to end when the block raises.
        options: of subprocess.Popen.
    """
    child = None
    try:
        with signals.held():
            child = subprocess.Popen(command,
                                     stdin=subprocess.DEVNULL,
                                     env=environment_alone(),
                                     start_new_session=True,
                                     **options)
        yield child
    except BaseException:
        if child is not None:
            with signals.held():
                child.terminate()
                try:
                    child.wait(timeout=patience)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        raise
