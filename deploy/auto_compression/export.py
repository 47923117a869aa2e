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
    parser.add_argument('-c',
                        '--config',
                        required=True,
                        type=cli.path,
                        help='ppdet configuration (YAML)')
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
    cli.add_overrides(parser, 'the ppdet configuration')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act.export import export_model
    name = os.path.splitext(os.path.basename(args.config))[0]
    save_dir = args.save_dir or os.path.join('inference_model', name)
    size = tuple(args.input_size) if args.input_size else None
    made = export_model(args.config, save_dir, cli.parse_overrides(args.opt),
                        args.ppdet_dir, size)
    if made.folded:
        print('folded: %s' % made.folded)
    for path in made.files:
        print('%s  %.2f MB' % (path, os.path.getsize(path) / 1e6))


if __name__ == '__main__':
    sys.exit(cli.run(main))
