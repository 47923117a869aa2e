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
"""How far a model whose layers are switched finds what it finds in float."""

from dataclasses import dataclass
from typing import Callable, Collection, Dict, List, Optional, Sequence

import numpy as np

from .. import config, data
from ..accuracy import Detections, agreement_ap, from_model_output
from ..errors import CheckFailed, UserError
from ..postprocess import PostProcess
from .simulation import Simulation

# Of boxes that a user would be shown; the others are not what is agreed on.
SCORE = 0.3

See = Callable[[int, Dict[str, np.ndarray]], None]


@dataclass(frozen=True)
class Image:
    """An image as the reader makes it and as the model takes it."""
    id: int
    batch: data.Batch
    feed: data.Batch


def training_images(settings: config.Settings, reader: data.Reader,
                    count: int) -> List[data.ImageRecord]:
    """Images to choose on: the validation images must be left to judge what was
    chosen, and on those of calibration ranges fit better than on others.

    Args:
        settings: whose calibration images come last.
        reader: of the data set.
        count: how many; fewer, if there are not so many.

    Raises:
        UserError: an image is broken.
    """
    options = settings.Quantization
    drawn = reader.train().drawn(options.seed)
    used = options.calibration_images
    return reader.bad.usable(drawn[used:] + drawn[:used], lambda r: r.path,
                             count)


def prepare(settings: config.Settings, reader: data.Reader,
            records: Sequence[data.ImageRecord],
            inputs: Sequence[str]) -> List[Image]:
    """Images one by one, ready in memory.

    Args:
        settings: of the model.
        reader: of the data set.
        records: the images.
        inputs: names of the model's inputs.

    Raises:
        UserError: the reader does not make what the model takes.
    """

    def made(record: data.ImageRecord) -> Image:
        batch = reader.pipeline([record])
        return Image(
            record.id, batch,
            data.feed(batch, inputs, settings.Global.input_mapping,
                      settings.path))

    return list(data.prefetch(records, made, reader.workers))


class Judge:
    """Runs a simulation over images, and compares what it finds with what it
    finds when all its layers are float."""

    def __init__(self, simulation: Simulation, images: Sequence[Image],
                 postprocess: PostProcess) -> None:
        """
        Args:
            simulation: whose layers are switched here.
            images: one or more.
            postprocess: of the model's outputs.
        """
        self.simulation = simulation
        self.images = images
        self._postprocess = postprocess
        self._reference: Optional[List[Detections]] = None

    @property
    def reference(self) -> List[Detections]:
        """What is found with all layers float; they run at the first call.

        Raises:
            CheckFailed: that is NaN or infinite.
            UserError: nothing is found.
        """
        if self._reference is None:
            found = self.found(())
            if not _count(found):
                raise UserError(
                    'with all layers in float the model finds nothing of score '
                    '>= %g in %d training images; try more with --num_images, '
                    'or another model' % (SCORE, len(found)))
            self._reference = found
        return self._reference

    @property
    def boxes(self) -> int:
        """How many boxes of float agreement is measured by."""
        return _count(self.reference)

    def found(self,
              quantized: Collection[str],
              fetch: Sequence[str] = (),
              see: See = lambda index, fetched: None) -> List[Detections]:
        """Run all images with these layers quantized.

        Args:
            quantized: weights' names of the layers.
            fetch: variables of layers that are wanted too.
            see: is called after each image with its index and {variable:
                value}.

        Returns:
            what was found, image by image.

        Raises:
            CheckFailed: that is NaN or infinite.
        """
        self.simulation.set(quantized)
        detections = []
        for index, image in enumerate(self.images):
            outputs, fetched = self.simulation.run(image.feed, fetch)
            see(index, fetched)
            detections += from_model_output([image.id],
                                            *self._postprocess(
                                                outputs, image.batch))
        return detections

    def agreement(self,
                  quantized: Collection[str],
                  fetch: Sequence[str] = (),
                  see: See = lambda index, fetched: None) -> float:
        """Agreement AP with float, in percent, with these layers quantized; 0
        if the model then gives what is NaN or infinite.

        Args:
            quantized, fetch, see: as of `found`.

        Raises:
            UserError: float finds nothing in these images.
        """
        reference = self.reference
        try:
            found = self.found(quantized, fetch, see)
        except CheckFailed:
            return 0.0
        return 100 * agreement_ap(reference, found, score_threshold=SCORE).map


def _count(found: Sequence[Detections]) -> int:
    return sum(int((one.boxes[:, 1] >= SCORE).sum()) for one in found)
