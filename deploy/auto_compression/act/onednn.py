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
"""oneDNN's verbose log: which primitive ran, in which implementation and data
types, and how long.

oneDNN writes a comma-separated line for each primitive to C's stdout when
DNNL_VERBOSE is 1 (ONEDNN_VERBOSE, its newer name, wins where both are set).
The one inside Paddle 2.6.2 is v3.2.1:

    onednn_verbose,exec,cpu,convolution,jit_uni_int8:avx2,forward_inference,
    src_u8:a:blocked:acdb::f0 wei_s8:a:blocked:Abcde8a::f0
    bia_f32::blocked:a::f0 dst_u8:a:blocked:acdb::f0,
    attr-scales:src0:0+dst:0+wei:3 attr-post-ops:eltwise_relu ,
    alg:convolution_direct,g16mb1_ic16oc16_ih16oh16kh3sh1dh0ph1_...,0.00683594

(one line; implementation, propagation kind, memory descriptors, attributes,
algorithm, problem descriptor, milliseconds). The variable is read once, when
the library is loaded, so `record` always starts a process of its own.
"""

import ctypes
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Optional, Sequence

from .errors import UserError

_PREFIXES = ('onednn_verbose', 'dnnl_verbose')
# What may stand between the prefix and `exec`: a timestamp, if
# ONEDNN_VERBOSE_TIMESTAMP=1; `primitive` and `v1` in versions after 3.2.
_BEFORE_EXEC = re.compile(r'primitive|v\d+|[\d.]+')
# `src_f32:a:blocked:...`; the newest versions write `src:f32:a:blocked:...`.
# `data` is what eltwise calls a tensor that is both source and destination.
_MEMORY = re.compile(r'(?<!\S)(src|wei|dst|data)[_:](\w+?):')
_CONVOLUTION = re.compile(r'(?:g(\d+))?mb\d+_ic(\d+)oc\d+')
_MARK = re.compile(r'--- run (\d+) (begin|end) ---')
_OUTPUT = '--- output ---'


@dataclass(frozen=True)
class Primitive:
    """One execution of one primitive.

    Data types are oneDNN's names ('f32', 'bf16', 's8', 'u8', ...); None where
    the primitive has no such tensor. Of several sources it is the first one's.
    """
    kind: str  # 'convolution', 'reorder', 'inner_product', 'pooling', ...
    implementation: str  # 'jit_uni_int8:avx2', 'brgconv_1x1:avx2', 'ref:any'
    prop_kind: str  # 'forward_inference', 'undef', ...
    source: Optional[str]
    weights: Optional[str]
    destination: Optional[str]
    groups: Optional[int]  # None for what is not a convolution
    depthwise: bool  # a convolution with one input channel a group
    descriptor: str  # sizes, as oneDNN writes them
    milliseconds: float  # wall time


@dataclass(frozen=True)
class LayerCount:
    """Convolutions of one inference run by what they computed in, its linear
    layers in int8, and where the time of the run's primitives went
    (milliseconds of wall time)."""
    int8: int = 0  # source and weights in s8 or u8; depthwise ones among them
    fp32: int = 0
    bf16: int = 0
    other: int = 0  # any other pair of types
    depthwise_int8: int = 0
    depthwise_fp32: int = 0
    linear_int8: int = 0  # inner products; in float some run as matmul
    convolution_ms: float = 0.0
    reference_ms: float = 0.0  # of all kinds, in unoptimized code (`ref...`)
    total_ms: float = 0.0  # of all kinds

    @property
    def reference_share(self) -> float:
        """reference_ms / total_ms, 0 to 1."""
        return self.reference_ms / self.total_ms if self.total_ms else 0.0


def parse(lines: Iterable[str]) -> List[Primitive]:
    """Read the primitives that were executed, in order.

    Lines of other programs, and oneDNN's lines about itself, about creating
    primitives and about whole graphs, are passed over.

    Raises:
        UserError: an execution line is broken. It may have been a convolution,
            so passing over it would make the counts wrong in silence.
    """
    found = []
    for line in lines:
        line = line.rstrip('\r\n')
        fields = line.split(',')
        if fields[0] not in _PREFIXES or 'exec' not in fields[:5]:
            continue
        start = fields.index('exec')
        if all(_BEFORE_EXEC.fullmatch(f) for f in fields[1:start]):
            found.append(_primitive(fields[start + 1:], line))
    return found


def _primitive(fields: List[str], line: str) -> Primitive:
    """`fields` are those after `exec`."""
    broken = UserError("oneDNN's log holds a line that cannot be read: '%s'" %
                       line)
    # Sizes and time are counted from the end: attributes may hold commas.
    if len(fields) < 9:
        raise broken
    _, kind, implementation, prop_kind, memory = fields[:5]
    descriptor, time = fields[-2:]
    try:
        milliseconds = float(time)
    except ValueError:
        raise broken from None
    types: Dict[str, Optional[str]] = {}
    for name, data_type in _MEMORY.findall(memory):
        types.setdefault(name, None if data_type == 'undef' else data_type)
    groups, depthwise = None, False
    if kind in ('convolution', 'deconvolution'):
        match = _CONVOLUTION.match(descriptor)
        if not match:
            raise broken
        groups = int(match.group(1) or 1)
        # As Paddle: a plain convolution of one channel is not depthwise.
        depthwise = groups > 1 and groups == int(match.group(2))
    return Primitive(kind=kind,
                     implementation=implementation,
                     prop_kind=prop_kind,
                     source=types.get('src', types.get('data')),
                     weights=types.get('wei'),
                     destination=types.get('dst', types.get('data')),
                     groups=groups,
                     depthwise=depthwise,
                     descriptor=descriptor,
                     milliseconds=milliseconds)


