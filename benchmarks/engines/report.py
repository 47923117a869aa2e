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
"""Ratios, table and picture of what engines took. Pure but for the picture."""

from typing import Any, Dict, List, Mapping, Optional

Rows = List[Dict[str, Any]]

# Agreement AP in points by which a peer may be worse and still count as a
# rival: less than calibration on other images changes it.
AS_GOOD = 1.0


def _fastest(rows: Rows) -> Optional[Dict[str, Any]]:
    return min(rows, key=lambda row: row['p50_ms'], default=None)


def _as_good(peer: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    if peer.get('agreement_ap') is None or row.get('agreement_ap') is None:
        return True
    return peer['agreement_ap'] >= row['agreement_ap'] - AS_GOOD


def add_ratios(rows: Rows, reference: str, limit_ms: Mapping[str,
                                                             float]) -> None:
    """Add to each row that was measured its time by others', in place.

    Args:
        rows: with name, peer, precision, and p50_ms and cpu_ms or error;
            agreement_ap where it is known.
        reference: name of the row that all are held against.
        limit_ms: {fp32, bf16, int8: what the CPU needs at least}.

    Added, each None where there is no such row:
        over_reference, cpu_over_reference: by the reference's, wall and CPU
            time; the latter is steadier where others use the machine.
        over_best_peer_of_precision: by that of the fastest peer whose
            precision begins alike (int8_bf16 is int8).
        over_best_peer: by that of the fastest peer that is as good.
        times_of_limit: by the limit of its precision.
    """
    done = [row for row in rows if 'p50_ms' in row]
    base = next((row for row in done if row['name'] == reference), None)
    for row in done:
        kind = row['precision'].split('_')[0]
        others = [o for o in done if o['peer'] and o is not row]
        same = _fastest(
            [o for o in others if o['precision'].split('_')[0] == kind])
        best = _fastest([o for o in others if _as_good(o, row)])
        for key, other in (('over_reference',
                            base), ('over_best_peer_of_precision', same),
                           ('over_best_peer', best)):
            row[key] = row['p50_ms'] / other['p50_ms'] if other else None
        row['cpu_over_reference'] = row['cpu_ms'] / base[
            'cpu_ms'] if base else None
        row['best_peer'] = best['name'] if best else None
        limit = limit_ms.get(kind)
        row['times_of_limit'] = row['p50_ms'] / limit if limit else None


_COLUMNS = (
    ('ms', 'p50_ms', '%.1f'),
    ('p10', 'p10_ms', '%.1f'),
    ('p90', 'p90_ms', '%.1f'),
    ('CPU ms', 'cpu_ms', '%.1f'),
    ('/ Paddle', 'over_reference', '%.2f'),
    ('CPU / Paddle', 'cpu_over_reference', '%.2f'),
    ('/ peer, same precision', 'over_best_peer_of_precision', '%.2f'),
    ('/ best peer as good', 'over_best_peer', '%.2f'),
    ('x limit', 'times_of_limit', '%.1f'),
    ('agreement AP', 'agreement_ap', '%.1f'),
    ('mAP', 'map', '%.2f'),
    ('IoU', 'matched_iou', '%.2f'),
    ('relative error', 'relative_error', '%.1e'),
)


def table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Of all models, in Markdown.

    Args:
        models: {name: {'rows': see `add_ratios`, ...}}.
    """
    lines = [
        '| model | engine | ' + ' | '.join(c[0] for c in _COLUMNS) + ' |',
        '|-|-|' + '-|' * len(_COLUMNS)
    ]
    for name, model in models.items():
        if 'error' in model:
            lines.append(
                '| %s | %s |%s' %
                (name, 'error: ' + model['error'], ' |' * len(_COLUMNS)))
        for row in model.get('rows', ()):
            if 'p50_ms' in row:
                cells = [
                    '' if row.get(key) is None else form % row[key]
                    for _, key, form in _COLUMNS
                ]
            else:
                cells = ['error: ' + row['error']] + [''] * (len(_COLUMNS) - 1)
            lines.append('| %s | %s | %s |' %
                         (name, row['name'], ' | '.join(cells)))
    return '\n'.join(lines)


def draw(path: str, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Bars of the medians with p10 and p90, a picture a model side by side,
    and a mark at the limit of each precision.

    Args:
        path: the picture.
        models: see `table`.
    """
    from act import plots
    drawn = {
        name: [r for r in model.get('rows', ()) if 'p50_ms' in r]
        for name, model in models.items()
    }
    drawn = {name: rows for name, rows in drawn.items() if rows}
    if not drawn:
        return
    columns = min(3, len(drawn))
    lines = -(-len(drawn) // columns)
    figure, axes = plots.pyplot().subplots(lines,
                                           columns,
                                           figsize=(6 * columns, 3.4 * lines),
                                           squeeze=False)
    for axis in axes.flat[len(drawn):]:
        axis.set_visible(False)
    for axis, (name, rows) in zip(axes.flat, drawn.items()):
        rows = rows[::-1]
        middle = [r['p50_ms'] for r in rows]
        # One engine that is far slower must not squeeze the others.
        most = 1.15 * min(max(middle), 4 * sorted(middle)[len(middle) // 2])
        colors = ['tab:gray' if r['peer'] else 'tab:blue' for r in rows]
        axis.barh(range(len(rows)),
                  middle,
                  color=colors,
                  xerr=[[m - r['p10_ms'] for m, r in zip(middle, rows)],
                        [r['p90_ms'] - m for m, r in zip(middle, rows)]],
                  error_kw={
                      'ecolor': 'black',
                      'elinewidth': 0.8
                  })
        for at, row in enumerate(rows):
            if row.get('times_of_limit'):
                axis.plot([row['p50_ms'] / row['times_of_limit']] * 2,
                          [at - 0.4, at + 0.4],
                          color='tab:red')
            beyond = row['p50_ms'] > most
            axis.annotate('%.1f' % row['p50_ms'],
                          (min(row['p50_ms'], most), at),
                          xytext=(-4, -3) if beyond else (4, 4),
                          textcoords='offset points',
                          ha='right' if beyond else 'left',
                          color='white' if beyond else 'black',
                          fontsize=7)
        axis.set_yticks(range(len(rows)), [r['name'] for r in rows], fontsize=8)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel('ms an image, median; red: the limit', fontsize=8)
        axis.set_xlim(0, most)
    figure.tight_layout()
    plots.save(figure, path)
