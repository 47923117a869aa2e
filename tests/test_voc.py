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
"""Pascal VOC data sets, against ppdet's own VOCDataSet and VOCMetric."""

import csv
import json
import os
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from act import accuracy, config, data, inference, results, runtime, voc
from act.config import ReaderSection
from act.errors import UserError
from conftest import PROJECT, YAML, call_script, run_script
from test_upstream_files import changed, written

READER = os.path.join(PROJECT, 'configs', 'readers', 'picodet_320.yml')
CLASSES = ['dog', 'cat', 'bird', 'cow']


def objects(rows):
    """Of (class, difficult, x1, y1, x2, y2)."""
    rows = np.array(rows, np.float64).reshape(-1, 6)
    return voc.Objects(rows[:, 2:].astype(np.float32), rows[:, 0].astype(int),
                       rows[:, 1].astype(bool))


def made_set(seed, images=15, ties=True, fractions=False):
    """Objects of classes of which the third is difficult throughout and the
    last is not there; detections around them, twice on some, with many of the
    same score; an image without objects and one without detections."""
    rng = np.random.default_rng(seed)
    annotated, found = {}, []
    for i in range(1, images + 1):
        rows, boxes = [], []
        for _ in range(0 if i == 3 else rng.integers(1, 7)):
            index = rng.integers(0, 3)
            x, y = rng.uniform(0, 250, 2)
            w, h = rng.uniform(10, 90, 2)
            row = [x, y, x + w, y + h]
            if not fractions:
                row = [float(int(v)) for v in row]
            rows.append([index, index == 2 or rng.random() < 0.3, *row])
            for _ in range(rng.integers(0, 4)):
                moved = np.array(row) + rng.normal(0, 0.1, 4) * [w, h, w, h]
                boxes.append([index, rng.random(), *moved])
        for _ in range(3):
            x, y = rng.uniform(0, 250, 2)
            boxes.append(
                [rng.integers(0, 4),
                 rng.random() * 0.8, x, y, x + 50, y + 40])
        boxes = np.array([] if i == 5 else boxes, np.float32).reshape(-1, 6)
        if ties:
            boxes[:, 1] = np.round(boxes[:, 1] * 8) / 8
        annotated[i] = objects(rows)
        found.append(accuracy.Detections(i, boxes))
    return annotated, found


def image_set(annotated, metric):
    return data.ImageSet(
        'list.txt',
        [data.ImageRecord(i, '%d.jpg' % i, 400, 400) for i in annotated],
        list(range(1, 5)), CLASSES, voc.Truth(metric, annotated, ()))


def by_ppdet(records, found, names, metric, folder):
    """mAP and AP by class of ppdet's VOCMetric, given what its VOCDataSet
    gives."""
    runtime.import_ppdet()
    from ppdet.metrics import VOCMetric
    path = os.path.join(str(folder), 'label_list.txt')
    with open(path, 'w') as f:
        f.write('\n'.join(names))
    measured = VOCMetric(path,
                         class_num=len(names),
                         map_type=metric.map_type,
                         overlap_thresh=metric.overlap_thresh)
    for record, one in zip(records, found):
        measured.update(
            {
                'gt_bbox': [record['gt_bbox']],
                'gt_class': [record['gt_class']],
                'difficult': [record['difficult']],
                'scale_factor': np.ones((1, 2), np.float32),
            }, {
                'bbox': one.boxes,
                'bbox_num': np.array([len(one.boxes)])
            })
    measured.accumulate()
    rows = measured.detection_map.class_score_poss
    seen = [
        k for k, count in enumerate(measured.detection_map.class_gt_counts)
        if count and rows[k]
    ]
    aps = [r['ap'] for r in measured.detection_map.eval_results]
    return measured.get_results()['bbox'][0], dict(
        zip([names[k] for k in seen], aps))


