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
"""fast_irgraph() builds the program that Paddle builds, and leaves no trace.

Programs are built in processes of their own, each once: static mode, the
scope, and the counters of generated names stay out of the other tests, and
addresses differ from process to process as they do in use.
"""

import os
import pickle
import subprocess
import sys

import numpy as np
import program_equality
import pytest
from act import runtime
from act.compress import irgraph

HERE = os.path.dirname(os.path.abspath(__file__))
ACT = os.path.join(os.path.dirname(HERE), 'deploy', 'auto_compression')
KINDS = ('test', 'train', 'converted')

# Builds the programs for a small network and trains it for three iterations.
# argv: 'original', 'ordered' or 'fast'; 'plain' or 'pact'; the file to write.
BUILD = '''
import contextlib, logging, pickle, sys
sys.path.insert(0, %(act)r)
from act import runtime
paddle = runtime.import_paddle()
import numpy as np
logging.disable(logging.INFO)
from act.compress import irgraph
from paddleslim.quant import quanter

way, preprocess, path = sys.argv[1:]
F, static = paddle.nn.functional, paddle.static
paddle.enable_static()
paddle.seed(3)
place = paddle.CPUPlace()
main, startup = static.Program(), static.Program()


def conv(x, channels, name, size=1, groups=1, shared=None):
    x = static.nn.conv2d(
        x, channels, size, padding=size // 2, groups=groups,
        param_attr=paddle.ParamAttr(name=(shared or name) + '_w'),
        bias_attr=False if shared is None else paddle.ParamAttr(
            name=shared + '_b'))
    # conv2d makes a depthwise_conv2d only of one whose groups are channels.
    return F.hardswish(static.nn.batch_norm(x))


with static.program_guard(main, startup), paddle.utils.unique_name.guard():
    image = static.data('image', [-1, 3, 16, 16], 'float32')
    # PACT needs the gradient of all that it clips; PaddleSlim does this too.
    image.stop_gradient = False
    x = conv(image, 8, 'stem', 3)
    x = conv(x, 8, 'depthwise', 3, groups=8)
    gate = F.hardsigmoid(static.nn.conv2d(
        F.adaptive_avg_pool2d(x, 1), 8, 1))
    x = conv(x * gate, 8, 'point')
    # One convolution on two levels, as PicoHead has it.
    levels = [conv(y, 8, 'head', shared='head')
              for y in (x, F.avg_pool2d(x, 2))]
    # Two convolutions on one activation, as PicoHead has them too.
    levels[0] = conv(levels[0], 4, 'box') + conv(levels[0], 4, 'class')
    x = paddle.concat([F.interpolate(levels[1], scale_factor=2), levels[0]], 1)
    x = paddle.transpose(paddle.reshape(x, [-1, 12, 256]), [0, 2, 1])
    project = static.create_parameter(
        [12, 4], 'float32', attr=paddle.ParamAttr(name='project'))
    out = paddle.matmul(F.softmax(x), project)
    inference = main.clone(for_test=True)
    loss = paddle.mean(paddle.square(out - 0.5))
    # Weight decay adds a sum that writes each gradient in place.
    optimizer = paddle.optimizer.Momentum(
        0.05, weight_decay=1e-4) if preprocess == 'pact' else \\
        paddle.optimizer.SGD(0.05, weight_decay=1e-4)
    optimizer.minimize(loss)

executor, scope = static.Executor(place), static.global_scope()
executor.run(startup)
config = {
    'quantize_op_types': ['conv2d', 'matmul_v2'],
    'onnx_format': True,
    'activation_quantize_type': 'moving_average_abs_max',
    'weight_quantize_type': 'channel_wise_abs_max',
}
pact = {} if preprocess == 'plain' else {
    'act_preprocess_func': quanter.pact,
    'optimizer_func': quanter.get_pact_optimizer,
    'executor': executor,
}
patch = {
    'fast': irgraph.fast_irgraph,
    'ordered': irgraph.ordered_irgraph,
    'original': contextlib.nullcontext,
}[way]


def values(*programs):
    found = {}
    for program in programs:
        for var in program.list_vars():
            held = scope.find_var(var.name) if var.persistable else None
            if held is not None and var.name not in ('feed', 'fetch'):
                found[var.name] = np.array(held.get_tensor())
    return found


with patch():
    test = quanter.quant_aware(
        inference, place, config, scope=scope, for_test=True)
    train = quanter.quant_aware(
        main, place, config, scope=scope, return_program=True, **pact)
result = {'initial': values(test, train), 'train': train, 'test': test}
images = np.random.RandomState(0).rand(4, 2, 3, 16, 16).astype('float32')
result['losses'] = np.array([
    executor.run(train, feed={'image': batch}, fetch_list=[loss])[0]
    for batch in images[:3]
])
result['trained'] = values(test, train)


def output(program):
    return executor.run(
        program, feed={'image': images[3]}, fetch_list=[out.name])[0]


result['test_output'] = output(test)
with patch():
    converted = quanter.convert(test, place, config, scope=scope)
result['converted'] = converted
result['converted_values'] = values(converted)
result['converted_output'] = output(converted)
for kind in ('test', 'train', 'converted'):
    result[kind] = result[kind].desc.serialize_to_string()
with open(path, 'wb') as f:
    pickle.dump(result, f)
''' % {
    'act': ACT
}

