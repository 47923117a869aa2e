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
"""Compression, whole: from a configuration to a result directory."""

import json
import os
import shutil

import numpy as np
import pytest
from act import accuracy, config, data, results
from act.compress import job, qat
from act.errors import UserError
from act.program.inspect import quantized_ops
from act.program.model import Model, ModelFiles
from conftest import YAML, call_script, run_script


def changed(settings, **sections):
    """A copy of settings with values of its sections replaced."""
    copy = settings.model_copy(deep=True)
    for name, values in sections.items():
        section = getattr(copy, name)
        for key, value in values.items():
            setattr(section, key, value)
    return copy


def digests(directory):
    return ModelFiles(directory).digest()


@pytest.fixture(scope='module')
def session(settings, float_model):
    """A student after two steps at a warm-up's rates, with the reader."""
    train = settings.TrainConfig.model_copy(update=dict(
        train_iter=2,
        batch_size=2,
        # Moves each weight by the rate, however small its
        # gradient.
        optimizer_builder={'optimizer': {
            'type': 'Adam'
        }},
        learning_rate=dict(type='LinearWarmup',
                           learning_rate=1e-3,
                           warmup_steps=10,
                           start_lr=0.0,
                           end_lr=1e-3)))
    made = qat.build(ModelFiles(float_model), settings.QuantAware,
                     settings.Distillation, train)
    reader = data.open_reader(settings.Reader)
    made.feeds = data.feed(reader.pipeline(reader.train().records[:2]),
                           made.feed_names, None, '')
    made.before = made.state()
    made.rates, made.losses = [], []
    for _ in range(2):
        made.rates.append(made.learning_rate())
        made.losses.append(made.step(made.feeds))
    return made


def test_schedules_take_effect(session):
    assert session.rates == pytest.approx([0, 1e-4])
    assert session.learning_rate() == pytest.approx(2e-4)


def test_weights_move_and_constants_do_not(session, float_model):
    after = session.state()
    model = Model.load(ModelFiles(float_model))
    trainable = qat.trainable_parameters(model)
    moved = [
        n for n in trainable if not np.array_equal(session.before[n], after[n])
    ]
    still = sorted(set(trainable) - set(moved))
    assert len(moved) > 0.9 * len(trainable), still
    projection = [
        v.name for v in model.persistable()
        if model.parameter(v.name).tolist() == list(range(8))
    ]
    assert projection and not set(projection) & set(trainable)
    assert set(projection) <= set(session.frozen)
    for name in session.frozen:
        np.testing.assert_array_equal(session.before[name], after[name])
    # Batch norm's statistics are frozen, its scale and bias are not.
    statistics = [
        op.input('Mean')[0] for op in model.ops if op.type == 'batch_norm'
    ]
    assert set(statistics) <= set(session.frozen)


def stem(model):
    """Name of the first convolution's weight."""
    return next(
        op.input('Filter')[0] for op in model.ops if op.type == 'conv2d')


def test_batch_norm_set_free_and_a_layer_left_in_float(settings, float_model,
                                                       session, tmp_path):
    model = Model.load(ModelFiles(float_model))
    name = stem(model)
    train = settings.TrainConfig.model_copy(
        update=dict(learning_rate=0.0, freeze_batch_norm=False))
    quant = settings.QuantAware.model_copy(update=dict(float_weights=[name]))
    made = qat.build(ModelFiles(float_model), quant, settings.Distillation,
                     train)
    before = made.state()
    made.step(session.feeds)
    after = made.state()
    moved = [
        op.input('Mean')[0] for op in model.ops
        if op.type == 'batch_norm' and not np.array_equal(
            before[op.input('Mean')[0]], after[op.input('Mean')[0]])
    ]
    count = sum(op.type == 'batch_norm' for op in model.ops)
    # The heads' last layers lie behind what distillation compares.
    assert len(moved) > 0.9 * count
    made.save(ModelFiles(str(tmp_path)))
    saved = Model.load(ModelFiles(str(tmp_path)))
    assert len(quantized_ops(saved)) == 64
    np.testing.assert_array_equal(saved.parameter(name), model.parameter(name))


def test_distillation_compares_the_last_weighted_outputs(float_model):
    model = Model.load(ModelFiles(float_model))
    nodes = qat.final_weight_outputs(model)
    # Four levels, each with class, box and alignment branch.
    assert len(nodes) == 12
    consumers = {n: op.type for op in model.ops for n in op.input_arg_names}
    assert all(n in consumers for n in nodes)


