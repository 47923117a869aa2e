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
"""What int8 costs a trained detector, recipe by recipe and seed by seed.

Exports the model from the weights given, compresses it, and evaluates float,
simulated int8 and deployed int8 on the data set's validation images. Recipes
are ranked by agreement AP with the float model: on few images mAP cannot.
CPUs with and without VNNI compute int8 in different ways, so their runs stand
side by side in the results.
"""

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

PLAIN = {'weight_rounding': 'nearest'}
# All in int8, whatever the configuration leaves in float.
ALL = {'float_weights': []}


def _ptq(**options: Any) -> Dict[str, Any]:
    return {
        'Quantization': dict(strategy='ptq', **options),
        'QuantAware': dict(ALL)
    }


def _qat(values: Sequence[float] = (0.001, 0.0002),
         boundaries: Sequence[int] = (30, ),
         use_pact: bool = False,
         distillation: Optional[Dict[str, Any]] = None,
         freeze_batch_norm: bool = True,
         **options: Any) -> Dict[str, Any]:
    """40 iterations of 4 images: minutes on a CPU."""
    return {
        'Quantization': dict(strategy='qat', **options),
        'QuantAware': dict(ALL, use_pact=use_pact),
        'Distillation': distillation or {},
        'TrainConfig': {
            'train_iter': 40,
            'eval_iter': 40,
            'batch_size': 4,
            'freeze_batch_norm': freeze_batch_norm,
            'learning_rate': {
                'type': 'PiecewiseDecay',
                'boundaries': list(boundaries),
                'values': list(values),
            },
        },
    }


def _first_in_float(model: Any, count: int) -> Dict[str, Any]:
    """The first convolutions in float."""
    weights = dict.fromkeys(
        op.input('Filter')[0] for op in model.ops if op.type == 'conv2d')
    return {'QuantAware': {'float_weights': list(weights)[:count]}}


def _features(model: Any) -> List[str]:
    """What the last operators with weights get: distillation nodes one layer
    before the default ones."""
    from act.compress import qat
    maker = {n: op for op in model.ops for n in op.output_arg_names}
    found = []
    for name in qat.final_weight_outputs(model):
        op = maker[name]
        while 'Filter' not in op.input_names:
            op = maker[op.input('X')[0]]
        found += op.input('Input')
    return list(dict.fromkeys(found))


