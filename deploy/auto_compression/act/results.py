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
"""The result record: what each run of each script writes, one flat JSON object.

GROUPS documents every field, and is the one place that does: the JSON schema,
the checks, the tables and their order all come from it. Figures that were not
measured are left out or null.
"""

import json
import math
import shlex
import textwrap
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

import jsonschema
from tabulate import tabulate

from .errors import UserError, nearest, unknown
from .files import write_whole

VERSION = 1
COCO = 'COCO'  # the metric where a record names none
Record = Dict[str, Any]
REQUIRED = ('schema_version', 'script', 'time', 'command')


@dataclass(frozen=True)
class Field:
    """One field of the record."""
    name: str
    kind: str  # a key of _KINDS
    unit: str  # a key of _UNITS
    meaning: str
    values: Tuple[str, ...] = ()  # if only these are allowed


_KINDS: Dict[str, Dict[str, Any]] = {
    'text': {
        'type': 'string'
    },
    'time': {
        'type': 'string',
        'format': 'date-time',
        # `format` alone is not checked.
        'pattern': r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$'
    },
    'texts': {
        'type': 'array',
        'items': {
            'type': 'string'
        }
    },
    'flag': {
        'type': 'boolean'
    },
    'count': {
        'type': 'integer',
        'minimum': 0
    },
    'number': {
        'type': 'number'
    },
    'series': {
        'type': 'array',
        'items': {
            'type': 'number'
        }
    },
    'sizes': {
        'type': 'array',
        'items': {
            'type': 'integer'
        }
    },
    'numbers': {
        'type': 'object',
        'additionalProperties': {
            'type': ['number', 'null'],
            'minimum': 0,
            'maximum': 100
        }
    },
    'counts': {
        'type': 'object',
        'additionalProperties': {
            'type': 'integer',
            'minimum': 0
        }
    },
}
# Limits of numbers, and how tables show them.
_UNITS: Dict[str, Tuple[Optional[float], Optional[float], str]] = {
    '': (None, None, '%.4g'),
    '%': (0, 100, '%.2f'),
    'points': (-100, 100, '%+.2f'),  # of percent
    'ratio': (0, None, '%.3f'),
    'ms': (0, None, '%.2f'),
    's': (0, None, '%.1f'),
    'GFLOP': (0, None, '%.3f'),  # 1e9 multiplications and additions
    'GFLOP/s': (0, None, '%.0f'),
    'GB/s': (0, None, '%.1f'),  # 1e9 bytes
    'MB': (0, None, '%.2f'),  # 1e6 bytes
    'MiB': (0, None, '%.0f'),  # 2**20 bytes
}

