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
import json
import os
import subprocess
import sys
from typing import Any, Dict, Iterable, List, Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)


def environment(threads: int) -> Dict[str, str]:
    """See `act.profile.machine.environment`."""
    from act.profile import machine
    return machine.environment(threads)


def gemm_gflops(threads: int) -> Dict[str, float]:
    """The fastest product of two square matrices, in 1e9 multiplications and
    additions a second, by precision: fp32, bf16 (if oneDNN has it here), int8.

    Args:
        threads: how many.

    Raises:
        subprocess.CalledProcessError: it failed; its error was shown.
    """
    done = subprocess.run(
        [sys.executable,
         os.path.abspath(__file__), '--threads',
         str(threads)],
        env=environment(threads),
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


def _measure(threads: int) -> Dict[str, float]:
    import numpy as np
    from act.profile import machine
    from threadpoolctl import threadpool_limits
    array = np.ones((machine.SIZE, machine.SIZE), np.float32)
    with threadpool_limits(threads):
        rates = machine.gemm_gflops()
        blas = 2e-9 * machine.SIZE**3 / machine.best_seconds(
            lambda: array @ array)
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
