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
"""Files that appear whole or not at all."""

import os


def write_whole(path: str, content: bytes) -> None:
    """Write a file under a temporary name beside it, and rename it.

    Makes the directory. If it fails, an older file stays as it was.

    Raises:
        OSError: it cannot be written.
    """
    directory, name = os.path.split(path)
    os.makedirs(directory or '.', exist_ok=True)
    temporary = os.path.join(directory, '.%s.%d.tmp' % (name, os.getpid()))
    try:
        with open(temporary, 'wb') as f:
            f.write(content)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
