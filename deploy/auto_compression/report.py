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
"""Result records as a page: what was lost, what was won, and where.

Records are those of paddle_inference_eval.py and run.py, and profiles of
diagnose.py: files, or directories, which stand for all in them.

Examples:
    python report.py output
    python report.py output/evaluation output/picodet_s_320_lcnet_qat
    python report.py output/a/record.json output/b/record.json \\
        --output_dir output/report
"""

import argparse
import sys

from act import cli


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('records',
                        nargs='+',
                        type=cli.path,
                        metavar='RECORDS',
                        help='files of records, or directories that hold some')
    parser.add_argument('--output_dir',
                        type=cli.path,
                        default='output/report',
                        help='for report.html and report.md (default: '
                        '%(default)s)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act.report import make
    make.make(args.records, args.output_dir)


if __name__ == '__main__':
    sys.exit(cli.run(main))