def _computed_in(primitive: Primitive) -> str:
    """The field of LayerCount that a convolution belongs to."""
    types = (primitive.source, primitive.weights)
    if set(types) <= {'s8', 'u8'}:
        return 'int8'
    return {
        ('f32', 'f32'): 'fp32',
        ('bf16', 'bf16'): 'bf16'
    }.get(types, 'other')


def count_layers(primitives: Iterable[Primitive], runs: int = 1) -> LayerCount:
    """Count the layers of one inference run.

    Args:
        primitives: of one or more equal runs.
        runs: how many.

    Raises:
        UserError: the layers do not divide into that many equal runs.
    """
    counts = dict.fromkeys(('int8', 'fp32', 'bf16', 'other', 'depthwise_int8',
                            'depthwise_fp32', 'linear_int8'), 0)
    convolution_ms = reference_ms = total_ms = 0.0
    for primitive in primitives:
        total_ms += primitive.milliseconds
        if primitive.implementation.startswith('ref'):
            reference_ms += primitive.milliseconds
        if primitive.kind == 'inner_product':
            counts['linear_int8'] += _computed_in(primitive) == 'int8'
        if primitive.kind != 'convolution':
            continue
        convolution_ms += primitive.milliseconds
        computed_in = _computed_in(primitive)
        counts[computed_in] += 1
        if primitive.depthwise and computed_in in ('int8', 'fp32'):
            counts['depthwise_' + computed_in] += 1
    if runs < 1 or any(n % runs for n in counts.values()):
        raise UserError("oneDNN's log does not hold %d equal runs: %s" %
                        (runs, ', '.join('%d %s' % (n, name)
                                         for name, n in counts.items())))
    return LayerCount(convolution_ms=convolution_ms / runs,
                      reference_ms=reference_ms / runs,
                      total_ms=total_ms / runs,
                      **{
                          k: n // runs
                          for k, n in counts.items()
                      })


def _mark(run: int, what: str) -> None:
    # oneDNN's lines wait in C's buffer: they must be out before the mark, and
    # the mark must wait in no buffer. It starts a line in any case.
    ctypes.CDLL(None).fflush(None)
    os.write(1, b'\n--- run %d %s ---\n' % (run, what.encode()))


def mark_begin(run: int = 0) -> None:
    """For the process that `record` starts: an inference run begins.

    Nothing may be printed until mark_end: it could split one of oneDNN's lines.
    """
    _mark(run, 'begin')


def mark_end(run: int = 0) -> None:
    """For the process that `record` starts: the run has ended."""
    _mark(run, 'end')


def mark_output() -> None:
    """For the process that `record` starts: within a run, an operator has
    written one of its outputs."""
    ctypes.CDLL(None).fflush(None)
    os.write(1, b'%s\n' % _OUTPUT.encode())


def marked_runs(lines: Iterable[str]) -> List[List[str]]:
    """The lines of each run that was marked from begin to end, in order."""
    found: List[List[str]] = []
    current, number = [], None
    for line in lines:
        mark = _MARK.fullmatch(line.strip())
        if not mark:
            current.append(line)
        elif mark.group(2) == 'begin':
            current, number = [], mark.group(1)
        elif mark.group(1) == number:
            found.append(current)
            current, number = [], None
    return found


def last_run(lines: Iterable[str]) -> Optional[List[str]]:
    """The last of `marked_runs`, None if there is none."""
    return (marked_runs(lines) or [None])[-1]


def by_output(lines: Iterable[str]) -> List[List[str]]:
    """The lines before each mark of mark_output; last, those after the last."""
    parts: List[List[str]] = [[]]
    for line in lines:
        if line.strip() == _OUTPUT:
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def record(command: Sequence[str],
           *,
           env: Optional[Mapping[str, str]] = None,
           timeout: float = 600) -> List[Primitive]:
    """Run a command and read which primitives its last run executed; see
    `record_runs`."""
    return parse(record_runs(command, env=env, timeout=timeout)[-1])


def record_runs(command: Sequence[str],
                *,
                env: Optional[Mapping[str, str]] = None,
                timeout: float = 600) -> List[List[str]]:
    """Run a command with oneDNN's log on.

    Args:
        command: program and arguments. It calls mark_begin and mark_end around
            each inference run; the first ones should be left to warm up, when
            oneDNN also reorders the weights.
        env: its environment, os.environ by default.
        timeout: seconds until it is killed.

    Returns:
        the lines of each marked run, at least one.

    Raises:
        UserError: it cannot be started, fails, takes too long or sets no marks.
    """
    env = dict(os.environ if env is None else env)
    env.update(DNNL_VERBOSE='1', ONEDNN_VERBOSE='1')
    try:
        done = subprocess.run(list(command),
                              env=env,
                              timeout=timeout,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              encoding='utf-8',
                              errors='replace',
                              check=False)
    except OSError as error:
        raise UserError("cannot start '%s' to record oneDNN's log: %s" %
                        (command[0], error.strerror)) from None
    except subprocess.TimeoutExpired:
        raise UserError("recording oneDNN's log took over %g s: '%s' was "
                        'stopped' % (timeout, command[0])) from None
    if done.returncode:
        said = [s for s in done.stderr.splitlines() if s.strip()]
        raise UserError("recording oneDNN's log failed, exit code %d: %s" %
                        (done.returncode,
                         said[-1].strip() if said else 'nothing on stderr'))
    found = marked_runs(done.stdout.splitlines())
    if not found:
        raise UserError("'%s' marked no run: it has to call onednn.mark_begin "
                        'and onednn.mark_end' % command[0])
    return found
