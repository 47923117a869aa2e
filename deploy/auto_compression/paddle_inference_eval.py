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
"""Accuracy and latency of an exported or compressed model.

With no other option than --device, the most recent result of run.py is
evaluated in the precision it was made for.

Examples:
    python paddle_inference_eval.py --device CPU
    python paddle_inference_eval.py --device CPU --model_path output/qat \\
        --compare inference_model/picodet_s_320_lcnet_demo
    python paddle_inference_eval.py --device GPU --use_trt --benchmark
    python paddle_inference_eval.py --device GPU --use_trt --explain
    python -m paddle.distributed.launch --nproc_per_node 2 \\
        paddle_inference_eval.py --device CPU
"""

import argparse
import sys
from typing import Any, Dict

from act import cli
from act.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    cli.add_model(parser, 'fp16')
    parser.add_argument('--device',
                        default='CPU',
                        choices=['CPU', 'GPU'],
                        type=str.upper,
                        help='where to run (default: CPU)')
    add_tensorrt(parser)
    parser.add_argument('--num_images',
                        type=cli.positive,
                        help='only the first N images')
    cli.add_compare(
        parser, 'reference model: run on the same images in turn; differences '
        'are those of --model_path against it')
    parser.add_argument('--image_file',
                        type=cli.path,
                        help='detect on this image and draw the result')
    cli.add_number(parser, '--score_threshold', cli.share, 0.3,
                   'of boxes in pictures')
    cli.add_outputs(parser, 'output/evaluation', 'for pictures and the record')
    cli.add_flag(parser, '--per_class', help='AP of each class, in the record')
    cli.add_flag(parser,
                 '--benchmark',
                 help='time 100 more runs on one batch, after a warm-up')
    cli.add_flag(parser,
                 '--check',
                 help="compare with the YAML's Expected; exit code 1 on a miss")
    cli.add_flag(parser,
                 '--explain',
                 help='say what would run, and what would be refused; build '
                 'and run nothing')
    cli.add_skip_bad_images(parser)
    add_older(parser)
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def add_older(parser: argparse.ArgumentParser) -> None:
    """Options of PaddleDetection's own scripts that have another place now."""
    cli.add_flag(parser,
                 '--include_nms',
                 default=None,
                 help='as Global.include_nms; for older commands')
    parser.add_argument('--delete_pass_name',
                        nargs='+',
                        default=[],
                        metavar='PASS',
                        help='IR passes to leave out, with those of Deploy')
    parser.add_argument('--img_shape',
                        type=cli.positive,
                        help='of no effect, as the reader resizes; for older '
                        'commands')


def older_overrides(args: argparse.Namespace) -> Dict[str, Any]:
    """What -o, and the options of `add_older`, say."""
    made = cli.parse_overrides(args.opt)
    if args.include_nms is not None:
        made.setdefault('Global', {})['include_nms'] = args.include_nms
    return made


def add_tensorrt(parser: argparse.ArgumentParser) -> None:
    """The options of TensorRT."""
    cli.add_flag(parser, '--use_trt', help='TensorRT, on the GPU')
    cli.add_flag(parser,
                 '--use_dynamic_shape',
                 default=None,
                 help='input shapes may vary within collected ranges (default: '
                 'as Deploy.tensorrt.dynamic_shape says)')
    parser.add_argument('--shape_range',
                        choices=['data', 'rule'],
                        help='ranges of the images, or of all that the '
                        "reader's rule makes (default: data)")
    parser.add_argument('--shape_range_file',
                        type=cli.path,
                        help='file of the ranges (default: beside the model)')
    cli.add_flag(parser,
                 '--collect_shapes_only',
                 help='collect ranges anew, on any machine, and stop')
    # Of PaddleDetection's script, where False means one image.
    cli.add_flag(parser,
                 '--use_multi_img_for_dynamic_shape_collect',
                 default=True,
                 help='as it is always done; taken for older commands')


def main() -> None:
    args = parse_args()
    from act import deployed, evaluate, explain, files, ranks, request
    from act.program import faster
    if not args.use_multi_img_for_dynamic_shape_collect:
        raise UserError('--use_multi_img_for_dynamic_shape_collect False: one '
                        'image does not span the shapes; leave it out')
    launched = ranks.join()
    settings, model_path = deployed.find(args.config_path, args.model_path,
                                         older_overrides(args),
                                         args.reader_config)
    deploy = settings.Deploy.tensorrt if args.use_trt else settings.Deploy.cpu
    deploy.deleted_passes = [*deploy.deleted_passes, *args.delete_pass_name]
    # One process checks: it makes directories, and takes them away again.
    if launched.rank == 0:
        files.check_outputs(args.output_dir, args.output_json)
    options = cli.filled(evaluate.Options,
                         args,
                         threads=args.threads or settings.Deploy.cpu.threads
                         or launched.threads(),
                         rewrites=faster.chosen(args.no_rewrite))
    alone = args.explain or args.collect_shapes_only or args.image_file
    if alone and launched.rank:
        return
    if args.explain:
        explain.explain(settings, model_path, options, sys.argv, args.compare)
        return
    if args.collect_shapes_only:
        request.collect_shapes(settings, model_path, options)
        return
    if args.image_file:
        print(
            'picture: %s' %
            evaluate.draw_image(settings, model_path, args.image_file, options))
        return
    _, failures = evaluate.evaluate(settings,
                                    model_path,
                                    options,
                                    sys.argv,
                                    args.compare,
                                    ranks=launched)
    evaluate.check(failures)


if __name__ == '__main__':
    sys.exit(cli.run(main))
