#!/usr/bin/env python3
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
"""Which operators TensorRT would get, seen on a machine without a GPU.

One model, as its configuration runs it:
    python benchmarks/partition.py --config_path configs/rtdetr_l_qat.yml \\
        --model_path inference_model/rtdetr_hgnetv2_l_6x_coco
The table of the READMEs:
    python benchmarks/partition.py --table --coco COCO
    python benchmarks/partition.py --markdown en

It shows what Paddle gives to TensorRT. Whether TensorRT can build an engine of
it, how fast that is and what it computes, only a GPU can show.
"""

import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path[:0] = [PROJECT, os.path.dirname(os.path.abspath(__file__))]

from act import cli  # noqa: E402

RESULT = os.path.join(ROOT, 'benchmarks', 'results', 'trt_partition.json')


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--config_path',
                      type=cli.path,
                      help='compression YAML of the one model')
    what.add_argument(
        '--table',
        nargs='*',
        metavar='MODEL',
        help='rows of benchmarks/trt_partition.yml (default: all)')
    what.add_argument('--markdown',
                      choices=('en', 'cn'),
                      help='print the table of --output_json')
    parser.add_argument('--model_path',
                        type=cli.path,
                        help='model directory (default: Global.model_dir)')
    parser.add_argument('--precision',
                        type=cli.precision,
                        default='auto',
                        help='fp32, fp16, int8 or auto (default: %(default)s)')
    cli.add_flag(parser, '--use_dynamic_shape', None,
                 'shapes may vary (default: as configured)')
    parser.add_argument('--shape_range_file',
                        type=cli.path,
                        help='of dynamic shapes (default: collected)')
    parser.add_argument('--num_images',
                        type=cli.positive,
                        default=2,
                        help='whose shapes are collected (default: '
                        '%(default)s); which does not matter here')
    cli.add_flag(parser, '--no_rewrite', False,
                 'the model as it is, without the rewrites for TensorRT')
    parser.add_argument('--timeout',
                        type=cli.positive,
                        default=900,
                        help='seconds after which creating the predictor '
                        'counts as stalled (default: %(default)s)')
    parser.add_argument('--gpu_python',
                        type=cli.path,
                        default=os.path.join(ROOT, '.venv-gpu', 'bin',
                                             'python'),
                        help="Python with Paddle's GPU build (default: that of "
                        'make setup GPU=1)')
    parser.add_argument('--coco', type=cli.path, help='data set, for --table')
    parser.add_argument('--work_dir', default='output/trt_partition')
    parser.add_argument('--output_json', default=None)
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from trt_partition import suite, table
    if args.markdown:
        print(table.markdown(args.output_json or RESULT, args.markdown), end='')
        return
    if args.table is not None:
        suite.run(args, args.output_json or RESULT)
        return
    found = suite.one(args, cli.parse_overrides(args.opt))
    print(table.text(found))
    if args.output_json:
        table.write(args.output_json, found)


if __name__ == '__main__':
    sys.exit(cli.run(main))
