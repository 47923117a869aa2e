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
"""Evaluates one deployed model, or two against each other."""

import os
import sys
from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import cv2
import yaml

from . import (
    accuracy,
    config,
    data,
    draw,
    gpu,
    inference,
    int8_check,
    results,
    runtime,
)
from . import images as image_files
from .errors import CheckFailed, UserError
from .latency import Latency, stage_medians
from .plan import Plan, slower_than_fp32
from .predictor import Predictor
from .program.model import ModelFiles
from .ranks import ALONE, Ranks
from .request import (
    Options,
    check_rows,
    plan_of,
    with_engines,
    with_ranges,
)

_T = TypeVar('_T')
RECORD = 'record.json'
PICTURES = 'pictures'
# Added to the name of a record's file for the reference's.
REFERENCE = '_reference'


def _plans(settings: config.Settings, model_dir: str, compare: Optional[str],
           options: Options) -> List[Plan]:
    """Of the model, and of the one that it is compared with."""
    plans = [plan_of(settings, model_dir, options)]
    if compare:
        plans.append(plan_of(settings, compare, options.reference))
    return plans


@dataclass(frozen=True)
class _Gpu:
    """The device, and what watches it."""
    device: gpu.Device
    monitor: gpu.Monitor


def _on_gpu(plans: List[Plan],
            directories: Sequence[str],
            settings: config.Settings,
            options: Options,
            images: data.ImageSet,
            reader: data.Reader,
            aside: Optional[str] = None) -> Tuple[List[Plan], Optional[_Gpu]]:
    """Plans for the GPU with ranges and engines; others as they are.

    Args:
        plans: of the model, and of the reference if there is one.
        directories: of the models. The others: see `with_ranges`.

    Raises:
        UserError: the range file that the user named does not do, or there is
            no device. Nothing is collected for one that is not there.
    """
    if options.device != 'GPU':
        return plans, None
    named = options.shape_range_file
    asked = [options, options.reference]

    def ranged() -> List[Plan]:
        return [
            with_ranges(made,
                        settings,
                        directory,
                        one,
                        images,
                        reader,
                        aside=aside)
            for made, directory, one in zip(plans, directories, asked)
        ]

    if named and os.path.exists(named):
        with_ranges(plans[0], settings, directories[0], options, images, reader)
    device = gpu.find(options.use_trt)
    plans = [with_engines(made, device) for made in ranged()]
    return plans, _Gpu(device, gpu.Monitor())


def _gpu_fields(predictor: Predictor, found: _Gpu) -> Dict[str, Any]:
    """The record's fields of a run on the GPU."""
    device, engines = found.device, predictor.plan.tensorrt
    fields: Dict[str, Any] = dict(gpu=device.name,
                                  gpu_compute=device.compute,
                                  cuda=device.cuda,
                                  create_seconds=predictor.create_seconds,
                                  **found.monitor.fields())
    if engines:
        fields.update(tensorrt=device.tensorrt,
                      dynamic_shape=engines.dynamic_shape,
                      shape_range_file=engines.range_file or None,
                      shape_range_hash=engines.key.get('ranges'),
                      disabled_ops=list(engines.disabled_ops),
                      min_subgraph_size=engines.min_subgraph_size,
                      workspace_mib=engines.workspace_mb,
                      explicit_quantization=engines.explicit_quantization,
                      engine_cache=engines.cache_dir or None,
                      engines_cached=predictor.engines_cached)
    return fields


def _record(settings: config.Settings, model_dir: str, made: Plan,
            options: Options, command: List[str]) -> Dict[str, Any]:
    files = ModelFiles.named(settings.Global, model_dir)
    record = results.new_record('paddle_inference_eval.py', command)
    record.update(runtime.environment())
    record.update({
        'model_name': settings.model_name,
        'model_dir': model_dir,
        'model_hash': files.digest(),
        'model_size_mb': files.size_mb(),
        'config': settings.path,
        'precision': made.precision,
        'device': made.device,
        'backend': made.backend,
        'threads': made.threads,
        'batch_size': options.batch_size,
        'deleted_passes': list(made.deleted_passes),
        'float_precision': made.float_precision,
        'rewrites': made.rewrites,
        'quantized_ops': sum(made.quantized.values()),
    })
    return record


def _accuracy_fields(found: accuracy.Accuracy,
                     per_class: bool) -> Dict[str, Any]:

    def percent(value: Optional[float]) -> Optional[float]:
        return None if value is None else 100 * value

    fields = {
        name: percent(getattr(found, name))
        for name in ('map', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large',
                     'ar_100')
    }
    if per_class:
        fields['per_class'] = {
            k: percent(v)
            for k, v in found.per_class.items()
        }
    return fields


