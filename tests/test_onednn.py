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
"""act.onednn against logs that Paddle 2.6.2 wrote, and against a live run.

As a program, this file is what was logged: `python tests/test_onednn.py DIR
fp32 | int8 | mixed` builds a small detector-like network in DIR, quantizes it
and runs it twice. tests/data/onednn_*.log are its output on an AMD EPYC with
AVX2, without VNNI, one thread: DNNL_VERBOSE=1, and for onednn_level2.log
ONEDNN_VERBOSE=2 ONEDNN_VERBOSE_TIMESTAMP=1 (its first 60 lines).
"""

import os
import re
import sys
from collections import Counter

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')
PROJECT = os.path.join(os.path.dirname(os.path.dirname(DATA)), 'deploy',
                       'auto_compression')
SIZE = (1, 3, 32, 32)


def build(paddle, directory):
    """Five convolutions, the second one depthwise, the fourth one grouped."""
    nn = paddle.nn

    def convolution(x, inputs, outputs, kernel, relu=True, **options):
        x = nn.Conv2D(inputs,
                      outputs,
                      kernel,
                      padding=kernel // 2,
                      bias_attr=False,
                      **options)(x)
        x = nn.BatchNorm2D(outputs)(x)
        return nn.functional.relu(x) if relu else x

    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup):
        x = paddle.static.data('x', SIZE)
        y = convolution(x, 3, 16, 3, stride=2)
        y = convolution(y, 16, 16, 3, groups=16)
        y = convolution(y, 16, 32, 1)
        y = convolution(y, 32, 32, 3, groups=4, relu=False)
        y = nn.functional.max_pool2d(y, 2)
        y = nn.Conv2D(32, 8, 1, bias_attr=False)(y)
        y = nn.functional.softmax(nn.Linear(512, 10)(y.flatten(1)))
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup)
    paddle.static.save_inference_model(os.path.join(directory, 'model'), [x],
                                       [y],
                                       executor,
                                       program=main.clone(for_test=True))
    return executor


def quantize(paddle, executor, source, directory, skip_depthwise):
    import numpy as np

    class Images(paddle.io.Dataset):

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return np.random.default_rng(index).random(SIZE[1:],
                                                       dtype='float32')

    with paddle.static.program_guard(paddle.static.Program()):
        feed = paddle.static.data('x', SIZE)
    names = {
        'model_filename': 'model.pdmodel',
        'params_filename': 'model.pdiparams'
    }
    quantization = paddle.static.quantization.PostTrainingQuantization(
        executor=executor,
        model_dir=source,
        data_loader=paddle.io.DataLoader(Images(),
                                         feed_list=[feed],
                                         batch_size=1,
                                         return_list=False,
                                         places=paddle.CPUPlace()),
        batch_size=1,
        batch_nums=4,
        algo='avg',
        quantizable_op_type=['conv2d'],
        onnx_format=True,
        **names)
    program = quantization.quantize()
    for op in program.global_block().ops:
        if skip_depthwise and op.type == 'depthwise_conv2d':
            op._set_attr('skip_quant', True)
    quantization.save_quantized_model(directory, **names)


def main(directory, mode):
    from act import onednn, runtime
    with runtime.captured_output():
        paddle = runtime.import_paddle()
        import numpy as np
        paddle.enable_static()
        paddle.seed(1)
        source = os.path.join(directory, 'fp32')
        executor = build(paddle, source)
        model = source
        if mode != 'fp32':
            model = os.path.join(directory, mode)
            quantize(paddle, executor, source, model, mode == 'mixed')
        config = paddle.inference.Config(os.path.join(model, 'model.pdmodel'),
                                         os.path.join(model, 'model.pdiparams'))
        config.set_cpu_math_library_num_threads(1)
        config.enable_mkldnn()
        if mode != 'fp32':
            config.enable_mkldnn_int8({'conv2d', 'fused_conv2d'})
        predictor = paddle.inference.create_predictor(config)
    for run in range(2):
        onednn.mark_begin(run)
        handle = predictor.get_input_handle(predictor.get_input_names()[0])
        handle.copy_from_cpu(np.ones(SIZE, 'float32'))
        predictor.run()
        onednn.mark_end(run)


