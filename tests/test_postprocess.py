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
"""NMS outside the model against Paddle's operator, and the forms of outputs."""

import numpy as np
import pytest
from act import accuracy, config, data, inference, postprocess, runtime
from act.config import NmsSection
from act.errors import CheckFailed, UserError
from act.predictor import Predictor, plan
from act.program.model import Model, ModelFiles
from conftest import run_script

runtime.import_ppdet()
PICODET = NmsSection(score_threshold=0.025,
                     nms_threshold=0.6,
                     nms_top_k=1000,
                     keep_top_k=100)


def by_paddle(boxes, scores, options):
    """Rows and counts of a batch, from the operator that models hold."""
    import paddle
    from ppdet.modeling.layers import MultiClassNMS
    rows, counts, _ = MultiClassNMS(**options.model_dump())(
        paddle.to_tensor(boxes), paddle.to_tensor(scores))
    return rows.numpy().reshape(-1, 6), counts.numpy()


def options(score=0.05, overlap=0.5, before=-1, after=-1):
    return NmsSection(score_threshold=score,
                      nms_threshold=overlap,
                      nms_top_k=before,
                      keep_top_k=after)


def scene(kind, seed, count=300, classes=5, images=2):
    """Boxes (N, M, 4) and scores (N, C, M) float32 that overlap much."""
    chance = np.random.RandomState(seed)
    corner = chance.rand(images, count, 2) * 100
    size = chance.rand(images, count, 2) * 40
    boxes = np.concatenate([corner, corner + size], -1).astype(np.float32)
    scores = (chance.rand(images, classes, count)**3).astype(np.float32)
    if kind == 'ties':  # equal scores, and boxes that stand there twice
        scores = np.round(scores, 1)
        boxes = np.round(boxes / 20) * 20
    elif kind == 'degenerate':  # points, lines, and corners that are swapped
        boxes[:, ::3, 2:] = boxes[:, ::3, :2]
        boxes[:, 1::6, 2] = boxes[:, 1::6, 0]
        boxes[:, 2::6] = boxes[:, 2::6, [2, 1, 0, 3]]
        boxes[:, 6::12] = boxes[:, :1]
    elif kind == 'rare':  # classes and images without any
        scores[:, 1::2] = 0
        scores[0] = 0
    return boxes, scores


@pytest.mark.parametrize('kind', ('plain', 'ties', 'degenerate', 'rare'))
@pytest.mark.parametrize('chosen', (
    options(),
    options(score=0.0, overlap=0.9, before=50),
    options(overlap=0.01, after=20),
    options(score=0.6, overlap=1.0, before=7, after=12),
    options(score=0.3, before=1, after=1),
    PICODET,
))
@pytest.mark.parametrize('seed', (0, 1))
def test_same_as_the_operator(kind, chosen, seed):
    boxes, scores = scene(kind, seed)
    wanted, counts = by_paddle(boxes, scores, chosen)
    found = [
        postprocess.multiclass_nms(b, s, chosen) for b, s in zip(boxes, scores)
    ]
    assert [len(f) for f in found] == counts.tolist()
    np.testing.assert_array_equal(np.concatenate(found), wanted)
    assert 0 < len(wanted) < scores.size


def test_more_boxes_than_a_block():
    boxes, scores = scene('plain', 5, count=3000, classes=2, images=1)
    chosen = options(score=0.01, overlap=0.3)
    wanted, _ = by_paddle(boxes, scores, chosen)
    assert len(wanted) > 3 * postprocess.BLOCK
    np.testing.assert_array_equal(
        postprocess.multiclass_nms(boxes[0], scores[0], chosen), wanted)


def test_nothing_found():
    boxes, scores = scene('plain', 0)
    rows, counts = postprocess.PostProcess(PICODET)([boxes, scores * 0], {})
    assert rows.shape == (0, 6) and counts.tolist() == [0, 0]
    assert not any(
        len(d.boxes) for d in accuracy.from_model_output([1, 2], rows, counts))


