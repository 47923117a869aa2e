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

import contextlib
import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from tqdm import tqdm

from .. import config, data, process, results, runtime, signals
from ..accuracy import Detections, evaluator_on, from_model_output
from ..errors import UserError, hint, unknown
from ..files import (
    check_result,
    file_digest,
    replace_directory,
    work_directory,
    writing,
)
from ..postprocess import check_outputs
from ..predictor import check_names
from ..program.fold import fold
from ..program.inspect import (
    WEIGHT_INPUT,
    count_types,
    is_quantized,
    quantized_ops,
)
from ..program.model import Model, ModelFiles
from ..ranks import ALONE, Ranks
from ..upstream import int8_ops
from . import checkpoint, loop, vdl

CONFIG, READER, RECORD, LOG = ('config.yml', 'reader.yml', 'record.json',
                               'train_log.csv')
LAST = 'last'
# Added to the name of a result directory if training was stopped.
INTERRUPTED = '_interrupted'


def ensure_exported(settings: config.Settings) -> None:
    """Export the model from the configuration's Export section if it is not
    there yet.

    Raises:
        UserError: it is not there and cannot be exported from what is at hand.
    """
    if os.path.exists(settings.Global.model_dir):
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
    print("'%s' does not exist: exporting it" % settings.Global.model_dir,
          flush=True)
    # ppdet's configuration is global: an export has a process of its own.
    code, said = _run_script(command)
    if code:
        raise UserError(
            "Global.model_dir '%s' does not exist and could not be exported: "
            '%s; the command was: %s' %
            (settings.Global.model_dir, said
             or 'exit code %d' % code, ' '.join(command)))


def _run_script(command: List[str]) -> Tuple[int, str]:
    """Run one of our scripts. Ctrl-C ends it too, and waits for its end.

    Returns:
        its exit code, and its error, which is not printed: it becomes part of
        ours.
    """
    said = ''
    with process.started(command, stderr=subprocess.PIPE) as child:
        # Progress bars end their lines with a carriage return.
        for line in io.TextIOWrapper(child.stderr, newline='',
                                     errors='replace'):
            if line.startswith('error: '):
                said = line[len('error: '):].strip()
            else:
                sys.stderr.write(line)
                sys.stderr.flush()
        return child.wait(), said


class _Source:
    """The float model and its images, checked before anything slow starts."""

    def __init__(self, settings: config.Settings,
                 skip_bad_images: bool) -> None:
        section = settings.Global
        self.files = ModelFiles.named(section, section.model_dir).check()
        self.model = model = Model.load(self.files)
        if is_quantized(model):
            raise UserError(
                "Global.model_dir '%s' is already quantized; name the float "
                "model it was made from" % self.files.directory)
        # Before names are checked: weights cut out of larger ones appear.
        fold(model)
        self.settings = settings = _without_absent(settings, model)
        self.postprocess = check_outputs(model, self.files.directory,
                                         settings.own_nms,
                                         section.input_mapping, settings.path)
        check_names(settings.Deploy.cpu, settings.path)
        self._check_quantized_names(model)
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

    def _check_quantized_names(self, model: Model) -> None:
        where = '%s: QuantAware.' % self.settings.path
        section = self.settings.QuantAware
        types = set(count_types(model.ops))
        allowed = types & set(WEIGHT_INPUT)
        for name in section.quantize_op_types:
            if name not in types:
                raise UserError(
                    "%squantize_op_types: the model holds no '%s'; %s" %
                    (where, name, hint(name, allowed)))
            if name not in allowed:
                raise UserError(
                    "%squantize_op_types: '%s' has no weight to quantize; "
                    'known: %s' % (where, name, ', '.join(sorted(allowed))))
        weights = [
            op.input(WEIGHT_INPUT[op.type])[0] for op in model.ops
            if op.type in section.quantize_op_types
        ]
        for name in section.float_weights:
            if name not in weights:
                raise unknown(
                    'weight of %s' % ' or '.join(section.quantize_op_types),
                    name, set(weights), where + 'float_weights')
        if not set(weights) - set(section.float_weights):
            raise UserError('%sfloat_weights: leaves no operator to quantize' %
                            where)
        scopes = {
            op.attr('op_namescope')
            for op in model.ops if op.has_attr('op_namescope')
        }
        default = type(section)().not_quant_pattern
        for pattern in section.not_quant_pattern:
            if pattern not in default and not any(pattern in s for s in scopes):
                raise unknown('name scope', pattern, scopes,
                              where + 'not_quant_pattern')

    def _usable(self, records: 'list[data.ImageRecord]',
                count: Optional[int]) -> 'list[data.ImageRecord]':
        return self.reader.bad.usable(records, lambda r: r.path, count)

    def calibration(self) -> 'list[data.ImageRecord]':
        """Training images for calibration, drawn with a fixed seed."""
        options = self.settings.Quantization
        return self._usable(self.train.drawn(options.seed),
                            options.calibration_images)

    def feed_training(self, records: 'list[data.ImageRecord]') -> data.Batch:
        """As `feed`; another image stands in for a broken one that is skipped,
        so that batches keep their size."""
        pipeline = self.reader.pipeline
        samples = [
            pipeline.decode_or_next(r, self.train.records, self.reader.bad)
            for r in records
        ]
        return self.named(pipeline.preprocess(samples))

    def feed(self, records: 'list[data.ImageRecord]') -> data.Batch:
        """Images to what the model takes."""
        return self.named(self.reader.pipeline(records))

    def named(self, batch: data.Batch) -> data.Batch:
        """The part of a batch that the model takes, under its names."""
        return data.feed(batch, self.inputs, self.input_list,
                         self.settings.path)

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


