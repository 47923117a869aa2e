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
"""A profile on the terminal."""

import textwrap
from typing import Any, List, Optional, Sequence

from tabulate import tabulate

from . import layers
from .causes import Cause
from .machine import Machine
from .profiled import Profile

SLOWEST = 15
WIDTH = 100
# Rows below the kinds: fields of timed.Timing.
_SUMS = (
    ('sum of operators', 'operators_ms'),
    ('between operators', 'between_ms'),
    ('other work on this machine', 'disturbed_ms'),
    ('run, profiled', 'run_ms'),
    ('run', 'plain_ms'),
    ('run, CPU time', 'cpu_ms'),
)


def _percent(share: Optional[float]) -> str:
    return '-' if share is None else '%.0f' % (100 * share)


def _table(rows: List[List[Any]], headers: List[str], texts: int) -> str:
    """`texts`: columns at the left that are no numbers."""
    return tabulate(rows,
                    headers=headers,
                    tablefmt='simple',
                    disable_numparse=True,
                    colalign=['left'] * texts + ['right'] *
                    (len(headers) - texts))


def kinds(profiles: Sequence[Profile], machine: Machine) -> str:
    """Time by kind of operator, the models side by side; below it what lies
    between operators, and the sums."""
    headers = ['ms a run']
    for profile in profiles:
        headers += [profile.label, 'n', 'n int8', 'reord.', 'ref', 'roof %']
    found = [{
        k.name: k
        for k in layers.by_kind(p.layers, machine)
    } for p in profiles]
    names = sorted(set().union(*found),
                   key=lambda n: -max(k[n].ms for k in found if n in k))
    rows = []
    for name in names:
        row = [name]
        for kind in found:
            one = kind.get(name)
            row += [
                '%.2f' % one.ms,
                one.count,
                one.int8 or '',
                '%.2f' % one.reorder_ms if one.reorder_ms >= .005 else '',
                '%.2f' % one.reference_ms if one.reference_ms else '',
                _percent(one.roofline),
            ] if one else [''] * 6
        rows.append(row)
    for title, value in _SUMS:
        row = [title]
        for profile in profiles:
            row += ['%.2f' % getattr(profile.timing, value)] + [''] * 5
        rows.append(row)
    return _table(rows, headers, 1)


def slowest(profiles: Sequence[Profile],
            machine: Machine,
            count: int = SLOWEST) -> str:
    """The layers of the last model that take longest, beside their
    counterparts in the first."""
    profile = profiles[-1]
    pairs = layers.counterparts(profiles[0].layers,
                                profile.layers) if len(profiles) > 1 else {}
    order = sorted(range(len(profile.layers)),
                   key=lambda at: -profile.layers[at].ms)
    rows = []
    for at in order[:count]:
        layer, other = profile.layers[at], pairs.get(at)
        ideal = layer.ideal_ms(machine)
        row = [
            layers.known_name(layer, other) or '-', layer.type,
            'x'.join(map(str, layer.shape)),
            layer.implementation if profile.named else '-', layer.computed_in
        ]
        if len(profiles) > 1:
            row.append('%.2f' % other.ms if other else '-')
        rows.append(row + [
            '%.2f' % layer.ms,
            '%.3f' % layer.gflop if layer.gflop else '',
            _percent(ideal / layer.ms if ideal is not None else None)
        ])
    headers = ['layer', 'operator', 'shape', 'implementation', 'in'
               ] + [p.label for p in profiles] + ['GFLOP', 'roof %']
    return _table(rows, headers, 5)


def causes(found: Sequence[Cause]) -> str:
    """Each with its evidence and its edit."""
    lines = []
    for number, cause in enumerate(found, 1):
        lines.append('%d. %s: %s (%.2f ms)' %
                     (number, cause.model, cause.words, cause.ms))
        for title, text in (('evidence', cause.evidence), ('edit', cause.edit)):
            lines += textwrap.wrap('%s: %s' % (title, text),
                                   WIDTH,
                                   initial_indent='   ',
                                   subsequent_indent='     ',
                                   break_long_words=False,
                                   break_on_hyphens=False)
    return '\n'.join(lines)


def rates(machine: Machine) -> str:
    """What the roofline is made of."""
    return ('this machine, %d thread%s: %.0f GFLOP/s fp32, %.0f GFLOP/s int8, '
            '%.1f GB/s' %
            (machine.threads, '' if machine.threads == 1 else 's',
             machine.fp32_gflops, machine.int8_gflops, machine.gbytes_per_s))
