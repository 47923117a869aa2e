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
"""One compression, from a configuration to a result directory.

A result directory holds the model (Q/DQ operators kept, for every target), its
infer_cfg.yml, the configuration it was made with, a record of the run, and for
qat the training log and, below last/, the model of the last iteration.
"""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from .. import config, data, results, runtime
from ..accuracy import CocoEvaluator, from_model_output
from ..errors import UserError
from ..predictor import split_outputs
from ..program.inspect import count_types, is_quantized, quantized_ops
from ..program.model import Model, ModelFiles

CONFIG, READER, RECORD, LOG = ('config.yml', 'reader.yml', 'record.json',
                               'train_log.csv')
LAST = 'last'


def ensure_exported(settings: config.Settings) -> None:
    """Export the model from the configuration's Export section if it is not
    there yet.

    Raises:
        UserError: it is not there and cannot be exported from what is at hand.
    """
    if os.path.isdir(settings.Global.model_dir):
        return
    export = settings.Export
    if export is None:
        raise UserError(
            "Global.model_dir '%s' does not exist and '%s' has no Export "
            "section; export the model: python export.py -c PPDET_CONFIG -o "
            "weights=WEIGHTS --save_dir %s" %
            (settings.Global.model_dir, settings.path,
             settings.Global.model_dir))
    script = os.path.normpath(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..',
                     'export.py'))
    options = ['weights=' + export.weights
               ] + ['%s=%s' % item for item in export.options.items()]
    command = [
        sys.executable, script, '-c', export.config, '--save_dir',
        settings.Global.model_dir, '-o'
    ] + options
    print("'%s' does not exist: exporting it" % settings.Global.model_dir)
    # ppdet's configuration is global: an export has a process of its own.
    if subprocess.run(command).returncode:
        raise UserError(
            "Global.model_dir '%s' does not exist and could not be exported; "
            "the command was: %s" %
            (settings.Global.model_dir, ' '.join(command)))


class _Source:
    """The float model and its images, checked before anything slow starts."""

    def __init__(self, settings: config.Settings,
                 skip_bad_images: bool) -> None:
        self.settings = settings
        section = settings.Global
        self.files = ModelFiles.named(section, section.model_dir).check()
        model = Model.load(self.files)
        if is_quantized(model):
            raise UserError(
                "Global.model_dir '%s' is already quantized; name the float "
                "model it was made from" % self.files.directory)
        types = count_types(model.ops)
        for name in settings.QuantAware.quantize_op_types:
            if name not in types:
                raise UserError(
                    "%s: QuantAware.quantize_op_types: the model holds no "
                    "'%s'" % (settings.path, name))
        self.inputs = model.inputs()
        names = section.input_list
        self.input_list = section.input_mapping
        given = list(names.values()) if self.input_list else names
        if given is not None and set(given) != set(self.inputs):
            raise UserError("%s: Global.input_list is %s, the model's inputs "
                            "are %s" % (settings.path, names, self.inputs))
        self.reader = data.open_reader(settings.Reader, skip_bad_images)
        self.train = self.reader.train()
        self.val: Optional[data.ImageSet] = None
        if settings.Global.Evaluation:
            count = settings.TrainConfig and settings.TrainConfig.eval_images
            images = self.reader.val()
            # Decoded once now: an evaluation in the midst of training is too
            # late to find out.
            records = self._usable(images.records, count)
            self.val = images.only(r.id for r in records)
        self._check_feed(model)

    def _usable(self, records: 'list[data.ImageRecord]',
                count: Optional[int]) -> 'list[data.ImageRecord]':
        return self.reader.bad.usable(records, lambda r: r.path, count)

    def calibration(self) -> 'list[data.ImageRecord]':
        """Training images for calibration, drawn with a fixed seed."""
        order = np.random.default_rng(0).permutation(len(self.train.records))
        return self._usable([self.train.records[i] for i in order],
                            self.settings.Quantization.calibration_images)

    def feed_training(self, records: 'list[data.ImageRecord]') -> data.Batch:
        """As `feed`; another image stands in for a broken one that is skipped,
        so that batches keep their size."""
        pipeline = self.reader.pipeline
        samples = [
            pipeline.decode_or_next(r, self.train.records, self.reader.bad)
            for r in records
        ]
        return data.feed(pipeline.preprocess(samples), self.inputs,
                         self.input_list, self.settings.path)

    def feed(self, records: 'list[data.ImageRecord]') -> data.Batch:
        """Images to what the model takes."""
        return data.feed(self.reader.pipeline(records), self.inputs,
                         self.input_list, self.settings.path)

    def _check_feed(self, model: Model) -> None:
        batch = self.feed_training(self.train.records[:1])
        for name in self.inputs:
            wanted = model.program.global_block().var(name).shape
            shape = batch[name].shape
            if len(wanted) != len(shape) or any(
                    w not in (-1, s) for w, s in zip(wanted[1:], shape[1:])):
                raise UserError(
                    "%s: the reader makes '%s' of shape %s, the model takes "
                    "%s; change the Resize of the reader or export the model "
                    "for this size" %
                    (self.reader.file, name, list(shape), list(wanted)))
        wanted = self.settings.Deploy.input_shape
        found = batch['image'].shape[2:] if 'image' in batch else wanted
        if wanted and tuple(found) != tuple(wanted):
            raise UserError(
                "%s: Deploy.input_shape is %s, the reader makes %s" %
                (self.settings.path, list(wanted), list(found)))


