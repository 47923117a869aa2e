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
"""act.profile and diagnose.py: parsers and causes on recorded runs of the small
network of profile_small.py, and the whole on the demo's detector."""

import dataclasses
import json
import os

import profile_small as small
import pytest
from act import config, onednn, results, runtime
from act.errors import UserError
from act.onednn import Primitive
from act.postprocess import PostProcess
from act.predictor import Plan
from act.profile import (
    causes,
    chart,
    layers,
    logged,
    profiled,
    record,
    run,
    tables,
    timed,
    trace,
    work,
)
from act.profile import machine as machines
from act.profile.layers import Layer
from act.program.model import Model, ModelFiles
from conftest import YAML, run_script

MACHINE = machines.Machine(1, 100.0, 1000.0, 10.0)


def data(name):
    with open(os.path.join(small.DATA, name), encoding='utf-8') as f:
        return f.read()


def recorded(name, **changes):
    """A recorded run as a Profile; `changes` are to its plan."""
    content = json.loads(data('profile_%s.json' % name))
    operators = logged.assign(content['operators'], [content['log']])
    times = [
        trace.Operator(o.type, ms, ())
        for o, ms in zip(operators, content['ms'])
    ]
    joined, named = layers.join(times, operators)
    plan = Plan(files=ModelFiles('model'),
                precision=content['precision'],
                mkldnn=content['precision'] != 'simulated_int8',
                threads=1,
                op_types=content['op_types'],
                deleted_passes=[],
                quantized=content['quantized'],
                postprocess=PostProcess())
    return profiled.Profile(
        name, 'model', dataclasses.replace(plan, **changes),
        timed.Timing(tuple(times), content['run_ms'], content['share'],
                     content['plain_ms'], content['cpu_ms'], small.RUNS),
        joined, named, None, 2)


def with_layers(profile, *more, **changes):
    return dataclasses.replace(profile, layers=profile.layers + more, **changes)


def names(profile):
    """Of its causes, but for what else the machine did while it was recorded.
    """
    found = {cause.name for cause in causes.find([profile])}
    return found - {'machine_busy'}


# Paddle's profiler.


def test_runs_of_a_trace():
    first, second = trace.runs(trace.parse(data('trace.json')))
    assert (first.label, second.label) == ('first', 'second')
    content = json.loads(data('profile_fp32.json'))
    for one in (first, second):
        assert [[o.type, [[n, list(s)] for n, s in o.outputs]]
                for o in one.operators] == content['operators']
        assert 0 < one.operators_ms < one.ms


def test_times_of_a_trace():
    """Against the file, read another way."""
    events = json.loads(data('trace.json'))['traceEvents']
    operators = [e for e in events if e.get('cat') == 'Operator']
    found = trace.runs(trace.parse(data('trace.json')))
    assert sum(o.ms for one in found for o in one.operators) == pytest.approx(
        sum(e['dur'] for e in operators) / 1e3)
    assert len(operators) == sum(len(one.operators) for one in found)


def test_operators_of_a_block_are_part_of_their_operator():
    events = [
        trace.Event('run x', 'PythonUserDefined', 0, 100),
        trace.Event('while', 'Operator', 10, 60),
        trace.Event('scale', 'Operator', 20, 30),
        trace.Event('output 2x3 a name', 'PythonUserDefined', 31, 32),
        trace.Event('output - y', 'PythonUserDefined', 61, 62),
        trace.Event('relu', 'Operator', 70, 80),
        trace.Event('output 2x3 z z', 'PythonUserDefined', 85, 86),
        trace.Event('relu', 'Operator', 110, 120),
    ]
    one, = trace.runs(events)
    assert one == trace.Run('x', 0.1, (
        trace.Operator('while', 0.05, (('y', ()), )),
        trace.Operator('relu', 0.01, (('z z', (2, 3)), )),
    ))


@pytest.mark.parametrize('text', [
    '',
    '[]',
    '{}',
    '{"traceEvents": [{"ph": "X", "name": "conv2d"}]}',
    '{"traceEvents": [{"ph": "X", "name": "a", "cat": "Operator", "args": '
    '{"start_time": "1 ms", "end_time": "2 ms"}}]}',
])
def test_broken_traces_are_errors(text):
    with pytest.raises(UserError, match="trace cannot be read") as error:
        trace.parse(text)
    assert '\n' not in str(error.value)


