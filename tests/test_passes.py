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
"""Searches for guilty passes and operator types on real models."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import killing
import pytest
from act import config, data
from act.errors import UserError
from act.plan import plan
from act.predictor import Predictor
from act.program.model import Model, ModelFiles
from act.search import evidence, ops, passes, present, probe, trial
from act.search.culprits import Found
from conftest import PROJECT, YAML


@pytest.fixture(scope='module')
def small(small_settings, small_detector, trained):
    """The small detector's settings, and its directory in int8."""
    from act.cli import parse_overrides
    return config.load(YAML, parse_overrides(small_settings)), os.path.join(
        trained, 'run')


# Of so small a network int8 agrees with its simulation by 83.
AGREES = 70


def options(place, **more):
    return trial.Options(threads=1,
                         num_images=4,
                         confirm_images=6,
                         min_agreement=AGREES,
                         output_dir=str(place),
                         **more)


def content(*parts):
    with open(os.path.join(*map(str, parts)), encoding='utf-8') as f:
        return f.read()


def test_oneDNN_quantizes_these_types(small):
    """And refuses others: the list is Paddle's."""
    settings, model = small
    made = plan(ModelFiles(model), settings.Deploy.cpu, threads=1)
    for name in ops.QUANTIZABLE:
        Predictor(replace(made, op_types=[name]))
    with pytest.raises(UserError, match='cannot run'):
        Predictor(replace(made, op_types=['softmax']))


def test_a_model_that_is_right_takes_one_probe(small, small_detector, tmp_path,
                                               capsys):
    settings, model = small
    for directory in (small_detector, model):
        record = passes.search(settings, directory,
                               options(tmp_path / os.path.basename(directory)),
                               ['diagnose.py', 'passes'])
        assert len(record['probes']) == 1 and record['probes'][0]['good']
        assert record['culprits'] == [] and record['yaml'] == ''
        assert 'Nothing is wrong' in record['conclusion']
    assert 'Nothing is wrong' in capsys.readouterr().out


def test_the_type_that_breaks_the_model_is_found(small, tmp_path, capsys):
    """Of all that oneDNN would put into int8, as it does by default with the
    model that Paddle saved."""
    settings, model = small
    # Saved so it is never right, but 44 is not 11.
    asked = replace(options(tmp_path, as_saved=True), min_agreement=30)
    record = ops.search(settings, model, asked, ['diagnose.py', 'ops'])
    found = {row['item'] for row in record['culprits']}
    configured = set(settings.Deploy.cpu.int8_ops)
    assert not record['probes'][0]['good']
    assert found and not found & configured
    assert any(p['good'] and set(p['out']) == found for p in record['probes'])
    print('guilty: %s, %d probes of %d types' %
          (sorted(found), len(record['probes']), len(record['items'])))
    assert len(record['probes']) < 2 + 4 * (1 + len(found))
    # By mAP, on more images, the same.
    rows = {row['form']: row for row in record['confirmed']}
    for name in ('map', 'agreement_ap'):
        assert rows[evidence.AFTER][name] > rows[evidence.BEFORE][name] + 1
    assert rows[evidence.AFTER]['int8_layers'] > 0
    said = capsys.readouterr().out
    assert record['conclusion'] in said
    assert content(tmp_path, 'ops.yml') == record['yaml']
    for name in found:
        assert name in record['yaml']
    assert os.path.getsize(str(tmp_path / 'ops.png')) > 5000
    assert json.loads(content(tmp_path, 'ops.json'))['task'] == 'ops'
    # Asked again, all is known.
    before = content(tmp_path, trial.JOURNAL)
    again = ops.search(settings, model, asked, ['x'])
    assert again['probes'] == record['probes']
    assert content(tmp_path, trial.JOURNAL) == before


