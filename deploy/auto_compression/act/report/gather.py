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
"""The records that a report is about: found, read, and put in relation.

Records of evaluations are rows. Rows of one model in several precisions are a
family; a compressed model's row and that of the model it was compared with are
a pair.
"""

import os
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from .. import results
from ..errors import UserError

RECORD, PROFILE, FAILURE = 'record.json', 'profile.json', 'error.json'
REFERENCE = '_reference'  # as act.evaluate names what it was compared with
# Files that a directory is searched for.
NAMES = (RECORD, 'record%s.json' % REFERENCE, PROFILE, FAILURE)
ORDER = results.FIELDS['precision'].values
# What tells rows of one model and precision apart, in this order.
_APART = ('model_dir', 'backend', 'device', 'float_precision', 'threads',
          'batch_size', 'num_images', 'dataset', *results.METRIC, 'cpu', 'time')
# Records that agree in these measured the same thing.
_SAME = ('model_dir', 'model_hash', 'precision', 'backend', 'float_precision',
         'deleted_passes', 'rewrites', *results.CONDITIONS)
# Characters that have no place in a page, a picture (XML 1.0) or a terminal.
_CONTROL = re.compile('[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd'
                      '\U00010000-\U0010ffff]')


@dataclass(eq=False)
class Entry:
    """One record.

    Attributes:
        path: of its file.
        record: see `results.GROUPS`; of a profile `profile.record.TABLES`.
        label: what tables and figures call it, no two alike.
        family: number of its family; see the module.
    """
    path: str
    record: Dict[str, Any]
    label: str = ''
    family: int = 0

    @property
    def directory(self) -> str:
        """Of its file."""
        return os.path.dirname(self.path) or '.'

    def get(self, name: str) -> Any:
        """A field, None if it is missing."""
        return self.record.get(name)

    def condition(self, name: str) -> Any:
        """A field, see `results.condition`."""
        return results.condition(self.record, name)

    @property
    def metric(self) -> str:
        """What its mAP means."""
        return results.metric_words(self.record)

    @property
    def name(self) -> str:
        """The model's, or else its directory's, or the record's."""
        found = self.get('model_name') or os.path.basename(
            _directory(self, 'model_dir') or os.path.abspath(self.directory))
        return ' '.join(found.split())


@dataclass(frozen=True)
class Pair:
    """A model, and what it was compared with."""
    candidate: Entry
    reference: Entry


@dataclass(frozen=True)
class Gathered:
    """All that a report says.

    Attributes:
        rows: evaluations, families together, float first.
        pairs: of them; the reference may be one of `repeated`.
        repeated: references that are in `rows` already, measured once more.
        compressions: results of run.py.
        failed: of runs that ended with an error.
        profiles: of diagnose.py.
    """
    rows: List[Entry]
    pairs: List[Pair]
    repeated: List[Entry]
    compressions: List[Entry]
    failed: List[Entry]
    profiles: List[Entry]

    @property
    def entries(self) -> List[Entry]:
        """Those that are shown, each once."""
        return self.rows + self.compressions + self.failed + self.profiles


def gather(paths: Sequence[str]) -> Gathered:
    """Read records and put them in relation.

    Args:
        paths: of records, and of directories, which stand for all records in
            them, at any depth (see NAMES). A record's reference, where its
            file lies beside it, belongs to it.

    Raises:
        UserError: a file that is no record, or a directory without any.
    """
    read = [_read(path) for path in find(paths)]
    profiles = [e for e in read if 'kinds' in e.record]
    others = [e for e in read if e not in profiles]
    failed = [e for e in others if e.get('error') and not _measured(e)]
    compressions = [
        e for e in others if e not in failed and e.get('strategy') is not None
    ]
    rows = [e for e in others if e not in failed and e not in compressions]
    _number_families(others)
    pairs = list(_pairs(rows))
    repeated = _repeated(rows, pairs)
    rows = [e for e in rows if e not in repeated]
    rows.sort(key=lambda e: (e.family, _rank(e)))
    for group in (rows, compressions, failed, profiles):
        _name(group)
    for entry in repeated:
        entry.label = next(r.label for r in rows if _same(r, entry))
    return Gathered(rows, pairs, repeated, compressions, failed, profiles)


def find(paths: Sequence[str]) -> List[str]:
    """Files of records, each once, in the order given."""
    found: Dict[str, str] = {}

    def add(path: str) -> None:
        found.setdefault(os.path.realpath(path), path)

    for path in paths:
        if os.path.isdir(path):
            inside = list(_inside(path))
            if not inside:
                raise UserError("'%s' holds no record: no %s in it or below" %
                                (path, ' or '.join(NAMES)))
            for name in inside:
                add(name)
        else:
            add(path)
            stem, suffix = os.path.splitext(path)
            if os.path.isfile(stem + REFERENCE + suffix):
                add(stem + REFERENCE + suffix)
    return list(found.values())


def _inside(directory: str) -> Iterator[str]:
    for place, directories, files in os.walk(directory):
        # Hidden ones are what a run has not finished.
        directories[:] = sorted(d for d in directories if d[0] != '.')
        for name in NAMES:
            if name in files:
                yield os.path.join(place, name)


def _read(path: str) -> Entry:
    record = _clean(results.load(path))
    where = "record '%s'" % path
    if isinstance(record, dict) and 'kinds' in record:
        # Imported here: it needs what profiles are made with.
        from ..profile import record as profile
        results.check(record, profile.schema(), where)
    else:
        results.validate(record, where)
    return Entry(path, record)


