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
"""Images: which there are, in which order, and what is refused."""

import itertools
import json
import os
import threading
import time

import cv2
import numpy as np
import pytest
from act import data
from act.config import ReaderSection
from act.errors import UserError
from conftest import PROJECT

READER = os.path.join(PROJECT, 'configs', 'readers', 'picodet_320.yml')


@pytest.fixture
def dataset(tmp_path):
    """Two images and their annotations; categories not in order of ids."""
    os.makedirs(str(tmp_path / 'images'))
    for name, value in (('a.jpg', 50), ('b.png', 200)):
        cv2.imwrite(str(tmp_path / 'images' / name),
                    np.full((40, 60, 3), value, np.uint8))
    content = {
        'images': [{
            'id': 9,
            'file_name': 'b.png',
            'height': 40,
            'width': 60
        }, {
            'id': 3,
            'file_name': 'a.jpg',
            'height': 40,
            'width': 60
        }],
        'categories': [{
            'id': 8,
            'name': 'y'
        }, {
            'id': 2,
            'name': 'x'
        }],
        'annotations': [],
    }
    (tmp_path / 'a.json').write_text(json.dumps(content))
    return tmp_path


def test_order_of_images_and_classes(dataset):
    images = data.load_images(str(dataset), 'images', 'a.json')
    assert [r.id for r in images.records] == [3, 9]
    # As PaddleDetection numbers them: in the order of the file.
    assert images.category_ids == [8, 2]
    assert images.class_names == ['y', 'x']
    assert [r.id for r in images.take(1).records] == [3]


def test_pipeline_makes_what_ppdet_makes(dataset):
    reader = data.open_reader(
        ReaderSection(file=READER,
                      dataset_dir=str(dataset),
                      image_dir='images',
                      anno_path='a.json'))
    batch = reader.pipeline(reader.val().records)
    assert batch['image'].shape == (2, 3, 320, 320)
    assert batch['image'].dtype == np.float32
    np.testing.assert_allclose(batch['im_shape'], [[320, 320]] * 2)
    np.testing.assert_allclose(batch['scale_factor'],
                               [[320 / 40, 320 / 60]] * 2,
                               rtol=1e-6)
    # Plain images: the normalized value, by the definition of NormalizeImage.
    mean, std = np.array([.485, .456, .406]), np.array([.229, .224, .225])
    np.testing.assert_allclose(batch['image'][1].mean(axis=(1, 2)),
                               (200 / 255 - mean) / std,
                               rtol=1e-4)
    # The annotation's other images are not read.
    assert batch['im_id'].ravel().tolist() == [3, 9]


def test_a_batch_of_images_of_different_sizes(dataset):
    pipeline = data.Pipeline([{
        'Decode': {}
    }, {
        'Resize': {
            'target_size': [32, 64],
            'keep_ratio': True
        }
    }, {
        'Permute': {}
    }], [], 'reader.yml')
    path = str(dataset / 'images' / 'wide.png')
    cv2.imwrite(path, np.zeros((30, 60, 3), np.uint8))
    records = data.load_images(str(dataset), 'images', 'a.json').records
    records = [records[0], data.ImageRecord(1, path, 30, 60)]
    with pytest.raises(UserError) as caught:
        pipeline(records)
    assert 'reader.yml' in str(caught.value)
    assert '(3, 32, 48) and (3, 32, 64)' in str(caught.value)
    assert '--batch_size' in str(caught.value)
    # One at a time they are no trouble.
    assert [pipeline([r])['image'].shape[1:] for r in records] == [(3, 32, 48),
                                                                   (3, 32, 64)]


@pytest.mark.parametrize('transforms, line', [
    ([], 'must begin with Decode'),
    ([{
        'Resize': {}
    }], 'must begin with Decode'),
    ([3], 'must begin with Decode'),
    ('Decode', 'must be a list'),
    ([{
        'Decode': {}
    }, {
        'Resise': {}
    }], "unknown transform 'Resise'; did you mean 'Resize'"),
    ([{
        'Decode': {}
    }, {
        'Resize': {
            'size': 3
        }
    }], 'transform Resize'),
])
def test_bad_transforms(transforms, line):
    with pytest.raises(UserError, match=line):
        data.Pipeline(transforms, [], 'reader.yml')


