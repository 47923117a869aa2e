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
"""sweep.py: several models, one that fails, and one that is stopped."""

import fcntl
import glob
import os
import signal
import subprocess
import sys
import time

import killing
import pytest
from act import cli, config, files, results
from act.errors import UserError
from act.sweep import progress, run, steps
from conftest import PROJECT, YAML, call_script, run_script

QUICK = [
    'Quantization={strategy: ptq, weight_rounding: nearest, algo: avg, '
    'calibration_images: 2}'
]


def write(path, overrides):
    """Write a YAML, the shipped one with overrides. Returns its path."""
    settings = config.load(YAML, cli.parse_overrides(overrides))
    settings.Reader.file = os.path.abspath(settings.Reader.file)
    settings.Export = None
    with open(str(path), 'w', encoding='utf-8') as f:
        f.write(config.dump(settings))
    return str(path)


def wait_for(come, process=None):
    """Wait until something is there."""
    begin = time.monotonic()
    while not come():
        assert process is None or process.poll() is None
        assert time.monotonic() - begin < 300
        time.sleep(0.01)


def digests(place, *parts):
    """Of all files below a directory."""
    found = glob.glob(os.path.join(str(place), *parts, '**'), recursive=True)
    return {f: files.file_digest(f) for f in found if os.path.isfile(f)}


def start(place, *arguments, halt=None):
    """A sweep of its own, as a user starts it."""
    return subprocess.Popen(
        [sys.executable,
         os.path.join(PROJECT, 'sweep.py'), *arguments],
        cwd=str(place),
        env=halt and halt.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)


@pytest.fixture(scope='module')
def swept(small_settings, training, tmp_path_factory):
    """Three models: the first is good, the second fails, the third is trained
    when SIGTERM comes. Then the same command again. Gives place, arguments,
    what the stopped and the whole sweep said, and all files between them."""
    place = tmp_path_factory.mktemp('sweep')
    paths = [
        write(place / 'first.yml', small_settings + QUICK),
        write(place / 'broken.yml',
              small_settings + QUICK + ['Global.model_dir=nowhere']),
        write(place / 'trained.yml',
              training[3:] + ['TrainConfig.batch_size=2']),
    ]
    arguments = [
        '--save_dir', 'swept', '--num_images', '4', '--cpu_threads', '1',
        '--config_path', *paths
    ]
    halt = killing.Halt(str(place / 'halted'),
                        made='*/trained_checkpoints/.checkpoint_*/made',
                        count=2)
    process = start(place, *arguments, halt=halt)
    halt.wait(process)
    process.send_signal(signal.SIGTERM)
    stopped = process.communicate()
    halt.go()
    assert process.returncode == 143
    between = digests(place, 'swept')
    whole = run_script('sweep.py', *arguments, cwd=str(place))
    return place, arguments, stopped, whole, between


def rows(place):
    """{model: record} of what was measured."""
    return {
        name:
        results.read_json(
            str(place / 'swept' / 'evaluations' / name / 'record.json'))
        for name in os.listdir(str(place / 'swept' / 'evaluations'))
    }


def test_a_failing_model_is_a_row(swept):
    place, _, _, whole, _ = swept
    assert whole.returncode == 1
    assert whole.stderr.splitlines()[-1].startswith(
        "error: 1 of 3 models failed: broken: Global.model_dir 'nowhere' does "
        'not exist')
    assert set(rows(place)) == {'first', 'trained'}
    failed = results.read_json(
        str(place / 'swept' / 'errors' / 'broken' / 'error.json'))
    assert failed['script'] == 'run.py' and failed['model_name'] == 'broken'
    assert "'nowhere' does not exist" in failed['error']
    log = (place / 'swept' / 'logs' / 'broken_compress.log').read_text()
    assert "'nowhere' does not exist" in log


def test_stopped_it_goes_on(swept):
    place, _, stopped, whole, between = swept
    assert stopped[1].splitlines()[-1] == 'stopped; the same command goes on'
    assert 'first: evaluate done in' in stopped[0]
    assert 'first: compress and evaluate done before' in whole.stdout
    for directory in ('models', 'evaluations'):
        of_first = digests(place, 'swept', directory, 'first')
        assert of_first
        assert {f: between[f] for f in of_first} == of_first
    # The training went on, too.
    log = (place / 'swept' / 'logs' / 'trained_compress.log').read_text()
    assert 'going on after iteration' in log
    record = results.read_json(
        str(place / 'swept' / 'models' / 'trained' / 'record.json'))
    assert record['train_iterations'] == 9 and not record.get('error')


def test_it_ends_in_a_report(swept):
    place, _, _, whole, _ = swept
    assert 'report: swept/report/report.html' in whole.stdout
    text = (place / 'swept' / 'report' /
            'report.html').read_text(encoding='utf-8')
    for name, record in rows(place).items():
        assert record['model_name'] == name
        assert record['precision'] == 'int8' and record['num_images'] == 4
        assert record['threads'] == 1
        assert '>%s int8</th>' % name in text
    assert '>broken</th>' in text and 'nowhere' in text
    assert 'Loss of trained' in text


