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
"""Searches for guilty items on a model: probes, picture, record and the lines
for the YAML."""

import os
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, FrozenSet, List, Sequence, Tuple

from tqdm import tqdm

from .. import config, files, results, runtime
from ..errors import UserError
from ..plan import Plan
from . import evidence, grid, trial
from .culprits import Search
from .evidence import AFTER, BEFORE, Evidence
from .trial import Bench, Options, Tried


@dataclass(frozen=True)
class Task:
    """What is searched.

    Attributes:
        name: 'passes' or 'ops'.
        noun: what an item is.
        items: in the order in which Paddle has them.
        keep: those that one would rather keep, which are taken out last.
        plan: of a set that is taken out.
        key: of the YAML, dotted, that keeps the guilty out.
        value: what it becomes, of the guilty.
        others: {name: plan} of what is shown beside, if something is found.
        depends: what else the items stand for, for the journal.
        notes: lines for the end.
    """
    name: str
    noun: str
    items: Sequence[str]
    keep: Sequence[str]
    plan: Callable[[FrozenSet[str]], Plan]
    key: str
    value: Callable[[Sequence[str]], List[str]]
    others: Dict[str, Callable[[], Plan]] = field(default_factory=dict)
    depends: str = ''
    notes: Callable[[Evidence], List[str]] = lambda found: []


def search(settings: config.Settings, model_dir: str, options: Options,
           task: Task, command: Sequence[str]) -> Dict[str, Any]:
    """Search, and write what was found.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see trial.Options.
        task: what is searched.
        command: as the user gave it, for the record.

    Returns:
        the record.

    Raises:
        UserError: bad input, or nothing to compare with.
    """
    nothing: FrozenSet[str] = frozenset()
    everything = task.plan(nothing)
    bench = Bench(settings, model_dir, everything, options,
                  '%s %s' % (task.name, task.depends))
    found = _evidence(bench, task, options)
    what = results.new_record('diagnose.py', command)
    what.update(runtime.environment())
    what.update(config=settings.path,
                model_name=settings.name,
                model_dir=model_dir,
                precision=everything.precision,
                device=everything.device,
                backend=everything.backend,
                batch_size=options.batch_size,
                threads=everything.threads,
                num_images=options.num_images,
                dataset=bench.images.annotation_path,
                **bench.images.metric_fields)
    record = evidence.make(what, found)
    _write(record, found, options, bench)
    return record


def _evidence(bench: Bench, task: Task, options: Options) -> Evidence:

    def known(found: Any = None, **more: Any) -> Evidence:
        made = Evidence(task.name,
                        task.noun,
                        task.key,
                        task.value(found.culprits) if found else (),
                        bench.criterion,
                        options.as_saved,
                        task.items,
                        tuple(probes),
                        found=found,
                        **more)
        return replace(made, notes=tuple(task.notes(made)))

    first = bench.try_((), bench.everything)
    probes: List[Tuple[Tuple[str, ...], Tried]] = [((), first)]
    if options.criterion == trial.SPEED and not first.ran:
        raise UserError('--criterion speed: the model does not run: %s; search '
                        'for the cause with --criterion accuracy' % first.end)
    if bench.criterion.good(first):
        return known()
    done = Search([*task.keep, *(i for i in task.items if i not in task.keep)])
    with tqdm(total=done.remaining(), desc=task.name, unit='probe') as bar:
        while done.candidate is not None:
            out = done.candidate
            tried = bench.try_(tuple(out), task.plan(out))
            probes.append((tuple(sorted(out)), tried))
            done.step(bench.criterion.good(tried))
            bar.set_postfix_str(bench.criterion.figure(tried)[:40],
                                refresh=False)
            bar.total = done.probes + done.remaining()
            bar.update()
    found = done.found
    if not found.culprits:
        return known(found)
    culprits = frozenset(found.culprits)
    made = task.plan(culprits)
    again = bench.again(found.culprits, made) \
        if options.criterion == trial.SPEED else None
    forms = {BEFORE: bench.everything, AFTER: made}
    forms.update({name: make() for name, make in task.others.items()})
    print('confirming on %d images' %
          len(bench.images.take(options.confirm_images).records))
    return known(found,
                 again=again,
                 confirmed=bench.confirm(found.culprits, forms))


def _write(record: Dict[str, Any], found: Evidence, options: Options,
           bench: Bench) -> None:
    """Record, picture, lines for the YAML, and all of it on the terminal."""
    stem = os.path.join(options.output_dir, found.task)
    path = options.output_json or stem + '.json'
    grid.draw(stem + '.png', found)
    results.write(record, path)
    text = record['yaml']
    with files.writing("'%s.yml'" % stem):
        if text:
            files.write_whole(stem + '.yml', text.encode())
        elif os.path.exists(stem + '.yml'):
            os.remove(stem + '.yml')  # of an earlier search
    print(evidence.tables(found))
    print('\n' + record['conclusion'])
    if text:
        lines = [x for x in text.splitlines() if not x.startswith('#')]
        print('\n' + '\n'.join(lines))
    reused = bench.journal.reused
    if reused:
        print('\n%d results were known from %s; all anew: --fresh' %
              (reused, bench.journal.path))
    print('\npicture: %s.png\nrecord: %s' % (stem, path))
    if text:
        print('lines for the YAML: %s.yml' % stem)
