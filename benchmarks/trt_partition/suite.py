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
"""The models of the table, each in all its forms."""

import argparse
import os
import sys
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Tuple

from act import config, data, runtime
from act.program import tensorrt
from act.program.model import Model, ModelFiles
from act.shapes import collect
from engines.models import Models, read_rows
from record import command

from . import table
from .analysis import BUILD, Analysis, Request

TABLE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    'trt_partition.yml')
PRECISIONS = ('fp32', 'fp16', 'int8')


def one(args: argparse.Namespace, overrides: Dict[str,
                                                  Any]) -> List[Dict[str, Any]]:
    """Analyse the model that the command line names."""
    settings = config.load(args.config_path, overrides)
    model = args.model_path or settings.Global.model_dir
    return [
        _row(
            args, Analysis(args.gpu_python), settings.name, args.precision,
            Request(os.path.abspath(model), os.path.abspath(args.config_path),
                    args.precision, args.use_dynamic_shape,
                    args.shape_range_file or '', overrides))
    ]


def run(args: argparse.Namespace, output: str) -> None:
    """Analyse all models of the table in all precisions, with fixed and dynamic
    shapes; written after each, so that a row that is there is not made again.
    """
    analysis = Analysis(args.gpu_python)
    found = table.read(output) if os.path.exists(output) else []
    for row in read_rows(TABLE, {'coco': args.coco}, args.table or None):
        models = Models(row, args.work_dir, sys.executable)
        for precision, dynamic, prepare in _forms(models):
            key = dict(model=row.name,
                       precision=precision,
                       shapes='dynamic' if dynamic else 'fixed',
                       rewrites=prepare)
            if any(key.items() <= old.items() for old in found):
                continue
            directory = models.int8_model() if precision == 'int8' else \
                models.float_model()
            ranges = models.path('ranges_%s%s.txt' %
                                 ('int8' if precision == 'int8' else 'float',
                                  '' if prepare else '_as_exported'))
            made = _row(
                args, analysis, row.name, precision,
                Request(directory,
                        models.config_file,
                        precision,
                        dynamic,
                        ranges,
                        prepare=prepare))
            print(table.text([made]), flush=True)
            found.append(made)
            table.write(
                output, found,
                dict(runtime.environment(),
                     command=command(sys.argv),
                     seen='without a GPU',
                     analysed_with=BUILD))


def _forms(models: Models) -> Iterator[Tuple[str, bool, bool]]:
    """(precision, dynamic shapes, rewritten) that a model has."""
    files = ModelFiles.named(models.settings.Global, models.float_model())
    model = Model.load(files)
    block = model.program.global_block()
    fixed = all(size > 0 for name in model.inputs()
                for size in block.var(name).shape[1:])
    rewritten = bool(tensorrt.apply(model))
    for precision in PRECISIONS:
        for dynamic in (False, True) if fixed else (True, ):
            yield precision, dynamic, True
            if rewritten and precision == 'fp32':
                yield precision, dynamic, False


def _row(args: argparse.Namespace, analysis: Analysis, name: str,
         precision: str, request: Request) -> Dict[str, Any]:
    """Collect the ranges if they are needed, and analyse."""
    settings = config.load(request.config, request.overrides)
    dynamic = settings.Deploy.tensorrt.dynamic_shape \
        if request.dynamic_shape is None else request.dynamic_shape
    if args.no_rewrite:
        request = replace(request, prepare=False)
    if dynamic and not os.path.exists(request.range_file):
        request = replace(request, range_file=_collect(args, settings, request))
    outcome = analysis.run(request, args.timeout)
    return dict(model=name,
                precision=precision,
                shapes='dynamic' if dynamic else 'fixed',
                rewrites=request.prepare,
                **outcome.as_dict())


def _collect(args: argparse.Namespace, settings: config.Settings,
             request: Request) -> str:
    """A range file of the model that TensorRT is given."""
    files = ModelFiles.named(settings.Global, request.model)
    reader = data.open_reader(settings.Reader)
    return collect.ensure(settings,
                          files,
                          reader.val().take(args.num_images),
                          path=request.range_file or None,
                          reader=reader,
                          prepared=tensorrt.prepared(files).files
                          if request.prepare else files).path
