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
"""Training killed at many moments, and gone on with: is it the same training?

A short training of a model of demo/ runs to its end once. Then, again and
again, SIGKILL ends it (at random, while a checkpoint is written, in evaluation,
while the result is made) and `run.py --resume` goes on. Models of the best and
the last iteration and the log must be the same to the last bit, and nothing may
lie beside the result. Exit code 1 if not.
"""

import argparse
import collections
import json
import os
import random
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path[:0] = [PROJECT, os.path.join(ROOT, 'tests')]

import killing  # noqa: E402
from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        default='configs/picodet_s_320_lcnet_qat.yml')
    parser.add_argument('--kills', type=cli.positive, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work_dir', default='output/kill')
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'kill.json'))
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    os.chdir(PROJECT)
    from act import config, files, runtime
    from act.compress import job
    settings = config.load(args.config_path)
    job.ensure_exported(settings)
    work = os.path.abspath(args.work_dir)
    shutil.rmtree(work, ignore_errors=True)
    arguments = [
        os.path.join(PROJECT, 'run.py'), '--config_path',
        os.path.abspath(args.config_path), '-o',
        'Global.model_dir=' + os.path.abspath(settings.Global.model_dir),
        'Reader.dataset_dir=' + os.path.abspath(settings.Reader.dataset_dir),
        'Quantization.strategy=qat', 'Quantization.weight_rounding=nearest',
        'TrainConfig.train_iter=8', 'TrainConfig.eval_iter=3',
        'TrainConfig.eval_images=16', 'TrainConfig.batch_size=2',
        'TrainConfig.checkpoint_iter=2',
        'TrainConfig.optimizer_builder.optimizer={type: Momentum}'
    ]
    log = os.path.join(work, 'log')
    place = os.path.join(work, 'whole')
    begin = time.perf_counter()
    if killing.start(arguments, place, log).wait():
        raise SystemExit("the training itself failed: '%s'" % log)
    seconds = time.perf_counter() - begin
    wanted = killing.result(place)
    chance = random.Random(args.seed)
    moments = ['checkpoint', 'evaluate', 'convert', 'result']
    rows = []
    for at in range(args.kills):
        # Every other one at random.
        moment = (chance.uniform(0, seconds) if at %
                  2 == 0 else moments[at // 2 % len(moments)])
        place = os.path.join(work, str(at))
        log = os.path.join(work, '%d.log' % at)
        process = killing.start(arguments, place, log)
        killed = killing.kill_at(process, place, log, moment)
        left = killing.leftovers(place)
        kept = 'run_checkpoints' in left and sorted(
            os.listdir(os.path.join(place, 'run_checkpoints')))
        more = ['--resume'] if any(
            name.startswith('iteration') for name in kept or ()) else []
        code = 0
        if killed:
            code = killing.start(arguments + more, place, log).wait()
        equal = code == 0 and killing.result(place) == wanted
        rows.append({
            'moment': moment,
            'killed': killed,
            'checkpoints': kept or [],
            'left_by_kill': left,
            'exit_code': code,
            'equal': equal,
            'left': killing.leftovers(place)
        })
        print(rows[-1], flush=True)
    good = all(r['equal'] and not r['left'] for r in rows)
    summary = collections.Counter(r['killed'] for r in rows)
    print('%d of %d were running when they were killed; %s' %
          (summary[True], len(rows),
           'all ended the same' if good else 'NOT ALL ENDED THE SAME'))
    files.write_whole(args.output_json,
                      (json.dumps(dict(runtime.environment(),
                                       command=' '.join(sys.argv),
                                       model=settings.name,
                                       whole_seconds=round(seconds, 1),
                                       rows=rows),
                                  indent=1) + '\n').encode())
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(cli.run(main))
