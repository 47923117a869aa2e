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
"""Ctrl-C and SIGTERM, at any moment: exit code 130 or 143, one line, nothing
left behind, an older result as it was, and what training has reached kept."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from act import cli, files, results, signals
from act.compress import job, loop, ptq, qat
from act.errors import UserError
from act.program.model import Model, ModelFiles
from conftest import PROJECT, YAML
from test_loop import Session, run
from test_loop import settings as train_settings

pytestmark = pytest.mark.usefixtures('signals_arrive')


def start(script, *arguments, cwd):
    """Start a script as a terminal would, a group of its own aside."""
    return subprocess.Popen(
        [sys.executable, '-u',
         os.path.join(PROJECT, script), *arguments],
        cwd=str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A shell's background jobs ignore SIGINT, and so would the script.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def stop_at(process, mark, number=signal.SIGINT, times=1):
    """Wait for a mark in the output, send a signal; the rest of the output."""
    said = b''
    while mark.encode() not in said:
        part = os.read(process.stdout.fileno(), 4096)
        assert part, said.decode()
        said += part
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.3)
    return finish(process)


def finish(process):
    said = process.communicate(timeout=60)[0].decode()
    assert 'Traceback' not in said and 'Exception ignored' not in said, said
    return said


def tree(root):
    return sorted(
        os.path.relpath(os.path.join(directory, name), str(root))
        for directory, _, names in os.walk(str(root)) for name in names)


@pytest.fixture
def place(tmp_path, int8_model):
    """A directory with an older result in it."""
    shutil.copytree(int8_model, str(tmp_path / 'out' / 'older'))
    return tmp_path


@pytest.fixture
def ptq_run(place, float_model, shapes):
    """Arguments of a ptq run over the older result."""
    return [
        '--config_path', YAML, '--save_dir', 'out/older', '-o',
        'Global.model_dir=' + float_model, 'Reader.dataset_dir=' + shapes,
        'Quantization={strategy: ptq, algo: avg, calibration_images: 6, '
        'weight_rounding: nearest}'
    ]


def same(place, before, digest):
    assert tree(place) == before
    assert ModelFiles(str(place / 'out' / 'older')).digest() == digest


@pytest.mark.parametrize('number, code, mark', [
    (signal.SIGINT, 130, 'Run batch'),
    (signal.SIGTERM, 143, 'Adding quant op'),
    (signal.SIGHUP, 129, 'Adding quant activation'),
])
def test_calibration(place, ptq_run, number, code, mark):
    before = tree(place)
    digest = ModelFiles(str(place / 'out' / 'older')).digest()
    process = start('run.py', *ptq_run, cwd=place)
    said = stop_at(process, mark, number)
    assert process.returncode == code, said
    assert said.splitlines()[-1] == 'stopped'
    same(place, before, digest)


def test_any_moment(place, ptq_run):
    """Also while the libraries are imported, and at the very end."""
    before = tree(place)
    result = str(place / 'out' / 'older')
    chance = random.Random(5)
    ended = set()
    for at in (0.3, 2.9, 5.5):
        process = start('run.py', *ptq_run, cwd=place)
        time.sleep(at + chance.random())
        process.send_signal(signal.SIGINT)
        said = finish(process)
        ended.add(process.returncode)
        # -2: it was over, only the interpreter was not.
        assert process.returncode in (0, 130, -signal.SIGINT), said
        if process.returncode == 130:
            assert said.splitlines()[-1] == 'stopped'
        # The older result, or the new one: whole.
        Model.load(ModelFiles(result))
        results.read_json(os.path.join(result, job.RECORD))
        assert tree(place) == before
    assert 130 in ended


@pytest.fixture
def qat_run(small_settings):
    return [
        '--config_path', YAML, '--save_dir', 'out/older', '-o', *small_settings,
        'TrainConfig.batch_size=1', 'TrainConfig.eval_iter=1',
        'TrainConfig.eval_images=2',
        'Quantization={strategy: qat, weight_rounding: nearest}'
    ]


def test_training_keeps_the_model_so_far(place, qat_run):
    older = ModelFiles(str(place / 'out' / 'older'))
    digest, before = older.digest(), tree(place)
    process = start('run.py', *qat_run, cwd=place)
    said = stop_at(process, 'iteration 1: mAP')
    assert process.returncode == 130, said
    kept = place / 'out' / 'older_interrupted'
    line = said.splitlines()[-1]
    assert line.startswith('stopped at iteration ') and '--resume' in line
    assert "the model so far: 'out/older_interrupted'" in line
    assert older.digest() == digest
    # A whole result, best and last, beside the older one.
    record = results.read_json(str(kept / job.RECORD))
    assert 1 <= record['train_iterations'] < 40
    assert record['best_iteration'] >= 1 and record['map'] >= 0
    assert record['error'].startswith('stopped at iteration')
    assert record['quantized_ops'] == 8
    for directory in (kept, kept / job.LAST):
        Model.load(ModelFiles(str(directory)))
    assert {
        n
        for n in set(tree(place)) - set(before)
        if not n.startswith('out/older_checkpoints/iteration_')
    } == {
        os.path.join('out', 'older_interrupted', name)
        for name in tree(str(kept))
    }


def test_export_of_the_model(place, qat_run):
    """run.py's own child is waited for; it leaves nothing either."""
    before = tree(place)
    arguments = [
        a if not a.startswith('Global') else 'Global.model_dir=out/model'
        for a in qat_run
    ]
    process = start('run.py', *arguments, cwd=place)
    said = stop_at(process, 'exporting it')
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == 'stopped'
    time.sleep(1)
    assert tree(place) == before