GROUPS: Dict[str, Tuple[Field, ...]] = {
    'what': (
        Field('schema_version', 'count', '', 'version of this list'),
        Field('script', 'text', '', 'script that ran'),
        Field('time', 'time', '', 'when the record was made, ISO 8601 in UTC'),
        Field('command', 'text', '', 'command line, quoted for a shell'),
        Field('config', 'text', '', "path of the model's YAML"),
        Field('model_name', 'text', '',
              "the YAML's name, or that of a result's directory"),
        Field('model_dir', 'text', '', 'directory of the model'),
        Field('model_hash', 'text', '', 'SHA-256 of the program and weights'),
        Field('precision', 'text', '', 'what it computes in',
              ('fp32', 'fp16', 'bf16', 'int8', 'simulated_int8')),
        Field('device', 'text', '', 'where it ran', ('CPU', 'GPU')),
        Field('backend', 'text', '', 'whose kernels',
              ('native', 'onednn', 'tensorrt')),
        Field('batch_size', 'count', '', 'images in a batch'),
        Field('threads', 'count', '', 'CPU threads of the predictor'),
        Field('dynamic_shape', 'flag', '',
              'TensorRT: whether input shapes may vary'),
        Field('shape_range_file', 'text', '', 'TensorRT: within these'),
        Field('shape_range_hash', 'text', '', "that file's SHA-256"),
        Field('disabled_ops', 'texts', '', 'TensorRT: left to Paddle'),
        Field('min_subgraph_size', 'count', '',
              'TensorRT: operators that an engine has at least'),
        Field('workspace_mib', 'number', 'MiB', 'TensorRT: scratch memory'),
        Field('explicit_quantization', 'flag', '',
              'TensorRT: Q/DQ operators are in the engines'),
        Field('engine_cache', 'text', '',
              'TensorRT: directory of the engines; null: not kept'),
        Field('processes', 'count', '',
              'processes that shared the images, of one launch'),
        Field('dataset', 'text', '',
              "path of the annotations; of VOC's, of the list of images"),
        Field('metric', 'text', '',
              'whose mAP; records of before VOC leave out COCO', (COCO, 'VOC')),
        Field('map_type', 'text', '', 'VOC: how precision becomes AP',
              ('11point', 'integral')),
        Field('overlap_thresh', 'number', 'ratio',
              'VOC: boxes of a larger IoU are right'),
        Field('num_images', 'count', '', 'images evaluated'),
        Field('skipped_images', 'count', '',
              'images left out as missing or broken; null: none'),
        Field('deleted_passes', 'texts', '', 'IR passes left out'),
        Field('float_precision', 'text', '',
              'what layers that are not int8 compute in, on the CPU',
              ('fp32', 'bf16')),
        Field('rewrites', 'counts', '',
              'places that each rewrite made faster, see --no_rewrite'),
        Field('unverified_options', 'texts', '',
              'options asked for that Paddle cannot report back'),
        Field('error', 'text', '', 'why the run failed, one line'),
    ),
    'environment': (
        Field('python', 'text', '', 'version'),
        Field('paddle', 'text', '', 'version'),
        Field('paddleslim', 'text', '', 'version'),
        Field('ppdet', 'text', '', 'version'),
        Field('numpy', 'text', '', 'version'),
        Field('opencv', 'text', '', 'version'),
        Field('tensorrt', 'text', '', 'version'),
        Field('system', 'text', '', 'kernel and release'),
        Field('cpu', 'text', '', 'processor as the system names it'),
        Field('cpu_extensions', 'texts', '',
              'its vector extensions that matter to oneDNN'),
        Field('cpu_count', 'count', '', 'CPUs this process may use'),
        Field('gpu', 'text', '', 'its name'),
        Field('gpu_compute', 'text', '', 'its compute capability'),
        Field('gpu_driver', 'text', '', "its driver's version, by NVML"),
        Field('cuda', 'text', '', "version, of Paddle's build"),
    ),
    'int8': (
        Field('quantized_ops', 'count', '', 'operators training quantized'),
        Field('int8_op_types', 'texts', '', 'operator set given to oneDNN'),
        Field('int8_convs_expected', 'count', '',
              'convolutions training quantized'),
        Field('int8_convs_ran', 'count', '',
              'convolutions that ran in int8, depthwise ones among them'),
        Field('fp32_convs_ran', 'count', '', 'convolutions that ran in fp32'),
        Field('depthwise_int8_ran', 'count', '',
              'depthwise convolutions that ran in int8'),
        Field('int8_linear_expected', 'count', '',
              'linear layers that training quantized and int8_ops asks for'),
        Field('int8_linear_ran', 'count', '', 'linear layers that ran in int8'),
    ),
    'accuracy': (
        Field(
            'map', 'number', '%',
            'mAP of the metric: COCO AP, IoU 0.50 to 0.95; VOC: that of '
            "PaddleDetection's VOCMetric, without difficult objects"),
        # COCO's alone; VOC has none.
        Field('ap50', 'number', '%', 'COCO AP at IoU 0.50'),
        Field('ap75', 'number', '%', 'COCO AP at IoU 0.75'),
        Field('ap_small', 'number', '%',
              'COCO AP of objects below 32^2 pixels'),
        Field('ap_medium', 'number', '%', 'COCO AP of those between'),
        Field('ap_large', 'number', '%',
              'COCO AP of objects above 96^2 pixels'),
        Field('ar_100', 'number', '%', 'COCO recall with 100 boxes an image'),
        Field('per_class', 'numbers', '%',
              "the metric's AP by class name; null: no objects of it"),
    ),
    # Of inference alone, an image.
    'latency': (
        Field('latency_ms_mean', 'number', 'ms', 'wall time, mean'),
        Field('latency_ms_std', 'number', 'ms', 'standard deviation'),
        Field('latency_ms_p50', 'number', 'ms', 'median'),
        Field('latency_ms_p90', 'number', 'ms', '90th percentile'),
        Field('latency_ms_p99', 'number', 'ms', '99th percentile'),
        Field('latency_ms_min', 'number', 'ms', 'minimum'),
        Field('latency_ms_max', 'number', 'ms', 'maximum'),
        Field('latency_ms_percentiles', 'series', 'ms',
              'percentiles 0, 1, ... 100'),
        Field('cpu_time_ms', 'number', 'ms', 'CPU time of all threads, median'),
        Field('latency_runs', 'count', '', 'runs that were timed'),
        Field('latency_warmup', 'count', '', 'runs before them'),
        Field('latency_stable', 'flag', '', 'whether the median can be quoted'),
        Field(
            'create_seconds', 'number', 's',
            'making the predictor, before all runs; with TensorRT mostly '
            'building its engines'),
        Field('engines_cached', 'flag', '',
              'TensorRT: whether engines were there and only read'),
        Field('gpu_clock_mhz', 'number', '',
              'clock of its multiprocessors beside the runs, median, MHz'),
        Field('gpu_clock_max_mhz', 'number', '', 'and what it can be, MHz'),
        Field('gpu_throttled', 'texts', '',
              'what held the clock down; null: not known'),
    ),
    # Medians, an image.
    'split': (
        Field('decode_ms', 'number', 'ms', 'reading the image file'),
        Field('preprocess_ms', 'number', 'ms', 'resizing, normalizing'),
        Field('inference_ms', 'number', 'ms', 'the predictor'),
        Field('postprocess_ms', 'number', 'ms', 'outputs to detections'),
    ),
    'size': (
        Field('model_size_mb', 'number', 'MB', 'program and weights'),
        Field('peak_memory_mib', 'number', 'MiB',
              'largest resident size of the process'),
        Field(
            'peak_gpu_memory_mib', 'number', 'MiB',
            'largest memory of the process on the GPU, by NVML; where that '
            "does not see it, the device's growth; null: not known"),
    ),
    'comparison': (
        Field('reference_model_dir', 'text', '', 'compared with this model'),
        Field('map_difference', 'number', 'points', 'map less reference map'),
        Field('map_difference_low', 'number', 'points',
              'lower end of its 95% interval'),
        Field('map_difference_high', 'number', 'points', 'upper end'),
        Field(
            'agreement_ap', 'number', '%',
            "COCO AP with the reference's confident boxes as the truth, "
            'whatever the metric; null: it has none'),
        Field('agreement_boxes', 'count', '', 'how many those are'),
        Field('latency_ratio', 'number', 'ratio',
              'median latency / reference median'),
        Field('size_ratio', 'number', 'ratio', 'size / reference size'),
        Field('changed_images', 'texts', '',
              'images whose detections changed most'),
        Field(
            'pictures', 'texts', '',
            'of these: detections of the reference and of the model side by '
            "side; paths relative to the record's directory"),
    ),
    'compression': (
        Field('strategy', 'text', '', 'training or calibration only',
              ('qat', 'ptq')),
        Field('algo', 'text', '', 'how activation ranges are found'),
        Field('train_iterations', 'count', '', 'iterations trained'),
        Field('best_iteration', 'count', '', 'iteration that was kept'),
        Field('weight_rounding', 'text', '', 'how weights were rounded'),
        Field('calibration_images', 'count', '', 'images for ranges'),
        Field('prepare_seconds', 'number', 's', 'before the first iteration'),
        Field('train_seconds', 'number', 's', 'training or calibration'),
        Field('source_map', 'number', '%', "the float model's map"),
        Field('final_loss', 'number', '', 'loss of the last iteration'),
    ),
}
FIELDS: Dict[str, Field] = {
    field.name: field
    for fields in GROUPS.values()
    for field in fields
}
# What was run and where, which records with tables of their own say too.
RUN: Tuple[Field, ...] = (*GROUPS['what'], *GROUPS['environment'])

