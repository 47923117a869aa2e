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
"""Pictures of detections, for a look at what compression changed."""

import colorsys
import os
from typing import Sequence, Tuple

import cv2
import numpy as np

from .accuracy import Detections
from .errors import UserError
from .files import write_whole

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)
_GREY = (64, 64, 64)

Color = Tuple[int, int, int]


def class_color(index: int) -> Color:
    """BGR colour of a class: always the same, and far from the colours of its
    neighbours.

    Hues go round by the golden ratio, which never repeats and keeps any first
    n of them apart; brightness alternates to part hues that come near later.
    """
    hue = index * 0.618033988749895 % 1
    value = (1.0, 0.75)[index % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def _text_color(background: Color) -> Color:
    """Black or white, whichever is readable (luma of ITU-R BT.601)."""
    blue, green, red = background
    return _BLACK if .299 * red + .587 * green + .114 * blue > 140 else _WHITE


def _check(image: np.ndarray) -> None:
    """Raises UserError unless image is (H, W, 3) uint8 and not empty."""
    if (not isinstance(image, np.ndarray) or image.ndim != 3
            or image.shape[2] != 3 or image.dtype != np.uint8
            or not image.size):
        raise UserError(
            'a picture must be (height, width, 3) uint8, found %s '
            '%s' % (getattr(image, 'shape',
                            type(image).__name__), getattr(image, 'dtype', '')))


def _fit(text: str, scale: float, thickness: int,
         width: int) -> Tuple[float, int, int, int]:
    """Shrink text until it fits.

    Returns:
        Font scale; text width, height and depth below the baseline in pixels.
    """
    (wide, high), below = cv2.getTextSize(text, _FONT, scale, thickness)
    if wide > width:
        # Text sizes are rounded up, hence one pixel less.
        scale *= max(width - 1, 1) / wide
        (wide, high), below = cv2.getTextSize(text, _FONT, scale, thickness)
    return scale, wide, high, below


def draw_detections(image_bgr: np.ndarray,
                    detections: Detections,
                    class_names: Sequence[str],
                    *,
                    score_threshold: float = 0.3) -> np.ndarray:
    """Draw boxes with class and score; the highest score lies on top.

    Args:
        image_bgr: (H, W, 3) uint8. It is not changed.
        detections: of this image, in its pixels.
        class_names: of class index 0, 1, ... OpenCV's fonts are ASCII only;
            other letters appear as '?'.
        score_threshold: boxes of lower score are left out.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        UserError: not such an image, or a class without a name.
    """
    _check(image_bgr)
    image = image_bgr.copy()
    height, width = image.shape[:2]
    # About 0.5 on a COCO image of 640 x 480.
    scale = max(0.35, (height + width) / 2240)
    thickness = max(1, round(scale * 4))
    text_thickness = max(1, round(scale))
    margin = max(2, round(scale * 5))

    boxes = detections.boxes[detections.boxes[:, 1] >= score_threshold]
    for index, score, *corners in boxes[np.argsort(boxes[:, 1],
                                                   kind='stable')].tolist():
        index = int(index)
        if not 0 <= index < len(class_names):
            raise UserError('image %d: class %d has no name, there are %d '
                            'names' %
                            (detections.image_id, index, len(class_names)))
        color = class_color(index)
        # OpenCV fails on coordinates that do not fit its integers.
        x1, y1, x2, y2 = [
            round(min(max(v, 0), limit - 1))
            for v, limit in zip(corners, (width, height, width, height))
        ]
        cv2.rectangle(image, (x1, y1), (x2, y2), color, thickness)

        label = '%s %.2f' % (class_names[index], score)
        size, wide, high, below = _fit(label, scale, text_thickness,
                                       width - 2 * margin)
        tall = high + below + margin
        left = max(0, min(x1, width - wide - 2 * margin))
        # Above the box, or within it where the image ends.
        top = y1 - tall if y1 >= tall else min(y1, max(0, height - tall))
        cv2.rectangle(image, (left, top),
                      (left + wide + 2 * margin - 1, top + tall - 1), color,
                      cv2.FILLED)
        cv2.putText(image, label,
                    (left + margin, top + margin // 2 + high), _FONT, size,
                    _text_color(color), text_thickness, cv2.LINE_AA)
    return image


def side_by_side(left: np.ndarray, right: np.ndarray, *,
                 titles: Tuple[str, str]) -> np.ndarray:
    """Two pictures next to each other, a title above each.

    Args:
        left, right: (H, W, 3) uint8 BGR; the lower one is filled up with grey.
        titles: of the left and the right picture.

    Returns:
        (bar + larger H, sum of W, 3) uint8 BGR.

    Raises:
        UserError: not such pictures.
    """
    _check(left)
    _check(right)
    if len(titles) != 2:
        raise UserError('side by side: two titles are needed, found %d' %
                        len(titles))
    height = max(left.shape[0], right.shape[0])
    # One scale for both, so that the bars are alike.
    scale = max(0.4, (height + max(left.shape[1], right.shape[1])) / 1600)
    thickness = max(1, round(scale * 1.5))
    (_, high), below = cv2.getTextSize('Ag', _FONT, scale, thickness)
    margin = max(4, high // 2)
    bar = high + below + 2 * margin
    panes = []
    for image, title in zip((left, right), titles):
        pane = np.full((bar + height, image.shape[1], 3), _GREY, np.uint8)
        pane[bar:bar + image.shape[0]] = image
        size = _fit(title, scale, thickness, image.shape[1] - 2 * margin)[0]
        cv2.putText(pane, title, (margin, margin + high), _FONT, size, _WHITE,
                    thickness, cv2.LINE_AA)
        panes.append(pane)
    return np.concatenate(panes, axis=1)


def write_image(path: str, image: np.ndarray) -> None:
    """Write a picture, whole or not at all. Makes the directory.

    Args:
        path: its suffix says the format (.jpg, .png, ...).
        image: (H, W, 3) uint8 BGR.

    Raises:
        UserError: not such a picture, a suffix OpenCV does not know, or the
            file cannot be written.
    """
    _check(image)
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1]
    if not cv2.haveImageWriter('image' + suffix):
        raise UserError("picture '%s': unknown suffix '%s'; take .jpg or .png" %
                        (path, suffix))
    # Encoded in memory: cv2.imwrite does not say why it failed.
    encoded = cv2.imencode(suffix, image)[1]
    try:
        write_whole(path, encoded.tobytes())
    except OSError as e:
        raise UserError("picture '%s' cannot be written: %s" %
                        (path, e.strerror or e)) from None