def as_records(annotated):
    return [{
        'gt_bbox': one.boxes,
        'gt_class': one.classes[:, None].astype(np.int32),
        'difficult': one.difficult[:, None].astype(np.int32)
    } for one in annotated.values()]


METRICS = [
    voc.Metric(),
    voc.Metric('integral'),
    voc.Metric('11point', 0.7),
    voc.Metric('integral', 0.75)
]


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('seed', range(4))
def test_figures_are_those_of_ppdet(metric, seed, tmp_path):
    annotated, found = made_set(seed, fractions=seed == 3)
    evaluator = accuracy.evaluator_on(image_set(annotated, metric))
    evaluator.process(reversed(found))  # their order does not matter
    result = evaluator.evaluate()
    wanted, by_class = by_ppdet(as_records(annotated), found, CLASSES, metric,
                                tmp_path)
    assert result.map == wanted and 0.05 < result.map < 1
    # bird: only difficult ones; cow: none.
    assert result.per_class == dict(by_class, bird=None, cow=None)
    assert len(by_class) == 2
    assert result.images == 15
    assert result.boxes == sum(
        np.count_nonzero(~o.difficult) for o in annotated.values())
    # COCO's figures are not VOC's.
    assert result.ap50 is None and result.ap_small is None
    evaluator.reset()
    evaluator.process([found[0]])  # nothing found in the others
    empty = [found[0]] + [accuracy.Detections(i, []) for i in range(2, 16)]
    assert evaluator.evaluate().map == by_ppdet(as_records(annotated), empty,
                                                CLASSES, metric, tmp_path)[0]


def test_the_metrics_differ():
    annotated, found = made_set(0)
    maps = set()
    for metric in METRICS:
        evaluator = accuracy.evaluator_on(image_set(annotated, metric))
        evaluator.process(found)
        maps.add(evaluator.evaluate().map)
    assert len(maps) == len(METRICS)


def test_a_class_that_is_not_found_counts(tmp_path):
    annotated = {
        1: objects([[1, 0, 10, 10, 50, 50]]),
        2: objects([[3, 0, 10, 10, 50, 50]])
    }
    evaluator = accuracy.evaluator_on(image_set(annotated, voc.Metric()))
    evaluator.process([accuracy.Detections(2, [[3, 0.9, 10, 10, 50, 50]])])
    result = evaluator.evaluate()
    assert result.map == 0.5
    assert result.per_class == dict(dog=None, cat=0., bird=None, cow=1.)
    evaluator.reset()
    evaluator.process([accuracy.Detections(2, [[4, 0.9, 10, 10, 50, 50]])])
    with pytest.raises(UserError, match='gives class 4, but 4 classes'):
        evaluator.evaluate()


@pytest.mark.parametrize('metric', METRICS[:2])
def test_the_interval_is_of_this_metric(metric, tmp_path):
    """Against ppdet's metric on each draw, an image taken as often as it was
    drawn."""
    annotated, found = made_set(1, ties=False)
    rng = np.random.default_rng(8)
    other = []
    for one in found:
        boxes = one.boxes[rng.random(len(one.boxes)) < 0.8]
        boxes = boxes + rng.normal(0, 4, boxes.shape) * [0, 0, 1, 1, 1, 1]
        other.append(accuracy.Detections(one.image_id, boxes))
    images = image_set(annotated, metric)
    result = accuracy.paired_difference_on(images,
                                           found,
                                           other,
                                           resamples=40,
                                           seed=3)
    records = as_records(annotated)

    def difference(counts):
        drawn = np.repeat(np.arange(15), counts)
        before, after = (by_ppdet([records[i]
                                   for i in drawn], [model[i] for i in drawn],
                                  CLASSES, metric, tmp_path)[0]
                         for model in (found, other))
        return after - before

    draws = np.random.default_rng(3).multinomial(15,
                                                 np.full(15, 1 / 15),
                                                 size=40)
    wanted = np.quantile([difference(d) for d in draws], [0.025, 0.975])
    assert result.difference == pytest.approx(difference(np.ones(15, int)),
                                              abs=1e-12)
    assert [result.low, result.high] == pytest.approx(wanted, abs=1e-12)
    assert result.low < result.difference < result.high
    same = accuracy.paired_difference_on(images, found, found, resamples=5)
    assert same.difference == same.low == same.high == 0
    nothing = {i: objects([]) for i in annotated}
    with pytest.raises(UserError, match='15 images have no ground truth'):
        accuracy.paired_difference_on(image_set(nothing, metric), found, other)