# oneDNN's log.


def test_primitives_go_to_the_operator_that_ran_them():
    profile = recorded('int8')
    # The stem is quantized, its scale is given to a reorder of its own.
    found = {layer.name: layer for layer in profile.layers}
    assert [p.kind for p in found['quantize/out/0'].primitives] == ['reorder']
    assert found['relu_0.tmp_0'].computed_in == 'int8'
    assert found['relu_1.tmp_0'].kind == 'depthwise convolution'
    assert found['relu_1.tmp_0'].computed_in == 'fp32'
    assert found['mean_0.tmp_0'].implementation == 'ref:any'
    assert found['grid_sample_0.tmp_0'].implementation == 'paddle'
    assert found['grid_sample_0.tmp_0'].computed_in == ''
    # Each primitive of the log is somewhere, once.
    lines = json.loads(data('profile_int8.json'))['log']
    assert [p for layer in profile.layers
            for p in layer.primitives] == onednn.parse(lines)


def test_marks_that_do_not_fit_are_errors():
    content = json.loads(data('profile_fp32.json'))
    with pytest.raises(UserError, match='marks of 15 outputs'):
        logged.assign(content['operators'][1:], [content['log']])
    other = json.loads(data('profile_int8.json'))
    with pytest.raises(UserError, match='marks of 20 outputs'):
        logged.assign(content['operators'], [content['log'], other['log']])
    changed = [line.replace('jit', 'ref') for line in content['log']]
    with pytest.raises(UserError, match='not alike'):
        logged.assign(content['operators'], [content['log'], changed])


def test_times_of_primitives_are_medians():
    content = json.loads(data('profile_fp32.json'))
    runs = [[
        line if line.count(',') < 5 else line.rpartition(',')[0] + ',' + ms
        for line in content['log']
    ] for ms in ('1', '7', '2')]
    found = logged.assign(content['operators'], runs)
    assert {p.milliseconds for o in found for p in o.primitives} == {2.0}


def test_other_operators_leave_layers_without_names():
    profile = recorded('int8')
    operators = [logged.Logged('relu', (('x', (1, )), ), ())]
    found, named = layers.join(profile.timing.operators, operators)
    assert not named
    assert [x.ms for x in found] == [x.ms for x in profile.layers]
    assert {(x.name, x.primitives) for x in found} == {('', ())}
    unnamed = dataclasses.replace(profile, layers=found, named=False)
    assert 'left_in_float' not in names(unnamed)
    assert '-' in tables.slowest([unnamed], MACHINE)


def test_operators_that_are_several_primitives():
    """Such as those of ops/network.cc."""
    sizes = 'mb1_ic4oc8_ih6oh3kh3sh2_iw8ow4kw3sw2'
    several = Layer('onednn_network_2', 10.0, (('y', (1, 8, 3, 4)), ),
                    (primitive('reorder', '1x4x6x8', weights=None, ms=1.0),
                     primitive('convolution', sizes, 's8', 's8', ms=2.0),
                     primitive('pooling', 'mb1ic8_ih3oh1kh3_iw4ow1kw4', ms=3.0),
                     primitive('binary', '1x8x1x1:1x8x1x1', ms=1.0)))
    found = layers.parts(several)
    assert [x.kind for x in found] == [
        'reorder', 'convolution', 'pool2d', 'elementwise', 'onednn_network'
    ]
    assert [x.name for x in found] == ['y #0', 'y #1', 'y #2', 'y #3', 'y']
    assert [x.ms for x in found] == [1, 2, 3, 1, pytest.approx(3)]
    assert [x.shape
            for x in found] == [(1, 4, 6, 8), (1, 8, 3, 4), (1, 8, 1, 1),
                                (1, 8, 1, 1), (1, 8, 3, 4)]
    assert found[1].computed_in == 'int8' and found[4].main is None
    # The log is of another run.
    found = layers.parts(dataclasses.replace(several, ms=3.5))
    assert [x.ms for x in found] == pytest.approx([.5, 1, 1.5, .5, 0])
    one = dataclasses.replace(several, primitives=several.primitives[:2])
    assert layers.parts(one) == [one]


# Time.


