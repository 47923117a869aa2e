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
"""Models measured as they are deployed here: accuracy on some images, and
latency in turn with fp32's in one run."""

from dataclasses import dataclass
from typing import Optional, Sequence

from .. import config, data, inference, runtime
from ..accuracy import Detections, agreement_ap, evaluator_on
from ..capability import deployed_as
from ..plan import BF16_IN_HARDWARE, Plan
from ..predictor import Predictor
from ..program.inspect import quantized_ops
from ..program.model import Model, ModelFiles
from ..request import Options, plan_of
from .agreement import SCORE

WARMUP, RUNS = 10, 60


@dataclass(frozen=True)
class Measured:
    """A model: mAP and agreement AP with fp32 in percent, p50 of the latency
    and of the CPU time in ms an image, and its latency / fp32's."""
    map: float
    agreement: float
    latency_ms: float
    cpu_ms: float
    ratio: float


def bf16_here() -> bool:
    """Whether this CPU computes in bf16."""
    return bool(set(BF16_IN_HARDWARE) & set(runtime.cpu_extensions()))


def fitting(settings: config.Settings, files: ModelFiles) -> config.Settings:
    """Settings whose Deploy.cpu.int8_ops are those that this model needs: with
    layers in float, a type may hold no quantized one any more."""
    allowed = deployed_as(op.type for op in quantized_ops(Model.load(files)))
    made = settings.model_copy(deep=True)
    cpu = made.Deploy.cpu
    cpu.int8_ops = [n for n in cpu.int8_ops if n in allowed]
    return made


def deployed(settings: config.Settings, directory: str, precision: str,
             threads: Optional[int]) -> Plan:
    """The plan of a model in a precision, on the CPU.

    Raises:
        UserError: see `plan`.
    """
    if precision == 'int8':
        settings = fitting(settings, ModelFiles.named(settings.Global,
                                                      directory))
    return plan_of(settings, directory,
                   Options(precision=precision, threads=threads))


class Bench:
    """Measures models beside fp32 on the same images."""

    def __init__(self, settings: config.Settings, plain: Plan,
                 images: data.ImageSet, reader: data.Reader) -> None:
        """
        Args:
            settings: of the model.
            plain: the float model in fp32.
            images: to measure the accuracy on.
            reader: that makes them.
        """
        self._settings = settings
        self._plain = plain
        self._images = images
        self._reader = reader

    def measure(self, name: str, made: Optional[Plan] = None) -> Measured:
        """Measure a model, or fp32 itself.

        Args:
            name: of the model, for the progress bar.
            made: None: fp32.
        """
        predictors = [Predictor(self._plain)]
        if made is not None:
            predictors.append(Predictor(made))
        where = dict(input_list=self._settings.Global.input_mapping,
                     where=self._settings.path)
        passes = inference.run(predictors,
                               self._reader.pipeline,
                               self._images.records,
                               title=name,
                               bad=self._reader.bad,
                               **where)
        batch = self._reader.pipeline(self._images.records[:1])
        speeds = inference.benchmark(predictors,
                                     batch,
                                     warmup=WARMUP,
                                     runs=RUNS,
                                     **where)
        found = passes[-1].detections
        return Measured(
            self._mean_ap(found), 100 * (agreement_ap(
                passes[0].detections, found, score_threshold=SCORE).map or 0),
            speeds[-1].p50, speeds[-1].cpu_ms, speeds[-1].p50 / speeds[0].p50)

    def _mean_ap(self, found: Sequence[Detections]) -> float:
        """mAP in percent."""
        evaluator = evaluator_on(self._images.only(d.image_id for d in found))
        evaluator.process(found)
        return 100 * (evaluator.evaluate().map or 0.)
