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
"""Export a trained PaddleDetection model as an inference model, or make an
inference model ready for a target.

Example:
    python export.py -c configs/models/picodet_s_320_lcnet.yml \\
        -o weights=https://paddledet.bj.bcebos.com/models/picodet_s_320_coco_lcnet.pdparams
    python export.py -c configs/models/dino_r50_4scale_2x_coco.yml \\
        --input_size 800 1088 --save_dir inference_model/dino_800x1088
    python export.py --config_path output/picodet_s_320_lcnet_qat/config.yml \\
        --optimize cpu --model_path output/picodet_s_320_lcnet_qat
"""

import argparse
import os
import sys

from act import cli
from act.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('-c',
                        '--config',
                        type=cli.path,
                        help='ppdet configuration (YAML)')
    source.add_argument(
        '--config_path',
        type=cli.path,
        help='compression YAML, whose Export section names the former, and '
        'Global.model_dir the result')
    parser.add_argument(
        '--save_dir',
        type=cli.path,
        help='directory of the result (default: inference_model/NAME OF THE '
        'CONFIGURATION)')
    parser.add_argument(
        '--ppdet_dir',
        default='',
        help='PaddleDetection checkout to use; default: the one this '
        'directory lies in, else the installed paddledet')
    parser.add_argument(
        '--input_size',
        nargs=2,
        type=cli.positive,
        metavar=('H', 'W'),
        help='one image of this size, and what depends on the size alone '
        'folded to constants (default: as the configuration says)')
    cli.add_flag(
        parser, '--random_weights', False,
        'draw the weights, with a fixed seed, and load none: to measure speed '
        'only')
    parser.add_argument(
        '--optimize',
        choices=['cpu'],
        help='write --model_path as it is run on this target, for programs of '
        'your own')
    parser.add_argument('--model_path',
                        type=cli.path,
                        help='model directory for --optimize')
    parser.add_argument('--precision',
                        type=cli.precision,
                        default='auto',
                        choices=['auto', 'paddle', 'fp32', 'bf16', 'int8'],
                        help='for --optimize (default: auto: int8 if the model '
                        'is quantized, else fp32)')
    parser.add_argument('--no_rewrite',
                        nargs='*',
                        metavar='NAME',
                        help='for --optimize: leave out the rewrites for the '
                        'CPU, or only these')
    cli.add_overrides(
        parser, 'the ppdet configuration, or of the compression '
        'YAML with --optimize')
    return parser.parse_args()


def optimize(args: argparse.Namespace) -> None:
    """--optimize."""
    from act import config, deploy
    from act.program import faster
    if not (args.config_path and args.model_path):
        raise UserError('--optimize cpu: needs --config_path YAML --model_path '
                        'DIR')
    settings = config.load(args.config_path, cli.parse_overrides(args.opt))
    save_dir = args.save_dir or args.model_path.rstrip('/') + '_cpu'
    for path in deploy.write(settings, args.model_path, save_dir, sys.argv,
                             args.precision, faster.chosen(args.no_rewrite)):
        print('%s  %.2f MB' % (path, os.path.getsize(path) / 1e6))
    print(deploy.text(os.path.join(save_dir, deploy.RECORD)))


def main() -> None:
    args = parse_args()
    from act import config, runtime
    runtime.need_whole('export.py')
    if args.optimize:
        optimize(args)
        return
    if args.model_path:
        raise UserError('--model_path: is for --optimize; leave it out')
    from act.export import configured, export_model
    source, options = args.config, {}
    if args.config_path:
        source, directory, options = configured(config.load(args.config_path))
    else:
        name = os.path.splitext(os.path.basename(source))[0]
        directory = os.path.join('inference_model', name)
    made = export_model(source,
                        args.save_dir or directory,
                        config.merge(options, cli.parse_overrides(args.opt)),
                        args.ppdet_dir,
                        tuple(args.input_size) if args.input_size else None,
                        random_weights=args.random_weights)
    if made.folded:
        print('folded: %s' % made.folded)
    if args.random_weights:
        print('random weights: detections mean nothing')
    for path in made.files:
        print('%s  %.2f MB' % (path, os.path.getsize(path) / 1e6))


if __name__ == '__main__':
    sys.exit(cli.run(main))
