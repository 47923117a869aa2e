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
"""Latency of a detector in fp32 and int8, interleaved, against the limit.

The limit is the network's multiplications and additions at the rate of this
machine's sgemm, both measured in the same run. NMS is part of the network, so
give trained weights: random ones flood it with boxes.
"""

import argparse
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'deploy', 'auto_compression'))

import limits  # noqa: E402
from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path', required=True)
    parser.add_argument('--model_path', required=True, help='int8 model')
    parser.add_argument('--reference', required=True, help='float model')
    parser.add_argument('--cpu_threads', type=cli.positive, default=1)
    parser.add_argument('--runs', type=cli.positive, default=100)
    parser.add_argument('--name',
                        required=True,
                        help='of the file in benchmarks/results')
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', str(args.cpu_threads))
    from act import config, data, inference, int8_check, predictor, runtime
    from act.program.model import ModelFiles
    runtime.import_paddle()
    settings = config.load(args.config_path, cli.parse_overrides(args.opt))
    plans = [
        predictor.plan(ModelFiles(path),
                       settings.Deploy.cpu,
                       threads=args.cpu_threads)
        for path in (args.reference, args.model_path)
    ]
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    rates = [limits.gemm_gflops(args.cpu_threads)]
    predictors = [predictor.Predictor(p) for p in plans]
    found = inference.benchmark(predictors, batch, runs=args.runs)
    rates.append(limits.gemm_gflops(args.cpu_threads))
    feed = data.feed(batch, predictors[0].inputs, None, args.config_path)
    gflop = limits.gflop(int8_check.primitives(plans[0], feed))['convolution']
    rate = limits.fastest(rates)['fp32']
    limit = gflop / rate * 1e3
    rows = {
        plan.precision: {
            'p50_ms': one.p50,
            'p90_ms': one.p90,
            'cpu_ms': one.cpu_ms,
            'runs': one.runs,
            'stable': one.stable,
            'times_of_limit': one.p50 / limit,
        }
        for plan, one in zip(plans, found)
    }
    result = {
        'command': ' '.join(sys.argv),
        'environment': runtime.environment(),
        'threads': args.cpu_threads,
        'sgemm_gflops': rate,
        'convolution_gflop': gflop,
        'limit_ms': limit,
        'latency': rows,
        'int8_over_fp32': found[1].p50 / found[0].p50,
    }
    path = os.path.join(ROOT, 'benchmarks', 'results',
                        'latency_%s.json' % args.name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.tmp', 'w') as f:
        json.dump(result, f, indent=2)
        f.write('\n')
    os.replace(path + '.tmp', path)
    print(json.dumps(result, indent=2))


if __name__ == '__main__':
    sys.exit(cli.run(main))
