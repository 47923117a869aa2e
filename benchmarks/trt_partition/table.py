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
"""Partitions as JSON, as text, and as the table of the READMEs."""

import json
from typing import Any, Dict, List, Optional

from act.errors import UserError
from act.files import write_whole

Row = Dict[str, Any]

_WORDS = {
    'en': {
        'head': ('Model', 'Shapes', 'Precision', 'Engines', 'Their operators',
                 'Refused'),
        'fixed':
        'fixed',
        'dynamic':
        'dynamic',
        'as exported':
        ', without rewrites',
        'more':
        '%s, and %d of at most %d',
        'none':
        'none',
        'types':
        '%d types, %d operators',
    },
    'cn': {
        'head': ('模型', '形状', '精度', 'engine', '各含算子', '被拒绝的算子'),
        'fixed': '固定',
        'dynamic': '动态',
        'as exported': '，不改写',
        'more': '%s，另有 %d 个，至多 %d',
        'none': '无',
        'types': '%d 种，%d 个',
    },
}
# Engines and refused types named one by one.
NAMED = 4


def read(path: str) -> List[Row]:
    """The rows of a file.

    Raises:
        UserError: it is not there, or no such file.
    """
    try:
        with open(path, encoding='utf-8') as f:
            return json.load(f)['partition']
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError("'%s' is not a file of partitions; make one with: "
                        'python benchmarks/partition.py --table --coco COCO' %
                        path) from None


def write(path: str,
          rows: List[Row],
          made_by: Optional[Dict[str, Any]] = None) -> None:
    """Write rows, and what made them."""
    content = dict(made_by or {}, partition=rows)
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) +
                       '\n').encode())


def _engines(partition: Dict[str, Any], words: Dict[str, Any]) -> str:
    sizes = partition['engines']
    shown = ' + '.join(map(str, sizes[:NAMED])) or '-'
    if len(sizes) > NAMED:
        return words['more'] % (shown, len(sizes) - NAMED, sizes[NAMED])
    return shown


def _refused(partition: Dict[str, Any], words: Dict[str, Any]) -> str:
    counts = partition['refused']
    if not counts:
        return words['none']
    if len(counts) > NAMED:
        return words['types'] % (len(counts), sum(counts.values()))
    return ', '.join('`%s`%s' % (kind, ' x%d' % n if n > 1 else '')
                     for kind, n in counts.items())


def markdown(path: str, language: str) -> str:
    """The table of a README, in 'en' or 'cn'."""
    words = _WORDS[language]
    lines = [
        '| %s |' % ' | '.join(words['head']), '|' + '-|' * len(words['head'])
    ]
    # Precisions of which all is the same share a row.
    merged: Dict[str, List[str]] = {}
    for row in read(path):
        shapes = words[row['shapes']] + ('' if row['rewrites'] else
                                         words['as exported'])
        if row['status'] == 'created':
            made = row['partition']
            cells = [
                str(len(made['engines'])),
                _engines(made, words),
                _refused(made, words)
            ]
        else:
            cells = [row['status'], '', row['reason']]
        merged.setdefault(
            '| %s | %s | %%s | %s |' % (row['model'], shapes, ' | '.join(
                cell.replace('%', '%%') for cell in cells)),
            []).append(row['precision'])
    lines += [line % ', '.join(names) for line, names in merged.items()]
    return '\n'.join(lines) + '\n'


def text(rows: List[Row]) -> str:
    """What a terminal is shown of some rows."""
    lines = []
    for row in rows:
        lines.append('%s %s, %s shapes%s: %s in %.1f s %s' %
                     (row['model'], row['precision'], row['shapes'],
                      '' if row['rewrites'] else ', without rewrites',
                      row['status'], row['seconds'], row.get('reason', '')))
        made = row.get('partition')
        if not made:
            continue
        lines.append('  engines (operators): %s' %
                     (' '.join(map(str, made['engines'])) or 'none'))
        for key, what in (('refused', 'refused'), ('disabled', 'disabled'),
                          ('small', 'in groups too small'), ('inside',
                                                             'in engines')):
            if made[key]:
                lines.append('  %s: %s' %
                             (what, ', '.join('%s %d' % item
                                              for item in made[key].items())))
        for name, seconds in made['slow_passes'].items():
            lines.append('  slow pass: %s %.1f s' % (name, seconds))
    return '\n'.join(lines)
