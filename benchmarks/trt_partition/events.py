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
"""What an analysis wrote down, read: see pretended_gpu.cc."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

EVENTS, PROGRAM = 'events.txt', 'program.pb'
# A pass that takes longer than this is named with its time, in seconds.
SLOW = 5.0


@dataclass(frozen=True)
class Partition:
    """How TensorRT would cut a program. Operators are {type: how many}, with
    the types they have at that moment, after Paddle's passes.

    `refused` are those that the teller does not give to TensorRT; `small` what
    it would give, but that lie in groups too small for an engine; `disabled`
    what it was not asked about, since they were disabled. `engines` are the
    numbers of operators of each subgraph that becomes an engine, the largest
    first, and `inside` the operators in them.
    """
    refused: Dict[str, int] = field(default_factory=dict)
    small: Dict[str, int] = field(default_factory=dict)
    disabled: Dict[str, int] = field(default_factory=dict)
    inside: Dict[str, int] = field(default_factory=dict)
    engines: List[int] = field(default_factory=list)
    slow_passes: Dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> Dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Events:
    """The lines of events.txt: what was told of each operator (type, its
    outputs, whether TensorRT may have it; once, however often it was asked),
    and (pass, when it began)."""
    told: List[Tuple[str, Tuple[str, ...], bool]]
    passes: List[Tuple[str, float]]

    @property
    def last_pass(self) -> Optional[str]:
        """The pass that was running when the log ended."""
        return self.passes[-1][0] if self.passes else None


def read_events(text: str) -> Events:
    """Parse events.txt; a last line that was cut off is left out."""
    told, passes = {}, []
    for line in text.splitlines(keepends=True):
        if not line.endswith('\n'):
            break
        kind, *values = line.rstrip('\n').split('\t')
        if kind == 'pass':
            passes.append((values[0], float(values[1])))
        elif kind == 'op' and values[2] not in ('feed', 'fetch'):
            answer, node, op, *outputs = values
            told[node] = (op, tuple(outputs), answer == '1')
    return Events(list(told.values()), passes)


def read_program(content: bytes) -> Tuple[List[Any], List[List[Any]]]:
    """Parse program.pb.

    Returns:
        the operators that stay with Paddle, and those of each engine; as
        protobuf, with type and outputs.
    """
    outside, engines = [], []
    program = _message('ProgramDesc').FromString(content)
    for op in program.blocks[0].ops:
        if op.type == 'tensorrt_engine':
            block = next(a.s for a in op.attrs if a.name == 'subgraph')
            engines.append(list(_message('BlockDesc').FromString(block).ops))
        elif op.type not in ('feed', 'fetch'):
            outside.append(op)
    return outside, engines


def _message(name: str) -> Any:
    """A message type of Paddle's, whose attributes of text may hold bytes as
    Paddle's own do: a `subgraph` is a serialized block."""
    from act import runtime
    runtime.import_paddle()
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )
    from paddle.base.proto import framework_pb2
    file = descriptor_pb2.FileDescriptorProto()
    framework_pb2.DESCRIPTOR.CopyToProto(file)
    attributes = next(m for op in file.message_type if op.name == 'OpDesc'
                      for m in op.nested_type if m.name == 'Attr')
    for part in attributes.field:
        if part.type == part.TYPE_STRING and part.name == 's':
            part.type = part.TYPE_BYTES
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName('paddle.framework.proto.' + name))


def partition(events: Events, outside: Sequence[Any],
              engines: Sequence[Sequence[Any]]) -> Partition:
    """Put together what was told and what became of it. See `read_events` and
    `read_program`."""
    inside = Counter(op.type for ops in engines for op in ops)
    refused = Counter(kind for kind, _, yes in events.told if not yes)
    accepted = Counter(kind for kind, _, yes in events.told if yes)
    asked = {name for _, outputs, _ in events.told for name in outputs}
    ends = [begin for _, begin in events.passes[1:]]
    return Partition(
        refused=_sorted(refused),
        # What is in neither has been removed: nothing read it.
        small=_sorted((accepted - inside) & Counter(op.type for op in outside)),
        disabled=_sorted(
            Counter(op.type for op in outside if asked.isdisjoint(
                n for o in op.outputs for n in o.arguments))),
        inside=_sorted(inside),
        engines=sorted(map(len, engines), reverse=True),
        slow_passes={
            name: round(end - begin, 1)
            for (name, begin), end in zip(events.passes, ends)
            if end - begin > SLOW
        })


def _sorted(counts: Dict[str, int]) -> Dict[str, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