def _latency_fields(found: Latency) -> Dict[str, Any]:
    fields = {
        'latency_ms_' + name: getattr(found, name)
        for name in ('mean', 'std', 'p50', 'p90', 'p99', 'min', 'max')
    }
    fields.update(latency_runs=found.runs,
                  latency_warmup=found.warmup,
                  latency_stable=found.stable,
                  latency_ms_percentiles=list(found.percentiles),
                  cpu_time_ms=found.cpu_ms)
    return fields


def evaluate(settings: config.Settings,
             model_dir: str,
             options: Options,
             command: List[str],
             compare: Optional[str] = None,
             ranks: Ranks = ALONE) -> Tuple[Dict[str, Any], List[str]]:
    """Accuracy and latency of a model, and what it lost against another.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see Options. Its precision is the model's; a model compared
            with runs in its own (auto).
        command: as the user gave it, for the record.
        compare: directory of the reference. Both see each image in turn.
        ranks: that share the images; all must call this. Rank 0 measures the
            accuracy and writes; latencies are those of all.

    Returns:
        the record (also written, with the reference's beside it) and the
        checks that failed, a line each; nothing on other ranks.

    Raises:
        UserError: bad input.
    """
    if options.benchmark and ranks.size > 1:
        raise UserError('--benchmark: processes beside each other disturb the '
                        'times; run it without paddle.distributed.launch')
    if options.device == 'GPU' and ranks.size > 1:
        raise UserError('--device GPU: one process runs on one GPU; run it '
                        'without paddle.distributed.launch')
    directories = [model_dir] + ([compare] if compare else [])
    for directory in directories:
        ModelFiles.named(settings.Global, directory).check()
    # A prepared copy of the model goes to the user's cache.
    plans = ranks.one_first(
        lambda: _plans(settings, model_dir, compare, options))
    check_rows(settings, options, plans[0])
    reader = data.open_reader(settings.Reader, options.skip_bad_images)
    images = reader.val().take(options.num_images)
    plans, on_gpu = _on_gpu(plans, directories, settings, options, images,
                            reader)
    predictors = [Predictor(p) for p in plans]
    watch: Dict[str, Any] = {'after': on_gpu.monitor.sample} if on_gpu else {}
    passes = inference.run(predictors,
                           reader.pipeline,
                           images.records,
                           batch_size=options.batch_size,
                           input_list=settings.Global.input_mapping,
                           where=settings.path,
                           bad=reader.bad,
                           ranks=ranks,
                           **watch)
    if ranks.rank:
        return {}, []
    # Without those that could not be decoded.
    images = images.only(d.image_id for d in passes[0].detections)
    latencies = [p.inference() for p in passes]
    if options.benchmark:
        batch = reader.pipeline(images.records[:options.batch_size])
        latencies = inference.benchmark(
            predictors,
            batch,
            input_list=settings.Global.input_mapping,
            where=settings.path,
            **watch)

    records, failures = [], []
    for directory, predictor, done, speed in zip(directories, predictors,
                                                 passes, latencies):
        made = predictor.plan
        evaluator = accuracy.evaluator_on(images)
        evaluator.process(done.detections)
        record = _record(settings, directory, made, options, command)
        record.update(processes=ranks.size,
                      dataset=images.annotation_path,
                      num_images=len(images.records),
                      skipped_images=len(reader.bad.faults) or None,
                      **images.metric_fields,
                      unverified_options=predictor.unverified,
                      peak_memory_mib=inference.peak_memory_mib())
        record.update(_accuracy_fields(evaluator.evaluate(), options.per_class))
        record.update(_latency_fields(speed))
        record.update({
            '%s_ms' % stage: value
            for stage, value in stage_medians(done.stages).items()
        })
        if on_gpu:
            record.update(_gpu_fields(predictor, on_gpu))
        elif made.precision in ('int8', 'bf16'):
            count = int8_check.run(
                made,
                data.feed(reader.pipeline(images.records[:1]), predictor.inputs,
                          settings.Global.input_mapping, settings.path))
            record.update(int8_check.fields(made, count))
            failures += int8_check.failures(made, count)
        if options.check:
            failures += results.check_expected(record,
                                               settings.Expected,
                                               precision=made.precision)
        reason = slower_than_fp32(made)
        if reason:
            print('warning: %s: %s' % (directory, reason))
        if speed.warning():
            print('warning: %s: %s' % (directory, speed.warning()))
        records.append(record)

    path = options.output_json or os.path.join(options.output_dir, RECORD)
    if compare:
        fields, pictures = _comparison(passes, latencies, records, images,
                                       options)
        beside = os.path.dirname(path) or '.'
        records[0].update(
            fields, pictures=[os.path.relpath(p, beside) for p in pictures])
    results.write_json(records[0], path)
    if compare:
        stem, suffix = os.path.splitext(path)
        results.write_json(records[1], stem + REFERENCE + suffix)
        print(results.comparison_table(records[1], records[0]))
    else:
        print(results.table(records[0]))
    print('record: %s' % path)
    return records[0], failures