def write_xml(path, size, rows):
    """An annotation file of (name, difficult or None, x1, y1, x2, y2)."""
    root = ElementTree.Element('annotation')
    place = ElementTree.SubElement(root, 'size')
    for key, value in zip(('width', 'height', 'depth'), (*size, 3)):
        ElementTree.SubElement(place, key).text = str(value)
    for name, difficult, *box in rows:
        node = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(node, 'name').text = name
        if difficult is not None:
            ElementTree.SubElement(node, 'difficult').text = str(difficult)
        place = ElementTree.SubElement(node, 'bndbox')
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box):
            ElementTree.SubElement(place, key).text = str(value)
    ElementTree.ElementTree(root).write(path)


def reader_file(path, dataset_dir, metric='VOC', **more):
    """A reader file as PaddleDetection's users have them."""
    with open(READER, encoding='utf-8') as f:
        readers = f.read().split('EvalReader:')[1]
    sections = ''
    for name, images in (('TrainDataset', 'trainval.txt'), ('EvalDataset',
                                                            'test.txt')):
        section = dict(
            dataset_dir=str(dataset_dir),
            anno_path=images,
            label_list='label_list.txt',
            data_fields=['image', 'gt_bbox', 'gt_class', 'difficult'])
        section.update(more.get(name, {}))
        lines = yaml.safe_dump({k: v for k, v in section.items() if v != ''})
        sections += '%s:\n  !VOCDataSet\n' % name + ''.join(
            '    %s\n' % line for line in lines.splitlines())
    head = {k: v for k, v in more.items() if not k.endswith('Dataset')}
    path.write_text(
        'metric: %s\n%s%sEvalReader:%s' %
        (metric, yaml.safe_dump(head) if head else '', sections, readers))
    return str(path)


@pytest.fixture(scope='module')
def dataset(shapes, small_settings, tmp_path_factory):
    """The shapes data set in VOC's form. What is annotated in the validation
    images is what the small detector finds, each third difficult."""
    root = tmp_path_factory.mktemp('voc')
    (root / 'Annotations').mkdir()
    names = None
    for split, listed in (('train2017', 'trainval.txt'), ('val2017',
                                                          'test.txt')):
        os.symlink(os.path.join(shapes, split), str(root / split))
        path = os.path.join(shapes, 'annotations', 'instances_%s.json' % split)
        if split == 'val2017':
            path = small_settings[1].split('=')[1]
        with open(path, encoding='utf-8') as f:
            content = json.load(f)
        names = {c['id']: c['name'] for c in content['categories']}
        lines = []
        for image in content['images']:
            rows = []
            size = image['width'], image['height']
            for item in content['annotations']:
                x, y, w, h = item['bbox']
                if item['image_id'] == image['id'] and min(w, h) > 4 and \
                        x + 4 < size[0] and y + 4 < size[1]:
                    rows.append((names[item['category_id']],
                                 int(len(rows) % 3 == 2), x, y, x + w, y + h))
            name = os.path.splitext(image['file_name'])[0] + '.xml'
            write_xml(str(root / 'Annotations' / (split + name)), size, rows)
            lines.append('%s/%s Annotations/%s%s\n' %
                         (split, image['file_name'], split, name))
        (root / listed).write_text(''.join(lines))
    (root / 'label_list.txt').write_text('\n'.join(names.values()) + '\n')
    return root


