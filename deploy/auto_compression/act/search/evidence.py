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
"""What a search for the guilty has found: its record and its words.

TABLES documents every field of the record's tables and is the one place that
does; the check before writing comes from it.
"""

import textwrap
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import yaml
from tabulate import tabulate

from .. import results
from ..results import Field
from . import trial
from .culprits import Found
from .trial import Criterion, Tried

WIDTH = 100
_WHAT = (
    *results.RUN,
    Field('task', 'text', '', 'what is searched', ('passes', 'ops')),
    Field('criterion', 'text', '', 'what makes a probe good', trial.CRITERIA),
    Field('min_agreement', 'number', '%', 'agreement AP that it has at least'),
    Field('min_speedup', 'number', 'ratio',
          'of speed, against the plan with all items in'),
    Field('as_saved', 'flag', '', 'whether the model ran as it was saved'),
    Field('items', 'texts', '', 'among which is searched, in their order'),
    Field('yaml', 'text', '', 'lines for the YAML'),
    Field('conclusion', 'text', '', 'what was found and what to do'),
)
TABLES: Dict[str, Tuple[Field, ...]] = {
    # In the order in which they were made; the first has all items in.
    'probes': (
        Field('out', 'texts', '', 'items that were taken out'),
        Field('good', 'flag', '', 'whether the check held'),
        Field('end', 'text', '', 'ran, or why it has no result'),
        Field('agreement_ap', 'number', '%',
              'AP with the unoptimized program; null: no result'),
        Field('latency_ms', 'number', 'ms', 'median, an image'),
        Field('speedup', 'number', 'ratio',
              'against the plan with all items in; null: not measured'),
        Field('seconds', 'number', 's', 'that it took'),
    ),
    'culprits': (
        Field('item', 'text', '', 'what cannot stay'),
        Field('alone', 'flag', '', 'whether it breaks the check by itself'),
        Field('partners', 'texts', '', 'without which it does no harm'),
        Field(
            'follows', 'text', '',
            'how it ends where only the others are out; empty: it is bad '
            'with all in'),
    ),
    # The unoptimized program first.
    'confirmed': (
        Field('form', 'text', '', 'what ran'),
        Field('images', 'count', '', 'on so many'),
        Field('end', 'text', '', 'ran, or why it has no result'),
        results.FIELDS['map'],
        Field('map_difference', 'number', 'points',
              'less that of the unoptimized program'),
        Field('low', 'number', 'points', 'lower end of its 95% interval'),
        Field('high', 'number', 'points', 'upper end'),
        Field('agreement_ap', 'number', '%', 'AP with that program'),
        Field('ms', 'number', 'ms', 'median latency, an image'),
        Field('int8_layers', 'count', '', 'layers that ran in int8'),
        Field('fp32_convs', 'count', '', 'convolutions that ran in fp32'),
    ),
}
BEFORE, AFTER = 'all in', 'culprits out'
# Where to look if none of the items is to blame.
_ELSEWHERE = {
    'passes': 'Look at the model itself: evaluate it with --precision fp32, '
    'and compare its preprocessing with that of training.',
    'ops': 'Search among the passes: diagnose.py passes.',
}


