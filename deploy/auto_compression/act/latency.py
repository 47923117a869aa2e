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
"""Latency figures from timings: warm-up, percentiles, and whether to trust."""

from dataclasses import dataclass
from typing import Dict, Optional, Sequence, Tuple

import numpy as np

WARMUP = 10  # runs left out: memory pools and oneDNN's caches fill
SPREAD = 0.2  # (p90 - p50) / p50 above this, or
DRIFT = 0.1  # medians of the two halves apart by this: not trustworthy


@dataclass(frozen=True)
class Latency:
    """Of one stage, in milliseconds of wall time unless said otherwise."""
    mean: float
    std: float
    p50: float
    p90: float
    p99: float
    min: float
    max: float
    runs: int
    warmup: int
    drift: float  # relative difference of the medians of the two halves
    cpu_ms: Optional[float] = None  # median process CPU time of a run
    percentiles: Tuple[float, ...] = ()  # 0, 1, ... 100

    @property
    def stable(self) -> bool:
        """Whether the median may be quoted."""
        return self.runs >= 10 and self.drift <= DRIFT and \
            self.p90 - self.p50 <= SPREAD * self.p50

    def warning(self) -> str:
        """Why not to trust it, '' if there is no reason."""
        if self.stable:
            return ''
        if self.runs < 10:
            return ('latency comes from %d runs only; use more images or '
                    '--benchmark' % self.runs)
        return ('latency is unsteady (p50 %.1f, p90 %.1f ms, drift %.0f%%): '
                'something else uses this machine, do not quote it' %
                (self.p50, self.p90, 100 * self.drift))


def summarize(wall_ms: Sequence[float],
              cpu_ms: Sequence[float] = (),
              warmup: int = WARMUP) -> Latency:
    """Figures of a series of runs.

    Args:
        wall_ms: wall time of each run, in order.
        cpu_ms: process CPU time of each run, in order; may be empty.
        warmup: how many of the first to leave out; at most half of them are.
    """
    warmup = min(warmup, len(wall_ms) // 2)
    kept = np.asarray(wall_ms[warmup:], dtype=np.float64)
    half = len(kept) // 2
    percentiles = np.percentile(kept, range(101)).tolist()
    p50, p90, p99 = (percentiles[at] for at in (50, 90, 99))
    drift = abs(np.median(kept[:half]) -
                np.median(kept[half:])) / p50 if half and p50 else 0.0
    return Latency(
        mean=float(kept.mean()),
        std=float(kept.std()),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        min=float(kept.min()),
        max=float(kept.max()),
        runs=len(kept),
        warmup=warmup,
        drift=float(drift),
        cpu_ms=float(np.median(cpu_ms[warmup:])) if len(cpu_ms) else None,
        percentiles=tuple(percentiles))


def stage_medians(stages: Dict[str, Sequence[float]]) -> Dict[str, float]:
    """{stage: median ms an image}, warm-up left out."""
    return {
        name: summarize(values).p50
        for name, values in stages.items() if len(values)
    }