def _without_absent(settings: config.Settings, model: Model) -> config.Settings:
    """Settings that name no type to quantize that the model does not hold, if
    it holds others of them: one list serves models of a family."""
    types = set(count_types(model.ops))
    asked = settings.QuantAware.quantize_op_types
    kept = [name for name in asked if name in types]
    absent = [
        name for name in asked if name not in types and name in WEIGHT_INPUT
    ]
    if not kept or not absent:
        return settings
    print("the model holds no '%s': left out of quantize_op_types" %
          "' and no '".join(absent))
    made = settings.model_copy(deep=True)
    made.QuantAware.quantize_op_types = [n for n in asked if n not in absent]
    idle = set(int8_ops(absent)) - set(int8_ops(kept))
    cpu = made.Deploy.cpu
    cpu.int8_ops = [n for n in cpu.int8_ops if n not in idle]
    return made


def compress(settings: config.Settings,
             save_dir: str,
             command: List[str],
             skip_bad_images: bool = False,
             *,
             resume: bool = False,
             vdl_log_dir: Optional[str] = None,
             ranks: Ranks = ALONE) -> Optional[Dict[str, Any]]:
    """Compress a model and write a result directory.

    Args:
        settings: of the model.
        save_dir: the result directory; replaced whole, at the end. Training
            that is stopped leaves its model so far in another, of this name
            with INTERRUPTED, and checkpoints (see `checkpoint`).
        command: as the user gave it, for the record.
        skip_bad_images: leave images out that are missing or broken.
        resume: go on with the training whose checkpoints are there.
        vdl_log_dir: where VisualDL's log goes; None: there is none.
        ranks: that train together; all must call this. Rank 0 writes.

    Returns:
        the record that was written; None on other ranks.

    Raises:
        UserError: bad input, or training that diverged. Nothing but
            checkpoints is left behind then, and an older result stays.
        signals.Stopped: a signal came; its message says what was kept.
    """
    strategy = settings.Quantization.strategy
    if strategy == 'qat' and settings.TrainConfig is None:
        raise UserError("%s: strategy qat needs a TrainConfig section" %
                        settings.path)
    if strategy != 'qat' and (resume or vdl_log_dir):
        raise UserError(
            '%s is for training; %s has Quantization.strategy %s' %
            ('--resume' if resume else '--use_vdl', settings.path, strategy))
    if ranks.size > 1:
        _check_parallel(settings)
    interrupted = os.path.abspath(save_dir) + INTERRUPTED
    # Rank 0 alone: it makes directories, and takes them away again.
    if ranks.rank == 0:
        check_target(save_dir)
        if strategy == 'qat':
            check_target(interrupted)
    ranks.one_first(lambda: ensure_exported(settings))
    source = _Source(settings, skip_bad_images)
    settings = source.settings
    checkpoints, found = None, None
    if strategy == 'qat':
        origin = _origin(source, ranks)
        _check_alike(origin, ranks)
        checkpoints = checkpoint.Checkpoints(
            save_dir, origin, settings.TrainConfig.checkpoint_iter)
        if resume:
            found = ranks.first(checkpoints.read)
        elif checkpoints.iterations():
            print("'%s' holds iteration %d of a run that did not come to its "
                  'end; --resume goes on with it. This one begins anew, and '
                  'takes its place with its own first checkpoint' %
                  (os.path.relpath(
                      checkpoints.directory), checkpoints.iterations()[-1]),
                  flush=True)
    what = "--save_dir '%s'" % save_dir
    with writing(what), work_directory(save_dir, '.compress_') as work, \
            contextlib.ExitStack() as ending:
        made = os.path.join(work, 'result')
        os.makedirs(made)
        copied = ModelFiles.named(settings.Global, os.path.join(work, 'source'))
        source.model.save(copied)
        start = time.perf_counter()
        stopped = None
        if strategy == 'ptq':
            fields = _ptq(source, copied, made)
        else:
            fields, stopped = _qat(
                source, copied, made, what, ending, checkpoints, found,
                [] if ranks.rank else _hooks(vdl_log_dir, ending), ranks)
            if ranks.rank:
                return None
        fields['train_seconds'] = fields.get('train_seconds') or \
            time.perf_counter() - start
        target = interrupted if stopped else save_dir
        fields['processes'] = ranks.size
        record = _record(settings, source, made, target, command, fields, what)
        write_surroundings(settings, source.files.directory, source.reader.file,
                           made)
        results.write_json(record, os.path.join(made, RECORD))
        replace_directory(made, target)
        if stopped:
            # SIGINT's code whatever the signal: this one can be gone on with.
            raise signals.Stopped(
                signal.SIGINT, "%s; --resume goes on; the model so far: '%s'" %
                (fields['error'], os.path.relpath(interrupted)))
        if checkpoints is not None:
            checkpoints.remove()
            shutil.rmtree(interrupted, ignore_errors=True)
        return record


