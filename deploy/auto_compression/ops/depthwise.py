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
"""Fast depthwise convolutions for training on the CPU.

Paddle 2.6's depthwise kernels for the CPU are scalar loops and take most of the
time that a mobile detector trains. After

    from ops.depthwise import accelerate
    accelerate(model)

the model's depthwise layers use the operator of depthwise_conv2d.cc. Parameters
and state-dict names stay as they were, and export still gives depthwise_conv2d.
"""

from act.runtime import import_paddle

from . import build

paddle = import_paddle()

OP = 'depthwise_conv2d_fast'
SOURCE = 'depthwise_conv2d'


def depthwise_conv2d(x: paddle.Tensor,
                     weight: paddle.Tensor,
                     stride: int = 1,
                     padding: int = 0) -> paddle.Tensor:
    """Depthwise convolution with zero padding, for eager mode.

    Args:
        x: [N, C, H, W] float32 on the CPU.
        weight: [C, 1, kh, kw] float32 on the CPU.
        stride: in both directions.
        padding: on all four sides.

    Returns:
        [N, C, (H + 2 * padding - kh) // stride + 1,
        (W + 2 * padding - kw) // stride + 1] float32.

    Raises:
        UserError: the operator is not built yet, and cannot be.
    """
    build.load(SOURCE)
    return paddle.base.core.eager._run_custom_op(OP, x, weight, stride,
                                                 padding)[0]


class DepthwiseConv2D(paddle.nn.Conv2D):
    """A Conv2D that runs `depthwise_conv2d` where that can be: in eager mode,
    on float32 tensors on the CPU. Elsewhere it is the Conv2D it was."""

    def forward(self, x):
        if not _can_run(x):
            return paddle.nn.Conv2D.forward(self, x)
        out = depthwise_conv2d(x, self.weight, self._stride[0],
                               self._updated_padding[0])
        if self.bias is not None:
            out = out + self.bias.reshape([1, -1, 1, 1])
        return out


def accelerate(model: paddle.nn.Layer) -> int:
    """Let the depthwise convolutions of a model run the fast operator.

    Args:
        model: changed in place. Only sublayers that are exactly nn.Conv2D are;
            a subclass may have a forward of its own.

    Returns:
        how many convolutions were changed.

    Raises:
        UserError: the operator is not built yet, and cannot be.
    """
    chosen = [
        layer for layer in model.sublayers(include_self=True)
        if type(layer) is paddle.nn.Conv2D and _is_depthwise(layer)
    ]
    if chosen:
        build.load(SOURCE)
    for layer in chosen:
        # The class rather than the attribute `forward`: a function bound to
        # this layer would follow it into copies of the model.
        layer.__class__ = DepthwiseConv2D
    return len(chosen)


def _is_depthwise(layer: paddle.nn.Conv2D) -> bool:
    """Whether the operator can do what this layer does."""
    padding = list(layer._updated_padding)
    return (layer._groups == layer._in_channels == layer._out_channels
            and layer._data_format == 'NCHW' and layer._padding_mode == 'zeros'
            and layer._padding_algorithm != 'SAME'
            and set(layer._dilation) == {1} and len(set(layer._stride)) == 1
            and len(set(padding)) == 1)


def _can_run(x: paddle.Tensor) -> bool:
    """Whether the operator takes this input, in the present mode."""
    return (paddle.in_dynamic_mode() and x.dtype == paddle.float32
            and x.place.is_cpu_place())
