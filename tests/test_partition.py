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
"""benchmarks/trt_partition: its records read. tests/gpu/test_partition.py makes
them.

data/partition is the record of a network that was made for it:
conv+relu, conv+relu, kron, conv+relu, conv+sigmoid, softmax (disabled), kron,
tanh.
"""

import json
import os
import signal
import sys

import pytest
from act.errors import UserError
from conftest import PROJECT, ROOT, run_script

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))

from trt_partition import analysis, events, table  # noqa: E402

RECORD = os.path.join(os.path.dirname(__file__), 'data', 'partition')


def recorded(name):
    with open(os.path.join(RECORD, name), 'rb') as f:
        return f.read()


def log():
    return recorded(events.EVENTS).decode()


def test_a_record():
    found = events.partition(events.read_events(log()),
                             *events.read_program(recorded(events.PROGRAM)))
    assert found == events.Partition(refused={'kron': 2},
                                     small={'tanh': 1},
                                     disabled={'softmax': 1},
                                     inside={
                                         'fused_conv2d_add_act': 4,
                                         'relu': 3,
                                         'sigmoid': 1
                                     },
                                     engines=[4, 4])


def test_an_operator_that_is_asked_about_twice_counts_once():
    lines = [x for x in log().splitlines() if '\tkron\t' in x]
    assert len(lines) == 4
    told = events.read_events(log()).told
    assert [kind for kind, _, _ in told].count('kron') == 2


def test_a_log_that_was_cut_off():
    text = log()
    cut = text[:text.index('\tconv_bn_fuse_pass') + 8]
    found = events.read_events(cut)
    assert found.last_pass == 'reverse_roll_fuse_pass'
    assert not found.told
    assert events.read_events('').last_pass is None


def test_a_pass_that_takes_long_is_named():
    found = events.read_events('pass\ta\t0.0\npass\tb\t0.5\npass\tc\t20.25\n')
    assert events.partition(found, [], []).slow_passes == {'b': 19.8}


@pytest.mark.parametrize('code, said, status, reason', (
    (None, '', analysis.TIMEOUT, 'in tensorrt_subgraph_pass'),
    (-signal.SIGABRT, '  what():  (NotFound) No allocator\n', analysis.CRASHED,
     'SIGABRT in tensorrt_subgraph_pass: what():  (NotFound) No allocator'),
    (2, "error: x.yml: unknown key\n", analysis.REFUSED,
     'error: x.yml: unknown key'),
    (1, 'ValueError: x\n', analysis.CRASHED,
     'exit code 1 in tensorrt_subgraph_pass: ValueError: x'),
))
def test_how_it_can_end(tmp_path, code, said, status, reason):
    text = log()
    at = text.index('\n', text.index('\ttensorrt_subgraph_pass')) + 1
    (tmp_path / events.EVENTS).write_text(text[:at])
    found = analysis.outcome(str(tmp_path), code, 1.0, said)
    assert (found.status, found.reason) == (status, reason)


def test_before_the_passes(tmp_path):
    found = analysis.outcome(str(tmp_path), -signal.SIGSEGV, 1.0, '')
    assert found.reason == 'SIGSEGV before the passes'


@pytest.fixture
def rows():
    common = dict(model='m', status='created', seconds=1.0, rewrites=True)
    many = {'refused': {'a': 2, 'b': 1}, 'engines': [9, 8, 7, 6, 5, 4]}
    one = {'refused': {}, 'engines': [30]}
    rest = {'small': {}, 'disabled': {}, 'inside': {}, 'slow_passes': {}}
    return [
        dict(common,
             precision='fp32',
             shapes='fixed',
             partition={
                 **many,
                 **rest
             }),
        dict(common,
             precision='fp16',
             shapes='fixed',
             partition={
                 **many,
                 **rest
             }),
        dict(common,
             precision='fp32',
             shapes='dynamic',
             partition={
                 **one,
                 **rest
             }),
        dict(common,
             precision='int8',
             shapes='dynamic',
             rewrites=False,
             status='timeout',
             reason='in slow_pass')
    ]


def test_the_table(rows, tmp_path):
    path = str(tmp_path / 'x.json')
    table.write(path, rows, {'command': 'c'})
    assert table.read(path) == rows
    assert table.markdown(path, 'en').splitlines()[2:] == [
        '| m | fixed | fp32, fp16 | 6 | 9 + 8 + 7 + 6, and 2 of at most 5 | '
        '`a` x2, `b` |', '| m | dynamic | fp32 | 1 | 30 | none |',
        '| m | dynamic, without rewrites | int8 | timeout |  | in slow_pass |'
    ]
    assert len(table.markdown(path, 'cn').splitlines()) == 5
    assert 'timeout in 1.0 s in slow_pass' in table.text(rows)


def test_no_such_table(tmp_path):
    path = tmp_path / 'x.json'
    with pytest.raises(UserError, match='is not a file of partitions'):
        table.read(str(path))
    path.write_text(json.dumps({}))
    with pytest.raises(UserError, match='is not a file of partitions'):
        table.read(str(path))


def test_another_paddle_is_refused():
    with pytest.raises(UserError, match='make setup GPU=1') as e:
        analysis.Analysis(sys.executable)
    assert 'CUDA False' in str(e.value)
    with pytest.raises(UserError, match="'/none' is no Python"):
        analysis.Analysis('/none')


def test_the_committed_table():
    """Of the aims: one engine with dynamic shapes, besides NMS. An int8 DINO
    keeps products of two activations in float, which those operators'
    label `skip_quant` says, and which keeps them out."""
    found = table.read(
        os.path.join(ROOT, 'benchmarks', 'results', 'trt_partition.json'))
    for row in found:
        assert row['status'] == 'created'
        made = row['partition']
        if row['shapes'] == 'dynamic' and row['rewrites']:
            if row['precision'] == 'int8' and 'dino' in row['model']:
                assert made['refused'] == {'matrix_multiply': 12}
                continue
            assert len(made['engines']) == 1
            assert set(made['refused']) <= {'multiclass_nms3'}


@pytest.mark.parametrize('readme, language', [('README.md', 'en'),
                                              ('README_cn.md', 'cn')])
def test_the_table_of_the_readmes(readme, language):
    made = table.markdown(
        os.path.join(ROOT, 'benchmarks', 'results', 'trt_partition.json'),
        language)
    with open(os.path.join(PROJECT, readme), encoding='utf-8') as f:
        assert '<!-- partition -->\n' + made in f.read()


def test_the_types_that_passes_leave_are_among_those_said_to():
    """Of each partition that was seen, see `act.optimized.EFFECTS`."""
    from act.optimized import EFFECTS
    taken = {'mul', 'matmul', 'matmul_v2'}
    found = table.read(
        os.path.join(ROOT, 'benchmarks', 'results', 'trt_partition.json'))
    assert taken in [set(e.takes) for e in EFFECTS if e.always]
    for row in found:
        made = row['partition']
        types = set().union(made['inside'], made['refused'], made['small'])
        assert not types & {'quantize_linear', 'dequantize_linear'}
        if row['shapes'] == 'dynamic':
            assert not types & taken
        else:
            assert 'matrix_multiply' not in types


def test_bad_command_lines(tmp_path):
    script = os.path.join(ROOT, 'benchmarks', 'partition.py')
    for words, line in ((['--config_path', 'x',
                          '--table'], 'not allowed with'), ([], 'is required'),
                        (['--markdown', 'en', '--output_json',
                          str(tmp_path)], 'is not a file of partitions')):
        done = run_script(script, *words)
        assert done.returncode == 2
        assert line in done.stderr
