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
"""The log of a training, beside the record of its run."""

import csv
import math
import os
from dataclasses import dataclass
from typing import List, Optional

from .gather import Entry

LOG = 'train_log.csv'  # as act.compress.job names it


@dataclass(frozen=True)
class Log:
    """Of each iteration: its number, loss and learning rate."""
    iterations: List[int]
    losses: List[float]
    rates: List[float]


def read(entry: Entry) -> Optional[Log]:
    """The log of a compression, None if there is none that can be read."""
    try:
        with open(os.path.join(entry.directory, LOG),
                  newline='',
                  encoding='utf-8') as f:
            rows = [(int(row['iteration']), float(row['loss']),
                     float(row['learning_rate'])) for row in csv.DictReader(f)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    rows = [row for row in rows if all(map(math.isfinite, row))]
    return Log(*map(list, zip(*rows))) if rows else None
