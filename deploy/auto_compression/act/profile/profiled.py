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
"""Profiles models side by side: one `Profile` each."""

from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Tuple

from .. import runtime
from ..data import Batch
from ..predictor import Plan, Predictor
from ..program.inspect import WEIGHT_INPUT
from ..program.model import Model
from . import layers, logged, machine, timed

# Also of what layers are made to for int8.
WEIGHTS = dict(WEIGHT_INPUT, fused_conv2d='Filter', fc='W')
_NMS = ('multiclass_nms', 'matrix_nms')


@dataclass(frozen=True)
class Candidates:
    """What the NMS of a model was fed with."""
    count: int  # scores above its threshold, of all classes and boxes
    threshold: float
    kept: int  # boxes that it keeps at most


@dataclass(frozen=True)
class Profile:
    """Where the time of one model goes, on one input."""
    label: str
    directory: str  # the model as the user has it
    plan: Plan
    timing: timed.Timing
    layers: Tuple[layers.Layer, ...]
    named: bool  # whether the layers have names and primitives
    candidates: Optional[Candidates]  # None: no NMS, or it cannot be seen
    cpu_count: int  # cores that the process may use

    @property
    def operators_ms(self) -> float:
        return self.timing.operators_ms


def labels(plans: List[Plan]) -> List[str]:
    """A name for each: its precision, and which one where that is not enough.

    Args:
        plans: the reference first, if there is one.
    """
    names = [plan.precision for plan in plans]
    if len(set(names)) == len(names):
        return names
    return ['%s (reference)' % names[0]] + names[1:]


def profile(directories: List[str], plans: List[Plan], feeds: List[Batch],
            runs: int) -> Tuple[List[Profile], machine.Machine]:
    """Profile models in turn, on one batch each.

    Args:
        directories: the models as the user has them.
        plans: with the same number of threads.
        feeds: under each model's input names.
        runs: see `timed.measure`.

    Returns:
        one profile each, and the machine's rates: the better ones of before
        and after.

    Raises:
        UserError: a model does not run, or not twice alike.
    """
    names = labels(plans)
    rates = machine.measure(plans[0].threads)
    predictors = {n: Predictor(p) for n, p in zip(names, plans)}
    timings = timed.measure(predictors, dict(zip(names, feeds)), runs)
    rates = rates.faster(machine.measure(plans[0].threads))
    found = []
    for name, directory, plan, feed in zip(names, directories, plans, feeds):
        model = Model.load(plan.files)
        watched = nms_inputs(model)
        recording = logged.record(plan, feed, {
            n: c.threshold
            for n, c in watched.items()
        })
        joined, same = layers.join(timings[name].operators, recording.operators)
        weights = weights_by_output(model)
        joined = tuple(
            replace(layer, weight=weights.get(layer.name, '')) if layer.kind in
            layers.WEIGHTED else layer for layer in joined)
        seen = [
            Candidates(recording.above[n], c.threshold, c.kept)
            for n, c in watched.items() if n in recording.above
        ]
        found.append(
            Profile(name, directory, plan, timings[name], joined, same,
                    seen[0] if seen else None, runtime.cpu_count()))
    return found, rates


def nms_inputs(model: Model) -> Dict[str, Candidates]:
    """{name of the scores: threshold} of the NMS in a program; not counted."""
    return {
        op.input('Scores')[0]:
        Candidates(0, op.attr('score_threshold'), op.attr('keep_top_k'))
        for op in model.ops if op.type.startswith(_NMS)
    }


def weights_by_output(model: Model) -> Dict[str, str]:
    """{variable: name of the weight of the layer that it comes from}.

    Passes fuse what follows a convolution into it, and the result has the name
    of the last: so a weight is that of what its output alone makes, too.
    """
    shared = {v.name for v in model.persistable()}
    found: Dict[str, str] = {}
    of_weights: Dict[str, str] = {}  # {dequantized weight: its name}
    for op in model.ops:
        inputs = set(op.input_arg_names) - shared
        slot = WEIGHTS.get(op.type)
        if slot:
            weight = op.input(slot)[0]
            weight = of_weights.get(weight, weight if weight in shared else '')
        else:
            weight = found.get(inputs.pop(), '') if len(inputs) == 1 else ''
        if op.type == 'dequantize_linear' and op.input('X')[0] in shared:
            of_weights[op.output('Y')[0]] = op.input('X')[0]
        for name in op.output_arg_names:
            found[name] = weight
    return found