# With PACT, Paddle as it is gives one of several programs, by addresses.
PAIRS = {'plain': ('original', 'fast'), 'pact': ('ordered', 'fast')}


def start(way, preprocess, path):
    """Run BUILD. Returns the process."""
    return subprocess.Popen(
        [sys.executable, '-c', BUILD, way, preprocess,
         str(path)],
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def finish(process, path):
    """Wait for BUILD. Returns what it made, programs as descriptions."""
    output = process.communicate()[0]
    assert process.returncode == 0, output.decode()[-3000:]
    made = pickle.loads(path.read_bytes())
    runtime.import_paddle()
    for kind in KINDS:
        made[kind] = program_equality.parse(made[kind])
    made['names'] = {
        generated: canonical
        for kind in KINDS
        for generated, canonical in program_equality.canonical_names(
            made[kind]).items()
    }
    return made


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """The small network, by Paddle's own code and by fast_irgraph()."""
    folder = tmp_path_factory.mktemp('programs')
    jobs = [(preprocess, way, folder / (way + preprocess))
            for preprocess, ways in PAIRS.items() for way in ways]
    # Each takes a process seconds to import Paddle: side by side.
    processes = [start(way, preprocess, path) for preprocess, way, path in jobs]
    made = {preprocess: [] for preprocess in PAIRS}
    for (preprocess, _, path), process in zip(jobs, processes):
        made[preprocess].append(finish(process, path))
    return made


@pytest.fixture(params=list(PAIRS))
def pair(request, pairs):
    return pairs[request.param]


@pytest.mark.parametrize('kind', KINDS)
def test_same_program(pair, kind):
    original, fast = pair
    assert program_equality.compare(fast[kind], original[kind]) == []


@pytest.mark.parametrize('moment', ['initial', 'trained', 'converted_values'])
def test_same_values(pair, moment):
    original, fast = pair
    assert program_equality.compare_values(fast[moment], original[moment],
                                           fast['names'],
                                           original['names']) == []


@pytest.mark.parametrize('what', ['losses', 'test_output', 'converted_output'])
def test_same_numbers(pair, what):
    original, fast = pair
    assert np.isfinite(fast[what]).all()
    assert fast[what].tobytes() == original[what].tobytes()


@pytest.mark.parametrize('kind', KINDS)
def test_same_order_and_names(pairs, kind):
    """With the order of walks fixed, nothing has to be renamed: programs do
    not differ from process to process."""
    ordered, fast = pairs['pact']
    assert program_equality.listing(fast[kind]) == program_equality.listing(
        ordered[kind])


def test_training_moves_the_scales(pair):
    """Else equal scales would prove nothing."""
    fast = pair[1]
    scales = [name for name in fast['initial'] if name.endswith('@scale')]
    assert scales
    assert any((fast['initial'][name] != fast['trained'][name]).any()
               for name in scales)


def methods():
    """All that a patch could leave changed."""
    from paddle.base.framework import IrGraph
    from paddle.static.quantization import quantization_pass
    owners = [IrGraph] + [
        value for value in vars(quantization_pass).values()
        if isinstance(value, type)
    ]
    return {
        (owner, name): value
        for owner in owners
        for name, value in vars(owner).items()
    }


def test_patch_is_undone():
    runtime.import_paddle()
    before = methods()
    with irgraph.fast_irgraph():
        patched = {k for k, v in methods().items() if before[k] is not v}
        assert len(patched) == 12 + len(irgraph.INDEXED_PASSES)
    assert methods() == before


def test_patch_is_undone_after_an_exception():
    runtime.import_paddle()
    before = methods()
    with pytest.raises(ValueError, match='inside'), irgraph.fast_irgraph():
        raise ValueError('inside')
    assert methods() == before


def test_nested_blocks():
    runtime.import_paddle()
    before = methods()
    with irgraph.fast_irgraph():
        outer = methods()
        with irgraph.fast_irgraph():
            assert methods() == outer
        assert methods() == outer
    assert methods() == before


def test_another_version_is_left_alone(monkeypatch):
    runtime.import_paddle()
    before = methods()
    monkeypatch.setattr(irgraph, 'SUPPORTED', '2.4.0')
    with pytest.warns(UserWarning, match='2.4.0'), irgraph.fast_irgraph():
        assert methods() == before


@pytest.fixture
def graph():
    """x -> scale -> y, and y -> increment -> y: two nodes of the name y."""
    runtime.import_paddle()
    from paddle.base import core
    from paddle.base.framework import IrGraph
    program = core.ProgramDesc()
    block = program.block(0)
    for name in 'xy':
        var = block.var(name.encode())
        var.set_type(core.VarDesc.VarType.LOD_TENSOR)
        var.set_dtype(core.VarDesc.VarType.FP32)
        var.set_shape([1])
        var.set_persistable(name == 'x')
    for kind, source in ('scale', 'x'), ('increment', 'y'):
        op = block.append_op()
        op.set_type(kind)
        op.set_input('X', [source])
        op.set_output('Out', ['y'])
    with irgraph.fast_irgraph():
        yield IrGraph(core.Graph(program), for_test=True)


def find(graph, name):
    return graph._find_node_by_name(graph.all_var_nodes(), name)


def test_the_last_written_of_a_name(graph):
    assert sum(node.name() == 'y' for node in graph.all_var_nodes()) == 2
    found = find(graph, 'y')
    assert [op.name() for op in found.inputs] == ['increment']
    assert not found.outputs


def test_nodes_come_in_the_order_of_the_program(graph):
    assert [op.name() for op in graph.all_op_nodes()] == ['scale', 'increment']
    variables = list(graph.all_var_nodes())
    assert [node.name() for node in variables] == ['x', 'y', 'y']
    assert variables[0] in set(graph.all_var_nodes()) | set(variables)
    assert len(graph.all_persistable_nodes()) == 1
    assert graph.all_var_nodes() is not graph.all_var_nodes()


def test_an_absent_name_is_an_assertion(graph):
    with pytest.raises(AssertionError, match='target node .z.'):
        find(graph, 'z')
    with pytest.raises(AssertionError):
        graph._find_node_by_name(graph.all_persistable_nodes(), 'y')


def test_an_index_follows_the_graph(graph):
    """As inside a pass: created nodes are found, removed ones are not."""
    from paddle.base import core

    class Pass:

        @irgraph._indexed
        def apply(self, graph):
            kind = core.VarDesc.VarType.LOD_TENSOR, [
                1
            ], core.VarDesc.VarType.FP32
            new = graph.create_persistable_node('z', *kind)
            assert find(graph, 'z').id() == new.id()
            newer = graph.create_var_node_from_desc(new.var())
            assert find(graph, 'z').id() == newer.id()
            graph.safe_remove_nodes(newer)
            assert find(graph, 'z').id() == new.id()
            graph.safe_remove_nodes([new])
            with pytest.raises(AssertionError):
                find(graph, 'z')
            raise RuntimeError('a pass that fails')

    names = [node.name() for node in graph.all_var_nodes()]
    with pytest.raises(RuntimeError):
        Pass().apply(graph)
    assert irgraph._INDEX not in vars(graph)
    assert [node.name() for node in graph.all_var_nodes()] == names


def comparable(*operators):
    """A program of operators (type, input, output, attribute)."""
    from paddle.base import core
    program = core.ProgramDesc()
    block = program.block(0)
    for kind, source, target, value in operators:
        op = block.append_op()
        op.set_type(kind)
        op.set_input('X', [source])
        op.set_output('Out', [target])
        op._set_attr('value', value)
        for name in source, target:
            block.var(name.encode()).set_type(core.VarDesc.VarType.LOD_TENSOR)
    return program


A, B, C = ('f', 'x', 'a', 1.), ('g', 'x', 'b', 1.), ('h', 'a', 'x', 1.)


def test_comparison_allows_independent_operators_to_change_places():
    runtime.import_paddle()
    assert program_equality.compare(comparable(A, B, C), comparable(B, A,
                                                                    C)) == []


@pytest.mark.parametrize(
    'other',
    [
        (A, C, B),  # g reads what h wrote
        (A, B),
        (A, B, C, C),
        (A, B, ('h', 'a', 'x', 2.)),
        (A, B, ('h', 'a', 'x', 1)),
        (A, B, ('h', 'b', 'x', 1.)),
    ])
def test_comparison_sees(other):
    runtime.import_paddle()
    assert program_equality.compare(comparable(A, B, C), comparable(*other))


def test_comparison_of_values_sees_a_bit():
    one = {'w': np.float32([1, np.nan])}
    assert program_equality.compare_values(one, {'v': np.float32([1, np.nan])},
                                           {}, {'v': 'w'}) == []
    for other in ({
            'w': np.nextafter(np.float32([1, np.nan]), np.float32(2))
    }, {
            'w': np.float64([1, np.nan])
    }, {}):
        assert len(program_equality.compare_values(one, other)) == 1
