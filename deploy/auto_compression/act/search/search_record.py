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

import textwrap
from typing import Any, Dict, List, Sequence, Tuple

from tabulate import tabulate

from .. import results, runtime
from ..results import Field
from . import choice, front
from .layers_words import yaml_lines
from .surrogate import SHARED

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
        Field(
            'gain', 'number', 'points',
            'agreement AP when it alone is float; null: it costs too much '
            'to be looked at'),
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
    return results.tables_schema('search', (*results.RUN, *FIELDS), TABLES)


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
        **search.select.metric_fields,
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
            'gain': found.gains.get(n.weight)
        } for n in {
            x.weight: x
            for x in found.layers
        }.values()],
        steps=_steps(found.steps),
        candidates=[_candidate(c, found, options) for c in found.candidates],
        confirmed=found.confirmed)
    record['conclusion'] = conclusion(record, found, options)
    results.check(record, schema(), 'search')
    return record


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


def signed(value: float) -> str:
    """Points with their sign; 0 has a plus."""
    return '%+.2f' % (round(value, 2) + 0.)


def conclusion(record: Dict[str, Any], found: Any, options: Any) -> str:
    """One paragraph: what was found, and what to do."""
    asked = 'at most %g points of mAP lost' % options.max_drop
    if options.min_gain:
        asked += ' and at least %g times the speed of fp32' % options.min_gain
    chosen = found.chosen
    if chosen is None:
        best = choice.nearest(found.candidates, options.max_drop)
        return ('No model here has %s. Nearest is %s: %s points and %.2f times '
                'the speed of fp32. Ask for less with --max_drop or '
                '--min_gain, or train: --refine. %s' %
                (asked, best.name, signed(-best.drop), 1 / best.ratio,
                 _looked(record)))
    said = [
        'Asked for: %s. Chosen: %s, %s.' %
        (asked, chosen.name, _why(chosen, found, options))
    ]
    rows = {row['model']: row for row in record['confirmed']}
    row = rows[chosen.name]
    said.append(
        'On %d validation images it has %s points of mAP against fp32 (95 %%: '
        '%s to %s), agreement AP %.1f%s, and %.2f times the speed.' %
        (row['images'], signed(row['map_difference']),
         signed(row['map_difference_low']), signed(
             row['map_difference_high']), row['agreement_ap'],
         '' if chosen.name == 'int8' else ' (all int8: %.1f, %.2f times)' %
         (rows['int8']['agreement_ap'], 1 / rows['int8']['latency_ratio']),
         1 / row['latency_ratio']))
    if row['map_difference_high'] < -options.max_drop:
        said.append('That is more than was asked to be lost: choose on more '
                    'images (--select_images).')
    elif row['map_difference'] < -options.max_drop:
        said.append('These images are too few to tell whether it loses more '
                    'than was asked.')
    if chosen.precision != 'int8':
        said.append("Run '%s' with --precision %s." %
                    (found.directory, chosen.precision))
    else:
        said.append("It lies in '%s'; run.py makes it again with config.yml "
                    'there%s.' %
                    (found.directory, ', or with these float_weights'
                     if record['float_weights'] else ''))
    said.append(_looked(record))
    return ' '.join(said)


def _why(chosen: choice.Candidate, found: Any, options: Any) -> str:
    """Why it and no other."""
    if options.min_gain:
        return 'which of those agrees with fp32 most'
    able = [
        c for c in found.candidates
        if choice.feasible(c, options.max_drop, options.min_gain)
    ]
    if chosen.ratio == min(c.ratio for c in able):
        why = 'the fastest of those'
    else:
        why = 'which agrees with fp32 most of those that are as fast as the ' \
            'fastest but for %g %%' % (100 * choice.NOISE)
    if chosen.precision != 'int8':
        why += '; no int8 model is faster here'
    return why


def _looked(record: Dict[str, Any]) -> str:
    """What the search took."""
    count = record['evaluations']
    if count <= 1:
        return 'Layers were not searched: in float, any would make int8 ' \
            'slower than what was measured already.'
    return '%d choices of layers were looked at; layer by layer in each step ' \
        'would be %d, all %s.' % (count, record['evaluations_linear'],
                                  record['evaluations_exhaustive'])


def tables(record: Dict[str, Any]) -> str:
    """For the terminal."""
    first = [[
        '%s%s' % (row['model'], ' *' if row['chosen'] else ''),
        '%.2f' % row['map'],
        signed(-row['map_drop']),
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
                    signed(row['map_difference']),
                    '%s to %s' % (signed(row['map_difference_low']),
                                  signed(row['map_difference_high'])),
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
    parts.append(
        textwrap.fill(record['conclusion'],
                      100,
                      break_long_words=False,
                      break_on_hyphens=False))
    if record['float_weights']:
        parts.append(yaml_lines(record['float_weights']))
    return '\n\n'.join(parts)
