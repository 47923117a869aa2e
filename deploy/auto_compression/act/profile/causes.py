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
"""Why a model is slower than it could be: what its profile shows, in words.

Each function looks at one profile for one cause, and at nothing but types,
implementations and times that were measured. What it finds comes with its
evidence and with the edit that mends it.
"""

from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence, Tuple

from .. import int8_check
from ..capability import deployed_as
from ..program import faster
from ..program.linear import TYPES as LINEAR
from .layers import WEIGHTED, Layer, counterparts, known_name
from .profiled import Profile

# Below these shares of the operators' time a cause is not worth an edit.
WORTH = 0.02
REORDERS = 0.05
# Layers that evidence names.
NAMED = 3
# Layers that an edit lists.
LISTED = 10
# Time in int8 / time in fp32 above which a layer is slower and not just noisy.
SLOWER = 1.2
# CPU time / wall time of a run below which others had the cores.
BUSY = 0.85
# Candidates of the NMS, as a multiple of the boxes that it keeps.
FLOOD = 10
# Boxes of an image that COCO's metric looks at, where the NMS keeps all.
SEEN = 100
# Kinds by the operator types that training knows.
_CONVOLUTIONS = {
    'conv2d': 'convolution',
    'depthwise_conv2d': 'depthwise convolution'
}
# Paddle's simulation of quantization, as separate operators.
_SIMULATED = ('quantize_linear', 'dequantize_linear', 'fake_quantize',
              'fake_dequantize', 'fake_channel_wise')
_INT8 = ('s8', 'u8')


@dataclass(frozen=True)
class Cause:
    name: str  # of the function that found it
    model: str  # label of the profile
    ms: float  # a run's time in what it is about, not what the edit saves
    words: str
    evidence: str
    edit: str


Finder = Callable[[Profile], Optional[Cause]]


def _layers(found: Sequence[Layer], part: str = 'ms') -> str:
    """'softmax_2.tmp_0 12.45 ms, ...': those of some layers with most of it.

    Args:
        part: what of a layer's time is meant: ms or reorder_ms.
    """
    slowest = sorted(found, key=lambda layer: -getattr(layer, part))
    text = ', '.join('%s %.2f ms' % (one.name or one.type, getattr(one, part))
                     for one in slowest[:NAMED])
    more = len(found) - NAMED
    return text + (' and %d more' % more if more > 0 else '')


def _ms(found: Sequence[Layer]) -> float:
    return sum(layer.ms for layer in found)


def _int8_convolutions(profile: Profile) -> int:
    return sum(layer.computed_in == 'int8' for layer in profile.layers
               if layer.kind in _CONVOLUTIONS.values())


def _float_convolutions(profile: Profile) -> List[Layer]:
    """Those in fp32 that are of a type which training quantized."""
    return _float(
        profile,
        *(kind for name, kind in _CONVOLUTIONS.items()
          if name in profile.plan.quantized))


def _float(profile: Profile, *kinds: str) -> List[Layer]:
    return [
        layer for layer in profile.layers
        if layer.kind in kinds and layer.computed_in == 'fp32'
    ]


def left_in_float(profile: Profile) -> Optional[Cause]:
    """Quantized convolutions in fp32, because the operator set lacks a type
    under which oneDNN's int8 pass meets them."""
    plan = profile.plan
    wanted, ran = int8_check.expected(plan), _int8_convolutions(profile)
    needed = deployed_as(['conv2d'])
    lacking = sorted(needed - set(plan.op_types))
    if plan.precision != 'int8' or not profile.named or ran >= wanted or \
            not lacking:
        return None
    floats = _float_convolutions(profile)
    return Cause(
        'left_in_float', profile.label, _ms(floats),
        'the operator set leaves quantized convolutions in fp32',
        'training quantized %d convolutions, %d ran in int8; the set is [%s]; '
        'in fp32: %s' %
        (wanted, ran, ', '.join(plan.op_types), _layers(floats)),
        'Deploy.cpu.int8_ops: [%s]' %
        ', '.join(sorted(needed.union(plan.op_types))))


