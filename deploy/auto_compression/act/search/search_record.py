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
"""The record of a search for what stays in float, and its words.

A JSON object with the fields of `results` that say what was run and where, and
the tables of TABLES, which documents every field of theirs.
"""

from typing import Any, Dict, List, Sequence, Tuple

from tabulate import tabulate

from .. import results, runtime
from ..results import Field
from . import choice, front
from .surrogate import SHARED

_WHAT = tuple(f for group in ('what', 'environment')
              for f in results.GROUPS[group])
FIELDS = (
    Field('max_drop', 'number', 'points', 'mAP that may be lost'),
    Field('min_gain', 'number', 'ratio',
          'latency of fp32 / that of the model, at least; null: not asked'),
    Field('score_images', 'count', '', 'training images of the simulation'),
    Field('select_images', 'count', '',
          'training images on which models were measured'),
    Field('evaluations', 'count', '', 'choices looked at in the simulation'),
    Field('evaluations_linear', 'count', '',
          'of a search that looks at every layer in each step'),
    Field('evaluations_exhaustive', 'text', '', 'of all choices'),
    Field('reused_probes', 'count', '', 'results of an earlier run'),
    Field('seconds', 'number', 's', 'all of it, by the clock'),
    Field('chosen', 'text', '', 'name of the model that was taken'),
    Field('chosen_dir', 'text', '', 'its directory'),
    Field('float_weights', 'texts', '',
          'for QuantAware.float_weights: layers that stay in float'),
    Field('conclusion', 'text', '', 'what was found, and what to do'),
)
_FLOATS = Field('floats', 'count', '', 'layers in float')
TABLES: Dict[str, Tuple[Field, ...]] = {
    # In program order.
    'layers': (
        Field('weight', 'text', '', "name of the layer's weight"),
        Field('type', 'text', '', 'of its operator'),
        Field('cost_ms', 'number', 'ms', 'more in float than in int8'),
        Field('cost_from', 'text', '',
              'profile: of both models; share: of what no layer is named for'),
        Field('gain', 'number', 'points',
              'agreement AP when it alone is float'),
    ),
    # Of the simulation.
    'steps': (
        _FLOATS,
        Field('added', 'texts', '', 'layers that came with this step'),
        Field('agreement_ap', 'number', '%', 'with all layers in float'),
        Field('cost_ms', 'number', 'ms', 'more than all int8'),
    ),
    # Measured as deployed, on the images to select on.
    'candidates': (
        Field('model', 'text', '', 'name'),
        Field('precision', 'text', '', 'fp32, bf16 or int8'),
        _FLOATS,
        Field('map', 'number', '%', 'mAP'),
        Field('map_drop', 'number', 'points', 'mAP of fp32 minus this'),
        Field('agreement_ap', 'number', '%', 'with fp32'),
        Field('latency_ms', 'number', 'ms', 'p50 an image'),
        Field('cpu_ms', 'number', 'ms', 'CPU time, median'),
        Field('latency_ratio', 'number', 'ratio',
              "latency / fp32's in the same run"),
        Field('feasible', 'flag', '', 'it holds what was asked'),
        Field('chosen', 'flag', '', 'it was taken'),
    ),
    # On validation images, in turn.
    'confirmed': (
        Field('model', 'text', '', 'name'),
        Field('images', 'count', '', 'how many'),
        Field('map', 'number', '%', 'mAP'),
        Field('map_difference', 'number', 'points', 'mAP minus that of fp32'),
        Field('map_difference_low', 'number', 'points',
              'lower end of its interval of 95 %'),
        Field('map_difference_high', 'number', 'points', 'upper end'),
        Field('agreement_ap', 'number', '%', 'with fp32'),
        Field('latency_ms', 'number', 'ms', 'p50 an image'),
        Field('cpu_ms', 'number', 'ms', 'CPU time, median'),
        Field('latency_ratio', 'number', 'ratio',
              "latency / fp32's in the same run"),
    ),
}


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of the record."""
    return results.tables_schema('search', (*_WHAT, *FIELDS), TABLES)


def make(search: Any, options: Any, command: Sequence[str],
         seconds: float) -> Dict[str, Any]:
    """The record of a `floats.Search` that is done.

    Raises:
        UserError: it does not agree with the schema.
    """
    found, settings = search.found, search.settings
    record = results.new_record('diagnose.py', command)
    record.update(runtime.environment())
    record.update(
        config=settings.path,
        model_name=settings.name,
        model_dir=search.model_dir,
        model_hash=search.files.digest(),
        device='CPU',
        threads=search.threads,
        dataset=search.reader.train().annotation_path,
        max_drop=options.max_drop,
        min_gain=options.min_gain,
        score_images=len(search.score),
        select_images=len(search.select.records),
        evaluations=found.evaluations,
        evaluations_linear=front.linear_evaluations(len(search.names)),
        evaluations_exhaustive='2**%d' % len(search.names),
        reused_probes=search.journal.reused,
        seconds=seconds,
        chosen=found.chosen.name if found.chosen else None,
        chosen_dir=found.directory or None,
        float_weights=sorted({
            *settings.QuantAware.float_weights,
            *(found.chosen.floats if found.chosen else ())
        }),
        layers=[{
            'weight': n.weight,
            'type': n.type,
            'cost_ms': found.costs[n.weight][0],
            'cost_from': found.costs[n.weight][1],
            'gain': found.gains[n.weight]
        } for n in found.layers],
        steps=_steps(found.steps),
        candidates=[_candidate(c, found, options) for c in found.candidates],
        confirmed=found.confirmed or [])
    record['conclusion'] = conclusion(record, found, options)
    results.check(record, schema(), 'search')
    return record


def write(record: Dict[str, Any], path: str) -> None:
    """Write a record; see `results.write`."""
    results.write(record, path)


def _steps(steps: Sequence[front.Step]) -> List[Dict[str, Any]]:
    rows, before = [], frozenset()
    for step in steps:
        rows.append({
            'floats': len(step.floats),
            'added': sorted(step.floats - before),
            'agreement_ap': step.value,
            'cost_ms': step.cost
        })
        before = step.floats
    return rows


def _candidate(one: choice.Candidate, found: Any,
               options: Any) -> Dict[str, Any]:
    return {
        'model': one.name,
        'precision': one.precision,
        'floats': len(one.floats),
        'map': one.map,
        'map_drop': one.drop,
        'agreement_ap': one.agreement,
        'latency_ms': one.latency_ms,
        'cpu_ms': one.cpu_ms,
        'latency_ratio': one.ratio,
        'feasible': choice.feasible(one, options.max_drop, options.min_gain),
        'chosen': one is found.chosen
    }


def conclusion(record: Dict[str, Any], found: Any, options: Any) -> str:
    """One paragraph: what was found, and what to do."""
    asked = 'at most %g points of mAP lost' % options.max_drop
    if options.min_gain:
        asked += ' and %g times the speed of fp32' % options.min_gain
    looked = '%d choices of layers were looked at (%d one by one in each ' \
        'step, %s in all).' % (record['evaluations'],
                               record['evaluations_linear'],
                               record['evaluations_exhaustive'])
    chosen = found.chosen
    if chosen is None:
        best = choice.nearest(found.candidates, options.max_drop)
        return ('No model here holds %s. Nearest is %s: %+.2f points, %.2f '
                'times the speed of fp32. Train (Quantization.strategy qat, or '
                '--refine with a larger --max_drop), or ask for less. %s' %
                (asked, best.name, -best.drop, 1 / best.ratio, looked))
    said = '%s was chosen for %s: %+.2f points and %.2f times the speed of ' \
        'fp32 on the images to choose on.' % (
            chosen.name, asked, -chosen.drop, 1 / chosen.ratio)
    if chosen.precision != 'int8':
        said += ' No int8 choice that holds that is faster here: run ' \
            "'%s' with --precision %s." % (found.directory, chosen.precision)
    rows = {row['model']: row for row in record['confirmed']}
    row = rows[chosen.name]
    said += ' On %d others: %+.2f points (%+.2f to %+.2f), agreement AP ' \
        '%.1f' % (row['images'], row['map_difference'],
                  row['map_difference_low'], row['map_difference_high'],
                  row['agreement_ap'])
    if chosen.name != 'int8':
        said += ' (all int8: %.1f)' % rows['int8']['agreement_ap']
    said += ', %.2f times the speed of fp32.' % (1 / row['latency_ratio'])
    if row['map_difference_high'] < -options.max_drop:
        said += ' There it loses more than that.'
    if chosen.precision == 'int8':
        said += " The model: '%s'; config.yml beside it makes it again" % \
            found.directory
        if chosen.floats:
            said += ', with QuantAware.float_weights: [%s]' % ', '.join(
                record['float_weights'])
        said += '.'
    return '%s %s' % (said, looked)


def tables(record: Dict[str, Any]) -> str:
    """For the terminal."""
    first = [[
        '%s%s' % (row['model'], ' *' if row['chosen'] else ''),
        '%.2f' % row['map'],
        '%+.2f' % -row['map_drop'],
        '%.2f' % row['agreement_ap'],
        '%.2f' % row['latency_ms'],
        '%.2f' % (1 / row['latency_ratio']), 'yes' if row['feasible'] else 'no'
    ] for row in record['candidates']]
    parts = [
        tabulate(first,
                 headers=[
                     'chosen on %d images' % record['select_images'], 'mAP',
                     'points', 'agreement AP', 'ms', 'x fp32', 'as asked'
                 ],
                 disable_numparse=True)
    ]
    if record['confirmed']:
        parts.append(
            tabulate(
                [[
                    row['model'],
                    '%.2f' % row['map'],
                    '%+.2f' % row['map_difference'],
                    '%+.2f to %+.2f' %
                    (row['map_difference_low'], row['map_difference_high']),
                    '%.2f' % row['agreement_ap'],
                    '%.2f' % row['latency_ms'],
                    '%.2f' % (1 / row['latency_ratio'])
                ] for row in record['confirmed']],
                headers=[
                    'judged on %d others' % record['confirmed'][0]['images'],
                    'mAP', 'points', '95 %', 'agreement AP', 'ms', 'x fp32'
                ],
                disable_numparse=True))
    shared = sum(row['cost_from'] == SHARED for row in record['layers'])
    if shared:
        parts.append('%d of %d layers are not told apart by the profile: their '
                     'cost is a share.' % (shared, len(record['layers'])))
    parts.append(record['conclusion'])
    return '\n\n'.join(parts)
