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


def _of_model(options: type, args: argparse.Namespace) -> Any:
    """Options of a task that runs the model as `cli.add_model` says."""
    from act.program import faster
    return cli.filled(options, args, rewrites=faster.chosen(args.no_rewrite))


def _add_outputs(parser: argparse.ArgumentParser, task: str) -> None:
    cli.add_outputs(parser, 'output/' + task, 'for picture and record')
    cli.add_overrides(parser, 'the YAML')


def _add_profile(parser: argparse.ArgumentParser, task: str) -> None:
    cli.add_model(parser)
    cli.add_compare(parser,
                    'reference model, as the float one: profiled beside it')
    cli.add_number(parser, '--runs', cli.positive, 20, 'that are timed')
    _add_outputs(parser, task)


def _profile(args: argparse.Namespace, settings: Any, model_dir: str) -> None:
    from act.profile import run
    run.profile(settings, model_dir, _of_model(run.Options, args), sys.argv,
                args.compare)


def _add_guilty(parser: argparse.ArgumentParser, task: str, *more: str) -> None:
    """The options of a search for what is guilty."""
    cli.add_model(parser, *more)
    parser.add_argument('--criterion',
                        default='accuracy',
                        choices=['accuracy', 'speed'],
                        help='what is looked for (default: accuracy)')
    cli.add_number(parser, '--num_images', cli.positive, 8, 'images of a probe')
    cli.add_number(
        parser, '--min_agreement', cli.percent, None,
        'agreement AP with the unoptimized program that is good, in percent '
        '(default: fp32 99, fp16 and bf16 97, int8 94)')
    cli.add_number(parser, '--min_speedup', cli.ratio, 1.05, 'that is a gain')
    cli.add_flag(parser,
                 '--as_saved',
                 help="the model as Paddle alone runs it, not this project's "
                 'prepared copy')
    cli.add_number(parser, '--confirm_images', cli.positive, 100,
                   'images for the mAP at the end')
    cli.add_fresh(parser)
    _add_outputs(parser, task)


def _passes(args: argparse.Namespace, settings: Any, model_dir: str) -> None:
    from act.search import passes, trial
    passes.search(settings, model_dir, _of_model(trial.Options, args), sys.argv)


def _add_ops(parser: argparse.ArgumentParser, task: str) -> None:
    _add_guilty(parser, task, 'fp16')
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


def _ops(args: argparse.Namespace, settings: Any, model_dir: str) -> None:
    from act.search import ops, trial
    ops.search(settings, model_dir, _of_model(trial.Options, args), sys.argv,
               args.types)


def _add_layers(parser: argparse.ArgumentParser, task: str) -> None:
    cli.add_source(parser)
    cli.add_compare(parser,
                    "the float model (default: the YAML's Global.model_dir)")
    cli.add_number(parser, '--num_images', cli.positive, 32,
                   'training images that each layer is tried on')
    cli.add_fresh(parser)
    cli.add_skip_bad_images(parser)
    _add_outputs(parser, task)


def _layers(args: argparse.Namespace, settings: Any, model_dir: str) -> None:
    from act.search import layers
    layers.find(settings, model_dir, cli.filled(layers.Options, args), sys.argv)


def _add_floats(parser: argparse.ArgumentParser, task: str) -> None:
    cli.add_source(parser)
    cli.add_threads(parser)
    cli.add_number(parser, '--max_drop', cli.percent, 0.3,
                   'points of mAP that may be lost against fp32')
    cli.add_number(
        parser, '--min_gain', cli.ratio, None,
        'times the speed of fp32 that are enough: the most accurate of such '
        'models is chosen (default: the fastest that loses no more than '
        '--max_drop)')
    cli.add_number(parser, '--score_images', cli.positive, 32,
                   'training images that choices of layers are compared on')
    cli.add_number(parser, '--select_images', cli.positive, 100,
                   'training images that models are measured on')
    cli.add_number(
        parser, '--confirm_images', cli.positive, None,
        'validation images to judge the chosen model on (default: all)')
    cli.add_flag(parser,
                 '--refine',
                 help='train the chosen model, as the YAML says')
    cli.add_fresh(parser)
    cli.add_skip_bad_images(parser)
    parser.add_argument('--save_dir',
                        type=cli.path,
                        help="for the chosen model (default: the model's "
                        'directory with _search)')
    _add_outputs(parser, task)


def _floats(args: argparse.Namespace, settings: Any, model_dir: str) -> None:
    from act.search import floats
    save_dir = args.save_dir or os.path.normpath(model_dir) + '_search'
    floats.search(settings, model_dir,
                  cli.filled(floats.Options, args, save_dir=save_dir), sys.argv)


# Each task: what it does, its options, and what runs it.
TASKS: Dict[str, Tuple[str, Callable, Callable]] = {
    'profile':
    ('where the time of a deployed model goes, by operator and by layer, what '
     'really ran, and why it is slow', _add_profile, _profile),
    'passes':
    ('which IR passes make a model wrong or slow', _add_guilty, _passes),
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
        add(commands.add_parser(name, help=does, description='Say %s.' % does),
            name)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import deployed, files, runtime
    if args.task == 'search':  # it makes a model
        runtime.need_whole('diagnose.py search')
    settings, model_dir = deployed.find(args.config_path, args.model_path,
                                        cli.parse_overrides(args.opt),
                                        args.reader_config)
    files.check_outputs(args.output_dir, args.output_json)
    TASKS[args.task][2](args, settings, model_dir)


if __name__ == '__main__':
    sys.exit(cli.run(main))
