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
"""A profile as a picture: bars by kind of operator, models side by side."""

from typing import Sequence

from .. import plots
from . import layers
from .machine import Machine
from .profiled import Profile

KINDS = 12  # bars; the rest is one more


def draw(path: str, profiles: Sequence[Profile], machine: Machine) -> None:
    """Draw it, whole or not at all.

    Args:
        path: of a PNG.

    Raises:
        UserError: it cannot be written.
    """
    pyplot = plots.pyplot()
    found = [{
        k.name: k.ms
        for k in layers.by_kind(p.layers, machine)
    } for p in profiles]
    names = sorted(set().union(*found),
                   key=lambda n: -max(k.get(n, 0.0) for k in found))
    shown, rest = names[:KINDS], names[KINDS:]
    titles = shown + ['others'] * bool(rest) + ['between operators']
    figure, axis = pyplot.subplots(figsize=(9, 1.5 + .4 * len(titles)))
    height = .8 / len(profiles)
    for at, (profile, kind) in enumerate(zip(profiles, found)):
        values = [kind.get(n, 0.0) for n in shown]
        if rest:
            values.append(sum(kind.get(n, 0.0) for n in rest))
        values.append(profile.timing.between_ms)
        places = [
            i + (at - (len(profiles) - 1) / 2) * height
            for i in range(len(titles))
        ]
        bars = axis.barh(places,
                         values,
                         height,
                         label='%s, %.1f ms in operators' %
                         (profile.label, profile.operators_ms))
        axis.bar_label(bars, fmt='%.2f', padding=3, fontsize=8)
    axis.set_yticks(range(len(titles)), titles)
    axis.invert_yaxis()
    axis.margins(x=.1)
    axis.set_xlabel('ms a run, %d thread%s' %
                    (machine.threads, '' if machine.threads == 1 else 's'))
    axis.legend(loc='lower right')
    figure.tight_layout()
    plots.save(figure, path)
