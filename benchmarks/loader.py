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
"""Images a second that reach the device, by number of reading threads.

For each reader: the loader alone, and in front of a consumer that takes as
long as a fast device (it sleeps, and takes no core from the loader). The share
of the time that the consumer waits for images tells whether it is kept busy.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from typing import Any, Dict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--readers',
                        nargs='+',
                        default=['picodet_320', 'ppyoloe_640', 'dino_800'],
                        help='of configs/readers')
    parser.add_argument('--dataset_dir', required=True, help='COCO layout')
    parser.add_argument('--workers', nargs='+', type=int, default=[1, 2, 4, 8])
    parser.add_argument('--consumer_ms', type=float, default=20.0)
    parser.add_argument('--batches', type=cli.positive, default=60)
    parser.add_argument('--rounds', type=cli.positive, default=3)
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'loader.json'))
    return parser.parse_args()


def measure(reader: Any, records: Any, workers: int, batches: int,
            consumer: float) -> Dict[str, float]:
    """One image a batch; images a second, and the share of time waited."""
    from act import data
    feeds = data.prefetch(data.endless(records, 1, seed=0), reader.pipeline,
                          workers)
    for _ in itertools.islice(feeds, workers + 2):  # the first ones
        pass
    begin, waited = time.perf_counter(), 0.0
    for _ in range(batches):
        start = time.perf_counter()
        next(feeds)
        waited += time.perf_counter() - start
        time.sleep(consumer)
    took = time.perf_counter() - begin
    feeds.close()
    return {'images_per_second': batches / took, 'waited': waited / took}


def main() -> None:
    args = parse_args()
    from act import config, data, files, runtime
    os.chdir(PROJECT)
    rows = []
    for name in args.readers:
        reader = data.open_reader(
            config.ReaderSection(file='configs/readers/%s.yml' % name,
                                 dataset_dir=args.dataset_dir))
        records = reader.train().records
        found = {w: ([], []) for w in args.workers}
        for _ in range(args.rounds):  # interleaved: others disturb
            for workers in args.workers:
                for kept, consumer in zip(found[workers],
                                          (0, args.consumer_ms / 1000)):
                    kept.append(
                        measure(reader, records, workers, args.batches,
                                consumer))
        for workers, (alone, fed) in found.items():
            rows.append({
                'reader':
                name,
                'workers':
                workers,
                'images_per_second':
                statistics.median(r['images_per_second'] for r in alone),
                'fed_images_per_second':
                statistics.median(r['images_per_second'] for r in fed),
                'fed_waited':
                statistics.median(r['waited'] for r in fed),
            })
            print('%s  %d workers: %.0f images/s; consumer of %g ms: %.0f '
                  'images/s, waits %.0f%%' %
                  (name, workers, rows[-1]['images_per_second'],
                   args.consumer_ms, rows[-1]['fed_images_per_second'],
                   100 * rows[-1]['fed_waited']),
                  flush=True)
    files.write_whole(args.output_json,
                      (json.dumps(dict(runtime.environment(),
                                       command=' '.join(sys.argv),
                                       consumer_ms=args.consumer_ms,
                                       batches=args.batches,
                                       rounds=args.rounds,
                                       rows=rows),
                                  indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
