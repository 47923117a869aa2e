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
"""Says in one line why the wheels will not install here, and exits with 2."""

import platform
import sys

# Paddle 2.6.2 has wheels for Python 3.8 to 3.12; constraints.txt pins
# releases that take 3.11 (tested) and 3.12.
SUPPORTED = ((3, 11), (3, 12))
# {system: machines}
PLATFORMS = {'Linux': ('x86_64', )}


def main():
    found = sys.version_info[:2]
    if found not in SUPPORTED:
        return ('error: Python 3.11 or 3.12 is needed, this is %d.%d: install '
                'one and name it, make PYTHON=python3.11' % found)
    machine = platform.machine()
    if machine not in PLATFORMS.get(platform.system(), ()):
        return (
            'error: Linux on x86_64 is needed, this is %s on %s: PaddleSlim '
            "2.6.0 with Paddle 2.6.2's oneDNN runs nowhere else" %
            (platform.system(), machine))
    return None


if __name__ == '__main__':
    message = main()
    if message:
        print(message, file=sys.stderr)
        sys.exit(2)
