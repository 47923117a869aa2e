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
"""What each layer of a quantized model costs when it is quantized.

A layer is looked at from both ends: it alone quantized, and it alone float. The
mean of what is lost at the one end and regained at the other is the layer's
effect, by which layers are ranked. It is the Shapley value of the layer, taken
at the smallest and the largest set of others instead of at all sets.
"""

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from .agreement import Judge
from .channels import Ranges, axis_of
from .journal import Journal
from .simulation import QuantizedLayer

# Bytes of float outputs that are held to compare with; images whose outputs
# have no room count for the detections only.
_MEMORY = 1 << 30


@dataclass(frozen=True)
class Finding:
    """What was found of the layers of one weight.

    Attributes:
        layers: the operators, in program order.
        sqnr_db: signal to quantization noise of their outputs with them alone
            quantized, 10 log10(sum y^2 / sum (y - yq)^2) in dB over images
            and layers; None without noise or signal.
        alone: agreement AP with float with them alone quantized, in percent.
        without: the same with all layers quantized but these.
        whole: the same with all layers quantized.
        input, output: what they read and write in float.
    """
    layers: Tuple[QuantizedLayer, ...]
    sqnr_db: Optional[float]
    alone: float
    without: float
    whole: float
    input: Ranges
    output: Ranges

    @property
    def weight(self) -> str:
        return self.layers[0].weight

    @property
    def type(self) -> str:
        return self.layers[0].type

    @property
    def highest(self) -> float:
        """The range that calibration chose for the input."""
        return max(layer.highest for layer in self.layers)

    @property
    def lost(self) -> float:
        """Points of agreement AP that these layers lose alone."""
        return 100 - self.alone

    @property
    def regained(self) -> float:
        """Points that come back when these layers are float."""
        return self.without - self.whole

    @property
    def effect(self) -> float:
        """Points: the mean of both."""
        return (self.lost + self.regained) / 2


def by_weight(
        layers: Sequence[QuantizedLayer]
) -> Dict[str, Tuple[QuantizedLayer, ...]]:
    """Layers by the weight that they share, in program order."""
    found: Dict[str, Tuple[QuantizedLayer, ...]] = {}
    for layer in layers:
        found[layer.weight] = found.get(layer.weight, ()) + (layer, )
    return found


class Sensitivity:
    """Measures layers one by one; what a journal knows is not measured again.
    """

    def __init__(self, judge: Judge, journal: Journal) -> None:
        self._judge = judge
        self._journal = journal
        self._layers = by_weight(judge.simulation.layers)
        # Fetched all at once: each choice of variables is a program of its own
        # to Paddle's executor, which keeps several.
        self._outputs = [layer.output for layer in judge.simulation.layers]
        # By image: {output: its float value}; see _hold.
        self._held: Optional[List[Dict[str, np.ndarray]]] = None

    def boxes(self) -> int:
        """How many boxes of float agreement is measured by."""
        return self._journal.ask(['boxes'], lambda: self._judge.boxes)

    def agreement(self, floats: Sequence[str]) -> float:
        """Agreement AP in percent with all layers quantized but those of some
        weights."""
        return self._journal.ask(
            ['float', sorted(floats)],
            lambda: self._judge.agreement(set(self._layers) - set(floats)))

    def measure(self) -> List[Finding]:
        """All weights' findings, the largest effect first."""
        if len(self._journal):
            print("going on: '%s' knows %d probes" %
                  (self._journal.path, len(self._journal)))
        ranges = self._journal.ask(['ranges'], self._ranges)
        whole = self.agreement([])
        found = []
        with tqdm(self._layers.items(), desc='layers', unit='layer') as bar:
            for weight, layers in bar:
                alone = self._journal.ask(['alone', weight],
                                          lambda w=weight: self._alone(w))
                found.append(
                    Finding(layers, alone['sqnr_db'], alone['agreement'],
                            self.agreement([weight]), whole,
                            *(_ranges_of(r) for r in ranges[weight])))
        return ranked(found)

    def _alone(self, weight: str) -> Dict[str, Any]:
        """SQNR and agreement with the layers of one weight quantized."""
        held = self._hold()
        outputs = [layer.output for layer in self._layers[weight]]
        signal = noise = 0.0

        def see(index: int, fetched: Mapping[str, np.ndarray]) -> None:
            nonlocal signal, noise
            if index >= len(held):
                return
            for name in outputs:
                plain = held[index][name].astype(np.float64)
                signal += np.square(plain).sum()
                noise += np.square(plain - fetched[name]).sum()

        agreement = self._judge.agreement([weight], self._outputs, see)
        return {
            'sqnr_db':
            10 * math.log10(signal / noise) if signal and noise else None,
            'agreement': agreement
        }

    def _hold(self) -> List[Dict[str, np.ndarray]]:
        """Float outputs of all layers, image by image, as far as they fit."""
        if self._held is None:
            held: List[Dict[str, np.ndarray]] = []
            self._judge.simulation.set(())
            for image in self._judge.images:
                held.append(
                    self._judge.simulation.run(image.feed, self._outputs)[1])
                size = sum(v.nbytes for v in held[-1].values())
                if size * (len(held) + 1) > _MEMORY:
                    break
            self._held = held
        return self._held

    def _ranges(self) -> Dict[str, List[List[List[float]]]]:
        """{weight: (low and high of each channel) of input and output}."""
        found: Dict[str, Tuple[Ranges, Ranges]] = {}

        def see(_: int, fetched: Mapping[str, np.ndarray]) -> None:
            for weight, layers in self._layers.items():
                for layer in layers:
                    axis = axis_of(layer.type)
                    before = found.get(weight, (None, None))
                    found[weight] = tuple(
                        Ranges.of(fetched[name], axis).joined(old)
                        for name, old in zip((layer.input,
                                              layer.output), before))

        names = dict.fromkeys(n for layers in self._layers.values()
                              for layer in layers
                              for n in (layer.input, layer.output))
        self._judge.found((), list(names), see)
        return {
            weight: [[r.low.tolist(), r.high.tolist()] for r in pair]
            for weight, pair in found.items()
        }


def _ranges_of(pair: List[List[float]]) -> Ranges:
    return Ranges(*map(np.array, pair))


def ranked(findings: Sequence[Finding]) -> List[Finding]:
    """The largest effect first; at equal effect the noisiest."""

    def key(finding: Finding) -> Tuple[float, float]:
        sqnr = finding.sqnr_db
        return -finding.effect, math.inf if sqnr is None else sqnr

    return sorted(findings, key=key)
