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
"""Makes a range file, in the run that needs it.

The images that `cover` chooses go through the reader's transforms and the
network, on the CPU: any machine can make the file, whatever runs the model.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from .. import child, config, data, runtime
from ..errors import UserError
from ..files import check_writable, write_whole, writing
from ..program.model import Model, ModelFiles
from . import inputs, levels, ranges, rule, sizes, worker
from .cover import cover
from .inputs import Inputs

SOURCES = ('data', 'rule')


@dataclass(frozen=True)
class Look:
    """What `ensure` would do: take `file`, or, for the reason `why`, make one
    at `path` of those of the `inputs` that are `chosen`, the first of them the
    one that engines shall be fastest for."""
    path: str
    inputs: Inputs
    chosen: List[int]
    file: Optional[ranges.RangeFile] = None
    why: str = ''


def look(settings: config.Settings,
         files: ModelFiles,
         images: Optional[data.ImageSet] = None,
         *,
         path: Optional[str] = None,
         source: str = 'data',
         again: bool = False,
         batch_size: int = 1,
         reader: Optional[data.Reader] = None,
         model: Optional[Model] = None) -> Look:
    """See whether there is a range file that does, and what would make one.

    Args:
        model: what runs, if it is loaded. The others: see `ensure`.

    Raises:
        ranges.Refused: a file at `path` that does not do.
        UserError: bad images.
    """
    reader = reader or data.open_reader(settings.Reader)
    if images is None and source == 'data':
        images = reader.val()
    target = path or ranges.default_path(files)
    wanted = _wanted(reader, images, source, batch_size)
    why = 'made anew' if again else 'there are none'
    if os.path.exists(target) and not again:
        try:
            found = ranges.read(
                target, _command(settings, files, path, source, batch_size))
            ranges.check(found, files, model)
            ranges.check_runs(found, wanted.runs, _image(settings))
            return Look(target, wanted, [], found)
        except ranges.Refused as e:
            if path:
                raise
            why = e.why
    # The best one first: the others only widen its ranges.
    best = wanted.runs[wanted.optimum].tolist()
    chosen = [wanted.optimum] + [
        at for at in cover(wanted.runs) if wanted.runs[at].tolist() != best
    ]
    return Look(target, wanted, chosen, why=why)


def ensure(settings: config.Settings,
           files: ModelFiles,
           images: Optional[data.ImageSet] = None,
           *,
           path: Optional[str] = None,
           source: str = 'data',
           again: bool = False,
           batch_size: int = 1,
           threads: Optional[int] = None,
           reader: Optional[data.Reader] = None,
           prepared: Optional[ModelFiles] = None) -> ranges.RangeFile:
    """A range file that covers a model and its inputs: the one that is there,
    or a new one.

    Args:
        settings: the model's configuration.
        files: the model, as the user has it.
        images: that it shall run on; None: the reader's validation images, or
            none for source 'rule'.
        path: of the file; None: `ranges.default_path`. What lies there and
            does not do is made anew; at a path that the user named, refused.
        source: one of SOURCES: the sizes of the images, or with them all that
            the reader's rule makes of images of up to `rule.ASPECT` to one, on
            made up images.
        again: make it in any case.
        batch_size: images a batch; the last one may be smaller.
        threads: None: all cores.
        reader: that of the settings, if it is open.
        prepared: the copy of it that runs, whose variables the ranges are of;
            None: itself.

    Raises:
        ranges.Refused: a file at `path` that does not do.
        UserError: bad images, a model that does not run on an input, or a place
            that cannot be written to.
    """
    reader = reader or data.open_reader(settings.Reader)
    if images is None and source == 'data':
        images = reader.val()
    runs = prepared or files
    model = Model.load(runs)
    seen = look(settings,
                files,
                images,
                path=path,
                source=source,
                again=again,
                batch_size=batch_size,
                reader=reader,
                model=model)
    if seen.file:
        return seen.file
    what = "shape ranges '%s'" % seen.path
    if os.path.exists(seen.path) and not again:
        print('%s: %s; they are collected again' % (what, seen.why))
    wanted, image = seen.inputs, _image(settings)
    check_writable(seen.path, what, directory=False)
    _check_declared(model, files, image, wanted.runs, settings.path)
    try:
        feeds = [
            data.feed(wanted.feed(at, reader.pipeline), model.inputs(),
                      settings.Global.input_mapping, settings.path)
            for at in seen.chosen
        ]
    except data.BadImage as e:
        reader.bad.add(e.faults, len(images.records))
        left = images.only(r.id for r in images.records
                           if r.path not in e.faults)
        if not left.records:
            raise reader.bad.none_left(len(images.records)) from None
        return ensure(settings,
                      files,
                      left,
                      path=path,
                      source=source,
                      again=True,
                      batch_size=batch_size,
                      threads=threads,
                      reader=reader,
                      prepared=prepared)
    collected = run(runs, feeds, threads or runtime.cpu_count())
    meta = ranges.Meta(
        model=files.digest(),
        paddle=runtime.PADDLE,
        source=source,
        image=image,
        runs=[tuple(wanted.runs[at].tolist()) for at in seen.chosen])
    made = ranges.RangeFile(seen.path, ranges.merge(collected), meta,
                            _command(settings, files, path, source, batch_size))
    ranges.check(made, files, model)
    ranges.check_runs(made, wanted.runs, image)
    with writing(what):
        write_whole(seen.path, ranges.text_of(made).encode())
    print("%s: of %d inputs, which span those of %d %s" %
          (what, len(seen.chosen), len(wanted.runs),
           'images' if source == 'data' else 'sizes that the reader makes'))
    if source == 'data':
        _warn_if_narrow(rule.of(reader), wanted.runs)
    return made


def _command(settings: config.Settings, files: ModelFiles, path: Optional[str],
             source: str, batch_size: int) -> str:
    """What a user types to have the file made again."""
    words = [
        'python', 'paddle_inference_eval.py', '--collect_shapes_only',
        '--config_path', settings.path, '--model_path', files.directory
    ]
    if path:
        words += ['--shape_range_file', path]
    if source != 'data':
        words += ['--shape_range', source]
    if batch_size != 1:
        words += ['--batch_size', str(batch_size)]
    given = _given(settings)
    if given:
        words += ['-o', *given]
    return ' '.join(map(shlex.quote, words))


def _given(settings: config.Settings) -> List[str]:
    """What of the Reader section is not as its file says, for -o."""
    try:
        plain = config.load(settings.path).Reader
    except UserError:  # it needs more than that
        return []
    given = []
    for key in ('file', 'dataset_dir', 'image_dir', 'anno_path'):
        value = getattr(settings.Reader, key)
        if value and value != getattr(plain, key):
            # Relative to the configuration, which a path need not be.
            value = os.path.abspath(value) if key == 'file' else value
            given.append('Reader.%s=%s' % (key, value))
    return given


def _image(settings: config.Settings) -> str:
    """The model's name of the image."""
    return (settings.Global.input_mapping or {}).get('image', 'image')


