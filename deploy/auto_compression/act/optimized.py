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
"""Which operators TensorRT is asked about: those of the program that Paddle's
passes leave, not those of the model.

`Deploy.tensorrt.disabled_ops` is compared with the types at that moment, and
with the names of variables; what matches nothing is ignored without a word. The
passes are in the GPU build only, and some of them need TensorRT itself, so that
here their effect is a table: what each takes, and what it makes of it. A name
that cannot match is an error. One that may, since a pass may or may not find
its pattern, is let through: benchmarks/trt_partition tells which did.
"""

from dataclasses import dataclass
from typing import FrozenSet, Iterator, Sequence, Set, Tuple

from .errors import UserError, hint
from .program.model import Model


@dataclass(frozen=True)
class Effect:
    """What a pass makes of operators: of some type of `takes`, those of
    `makes`. `always`: it leaves none of what it takes; `dynamic`: it does so
    with dynamic shapes only."""
    name: str
    takes: Tuple[str, ...]
    makes: Tuple[str, ...] = ()
    always: bool = False
    dynamic: bool = False


# Those of paddlepaddle-gpu 2.6.2 before tensorrt_subgraph_pass that change
# types. What is taken without `always` may stay, or go: constants are folded.
# tests/test_optimized.py compares it with recorded partitions.
EFFECTS = (
    Effect('trt_map_ops_to_matrix_multiply_pass',
           ('mul', 'matmul', 'matmul_v2'), ('matrix_multiply', ),
           always=True,
           dynamic=True),
    Effect('shuffle_channel_detect_pass', ('transpose2', ),
           ('shuffle_channel', )),
    Effect('delete_quant_dequant_linear_op_pass',
           ('quantize_linear', 'dequantize_linear'),
           always=True),
    Effect('simplify_with_basic_ops_pass', ('dropout', ), ('scale', )),
    Effect('trt_embedding_eltwise_layernorm_fuse_pass',
           ('lookup_table', 'lookup_table_v2'),
           ('fused_embedding_eltwise_layernorm',
            'fused_preln_embedding_eltwise_layernorm',
            'prompt_tuning_emb_eltwise_layernorm')),
    Effect('trt_multihead_matmul_fuse_pass_v2, _v3 and others', ('softmax', ),
           ('multihead_matmul', 'multihead_matmul_roformer',
            'flash_multihead_matmul', 'cross_multihead_matmul',
            'qk_multihead_matmul')),
    Effect('*layernorm*_pass', ('layer_norm', ),
           ('skip_layernorm', 'preln_skip_layernorm', 'preln_residual_bias',
            'layernorm_shift_partition', 'preln_layernorm_shift_partition',
            'merge_layernorm', 'skip_merge_layernorm', 'trans_layernorm')),
    Effect('split_layernorm_to_math_ops_pass', ('layer_norm', ),
           ('reduce_mean', 'elementwise_sub', 'elementwise_pow',
            'elementwise_add', 'sqrt', 'elementwise_div', 'elementwise_mul')),
    Effect('reverse_roll_fuse_pass', ('roll', ), ('reverse_roll', )),
    Effect('conv_bn_fuse_pass', ('batch_norm', ), ('elementwise_add', )),
    Effect('conv_elementwise_add_fuse_pass', ('conv2d', ),
           ('fused_conv2d_add_act', )),
    Effect('*groupnorm_act_pass', ('group_norm', ),
           ('skip_groupnorm_act', 'preln_groupnorm_act')),
    Effect('elementwiseadd_transpose_pass', ('elementwise_add', ),
           ('elementwiseadd_transpose', )),
)


@dataclass(frozen=True)
class Optimized:
    """What may be in a program when TensorRT is asked: types of operators, and
    names of variables that operators write. `gone` are types that were there,
    (with what they have become): no operator has them any more."""
    types: FrozenSet[str]
    variables: FrozenSet[str]
    gone: Tuple[Tuple[str, Tuple[str, ...]], ...]


def optimized(
    model: Model, dynamic_shape: bool,
    deleted_passes: Sequence[str] = ()) -> Optimized:
    """What Paddle's passes may leave of a program.

    Args:
        model: as TensorRT is given it.
        dynamic_shape: whether shapes may vary.
        deleted_passes: passes that do not run.
    """
    types: Set[str] = {op.type for op in model.ops} - {'feed', 'fetch'}
    variables = {name for op in model.ops for name in op.output_arg_names}
    gone = {}
    for effect in EFFECTS:
        taken = types.intersection(effect.takes)
        if not taken or effect.name in deleted_passes or \
                effect.dynamic and not dynamic_shape:
            continue
        types.update(effect.makes)
        if effect.always:
            types -= taken
            gone.update(dict.fromkeys(taken, effect.makes))
    return Optimized(frozenset(types), frozenset(variables),
                     tuple(sorted(gone.items())))


def wrong_ops(names: Sequence[str], made: Optimized,
              where: str) -> Iterator[UserError]:
    """An error for each of Deploy.tensorrt.disabled_ops that can match
    nothing.

    Args:
        names: as configured.
        made: of the model.
        where: the configuration, for messages.
    """
    where += ': Deploy.tensorrt.disabled_ops'
    for name in names:
        if name in made.types or name in made.variables:
            continue
        if name in dict(made.gone):
            becomes = dict(made.gone)[name]
            yield UserError(
                "%s: '%s' matches nothing: Paddle's passes leave none%s" %
                (where, name, "; name '%s'" %
                 "', '".join(becomes) if becomes else ', take it out'))
        else:
            yield UserError(
                "%s: '%s' is neither a type of operator nor a variable of the "
                'program that TensorRT is asked about; %s' %
                (where, name, hint(name, made.types)))
