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
"""The demo's data set."""

import json
import os

import numpy as np
import pytest
from demo import shapes


def test_an_image_depends_on_seed_split_and_index_alone():
    image, objects = shapes.draw_image(1, 'val2017', 5)
    again, same = shapes.draw_image(1, 'val2017', 5)
    np.testing.assert_array_equal(image, again)
    assert objects == same
    for other in ((2, 'val2017', 5), (1, 'train2017', 5), (1, 'val2017', 6)):
        assert not np.array_equal(
            shapes.draw_image(*other)[0].shape,
            image.shape) or not np.array_equal(
                shapes.draw_image(*other)[0], image)


def test_boxes_lie_in_the_image_and_every_class_occurs():
    seen = set()
    for index in range(40):
        image, objects = shapes.draw_image(3, 'train2017', index)
        height, width = image.shape[:2]
        for item in objects:
            x, y, w, h = item['bbox']
            assert x >= 0 and y >= 0 and w > 0 and h > 0
            assert x + w <= width and y + h <= height
            assert 0 < item['area'] <= w * h
            seen.add(item['category_id'])
    assert seen == set(shapes.CATEGORIES)


def test_written_set(tmp_path):
    root = str(tmp_path / 'set')
    shapes.generate(root, train=2, val=3, seed=1)
    with open(os.path.join(root, 'annotations', 'instances_val2017.json')) as f:
        content = json.load(f)
    assert len(content['images']) == 3
    assert len(os.listdir(os.path.join(root, 'val2017'))) == 3
    # A larger set begins with the smaller one; the same one is kept.
    stamp = os.path.getmtime(os.path.join(root, 'val2017', '000000.jpg'))
    shapes.generate(root, train=2, val=3, seed=1)
    assert os.path.getmtime(os.path.join(root, 'val2017',
                                         '000000.jpg')) == stamp
    with open(os.path.join(root, 'val2017', '000000.jpg'), 'rb') as f:
        before = f.read()
    shapes.generate(root, train=2, val=5, seed=1)
    with open(os.path.join(root, 'val2017', '000000.jpg'), 'rb') as f:
        assert f.read() == before


def test_other_directories_are_left_alone(tmp_path):
    (tmp_path / 'mine.txt').write_text('x')
    with pytest.raises(FileExistsError):
        shapes.generate(str(tmp_path), train=1, val=1)
    assert os.listdir(str(tmp_path)) == ['mine.txt']


def test_nothing_half_written(tmp_path, monkeypatch):

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(shapes.cv2, 'imwrite', fail)
    with pytest.raises(OSError):
        shapes.generate(str(tmp_path / 'set'), train=1, val=1)
    assert os.listdir(str(tmp_path)) == []
