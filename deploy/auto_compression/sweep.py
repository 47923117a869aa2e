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
"""Compress and evaluate several models, each in processes of its own.

A model that fails is a row with its error. Stopped, or run again, it goes on:
what is finished is not repeated. It ends in a report.

Examples:
    python sweep.py --config_path configs/picodet_s_320_lcnet_qat.yml \\
        demo/rtdetr_tiny_qat.yml
    python sweep.py --config_path demo/*_qat.yml --save_dir output/siblings \\
        --cpu_threads 1 --benchmark
"""

import argparse
import sys

from act import cli
from act.errors import CheckFailed


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        nargs='+',
                        required=True,
                        type=cli.path,
                        metavar='YAML',
                        help="the models' YAMLs")
    parser.add_argument('--save_dir',
                        type=cli.path,
                        default='output/sweep',
                        help='for models, evaluations, logs and the report '
                        '(default: %(default)s)')
    parser.add_argument('--num_images',
                        type=cli.positive,
                        help='evaluate on the first N images')
    cli.add_threads(parser, 'of the evaluations (default: all cores)')
    cli.add_flag(parser,
                 '--benchmark',
                 help='time 100 more runs on one batch, after a warm-up')
    cli.add_flag(parser,
                 '--fresh',
                 help='do all steps, also those that are finished')
    cli.add_overrides(parser, 'all YAMLs')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import runtime
    runtime.need_whole('sweep.py')
    from act.sweep import run, steps
    failures = run.sweep(args.config_path,
                         cli.filled(steps.Options, args, overrides=args.opt))
    if failures:
        raise CheckFailed(
            '%d of %d models failed: %s' %
            (len(failures), len(args.config_path), '; '.join(failures)))


if __name__ == '__main__':
    sys.exit(cli.run(main))
