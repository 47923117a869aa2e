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
"""The picture of a search: accuracy against latency.

Latencies are shown as shares of fp32's: each model was measured in turn with
fp32, and milliseconds of different runs tell less on a machine that others use.
"""

from typing import Any, Optional

from .. import plots
from . import front

_COLORS = {'fp32': 'tab:blue', 'bf16': 'tab:green', 'int8': 'tab:orange'}


def draw(path: str,
         found: Any,
         max_drop: float,
         min_gain: Optional[float] = None,
         title: str = '') -> None:
    """Draw it, whole or not at all.

    Args:
        path: of a PNG.
        found: a `floats.Found`.
        max_drop, min_gain: what was asked, see `choice`.
        title: above it.

    Raises:
        UserError: it cannot be written.
    """
    pyplot = plots.pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8))
    whole = found.whole
    scale = whole.ratio / whole.latency_ms
    left.plot([whole.ratio + s.cost * scale for s in found.steps],
              [s.value for s in found.steps],
              '.-',
              color='lightgray',
              label='simulated, latency by the profile')
    for axis, value in ((left, lambda c: c.agreement), (right,
                                                        lambda c: -c.drop)):
        _measured(axis, found, value)
        if min_gain:
            axis.axvline(1 / min_gain,
                         color='tab:red',
                         linestyle=':',
                         linewidth=1,
                         label='as slow as it may be')
        axis.set_xlabel("latency / fp32's in the same run")
        axis.margins(.15)
        axis.grid(alpha=.3)
    right.axhline(-max_drop,
                  color='tab:red',
                  linestyle='--',
                  linewidth=1,
                  label='what may be lost')
    left.set_ylabel('agreement AP with fp32')
    right.set_ylabel('mAP against fp32, points')
    for axis in (left, right):
        axis.legend(fontsize=8, loc='lower right')
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    plots.save(figure, path)


def _measured(axis: Any, found: Any, value: Any) -> None:
    """The models that were measured, and the front that they make."""
    points = front.pareto(
        [front.Step(frozenset(), value(c), c.ratio) for c in found.candidates])
    axis.step([p.cost for p in points], [p.value for p in points],
              where='post',
              color='gray',
              linewidth=1,
              label='front of what was measured')
    for one in found.candidates:
        at = (one.ratio, value(one))
        axis.plot(*at, 'o', color=_COLORS[one.precision], markersize=8)
        name = 'all int8' if one.name == 'int8' else \
            one.name.replace('int8, ', '')
        axis.annotate(name,
                      at,
                      xytext=(7, -11),
                      textcoords='offset points',
                      fontsize=8)
    if found.chosen:
        axis.plot(found.chosen.ratio,
                  value(found.chosen),
                  'o',
                  markersize=15,
                  markerfacecolor='none',
                  markeredgecolor='black',
                  linestyle='none',
                  label='chosen')