@pytest.fixture
def detected(monkeypatch):
    """Detections of each model that a script runs in this process."""
    seen = []
    run = inference.run

    def kept(*args, **kwargs):
        passes = run(*args, **kwargs)
        seen.extend(one.detections for one in passes)
        return passes

    monkeypatch.setattr(inference, 'run', kept)
    return seen


def of_ppdet(dataset, anno_path='test.txt', **options):
    """Records of ppdet's VOCDataSet, and its class names."""
    runtime.import_ppdet()
    from ppdet.data.source.voc import VOCDataSet
    made = VOCDataSet(dataset_dir=str(dataset),
                      anno_path=anno_path,
                      label_list='label_list.txt',
                      data_fields=['image', 'gt_bbox', 'gt_class', 'difficult'],
                      **options)
    made.parse_dataset()
    return made.roidbs, list(made.cname2cid)


@pytest.mark.parametrize('options', [{}, {'allow_empty': True}])
def test_images_are_those_of_ppdet(dataset, tmp_path, options):
    path = reader_file(tmp_path / 'r.yml', dataset, EvalDataset=options)
    images = data.open_reader(ReaderSection(file=path)).val()
    records, names = of_ppdet(dataset, **options)
    assert [r.path for r in images.records] == [r['im_file'] for r in records]
    assert images.class_names == names
    assert images.category_ids == [1, 2, 3, 4, 5, 6]
    difficult = 0
    for ours, theirs in zip(images.records, records):
        assert (ours.width, ours.height) == (theirs['w'], theirs['h'])
        one = images.truth.objects[ours.id]
        np.testing.assert_array_equal(one.boxes, theirs['gt_bbox'])
        np.testing.assert_array_equal(one.classes, theirs['gt_class'].ravel())
        np.testing.assert_array_equal(one.difficult,
                                      theirs['difficult'].ravel() == 1)
        difficult += one.difficult.sum()
    assert difficult > 10
    assert str(dataset / 'label_list.txt') in images.annotation_files


@pytest.mark.parametrize('metric', [{}, {
    'map_type': 'integral',
    'overlap_thresh': 0.6
}])
def test_evaluation(dataset, small_settings, detected, tmp_path, metric):
    path = reader_file(tmp_path / 'reader.yml',
                       dataset,
                       num_classes=6,
                       **metric)
    record = str(tmp_path / 'record.json')
    assert not call_script(
        'paddle_inference_eval.py', '--config_path', YAML, '--reader_config',
        path, '--per_class', '--output_dir', tmp_path / 'out', '--output_json',
        record, '-o', small_settings[0], 'Reader.dataset_dir=%s' % dataset)
    found = results.read_json(record)
    how = voc.Metric(**metric)
    records, names = of_ppdet(dataset)
    wanted, by_class = by_ppdet(records, detected[0], names, how, tmp_path)
    assert found['map'] == 100 * wanted and 5 < found['map'] < 100
    assert {
        k: v
        for k, v in found['per_class'].items() if v
    } == {
        k: 100 * v
        for k, v in by_class.items() if v
    }
    assert found['metric'] == 'VOC'
    assert found['map_type'] == how.map_type
    assert found['overlap_thresh'] == how.overlap_thresh
    assert found['dataset'] == str(dataset / 'test.txt')
    assert found['num_images'] == len(records)
    assert found['ap50'] is found['ap_large'] is found['ar_100'] is None


