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
"""The processes that one `python -m paddle.distributed.launch` started.

Each process is a rank. Objects go from rank to rank over gloo, whatever the
device they compute on; gradients go another way (see `compress.parallel`).
Without launch there is one rank, and nothing here does anything.
"""

import contextlib
import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, TypeVar

from . import runtime, signals
from .errors import CheckFailed

T = TypeVar('T')

# Seconds: launch looks at its processes once a second, and shows the log of the
# first in their order that it finds failed.
LINGER = 4.


class PeerLost(CheckFailed):
    """Another rank has ended; its own error says why."""


@dataclass(frozen=True)
class Ranks:
    """
    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        local, local_size: the same among those on this machine.
    """
    rank: int = 0
    size: int = 1
    local: int = 0
    local_size: int = 1

    def gather(self, value: T) -> List[T]:
        """The value of each rank, on all of them. All must call it.

        Raises:
            PeerLost: another has ended.
        """
        if self.size == 1:
            return [value]
        found: List[Any] = []
        with _together() as distributed:
            distributed.all_gather_object(found, value)
        return found

    def first(self, make: Callable[[], T]) -> T:
        """What `make` gives on rank 0, on all ranks; only rank 0 calls it.

        Raises:
            PeerLost: see `gather`.
        """
        return self.gather(make() if self.rank == 0 else None)[0]

    def one_first(self, make: Callable[[], T]) -> T:
        """Call `make` on all ranks, on one of each machine before the others: a
        file that it makes is there for them.

        Raises:
            PeerLost: see `gather`.
        """
        if self.local:
            self.gather(None)
            return make()
        made = make()
        self.gather(None)
        return made

    def part(self, items: List[T]) -> List[T]:
        """This rank's share: each `size`-th item."""
        return items[self.rank::self.size]

    def dealt(self, items: List[T]) -> Iterator[T]:
        """The items of `part`, one after another. Ranks `check` before each, as
        often as each other: all must come to the end.

        Raises:
            signals.Stopped, PeerLost: see `check`.
        """
        for start in range(0, len(items), self.size):
            self.check()
            yield from items[start:start + self.size][self.rank:self.rank + 1]

    def whole(self, own: List[T]) -> List[T]:
        """What all ranks made of their items, in the order of all items.

        Raises:
            PeerLost: see `gather`.
        """
        parts = self.gather(own)
        return [
            parts[at % self.size][at // self.size]
            for at in range(sum(map(len, parts)))
        ]

    def threads(self) -> int:
        """Of this machine's cores, those for one rank; at least 1."""
        return max(1, runtime.cpu_count() // self.local_size)

    def check(self) -> None:
        """Raise Stopped on all ranks if a signal has come to one of them: one
        that stopped alone would leave the others waiting for it. All must call
        it, inside `signals.held()`.

        Raises:
            signals.Stopped: a signal came.
            PeerLost: see `gather`.
        """
        if self.size == 1:
            signals.check()
            return
        with _together() as distributed:
            paddle = runtime.import_paddle()
            number = paddle.to_tensor([signals.pending() or 0],
                                      place=paddle.CPUPlace())
            distributed.all_reduce(number, distributed.ReduceOp.MAX)
        if int(number):
            raise signals.Stopped(int(number))


# Without launch.
ALONE = Ranks()


def join() -> Ranks:
    """Meet the other ranks, as launch tells in the environment. Call it before
    paddle is imported. Ranks other than 0 fall silent but for errors.

    Raises:
        PeerLost: another has ended.
    """
    size = int(os.environ.get('PADDLE_TRAINERS_NUM', '1'))
    if size == 1:
        return ALONE
    ranks = Ranks(rank=int(os.environ['PADDLE_TRAINER_ID']),
                  size=size,
                  local=int(os.environ.get('PADDLE_LOCAL_RANK', '0')),
                  local_size=int(os.environ.get('PADDLE_LOCAL_SIZE', '1')))
    # Else each would take all cores.
    os.environ.setdefault('OMP_NUM_THREADS', str(ranks.threads()))
    os.environ['PADDLE_DISTRI_BACKEND'] = 'gloo'
    if ranks.rank:
        os.environ['TQDM_DISABLE'] = '1'
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115
    with lost_peers():
        distributed = runtime.import_paddle().distributed
        distributed.init_parallel_env()
        _import_server()
        # What c_allreduce_sum uses on the CPU, and a barrier without a limit.
        distributed.gloo_init_parallel_env(
            ranks.rank, size,
            distributed.ParallelEnv().trainer_endpoints[0])
    return ranks


def _import_server() -> None:
    """Where gloo's ranks meet. Its import opens a log in the directory that the
    user happens to be in."""
    before = logging.FileHandler
    logging.FileHandler = lambda *_, **__: logging.NullHandler()  # type: ignore
    try:
        from paddle.distributed.fleet.utils import http_server  # noqa: F401
    finally:
        logging.FileHandler = before  # type: ignore


def environment_alone() -> Dict[str, str]:
    """The environment for a process that is none of the ranks."""
    return {
        name: value
        for name, value in os.environ.items() if not name.startswith('PADDLE_')
    }


@contextlib.contextmanager
def _together() -> Iterator[Any]:
    """paddle.distributed, once all ranks are here: what exchanges objects gives
    up after 30 seconds, and one rank may calibrate or evaluate for minutes."""
    distributed = runtime.import_paddle().distributed
    with lost_peers():
        distributed.gloo_barrier()
        yield distributed


@contextlib.contextmanager
def lost_peers() -> Iterator[None]:
    """Turn what gloo says of a broken connection into one line, late enough for
    launch to show the error of the rank that ended first.

    Raises:
        PeerLost: another rank has ended.
    """
    try:
        yield
    except (RuntimeError, OSError) as e:
        # The place in gloo's source that gives up a connection; the executor
        # drops what gloo said.
        if '/gloo/transport/' not in str(e) and str(e) != 'std::exception':
            raise
        end = time.monotonic() + LINGER
        while time.monotonic() < end and signals.pending() is None:
            time.sleep(0.05)
        raise PeerLost('another process of this launch has ended; its error '
                       "stands in one of the workerlog files in launch's "
                       '--log_dir') from None
