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
"""The record of a profile: what diagnose.py profile writes.

A JSON object with the fields of `results` that say what was run and where, the
rates of the machine, and four tables. TABLES documents every field of theirs
and is the one place that does; the check before writing comes from it.
"""

from typing import Any, Dict, List, Sequence, Tuple

from .. import results
from ..results import Field
from . import causes, layers
from .machine import Machine
from .profiled import Profile

_MODEL = Field('model', 'text', '', 'label of the model that the row is about')

MACHINE = (
    Field('fp32_gflops', 'number', 'GFLOP/s', "oneDNN's sgemm"),
    Field('int8_gflops', 'number', 'GFLOP/s', "oneDNN's gemm of u8 and s8"),
    Field('gbytes_per_s', 'number', 'GB/s',
          'copying: bytes read and bytes written'),
)
# Times are medians over the runs, of a whole batch.
TABLES: Dict[str, Tuple[Field, ...]] = {
    'models': (
        _MODEL,
        *(results.FIELDS[name]
          for name in ('model_dir', 'precision', 'backend', 'deleted_passes',
                       'float_precision', 'rewrites', 'quantized_ops')),
        Field('op_types', 'texts', '', 'operator set given to oneDNN'),
        Field('run_ms', 'number', 'ms',
              'a run in which the operators were timed'),
        Field('operators_ms', 'number', 'ms', 'sum over the operators'),
        Field('operators_share', 'number', 'ratio',
              'sum over the operators / run, run by run'),
        Field('between_ms', 'number', 'ms', 'of a run, in no operator'),
        Field('disturbed_ms', 'number', '',
              'of a run, what other work on the machine took, in ms'),
        Field('plain_ms', 'number', 'ms', 'a run without the profiler'),
        Field('cpu_ms', 'number', 'ms',
              'CPU time of all threads in such a run'),
        Field('runs', 'count', '', 'runs of either kind'),
        Field('named', 'flag', '', 'whether layers have names and primitives'),
        Field('nms_candidates', 'count', '',
              'scores above the threshold of the NMS; null: not known'),
    ),
    'kinds': (
        _MODEL,
        Field('kind', 'text', '', 'kind of operator'),
        Field('count', 'count', '', 'operators of it'),
        Field('int8', 'count', '', 'of them, computed in int8'),
        Field('ms', 'number', 'ms', 'time of all'),
        Field('reorder_ms', 'number', 'ms', 'of it, in reorders'),
        Field('reference_ms', 'number', 'ms',
              "of it, in operators that ran in oneDNN's reference code"),
        Field('gflop', 'number', 'GFLOP', 'multiplications and additions'),
        Field(
            'roofline', 'number', 'ratio',
            'least time by the roofline / time, of those where it is known; '
            'above 1: from cache'),
    ),
    # In order of execution; of an operator that runs several primitives, each
    # of these, and last the rest of its time.
    'layers': (
        _MODEL,
        Field('index', 'count', '', 'place in the order of execution'),
        Field('layer', 'text', '',
              "name of the operator's largest output; # and place in it"),
        Field('operator', 'text', '',
              "Paddle's type of the operator, oneDNN's of a primitive"),
        Field('kind', 'text', '', 'kind of operator'),
        Field('shape', 'sizes', '', 'of that output'),
        Field('weight', 'text', '', 'name of its weight, empty without'),
        Field('ms', 'number', 'ms', 'time'),
        Field(
            'implementation', 'text', '',
            "oneDNN's name of the code that ran; paddle: Paddle's own, or "
            'an operator of ops/'),
        Field('computed_in', 'text', '',
              "type of source and weights; empty: Paddle's own code"),
        Field('descriptor', 'text', '', 'sizes, as oneDNN writes them'),
        Field('primitives', 'texts', '',
              'what oneDNN ran: kind, implementation, milliseconds'),
        Field('reorder_ms', 'number', 'ms', 'of its time, in reorders'),
        Field('gflop', 'number', 'GFLOP', 'multiplications and additions'),
        Field('ideal_ms', 'number', 'ms',
              'least time by the roofline; null: not known'),
    ),
    # The one with the most time first.
    'causes': (
        _MODEL,
        Field('cause', 'text', '', 'a function of act.profile.causes'),
        Field('ms', 'number', 'ms', "a run's time in what the cause is about"),
        Field('words', 'text', '', 'what is slow'),
        Field('evidence', 'text', '', 'what was measured'),
        Field('edit', 'text', '', 'what mends it'),
    ),
}
# Fields of the kinds that are attributes of layers.Kind.
_OF_KIND = tuple(f.name for f in TABLES['kinds']
                 if f.name not in ('model', 'kind'))


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of the record."""
    made = results.tables_schema('profile', results.RUN, TABLES)
    made['properties']['machine'] = results.object_schema(MACHINE)
    made['required'].append('machine')
    return made


def make(what: Dict[str, Any], profiles: Sequence[Profile], machine: Machine,
         found: Sequence[causes.Cause]) -> Dict[str, Any]:
    """The record.

    Args:
        what: the fields of `results` that say what was run and where.
        profiles: the reference first, if there is one.
        machine: its rates.
        found: the causes.

    Raises:
        UserError: it does not agree with the schema.
    """
    record = dict(what)
    record['machine'] = {f.name: getattr(machine, f.name) for f in MACHINE}
    record['models'] = [_model(p) for p in profiles]
    record['kinds'] = [row for p in profiles for row in _kinds(p, machine)]
    record['layers'] = [row for p in profiles for row in _layers(p, machine)]
    record['causes'] = [
        dict(
            zip([f.name for f in TABLES['causes']],
                (c.model, c.name, c.ms, c.words, c.evidence, c.edit)))
        for c in found
    ]
    results.check(record, schema(), 'profile')
    return record


def _model(profile: Profile) -> Dict[str, Any]:
    plan, timing = profile.plan, profile.timing
    return {
        'model': profile.label,
        'model_dir': profile.directory,
        'precision': plan.precision,
        'backend': plan.backend,
        'deleted_passes': list(plan.deleted_passes),
        'float_precision': plan.float_precision,
        'rewrites': plan.rewrites,
        'quantized_ops': sum(plan.quantized.values()),
        'op_types': list(plan.op_types),
        'run_ms': timing.run_ms,
        'operators_ms': timing.operators_ms,
        'operators_share': timing.share,
        'between_ms': timing.between_ms,
        'disturbed_ms': timing.disturbed_ms,
        'plain_ms': timing.plain_ms,
        'cpu_ms': timing.cpu_ms,
        'runs': timing.runs,
        'named': profile.named,
        'nms_candidates':
        profile.candidates.count if profile.candidates else None,
    }


def _kinds(profile: Profile, machine: Machine) -> List[Dict[str, Any]]:
    return [{
        'model': profile.label,
        'kind': kind.name,
        **{
            name: getattr(kind, name)
            for name in _OF_KIND
        }
    } for kind in layers.by_kind(profile.layers, machine)]


def _layers(profile: Profile, machine: Machine) -> List[Dict[str, Any]]:
    return [
        _layer(profile, index, machine) for index in range(len(profile.layers))
    ]


def _layer(profile: Profile, index: int, machine: Machine) -> Dict[str, Any]:
    layer = profile.layers[index]
    primitives = [
        '%s %s %.4g' % (p.kind, p.implementation, p.milliseconds)
        for p in layer.primitives
    ]
    return {
        'model': profile.label,
        'index': index,
        'layer': layer.name,
        'operator': layer.type,
        'kind': layer.kind,
        'shape': list(layer.shape),
        'weight': layer.weight,
        'ms': layer.ms,
        'implementation': layer.implementation if profile.named else '',
        'computed_in': layer.computed_in,
        'descriptor': layer.main.descriptor if layer.main else '',
        'primitives': primitives,
        'reorder_ms': layer.reorder_ms,
        'gflop': layer.gflop,
        'ideal_ms': layer.ideal_ms(machine),
    }
