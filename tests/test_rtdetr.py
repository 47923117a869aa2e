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
"""RT-DETR for the paddledet wheel. PaddleDetection's own figures are compared
by benchmarks/rtdetr_reference.py; here, what was committed of that run."""

import copy
import json
import os
import sys

import numpy as np
import pytest
import yaml
from act import config, data, runtime, weights
from conftest import PROJECT, ROOT, run_script

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))

import rtdetr_reference as reference  # noqa: E402

runtime.import_ppdet()

import backport  # noqa: E402
import paddle  # noqa: E402
from backport import rtdetr_transformer as transformer  # noqa: E402
from backport.hgnet_v2 import PPHGNetV2  # noqa: E402
from backport.hybrid_encoder import position_embedding  # noqa: E402
from backport.losses import DINOLoss  # noqa: E402
from ppdet.core import workspace  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = os.path.join(HERE, 'data', 'rtdetr_small.yml')
LOSSES = {
    name + aux + noised
    for name in ('loss_class', 'loss_bbox', 'loss_giou')
    for aux in ('', '_aux')
    for noised in ('', '_dn')
} | {'loss'}


def parameters(layer):
    """(name, parameter), without batch norm's statistics."""
    return [(n, p) for n, p in layer.named_parameters()
            if not n.endswith(('_mean', '_variance'))]


@pytest.fixture
def fresh_workspace():
    """ppdet merges each configuration into one global state: put it back."""
    before = {
        k: v.copy() if isinstance(v, dict) else copy.copy(v)
        for k, v in workspace.global_config.items()
    }
    yield
    workspace.global_config.clear()
    workspace.global_config.update(before)


@pytest.fixture
def small(fresh_workspace):
    """The small model, in evaluation."""
    return reference.build(0, SMALL)


def objects(*counts):
    """Ground truth of a batch: so many objects an image."""
    r = np.random.RandomState(1)
    boxes = [
        np.concatenate(
            [r.uniform(0.3, 0.7, (n, 2)),
             r.uniform(0.1, 0.3, (n, 2))], 1) for n in counts
    ]
    return {
        'gt_bbox': [paddle.to_tensor(b.astype('float32')) for b in boxes],
        'gt_class': [
            paddle.to_tensor(r.randint(0, 6, (n, 1)).astype('int32'))
            for n in counts
        ],
    }


def inputs(size, batch, **others):
    image = np.random.RandomState(0).rand(batch, 3, size, size)
    return dict(image=paddle.to_tensor(image.astype('float32')),
                im_shape=paddle.to_tensor([[float(size)] * 2] * batch),
                scale_factor=paddle.to_tensor([[1.0, 1.0]] * batch),
                **others)


def test_published_model(fresh_workspace):
    """The published weights fit, and the network is the one compared."""
    with open(os.path.join(HERE, 'data', 'rtdetr_hgnetv2_l.json')) as f:
        wanted = json.load(f)
    model = reference.build(wanted['seed'])
    assert len(model.state_dict()) == wanted['entries'] == 819
    assert reference.digest(model) == wanted['sha256']
    found = reference.outputs(model, wanted['seed'], wanted['size'])
    for name, means in wanted['means'].items():
        np.testing.assert_allclose(found[name][0, :4],
                                   means,
                                   atol=reference.MEAN)
    boxes = reference.difference(found['bbox'], np.array(wanted['bbox']))
    assert boxes['class'] == 0
    assert boxes['score'] <= reference.SCORE
    assert boxes['pixel'] <= reference.PIXEL


def test_frozen_parts():
    """Stem and batch norm of the published training."""
    model = PPHGNetV2(stem_channels=(4, 8),
                      stages=[
                          dict(mid_channels=4,
                               out_channels=8,
                               blocks=1,
                               downsample=i > 0,
                               light=i > 1,
                               kernel_size=3,
                               layers=1) for i in range(4)
                      ])
    trained = {n for n, p in parameters(model) if not p.stop_gradient}
    assert trained == {
        n
        for n, _ in parameters(model)
        if n.endswith('conv.weight') and not n.startswith('stem.')
    }
    assert [s.stride for s in model.out_shape] == [8, 16, 32]
    model.train()
    before = model.stem.stem1.bn._mean.numpy()
    model({'image': paddle.ones([1, 3, 64, 64])})
    np.testing.assert_array_equal(model.stem.stem1.bn._mean.numpy(), before)


def test_learning_rates():
    """lr_mult_list reaches each part."""
    rates = [0.0, 0.1, 0.2, 0.3, 0.4]
    model = PPHGNetV2('L', rates, freeze_norm=False, freeze_at=-1)
    for part, rate in zip([model.stem, *model.stages], rates):
        assert {p.optimize_attr['learning_rate']
                for _, p in parameters(part)} == {rate}


@pytest.mark.parametrize('size', [256, 192])
def test_boxes(small, size):
    """At the size of evaluation, whose anchors are constants, and another."""
    with paddle.no_grad():
        made = small(inputs(size, batch=2))
    assert made['bbox'].shape == [100, 6]
    assert made['bbox_num'].tolist() == [50, 50]
    scores = made['bbox'].numpy()[:50, 1]
    assert (np.diff(scores) <= 0).all() and 0 < scores[-1] < scores[0] < 1


