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
"""Image files that cannot be used: found, and refused or left out.

What a file's structure tells is read from its first and last bytes, since a
training set cannot be decoded before each run. OpenCV decodes what is left of a
truncated baseline JPEG and fills it up with grey, so success tells nothing.
"""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from .errors import UserError

# Threads wait for the disk; OpenCV lets go of the GIL.
_THREADS, _PART = 8, 16
# Where the end mark is looked for first; some programs append a few bytes.
_TAIL = 64
_NAMED = 3

_JPEG, _JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
_PNG, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'

T = TypeVar('T')


def structure_fault(path: str) -> Optional[str]:
    """Why a file is no whole image, as far as its structure tells.

    JPEG and PNG files take about 0.05 ms; what their middle holds is not seen.
    Other kinds are decoded.

    Returns:
        the reason in a word or two, None if there is none.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return 'not a file'
        if not status.st_size:
            return 'zero bytes'
        with open(path, 'rb') as f:
            head = f.read(len(_PNG))
            f.seek(max(0, status.st_size - _TAIL))
            tail = f.read()
            if head.startswith(_JPEG):
                end, ends = _JPEG_END, _jpeg_ends
            elif head == _PNG:
                end, ends = _PNG_END, _png_ends
            else:
                return decode_fault(path)
            if end in tail:
                return None
            f.seek(0)
            return None if ends(f.read()) else 'truncated'
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 'missing'  # ValueError: a NUL in the name
    except OSError as e:
        return e.strerror or str(e)


def _jpeg_ends(content: bytes) -> bool:
    """Whether an end mark follows the first scan. A thumbnail within the header
    has one, too; compressed data cannot contain it."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xff:
        marker = content[at + 1]
        if marker == 0xda:
            return content.find(_JPEG_END, at) >= 0
        if marker == 0xff:  # padding
            at += 1
        else:
            at += 2 + int.from_bytes(content[at + 2:at + 4], 'big')
    return False


def _png_ends(content: bytes) -> bool:
    """Whether the chunks lead to the last one."""
    at = len(_PNG)
    while at + 12 <= len(content):
        if content[at + 4:at + 12] == _PNG_END:
            return True
        at += 12 + int.from_bytes(content[at:at + 4], 'big')
    return False


def decode_fault(path: str) -> Optional[str]:
    """Why PaddleDetection's Decode cannot read a file, None if it can."""
    try:
        if not cv2.haveImageReader(path):
            return 'not an image that OpenCV reads'
        # As ppdet's Decode does it.
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), 1)
    except (OSError, ValueError, cv2.error):
        decoded = None
    return 'broken' if decoded is None else None


def each(paths: Sequence[str], look: Callable[[str], T], title: str) -> List[T]:
    """What a function finds in each of many files, in several threads.

    Args:
        paths: of the files.
        look: called with each.
        title: of the progress bar, which is shown if it takes long.
    """

    def found(part: Sequence[str]) -> List[T]:
        return [look(path) for path in part]

    result: List[T] = []
    # In parts, since to hand over one file takes longer than to look at it.
    parts = [paths[i:i + _PART] for i in range(0, len(paths), _PART)]
    with ThreadPoolExecutor(_THREADS) as pool, tqdm(total=len(paths),
                                                    desc=title,
                                                    unit='image',
                                                    leave=False,
                                                    delay=2) as bar:
        for part in pool.map(found, parts):
            result += part
            bar.update(len(part))
    return result


def check(paths: Sequence[str],
          fault: Callable[[str], Optional[str]]) -> Dict[str, str]:
    """Apply `structure_fault` or `decode_fault` to many files.

    Returns:
        {path: reason} of those that have one, in their order.
    """
    return {
        path: reason
        for path, reason in zip(paths, each(paths, fault, 'check images'))
        if reason
    }


@dataclass
class BadImages:
    """What becomes of images that cannot be used: refused, or left out and
    counted. `faults` is {path: reason} of those left out."""
    skip: bool = False
    faults: Dict[str, str] = field(default_factory=dict)
    # Images are read in several threads.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def add(self,
            found: Dict[str, str],
            seen: int,
            of: str = 'the data set',
            mend: str = '') -> None:
        """Take in images with a fault.

        Args:
            found: {path: reason}; those known before are passed over.
            seen: how many images were looked at.
            of: what, for the message.
            mend: what else may help, for the message.

        Raises:
            UserError: there is one, and `skip` is false.
        """
        with self._lock:
            self._add(found, seen, of, mend)

    def _add(self, found: Dict[str, str], seen: int, of: str,
             mend: str) -> None:
        new = {p: r for p, r in found.items() if p not in self.faults}
        if not new:
            return
        names = ', '.join('%r (%s)' % item
                          for item in list(new.items())[:_NAMED])
        if len(new) > _NAMED:
            names += ' and %d more' % (len(new) - _NAMED)
        text = '%d of %d images of %s are missing or broken: %s' % (
            len(new), seen, of, names)
        if not self.skip:
            raise UserError('%s; replace them%s, or leave them out with '
                            '--skip_bad_images' % (text, mend))
        self.faults.update(new)
        tqdm.write('warning: left out: ' + text)

    def usable(self,
               items: Sequence[T],
               path: Callable[[T], str],
               count: Optional[int] = None) -> List[T]:
        """The first `count` items whose images can be decoded (all, if None).

        Args:
            items: of any type.
            path: gives an item's image file.
            count: how many are needed; at most so many of the others are
                decoded in vain.

        Raises:
            UserError: an image cannot be decoded and `skip` is false, or no
                image can.
        """
        wanted = len(items) if count is None else min(count, len(items))
        good: List[T] = []
        at = 0
        while len(good) < wanted and at < len(items):
            part = items[at:at + wanted - len(good)]
            at += len(part)
            found = check([path(i) for i in part], decode_fault)
            self.add(found, len(part))
            good += [i for i in part if path(i) not in found]
        if not good:
            raise self.none_left(len(items))
        return good

    def none_left(self, seen: int) -> UserError:
        """An error for images all of which were left out."""
        path, reason = next(iter(self.faults.items()))
        return UserError('none of %d images can be used, the first is %r (%s); '
                         'name others with Reader.dataset_dir, '
                         'Reader.image_dir or Reader.train_image_dir' %
                         (seen, path, reason))