def quantized_not_deployed(profile: Profile) -> Optional[Cause]:
    """Operators that training quantized and that ran in float, although
    nothing is wrong with the types for convolutions."""
    plan = profile.plan
    if plan.precision != 'int8' or not profile.named:
        return None
    said, floats, edits = [], [], []
    wanted, ran = int8_check.expected(plan), _int8_convolutions(profile)
    if ran < wanted and deployed_as(['conv2d']) <= set(plan.op_types):
        floats += _float_convolutions(profile)
        said.append('%d of %d convolutions' % (wanted - ran, wanted))
        edits.append('quantize the model again with run.py, and leave '
                     'Deploy.cpu.deleted_passes empty')
    wanted = sum(n for t, n in plan.quantized.items() if t in LINEAR)
    linear = [layer for layer in profile.layers if layer.kind == 'linear']
    ran = sum(layer.computed_in == 'int8' for layer in linear)
    if ran < wanted:
        floats += _float(profile, 'linear', 'matmul')
        said.append('%d of %d linear layers' % (wanted - ran, wanted))
        edits.append('Deploy.cpu.int8_ops: [%s]' %
                     ', '.join(sorted(set(plan.op_types) | {'fc'})))
    if not said:
        return None
    return Cause('quantized_not_deployed', profile.label, _ms(floats),
                 'quantized in training, in float when deployed',
                 '%s; in fp32: %s' % (' and '.join(said), _layers(floats)),
                 '; '.join(edits))


def deployed_not_quantized(profile: Profile) -> Optional[Cause]:
    """More convolutions in int8 than training quantized: their ranges are
    nobody's choice."""
    plan = profile.plan
    wanted, ran = int8_check.expected(plan), _int8_convolutions(profile)
    if plan.precision != 'int8' or not profile.named or ran <= wanted:
        return None
    found = [
        layer for layer in profile.layers
        if layer.kind in _CONVOLUTIONS.values() and layer.computed_in == 'int8'
    ]
    depthwise = [
        layer for layer in found if layer.kind == 'depthwise convolution'
    ]
    return Cause(
        'deployed_not_quantized', profile.label, _ms(depthwise or found),
        'in int8 when deployed, not quantized in training: accuracy falls',
        'training quantized %d convolutions, %d ran in int8, %d of them '
        'depthwise' % (wanted, ran, len(depthwise)),
        'QuantAware.quantize_op_types: name them for training, or prepare the '
        'model as this directory does (skip_quant)')


def pairs_not_fused(profile: Profile) -> Optional[Cause]:
    """Quantization that runs as operators of its own, around float ones."""
    found = [
        layer for layer in profile.layers if layer.type.startswith(_SIMULATED)
    ]
    if not found:
        return None
    return Cause(
        'pairs_not_fused', profile.label, _ms(found),
        'quantize and dequantize operators are not fused into int8 ones',
        '%d of them ran: %s' % (len(found), _layers(found)),
        '--precision int8 (oneDNN)' if profile.plan.precision != 'int8' else
        'Deploy.cpu.int8_ops: name the types that they stand around')


def conversions(profile: Profile) -> Optional[Cause]:
    """Reorders between float and int8."""
    found = [layer for layer in profile.layers if layer.converts]
    if _ms(found) < REORDERS * profile.operators_ms:
        return None
    return Cause(
        'conversions', profile.label, _ms(found),
        'values go back and forth between float and int8',
        '%d reorders of that kind, %.0f%% of the operators: %s' %
        (len(found), 100 * _ms(found) / profile.operators_ms, _layers(found)),
        'QuantAware.quantize_op_types: add the types that stand between '
        'quantized layers, if accuracy bears it')


