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
"""act.results: the schema, files, tables and the check of expected figures."""

import json
import os

import jsonschema
import numpy as np
import pytest
from act import files, results, runtime
from act.errors import UserError


def record(**fields):
    made = results.new_record('paddle_inference_eval.py',
                              ['eval.py', '--model_path', 'my model'])
    made.update(fields)
    return made


def one_of_each():
    """A record that has every field."""
    made = record()
    example = {
        'text': 'x y',
        'texts': ['a', 'b'],
        'flag': True,
        'count': 3,
        'number': 12.345,
        'numbers': {
            'cat': 50.0,
            'dog': None
        },
        'counts': {
            'fused': 120
        },
        'series': [1.5, 2.0],
    }
    for field in results.FIELDS.values():
        if field.name not in made:
            made[field.name] = field.values[0] if field.values else example[
                field.kind]
    return made


def test_schema_is_a_schema_and_documents_each_field():
    schema = results.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema['$schema'].endswith('2020-12/schema')
    assert schema['additionalProperties'] is False
    for name, field in schema['properties'].items():
        assert field['description'], name
    json.dumps(schema, allow_nan=False)
    names = [f.name for group in results.GROUPS.values() for f in group]
    assert len(names) == len(set(names)) == len(schema['properties'])


def test_new_record():
    made = record()
    results.validate(made)
    assert made['command'] == "eval.py --model_path 'my model'"
    assert sorted(made) == sorted(results.REQUIRED)


def test_environment_fits():
    results.validate(record(**runtime.environment()))


def test_all_fields_and_all_null():
    results.validate(one_of_each())
    results.validate({
        k: v if k in results.REQUIRED else None
        for k, v in one_of_each().items()
    })


@pytest.mark.parametrize('name, value, message', [
    ('mapp', 1.0, "unknown field 'mapp'; did you mean 'map'"),
    ('map', 100.5, 'map: 100.5'),
    ('map', '29', "map: '29' is not of type"),
    ('map', True, 'map: True is not of type'),
    ('map_difference', -101, 'map_difference: -101'),
    ('latency_ms_p50', -1.0, 'latency_ms_p50: -1.0'),
    ('batch_size', 1.5, 'batch_size: 1.5'),
    ('num_images', -1, 'num_images: -1'),
    ('precision', 'int4', "precision: 'int4' is not one of"),
    ('backend', 'mkldnn', "backend: 'mkldnn' is not one of"),
    ('deleted_passes', 'a_pass', 'deleted_passes:'),
    ('deleted_passes', [1], 'deleted_passes: 0: 1 is not'),
    ('per_class', {
        'cat': 101
    }, 'per_class: cat: 101'),
    ('latency_ms_percentiles', [1.0, -2.0], 'latency_ms_percentiles: 1: -2.0'),
    ('latency_ms_percentiles', ['1'], "latency_ms_percentiles: 0: '1'"),
    ('rewrites', {
        'fused': -1
    }, 'rewrites: fused: -1'),
    ('latency_stable', 1, 'latency_stable: 1'),
    ('time', '2026-11-24 10:00:00', 'time:'),
    ('time', '2026-11-24T10:00:00+02:00', 'time:'),
    ('time', None, 'time: None'),
    ('schema_version', 2, 'schema_version: 1 was expected'),
    ('error', ['two\nlines'], 'error:'),
])
def test_bad_fields(name, value, message):
    with pytest.raises(UserError) as error:
        results.validate(record(**{name: value}))
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', results.REQUIRED)
def test_required_fields(name):
    made = record()
    del made[name]
    with pytest.raises(UserError, match="'%s' is a required" % name):
        results.validate(made)


def test_not_an_object():
    with pytest.raises(UserError, match='must be an object, is list'):
        results.validate([])


def test_written_and_read_again(tmp_path):
    path = str(tmp_path / 'new' / 'record.json')
    made = dict(reversed(list(one_of_each().items())), model_name='检测')
    results.write_json(made, path)
    again = results.read_json(path)
    assert again == made
    assert list(again) == list(results.FIELDS)
    assert os.listdir(os.path.dirname(path)) == ['record.json']
    with open(path, encoding='utf-8') as f:
        assert '"检测"' in f.read()


