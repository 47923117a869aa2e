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
"""Several processes of one launch do what one does, and end together."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import killing
import numpy as np
import pytest
from act import data, evaluate, ranks, signals
from act.compress import job, parallel
from act.errors import UserError
from act.program.model import Model, ModelFiles
from conftest import PROJECT, YAML, call_script
from test_bad_data import HOLLOW

TRAIN = os.path.join(PROJECT, 'run.py')
EVALUATE = os.path.join(PROJECT, 'paddle_inference_eval.py')


def content(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def test_parts_of_a_batch_are_those_of_one_process():
    records = list(range(10))
    whole = data.endless(records, 6, seed=3, start=1)
    parts = [
        data.endless(records, 2, seed=3, start=1, part=(i, 3)) for i in range(3)
    ]
    for _ in range(7):
        assert list(itertools.chain(*map(next, parts))) == next(whole)


def test_alone_nothing_is_exchanged():
    alone = ranks.join()
    assert alone == ranks.ALONE
    assert alone.gather('x') == ['x'] and alone.first(lambda: 3) == 3
    assert alone.part([1, 2, 3]) == [1, 2, 3]
    assert list(alone.dealt([1, 2, 3])) == [1, 2, 3]
    assert alone.whole([1, 2, 3]) == [1, 2, 3]
    alone.check()


def test_items_are_dealt_and_come_back_in_their_order(monkeypatch):
    items = list('abcdefg')
    checks = []
    monkeypatch.setattr(ranks.Ranks, 'check', lambda self: checks.append(self))
    own = [list(ranks.Ranks(r, 3).dealt(items)) for r in range(3)]
    assert own == [ranks.Ranks(r, 3).part(items) for r in range(3)]
    # As often on ranks that get fewer.
    assert len(checks) == 3 * 3
    monkeypatch.setattr(ranks.Ranks, 'gather', lambda self, value: own)
    assert ranks.Ranks(0, 3).whole(own[0]) == items


def test_a_signal_to_one_is_seen_by_all(monkeypatch, signals_arrive):
    """The sign that ranks agree about, without other ranks."""
    with signals.handled():
        with pytest.raises(signals.Stopped), signals.held(patient=False):
            assert signals.pending() is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.pending() == signal.SIGTERM
        signals.accept()
        with signals.held(patient=False):
            os.kill(os.getpid(), signal.SIGTERM)
            signals.accept()
            # Dealt with: it is not raised at the end.
            assert signals.pending() is None


@pytest.mark.parametrize('said, lost', [
    ('[/paddle/third_party/gloo/gloo/transport/tcp/pair.cc:587] TIMEOUT', True),
    ('std::exception', True), ('(NotFound) another error', False)
])
def test_what_gloo_says_is_one_line(said, lost, monkeypatch):
    """It comes after launch has seen which process ended first."""
    monkeypatch.setattr(ranks, 'LINGER', 0.3)
    begin = time.monotonic()
    wanted = ranks.PeerLost if lost else RuntimeError
    with pytest.raises(wanted) as caught, ranks.lost_peers():
        raise RuntimeError(said)
    assert ('another process' in str(caught.value)) == lost
    assert (time.monotonic() - begin >= 0.3) == lost


def test_a_lost_process_ends_when_launch_says_so(signals_arrive):
    begin = time.monotonic()
    with pytest.raises(signals.Stopped), signals.handled(), \
            signals.held(patient=False), ranks.lost_peers():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError('std::exception')
    # Of the seconds of LINGER, none passes.
    assert time.monotonic() - begin < ranks.LINGER / 2


@pytest.mark.parametrize('key, value', [('strategy', 'ptq'),
                                        ('use_pact', True)])
def test_what_one_process_alone_can_do(settings, tmp_path, key, value):
    wanted = settings.model_copy(deep=True)
    wanted.Quantization.strategy = 'qat'
    for section in (wanted.Quantization, wanted.QuantAware):
        if hasattr(section, key):
            setattr(section, key, value)
    with pytest.raises(UserError) as caught:
        job.compress(wanted, str(tmp_path / 'x'), [], ranks=ranks.Ranks(0, 2))
    assert key in str(caught.value)
    assert 'without paddle.distributed.launch' in str(caught.value)
    assert os.listdir(str(tmp_path)) == []


def test_no_benchmark_beside_others(settings, float_model, tmp_path):
    options = evaluate.Options(benchmark=True, output_dir=str(tmp_path))
    with pytest.raises(UserError, match='--benchmark: processes'):
        evaluate.evaluate(settings,
                          float_model,
                          options, [],
                          ranks=ranks.Ranks(0, 2))


@pytest.fixture(scope='module')
def program():
    """A train program with a shared weight, decay and clipping, a range that is
    averaged and a batch norm; and its loss."""
    from act.program.model import static_mode
    from act.runtime import import_paddle
    paddle = import_paddle()
    static, nn = paddle.static, paddle.nn
    main = static.Program()
    with static_mode(paddle), static.program_guard(main, static.Program()), \
            paddle.utils.unique_name.guard():
        x = static.data('x', [4, 2, 3, 3], 'float32')
        for _ in range(2):
            x = static.nn.conv2d(x,
                                 2,
                                 1,
                                 param_attr=paddle.ParamAttr(name='shared'),
                                 bias_attr=False)
        x = static.nn.batch_norm(x)
        loss = paddle.mean(x * x)
        paddle.optimizer.SGD(
            0.1, weight_decay=0.1,
            grad_clip=nn.ClipGradByGlobalNorm(1.0)).minimize(loss)
        means = parallel.share(main, {'loss': loss}, ranks.Ranks(0, 4))
    return main.global_block(), loss, means['loss']


def test_gradients_are_averaged_before_anything_reads_them(program):
    block, _, _ = program
    parameters = [p.name for p in block.all_parameters() if p.trainable]
    assert len(parameters) == 3
    for name in parameters:
        gradient = name + '@GRAD'
        at, = [
            i for i, op in enumerate(block.ops)
            if op.type == 'c_allreduce_sum' and op.input('X') == [gradient]
        ]
        before, after = block.ops[:at], block.ops[at + 1:]
        optimizers = ('sgd', 'squared_l2_norm', 'scale')
        assert not any(gradient in op.input_arg_names and op.type in optimizers
                       for op in before)
        assert any(gradient in op.input_arg_names for op in after)
        # The sum of what both uses of the weight give, not one of them.
        assert not any(
            gradient in op.output_arg_names and op.attr('op_role') & 1
            for op in after)
    scaled = [
        op for op in block.ops if op.type == 'scale'
        and op.attr('scale') == 0.25 and op.attr('op_role') == 1
    ]
    assert len(scaled) == 1


def test_losses_and_statistics_are_averaged(program):
    block, loss, mean = program
    summed = [
        op.input('X')[0] for op in block.ops if op.type == 'c_allreduce_sum'
    ]
    assert summed[-1] == mean.name != loss.name
    norm, = (op for op in block.ops if op.type == 'batch_norm')
    assert set(norm.output('MeanOut') +
               norm.output('VarianceOut')) <= set(summed)


def test_an_export_is_none_of_the_processes(monkeypatch):
    monkeypatch.setenv('PADDLE_TRAINERS_NUM', '2')
    code = 'import os, sys; sys.exit("PADDLE_TRAINERS_NUM" in os.environ)'
    assert job._run_script([sys.executable, '-c', code]) == (0, '')


@pytest.fixture(scope='module')
def arguments(training):
    """Of run.py, for two processes."""
    return [TRAIN, *training, 'TrainConfig.batch_size=2']


@pytest.fixture(scope='module')
def two(tmp_path_factory, arguments):
    """The run of two processes that nobody stops."""
    place = str(tmp_path_factory.mktemp('parallel') / 'two')
    log = place + '.log'
    process = killing.start(killing.launch(2, *arguments), place, log)
    assert process.wait() == 0, content(log)
    assert killing.leftovers(place) == ['log']
    return place


def losses(place):
    with open(os.path.join(place, 'run', 'train_log.csv')) as f:
        return [float(row['loss']) for row in csv.DictReader(f)]


def weights(place):
    """All integers of the last model's weights, in one array."""
    model = Model.load(ModelFiles(os.path.join(place, 'run', 'last')))
    found = [model.parameter(v.name) for v in model.persistable()]
    return np.concatenate(
        [v.reshape(-1).astype(int) for v in found if v.dtype == np.int8])


