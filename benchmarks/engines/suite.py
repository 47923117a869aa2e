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
"""All engines on one model: files made, engines loaded, run and compared."""

import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional, Sequence

import limits
import numpy as np
from act import data, int8_check
from act.errors import UserError, unknown
from act.postprocess import check_outputs
from act.program.model import Model, ModelFiles

from . import compare, engine, measure, report
from .models import Models, Row
from .protocol import EngineError

RANDOM_IMAGES = 4  # of a model that is not trained: speed depends on none


def chosen(names: Optional[Sequence[str]]) -> List[measure.Variant]:
    """The variants whose names begin so, and the reference, which is first.

    Raises:
        UserError: a name that none begins with.
    """
    if not names:
        return list(measure.VARIANTS)
    for name in names:
        if not any(v.name.startswith(name) for v in measure.VARIANTS):
            raise unknown('engine', name, [v.name for v in measure.VARIANTS],
                          '--engines')
    return [
        v for v in measure.VARIANTS
        if v is measure.REFERENCE or any(v.name.startswith(n) for n in names)
    ]


def measure_row(row: Row, variants: Sequence[measure.Variant],
                args: Any) -> Dict[str, Any]:
    """One model's part of the result; {'error': ...} if it cannot be made.

    Args:
        row: the model.
        variants: the engines.
        args: of cpu_engines.py.
    """
    try:
        made = Models(row, args.work_dir, args.peers_python)
        files = ModelFiles.named(made.settings.Global, made.float_model())
        with tempfile.TemporaryDirectory(prefix='engines_',
                                         dir=made.directory) as work:
            return _Suite(row, made, files, args, work).result(variants)
    except UserError as e:
        return {'error': str(e)}


class _Suite:

    def __init__(self, row: Row, made: Models, files: ModelFiles, args: Any,
                 work: str) -> None:
        self._row, self._made, self._args, self._work = row, made, args, work
        settings = made.settings
        model = Model.load(files)
        mapping = settings.Global.input_mapping
        self._postprocess = check_outputs(model, files.directory,
                                          settings.own_nms, mapping, row.name)
        self._holds_nms = any('nms' in op.type for op in model.ops)
        reader = data.open_reader(settings.Reader)
        options = settings.Quantization
        drawn = reader.train().drawn(options.seed)[:options.calibration_images]
        shutil.rmtree(made.path('calibration'), ignore_errors=True)
        measure.Images(made.path('calibration'), reader, drawn, model.inputs(),
                       mapping)
        count = args.images or (None if row.trained else RANDOM_IMAGES)
        self._set = reader.val().take(count)
        self._images = measure.Images(os.path.join(work, 'images'), reader,
                                      self._set.records, model.inputs(),
                                      mapping)

    def result(self, variants: Sequence[measure.Variant]) -> Dict[str, Any]:
        """See `measure_row`."""
        runners: List[measure.Runner] = []
        errors: Dict[str, str] = {}
        rates = [limits.gemm_gflops(self._args.threads)]
        try:
            for variant in variants:
                try:
                    runners.append(self._runner(variant))
                except (UserError, EngineError) as e:
                    errors[variant.name] = str(e)
                    print('%s: %s: %s' % (self._row.name, variant.name, e),
                          flush=True)
            errors.update(
                measure.rounds(runners,
                               self._images,
                               warmup=self._args.warmup,
                               runs=self._args.runs,
                               seconds=self._args.seconds,
                               threads=self._args.threads,
                               title=self._row.name))
            rates.append(limits.gemm_gflops(self._args.threads))
            kernels = {r.variant.name: r.evidence() for r in runners}
        finally:
            for runner in runners:
                runner.close()
        return self._report(variants, {r.variant.name: r
                                       for r in runners}, errors, kernels,
                            limits.fastest(rates))

    def _runner(self, variant: measure.Variant) -> measure.Runner:
        arguments: Dict[str, Any] = {
            'model': getattr(self._made, variant.model)(),
            'precision': variant.precision,
            'threads': self._args.threads,
        }
        if variant.kind == 'openvino':
            arguments['shapes'] = self._images.shapes
        if not variant.peer:
            arguments.update(config=self._made.config_file,
                             rewrite=variant.rewrite)
        return measure.Runner(
            variant, measure.python_of(variant, self._args.peers_python),
            self._work, arguments, self._args.threads)

    def _primitives(self, variant: measure.Variant) -> List[Any]:
        """What oneDNN ran in Paddle, in a process of its own."""
        plan = engine.paddle_plan(self._made.settings,
                                  getattr(self._made, variant.model)(),
                                  variant.precision, self._args.threads,
                                  bool(variant.rewrite))
        with np.load(self._images.paths[0]) as feed:
            return int8_check.primitives(plan, dict(feed))

    def _report(self, variants: Sequence[measure.Variant],
                runners: Dict[str, measure.Runner], errors: Dict[str, str],
                kernels: Dict[str,
                              List[str]], rate: Dict[str,
                                                     float]) -> Dict[str, Any]:
        rows = [{
            'name': v.name,
            'peer': v.peer,
            'precision': v.precision
        } for v in variants]
        gflop = {'convolution': 0.0, 'linear': 0.0}
        reference: Optional[List[Any]] = None
        for variant, row in zip(variants, rows):
            runner = runners.get(variant.name)
            if runner is None:
                row['error'] = errors[variant.name]
                continue
            row.update(runner.figures())
            row['kernels'] = kernels[variant.name]
            try:
                if not variant.peer:
                    primitives = self._primitives(variant)
                    row['kernels'] = engine.counted('%s %s' %
                                                    (p.kind, p.implementation)
                                                    for p in primitives)
                    if variant is measure.REFERENCE:
                        gflop = limits.gflop(primitives)
                found = compare.detections(runner.outputs, self._images.batches,
                                           [r.id for r in self._set.records],
                                           self._postprocess)
                if variant is measure.REFERENCE:
                    reference = found
                if reference is not None:
                    row.update(
                        compare.figures(found, reference, self._set,
                                        self._row.trained))
                # Boxes after NMS or a ranking of queries have no fixed order.
                if reference is not None and self._made.settings.own_nms:
                    row['relative_error'] = compare.worst(
                        runner.outputs, runners[measure.REFERENCE.name].outputs)
            except UserError as e:
                # Its times hold all the same.
                row['comparison_error'] = str(e)
        limit = {
            name: 1e3 * sum(gflop.values()) / value
            for name, value in rate.items() if any(gflop.values())
        }
        report.add_ratios(rows, measure.REFERENCE.name, limit)
        return {
            'nms': self._nms(),
            'trained': self._row.trained,
            'images': len(self._images),
            'calibration_images':
            self._made.settings.Quantization.calibration_images,
            'gflop': gflop,
            'gemm_gflops': rate,
            'limit_ms': limit,
            'rows': rows,
        }

    def _nms(self) -> str:
        if self._holds_nms:
            return 'in the model'
        return 'cut off' if self._made.settings.own_nms else 'has none'
