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
"""The report as one HTML file that needs nothing else: no network, no script,
pictures inside.

page.html is the page; Jinja escapes all that is put into it.
"""

import os
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from . import classes, columns, figures, training
from . import pictures as detections
from .gather import Entry, Gathered, unlike

TEMPLATE = 'page.html'
KINDS = 10  # of operators, of each model in a profile


@dataclass
class Block:
    """A part of a section. What is missing is left out; so is a block of which
    nothing but title and words is there."""
    title: str = ''
    words: str = ''
    figure: Optional[figures.Figure] = None
    table: Optional[columns.Table] = None
    notes: Sequence[str] = ()
    steps: Sequence[str] = ()
    code: str = ''
    pictures: Sequence[detections.Picture] = ()

    @property
    def holds(self) -> bool:
        """Whether anything is there."""
        return bool(self.figure or self.pictures or self.steps or self.code
                    or self.table and self.table.rows)


@dataclass
class Section:
    """What has an entry in the list of contents."""
    name: str  # its address in the page
    title: str
    words: str
    blocks: List[Block]


def render(found: Gathered) -> str:
    """The HTML."""
    import jinja2
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(
        os.path.dirname(os.path.abspath(__file__))),
                                     autoescape=True,
                                     undefined=jinja2.StrictUndefined,
                                     trim_blocks=True,
                                     lstrip_blocks=True)
    environment.filters['data_uri'] = detections.data_uri
    return environment.get_template(TEMPLATE).render(summary=_summary(found),
                                                     sections=sections(found))


def _summary(found: Gathered) -> str:
    times = sorted(e.record['time'] for e in found.entries)
    families = len({e.family for e in found.rows})
    parts = [
        '%d measurement%s of %d model%s' %
        (len(found.rows), 's' * (len(found.rows) != 1), families, 's' *
         (families != 1))
    ]
    if found.compressions:
        parts.append('%d compression%s' % (len(found.compressions), 's' *
                                           (len(found.compressions) != 1)))
    if found.failed:
        parts.append('%d failed' % len(found.failed))
    ends = times[0] if times[0] == times[-1] else '%s to %s' % (times[0],
                                                                times[-1])
    return '%s; made %s (UTC)' % (', '.join(parts), ends)


def sections(found: Gathered) -> List[Section]:
    """Those that the records have something for."""
    rows = found.rows
    made = [
        Section(
            'results', 'Results',
            'The ratio is to the reference, measured in the same run, in turn; '
            'latencies of different runs tell less.', [
                Block(table=columns.table(columns.RESULTS, rows),
                      notes=columns.notes(rows, unlike(rows)))
            ]),
        Section('failed', 'Failed', '',
                [Block(table=columns.table(columns.FAILED, found.failed))]),
        Section(
            'accuracy-latency', 'mAP against latency',
            'Up and to the left is better. Points of one model are joined.',
            _accuracy_latency(rows)),
        Section(
            'accuracy', 'Accuracy',
            '%s AP, percent. Where the interval of a difference holds 0, these '
            'images show none.' % ' or '.join(_by_metric(rows)),
            [Block(table=columns.table(columns.ACCURACY, rows))]),
        Section(
            'latency', 'Latency distribution',
            'Wall time of the network alone, ms an image. Boxes: quartiles and '
            'median; whiskers: 1st and 99th percentile; dots: extremes.', [
                Block(figure=figures.latency_distribution(rows),
                      table=columns.table(columns.LATENCY, rows))
            ]),
        Section('stages', 'Where the time of an image goes',
                'Medians, each stage measured apart.', [
                    Block(figure=figures.stage_split(rows),
                          table=columns.table(columns.STAGES, rows))
                ]),
        Section('classes', 'AP by class', '', _classes(found)),
        Section(
            'size', 'Size and memory',
            'Size: program and weights. Memory: the largest of the process, '
            'which held both models where two were compared.', [
                Block(figure=figures.sizes(rows),
                      table=columns.table(columns.SIZES, rows))
            ]),
        Section('compression', 'Compression', '', _compressions(found)),
        Section(
            'pictures', 'Detections before and after',
            'The images whose detections changed most, not typical ones. Left: '
            'the reference, right: the model.',
            [Block(row.label, pictures=detections.of(row)) for row in rows]),
        Section('profiles', 'Profiles',
                'Where the time of a run goes, by kind of operator.',
                [b for entry in found.profiles for b in _profile(entry)]),
        Section('environment', 'Environment', '', _environment(found)),
        Section('commands', 'Commands',
                'What each came of, from the directory that it ran in.', [
                    Block('; '.join(labels), code=line)
                    for labels, line in columns.commands(found.entries)
                ]),
    ]
    for section in made:
        section.blocks = [b for b in section.blocks if b.holds]
    return [section for section in made if section.blocks]


