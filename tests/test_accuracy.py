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
"""act.accuracy against pycocotools, against hand-computed values, and against
a brute-force bootstrap."""

import contextlib
import dataclasses
import io
import json
import sys

import numpy as np
import pytest
from act import accuracy
from act.accuracy import (
    CocoEvaluator,
    Detections,
    agreement_ap,
    from_model_output,
    most_changed,
    paired_difference,
)
from act.errors import CheckFailed, UserError
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BACKENDS = ('faster_coco_eval', 'pycocotools')
FIELDS = [
    f.name for f in dataclasses.fields(accuracy.Accuracy)
    if f.name not in ('images', 'boxes', 'per_class')
]


def made_set(seed=0, images=12, classes=4, noise=0.1, extra=3):
    """Annotations with unsorted, sparse category ids, crowds, an image without
    objects and a class without objects; and detections around the objects."""
    rng = np.random.default_rng(seed)
    category_ids = [17, 3, 90, 8][:classes]
    content = {
        'images': [{
            'id': 100 + 7 * i
        } for i in range(images)],
        'annotations': [],
        'categories': [{
            'id': c,
            'name': 'class %d' % c
        } for c in category_ids],
    }
    found = []
    for i, image in enumerate(content['images']):
        rows = []
        for _ in range(0 if i == 2 else rng.integers(2, 9)):
            index = rng.integers(0, classes - 1)  # the last has no objects
            w, h = rng.choice([20, 60, 200], 2) * rng.uniform(0.8, 1.2, 2)
            x, y = rng.uniform(0, 300, 2)
            content['annotations'].append({
                'id': len(content['annotations']) + 1,
                'image_id': image['id'],
                'category_id': category_ids[index],
                'bbox': [x, y, w, h],
                'area': w * h * 0.7,
                'iscrowd': int(rng.random() < 0.15),
            })
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = rng.normal(0, noise, 4) * (w, h, w, h)
                rows.append([
                    index,
                    rng.random(), x + dx, y + dy, x + w + dw, y + h + dh
                ])
        for _ in range(extra):
            x, y = rng.uniform(0, 300, 2)
            rows.append([
                rng.integers(0, classes),
                rng.random() * 0.7, x, y, x + 50, y + 30
            ])
        found.append(Detections(image['id'], rows))
    return content, found


def by_pycocotools(content, found, image_ids=None):
    """The twelve figures and per-class AP, by the calls that ppdet makes."""
    category_ids = [c['id'] for c in content['categories']]
    results = [{
        'image_id': d.image_id,
        'category_id': category_ids[int(row[0])],
        'bbox': [row[2], row[3], row[4] - row[2], row[5] - row[3]],
        'score': row[1],
    } for d in found for row in d.boxes.tolist()]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(content))
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), 'bbox')
        if image_ids is not None:
            run.params.imgIds = list(image_ids)
        run.evaluate()
        run.accumulate()
        run.summarize()
    per_class = {}
    for k, category in enumerate(run.params.catIds):
        p = run.eval['precision'][:, :, k, 0, -1]
        p = p[p > -1]
        per_class['class %d' % category] = p.mean() if p.size else None
    return [None if s == -1 else s for s in run.stats], per_class


def figures(result):
    return [getattr(result, name) for name in FIELDS]


def close(values):
    """The backends sum in another order: the last bit may differ."""
    if isinstance(values, dict):
        return {name: close([value])[0] for name, value in values.items()}
    return [
        v if v is None else pytest.approx(v, abs=1e-14, rel=0) for v in values
    ]


def evaluate(content, found, **options):
    evaluator = CocoEvaluator(content, **options)
    evaluator.process(found)
    return evaluator.evaluate()


def drop_crowds(content):
    return dict(
        content,
        annotations=[a for a in content['annotations'] if not a['iscrowd']])


# Each case changes what made_set gives.
def plain(content, found):
    return content, found


def no_crowd(content, found):
    return drop_crowds(content), found


def missing_image(content, found):
    return content, found[:4] + found[6:]


def ties(content, found):
    rounded = [d.boxes.copy() for d in found]
    for boxes in rounded:
        boxes[:, 1] = np.round(boxes[:, 1] * 3) / 3
    return content, [Detections(d.image_id, b) for d, b in zip(found, rounded)]


def many_boxes(content, found):
    # 150 wrong boxes of one class in an image outbid its right ones.
    wrong = np.tile([0, 0.95, 900, 900, 910, 910], (150, 1))
    boxes = np.concatenate([found[0].boxes, wrong])
    return content, [Detections(found[0].image_id, boxes)] + found[1:]


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('case',
                         [plain, no_crowd, missing_image, ties, many_boxes])
