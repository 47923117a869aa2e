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
"""Export a trained PaddleDetection model as an inference model.

Example:
    python export.py -c configs/models/picodet_s_320_lcnet.yml \\
        -o weights=https://paddledet.bj.bcebos.com/models/picodet_s_320_coco_lcnet.pdparams
    python export.py -c configs/models/dino_r50_4scale_2x_coco.yml \\
        --input_size 800 1088 --save_dir inference_model/dino_800x1088
"""

import argparse
import os
import sys

from act import cli


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
    cli.add_overrides(parser, 'the ppdet configuration')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import config
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
