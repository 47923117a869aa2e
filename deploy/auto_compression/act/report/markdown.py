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
"""The results of a report as Markdown: the table, what must be read with it,
the worst classes, the environment and the commands."""

import re
from typing import List

from tabulate import tabulate

from . import classes, columns
from .gather import Gathered, unlike


def render(found: Gathered) -> str:
    """The text."""
    parts = ['# Compressed detectors']
    for made in (columns.table(columns.RESULTS, found.rows),
                 columns.table(columns.FAILED, found.failed)):
        if made.rows:
            parts.append(table(made))
    parts += [
        '- ' + escape(note)
        for note in columns.notes(found.rows, unlike(found.rows))
    ]
    parts += _worst_classes(found)
    made = columns.environment(columns.environments(found.entries))
    if made.rows:
        parts += ['## Environment', table(made)]
    parts.append('## Commands')
    for labels, line in columns.commands(found.entries):
        parts += [escape('; '.join(labels)) + ':', code(line)]
    return '\n\n'.join(parts) + '\n'


def _worst_classes(found: Gathered) -> List[str]:
    """A line for each pair."""
    lines = []
    for pair in found.pairs:
        worst = classes.changes(pair)[:classes.WORST]
        if worst:
            lines.append('- %s: %s' %
                         (escape('%s less %s' %
                                 (pair.candidate.label, pair.reference.label)),
                          ', '.join('%s %+.2f' % (escape(c.name), c.points)
                                    for c in worst)))
    return ['## AP by class, the worst in points', *lines] if lines else []


def table(made: columns.Table) -> str:
    """A table of GitHub's Markdown."""
    return tabulate(
        [[escape(text) for text in row.texts] for row in made.rows],
        headers=[escape(h.title) for h in made.headers],
        tablefmt='pipe',
        disable_numparse=True,
        colalign=['right' if h.number else 'left' for h in made.headers])


def escape(text: str) -> str:
    """Text as it is, on one line, whatever characters it holds. Underscores
    within words, as names have them, mean nothing and stay."""
    text = re.sub(r'([\\`*\[\]<>|~#&$])', r'\\\1', ' '.join(text.split()))
    return re.sub(r'(?<!\w)_|_(?!\w)', r'\\_', text)


def code(text: str) -> str:
    """A block of code, fenced by more backticks than the text has in a row."""
    longest = max(map(len, re.findall('`+', text)), default=0)
    fence = '`' * max(3, longest + 1)
    return '%s\n%s\n%s' % (fence, text, fence)
