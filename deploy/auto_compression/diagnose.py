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
"""Why a deployed model is slow, why it is wrong, what should stay in float.

Examples:
    python diagnose.py profile --model_path output/picodet_s_320_lcnet_qat \\
        --compare inference_model/picodet_s_320_lcnet_demo
    python diagnose.py passes --model_path output/rtdetr --as_saved
    python diagnose.py ops --model_path output/picodet_s_320_lcnet_qat
    python diagnose.py layers --model_path output/picodet_s_320_lcnet_qat
    python diagnose.py search --model_path output/picodet_s_320_lcnet_qat \\
        --max_drop 0.3
    python diagnose.py profile --help
"""

import argparse
import os
import sys
from typing import Any, Callable, Dict, Tuple

from act import cli


def _add_outputs(parser: argparse.ArgumentParser, name: str) -> None:
    """Where a task writes, `name` being its own."""
    parser.add_argument('--output_dir',
                        type=cli.path,
                        default='output/' + name,
                        help='for picture and record (default: output/%s)' %
                        name)
    parser.add_argument('--output_json',
                        type=cli.path,
                        help='file for the record')
    cli.add_overrides(parser, 'the YAML')


def _find(args: argparse.Namespace) -> Tuple[Any, str]:
    """The settings and the model's directory, with the outputs checked."""
    from act import deployed, files
    found = deployed.find(args.config_path, args.model_path,
                          cli.parse_overrides(args.opt), args.reader_config)
    files.check_outputs(args.output_dir, args.output_json)
    return found


def _add_profile(parser: argparse.ArgumentParser) -> None:
    cli.add_model(parser)
    parser.add_argument(
        '--compare',
        metavar='MODEL_DIR',
        type=cli.path,
        help='reference model, as the float one: profiled beside it')
    parser.add_argument('--runs',
                        type=cli.positive,
                        default=20,
                        help='that are timed (default: 20)')
    _add_outputs(parser, 'profile')