@pytest.mark.parametrize('shapes, form', (
    ([(-1, 6), (-1, )], postprocess.WITH_NMS),
    ([(-1, ), (-1, -1)], postprocess.WITH_NMS),
    ([(300, 6), (1, )], postprocess.WITH_NMS),
    ([(-1, 8400, 4), (-1, 80, 8400)], postprocess.APART),
    ([(-1, 80, 8400), (-1, 8400, 4)], postprocess.APART),
    ([(-1, -1, 4), (-1, 80, -1)], postprocess.APART),
    ([(-1, 4, 4), (-1, 4, 4)], postprocess.APART),
    ([(-1, 8400, 84)], postprocess.JOINED),
    ([(-1, 8400, 4)], None),
    ([(-1, 8400, 4), (-1, 80, 8401)], None),
    ([(-1, 8400, 4), (-1, 8400, 80)], None),
    ([(-1, 5), (-1, )], None),
    ([(-1, 6)], None),
    ([(-1, 8)], None),
    ([(1, 1600, 80)] * 4 + [(1, 1600, 32)] * 4, None),
))
def test_forms(shapes, form):
    assert postprocess.form_of(shapes) == form


def test_each_form_gives_the_same():
    boxes, scores = scene('plain', 3)
    scale = np.array([[0.5, 2.0], [1.5, 0.7]], np.float32)  # height, width
    batch = {'scale_factor': scale}
    wide = scale[:, None, [1, 0, 1, 0]]
    wanted = by_paddle(boxes, scores, PICODET)
    joined = np.concatenate([boxes * wide, scores.transpose(0, 2, 1)], -1)
    for outputs, rescale in (
        ([boxes, scores], False),
        ([scores, boxes], False),
        ([boxes * wide, scores], True),
        ([joined], True),
    ):
        rows, counts = postprocess.PostProcess(PICODET, rescale)(outputs, batch)
        assert rows.dtype == np.float32
        assert counts.tolist() == wanted[1].tolist()
        np.testing.assert_allclose(rows, wanted[0], rtol=1e-5, atol=1e-4)
    for broken in (np.nan, np.inf):
        scores[1, 2, 3] = broken
        with pytest.raises(CheckFailed, match='NaN or infinite'):
            postprocess.PostProcess(PICODET)([boxes, scores], batch)
    with pytest.raises(UserError, match='include_nms is False'):
        postprocess.PostProcess(PICODET)(wanted, batch)
    with pytest.raises(UserError, match=r'expected boxes \(n, 6\)'):
        postprocess.PostProcess()([boxes, scores], batch)
    assert postprocess.PostProcess()(wanted, batch)[0] is wanted[0]


@pytest.fixture(scope='module')
def without_nms(tmp_path_factory):
    """The demo's detector, exported without its NMS."""
    directory = str(tmp_path_factory.mktemp('models') / 'without_nms')
    done = run_script('export.py', '-c', 'demo/picodet_s_320_lcnet.yml',
                      '--save_dir', directory, '-o', 'export.nms=False')
    assert done.returncode == 0, done.stderr
    return directory


def test_picodet_with_and_without(settings, float_model, without_nms):
    """The trained detector on real input: the same detections."""
    reader = data.open_reader(settings.Reader)
    records = reader.val().records[:8]
    plans = [
        plan(ModelFiles(directory),
             config.CpuSection(),
             nms=nms,
             mkldnn=False,
             threads=1)
        for directory, nms in ((float_model, None), (without_nms, PICODET))
    ]
    assert not plans[0].postprocess.rescale and plans[1].postprocess.rescale
    inside, outside = inference.run([Predictor(p) for p in plans],
                                    reader.pipeline,
                                    records,
                                    batch_size=3)
    assert sum(len(d.boxes) for d in inside.detections) > 20
    for one, other in zip(inside.detections, outside.detections):
        assert one.image_id == other.image_id
        np.testing.assert_allclose(one.boxes, other.boxes, 1e-4, 1e-3)


def test_the_model_and_include_nms_must_fit(float_model, without_nms):
    model = Model.load(ModelFiles(float_model))
    assert postprocess.check_outputs(model, 'm').nms is None
    with pytest.raises(UserError) as error:
        postprocess.check_outputs(model, 'm', PICODET, config='c.yml')
    assert "c.yml: Global.include_nms is False, but 'm' holds" in str(
        error.value)
    model = Model.load(ModelFiles(without_nms))
    assert postprocess.check_outputs(model, 'm', PICODET).rescale
    with pytest.raises(UserError) as error:
        postprocess.check_outputs(model, 'm', config='c.yml')
    assert "c.yml: Global.include_nms is True, but 'm' was exported" in str(
        error.value)
