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
"""Pictures of detections, found by what a record says."""

import base64
import os
from dataclasses import dataclass
from typing import List

from .. import images
from .gather import Entry

# The kinds that browsers show, by how their files begin.
_KINDS = ((b'\xff\xd8\xff', 'image/jpeg'), (b'\x89PNG\r\n\x1a\n', 'image/png'))


@dataclass(frozen=True)
class Picture:
    """One image, detections of the reference and of the model side by side."""
    name: str
    kind: str  # media type
    content: bytes


def of(entry: Entry) -> List[Picture]:
    """The pictures of a record; what is not there, or no whole JPEG or PNG
    file, is left out."""
    found = []
    for name in entry.get('pictures') or ():
        path = os.path.join(entry.directory, name)
        if images.structure_fault(path):
            continue
        with open(path, 'rb') as f:
            content = f.read()
        for start, kind in _KINDS:
            if content.startswith(start):
                found.append(Picture(os.path.basename(name), kind, content))
    return found


def data_uri(kind: str, content: bytes) -> str:
    """A file as an address that holds it."""
    return 'data:%s;base64,%s' % (kind, base64.b64encode(content).decode())