def test_saving_does_not_disturb_training(session, tmp_path):
    before = session.infer(session.feeds)
    state = session.state()
    session.save(ModelFiles(str(tmp_path / 'saved')))
    for a, b in zip(before, session.infer(session.feeds)):
        np.testing.assert_array_equal(a, b)
    for name, value in session.state().items():
        np.testing.assert_array_equal(value, state[name])
    saved = Model.load(ModelFiles(str(tmp_path / 'saved')))
    # What is saved computes what training evaluated.
    from act import predictor
    plan = predictor.plan(ModelFiles(str(tmp_path / 'saved')),
                          config.CpuSection(),
                          precision='fp32',
                          threads=1)
    found = predictor.Predictor(plan).run(session.feeds)
    # Rows of equal score may swap, so detections are compared, not rows.
    sides = [
        accuracy.from_model_output([1, 2], boxes, counts)
        for boxes, counts in (before, found)
    ]
    agreement = accuracy.agreement_ap(*sides, score_threshold=0.3)
    assert agreement.boxes > 5 and agreement.map > 0.95
    assert len(list(saved.persistable()))


def test_unknown_names_are_refused_before_preparation(settings, float_model):
    for section, line in (
        (dict(optimizer_builder={'optimizer': {
            'type': 'SDG'
        }}), 'SGD'),
        (dict(learning_rate={'type': 'CosineDecay'}), 'CosineAnnealingDecay'),
    ):
        train = settings.TrainConfig.model_copy(update=section)
        with pytest.raises(UserError, match="did you mean '%s'" % line):
            qat.build(ModelFiles(float_model), settings.QuantAware,
                      settings.Distillation, train)
    with pytest.raises(UserError, match='Distillation.node'):
        qat.build(ModelFiles(float_model), settings.QuantAware,
                  config.DistillationSection(node=['nothing']),
                  settings.TrainConfig)


def test_ptq_result(int8_model, float_model, settings):
    assert sorted(os.listdir(int8_model)) == sorted([
        'model.pdmodel', 'model.pdiparams', 'infer_cfg.yml', 'config.yml',
        'reader.yml', 'record.json'
    ])
    record = results.read_json(os.path.join(int8_model, 'record.json'))
    assert record['strategy'] == 'ptq' and record['quantized_ops'] == 65
    assert record['calibration_images'] == 6
    assert record['size_ratio'] < 0.6
    again = config.load(os.path.join(int8_model, 'config.yml'))
    assert again.Global.model_dir == float_model
    data.open_reader(again.Reader)


def test_ptq_leaves_a_layer_in_float(settings, float_model, tmp_path):
    model = Model.load(ModelFiles(float_model))
    name = stem(model)
    made = str(tmp_path / 'made')
    record = job.compress(
        changed(settings, QuantAware=dict(float_weights=[name])), made, [])
    assert record['quantized_ops'] == 64
    np.testing.assert_array_equal(
        Model.load(ModelFiles(made)).parameter(name), model.parameter(name))


def test_source_is_untouched_and_nothing_is_left(settings, float_model,
                                                 tmp_path, monkeypatch):
    from act.compress import ptq
    before = digests(float_model)

    def fail(*_, **__):
        raise RuntimeError('boom')

    monkeypatch.setattr(ptq, 'quantize', fail)
    with pytest.raises(RuntimeError):
        job.compress(settings, str(tmp_path / 'out' / 'model'), [])
    assert os.listdir(str(tmp_path)) == []
    assert digests(float_model) == before


def test_refused_before_preparation(settings, int8_model, float_model, tmp_path,
                                    monkeypatch):
    from act.compress import ptq
    monkeypatch.setattr(ptq, 'quantize', None)  # must not be reached
    save_dir = str(tmp_path / 'out')
    every = [
        op.input('Filter')[0] for op in Model.load(ModelFiles(float_model)).ops
        if op.type == 'conv2d'
    ]
    cases = [
        (dict(Global=dict(model_dir=int8_model)), 'is already quantized'),
        (dict(Global=dict(input_list=['x'])), 'input_list'),
        (dict(Global=dict(input_list={'image': 'x'})), "inputs are"),
        (dict(Global=dict(input_list={
            'img': 'image',
            'scale_factor': 'scale_factor'
        })), "'image' is not among what the reader makes"),
        (dict(QuantAware=dict(quantize_op_types=['mul'])), "holds no 'mul'"),
        (dict(QuantAware=dict(float_weights=['conv2d_0.w'])),
         "unknown weight of conv2d 'conv2d_0.w'; did you mean 'conv2d_0.w_0'"),
        (dict(QuantAware=dict(float_weights=every)), 'no operator to quantize'),
        (dict(Deploy=dict(input_shape=(416, 416))), 'input_shape'),
        (dict(Reader=dict(dataset_dir='/nowhere')), '/nowhere'),
    ]
    for sections, line in cases:
        with pytest.raises(UserError, match=line):
            job.compress(changed(settings, **sections), save_dir, [])
        assert not os.path.exists(save_dir)
    with pytest.raises(UserError, match='needs a TrainConfig'):
        none = changed(settings, Quantization=dict(strategy='qat'))
        none.TrainConfig = None
        job.compress(none, save_dir, [])