def layouts(profile: Profile) -> Optional[Cause]:
    """Reorders that change nothing but the order in memory."""
    found = [
        layer for layer in profile.layers
        if layer.reorder_ms and not layer.converts
    ]
    spent = sum(layer.reorder_ms for layer in found)
    if spent < REORDERS * profile.operators_ms:
        return None
    types = sorted({layer.type
                    for layer in found},
                   key=lambda t: -sum(layer.reorder_ms for layer in found
                                      if layer.type == t))
    return Cause(
        'layouts', profile.label, spent, 'tensors change their order in memory',
        '%.0f%% of the operators, in %s: %s' %
        (100 * spent / profile.operators_ms, ', '.join(
            types[:3]), _layers(found, 'reorder_ms')),
        'in the network, put reshapes, transposes and splits after the last '
        'convolution, or together')


_REFERENCE_EDITS = {
    'reduction':
    'write a mean over height and width as a global average pooling',
    'softmax': 'let the softmax run over the last axis',
}


def reference(profile: Profile) -> Optional[Cause]:
    """Primitives for which oneDNN has nothing but its reference code here."""
    found = [layer for layer in profile.layers if layer.reference]
    if _ms(found) < WORTH * profile.operators_ms:
        return None
    kinds = sorted({layer.main.kind for layer in found})
    edits = [_REFERENCE_EDITS[k] for k in kinds if k in _REFERENCE_EDITS]
    return Cause(
        'reference', profile.label, _ms(found),
        "oneDNN's slow reference code runs: %s" % ', '.join(kinds),
        '%d operators in ref, %.0f%% of all: %s' %
        (len(found), 100 * _ms(found) / profile.operators_ms, _layers(found)),
        _rewritten(profile, found, '; '.join(edits)
                   or 'another operator for it'))


def naive_attention(profile: Profile) -> Optional[Cause]:
    """Deformable attention as Paddle's grid_sampler: one thread, no vectors."""
    found = [layer for layer in profile.layers if layer.kind == 'grid_sample']
    if _ms(found) < WORTH * profile.operators_ms:
        return None
    return Cause(
        'naive_attention', profile.label, _ms(found),
        'deformable attention samples with a naive operator',
        '%d grid_sampler, %.0f%% of all operators: %s' %
        (len(found), 100 * _ms(found) / profile.operators_ms, _layers(found)),
        _rewritten(profile, found, 'run it as one custom operator, see ops/'))


def _rewritten(profile: Profile, found: Sequence[Layer], edit: str) -> str:
    """An edit of the model, unless a rewrite for the CPU does it that was left
    out."""
    plan = profile.plan
    types = {layer.type for layer in found}
    names = [
        rewrite.name for rewrite in faster.REWRITES
        if not types.isdisjoint(rewrite.finds)
        and rewrite.name not in plan.rewrites
    ]
    # The simulation runs without oneDNN, and without rewrites.
    if names and plan.mkldnn:
        return '--no_rewrite: leave it out, for %s' % ', '.join(names)
    return edit


def nms_flooded(profile: Profile) -> Optional[Cause]:
    """NMS works on far more boxes than it keeps."""
    found = [layer for layer in profile.layers if layer.kind == 'nms']
    fed = profile.candidates
    if not fed or fed.count <= FLOOD * (fed.kept if fed.kept > 0 else SEEN) or \
            _ms(found) < WORTH * profile.operators_ms:
        return None
    return Cause(
        'nms_flooded', profile.label, _ms(found),
        'NMS is flooded with boxes of low score',
        '%d scores above its threshold of %g, %s boxes kept at most; %.0f%% '
        'of all operators' %
        (fed.count, fed.threshold, fed.kept if fed.kept > 0 else 'all',
         100 * _ms(found) / profile.operators_ms),
        _rewritten(
            profile, found,
            'raise nms.score_threshold in the ppdet configuration and export '
            'again; with random weights, time a trained model'))


def oversubscribed(profile: Profile) -> Optional[Cause]:
    """More threads than cores."""
    threads = profile.plan.threads
    if threads <= profile.cpu_count:
        return None
    return Cause('oversubscribed', profile.label, profile.timing.plain_ms,
                 'more threads than cores: they wait for each other',
                 '%d threads on %d cores' % (threads, profile.cpu_count),
                 '--cpu_threads %d' % profile.cpu_count)


