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
"""The record of what layers lose: what diagnose.py layers writes.

A JSON object with the fields of `results` that say what was run and where, and
three tables. TABLES documents every field of theirs and is the one place that
does; the check before writing comes from it.
"""

from typing import Any, Dict, List, Sequence, Tuple

from .. import results
from ..results import Field
from .channels import Ranges
from .sensitivity import Finding

_WHAT = (
    *results.RUN,
    *(results.FIELDS[name] for name in ('quantized_ops', 'reference_model_dir',
                                        'agreement_ap', 'agreement_boxes')),
    Field('seconds', 'number', 's', 'that this run took'),
    Field('reused_probes', 'count', '', 'that an earlier run had made'),
)


def _ranges(name: str, does: str) -> Tuple[Field, ...]:
    return (
        Field(name + '_low', 'number', '', 'lowest value it %s' % does),
        Field(name + '_high', 'number', '', 'highest'),
        Field(name + '_median', 'number', '',
              'largest absolute value of the median channel'),
        Field(name + '_channels', 'count', '', 'how many'),
        Field(name + '_wild', 'count', '', 'of them, wild'),
    )


TABLES: Dict[str, Tuple[Field, ...]] = {
    # The largest effect first.
    'layers': (
        Field('weight', 'text', '', 'name of its weight'),
        Field('type', 'text', '', 'of the operator'),
        Field('operators', 'count', '', 'that share the weight'),
        Field('effect', 'number', 'points', 'mean of the next two'),
        Field('lost', 'number', 'points',
              'of agreement AP, with this layer alone quantized'),
        Field('regained', 'number', 'points',
              'of agreement AP, with this layer alone in float'),
        Field(
            'sqnr_db', 'number', '',
            'signal to quantization noise of its output, alone quantized, '
            'in dB; null: no noise'),
        Field('highest', 'number', '', 'range that calibration chose'),
        Field('steps', 'number', '',
              "int8 steps from 0 to the end of the median channel's input"),
        *_ranges('input', 'reads'),
        *_ranges('output', 'writes'),
    ),
    # The widest beside its neighbours first.
    'wild': (
        Field('weight', 'text', '', 'name of the weight of the layer'),
        Field('side', 'text', '', 'of the layer', ('input', 'output')),
        Field('channel', 'count', '', 'from 0'),
        Field('low', 'number', '', 'lowest value'),
        Field('high', 'number', '', 'highest value'),
        Field('median', 'number', '',
              'largest absolute value of the median channel'),
        Field('steps', 'number', '',
              'int8 steps from 0 to there, if the widest channel has 127'),
    ),
    'together': (
        Field('float_weights', 'texts', '', 'layers left in float'),
        Field('agreement_ap', 'number', '%', 'agreement AP then'),
    ),
}


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of the record."""
    return results.tables_schema('layers', _WHAT, TABLES)


def make(what: Dict[str, Any], found: Sequence[Finding],
         together: Sequence[Tuple[List[str], float]]) -> Dict[str, Any]:
    """The record.

    Args:
        what: the fields that say what was run and where.
        found: layers, the largest effect first.
        together: weights left in float, and agreement AP then.

    Raises:
        UserError: it does not agree with the schema.
    """
    record = dict(what)
    record['layers'] = [_layer(finding) for finding in found]
    record['wild'] = wild(found)
    record['together'] = [{
        'float_weights': weights,
        'agreement_ap': ap
    } for weights, ap in together]
    results.check(record, schema(), 'layers')
    return record


def _layer(finding: Finding) -> Dict[str, Any]:
    row = {
        name: getattr(finding, name)
        for name in ('weight', 'type', 'effect', 'lost', 'regained', 'sqnr_db',
                     'highest')
    }
    row['operators'] = len(finding.layers)
    row['steps'] = finding.input.steps(finding.highest)
    for side in ('input', 'output'):
        ranges: Ranges = getattr(finding, side)
        row.update({
            side + '_low': float(ranges.low.min()),
            side + '_high': float(ranges.high.max()),
            side + '_median': ranges.median,
            side + '_channels': len(ranges.low),
            side + '_wild': len(ranges.wild()),
        })
    return row


def wild(found: Sequence[Finding]) -> List[Dict[str, Any]]:
    """Rows of the wild channels, the widest beside its neighbours first."""
    rows = []
    for finding in found:
        for side in ('input', 'output'):
            ranges: Ranges = getattr(finding, side)
            rows += [{
                'weight': finding.weight,
                'side': side,
                'channel': channel,
                'low': float(ranges.low[channel]),
                'high': float(ranges.high[channel]),
                'median': ranges.median,
                'steps': ranges.steps(),
            } for channel in ranges.wild()]
    return sorted(rows, key=lambda r: -max(-r['low'], r['high']) / r['median'])