def compress(settings: config.Settings,
             save_dir: str,
             command: List[str],
             skip_bad_images: bool = False) -> Dict[str, Any]:
    """Compress a model and write a result directory.

    Args:
        settings: of the model.
        save_dir: the result directory; replaced whole, at the end.
        command: as the user gave it, for the record.
        skip_bad_images: leave images out that are missing or broken.

    Returns:
        the record that was written.

    Raises:
        UserError: bad input, or training that diverged. Nothing is left
            behind then, and an older result stays.
    """
    strategy = settings.Quantization.strategy
    if strategy == 'qat' and settings.TrainConfig is None:
        raise UserError("%s: strategy qat needs a TrainConfig section" %
                        settings.path)
    ensure_exported(settings)
    source = _Source(settings, skip_bad_images)
    parent = os.path.dirname(os.path.abspath(save_dir))
    if os.path.isdir(save_dir) and os.listdir(save_dir) and \
            not os.path.exists(os.path.join(save_dir, RECORD)):
        raise UserError("--save_dir '%s' is not empty and no result of run.py; "
                        "name another" % save_dir)
    try:
        os.makedirs(parent, exist_ok=True)
        work = tempfile.mkdtemp(prefix='.compress_', dir=parent)
    except OSError as e:
        raise UserError("--save_dir '%s' cannot be made: %s" %
                        (save_dir, e.strerror or e)) from None
    try:
        made = os.path.join(work, 'result')
        os.makedirs(made)
        copied = _copy_source(source.files, os.path.join(work, 'source'))
        start = time.perf_counter()
        if strategy == 'ptq':
            fields = _ptq(source, copied, made)
        else:
            fields = _qat(source, copied, made)
        fields['train_seconds'] = fields.get('train_seconds') or \
            time.perf_counter() - start
        record = _record(settings, source, made, save_dir, command, fields)
        _write_surroundings(settings, source, made)
        results.write_json(record, os.path.join(made, RECORD))
        if os.path.isdir(save_dir):
            shutil.rmtree(save_dir)
        os.rename(made, save_dir)
        return record
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy_source(files: ModelFiles, directory: str) -> ModelFiles:
    """A copy for PaddleSlim, which rewrites the model it is given in place."""
    os.makedirs(directory)
    copied = ModelFiles(directory, files.model_filename, files.params_filename)
    shutil.copyfile(files.model_path, copied.model_path)
    shutil.copyfile(files.params_path, copied.params_path)
    return copied


def _ptq(source: _Source, copied: ModelFiles, made: str) -> Dict[str, Any]:
    from . import ptq
    settings = source.settings
    options = settings.Quantization
    records = source.calibration()

    def batches() -> Iterator[data.Batch]:
        return data.prefetch(iter(data.chunks(records, 1)), source.feed)

    ptq.quantize(copied.directory,
                 copied.model_filename, copied.params_filename, made, batches,
                 len(records), settings.QuantAware, options)
    return {
        'algo': options.algo,
        'calibration_images': len(records),
    }


