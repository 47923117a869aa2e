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
"""Models made with Paddle 2.6.2, run with it and with Paddle 3 side by side.

The two run in processes of their own, image by image in turn, through this
project: as it deploys a model, and plain, without its rewrites. What is timed
is the network alone. Paddle 3 lives in an environment of its own (make
setup-paddle3). Models that an earlier run made are taken as they are.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

import record  # noqa: E402
from act import cli  # noqa: E402

# Rows of cpu_engines.yml, and whether their linear layers can be int8 too.
MODELS = {
    'picodet_s_demo': False,
    'ppyoloe_plus_tiny': False,
    'rtdetr_tiny': True,
    'dino_tiny': True,
    'picodet_xs': False,
}
LINEAR = 'linear_too'


@dataclass(frozen=True)
class Form:
    """How a model runs: `rewrite` is whether this project makes the program
    faster."""
    precision: str
    rewrite: bool = True
    linear: bool = False

    @property
    def name(self) -> str:
        return ' '.join([self.precision] + ['linear too'] * self.linear +
                        ['plain'] * (not self.rewrite))


FORMS = (Form('fp32'), Form('bf16'), Form('int8'), Form('int8', linear=True),
         Form('fp32', rewrite=False), Form('int8', rewrite=False))


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--models',
                        nargs='+',
                        choices=MODELS,
                        help='default: those of demo/, and with --coco and '
                        '--weights picodet_xs')
    parser.add_argument('--coco', help="directory of images in COCO's layout")
    parser.add_argument('--weights', help='trained weights of PicoDet-XS')
    parser.add_argument('--images', type=cli.positive, help='default: all')
    parser.add_argument('--threads', type=cli.positive, default=1)
    parser.add_argument('--python3',
                        default=os.path.join(ROOT, '.venv-paddle3', 'bin',
                                             'python'),
                        help='of the environment with Paddle 3')
    parser.add_argument('--work_dir',
                        default=os.path.join(PROJECT, 'output', 'paddle3'),
                        help='where models are made, and found again')
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'paddle3.json'))
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> List[Any]:
    """The rows to measure, calibrated and not trained.

    Raises:
        UserError: one needs --coco or --weights.
    """
    from engines import models
    given = {
        name: path and os.path.abspath(path)
        for name, path in (('coco', args.coco), ('weights', args.weights))
    }
    names = args.models or [
        name for name in MODELS if name != 'picodet_xs' or all(given.values())
    ]
    table = os.path.join(ROOT, 'benchmarks', 'cpu_engines.yml')
    return [
        replace(row,
                overrides=dict(row.overrides, Quantization={'strategy': 'ptq'}))
        for row in models.read_rows(table, given, names)
    ]


class Suite:
    """One model in all its forms."""

    def __init__(self, row: Any, args: argparse.Namespace, work: str) -> None:
        """
        Args:
            row: an `engines.models.Row`.
            args: of the command line.
            work: an existing directory, for images, logs and outputs.
        """
        from act import data, runtime
        from act.postprocess import check_outputs
        from act.program.model import Model, ModelFiles
        from engines import measure, models
        self._args, self._work = args, work
        self._made = {False: models.Models(row, args.work_dir, '')}
        if MODELS[row.name]:
            linear = replace(row,
                             name='%s_%s' % (row.name, LINEAR),
                             overrides=dict(row.overrides, Preset=LINEAR),
                             float_of=row.name)
            self._made[True] = models.Models(linear, args.work_dir, '')
        settings = self._made[False].settings
        files = ModelFiles.named(settings.Global,
                                 self._made[False].float_model())
        model = Model.load(files)
        mapping = settings.Global.input_mapping
        self._postprocess = check_outputs(model, files.directory,
                                          settings.own_nms, mapping, row.name)
        reader = data.open_reader(settings.Reader)
        self.images = reader.val().take(args.images)
        self._images = measure.Images(os.path.join(work, 'images'),
                                      reader,
                                      self.images.records,
                                      model.inputs(),
                                      mapping,
                                      one_size=False)
        self._bf16 = set(runtime.cpu_extensions()) & {'avx512_bf16', 'amx_bf16'}

    def rows(self) -> Iterator[Dict[str, Any]]:
        """The figures of each form that this model and this CPU have."""
        for form in FORMS:
            if form.linear in self._made and (form.precision != 'bf16'
                                              or self._bf16):
                yield dict(form=form.name, **self._measure(form))

    def _measure(self, form: Form) -> Dict[str, Any]:
        from engines import measure
        from engines.protocol import EngineError
        runners: List[measure.Runner] = []
        try:
            for python in (sys.executable, self._args.python3):
                runners.append(self._runner(form, python, len(runners)))
            both = list(runners)
            errors = measure.rounds(runners,
                                    self._images,
                                    warmup=5,
                                    runs=30,
                                    seconds=3600,
                                    threads=self._args.threads,
                                    title=form.name)
            if errors:
                return {'error': errors}
            layers = [r.layers(self._images.paths[0]) for r in both]
        except EngineError as e:
            return {'error': str(e)}
        finally:
            for runner in runners:
                runner.close()
        return self._report(both, layers)

    def _runner(self, form: Form, python: str, index: int) -> Any:
        from engines import measure
        made = self._made[form.linear]
        model = made.int8_model() if form.precision == 'int8' else \
            made.float_model()
        variant = measure.Variant('paddle %d' % index, 'paddle', '',
                                  form.precision, form.rewrite)
        return measure.Runner(
            variant, python, self._work, {
                'model': model,
                'precision': form.precision,
                'threads': self._args.threads,
                'config': made.config_file,
                'rewrite': form.rewrite
            }, self._args.threads)

    def _report(self, runners: List[Any],
                layers: List[Dict[str, Any]]) -> Dict[str, Any]:
        from engines import compare
        found = [
            compare.detections(r.outputs, self._images.batches,
                               [one.id for one in self.images.records],
                               self._postprocess) for r in runners
        ]
        sides = []
        for runner, detections, ran in zip(runners, found, layers):
            side = dict(runner.figures(), **ran)
            side['map'] = compare.figures(detections, found[0], self.images,
                                          True)['map']
            sides.append(side)
        old, new = sides
        agreement = compare.figures(found[1], found[0], self.images, False)
        return {
            'sides': sides,
            'map_difference': new['map'] - old['map'],
            'agreement_ap': agreement['agreement_ap'],
            'agreement_boxes': agreement['agreement_boxes'],
            'same_detections': same(found),
            'latency_ratio': new['p50_ms'] / old['p50_ms'],
            'cpu_ratio': new['cpu_ms'] / old['cpu_ms'],
        }


def same(found: List[List[Any]]) -> int:
    """In how many images both found the same to the last bit."""
    import numpy as np
    return sum(
        np.array_equal(one.boxes, other.boxes) for one, other in zip(*found))


def table(models: Dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        '| Model | Runs | mAP 2.6.2 | mAP 3.3.1 | Agreement AP | int8 layers '
        'asked: ran in 2.6.2, 3.3.1 | CPU ms 2.6.2 | CPU ms 3.3.1 | Ratio | '
        'Ratio of wall time |', '|' + '-|' * 10
    ]
    for name, found in models.items():
        for row in found['rows']:
            if 'error' in row:
                lines.append('| `%s` | %s | %s |%s' %
                             (name, row['form'], row['error'], ' |' * 7))
                continue
            old, new = row['sides']
            asked = '%d: %d, %d' % (old['int8_asked'], old['int8_ran'],
                                    new['int8_ran']) if old['int8_asked'] \
                else ''
            lines.append(
                '| `%s` | %s | %.2f | %.2f | %.2f | %s | %.1f | %.1f | %.2f '
                '| %.2f |' %
                (name, row['form'], old['map'], new['map'], row['agreement_ap'],
                 asked, old['cpu_ms'], new['cpu_ms'], row['cpu_ratio'],
                 row['latency_ratio']))
    return '\n'.join(lines)


def versions(rows: List[Dict[str, Any]]) -> Optional[Tuple[str, ...]]:
    """Of both sides."""
    for row in rows:
        if 'sides' in row:
            return tuple(side['version'] for side in row['sides'])
    return None


def main() -> None:
    args = parse_args()
    for name in ('python3', 'work_dir', 'output_json'):
        # Not its real path, which would leave the virtual environment.
        setattr(args, name, os.path.abspath(getattr(args, name)))
    from act import runtime
    from act.errors import UserError
    from act.files import write_whole
    if not os.path.exists(args.python3):
        raise UserError("'%s' is not there: make setup-paddle3, or name "
                        'another with --python3' % args.python3)
    rows = chosen(args)
    os.chdir(PROJECT)
    result: Dict[str, Any] = {
        'command': record.command(sys.argv),
        'environment': runtime.environment(),
        'threads': args.threads,
        'models': {},
    }
    for row in rows:
        os.makedirs(args.work_dir, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='run_',
                                         dir=args.work_dir) as work:
            suite = Suite(row, args, work)
            found = result['models'][row.name] = {
                'images': len(suite.images.records),
                'rows': []
            }
            for one in suite.rows():
                found['rows'].append(one)
                found['versions'] = versions(found['rows'])
                # Errors may name files.
                text = json.dumps(result,
                                  indent=1).replace(args.work_dir, 'WORK_DIR')
                write_whole(args.output_json, (text + '\n').encode())
                print(json.dumps(one), flush=True)
    print(table(result['models']))


if __name__ == '__main__':
    sys.exit(cli.run(main))
