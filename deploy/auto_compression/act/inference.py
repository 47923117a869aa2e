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
from typing import Dict, List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from . import data, latency, signals
from .accuracy import Detections, from_model_output
from .errors import UserError
from .images import BadImages
from .predictor import Predictor

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
        bad: Optional[BadImages] = None) -> List[Pass]:
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

    Returns:
        one Pass a predictor, in their order.

    Raises:
        UserError: a broken image or none but such, an input the reader does
            not make, or an output that is not a detector's.
    """
    bad = bad or BadImages()
    passes = [Pass() for _ in predictors]
    clock = time.perf_counter
    with tqdm(total=len(records), desc=title, unit='image') as bar:
        for index, chunk in enumerate(data.chunks(records, batch_size)):
            signals.check()
            start = clock()
            used, samples = pipeline.decode_good(chunk, bad)
            decoded = clock()
            bar.update(len(chunk) - len(used))
            if not used:
                continue
            scale = 1e3 / len(used)
            batch = pipeline.preprocess(samples)
            ready = clock()
            order = range(len(predictors))
            for at in order if index % 2 == 0 else reversed(order):
                predictor, result = predictors[at], passes[at]
                feed = data.feed(batch, predictor.inputs, input_list, where)
                predictor.set_inputs(feed)
                cpu, begin = time.process_time(), clock()
                predictor.compute()
                end, cpu = clock(), time.process_time() - cpu
                boxes, counts = predictor.plan.postprocess(
                    predictor.outputs(), batch)
                _check_counts(counts, len(used), predictor)
                result.detections += from_model_output([r.id for r in used],
                                                       boxes, counts)
                done = clock()
                for stage, seconds in zip(STAGES,
                                          (decoded - start, ready - decoded,
                                           end - begin, done - end)):
                    result.stages[stage].append(seconds * scale)
                result.cpu_ms.append(cpu * scale)
            bar.update(len(used))
    if not passes[0].detections:
        raise bad.none_left(len(records))
    return passes


def _check_counts(counts: np.ndarray, images: int,
                  predictor: Predictor) -> None:
    if len(counts) != images:
        raise UserError("'%s' answers a batch of %d images with %d counts: it "
                        "was exported for another batch size" %
                        (predictor.plan.files.directory, images, len(counts)))


def benchmark(predictors: Sequence[Predictor],
              batch: data.Batch,
              *,
              input_list: Optional[Dict[str, str]] = None,
              warmup: int = 20,
              runs: int = 100,
              where: str = 'reader') -> List[latency.Latency]:
    """Latency of the network alone on one batch, models in turn.

    Args:
        predictors: one or more.
        batch: from `data.Pipeline`; copied in once.
        warmup, runs: rounds left out, rounds timed.

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
    return [latency.summarize(w, c, warmup) for w, c in zip(wall, cpu)]


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
