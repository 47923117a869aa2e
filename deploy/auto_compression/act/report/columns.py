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
"""The tables of a report: which columns there are, and what stands in them."""

from dataclasses import dataclass, replace
from typing import Callable, Dict, List, Sequence, Tuple

from .. import results
from .gather import Entry

Text = Callable[[Entry], str]


@dataclass(frozen=True)
class Column:
    """One column; `text` gives '' where the record has nothing for it."""
    title: str
    field: str  # of the record; the first, if the text has several
    text: Text
    number: bool = True


@dataclass(frozen=True)
class Header:
    """The head of a column."""
    title: str
    number: bool = True
    field: str = ''


@dataclass(frozen=True)
class Row:
    """Texts in the order of the headers, and the file they are from."""
    texts: List[str]
    path: str = ''


@dataclass(frozen=True)
class Table:
    """A table; the first text of a row is its name."""
    headers: List[Header]
    rows: List[Row]


def value(entry: Entry, name: str) -> str:
    """A field as tables show it, '' if there is none."""
    if entry.get(name) is None:
        return ''
    return ' '.join(results.show(results.FIELDS[name], entry.get(name)).split())


def _plain(title: str, field: str, number: bool = True) -> Column:
    unit = results.FIELDS[field].unit
    if unit not in ('', 'points', 'ratio'):
        title += ', ' + unit
    return Column(title, field, lambda entry: value(entry, field), number)


def _interval(entry: Entry) -> str:
    """The difference in mAP and its interval."""
    low, high = (value(entry, 'map_difference_' + end)
                 for end in ('low', 'high'))
    between = ' (%s, %s)' % (low, high) if low and high else ''
    return value(entry, 'map_difference') + between


def _layers(entry: Entry) -> str:
    """int8 layers that ran, of those that were quantized."""
    ran = [entry.get('int8_%s_ran' % k) for k in ('convs', 'linear')]
    asked = [entry.get('int8_%s_expected' % k) for k in ('convs', 'linear')]
    if ran[0] is None or not any(asked):
        return ''
    return '%d / %d' % (sum(r or 0 for r in ran), sum(a or 0 for a in asked))


def _median(entry: Entry) -> str:
    unsteady = entry.get('latency_stable') is False
    return value(entry, 'latency_ms_p50') + ' *' * unsteady


def _metric(entry: Entry) -> str:
    """What mAP means where it is not COCO's."""
    return '' if entry.metric == results.COCO else entry.metric


_LABEL = Column('Model', 'model_name', lambda entry: entry.label, False)
_METRIC = Column('Metric', 'metric', _metric, False)

RESULTS = (
    _LABEL,
    _plain('mAP', 'map'),
    _METRIC,
    Column('Change in mAP, points (95% interval)', 'map_difference', _interval),
    _plain('Agreement AP', 'agreement_ap'),
    Column('Latency p50, ms', 'latency_ms_p50', _median),
    _plain('p90', 'latency_ms_p90'),
    _plain('Ratio to the reference', 'latency_ratio'),
    _plain('Size', 'model_size_mb'),
    _plain('Peak memory', 'peak_memory_mib'),
    Column('int8 layers: ran / quantized', 'int8_convs_ran', _layers),
    _plain('Images', 'num_images'),
    _plain('Threads', 'threads'),
    _plain('Batch', 'batch_size'),
)
# Of them, what a terminal has room for.
BRIEF = tuple(column for column in RESULTS
              if column.field in ('model_name', 'map', 'metric',
                                  'map_difference', 'agreement_ap',
                                  'latency_ms_p50', 'latency_ratio',
                                  'model_size_mb'))
ACCURACY = (_LABEL, _plain('mAP', 'map'), _METRIC,
            *(_plain(title, name)
              for name, title in (('ap50', 'AP50'), ('ap75', 'AP75'),
                                  ('ap_small', 'AP small'),
                                  ('ap_medium', 'AP medium'),
                                  ('ap_large', 'AP large'),
                                  ('ar_100', 'AR 100'))))
LATENCY = (_LABEL,
           *(_plain(name, 'latency_ms_' + name)
             for name in ('mean', 'std', 'p50', 'p90', 'p99', 'min', 'max')),
           _plain('CPU time', 'cpu_time_ms'), _plain('Runs', 'latency_runs'),
           _plain('Warm-up', 'latency_warmup'))
STAGES = (_LABEL,
          *(_plain(name, name + '_ms')
            for name in ('decode', 'preprocess', 'inference', 'postprocess')))
