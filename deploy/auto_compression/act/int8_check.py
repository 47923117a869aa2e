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
"""Proof that int8 is int8: convolutions and linear layers that ran in int8,
counted in oneDNN's own log, against those that training quantized. Likewise for
bf16, which oneDNN silently computes in fp32 on a CPU without it.

The counting run is a process of its own, see `child`: this module.
"""

import tempfile
from typing import Any, Dict, List

from . import child, onednn
from .data import Batch
from .predictor import Plan
from .program.linear import TYPES as LINEAR


def run(plan: Plan, feed: Batch) -> onednn.LayerCount:
    """Count the layers of one run, by what they computed in; see
    `primitives`."""
    return onednn.count_layers(primitives(plan, feed))


def primitives(plan: Plan, feed: Batch) -> List[onednn.Primitive]:
    """What oneDNN executed in one run.

    Args:
        plan: of the predictor.
        feed: one batch, under the model's input names.

    Raises:
        UserError: the counting process failed.
    """
    with tempfile.TemporaryDirectory(prefix='act_int8_') as work:
        return onednn.record(child.command('act.int8_check', plan, feed, work),
                             env=child.environment())


def expected(plan: Plan) -> int:
    """Convolutions that training quantized."""
    return sum(n for t, n in plan.quantized.items()
               if t in ('conv2d', 'depthwise_conv2d'))


def expected_linear(plan: Plan) -> int:
    """Linear layers that training quantized and that shall run in int8."""
    if 'fc' not in plan.op_types:
        return 0
    return sum(n for t, n in plan.quantized.items() if t in LINEAR)


def fields(plan: Plan, count: onednn.LayerCount) -> Dict[str, Any]:
    """The record's fields."""
    found = {'fp32_convs_ran': count.fp32}
    if plan.precision == 'int8':
        found.update(int8_op_types=list(plan.op_types),
                     int8_convs_expected=expected(plan),
                     int8_convs_ran=count.int8,
                     depthwise_int8_ran=count.depthwise_int8)
        if expected_linear(plan) or count.linear_int8:
            found.update(int8_linear_expected=expected_linear(plan),
                         int8_linear_ran=count.linear_int8)
    return found


def failures(plan: Plan, count: onednn.LayerCount) -> List[str]:
    """A line if what ran is not what was asked for."""
    where = plan.files.directory
    if plan.precision == 'bf16':
        if count.bf16:
            return []
        return [
            "'%s': no convolution ran in bf16 (%d in fp32): this CPU has no "
            'bf16 kernels' % (where, count.fp32)
        ]
    lines = []
    for kind, ran, wanted in (('convolutions', count.int8, expected(plan)),
                              ('linear layers', count.linear_int8,
                               expected_linear(plan))):
        if ran != wanted:
            lines.append(
                "'%s': %d %s ran in int8, training quantized %d: accuracy or "
                'speed is not that of the quantized model' %
                (where, ran, kind, wanted))
    return lines


def main(arguments: List[str]) -> None:
    """The counting process: one run to warm up, one that is counted."""
    predictor = child.predictor(arguments)
    predictor.compute()
    onednn.mark_begin()
    predictor.compute()
    onednn.mark_end()


if __name__ == '__main__':
    child.run(main)
