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
"""Quantized linear layers, on an attention small enough to calibrate in
seconds: what of it is quantized, and what oneDNN makes of that."""

import dataclasses

import numpy as np
import pytest
from act import int8_check, predictor, runtime
from act import plan as planning
from act.compress import ptq, qat
from act.config import (
    CpuSection,
    DistillationSection,
    QuantAwareSection,
    QuantizationSection,
    TrainSection,
)
from act.errors import UserError
from act.program import cpu, halving, inspect, linear, observers
from act.program.fold import fold
from act.program.model import Model, ModelFiles, static_mode
from programs import save

SIZE = 16
# Of the layers of `attention`, in order; their outputs carry these names.
LAYERS = ('query', 'key', 'value', 'joined', 'wide', 'last')


@pytest.fixture(autouse=True)
def any_outputs(monkeypatch):
    """The networks here are no detectors."""
    monkeypatch.setattr('act.plan.check_outputs', lambda *_, **__: None)


@pytest.fixture(scope='module')
def attention(tmp_path_factory):
    """Files of a float attention, its weights folded. The first three layers
    share one parameter, as PaddleDetection's do; all but the last two have
    square matrices. Columns differ in magnitude, so that the scales do."""
    random = np.random.RandomState(0)

    def matrix(rows, columns):
        return random.randn(rows, columns) * np.geomspace(
            0.05, 1, columns) / np.sqrt(rows)

    def build(paddle, parameter):
        x = paddle.static.data('x', [-1, 5, SIZE])
        weight = parameter(
            'in_proj', np.concatenate([matrix(SIZE, SIZE) for _ in range(3)],
                                      1))
        bias = parameter('in_bias', random.randn(3 * SIZE))

        def cut(at):
            here = slice(at * SIZE, (at + 1) * SIZE)
            return paddle.matmul(x, weight[:, here]) + bias[here]

        query, key, value = cut(0), cut(1), cut(2)
        scores = paddle.nn.functional.softmax(
            paddle.matmul(query, key, transpose_y=True) / 4.0)
        mixed = paddle.matmul(scores, value)

        def layer(name, source, columns):
            return paddle.matmul(
                source, parameter(name, matrix(
                    source.shape[-1], columns))) + parameter(
                        name + '_bias', random.randn(columns))

        joined = paddle.nn.functional.relu(layer('joined', mixed, SIZE))
        wide = paddle.nn.functional.gelu(layer('wide', joined + x, 3 * SIZE))
        # Without a bias.
        last = paddle.matmul(wide, parameter('last', matrix(3 * SIZE, SIZE)))
        return [x], [last, scores]

    files = save(str(tmp_path_factory.mktemp('attention')), build)
    model = Model.load(files)
    fold(model)
    model.save(files)
    return files


def batches(count=8):
    random = np.random.RandomState(1)
    for _ in range(count):
        yield {'x': random.randn(1, 5, SIZE).astype(np.float32)}


def calibrate(files, directory, **quant):
    options = QuantizationSection(algo='abs_max', weight_rounding='nearest')
    section = QuantAwareSection(quantize_op_types=['matmul_v2'], **quant)
    ptq.quantize(files.directory, files.model_filename, files.params_filename,
                 directory, batches, 8, section, options, 'a.yml')
    return ModelFiles(directory)


@pytest.fixture(scope='module')
def quantized(attention, tmp_path_factory):
    return calibrate(attention, str(tmp_path_factory.mktemp('quantized')))


FEED = next(batches(1))


def outputs_of(files, precision, int8_ops=(), prepared=None):
    plan = predictor.plan(files,
                          CpuSection(int8_ops=list(int8_ops) or ['conv2d']),
                          precision=precision,
                          threads=1)
    if prepared:
        plan = dataclasses.replace(plan, files=prepared)
    return plan, predictor.Predictor(plan).run(FEED)


def error(outputs, reference):
    """Mean relative error of the worst output."""
    return max(
        np.abs(a - b).mean() / np.abs(b).mean()
        for a, b in zip(outputs, reference))


def test_weights_cut_out_of_a_parameter_are_folded(attention):
    model = Model.load(attention)
    assert 'slice' not in inspect.count_types(model.ops)
    weights = {v.name for v in model.persistable()}
    layers = [
        op for op in model.ops
        if op.type == 'matmul_v2' and op.input('Y')[0] in weights
    ]
    assert len(layers) == len(LAYERS)
    assert {model.parameter(op.input('Y')[0]).shape
            for op in layers[:4]} == {(SIZE, SIZE)}


