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
"""What paddle_inference_eval.py is asked for, and the plan that comes of it.

A plan for TensorRT gets what it lacks in two steps: the ranges of its shapes,
for which images may have to be run on the CPU, and, once the device is known,
the directory of its engines.
"""

import os
from dataclasses import dataclass, replace
from typing import Iterator, Optional, Sequence

from . import config, data, gpu, runtime, tensorrt
from .errors import UserError
from .files import file_digest
from .plan import Plan, Refusals, plan
from .program import faster
from .program.model import Model, ModelFiles
from .shapes import collect
from .shapes import ranges as shape_ranges


@dataclass(frozen=True)
class Options:
    """What paddle_inference_eval.py was asked for."""
    device: str = 'CPU'
    precision: str = 'auto'
    use_mkldnn: Optional[bool] = None
    use_trt: bool = False
    use_dynamic_shape: Optional[bool] = None
    shape_range: Optional[str] = None  # one of shapes.collect.SOURCES
    shape_range_file: Optional[str] = None
    threads: Optional[int] = None
    batch_size: int = 1
    num_images: Optional[int] = None
    per_class: bool = False
    benchmark: bool = False
    check: bool = False
    skip_bad_images: bool = False
    pictures: int = 4  # of images on which detections changed most
    score_threshold: float = 0.3
    output_dir: str = 'output/evaluation'
    output_json: Optional[str] = None
    rewrites: Sequence[str] = faster.ALL  # that may be applied, on the CPU

    @property
    def reference(self) -> 'Options':
        """Of the model that the model is compared with: its own precision."""
        return replace(self,
                       precision='auto',
                       use_mkldnn=None,
                       shape_range_file=None)


def idle(options: Options) -> Iterator[UserError]:
    """An error for each option that would do nothing."""
    trt = options.device == 'GPU' and options.use_trt
    for_shapes = [
        name
        for name, value in (('--shape_range', options.shape_range),
                            ('--shape_range_file', options.shape_range_file))
        if value
    ]
    if options.use_trt and not trt:
        yield UserError('--use_trt: TensorRT is of the GPU; add --device GPU, '
                        'or leave it out')
    if options.device == 'GPU' and options.use_mkldnn:
        yield UserError('--use_mkldnn: oneDNN is of the CPU; leave it out, or '
                        'use --device CPU')
    if options.device == 'GPU' and tuple(options.rewrites) != faster.ALL:
        yield UserError('--no_rewrite: the rewrites are for the CPU, and none '
                        'is applied for the GPU; leave it out')
    if not trt:
        if options.use_dynamic_shape is not None:
            for_shapes.append('--use_dynamic_shape')
        for name in for_shapes:
            yield UserError('%s is of effect with TensorRT only; add --device '
                            'GPU --use_trt, or leave it out' % name)
    elif options.use_dynamic_shape is False:
        for name in for_shapes:
            yield UserError('%s: fixed shapes have no range; leave it out, or '
                            '--use_dynamic_shape False' % name)


def plan_of(settings: config.Settings,
            model_dir: str,
            options: Options,
            prepare: bool = True,
            refusals: Optional[Refusals] = None,
            check_types: bool = True) -> Plan:
    """The plan of one model; see `plan` for the last three."""
    noted = (refusals or Refusals()).noted
    for error in idle(options):
        with noted():
            raise error
    return plan(ModelFiles.named(settings.Global, model_dir),
                settings.Deploy.cpu,
                device=options.device,
                precision=options.precision,
                mkldnn=options.use_mkldnn,
                use_trt=options.use_trt,
                dynamic_shape=options.use_dynamic_shape,
                trt_options=settings.Deploy.tensorrt,
                batch_size=options.batch_size,
                threads=options.threads,
                nms=settings.own_nms,
                input_list=settings.Global.input_mapping,
                where=settings.path,
                rewrites=options.rewrites,
                check_types=check_types,
                prepare=prepare,
                refusals=refusals)


def check_rows(settings: config.Settings, options: Options, made: Plan) -> None:
    """
    Raises:
        UserError: figures shall be checked, and none is expected of the plan's
            precision.
    """
    if options.check and not any(row[0] == made.precision
                                 for row in settings.Expected):
        raise UserError("--check: '%s' has no row for %s in its Expected "
                        'section' % (settings.path, made.precision))


def with_ranges(made: Plan,
                settings: config.Settings,
                model_dir: str,
                options: Options,
                images: data.ImageSet,
                reader: data.Reader,
                again: bool = False,
                aside: Optional[str] = None) -> Plan:
    """The plan with a range file that covers some images, if it needs one;
    collected if there is none that does. See `shapes.collect.ensure`.

    Args:
        made: the plan.
        settings: the model's configuration.
        model_dir: the model, of which the plan may run a copy.
        options: see Options.
        images: of its data set, or one of the user's own.
        reader: that of the settings.
        again: collect in any case.
        aside: directory for a file that is collected, so that the one of the
            data set stays as it is.

    Raises:
        UserError: the file that the user named does not do.
    """
    if made.tensorrt is None or not made.tensorrt.dynamic_shape:
        return made
    files = ModelFiles.named(settings.Global, model_dir)
    asked = dict(path=options.shape_range_file,
                 source=options.shape_range or 'data',
                 again=again,
                 batch_size=made.batch_size,
                 reader=reader)
    if aside and not options.shape_range_file and not collect.look(
            settings, files, images, model=Model.load(
                made.files), **asked).file:
        asked.update(path=os.path.join(aside, shape_ranges.NAME), again=True)
    found = collect.ensure(settings,
                           files,
                           images,
                           prepared=made.files,
                           threads=made.threads,
                           **asked)
    return replace(made, tensorrt=replace(made.tensorrt, ranges=found))


def with_engines(made: Plan, device: gpu.Device) -> Plan:
    """The plan with the directory that its engines are kept in, if it has any.
    """
    engines = made.tensorrt
    if engines is None:
        return made
    ranges = file_digest(engines.range_file) if engines.range_file else None
    key = tensorrt.engine_key(model=made.files.digest(),
                              ranges=ranges,
                              precision=made.precision,
                              batch_size=made.batch_size,
                              deleted_passes=made.deleted_passes,
                              engines=engines,
                              gpu=device.name,
                              compute=device.compute,
                              versions={
                                  'paddle': runtime.PADDLE,
                                  'cuda': device.cuda,
                                  'tensorrt': device.tensorrt
                              })
    return replace(made,
                   tensorrt=replace(engines,
                                    cache_dir=tensorrt.engine_dir(key),
                                    key=key))


def collect_shapes(settings: config.Settings, model_dir: str,
                   options: Options) -> str:
    """Collect the shape ranges of a model for TensorRT, on any machine.

    Returns:
        path of the file, which is made in any case.

    Raises:
        UserError: what `plan_of` refuses for TensorRT, bad images, or shapes
            that are fixed.
    """
    options = replace(options, device='GPU', use_trt=True)
    made = plan_of(settings, model_dir, options)
    if not made.tensorrt.dynamic_shape:
        raise UserError('--collect_shapes_only: fixed shapes have no range '
                        '(Deploy.tensorrt.dynamic_shape, --use_dynamic_shape)')
    reader = data.open_reader(settings.Reader, options.skip_bad_images)
    images = reader.val().take(options.num_images)
    made = with_ranges(made,
                       settings,
                       model_dir,
                       options,
                       images,
                       reader,
                       again=True)
    return made.tensorrt.range_file
