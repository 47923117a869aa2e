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
"""Seconds from the start of a process to its first training iteration, and from
its last one to the saved model: run.py against PaddleSlim's AutoCompression as
it is.

Both are given the model's YAML, train for one iteration of the same images and
do not evaluate. run.py does not calibrate first (weight_rounding: nearest):
AutoCompression cannot. It saves two models, the best and the last, and so
converts twice. AutoCompression is ended at --limit. One process at a time, of
one thread: what is measured is Python code.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

MODELS = ('picodet_s_320_lcnet', 'ppyoloe_plus_crn_l_80e', 'rtdetr_l',
          'dino_r50_4scale_2x')
# In the order in which a process passes them.
FIRST, LAST, SAVED = 'before_first_iteration', 'iteration', 'convert_and_save'


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', default=MODELS, metavar='NAME')
    parser.add_argument('--dataset_dir',
                        required=True,
                        help="images in COCO's layout")
    parser.add_argument('--limit',
                        type=cli.positive,
                        default=1800,
                        help='seconds for AutoCompression (default: 1800)')
    parser.add_argument('--work_dir', default='output/first_iteration')
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'first_iteration.json'))
    parser.add_argument('--worker', nargs=2, help=argparse.SUPPRESS)
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


class Clock:
    """Writes down when a process has passed a moment, so that one which is
    ended has left what it passed."""

    def __init__(self, path: str) -> None:
        self.path = path

    def passed(self, moment: str) -> None:
        with open(self.path, 'a', encoding='utf-8') as f:
            print(json.dumps([moment, time.time(),
                              time.process_time()]),
                  file=f)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The training loop, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.passed(FIRST)
            result = function(*args, **kwargs)
            self.passed(LAST)
            return result

        return timed


def ours(settings: Any, save_dir: str, clock: Clock) -> None:
    """Compress by what run.py calls."""
    from act.compress import job, loop
    loop.train = clock.around(loop.train)
    job.compress(settings, save_dir, sys.argv)
    clock.passed(SAVED)


def unpatched(settings: Any, save_dir: str, clock: Clock) -> None:
    """Compress by PaddleSlim's AutoCompression."""
    from act import data, runtime
    from act.program.model import Model, ModelFiles
    paddle = runtime.import_paddle()
    paddle.enable_static()
    files = ModelFiles.named(settings.Global, settings.Global.model_dir)
    inputs = Model.load(files).inputs()
    reader = data.open_reader(settings.Reader)
    train = settings.TrainConfig

    def batches() -> Iterator[data.Batch]:
        for records in itertools.islice(
                data.endless(reader.train().records, train.batch_size,
                             train.seed), train.train_iter):
            yield data.feed(reader.pipeline(records), inputs,
                            settings.Global.input_mapping, settings.path)

    from paddleslim.auto_compression import AutoCompression
    quant = settings.QuantAware
    compression = AutoCompression(model_dir=files.directory,
                                  model_filename=files.model_filename,
                                  params_filename=files.params_filename,
                                  save_dir=save_dir,
                                  config={
                                      'QuantAware': {
                                          'quantize_op_types':
                                          quant.quantize_op_types,
                                          'onnx_format':
                                          True,
                                          'activation_quantize_type':
                                          quant.activation_quantize_type,
                                          'weight_quantize_type':
                                          quant.weight_quantize_type,
                                      },
                                      'Distillation': {
                                          'alpha': settings.Distillation.alpha,
                                          'loss': settings.Distillation.loss,
                                      },
                                      'TrainConfig': {
                                          'train_iter':
                                          train.train_iter,
                                          'eval_iter':
                                          1000,
                                          'learning_rate':
                                          train.learning_rate,
                                          'optimizer_builder':
                                          train.optimizer_builder,
                                      },
                                  },
                                  train_dataloader=batches,
                                  eval_dataloader=batches)
    compression._start_train = clock.around(compression._start_train)
    compression.compress()
    clock.passed(SAVED)


def work(args: argparse.Namespace) -> None:
    """What a worker's process does."""
    way, directory = args.worker
    from act import config
    settings = config.load('configs/%s_qat.yml' % args.models[0],
                           cli.parse_overrides(args.opt))
    dict(ours=ours,
         unpatched=unpatched)[way](settings, os.path.join(directory, 'made'),
                                   Clock(os.path.join(directory, 'clock')))