def test_medians_share_and_disturbance():

    def one(ms, *operators):
        return trace.Run(
            '', ms,
            tuple(
                trace.Operator('op%d' % i, x, ())
                for i, x in enumerate(operators)))

    timing = timed.summarize(
        [one(10, 4, 5), one(20, 14, 5),
         one(20, 4, 15)], [(9, 8), (8, 7), (30, 7)])
    assert [o.ms for o in timing.operators] == [4, 5]
    assert (timing.run_ms, timing.plain_ms, timing.cpu_ms) == (20, 9, 7)
    assert timing.share == pytest.approx(0.95)
    assert timing.between_ms == pytest.approx(1)
    assert timing.disturbed_ms == pytest.approx(10)
    with pytest.raises(UserError, match='differ in their operators'):
        timed.summarize([one(1, 1), one(1, 1, 1)], [(1, 1)])


def test_labels():

    def named(*precisions):
        return profiled.labels(
            [recorded('fp32', precision=p).plan for p in precisions])

    assert named('int8') == ['int8']
    assert named('fp32', 'int8') == ['fp32', 'int8']
    assert named('int8', 'int8') == ['int8 (reference)', 'int8']


# Work and the roofline.


def primitive(kind, descriptor, source='f32', weights='f32', **more):
    return Primitive(kind, more.pop('implementation',
                                    'jit:avx2'), '', source, weights, 'f32',
                     more.pop('groups', None), False, descriptor,
                     more.pop('ms', 1.0))


@pytest.mark.parametrize('one, gflop, bytes_', [
    (primitive('convolution',
               'g4mb2_ic8oc16_ih10oh5kh3sh2dh0ph1_iw12ow6kw3sw2dw0pw1',
               groups=4), 2 * 2 * 16 * 5 * 6 * 2 * 9, 4 *
     (2 * 8 * 120 + 16 * 2 * 9 + 2 * 16 * 30)),
    (primitive('convolution', 'mb1_ic4oc4_ih2oh2kh1_iw2ow2kw1', 'u8',
               's8'), 2 * 4 * 4 * 4, 16 + 16 + 4 * 16),
    (primitive('inner_product', 'mb3ic4ih2iw2oc5'), 2 * 3 * 16 * 5, 4 *
     (48 + 80 + 15)),
    (primitive('matmul', '2x3x4:2x4x5:2x3x5'), 2 * 2 * 3 * 4 * 5, 4 *
     (24 + 40 + 30)),
    (primitive('matmul', '2x3x4:2x4x5'), 2 * 2 * 3 * 4 * 5, 4 * (24 + 40 + 30)),
    (primitive('pooling', 'mb1ic2_ih4oh2kh2sh2_iw4ow2kw2sw2'), 0, 4 *
     (2 * 16 + 2 * 4)),
    (primitive('reduction', '1x2x8x8:1x2x1x1'), 0, 4 * (128 + 2)),
    (primitive('binary', '1x2x8x8:1x2x1x1'), 0, 4 * (128 + 2 + 128)),
    (primitive('concat', '1x2x8:1x1x8'), 0, 4 * (24 + 24)),
    (primitive('softmax', '4x8'), 0, 4 * 64),
    (primitive('shuffle', 'group:2'), 0, None),
])
def test_work(one, gflop, bytes_):
    assert work.gflop(one) == pytest.approx(gflop / 1e9)
    found = work.megabytes(one)
    assert found is None if bytes_ is None else \
        found == pytest.approx(bytes_ / 1e6)


def test_roofline():
    # 2 GFLOP at 100 and at 1000 a second, or 100 MB at 10 GB a second.
    assert MACHINE.ideal_ms(2, 1, int8=False) == pytest.approx(20)
    assert MACHINE.ideal_ms(2, 1, int8=True) == pytest.approx(2)
    assert MACHINE.ideal_ms(2, 100, int8=True) == pytest.approx(10)
    sizes = 'mb1_ic1000oc1000_ih10oh10kh1_iw10ow10kw1'
    layer = Layer('fused_conv2d', 4.0, (('y', (1, )), ), (primitive(
        'reorder', '10', ms=1.0), primitive('convolution', sizes, ms=3.0)))
    assert layer.gflop == pytest.approx(.2)
    assert layer.ideal_ms(MACHINE) == pytest.approx(2)
    assert layer.reorder_ms == pytest.approx(1)
    kind, = layers.by_kind([layer, layer], MACHINE)
    assert (kind.name, kind.count, kind.ms) == ('convolution', 2, 8)
    assert kind.roofline == pytest.approx(.5)
    assert kind.reorder_ms == pytest.approx(2)
    for other in ('bf16', 's32'):
        strange = primitive('convolution', sizes, other, other)
        assert Layer('conv2d', 1, (), (strange, )).ideal_ms(MACHINE) is None