if __name__ == '__main__':
    main(*sys.argv[1:])
    sys.exit()

import pytest  # noqa: E402
from act import onednn  # noqa: E402
from act.errors import UserError  # noqa: E402
from act.onednn import LayerCount, Primitive  # noqa: E402


def log(name):
    with open(os.path.join(DATA, 'onednn_%s.log' % name),
              encoding='utf-8') as f:
        return f.read().splitlines()


def last_run(name):
    return onednn.parse(onednn.last_run(log(name)))


def numbers(count):
    return (count.int8, count.fp32, count.bf16, count.other,
            count.depthwise_int8, count.depthwise_fp32)


@pytest.mark.parametrize('name, expected', [
    ('fp32', (0, 5, 0, 0, 0, 1)),
    ('int8', (5, 0, 0, 0, 1, 0)),
    ('mixed', (4, 1, 0, 0, 0, 1)),
])
def test_convolutions_of_a_run(name, expected):
    assert numbers(onednn.count_layers(last_run(name))) == expected
    both = onednn.parse(log(name))
    assert numbers(onednn.count_layers(both, runs=2)) == expected


def test_times():
    primitives = last_run('fp32')
    lines = [s for s in onednn.last_run(log('fp32')) if ',exec,' in s]
    times = [float(s.rsplit(',', 1)[1]) for s in lines]
    assert [p.milliseconds for p in primitives] == times
    count = onednn.count_layers(primitives)
    assert count.total_ms == pytest.approx(sum(times))
    assert count.convolution_ms == pytest.approx(
        sum(t for s, t in zip(lines, times) if ',convolution,' in s))
    assert 0 < count.convolution_ms < count.total_ms
    halves = onednn.count_layers(primitives * 2, runs=2)
    assert halves.total_ms == pytest.approx(count.total_ms)


def test_fields():
    depthwise = [p for p in last_run('int8') if p.depthwise]
    assert len(depthwise) == 1
    assert depthwise[0] == Primitive(
        kind='convolution',
        implementation='jit_uni_int8:avx2',
        prop_kind='forward_inference',
        source='u8',
        weights='s8',
        destination='u8',
        groups=16,
        depthwise=True,
        descriptor='g16mb1_ic16oc16_ih16oh16kh3sh1dh0ph1_iw16ow16kw3sw1dw0pw1',
        milliseconds=depthwise[0].milliseconds)
    primitives = last_run('int8')
    assert [p.groups for p in primitives
            if p.kind == 'convolution'] == [1, 16, 1, 4, 1]
    assert {p.groups for p in primitives if p.kind != 'convolution'} == {None}
    quantizing = primitives[0]
    assert (quantizing.kind, quantizing.source, quantizing.weights,
            quantizing.destination) == ('reorder', 'f32', None, 's8')
    eltwise = [p for p in primitives if p.kind == 'eltwise'][0]
    assert (eltwise.source, eltwise.destination) == ('f32', 'f32')


@pytest.mark.parametrize('name', ['fp32', 'int8', 'mixed'])
def test_each_execution_is_read_and_nothing_else(name):
    lines = log(name)
    kinds = [re.search(r',exec,cpu,(\w+),', s) for s in lines]
    assert Counter(p.kind for p in onednn.parse(lines)) == Counter(
        k.group(1) for k in kinds if k)


def test_timestamps_and_creation_lines():
    lines = log('level2')
    assert any(',create:' in s for s in lines)
    primitives = onednn.parse(lines)
    assert len(primitives) == sum(',exec,' in s for s in lines) > 0
    assert numbers(onednn.count_layers(primitives))[0] > 0


# One line as versions other than Paddle's write it: the forms shown in oneDNN's
# documentation (`dnnl_verbose` of 1.x, `primitive`, `v1`) and public issues.
MEMORY = 'src_u8:a:blocked:acdb::f0 wei_s8:a:blocked:x::f0 ' \
    'bia_undef::undef::: dst_f32::blocked:acdb::f0'
