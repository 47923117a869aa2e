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
"""Annotation files with anything wrong in them: one line and exit code 2, or a
file that is still good by a judge of its own."""

import contextlib
import copy
import io
import json
import math
import os

import cv2
import numpy as np
import pytest
from act import accuracy, annotations, cli, data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAN, INF = float('nan'), float('inf')
FILES = ('1.jpg', '2.png', '3.jpg')
ODD = [
    None, True, False, 0, 1, -1, 2, 9, 2.0, 0.5, -0.0, -3.5, NAN, INF, -INF,
    1e10, 1e308, -1e308, 2**31, 2**63, 10**30, '', ' ', '1', 'x', 'ü', '\0',
    '\ud800', 'a\nb', '1.jpg', '../1.jpg', '/', [], [1], [None] * 4, [0] * 4,
    [1, 2, 0, 0], [1, 2, -1, 3], [1, 2, 3, NAN], [1, 2, 3, '4'], [[1, 2, 3, 4]],
    {}, {
        'id': 1
    }, {
        'x': []
    }
]
GOOD = {
    'info': {
        'year': 2017
    },
    'images': [{
        'id': i + 1,
        'file_name': name,
        'height': 20,
        'width': 30
    } for i, name in enumerate(FILES)],
    'annotations': [{
        'id': i,
        'image_id': 1 + i % 3,
        'category_id': 7 + i % 2,
        'bbox': [1, 2.5, 10, 6],
        'area': 60.0,
        'iscrowd': i % 2,
        'segmentation': [[1, 2, 3, 4, 5, 6]]
    } for i in range(4)],
    'categories': [{
        'id': 8,
        'name': 'x'
    }, {
        'id': 7,
        'name': 'y',
        'supercategory': 'z'
    }],
}
EXAMPLES = {'tree': 400, 'text': 200}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp('fuzz')
    for name in FILES:
        cv2.imwrite(str(directory / name), np.full((20, 30, 3), 90, np.uint8))
    return str(directory)


def whole(value, low, high):
    return type(value) is int and low <= value <= high


def number(value, low, high):
    return type(value) in (int, float) and not math.isnan(value) and \
        low <= value <= high


def text(value):
    return type(value) is str and '\ud800' not in value


def judge(content, root):
    """Whether a file is good, told item by item from COCO's format."""
    try:
        images, objects, kinds = [
            content[k] for k in ('images', 'annotations', 'categories')
        ]
        if not (type(images) is type(objects) is type(kinds) is list):
            return False
        image_ids = [item['id'] for item in images]
        kind_ids = [item['id'] for item in kinds]
        for ids in (image_ids, kind_ids):
            if not ids or len(set(ids)) < len(ids) or not all(
                    whole(i, -2**63 + 1, 2**63 - 1) for i in ids):
                return False
        for item in kinds:
            name = item.get('name', '')
            if not (text(name) or type(name) is int):
                return False
        for item in images:
            if type(item['file_name']) is not str or not os.path.isfile(
                    os.path.join(root, item['file_name'])):
                return False
            if not (whole(item['height'], 1, 1e9)
                    and whole(item['width'], 1, 1e9)):
                return False
        for item in objects:
            if item['category_id'] not in kind_ids or type(
                    item['category_id']) is not int:
                return False
            if not whole(item['image_id'], -2**63 + 1, 2**63 - 1):
                return False
            box = item['bbox']
            if type(box) is not list or len(box) != 4:
                return False
            if not all(number(v, -1e9, 1e9) for v in box[:2]) or not all(
                    number(v, 0, 1e9) for v in box[2:]):
                return False
            if not number(item.get('area', 0), 0, 1e18):
                return False
            crowd = item.get('iscrowd', 0)
            if type(crowd) not in (int, bool) or crowd not in (0, 1):
                return False
        return not objects or any(o['image_id'] in image_ids for o in objects)
    except (KeyError, TypeError, AttributeError, ValueError):
        return False


