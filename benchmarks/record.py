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
"""Command lines as they are committed: without places of one machine."""

import os
import re
from typing import List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def command(words: List[str]) -> str:
    """A command line in which paths of this repository are relative to it, and
    other absolute paths are MY_ and the name of their option or key.

    Args:
        words: as in sys.argv.
    """
    shown, option = [], ''
    for word in words:
        if word.startswith('-'):
            option = word
        key, equals, value = word.rpartition('=')
        if os.path.isabs(value):
            name = key or option
            # Not its real path: a link in the repository is named by the link.
            inside = os.path.relpath(value, ROOT)
            if not inside.startswith(os.pardir):
                value = inside
            elif name:
                value = 'MY_' + re.sub(r'\W', '_',
                                       name.split('.')[-1].strip('-')).upper()
            word = key + equals + value
        shown.append(word)
    return ' '.join(shown)
