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
"""Which of the models that were measured is taken: the rule."""

from dataclasses import dataclass
from typing import List, Optional, Sequence

# Latencies nearer than this are not told apart on a machine that others use.
NOISE = 0.03


@dataclass(frozen=True)
class Candidate:
    """A model that was measured on the images to choose on.

    Attributes:
        name: on the terminal and in the picture.
        precision: fp32, bf16 or int8.
        floats: weights of the layers that an int8 model has in float.
        map, agreement: percent.
        drop: mAP of fp32 minus that of this one, in points.
        ratio: its latency / that of fp32 in the same run.
        latency_ms, cpu_ms: medians, an image.
    """
    name: str
    precision: str
    floats: Sequence[str]
    map: float
    agreement: float
    drop: float
    ratio: float
    latency_ms: float
    cpu_ms: float


def feasible(one: Candidate, max_drop: float,
             min_gain: Optional[float]) -> bool:
    """Whether a model loses no more than `max_drop` points and, if that is
    asked, is `min_gain` times as fast as fp32."""
    return one.drop <= max_drop and (min_gain is None
                                     or 1 / one.ratio >= min_gain)


def choose(candidates: Sequence[Candidate],
           max_drop: float,
           min_gain: Optional[float] = None) -> Optional[Candidate]:
    """One of those that are feasible; None if none is.

    Without `min_gain` the fastest; of those that are slower by no more than
    NOISE, the one that agrees with fp32 most. With it, speed is what was asked
    for and is there: then, of all, the one that agrees most.
    """
    able: List[Candidate] = [
        c for c in candidates if feasible(c, max_drop, min_gain)
    ]
    if not able:
        return None
    if min_gain is None:
        fastest = min(c.ratio for c in able)
        able = [c for c in able if c.ratio <= fastest * (1 + NOISE)]
    return max(able, key=lambda c: (c.agreement, -c.ratio))


def nearest(candidates: Sequence[Candidate], max_drop: float) -> Candidate:
    """What comes nearest where none is feasible: the fastest that loses no
    more, or what loses least."""
    able = [c for c in candidates if c.drop <= max_drop]
    if able:
        return min(able, key=lambda c: c.ratio)
    return min(candidates, key=lambda c: c.drop)
