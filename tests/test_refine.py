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
"""Weights rounded for an operator's output."""

import numpy as np
import pytest
from act.compress import ptq, qat, refine, rounding, samples
from act.program.inspect import dequantized
from act.program.model import Model, ModelFiles
from act.program.observers import strip_observers


def correlated(rng, count, size, rank):
    """Rows as a network makes them: fewer directions than inputs."""
    rows = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, size))
    return (rows + 0.1 * rng.normal(size=rows.shape)).astype(np.float32)


@pytest.mark.parametrize('size', [24, 200])  # less and more than a block
def test_joint_rounding_keeps_the_output(size):
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(16, size))
    rows, unseen = np.split(correlated(rng, 4000, size, size // 4), 2)
    step = np.abs(matrix).max(1) / 15  # coarse, so that rounding matters

    def error(integers):
        return np.square(unseen @ (integers * step[:, None] - matrix).T).mean()

    joint = rounding.round_jointly(matrix, rows, step, 15)
    nearest = rounding.round_to_nearest(matrix, step[:, None], 15)
    assert np.array_equal(joint, np.rint(joint)) and np.abs(joint).max() <= 15
    assert error(joint) < 0.5 * error(nearest)
    at = np.abs(matrix).argmax(1), np.arange(16)
    assert (np.abs(joint[at[1], at[0]]) == 15).all()


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    matrix, rows = rng.normal(size=(8, 40)), correlated(rng, 500, 40, 10)
    step = np.abs(matrix).max(1) / 127
    whole = rounding.round_jointly(matrix, rows, step)
    monkeypatch.setattr(rounding, '_BLOCK', 7)
    assert np.array_equal(whole, rounding.round_jointly(matrix, rows, step))


def test_rounding_without_inputs_or_weights():
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(4, 6))
    matrix[2] = 0
    step = np.abs(matrix).max(1) / 127
    rows = np.zeros((10, 6), np.float32)
    nearest = np.rint(matrix / np.where(step, step, 1)[:, None])
    assert np.array_equal(rounding.round_jointly(matrix, rows, step), nearest)
    rows[:, :3] = rng.normal(size=(10, 3))  # inputs 3 to 5 never occur
    rounded = rounding.round_jointly(matrix, rows, step)
    assert not rounded[2].any() and np.isfinite(rounded).all()


class _Convolution:
    """Attributes of an operator, as Paddle gives them."""
    type = 'conv2d'

    def __init__(self, **attributes):
        self.attributes = dict(groups=1,
                               padding_algorithm='EXPLICIT',
                               data_format='NCHW',
                               dilations=[1, 1],
                               **attributes)
        self.attributes.update(attributes)

    def attr(self, name):
        return self.attributes[name]


@pytest.mark.parametrize('strides, paddings, dilations', [
    ([1, 1], [0, 0], [1, 1]),
    ([2, 1], [1, 2], [1, 1]),
    ([2, 2], [0, 1, 2, 1], [1, 1]),
    ([1, 2], [2, 2], [2, 1]),
])
def test_rows_give_paddles_convolution(strides, paddings, dilations):
    from act import runtime
    paddle = runtime.import_paddle()
    rng = np.random.default_rng(6)
    source = rng.normal(size=(2, 3, 11, 9)).astype(np.float32)
    kernel = rng.normal(size=(5, 3, 3, 2)).astype(np.float32)
    wanted = paddle.nn.functional.conv2d(paddle.to_tensor(source),
                                         paddle.to_tensor(kernel),
                                         stride=strides,
                                         padding=paddings,
                                         dilation=dilations).numpy()
    op = _Convolution(strides=strides, paddings=paddings)
    op.attributes['dilations'] = dilations
    product = samples.as_product(op, 'x', 'w', kernel.shape)
    wanted = wanted.transpose(0, 2, 3, 1).reshape(-1, 5)
    few = len(wanted) - 1
    for count, at in ((few,
                       np.random.default_rng(7).integers(0, len(wanted), few)),
                      (400, slice(None))):
        rows = product.rows(source, kernel.shape, count,
                            np.random.default_rng(7))
        np.testing.assert_allclose(rows @ product.matrix(kernel).T,
                                   wanted[at],
                                   atol=1e-4)
    restored = product.weight_of(product.matrix(kernel), kernel.shape)
    assert np.array_equal(restored, kernel)


def test_grouped_convolutions_are_left():
    op = _Convolution(strides=[1, 1], paddings=[0, 0])
    op.attributes['groups'] = 4
    assert samples.as_product(op, 'x', 'w', (8, 2, 1, 1)) is None


@pytest.fixture(scope='module', autouse=True)
def few_rows():
    """Six images hold no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, 'ROWS', 4096)
        yield


@pytest.fixture(scope='module')
def batches(settings):
    from act import data
    reader = data.open_reader(settings.Reader)

    def of(records):

        def make():
            for record in records:
                batch = reader.pipeline([record])
                yield {k: batch[k] for k in ('image', 'scale_factor')}

        return make

    return of(reader.train().records[:6]), of(reader.val().records[:3])


@pytest.fixture(scope='module')
def plain(tmp_path_factory, float_model, settings, batches):
    """The demo's model as Paddle quantizes it, nothing chosen anew."""
    directory = str(tmp_path_factory.mktemp('refine') / 'plain')
    ptq.quantize(float_model, 'model.pdmodel', 'model.pdiparams', directory,
                 batches[0], 6, settings.QuantAware,
                 settings.Quantization.model_copy(update={'algo': 'abs_max'}))
    return directory


@pytest.fixture(scope='module')
def refined(tmp_path_factory, plain, float_model, batches):
    import shutil
    directory = str(tmp_path_factory.mktemp('refine') / 'refined')
    shutil.copytree(plain, directory)
    counts = refine.refine(ModelFiles(float_model), ModelFiles(directory),
                           batches[0], 6)
    assert counts == {'refined': 65, 'left': 0}
    return directory


def errors(directory, float_model, batches):
    """{operator: mean squared error of its output by its weights}."""
    model = Model.load(ModelFiles(directory))
    strip_observers(model)
    source = Model.load(ModelFiles(float_model))
    found = refine._find(model, source)
    products = [q.product for q in found]
    rows = samples.Sampler(source, products).rows(products,
                                                  batches(),
                                                  6,
                                                  seed=1)
    result = {}
    for q in found:
        matrix = q.product.matrix(q.kernel)
        integers = q.product.matrix(model.parameter(q.weight))
        difference = rows[q.product.name] @ (integers * q.step[:, None] -
                                             matrix).T
        result[q.product.name] = np.square(difference).mean()
    return result


def test_outputs_are_nearer(plain, refined, float_model, batches):
    before = errors(plain, float_model, batches[0])
    after = errors(refined, float_model, batches[0])
    assert len(before) == 65
    ratio = np.array([after[n] / before[n] for n in before if before[n] > 0])
    assert len(ratio) > 40
    assert np.median(ratio) < 0.5, ratio
    assert (ratio < 1).mean() > 0.9, ratio


def test_refining_changes_only_weights(plain, refined):
    a, b = (Model.load(ModelFiles(d)) for d in (plain, refined))
    assert [op.type for op in a.ops] == [op.type for op in b.ops]
    changed = set()
    for var in a.persistable():
        old, new = a.parameter(var.name), b.parameter(var.name)
        assert old.dtype == new.dtype and old.shape == new.shape
        if not np.array_equal(old, new):
            changed.add(var.name)
    allowed = set()
    strip_observers(a)
    for _, weight, _ in dequantized(a):
        allowed.add(weight.input('X')[0])
        largest = np.abs(b.parameter(weight.input('X')[0]).astype(int))
        old = np.abs(a.parameter(weight.input('X')[0]).astype(int))
        axes = tuple(range(1, old.ndim))
        # oneDNN takes the scale from the largest.
        assert np.array_equal(largest.max(axes), old.max(axes))
    assert changed and changed <= allowed


def test_parts_make_little_difference(plain, refined, float_model, batches,
                                      tmp_path, monkeypatch):
    import shutil
    directory = str(tmp_path / 'parts')
    shutil.copytree(plain, directory)
    model = Model.load(ModelFiles(float_model))
    total = 4 * samples.ROWS * sum(
        np.prod(model.parameter(op.input('Filter')[0]).shape[1:])
        for op in model.ops if op.type == 'conv2d')
    monkeypatch.setattr(refine, '_MEMORY', int(total * 0.6))
    passes = []

    def counted():
        passes.append(1)
        return batches[0]()

    refine.refine(ModelFiles(float_model), ModelFiles(directory), counted, 6)
    assert len(passes) == 2
    a, b = (Model.load(ModelFiles(d)) for d in (refined, directory))
    weights = [w.input('X')[0] for _, w, _ in dequantized(_stripped(a))]
    differing = [np.mean(a.parameter(n) != b.parameter(n)) for n in weights]
    assert np.mean(differing) < 0.5  # other rows are drawn


def _stripped(model):
    strip_observers(model)
    return model


def test_training_starts_where_calibration_ended(refined, float_model, settings,
                                                 batches):
    session = qat.build(ModelFiles(float_model), settings.QuantAware,
                        settings.Distillation, settings.TrainConfig)
    assert session.start_from(ModelFiles(refined)) == 65
    feed = next(batches[1]())
    before = session.state()
    session.step(feed)
    after = session.state()
    model = _stripped(Model.load(ModelFiles(refined)))
    found = 0
    for _, _, quantize in dequantized(model):
        value = model.parameter(quantize.input('Scale')[0]).reshape(-1)
        same = [
            n for n in after if after[n].size == 1
            and np.array_equal(after[n].reshape(-1), value)
        ]
        found += bool(same)
    assert found == 65
    moved = [n for n in before if not np.array_equal(before[n], after[n])]
    assert len(moved) > 65


def test_compress_rounds_by_default(settings, small_detector, tmp_path):
    from act import config
    from act.compress import job
    assert config.QuantizationSection().weight_rounding == 'gptq'
    found = {}
    for rounding_of in ('gptq', 'nearest'):
        made = settings.model_copy(deep=True)
        made.Global.model_dir = small_detector
        made.Quantization.weight_rounding = rounding_of
        directory = str(tmp_path / rounding_of)
        record = job.compress(made, directory, ['test'])
        assert record['weight_rounding'] == rounding_of
        found[rounding_of] = _stripped(Model.load(ModelFiles(directory)))
    rounded, nearest = found.values()
    moved = [
        np.abs(
            nearest.parameter(w.input('X')[0]).astype(int) -
            rounded.parameter(w.input('X')[0])).mean()
        for _, w, _ in dequantized(nearest)
    ]
    assert len(moved) == 8 and 0 < np.mean(moved) < 3