# Laid over the configuration; those that name layers are functions of the
# float `Model`. 'default' is the configuration as it stands.
RECIPES: Dict[str, Any] = {
    'default': {},
    'abs_max': _ptq(algo='abs_max', **PLAIN),
    'avg': _ptq(algo='avg', **PLAIN),
    'mse': _ptq(algo='mse', **PLAIN),
    'KL': _ptq(algo='KL', **PLAIN),
    'hist': _ptq(algo='hist', **PLAIN),
    'hist_bias_correction': _ptq(algo='hist', bias_correction=True, **PLAIN),
    'gptq': _ptq(),
    'mse_gptq': _ptq(algo='mse'),
    'avg_gptq': _ptq(algo='avg'),
    'stem_in_float': lambda model: _first_in_float(model, 1),
    'first_5_in_float': lambda model: _first_in_float(model, 5),
    # From calibrated ranges and weights.
    'qat': _qat(),
    'qat_low_rate': _qat((0.0001, 0.00002)),
    'qat_batch_norm_free': _qat(freeze_batch_norm=False),
    'qat_soft_label': _qat(distillation={'loss': 'soft_label'}),
    'qat_features': lambda model: _qat(distillation={'node': _features(model)}),
    # As PaddleSlim trains: from ranges that 12 iterations at rate 0 track.
    'qat_tracked': _qat((0.0, 0.001, 0.0002), (12, 32), **PLAIN),
    'qat_tracked_pact': _qat((0.0, 0.001, 0.0002), (12, 32), True, **PLAIN),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        required=True,
                        help='YAML of the model; its dataset is replaced')
    parser.add_argument('--coco', required=True, help='COCO data set')
    parser.add_argument('--weights', required=True, help='trained weights')
    parser.add_argument('--recipes',
                        nargs='+',
                        choices=list(RECIPES),
                        default=['default'])
    cli.add_flag(parser, '--simulated', True, 'also without oneDNN')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work_dir',
                        default=os.path.join('output', 'bench_accuracy'),
                        help='for models (default: output/bench_accuracy)')
    cli.add_overrides(parser, 'the YAML')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import accuracy, config, data, inference, predictor, runtime
    from act.compress import job
    from act.files import write_whole
    from act.program import halving
    from act.program.model import Model, ModelFiles

    runtime.import_ppdet()
    name = config.load(args.config_path).name
    work = os.path.join(args.work_dir, name)
    overrides = config.merge(
        cli.parse_overrides(args.opt), {
            'Global': {
                'model_dir': os.path.join(work, 'float'),
                'Evaluation': False
            },
            'Export': {
                'weights': os.path.abspath(args.weights)
            },
            'Reader': {
                'dataset_dir': args.coco
            },
        })
    settings = config.load(args.config_path, overrides)
    job.ensure_exported(settings)
    reader = data.open_reader(settings.Reader)
    images = reader.val()

    def detect(directory: str, precision: str) -> 'List[accuracy.Detections]':
        plan = predictor.plan(ModelFiles.named(settings.Global, directory),
                              settings.Deploy.cpu,
                              precision=precision)
        done, = inference.run([predictor.Predictor(plan)],
                              reader.pipeline,
                              images.records,
                              input_list=settings.Global.input_mapping,
                              where=settings.path,
                              title='%s %s' % (directory, precision))
        return done.detections

    reference = detect(settings.Global.model_dir, 'fp32')
    evaluator = accuracy.CocoEvaluator.of(images)
    evaluator.process(reference)
    float_map = 100 * (evaluator.evaluate().map or 0.0)

    def compare(found: 'List[accuracy.Detections]') -> Dict[str, float]:
        paired = accuracy.paired_difference(reference,
                                            found,
                                            images.annotation_path,
                                            category_ids=images.category_ids)
        return {
            'agreement_ap':
            100 * (accuracy.agreement_ap(reference, found).map or 0.0),
            'map':
            float_map + 100 * paired.difference,
            'map_difference':
            100 * paired.difference,
            'low':
            100 * paired.low,
            'high':
            100 * paired.high,
        }

    cpu = runtime.cpu_name()
    vnni = not halving.halves()
    rows = []
    for recipe in args.recipes:
        changes = RECIPES[recipe]
        if callable(changes):
            changes = changes(
                Model.load(
                    ModelFiles.named(settings.Global,
                                     settings.Global.model_dir)))
        for seed in args.seeds:
            made = config.load(
                args.config_path,
                config.merge(config.merge(overrides, changes), {
                    'Quantization': {
                        'seed': seed
                    },
                    'TrainConfig': {
                        'seed': seed
                    }
                }))
            directory = os.path.join(work, '%s_%d' % (recipe, seed))
            start = time.perf_counter()
            job.compress(made, directory, sys.argv)
            row = {
                'recipe': recipe,
                'seed': seed,
                'cpu': cpu,
                'vnni': vnni,
                'minutes': (time.perf_counter() - start) / 60,
                'deployed': compare(detect(directory, 'int8')),
            }
            if args.simulated:
                row['simulated'] = compare(detect(directory, 'fp32'))
            rows.append(row)
            print(row, flush=True)

    result = {
        'command': ' '.join(sys.argv),
        'config': args.config_path,
        'environment': runtime.environment(),
        'images': len(images.records),
        'float_map': float_map,
        'runs': rows,
    }
    path = os.path.join(ROOT, 'benchmarks', 'results',
                        'accuracy_%s.json' % name)
    _merge_runs(path, result)
    write_whole(path, (json.dumps(result, indent=2) + "\n").encode())
    print('float mAP %.2f on %d images' % (float_map, len(images.records)))
    print(table(result['runs']))
    print('results: %s' % path)


def _merge_runs(path: str, result: Dict[str, Any]) -> None:
    """Keep an older file's runs of recipes that were not run this time."""
    if not os.path.exists(path):
        return
    with open(path, encoding='utf-8') as f:
        old = json.load(f)
    fresh = {_key(r) for r in result['runs']}
    result['runs'] = [r for r in old['runs'] if _key(r) not in fresh
                      ] + result['runs']


def _key(run: Dict[str, Any]) -> Tuple[str, int, bool]:
    return run['recipe'], run['seed'], run['vnni']


def table(runs: List[Dict[str, Any]]) -> str:
    """Medians over seeds, best agreement first, as a Markdown table."""
    lines = []
    for recipe, vnni in dict.fromkeys((r['recipe'], r['vnni']) for r in runs):
        for kind in ('deployed', 'simulated'):
            found = [
                r for r in runs
                if (r['recipe'], r['vnni']) == (recipe, vnni) and kind in r
            ]
            if not found:
                continue
            where = 'VNNI' if vnni else 'no VNNI'
            agreement = [r[kind]['agreement_ap'] for r in found]
            loss = [r[kind]['map_difference'] for r in found]
            lines.append(
                (-statistics.median(agreement),
                 '| %s, %s, %s | %.1f (%.1f to %.1f) | %+.2f (%+.2f to %+.2f) '
                 '| %d | %.1f |' %
                 (recipe, kind, where, statistics.median(agreement),
                  min(agreement), max(agreement), statistics.median(loss),
                  min(loss), max(loss), len(found),
                  statistics.median(r['minutes'] for r in found))))
    head = [
        '| recipe | agreement AP | mAP against float | seeds | minutes |',
        '|-|-|-|-|-|'
    ]
    return '\n'.join(head + [text for _, text in sorted(lines)])


if __name__ == '__main__':
    sys.exit(cli.run(main))