def test_rates_of_this_machine():
    found = machines.measure(1)
    assert found.fp32_gflops > 1 and found.int8_gflops > 1
    assert found.gbytes_per_s > 0.1
    better = found.faster(
        dataclasses.replace(found,
                            fp32_gflops=2 * found.fp32_gflops,
                            gbytes_per_s=0.0))
    assert better == dataclasses.replace(found,
                                         fp32_gflops=2 * found.fp32_gflops)


@pytest.mark.parametrize('operator_type, kind', [
    ('conv2d', 'convolution'),
    ('fused_conv2d', 'convolution'),
    ('depthwise_conv2d', 'depthwise convolution'),
    ('fc', 'linear'),
    ('fused_matmul', 'matmul'),
    ('matmul_v2', 'matmul'),
    ('fused_elementwise_add', 'elementwise'),
    ('reduce_mean', 'reduction'),
    ('hard_swish', 'activation'),
    ('dequantize_linear', 'quantize'),
    ('quantize', 'quantize'),
    ('transpose2', 'transpose'),
    ('multiclass_nms3', 'nms'),
    ('grid_sampler', 'grid_sample'),
    ('pool2d', 'pool2d'),
])
def test_kinds(operator_type, kind):
    assert layers.kind_of(operator_type) == kind


def test_counterparts():
    first, second = recorded('fp32').layers, recorded('int8').layers
    found = layers.counterparts(first, second)
    assert {
        second[i].name: x.name
        for i, x in found.items() if second[i].name != x.name
    } == {}
    assert {second[i].type
            for i in set(range(len(second))) - set(found)
            } == {'quantize', 'scale'}
    # A pass renamed a convolution's output: its place tells.
    at = [x.name for x in second].index('relu_2.tmp_0')
    renamed = list(second)
    renamed[at] = dataclasses.replace(second[at],
                                      outputs=(('dequantize/in/0',
                                                second[at].shape), ))
    assert layers.counterparts(first, renamed)[at].name == 'relu_2.tmp_0'
    # One more of the kind: only names can tell, and this one is new.
    longer = renamed + [dataclasses.replace(second[at], outputs=(('y', ()), ))]
    assert at not in layers.counterparts(first, longer)


# Causes.


def test_causes_of_the_recorded_runs():
    """What is in each of them, and nothing that is not."""
    always = {'reference', 'naive_attention', 'layouts'}
    assert names(recorded('fp32')) == always
    assert names(recorded('int8')) == always | {'conversions'}
    assert names(recorded('conv2d')) == always | {'left_in_float'}
    assert names(
        recorded('simulated')) == {'pairs_not_fused', 'naive_attention'}


def only(finder, profile):
    found = finder(profile)
    assert found is not None
    assert found.model == profile.label and found.name == finder.__name__
    return found


def test_conv2d_alone():
    cause = only(causes.left_in_float, recorded('conv2d'))
    assert '4 convolutions, 3 ran in int8; the set is [conv2d]' in \
        cause.evidence
    assert 'relu_0.tmp_0' in cause.evidence
    assert 'relu_1.tmp_0' not in cause.evidence  # depthwise, never quantized
    assert cause.edit == 'Deploy.cpu.int8_ops: [conv2d, fused_conv2d]'


def test_quantized_but_not_deployed():
    profile = recorded('int8')
    assert causes.quantized_not_deployed(profile) is None
    more = recorded('int8', quantized={'conv2d': 5, 'matmul_v2': 1})
    cause = only(causes.quantized_not_deployed, more)
    assert '1 of 5 convolutions and 1 of 1 linear layers' in cause.evidence
    assert 'int8_ops: [conv2d, fc, fused_conv2d]' in cause.edit
    assert causes.left_in_float(more) is None