def _profile(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.profile import run
    from act.program import faster
    options = run.Options(precision=args.precision,
                          use_mkldnn=args.use_mkldnn,
                          threads=args.cpu_threads,
                          batch_size=args.batch_size,
                          runs=args.runs,
                          output_dir=args.output_dir,
                          output_json=args.output_json,
                          rewrites=faster.chosen(args.no_rewrite))
    run.profile(settings, model_path, options, sys.argv, args.compare)


def _add_guilty(parser: argparse.ArgumentParser, name: str, *more: str) -> None:
    """The options of a search for what is guilty."""
    cli.add_model(parser, *more)
    parser.add_argument('--criterion',
                        default='accuracy',
                        choices=['accuracy', 'speed'],
                        help='what is looked for (default: accuracy)')
    parser.add_argument('--num_images',
                        type=cli.positive,
                        default=8,
                        help='images of a probe (default: 8)')
    parser.add_argument(
        '--min_agreement',
        type=cli.percent,
        help='agreement AP with the unoptimized program that is good, in '
        'percent (default: fp32 99, fp16 and bf16 97, int8 94)')
    parser.add_argument('--min_speedup',
                        type=cli.ratio,
                        default=1.05,
                        help='that is a gain (default: 1.05)')
    cli.add_flag(parser,
                 '--as_saved',
                 help="the model as Paddle alone runs it, not this project's "
                 'prepared copy')
    parser.add_argument('--confirm_images',
                        type=cli.positive,
                        default=100,
                        help='images for the mAP at the end (default: 100)')
    cli.add_flag(parser,
                 '--fresh',
                 help='try all anew, also what is known from an earlier run')
    _add_outputs(parser, name)


def _options(args: argparse.Namespace, **more: Any) -> Any:
    from act.program import faster
    from act.search import trial
    return trial.Options(precision=args.precision,
                         use_mkldnn=args.use_mkldnn,
                         threads=args.cpu_threads,
                         batch_size=args.batch_size,
                         rewrites=faster.chosen(args.no_rewrite),
                         criterion=args.criterion,
                         num_images=args.num_images,
                         min_agreement=args.min_agreement,
                         min_speedup=args.min_speedup,
                         as_saved=args.as_saved,
                         confirm_images=args.confirm_images,
                         fresh=args.fresh,
                         output_dir=args.output_dir,
                         output_json=args.output_json,
                         **more)


def _add_passes(parser: argparse.ArgumentParser) -> None:
    _add_guilty(parser, 'passes')


def _passes(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.search import passes
    passes.search(settings, model_path, _options(args), sys.argv)


def _add_ops(parser: argparse.ArgumentParser) -> None:
    _add_guilty(parser, 'ops', 'fp16')
    parser.add_argument('--device',
                        default='CPU',
                        choices=['CPU', 'GPU'],
                        help='where to run (default: CPU)')
    cli.add_flag(parser, '--use_trt', help='TensorRT, on the GPU')
    parser.add_argument(
        '--types',
        nargs='+',
        metavar='TYPE',
        help='put these into int8 beside the configured ones (default: all '
        'that oneDNN can quantize; of the GPU: all that TensorRT may get)')


def _ops(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.search import ops
    ops.search(settings, model_path,
               _options(args, device=args.device, use_trt=args.use_trt),
               sys.argv, args.types)


def _add_layers(parser: argparse.ArgumentParser) -> None:
    cli.add_source(parser)
    parser.add_argument(
        '--compare',
        metavar='MODEL_DIR',
        type=cli.path,
        help="the float model (default: the YAML's Global.model_dir)")
    parser.add_argument('--num_images',
                        type=cli.positive,
                        default=32,
                        help='training images that each layer is tried on '
                        '(default: 32)')
    cli.add_flag(parser,
                 '--fresh',
                 help='try all anew, also what is known from an earlier run')
    cli.add_flag(parser,
                 '--skip_bad_images',
                 help='leave out images that are missing or broken')
    _add_outputs(parser, 'layers')


def _layers(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.search import layers
    options = layers.Options(compare=args.compare,
                             num_images=args.num_images,
                             fresh=args.fresh,
                             output_dir=args.output_dir,
                             output_json=args.output_json,
                             skip_bad_images=args.skip_bad_images)
    layers.find(settings, model_path, options, sys.argv)


def _add_floats(parser: argparse.ArgumentParser) -> None:
    cli.add_source(parser)
    parser.add_argument('--cpu_threads',
                        type=cli.positive,
                        help='default: all cores')
    parser.add_argument('--max_drop',
                        type=cli.percent,
                        default=0.3,
                        help='points of mAP that may be lost against fp32 '
                        '(default: 0.3)')
    parser.add_argument('--min_gain',
                        type=cli.ratio,
                        help='times the speed of fp32 that are enough: the '
                        'most accurate of such models is chosen (default: the '
                        'fastest that loses no more than --max_drop)')
    parser.add_argument('--score_images',
                        type=cli.positive,
                        default=32,
                        help='training images that choices of layers are '
                        'compared on (default: 32)')
    parser.add_argument('--select_images',
                        type=cli.positive,
                        default=100,
                        help='training images that models are measured on '
                        '(default: 100)')
    parser.add_argument('--confirm_images',
                        type=cli.positive,
                        help='validation images to judge the chosen model on '
                        '(default: all)')
    cli.add_flag(parser,
                 '--refine',
                 help='train the chosen model, as the YAML says')
    cli.add_flag(parser,
                 '--fresh',
                 help='try all anew, also what is known from an earlier run')
    cli.add_flag(parser,
                 '--skip_bad_images',
                 help='leave out images that are missing or broken')
    parser.add_argument('--save_dir',
                        type=cli.path,
                        help='for the chosen model (default: the model\'s '
                        'directory with _search)')
    _add_outputs(parser, 'search')


def _floats(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.search import floats
    options = floats.Options(max_drop=args.max_drop,
                             min_gain=args.min_gain,
                             score_images=args.score_images,
                             select_images=args.select_images,
                             confirm_images=args.confirm_images,
                             threads=args.cpu_threads,
                             refine=args.refine,
                             fresh=args.fresh,
                             skip_bad_images=args.skip_bad_images,
                             save_dir=args.save_dir
                             or os.path.normpath(model_path) + '_search',
                             output_dir=args.output_dir,
                             output_json=args.output_json)
    floats.search(settings, model_path, options, sys.argv)


# Each task: what it does, its options, and what runs it.
TASKS: Dict[str, Tuple[str, Callable, Callable]] = {
    'profile':
    ('where the time of a deployed model goes, by operator and by layer, what '
     'really ran, and why it is slow', _add_profile, _profile),
    'passes':
    ('which IR passes make a model wrong or slow', _add_passes, _passes),
    'ops': ('which operator types make a model wrong or slow in int8, or in '
            'TensorRT', _add_ops, _ops),
    'layers': ('which layers lose accuracy when they are quantized, and why',
               _add_layers, _layers),
    'search':
    ('which layers should stay in float, by accuracy and by latency measured '
     'here, and make that model', _add_floats, _floats),
}


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='task', required=True, metavar='TASK')
    for name, (does, add, _) in TASKS.items():
        add(commands.add_parser(name, help=does, description='Say %s.' % does))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    TASKS[args.task][2](args)


if __name__ == '__main__':
    sys.exit(cli.run(main))