def test_evaluation(place, int8_model, shapes):
    before = tree(place)
    process = start('paddle_inference_eval.py',
                    '--model_path',
                    int8_model,
                    '--benchmark',
                    '--output_dir',
                    'out/evaluation',
                    cwd=place)
    said = stop_at(process, 'evaluate:')
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == 'stopped'
    assert tree(place) == before


# In this process: what a handler does, without the wait for a script.


def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(0.05)


def test_handlers_are_set_back():
    before = [signal.getsignal(n) for n in signals.SIGNALS]
    assert cli.run(lambda: send()) == 130
    assert cli.run(lambda: send(signal.SIGTERM)) == 143
    assert [signal.getsignal(n) for n in signals.SIGNALS] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.run(lambda: send(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_swallowed_signal_counts(settings, place, monkeypatch):
    """Paddle's quantization passes hold bare `except`s."""
    result = str(place / 'out' / 'older')
    digest = ModelFiles(result).digest()

    def quantize(directory, model, params, save_dir, *_):
        with contextlib.suppress(BaseException):
            send()
        for name in (model, params):
            shutil.copy(os.path.join(result, name), save_dir)
        with open(os.path.join(result, 'x'), 'w'):
            pass

    monkeypatch.setattr(ptq, 'quantize', quantize)
    code = cli.run(lambda: job.compress(settings, result, []) and None)
    assert code == 130
    assert ModelFiles(result).digest() == digest
    assert os.path.exists(os.path.join(result, 'x'))


def test_a_signal_in_a_destructor_counts(capsys, monkeypatch):
    # pytest has one of its own.
    monkeypatch.setattr(sys, 'unraisablehook', sys.__unraisablehook__)

    class Last:

        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def main():
        Last()
        print('went on')

    assert cli.run(main) == 130
    said = capsys.readouterr()
    assert said.out == 'went on\n' and said.err == 'stopped\n'


def test_a_signal_made_another_error_of():

    def main():
        try:
            send()
        except BaseException:
            raise UserError('image broken') from None

    assert cli.run(main) == 130


class Trained(Session):
    """A session whose model is another's; sends signals as it is told."""
    frozen = kept_ranges = ()
    iterations = 0

    def values(self):
        return {'steps': np.int64(self.steps)}

    def schedule(self):
        return None

    def __init__(self, source, during_step=(), during_save=()):
        super().__init__()
        self.source, self.saves = source, 0
        self.during_step, self.during_save = during_step, during_save

    def step(self, feed):
        if self.steps in self.during_step:
            send()
        return super().step(feed)

    def save(self, target):
        self.saves += 1
        if self.saves in self.during_save:
            send()
        os.makedirs(target.directory, exist_ok=True)
        for name in ('model.pdmodel', 'model.pdiparams'):
            shutil.copy(os.path.join(self.source, name), target.directory)


@pytest.mark.parametrize(
    'step, save, made',
    [
        ((1, ), (), 'new_interrupted'),
        # A second signal drops what there was, but for the checkpoint.
        ((1, ), (1, ), None),
        # One that comes when training is over waits; two are meant.
        ((), (1, ), 'new'),
        ((), (1, 2), None),
    ])
def test_what_is_kept(settings, int8_model, place, monkeypatch, capsys, step,
                      save, made):
    monkeypatch.chdir(place)
    monkeypatch.setattr(qat, 'build',
                        lambda *_: Trained(int8_model, step, save))
    changed = settings.model_copy(deep=True)
    changed.Quantization.strategy = 'qat'
    changed.Global.Evaluation = False
    changed.TrainConfig.train_iter = 3
    before = tree(place)
    code = cli.run(lambda: job.compress(changed, 'out/new', []) and None)
    assert code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    done = 2 if step else 3  # an iteration is finished
    checkpoints = {
        'out/new_checkpoints/iteration_%08d/%s' % (done, name)
        for name in ('training.json', 'values.npz')
    }
    if made is None:
        assert set(tree(place)) == {*before, *checkpoints}
        assert said == 'stopped'
        return
    kept = str(place / 'out' / made)
    assert set(os.listdir(str(place / 'out'))) == {
        'older', made, *(['new_checkpoints'] if step else [])
    }
    record = results.read_json(os.path.join(kept, job.RECORD))
    assert record['train_iterations'] == done
    assert record['best_iteration'] == done
    if step:
        assert checkpoints <= set(tree(place))
        assert said == ("stopped at iteration 2 of 3; --resume goes on; the "
                        "model so far: 'out/new_interrupted'")
    for directory in (kept, os.path.join(kept, job.LAST)):
        Model.load(ModelFiles(directory))
    # It can be replaced by the next.
    assert cli.run(lambda: job.compress(changed, 'out/new', []) and None) == 130


def test_replacing_is_not_cut_in_two(tmp_path, monkeypatch):
    made, target = tmp_path / 'made', tmp_path / 'target'
    for directory in (made, target):
        directory.mkdir()
        (directory / directory.name).write_text('')
    rename = os.rename

    def slow(*names):
        send()
        rename(*names)

    monkeypatch.setattr(os, 'rename', slow)
    code = cli.run(lambda: files.replace_directory(str(made), str(target)))
    assert code == 130
    assert tree(target) == ['made']


def test_work_is_cleared_away(tmp_path, monkeypatch):

    def work():
        with files.work_directory(str(tmp_path / 'a' / 'b'), '.work_') as place:
            with open(os.path.join(place, 'x'), 'w'):
                pass
            rmtree = shutil.rmtree
            monkeypatch.setattr(shutil, 'rmtree', lambda *a, **k:
                                (send(), rmtree(*a, **k)))
            send()

    assert cli.run(work) == 130
    assert os.listdir(str(tmp_path)) == []


def test_the_last_part_waits_for_one_signal_only():
    seen = []

    def main(times):
        with signals.held(patient=False):
            for _ in range(times):
                send()
            seen.append(times)

    assert cli.run(lambda: main(1)) == 130
    assert cli.run(lambda: main(2)) == 130
    assert seen == [1]


@pytest.mark.parametrize('at', [1, 3, 5])
def test_loop_returns_what_there_is(at):

    class Stopping(Session):

        def step(self, feed):
            if self.steps == at - 1:
                send()  # the iteration is finished first
            return super().step(feed)

    kept = []

    def main():
        kept.append(
            run(Stopping(), train_settings(eval_iter=2), {
                2: 0.5,
                4: 0.4
            }))

    assert cli.run(main) == 0
    result, = kept
    assert result.stopped.number == signal.SIGINT
    assert len(result.log) == at
    if at == 1:
        assert result.best_iteration == 1 and result.best_metric is None
    else:
        assert result.best_iteration == 2 and result.best_metric == 0.5
        assert result.best_state == {'steps': 2}


def test_loop_without_an_iteration_has_nothing_to_keep():

    class Stopping(Session):

        def step(self, feed):
            send()
            send()

    assert cli.run(lambda: run(Stopping()) and None) == 130
    assert isinstance(loop.TrainResult().stopped, type(None))
