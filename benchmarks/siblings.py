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
"""The small trained models of demo/ in every form that a CPU runs them in.

Float with and without oneDNN, bf16 where the CPU has it, and int8, simulated
and deployed, after calibration and after training, of convolutions alone and of
linear layers too.

Each form is compared with float without oneDNN on the same images. Results of
models and strategies that are not run again stay in the file.
"""

import argparse
import json
import os
import sys
import time
from typing import Any, Dict, List, Optional

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

MODELS = ('ppyoloe_plus_tiny', 'rtdetr_tiny', 'dino_tiny')
PRESETS = ('convolutions', 'linear_too')  # of a configuration that has them


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=MODELS)
    parser.add_argument('--strategies',
                        nargs='+',
                        choices=('ptq', 'qat'),
                        default=('ptq', 'qat'))
    parser.add_argument('--num_images', type=int, help='default: all')
    parser.add_argument('--work_dir', default='output/siblings')
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'siblings.json'))
    return parser.parse_args()


class _Model:
    """A model, and what its float form detects without oneDNN."""

    def __init__(self, path: str, num_images: Optional[int]) -> None:
        from act import accuracy, config, data
        from act.compress import job
        self.settings = config.load(path)
        job.ensure_exported(self.settings)
        self.reader = data.open_reader(self.settings.Reader)
        self.images = self.reader.val().take(num_images)
        self.float_dir = self.settings.Global.model_dir
        self.reference = self.detect(
            self.plan(self.float_dir, 'fp32', mkldnn=False))
        evaluator = accuracy.CocoEvaluator.of(self.images)
        evaluator.process(self.reference)
        self.float_map = 100 * (evaluator.evaluate().map or 0.0)

    def plan(self,
             directory: str,
             precision: str,
             mkldnn: Optional[bool] = None,
             settings: Any = None) -> Any:
        from act import predictor
        from act.program.model import ModelFiles
        settings = settings or self.settings
        return predictor.plan(ModelFiles.named(settings.Global, directory),
                              settings.Deploy.cpu,
                              precision=precision,
                              mkldnn=mkldnn,
                              nms=settings.own_nms,
                              input_list=settings.Global.input_mapping)

    def detect(self, plan: Any) -> List[Any]:
        from act import inference, predictor
        found, = inference.run([predictor.Predictor(plan)],
                               self.reader.pipeline,
                               self.images.records,
                               input_list=self.settings.Global.input_mapping,
                               title='%s %s' %
                               (plan.files.directory, plan.precision))
        return found.detections

    def row(self, plan: Any, **fields: Any) -> Dict[str, Any]:
        """One form's figures: mAP and agreement AP in percent, what it lost
        with the bounds of 95 % in points, and for int8 the layers that training
        quantized and that ran."""
        from act import accuracy, data, int8_check
        found = self.detect(plan)
        paired = accuracy.paired_difference(
            self.reference,
            found,
            self.images.annotation_path,
            category_ids=self.images.category_ids)
        agreement = accuracy.agreement_ap(self.reference, found)
        result = dict(fields,
                      precision=plan.precision,
                      backend=plan.backend,
                      map=self.float_map + 100 * paired.difference,
                      map_difference=100 * paired.difference,
                      low=100 * paired.low,
                      high=100 * paired.high,
                      agreement_ap=100 * (agreement.map or 0.0))
        if plan.precision in ('int8', 'bf16'):
            batch = data.feed(self.reader.pipeline(self.images.records[:1]),
                              data_inputs(plan),
                              self.settings.Global.input_mapping,
                              self.settings.path)
            count = int8_check.run(plan, batch)
            result.update(int8_check.fields(plan, count))
            result['failures'] = int8_check.failures(plan, count)
        print(result, flush=True)
        return result


def data_inputs(plan: Any) -> List[str]:
    """Names of a planned model's inputs."""
    from act.program.model import Model
    return Model.load(plan.files).inputs()


def measure(name: str, args: argparse.Namespace) -> Dict[str, Any]:
    """All forms of one model."""
    from act import config, predictor, runtime
    from act.compress import job
    path = os.path.join(PROJECT, 'demo', name + '_qat.yml')
    model = _Model(path, args.num_images)
    rows = [
        model.row(model.plan(model.float_dir, 'fp32', mkldnn=False)),
        model.row(model.plan(model.float_dir, 'fp32')),
    ]
    if set(predictor.BF16) & set(runtime.cpu_extensions()):
        rows.append(model.row(model.plan(model.float_dir, 'bf16')))
    has = config.read_mapping(path).get('Presets', {})
    for preset in [p for p in PRESETS if p in has] or [None]:
        for strategy in args.strategies:
            changes: Dict[str, Any] = {'Quantization': {'strategy': strategy}}
            if preset:
                changes['Preset'] = preset
            settings = config.load(path, changes)
            made = os.path.join(
                args.work_dir,
                '_'.join(part for part in (name, preset, strategy) if part))
            start = time.perf_counter()
            record = job.compress(settings, made, sys.argv)
            fields = {
                'strategy': strategy,
                'layers': preset or 'convolutions',
                'quantized_ops': record['quantized_ops'],
                'seconds': round(time.perf_counter() - start, 1),
            }
            for precision in ('fp32', 'int8'):  # the first: simulated
                rows.append(
                    model.row(model.plan(made, precision, settings=settings),
                              **fields))
    return {
        'environment': runtime.environment(),
        'images': len(model.images.records),
        'rows': rows,
    }


def table(models: Dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        '| model | form | layers | mAP | lost (95 %) | agreement AP '
        '| int8 layers asked, ran |', '|-|-|-|-|-|-|-|'
    ]
    for name, found in models.items():
        for row in found['rows']:
            form = row['precision'] + (', ' + row['backend']
                                       if row['precision'] == 'fp32' else '')
            if row.get('strategy'):
                form = '%s, %s' % (row['strategy'], form)
            asked = row.get('int8_convs_expected')
            ran = '' if asked is None else '%d, %d' % (
                asked + row.get('int8_linear_expected', 0),
                row['int8_convs_ran'] + row.get('int8_linear_ran', 0))
            lines.append('| %s | %s | %s | %.2f | %+.2f (%+.2f to %+.2f) | '
                         '%.1f | %s |' %
                         (name, form, row.get(
                             'layers', ''), row['map'], row['map_difference'],
                          row['low'], row['high'], row['agreement_ap'], ran))
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    args.output_json = os.path.abspath(args.output_json)
    os.chdir(PROJECT)
    from act import runtime
    from act.files import write_whole
    runtime.import_ppdet()
    models: Dict[str, Any] = {}
    if os.path.exists(args.output_json):
        with open(args.output_json, encoding='utf-8') as f:
            models = json.load(f)['models']
    for name in args.models:
        found = dict(measure(name, args), command=' '.join(sys.argv))
        if name in models:
            again = (None, *args.strategies)
            found['rows'] += [
                row for row in models[name]['rows']
                if row.get('strategy') not in again
            ]
        models[name] = found
        write_whole(args.output_json,
                    (json.dumps({'models': models}, indent=1) + '\n').encode())
    print(table(models))


if __name__ == '__main__':
    sys.exit(cli.run(main))
