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
"""Fast deformable attention for training on the CPU.

Paddle 2.6's grid_sample for the CPU is scalar loops, and most of the time that
a detector with deformable attention trains. After

    from ops.deformable import accelerate
    accelerate(model)

the model's deformable attention uses the operator of deformable_sample.cc.
Export still gives grid_sampler.
"""

from typing import Any, Callable, Sequence

from act.runtime import import_paddle

from . import build

paddle = import_paddle()

OP = SOURCE = 'deformable_sample'


def deformable_sample(value: paddle.Tensor, shapes: Sequence[Sequence[int]],
                      locations: paddle.Tensor,
                      weights: paddle.Tensor) -> paddle.Tensor:
    """Weighted sums of values at places between the grid's, for eager mode.

    All tensors are float32 on the CPU.

    Args:
        value: [N, L, heads, C / heads], L places of all maps.
        shapes: height and width of each map.
        locations: [N, Q, heads, maps, points, 2], x and y from 0 to 1.
        weights: [N, Q, heads, maps, points].

    Returns:
        [N, Q, C].

    Raises:
        UserError: the operator is not built yet, and cannot be.
    """
    build.load(SOURCE)
    return paddle.base.core.eager._run_custom_op(
        OP, value, locations, weights,
        [int(side) for shape in shapes for side in shape])[0]


class Core:
    """The core of a deformable attention layer that runs `deformable_sample`
    where that can be: in eager mode, on float32 tensors on the CPU. Elsewhere
    it is the one that the layer had."""

    def __init__(self, other: Callable[..., paddle.Tensor]) -> None:
        self.other = other

    def __call__(self, value: paddle.Tensor, shapes: Any, starts: Any,
                 locations: paddle.Tensor,
                 weights: paddle.Tensor) -> paddle.Tensor:
        """Arguments of `deformable_sample`; `shapes` may be a tensor, `starts`
        is not used."""
        if not (paddle.in_dynamic_mode() and value.place.is_cpu_place()
                and value.dtype == locations.dtype == weights.dtype ==
                paddle.float32):
            return self.other(value, shapes, starts, locations, weights)
        if isinstance(shapes, paddle.Tensor):
            shapes = shapes.tolist()
        return deformable_sample(value, shapes, locations, weights)


def accelerate(model: paddle.nn.Layer) -> int:
    """Let the deformable attention of a model run the fast operator.

    Args:
        model: changed in place, where a layer is ppdet's MSDeformableAttention
            or one made of it.

    Returns:
        how many layers were changed.

    Raises:
        UserError: the operator is not built yet, and cannot be.
    """
    from ppdet.modeling.transformers import deformable_transformer
    chosen = [
        layer for layer in model.sublayers(include_self=True)
        if isinstance(layer, deformable_transformer.MSDeformableAttention)
        and not isinstance(layer.ms_deformable_attn_core, Core)
    ]
    if chosen:
        build.load(SOURCE)
    for layer in chosen:
        layer.ms_deformable_attn_core = Core(layer.ms_deformable_attn_core)
    return len(chosen)
