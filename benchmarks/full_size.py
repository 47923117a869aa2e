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
"""Seconds and memory of each step with a model in its full size: export,
calibration, training, and int8 on the CPU after both.

Only that it runs, how long and in how much memory is shown: with random
weights (the default) accuracy means nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Dict, List

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='e.g. rtdetr_l, of configs/*_qat.yml')
    parser.add_argument('--dataset_dir',
                        required=True,
                        help="images in COCO's layout")
    parser.add_argument('--weights', help='default: random ones')
    parser.add_argument('--images',
                        type=int,
                        default=2,
                        help='calibration and evaluation images')
    parser.add_argument('--iterations', type=int, default=2)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--work_dir', default='output/full_size')
    parser.add_argument('--output_json')
    return parser.parse_args()


def measure(command: List[str], threads: int) -> Dict[str, float]:
    """Run one of the scripts: its wall and CPU time in seconds, and the most
    memory that one process of its held in MiB.

    Raises:
        subprocess.CalledProcessError: it failed; its output was shown.
    """
    print(' '.join(command), flush=True)
    # wait4() tells the child's own peak, not the highest of all children's.
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable] + command,
                             cwd=PROJECT,
                             stdout=subprocess.DEVNULL,
                             env=dict(os.environ, OMP_NUM_THREADS=str(threads)))
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status),
                                            command)
    return {
        'seconds': round(seconds, 1),
        'cpu_seconds': round(used.ru_utime + used.ru_stime, 1),
        'peak_memory_mib': round(used.ru_maxrss / 1024),
    }


def main() -> None:
    args = parse_args()
    from act import files, runtime
    config = 'configs/%s_qat.yml' % args.model
    work = os.path.abspath(os.path.join(args.work_dir, args.model))
    exported = os.path.join(work, 'float')
    weights = ['-o', 'weights=' + os.path.abspath(args.weights)
               ] if args.weights else ['--random_weights']
    common = [
        'Global.model_dir=' + exported,
        'Reader.dataset_dir=' + os.path.abspath(args.dataset_dir)
    ]
    stages = {
        'export':
        measure([
            'export.py', '--config_path', config, '--save_dir', exported,
            *weights
        ], args.threads)
    }
    for strategy in ('ptq', 'qat'):
        made = os.path.join(work, strategy)
        stages[strategy] = measure([
            'run.py', '--config_path', config, '--save_dir', made, '-o',
            *common, 'Quantization.strategy=' + strategy,
            'Quantization.calibration_images=%d' % args.images,
            'TrainConfig.train_iter=%d' % args.iterations,
            'TrainConfig.eval_iter=%d' % args.iterations,
            'TrainConfig.eval_images=%d' % args.images
        ], args.threads)
        path = os.path.join(made, 'evaluation.json')
        stages[strategy + '_int8'] = measure([
            'paddle_inference_eval.py', '--device', 'CPU', '--config_path',
            config, '--model_path', made, '--precision', 'int8', '--num_images',
            str(args.images), '--cpu_threads',
            str(args.threads), '--output_json', path, '-o', *common
        ], args.threads)
        with open(path, encoding='utf-8') as f:
            record = json.load(f)
        with open(os.path.join(made, 'record.json'), encoding='utf-8') as f:
            compressed = json.load(f)
        stages[strategy].update({
            key: compressed[key]
            for key in ('quantized_ops', 'prepare_seconds', 'train_seconds')
            if compressed.get(key) is not None
        })
        stages[strategy + '_int8'].update({
            key: record[key]
            for key in ('int8_convs_expected', 'int8_convs_ran',
                        'latency_ms_p50', 'cpu_time_ms')
        })
    result = dict(runtime.environment(),
                  model=args.model,
                  weights='trained' if args.weights else 'random',
                  images=args.images,
                  iterations=args.iterations,
                  threads=args.threads,
                  command=' '.join(sys.argv),
                  stages=stages)
    for stage, values in stages.items():
        print('%-10s %s' % (stage, '  '.join('%s %s' % item
                                             for item in values.items())))
    if args.output_json:
        files.write_whole(args.output_json,
                          (json.dumps(result, indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