def _comparison(passes: List[inference.Pass], latencies: List[Latency],
                records: List[Dict[str, Any]], images: data.ImageSet,
                options: Options) -> Tuple[Dict[str, Any], List[str]]:
    """Fields that say what the first model lost against the second, and the
    files of the pictures that show it."""
    candidate, reference = passes[0].detections, passes[1].detections
    paired = _or_none(
        lambda: accuracy.paired_difference_on(images, reference, candidate))
    agreement = _or_none(lambda: accuracy.agreement_ap(reference, candidate))
    changed = accuracy.most_changed(reference,
                                    candidate,
                                    count=options.pictures)
    paths = {r.id: r.path for r in images.records}
    by_image = [{d.image_id: d for d in done.detections} for done in passes]
    pictures = []
    for image_id in changed:
        picture = cv2.imread(paths[image_id])
        titles, drawn = [], []
        for at in (1, 0):
            drawn.append(
                draw.draw_detections(picture,
                                     by_image[at][image_id],
                                     images.class_names,
                                     score_threshold=options.score_threshold))
            titles.append('%s, %.1f mAP' %
                          (records[at]['precision'], records[at]['map'] or 0))
        path = os.path.join(options.output_dir, PICTURES,
                            os.path.basename(paths[image_id]))
        draw.write_image(
            path, draw.side_by_side(drawn[0], drawn[1], titles=tuple(titles)))
        pictures.append(path)
        print('picture: %s' % path)
    return {
        'reference_model_dir': records[1]['model_dir'],
        'map_difference': paired and 100 * paired.difference,
        'map_difference_low': paired and 100 * paired.low,
        'map_difference_high': paired and 100 * paired.high,
        'agreement_ap': agreement and 100 * (agreement.map or 0.0),
        'agreement_boxes': agreement.boxes if agreement else 0,
        'latency_ratio': latencies[0].p50 / latencies[1].p50,
        'size_ratio': records[0]['model_size_mb'] / records[1]['model_size_mb'],
        'changed_images': [os.path.basename(paths[i]) for i in changed],
    }, pictures


def _or_none(measure: Callable[[], _T]) -> Optional[_T]:
    """A figure; None, and a warning, if there is nothing to compare."""
    try:
        return measure()
    except accuracy.NothingToCompare as e:
        print('warning: %s' % e, file=sys.stderr)
        return None


def check(failures: List[str]) -> None:
    """Raise CheckFailed with what failed, if anything did."""
    if failures:
        raise CheckFailed('; '.join(failures))


def draw_image(settings: config.Settings, model_dir: str, image_file: str,
               options: Options) -> str:
    """Detect on one image and draw the result.

    Class names are those of the model's infer_cfg.yml; no data set is needed.

    Returns:
        path of the picture.
    """
    label_file = os.path.join(model_dir, 'infer_cfg.yml')
    try:
        with open(label_file, encoding='utf-8') as f:
            names = [str(n) for n in yaml.safe_load(f)['label_list']]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        raise UserError("'%s' is missing or has no label_list; export.py "
                        "writes it" % label_file) from None
    fault = image_files.structure_fault(image_file)
    picture = None if fault else cv2.imread(image_file)
    if picture is None:
        raise UserError('--image_file %r does not exist or is not an image '
                        '(%s); name another' % (image_file, fault or 'broken'))
    reader = data.open_reader(settings.Reader)
    record = data.ImageRecord(0, image_file, *picture.shape[:2])
    plans, _ = _on_gpu([plan_of(settings, model_dir, options)], [model_dir],
                       settings, options,
                       data.ImageSet(image_file, [record], [],
                                     []), reader, options.output_dir)
    predictor = Predictor(plans[0])
    done, = inference.run([predictor],
                          reader.pipeline, [record],
                          input_list=settings.Global.input_mapping,
                          where=settings.path,
                          title='detect')
    drawn = draw.draw_detections(picture,
                                 done.detections[0],
                                 names,
                                 score_threshold=options.score_threshold)
    stem, suffix = os.path.splitext(os.path.basename(image_file))
    path = os.path.join(options.output_dir,
                        stem + '_detections' + (suffix or '.jpg'))
    draw.write_image(path, drawn)
    return path