def test_constants(small):
    """Anchors made for the evaluation's size are those made on the way."""
    wanted = small(inputs(256, batch=1))['bbox'].numpy()
    small.neck._eval_sizes.clear()
    small.transformer._eval_shapes.clear()
    found = small(inputs(256, batch=1))['bbox'].numpy()
    np.testing.assert_array_equal(found, wanted)
    assert not [n for n in small.state_dict() if 'anchor' in n or 'pos_e' in n]


@pytest.mark.parametrize('counts', [(3, 1), (2, 0)])
def test_training(small, counts):
    """Losses are finite, and all parameters learn; those for denoising too."""
    small.train()
    losses = small(inputs(128, batch=2, **objects(*counts)))
    assert set(losses) == LOSSES
    assert all(np.isfinite(float(v)) and float(v) > 0 for v in losses.values())
    parts = sum(float(v) for k, v in losses.items() if k != 'loss')
    assert float(losses['loss']) == pytest.approx(parts, rel=1e-5)
    losses['loss'].backward()
    for name, parameter in parameters(small):
        assert not parameter.stop_gradient, name
        gradient = parameter.grad.numpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, name


def test_training_without_objects(small):
    small.train()
    losses = small(inputs(128, batch=2, **objects(0, 0)))
    assert set(losses) == LOSSES
    assert {k
            for k, v in losses.items()
            if float(v) > 0} == {'loss_class', 'loss_class_aux', 'loss'}


def test_training_reduces_the_loss(small):
    paddle.seed(0)
    small.train()
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=small.parameters())
    batch = inputs(128, batch=2, **objects(3, 1))
    made = []
    for _ in range(8):
        loss = small(batch)['loss']
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        made.append(float(loss))
    assert made[-1] < 0.8 * made[0]


def test_varifocal_loss():
    """Against the formula, query by query."""
    r = np.random.RandomState(0)
    logits = r.randn(2, 5, 6).astype('float32')
    truth = objects(2, 1)
    matches = [(np.array([3, 1]), np.array([0, 1])),
               (np.array([4]), np.array([0]))]
    boxes = r.uniform(0.2, 0.6, (2, 5, 4)).astype('float32')

    def iou(a, b):
        low = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
        high = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
        both = np.prod(np.maximum(high - low, 0))
        return both / (np.prod(a[2:]) + np.prod(b[2:]) - both)

    score = 1 / (1 + np.exp(-logits.astype('float64')))
    each = -0.75 * score**2 * np.log(1 - score)
    for image, (queries, found) in enumerate(matches):
        for query, i in zip(queries, found):
            at = image, query, int(truth['gt_class'][image][i])
            q = iou(boxes[image, query], truth['gt_bbox'][image][i].numpy())
            each[at] = -q * (q * np.log(score[at]) +
                             (1 - q) * np.log(1 - score[at]))
    loss = DINOLoss(6, None, {'class': 2}, use_focal_loss=True, use_vfl=True)
    made = loss._varifocal_loss(
        paddle.to_tensor(boxes), paddle.to_tensor(logits), truth['gt_bbox'],
        truth['gt_class'], [tuple(map(paddle.to_tensor, m)) for m in matches],
        paddle.to_tensor([3.0]))
    assert made.shape == [1]
    assert float(made) == pytest.approx(2 * each.sum() / 3, rel=1e-5)


def test_varifocal_loss_needs_sigmoids():
    with pytest.raises(ValueError, match='use_focal_loss'):
        DINOLoss(use_vfl=True)


def test_deformable_sample():
    """Against bilinear interpolation, place by place."""
    r = np.random.RandomState(0)
    shapes, heads, channels = [[4, 6], [2, 3]], 2, 3
    value = r.rand(2, 30, heads, channels).astype('float32')
    # A few lie outside, where there are zeros.
    locations = r.uniform(-0.2, 1.2, (2, 5, heads, 2, 3, 2)).astype('float32')
    weights = r.rand(2, 5, heads, 2, 3).astype('float32')
    wanted = np.zeros((2, 5, heads, channels))
    for n, q, h, level, p in np.ndindex(*weights.shape):
        height, width = shapes[level]
        plane = value[n, :24] if level == 0 else value[n, 24:]
        plane = plane[:, h].reshape(height, width, channels)
        x, y = locations[n, q, h, level, p] * [width, height] - 0.5
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < height and 0 <= column < width:
                    near = (1 - abs(y - row)) * (1 - abs(x - column))
                    wanted[n, q, h] += weights[n, q, h, level, p] * near * \
                        plane[row, column]
    made = transformer.deformable_sample(paddle.to_tensor(value), shapes, None,
                                         paddle.to_tensor(locations),
                                         paddle.to_tensor(weights))
    np.testing.assert_allclose(made.numpy(),
                               wanted.reshape(2, 5, -1),
                               atol=1e-5)