def _check_parallel(settings: config.Settings) -> None:
    """
    Raises:
        UserError: something that one process alone can do.
    """
    for wrong, key, value in ((settings.Quantization.strategy
                               != 'qat', 'Quantization.strategy', 'qat'),
                              (settings.QuantAware.use_pact,
                               'QuantAware.use_pact', 'False')):
        if wrong:
            raise UserError(
                '%s: processes train together only with %s %s; change it, or '
                'start run.py without paddle.distributed.launch' %
                (settings.path, key, value))


def _check_alike(origin: Dict[str, Any], ranks: Ranks) -> None:
    """
    Raises:
        UserError: ranks would train on different things.
    """
    first = ranks.first(lambda: origin)
    for key, value in first.items():
        if origin.get(key) != value:
            raise UserError(
                '%s: %s on process %d and %s on process 0; all must '
                'be given the same' % (key, origin.get(key), ranks.rank, value))


def _origin(source: _Source, ranks: Ranks) -> Dict[str, Any]:
    """What a run that goes on must have in common with the one before, and
    ranks with each other."""
    settings = source.settings
    origin: Dict[str, Any] = {
        'the float model': source.files.digest(),
        'the annotation file': file_digest(*source.train.annotation_files),
        'the reader file': file_digest(source.reader.file),
        'paddle': runtime.environment()['paddle'],
        'the number of processes': ranks.size,
    }
    for section in ('QuantAware', 'Distillation', 'Quantization',
                    'TrainConfig'):
        values = getattr(settings, section).model_dump(mode='json')
        for key, value in values.items():
            if key not in ('train_iter', 'checkpoint_iter'):
                origin['%s.%s' % (section, key)] = value
    return origin