def test_same_figures_as_pycocotools(case, backend):
    content, found = case(*made_set())
    expected, per_class = by_pycocotools(content, found)
    result = evaluate(content, found, backend=backend)
    assert figures(result) == close(expected)
    assert result.per_class == close(per_class)
    assert result.per_class['class 8'] is None  # has no objects
    assert 0.05 < result.map < 0.95
    assert result.images == 12
    assert result.boxes == sum(not a['iscrowd'] for a in content['annotations'])


def test_cases_differ():
    """The cases above would prove nothing if they did not change figures."""
    values = {
        case.__name__: evaluate(*case(*made_set())).map
        for case in (plain, no_crowd, missing_image, ties, many_boxes)
    }
    assert len(set(values.values())) == len(values), values


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_detections(backend):
    content, found = made_set()
    empty = [Detections(d.image_id, []) for d in found]
    for given in (empty, []):
        result = evaluate(content, given, backend=backend)
        assert result.map == 0 and result.ar_100 == 0
        assert result.per_class['class 17'] == 0


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_ground_truth(backend):
    content, found = made_set()
    result = evaluate(dict(content, annotations=[]), found, backend=backend)
    assert set(figures(result)) == {None}
    assert set(result.per_class.values()) == {None}
    assert result.boxes == 0


@pytest.mark.parametrize('backend', BACKENDS)
def test_hand_computed_iou(backend):
    """IoU 0.82 counts at 0.50 to 0.80: 7 of 10 thresholds."""
    content = {
        'images': [{
            'id': 1
        }],
        'categories': [{
            'id': 5,
            'name': 'cat'
        }],
        'annotations': [{
            'id': 1,
            'image_id': 1,
            'category_id': 5,
            'bbox': [0, 0, 100, 100]
        }],
    }
    found = [Detections(1, [[0, 0.5, 0, 0, 100, 82]])]
    result = evaluate(content, found, backend=backend)
    assert result.map == pytest.approx(0.7, abs=1e-9)
    assert result.ap50 == pytest.approx(1, abs=1e-9)
    assert result.ap75 == pytest.approx(1, abs=1e-9)
    assert result.ar_1 == pytest.approx(0.7, abs=1e-9)
    assert result.ap_large == result.map
    assert result.ap_small is None and result.ap_medium is None


@pytest.mark.parametrize('backend', BACKENDS)
def test_hand_computed_interpolation(backend):
    """Right, wrong, right: precision 1 at the 51 recalls up to 0.5, then 2/3
    at 50. Annotation id 0 counts as any other."""
    content = {
        'images': [{
            'id': 1
        }],
        'categories': [{
            'id': 1,
            'name': 'cat'
        }],
        'annotations': [{
            'id': i,
            'image_id': 1,
            'category_id': 1,
            'bbox': [200 * i, 0, 50, 50]
        } for i in range(2)],
    }
    found = [
        Detections(1, [[0, 0.9, 0, 0, 50, 50], [0, 0.8, 500, 0, 550, 50],
                       [0, 0.7, 200, 0, 250, 50]])
    ]
    result = evaluate(content, found, backend=backend)
    assert result.map == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-9)
    assert result.ar_1 == pytest.approx(0.5)
    assert result.ar_10 == pytest.approx(1)


@pytest.mark.parametrize('backend', BACKENDS)
def test_image_subset(backend):
    content, found = made_set()
    ids = [d.image_id for d in found[:5]]
    expected, _ = by_pycocotools(content, found, ids)
    result = evaluate(content, found[:5], image_ids=ids, backend=backend)
    assert figures(result) == close(expected)
    assert result.images == 5
    assert result.map != evaluate(content, found, backend=backend).map


def test_process_in_parts_reset_and_file(tmp_path):
    content, found = made_set()
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))
    evaluator = CocoEvaluator(str(path))
    evaluator.process(found[:5])
    part = evaluator.evaluate()
    evaluator.process(found[5:])
    assert evaluator.evaluate() == evaluate(content, found)
    evaluator.reset()
    evaluator.process(found[:5])
    assert evaluator.evaluate() == part


def test_category_ids():
    content, found = made_set()
    expected = evaluate(content, found)
    turned = [d.boxes.copy() for d in found]
    for boxes in turned:
        boxes[:, 0] = 3 - boxes[:, 0]
    turned = [Detections(d.image_id, b) for d, b in zip(found, turned)]
    assert evaluate(content, turned, category_ids=[8, 90, 3,
                                                   17]).map == expected.map
    mapping = {0: 8, 1: 90, 2: 3, 3: 17}
    assert evaluate(content, turned, category_ids=mapping).map == expected.map
    assert evaluate(content, turned).map != expected.map