def test_what_has_a_weight_is_quantized_and_nothing_else(quantized):
    model = Model.load(quantized)
    assert inspect.count_types(inspect.quantized_ops(model)) == {
        'matmul_v2': len(LAYERS)
    }
    assert inspect.count_types(model.ops)['matmul_v2'] == len(LAYERS) + 2
    # Channel by channel, the folded ones too.
    for _, weight, _ in inspect.dequantized(stripped(quantized)):
        assert weight.attr('quant_axis') == 1
        assert model.parameter(weight.input('Scale')[0]).size >= SIZE


def stripped(files):
    model = Model.load(files)
    observers.strip_observers(model)
    return model


def test_the_simulation_is_near_float(attention, quantized):
    _, expected = outputs_of(attention, 'fp32')
    _, simulated = outputs_of(quantized, 'fp32')
    assert 1e-4 < error(simulated, expected) < 0.05


def cleaned(files, directory):
    """Prepared by everything but what this file is about."""
    model = Model.load(files)
    observers.strip_observers(model)
    cpu.mark_float_ops(model)
    cpu.mend_integer_weights(model)
    found = ModelFiles(str(directory))
    model.save(found)
    return found


def test_square_weights_are_spoilt_without_us(quantized, tmp_path):
    """The fault of Paddle 2.6.2 that `dequantize_weights` is there for; if
    this fails, it is not needed any more."""
    _, simulated = outputs_of(quantized, 'fp32')
    plan = predictor.plan(quantized,
                          CpuSection(int8_ops=['fc']),
                          precision='int8',
                          threads=1)
    # Some type, or oneDNN takes its default set; no convolution is there.
    plan = dataclasses.replace(plan,
                               op_types=['conv2d'],
                               files=cleaned(quantized, tmp_path / 'plain'))
    spoilt = predictor.Predictor(plan).run(FEED)
    assert error(spoilt, simulated) > 0.2

    model = Model.load(plan.files)
    assert linear.dequantize_weights(model) == len(LAYERS)
    mended = ModelFiles(str(tmp_path / 'mended'))
    model.save(mended)
    outputs = predictor.Predictor(dataclasses.replace(plan,
                                                      files=mended)).run(FEED)
    # Activations are in float here.
    assert error(outputs, simulated) < 0.03


def test_weights_in_float_are_those_of_the_simulation(attention, quantized):
    float_model, model = Model.load(attention), stripped(quantized)
    steps = {
        op.output_arg_names[0]: model.parameter(w.input('Scale')[0]) / 127
        for op, w, _ in inspect.dequantized(model)
    }
    linear.dequantize_weights(model)
    originals = {
        op.output_arg_names[0]: op.input('Y')[0]
        for op in float_model.ops if op.type == 'matmul_v2'
    }
    for op in model.ops:
        name = op.output_arg_names[0]
        if op.type == 'matmul_v2' and name in steps:
            difference = np.abs(
                model.parameter(op.input('Y')[0]) -
                float_model.parameter(originals[name]))
            assert (difference <= 0.501 * steps[name]).all()
            assert difference.max() > 0


def test_int8_layers_compute_what_the_simulation_does(quantized):
    _, simulated = outputs_of(quantized, 'fp32')
    plan, deployed = outputs_of(quantized, 'int8', ['fc'])
    # The steps of sources may be wider where two products saturate.
    assert error(deployed, simulated) < (0.04 if halving.halves() else 0.02)
    count = int8_check.run(plan, FEED)
    assert count.linear_int8 == len(LAYERS)
    assert int8_check.failures(plan, count) == []
    fields = int8_check.fields(plan, count)
    assert (fields['int8_linear_expected'],
            fields['int8_linear_ran']) == (len(LAYERS), ) * 2


def test_constants_are_not_quantized(tmp_path):

    def build(paddle, parameter):
        x = paddle.static.data('x', [-1, 5, SIZE])
        trained = paddle.matmul(x, parameter('trained', np.eye(SIZE) + 0.1))
        constant = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
        return [x], [trained, paddle.matmul(x, parameter('fixed', constant))]

    made = calibrate(save(str(tmp_path / 'float'), build), str(tmp_path / 'q'))
    assert len(inspect.quantized_ops(Model.load(made))) == 1
    model = Model.load(made)
    np.testing.assert_array_equal(
        model.parameter('fixed').reshape(-1), np.arange(SIZE * SIZE))


def test_layers_left_in_float_are_left(attention, tmp_path):
    files = calibrate(attention,
                      str(tmp_path / 'partly'),
                      float_weights=['joined', 'last'])
    plan, _ = outputs_of(files, 'int8', ['fc'])
    count = int8_check.run(plan, FEED)
    assert count.linear_int8 == len(LAYERS) - 2
    assert int8_check.failures(plan, count) == []

    plain = predictor.plan(files,
                           CpuSection(int8_ops=['fc']),
                           precision='int8',
                           rewrites=())
    prepared = Model.load(plain.files)
    names = {op.input('Y')[0] for op in prepared.ops if op.type == 'matmul_v2'}
    assert {'joined', 'last'} <= names


