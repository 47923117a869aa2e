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
"""What layers lose, on the terminal."""

import textwrap
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tabulate import tabulate

from .. import config
from .channels import STEPS, WILD
from .layers_record import wild as wild_rows
from .sensitivity import Finding

# Weights left in float, and agreement AP in percent then.
Choice = Tuple[List[str], float]
Together = Sequence[Choice]

SHOWN = 20
WILD_SHOWN = 10
WIDTH = 100
# Points of agreement AP that matter at least, and boxes: less is what one
# choice of images differs from another by.
MATTERS = 0.5
MATTERING_BOXES = 2
# Of what the first layers regain at most, so much is enough: each layer that
# is left in float costs time.
ENOUGH = 0.8


def table(found: Sequence[Finding]) -> str:
    """The layers with the largest effect."""
    rows = [[
        f.weight, f.type,
        '%.2f' % f.effect,
        '%.2f' % f.lost,
        '%+.2f' % f.regained, '-' if f.sqnr_db is None else '%.1f' % f.sqnr_db,
        '%.4g' % f.input.widest,
        '%.4g' % f.highest,
        '%.0f' % f.input.steps(f.highest),
        len(f.input.wild()) or '',
        '%.4g' % f.output.widest,
        len(f.output.wild()) or ''
    ] for f in found[:SHOWN]]
    made = tabulate(rows,
                    headers=[
                        'layer', 'type', 'effect', 'lost', 'regained',
                        'SQNR dB', 'input +-', 'range', 'steps', 'wild',
                        'output +-', 'wild'
                    ],
                    tablefmt='simple',
                    disable_numparse=True,
                    colalign=['left'] * 2 + ['right'] * 10)
    rest = len(found) - SHOWN
    return made + ('\n... and %d layers more, in the record' %
                   rest if rest > 0 else '')


def together(rows: Together) -> str:
    """What the first layers regain when they are float together."""
    return tabulate([[len(weights), '%.2f' % ap] for weights, ap in rows],
                    headers=['first layers in float', 'agreement AP'],
                    tablefmt='simple',
                    disable_numparse=True,
                    colalign=['right', 'right'])


def channel(row: Dict[str, Any]) -> str:
    """One wild channel in words."""
    return ('%s %s channel %d: %.4g to %.4g, the median channel +-%.3g: '
            '%.1f of %d int8 steps' %
            (row['weight'], row['side'], row['channel'], row['low'],
             row['high'], row['median'], row['steps'], STEPS))


def wild(found: Sequence[Finding]) -> str:
    """The wild channels in words."""
    title = 'wild channels (more than %d times the median one)' % WILD
    rows = wild_rows(found)
    if not rows:
        return title + ': none'
    lines = [title + ', the widest first:']
    lines += ['  ' + channel(row) for row in rows[:WILD_SHOWN]]
    if len(rows) > WILD_SHOWN:
        lines.append('  ... and %d more, in the record' %
                     (len(rows) - WILD_SHOWN))
    return '\n'.join(lines)


def matters(boxes: int) -> float:
    """Points of agreement AP that are no chance, if it is measured by so many
    boxes."""
    return max(MATTERS, 100 * MATTERING_BOXES / boxes)


def advised(whole: float, rows: Together, boxes: int) -> Optional[Choice]:
    """The fewest layers that regain most of what can be, and the agreement AP
    then; None if nothing that matters can be.

    Args:
        whole: agreement AP with all layers quantized.
        rows: weights left in float, and agreement AP then.
        boxes: that agreement is measured by.
    """
    best = max((ap for _, ap in rows), default=whole) - whole
    if best < matters(boxes):
        return None
    return next(
        (weights, ap) for weights, ap in rows if ap - whole >= ENOUGH * best)


def conclusion(settings: config.Settings, found: Sequence[Finding],
               rows: Together, record: Dict[str, Any]) -> str:
    """What was found and what to do: a paragraph, and lines for the YAML."""
    first, whole = found[0], record['agreement_ap']
    boxes = record['agreement_boxes']
    said = [
        'On %d training images (%d boxes) the model keeps %.2f agreement AP '
        'with float.' % (record['num_images'], boxes, whole),
        'Of %d layers %s matters most: alone it loses %.2f points, and in '
        'float it regains %.2f.' %
        (len(found), first.weight, first.lost, first.regained)
    ]
    rows_wild = wild_rows(found)
    if rows_wild:
        said.append('The wildest channel is %s.' % channel(rows_wild[0]))
    if 100 - whole < matters(boxes):
        said.append('That is little for %d boxes: nothing needs to stay in '
                    'float. More images (--num_images) tell more.' % boxes)
        return _wrapped(said)
    choice = advised(whole, rows, boxes)
    if choice is None:
        said.append('No few layers are to blame: the first of the ranking in '
                    'float regain less than %.1f points, which is chance.%s' %
                    (matters(boxes), _other_way(settings)))
        return _wrapped(said)
    weights, ap = choice
    said.append(
        '%s in float, it is %.2f. Put these lines into the YAML, run run.py '
        'again, and judge the result on the validation images, with '
        'paddle_inference_eval.py --compare %s:' %
        ('With ' + first.weight if len(weights) == 1 else
         'With the first %d of the ranking' % len(weights), ap,
         record['reference_model_dir'] or settings.Global.model_dir))
    return _wrapped(said) + '\n\n' + yaml_lines(
        [*settings.QuantAware.float_weights, *weights])


def _wrapped(said: Sequence[str]) -> str:
    return textwrap.fill(' '.join(said),
                         WIDTH,
                         break_long_words=False,
                         break_on_hyphens=False)


def _other_way(settings: config.Settings) -> str:
    options = settings.Quantization
    if options.strategy == 'ptq' and options.weight_rounding != 'gptq':
        return ' Round weights together: Quantization.weight_rounding: gptq.'
    return ''


def yaml_lines(weights: Sequence[str]) -> str:
    """The section that leaves these weights in float."""
    text = '[%s]' % ', '.join(dict.fromkeys(weights))
    return 'QuantAware:\n' + textwrap.fill(text,
                                           80,
                                           initial_indent='  float_weights: ',
                                           subsequent_indent=' ' * 18,
                                           break_long_words=False,
                                           break_on_hyphens=False)