def test_two_processes_train_as_one(two, trained):
    """Ranges are kept after calibration, so that nothing but the order of sums
    differs."""
    assert losses(two) == pytest.approx(losses(trained), rel=1e-3)
    assert len(losses(two)) == 9 and len(set(losses(two))) == 9
    ours, theirs = weights(two), weights(trained)
    assert len(ours) > 10000
    assert np.abs(ours - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.999
    records = []
    for made in (two, trained):
        with open(os.path.join(made, 'run', 'record.json')) as f:
            records.append(json.load(f))
    assert [r['processes'] for r in records] == [2, 1]
    assert records[0]['map'] == pytest.approx(records[1]['map'], abs=2)
    assert records[1]['map'] > 20


@pytest.mark.usefixtures('signals_arrive')
def test_killed_and_stopped_and_gone_on_with(tmp_path, arguments, two,
                                             monkeypatch, capfd):
    place, log = str(tmp_path / 'place'), str(tmp_path / 'log')
    command = killing.launch(2, *arguments)

    # Rank 0 makes checkpoints.
    def until(checkpoint):
        halt = killing.Halt(str(tmp_path / 'halted'),
                            made='*/.checkpoint_*/made',
                            count=checkpoint)
        process = killing.start(command, place, log, halt)
        halt.wait(process)
        return process, halt

    process, halt = until(3)
    os.kill(killing.process_of(1, process), signal.SIGKILL)
    halt.go()
    begin = time.monotonic()
    assert process.wait() != 0
    assert time.monotonic() - begin < 15
    # Launch sees it first, or the process that waits for it does.
    assert any(said in content(log)
               for said in ('Container rank 1 status failed',
                            'another process of this launch has ended'))

    # One process would see other images than two.
    with monkeypatch.context() as patch:
        patch.chdir(place)
        assert call_script('run.py', *arguments[1:], '--save_dir', 'run',
                           '--resume') == 2
    assert 'the number of processes was 2' in capfd.readouterr().err

    command.append('--resume')
    process, halt = until(2)
    process.send_signal(signal.SIGTERM)
    time.sleep(1)  # launch passes it on
    halt.go()
    assert process.wait() != 0
    of_first = content(os.path.join(place, 'log', 'workerlog.0'))
    assert 'stopped at iteration' in of_first and '--resume' in of_first
    assert 'Traceback' not in of_first
    assert killing.leftovers(place) == ['log', 'run_checkpoints']

    assert killing.start(command, place, log).wait() == 0, content(log)
    assert killing.result(place) == killing.result(two)
    assert killing.leftovers(place) == ['log']


def run_evaluation(tmp_path, processes, *more):
    """Returns the exit code, what was said, and the record."""
    place = str(tmp_path / str(processes))
    log = place + '.log'
    script = [
        EVALUATE, '--device', 'CPU', '--config_path', YAML, '--output_json',
        'record.json', '--cpu_threads', '1', *more
    ]
    if processes > 1:
        script = killing.launch(processes, *script)
    os.makedirs(place)
    with open(log, 'wb') as f:
        code = subprocess.call([sys.executable, *script],
                               cwd=place,
                               stdout=f,
                               stderr=subprocess.STDOUT)
    said = content(log)
    try:
        with open(os.path.join(place, 'record.json')) as f:
            return code, said, json.load(f)
    except OSError:
        return code, said, None


@pytest.fixture(scope='module')
def evaluation(small_settings):
    """Of paddle_inference_eval.py, the model left out."""
    return ['--batch_size', '5', '-o', *small_settings]


def test_the_same_map_from_any_number_of_processes(tmp_path, evaluation,
                                                   trained):
    """24 images in batches of 5: no number of processes divides them. The
    model's copy in the cache is made by one process, then used by all; no
    other test runs this model."""
    found = {}
    for processes in (3, 1):
        code, said, found[processes] = run_evaluation(
            tmp_path, processes, '--model_path', os.path.join(trained, 'run'),
            *evaluation)
        assert code == 0, said
        assert said.count('record: record.json') == 1
    one = found[1]
    assert one['num_images'] == 24 and one['map'] > 20
    assert one['int8_convs_ran'] == 8
    for processes, record in found.items():
        assert record['processes'] == processes
        for name in ('map', 'ap50', 'ap75', 'ar_100', 'num_images',
                     'latency_runs', 'int8_convs_ran'):
            assert record[name] == one[name], (processes, name)


def test_a_broken_image_of_another_process(tmp_path, evaluation, small_detector,
                                           shapes):
    """It ends all, and its line is shown; left out, it is counted."""
    broken = str(tmp_path / 'shapes')
    shutil.copytree(shapes, broken)
    images = os.path.join(broken, 'val2017')
    # The eighth image is in the second batch, of process 1.
    path = os.path.join(images, sorted(os.listdir(images))[7])
    with open(path, 'wb') as f:
        f.write(HOLLOW)
    more = [
        '--model_path', small_detector, *evaluation[:-1],
        'Reader.dataset_dir=' + broken
    ]
    code, said, record = run_evaluation(tmp_path, 2, *more)
    assert code != 0 and record is None
    assert 'error: ' in said and os.path.basename(path) in said
    code, said, record = run_evaluation(tmp_path / 'skip', 2, *more,
                                        '--skip_bad_images')
    assert code == 0 and record['skipped_images'] == 1
    assert record['num_images'] == 23
    assert os.path.basename(path) in said
