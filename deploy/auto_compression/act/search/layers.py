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
"""Which layers of a quantized model lose accuracy, from a configuration to the
terminal and the files."""

import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from .. import config, data, results, runtime
from ..errors import UserError
from ..files import file_digest
from ..postprocess import check_outputs
from ..program.model import ModelFiles
from . import agreement, layers_chart, layers_record, layers_words
from .journal import NAME as JOURNAL
from .journal import Journal
from .sensitivity import Finding, Sensitivity
from .simulation import Simulation, load_quantized

RECORD, PICTURE = 'layers.json', 'layers.png'
# How many of the ranked layers are left in float together, to see what that
# regains.
TOGETHER = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Options:
    """What diagnose.py layers was asked for."""
    compare: Optional[str] = None  # the float model, if not Global.model_dir
    num_images: int = 32
    fresh: bool = False
    output_dir: str = 'output/layers'
    output_json: Optional[str] = None
    skip_bad_images: bool = False


def find(settings: config.Settings, model_dir: str, options: Options,
         command: List[str]) -> Dict[str, Any]:
    """Rank the layers of a quantized model by what they lose.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see Options.
        command: as the user gave it, for the record.

    Returns:
        the record, which is also written, with a picture.

    Raises:
        UserError: bad input.
    """
    start = time.perf_counter()
    files = ModelFiles.named(settings.Global, model_dir).check()
    model = load_quantized(files)
    source = _float_files(settings, options)
    postprocess = check_outputs(model, model_dir, settings.own_nms,
                                settings.Global.input_mapping, settings.path)
    reader = data.open_reader(settings.Reader, options.skip_bad_images)
    simulation = Simulation(files, source)
    records = agreement.training_images(settings, reader, options.num_images)
    images = agreement.prepare(settings, reader, records, model.inputs())
    journal = Journal(
        os.path.join(options.output_dir, JOURNAL), {
            'the model': files.digest(),
            'the float model': source.digest() if source else None,
            'the reader file': file_digest(reader.file),
            'the images': [record.id for record in records],
            'the annotation file':
            file_digest(*reader.train().annotation_files),
            'paddle': runtime.environment()['paddle'],
        }, options.fresh)
    sensitivity = Sensitivity(agreement.Judge(simulation, images, postprocess),
                              journal)
    found = sensitivity.measure()
    together = _together(sensitivity, found)

    what = results.new_record('diagnose.py', command)
    what.update(runtime.environment())
    what.update(config=settings.path,
                model_name=settings.name,
                model_dir=model_dir,
                model_hash=files.digest(),
                precision='simulated_int8',
                device='CPU',
                reference_model_dir=source.directory if source else None,
                dataset=reader.train().annotation_path,
                num_images=len(images),
                skipped_images=len(reader.bad.faults) or None,
                quantized_ops=len(simulation.layers),
                agreement_ap=found[0].whole,
                agreement_boxes=sensitivity.boxes(),
                seconds=time.perf_counter() - start,
                reused_probes=journal.reused)
    made = layers_record.make(what, found, together)
    path = options.output_json or os.path.join(options.output_dir, RECORD)
    picture = os.path.join(options.output_dir, PICTURE)
    layers_chart.draw(picture, found, made)
    results.write(made, path)
    print('\n\n'.join([
        layers_words.table(found),
        layers_words.together(together),
        layers_words.wild(found),
        layers_words.conclusion(settings, found, together, made),
    ]))
    print('\npicture: %s\nrecord: %s' % (picture, path))
    return made


def _float_files(settings: config.Settings,
                 options: Options) -> Optional[ModelFiles]:
    """The float model's files; None for a model that was trained, whose float
    twin is itself with its layers switched off.

    Raises:
        UserError: it is not there, or is not asked for.
    """
    if settings.Quantization.strategy == 'qat':
        if options.compare:
            raise UserError(
                '--compare %s: the model was trained (Quantization.strategy '
                'qat), so it is compared with itself in float; leave --compare '
                'out' % options.compare)
        return None
    directory = options.compare or settings.Global.model_dir
    if not os.path.isdir(directory):
        raise UserError(
            "float model '%s' (%s) does not exist; name the one that the model "
            'was made from with --compare DIR, or export it again: %s' %
            (directory,
             '--compare' if options.compare else '%s: Global.model_dir' %
             settings.path, ModelFiles(directory).remedy()))
    return ModelFiles.named(settings.Global, directory).check()


def _together(sensitivity: Sensitivity,
              found: List[Finding]) -> List[Tuple[List[str], float]]:
    """The first of the ranked layers left in float together: their weights, and
    the agreement AP in percent then."""
    return [(weights, sensitivity.agreement(weights))
            for weights in ([f.weight for f in found[:count]]
                            for count in TOGETHER if count < len(found))]
