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
"""How far a sweep is, and how long it will take."""

import sys
import time
from typing import Dict, List, Optional, Sequence

from tqdm import tqdm


def seconds_left(taken: Dict[str, List[float]], remaining: Sequence[str],
                 passed: float) -> Optional[float]:
    """An estimate: each step takes what its like took so far, in the mean.

    Args:
        taken: {kind of step: seconds of each that was done}.
        remaining: kinds of the steps that are left; the first one is at work.
        passed: seconds that it has been.

    Returns:
        seconds; None while nothing is known.
    """
    known = [seconds for some in taken.values() for seconds in some]
    if not known:
        return None
    left = 0.0
    for at, kind in enumerate(remaining):
        alike = taken.get(kind) or known
        expected = sum(alike) / len(alike)
        left += max(0.0, expected - passed) if at == 0 else expected
    return left


class Progress:
    """A bar over all steps of all models."""

    def __init__(self, remaining: List[str], done: Dict[str, List[float]],
                 count: int) -> None:
        """
        Args:
            remaining: kinds of the steps to do, in their order.
            done: see `seconds_left`, of earlier runs.
            count: of all steps, those done before among them.
        """
        self._remaining, self._taken = list(remaining), done
        self._since = time.monotonic()
        self._bar = tqdm(total=count,
                         initial=count - len(remaining),
                         unit='step',
                         bar_format='{desc}{percentage:3.0f}%|{bar}| {n_fmt}/'
                         '{total_fmt} [{elapsed}{postfix}]')
        # Each second where somebody looks, not in a log.
        self.interval = 1.0 if sys.stderr.isatty() else 60.0

    def begin(self, name: str, step: str) -> None:
        """A step begins."""
        self._since = time.monotonic()
        self._bar.set_description('%s: %s' % (name, step), refresh=False)
        self.refresh()

    def end(self,
            step: str,
            seconds: Optional[float],
            dropped: int = 0) -> None:
        """The step that began has ended.

        Args:
            step: its kind.
            seconds: it took; None: it failed.
            dropped: steps after it that are not done for that.
        """
        if seconds is not None:
            self._taken.setdefault(step, []).append(seconds)
        del self._remaining[:1 + dropped]
        self._bar.update(1 + dropped)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def refresh(self) -> None:
        """Show the time left anew."""
        left = seconds_left(self._taken, self._remaining,
                            time.monotonic() - self._since)
        self._bar.set_postfix_str('time left unknown' if left is
                                  None else 'about %s left' %
                                  tqdm.format_interval(left))

    def close(self) -> None:
        """The sweep has ended."""
        self._bar.set_description('', refresh=False)
        self._bar.set_postfix_str('')
        self._bar.close()
