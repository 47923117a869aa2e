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
"""What this CPU can do: the rates that a roofline is made of.

Products of matrices by the library that runs the model (oneDNN's own gemm,
from Paddle's wheel), and copying between arrays that fit no cache. Each is the
best of several, so that other work on the machine disturbs it least.

A process of its own: `python -m act.profile.machine THREADS`, so that the
number of threads is as the model's, and without the variables that change what
OpenBLAS takes the CPU for.
"""

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List

import numpy as np

from .. import child
from ..errors import UserError

SIZE = 1024  # of the matrices: 4 MB in fp32
COPIED = 64 << 20  # bytes of each array: larger than a second-level cache
TIMES = 30
_UNSET = ('OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE')


@dataclass(frozen=True)
class Machine:
    """Rates of some threads together."""
    threads: int
    fp32_gflops: float  # 1e9 multiplications and additions a second
    int8_gflops: float  # u8 times s8
    gbytes_per_s: float  # 1e9 bytes read and written a second

    def faster(self, other: 'Machine') -> 'Machine':
        """The better of two measurements, rate by rate."""
        return Machine(self.threads, max(self.fp32_gflops, other.fp32_gflops),
                       max(self.int8_gflops, other.int8_gflops),
                       max(self.gbytes_per_s, other.gbytes_per_s))

    def ideal_ms(self, gflop: float, megabytes: float, int8: bool) -> float:
        """Least time for some work: at one rate or the other, whichever takes
        longer (the roofline model)."""
        rate = self.int8_gflops if int8 else self.fp32_gflops
        return max(1e3 * gflop / rate, megabytes / self.gbytes_per_s)


def environment(threads: int) -> Dict[str, str]:
    """Environment of a process that is timed: so many threads, and OpenBLAS
    free to choose.

    Args:
        threads: of OpenMP.
    """
    env = child.environment()
    for name in _UNSET:
        env.pop(name, None)
    env['OMP_NUM_THREADS'] = str(threads)
    return env


def measure(threads: int) -> Machine:
    """Measure in a process of its own (2 seconds).

    Raises:
        UserError: that process failed.
    """
    done = subprocess.run(
        [sys.executable, '-m', 'act.profile.machine',
         str(threads)],
        env=environment(threads),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
        errors='replace',
        check=False)
    if done.returncode:
        said = [s for s in done.stderr.splitlines() if s.strip()] or ['']
        raise UserError("measuring this machine's rates failed, exit code %d: "
                        '%s' % (done.returncode, said[-1].strip()))
    return Machine(**json.loads(done.stdout))


def best_seconds(call: Callable[[], Any]) -> float:
    """The shortest time that a call took, of several."""
    found = []
    for _ in range(TIMES):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def gemm_gflops() -> Dict[str, float]:
    """Rates of oneDNN's products of two square matrices, in 1e9 multiplications
    and additions a second, by precision: fp32, bf16 (if oneDNN has it on this
    CPU), int8 (u8 times s8).

    For a process of its own: the library takes its number of threads when it
    is loaded.

    Raises:
        UserError: one that every CPU has failed.
    """
    rates = {}
    for name, product in _products(_library()).items():
        if product() == 0:
            rates[name] = 2e-9 * SIZE**3 / best_seconds(product)
        elif name != 'bf16':
            raise UserError("oneDNN's product in %s failed" % name)
    return rates


def _library() -> ctypes.CDLL:
    """oneDNN, as Paddle's wheel holds it; Paddle itself is not imported."""
    paddle = importlib.util.find_spec('paddle')
    return ctypes.CDLL(
        os.path.join(paddle.submodule_search_locations[0], 'libs',
                     'libdnnl.so.3'))


def _products(library: ctypes.CDLL) -> Dict[str, Callable[[], int]]:
    """A product by precision, which returns oneDNN's status.

    Signatures: oneDNN's developer guide, "Basic Linear Algebra". The one in
    bf16 is not in the guide: it takes what sgemm takes, with bf16 sources.
    """
    n = ctypes.c_int64(SIZE)
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    # Not transposed; one offset, 0, for the whole result.
    no, fixed = ctypes.c_char(b'N'), ctypes.c_char(b'F')

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    floats = [np.ones((SIZE, SIZE), np.float32) for _ in range(3)]
    halves = [np.full((SIZE, SIZE), 0x3f80, np.uint16) for _ in range(2)]
    u8, s8 = (np.ones((SIZE, SIZE), t) for t in (np.uint8, np.int8))
    s32 = np.zeros((SIZE, SIZE), np.int32)
    offset = np.zeros(1, np.int32)

    def float_gemm(function: Any, a: Any, b: Any, c: Any) -> int:
        return function(no, no, n, n, n, one, pointer(a), n, pointer(b), n,
                        zero, pointer(c), n)

    def int8_gemm() -> int:
        return library.dnnl_gemm_u8s8s32(no, no, fixed, n, n, n, one,
                                         pointer(u8), n, ctypes.c_uint8(0),
                                         pointer(s8), n, ctypes.c_int8(0), zero,
                                         pointer(s32), n, pointer(offset))

    return {
        'fp32':
        lambda: float_gemm(library.dnnl_sgemm, *floats),
        'bf16':
        lambda: float_gemm(library.dnnl_gemm_bf16bf16f32, *halves, floats[2]),
        'int8':
        int8_gemm,
    }


def _gbytes_per_s(threads: int) -> float:
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    bounds = np.linspace(0, COPIED, threads + 1, dtype=np.int64)

    def copy() -> None:
        # numpy lets go of the interpreter while it copies.
        parts = [
            threading.Thread(target=np.copyto,
                             args=(target[low:high], source[low:high]))
            for low, high in zip(bounds, bounds[1:])
        ]
        for part in parts:
            part.start()
        for part in parts:
            part.join()

    return 2e-9 * COPIED / best_seconds(copy)


def main(arguments: List[str]) -> None:
    threads = int(arguments[0])
    rates = gemm_gflops()
    print(
        json.dumps(
            asdict(
                Machine(threads, rates['fp32'], rates['int8'],
                        _gbytes_per_s(threads)))))


if __name__ == '__main__':
    child.run(main)
