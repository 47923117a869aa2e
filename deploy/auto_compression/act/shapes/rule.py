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
"""Which input sizes a reader makes of images, from their sizes alone.

The rounding is that of PaddleDetection's transforms (paddledet 2.6.0,
ppdet/data/transform): OpenCV rounds a scaled side to the nearest whole number,
halves to the even one.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np

from ..data import Reader
from ..errors import UserError

# Images up to this ratio of their sides are what `Rule.examples` stands for: it
# needs some limit, and few photographs are longer.
ASPECT = 8.0


@dataclass(frozen=True)
class ToSize:
    """Every image becomes of one size."""
    height: int
    width: int

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        return np.broadcast_to([self.height, self.width], sizes.shape).copy()


@dataclass(frozen=True)
class KeepRatio:
    """The shorter side becomes `short`, or less where the longer one would
    become more than `long`."""
    short: int
    long: int

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        scale = np.minimum(self.short / sizes.min(1), self.long / sizes.max(1))
        return np.rint(scale[:, None] * sizes).astype(np.int64)

    def examples(self, aspect: float) -> np.ndarray:
        """(N, 2): what becomes of all images whose sides are up to `aspect`
        to one. Each becomes itself."""
        longest = min(self.long, round(self.short * aspect))
        long = np.arange(self.short, longest + 1)
        landscape = [np.stack([np.full_like(long, self.short), long], 1)]
        if longest == self.long:
            short = np.arange(max(1, round(self.long / aspect)), self.short)
            landscape.append(
                np.stack([short, np.full_like(short, self.long)], 1))
        sizes = np.concatenate(landscape)
        return np.unique(np.concatenate([sizes, sizes[:, ::-1]]), axis=0)


@dataclass(frozen=True)
class Multiple:
    """Both sides are filled up to multiples; in a batch, to its greatest."""
    of: int

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        return -(-sizes // self.of) * self.of


Step = Union[ToSize, KeepRatio, Multiple]


@dataclass(frozen=True)
class Rule:
    """What a reader makes of image sizes, step by step."""
    steps: Tuple[Step, ...]
    where: str  # the reader file

    def sizes(self, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """The network's input for each image in a batch of its own. A batch of
        several is as high and wide as the greatest of them.

        Args:
            heights, widths: (N,) of the images as they are decoded, pixels.

        Returns:
            (N, 2) int64: height, width.

        Raises:
            UserError: an image so long that a side of nothing is left.
        """
        images = np.stack([heights, widths], 1).astype(np.int64)
        sizes = images
        for step in self.steps:
            sizes = step(sizes)
            if len(sizes) and sizes.min() < 1:
                at = int(sizes.min(1).argmin())
                raise UserError(
                    '%s: its transforms make an image of %d x %d (height x '
                    'width) %d x %d: leave it out' %
                    (self.where, *images[at], *sizes[at]))
        return sizes

    @property
    def fixed(self) -> Optional[Tuple[int, int]]:
        """Height and width of the input, if all images become of one size."""
        if not any(isinstance(s, ToSize) for s in self.steps):
            return None
        (height, width), = self.sizes(np.ones(1), np.ones(1)).tolist()
        return height, width

    @property
    def pads(self) -> bool:
        """Whether a batch may hold images of several sizes."""
        return any(isinstance(s, Multiple) for s in self.steps)

    @property
    def limited(self) -> bool:
        """Whether the rule sets limits to what it makes of images up to some
        ratio of their sides."""
        return any(isinstance(s, (ToSize, KeepRatio)) for s in self.steps)

    def examples(self, aspect: float = ASPECT) -> np.ndarray:
        """Images whose inputs are all that the rule makes of any image of up to
        `aspect` to one.

        Returns:
            (N, 2) int64: height, width of the images.

        Raises:
            UserError: the rule sets no limit.
        """
        if self.fixed:
            return np.array([self.fixed])
        for step in self.steps:
            if isinstance(step, KeepRatio):
                return step.examples(aspect)
        raise UserError(
            '%s: images keep their size, so that its transforms set no range '
            'of shapes; add a Resize, or take --shape_range data' % self.where)


def _resize(transform: Any) -> Step:
    height, width = transform.target_size
    if transform.keep_ratio:
        return KeepRatio(min(height, width), max(height, width))
    return ToSize(height, width)


def _pad_batch(transform: Any) -> Step:
    return Multiple(max(1, transform.pad_to_stride))


# What transforms of PaddleDetection do to sizes; None: nothing.
_STEPS: Dict[str, Callable[[Any], Optional[Step]]] = {
    'Resize': _resize,
    'Pad': lambda transform: ToSize(*transform.size),
    'PadBatch': _pad_batch,
    'PadMaskBatch': _pad_batch,
    'NormalizeImage': lambda transform: None,
    'Permute': lambda transform: None,
}


def of(reader: Reader) -> Rule:
    """The rule of a reader's evaluation transforms.

    Raises:
        UserError: a transform that is not known.
    """
    steps: List[Step] = []
    for transform in reader.pipeline.transforms:
        name = type(transform).__name__
        if name not in _STEPS:
            raise UserError(
                "%s: what transform '%s' makes of an image's size is not "
                'known, so that ranges of shapes cannot be found; known: %s' %
                (reader.file, name, ', '.join(sorted(_STEPS))))
        step = _STEPS[name](transform)
        if step is not None:
            steps.append(step)
    return Rule(tuple(steps), reader.file)
