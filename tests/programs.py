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
"""Inference programs made by code."""

import numpy as np
from act import runtime
from act.program.model import ModelFiles, static_mode

# Weights of `detector`'s layers, in program order.
WEIGHTS = ['stem', 'depthwise', 'point', 'head', 'class', 'box']
# The channel that `plant` makes wide, and by how much.
CHANNEL, TIMES = 3, 1000


def parameter(paddle, name, value):
    return paddle.static.create_parameter(
        value.shape,
        'float32',
        name=name,
        default_initializer=paddle.nn.initializer.Assign(
            value.astype(np.float32)))


def save(directory, build):
    """Save the inference program that `build(paddle, parameter)` makes."""
    paddle = runtime.import_paddle()
    scope = paddle.static.Scope()
    with static_mode(paddle), paddle.static.scope_guard(scope), \
            paddle.utils.unique_name.guard():
        program, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(program, startup):
            inputs, outputs = build(paddle, lambda *a: parameter(paddle, *a))
        exe = paddle.static.Executor(paddle.CPUPlace())
        exe.run(startup)
        paddle.static.save_inference_model(directory + '/model',
                                           inputs,
                                           outputs,
                                           exe,
                                           program=program)
    return ModelFiles(directory)


def detector(paddle, parameter):
    """A network of few layers with PicoDet's inputs and outputs, for what does
    not depend on what it finds: depthwise and shared convolutions, batch
    norms, two levels, NMS."""
    from ppdet.modeling.ops import multiclass_nms
    functional = paddle.nn.functional
    random = np.random.default_rng(0)
    made = {}

    def shared(name, value):
        """Parameters of one name are one, whatever their values."""
        if name not in made:
            made[name] = parameter(name, value)
        return made[name]

    def conv(x, name, channels, kernel=1, stride=1, groups=1):
        shape = (channels, x.shape[1] // groups, kernel, kernel)
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return functional.conv2d(x,
                                 shared(name, random.normal(0, spread, shape)),
                                 stride=stride,
                                 padding=kernel // 2,
                                 groups=groups)

    def layer(x, name, channels, *more):
        x = conv(x, name, channels, *more)
        mean, bias = (shared(name + part, random.normal(0, .1, channels))
                      for part in ('_mean', '_bias'))
        variance, scale = (shared(name + part, random.uniform(.5, 2, channels))
                           for part in ('_variance', '_scale'))
        x = functional.batch_norm(x, mean, variance, scale, bias)
        return functional.hardswish(x)

    image = paddle.static.data('image', [-1, 3, 320, 320])
    factor = paddle.static.data('scale_factor', [-1, 2])
    x = layer(image, 'stem', 8, 3, 4)
    x = layer(x, 'depthwise', 8, 3, 2, 8)
    x = layer(x, 'point', 32)
    boxes, scores = [], []
    for stride in (16, 32):
        x = functional.avg_pool2d(x, 2)
        cells = (320 // stride)**2
        y = layer(x, 'head', 32, 3)
        scores.append(conv(y, 'class', 6).reshape([-1, 6, cells]))
        sides = conv(y, 'box', 4).reshape([-1, 4, cells]).transpose([0, 2, 1])
        centers = parameter(
            'centers_%d' % stride,
            stride * np.stack(np.divmod(np.arange(cells), 320 // stride),
                              1)[:, [1, 0, 1, 0]])
        signs = parameter('signs_%d' % stride, np.array([-1, -1, 1, 1]))
        boxes.append(centers + 32 * signs * functional.sigmoid(sides))
    factors = paddle.concat([factor, factor], 1)[:, None]
    found, counts, _ = multiclass_nms(paddle.concat(boxes, 1) / factors,
                                      functional.sigmoid(
                                          paddle.concat(scores, 2)),
                                      score_threshold=0.3,
                                      nms_top_k=100,
                                      keep_top_k=20)
    return [image, factor], [found, counts]


def plant(model):
    """Let the operator 'point' of a `detector` read a wild channel, and make up
    for it by its weight."""
    for name, at, factor in (('depthwise_scale', CHANNEL,
                              TIMES), ('depthwise_bias', CHANNEL, TIMES),
                             ('point', (slice(None), CHANNEL), 1 / TIMES)):
        value = model.parameter(name)
        value[at] *= factor
        model.set_parameter(name, value)


def pyramid(paddle, parameter):
    """Levels of stride 8 to 64 of an image of any size, each flattened into
    tokens and all joined, as a transformer's encoder takes them; numbers of a
    level's rows, of which small images have few."""
    functional = paddle.nn.functional
    random = np.random.default_rng(0)

    def halve(x, name):
        return functional.conv2d(x,
                                 parameter(
                                     name,
                                     random.normal(0, .2,
                                                   (4, x.shape[1], 3, 3))),
                                 stride=2,
                                 padding=1)

    image = paddle.static.data('image', [-1, 3, -1, -1])
    shape = paddle.static.data('im_shape', [-1, 2])
    x = functional.max_pool2d(halve(image, 'stem'), 3, 2, 1)
    tokens, rows = [], []
    for stride in (8, 16, 32, 64):
        x = halve(x, 'to_%d' % stride)
        size = paddle.shape(x)
        rows.append(paddle.arange(0, size[2], dtype='int64').sum())
        tokens.append(x.reshape([0, 4, size[2] * size[3]]))
    joined = paddle.concat(tokens, 2)
    best, _ = paddle.topk(joined, 5, 2)
    return [shape, image], [best * shape.sum(), paddle.stack(rows)]
