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
"""Latency figures."""

import numpy as np
import pytest
from act import latency


def test_figures_without_warmup():
    found = latency.summarize([1000.0] * 10 + list(range(1, 101)), warmup=10)
    assert found.runs == 100 and found.warmup == 10
    assert found.p50 == pytest.approx(50.5)
    assert found.p90 == pytest.approx(90.1)
    assert found.max == 100 and found.min == 1
    assert found.mean == pytest.approx(50.5)
    assert len(found.percentiles) == 101
    assert found.percentiles == tuple(sorted(found.percentiles))
    assert [found.percentiles[at] for at in (0, 50, 90, 99, 100)
            ] == [found.min, found.p50, found.p90, found.p99, found.max]


def test_short_series_keep_half():
    found = latency.summarize([9.0, 1.0, 1.0, 1.0], warmup=10)
    assert found.warmup == 2 and found.runs == 2 and found.p50 == 1
    assert not found.stable and '2 runs only' in found.warning()


def test_steady_spread_and_drift():
    rng = np.random.default_rng(0)
    steady = rng.normal(100, 2, 200)
    assert latency.summarize(steady).stable
    spread = np.where(rng.random(200) < 0.3, 200, steady)
    assert not latency.summarize(spread).stable
    drifting = steady + np.where(np.arange(200) < 100, 0, 15)
    found = latency.summarize(drifting)
    assert not found.stable and 'drift' in found.warning()


def test_cpu_time_beside_wall_time():
    found = latency.summarize([5.0] * 30, [4.0] * 30)
    assert found.cpu_ms == 4.0
    assert latency.summarize([5.0] * 30).cpu_ms is None
