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
"""Who writes a value and who reads it, in a block whose names are written more
than once."""

from collections import defaultdict
from typing import Any, Dict, List, Optional, Tuple


class Graph:
    """The operators of a block as they are now.

    It does not follow edits: find all places first, and change them then.
    """

    def __init__(self, block: Any) -> None:
        self.ops: List[Any] = list(block.ops)
        self._writer: Dict[Tuple[int, str], Any] = {}
        self._readers: Dict[Tuple[int, str], List[Any]] = defaultdict(list)
        last: Dict[str, Any] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.input_arg_names):
                writer = last.get(name)
                if writer is not None:
                    self._writer[id(op), name] = writer
                    self._readers[id(writer), name].append(op)
            for name in op.output_arg_names:
                last[name] = op

    def writer(self, op: Any, slot: str) -> Optional[Any]:
        """The operator that wrote the first value of an input slot; None for
        parameters and empty slots."""
        names = op.input(slot) if slot in op.input_names else []
        return self._writer.get((id(op), names[0])) if names else None

    def readers(self, op: Any, slot: str) -> List[Any]:
        """The operators that read the first value of an output slot, as this
        operator wrote it."""
        return self._readers[id(op), op.output(slot)[0]]

    def writer_of(self, op: Any, name: str) -> Optional[Any]:
        """The operator that wrote what this one reads under a name; None for
        parameters."""
        return self._writer.get((id(op), name))

    def readers_of(self, op: Any, name: str) -> List[Any]:
        """The operators that read what this one wrote under a name."""
        return self._readers[id(op), name]

    def only_reader(self, op: Any, slot: str, kind: str) -> Optional[Any]:
        """The one operator that reads that value, if it is of this type."""
        readers = self.readers(op, slot)
        if len(readers) == 1 and readers[0].type == kind:
            return readers[0]
        return None


def readers_behind(block: Any, index: int, name: str) -> List[Any]:
    """The operators that read a name as the operator at an index wrote it, in
    the block as it is now."""
    readers = []
    for op in block.ops[index + 1:]:
        if name in op.input_arg_names:
            readers.append(op)
        if name in op.output_arg_names:
            break
    return readers
