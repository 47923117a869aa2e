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
"""Several processes of one launch against one: what they learn, how good they
find a model, and what becomes of them when one dies.

The demo's detector is trained by one process, and by two with half the batch
each, from calibrated ranges (the default) and from ranges that training tracks
itself. The float model is evaluated by 1, 2 and 4 processes. Then SIGKILL ends
one of two processes in training. Losses are drawn too, beside the JSON.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path[:0] = [PROJECT, os.path.join(ROOT, 'tests')]

import killing  # noqa: E402
from act import cli  # noqa: E402

RANGES = {'calibrated': 'gptq', 'tracked': 'nearest'}


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        default='configs/picodet_s_320_lcnet_qat.yml')
    parser.add_argument('--iterations', type=cli.positive, default=20)
    parser.add_argument('--batch_size',
                        type=cli.positive,
                        default=4,
                        help='of all processes together')
    parser.add_argument('--images',
                        type=cli.positive,
                        default=200,
                        help='to evaluate')
    parser.add_argument('--work_dir', default='output/parallel')
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'parallel.json'))
    return parser.parse_args()


def train(place: str, arguments: List[str], processes: int,
          batch: int) -> Dict[str, Any]:
    """Losses, images a second (median), and mAP of the best iteration."""
    command = [*arguments, 'TrainConfig.batch_size=%d' % (batch // processes)]
    if processes > 1:
        command = killing.launch(processes, *command)
    log = place + '.log'
    if killing.start(command, place, log).wait():
        raise SystemExit("training failed: '%s'" % log)
    with open(os.path.join(place, 'run', 'train_log.csv')) as f:
        rows = list(csv.DictReader(f))
    with open(os.path.join(place, 'run', 'record.json')) as f:
        record = json.load(f)
    speeds = sorted(float(r['images_per_second']) for r in rows)
    return {
        'losses': [float(r['loss']) for r in rows],
        'images_per_second': speeds[len(speeds) // 2],
        'map': record['map'],
    }


def evaluate(place: str, arguments: List[str], processes: int) -> float:
    """mAP, percent."""
    script = [
        os.path.join(PROJECT, 'paddle_inference_eval.py'), '--device', 'CPU',
        '--cpu_threads', '1', '--output_json', 'record.json', *arguments
    ]
    if processes > 1:
        script = killing.launch(processes, *script)
    os.makedirs(place)
    with open(place + '.log', 'wb') as f:
        subprocess.run([sys.executable, *script],
                       cwd=place,
                       stdout=f,
                       stderr=f,
                       check=True)
    with open(os.path.join(place, 'record.json')) as f:
        return json.load(f)['map']


def kill(place: str, arguments: List[str], batch: int) -> Dict[str, Any]:
    """SIGKILL to process 1 of 2: seconds until all have ended, and what the
    user is told."""
    log = place + '.log'
    # While rank 0 writes its first checkpoint.
    halt = killing.Halt(place + '.halted', made='*/.checkpoint_*/made')
    process = killing.start(
        killing.launch(2, *arguments,
                       'TrainConfig.batch_size=%d' % (batch // 2),
                       'TrainConfig.checkpoint_iter=2'), place, log, halt)
    halt.wait(process)
    os.kill(killing.process_of(1, process), signal.SIGKILL)
    halt.go()
    begin = time.monotonic()
    code = process.wait()
    seconds = time.monotonic() - begin
    with open(log, errors='replace') as f:
        said = [
            line.split(' cmd ')[0].strip()
            for line in f.read().replace('\r', '\n').splitlines()
            if line.startswith(('error: ', 'Container rank '))
        ]
    return {'seconds': round(seconds, 1), 'exit_code': code, 'said': said}


def draw(path: str, trained: Dict[str, Any]) -> None:
    from act import plots
    figure, axes = plots.pyplot().subplots(1,
                                           len(trained),
                                           figsize=(10, 4),
                                           squeeze=False)
    for axis, (ranges, found) in zip(axes[0], trained.items()):
        for name, style in (('1 process', '-'), ('2 processes', '--')):
            losses = found[name]['losses']
            axis.plot(range(1, len(losses) + 1), losses, style, label=name)
        axis.set_title('ranges: ' + ranges)
        axis.set_xlabel('iteration')
        axis.set_ylabel('distillation loss')
        axis.set_yscale('log')
        axis.legend()
    figure.tight_layout()
    plots.save(figure, path)


def main() -> None:
    args = parse_args()
    from act import config, files, runtime
    from act.compress import job
    os.chdir(PROJECT)
    settings = config.load(args.config_path)
    job.ensure_exported(settings)
    work = os.path.abspath(args.work_dir)
    shutil.rmtree(work, ignore_errors=True)
    yaml = ['--config_path', os.path.abspath(args.config_path)]
    dataset = 'Reader.dataset_dir=' + os.path.abspath(
        settings.Reader.dataset_dir)
    float_dir = os.path.abspath(settings.Global.model_dir)
    arguments = [
        os.path.join(PROJECT, 'run.py'), *yaml, '-o',
        'Global.model_dir=' + float_dir, dataset, 'Quantization.strategy=qat',
        'TrainConfig.train_iter=%d' % args.iterations,
        'TrainConfig.eval_iter=%d' % args.iterations,
        'TrainConfig.eval_images=%d' % args.images
    ]
    trained: Dict[str, Any] = {}
    for ranges, rounding in RANGES.items():
        more = [*arguments, 'Quantization.weight_rounding=' + rounding]
        found = trained[ranges] = {}
        for name, processes in (('1 process', 1), ('2 processes', 2)):
            found[name] = train(
                os.path.join(work, '%s_%d' % (ranges, processes)), more,
                processes, args.batch_size)
        pairs = list(zip(*(f['losses'] for f in found.values())))
        found['largest_difference_percent'] = max(100 * abs(a - b) / a
                                                  for a, b in pairs)
        print('%s ranges: losses differ by at most %.3g%%; mAP %.2f and %.2f' %
              (ranges, found['largest_difference_percent'],
               found['1 process']['map'], found['2 processes']['map']),
              flush=True)
    evaluated = {
        n:
        evaluate(os.path.join(work, 'evaluate_%d' % n), [
            *yaml, '--model_path', float_dir, '--num_images',
            str(args.images), '-o', dataset
        ], n)
        for n in (1, 2, 4)
    }
    print('mAP by 1, 2 and 4 processes: %s' % list(evaluated.values()))
    killed = kill(os.path.join(work, 'kill'),
                  [*arguments, 'Quantization.weight_rounding=nearest'],
                  args.batch_size)
    print('1 of 2 killed: %(seconds)s s, exit code %(exit_code)d, %(said)s' %
          killed)
    draw(os.path.splitext(args.output_json)[0] + '.png', trained)
    files.write_whole(args.output_json,
                      (json.dumps(dict(runtime.environment(),
                                       command=' '.join(sys.argv),
                                       trained=trained,
                                       map_by_processes=evaluated,
                                       killed=killed),
                                  indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
