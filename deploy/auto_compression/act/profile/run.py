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
"""One profile, from a configuration to the terminal and the files."""

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from .. import config, data, request, results, runtime
from ..errors import UserError
from ..plan import Plan
from ..program import faster
from ..program.model import Model, ModelFiles
from . import causes, chart, profiled, record, tables

RECORD = 'profile.json'
PICTURE = 'profile.png'


@dataclass(frozen=True)
class Options:
    """What diagnose.py profile was asked for."""
    precision: str = 'auto'
    use_mkldnn: Optional[bool] = None
    threads: Optional[int] = None
    batch_size: int = 1
    runs: int = 20
    output_dir: str = 'output/profile'
    output_json: Optional[str] = None
    rewrites: Sequence[str] = faster.ALL  # that may be applied


def _plan(settings: config.Settings, model_dir: str,
          asked: request.Options) -> Plan:
    """A plan, also of an operator set that is wrong: what it costs is one of
    the things that a profile shows."""
    try:
        return request.plan_of(settings, model_dir, asked)
    except UserError as refused:
        # Whatever else is wrong is refused again.
        made = request.plan_of(settings, model_dir, asked, check_types=False)
        print('warning: %s' % refused)
        return made


def profile(settings: config.Settings,
            model_dir: str,
            options: Options,
            command: List[str],
            compare: Optional[str] = None) -> Dict[str, Any]:
    """Profile a model, or two side by side, on an image of the validation set.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see Options. Its precision is the model's; a model compared
            with runs in its own (auto).
        command: as the user gave it, for the record.
        compare: directory of the reference.

    Returns:
        the record, which is also written, with a picture.

    Raises:
        UserError: bad input.
    """
    directories = ([compare] if compare else []) + [model_dir]
    for directory in directories:
        ModelFiles.named(settings.Global, directory).check()
    asked = request.Options(precision=options.precision,
                            use_mkldnn=options.use_mkldnn,
                            threads=options.threads,
                            rewrites=options.rewrites)
    plans = [_plan(settings, model_dir, asked)]
    if compare:
        plans.insert(0, _plan(settings, compare, asked.reference))
    reader = data.open_reader(settings.Reader)
    chosen = reader.val().records[:options.batch_size]
    if len(chosen) < options.batch_size:
        raise UserError('--batch_size %d: the validation set has %d images' %
                        (options.batch_size, len(chosen)))
    batch = reader.pipeline(chosen)
    feeds = [
        data.feed(batch,
                  Model.load(made.files).inputs(),
                  settings.Global.input_mapping, settings.path)
        for made in plans
    ]
    profiles, machine = profiled.profile(directories, plans, feeds,
                                         options.runs)
    found = causes.find(profiles)

    what = results.new_record('diagnose.py', command)
    what.update(runtime.environment())
    what.update(config=settings.path,
                model_name=settings.model_name,
                device='CPU',
                batch_size=options.batch_size,
                threads=plans[0].threads)
    made = record.make(what, profiles, machine, found)
    path = options.output_json or os.path.join(options.output_dir, RECORD)
    picture = os.path.join(options.output_dir, PICTURE)
    chart.draw(picture, profiles, machine)
    results.write(made, path)
    print('\n\n'.join([
        tables.rates(machine),
        tables.kinds(profiles, machine),
        tables.slowest(profiles, machine),
        tables.causes(found) or 'no cause of those known was found'
    ]))
    for one in profiles:
        if not one.named:
            print('warning: %s: the logged run had other operators than the '
                  'timed ones, so layers have neither names nor primitives' %
                  one.label)
    print('\npicture: %s\nrecord: %s' % (picture, path))
    return made
