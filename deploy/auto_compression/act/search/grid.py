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
"""A search for the guilty as a picture: a row a probe, a column an item."""

from .. import plots
from .evidence import Evidence

IN, GOOD, BAD = '#eeeeee', '#2a9d5c', '#d1495b'


def draw(path: str, found: Evidence) -> None:
    """Draw it, whole or not at all: what was taken out is coloured by whether
    the rest was good.

    Args:
        path: of a PNG.
        found: the search.

    Raises:
        UserError: it cannot be written.
    """
    pyplot = plots.pyplot()
    from matplotlib import colors, patches
    goods = [found.criterion.good(tried) for _, tried in found.probes]
    cells = [[
        0 if item not in out else 1 if good else 2 for item in found.items
    ] for good, (out, _) in zip(goods, found.probes)]
    rows, columns = len(cells), len(found.items)
    # Room for the names below, at 7 points.
    names = .065 * max(map(len, found.items), default=0)
    figure, axis = pyplot.subplots(figsize=(max(6, 3.4 + .2 * columns),
                                            2 + names + .24 * rows))
    axis.imshow(cells,
                cmap=colors.ListedColormap([IN, GOOD, BAD]),
                vmin=0,
                vmax=2,
                aspect='auto',
                interpolation='nearest')
    axis.set_xticks([c - .5 for c in range(1, columns)], minor=True)
    axis.set_yticks([r - .5 for r in range(1, rows)], minor=True)
    axis.grid(which='minor', color='white', linewidth=1)
    axis.tick_params(which='both', length=0)
    axis.set_xticks(range(columns), found.items, rotation=90, fontsize=7)
    for label in axis.get_xticklabels():
        if label.get_text() in found.culprits:
            label.set(color=BAD, fontweight='bold')
    axis.set_yticks(range(rows), [
        '%d  %s' % (at, found.criterion.figure(tried)[:26])
        for at, (_, tried) in enumerate(found.probes)
    ],
                    fontsize=7)
    for label, good in zip(axis.get_yticklabels(), goods):
        label.set_color(GOOD if good else BAD)
    for at, item in enumerate(found.items):
        if item in found.culprits:
            axis.add_patch(
                patches.Rectangle((at - .5, -.5),
                                  1,
                                  rows,
                                  fill=False,
                                  edgecolor=BAD,
                                  linewidth=1.5))
    axis.set_ylabel('probe, agreement AP')
    axis.set_title(('chance: %s' if found.chance else 'guilty: %s') %
                   (', '.join(found.culprits) or 'none of these'),
                   fontsize=9)
    axis.legend(handles=[
        patches.Patch(color=IN, label='in'),
        patches.Patch(color=GOOD, label='out: good'),
        patches.Patch(color=BAD, label='out: still bad')
    ],
                loc='upper left',
                bbox_to_anchor=(1, 1),
                fontsize=7)
    figure.tight_layout()
    plots.save(figure, path)
