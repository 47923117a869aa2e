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
"""AP by class: what a model lost against its reference, class by class."""

from dataclasses import dataclass
from typing import List

from .gather import Pair

WORST = 10


@dataclass(frozen=True)
class Change:
    """Of one class; AP in percent."""
    name: str
    reference: float
    candidate: float

    @property
    def points(self) -> float:
        """Of AP, gained."""
        return self.candidate - self.reference


def changes(pair: Pair) -> List[Change]:
    """Of the classes that both records have, the worst first; none if their
    metrics differ."""
    if pair.reference.metric != pair.candidate.metric:
        return []
    before = pair.reference.get('per_class') or {}
    after = pair.candidate.get('per_class') or {}
    found = [
        Change(name, value, after[name]) for name, value in before.items()
        if value is not None and after.get(name) is not None
    ]
    return sorted(found, key=lambda change: (change.points, change.name))