def _hooks(vdl_log_dir: Optional[str],
           ending: contextlib.ExitStack) -> List[loop.Hook]:
    if vdl_log_dir is None:
        return []
    return [ending.enter_context(vdl.scalars(vdl_log_dir))]


def check_target(directory: str) -> None:
    """Check where a result directory shall be.

    Raises:
        UserError: it cannot be written there, or would replace something else.
    """
    check_result(directory, RECORD, 'run.py')


def _ptq(source: _Source, copied: ModelFiles, made: str) -> Dict[str, Any]:
    from . import ptq, refine
    settings = source.settings
    options = settings.Quantization
    records = source.calibration()

    def batches() -> Iterator[data.Batch]:
        return data.prefetch(data.chunks(records, 1), source.feed,
                             source.reader.workers)

    ptq.quantize(copied.directory,
                 copied.model_filename, copied.params_filename, made, batches,
                 len(records), settings.QuantAware, options, settings.path)
    if options.weight_rounding == 'gptq':
        refine.refine(copied,
                      ModelFiles.named(settings.Global, made),
                      batches,
                      len(records),
                      seed=options.seed)
    return {
        'algo': options.algo,
        'weight_rounding': options.weight_rounding,
        'calibration_images': len(records),
    }


def _qat(source: _Source, copied: ModelFiles, made: str, what: str,
         ending: contextlib.ExitStack, checkpoints: checkpoint.Checkpoints,
         found: Optional[checkpoint.Checkpoint], hooks: List[loop.Hook],
         ranks: Ranks) -> Tuple[Dict[str, Any], Optional[signals.Stopped]]:
    """Train and save. Returns the record's fields, and the signal that stopped
    training; if none did, one that comes later waits for `ending`. `found` is
    what is gone on with."""
    from . import qat
    settings = source.settings
    train = settings.TrainConfig
    begin = time.perf_counter()
    print('prepare: teacher, student, quantization', flush=True)
    session = qat.build(copied, settings.QuantAware, settings.Distillation,
                        train, settings.path, ranks)
    fields: Dict[str, Any] = {}
    if found is not None:
        fields = found.fields
        session.go_on(len(found.result.log), found.values, found.schedule,
                      found.kept_ranges)
        print("going on after iteration %d of '%s'" %
              (session.iterations, os.path.relpath(checkpoints.directory)),
              flush=True)
    elif settings.Quantization.weight_rounding == 'gptq' and \
            not settings.QuantAware.use_pact:
        # Not with PACT, which learns ranges of its own.
        start = ModelFiles.named(
            settings.Global,
            os.path.join(os.path.dirname(copied.directory), 'start'))
        fields = _calibrated(source, copied, start, ranks)
        session.start_from(start)
    prepared = time.perf_counter() - begin
    print('prepared in %.1f s; %d constants and statistics stay as they are' %
          (prepared, len(session.frozen)),
          flush=True)
    feeds = data.prefetch(
        data.endless(source.train.records, train.batch_size, train.seed,
                     session.iterations, (ranks.rank, ranks.size)),
        source.feed_training, source.reader.workers)
    evaluate = None
    if source.val is not None:
        evaluate = evaluator_of(session, source, source.val, ranks)

    def keep(result: loop.TrainResult, due: bool) -> None:
        if ranks.rank == 0:
            checkpoints.after(session, result, due, fields)

    if ranks.size > 1:
        # Ranks agree on when they stop; launch sends each signal three times.
        ending.enter_context(signals.held())

    try:
        result = loop.train(session,
                            feeds,
                            train,
                            evaluate=evaluate,
                            hooks=hooks,
                            checkpoint=keep,
                            result=found and found.result,
                            check=ranks.check,
                            images=train.batch_size * ranks.size,
                            where=settings.path)
    finally:
        feeds.close()
    done = len(result.log)
    if result.stopped and ranks.size > 1:
        # launch kills all after 30 seconds: no time to convert a model.
        raise signals.Stopped(
            signal.SIGINT, 'stopped at iteration %d of %d; --resume goes on' %
            (done, train.train_iter))
    if ranks.rank:
        return {}, None
    if result.stopped:
        print('stopping at iteration %d of %d: saving the model so far '
              '(again Ctrl-C: drop it)' % (done, train.train_iter),
              flush=True)
    else:
        ending.enter_context(
            signals.held(patient=False,
                         message='stopped, when the result was whole: ' + what))
    last = ModelFiles.named(settings.Global, made + '.' + LAST)
    session.save(last)
    Model.load_written(last, what)
    session.restore(result.best_state)
    session.save(ModelFiles.named(settings.Global, made))
    os.rename(last.directory, os.path.join(made, LAST))
    _write_log(os.path.join(made, LOG), result.log)
    fields.update({
        'prepare_seconds': prepared,
        'train_seconds': result.seconds,
        'train_iterations': done,
        'best_iteration': result.best_iteration,
        'final_loss': result.log[-1]['loss'],
    })
    if result.stopped:
        fields['error'] = 'stopped at iteration %d of %d' % (done,
                                                             train.train_iter)
    if result.best_metric is not None:
        fields.update({
            'map': 100 * result.best_metric,
            'num_images': len(source.val.records),
            'precision': 'simulated_int8',
            **source.val.metric_fields,
        })
    return fields, result.stopped