def test_a_search_that_was_killed_goes_on(small, tmp_path):
    settings, model = small
    path = str(tmp_path / 'config.yml')
    with open(path, 'w') as f:
        f.write(config.dump(settings))

    def start(halt=None):
        return subprocess.Popen([
            sys.executable,
            os.path.join(PROJECT, 'diagnose.py'), 'ops', '--config_path', path,
            '--reader_config', settings.Reader.file, '--model_path', model,
            '--cpu_threads', '1', '--num_images', '4', '--confirm_images', '6',
            '--as_saved', '--min_agreement', '30', '--output_dir',
            str(tmp_path / 'out')
        ],
                                env=halt and halt.env,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT,
                                encoding='utf-8')

    journal = str(tmp_path / 'out' / trial.JOURNAL)
    halt = killing.Halt(str(tmp_path / 'halted'),
                        made='*/' + trial.JOURNAL,
                        count=4)
    process = start(halt)
    halt.wait(process)
    process.kill()
    process.communicate()
    kept = content(journal)
    process = start()
    said, _ = process.communicate()
    assert process.returncode == 0, said
    after = content(journal)
    assert after.startswith(kept[:kept.rindex('\n') + 1])
    keys = [json.dumps(json.loads(x)[0]) for x in after.splitlines()[1:]]
    assert len(keys) == len(set(keys))
    assert 'were known from' in said


def test_what_a_probe_that_fails_tells(small, tmp_path):
    settings, model = small
    made = plan(ModelFiles(model), settings.Deploy.cpu, threads=1)
    reader = data.open_reader(settings.Reader)
    record = reader.val().records[0]
    batch = reader.pipeline([record])
    images = [
        probe.Images((record.id, ),
                     data.feed(batch,
                               Model.load(made.files).inputs(), None, 'x'), {
                                   k: v
                                   for k, v in batch.items() if k != 'image'
                               })
    ]
    done = probe.run([made, made], images, rounds=3)
    assert done.ran and len(done.detections) == 1
    assert [len(ms) for ms in done.ms] == [3, 3]
    wrong = replace(made, op_types=['softmax'])
    assert not probe.run([wrong], images).ran
    late = probe.run([made], images, limit=0.05)
    assert not late.ran and 'not done after' in late.end
    gone = replace(made, files=ModelFiles(str(tmp_path / 'none')))
    assert not probe.run([gone], images).ran