def test_two_files_train_and_compare(dataset, small_detector, detected,
                                     tmp_path, capsys):
    """Training with evaluation as PaddleDetection's commands ask for it, and
    what it lost."""
    reader = reader_file(tmp_path / 'reader.yml',
                         dataset,
                         map_type='integral',
                         worker_num=0)
    given = changed(Global={'model_dir': small_detector},
                    QuantAware={
                        'use_pact': False,
                        'quantize_op_types': ['conv2d']
                    },
                    Distillation={'loss': 'l2'})
    path = written(tmp_path / 'small_qat_dis.yaml', given)
    made = str(tmp_path / 'made')
    done = run_script('run.py', '--act_config_path', path, '--config', reader,
                      '--save_dir', made, '-o', 'TrainConfig.batch_size=2')
    assert done.returncode == 0, done.stderr
    trained = results.read_json(os.path.join(made, 'record.json'))
    assert trained['metric'] == 'VOC' and trained['map_type'] == 'integral'
    assert trained['strategy'] == 'qat' and trained['map'] > 5
    with open(os.path.join(made, 'train_log.csv'), newline='') as f:
        assert len(list(csv.DictReader(f))) == 2
    record = str(tmp_path / 'out' / 'record.json')
    assert not call_script(
        'paddle_inference_eval.py', '--model_path', made, '--reader_config',
        reader, '--compare', small_detector, '--per_class', '--precision',
        'int8', '--output_dir', tmp_path / 'out', '--output_json', record)
    found = results.read_json(record)
    reference = results.read_json(record.replace('.json', '_reference.json'))
    records, names = of_ppdet(dataset)
    maps = [
        by_ppdet(records, model, names, voc.Metric('integral'), tmp_path)[0]
        for model in detected
    ]
    assert [found['map'], reference['map']] == [100 * m for m in maps]
    assert abs(found['map'] - trained['map']) < 5
    assert found['map_difference'] == pytest.approx(100 * (maps[0] - maps[1]),
                                                    abs=1e-9)
    assert found['map_difference_low'] <= found['map_difference'] <= \
        found['map_difference_high']
    assert found['agreement_ap'] > 50 and found['changed_images']
    capsys.readouterr()
    assert not call_script('report.py', tmp_path / 'out', made, '--output',
                           tmp_path / 'report')
    page = (tmp_path / 'report' / 'report.html').read_text(encoding='utf-8')
    assert 'VOC integral at IoU 0.5' in page and 'COCO' not in page


def test_calibration_and_diagnosis(dataset, small_settings, tmp_path):
    path = reader_file(tmp_path / 'reader.yml', dataset)
    assert not call_script('run.py', '--config_path', YAML, '--config', path,
                           '--save_dir', tmp_path / 'made', '-o',
                           small_settings[0], 'Reader.dataset_dir=%s' % dataset,
                           'Quantization.strategy=ptq',
                           'Quantization.calibration_images=2',
                           'Quantization.weight_rounding=nearest')
    found = results.read_json(str(tmp_path / 'made' / 'record.json'))
    assert found['dataset'] == str(dataset / 'trainval.txt')
    settings = config.load(str(tmp_path / 'made' / 'config.yml'))
    assert data.open_reader(settings.Reader).val().truth is not None
    # What judges by agreement, and what by mAP.
    few = [
        '--score_images', '2', '--select_images', '4', '--confirm_images', '4',
        '--save_dir', tmp_path / 'chosen', '-o',
        'Reader.train_anno_path=test.txt'
    ]
    for task, more in (('layers', ['--num_images', '2']), ('search', few)):
        assert not call_script('diagnose.py', task, '--model_path', tmp_path /
                               'made', '--output_dir', tmp_path / task, *more)
    found = json.loads((tmp_path / 'search' / 'search.json').read_text())
    assert (found['metric'], found['map_type']) == ('VOC', '11point')
    assert {row['images'] for row in found['confirmed']} == {4}


GOOD = [('a.jpg', (60, 40), [('dog', 0, 1, 2, 30, 30),
                             ('cat', 1, 5, 5, 20, 20)]),
        ('b.jpg', (60, 40), [('cow', None, 1.5, 2, 59, 39)]),
        ('c.jpg', (60, 40), [])]


