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
"""The figures of a report, drawn by matplotlib as SVG.

Each function returns None where the records lack what it shows. Text stays
text, so that a browser draws it with its own fonts, in any script.
"""

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Sequence

from .. import plots, results
from .classes import Change
from .gather import Entry, Pair
from .training import Log

# Okabe and Ito's colours, told apart with any colour vision; without yellow,
# which is faint on white.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9',
          '#000000')
_MARKERS = {
    'fp32': 'o',
    'fp16': 'v',
    'bf16': 's',
    'int8': 'D',
    'simulated_int8': 'x'
}
STAGES = ('decode_ms', 'preprocess_ms', 'inference_ms', 'postprocess_ms')
LONGEST = 48  # characters of a label
SIZES = ('model_size_mb', 'peak_memory_mib', 'peak_gpu_memory_mib')
_STYLE = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'report',  # names in it, so that runs give the same file
    'font.family': 'sans-serif',
    'font.size': 10,
    # A name with two dollar signs is no formula.
    'text.parse_math': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#dddddd',
}


@dataclass(frozen=True)
class Figure:
    """A picture, and what it shows in words."""
    svg: bytes
    words: str


@contextlib.contextmanager
def _drawing(width: float, height: float, columns: int = 1) -> Iterator[Any]:
    """(figure, axes) of a size in inches, in the report's style."""
    pyplot = plots.pyplot()
    import matplotlib
    with matplotlib.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1,
                                       columns,
                                       figsize=(width, height),
                                       layout='constrained',
                                       squeeze=False)
        try:
            yield figure, axes[0]
        finally:
            pyplot.close(figure)


def _svg(figure: Any) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that its own font lacks are the browser's business.
        warnings.filterwarnings('ignore', 'Glyph .* missing')
        figure.savefig(content, format='svg', metadata={'Date': None})
    return content.getvalue()


def _logarithmic(axis: Any, which: str) -> None:
    """Make the x or y axis logarithmic; matplotlib writes the numbers of such
    an axis as formulas."""
    from matplotlib import ticker
    axis.set(**{which + 'scale': 'log'})
    one = getattr(axis, which + 'axis')
    one.set_major_formatter(ticker.FuncFormatter(lambda value, _: '%g' % value))
    one.set_minor_formatter(ticker.NullFormatter())


def _bars_height(count: int) -> float:
    return 1.1 + 0.42 * count


def _shown(name: str, value: Any) -> str:
    field = results.FIELDS[name]
    return ('%s %s' % (results.show(field, value), field.unit)).strip()


def accuracy_latency(rows: Sequence[Entry]) -> Optional[Figure]:
    """mAP against median latency, a line for each family. Simulations are left
    out: nobody deploys them. All rows have one metric."""
    rows = [
        r for r in rows
        if r.get('map') is not None and r.get('latency_ms_p50') is not None
        and r.get('precision') != 'simulated_int8'
    ]
    if not rows:
        return None
    families = sorted({r.family for r in rows})
    with _drawing(7.5, 4.6) as (figure, axes):
        axis = axes[0]
        for index, family in enumerate(families):
            own = [r for r in rows if r.family == family]
            color = COLORS[index % len(COLORS)]
            name = own[0].name
            for line in _lines(own):
                axis.plot([r.get('latency_ms_p50') for r in line],
                          [r.get('map') for r in line],
                          color=color,
                          linewidth=1.2)
            # One that begins with _ is no label.
            axis.plot([], [], color=color, label=' ' + _brief(name))
            own.sort(key=lambda r: r.get('latency_ms_p50'))
            for at, row in enumerate(own):
                _point(axis, row, color, name, at % 2 == 1)
        figure.legend(loc='outside upper left', ncols=2, frameon=False)
        axis.set_xlabel('median latency of the network, ms an image')
        name = _map_name(rows[0])
        axis.set_ylabel('%s, %%' % name)
        _widen(axis, rows)
        return Figure(
            _svg(figure), '%s against median latency. ' % name +
            '; '.join('%s: %s at %s' %
                      (r.label, _shown('map', r.get('map')),
                       _shown('latency_ms_p50', r.get('latency_ms_p50')))
                      for r in rows))


def _map_name(row: Entry) -> str:
    """COCO's needs no further word."""
    return 'mAP' if row.metric == results.COCO else 'mAP, %s' % row.metric


def _lines(rows: Sequence[Entry]) -> List[List[Entry]]:
    """Rows of a family to join: those in float, and with them each in int8, as
    one model may have been quantized in several ways."""
    quantized = [r for r in rows if r.get('precision') == 'int8']
    others = [r for r in rows if r not in quantized]
    return [others + [r] for r in quantized] or [others]