def test_deployed_but_not_quantized():
    assert causes.deployed_not_quantized(recorded('int8')) is None
    cause = only(causes.deployed_not_quantized,
                 recorded('int8', quantized={'conv2d': 3}))
    assert '3 convolutions, 4 ran in int8' in cause.evidence


def test_pairs_that_are_not_fused():
    cause = only(causes.pairs_not_fused, recorded('simulated'))
    assert '--precision int8' in cause.edit
    assert 0 < cause.ms < recorded('simulated').operators_ms


def test_reference_code():
    cause = only(causes.reference, recorded('fp32'))
    assert cause.words.endswith('reduction')
    assert 'mean_0.tmp_0' in cause.evidence
    # The recorded program was made without any rewrite.
    assert cause.edit == '--no_rewrite: leave it out, for mean_to_pooling'
    cause = only(causes.reference,
                 recorded('fp32', rewrites={'mean_to_pooling': 0}))
    assert 'global average pooling' in cause.edit


def test_naive_attention():
    cause = only(causes.naive_attention, recorded('fp32'))
    assert '1 grid_sampler' in cause.evidence


def test_reorders():
    cause = only(causes.conversions, recorded('int8'))
    assert '4 reorders' in cause.evidence
    # Around what is Paddle's own code, and what is nothing else.
    cause = only(causes.layouts, recorded('fp32'))
    assert 'fused_conv2d' in cause.evidence
    assert 'transpose2' in cause.evidence
    few = dataclasses.replace(recorded('fp32'),
                              layers=recorded('fp32').layers[:6])
    assert causes.layouts(few) is None and causes.conversions(few) is None


@pytest.mark.parametrize('count, kept, ms, flooded', [
    (1001, 100, 1.0, True),
    (1000, 100, 1.0, False),
    (1001, -1, 1.0, True),
    (900, -1, 1.0, False),
    (1001, 100, 0.001, False),
])
def test_nms(count, kept, ms, flooded):
    profile = with_layers(recorded('fp32'),
                          Layer('multiclass_nms3', ms, (), ()),
                          candidates=profiled.Candidates(count, 0.01, kept))
    assert (causes.nms_flooded(profile) is not None) == flooded
    assert causes.nms_flooded(dataclasses.replace(profile,
                                                  candidates=None)) is None


def test_threads_and_others():
    assert causes.oversubscribed(recorded('fp32', threads=2)) is None
    cause = only(causes.oversubscribed, recorded('fp32', threads=3))
    assert cause.edit == '--cpu_threads 2'
    profile = recorded('fp32')
    assert causes.machine_busy(profile) is None
    busy = dataclasses.replace(profile.timing, cpu_ms=.5, plain_ms=1.)
    assert only(causes.machine_busy, dataclasses.replace(profile,
                                                         timing=busy)).ms == .5


def test_no_vnni():
    """int8 as an AVX2 machine without VNNI ran it, see test_onednn.py."""
    assert causes.no_vnni(recorded('int8')) is None
    lines = onednn.last_run(data('onednn_int8.log').splitlines())
    found = tuple(
        Layer('fused_conv2d', p.milliseconds, ((str(i), (1, )), ), (p, ))
        for i, p in enumerate(onednn.parse(lines)))
    cause = only(causes.no_vnni,
                 dataclasses.replace(recorded('int8'), layers=found))
    assert 'jit_uni_int8:avx2' in cause.evidence


def test_int8_that_does_not_pay():
    one, other = recorded('fp32'), recorded('int8')
    # Of a network so small that it does not pay.
    assert other.timing.cpu_ms > one.timing.cpu_ms
    found = causes.find([one, other])
    assert 'slower_than_reference' in {c.name for c in found}
    assert [c.ms for c in found] == sorted((c.ms for c in found), reverse=True)
    assert causes.slower_than_reference(other, one) is None