def _wanted(reader: data.Reader, images: Optional[data.ImageSet], source: str,
            batch_size: int) -> Inputs:
    made = rule.of(reader)
    if source == 'data':
        return inputs.of_images(images.records, reader.bad, made, batch_size)
    also = None
    if images is not None and not made.fixed:
        also = sizes.readable(images.records, reader.bad)[1]
    return inputs.of_rule(made, batch_size, also)


def _warn_if_narrow(made: rule.Rule, runs: np.ndarray) -> None:
    """Tell where a data set's sizes leave out what the rule allows."""
    if made.fixed or not made.limited:
        return
    every = inputs.of_rule(made, 1).runs
    names, values = levels.quantities(np.concatenate([runs, every]))
    found, possible = np.split(values, [len(runs)], 1)
    for name, some, of in zip(names, found, possible):
        if some.min() > of.min() or some.max() < of.max():
            print(
                'warning: these images span less than the reader makes of '
                'images of up to %g to 1: %s %d to %d of %d to %d; others '
                'will be refused. --shape_range rule covers all' %
                (rule.ASPECT, name, some.min(), some.max(), of.min(), of.max()))
            return


def _check_declared(model: Model, files: ModelFiles, image: str,
                    runs: np.ndarray, where: str) -> None:
    """Refuse inputs of which the model was not exported."""
    if image not in model.inputs():
        return  # data.feed tells
    declared = model.program.global_block().var(image).shape
    for size, at in ((declared[0], 0), (declared[-2], 1), (declared[-1], 2)):
        other = runs[runs[:, at] != size]
        if size > 0 and len(other):
            raise UserError(
                "%s: the reader makes inputs of %s (images, height, width), "
                "but '%s' was exported for %s; correct the reader's Resize, or "
                'export the model for any size' %
                (where, 'x'.join(map(str, other[0])), files.directory, 'x'.join(
                    '?' if d < 0 else str(d) for d in declared)))


def run(files: ModelFiles, feeds: Sequence[data.Batch],
        threads: int) -> List[Dict[str, ranges.Range]]:
    """The shapes of all variables of a model, for each of some inputs.

    Args:
        files: of the model.
        feeds: inputs under the model's names.
        threads: to run it with.

    Raises:
        UserError: the model does not run on one of them.
    """
    found: List[Dict[str, ranges.Range]] = []
    with tempfile.TemporaryDirectory(prefix='act_shapes_') as work:
        for at, feed in enumerate(feeds):
            np.savez(os.path.join(work, '%d.npz' % at), **feed)
        command = [
            sys.executable, '-m', worker.__name__, files.directory,
            files.model_filename, files.params_filename,
            str(threads), work,
            str(len(feeds))
        ]
        log = os.path.join(work, 'log')
        with open(log, 'wb') as sink, subprocess.Popen(
                command,
                env=child.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                encoding='utf-8',
                errors='replace') as process, tqdm(total=len(feeds),
                                                   desc='collect shapes',
                                                   unit='input') as bar:
            try:
                for line in process.stdout:
                    if line.strip() == worker.RAN:
                        found.append(_read(work, len(found)))
                        bar.update(1)
            finally:
                process.kill()
        if process.returncode or len(found) < len(feeds):
            with open(log, encoding='utf-8', errors='replace') as f:
                raise _failed(files, feeds[len(found)], process.returncode,
                              f.read())
    return found


def _read(work: str, at: int) -> Dict[str, ranges.Range]:
    path = os.path.join(work, '%d.pbtxt' % at)
    try:
        with open(path, encoding='utf-8') as f:
            return ranges.parse(f.read())
    except (OSError, ValueError) as e:
        raise UserError('Paddle wrote no shapes that can be read: %s' %
                        e) from None


def _failed(files: ModelFiles, feed: data.Batch, code: int,
            said: str) -> UserError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if 'Error' in line),
                  lines[-1] if lines else 'exit code %d' % code)
    if code < 0:
        reason = 'stopped by signal %d; is there enough memory?' % -code
    return UserError(
        "'%s' does not run on an input of %s: %s" %
        (files.directory, ', '.join("'%s' %s" %
                                    (name, 'x'.join(map(str, value.shape)))
                                    for name, value in feed.items()), reason))