@pytest.fixture
def small(tmp_path):
    """Three images, the last without objects."""
    for name, size, rows in GOOD:
        cv2.imwrite(str(tmp_path / name), np.zeros((*size[::-1], 3), np.uint8))
        write_xml(str(tmp_path / name).replace('jpg', 'xml'), size, rows)
    listed = ''.join('%s %s\n' % (n, n.replace('jpg', 'xml')) for n, *_ in GOOD)
    for name in ('test.txt', 'trainval.txt'):
        (tmp_path / name).write_text(listed)
    (tmp_path / 'label_list.txt').write_text('\n'.join(CLASSES))
    return tmp_path


def load(root, **more):
    path = reader_file(root / 'reader.yml', root, **more)
    return data.open_reader(ReaderSection(file=path)).val()


def replaced(name, old, new):

    def spoil(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return spoil


BAD = {
    'no xml': (lambda root: (root / 'b.xml').unlink(),
               ['test.txt', 'line 2', 'b.xml', 'is missing; add it']),
    'no image': (lambda root: (root / 'b.jpg').unlink(),
                 ['1 of 2 images', 'b.jpg', '(missing)', '--skip_bad_images']),
    'no list':
    (lambda root: (root / 'test.txt').unlink(),
     ['test.txt', 'EvalDataset.anno_path', '-o Reader.anno_path=FILE']),
    'one path': (replaced('test.txt', 'b.jpg b.xml', 'b'),
                 ['test.txt', "line 2 is 'b'", 'IMAGE ANNOTATION.xml']),
    'empty list': (lambda root: (root / 'test.txt').write_text('\n'),
                   ['test.txt', 'has no lines']),
    'unknown class':
    (replaced('a.xml', 'cat', 'cot'),
     ['a.xml', 'object 2', "'cot'", 'label_list.txt', "did you mean 'c"]),
    'no size': (replaced('a.xml', '<xmin>5<', '<xmin>20<'),
                ['a.xml', 'object 2 (', 'cat', '[20, 5, 20, 20] has no size']),
    'outside': (replaced('a.xml', '<xmin>5<', '<xmin>59<'), ['no size within']),
    'no number':
    (replaced('a.xml', '<xmax>30<', '<xmax>nan<'),
     ['a.xml', 'object 1', "bndbox/xmax is 'nan'", 'finite number']),
    'no corner': (replaced('a.xml', '<xmax>30</xmax>',
                           ''), ['a.xml', 'object 1 has no bndbox/xmax']),
    'difficult': (replaced('a.xml', '<difficult>1<', '<difficult>yes<'),
                  ['a.xml', 'object 2', "difficult is 'yes'", '0 or 1']),
    'width': (replaced('a.xml', '<width>60<',
                       '<width>0<'), ['a.xml', 'size/width is 0',
                                      'at least 1']),
    'cut short': (replaced('a.xml', '</annotation>', ''),
                  ['a.xml', 'is not XML, or is cut short', 'export it again']),
    'no labels': (lambda root: (root / 'label_list.txt').unlink(),
                  ['label_list.txt', 'EvalDataset', 'is no file']),
    'gap': (replaced('label_list.txt', 'cat',
                     ''), ['label_list.txt', 'line 2 is empty']),
    'twice': (replaced('label_list.txt', 'bird', 'cat'),
              ['label_list.txt', "'cat' stands in line 2 and in line 3"]),
}


@pytest.mark.parametrize('name', list(BAD))
def test_bad_data(small, name):
    spoil, words = BAD[name]
    spoil(small)
    with pytest.raises(UserError) as caught:
        load(small)
    assert '\n' not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize('more, words', [
    ({
        'map_type': '11-point'
    }, ["map_type is '11-point'", '11point or integral', 'did you mean']),
    ({
        'map_type': 11
    }, ['map_type is 11']),
    ({
        'overlap_thresh': 50
    }, ['overlap_thresh is 50', 'below 1']),
    ({
        'metric': 'COCO'
    }, ['EvalDataset', '!COCODataSet', 'metric: VOC is for a !VOCDataSet']),
    ({
        'metric': 'KeyPointTopDownCOCOEval'
    }, ['KeyPointTopDownCOCOEval', 'not supported', 'COCO and VOC']),
    ({
        'metric': '[VOC]'
    }, ['not supported', 'COCO and VOC']),
    ({
        'EvalDataset': {
            'label_list': 3
        }
    }, ['EvalDataset', 'label_list is 3']),
    ({
        'EvalDataset': {
            'allow_empty': 'maybe'
        }
    }, ['allow_empty', 'True or False']),
    ({
        'EvalDataset': {
            'allow_empty': True,
            'empty_ratio': 0.5
        }
    }, ['empty_ratio is 0.5']),
])
def test_bad_reader_files(small, more, words):
    with pytest.raises(UserError) as caught:
        load(small, **more)
    for word in ['reader.yml', *words]:
        assert word in str(caught.value)


def test_good_data(small):
    images = load(small)
    assert [os.path.basename(r.path)
            for r in images.records] == ['a.jpg', 'b.jpg']
    assert images.metric_fields == dict(metric='VOC',
                                        map_type='11point',
                                        overlap_thresh=0.5)
    empty = load(small, EvalDataset={'allow_empty': True})
    assert len(empty.records) == 3
    (small / 'b.jpg').write_bytes(b'')
    path = reader_file(small / 'reader.yml', small)
    left = data.open_reader(ReaderSection(file=path), True).val()
    assert [os.path.basename(r.path) for r in left.records] == ['a.jpg']
    # VOC's own 20 classes.
    for name in ('test.txt', 'a.xml'):
        assert (small / name).exists()
    (small / 'b.jpg').write_bytes((small / 'a.jpg').read_bytes())
    default = load(small, EvalDataset={'label_list': ''})
    assert default.class_names[0] == 'aeroplane'
    assert default.class_names[-1] == 'tvmonitor'
    assert len(default.class_names) == 20
    assert default.truth.objects[1].classes.tolist() == [11, 7]


def test_spoiled_files_are_refused_or_read(small):
    """Bytes changed, cut or put in anywhere: one line, or a data set."""
    rng = np.random.default_rng(0)
    seen = {True: 0, False: 0}
    for name in ('a.xml', 'test.txt', 'label_list.txt'):
        good = (small / name).read_bytes()
        for _ in range(60):
            spoiled = bytearray(good)
            at = int(rng.integers(len(good)))
            kind = rng.integers(4)
            if kind == 0:
                spoiled[at] = rng.integers(256)
            elif kind == 1:
                del spoiled[at:]
            elif kind == 2:
                spoiled[at:at] = spoiled[:int(rng.integers(40))]
            else:
                spoiled[at:at] = bytes(rng.choice(list(b'<>&"0-e.\0\n '), 2))
            (small / name).write_bytes(spoiled)
            try:
                images = load(small)
            except UserError as e:
                assert '\n' not in str(e) and str(small) in str(e)
                assert ';' in str(e) or '-o ' in str(e)
                seen[False] += 1
            else:
                for one in images.truth.objects.values():
                    assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
                    assert (one.classes < len(images.class_names)).all()
                seen[True] += 1
        (small / name).write_bytes(good)
    assert min(seen.values()) > 10


def test_scripts_say_it_in_one_line(small, small_detector, tmp_path):
    (small / 'b.xml').unlink()
    path = reader_file(small / 'reader.yml', small)
    for name, arguments in (('run.py', ['--save_dir',
                                        str(tmp_path / 'x')]),
                            ('paddle_inference_eval.py', [])):
        done = run_script(name, '--config_path', YAML,
                          '--config' if name == 'run.py' else '--reader_config',
                          path, *arguments, '-o',
                          'Global.model_dir=' + small_detector,
                          'Reader.dataset_dir=%s' % small)
        assert done.returncode == 2, done.stderr
        lines = done.stderr.strip().splitlines()
        assert lines[-1].startswith('error: ') and 'b.xml' in lines[-1]
