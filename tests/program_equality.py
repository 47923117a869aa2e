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
"""Are two static programs the same, whatever the order of independent operators
and the numbers in generated names?

Two programs are the same if there is a renaming of generated names that makes
equal

* the multisets of operators: type, every attribute, and for each slot the
  variables it reads and writes;
* what each read gets: the operator that wrote the variable last before it. So
  operators may change places only where that changes no value, and a variable
  that is written twice is read between the same two writes;
* the descriptions of the variables, and the last writer of each;
* if asked (`compare_values`), the values of the variables, bit for bit.

A program is a `paddle.static.Program` or its description, e.g. what `parse`
reads; the latter needs no static mode.
"""

import collections
import hashlib
import re
from typing import Any, Counter, Dict, List, Optional, Tuple

import numpy as np

# Where it comes from, not what it does.
IGNORED_ATTRIBUTES = ('op_callstack', )
# Slots whose variables get their names from `unique_name.generate` while a pass
# walks the operators, in the order of the walk.
GENERATED_SLOTS = ('InState', 'InAccum')
# Paddle numbers the scopes of a process; PACT calls an optimizer for each
# activation.
GENERATED_SCOPE = re.compile(r'/(optimizer|gradient_clip)_\d+/')
NOWHERE = '@EMPTY@'


def parse(serialized: bytes) -> Any:
    """The description that `program.desc.serialize_to_string()` wrote."""
    from paddle.base import core
    return core.ProgramDesc(serialized)


def canonical_names(program: Any) -> Dict[str, str]:
    """Generated name -> a name that says whose it is.

    `state_3`, which holds the state of a scale, becomes e.g.
    'InState of quantize_linear(conv2d_0.tmp_0)'.
    """
    names = {}
    for block in _blocks(program):
        for op in _ops(block):
            for slot in set(GENERATED_SLOTS) & set(op.input_names()):
                for name in op.input(slot):
                    names[name] = '%s of %s(%s)' % (slot, op.type(),
                                                    op.input('X')[0])
    if len(set(names.values())) != len(names):
        raise AssertionError('two generated names have the same role')
    return names


def listing(program: Any) -> List[Tuple]:
    """Each operator in its place, with its names as they are."""
    return [(op.type(), [(slot, op.input(slot))
                         for slot in sorted(op.input_names())],
             [(slot, op.output(slot))
              for slot in sorted(op.output_names())], _attributes(op))
            for block in _blocks(program) for op in _ops(block)]


def compare(ours: Any, theirs: Any, limit: int = 10) -> List[str]:
    """What differs between two programs, at most `limit` lines of each kind;
    an empty list if they are the same."""
    names = canonical_names(ours), canonical_names(theirs)
    blocks = _blocks(ours), _blocks(theirs)
    if len(blocks[0]) != len(blocks[1]):
        return ['blocks: %d, %d' % (len(blocks[0]), len(blocks[1]))]
    found = []
    for pair in zip(*blocks):
        kinds = zip(*[_content(b, table) for b, table in zip(pair, names)])
        for kind, sides in zip(('operator', 'last writer', 'variable'), kinds):
            found += _lines(kind, *sides, limit)
    return found


def compare_values(ours: Dict[str, np.ndarray],
                   theirs: Dict[str, np.ndarray],
                   our_names: Optional[Dict[str, str]] = None,
                   their_names: Optional[Dict[str, str]] = None) -> List[str]:
    """Which variables differ in a bit, type or shape; an empty list if none.

    Args:
        ours, theirs: values by name.
        our_names, their_names: what `canonical_names` says of the programs.
    """
    our_names, their_names = our_names or {}, their_names or {}
    ours = {our_names.get(k, k): v for k, v in ours.items()}
    theirs = {their_names.get(k, k): v for k, v in theirs.items()}
    found = ['only in one: %s' % k for k in sorted(set(ours) ^ set(theirs))]
    for name in sorted(set(ours) & set(theirs)):
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            found.append('%s: %s%s, %s%s' %
                         (name, a.dtype, a.shape, b.dtype, b.shape))
        elif a.tobytes() != b.tobytes():
            found.append(
                '%s: differs by up to %g' %
                (name, np.abs(a.astype('float64') - b.astype('float64')).max()))
    return found


def _blocks(program: Any) -> List[Any]:
    desc = getattr(program, 'desc', program)
    return [desc.block(i) for i in range(desc.num_blocks())]


def _ops(block: Any) -> List[Any]:
    return [block.op(i) for i in range(block.op_size())]


def _attributes(desc: Any) -> Tuple:
    return tuple((name, str(desc.attr_type(name)), _value(desc, name))
                 for name in sorted(desc.attr_names())
                 if name not in IGNORED_ATTRIBUTES)


def _value(desc: Any, name: str) -> str:
    kind = str(desc.attr_type(name))
    if kind.endswith('BLOCK'):
        return str(desc._block_attr_id(name))
    if kind.endswith('BLOCKS'):
        return str(desc._blocks_attr_ids(name))
    if name == 'op_namescope':
        return GENERATED_SCOPE.sub(r'/\1/', desc.attr(name))
    # repr tells apart 1, 1.0 and True, and gives all digits of a float.
    return repr(desc.attr(name))


def _content(block: Any, names: Dict[str,
                                     str]) -> Tuple[Counter, Counter, Counter]:
    """The operators of a block, the last writer of each variable, and the
    descriptions of the variables.

    An operator stands for all that went into it: a read is a name and a digest
    of the operator that wrote it.
    """
    writer: Dict[str, str] = {}
    operators: Counter = collections.Counter()
    for op in _ops(block):
        reads = tuple((slot,
                       tuple((names.get(name, name), writer.get(name, ''))
                             for name in op.input(slot)))
                      for slot in sorted(op.input_names()))
        writes = tuple(
            (slot, tuple(names.get(name, name) for name in op.output(slot)))
            for slot in sorted(op.output_names()))
        content = (op.type(), reads, writes, _attributes(op))
        digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
        operators[content] += 1
        for name in op.output_arg_names():
            if name != NOWHERE:
                writer[name] = digest
    last = collections.Counter(
        (names.get(name, name), digest) for name, digest in writer.items())
    variables = collections.Counter(
        _variable(var, names) for var in block.all_vars())
    return operators, last, variables


def _variable(desc: Any, names: Dict[str, str]) -> Tuple:
    """All that a variable's description says."""
    content = [
        names.get(desc.name(), desc.name()),
        str(desc.type()),
        desc.persistable(),
        desc.need_check_feed(),
        desc.stop_gradient(),
        desc.is_parameter()
    ]
    # Other kinds of variables (feed, fetch, raw) have neither.
    if str(desc.type()).endswith(('LOD_TENSOR', 'SELECTED_ROWS')):
        content += [str(desc.dtype()), tuple(desc.shape())]
    return tuple(content)


def _lines(kind: str, ours: Counter, theirs: Counter, limit: int) -> List[str]:
    """What is only in one of two multisets, in words."""
    lines = []
    for side, extra in ('ours', ours - theirs), ('theirs', theirs - ours):
        lines += [
            'only in %s: %s %s' % (side, kind, content)
            for content in sorted(extra, key=repr)[:limit]
        ]
        if len(extra) > limit:
            lines.append('and %d more only in %s' % (len(extra) - limit, side))
    return lines