def _clean(value: Any) -> Any:
    """JSON without control characters and halves of characters."""
    if isinstance(value, str):
        return _CONTROL.sub('\ufffd', value)
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, dict):
        return {_clean(k): _clean(v) for k, v in value.items()}
    return value


def _measured(entry: Entry) -> bool:
    return any(
        entry.get(name) is not None
        for name in ('map', 'latency_ms_p50', 'strategy'))


def _number_families(entries: Sequence[Entry]) -> None:
    """Records of one model: of one YAML, or one made from the other."""
    parent = list(range(len(entries)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    first: Dict[Tuple[str, str], int] = {}
    for at, entry in enumerate(entries):
        for kind, name in (('name', 'model_name'), ('dir', 'model_dir'),
                           ('dir', 'reference_model_dir')):
            value = entry.get(name)
            if value:
                key = (kind,
                       os.path.normpath(value) if kind == 'dir' else value)
                one, other = root(first.setdefault(key, at)), root(at)
                parent[max(one, other)] = min(one, other)
    for at, entry in enumerate(entries):
        entry.family = root(at)


def _rank(entry: Entry) -> Tuple[int, str]:
    precision = entry.get('precision')
    at = ORDER.index(precision) if precision else len(ORDER)
    return at, entry.get('model_dir') or ''


def _directory(entry: Entry, name: str) -> Optional[str]:
    value = entry.get(name)
    return os.path.normpath(value) if value else None


def _pairs(rows: Sequence[Entry]) -> Iterator[Pair]:
    """Each row that names a reference, and the row that fits best."""
    for entry in rows:
        wanted = _directory(entry, 'reference_model_dir')
        same = wanted == _directory(entry, 'model_dir')
        found = [
            r for r in rows if wanted and _directory(r, 'model_dir') == wanted
            and not (same and r.get('precision') == entry.get('precision'))
        ]
        if found:
            yield Pair(entry, max(found, key=lambda r: _likeness(entry, r)))


def _likeness(entry: Entry, reference: Entry) -> Tuple[bool, int, bool]:
    """Larger is better: written by the same run, under the same conditions, and
    not compared with anything itself."""
    stem, suffix = os.path.splitext(entry.path)
    alike = sum(
        entry.condition(n) == reference.condition(n)
        for n in results.CONDITIONS)
    return (reference.path == stem + REFERENCE + suffix, alike,
            not reference.get('reference_model_dir'))


def _same(one: Entry, other: Entry) -> bool:
    return all(one.condition(name) == other.condition(name) for name in _SAME)


def _repeated(rows: Sequence[Entry], pairs: Sequence[Pair]) -> List[Entry]:
    """References of which there is another row, one of its own if there is."""
    references = [p.reference for p in pairs]
    kept = [e for e in rows if e not in references]
    repeated = []
    for entry in rows:
        if entry not in references:
            continue
        if any(_same(entry, other) for other in kept):
            repeated.append(entry)
        else:
            kept.append(entry)
    return repeated


def _name(entries: Sequence[Entry]) -> None:
    """Labels, as short as they can be while no two are alike."""
    for entry in entries:
        entry.label = _first_label(entry)
    for field in _APART:
        for group in _alike(entries):
            values = _short(field, [e.condition(field) for e in group])
            if len(set(values)) > 1:
                for entry, value in zip(group, values):
                    entry.label += ', ' + value
    for group in _alike(entries):
        for number, entry in enumerate(group):
            entry.label += ' (%d)' % (number + 1)


def _first_label(entry: Entry) -> str:
    """A compression is called by its result, a row by model and precision."""
    if entry.get('strategy') is not None:
        return os.path.basename(_directory(entry, 'model_dir')
                                or '') or entry.name
    return ' '.join(filter(None, (entry.name, entry.get('precision'))))


def _alike(entries: Sequence[Entry]) -> List[List[Entry]]:
    groups: Dict[str, List[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    return [g for g in groups.values() if len(g) > 1]


def _short(field: str, values: Sequence[Any]) -> List[str]:
    """Values of a field, for labels."""
    if field in ('model_dir', 'dataset'):
        values = _ends([os.path.normpath(v) if v else '-' for v in values])
    shown = [
        ' '.join(results.show(results.FIELDS[field], v).split()) for v in values
    ]
    if field in ('threads', 'batch_size', 'num_images'):
        return ['%s %s' % (field.replace('_', ' '), text) for text in shown]
    return shown


def _ends(paths: Sequence[str]) -> List[str]:
    """The shortest ends of paths that tell as many apart as the whole ones."""
    parts = [path.split(os.sep) for path in paths]
    for count in range(1, max(map(len, parts))):
        ends = [os.sep.join(p[-count:]) for p in parts]
        if len(set(ends)) == len(set(paths)):
            return ends
    return list(paths)


def unlike(rows: Sequence[Entry]) -> List[Tuple[str, List[str]]]:
    """(field, its values) of what rows were not measured alike in."""
    found = []
    for name in results.CONDITIONS:
        values: List[str] = []
        for row in rows:
            value = results.show(results.FIELDS[name], row.condition(name))
            if value not in values:
                values.append(value)
        if len(values) > 1:
            found.append((name, values))
    return found
