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
"""act.draw: what is on the picture, and that files are whole."""

import os

import cv2
import numpy as np
import pytest
from act import draw
from act.accuracy import Detections
from act.errors import UserError

NAMES = ['cat', 'dog', 'bird']


def canvas(height=240, width=320):
    return np.full((height, width, 3), 200, np.uint8)


def painted(image, color):
    return (image == color).all(axis=2)


def near(image, color):
    """Letters are smoothed and may have no pixel of the full colour."""
    return np.abs(image.astype(int) - color).max(axis=2) < 100


def test_box_has_its_place_and_color():
    image = canvas()
    found = Detections(1, [[1, 0.9, 100, 80, 220, 200]])
    result = draw.draw_detections(image, found, NAMES)
    assert (image == 200).all()  # the original is not changed
    assert result.shape == image.shape and result.dtype == np.uint8
    mask = painted(result, draw.class_color(1))
    assert mask[80:201, 100].all() and mask[80:201, 220].all()
    assert mask[200, 100:221].all()
    assert not mask[90:190, 110:210].any()  # the inside stays free
    assert not mask[205:].any()


def test_threshold():
    found = Detections(1, [[0, 0.29, 10, 40, 50, 90]])
    assert (draw.draw_detections(canvas(), found, NAMES) == canvas()).all()
    shown = draw.draw_detections(canvas(), found, NAMES, score_threshold=0.2)
    assert (shown != canvas()).any()


def test_label_is_filled_and_readable():
    result = draw.draw_detections(canvas(480, 640),
                                  Detections(1, [[2, 0.9, 100, 200, 400, 400]]),
                                  NAMES)
    above = result[170:199, 100:400]
    color = draw.class_color(2)
    assert painted(above, color).sum() > 200
    assert near(above, draw._text_color(color)).sum() > 20


@pytest.mark.parametrize('box', [
    [0, 0, 60, 40],
    [280, 0, 319, 239],
    [300, 230, 319, 239],
    [-50, -50, 400, 300],
    [1e20, -1e20, 1e20, 1e20],
])
def test_label_stays_inside(box, monkeypatch):
    drawn = []

    def record(image, text, origin, font, scale, color, thickness, line):
        (wide, high), below = cv2.getTextSize(text, font, scale, thickness)
        drawn.append(
            (origin[0], origin[1] - high, origin[0] + wide, origin[1] + below))

    monkeypatch.setattr(cv2, 'putText', record)
    draw.draw_detections(canvas(), Detections(1, [[0, 0.5] + box]), NAMES)
    (left, top, right, bottom), = drawn
    assert 0 <= left < right <= 320 and 0 <= top < bottom <= 240


def test_text_grows_with_the_image():

    def height(size):
        found = Detections(
            1, [[1, 0.5, size * .2, size * .5, size * .9, size * .9]])
        result = draw.draw_detections(canvas(size, size), found, NAMES)
        text = near(result[:size // 2], draw._text_color(draw.class_color(1)))
        return np.ptp(np.flatnonzero(text.any(axis=1)))

    assert height(2000) > 2 * height(500)


def test_higher_score_lies_on_top():
    rows = [[0, 0.9, 50, 60, 200, 200], [1, 0.5, 50, 60, 200, 200]]
    for order in (rows, rows[::-1]):
        result = draw.draw_detections(canvas(), Detections(1, order), NAMES)
        assert result[200, 120].tolist() == list(draw.class_color(0))


def test_colors_are_stable_and_distinct():
    colors = [draw.class_color(i) for i in range(80)]
    assert colors == [draw.class_color(i) for i in range(80)]
    assert len(set(colors)) == 80
    steps = [
        np.abs(np.subtract(a, b)).sum() for a, b in zip(colors, colors[1:])
    ]
    assert min(steps) > 100


def test_empty_and_bad_input():
    nothing = Detections(1, [])
    assert (draw.draw_detections(canvas(), nothing, NAMES) == canvas()).all()
    tiny = draw.draw_detections(canvas(4, 4),
                                Detections(1, [[0, 0.9, 0, 0, 4, 4]]), NAMES)
    assert tiny.shape == (4, 4, 3)
    with pytest.raises(UserError, match='class 3 has no name'):
        draw.draw_detections(canvas(), Detections(1, [[3, 0.9, 0, 0, 9, 9]]),
                             NAMES)
    for bad in (None, canvas()[:, :, 0], canvas().astype(float), canvas(0)):
        with pytest.raises(UserError, match='picture'):
            draw.draw_detections(bad, nothing, NAMES)


def test_side_by_side():
    left, right = canvas(100, 120), canvas(150, 80) // 2
    result = draw.side_by_side(left, right, titles=('fp32', 'int8'))
    bar = result.shape[0] - 150
    assert result.shape[1] == 200 and 10 < bar < 60
    assert (result[bar:bar + 100, :120] == left).all()
    assert (result[bar:, 120:] == right).all()
    assert (result[bar + 100:, :120] == draw._GREY).all()
    for start, stop in ((0, 120), (120, 200)):
        title = result[:bar, start:stop]
        assert (title != draw._GREY).any()
    with pytest.raises(UserError, match='two titles'):
        draw.side_by_side(left, right, titles=('one', ))


def test_long_title_is_not_cut():
    result = draw.side_by_side(canvas(100, 100),
                               canvas(100, 100),
                               titles=('x' * 60, ''))
    bar = result.shape[0] - 100
    assert (result[:bar, 97:] == draw._GREY).all()


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.PNG'])
def test_write_image(tmp_path, suffix):
    path = str(tmp_path / 'new' / 'dir' / ('picture' + suffix))
    image = canvas()
    image[:100] = 30
    for _ in range(2):  # also over an older file
        draw.write_image(path, image)
    assert np.abs(cv2.imread(path).astype(int) - image).mean() < 1
    assert os.listdir(os.path.dirname(path)) == ['picture' + suffix]


def test_write_image_errors(tmp_path, monkeypatch):
    for name in ('picture.xyz', 'picture'):
        with pytest.raises(UserError, match='unknown suffix'):
            draw.write_image(str(tmp_path / name), canvas())
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        draw.write_image(str(tmp_path / 'file' / 'a.png'), canvas())
    old = tmp_path / 'old.png'
    old.write_bytes(b'old')

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(UserError, match='No space left') as caught:
        draw.write_image(str(old), canvas())
    assert '\n' not in str(caught.value)
    assert old.read_bytes() == b'old'
    assert sorted(os.listdir(tmp_path)) == ['file', 'old.png']