def test_places_are_rows_then_columns(small):
    """Of maps that are not square, where exchanging the two would show."""
    logits, valid = small.transformer._anchors([[2, 3]])
    boxes = paddle.nn.functional.sigmoid(logits)[0].numpy()
    assert valid.numpy().all()
    np.testing.assert_allclose(boxes[:, :2], [[x / 6, y / 4] for y in (1, 3)
                                              for x in (1, 3, 5)],
                               rtol=1e-5)
    np.testing.assert_allclose(boxes[:, 2:], 0.05, rtol=1e-5)
    position = position_embedding(2, 3, 8).numpy()[0]
    rows, columns = position[:, :4], position[:, 4:]
    assert (rows[0] == rows[2]).all() and (rows[0] != rows[3]).any()
    assert (columns[0] == columns[3]).all() and (columns[0] != columns[1]).any()


def test_anchors_at_the_edge_are_left_out(small):
    logits, valid = small.transformer._anchors([[100, 100]])
    valid = valid.numpy().reshape(100, 100)
    assert not valid[0].any() and not valid[:, -1].any() and valid[1:-1,
                                                                   1:-1].all()
    assert np.isfinite(logits.numpy()).all()


def test_register_only_what_lacks(fresh_workspace):
    assert backport.register() == []
    ours = workspace.global_config['HybridEncoder']
    # ppdet 2.6.0's: without `use_vfl`, so that ours takes its place.
    del workspace.global_config['DINOLoss']
    workspace.register(DINOLoss.__mro__[1])
    del workspace.global_config['DETRPostProcess']
    assert backport.register() == ['DETRPostProcess', 'DINOLoss']
    assert workspace.global_config['HybridEncoder'] is ours
    assert workspace.global_config['DINOLoss'].pymodule.DINOLoss is DINOLoss


def test_bad_arguments():
    with pytest.raises(ValueError, match='num_levels'):
        transformer.RTDETRTransformer(num_levels=4)
    with pytest.raises(ValueError, match='lr_mult_list'):
        PPHGNetV2(lr_mult_list=[1.0])
    with pytest.raises(ValueError, match='multiple of 4'):
        position_embedding(2, 2, 6)


def test_export(small, tmp_path):
    """The exported model gives the boxes of the network, native and with
    oneDNN."""
    from act.predictor import Predictor, plan
    from act.program.model import ModelFiles
    weights, target = str(tmp_path / 'w.pdparams'), str(tmp_path / 'model')
    paddle.save(small.state_dict(), weights)
    done = run_script('export.py', '-c', SMALL, '-o', 'weights=' + weights,
                      '--save_dir', target)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(target, 'infer_cfg.yml')) as f:
        assert yaml.safe_load(f)['arch'] == 'DETR'
    feed = inputs(256, batch=2)
    with paddle.no_grad():
        wanted = small(dict(feed))['bbox'].numpy()
    feed = {k: v.numpy() for k, v in feed.items()}
    for mkldnn in (False, True):
        predictor = Predictor(
            plan(ModelFiles(target),
                 config.CpuSection(),
                 precision='fp32',
                 mkldnn=mkldnn,
                 threads=1))
        assert set(predictor.inputs) == {'image', 'im_shape', 'scale_factor'}
        boxes, counts = predictor.run(feed)
        assert counts.tolist() == [50, 50]
        for image in (slice(50), slice(50, 100)):
            error = reference.difference(boxes[image], wanted[image])
            assert error['class'] == 0
            assert error['score'] <= reference.SCORE
            assert error['pixel'] <= reference.PIXEL


@pytest.mark.parametrize(
    'path', ['configs/rtdetr_l_qat.yml', 'demo/rtdetr_tiny_qat.yml'])
def test_compression_configuration(shapes, path):
    settings = config.load(os.path.join(PROJECT, path),
                           {'Reader': {
                               'dataset_dir': shapes
                           }})
    assert os.path.isfile(settings.Export.config)
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    assert batch['image'].shape[2:] == settings.Deploy.input_shape
    assert 0 <= batch['image'].min() < 0.5 < batch['image'].max() <= 1


def kinds(model):
    """What a network is made of: kinds of layer, and of convolution."""
    found = set()
    for layer in model.sublayers():
        found.add(type(layer).__name__)
        if isinstance(layer, paddle.nn.Conv2D):
            found.add(('grouped' if layer._groups > 1 else 'whole',
                       tuple(layer._kernel_size), tuple(layer._stride),
                       layer._padding_algorithm))
    return found


def test_demos_model(fresh_workspace):
    """It stands for RT-DETR-L, so it must have all that this is made of; and
    its weights are its own."""
    path = os.path.join(PROJECT, 'demo', 'weights', 'rtdetr_tiny.pdparams')
    assert os.path.getsize(path) < 4e6
    large = kinds(reference.build())
    model = reference.build(
        config=os.path.join(PROJECT, 'demo', 'rtdetr_tiny.yml'))
    assert kinds(model) == large
    assert weights.load(model, path) == len(model.state_dict())