REST = ',alg:convolution_direct,g8mb1_ic8oc16_ih8oh8kh1_iw8ow8kw1,0.5'
HEAD = 'cpu,convolution,brgconv:avx512_core_vnni,forward_inference,'


@pytest.mark.parametrize('line', [
    'dnnl_verbose,exec,' + HEAD + MEMORY.replace('::f0', ':f0') +
    ",oscale:2;post_ops:'eltwise_relu:0,1;';" + REST,
    'onednn_verbose,exec,' + HEAD + MEMORY + ',' + REST,
    'onednn_verbose,1795531196309.28,exec,' + HEAD + MEMORY + ',' + REST,
    'onednn_verbose,primitive,exec,' + HEAD + MEMORY + ',' + REST,
    'onednn_verbose,primitive,17955.28,exec,' + HEAD + MEMORY + ',' + REST,
    'onednn_verbose,v1,primitive,exec,' + HEAD +
    re.sub(r'(src|wei|bia|dst)_', r'\1:', MEMORY) + ',' + REST + '\n',
])
def test_other_versions(line):
    assert onednn.parse([line]) == [
        Primitive('convolution', 'brgconv:avx512_core_vnni',
                  'forward_inference', 'u8', 's8', 'f32', 8, True,
                  'g8mb1_ic8oc16_ih8oh8kh1_iw8ow8kw1', 0.5)
    ]


@pytest.mark.parametrize('sizes, groups, depthwise', [
    ('mb1_ic1oc8', 1, False),
    ('g1mb1_ic1oc8', 1, False),
    ('g4mb1_ic8oc8', 4, False),
    ('g8mb2_ic8oc16', 8, True),
])
def test_groups(sizes, groups, depthwise):
    line = 'onednn_verbose,exec,' + HEAD + MEMORY + ',' + REST
    primitive, = onednn.parse([line.replace('g8mb1_ic8oc16', sizes)])
    assert (primitive.groups, primitive.depthwise) == (groups, depthwise)


def test_gradients_are_not_taken_for_tensors():
    primitive, = onednn.parse([
        'onednn_verbose,exec,cpu,softmax,jit:avx2,backward_data,'
        'diff_dst_bf16::blocked:ab::f0 diff_src_bf16::blocked:ab::f0 '
        'dst_f32::blocked:ab::f0,,alg:softmax_accurate axis:1,1x10,0.1'
    ])
    assert (primitive.source, primitive.destination) == (None, 'f32')


@pytest.mark.parametrize('line', [
    '',
    'exec,cpu,convolution',
    'onednn_verbose,info,cpu,isa:Intel AVX2',
    'onednn_verbose,primitive,create:cache_miss,' + HEAD + MEMORY + ',' + REST,
    'onednn_verbose,graph,exec,cpu,100002,matmul,MatMul_2;Add_1,,,,3,larger,1',
])
def test_passed_over(line):
    assert onednn.parse([line]) == []


@pytest.mark.parametrize('line', [
    'onednn_verbose,exec,cpu,convolution,jit:av',
    'onednn_verbose,exec,' + HEAD + MEMORY + ',' + REST[:-3],
    'onednn_verbose,exec,' + HEAD + MEMORY + ',' + REST + 'loading model',
    'onednn_verbose,exec,' + HEAD + MEMORY + ',' + REST.replace('_ic8', '_'),
])
def test_broken_lines_are_errors(line):
    with pytest.raises(UserError, match='cannot be read') as error:
        onednn.parse([line])
    assert '\n' not in str(error.value)


def convolution(source, weights, implementation='jit:avx2', ms=1.0):
    return Primitive('convolution', implementation, 'forward_inference', source,
                     weights, 'f32', 1, False, '', ms)


def test_classes_of_convolutions():
    count = onednn.count_layers([
        convolution('s8', 's8'),
        convolution('u8', 's8'),
        convolution('f32', 'f32'),
        convolution('bf16', 'bf16'),
        convolution('f32', 's8', 'ref:any', 6.0),
    ])
    assert count == LayerCount(int8=2,
                               fp32=1,
                               bf16=1,
                               other=1,
                               convolution_ms=10.0,
                               reference_ms=6.0,
                               total_ms=10.0)
    assert count.reference_share == pytest.approx(0.6)
    assert onednn.count_layers([]).reference_share == 0