def measure(way: str, model: str, options: List[str],
            limit: Optional[float]) -> Dict[str, Any]:
    """Compress in a process of its own.

    Returns:
        {moment: {'wall': seconds, 'cpu': seconds}} since the moment before, and
        under 'ended' why it did not get to its end.
    """
    found: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, 'log')
        command = [
            sys.executable,
            os.path.abspath(__file__), '--models', model, '--dataset_dir', '-',
            '--worker', way, directory, '-o', *options
        ]
        wall, cpu = time.time(), 0.0
        with open(log, 'wb') as f:
            child = subprocess.Popen(command,
                                     cwd=PROJECT,
                                     stdout=f,
                                     stderr=f,
                                     env=dict(os.environ, OMP_NUM_THREADS='1'))
            try:
                if child.wait(limit):
                    with open(log, encoding='utf-8', errors='replace') as f:
                        found['ended'] = 'failed: ' + f.read()[-1000:]
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                found['ended'] = 'after %d s' % limit
        clock = os.path.join(directory, 'clock')
        if os.path.exists(clock):
            with open(clock, encoding='utf-8') as f:
                for moment, at, used in map(json.loads, f):
                    found[moment] = {
                        'wall': round(at - wall, 1),
                        'cpu': round(used - cpu, 1)
                    }
                    wall, cpu = at, used
    return found


def row(model: str, found: Dict[str, Any], limit: float) -> List[str]:
    """Of the table."""
    cells = [model]
    for moment in FIRST, SAVED:
        ours, other = (found[way].get(moment) for way in ('ours', 'unpatched'))
        cells.append(ours and '%.1f' % ours['wall'])
        if other:
            cells += [
                '%.1f' % other['wall'], ours
                and '%.1f' % (other['wall'] / ours['wall'])
            ]
        elif moment == FIRST and 'after' in found['unpatched']['ended']:
            cells += ['> %d' % limit, '> %.1f' % (limit / ours['wall'])]
        else:
            cells += [None, None]
    return [cell or '-' for cell in cells]


def main() -> None:
    args = parse_args()
    if args.worker:
        work(args)
        return
    from act import config, files, runtime
    from tabulate import tabulate
    record = dict(runtime.environment(),
                  command=' '.join(sys.argv),
                  threads=1,
                  limit_seconds=args.limit,
                  models={})
    rows = []
    for model in args.models:
        path = 'configs/%s_qat.yml' % model
        presets = config.read_mapping(os.path.join(PROJECT,
                                                   path)).get('Presets') or {}
        preset = ['Preset=coco'] if 'coco' in presets else []
        exported = os.path.abspath(os.path.join(args.work_dir, model))
        if not os.path.exists(exported):
            export = config.load(os.path.join(PROJECT, path),
                                 cli.parse_overrides(preset)).Export
            subprocess.run([
                sys.executable, 'export.py', '-c', export.config, '--save_dir',
                exported, '--random_weights',
                *('-o%s=%s' % item for item in export.options.items())
            ],
                           cwd=PROJECT,
                           check=True)
        options = [
            *preset, 'Global.model_dir=' + exported, 'Global.Evaluation=False',
            'Reader.dataset_dir=' + os.path.abspath(args.dataset_dir),
            'Quantization.strategy=qat', 'Quantization.weight_rounding=nearest',
            'TrainConfig.train_iter=1', *args.opt
        ]
        found = record['models'][model] = {
            'load_average': os.getloadavg(),
            'ours': measure('ours', model, options, None),
            'unpatched': measure('unpatched', model, options, args.limit)
        }
        print(model, json.dumps(found), flush=True)
        rows.append(row(model, found, args.limit))
        files.write_whole(args.output_json,
                          (json.dumps(record, indent=1) + '\n').encode())
    print(
        tabulate(rows, [
            'model', 'first iteration', 'unpatched', 'ratio', 'convert, save',
            'unpatched', 'ratio'
        ],
                 tablefmt='github'))


if __name__ == '__main__':
    sys.exit(cli.run(main))