def test_other_metric_is_refused(tmp_path):
    (tmp_path / 'r.yml').write_text('metric: WiderFace')
    with pytest.raises(UserError, match="metric 'WiderFace' is not supported"):
        data.open_reader(ReaderSection(file=str(tmp_path / 'r.yml')))


def test_endless_is_deterministic_and_goes_on():
    first = list(itertools.islice(data.endless('abcde', 2, seed=1), 10))
    again = list(itertools.islice(data.endless('abcde', 2, seed=1), 10))
    assert first == again
    assert first != list(itertools.islice(data.endless('abcde', 2, seed=2), 10))
    resumed = list(
        itertools.islice(data.endless('abcde', 2, seed=1, start=4), 6))
    assert resumed == first[4:]
    # Each pass has each image once.
    flat = list(itertools.chain(*first))
    for start in range(0, 20, 5):
        assert sorted(flat[start:start + 5]) == list('abcde')


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_prefetch_keeps_order_and_hands_exceptions_over(workers):

    def square(x):
        time.sleep(0.002 * (x % 3))  # later ones end sooner
        return x * x

    assert list(data.prefetch(range(20), square,
                              workers)) == [x * x for x in range(20)]

    def fail(x):
        if x == 3:
            raise UserError('broken')
        return x

    seen = []
    with pytest.raises(UserError, match='broken'):
        for value in data.prefetch(range(20), fail, workers):
            seen.append(value)
    assert seen == [0, 1, 2]
    assert list(data.prefetch([], fail, workers)) == []


def test_prefetch_reads_ahead_but_not_too_far():
    started = []
    held = data.prefetch(itertools.count(), started.append, workers=3, depth=2)
    next(held)
    held.close()  # waits for its threads
    assert sorted(started) == list(range(len(started)))
    assert 1 <= len(started) <= 5
    assert not [t for t in threading.enumerate() if 'ThreadPool' in t.name]


def test_workers_work_at_once():
    meeting = threading.Barrier(3, timeout=30)  # one alone would time out
    assert len(list(data.prefetch(range(6), lambda _: meeting.wait(), 3))) == 6


def test_batches_do_not_depend_on_the_number_of_workers(settings):
    reader = data.open_reader(settings.Reader)
    records = reader.train().records
    one, four = (list(
        itertools.islice(
            data.prefetch(data.endless(records, 2, seed=3), reader.pipeline,
                          workers), 5)) for workers in (1, 4))
    for a, b in zip(one, four):
        assert list(a) == list(b)
        for name in a:
            assert np.array_equal(a[name], b[name])


def test_number_of_workers(settings, tmp_path):
    section = settings.Reader.model_copy()
    assert data.open_reader(section).workers == data.WORKERS
    with open(section.file, encoding='utf-8') as f:
        content = f.read()
    section.file = str(tmp_path / 'reader.yml')
    # 0: in PaddleDetection's files, as many as usual.
    for text, wanted in (('3', 3), ('0', data.WORKERS), ('-1', None),
                         ('a', None), ('true', None)):
        (tmp_path / 'reader.yml').write_text(content +
                                             '\nworker_num: %s\n' % text)
        if wanted:
            assert data.open_reader(section).workers == wanted
        else:
            with pytest.raises(UserError, match='worker_num is .* from 1 to'):
                data.open_reader(section)
    section.worker_num = 7
    assert data.open_reader(section).workers == 7


def test_feed_maps_names_and_refuses_others():
    batch = {'image': np.zeros(1), 'scale_factor': np.ones(1)}
    fed = data.feed(batch, ['x'], {'image': 'x'}, 'f.yml')
    assert list(fed) == ['x']
    with pytest.raises(UserError, match="input 'y'.*Global.input_list"):
        data.feed(batch, ['y'], None, 'f.yml')