def test_same_names_stay_apart():
    content, found = made_set()
    for category in content['categories']:
        category['name'] = 'thing'
    result = evaluate(content, found)
    assert sorted(result.per_class) == [
        'thing (17)', 'thing (3)', 'thing (8)', 'thing (90)'
    ]


def test_prints_nothing(capsys):
    content, found = made_set()
    for backend in BACKENDS:
        evaluate(content, found, backend=backend)
    paired_difference(found, found, content, resamples=2)
    assert capsys.readouterr() == ('', '')


def test_auto_falls_back(monkeypatch):
    content, found = made_set()
    expected = evaluate(content, found)
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    assert evaluate(content, found) == expected
    with pytest.raises(UserError, match='pip install'):
        CocoEvaluator(content, backend='faster_coco_eval')


@pytest.mark.parametrize('loaded', [False, True])
def test_zlib_is_bound_before_paddle_only(monkeypatch, loaded):
    """The first call into zlib after `import paddle` is a segmentation fault,
    that of the evaluator too."""
    calls = []
    compress = accuracy.zlib.compress
    monkeypatch.setattr(accuracy.zlib, 'compress',
                        lambda data: calls.append(data) or compress(data))
    monkeypatch.delitem(sys.modules, 'paddle', raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, 'paddle', None)
    CocoEvaluator(made_set()[0])
    assert bool(calls) != loaded


def without(key):
    content, _ = made_set()
    del content[key]
    return content


def bad_box():
    content, _ = made_set()
    content['annotations'][3]['bbox'] = [1, 2, float('nan'), 4]
    return content


@pytest.mark.parametrize('call, words', [
    (lambda: CocoEvaluator('/no/such.json'), '/no/such.json'),
    (lambda: CocoEvaluator(without('annotations')), 'no annotations'),
    (lambda: CocoEvaluator(without('images')), 'no images'),
    (lambda: CocoEvaluator(bad_box()), 'annotation 4'),
    (lambda: CocoEvaluator(made_set()[0], backend='pycoco'),
     "did you mean 'pycocotools'"),
    (lambda: CocoEvaluator(made_set()[0], category_ids=[3, 4]),
     'no category 4'),
    (lambda: CocoEvaluator(made_set()[0], image_ids=[1]), 'no image of id 1'),
    (lambda: CocoEvaluator(made_set()[0], image_ids=[]), 'no images'),
    (lambda: evaluate(made_set()[0], [Detections(5, [])]), 'image 5'),
    (lambda: evaluate(made_set()[0], [Detections(100, [])] * 2),
     'evaluated before'),
    (lambda: evaluate(made_set()[0], [Detections(100, [[4, .5, 0, 0, 9, 9]])]),
     'class 4'),
    (lambda: Detections(1, [[1, 2, 3]]), 'must be'),
    (lambda: paired_difference(made_set()[1],
                               made_set()[1][1:],
                               made_set()[0]), 'image 100'),
    (lambda: paired_difference([], [],
                               made_set()[0]), 'no images'),
    (lambda: paired_difference(
        made_set()[1],
        made_set()[1], dict(made_set()[0], annotations=[])), 'no ground truth'),
    (lambda: paired_difference(
        made_set()[1], made_set()[1], made_set()[0], confidence=95),
     'between 0 and 1'),
    (lambda: agreement_ap(made_set()[1], made_set()[1], score_threshold=1.1),
     'no box of score >= 1.1'),
    (lambda: agreement_ap(made_set()[1], made_set()[1], class_names=['a']),
     'class 3 has no name'),
    (lambda: most_changed(made_set()[1], made_set()[1], count=0), 'count'),
    (lambda: most_changed(made_set()[1], made_set()[1] * 2, count=1), 'twice'),
])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert words in message and '\n' not in message


BATCH = np.array([
    [0, 0.9, 1, 2, 3, 4],
    [-1, -1, 0, 0, 0, 0],
    [1, 0.8, 5, 6, 7, 8],
    [2, 0.7, 9, 10, 11, 12],
    [2, -1, 9, 10, 11, 12],
], np.float32)