def _by_metric(rows: Sequence[Entry]) -> Dict[str, List[Entry]]:
    """Rows by what their mAP means."""
    made: Dict[str, List[Entry]] = {}
    for row in rows:
        made.setdefault(row.metric, []).append(row)
    return made


def _accuracy_latency(rows: Sequence[Entry]) -> List[Block]:
    """A figure for each metric: their mAPs have no common axis."""
    groups = _by_metric(rows)
    return [
        Block(metric if len(groups) > 1 else '',
              figure=figures.accuracy_latency(own))
        for metric, own in groups.items()
    ]


def _classes(found: Gathered) -> List[Block]:
    headers = [
        columns.Header('Class', False),
        *map(columns.Header, ('Reference', 'Model', 'Change, points'))
    ]
    blocks = []
    for pair in found.pairs:
        changed = classes.changes(pair)
        worst = changed[:classes.WORST]
        rows = [
            columns.Row([
                c.name, *('%.2f' % ap for ap in (c.reference, c.candidate)),
                '%+.2f' % c.points
            ], pair.candidate.path) for c in worst
        ]
        blocks.append(
            Block('%s less %s' % (pair.candidate.label, pair.reference.label),
                  'The worst %d of %d classes.' % (len(worst), len(changed)),
                  figures.class_changes(pair, changed, classes.WORST),
                  columns.Table(headers, rows)))
    return blocks


def _compressions(found: Gathered) -> List[Block]:
    blocks = [
        Block(table=columns.table(columns.COMPRESSION, found.compressions))
    ]
    for entry in found.compressions:
        log = training.read(entry)
        if log:
            blocks.append(
                Block('Loss of %s' % entry.label,
                      figure=figures.losses(entry, log)))
    return blocks


def _profile(entry: Entry) -> List[Block]:
    """The kinds of operators that take longest, and the causes."""
    headers = [
        columns.Header('Kind of operator', False),
        *map(columns.Header, ('ms', 'Operators', 'In int8', 'ms in reorders'))
    ]
    blocks = []
    for model in entry.record['models']:
        kinds = [
            k for k in entry.record['kinds'] if k['model'] == model['model']
        ]
        kinds.sort(key=lambda k: -(k['ms'] or 0))
        rows = [
            columns.Row([
                k['kind'] or '-',
                '%.2f' % (k['ms'] or 0),
                str(k['count'] or 0),
                str(k['int8'] or 0),
                '%.2f' % (k['reorder_ms'] or 0)
            ], entry.path) for k in kinds[:KINDS]
        ]
        blocks.append(
            Block('%s: %s' % (entry.label, model['model']),
                  table=columns.Table(headers, rows)))
    causes = [
        '%s: %s (%.2f ms). %s What mends it: %s' %
        (c['model'], c['words'], c['ms'] or 0, c['evidence'], c['edit'])
        for c in entry.record['causes']
    ]
    return blocks + [Block('Causes', steps=causes)]


def _environment(found: Gathered) -> List[Block]:
    groups = columns.environments(found.entries)
    named = [
        '%s: %s' % (name, '; '.join(e.label for e in entries))
        for name, entries in groups
    ]
    return [
        Block(table=columns.environment(groups),
              notes=named if len(groups) > 1 else ())
    ]
