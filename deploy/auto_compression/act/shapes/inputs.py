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
"""The inputs that shape ranges shall cover: those of a data set, or all that a
reader's rule makes."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from .. import data
from ..errors import UserError
from ..images import BadImages
from . import levels, sizes
from .cover import commonest
from .rule import Rule

# Height and width that most of COCO's images have.
_TYPICAL = (480, 640)

# An image of the data set, or the height and width of one to be made up.
Source = Union[data.ImageRecord, Tuple[int, int]]


@dataclass(frozen=True)
class Inputs:
    """Inputs of a model, one a batch of images."""
    runs: np.ndarray  # (N, 3) int64: images, height, width of the input
    batches: List[Sequence[Source]]  # the images of each
    optimum: int  # index of the one that engines shall be fastest for

    def feed(self, at: int, pipeline: data.Pipeline) -> data.Batch:
        """The batch of an input.

        Raises:
            data.BadImage: an image is broken.
            UserError: it becomes of another size than was found.
        """
        batch = pipeline.preprocess([
            pipeline.decode(s) if isinstance(s, data.ImageRecord) else made_up(
                *s) for s in self.batches[at]
        ])
        images, _, *size = batch['image'].shape
        if [images, *size] != self.runs[at].tolist():
            raise UserError(
                'images %s become an input of %d x %d (height x width), by '
                'their headers it would be %d x %d: write them anew, or leave '
                'them out' % (', '.join(
                    repr(s.path)
                    for s in self.batches[at]), *size, *self.runs[at][1:]))
        return batch


def of_images(records: Sequence[data.ImageRecord], bad: BadImages, rule: Rule,
              batch_size: int) -> Inputs:
    """The inputs that a data set makes, in batches and each image alone.

    Args:
        records: the images.
        bad: what becomes of images that cannot be read.
        rule: of the reader.
        batch_size: images of a batch, in the order of the records.

    Raises:
        UserError: an image that cannot be read and is not to be skipped, or
            none is left.
    """
    if rule.fixed:
        found = sizes.annotated(records)  # whatever they are
    else:
        records, found = sizes.readable(records, bad)
    single = rule.sizes(*found.T)
    batches: List[Sequence[Source]] = [[r] for r in records]
    runs = levels.as_runs(single)
    usual = commonest(runs)
    if batch_size > 1:
        parts = list(data.chunks(range(len(records)), batch_size))
        joined = np.array([(len(p), *single[p].max(0)) for p in parts])
        usual = len(runs) + commonest(joined)
        runs = np.concatenate([runs, joined])
        batches += [[records[i] for i in part] for part in parts]
    return Inputs(runs, batches, usual)


def of_rule(rule: Rule,
            batch_size: int,
            also: Optional[np.ndarray] = None) -> Inputs:
    """All inputs that a rule makes of images of up to `rule.ASPECT` to one, as
    batches of made up images.

    Args:
        rule: of the reader.
        batch_size: of the greatest batch.
        also: (N, 2) height and width of images to cover beside.

    Raises:
        UserError: the rule sets no limit.
    """
    images = rule.examples()
    usual = _TYPICAL
    if also is not None:
        usual = also[commonest(rule.sizes(*also.T))]
        images = np.concatenate([images, also])
    images = np.concatenate([[usual], images])
    single = rule.sizes(*images.T)
    sources = [tuple(size) for size in images.tolist()]
    runs = levels.as_runs(single)
    batches: List[Sequence[Source]] = [[s] for s in sources]
    if batch_size > 1:
        usual_at = len(runs)
        runs = np.concatenate([runs, runs * [batch_size, 1, 1]])
        batches += [[s] * batch_size for s in sources]
        if rule.pads:
            # Of the highest and the widest image.
            high, wide = single.argmax(0)
            runs = np.concatenate([runs, [[batch_size, *single.max(0)]]])
            batches.append([sources[high]] + [sources[wide]] * (batch_size - 1))
        return Inputs(runs, batches, usual_at)
    return Inputs(runs, batches, 0)


def made_up(height: int, width: int) -> Dict[str, Any]:
    """A sample of noise, as Pipeline.decode gives one of an image."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3),
                                              np.uint8)
    return {
        'image': noise,
        'im_id': np.array([0]),
        'h': height,
        'w': width,
        'im_shape': np.array([height, width], np.float32),
        'scale_factor': np.ones(2, np.float32)
    }
