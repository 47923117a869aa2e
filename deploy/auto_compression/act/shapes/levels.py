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
"""What the dimensions of a detector's tensors follow, for an input of any size.

A network halves its input again and again, rounding up each time, so that a
level of stride s is ceil(h / s) x ceil(w / s). Dimensions are such heights and
widths, their products where a level is flattened into tokens, and sums of these
where levels are joined (DINO: strides 8 to 64). In a batch they may be
multiplied by its images. All these grow with height, width and images: whatever
follows them stays within what the extremes of each make, but the extremes of
one need not be made by those of another: 1000 x 1056 has fewer pixels than
800 x 1344, and more tokens of stride 32, 32 x 33 = 1056 against 25 x 42 = 1050.
"""

from dataclasses import dataclass
from typing import List, Tuple

import numpy as np

STRIDES = (1, 2, 4, 8, 16, 32, 64, 128)
# Levels that are joined begin at the first one of a pyramid, or below.
_JOINED = STRIDES[2:]


@dataclass(frozen=True)
class Quantity:
    """Something that a dimension may follow, in words."""
    name: str
    strides: Tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.strides:
            return self.name
        if len(self.strides) > 1:
            return '%s, strides %d to %d together' % (
                self.name, *self.strides[::len(self.strides) - 1])
        return '%s at stride %d' % (self.name, self.strides[0])


def as_runs(sizes: np.ndarray) -> np.ndarray:
    """Input sizes as (N, 3) int64: images, height, width.

    Args:
        sizes: such, or (N, 2) height and width of batches of one image.
    """
    sizes = np.asarray(sizes, np.int64)
    if sizes.shape[1] == 3:
        return sizes
    return np.concatenate([np.ones((len(sizes), 1), np.int64), sizes], 1)


def quantities(runs: np.ndarray) -> Tuple[List[Quantity], np.ndarray]:
    """All quantities of some inputs.

    Args:
        runs: (N, 3) images, height, width.

    Returns:
        the F quantities, and (F, N) int64 what they are for each input.
    """
    images, height, width = np.asarray(runs, np.int64).T
    names, rows = [], []

    def add(row: np.ndarray, name: str, *strides: int) -> None:
        names.append(Quantity(name, strides))
        rows.append(row)

    tokens = {}
    for s in STRIDES:
        h, w = -(-height // s), -(-width // s)
        tokens[s] = h * w
        add(h, 'height', s)
        add(w, 'width', s)
        add(tokens[s], 'height x width', s)
    for first in range(len(_JOINED)):
        for last in range(first + 1, len(_JOINED)):
            joined = _JOINED[first:last + 1]
            add(sum(tokens[s] for s in joined), 'height x width', *joined)
    if (images != 1).any():
        for quantity, row in zip(names[:], rows[:]):
            add(images * row, 'images x ' + quantity.name, *quantity.strides)
        add(images, 'images')
    return names, np.stack(rows)