def machine_busy(profile: Profile) -> Optional[Cause]:
    """Other processes had the cores while this one could have computed."""
    timing = profile.timing
    # One thread computes, or waits, all the time; only with one can the
    # two be told apart.
    if profile.plan.threads > 1 or timing.cpu_ms >= BUSY * timing.plain_ms:
        return None
    return Cause(
        'machine_busy', profile.label, timing.plain_ms - timing.cpu_ms,
        'other processes take the cores',
        '%.1f ms of CPU time in %.1f ms' % (timing.cpu_ms, timing.plain_ms),
        'run it on an idle machine, and quote no time from this run')


def no_vnni(profile: Profile) -> Optional[Cause]:
    """int8 without the instructions that make it fast."""
    names = {
        p.implementation
        for layer in profile.layers
        for p in layer.primitives
        if p.kind in ('convolution', 'inner_product') and p.source in _INT8
    }
    # oneDNN names the instruction set that it uses, not what the CPU has:
    # ONEDNN_MAX_CPU_ISA counts.
    if not names or any('vnni' in n or 'amx' in n for n in names):
        return None
    found = [
        layer for layer in profile.layers
        if layer.main and layer.main.implementation in names
    ]
    return Cause(
        'no_vnni', profile.label, _ms(found),
        'int8 runs without VNNI: it is hardly faster than fp32 here',
        'int8 kernels: %s' % ', '.join(sorted(names)),
        'deploy the float model on this CPU if it is faster (--compare), or '
        'take a CPU with avx512_vnni or avx_vnni')


FINDERS: Tuple[Finder,
               ...] = (left_in_float, quantized_not_deployed,
                       deployed_not_quantized, pairs_not_fused, conversions,
                       layouts, reference, naive_attention, nms_flooded,
                       oversubscribed, machine_busy, no_vnni)


def slower_than_reference(reference_profile: Profile,
                          profile: Profile) -> Optional[Cause]:
    """A compressed model that does not pay."""
    first, second = reference_profile.timing, profile.timing
    # CPU time: what else runs on the machine does not change it much.
    if second.cpu_ms < first.cpu_ms:
        return None
    return Cause(
        'slower_than_reference', profile.label, second.plain_ms,
        '%s is not faster than %s here' %
        (profile.label, reference_profile.label),
        '%.1f against %.1f ms of CPU time' % (second.cpu_ms, first.cpu_ms),
        'mend the other causes, or deploy %s' % reference_profile.label)


def slower_in_int8(reference_profile: Profile,
                   profile: Profile) -> Optional[Cause]:
    """Layers that int8 makes slower, as those of few channels."""
    pairs = [(profile.layers[at], first) for at, first in counterparts(
        reference_profile.layers, profile.layers).items()]
    slower = sorted(
        ((second, first) for second, first in pairs
         if second.kind in WEIGHTED and second.computed_in == 'int8'
         and first.computed_in == 'fp32' and second.ms > SLOWER * first.ms),
        key=lambda pair: pair[1].ms - pair[0].ms)
    lost = sum(second.ms - first.ms for second, first in slower)
    if not slower or lost < WORTH * profile.operators_ms:
        return None
    weights = [first.weight for _, first in slower if first.weight]
    return Cause(
        'slower_in_int8', profile.label, lost,
        'some layers take longer in int8 than in fp32',
        '%d layers, by %.2f ms: %s' % (len(slower), lost, ', '.join(
            '%s %.2f instead of %.2f ms' %
            (known_name(second, first), second.ms, first.ms)
            for second, first in slower[:NAMED])),
        'QuantAware.float_weights: ' +
        ('[%s]' % ', '.join(weights[:LISTED])
         if weights else 'their weights, which --no_rewrite shows'))


COMPARISONS = (slower_than_reference, slower_in_int8)


def find(profiles: Sequence[Profile]) -> List[Cause]:
    """All causes, those with the most time first.

    Args:
        profiles: the reference first, if there is one.
    """
    found = [finder(one) for one in profiles for finder in FINDERS]
    if len(profiles) == 2:
        found += [compare(*profiles) for compare in COMPARISONS]
    return sorted((cause for cause in found if cause),
                  key=lambda cause: -cause.ms)