def _calibrated(source: _Source, copied: ModelFiles, start: ModelFiles,
                ranks: Ranks) -> Dict[str, Any]:
    """Rank 0 calibrates, the others are given its model. Returns the record's
    fields."""

    def calibrate() -> Tuple[Dict[str, Any], List[bytes]]:
        fields = _ptq(source, copied, start.directory)
        return fields, [] if ranks.size == 1 else start.read()

    fields, content = ranks.first(calibrate)
    if ranks.rank:
        start.write(content)
    return fields


def evaluator_of(session: Any,
                 source: _Source,
                 images: data.ImageSet,
                 ranks: Ranks = ALONE) -> Any:
    """A function that evaluates the session's student: mAP in [0, 1]. Each rank
    takes some of the batches, and all are told the same."""
    evaluator = evaluator_on(images)

    def mean_ap(found: List[List[Detections]]) -> float:
        evaluator.reset()
        for detections in found:
            evaluator.process(detections)
        return evaluator.evaluate().map or 0.0

    def evaluate() -> float:
        # Where images differ in size, batches of more cannot be made.
        size = source.settings.TrainConfig.batch_size
        chunks = list(data.chunks(images.records, size))
        own = ranks.part(chunks)
        batches = data.prefetch(own, source.reader.pipeline,
                                source.reader.workers)
        found = []
        with tqdm(total=sum(map(len, own)),
                  desc='evaluate',
                  unit='image',
                  leave=False) as bar:
            for chunk, batch in zip(ranks.dealt(chunks), batches):
                outputs = session.infer(source.named(batch))
                boxes, counts = source.postprocess(outputs, batch)
                found.append(
                    from_model_output([r.id for r in chunk], boxes, counts))
                bar.update(len(chunk))
        gathered = ranks.whole(found)
        return ranks.first(lambda: mean_ap(gathered))

    return evaluate


def _record(settings: config.Settings, source: _Source, made: str,
            save_dir: str, command: List[str], fields: Dict[str, Any],
            what: str) -> Dict[str, Any]:
    files = ModelFiles.named(settings.Global, made)
    model = Model.load_written(files, what)
    record = results.new_record('run.py', command)
    record.update(runtime.environment())
    record.update({
        'model_name':
        settings.model_name,
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


def write_surroundings(settings: config.Settings, float_dir: str,
                       reader_file: str, made: str) -> None:
    """Write what lies beside a result's model: infer_cfg.yml, and a
    configuration that works from there.

    Args:
        settings: that it was made with.
        float_dir: directory of the float model.
        reader_file: of the settings.
        made: the result directory.
    """
    infer_cfg = os.path.join(float_dir, 'infer_cfg.yml')
    if os.path.exists(infer_cfg):
        shutil.copyfile(infer_cfg, os.path.join(made, 'infer_cfg.yml'))
    shutil.copyfile(reader_file, os.path.join(made, READER))
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
