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
"""A small network that has what a profile looks for, and its recordings.

As a program, `python tests/profile_small.py DIR`, it makes the network in DIR,
quantizes and runs it, and writes tests/data/trace.json and
tests/data/profile_*.json. Those committed were recorded so with Paddle 2.6.2
on an Intel Xeon with AVX512-VNNI and AMX, one thread.
"""

import json
import os
import sys

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')
PROJECT = os.path.join(os.path.dirname(os.path.dirname(DATA)), 'deploy',
                       'auto_compression')
SIZE = (1, 3, 32, 32)
# {name: (precision, operator set)}
VARIANTS = {
    'fp32': ('fp32', []),
    'int8': ('int8', ['conv2d', 'fused_conv2d']),
    'conv2d': ('int8', ['conv2d']),
    'simulated': ('simulated_int8', []),
}
RUNS = 20


def build(paddle, directory):
    """Convolutions (the second one depthwise), a squeeze-excite mean, a softmax
    over another axis than the last, and deformable sampling."""
    nn, functional = paddle.nn, paddle.nn.functional

    def convolution(x, inputs, outputs, kernel, **options):
        x = nn.Conv2D(inputs,
                      outputs,
                      kernel,
                      padding=kernel // 2,
                      bias_attr=False,
                      **options)(x)
        return functional.relu(nn.BatchNorm2D(outputs)(x))

    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup):
        x = paddle.static.data('x', SIZE)
        y = convolution(x, 3, 16, 3, stride=2)
        y = convolution(y, 16, 16, 3, groups=16)
        y = convolution(y, 16, 32, 1)
        y = y * functional.sigmoid(paddle.mean(y, [2, 3], keepdim=True))
        grid = paddle.tanh(nn.Conv2D(32, 2, 1)(y).transpose([0, 2, 3, 1]))
        y = functional.grid_sample(y, grid)
        y = nn.Conv2D(32, 8, 1, bias_attr=False)(y)
        y = functional.softmax(y, axis=1)
        y = nn.Linear(2048, 10)(y.flatten(1))
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup)
    paddle.static.save_inference_model(os.path.join(directory, 'model'), [x],
                                       [y],
                                       executor,
                                       program=main.clone(for_test=True))
    return executor


def make(directory):
    """{variant: plan} of the network, made in a directory."""
    from act import runtime
    from act.postprocess import PostProcess
    from act.predictor import Plan
    from act.program import cpu
    from act.program.inspect import count_types, quantized_ops
    from act.program.model import Model, ModelFiles
    from test_onednn import quantize
    paddle = runtime.import_paddle()
    with runtime.captured_output():
        paddle.enable_static()
        paddle.seed(1)
        source = os.path.join(directory, 'float')
        executor = build(paddle, source)
        quantized = os.path.join(directory, 'quantized')
        quantize(paddle, executor, source, quantized, True)
        paddle.disable_static()
    types = count_types(quantized_ops(Model.load(ModelFiles(quantized))))
    plans = {}
    for name, (precision, op_types) in VARIANTS.items():
        files = ModelFiles(source if precision == 'fp32' else quantized)
        if precision == 'int8':
            files = cpu.prepared(files)
        plans[name] = Plan(files=files,
                           precision=precision,
                           mkldnn=precision != 'simulated_int8',
                           threads=1,
                           op_types=op_types,
                           deleted_passes=[],
                           quantized={} if precision == 'fp32' else types,
                           postprocess=PostProcess())
    return plans


def feed():
    import numpy as np
    return {'x': np.random.default_rng(0).random(SIZE, dtype='float32')}


def main(directory):
    from act.predictor import Predictor
    from act.profile import logged, timed, trace
    plans = make(directory)
    predictors = {name: Predictor(plan) for name, plan in plans.items()}
    timings = timed.measure(predictors, dict.fromkeys(plans, feed()), RUNS)
    for name, plan in plans.items():
        answer, lines = logged.run(plan, feed(), {'no such variable': 0.0})
        content = {
            'precision': plan.precision,
            'op_types': plan.op_types,
            'quantized': plan.quantized,
            'ms': [round(o.ms, 6) for o in timings[name].operators],
            'run_ms': timings[name].run_ms,
            'share': timings[name].share,
            'plain_ms': timings[name].plain_ms,
            'cpu_ms': timings[name].cpu_ms,
            'operators': answer['operators'],
            'log': lines[-1],
        }
        with open(os.path.join(DATA, 'profile_%s.json' % name), 'w') as f:
            json.dump(content, f, indent=0)
            f.write('\n')

    def written(name, tensor):
        with trace.marked(trace.output_mark(name, tensor.shape)):
            pass

    predictors['fp32'].on_output(written)
    # The trace as Paddle writes it: two runs of the float network.
    _write_trace(predictors['fp32'], os.path.join(DATA, 'trace.json'))


def _write_trace(predictor, path):
    from act.profile import trace
    from paddle import profiler
    with profiler.Profiler(targets=[profiler.ProfilerTarget.CPU],
                           on_trace_ready=lambda p: p.export(path)):
        for label in ('first', 'second'):
            with trace.marked(trace.run_mark(label)):
                predictor.compute()
    with open(path) as f:
        content = json.load(f)
    with open(path, 'w') as f:  # without the blanks, a third of it
        json.dump(content, f, separators=(',', ':'))
        f.write('\n')


if __name__ == '__main__':
    sys.path.insert(0, PROJECT)
    main(sys.argv[1])
