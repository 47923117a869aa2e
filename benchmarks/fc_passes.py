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
"""What the passes fc_mkldnn_pass and fc_act_mkldnn_fuse_pass, which published
work deletes on the CPU, do to a detector with linear layers.

Float and int8, with each of them and without, against float without oneDNN.
The int8 program as this project prepares it, and as it was saved, with the
operator types that PaddleDetection's script names, alone and with more. For
each the log of oneDNN says what ran in int8.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections import Counter
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

PASSES = ('fc_mkldnn_pass', 'fc_act_mkldnn_fuse_pass')
DELETED = ((), PASSES[:1], PASSES[1:], PASSES)
# deploy/auto_compression/test_det.py of PaddleDetection, develop.
PUBLISHED = ('conv2d', 'depthwise_conv2d', 'transpose2', 'pool2d')
COUNTED = ('convolution', 'inner_product', 'matmul', 'pooling_v2', 'pooling',
           'binary', 'reorder')


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--config_path',
                        default=os.path.join(PROJECT, 'demo',
                                             'rtdetr_tiny_qat.yml'))
    parser.add_argument('--convolutions',
                        required=True,
                        help='result of run.py, only convolutions quantized')
    parser.add_argument('--linear_too',
                        required=True,
                        help='result of run.py, linear layers quantized too')
    parser.add_argument('--num_images', type=int, help='default: all')
    parser.add_argument('--output_json')
    return parser.parse_args()


class _Bench:
    """A configuration's images and what float detects on them."""

    def __init__(self, path: str, num_images: Optional[int]) -> None:
        from act import config, data
        from act.compress import job
        self.settings = config.load(path)
        job.ensure_exported(self.settings)
        self.float_dir = self.settings.Global.model_dir
        self.reader = data.open_reader(self.settings.Reader)
        self.images = self.reader.val().take(num_images)
        self.batch = self.reader.pipeline(self.images.records[:1])
        native = self.plan(self.float_dir)
        native = dataclasses.replace(native, mkldnn=False)
        self.reference, self.float_map = self.detect(native)

    def plan(self, directory: str, **fields: Any) -> Any:
        """A plan as fp32, with `fields` set over it, whatever they say."""
        from act import predictor
        from act.program.model import ModelFiles
        made = predictor.plan(ModelFiles.named(self.settings.Global,
                                               self.float_dir),
                              self.settings.Deploy.cpu,
                              threads=1)
        files = ModelFiles.named(self.settings.Global, directory)
        return dataclasses.replace(made, files=files, **fields)

    def detect(self, plan: Any) -> Tuple[List[Any], float]:
        from act import accuracy, inference, predictor
        done, = inference.run([predictor.Predictor(plan)],
                              self.reader.pipeline,
                              self.images.records,
                              where=self.settings.path)
        evaluator = accuracy.CocoEvaluator.of(self.images)
        evaluator.process(done.detections)
        return done.detections, 100 * (evaluator.evaluate().map or 0.0)

    def row(self, name: str, plan: Any) -> Dict[str, Any]:
        from act import accuracy, data, int8_check
        from act.program.model import Model
        result: Dict[str, Any] = {
            'form': name,
            'deleted': list(plan.deleted_passes)
        }
        found, result['map'] = self.detect(plan)
        agreement = accuracy.agreement_ap(self.reference, found)
        result['agreement_ap'] = 100 * (agreement.map or 0.0)
        paired = accuracy.paired_difference(
            self.reference,
            found,
            self.images.annotation_path,
            category_ids=self.images.category_ids)
        result.update(map_difference=100 * paired.difference,
                      low=100 * paired.low,
                      high=100 * paired.high)
        feed = data.feed(self.batch,
                         Model.load(plan.files).inputs(), None,
                         self.settings.path)
        ran = Counter(
            '%s %s' % (p.kind, 'int8' if p.source in ('s8', 'u8') else p.source)
            for p in int8_check.primitives(plan, feed) if p.kind in COUNTED)
        result['ran'] = dict(sorted(ran.items()))
        print(result, flush=True)
        return result


def forms(bench: _Bench, results: Dict[str, str]) -> Iterator[Tuple[str, Any]]:
    """Each way to run, without deleted passes."""
    from act.program import cpu
    from act.program.model import ModelFiles
    yield 'float', bench.plan(bench.float_dir, precision='fp32')
    for name, directory in results.items():
        files = ModelFiles.named(bench.settings.Global, directory)
        ours: Sequence[str] = ('conv2d', 'depthwise_conv2d', 'fused_conv2d')
        yield ('%s, prepared' % name,
               bench.plan(cpu.prepared(files,
                                       cpu.Target(int8=True)).files.directory,
                          precision='int8',
                          op_types=ours))
        if name == 'linear_too':
            yield ('%s, prepared, fc' % name,
                   bench.plan(cpu.prepared(
                       files, cpu.Target(int8=True,
                                         int8_fc=True)).files.directory,
                              precision='int8',
                              op_types=(*ours, 'fc')))
        for said, types in (('', ()), (', fused_conv2d', ('fused_conv2d', ))):
            yield ('%s, as saved, types published%s' % (name, said),
                   bench.plan(directory,
                              precision='int8',
                              op_types=(*PUBLISHED, *types)))


def main() -> None:
    args = parse_args()
    results = {
        'convolutions': os.path.abspath(args.convolutions),
        'linear_too': os.path.abspath(args.linear_too)
    }
    if args.output_json:
        args.output_json = os.path.abspath(args.output_json)
    args.config_path = os.path.abspath(args.config_path)
    os.chdir(PROJECT)
    from act import runtime
    from act.errors import UserError
    from act.files import write_whole
    runtime.import_ppdet()
    bench = _Bench(args.config_path, args.num_images)
    rows = []
    for name, plan in forms(bench, results):
        for deleted in DELETED:
            try:
                rows.append(
                    bench.row(name,
                              dataclasses.replace(plan,
                                                  deleted_passes=deleted)))
            except UserError as error:
                rows.append({
                    'form': name,
                    'deleted': list(deleted),
                    'error': str(error)
                })
                print(rows[-1], flush=True)
    result = {
        'command': ' '.join(sys.argv),
        'environment': runtime.environment(),
        'images': len(bench.images.records),
        'float_map': bench.float_map,
        'rows': rows,
    }
    if args.output_json:
        write_whole(args.output_json,
                    (json.dumps(result, indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
