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
"""--explain: what a command would do, and what of it would be refused, without
doing it. Nothing is built, collected or run, and no device is needed.

FIELDS documents what is said of each model.
"""

from dataclasses import replace
from typing import Any, Dict, Iterator, List, Optional, Tuple

from tabulate import tabulate

from . import config, data, gpu, results, runtime, tensorrt
from .errors import UserError
from .plan import Plan, Refusals
from .program import copies, faster
from .program import tensorrt as trt_program
from .program.model import Model, ModelFiles
from .request import Options, check_rows, plan_of, with_engines
from .results import Field
from .shapes import collect

_WHAT = (*(results.FIELDS[name] for name in results.REQUIRED),
         results.FIELDS['config'], results.FIELDS['model_name'])
_SHOWN = 20  # names of images

FIELDS: Tuple[Field, ...] = (
    *(results.FIELDS[name]
      for name in ('model_dir', 'model_hash', 'quantized_ops', 'device',
                   'backend', 'precision')),
    Field('capability', 'text', '',
          'row of act.capability that it falls under'),
    *(results.FIELDS[name] for name in ('batch_size', 'threads',
                                        'deleted_passes', 'float_precision')),
    Field('op_types', 'texts', '', 'operator set given to oneDNN'),
    Field('rewrites', 'texts', '', 'applied where the program has a place'),
    Field('program_cache', 'text', '',
          'where prepared copies lie; null: none is needed'),
    *(results.FIELDS[name]
      for name in ('disabled_ops', 'min_subgraph_size', 'workspace_mib',
                   'explicit_quantization', 'dynamic_shape',
                   'shape_range_file')),
    Field('shapes', 'text', '', 'where shapes come from'),
    Field('shape_inputs', 'count', '', 'how many inputs would be run for them'),
    Field('shape_images', 'texts', '', 'of these images'),
    Field('engine_cache', 'text', '',
          'directory of the engines; its name needs the device and the ranges'),
    Field('engines_cached', 'flag', '', 'whether engines are there'),
    Field('missing', 'text', '', 'what the device check would say; null: '
          'nothing'),
    Field('refused', 'texts', '', 'each reason why it would not run'),
)


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of what --output_json writes."""
    return results.tables_schema('plan', _WHAT, {'plans': FIELDS})


def explain(settings: config.Settings,
            model_dir: str,
            options: Options,
            command: List[str],
            compare: Optional[str] = None) -> Dict[str, Any]:
    """Say what evaluating a model would do.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see Options.
        command: as the user gave it, for the record.
        compare: directory of the reference.

    Returns:
        what was said, see `schema`; also written to `options.output_json`.

    Raises:
        UserError: there is no such model, or it cannot be written.
    """
    asked = [(model_dir, options)]
    if compare:
        asked.append((compare, options.reference))
    record = results.new_record('paddle_inference_eval.py', command)
    record.update(config=settings.path,
                  model_name=settings.model_name,
                  plans=[_of_model(settings, *one) for one in asked])
    results.check(record, schema(), 'plan')
    for one in record['plans']:
        print(text(one))
    if options.output_json:
        results.write(record, options.output_json)
    return record


def text(said: Dict[str, Any]) -> str:
    """What is said of one model, for the terminal."""
    rows = [[field.name,
             results.show(field, said[field.name]), field.unit]
            for field in FIELDS
            if field.name != 'refused' and said[field.name] not in (None, [])]
    lines = ['refused: ' + line for line in said['refused']] or [
        'would run'
        if said['missing'] is None else 'would run where the device is'
    ]
    return '\n'.join([tabulate(rows, tablefmt='plain', disable_numparse=True)] +
                     lines)


def _of_model(settings: config.Settings, model_dir: str,
              options: Options) -> Dict[str, Any]:
    """FIELDS of one model."""
    refusals = Refusals(keep=True)
    files = ModelFiles.named(settings.Global, model_dir)
    made = plan_of(settings,
                   model_dir,
                   options,
                   prepare=False,
                   refusals=refusals)
    said: Dict[str, Any] = dict.fromkeys(field.name for field in FIELDS)
    said.update(model_dir=model_dir,
                model_hash=files.digest(),
                quantized_ops=sum(made.quantized.values()),
                device=made.device,
                backend=made.backend,
                precision=made.precision,
                capability=str(made.row),
                batch_size=made.batch_size,
                threads=made.threads,
                deleted_passes=list(made.deleted_passes),
                float_precision=made.float_precision,
                op_types=list(made.op_types))
    with refusals.noted():
        check_rows(settings, options, made)
    reader = images = None
    with refusals.noted():
        reader = data.open_reader(settings.Reader, options.skip_bad_images)
        images = reader.val().take(options.num_images)
    if made.device == 'GPU':
        said.update(_of_gpu(made, settings, options, refusals, reader, images))
    else:
        said.update(_of_cpu(made, options))
    said['refused'] = refusals.lines
    return said


def _of_cpu(made: Plan, options: Options) -> Dict[str, Any]:
    if made.backend != 'onednn' or made.precision == 'simulated_int8':
        return {}
    rewrites = faster.candidates(Model.load(made.files), options.rewrites)
    needed = made.precision == 'int8' or rewrites
    return {
        'rewrites': list(rewrites),
        'program_cache': copies.cache_dir() if needed else None
    }


def _of_gpu(made: Plan, settings: config.Settings, options: Options,
            refusals: Refusals, reader: Optional[data.Reader],
            images: Optional[data.ImageSet]) -> Dict[str, Any]:
    said: Dict[str, Any] = {}
    engines = made.tensorrt
    ranges = None
    if engines:
        said.update(rewrites=list(made.rewrites),
                    disabled_ops=list(engines.disabled_ops),
                    min_subgraph_size=engines.min_subgraph_size,
                    workspace_mib=engines.workspace_mb,
                    explicit_quantization=engines.explicit_quantization,
                    dynamic_shape=engines.dynamic_shape,
                    shapes=None
                    if engines.dynamic_shape else 'fixed, those of the model')
        if made.rewrites:
            said['program_cache'] = copies.cache_dir()
        if engines.dynamic_shape and images:
            with refusals.noted():
                found = _look(made, settings, options, reader, images)
                ranges = found.file
                said.update(_of_shapes(found))
        said['engine_cache'] = runtime.user_cache('engines')
    try:
        device = gpu.find(options.use_trt)
    except UserError as error:
        said['missing'] = str(error)
        return said
    if engines and (ranges or not engines.dynamic_shape):
        made = with_engines(
            replace(made, tensorrt=replace(engines, ranges=ranges)), device)
        said.update(engine_cache=made.tensorrt.cache_dir,
                    engines_cached=tensorrt.cached(made.tensorrt.cache_dir))
    return said


def _look(made: Plan, settings: config.Settings, options: Options,
          reader: data.Reader, images: data.ImageSet) -> collect.Look:
    # As it would run, which is not made here.
    model = Model.load(made.files)
    trt_program.apply(model)
    return collect.look(settings,
                        made.files,
                        images,
                        path=options.shape_range_file,
                        model=model,
                        source=options.shape_range or 'data',
                        batch_size=made.batch_size,
                        reader=reader)


def _of_shapes(found: collect.Look) -> Dict[str, Any]:
    said: Dict[str, Any] = {'shape_range_file': found.path}
    if found.file:
        said['shapes'] = 'ranges of the file'
        return said
    names = list(_names(found))
    said.update(shapes='ranges to be collected: ' + found.why,
                shape_inputs=len(found.chosen),
                shape_images=names[:_SHOWN])
    return said


def _names(found: collect.Look) -> Iterator[str]:
    for at in found.chosen:
        for source in found.inputs.batches[at]:
            yield source.path if isinstance(
                source, data.ImageRecord) else 'noise of %d x %d' % source
