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
"""Runs a deployed model over images: detections and timings in one pass."""

import resource
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from . import data, latency
from .accuracy import Detections, from_model_output
from .errors import UserError
from .images import BadImages
from .predictor import Predictor
from .ranks import ALONE, Ranks

STAGES = ('decode', 'preprocess', 'inference', 'postprocess')


@dataclass
class Pass:
    """What one model did over some images.

    `stages[s]` has one time for each batch, in ms an image; `cpu_ms` the
    process's CPU time during inference, in ms an image.
    """
    detections: List[Detections] = field(default_factory=list)
    stages: Dict[str, List[float]] = field(
        default_factory=lambda: {s: []
                                 for s in STAGES})
    cpu_ms: List[float] = field(default_factory=list)

    def add(self, other: 'Pass') -> None:
        """Take in what was done over other images."""
        self.detections += other.detections
        for stage, times in other.stages.items():
            self.stages[stage] += times
        self.cpu_ms += other.cpu_ms

    def inference(self) -> latency.Latency:
        """Latency of the network alone, an image."""
        return latency.summarize(self.stages['inference'], self.cpu_ms)


def run(predictors: Sequence[Predictor],
        pipeline: data.Pipeline,
        records: Sequence[data.ImageRecord],
        *,
        batch_size: int = 1,
        input_list: Optional[Dict[str, str]] = None,
        where: str = 'reader',
        title: str = 'evaluate',
        bad: Optional[BadImages] = None,
        ranks: Ranks = ALONE,
        after: Callable[[], None] = lambda: None) -> List[Pass]:
    """Run models over the same images, batch by batch in turn.

    Interleaved, so that whatever else the machine does disturbs all alike.

    Args:
        predictors: one or more; the order within a batch alternates.
        pipeline: how images become input.
        records: the images.
        batch_size: the last batch may be smaller.
        input_list: {reader's name: model's name}, see `data.feed`.
        where: file to name in messages about inputs.
        title: of the progress bar.
        bad: what becomes of broken images; None: refused. Those left out are
            in no Pass.
        ranks: that share the batches; all must call this.
        after: called after each batch, in no time that is measured.

    Returns:
        one Pass a predictor, in their order, with what all ranks did.

    Raises:
        UserError: a broken image or none but such, an input the reader does
            not make, or an output that is not a detector's.
    """
    bad = bad or BadImages()
    chunks = list(data.chunks(records, batch_size))
    found = []
    with tqdm(total=sum(map(len, ranks.part(chunks))), desc=title,
              unit='image') as bar:
        for index, chunk in enumerate(ranks.dealt(chunks)):
            found.append(
                _batch(predictors, pipeline, chunk, index % 2 == 1, input_list,
                       where, bad))
            after()
            bar.update(len(chunk))
    for faults in ranks.gather(bad.faults):
        bad.add(faults, len(records))
    passes = [Pass() for _ in predictors]
    for batch in ranks.whole(found):
        for result, part in zip(passes, batch):
            result.add(part)
    if not passes[0].detections:
        raise bad.none_left(len(records))
    return passes


def _batch(predictors: Sequence[Predictor], pipeline: data.Pipeline,
           records: Sequence[data.ImageRecord], backwards: bool,
           input_list: Optional[Dict[str, str]], where: str,
           bad: BadImages) -> List[Pass]:
    """One batch through all models; empty if no image of it can be used."""
    clock = time.perf_counter
    start = clock()
    used, samples = pipeline.decode_good(records, bad)
    decoded = clock()
    if not used:
        return []
    scale = 1e3 / len(used)
    batch = pipeline.preprocess(samples)
    ready = clock()
    passes = [Pass() for _ in predictors]
    order = list(zip(predictors, passes))
    for predictor, result in reversed(order) if backwards else order:
        feed = data.feed(batch, predictor.inputs, input_list, where)
        predictor.check_shapes(feed, 'image %r' % used[0].path)
        predictor.set_inputs(feed)
        cpu, begin = time.process_time(), clock()
        predictor.compute()
        end, cpu = clock(), time.process_time() - cpu
        boxes, counts = predictor.plan.postprocess(predictor.outputs(), batch)
        _check_counts(counts, len(used), predictor)
        result.detections += from_model_output([r.id for r in used], boxes,
                                               counts)
        done = clock()
        for stage, seconds in zip(
                STAGES,
            (decoded - start, ready - decoded, end - begin, done - end)):
            result.stages[stage].append(seconds * scale)
        result.cpu_ms.append(cpu * scale)
    return passes


def _check_counts(counts: np.ndarray, images: int,
                  predictor: Predictor) -> None:
    if len(counts) != images:
        raise UserError("'%s' answers a batch of %d images with %d counts: it "
                        "was exported for another batch size" %
                        (predictor.plan.files.directory, images, len(counts)))


def benchmark(
        predictors: Sequence[Predictor],
        batch: data.Batch,
        *,
        input_list: Optional[Dict[str, str]] = None,
        warmup: int = 20,
        runs: int = 100,
        where: str = 'reader',
        after: Callable[[], None] = lambda: None) -> List[latency.Latency]:
    """Latency of the network alone on one batch, models in turn.

    Args:
        predictors: one or more.
        batch: from `data.Pipeline`; copied in once.
        warmup, runs: rounds left out, rounds timed.
        after: called after each round, in no time that is measured.

    Returns:
        one Latency a predictor, an image.
    """
    scale = 1e3 / len(batch['image'])
    wall: List[List[float]] = [[] for _ in predictors]
    cpu: List[List[float]] = [[] for _ in predictors]
    for predictor in predictors:
        predictor.set_inputs(
            data.feed(batch, predictor.inputs, input_list, where))
    for _ in tqdm(range(warmup + runs), desc='benchmark', unit='run'):
        for at, predictor in enumerate(predictors):
            used, start = time.process_time(), time.perf_counter()
            predictor.compute()
            wall[at].append((time.perf_counter() - start) * scale)
            cpu[at].append((time.process_time() - used) * scale)
        after()
    return [latency.summarize(w, c, warmup) for w, c in zip(wall, cpu)]


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
