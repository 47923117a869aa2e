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
"""The physical limit of a network on a CPU: its multiplications and additions
at the rate of this machine's matrix products.

Products are those of the oneDNN in Paddle's wheel, called through its C
interface, and of numpy's OpenBLAS. Run as a script, in a process of its own, it
prints the rates: a library chooses its kernels when it is loaded.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
SIZE = 1024  # of the square matrices: 1 to 4 MiB each, in cache
REPEATS = 30
# Choose another kernel than OpenBLAS does by itself, a slower one.
OPENBLAS = ('OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE')


def environment(threads: int,
                base: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Environment of a process that is timed: so many threads, and OpenBLAS
    free to choose.

    Args:
        threads: of OpenMP.
        base: default: os.environ.
    """
    env = dict(os.environ if base is None else base)
    for name in OPENBLAS:
        env.pop(name, None)
    env['OMP_NUM_THREADS'] = str(threads)
    return env


def gemm_gflops(threads: int,
                env: Optional[Mapping[str, str]] = None) -> Dict[str, float]:
    """The fastest product of two square matrices, in 1e9 multiplications and
    additions a second, by precision: fp32, bf16 (if oneDNN has it here), int8.

    Args:
        threads: how many.
        env: of the measuring process; default: `environment(threads)`.

    Raises:
        subprocess.CalledProcessError: it failed; its error was shown.
    """
    done = subprocess.run(
        [sys.executable,
         os.path.abspath(__file__), '--threads',
         str(threads)],
        env=env or environment(threads),
        stdout=subprocess.PIPE,
        check=True)
    return json.loads(done.stdout)


def fastest(rates: Iterable[Mapping[str, float]]) -> Dict[str, float]:
    """Of several measurements, the highest rate by precision."""
    best: Dict[str, float] = {}
    for found in rates:
        for name, rate in found.items():
            best[name] = max(rate, best.get(name, 0.0))
    return best


def _seconds(product: Callable[[], Any]) -> float:
    best = float('inf')
    for _ in range(REPEATS):
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return best


def _onednn_products() -> Dict[str, Callable[[], int]]:
    """A product by precision, which returns oneDNN's status.

    Signatures: oneDNN's developer guide, "Basic Linear Algebra". The one in
    bf16 is not in the guide: it takes what sgemm takes, with bf16 sources.
    """
    import numpy as np
    import paddle
    library = ctypes.CDLL(
        os.path.join(os.path.dirname(paddle.__file__), 'libs', 'libdnnl.so.3'))
    n = ctypes.c_int64(SIZE)
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    # Not transposed; one offset, 0, for the whole result.
    no, fixed = ctypes.c_char(b'N'), ctypes.c_char(b'F')

    def pointer(array: Any) -> ctypes.c_void_p:
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


def _measure(threads: int) -> Dict[str, float]:
    sys.path.insert(0, PROJECT)
    from act import runtime
    paddle = runtime.import_paddle()
    import numpy as np
    from threadpoolctl import threadpool_limits
    paddle.set_device('cpu')
    array = np.ones((SIZE, SIZE), np.float32)
    rates: Dict[str, float] = {}
    with threadpool_limits(threads):
        for name, product in _onednn_products().items():
            # Not every CPU has bf16.
            if product() == 0:
                rates[name] = 2 * SIZE**3 / _seconds(product) / 1e9
        blas = 2 * SIZE**3 / _seconds(lambda: array @ array) / 1e9
    rates['fp32'] = max(rates['fp32'], blas)
    return rates


def gflop(primitives: Iterable[Any]) -> Dict[str, float]:
    """1e9 multiplications and additions of one run, by kind of layer.

    Args:
        primitives: `act.onednn.Primitive`s of a run in fp32, where linear
            layers and products of activations run in oneDNN too.

    Returns:
        {'convolution': ..., 'linear': ...}.
    """
    from act.profile import work
    total = {'convolution': 0.0, 'linear': 0.0}
    for one in primitives:
        kind = 'convolution' if one.kind == 'convolution' else 'linear'
        total[kind] += work.gflop(one)
    return total


def main(arguments: List[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--threads', type=int, default=1)
    print(json.dumps(_measure(parser.parse_args(arguments).threads)))


if __name__ == '__main__':
    main(sys.argv[1:])
