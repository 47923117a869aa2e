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
"""The comparison of engines, without the peers: how driver and worker talk,
what becomes of engines that fail, and what is made of the figures."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT, ROOT

BENCHMARKS = os.path.join(ROOT, 'benchmarks')
sys.path.insert(0, BENCHMARKS)

import limits  # noqa: E402
import models_table  # noqa: E402
import record  # noqa: E402
from act import onednn  # noqa: E402
from act.accuracy import Detections  # noqa: E402
from act.errors import UserError  # noqa: E402
from engines import compare, measure, models, protocol, report, suite  # noqa: E402

ANSWERING = """
import os, sys, time
from engines import protocol
answers = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)
print('a library prints what it likes', flush=True)
def fail(): raise ValueError('first\\nno such operator')
protocol.serve({'add': lambda a, b: a + b, 'fail': fail,
                'die': lambda: os._exit(3), 'sleep': lambda s: time.sleep(s)},
               sys.stdin, answers)
"""


@pytest.fixture
def worker(tmp_path):
    made = protocol.Worker([sys.executable, '-c', ANSWERING],
                           dict(os.environ, PYTHONPATH=BENCHMARKS),
                           str(tmp_path / 'log'))
    yield made
    made.close()


def test_worker_answers_and_goes_on_after_a_failure(worker):
    assert worker.ask('add', a=1, b=2) == 3
    with pytest.raises(protocol.EngineError, match='no such operator'):
        worker.ask('fail')
    assert worker.ask('add', a='x', b='y') == 'xy'


def test_worker_that_dies_or_hangs_is_an_error(worker):
    with pytest.raises(protocol.EngineError, match='within 0.2 s'):
        worker.ask('sleep', timeout=0.2, s=60)
    with pytest.raises(protocol.EngineError, match='ended'):
        worker.ask('add', a=1, b=1)


def test_exit_code_and_last_words(worker):
    with pytest.raises(protocol.EngineError, match='code 3: a library prints'):
        worker.ask('die')


def test_interpreter_that_is_not_there(tmp_path):
    with pytest.raises(protocol.EngineError, match='cannot be started'):
        protocol.Worker([str(tmp_path / 'python')], {}, str(tmp_path / 'log'))


TABLE = os.path.join(BENCHMARKS, 'cpu_engines.yml')


def test_rows_that_need_nothing_are_the_default():
    rows = models.read_rows(TABLE, {'coco': None, 'weights': None})
    assert [r.name for r in rows if r.name.startswith('picodet_s_demo')]
    assert all(r.trained
               for r in rows) and 'rtdetr_l' not in {r.name
                                                     for r in rows}
    every = models.read_rows(TABLE, {'coco': '/c', 'weights': '/w'})
    by_name = {r.name: r for r in every}
    assert by_name['picodet_xs'].export == ['-o', 'weights=/w']
    assert by_name['rtdetr_l'].overrides['Reader']['dataset_dir'] == '/c'
    assert by_name['rtdetr_l_linear_too'].float_of in by_name


@pytest.mark.parametrize(
    'row',
    [r.name for r in models.read_rows(TABLE, {
        'coco': '/c',
        'weights': '/w'
    })])
def test_each_row_is_a_valid_configuration(row, tmp_path):
    given, = models.read_rows(TABLE, {'coco': '/c', 'weights': '/w'}, [row])
    made = models.Models(given, str(tmp_path), 'python')
    assert made.settings.path == made.config_file
    assert os.path.isfile(made.settings.Reader.file)
    assert os.path.isfile(made.settings.Export.config)


def test_row_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match='needs --coco'):
        models.read_rows(TABLE, {'coco': None, 'weights': None}, ['rtdetr_l'])
    with pytest.raises(UserError, match="did you mean 'rtdetr_l'"):
        models.read_rows(TABLE, {}, ['rtdetr_1'])
    bad = tmp_path / 'rows.yml'
    bad.write_text('a: {config: x.yml, trainned: true}\n')
    with pytest.raises(UserError, match="did you mean 'trained'"):
        models.read_rows(str(bad), {})


def test_engines_by_the_beginning_of_their_names():
    names = [v.name for v in suite.chosen(['openvino', 'ours int8'])]
    assert names[:2] == ['paddle fp32', 'ours int8']
    assert all(n.startswith('openvino') for n in names[2:]) and names[2:]
    with pytest.raises(UserError, match="did you mean 'ours int8'"):
        suite.chosen(['our int8'])


def _row(name, milliseconds, agreement=None, peer=True):
    return {
        'name': name,
        'peer': peer,
        'precision': name.split()[1],
        'p10_ms': 0.9 * milliseconds,
        'p50_ms': milliseconds,
        'p90_ms': 1.2 * milliseconds,
        'cpu_ms': milliseconds / 2,
        'agreement_ap': agreement
    }


def test_ratios():
    rows = [
        _row('paddle fp32', 20.0, 100.0, peer=False),
        _row('ours int8', 6.0, 97.0, peer=False),
        _row('a fp32', 10.0, 100.0),
        _row('a int8', 4.0, 72.0),  # fast and wrong
        _row('b int8_bf16', 5.0, 96.5),
        {
            'name': 'b fp32',
            'peer': True,
            'precision': 'fp32',
            'error': 'no'
        },
    ]
    report.add_ratios(rows, 'paddle fp32', {'fp32': 5.0, 'int8': 1.0})
    paddle, ours, a_float, a_int8 = rows[:4]
    assert paddle['over_reference'] == 1
    assert ours['over_reference'] == pytest.approx(0.3)
    assert ours['cpu_over_reference'] == pytest.approx(0.3)
    assert ours['over_best_peer_of_precision'] == pytest.approx(1.5)
    assert ours['best_peer'] == 'b int8_bf16'
    assert ours['over_best_peer'] == pytest.approx(1.2)
    assert paddle['best_peer'] == 'a fp32'
    assert ours['times_of_limit'] == 6 and a_float['times_of_limit'] == 2
    # A peer is not its own rival.
    assert a_int8['best_peer'] == 'b int8_bf16'
    assert a_float['over_best_peer_of_precision'] is None
    assert 'over_reference' not in rows[-1]


def test_table_and_picture(tmp_path):
    rows = [_row('paddle fp32', 20.0, 100.0, peer=False), _row('a fp32', 10.0)]
    report.add_ratios(rows, 'paddle fp32', {'fp32': 5.0})
    rows.append({
        'name': 'b fp32',
        'peer': True,
        'precision': 'fp32',
        'error': 'no kernel'
    })
    found = {'small': {'rows': rows}, 'other': {'error': 'no weights'}}
    lines = report.table(found).splitlines()
    assert len({line.count('|') for line in lines}) == 1
    assert '| small | a fp32 | 10.0 | 9.0 | 12.0 | 5.0 | 0.50 |' in lines[3]
    assert 'error: no kernel' in lines[4] and 'error: no weights' in lines[5]
    path = str(tmp_path / 'bars.png')
    report.draw(path, found)
    with open(path, 'rb') as f:
        assert f.read(4) == b'\x89PNG'


def test_relative_error():
    one = np.array([[3.0, 4.0]], np.float32)
    assert compare.relative_error([one], [one]) == 0
    assert compare.relative_error([one * 1.1], [one]) == pytest.approx(0.1,
                                                                       rel=1e-4)
    assert compare.relative_error([one[:, :1]], [one]) is None
    assert compare.worst({0: [one], 1: [2 * one]}, {0: [one], 1: [one]}) == 1
    assert compare.worst({0: [one[0]]}, {0: [one]}) is None


def test_boxes_found_again_in_any_order():
    boxes = np.array([[0, 0.9, 0, 0, 10, 10], [1, 0.8, 20, 20, 40, 40]],
                     np.float32)
    reference = [Detections(1, boxes)]
    assert compare.matched_iou([Detections(1, boxes[::-1])], reference) == 1
    half = boxes.copy()
    half[0, 4] = 5  # half of the first
    half[1, 0] = 2  # another class than the second
    assert compare.matched_iou([Detections(1, half)],
                               reference) == pytest.approx(0.25)
    assert compare.matched_iou([Detections(1, half[:0])], reference) == 0
    assert compare.matched_iou(reference, [Detections(1, boxes[:0])]) is None


def test_reference_that_is_sure_of_nothing():
    unsure = [Detections(1, [[0, 0.2, 0, 0, 10, 10]])]
    found = compare.figures(unsure, unsure, None, trained=False)
    assert found == {'matched_iou': 1.0}


def test_multiplications_and_additions_of_a_network():
    head = 'onednn_verbose,exec,cpu,'
    tail = ',f32_memory,attr,alg,'
    lines = [
        head + 'convolution,jit:avx2,forward_inference' + tail +
        'mb1_ic3oc8_ih8oh4kh3sh2dh0ph1_iw8ow4kw3sw2dw0pw1,0.1',
        head + 'convolution,jit:avx2,forward_inference' + tail +
        'g8mb1_ic8oc8_ih4oh4kh3sh1dh0ph1_iw4ow4kw3sw1dw0pw1,0.1',
        head + 'inner_product,brg:avx2,forward_inference' + tail +
        'mb5ic16oc7,0.1',
        head + 'matmul,jit:avx2,undef' + tail + '2x1x5x4:1x3x4x6:2x3x5x6,0.1',
        head + 'reorder,jit:uni,undef' + tail + '4x4,0.1',
    ]
    found = limits.gflop(onednn.parse(lines))
    assert found['convolution'] * 1e9 == pytest.approx(2 * 8 * 16 * 3 * 9 +
                                                       2 * 8 * 16 * 9)
    assert found['linear'] * 1e9 == pytest.approx(2 * 5 * 16 * 7 +
                                                  2 * 6 * 5 * 4 * 6)


def test_rates_of_matrix_products(monkeypatch):
    # OpenBLAS is to choose by itself.
    monkeypatch.setenv('OPENBLAS_CORETYPE', 'Haswell')
    assert 'OPENBLAS_CORETYPE' not in limits.environment(1)
    found = limits.gemm_gflops(1)
    assert {'fp32', 'int8'} <= set(found) and min(found.values()) > 0.1
    assert limits.fastest([{
        'a': 1.0,
        'b': 5.0
    }, {
        'a': 2.0
    }]) == {
        'a': 2,
        'b': 5
    }


def test_amx_is_denied():
    code = ('import ctypes; from engines import isa; isa.limit("avx512_vnni");'
            'c = ctypes.CDLL(None, use_errno=True);'
            'print(c.syscall(158, 0x1023, 18), ctypes.get_errno())')
    done = subprocess.run([sys.executable, '-c', code],
                          cwd=BENCHMARKS,
                          stdout=subprocess.PIPE,
                          check=True)
    assert done.stdout.split() == [b'-1', b'1']  # EPERM


def test_command_names_no_place_of_this_machine():
    words = [
        os.path.join(BENCHMARKS, 'x.py'), '--coco', '/data/coco', '-o',
        'Reader.dataset_dir=/data/coco', 'A.b=1', '--model',
        os.path.join(PROJECT, 'output')
    ]
    assert record.command(words) == (
        'benchmarks/x.py --coco MY_COCO -o Reader.dataset_dir=MY_DATASET_DIR '
        'A.b=1 --model deploy/auto_compression/output')


def test_table_beside_published_figures():
    rows = [{
        'name': 'paddle fp32',
        'cpu_ms': 40.0
    }, {
        'name': 'ours fp32',
        'cpu_ms': 20.0,
        'times_of_limit': 2.54
    }, {
        'name': 'ours bf16',
        'error': 'cannot be run here'
    }, {
        'name': 'ours int8',
        'cpu_ms': 10.04,
        'times_of_limit': 5.0,
        'agreement_ap': 97.55
    }]
    published = {
        'a': {
            'name': 'A',
            'map': [50.0, 49.5],
            'ms': [100.0, 110.0]
        },
        'b': {
            'name': 'B'
        },
        'c': {
            'name': 'C'
        }
    }

    def made(**rows):
        return models_table.table({'models': rows}, published).splitlines()

    found = made(a={'trained': True, 'rows': rows}, b={'error': 'lost'})
    assert found[2] == ('| A | 50.00 / 49.50 | 100.0 / 110.0 | 1.10 | 40.0 | '
                        '20.0 / - / 10.0 | 0.50 | 0.25 | 2.5 / 5.0 | '
                        '- / 97.5 |')
    assert found[3].startswith('| B | - | - | - | lost |')
    random = made(a={'trained': False, 'rows': rows})
    assert random[2] == found[2].replace('- / 97.5', '-')
    assert found[4].startswith('| C | - | - | - | not measured |')
    assert {line.count('|') for line in found} == {11}


@pytest.mark.parametrize('name', ['README.md', 'README_cn.md'])
def test_the_manuals_have_that_table(name):
    with open(os.path.join(PROJECT, name), encoding='utf-8') as f:
        lines = f.read().splitlines()
    path = os.path.join(BENCHMARKS, 'results', 'cpu_engines_models_zen4.json')
    with open(path, encoding='utf-8') as f:
        made = models_table.read(f).splitlines()
    assert len(made) == 6
    for line in made[2:]:
        assert line in lines


class _Arguments:
    peers_python = 'no_such_python'
    threads = 1
    runs, warmup, seconds, images = 3, 1, 60, 2


def test_one_model_without_peers(tmp_path, shapes, float_model):
    row = models.Row('small',
                     'configs/picodet_s_320_lcnet_qat.yml',
                     {'Reader': {
                         'dataset_dir': shapes
                     }},
                     trained=True)
    args = _Arguments()
    args.work_dir = str(tmp_path)
    os.makedirs(str(tmp_path / 'small'))
    os.symlink(float_model, str(tmp_path / 'small' / 'float'))
    found = suite.measure_row(
        row, suite.chosen(['ours fp32', 'onnxruntime fp32', 'openvino fp32']),
        args)
    paddle, ours, *peers = found['rows']
    assert paddle['runs'] == ours['runs'] == 3
    assert ours['matched_iou'] > 0.99 and ours['map'] > 0
    assert ours['over_reference'] > 0 and ours['times_of_limit'] > 0
    assert any('convolution' in name for name in ours['kernels'])
    for peer in peers:
        assert "'no_such_python' cannot be started" in peer['error']
    assert found['nms'] == 'in the model'
    # 1.0 GFLOP without the head's linear layers.
    assert 0.5 < found['gflop']['convolution'] < 2.0
    assert measure.REFERENCE.name in report.table({'small': found})