def test_model_output_is_split_and_cleaned():
    found = from_model_output(np.array([[7], [8], [9], [10]]), BATCH,
                              np.array([2, 0, 1, 2]))
    assert [d.image_id for d in found] == [7, 8, 9, 10]
    assert [d.boxes[:, 0].tolist() for d in found] == [[0], [], [1], [2]]
    assert found[2].boxes.tolist() == [BATCH[2].tolist()]
    assert all(d.boxes.dtype == np.float32 for d in found)
    assert found[1].boxes.shape == (0, 6)


@pytest.mark.parametrize('shape', [(8, 6), (2, 4, 6)])
def test_model_output_padded_by_tensorrt(shape):
    rows = np.zeros((8, 6), np.float32)
    rows[[0, 4, 5]] = BATCH[[0, 2, 3]]
    found = from_model_output([7, 8], rows.reshape(shape), np.array([1, 2]))
    assert [d.boxes[:, 0].tolist() for d in found] == [[0], [1, 2]]


@pytest.mark.parametrize('bbox', [
    np.zeros((0, 6)),
    np.full((1, 1), -1.0),
    np.full((3, 6), -1.0),
])
def test_model_output_with_nothing_found(bbox):
    found = from_model_output([7, 8], bbox, np.array([0, 0]))
    assert [d.image_id for d in found] == [7, 8]
    assert all(len(d.boxes) == 0 for d in found)


@pytest.mark.parametrize('ids, bbox, counts, words', [
    ([7], BATCH, [2, 3], '2 images'),
    ([7, 8], BATCH, [2, 2], 'bbox_num says 4'),
    ([7, 8], BATCH, [3, 3], 'bbox_num says 6'),
    ([7, 8], np.zeros((5, 10)), [2, 3], 'rotated'),
])
def test_model_output_that_does_not_fit(ids, bbox, counts, words):
    with pytest.raises(UserError, match=words):
        from_model_output(ids, bbox, np.array(counts))


def test_model_output_with_nan():
    broken = BATCH.copy()
    broken[3, 4] = np.nan
    with pytest.raises(CheckFailed, match='image 8'):
        from_model_output([7, 8], broken, np.array([3, 2]))
    dropped = BATCH.copy()
    dropped[1, 2:] = np.nan  # of a row that means nothing
    assert len(from_model_output([7], dropped, np.array([5]))[0].boxes) == 3


def shifted(found, pixels):
    result = []
    for d in found:
        boxes = d.boxes.copy()
        boxes[:, 2:] += pixels
        result.append(Detections(d.image_id, boxes))
    return result


@pytest.mark.parametrize('backend', BACKENDS)
def test_agreement(backend):
    _, found = made_set(extra=0)
    values = [
        agreement_ap(found, shifted(found, p), backend=backend)
        for p in (0, 2, 5, 20)
    ]
    assert values[0].map == pytest.approx(1, abs=1e-9)
    falling = [v.map for v in values]
    assert all(b < a - 0.02 for a, b in zip(falling, falling[1:])), falling
    boxes = sum((d.boxes[:, 1] >= 0.3).sum() for d in found)
    assert {v.boxes for v in values} == {boxes}
    assert values[0].images == len(found)


def test_agreement_of_the_reference_only_above_the_threshold():
    box, weak = [0, 0.6, 0, 0, 50, 50], [0, 0.2, 100, 0, 150, 50]
    reference = [Detections(1, [box, weak])]
    # Not to find the weak box costs nothing, to miss the strong one does.
    assert agreement_ap(reference,
                        [Detections(1, [box])]).map == pytest.approx(1)
    assert agreement_ap(reference, [Detections(1, [weak])]).map == 0
    assert agreement_ap(reference, [Detections(1, [box])],
                        score_threshold=0.1).map == pytest.approx(51 / 101)
    result = agreement_ap(reference, [Detections(1, [box])],
                          class_names=['cat'])
    assert list(result.per_class) == ['cat']


def test_agreement_of_classes_that_are_not_whole():
    """As of a detector whose last layers run in int8 by mistake."""
    reference = [Detections(1, [[3, 0.6, 0, 0, 50, 50]])]
    wrong = [[3.25, 0.9, 0, 0, 9, 9], [3, 0.5, 80, 0, 99, 9]]
    assert agreement_ap(reference, [Detections(1, wrong)]).map == 0


def ground(content, found):
    return accuracy._ground_truth(content, None, [d.image_id for d in found])


@pytest.mark.parametrize('case', [plain, no_crowd, ties, many_boxes])
def test_bootstrap_identity_is_the_evaluator(case):
    content, found = case(*made_set(seed=3, images=30))
    matches = accuracy._match(ground(content, found), found)
    value = accuracy._resampled_map(matches, np.ones((1, len(found))))
    assert value == pytest.approx(evaluate(content, found).map, abs=1e-12)