def _point(axis: Any, row: Entry, color: str, family: str, below: bool) -> None:
    """A row's point; its label leaves out what the legend says."""
    x, y = row.get('latency_ms_p50'), row.get('map')
    axis.plot([x], [y],
              _MARKERS.get(row.get('precision'), 'o'),
              color=color,
              markersize=7)
    short = row.label[len(family):].strip() if row.label.startswith(
        family + ' ') else row.label
    axis.annotate(_brief(short), (x, y),
                  textcoords='offset points',
                  xytext=(0, -8 if below else 8),
                  ha='center',
                  va='top' if below else 'bottom',
                  fontsize=9,
                  color=color)


def _widen(axis: Any, rows: Sequence[Entry]) -> None:
    """Axes that leave room for the labels, and that do not make much of mAP
    that hardly differs."""
    values = [r.get('latency_ms_p50') for r in rows]
    if min(values) > 0 and max(values) > 10 * min(values):
        _logarithmic(axis, 'x')
        axis.set_xlim(min(values) / 2, max(values) * 2)
    else:
        room = max(max(values) - min(values), 0.2 * max(values)) * 0.3
        axis.set_xlim(max(0, min(values) - room), max(values) + room)
    accuracies = [r.get('map') for r in rows]
    middle = (max(accuracies) + min(accuracies)) / 2
    half = max((max(accuracies) - min(accuracies)) * 0.7, 1.5)
    axis.set_ylim(middle - half, middle + half)


def latency_distribution(rows: Sequence[Entry]) -> Optional[Figure]:
    """A box for each row: quartiles, median, percentiles 1 and 99."""
    rows = [
        r for r in rows if len(r.get('latency_ms_percentiles') or ()) == 101
    ]
    if not rows:
        return None
    boxes = []
    for row in rows:
        values = row.get('latency_ms_percentiles')
        boxes.append(
            dict(label=row.label,
                 whislo=values[1],
                 q1=values[25],
                 med=values[50],
                 q3=values[75],
                 whishi=values[99],
                 fliers=[values[0], values[100]]))
    with _drawing(8.5, _bars_height(len(rows))) as (figure, axes):
        axis = axes[0]
        drawn = axis.bxp(boxes,
                         positions=range(len(boxes)),
                         orientation='horizontal',
                         widths=0.5,
                         patch_artist=True,
                         manage_ticks=False)
        for patch in drawn['boxes']:
            patch.set(facecolor='#cfe3f2', edgecolor=COLORS[0])
        for line in drawn['medians']:
            line.set(color=COLORS[1], linewidth=2)
        for dots in drawn['fliers']:
            dots.set(marker='.', markersize=4)
        _names(axis, rows)
        extremes = [box['fliers'] for box in boxes]
        low = min(e[0] for e in extremes)
        if low > 0 and max(e[1] for e in extremes) > 20 * low:
            _logarithmic(axis, 'x')
        axis.set_xlabel('latency of the network, ms an image')
        return Figure(
            _svg(figure), 'Latency distributions. ' +
            '; '.join('%s: median %.2f, 1st to 99th '
                      'percentile %.2f to %.2f ms' %
                      (box['label'], box['med'], box['whislo'], box['whishi'])
                      for box in boxes))