def test_layers_that_int8_makes_slower():
    one, other = recorded('fp32'), recorded('int8')

    def changed(profile, factor):
        return dataclasses.replace(
            profile,
            layers=tuple(
                dataclasses.
                replace(layer, ms=factor, weight='w of ' +
                        layer.name) if layer.name in ('relu_1.tmp_0',
                                                      'relu_2.tmp_0') else layer
                for layer in profile.layers))

    cause = causes.slower_in_int8(changed(one, 1.), changed(other, 1.3))
    # The first of them is depthwise, in fp32 in both.
    assert cause.ms == pytest.approx(.3)
    assert 'relu_2.tmp_0 1.30 instead of 1.00 ms' in cause.evidence
    assert cause.edit == 'QuantAware.float_weights: [w of relu_2.tmp_0]'
    found = causes.slower_in_int8(changed(one, 1.), changed(other, 1.1))
    assert found is None or 'relu_2.tmp_0' not in found.evidence


def test_weights_by_output(float_model):
    model = Model.load(ModelFiles(float_model))
    found = profiled.weights_by_output(model)
    first = next(op for op in model.ops if op.type == 'conv2d')
    weight, = first.input('Filter')
    assert found[first.output('Output')[0]] == weight
    assert found['hardswish_0.tmp_0'] == weight
    assert found[first.input('Input')[0]] == ''


# The record, the table, the picture.


def test_record(tmp_path):
    profiles = [recorded('fp32'), recorded('int8')]
    what = results.new_record('diagnose.py', ['diagnose.py', 'profile'])
    what.update(runtime.environment())
    made = record.make(what, profiles, MACHINE, causes.find(profiles))
    assert len(made['layers']) == sum(len(p.layers) for p in profiles)
    for model in made['models']:
        rows = [r for r in made['kinds'] if r['model'] == model['model']]
        assert sum(r['ms']
                   for r in rows) == pytest.approx(model['operators_ms'])
        assert sum(r['count'] for r in rows) == len(
            [r for r in made['layers'] if r['model'] == model['model']])
        assert model['operators_ms'] + model['between_ms'] + \
            model['disturbed_ms'] == pytest.approx(model['run_ms'])
    for broken in ({'models': []}, {'unknown': 1}, dict(made, layers=[{}])):
        with pytest.raises(UserError, match='^profile:'):
            results.check(broken, record.schema(), 'profile')
    path = str(tmp_path / 'new' / 'profile.png')
    chart.draw(path, profiles, MACHINE)
    with open(path, 'rb') as f:
        assert f.read(8) == b'\x89PNG\r\n\x1a\n'
    assert os.listdir(os.path.dirname(path)) == ['profile.png']
    with pytest.raises(UserError, match='cannot be written'):
        chart.draw(path + '/x.png', profiles, MACHINE)


def test_table():
    profiles = [recorded('fp32'), recorded('int8')]
    lines = tables.kinds(profiles, MACHINE).splitlines()
    rows = {line[:26].strip(): line.split() for line in lines}
    assert 'sum of operators' in rows and 'between operators' in rows
    columns = ['n', 'n', 'int8', 'reord.', 'ref', 'roof', '%']
    assert lines[0].split() == ['ms', 'a', 'run', 'fp32', *columns, 'int8'
                                ] + columns
    assert rows['depthwise convolution'][3] == rows['depthwise convolution'][
        -2] == '1'
    slowest = tables.slowest(profiles, MACHINE, 3).splitlines()
    assert len(slowest) == 5
    times = [x.ms for x in profiles[1].layers]
    assert '%.2f' % max(times) in slowest[2]
    text = tables.causes(causes.find(profiles))
    assert '1. ' in text and 'evidence: ' in text and 'edit: ' in text


# The whole.


@pytest.fixture(scope='module')
def profile_of_the_demo(int8_model, float_model, shapes, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp('profile'))
    done = run_script('diagnose.py', 'profile', '--config_path', YAML,
                      '--model_path', int8_model, '--compare', float_model,
                      '--cpu_threads', '1', '--runs', '8', '--output_dir',
                      directory, '-o', 'Reader.dataset_dir=' + shapes)
    assert done.returncode == 0, done.stderr
    with open(os.path.join(directory, run.RECORD), encoding='utf-8') as f:
        return directory, done.stdout, json.load(f)


def test_the_operators_are_the_model(profile_of_the_demo):
    """Their sum is within 5% of the model's time in the same runs."""
    _, _, found = profile_of_the_demo
    assert [m['model'] for m in found['models']] == ['fp32', 'int8']
    for model in found['models']:
        assert 0.95 <= model['operators_share'] <= 1


