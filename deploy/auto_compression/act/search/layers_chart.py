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
"""What layers lose, as a picture: bars of the effect, dots of the SQNR."""

import os
from typing import Any, Dict, Sequence

from .. import plots
from .sensitivity import Finding

SHOWN = 30
# Label, marker, colour, and which layers have it.
_MARKS = (
    ('none wild', 'o', 'tab:gray',
     lambda f: not f.input.wild() and not f.output.wild()),
    ('wild output channel', '^', 'tab:orange',
     lambda f: f.output.wild() and not f.input.wild()),
    ('wild input channel', 'D', 'tab:red', lambda f: f.input.wild()),
)


def draw(path: str, found: Sequence[Finding], record: Dict[str, Any]) -> None:
    """Draw it, whole or not at all.

    Args:
        path: of a PNG.
        found: layers, the largest effect first.
        record: of the run.

    Raises:
        UserError: it cannot be written.
    """
    pyplot = plots.pyplot()
    shown = list(found[:SHOWN])
    places = list(range(len(shown)))
    figure, (bars, dots) = pyplot.subplots(1,
                                           2,
                                           sharey=True,
                                           figsize=(11, 2 + .27 * len(shown)),
                                           gridspec_kw={'width_ratios': [3, 2]})
    above = {
        'loc': 'lower left',
        'bbox_to_anchor': (0, 1),
        'ncols': 3,
        'fontsize': 8,
        'frameon': False
    }
    bars.barh([p - .2 for p in places], [f.lost for f in shown],
              .4,
              label='lost, alone quantized')
    bars.barh([p + .2 for p in places], [f.regained for f in shown],
              .4,
              label='regained, alone in float')
    bars.axvline(0, color='black', linewidth=.6)
    bars.set_yticks(places, [f.weight for f in shown], fontsize=8)
    bars.set_ylim(len(shown) - .4, -.6)  # the first on top
    bars.set_xlabel('points of agreement AP with float')
    bars.legend(**above)
    for label, marker, color, fits in _MARKS:
        chosen = [(f.sqnr_db, p) for p, f in zip(places, shown)
                  if f.sqnr_db is not None and fits(f)]
        if chosen:
            dots.scatter(*zip(*chosen),
                         marker=marker,
                         color=color,
                         label=label,
                         zorder=3)
    dots.grid(axis='x', linewidth=.4)
    dots.set_xlabel('SQNR of its output, dB')
    dots.legend(**above)
    figure.suptitle('%s: %d layers in int8, agreement AP %.2f (%d images)' %
                    (os.path.basename(os.path.normpath(record['model_dir'])),
                     len(found), record['agreement_ap'], record['num_images']))
    figure.tight_layout()
    plots.save(figure, path)