@pytest.mark.parametrize('runs', [0, 2])
def test_unequal_runs(runs):
    with pytest.raises(UserError, match='%d equal runs' % runs):
        onednn.count_layers(3 * [convolution('s8', 's8')], runs=runs)


def test_last_complete_run():
    lines = [
        'a', '--- run 0 begin ---', 'b', '--- run 0 end ---', 'c',
        '--- run 1 begin ---', 'd', '--- run 1 end ---', 'e',
        '--- run 2 begin ---', 'f'
    ]
    assert onednn.last_run(lines) == ['d']
    assert onednn.last_run(lines[:2]) is None
    assert onednn.last_run(['--- run 1 begin ---', '--- run 2 end ---']) is None


def test_all_complete_runs():
    lines = [
        'a', '--- run 0 begin ---', 'b', '--- run 0 end ---',
        '--- run 1 begin ---', '--- run 1 end ---', '--- run 2 begin ---', 'f'
    ]
    assert onednn.marked_runs(lines) == [['b'], []]


def test_lines_by_output():
    lines = ['a', 'b', '--- output ---', '--- output ---', 'c']
    assert onednn.by_output(lines) == [['a', 'b'], [], ['c']]
    assert onednn.by_output([]) == [[]]


# Buffers in C and Python, as those of oneDNN and a script, around the marks.
BUFFERED = '''
import ctypes, os
from act import onednn
assert os.environ['DNNL_VERBOSE'] == os.environ['ONEDNN_VERBOSE'] == '1'
libc = ctypes.CDLL(None)
line = b'onednn_verbose,exec,cpu,reorder,jit,undef,src_f32:: dst_s8::,,,%s,1\\n'
for run in range(3):
    libc.printf(line % b'before')
    libc.fflush(None)
    print('a line without its end', end='', flush=True)
    onednn.mark_begin(run)
    libc.printf(line % b'run%d' % run)
    onednn.mark_end(run)
    libc.printf(line % b'after')
'''


def child_env():
    env = dict(os.environ, PYTHONPATH=PROJECT, ONEDNN_VERBOSE='0')
    env.pop('PYTHONUNBUFFERED', None)  # it takes C's buffer away too
    return env


def test_marks_are_in_order_with_buffered_lines():
    primitives = onednn.record([sys.executable, '-c', BUFFERED],
                               env=child_env())
    assert [(p.kind, p.source, p.destination, p.descriptor)
            for p in primitives] == [('reorder', 'f32', 's8', 'run2')]


@pytest.mark.parametrize('command, message', [
    ([sys.executable, '-c', 'import sys; print(1); sys.exit("error: no\\n")'
      ], 'exit code 1: error: no$'),
    ([sys.executable, '-c', 'import os; os._exit(3)'], 'exit code 3: nothing'),
    ([sys.executable, '-c', 'pass'], 'marked no run'),
    ([sys.executable, '-c', 'import time; time.sleep(60)'], 'over 1 s'),
    (['/nowhere/program'], "cannot start '/nowhere/program'"),
])
def test_commands_that_fail(command, message):
    with pytest.raises(UserError, match=message) as error:
        onednn.record(command, timeout=1 if 'sleep' in command[-1] else 60)
    assert '\n' not in str(error.value)


def test_live_run(tmp_path):
    """What the installed oneDNN writes is still what is parsed here."""
    primitives = onednn.record(
        [sys.executable,
         os.path.abspath(__file__),
         str(tmp_path), 'mixed'],
        env=dict(child_env(), OMP_NUM_THREADS='1'))
    assert numbers(onednn.count_layers(primitives)) == (4, 1, 0, 0, 0, 1)
    assert {'reorder', 'pooling', 'inner_product',
            'softmax'} <= {p.kind
                           for p in primitives}
