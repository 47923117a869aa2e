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
"""Ranges by channel: one that is far wider than its neighbours takes int8's
steps from them.

An activation has one range for all of its channels. Of the 127 steps that lead
from 0 to its end, a channel gets as many as its own range is of the widest
one's.
"""

from dataclasses import dataclass
from typing import List, Optional

import numpy as np

STEPS = 127
# A channel is wild if its range is more than this many times the median
# channel's, which is then left fewer than 127 / 16 = 8 steps on each side of 0:
# four bits of the eight. Trained networks' channels stay mostly within 5.
WILD = 16


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value of each channel, (C,) float64."""
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, value: np.ndarray, axis: int) -> 'Ranges':
        """Of a value whose channels lie along an axis."""
        rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
        return cls(
            rows.min(axis=1).astype(np.float64),
            rows.max(axis=1).astype(np.float64))

    def joined(self, other: Optional['Ranges']) -> 'Ranges':
        """What both span."""
        if other is None:
            return self
        return Ranges(np.minimum(self.low, other.low),
                      np.maximum(self.high, other.high))

    @property
    def widest(self) -> float:
        """Largest absolute value."""
        return float(self._largest().max())

    @property
    def median(self) -> float:
        """Largest absolute value of the median channel; channels that are
        always 0 do not count."""
        largest = self._largest()
        alive = largest[largest > 0]
        return float(np.median(alive)) if len(alive) else 0.0

    def wild(self) -> List[int]:
        """Channels that are far wider than the median one, the widest first."""
        largest = self._largest()
        return [
            int(c) for c in np.argsort(-largest, kind='stable')
            if largest[c] > WILD * self.median
        ]

    def steps(self, highest: Optional[float] = None) -> float:
        """How many of int8's steps lead from 0 to the median channel's end.

        Args:
            highest: the range that calibration chose; None: all that occurs.
        """
        highest = self.widest if highest is None else highest
        return STEPS * min(self.median / highest, 1.0) if highest else 0.0

    def _largest(self) -> np.ndarray:
        return np.maximum(-self.low, self.high).clip(0)


def axis_of(kind: str) -> int:
    """The axis of an operator's inputs and outputs that channels lie along.

    Args:
        kind: type of an operator with a weight.
    """
    return 1 if 'conv2d' in kind else -1