@dataclass(frozen=True)
class Evidence:
    """A search that has ended.

    Attributes:
        task: 'passes' or 'ops'.
        noun: what an item is.
        key: of the YAML, dotted, that keeps them out.
        value: for that key.
        items: in the order in which Paddle has them.
        probes: (set taken out, result), in the order asked; first all in.
        found: by the search; None if all in was good.
        confirmed: rows of TABLES['confirmed'].
        again: the speed of the culprits out, measured once more.
        notes: lines that the task adds to the end.
    """
    task: str
    noun: str
    key: str
    value: Sequence[str]
    criterion: Criterion
    as_saved: bool
    items: Sequence[str]
    probes: Sequence[Tuple[Sequence[str], Tried]]
    found: Optional[Found] = None
    confirmed: Sequence[Dict[str, Any]] = ()
    again: Optional[Tried] = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def culprits(self) -> Tuple[str, ...]:
        return self.found.culprits if self.found else ()

    def form(self, name: str) -> Optional[Dict[str, Any]]:
        """The row of a form, None without."""
        return next((r for r in self.confirmed if r['form'] == name), None)

    @property
    def followers(self) -> Dict[str, str]:
        """Culprits that have to go only because the others do: with these out
        and it in, the model does not run. {it: how that ends}.

        Where it does not run with all in either, it ends otherwise.
        """
        tried = {frozenset(out): t for out, t in self.probes}
        before = tried[frozenset()].end
        ends = {}
        for one in self.culprits:
            rest = tried.get(frozenset(self.culprits) - {one})
            if rest and not rest.ran and rest.end != before:
                ends[one] = rest.end
        return ends if len(ends) < len(self.culprits) else {}

    @property
    def remedy(self) -> bool:
        """Whether it mends the model to leave the culprits out."""
        return bool(self.culprits) and self.stays_int8 and not self.chance

    @property
    def chance(self) -> bool:
        """Whether what was found did not show again."""
        return self.again is not None and not self.criterion.good(self.again)

    @property
    def stays_int8(self) -> bool:
        """Whether what ran in int8 with all in still does."""
        before, after = self.form(BEFORE), self.form(AFTER)
        if not before or not after or not before['int8_layers']:
            return not (after and after['int8_layers'] == 0)
        return (after['int8_layers'] or 0) * 2 >= before['int8_layers']


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of the record."""
    made = results.tables_schema('culprits', _WHAT, TABLES)
    # Probes that crash have no figures.
    for row in made['properties'].values():
        for of_row in row.get('items', {}).get('properties', {}).values():
            if of_row.get('type') in ('number', 'integer'):
                of_row['type'] = [of_row['type'], 'null']
    return made


def make(what: Dict[str, Any], found: Evidence) -> Dict[str, Any]:
    """The record.

    Args:
        what: the fields of `results` that say what was run and where.
        found: the search.

    Raises:
        UserError: it does not agree with the schema.
    """
    record = dict(what,
                  task=found.task,
                  criterion=found.criterion.name,
                  min_agreement=found.criterion.min_agreement,
                  min_speedup=found.criterion.min_speedup,
                  as_saved=found.as_saved,
                  items=list(found.items),
                  yaml=yaml_text(found),
                  conclusion=conclusion(found))
    record['probes'] = [{
        'out': sorted(out),
        'good': found.criterion.good(tried),
        'end': tried.end,
        'agreement_ap': tried.agreement,
        'latency_ms': tried.ms,
        'speedup': tried.speedup,
        'seconds': tried.seconds
    } for out, tried in found.probes]
    record['culprits'] = [{
        'item': one,
        'alone': not found.found.partners[one],
        'partners': list(found.found.partners[one]),
        'follows': found.followers.get(one, '')
    } for one in found.culprits] if found.found else []
    record['confirmed'] = list(found.confirmed)
    results.check(record, schema(), 'culprits')
    return record


def tables(found: Evidence) -> str:
    """The probes, and what was confirmed, for the terminal."""
    rows = []
    for at, (out, tried) in enumerate(found.probes):
        rows.append([
            at, 'good' if found.criterion.good(tried) else 'bad',
            found.criterion.figure(tried)[:60],
            _some(out, found.items),
            '%.1f' % tried.seconds
        ])
    text = [
        tabulate(rows,
                 headers=['probe', 'is', 'agreement AP', 'out', 's'],
                 tablefmt='simple',
                 disable_numparse=True)
    ]
    if found.confirmed:
        columns = [f for f in TABLES['confirmed'] if f.name != 'end']
        text.append(
            tabulate([[
                row['end'][:40] if f.name == 'map' and row['map'] is None else
                results.show(f, row[f.name]) for f in columns
            ] for row in found.confirmed],
                     headers=[f.name for f in columns],
                     tablefmt='simple',
                     disable_numparse=True))
    return '\n\n'.join(text)


def _some(out: Sequence[str], items: Sequence[str]) -> str:
    """A set in few words."""
    if not out:
        return 'nothing'
    left = [i for i in items if i not in out]
    if not left:
        return 'all %d' % len(items)
    if len(out) <= 3:
        return ', '.join(sorted(out))
    if len(left) <= 2:
        return 'all but %s' % ', '.join(left)
    return '%d of %d' % (len(out), len(items))


def conclusion(found: Evidence) -> str:
    """What was found and what to do, in one paragraph."""
    return ' '.join([*_sentences(found), *found.notes])


def _sentences(found: Evidence) -> List[str]:
    probes = 'one probe' if len(found.probes) == 1 else \
        '%d probes' % len(found.probes)
    first = found.probes[0][1]
    if found.found is None:
        return [
            'Nothing is wrong: with each %s in, agreement AP with the '
            'unoptimized program is %.1f, and %g is asked for (%s).' %
            (found.noun, first.agreement, found.criterion.min_agreement, probes)
        ]
    speed = found.criterion.name == trial.SPEED
    if not found.culprits:
        return [
            'No %s is to blame: of the %d, no set was found without which the '
            'model is %s (%s).' %
            (found.noun, len(found.items), 'x%.2f as fast' %
             found.criterion.min_speedup if speed else 'right', probes),
            'Leave them; `diagnose.py profile` says where the time goes.'
            if speed else _ELSEWHERE[found.task]
        ]
    if found.chance:
        return [
            'No %s is to blame: without %s it seemed x%.3f as fast (%s of %d), '
            'but x%.3f when measured once more, with thrice the runs. That is '
            'chance; change nothing.' %
            (found.noun, ', '.join(found.culprits), _without(found).speedup
             or 0, probes, len(found.items), found.again.speedup or 0)
        ]
    followers = found.followers
    guilty = [c for c in found.culprits if c not in followers]
    one = len(guilty) == 1
    after = _without(found)
    said = [
        '%s %s %s: with all in, %s; with %s out, %s (%s of %d %s).' %
        (', '.join(guilty), 'is' if one else 'are', 'slow'
         if speed else 'guilty', _is(found, first), 'it' if len(found.culprits)
         == 1 else 'these' if not followers else ', '.join(found.culprits),
         _is(found, after), probes, len(found.items), found.noun +
         ('es' if found.noun[-1] == 's' else 's'))
    ]
    said += [
        '%s has to go with %s: alone it ends so: %s.' %
        (item, 'it' if one else 'them', end.rstrip('.'))
        for item, end in followers.items()
    ]
    said += [
        '%s does harm only together with %s.' % (item, ', '.join(others))
        for item, others in found.found.partners.items() if others
    ]
    said += _confirmation(found)
    if not found.stays_int8:
        said.append('But then hardly a layer runs in int8 (%s): this shows '
                    'where it goes wrong, and is no remedy.' %
                    _int8_layers(found))
    else:
        said.append('Put the lines below into the YAML.')
    return said


def _without(found: Evidence) -> Tried:
    """The probe with the culprits out."""
    tried = {frozenset(out): t for out, t in found.probes}
    return tried[frozenset(found.culprits)]


def _is(found: Evidence, tried: Tried) -> str:
    if tried.agreement is None:
        return tried.end
    if tried.speedup is not None:
        return 'x%.3f as fast, agreement AP %.1f' % (tried.speedup,
                                                     tried.agreement)
    return 'agreement AP is %.1f' % tried.agreement


def _int8_layers(found: Evidence) -> str:
    before, after = found.form(BEFORE), found.form(AFTER)
    ran = '%d' % (after['int8_layers'] or 0)
    if not before or before['int8_layers'] is None:
        return ran
    return '%s of %d' % (ran, before['int8_layers'])


def _confirmation(found: Evidence) -> List[str]:
    before, after = found.form(BEFORE), found.form(AFTER)
    if not after or after['map'] is None:
        return []
    was = 'none' if before is None or before['map'] is None else \
        '%.2f' % before['map']
    return [
        'mAP on %d images: unoptimized %.2f, all in %s, culprits out %.2f '
        '(%+.2f from unoptimized, 95%% interval %+.2f to %+.2f).' %
        (after['images'], found.confirmed[0]['map'], was, after['map'],
         after['map_difference'], after['low'], after['high'])
    ]


def yaml_text(found: Evidence) -> str:
    """The key with its value, and above it the evidence; '' without a
    remedy."""
    if not found.remedy:
        return ''
    lines = textwrap.wrap(conclusion(found), WIDTH - 2)
    content: Any = list(found.value)
    for name in reversed(found.key.split('.')):
        content = {name: content}
    return ''.join('# %s\n' % line for line in lines) + yaml.safe_dump(
        content, default_flow_style=None, width=WIDTH, sort_keys=False)
