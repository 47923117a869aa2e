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
"""Images a second by batch size and threads, memory, and the time until a model
first answers, in fp32, bf16 and int8.

Each measurement is a process of its own. The first answer is timed from the
start of the process, with an empty cache (programs are prepared, custom
operators built) and with what that left.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

import limits  # noqa: E402
import record  # noqa: E402
from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path', required=True)
    parser.add_argument('--reference', required=True, help='float model')
    parser.add_argument('--model_path', help='int8 model; default: no int8')
    parser.add_argument('--precisions',
                        nargs='+',
                        choices=('fp32', 'bf16', 'int8'),
                        default=('fp32', 'bf16', 'int8'))
    parser.add_argument('--batches',
                        nargs='+',
                        type=cli.positive,
                        default=(1, 4, 8))
    parser.add_argument('--threads',
                        nargs='+',
                        type=cli.positive,
                        default=(1, 2))
    parser.add_argument('--runs', type=cli.positive, default=20)
    parser.add_argument('--warmup', type=cli.positive, default=3)
    parser.add_argument('--name',
                        required=True,
                        help='of the file in benchmarks/results')
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def measure(request: Mapping[str, Any]) -> Dict[str, Any]:
    """In the process that is measured.

    Args:
        request: config_path, overrides, model, precision, threads, batch, runs,
            warmup, and `started`, the time of day when the process was.

    Returns:
        seconds of the steps to the first answer; latency of a batch and CPU
        time in ms; images a second; peak memory in MiB.
    """
    seconds: Dict[str, float] = {}
    last = request['started']

    def done(step: str) -> None:
        nonlocal last
        now = time.time()
        seconds[step], last = now - last, now

    from act import config, data, inference, predictor, runtime
    from act.program.model import ModelFiles
    settings = config.load(request['config_path'], request['overrides'])
    runtime.import_paddle()
    done('import')
    plan = predictor.plan(ModelFiles.named(settings.Global, request['model']),
                          settings.Deploy.cpu,
                          precision=request['precision'],
                          threads=request['threads'],
                          nms=settings.own_nms,
                          input_list=settings.Global.input_mapping,
                          where=settings.path)
    done('prepare')
    loaded = predictor.Predictor(plan)
    done('load')
    reader = data.open_reader(settings.Reader)
    records = reader.val().take(request['batch']).records
    batch = reader.pipeline(records)
    # Reading images is not the model's time.
    last = time.time()
    loaded.run(
        data.feed(batch, loaded.inputs, settings.Global.input_mapping,
                  settings.path))
    done('first')
    found, = inference.benchmark([loaded],
                                 batch,
                                 input_list=settings.Global.input_mapping,
                                 warmup=request['warmup'],
                                 runs=request['runs'],
                                 where=settings.path)
    return {
        'seconds': seconds,
        'first_answer_seconds': sum(seconds.values()),
        'image_ms': found.p50,
        'image_ms_p90': found.p90,
        'image_cpu_ms': found.cpu_ms,
        'stable': found.stable,
        'images_per_second': 1e3 / found.p50,
        'peak_memory_mib': inference.peak_memory_mib(),
    }


def in_process(request: Mapping[str, Any], cache: str) -> Dict[str, Any]:
    """`measure` in a process of its own, {'error': ...} if it failed.

    Args:
        request: see `measure`, without `started`.
        cache: root of the caches.
    """
    env = limits.environment(request['threads'])
    env['XDG_CACHE_HOME'] = cache
    asked = json.dumps(dict(request, started=time.time()))
    done = subprocess.run(
        [sys.executable,
         os.path.abspath(__file__), '--measure', asked],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
        errors='replace',
        check=False)
    if done.returncode:
        said = [s.strip() for s in done.stderr.splitlines() if s.strip()]
        return {'error': (said or ['exit code %d' % done.returncode])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: List[Dict[str, Any]]) -> str:
    """The figures in Markdown."""
    lines = [
        '| precision | threads | batch | images / s | ms an image | p90 '
        '| CPU ms | peak MiB | first answer s | of it prepare, load, run |',
        '|-|-|-|-|-|-|-|-|-|-|'
    ]
    for row in rows:
        head = '| %s | %d | %d | ' % (row['precision'], row['threads'],
                                      row['batch'])
        if 'error' in row:
            lines.append(head + 'error: %s | | | | | | |' % row['error'])
            continue
        seconds = row['seconds']
        lines.append(head +
                     '%.1f | %.1f | %.1f | %.1f | %.0f | %.1f%s | %.1f, %.1f, '
                     '%.1f |' %
                     (row['images_per_second'], row['image_ms'],
                      row['image_ms_p90'], row['image_cpu_ms'],
                      row['peak_memory_mib'], row['first_answer_seconds'],
                      '' if row['cached'] else ', empty cache',
                      seconds['prepare'], seconds['load'], seconds['first']))
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    from act import files, runtime
    from tqdm import tqdm
    overrides = cli.parse_overrides(args.opt)
    precisions = [p for p in args.precisions if p != 'int8' or args.model_path]
    # The first of each precision finds the cache empty.
    cases = [(p, t, b, cached) for p in precisions
             for t, b, cached in [(args.threads[0], args.batches[0], False)] +
             [(t, b, True) for t in args.threads for b in args.batches]]
    rows: List[Dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix='throughput_') as work:
        for precision, threads, batch, cached in tqdm(cases, unit='case'):
            request = {
                'config_path': args.config_path,
                'overrides': overrides,
                'model':
                args.model_path if precision == 'int8' else args.reference,
                'precision': precision,
                'threads': threads,
                'batch': batch,
                'runs': args.runs,
                'warmup': args.warmup,
            }
            row = in_process(request, os.path.join(work, precision))
            rows.append(
                dict(row,
                     precision=precision,
                     threads=threads,
                     batch=batch,
                     cached=cached))
    result = {
        'command': record.command(sys.argv),
        'environment': runtime.environment(),
        'rows': rows
    }
    files.write_whole(
        os.path.join(ROOT, 'benchmarks', 'results',
                     'throughput_%s.json' % args.name),
        (json.dumps(result, indent=1) + '\n').encode())
    print(table(rows))


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']:
        print(json.dumps(measure(json.loads(sys.argv[2]))))
    else:
        sys.exit(cli.run(main))