SIZES = (_LABEL, _plain('Model', 'model_size_mb'),
         _plain('Ratio to the reference',
                'size_ratio'), _plain('Peak memory', 'peak_memory_mib'),
         _plain('Peak memory on the GPU', 'peak_gpu_memory_mib'))
COMPRESSION = (_LABEL, _plain('Strategy', 'strategy',
                              False), _plain('Ranges', 'algo', False),
               _plain('Weights rounded', 'weight_rounding',
                      False), _plain('Calibration images',
                                     'calibration_images'),
               _plain('Iterations', 'train_iterations'),
               _plain('Kept iteration',
                      'best_iteration'), _plain('Simulated mAP',
                                                'map'), _METRIC,
               _plain('Last loss',
                      'final_loss'), _plain('Prepare', 'prepare_seconds'),
               _plain('Train or calibrate',
                      'train_seconds'), _plain('Size', 'model_size_mb'),
               _plain('Ratio',
                      'size_ratio'), _plain('Ended early', 'error', False))
FAILED = (_LABEL, _plain('Script', 'script',
                         False), _plain('Error', 'error', False))


def table(columns: Sequence[Column], entries: Sequence[Entry]) -> Table:
    """The columns that any entry has something for, and these entries.

    Args:
        columns: the first one names the entry.
        entries: those without anything but their name are left out.
    """
    rows = [Row([c.text(e) for c in columns], e.path) for e in entries]
    rows = [row for row in rows if any(row.texts[1:])]
    kept = [at for at in range(len(columns)) if any(r.texts[at] for r in rows)]
    headers = [
        Header(columns[at].title, columns[at].number, columns[at].field)
        for at in kept
    ]
    return Table(headers, [
        replace(row, texts=[row.texts[at] or '-' for at in kept])
        for row in rows
    ])


def environments(entries: Sequence[Entry]) -> List[Tuple[str, List[Entry]]]:
    """(name, entries) of each environment: 'A', 'B', ..."""
    fields = [f.name for f in results.GROUPS['environment']]
    found: Dict[str, List[Entry]] = {}
    for entry in entries:
        key = repr([entry.get(name) for name in fields])
        if any(entry.get(name) is not None for name in fields):
            found.setdefault(key, []).append(entry)
    return [(_letters(at), group) for at, group in enumerate(found.values())]


def _letters(at: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    return (_letters(at // 26 - 1) if at >= 26 else '') + chr(65 + at % 26)


def environment(groups: Sequence[Tuple[str, List[Entry]]]) -> Table:
    """The fields that any environment has, one a column."""
    rows = []
    for field in results.GROUPS['environment']:
        texts = [value(group[0], field.name) for _, group in groups]
        if any(texts):
            rows.append(Row([field.name] + [text or '-' for text in texts]))
    names = [name for name, _ in groups] if len(groups) > 1 else ['Value']
    return Table([Header(name, False) for name in ['Field', *names]], rows)


def commands(entries: Sequence[Entry]) -> List[Tuple[List[str], str]]:
    """(labels, command line) of each run, as it is typed."""
    found: Dict[str, List[str]] = {}
    for entry in entries:
        processes = entry.get('processes') or 1
        launch = '-m paddle.distributed.launch --nproc_per_node %d ' % processes
        line = 'python %s%s' % (launch if processes > 1 else '',
                                entry.record['command'])
        labels = found.setdefault(line, [])
        if entry.label not in labels:
            labels.append(entry.label)
    return [(labels, line) for line, labels in found.items()]


def notes(rows: Sequence[Entry],
          differ: Sequence[Tuple[str, List[str]]]) -> List[str]:
    """Sentences that must be read with the results."""
    said = []
    unsteady = [r.label for r in rows if r.get('latency_stable') is False]
    if unsteady:
        said.append('* Latency was unsteady, so do not quote it: %s.' %
                    '; '.join(unsteady))
    if differ:
        said.append('Not measured alike, so not comparable in what depends on '
                    'it: %s.' % '; '.join('%s (%s)' % (name, ', '.join(values))
                                          for name, values in differ))
    simulated = [
        r.label for r in rows if r.get('precision') == 'simulated_int8'
    ]
    if simulated:
        said.append('Simulated, in float, so its latency says nothing of int8: '
                    '%s.' % '; '.join(simulated))
    said += [
        '%s: %s.' % (r.label, value(r, 'error')) for r in rows if r.get('error')
    ]
    return said