def _qat(source: _Source, copied: ModelFiles, made: str) -> Dict[str, Any]:
    from . import loop, qat
    settings = source.settings
    train = settings.TrainConfig
    begin = time.perf_counter()
    print('prepare: teacher, student, quantization')
    session = qat.build(copied, settings.QuantAware, settings.Distillation,
                        train, settings.path)
    prepared = time.perf_counter() - begin
    print('prepared in %.1f s; %d constants and statistics stay as they are' %
          (prepared, len(session.frozen)))
    feeds = data.prefetch(
        data.endless(source.train.records, train.batch_size, train.seed),
        source.feed_training)
    evaluate = None
    if source.val is not None:
        evaluate = evaluator_of(session, source, source.val)
    try:
        result = loop.train(session,
                            feeds,
                            train,
                            evaluate=evaluate,
                            where=settings.path)
    finally:
        feeds.close()
    session.save(ModelFiles.named(settings.Global, os.path.join(made, LAST)))
    session.restore(result.best_state)
    session.save(ModelFiles.named(settings.Global, made))
    _write_log(os.path.join(made, LOG), result.log)
    fields = {
        'prepare_seconds': prepared,
        'train_seconds': result.seconds,
        'train_iterations': train.train_iter,
        'best_iteration': result.best_iteration,
        'final_loss': result.log[-1]['loss'],
    }
    if evaluate is not None:
        fields.update({
            'map': 100 * result.best_metric,
            'num_images': len(source.val.records),
            'precision': 'simulated_int8',
        })
    return fields


def evaluator_of(session: Any, source: _Source, images: data.ImageSet) -> Any:
    """A function that evaluates the session's student: mAP in [0, 1]."""
    evaluator = CocoEvaluator.of(images)

    def evaluate() -> float:
        evaluator.reset()
        with tqdm(total=len(images.records),
                  desc='evaluate',
                  unit='image',
                  leave=False) as bar:
            for chunk in data.chunks(images.records, 4):
                outputs = session.infer(source.feed(chunk))
                boxes, counts = split_outputs(outputs, 'the student')
                evaluator.process(
                    from_model_output([r.id for r in chunk], boxes, counts))
                bar.update(len(chunk))
        return evaluator.evaluate().map or 0.0

    return evaluate


def _record(settings: config.Settings, source: _Source, made: str,
            save_dir: str, command: List[str],
            fields: Dict[str, Any]) -> Dict[str, Any]:
    files = ModelFiles.named(settings.Global, made)
    model = Model.load(files)
    record = results.new_record('run.py', command)
    record.update(runtime.environment())
    record.update({
        'model_name':
        settings.name,
        'model_dir':
        save_dir,
        'model_hash':
        files.digest(),
        'config':
        settings.path,
        'reference_model_dir':
        source.files.directory,
        'strategy':
        settings.Quantization.strategy,
        'quantized_ops':
        sum(count_types(quantized_ops(model)).values()),
        'dataset':
        source.train.annotation_path,
        'skipped_images':
        len(source.reader.bad.faults) or None,
        'device':
        'CPU',
        'model_size_mb':
        files.size_mb(),
        'size_ratio':
        files.size_mb() / source.files.size_mb(),
    })
    record.update(fields)
    return record


def _write_surroundings(settings: config.Settings, source: _Source,
                        made: str) -> None:
    """infer_cfg.yml, and a configuration that works from where it lies."""
    infer_cfg = os.path.join(source.files.directory, 'infer_cfg.yml')
    if os.path.exists(infer_cfg):
        shutil.copyfile(infer_cfg, os.path.join(made, 'infer_cfg.yml'))
    shutil.copyfile(source.reader.file, os.path.join(made, READER))
    copy = settings.model_copy(deep=True)
    copy.Reader.file = READER
    copy.Export = None
    with open(os.path.join(made, CONFIG), 'w', encoding='utf-8') as f:
        f.write(config.dump(copy))


def _write_log(path: str, log: List[Dict[str, float]]) -> None:
    with open(path, 'w', newline='', encoding='utf-8') as f:
        writer = csv.DictWriter(f, list(log[0]))
        writer.writeheader()
        writer.writerows(log)


def latest_result(root: str = 'output') -> Tuple[str, str]:
    """Directory and configuration of the most recent result of run.py.

    Raises:
        UserError: there is none.
    """
    found = []
    if os.path.isdir(root):
        for name in os.listdir(root):
            path = os.path.join(root, name, RECORD)
            config_path = os.path.join(root, name, CONFIG)
            if os.path.exists(path) and os.path.exists(config_path):
                found.append((os.path.getmtime(path), name))
    if not found:
        raise UserError("no result of run.py below '%s': run `make demo`, or "
                        "name --config_path and --model_path" % root)
    directory = os.path.join(root, max(found)[1])
    return directory, os.path.join(directory, CONFIG)