def test_wrong_size_is_refused(settings, tmp_path):
    with open(settings.Reader.file) as f:
        text = f.read().replace('[320, 320]', '[256, 256]')
    (tmp_path / 'r.yml').write_text(text)
    wrong = changed(settings, Reader=dict(file=str(tmp_path / 'r.yml')))
    with pytest.raises(UserError, match='makes .image. of shape|input_shape'):
        job.compress(wrong, str(tmp_path / 'out'), [])


def test_missing_model_without_export_names_the_command(settings, tmp_path):
    wrong = changed(settings, Global=dict(model_dir=str(tmp_path / 'none')))
    wrong.Export = None
    with pytest.raises(UserError, match='python export.py -c'):
        job.compress(wrong, str(tmp_path / 'out'), [])


def test_other_directories_are_not_replaced(settings, tmp_path):
    (tmp_path / 'mine.txt').write_text('x')
    with pytest.raises(UserError, match='no result of run.py'):
        job.compress(settings, str(tmp_path), [])
    assert (tmp_path / 'mine.txt').exists()


def test_walk(shapes, float_model, tmp_path, monkeypatch, capfd):
    """The whole path in small, with the scripts as a user runs them: qat,
    evaluation of the result, comparison, a picture."""
    common = [
        '-o', 'Global.model_dir=' + float_model, 'Reader.dataset_dir=' + shapes,
        'Quantization={strategy: qat, algo: avg, calibration_images: 6}'
    ]
    done = run_script('run.py',
                      '--config_path',
                      YAML,
                      *common,
                      'TrainConfig.train_iter=2',
                      'TrainConfig.eval_iter=1',
                      'TrainConfig.batch_size=2',
                      'TrainConfig.eval_images=4',
                      cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = tmp_path / 'output' / 'picodet_s_320_lcnet_qat'
    record = results.read_json(str(result / 'record.json'))
    assert record['strategy'] == 'qat' and record['quantized_ops'] == 65
    assert record['train_iterations'] == 2
    assert record['best_iteration'] in (1, 2)
    assert (result / 'last' / 'model.pdmodel').exists()
    assert len((result / 'train_log.csv').read_text().splitlines()) == 3

    # No argument but the device: the most recent result, and it says which.
    done = run_script('paddle_inference_eval.py',
                      '--device',
                      'CPU',
                      '--num_images',
                      '12',
                      '--compare',
                      float_model,
                      '--per_class',
                      cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert 'output/picodet_s_320_lcnet_qat' in done.stdout
    with open(str(tmp_path / 'output' / 'evaluation' / 'record.json')) as f:
        record = json.load(f)
    results.validate(record)
    assert record['precision'] == 'int8'
    assert record['int8_convs_ran'] == record['int8_convs_expected'] == 65
    assert record['fp32_convs_ran'] == 33
    assert record['num_images'] == 12
    assert len(record['per_class']) == 6
    assert record['agreement_ap'] > 50
    assert abs(record['map_difference']) < 10
    assert record['map_difference_low'] <= record['map_difference'] <= record[
        'map_difference_high']
    pictures = os.listdir(str(tmp_path / 'output' / 'evaluation' / 'pictures'))
    assert sorted(pictures) == sorted(record['changed_images'])
    assert record['pictures'] == [
        'pictures/' + name for name in record['changed_images']
    ]
    assert len(record['latency_ms_percentiles']) == 101

    # The rest in this process.
    monkeypatch.chdir(tmp_path)
    image = os.path.join(shapes, 'val2017', '000003.jpg')
    assert call_script('paddle_inference_eval.py', '--device', 'CPU',
                       '--image_file', image) == 0
    assert (tmp_path / 'output' / 'evaluation' /
            '000003_detections.jpg').exists()

    # A figure that is missed is exit code 1.
    assert call_script('paddle_inference_eval.py', '--device', 'CPU',
                       '--num_images', '2', '--check', '-o',
                       'Expected=[[int8, mAP, 99.9, 0.05]]') == 1
    assert 'mAP' in capfd.readouterr().err


def test_export_refuses_weights_of_another_model(tmp_path):
    directory = str(tmp_path / 'out')
    done = run_script('export.py', '-c', 'demo/picodet_s_320_lcnet.yml',
                      '--save_dir', directory, '-o', 'num_classes=5')
    assert done.returncode == 2
    assert 'are of another model' in done.stderr
    assert not os.path.exists(directory)


def test_model_is_exported_when_it_is_not_there(settings, tmp_path,
                                                monkeypatch):
    """run.py exports from the Export section; the real export is tested by
    the float_model fixture, which runs the same script."""
    calls = []

    def record(command):
        calls.append(command)
        shutil.copytree(settings.Global.model_dir, str(tmp_path / 'made'))
        return 0, ''

    monkeypatch.setattr(job, '_run_script', record)
    wanted = changed(settings, Global=dict(model_dir=str(tmp_path / 'made')))
    job.ensure_exported(wanted)
    command, = calls
    assert command[1].endswith('export.py')
    assert command[command.index('--save_dir') + 1] == str(tmp_path / 'made')
    job.ensure_exported(wanted)  # there now: nothing to do
    assert len(calls) == 1
