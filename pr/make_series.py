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
"""Make the pull request for PaddleDetection: a series of patches for a branch.

    python pr/make_series.py --ppdet CHECKOUT --branch develop

The checkout is only read. The series, with a cover letter, is checked as
PaddleDetection's contributors check theirs, and applied once with `git am`.
"""

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(
    0, os.path.join(os.path.dirname(HERE), 'deploy', 'auto_compression'))
sys.path.insert(0, HERE)

from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--ppdet',
                        required=True,
                        type=cli.path,
                        help='a PaddleDetection checkout')
    parser.add_argument('--branch',
                        default='develop',
                        help='develop (default), 2.7.1, 2.7, 2.6.1 or 2.6')
    parser.add_argument('--output_dir',
                        type=cli.path,
                        help='default: output/pr/BRANCH')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import series
    branch = series.branch(args.branch)
    made = args.output_dir or os.path.join('output', 'pr', branch.short)
    for path in series.make(args.ppdet, branch, made):
        print(path)
    print('apply it, on %s: git am %s/000[1-9]-*.patch' % (branch.name, made))


if __name__ == '__main__':
    sys.exit(cli.run(main))
