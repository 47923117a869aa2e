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
"""A model made ready for oneDNN, as a directory of its own: for programs in C++
that have nothing of this project.

It holds the prepared model, infer_cfg.yml, the sources of the operators that it
needs, and deploy.json, which says how it is run.
"""

import json
import os
import shutil
from typing import Any, Dict, List, Sequence

from . import config, results, runtime
from .files import check_result, replace_directory, work_directory, writing
from .plan import Plan
from .predictor import build_config
from .program import faster
from .program.model import ModelFiles
from .request import Options, plan_of
from .results import Field

RECORD, OPERATORS = 'deploy.json', 'operators'
FIELDS = (
    *(results.FIELDS[name]
      for name in ('schema_version', 'script', 'time', 'command', 'config',
                   'model_name', 'model_dir', 'model_hash', 'precision',
                   'backend', 'threads', 'deleted_passes', 'float_precision',
                   'rewrites', 'paddle', 'cpu', 'cpu_extensions')),
    Field('operators', 'texts', '',
          'sources to compile into the program, below operators/'),
)
# One call of paddle.inference.Config each: its name and arguments.
CALLS = {'type': 'array', 'items': {'type': 'array', 'minItems': 1}}
_SETTERS = ('enable_', 'disable_', 'set_', 'switch_', 'delete_pass')


class _Recorder:
    """Passes calls on to a Config, and keeps those that set something."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.calls: List[List[Any]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def call(*arguments: Any) -> Any:
            if name.startswith(_SETTERS):
                self.calls.append(
                    [name] +
                    [sorted(a) if isinstance(a, set) else a for a in arguments])
            return method(*arguments)

        return call


def schema() -> Dict[str, Any]:
    """JSON schema (draft 2020-12) of deploy.json."""
    made = results.tables_schema('deploy', FIELDS, {})
    made['properties']['calls'] = CALLS
    made['required'].append('calls')
    return made


def write(settings: config.Settings,
          model_dir: str,
          save_dir: str,
          command: Sequence[str],
          precision: str = 'auto',
          rewrites: Sequence[str] = faster.ALL) -> List[str]:
    """Prepare a model for the CPU and write it.

    Args:
        settings: the model's configuration.
        model_dir: the model as run.py or export.py made it.
        save_dir: directory of the result; replaced whole, if it is one.
        command: as the user gave it, for the record.
        precision: see `plan`.
        rewrites: names of `program.faster.ALL` that may be applied; some put in
            operators of ops/.

    Returns:
        paths of the files.

    Raises:
        UserError: bad input, or `save_dir` holds something else.
    """
    what = "--save_dir '%s'" % save_dir
    check_result(save_dir, RECORD, '--optimize')
    plan = plan_of(settings, model_dir,
                   Options(precision=precision, rewrites=rewrites))
    with writing(what), work_directory(save_dir, '.deploy_') as work:
        made = os.path.join(work, 'made')
        os.makedirs(made)
        files = ModelFiles.named(settings.Global, made)
        shutil.copyfile(plan.files.model_path, files.model_path)
        shutil.copyfile(plan.files.params_path, files.params_path)
        labels = os.path.join(model_dir, 'infer_cfg.yml')
        if os.path.exists(labels):
            shutil.copy(labels, made)
        record = _record(settings, model_dir, plan, command)
        record['operators'] = _operators(plan, os.path.join(made, OPERATORS))
        results.check(record, schema(), 'deploy')
        results.write(record, os.path.join(made, RECORD))
        replace_directory(made, save_dir)
    return [
        os.path.join(directory, name)
        for directory, _, names in sorted(os.walk(save_dir))
        for name in sorted(names)
    ]


def calls(plan: Plan) -> List[List[Any]]:
    """The calls of Config that make a plan run: those that set something."""
    return build_config(plan, _Recorder).calls


def _record(settings: config.Settings, model_dir: str, plan: Plan,
            command: Sequence[str]) -> Dict[str, Any]:
    here = runtime.environment()
    return {
        **results.new_record('export.py', command), 'config': settings.path,
        'model_name': settings.name,
        'model_dir': model_dir,
        'model_hash': ModelFiles.named(settings.Global, model_dir).digest(),
        'precision': plan.precision,
        'backend': plan.backend,
        'threads': plan.threads,
        'deleted_passes': list(plan.deleted_passes),
        'float_precision': plan.float_precision,
        'rewrites': plan.rewrites,
        **{
            name: here[name]
            for name in ('paddle', 'cpu', 'cpu_extensions')
        }, 'calls': calls(plan)
    }


def _operators(plan: Plan, directory: str) -> List[str]:
    """Copy the sources of the operators that a plan's program holds. Returns
    those to compile; the headers lie beside them."""
    names = sorted(r.operator + '.cc' for r in faster.REWRITES
                   if r.operator and plan.rewrites.get(r.name))
    if not names:
        return []
    here = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'ops')
    os.makedirs(directory)
    headers = [n for n in sorted(os.listdir(here)) if n.endswith('.h')]
    for name in [*names, *headers]:
        shutil.copy(os.path.join(here, name), directory)
    return names


def text(record_path: str) -> str:
    """For the terminal: what a program calls."""
    with open(record_path, encoding='utf-8') as f:
        record = json.load(f)
    lines = [
        'config.%s(%s)' % (name, ', '.join(map(json.dumps, arguments)))
        for name, *arguments in record['calls']
    ]
    if record['operators']:
        lines.append('compile in: %s' % ', '.join(record['operators']))
    return '\n'.join(lines)
