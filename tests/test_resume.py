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
"""Training that is killed or stopped, and gone on with: the same to the bit."""

import os
import signal

import killing
import numpy as np
import pytest
import visualdl
from act import files
from act.compress import checkpoint, loop
from act.errors import UserError
from conftest import PROJECT, call_script

SCRIPT = os.path.join(PROJECT, 'run.py')


class Session:
    """As much of a session as is kept."""
    kept_ranges = ['b', 'a']

    def __init__(self, value=0.0):
        self.value = value

    def values(self):
        return {
            'w/0@scale': np.float32([self.value, np.pi]),
            '0-d': np.int64(7)
        }

    def schedule(self):
        return {'last_epoch': 3, 'last_lr': 0.1 + 0.2}


def result_at(iteration, **kwargs):
    return loop.TrainResult(log=[{
        'loss': 1 / 3
    }] * iteration,
                            seconds=2.5,
                            **kwargs)


def checkpoints(tmp_path, every=1, **origin):
    return checkpoint.Checkpoints(str(tmp_path / 'run'),
                                  dict({'TrainConfig.seed': 0}, **origin),
                                  every)


def test_what_is_read_is_what_was_written(tmp_path):
    written = result_at(2, metrics={1: 0.25, 2: 0.5}, best_iteration=2)
    checkpoints(tmp_path).after(Session(), written, False, {'algo': 'hist'})
    found = checkpoints(tmp_path).read()
    assert found.result.log == written.log
    assert found.result.metrics == written.metrics
    assert found.result.best_metric == 0.5 and found.result.seconds == 2.5
    assert found.schedule == Session().schedule()
    assert found.kept_ranges == ['b', 'a'] and found.fields == {'algo': 'hist'}
    for name, value in Session().values().items():
        again = found.values[name]
        assert again.dtype == value.dtype and again.shape == value.shape
        assert np.array_equal(again, value)
        assert np.array_equal(found.result.best_state[name], value)


def test_the_last_two_and_the_best_are_kept(tmp_path):
    kept = checkpoints(tmp_path)
    for at in range(1, 8):
        best = 0 if at < 2 else 2
        kept.after(Session(at), result_at(at, best_iteration=best), True, {})
    assert kept.iterations() == [2, 6, 7]
    again = checkpoints(tmp_path).read()
    assert again.values['w/0@scale'][0] == 7
    assert again.result.best_state['w/0@scale'][0] == 2
    kept.remove()
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('every, wanted', [(3, [3, 6]), (None, [4, 5])])
def test_when_one_is_due(tmp_path, monkeypatch, every, wanted):
    seconds = [0.0]
    monkeypatch.setattr(checkpoint.time, 'monotonic', lambda: seconds[0])
    kept = checkpoints(tmp_path, every)
    written = []
    for at in range(1, 7):
        seconds[0] += 90
        kept.after(Session(), result_at(at), at == 5 and every is None, {})
        if at in kept.iterations():
            written.append(at)
    assert written == wanted


@pytest.mark.parametrize('fault', ['cut', 'empty', 'missing', 'flipped'])
def test_a_broken_one_gives_way_to_the_one_before(tmp_path, capsys, fault):
    kept = checkpoints(tmp_path)
    for at in (1, 2):
        kept.after(Session(at), result_at(at), True, {})
    path = tmp_path / 'run_checkpoints' / 'iteration_00000002' / 'values.npz'
    content = path.read_bytes()
    if fault == 'cut':
        path.write_bytes(content[:-30])
    elif fault == 'empty':
        path.write_bytes(b'')
    elif fault == 'missing':
        path.unlink()
    else:
        at = content.index(np.float32(np.pi).tobytes())
        path.write_bytes(content[:at] + b'\0' + content[at + 1:])
    found = checkpoints(tmp_path).read()
    assert len(found.result.log) == 1 and found.values['w/0@scale'][0] == 1
    said = capsys.readouterr().err
    assert said.startswith('warning: ') and 'iteration_00000002' in said


def test_another_configuration_is_refused(tmp_path):
    checkpoints(tmp_path).after(Session(), result_at(1), True, {})
    with pytest.raises(UserError) as error:
        checkpoints(tmp_path, **{'TrainConfig.seed': 5}).read()
    assert 'TrainConfig.seed was 0' in str(error.value)
    assert 'is 5 now' in str(error.value)


def test_without_one(tmp_path):
    with pytest.raises(UserError, match='holds no checkpoint; start without'):
        checkpoints(tmp_path).read()


def test_a_new_run_takes_the_place_at_its_first(tmp_path):
    for at in (5, 6):
        checkpoints(tmp_path).after(Session(), result_at(at), True, {})
    anew = checkpoints(tmp_path)
    assert anew.iterations() == [6]
    anew.after(Session(), result_at(1), True, {})
    assert anew.iterations() == [1]


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    kept = checkpoints(tmp_path)
    kept.after(Session(1), result_at(1), True, {})

    def full(f, arrays):
        f.write(b'x' * 100)
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(checkpoint, '_write_arrays', full)
    with pytest.raises(UserError, match='No space left on device'), \
            files.writing("--save_dir 'run'"):
        kept.after(Session(2), result_at(2), True, {})
    assert os.listdir(kept.directory) == ['iteration_00000001']
    assert len(checkpoints(tmp_path).read().result.log) == 1


