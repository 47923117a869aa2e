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
"""The picture of a search: accuracy against latency."""

import io
from typing import Any

from ..errors import UserError
from ..files import write_whole

_COLORS = {'fp32': 'tab:blue', 'bf16': 'tab:green', 'int8': 'tab:orange'}


def draw(path: str, found: Any, max_drop: float) -> None:
    """Draw it, whole or not at all.

    Args:
        path: of a PNG.
        found: a `floats.Found`.
        max_drop: points of mAP that may be lost.

    Raises:
        UserError: it cannot be written.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    whole = next(c for c in found.candidates if c.name == 'int8')
    left.plot([whole.latency_ms + s.cost for s in found.steps],
              [s.value for s in found.steps],
              '.-',
              color='lightgray',
              label='simulated, latency by the profile')
    for axis, value in ((left, lambda c: c.agreement), (right,
                                                        lambda c: -c.drop)):
        for one in found.candidates:
            axis.plot(one.latency_ms,
                      value(one),
                      'o',
                      color=_COLORS[one.precision],
                      markersize=8)
            axis.annotate(one.name.replace('int8, ', ''),
                          (one.latency_ms, value(one)),
                          xytext=(6, 5),
                          textcoords='offset points',
                          fontsize=8)
        if found.chosen:
            axis.plot(found.chosen.latency_ms,
                      value(found.chosen),
                      'o',
                      markersize=15,
                      markerfacecolor='none',
                      markeredgecolor='black',
                      label='chosen')
        axis.set_xlabel('latency, p50 in ms')
        axis.margins(.15)
        axis.grid(alpha=.3)
    right.axhline(-max_drop, color='tab:red', linestyle='--', linewidth=1)
    right.annotate('what may be lost', (right.get_xlim()[0], -max_drop),
                   xytext=(4, 4),
                   textcoords='offset points',
                   fontsize=8,
                   color='tab:red')
    left.set_ylabel('agreement AP with fp32')
    right.set_ylabel('mAP against fp32, points')
    left.legend(fontsize=8, loc='lower right')
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=100)
    pyplot.close(figure)
    try:
        write_whole(path, content.getvalue())
    except OSError as e:
        raise UserError("picture '%s' cannot be written: %s" %
                        (path, e.strerror or e)) from None
