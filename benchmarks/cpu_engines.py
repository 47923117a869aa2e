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
"""Inference engines on this CPU side by side: Paddle as it is, this project,
ONNX Runtime and OpenVINO, each model in fp32, bf16 and int8.

All engines take the same inputs in turn, in one run, each in a process of its
own; what is timed is the network alone. Peers live in a virtual environment of
their own (make bench-peers makes it). int8 of all is calibrated on the same
images. Models are those of cpu_engines.yml, whole: with their NMS where a row
does not say without. An engine that fails is a row with its error.
"""

import argparse
import json
import os
import sys
from typing import Any, Dict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

import record  # noqa: E402
from act import cli  # noqa: E402
from engines import isa  # noqa: E402

TABLE = os.path.join(ROOT, 'benchmarks', 'cpu_engines.yml')


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--models',
                        nargs='+',
                        help='rows of cpu_engines.yml (default: all that need '
                        'no option which is not given)')
    parser.add_argument('--engines',
                        nargs='+',
                        help="beginnings of engines' names, as openvino or "
                        "'ours int8' (default: all); Paddle as it is always "
                        'runs')
    parser.add_argument('--coco', help="directory of images in COCO's layout")
    parser.add_argument('--weights', help='trained weights of PicoDet-XS')
    parser.add_argument('--peers_python',
                        default=os.path.join(ROOT, '.venv-peers', 'bin',
                                             'python'))
    parser.add_argument('--threads', type=cli.positive, default=1)
    parser.add_argument('--isa',
                        choices=list(isa.LEVELS),
                        default='native',
                        help='limit vector extensions; see engines/isa.py for '
                        'what each engine honours')
    parser.add_argument('--runs',
                        type=cli.positive,
                        default=30,
                        help='rounds timed, or all images if they are more')
    parser.add_argument('--warmup', type=cli.positive, default=2)
    parser.add_argument('--images',
                        type=cli.positive,
                        help='default: all of trained models, else 4')
    parser.add_argument('--seconds',
                        type=cli.positive,
                        default=900,
                        help='a model; no round begins after them')
    parser.add_argument('--work_dir',
                        default=os.path.join(PROJECT, 'output', 'cpu_engines'),
                        help='where models are made, and found again')
    parser.add_argument('--name',
                        required=True,
                        help='of the files in benchmarks/results')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    isa.limit(args.isa)
    from act import files, runtime
    from engines import models, report, suite
    rows = models.read_rows(
        TABLE, {
            name: path and os.path.abspath(path)
            for name, path in (('coco', args.coco), ('weights', args.weights))
        }, args.models)
    variants = suite.chosen(args.engines)
    # The demo's data and models are named relative to it.
    args.work_dir = os.path.abspath(args.work_dir)
    os.chdir(PROJECT)
    path = os.path.join(ROOT, 'benchmarks', 'results',
                        'cpu_engines_%s' % args.name)
    result: Dict[str, Any] = {
        'command': record.command(sys.argv),
        'environment': runtime.environment(),
        'isa': args.isa,
        'threads': args.threads,
        'models': {},
    }
    for row in rows:
        result['models'][row.name] = suite.measure_row(row, variants, args)
        # Errors may name files.
        text = json.dumps(result, indent=1).replace(args.work_dir, 'WORK_DIR')
        files.write_whole(path + '.json', (text + '\n').encode())
    report.draw(path + '.png', result['models'])
    print(report.table(result['models']))


if __name__ == '__main__':
    sys.exit(cli.run(main))