def outcome(root, content):
    """Exit code and stderr of loading and evaluating, as a script would."""
    with open(os.path.join(root, 'a.json'), 'w', encoding='utf-8') as f:
        f.write(content)

    def main():
        images = data.load_images(root, '', 'a.json')
        evaluator = accuracy.CocoEvaluator.of(images)
        evaluator.process([
            accuracy.Detections(images.records[0].id,
                                [[0, 0.9, 1, 2.5, 11, 8.5]])
        ])
        found = evaluator.evaluate()
        assert found.map is None or 0 <= found.map <= 1

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = cli.run(main)
    return code, err.getvalue()


def check(root, content, good, seen):
    code, err = outcome(root, content)
    assert code == (0 if good else 2), (good, err, content)
    if not good:
        assert err.startswith('error: ') and err.count('\n') == 1
        assert 'a.json' in err
        # Something to do, not only a complaint.
        assert ';' in err or '-o Reader.' in err
    seen.append(good)


def places(value, path=()):
    """The path of each value below this one."""
    found = []
    if isinstance(value, dict):
        pairs = value.items()
    else:
        pairs = enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += [path + (key, )] + places(inner, path + (key, ))
    return found


@st.composite
def spoiled(draw):
    """The good content with one to three things done to it."""
    content = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(content) or [()]))
        if not path:
            break
        place = content
        for part in path[:-1]:
            place = place[part]
        last, odd = path[-1], copy.deepcopy(draw(st.sampled_from(ODD)))
        action = draw(
            st.sampled_from(['replace', 'replace', 'delete', 'twice', 'add']))
        if action == 'replace':
            place[last] = odd
        elif action == 'delete':
            del place[last]
        elif isinstance(place, list):
            place.append(place[last] if action == 'twice' else odd)
        else:
            place['more' if action == 'add' else 'id'] = odd
    return content


def fuzz(examples):
    return settings(max_examples=examples,
                    derandomize=True,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck))


def test_the_good_file_is_good(root):
    seen = []
    check(root, json.dumps(GOOD), judge(GOOD, root), seen)
    assert seen == [True]


def test_content_of_any_kind(root):
    seen = []

    @fuzz(EXAMPLES['tree'])
    @given(spoiled())
    def run(content):
        check(root, json.dumps(content), judge(content, root), seen)

    run()
    assert len(seen) >= EXAMPLES['tree']
    # Neither all good nor all bad, or it would test little.
    assert 20 < sum(seen) < len(seen) - 60


def test_text_of_any_kind(root):
    seen = []
    good = json.dumps(GOOD, indent=1)
    pieces = st.sampled_from([
        '', ' ', ',', '"', '[', ']', '{', '}', ':', '0', '-', 'e9', '1e400',
        'NaN', '-Infinity', 'null', 'true', '\\', '\ufeff', '\0', '[' * 5000,
        '9' * 5000, '"id": 1,'
    ])

    @fuzz(EXAMPLES['text'])
    @given(st.integers(0, len(good)), st.integers(0, 40), pieces, st.booleans())
    def run(start, length, piece, cut):
        content = good[:start] + piece
        if not cut:
            content += good[start + length:]
        try:
            # A mark at the start belongs to the encoding.
            value = json.loads(content[content.startswith('\ufeff'):])
        except (ValueError, RecursionError):
            value = None
        check(root, content, judge(value, root), seen)

    run()
    assert len(seen) >= EXAMPLES['text']
    assert 3 < sum(seen) < len(seen) - 60


VALUES = st.sampled_from(ODD) | st.integers() | st.floats() | st.lists(
    st.floats(-10, 10) | st.sampled_from(ODD), min_size=4, max_size=4)


@pytest.mark.parametrize('rule', ['_ID', '_SIZE', '_BOX', '_AREA', '_CROWD'])
def test_fast_checks_let_nothing_pass_that_slow_ones_stop(rule):
    rule = getattr(annotations, rule)
    some = {True: 0, False: 0}

    @fuzz(60)
    @given(st.lists(VALUES, max_size=3))
    def run(values):
        slow = all(map(rule.good, values))
        assert slow or not rule.all_good(values)
        some[slow] += 1

    run()
    assert min(some.values()) > 0