def test_done_again_is_what_changed(swept, small_settings, capfd, monkeypatch):
    place, arguments, _, _, _ = swept
    monkeypatch.chdir(place)
    # All is there: nothing to do but what failed, which works now.
    write(place / 'broken.yml', small_settings + QUICK)
    before = digests(place, 'swept', 'models')
    assert call_script('sweep.py', *arguments) == 0
    said = capfd.readouterr().out
    assert 'first: compress and evaluate done before' in said
    assert 'trained: compress and evaluate done before' in said
    assert 'broken: compress done' in said and 'broken: evaluate done' in said
    assert not os.path.exists('swept/errors/broken')
    after = digests(place, 'swept', 'models')
    assert {f: after[f] for f in before} == before


def test_killed_without_a_warning(swept, monkeypatch, capfd):
    """Other images, so only the evaluation is done again. SIGKILL leaves it at
    work: a second sweep does not disturb it."""
    place, arguments, _, _, _ = swept
    monkeypatch.chdir(place)
    alone = arguments[:-2]
    alone[alone.index('4')] = '5'
    log = place / 'swept' / 'logs' / 'first_evaluate.log'
    log.write_text('')
    before = digests(place, 'swept', 'models')
    process = start(place, *alone)
    wait_for(lambda: log.read_text(errors='replace'), process)
    process.kill()
    process.communicate()
    assert call_script('sweep.py', *alone) == 2
    assert 'at work there; wait for its end' in capfd.readouterr().err
    held = os.open(str(place / 'swept'), os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.close(held)
    assert call_script('sweep.py', *alone) == 0
    said = capfd.readouterr().out
    assert 'first: compress done before' in said
    assert 'first: evaluate done in' in said
    assert rows(place)['first']['num_images'] == 5
    assert digests(place, 'swept', 'models') == before


def test_bad_input(tmp_path, small_settings, capfd):
    (tmp_path / 'other').mkdir()
    one, two = (write(tmp_path / name, small_settings)
                for name in ('a.yml', 'other/a.yml'))
    (tmp_path / 'file').write_text('')
    for arguments, said in (
        ([one, two], "a.yml' have one name"),
        ([one, tmp_path / 'no.yml'], 'no.yml'),
        ([one, '--save_dir', tmp_path / 'file'], 'is a file'),
        ([one, '-o', 'Deploy.cpuu=1'], 'cpuu'),
    ):
        assert call_script('sweep.py', '--config_path', *arguments) == 2
        error = capfd.readouterr().err
        assert said in error and error.count('\n') == 1
    with pytest.raises(UserError):
        run.sweep(['no.yml'], steps.Options(str(tmp_path / 'sweep')))
    assert not (tmp_path / 'sweep').exists()


def test_why_a_step_failed(tmp_path):
    log = tmp_path / 'log'
    for code, text, said in (
        (2, 'begin\nerror: no such key\n', 'no such key'),
        (1, '50%\rerror: a check failed\n100%\n', 'a check failed'),
        (1, 'Traceback\nValueError: 7\n\n',
         'exit code 1; its last line: ValueError: 7'),
        (-signal.SIGSEGV, 'a\n', 'ended by SIGSEGV; its last line: a'),
        (-signal.SIGKILL, '', 'ended by SIGKILL'),
    ):
        log.write_text(text)
        assert run._reason(code, str(log)) == said


def test_time_left():
    left = progress.seconds_left
    assert left({}, ['compress', 'evaluate'], 5) is None
    taken = {'compress': [100.0, 200.0], 'evaluate': [10.0]}
    assert left(taken, ['compress', 'evaluate', 'compress'], 50) == 260
    # A step that takes longer than the others.
    assert left(taken, ['compress', 'evaluate'], 500) == 10
    # Nothing is known of this kind: as the others, in the mean.
    assert left({'compress': [100.0, 200.0]}, ['evaluate'], 0) == 150
    assert left(taken, [], 0) == 0


def test_state_that_cannot_be_read(tmp_path, small_settings):
    settings = config.load(write(tmp_path / 'a.yml', small_settings))
    model = steps.Model(settings, steps.Options(str(tmp_path / 'sweep')))
    state = steps.State(model)
    assert not any(state.finished(step) for step in steps.NAMES)
    results.write_json(results.new_record('run.py', ['run.py']),
                       model.record('compress'))
    state.begin('compress')
    assert not steps.State(model).finished('compress')
    state.finish('compress', 7.0)
    assert steps.State(model).finished('compress')
    assert steps.State(model).seconds('compress') == 7.0
    other = steps.Model(settings, steps.Options(str(tmp_path / 'sweep'),
                                                ['a=b']))
    assert not steps.State(other).finished('compress')
    path = model.path('state', 'a.json')
    for content in ('', '{"compress": 3}', '[]', '\0'):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(content)
        assert not steps.State(model).finished('compress')
