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
"""Data parallel training: what ranks exchange in each iteration.

The train program of each rank gets collective operators, gloo's on the CPU and
NCCL's on GPUs: gradients are averaged before they are clipped, decayed or
applied, and the losses that are shown are means over all ranks. A range that is
averaged over iterations takes the largest value of the whole batch, not of one
rank's part; statistics of batch norm are averaged. So all ranks hold the same
values after each iteration, and together do what one process does with the
whole batch, but for the ranges within that iteration.
"""

from typing import Any, Dict, List

from .. import runtime
from ..ranks import Ranks

# Bits of the attribute op_role, of paddle/fluid/framework/op_proto_maker.h.
_BACKWARD, _OPTIMIZE, _LOSS = 0x1, 0x2, 0x100
# What averages a range over iterations.
_AVERAGING = ('quantize_linear', 'moving_average_abs_max_scale')
_ROLE, _PAIRS = 'op_role', 'op_role_var'
_RING = 0
_COLLECTIVE = {'ring_id': _RING, 'use_calc_stream': True}


def share(program: Any, loss_vars: Dict[str, Any],
          ranks: Ranks) -> Dict[str, Any]:
    """Add the collective operators to a train program, in place.

    Args:
        program: paddle.static.Program, after backward, optimizer and
            quantization.
        loss_vars: the scalars to show.
        ranks: how many there are.

    Returns:
        variables of the same names that hold their means over ranks.
    """
    block = program.global_block()
    _average_gradients(block, ranks.size)
    _share_ranges(block)
    _average_statistics(block, ranks.size)
    means = {}
    for name, var in loss_vars.items():
        means[name] = block.create_var(name=var.name + '@MEAN',
                                       shape=var.shape,
                                       dtype=var.dtype,
                                       stop_gradient=True)
        _append(block, 'scale', var.name, means[name].name,
                {'scale': 1.0 / ranks.size})
        _reduce(block, 'sum', means[name].name)
    return means


def _average_gradients(block: Any, size: int) -> None:
    """After the last operator of the backward pass that writes a gradient."""
    written: Dict[str, int] = {}
    gradients: List[str] = []
    losses: List[int] = []
    for at, op in enumerate(block.ops):
        role = op.attr(_ROLE) if op.has_attr(_ROLE) else 0
        if not role & _BACKWARD:
            continue
        if role & _LOSS:
            losses.append(at)
        if op.has_attr(_PAIRS):
            gradients += op.attr(_PAIRS)[1::2]
        written.update(dict.fromkeys(op.output_arg_names, at))
    places = sorted(((written[name], name) for name in set(gradients)),
                    reverse=True)
    for at, name in places:
        block._insert_op(at + 1,
                         type='c_allreduce_sum',
                         inputs={'X': [name]},
                         outputs={'Out': [name]},
                         attrs=dict(_COLLECTIVE, **{_ROLE: _BACKWARD}))
    # The first operator of the backward pass: it stands before all others.
    loss, = losses
    name = block.ops[loss].output_arg_names[0]
    block._insert_op(loss + 1,
                     type='scale',
                     inputs={'X': [name]},
                     outputs={'Out': [name]},
                     attrs={
                         'scale': 1.0 / size,
                         _ROLE: _BACKWARD
                     })


def _share_ranges(block: Any) -> None:
    """The accumulated range is rate * before + largest: where `before` is the
    same, its maximum over ranks is that of the whole batch. One operator for
    all of them, which are single numbers."""
    names = []
    for op in block.ops:
        if op.type not in _AVERAGING or not op.output('OutAccum'):
            continue
        # Weights, which have a range a channel, are the same on all ranks.
        if block.var(op.output('OutScale')[0]).shape == (1, ):
            names += op.output('OutAccum') + op.output('OutScale')
    if not names:
        return
    joined = block.create_var(name='quantization_ranges',
                              dtype=block.var(names[0]).dtype,
                              stop_gradient=True)
    _append(block, 'concat', names, joined.name, {'axis': 0})
    _reduce(block, 'max', joined.name)
    _append(block, 'split', joined.name, names, {'axis': 0, 'num': len(names)})


def _average_statistics(block: Any, size: int) -> None:
    """Of batch norms that are not frozen."""
    names = []
    for op in block.ops:
        if op.type == 'batch_norm' and not op.attr('use_global_stats') and \
                not op.attr('is_test'):
            names += op.output('MeanOut') + op.output('VarianceOut')
    for name in dict.fromkeys(names):
        _append(block, 'scale', name, name, {'scale': 1.0 / size})
        _reduce(block, 'sum', name)


def _reduce(block: Any, how: str, name: str) -> None:
    _append(block, 'c_allreduce_' + how, name, name, _COLLECTIVE)


def _append(block: Any, kind: str, inputs: Any, outputs: Any,
            attrs: Dict[str, Any]) -> None:
    """At the end of the program, behind the optimizer."""
    inputs, outputs = ([v] if isinstance(v, str) else v
                       for v in (inputs, outputs))
    block.append_op(type=kind,
                    inputs={'X': inputs},
                    outputs={'Out': outputs},
                    attrs=dict(attrs, **{_ROLE: _OPTIMIZE}))


def connect(executor: Any, ranks: Ranks) -> None:
    """Open the connections that the collective operators use on GPUs. On the
    CPU they are gloo's, which `ranks.join` has opened."""
    paddle = runtime.import_paddle()
    if not paddle.is_compiled_with_cuda():
        return
    from paddle.distributed.fleet.meta_optimizers.common import CollectiveHelper
    environment = paddle.distributed.ParallelEnv()
    startup = paddle.static.Program()
    CollectiveHelper(role_maker=None)._init_communicator(
        startup, environment.current_endpoint, environment.trainer_endpoints,
        ranks.rank, _RING, True, _RING)
    executor.run(startup)