def test_bootstrap_weights_are_copies_of_images(monkeypatch):
    """An image of weight m against m copies of it in the annotations; also in
    many small chunks."""
    content, found = made_set(seed=4, images=15)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(15, np.full(15, 1 / 15), size=6)
    draws[0] = np.eye(15)[3] * 15  # an image that lacks classes
    assert len({
        a['category_id']
        for a in content['annotations']
        if a['image_id'] == content['images'][3]['id'] and not a['iscrowd']
    }) == 1
    expected = []
    for draw in draws:
        new, boxes = {'images': [], 'annotations': []}, []
        for image, one, times in zip(content['images'], found, draw):
            for _ in range(times):
                new_id = len(new['images']) + 1
                new['images'].append({'id': new_id})
                new['annotations'] += [
                    dict(a, image_id=new_id) for a in content['annotations']
                    if a['image_id'] == image['id']
                ]
                boxes.append(Detections(new_id, one.boxes))
        new['categories'] = content['categories']
        expected.append(evaluate(new, boxes).map)
    assert len(set(expected)) == len(expected)
    matches = accuracy._match(ground(content, found), found)
    for chunk in (accuracy._CHUNK, 50):
        monkeypatch.setattr(accuracy, '_CHUNK', chunk)
        got = accuracy._resampled_map(matches, draws.astype(float))
        assert got == pytest.approx(expected, abs=1e-12)


def test_paired_difference_of_a_model_with_itself():
    content, found = made_set()
    result = paired_difference(found,
                               list(reversed(found)),
                               content,
                               resamples=50)
    assert (result.difference, result.low, result.high) == (0, 0, 0)
    assert result.images == len(found)


def test_paired_difference():
    content, good = made_set(seed=1, images=40)
    bad = shifted(good, 8)
    result = paired_difference(good, bad, content, resamples=300)
    assert result.difference == pytest.approx(evaluate(content, bad).map -
                                              evaluate(content, good).map,
                                              abs=1e-12)
    assert result.low < result.difference < result.high < 0
    assert result == paired_difference(good, bad, content, resamples=300)
    assert result != paired_difference(good,
                                       bad,
                                       content,
                                       resamples=300,
                                       seed=1)
    narrow = paired_difference(good,
                               bad,
                               content,
                               resamples=300,
                               confidence=0.5)
    assert result.low < narrow.low < narrow.high < result.high
    back = paired_difference(bad, good, content, resamples=300)
    assert back.difference == -result.difference
    assert (back.low, back.high) == pytest.approx((-result.high, -result.low))


def test_paired_difference_counts_only_the_images_given():
    content, found = made_set()
    part, moved = found[:6], shifted(found[:6], 8)
    ids = [d.image_id for d in part]
    result = paired_difference(part, moved, content, resamples=5)
    assert result.images == 6
    assert result.difference == pytest.approx(
        evaluate(content, moved, image_ids=ids).map -
        evaluate(content, part, image_ids=ids).map,
        abs=1e-12)


def test_most_changed_finds_the_images():
    _, found = made_set()
    changed = list(found)
    changed[7] = Detections(found[7].image_id, [])
    changed[4] = shifted(found[4:5], 3)[0]
    ids = [found[7].image_id, found[4].image_id]
    assert most_changed(found, changed, count=2) == ids
    assert most_changed(changed, found, count=1) == ids[:1]
    assert len(most_changed(found, changed, count=100)) == len(found)


def test_change_of_an_image():

    def change(ours, theirs):
        return accuracy._change(
            np.array(ours, np.float32).reshape(-1, 6),
            np.array(theirs, np.float32).reshape(-1, 6), 0.3)

    box = [0, 0.8, 0, 0, 100, 100]
    assert change([box], [box]) == pytest.approx(0)
    assert change([], []) == 0
    assert change([box], []) == 1
    assert change([box], [[1] + box[1:]]) == 1  # another class
    assert change([box], [[0, 0.8, 60, 0, 160, 100]]) == 1  # IoU below 0.5
    # IoU 0.9 and score 0.6: 1 - 0.9 * 0.6 / 0.8
    assert change([box], [[0, 0.6, 0, 0, 100, 90]]) == pytest.approx(0.325)
    # Around the threshold, and below it in both.
    assert change([[0, 0.32] + box[2:]],
                  [[0, 0.28] + box[2:]]) == pytest.approx(0.125)
    assert change([[0, 0.29] + box[2:]], []) == 0
    # A box found twice: the second has no partner.
    assert change([box], [box, box]) == pytest.approx(0.5)
