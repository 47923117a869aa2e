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