def _brief(label: str) -> str:
    """A label without its middle, if it would leave a figure no room."""
    return label if len(label) <= LONGEST else '%s…%s' % (
        label[:LONGEST // 2], label[-LONGEST // 2 + 1:])


def _names(axis: Any, rows: Sequence[Entry]) -> None:
    """Labels of rows down the left side, the first on top."""
    axis.set_yticks(range(len(rows)), [_brief(r.label) for r in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis='y', visible=False)


def stage_split(rows: Sequence[Entry]) -> Optional[Figure]:
    """Stacked bars of what an image takes, by stage."""
    rows = [r for r in rows if any(r.get(s) is not None for s in STAGES)]
    if not rows:
        return None
    with _drawing(8.5, _bars_height(len(rows)) + 0.3) as (figure, axes):
        axis = axes[0]
        ends = [0.0] * len(rows)
        for stage, color in zip(
                STAGES, COLORS[5:6] + COLORS[2:3] + COLORS[:1] + COLORS[4:5]):
            values = [r.get(stage) or 0.0 for r in rows]
            axis.barh(range(len(rows)),
                      values,
                      0.6,
                      left=ends,
                      color=color,
                      label=stage[:-len('_ms')])
            ends = [end + value for end, value in zip(ends, values)]
        for place, end in enumerate(ends):
            axis.annotate('%.1f' % end, (end, place),
                          textcoords='offset points',
                          xytext=(4, 0),
                          va='center',
                          fontsize=8)
        axis.margins(x=0.1)
        _names(axis, rows)
        axis.set_xlabel('ms an image, medians')
        figure.legend(loc='outside upper center', ncols=len(STAGES))
        return Figure(
            _svg(figure), 'Time an image takes by stage. ' + '; '.join(
                '%s: %s' %
                (r.label, ', '.join('%s %s' %
                                    (s[:-len('_ms')], _shown(s, r.get(s)))
                                    for s in STAGES if r.get(s) is not None))
                for r in rows))


def sizes(rows: Sequence[Entry]) -> Optional[Figure]:
    """Bars of size and memory, side by side."""
    names = [n for n in SIZES if any(r.get(n) is not None for r in rows)]
    if not names:
        return None
    with _drawing(8.5, _bars_height(len(rows)), len(names)) as (figure, axes):
        for axis, name in zip(axes, names):
            bars = axis.barh(range(len(rows)),
                             [r.get(name) or 0.0 for r in rows],
                             0.6,
                             color=COLORS[0])
            axis.bar_label(
                bars,
                [results.show(results.FIELDS[name], r.get(name)) for r in rows],
                padding=3,
                fontsize=8)
            axis.margins(x=0.2)
            _names(axis, rows)
            if axis is not axes[0]:
                axis.set_yticklabels([])
            axis.set_xlabel('%s, %s' % (title(name), results.FIELDS[name].unit))
        return Figure(
            _svg(figure), 'Size and memory. ' +
            '; '.join('%s: %s' %
                      (r.label, ', '.join('%s %s' %
                                          (title(n), _shown(n, r.get(n)))
                                          for n in names)) for r in rows))


def title(name: str) -> str:
    """A field's name without its unit, in words."""
    for unit in ('_mb', '_mib', '_ms'):
        if name.endswith(unit):
            name = name[:-len(unit)]
    return name.replace('_', ' ').replace('gpu', 'GPU')


def class_changes(pair: Pair, changes: Sequence[Change],
                  named: int) -> Optional[Figure]:
    """Bars of what each class gained or lost; the first ones have names."""
    if not changes:
        return None
    with _drawing(8.5, 3.4) as (figure, axes):
        axis = axes[0]
        points = [c.points for c in changes]
        axis.bar(range(len(points)),
                 points,
                 0.8,
                 color=[COLORS[1] if p < 0 else COLORS[2] for p in points])
        axis.axhline(0, color='black', linewidth=0.8)
        axis.set_xticks(range(min(named, len(changes))),
                        [_brief(c.name) for c in changes[:named]],
                        rotation=30,
                        ha='right')
        axis.grid(axis='x', visible=False)
        largest = max(map(abs, points))
        axis.set_ylim(min(-1.0, -1.15 * largest), max(1.0, 1.15 * largest))
        axis.set_ylabel('change in AP, points')
        return Figure(
            _svg(figure),
            'Change in AP of %d classes, %s less %s: from %+.2f (%s) to %+.2f '
            '(%s) points' %
            (len(changes), pair.candidate.label, pair.reference.label,
             points[0], changes[0].name, points[-1], changes[-1].name))


def losses(entry: Entry, log: Log) -> Figure:
    """Loss and learning rate over the iterations, and which one was kept."""
    with _drawing(8.5, 3.2) as (figure, axes):
        axis = axes[0]
        axis.plot(log.iterations,
                  log.losses,
                  color=COLORS[0],
                  linewidth=1.2,
                  marker='.' if len(log.losses) < 100 else '')
        axis.set_xlabel('iteration')
        axis.set_ylabel('loss', color=COLORS[0])
        if min(log.losses) > 0 and max(log.losses) > 20 * min(log.losses):
            _logarithmic(axis, 'y')
        other = axis.twinx()
        other.plot(log.iterations,
                   log.rates,
                   color=COLORS[1],
                   linewidth=1,
                   linestyle='--')
        other.set_ylabel('learning rate', color=COLORS[1])
        other.set_ylim(bottom=0)
        other.grid(visible=False)
        best = entry.get('best_iteration')
        if best:
            axis.axvline(best, color=COLORS[2], linewidth=1, linestyle=':')
            axis.annotate('kept', (best, 1),
                          xycoords=('data', 'axes fraction'),
                          textcoords='offset points',
                          xytext=(-3, -10),
                          ha='right',
                          fontsize=8,
                          color=COLORS[2])
        return Figure(
            _svg(figure), 'Loss of %s over %d iterations: first %.4g, last '
            '%.4g' %
            (entry.label, len(log.losses), log.losses[0], log.losses[-1]))
