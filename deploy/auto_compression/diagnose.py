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
"""Why a deployed model is slow, why it is wrong.

Examples:
    python diagnose.py profile --model_path output/picodet_s_320_lcnet_qat \\
        --compare inference_model/picodet_s_320_lcnet_demo
    python diagnose.py passes --model_path output/rtdetr --as_saved
    python diagnose.py ops --model_path output/picodet_s_320_lcnet_qat
    python diagnose.py profile --help
"""

import argparse
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


def _add_search(parser: argparse.ArgumentParser, name: str, *more: str) -> None:
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
    _add_search(parser, 'passes')


def _passes(args: argparse.Namespace) -> None:
    settings, model_path = _find(args)
    from act.search import passes
    passes.search(settings, model_path, _options(args), sys.argv)


def _add_ops(parser: argparse.ArgumentParser) -> None:
    _add_search(parser, 'ops', 'fp16')
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


# Each task: what it does, its options, and what runs it.
TASKS: Dict[str, Tuple[str, Callable, Callable]] = {
    'profile':
    ('where the time of a deployed model goes, by operator and by layer, what '
     'really ran, and why it is slow', _add_profile, _profile),
    'passes':
    ('which IR passes make a model wrong or slow', _add_passes, _passes),
    'ops': ('which operator types make a model wrong or slow in int8, or in '
            'TensorRT', _add_ops, _ops),
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