def test_work_of_the_dead_is_cleared_of_the_living_not(tmp_path):
    target = str(tmp_path / 'x')
    with files.work_directory(target, '.work_') as living:
        (tmp_path / '.work_dead' / 'a').mkdir(parents=True)
        (tmp_path / '.other_').mkdir()
        with files.work_directory(target, '.work_') as second:
            assert sorted(os.listdir(str(tmp_path))) == sorted(
                ['.other_',
                 os.path.basename(living),
                 os.path.basename(second)])


@pytest.fixture(scope='module')
def arguments(training):
    return [SCRIPT, *training, 'TrainConfig.batch_size=4']


@pytest.mark.usefixtures('signals_arrive')
def test_killed_and_stopped_and_gone_on_with(tmp_path, arguments, trained):
    place, log = str(tmp_path / 'place'), str(tmp_path / 'log')
    more = ['--use_vdl', '--vdl_log_dir', str(tmp_path / 'vdl')]
    for moment, number, left in [
        (dict(said='iteration 2: mAP'), signal.SIGKILL, {'run_checkpoints'}),
        (dict(said='iteration 4: mAP'), signal.SIGTERM,
         {'run_checkpoints', 'run_interrupted'}),
        (dict(made='*/.convert_*'), signal.SIGKILL,
         {'run_checkpoints', 'run_interrupted'}),
    ]:
        halt = killing.Halt(str(tmp_path / 'halted'), **moment)
        process = killing.start(arguments + more, place, log, halt)
        halt.send(process, number)
        if number == signal.SIGTERM:
            assert process.returncode == 130
        found = killing.leftovers(place)
        assert {n for n in found if not n.startswith('.compress_')} == left
        more = [*more[:3], '--resume']
    again = killing.start(arguments + more, place, log)
    with open(log, encoding='utf-8') as f:
        assert again.wait() == 0, f.read()
    assert killing.result(place) == killing.result(trained)
    # The model so far goes when the whole one is there.
    assert killing.leftovers(place) == []
    # Each part of the log is a file; one that had nothing to do has none.
    steps = set()
    for name in os.listdir(str(tmp_path / 'vdl')):
        reader = visualdl.LogReader(file_path=str(tmp_path / 'vdl' / name))
        tags = reader.get_tags().get('scalar', [])
        if 'loss' in tags:
            steps |= {d.id for d in reader.get_data('scalar', 'loss')}
    assert 4 in steps and steps <= set(range(1, 10))


@pytest.mark.usefixtures('signals_arrive')
def test_stopped_when_training_is_over(tmp_path, arguments):
    """The result is made all the same, and the user is told."""
    place, log = str(tmp_path / 'place'), str(tmp_path / 'log')
    halt = killing.Halt(str(tmp_path / 'halted'), made='*/.convert_*')
    process = killing.start([
        *arguments, 'Quantization.weight_rounding=nearest',
        'TrainConfig.train_iter=1'
    ], place, log, halt)
    halt.send(process, signal.SIGTERM)
    assert process.returncode == 143
    with open(log, encoding='utf-8') as f:
        assert f.read().splitlines()[-1] == \
            "stopped, when the result was whole: --save_dir 'run'"
    assert len(killing.result(place)['log']) == 2
    assert killing.leftovers(place) == []


def test_a_file_that_grows_too_large(tmp_path, arguments):
    """As a full disk: one line, and nothing stays."""
    place, log = str(tmp_path / 'place'), str(tmp_path / 'log')
    limited = [
        '-c',
        'import resource, runpy, signal, sys\n'
        'sys.path.insert(0, %r)\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n'
        'runpy.run_path(%r, run_name="__main__")' % (PROJECT, SCRIPT)
    ]
    process = killing.start([
        *limited, *arguments[1:], 'Quantization.weight_rounding=nearest',
        'TrainConfig.train_iter=1'
    ], place, log)
    assert process.wait() == 2
    with open(log, encoding='utf-8') as f:
        said = f.read()
    assert 'Traceback' not in said
    assert said.splitlines()[-1].startswith(
        "error: --save_dir 'run' cannot be written: File too large")
    assert killing.leftovers(place) == []


@pytest.mark.parametrize('more, said', [
    (['--resume'], 'holds no checkpoint'),
    (['--resume', '-o', 'Quantization.strategy=ptq'], 'is for training'),
    (['--use_vdl', '-o', 'Quantization.strategy=ptq'], 'is for training'),
])
def test_asked_for_in_vain(tmp_path, training, more, said, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert call_script('run.py', *training, *more) == 2
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert os.listdir(str(tmp_path)) == []