def test_numbers_that_json_has_not(tmp_path):
    path = str(tmp_path / 'record.json')
    results.write_json(
        record(map=float('nan'),
               ap50=np.float32(50.5),
               final_loss=float('inf'),
               num_images=np.int64(7),
               latency_stable=np.bool_(True),
               per_class={
                   'cat': np.nan,
                   'dog': np.float64(3)
               },
               deleted_passes=('a', )), path)
    again = results.read_json(path)
    assert again['map'] is None
    assert again['ap50'] == 50.5
    assert again['final_loss'] is None
    assert again['num_images'] == 7
    assert again['latency_stable'] is True
    assert again['per_class'] == {'cat': None, 'dog': 3.0}
    assert again['deleted_passes'] == ['a']


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = str(tmp_path / 'record.json')
    results.write_json(record(map=1.0), path)
    with pytest.raises(UserError):
        results.write_json(record(map=1000.0), path)

    def full(path, mode):
        with open(path, mode) as f:
            f.write(b'{"map":')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files, 'open', full, raising=False)
    with pytest.raises(UserError, match='No space left'):
        results.write_json(record(map=2.0), path)
    assert results.read_json(path)['map'] == 1.0
    assert os.listdir(str(tmp_path)) == ['record.json']


def test_unwritable(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write the record'):
        results.write_json(record(), str(tmp_path / 'file' / 'record.json'))


@pytest.mark.parametrize('content, message', [
    (None, 'cannot read the record'),
    ('{"a":', 'is not JSON'),
    ('{"map": NaN}', 'NaN is not JSON'),
    ('\xff', 'is not JSON'),
    ('[]', 'must be an object'),
    ('{}', "'schema_version' is a required"),
    ('{"latency": 1}', "unknown field 'latency'"),
])
def test_unreadable(tmp_path, content, message):
    path = tmp_path / 'record.json'
    if content is not None:
        path.write_bytes(content.encode('latin-1'))
    with pytest.raises(UserError) as error:
        results.read_json(str(path))
    assert message in str(error.value) and str(path) in str(error.value)
    assert '\n' not in str(error.value)


def cells(text):
    """{field: the rest of its row}, of a printed table."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        for at, word in enumerate(words[:2]):
            if word in results.FIELDS:
                found[word] = words[at + 1:]
                break
    return found


def test_table():
    made = record(model_dir='output/picodet',
                  map=28.5812,
                  latency_ms_p50=15.0,
                  latency_stable=False,
                  map_difference=0.5,
                  deleted_passes=[],
                  per_class={
                      'traffic light': 12.0,
                      'cat': None
                  },
                  size_ratio=None)
    text = results.table(made)
    found = cells(text)
    assert found['model_dir'] == ['output/picodet']
    assert found['map'] == ['28.58', '%']
    assert found['latency_ms_p50'] == ['15.00', 'ms']
    assert found['latency_stable'] == ['no']
    assert found['map_difference'] == ['+0.50', 'points']
    assert found['deleted_passes'] == ['none']
    assert 'size_ratio' not in found and 'ap50' not in found
    assert 'per_class: traffic light  12.00' in text
    firsts = [s.split()[0] for s in text.splitlines() if not s.startswith(' ')]
    assert [f for f in firsts if f in results.GROUPS
            ] == ['what', 'accuracy', 'latency', 'comparison']


def test_table_shows_every_field():
    text = results.table(one_of_each())
    for name in results.FIELDS:
        assert name in text, name


def test_table_keeps_paths_whole():
    path = '/data/' + 90 * 'x' + '-long/model'
    assert path in results.table(record(model_dir=path))


def test_comparison_table():
    reference = record(model_dir='float',
                       precision='fp32',
                       threads=1,
                       map=30.0,
                       latency_ms_p50=20.0,
                       postprocess_ms=0.0,
                       ap_small=1.0,
                       latency_runs=10,
                       model_size_mb=8.0)
    candidate = record(model_dir='small',
                       precision='int8',
                       threads=1,
                       map=28.5,
                       latency_ms_p50=5.0,
                       postprocess_ms=1.0,
                       latency_runs=10,
                       model_size_mb=2.0,
                       agreement_ap=88.8,
                       int8_convs_ran=65)
    text = results.comparison_table(reference, candidate)
    found = cells(text)
    assert found['precision'] == ['fp32', 'int8']
    assert found['map'] == ['30.00', '28.50', '%', '-1.50', '0.950']
    assert found['latency_ms_p50'] == ['20.00', '5.00', 'ms', '-15.00', '0.250']
    assert found['postprocess_ms'] == ['0.00', '1.00', 'ms', '+1.00', '-']
    assert found['ap_small'] == ['1.00', '-', '%', '-', '-']
    assert found['model_size_mb'] == ['8.00', '2.00', 'MB', '-6.00', '0.250']
    assert found['agreement_ap'] == ['88.80', '%']
    assert found['int8_convs_ran'] == ['65']
    assert 'latency_runs' not in found and 'ap50' not in found
    assert 'warning' not in text
    text = results.comparison_table(reference, dict(candidate, threads=4))
    assert 'warning: not measured alike: threads (1, 4)' in text


def test_metrics_are_conditions():
    """Records of before VOC name no metric: they are COCO's."""
    coco, old = record(metric='COCO', map=30.0), record(map=29.0)
    made = record(metric='VOC', map_type='integral', overlap_thresh=0.5, map=60)
    results.validate(old)
    assert 'warning' not in results.comparison_table(old, coco)
    text = results.comparison_table(old, made)
    assert 'warning: not measured alike: metric (COCO, VOC), map_type' in text
    assert results.metric_words(old) == results.metric_words(coco) == 'COCO'
    assert results.metric_words(made) == 'VOC integral at IoU 0.5'
    with pytest.raises(UserError, match='metric'):
        results.validate(record(metric='KeyPoint'))


@pytest.mark.parametrize('show', [
    results.table, lambda r: results.comparison_table(record(), r),
    lambda r: results.comparison_table(r, record())
])
def test_tables_of_bad_records(show):
    with pytest.raises(UserError, match='map'):
        show(record(map='high'))


EXPECTED = [['fp32', 'mAP', 29.1, 0.2], ['int8', 'mAP', 28.6, 0.3],
            ['int8', 'AP50', 44.0, 0.5], ('int8', 'int8_convs_ran', 65, 0)]


@pytest.mark.parametrize('ap, ap50, convolutions, misses', [
    (28.6, 44.0, 65, []),
    (28.3, 44.5, 65, []),
    (28.2, 44.0, 65, ['int8 mAP is 28.2, expected 28.6 within 0.3']),
    (28.95, 44.0, 64, [
        'int8 mAP is 28.95, expected 28.6 within 0.3',
        'int8 int8_convs_ran is 64, expected 65 within 0'
    ]),
    (float('nan'), None, 65, [
        'int8 mAP was not measured, expected 28.6 within 0.3',
        'int8 AP50 was not measured, expected 44 within 0.5'
    ]),
])
def test_expected(ap, ap50, convolutions, misses):
    made = record(map=ap, ap50=ap50, int8_convs_ran=convolutions)
    assert results.check_expected(made, EXPECTED, precision='int8') == misses


def test_expected_of_another_precision():
    made = record(map=1.0)
    assert results.check_expected(made, EXPECTED, precision='bf16') == []
    assert results.check_expected(made, EXPECTED, precision='fp32') == [
        'fp32 mAP is 1, expected 29.1 within 0.2'
    ]


@pytest.mark.parametrize('row, message', [
    (['int8', 'mAPP', 1, 1], "unknown metric 'mAPP'; did you mean 'mAP'"),
    (['int8', 'recall', 1, 1], "unknown metric 'recall'; known: AP50, AP75"),
    (['int8', 'model_dir', 1, 1], "unknown metric 'model_dir'"),
    (['int9', 'mAP', 1, 1], "unknown precision 'int9'; did you mean 'int8'"),
    (['int8', 'mAP', 1], 'must be [precision, metric, value, tolerance]'),
    (['int8', 'mAP', 'high', 1], 'must be [precision, metric'),
    (['int8', 'mAP', 1, -0.1], 'must be [precision, metric'),
    (['int8', 'mAP', float('nan'), 1], 'must be [precision, metric'),
    (5, 'must be [precision, metric'),
])
def test_bad_expected(row, message):
    with pytest.raises(UserError) as error:
        results.check_expected(record(map=1.0), [row], precision='fp32')
    assert message in str(error.value)
    assert '\n' not in str(error.value)