def test_which_int8_types_a_model_takes():
    quantized = {'conv2d': 3, 'matmul_v2': 2}
    convolutions = ['conv2d', 'fused_conv2d']
    for asked in (convolutions, convolutions + ['fc']):
        assert planning._int8_types(asked, quantized, 'a.yml') == sorted(asked)
    for asked, found, said in ((convolutions + ['fc'], {
            'conv2d': 3
    }, "'fc' was not quantized in training"), (['conv2d', 'fc'], quantized,
                                               "'fused_conv2d' is missing"),
                               (convolutions + ['matmul_v2'], quantized,
                                "'matmul_v2' was not")):
        with pytest.raises(UserError, match=said):
            planning._int8_types(asked, found, 'a.yml')


@pytest.mark.parametrize('saturates', [True, False])
def test_rewritten_layers(quantized, saturates):
    model = stripped(quantized)
    integers = {
        op.output_arg_names[0]: model.parameter(w.input('X')[0]).astype(int)
        for op, w, _ in inspect.dequantized(model)
    }
    assert linear.to_int8(model, saturates) == len(LAYERS)
    layers = [op for op in model.ops if op.type == 'fc']
    assert len(layers) == len(LAYERS)
    # Query, key and value read one source; one more each for the others,
    # unless the steps must differ.
    sources = [op for op in model.ops if op.type == 'quantize']
    assert len(sources) == (4 if not saturates else len(
        {op.input('Input')[0]
         for op in layers}))
    shift = {op.output('Output')[0]: op.attr('Shift') for op in sources}
    scale = {op.output('Output')[0]: op.attr('Scale') for op in sources}
    for op, value in zip(layers, integers.values()):
        source, weight = op.input('Input')[0], op.input('W')[0]
        assert scale[source] == pytest.approx(op.attr('Scale_in'))
        found = model.parameter(weight) * np.array(op.attr('Scale_weights'))
        np.testing.assert_allclose(found, value, atol=1e-3)
        largest = 255 if not saturates else 32767 / (np.maximum(
            value, 0).reshape(len(value) // 2, 2, -1).sum(1).max())
        assert 0 <= shift[source] <= min(255, largest)
    # Nothing of the simulation is left, and it can be done once.
    assert not {'quantize_linear', 'dequantize_linear'} & set(
        inspect.count_types(model.ops))
    assert linear.to_int8(model, saturates) == 0


def test_scalars_and_infinite_values_get_no_range(tmp_path):
    """As in DINO, whose anchors outside of the image are infinite."""

    def build(paddle, parameter):
        x = paddle.static.data('x', [-1, 5, SIZE])
        far = paddle.where(x > 0, x, paddle.full_like(x, float('inf')))
        scalar = paddle.sum(x) * 2.0
        y = paddle.matmul(x, parameter('weight', np.eye(SIZE) + 0.1))
        return [x], [y + scalar, paddle.nn.functional.relu(far)]

    files = save(str(tmp_path / 'float'), build)
    for algo in ('hist', 'avg', 'mse', 'abs_max', 'KL'):
        ptq.quantize(files.directory, files.model_filename,
                     files.params_filename, str(tmp_path / algo), batches, 4,
                     QuantAwareSection(quantize_op_types=['matmul_v2']),
                     QuantizationSection(algo=algo, weight_rounding='nearest'))
        made = ModelFiles(str(tmp_path / algo))
        model = Model.load(made)
        assert len(inspect.quantized_ops(model)) == 1
        for op in model.ops:
            if op.type == 'quantize_linear':
                assert np.isfinite(model.parameter(op.input('Scale')[0])).all()
        _, expected = outputs_of(files, 'fp32')
        _, simulated = outputs_of(made, 'fp32')
        assert error(simulated[:1], expected[:1]) < 0.05


def test_an_infinite_input_of_a_layer_is_refused(tmp_path):

    def build(paddle, parameter):
        x = paddle.static.data('x', [-1, 5, SIZE])
        far = paddle.where(x > 0, x, paddle.full_like(x, float('inf')))
        return [x], [
            paddle.matmul(far, parameter('far_away',
                                         np.eye(SIZE) + 0.1))
        ]

    files = save(str(tmp_path / 'float'), build)
    with pytest.raises(UserError) as caught:
        calibrate(files, str(tmp_path / 'made'))
    assert str(caught.value) == (
        "a.yml: QuantAware: the matmul_v2 with weight 'far_away' cannot be "
        'quantized: its input is not finite on a calibration image; add it to '
        'float_weights')


def test_a_layer_behind_an_observer_reads_the_quantized_value(quantized):
    """Two pairs write the same names; see `observers.separate`."""
    model = Model.load(quantized)
    paddle = runtime.import_paddle()
    block = model.program.global_block()
    pair = next(op for op in model.ops if op.type == 'dequantize_linear'
                and 'x' in op.input('X')[0] and not inspect.is_observer(op))
    name = pair.output('Y')[0]
    readers = [op for op in model.ops if name in op.input_arg_names]
    assert len(readers) >= 3
    before = len(inspect.quantized_ops(model))
    with static_mode(paddle):
        at = block.ops.index(readers[-1])
        block._insert_op(at,
                         type='dequantize_linear',
                         inputs={
                             key: pair.input(key)
                             for key in ('X', 'Scale', 'ZeroPoint')
                         },
                         outputs={'Y': [name]},
                         attrs={
                             'only_observer': True,
                             'bit_length': 8,
                             'quant_axis': -1
                         })
    assert len(inspect.quantized_ops(model)) == before - 1
    assert observers.separate(model) == 1
    assert len(inspect.quantized_ops(model)) == before
    assert observers.separate(model) == 0


def saved_again(files, directory):
    """Loaded and saved as PaddleSlim does."""
    paddle = runtime.import_paddle()
    scope = paddle.static.Scope()
    # Names are counted anew, as in another process.
    with static_mode(paddle), paddle.static.scope_guard(scope), \
            paddle.utils.unique_name.guard():
        exe = paddle.static.Executor(paddle.CPUPlace())
        program, names, outputs = paddle.static.load_inference_model(
            files.directory,
            exe,
            model_filename=files.model_filename,
            params_filename=files.params_filename)
        paddle.static.save_inference_model(
            directory + '/model',
            [program.global_block().var(n) for n in names],
            outputs,
            exe,
            program=program)
    return ModelFiles(directory)


def test_training_a_program_that_was_saved_several_times(
        attention, quantized, tmp_path):
    """Each time Paddle adds `scale` operators, some that feed themselves, on
    which PaddleSlim's search for distillation nodes does not end."""
    files = attention
    for turn in range(3):
        files = saved_again(files, str(tmp_path / str(turn)))
        if turn == 1:
            assert any(
                set(op.input_arg_names) & set(op.output_arg_names)
                for op in Model.load(files).ops)
    session = qat.build(
        files, QuantAwareSection(quantize_op_types=['matmul_v2']),
        DistillationSection(loss='l2'),
        TrainSection(train_iter=2, eval_iter=2, learning_rate=0.01), 'a.yml')
    assert session.start_from(quantized) == len(LAYERS)
    before = session.state()
    assert session.step(FEED)['loss'] > 0
    after = session.state()
    trainable = qat.trainable_parameters(Model.load(files))
    assert len(trainable) == 2 * len(LAYERS) - 1  # the last has no bias
    # The bias of the keys adds the same to all scores of a query.
    assert [
        name for name in trainable if np.array_equal(before[name], after[name])
    ] == ['in_bias_slice_1']
    made = ModelFiles(str(tmp_path / 'made'))
    session.save(made)
    assert inspect.count_types(inspect.quantized_ops(Model.load(made))) == {
        'matmul_v2': len(LAYERS)
    }
    _, expected = outputs_of(attention, 'fp32')
    _, simulated = outputs_of(made, 'fp32')
    assert error(simulated, expected) < 0.1


def test_a_distillation_node_that_is_not_there(attention):
    with pytest.raises(UserError,
                       match="Distillation.node: unknown variable 'linear_9'"):
        qat.build(attention, QuantAwareSection(quantize_op_types=['matmul_v2']),
                  DistillationSection(node=['linear_9']),
                  TrainSection(train_iter=1, eval_iter=1, learning_rate=0.1),
                  'a.yml')


def test_weights_of_zeros(attention, tmp_path):
    """oneDNN takes them for int8 ones and stops, and their scale is 0."""
    model = Model.load(attention)
    names = [
        op.input('Y')[0] for op in model.ops
        if op.type == 'matmul_v2' and op.input('Y')[0] in ('joined', 'wide')
    ]
    for name in names:
        model.set_parameter(name, np.zeros_like(model.parameter(name)))
    files = ModelFiles(str(tmp_path / 'zeros'))
    model.save(files)
    for float_weights in ([], ['wide']):
        made = calibrate(files,
                         str(tmp_path / str(len(float_weights))),
                         float_weights=float_weights)
        _, simulated = outputs_of(made, 'fp32')
        _, deployed = outputs_of(made, 'int8', ['fc'])
        assert all(np.isfinite(a).all() for a in deployed)
        assert error(deployed[1:], simulated[1:]) < 0.04
        assert np.abs(deployed[0] - simulated[0]).max() < 0.05