def test_profile_of_the_demo(profile_of_the_demo):
    directory, said, found = profile_of_the_demo
    results.check(found, record.schema(), 'profile')
    assert os.path.getsize(os.path.join(directory, run.PICTURE)) > 10000
    kinds = {(r['model'], r['kind']): r for r in found['kinds']}
    for model in ('fp32', 'int8'):
        assert kinds[model, 'convolution']['count'] == 65
        assert kinds[model, 'depthwise convolution']['count'] == 33
        assert kinds[model, 'depthwise convolution']['int8'] == 0
        assert kinds[model, 'nms']['count'] == 1
    assert kinds['fp32', 'convolution']['int8'] == 0
    assert kinds['int8', 'convolution']['int8'] == 65
    # FLOPs are the network's, whatever it computes in.
    assert kinds['fp32', 'convolution']['gflop'] == pytest.approx(
        kinds['int8', 'convolution']['gflop'])
    assert all(r['layer'] for r in found['layers'])
    assert found['models'][0]['nms_candidates'] > 0
    assert 'sum of operators' in said and 'left in' not in said
    assert not {'left_in_float', 'deployed_not_quantized', 'pairs_not_fused'
                } & {c['cause']
                     for c in found['causes']}


def test_it_finds_the_wrong_operator_set(settings, int8_model, tmp_path,
                                         capsys):
    wrong = settings.model_copy(deep=True)
    wrong.Deploy.cpu.int8_ops = ['conv2d']
    # Joined convolutions do not ask oneDNN's pass.
    options = run.Options(threads=1,
                          runs=2,
                          output_dir=str(tmp_path),
                          rewrites=())
    made = run.profile(wrong, int8_model, options, ['test'])
    said = capsys.readouterr().out
    assert "warning: " in said and "'fused_conv2d' is missing" in said
    weights = [
        r['weight'] for r in made['layers']
        if r['kind'] in ('convolution', 'depthwise convolution')
    ]
    assert len(weights) == 65 + 33
    cause, = (c for c in made['causes'] if c['cause'] == 'left_in_float')
    assert 'training quantized 65 convolutions' in cause['evidence']
    assert cause['edit'] == 'Deploy.cpu.int8_ops: [conv2d, fused_conv2d]'


@pytest.mark.parametrize('arguments, message', [
    ([], 'required: TASK'),
    (['profil'], "invalid choice: 'profil'"),
    (['profile', '--run', '3', '--batch', '0'], '--batch_size'),
    (['profile', '--runs', '0'], "'0' is not a whole number"),
    (['profile', '--model_dir', 'x'], "unrecognized arguments"),
    (['profile', '--model_path', 'nowhere'], "'nowhere' does not exist"),
    (['profile', '--config_path', YAML, '--model_path', 'nowhere'
      ], "'nowhere' does not exist"),
    ([
        'profile', '--config_path', YAML, '--compare', 'nowhere', '-o',
        'Global.nothing=1'
    ], 'nothing'),
    (['profile', '--config_path', YAML, '--output_json', '/proc/no/x'
      ], '--output_json'),
])
def test_bad_arguments(arguments, message, tmp_path):
    done = run_script('diagnose.py', *arguments, cwd=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and message in done.stderr
    assert done.stderr.count('\n') == 1
    assert os.listdir(tmp_path) == []


def test_bad_models(settings, float_model, int8_model, tmp_path):

    def profile(model, compare=None, **options):
        run.profile(settings, model,
                    run.Options(output_dir=str(tmp_path), **options), ['test'],
                    compare)

    with pytest.raises(UserError, match="'nowhere' does not exist"):
        profile(float_model, 'nowhere')
    with pytest.raises(UserError, match='holds no quantization'):
        profile(float_model, precision='int8')
    with pytest.raises(UserError, match='needs oneDNN'):
        profile(int8_model, precision='int8', use_mkldnn=False)
    with pytest.raises(UserError, match='the validation set has 24 images'):
        profile(float_model, batch_size=25)
    assert os.listdir(tmp_path) == []
    with pytest.raises(UserError, match='nothing_of_paddle'):
        broken = config.load(
            settings.path,
            {'Deploy': {
                'cpu': {
                    'int8_ops': ['nothing_of_paddle']
                }
            }})
        run.profile(broken, int8_model, run.Options(), ['test'])
