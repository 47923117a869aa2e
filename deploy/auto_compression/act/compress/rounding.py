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
"""Weights rounded so that errors of one make good for errors of others.

Rounding each weight to the nearest integer adds up to an error of the output
that nobody chose. GPTQ (Frantar et al., 2022, arXiv:2210.17323) rounds one
column of the weight matrix after another and moves those still float so that
they take up the error, as far as the inputs are correlated: a few seconds of
linear algebra, no training.
"""

import numpy as np
from scipy.linalg import lapack

# Columns rounded before the rest is brought up to date: results are the same,
# large matrices are read less often.
_BLOCK = 128
# Share of the mean input energy added to each input's: where inputs hardly
# occur, weights should not move far. As in the paper.
_DAMPING = 0.01


def round_to_nearest(matrix: np.ndarray, step: np.ndarray,
                     limit: int) -> np.ndarray:
    """Integers of largest magnitude `limit`; arguments as `round_jointly`."""
    return np.clip(np.rint(matrix / step), -limit, limit)


def round_jointly(matrix: np.ndarray,
                  rows: np.ndarray,
                  step: np.ndarray,
                  limit: int = 127) -> np.ndarray:
    """Integers q that keep `rows @ (q * step).T` near `rows @ matrix.T`.

    The largest weight of each channel keeps its value: oneDNN takes the
    channel's scale from it, and would round all others anew.

    Args:
        matrix: (O, I) float, one output channel a line.
        rows: (n, I) float, what it multiplies.
        step: (O,) or (1,) float, the value of 1; 0 for channels of zeros.
        limit: largest magnitude.

    Returns:
        (O, I) float64 of integers.
    """
    matrix = matrix.astype(np.float64)
    step = np.broadcast_to(
        np.asarray(step, np.float64).reshape(-1), (len(matrix), )).copy()
    step[step == 0] = 1
    energy = (rows.T @ rows).astype(np.float64) / max(len(rows), 1)
    mean = np.diag(energy).mean()
    nearest = round_to_nearest(matrix, step[:, None], limit)
    if not mean > 0:
        return nearest
    energy += np.eye(len(energy)) * (_DAMPING * mean)
    # The largest first: their errors have the most others left to go to.
    order = np.argsort(-np.diag(energy), kind='stable')
    back = np.argsort(order, kind='stable')
    energy = energy[np.ix_(order, order)]
    # The transposed Cholesky factor of the inverse, by the factor of the
    # matrix turned round: an eighth of the work of inverting it.
    turned = np.linalg.cholesky(energy[::-1, ::-1])
    upper = lapack.dtrtri(turned, lower=1)[0][::-1, ::-1]
    left = matrix[:, order]
    largest = np.abs(left).argmax(1)
    pinned = nearest[:, order]
    rounded = np.empty_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        errors = np.empty((len(left), stop - start))
        for at in range(start, stop):
            column = np.clip(np.rint(left[:, at] / step), -limit, limit)
            column = np.where(largest == at, pinned[:, at], column)
            rounded[:, at] = column
            error = (left[:, at] - column * step) / upper[at, at]
            left[:, at + 1:stop] -= np.outer(error, upper[at, at + 1:stop])
            errors[:, at - start] = error
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return rounded[:, back]
