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
"""Compress an exported detector to int8, driven by one YAML a model.

Examples:
    python run.py --config_path configs/picodet_s_320_lcnet_qat.yml
    python run.py --config_path configs/picodet_s_320_lcnet_qat.yml \\
        --save_dir output/qat -o Quantization.strategy=qat
    python run.py --config_path configs/picodet_s_320_lcnet_qat.yml \\
        -o Preset=coco Reader.dataset_dir=/data/coco
    python run.py --config_path configs/picodet_s_320_lcnet_qat.yml \\
        --save_dir output/qat -o Quantization.strategy=qat --resume
    python -m paddle.distributed.launch --nproc_per_node 2 run.py \\
        --config_path configs/picodet_s_320_lcnet_qat.yml \\
        --save_dir output/qat -o Quantization.strategy=qat
"""

import argparse
import os
import sys

from act import cli


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        '--act_config_path',
                        required=True,
                        type=cli.path,
                        help="the model's YAML")
    parser.add_argument('--config',
                        '--reader_config',
                        dest='reader',
                        type=cli.path,
                        help='reader file, instead of the one the YAML names')
    parser.add_argument('--save_dir',
                        type=cli.path,
                        help='default: output/NAME OF THE YAML')
    parser.add_argument('--devices',
                        choices=['cpu'],
                        default='cpu',
                        help='where to train (default: cpu)')
    parser.add_argument('--output_json',
                        type=cli.path,
                        help='file for a copy of the record')
    cli.add_skip_bad_images(parser)
    cli.add_flag(parser,
                 '--resume',
                 help='go on with a training that was stopped or killed, from '
                 'the checkpoints beside --save_dir')
    cli.add_flag(parser, '--use_vdl', help='log training for VisualDL')
    parser.add_argument('--vdl_log_dir',
                        type=cli.path,
                        default='vdl_log_dir/scalar',
                        help="of VisualDL's log (default: %(default)s)")
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import config, files, ranks, results, runtime
    runtime.need_whole('run.py')
    launched = ranks.join()
    settings = config.load(args.config_path, cli.parse_overrides(args.opt),
                           args.reader)
    save_dir = args.save_dir or os.path.join('output', settings.name)
    # One process checks: it makes directories, and takes them away again.
    if args.output_json and launched.rank == 0:
        files.check_writable(args.output_json,
                             "--output_json '%s'" % args.output_json,
                             directory=False)
    from act.compress import job
    record = job.compress(
        settings,
        save_dir,
        sys.argv,
        args.skip_bad_images,
        resume=args.resume,
        vdl_log_dir=args.vdl_log_dir if args.use_vdl else None,
        ranks=launched)
    if record is None:
        return
    if args.output_json:
        results.write_json(record, args.output_json)
    print(results.table(record))
    print('compressed model: %s' % save_dir)
    print('evaluate it: python paddle_inference_eval.py --device CPU '
          '--model_path %s --compare %s' %
          (save_dir, settings.Global.model_dir))


if __name__ == '__main__':
    sys.exit(cli.run(main))
