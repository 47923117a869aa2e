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
"""How large images are, without decoding them.

What an annotation file says may be wrong, and PaddleDetection goes by the image
as OpenCV decodes it, which turns it as its EXIF orientation says. So sizes are
read from the images' headers: 0.07 ms each.
"""

from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from .. import images
from ..data import ImageRecord

_ORIENTATION = 0x112  # EXIF's tag
_ON_ITS_SIDE = (5, 6, 7, 8)
# Whose EXIF orientation OpenCV follows; MPO: JPEG with a second picture.
_HEADERS = ('JPEG', 'MPO', 'PNG')


def annotated(records: Sequence[ImageRecord]) -> np.ndarray:
    """(N, 2) int64: height and width as the annotation file has them."""
    return np.array([(r.height, r.width) for r in records],
                    np.int64).reshape(-1, 2)


def measured(
        records: Sequence[ImageRecord]) -> Tuple[np.ndarray, Dict[str, str]]:
    """Height and width that images have when they are decoded.

    Returns:
        (N, 2) int64, and {path: reason} of images that cannot be read, whose
        sizes are 0.
    """
    found = images.each([r.path for r in records], _size, 'read image sizes')
    faults = {
        r.path: 'broken'
        for r, size in zip(records, found) if size == (0, 0)
    }
    return np.array(found, np.int64).reshape(-1, 2), faults


def readable(records: Sequence[ImageRecord],
             bad: images.BadImages) -> Tuple[Sequence[ImageRecord], np.ndarray]:
    """`measured`, without images that cannot be read.

    Args:
        records: the images.
        bad: what becomes of those.

    Returns:
        the records that are left, and (N, 2) height and width of each.

    Raises:
        UserError: one cannot be read and is not to be skipped, or all are so.
    """
    found, faults = measured(records)
    if faults:
        bad.add(faults, len(records))
        left = [i for i, r in enumerate(records) if r.path not in faults]
        if not left:
            raise bad.none_left(len(records))
        records, found = [records[i] for i in left], found[left]
    wrong = _differing(records, found)
    if wrong:
        first = records[wrong[0]]
        tqdm.write('warning: %d of %d images are not of the size that the '
                   'annotation file gives, the first is %r: %d x %d (height x '
                   'width), not %d x %d; shape ranges go by the images' %
                   (len(wrong), len(records), first.path, *found[wrong[0]],
                    first.height, first.width))
    return records, found


def _differing(records: Sequence[ImageRecord], found: np.ndarray) -> List[int]:
    """Indices of the images whose annotated size is another."""
    return np.flatnonzero((annotated(records) != found).any(1)).tolist()


def _size(path: str) -> Tuple[int, int]:
    try:
        with Image.open(path) as image:
            if image.format in _HEADERS:
                width, height = image.size
                turn = image.getexif().get(_ORIENTATION) \
                    if 'exif' in image.info else None
                return (width, height) if turn in _ON_ITS_SIDE else (height,
                                                                     width)
    except Exception:  # Pillow reads fewer kinds, and warns of huge ones
        pass
    try:
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), 1)
    except (OSError, cv2.error):
        decoded = None
    return (0, 0) if decoded is None else decoded.shape[:2]
