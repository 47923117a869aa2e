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
"""The expectation of a box side's distribution, as PP-YOLOE computes it.

Its head takes a softmax over the second of four axes and the expectation by a
convolution of one output channel. oneDNN has no fast softmax over an axis that
is not the last: 90 to 130 of 800 ms in PP-YOLOE+_crn_l_80e (one thread,
AVX-512, `ref:any` in its log).
"""

from typing import Any, List, Optional, Tuple

from .. import runtime
from .graph import Graph
from .model import Model, static_mode
from .unsigned import add_parameter

# (transpose, softmax, convolution, squeeze)
_Chain = Tuple[Any, Any, Any, Any]


def softmax_over_last_axis(model: Model) -> int:
    """Move the distribution's axis to the end, for softmax and expectation.

    (N, K, L, 4) -> softmax over K -> 1 x 1 convolution -> (N, L, 4) becomes
    (N, L, 4, K) -> softmax over K -> product with K weights -> (N, L, 4). Sums
    are taken in another order: relative differences of 1e-6.

    Args:
        model: changed in place.

    Returns:
        number of distributions changed.
    """
    changed = 0
    with static_mode(runtime.import_paddle()):
        for block in model.program.blocks:
            graph = Graph(block)
            chains = [_chain(graph, block, op) for op in graph.ops]
            for chain in chains:
                if chain is not None:
                    _replace(model, block, chain)
                    changed += 1
            block._sync_with_cpp()
    return changed


def _chain(graph: Graph, block: Any, op: Any) -> Optional[_Chain]:
    """The chain that a transposition begins, if it does."""
    if op.type != 'transpose2' or op.attr('axis') != [0, 2, 3, 1]:
        return None
    softmax = graph.only_reader(op, 'Out', 'softmax')
    if softmax is None or softmax.attr('axis') not in (1, -3):
        return None
    convolution = graph.only_reader(softmax, 'Out', 'conv2d')
    if convolution is None or not _is_expectation(block, convolution):
        return None
    squeeze = graph.only_reader(convolution, 'Output', 'squeeze2')
    if squeeze is None or squeeze.attr('axes') != [1]:
        return None
    return op, softmax, convolution, squeeze


def _is_expectation(block: Any, convolution: Any) -> bool:
    """Whether a convolution weighs its channels with one parameter each."""
    weight = block.var(convolution.input('Filter')[0])
    return (weight.persistable and weight.shape[0] == 1
            and tuple(weight.shape[2:]) == (1, 1)
            and convolution.attr('groups') == 1
            and list(convolution.attr('strides')) == [1, 1]
            and not any(convolution.attr('paddings'))
            and convolution.attr('padding_algorithm') == 'EXPLICIT')


def _replace(model: Model, block: Any, chain: _Chain) -> None:
    transpose, softmax, convolution, squeeze = chain
    source, result = transpose.input('X')[0], squeeze.output('Out')[0]
    batch, four, bins, places = block.var(source).shape
    shape = [batch, places, four, bins]
    weight = add_parameter(
        model, block, result + '.bins',
        model.parameter(convolution.input('Filter')[0]).reshape(-1))
    made: List[str] = []
    for suffix in ('.last', '.xshape', '.softmax'):
        made.append(
            block.create_var(
                name=result + suffix,
                shape=[0] +
                list(block.var(source).shape) if suffix == '.xshape' else shape,
                dtype='float32').name)
    moved, xshape, shares = made
    at = block.ops.index(squeeze)
    for kind, inputs, outputs, attrs in reversed((
        ('transpose2', {
            'X': [source]
        }, {
            'Out': [moved],
            'XShape': [xshape]
        }, {
            'axis': [0, 3, 1, 2]
        }),
        ('softmax', {
            'X': [moved]
        }, {
            'Out': [shares]
        }, {
            'axis': -1
        }),
        ('matmul_v2', {
            'X': [shares],
            'Y': [weight]
        }, {
            'Out': [result]
        }, {}),
    )):
        block._insert_op(at,
                         type=kind,
                         inputs=inputs,
                         outputs=outputs,
                         attrs=attrs)
    for op in chain:
        block._remove_op(block.ops.index(op), sync=False)