def test_a_crash_is_a_result(small, monkeypatch, tmp_path):
    settings, model = small
    made = plan(ModelFiles(model), settings.Deploy.cpu, threads=1)
    # A process that ends as one of Paddle's does.
    package = tmp_path / 'act' / 'search'
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / '__init__.py').write_text('')

    def ends_by(name):
        (package / 'probe.py').write_text(
            'import os, signal\nos.kill(os.getpid(), signal.%s)\n' % name)

    monkeypatch.setattr(probe.child, 'environment',
                        lambda: dict(os.environ, PYTHONPATH=str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    ends_by('SIGSEGV')
    assert probe.run([made], []).end == 'crashed: signal 11 (SIGSEGV)'
    # But not what someone else did to it.
    ends_by('SIGTERM')
    with pytest.raises(UserError, match='stopped from outside .SIGTERM'):
        probe.run([made], [])


def test_types_that_run(small):
    settings, model = small
    made = plan(ModelFiles(model), settings.Deploy.cpu, threads=1, rewrites=())
    reader = data.open_reader(settings.Reader)
    feed = data.feed(reader.pipeline(reader.val().records[:1]),
                     Model.load(made.files).inputs(), None, 'x')
    found = present.run(made, feed)
    assert 'fused_conv2d' in found and len(found) == len(set(found))
    assert present.run(replace(made, op_types=['softmax']), feed) is None


@pytest.mark.parametrize('more, words', [
    (dict(types=['softmaxx']), ["'softmaxx'"]),
    (dict(use_trt=True), ['--use_trt']),
    (dict(device='GPU', use_trt=True, use_mkldnn=True), ['--use_mkldnn']),
])
def test_ops_refuses(small, tmp_path, more, words):
    settings, model = small
    types = more.pop('types', None)
    with pytest.raises(UserError) as caught:
        ops.search(settings, model, options(tmp_path, **more), ['x'], types)
    for word in words:
        assert word in str(caught.value)


def test_ops_needs_a_quantized_model(small, small_detector, tmp_path):
    with pytest.raises(UserError, match='runs in fp32'):
        ops.search(small[0], small_detector, options(tmp_path), ['x'])


def test_what_a_probe_of_speed_tells(small, small_detector, tmp_path):
    """Both plans are the same: neither is half as fast again."""
    settings = small[0]
    asked = options(tmp_path, criterion=trial.SPEED, min_speedup=1.5)
    made = passes.plan_of(settings, small_detector, asked)
    bench = trial.Bench(settings, small_detector, made, asked, 'test')
    tried = bench.try_((), made)
    assert tried.ran and 0.5 < tried.speedup < 1.5 and tried.ms > 0
    assert not bench.criterion.good(tried)
    assert bench.criterion.good(replace(tried, speedup=1.6))
    assert not bench.criterion.good(replace(tried, speedup=1.6, agreement=60.))


# What is said at the end.

RIGHT, WRONG = (trial.Tried(probe.RAN, 1., a, 2.) for a in (99., 50.))
CRASH, NO_WEIGHT = (trial.Tried(end, 1.)
                    for end in ('crashed: signal 11 (SIGSEGV)',
                                'not made: no threshold'))
ROW = dict(images=6,
           end=probe.RAN,
           map=50.,
           map_difference=0.,
           low=-1.,
           high=1.,
           agreement_ap=99.,
           ms=2.,
           fp32_convs=0)


def told(first, without_a, without_b, int8_layers=(9, 9), **more):
    """Of a search in passes a, b and c that has found a and b, by what it is
    with all in, and with only one of them out."""
    forms = ('unoptimized', evidence.BEFORE, evidence.AFTER)
    return evidence.Evidence(
        'passes',
        'pass',
        passes.KEY, ['a', 'b'],
        more.pop('criterion', trial.criterion(trial.Options(), 'int8')),
        True,
        'abc', [((), first), (('a', ), without_a), (('b', ), without_b),
                (('a', 'b'), more.pop('after', RIGHT))],
        found=Found(('a', 'b'), {
            'a': (),
            'b': ()
        }),
        confirmed=[
            dict(ROW, form=form, int8_layers=layers)
            for form, layers in zip(forms, (None, *int8_layers))
        ],
        **more)


@pytest.mark.parametrize('first, without_a, without_b, follows', [
    (WRONG, WRONG, WRONG, {}),
    (WRONG, CRASH, WRONG, {
        'b': CRASH.end
    }),
    (WRONG, CRASH, CRASH, {}),
    (NO_WEIGHT, CRASH, NO_WEIGHT, {
        'b': CRASH.end
    }),
    (NO_WEIGHT, NO_WEIGHT, NO_WEIGHT, {}),
])
def test_what_has_to_go_along_is_not_called_guilty(first, without_a, without_b,
                                                   follows):
    found = told(first, without_a, without_b)
    assert found.followers == follows
    said = evidence.conclusion(found)
    if follows:
        assert said.startswith(
            'a is guilty: ') and 'b has to go with it' in said
    else:
        assert said.startswith('a, b are guilty: ')
        assert 'has to go' not in said
    assert (first.agreement is None) == (first.end in said)


def test_lines_for_the_yaml_are_of_a_remedy_only():
    text = evidence.yaml_text(told(WRONG, WRONG, WRONG))
    lines = [x for x in text.splitlines() if not x.startswith('# ')]
    assert lines == ['Deploy:', '  cpu:', '    deleted_passes: [a, b]']
    assert 'Put the lines' in text
    for layers, words in (((9, 0), '(0 of 9)'), ((None, 0), '(0)')):
        lost = told(WRONG, WRONG, WRONG, int8_layers=layers)
        assert evidence.yaml_text(lost) == ''
        assert words in evidence.conclusion(lost)
    asked = trial.Options(criterion=trial.SPEED)
    fast = replace(RIGHT, speedup=1.2)
    slow = replace(RIGHT, speedup=1.)
    speed = dict(criterion=trial.criterion(asked, 'int8'), after=fast)
    gained = told(slow, slow, slow, again=fast, **speed)
    assert evidence.yaml_text(gained).endswith('[a, b]\n')
    chance = told(slow, slow, slow, again=slow, **speed)
    assert evidence.yaml_text(chance) == ''
    said = evidence.conclusion(chance)
    assert said.startswith('No pass is to blame') and 'That is chance' in said
    assert 'x1.200' in said and 'x1.000' in said