# Names in `Expected` beside the record's own.
METRICS = {
    'mAP': 'map',
    'AP50': 'ap50',
    'AP75': 'ap75',
    'AP_small': 'ap_small',
    'AP_medium': 'ap_medium',
    'AP_large': 'ap_large',
    'AR_100': 'ar_100',
}
# What `map` means.
METRIC = ('metric', 'map_type', 'overlap_thresh')
# Two records are comparable if these are equal, see `condition`.
CONDITIONS = ('dataset', *METRIC, 'num_images', 'batch_size', 'threads',
              'processes', 'device', 'cpu', 'gpu', 'tensorrt', 'paddle')


def _property(field: Field) -> Dict[str, Any]:
    """The JSON schema of one field."""
    low, high, _ = _UNITS[field.unit]
    made = dict(_KINDS[field.kind])
    made['description'] = field.meaning + (' [%s]' %
                                           field.unit if field.unit else '')
    limits = {
        name: limit
        for name, limit in (('minimum', low), ('maximum', high))
        if limit is not None
    }
    if field.kind == 'number':
        made.update(limits)
    elif field.kind == 'series':
        made['items'] = dict(made['items'], **limits)
    if field.values:
        made['enum'] = list(field.values)
    if field.name == 'schema_version':
        made['const'] = VERSION
    if field.name not in REQUIRED:
        made['type'] = [made['type'], 'null']
        if field.values:
            made['enum'].append(None)
    return made


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of the record."""
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'result record',
        **object_schema(FIELDS.values()),
        'required': list(REQUIRED),
    }


def object_schema(fields: Iterable[Field]) -> Dict[str, Any]:
    """JSON schema of an object that may have these fields and no others."""
    return {
        'type': 'object',
        'properties': {
            field.name: _property(field)
            for field in fields
        },
        'additionalProperties': False,
    }


def tables_schema(title: str, fields: Iterable[Field],
                  tables: Mapping[str, Sequence[Field]]) -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of a record that holds tables.

    Args:
        title: what it is.
        fields: of the record itself.
        tables: {name: fields of its rows, all of which each row has}.
    """
    made = object_schema(fields)
    for name, columns in tables.items():
        made['properties'][name] = {
            'type': 'array',
            'items': {
                **object_schema(columns), 'required':
                [field.name for field in columns]
            }
        }
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': title,
        **made, 'required': [*REQUIRED, *tables]
    }


