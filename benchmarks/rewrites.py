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
"""What each rewrite for the CPU saves, and what it changes in the outputs.

The program with all rewrites, without each of those that found something, and
without any, in turn on the same images. Times are the process's CPU time. Where
a model is trained, outputs are compared by agreement AP with the plain program.
"""

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any, Dict, List, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

import record  # noqa: E402
from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path', required=True)
    parser.add_argument('--model_path', required=True)
    parser.add_argument('--precision',
                        default='auto',
                        choices=['auto', 'fp32', 'bf16', 'int8'])
    parser.add_argument('--images', type=cli.positive, default=20)
    parser.add_argument('--rounds',
                        type=cli.positive,
                        default=3,
                        help='over the images')
    cli.add_flag(parser,
                 '--random_weights',
                 help='compare no detections: they mean nothing')
    parser.add_argument('--name',
                        required=True,
                        help='of the file in benchmarks/results')
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def measure(predictors: Sequence[Any], reader: Any, records: Sequence[Any],
            rounds: int, settings: Any) -> Dict[str, List[Any]]:
    """CPU ms of each run and the detections of each image, a list for each
    predictor."""
    from act import data
    from act.accuracy import from_model_output
    times: List[List[float]] = [[] for _ in predictors]
    found: List[List[Any]] = [[] for _ in predictors]
    for turn in range(rounds + 1):  # the first to warm up
        for one in records:
            batch = reader.pipeline([one])
            for at, predictor in enumerate(predictors):
                predictor.set_inputs(
                    data.feed(batch, predictor.inputs,
                              settings.Global.input_mapping, settings.path))
                start = time.process_time()
                predictor.compute()
                took = 1e3 * (time.process_time() - start)
                if turn:
                    times[at].append(took)
                else:
                    boxes, counts = predictor.plan.postprocess(
                        predictor.outputs(), batch)
                    found[at] += from_model_output([one.id], boxes, counts)
    return {'times': times, 'found': found}


def main() -> None:
    args = parse_args()
    from act import config, data, files, predictor, runtime
    from act.accuracy import agreement_ap
    from act.program import faster
    from act.program.model import ModelFiles
    settings = config.load(args.config_path, cli.parse_overrides(args.opt))

    def made(names: Sequence[str]) -> Any:
        return predictor.Predictor(
            predictor.plan(ModelFiles.named(settings.Global, args.model_path),
                           settings.Deploy.cpu,
                           precision=args.precision,
                           threads=1,
                           nms=settings.own_nms,
                           input_list=settings.Global.input_mapping,
                           where=settings.path,
                           rewrites=names))

    forms = {'all': made(faster.ALL), 'none': made(())}
    places = forms['all'].plan.rewrites
    for name in faster.ALL:
        if places[name]:
            forms['without ' + name] = made(
                [other for other in faster.ALL if other != name])
    reader = data.open_reader(settings.Reader)
    records = reader.val().take(args.images).records
    got = measure(list(forms.values()), reader, records, args.rounds, settings)
    plain = got['found'][1]
    rows = []
    for form, times, found in zip(forms, got['times'], got['found']):
        row: Dict[str, Any] = {
            'form': form,
            'places': places.get(form[len('without '):]),
            'cpu_ms': statistics.median(times),
            'agreement_ap': None
        }
        if not args.random_weights:
            row['agreement_ap'] = 100 * agreement_ap(plain, found).map
        rows.append(row)
        print('%-36s %9.2f ms  %s' %
              (form, row['cpu_ms'], '' if row['agreement_ap'] is None else
               'agreement AP %.2f' % row['agreement_ap']))
    path = os.path.join(ROOT, 'benchmarks', 'results',
                        'rewrites_%s.json' % args.name)
    content = runtime.environment()
    content.update(command=record.command(sys.argv),
                   precision=forms['all'].plan.precision,
                   images=len(records),
                   rounds=args.rounds,
                   rows=rows)
    files.write_whole(path, (json.dumps(content, indent=1) + '\n').encode())
    print('written: %s' % path)


if __name__ == '__main__':
    sys.exit(cli.run(main))
