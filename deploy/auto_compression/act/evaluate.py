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
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import yaml

from . import (
    accuracy,
    config,
    data,
    draw,
    inference,
    int8_check,
    results,
    runtime,
)
from . import images as image_files
from .errors import CheckFailed, UserError
from .latency import Latency, stage_medians
from .predictor import Plan, Predictor, plan, slower_than_fp32
from .program import faster
from .program.model import ModelFiles
from .ranks import ALONE, Ranks

PICTURES = 'pictures'


@dataclass(frozen=True)
class Options:
    """What paddle_inference_eval.py was asked for."""
    precision: str = 'auto'
    use_mkldnn: Optional[bool] = None
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
    rewrites: Sequence[str] = faster.ALL  # that may be applied


def _plan(settings: config.Settings, model_dir: str, options: Options) -> Plan:
    return plan(ModelFiles.named(settings.Global, model_dir),
                settings.Deploy.cpu,
                precision=options.precision,
                mkldnn=options.use_mkldnn,
                threads=options.threads,
                nms=settings.own_nms,
                input_list=settings.Global.input_mapping,
                where=settings.path,
                rewrites=options.rewrites)


def _plans(settings: config.Settings, model_dir: str, compare: Optional[str],
           options: Options) -> List[Plan]:
    """Of the model, and of the one that it is compared with."""
    plans = [_plan(settings, model_dir, options)]
    if compare:
        plans.append(
            _plan(settings, compare,
                  replace(options, precision='auto', use_mkldnn=None)))
    return plans


def _record(settings: config.Settings, model_dir: str, made: Plan,
            options: Options, command: List[str]) -> Dict[str, Any]:
    files = ModelFiles.named(settings.Global, model_dir)
    record = results.new_record('paddle_inference_eval.py', command)
    record.update(runtime.environment())
    record.update({
        'model_name': settings.name,
        'model_dir': model_dir,
        'model_hash': files.digest(),
        'model_size_mb': files.size_mb(),
        'config': settings.path,
        'precision': made.precision,
        'device': 'CPU',
        'backend': made.backend,
        'threads': made.threads,
        'batch_size': options.batch_size,
        'deleted_passes': list(made.deleted_passes),
        'float_precision': 'bf16' if made.bf16 else 'fp32',
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
    directories = [model_dir] + ([compare] if compare else [])
    for directory in directories:
        ModelFiles.named(settings.Global, directory).check()
    # A prepared copy of the model goes to the user's cache.
    plans = ranks.one_first(
        lambda: _plans(settings, model_dir, compare, options))
    if options.check and not any(row[0] == plans[0].precision
                                 for row in settings.Expected):
        raise UserError("--check: '%s' has no row for %s in its Expected "
                        'section' % (settings.path, plans[0].precision))
    reader = data.open_reader(settings.Reader, options.skip_bad_images)
    images = reader.val().take(options.num_images)
    predictors = [Predictor(p) for p in plans]
    passes = inference.run(predictors,
                           reader.pipeline,
                           images.records,
                           batch_size=options.batch_size,
                           input_list=settings.Global.input_mapping,
                           where=settings.path,
                           bad=reader.bad,
                           ranks=ranks)
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
            where=settings.path)

    records, failures = [], []
    for directory, predictor, done, speed in zip(directories, predictors,
                                                 passes, latencies):
        made = predictor.plan
        evaluator = accuracy.CocoEvaluator.of(images)
        evaluator.process(done.detections)
        record = _record(settings, directory, made, options, command)
        record.update(processes=ranks.size,
                      dataset=images.annotation_path,
                      num_images=len(images.records),
                      skipped_images=len(reader.bad.faults) or None,
                      peak_memory_mib=inference.peak_memory_mib())
        record.update(_accuracy_fields(evaluator.evaluate(), options.per_class))
        record.update(_latency_fields(speed))
        record.update({
            '%s_ms' % stage: value
            for stage, value in stage_medians(done.stages).items()
        })
        if made.precision in ('int8', 'bf16'):
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

    if compare:
        fields = _comparison(passes, latencies, records, images, options)
        records[0].update(fields)
    path = options.output_json or os.path.join(options.output_dir,
                                               'record.json')
    results.write_json(records[0], path)
    if compare:
        stem, suffix = os.path.splitext(path)
        results.write_json(records[1], stem + '_reference' + suffix)
        print(results.comparison_table(records[1], records[0]))
    else:
        print(results.table(records[0]))
    print('record: %s' % path)
    return records[0], failures


def _comparison(passes: List[inference.Pass], latencies: List[Latency],
                records: List[Dict[str, Any]], images: data.ImageSet,
                options: Options) -> Dict[str, Any]:
    """Fields that say what the first model lost against the second, and the
    pictures that show it."""
    candidate, reference = passes[0].detections, passes[1].detections
    paired = accuracy.paired_difference(reference,
                                        candidate,
                                        images.annotation_path,
                                        category_ids=images.category_ids)
    agreement = accuracy.agreement_ap(reference, candidate)
    changed = accuracy.most_changed(reference,
                                    candidate,
                                    count=options.pictures)
    paths = {r.id: r.path for r in images.records}
    by_image = [{d.image_id: d for d in done.detections} for done in passes]
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
        print('picture: %s' % path)
    return {
        'reference_model_dir': records[1]['model_dir'],
        'map_difference': 100 * paired.difference,
        'map_difference_low': 100 * paired.low,
        'map_difference_high': 100 * paired.high,
        'agreement_ap': None if agreement.map is None else 100 * agreement.map,
        'agreement_boxes': agreement.boxes,
        'latency_ratio': latencies[0].p50 / latencies[1].p50,
        'size_ratio': records[0]['model_size_mb'] / records[1]['model_size_mb'],
        'changed_images': [os.path.basename(paths[i]) for i in changed],
    }


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
    predictor = Predictor(_plan(settings, model_dir, options))
    reader = data.open_reader(settings.Reader)
    record = data.ImageRecord(0, image_file, *picture.shape[:2])
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