def new_record(script: str, command: Sequence[str]) -> Record:
    """The fields that each record has.

    Args:
        script: name of the script.
        command: its command line, as sys.argv.
    """
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return {
        'schema_version': VERSION,
        'script': script,
        'time': now.isoformat(timespec='seconds') + 'Z',
        'command': ' '.join(shlex.quote(c) for c in command),
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: numpy scalars and tuples as Python's numbers and
    lists, numbers that are not finite as None."""
    if hasattr(value, 'item') and getattr(value, 'ndim', None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def validate(record: Record, where: str = 'result record') -> None:
    """Check a record as write_json would write it.

    Args:
        record: see GROUPS.
        where: what errors call it.

    Raises:
        UserError: a field is unknown, missing, or of a wrong type or range.
    """
    if not isinstance(record, dict):
        raise UserError('%s: must be an object, is %s' %
                        (where, type(record).__name__))
    for name in record:
        if name not in FIELDS:
            raise unknown('field', name, FIELDS, where)
    check(record, schema(), where)


def check(record: Record, expected: Dict[str, Any], where: str) -> None:
    """Check a record, as `write` would write it, against a JSON schema.

    Raises:
        UserError: it does not agree.
    """
    validator = jsonschema.Draft202012Validator(expected)
    error = jsonschema.exceptions.best_match(
        validator.iter_errors(_plain(record)))
    if error:
        name = ''.join(' %s:' % part for part in error.absolute_path)
        said = '%s:%s %s' % (where, name, error.message)
        raise UserError(' '.join(said.split())[:400])


def write_json(record: Record, path: str) -> None:
    """Write a record, whole or not at all.

    Numbers that are not finite become null; parent directories are made.

    Raises:
        UserError: the record is not valid, or the file cannot be written.
    """
    validate(record)
    write({name: record[name] for name in FIELDS if name in record}, path)


def write(record: Record, path: str) -> None:
    """Write a record that was checked, as `write_json` does.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps(_plain(record),
                      indent=2,
                      ensure_ascii=False,
                      allow_nan=False)
    try:
        write_whole(path, (text + '\n').encode('utf-8'))
    except OSError as error:
        raise UserError("cannot write the record '%s': %s" %
                        (path, error.strerror)) from None


def _reject(constant: str) -> None:
    raise ValueError('%s is not JSON' % constant)


def read_json(path: str) -> Record:
    """Read a record.

    Raises:
        UserError: there is no such file, or it holds no valid record.
    """
    record = load(path)
    validate(record, "record '%s'" % path)
    return record


def load(path: str) -> Any:
    """What a file of JSON holds, as a record is read, but not checked.

    Raises:
        UserError: there is no such file, or it is not JSON.
    """
    try:
        with open(path, encoding='utf-8') as f:
            return json.load(f, parse_constant=_reject)
    except OSError as error:
        raise UserError("cannot read the record '%s': %s" %
                        (path, error.strerror)) from None
    except ValueError as error:
        raise UserError("record '%s' is not JSON: %s" % (path, error)) from None


def show(field: Field, value: Any) -> str:
    """A value as tables show it, without its unit."""
    if value is None:
        return '-'
    if field.kind == 'number':
        return _UNITS[field.unit][2] % value
    if field.kind == 'flag':
        return 'yes' if value else 'no'
    if field.kind == 'series':
        return '%d values' % len(value)
    if field.kind == 'texts':
        value = ', '.join(value) or 'none'
    # Wrapped at blanks only, so that paths can still be copied.
    return textwrap.fill(str(value),
                         60,
                         break_long_words=False,
                         break_on_hyphens=False)


def _rows(record: Record, group: str) -> List[List[str]]:
    """Name, value and unit of each field of a group that the record has."""
    rows = []
    for field in GROUPS[group]:
        value = record.get(field.name)
        if value is None:
            continue
        if field.kind in ('numbers', 'counts'):
            number = Field('', 'number', field.unit, '')
            rows += [[
                '%s: %s' % (field.name, name),
                show(number, v), field.unit
            ] for name, v in value.items()]
        else:
            rows.append([field.name, show(field, value), field.unit])
    return rows


def _tabulate(rows: List[List[str]], headers: Sequence[str],
              align: Sequence[str]) -> str:
    return tabulate(rows,
                    headers=headers,
                    tablefmt='simple',
                    disable_numparse=True,
                    colalign=align)


def _grouped(record: Record, groups: Sequence[str]) -> str:
    rows = []
    for group in groups:
        for at, row in enumerate(_rows(record, group)):
            rows.append([group if at == 0 else ''] + row)
    return _tabulate(rows, ('', 'field', 'value', 'unit'), ['left'] * 4)


def table(record: Record) -> str:
    """The record for the terminal, fields in their groups; what is null or
    missing is left out.

    Raises:
        UserError: the record is not valid.
    """
    validate(record)
    return _grouped(_plain(record), list(GROUPS))


def comparison_table(reference: Record, candidate: Record) -> str:
    """Two records side by side: what they are, and each measured figure with
    the difference candidate - reference and the ratio candidate / reference;
    below it the candidate's int8 and comparison fields, and a warning if the
    two were not measured under the same conditions.

    Raises:
        UserError: a record is not valid.
    """
    for record in (reference, candidate):
        validate(record)
    reference, candidate = _plain(reference), _plain(candidate)
    rows = []
    for name in ('model_dir', 'precision', 'backend'):
        values = [
            show(FIELDS[name], r.get(name)) for r in (reference, candidate)
        ]
        rows.append([name] + values + ['', '', ''])
    for group in ('accuracy', 'latency', 'split', 'size'):
        for field in GROUPS[group]:
            if field.kind == 'number':
                rows += _compared(field, reference.get(field.name),
                                  candidate.get(field.name))
    parts = [
        _tabulate(rows,
                  ('', 'reference', 'candidate', 'unit', 'difference', 'ratio'),
                  ('left', 'right', 'right', 'left', 'right', 'right'))
    ]
    if _rows(candidate, 'int8') or _rows(candidate, 'comparison'):
        parts.append(_grouped(candidate, ('int8', 'comparison')))
    differ = [
        '%s (%s, %s)' %
        (name, condition(reference, name), condition(candidate, name))
        for name in CONDITIONS
        if condition(reference, name) != condition(candidate, name)
    ]
    if differ:
        parts.append('warning: not measured alike: ' + ', '.join(differ))
    return '\n\n'.join(parts)


def condition(record: Mapping[str, Any], name: str) -> Any:
    """One of CONDITIONS of a record, None if it is missing. The metric never
    is: before VOC there was COCO's only."""
    value = record.get(name)
    return COCO if value is None and name == 'metric' else value


def metric_words(record: Mapping[str, Any]) -> str:
    """What mAP of a record means, as COCO, or VOC 11point at IoU 0.5."""
    metric, kind, overlap = (condition(record, name) for name in METRIC)
    words = [metric, kind, overlap and 'at IoU %g' % overlap]
    return ' '.join(filter(None, words))


def _compared(field: Field, reference: Optional[float],
              candidate: Optional[float]) -> List[List[str]]:
    """One row of a comparison, none if neither has the figure."""
    if reference is None and candidate is None:
        return []
    difference = ratio = '-'
    if reference is not None and candidate is not None:
        form = '%+' + _UNITS[field.unit][2].lstrip('%+')
        difference = form % (candidate - reference)
        if reference:
            ratio = '%.3f' % (candidate / reference)
    return [[
        field.name,
        show(field, reference),
        show(field, candidate), field.unit, difference, ratio
    ]]


def expected_row(row: Any) -> Tuple[str, str, float, float]:
    """Check one row of `Expected`."""
    try:
        precision, metric, value, tolerance = row
        figures = (float(value), float(tolerance))
    except (TypeError, ValueError):
        figures = (math.nan, math.nan)
    if not all(map(math.isfinite, figures)) or figures[1] < 0:
        raise UserError('Expected: %s must be [precision, metric, value, '
                        'tolerance], as [int8, mAP, 52.9, 0.2]' % (row, ))
    known = FIELDS['precision'].values
    if precision not in known:
        raise unknown('precision', precision, known, 'Expected')
    names = dict(
        {
            f.name: f.name
            for f in FIELDS.values() if f.kind in ('number', 'count')
        }, **METRICS)
    if metric not in names:
        # If none is alike, only the usual ones are listed.
        known = names if nearest(metric, names) else METRICS
        raise unknown('metric', metric, known, 'Expected')
    return precision, names[metric], figures[0], figures[1]


def check_expected(record: Record, expected: Sequence[Sequence[Any]], *,
                   precision: str) -> List[str]:
    """Compare a record with the figures its YAML expects.

    As detectron2's, the tolerance holds both ways: a figure far above what was
    expected is as suspect as one below.

    Args:
        record: what was measured.
        expected: rows of [precision, metric, value, tolerance]; metric is one
            of METRICS or a numeric field of the record, value and tolerance are
            in the field's unit (percent points for mAP).
        precision: that of the run; rows of others are checked for form only.

    Returns:
        one line for each figure that was missed; a figure that was not
        measured is missed. Empty if no row is about this precision.

    Raises:
        UserError: a row is malformed or names an unknown precision or metric.
    """
    misses = []
    for row in expected:
        row_precision, name, value, tolerance = expected_row(row)
        if row_precision != precision:
            continue
        found = _plain(record.get(name))
        wanted = 'expected %g within %g' % (value, tolerance)
        if found is None:
            misses.append('%s %s was not measured, %s' %
                          (precision, row[1], wanted))
        # Decimal figures are not exact in binary: 0.3 may be 0.30000000000004.
        elif abs(found - value) > tolerance + 1e-9:
            misses.append('%s %s is %s, %s' %
                          (precision, row[1], '%.6g' % found, wanted))
    return misses
