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
"""A process that holds one engine with one model and answers a driver; see
`protocol`. Run as `python -m engines.worker`."""

import os
import sys
import time
from typing import Any, Dict

from . import engine, protocol


class _Handlers:

    def __init__(self) -> None:
        self._engine: Any = None

    def load(self, kind: str, **arguments: Any) -> Dict[str, Any]:
        """Make an engine of `engine.KINDS`."""
        start = time.perf_counter()
        self._engine = engine.KINDS[kind](**arguments)
        return {
            'seconds': time.perf_counter() - start,
            'version': self._engine.version,
        }

    def feed(self, path: str) -> None:
        """Take the arrays of an .npz file as input."""
        import numpy as np
        with np.load(path) as found:
            self._engine.feed({k: found[k] for k in found.files})

    def run(self) -> Dict[str, float]:
        """Run once: wall time and CPU time of the process, in ms."""
        cpu, start = time.process_time(), time.perf_counter()
        self._engine.compute()
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        return {'wall_ms': 1e3 * wall, 'cpu_ms': 1e3 * used}

    def outputs(self, path: str) -> None:
        """Write the last run's outputs to an .npz file."""
        engine.save_outputs(path, self._engine.outputs())

    def evidence(self) -> Any:
        """Which kernels were chosen, as far as the engine says."""
        return self._engine.evidence()

    def layers(self, path: str) -> Dict[str, Any]:
        """What the layers of a run on an .npz file's arrays computed in, of an
        engine that can tell."""
        import numpy as np
        with np.load(path) as found:
            return self._engine.layers({k: found[k] for k in found.files})


def main() -> None:
    # Libraries print to stdout as they like; answers go where they cannot.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    handlers = _Handlers()
    protocol.serve(
        {
            name: getattr(handlers, name)
            for name in ('load', 'feed', 'run', 'outputs', 'evidence', 'layers')
        }, sys.stdin, answers)


if __name__ == '__main__':
    main()
