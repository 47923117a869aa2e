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
"""Deformable attention by one operator: found in trained models, float and
quantized, whose outputs stay; the operator against Paddle's own ones."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from act import config, data, predictor, runtime
from act.compress import job
from act.config import CpuSection
from act.program import attention
from act.program.attention import deformable_attention
from act.program.fold import fold
from act.program.model import Model, ModelFiles, static_mode
from conftest import PROJECT, ROOT

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))

from export_equality import match  # noqa: E402

runtime.import_ppdet()

import paddle  # noqa: E402
from backport.rtdetr_transformer import deformable_sample  # noqa: E402
from ops import build  # noqa: E402

NAMES = ('rtdetr_tiny', 'dino_tiny')
# Between the plain program and the other: of rounding. The largest seen on the
# trained models are 1.4e-4 pixels and 1.1e-6.
PIXELS, SCORE = 1e-3, 1e-5
NAME = 'deformable_attention'


@pytest.fixture(scope='module', autouse=True)
def operator():
    build.load(attention.OPERATOR)


def attentions(name):
    """Layers with deformable attention that the configuration asks for."""
    with open(os.path.join(PROJECT, 'demo', name + '.yml')) as f:
        text = re.sub(r'!\w+', '', f.read())
    networks = yaml.safe_load(text)
    layers = networks.get('DINOTransformer') or networks['RTDETRTransformer']
    return layers.get('num_encoder_layers', 0) + layers['num_decoder_layers']


def settings(name, shapes, **more):
    return config.load(os.path.join(PROJECT, 'demo', name + '_qat.yml'),
                       dict(more, Reader={'dataset_dir': shapes}))


def feed(name, shapes, count):
    reader = data.open_reader(settings(name, shapes).Reader)
    return reader.pipeline(reader.val().records[:count])


def detections(files, options, inputs, rewrites, precision='auto'):
    """(plan, boxes of each image)."""
    made = predictor.plan(files,
                          options,
                          precision=precision,
                          threads=1,
                          rewrites=rewrites)
    one = predictor.Predictor(made)
    boxes, counts = one.run({name: inputs[name] for name in one.inputs})
    return made, np.split(boxes, np.cumsum(counts)[:-1])


def assert_similar(found, wanted):
    """What the model is sure of is found again: a rounding error may change an
    int8 or bf16 value."""
    for ours, theirs in zip(found, wanted):
        theirs = theirs[theirs[:, 1] > 0.4]
        assert len(theirs) > 0
        for row in theirs:
            same = (ours[:, 0] == row[0]) & \
                (np.abs(ours[:, 1] - row[1]) < 0.05) & \
                (np.abs(ours[:, 2:] - row[2:]).max(1) < 5)
            assert same.any(), row


def run(model, inputs):
    with static_mode(paddle):
        return paddle.static.Executor(paddle.CPUPlace()).run(
            model.program,
            feed=inputs,
            fetch_list=model.outputs(),
            scope=model.scope)


@pytest.mark.parametrize('name', NAMES)
def test_trained_models(name, sibling, shapes):
    """With oneDNN, memory optimization and all IR passes, two images."""
    files, inputs = ModelFiles(sibling(name)), feed(name, shapes, 2)
    options = CpuSection()
    _, wanted = detections(files, options, inputs, ())
    made, found = detections(files, options, inputs, [NAME])
    assert made.rewrites == {NAME: attentions(name)}
    for ours, theirs in zip(found, wanted):
        compared = match(ours, theirs, SCORE, PIXELS)
        assert compared['boxes'] > 0 and compared['unmatched'] == 0
    assert 'grid_sampler' not in {op.type for op in Model.load(made.files).ops}


def test_folded_for_one_size(sibling, shapes):
    inputs = feed('dino_tiny', shapes, 1)
    model = Model.load(ModelFiles(sibling('dino_tiny')))
    fold(model, {name: inputs[name].shape for name in model.inputs()})
    inputs = {name: inputs[name] for name in model.inputs()}
    wanted = run(model, inputs)[0]
    assert deformable_attention(model) == attentions('dino_tiny')
    for op in model.ops:
        if op.type == attention.OPERATOR:
            assert op.attr('shapes') == [24, 24, 12, 12, 6, 6, 3, 3]
    compared = match(run(model, inputs)[0], wanted, SCORE, PIXELS)
    assert compared['boxes'] == 60 and compared['unmatched'] == 0


def test_bf16(sibling, shapes):
    """Linear layers hand on bf16 and the operator takes fp32."""
    has = set(predictor.BF16) & set(runtime.cpu_extensions())
    files, inputs = ModelFiles(sibling(NAMES[0])), feed(NAMES[0], shapes, 1)
    options, precision = CpuSection(), 'bf16' if has else 'fp32'
    assert 'fc' in options.bf16_ops
    _, wanted = detections(files, options, inputs, (), precision)
    made, found = detections(files, options, inputs, [NAME], precision)
    assert made.precision == precision
    assert made.rewrites == {NAME: attentions(NAMES[0])}
    assert_similar(found, wanted)


@pytest.mark.parametrize('name', NAMES)
def test_quantized_models(name, sibling, shapes, tmp_path, capsys):
    """Convolutions and linear layers in int8."""
    done = settings(name,
                    shapes,
                    Preset='linear_too',
                    Global={'model_dir': sibling(name)},
                    Quantization={
                        'algo': 'avg',
                        'calibration_images': 2,
                        'weight_rounding': 'nearest'
                    })
    job.compress(done, str(tmp_path / 'int8'), ['test'])
    files, inputs = ModelFiles(str(tmp_path / 'int8')), feed(name, shapes, 2)
    options = done.Deploy.cpu
    assert deformable_attention(Model.load(files)) == 0  # observers in between
    _, wanted = detections(files, options, inputs, ())
    made, found = detections(files, options, inputs, [NAME])
    assert made.precision == 'int8'
    assert made.rewrites == {NAME: attentions(name)}
    assert_similar(found, wanted)


# Sizes of maps, odd ones; the places are those of the first levels.
SIDES = [(7, 5), (1, 1), (4, 3), (1, 6), (5, 1)]
BATCH, QUERIES, HEADS, CHANNELS, POINTS = 2, 9, 3, 5, 2


def inputs_of(form, levels, channels=CHANNELS):
    """Arrays for `network`: a third of the offsets lie outside."""
    draw = np.random.RandomState(levels)
    places = sum(h * w for h, w in SIDES[:levels])
    count = HEADS * levels * POINTS
    made = {
        'value': draw.randn(BATCH, places, HEADS * channels),
        'offsets': draw.randn(BATCH, QUERIES, count * 2),
        'logits': 3 * draw.randn(BATCH, QUERIES, count),
    }
    if form == 'points':
        made['reference'] = draw.uniform(-.2, 1.2, (BATCH, QUERIES, levels, 2))
        made['offsets'] *= 3
    elif form == 'boxes':
        made['reference'] = draw.uniform(.1, .9, (BATCH, QUERIES, 1, 4))
    else:
        made['offsets'] = draw.uniform(-.5, 1.5, made['offsets'].shape)
        edges = draw.choice([-1e9, -1, 0, .5, 1, 2, 1e9], (QUERIES, count * 2))
        made['offsets'][1] = edges
    return {name: array.astype(np.float32) for name, array in made.items()}


def network(form, levels, sizes=None):
    """A program of Paddle's operators, as ppdet's attention is exported.

    Args:
        form: 'points' or 'boxes' around which samples lie, or 'given': the
            offsets are locations and the logits weights.
        levels: number of maps.
        sizes: (width, height) that offsets are divided by, if not the maps'.
    """
    sides = SIDES[:levels]
    static = paddle.static
    scope, startup, program = static.Scope(), static.Program(), static.Program()
    with static_mode(paddle), static.program_guard(program, startup), \
            paddle.utils.unique_name.guard():
        arrays = inputs_of(form, levels)
        given = {
            name: static.data(name, array.shape, 'float32')
            for name, array in arrays.items()
        }
        count = [BATCH, QUERIES, HEADS, levels, POINTS]
        value = given['value'].reshape([BATCH, -1, HEADS, CHANNELS])
        offsets = given['offsets'].reshape(count + [2])
        weights = given['logits'].reshape(count)
        if form != 'given':
            soft = paddle.nn.functional.softmax(given['logits'].reshape(
                [BATCH, QUERIES, HEADS, levels * POINTS]))
            weights = soft.reshape(count)
        if form == 'points':
            sizes = np.array(sizes or [s[::-1] for s in sides], np.float32)
            divisor = static.create_parameter(
                [1, 1, 1, levels, 1, 2],
                'float32',
                name='sizes',
                default_initializer=paddle.nn.initializer.Assign(
                    sizes.reshape([1, 1, 1, levels, 1, 2])))
            locations = given['reference'].reshape(
                [BATCH, QUERIES, 1, levels, 1, 2]) + offsets / divisor
        elif form == 'boxes':
            box = given['reference']
            locations = box[:, :, None, :, None, :2] + \
                offsets / POINTS * box[:, :, None, :, None, 2:] * 0.5
        else:
            locations = offsets
        result = deformable_sample(value, sides, None, locations, weights)
        program = static.normalize_program(program, list(given.values()),
                                           [result])
        with static.scope_guard(scope):
            static.Executor(paddle.CPUPlace()).run(startup)
    return Model(program, scope)


def fused(model):
    """What the one operator of a program does: (softmax, slots)."""
    op, = [op for op in model.ops if op.type == attention.OPERATOR]
    return op.attr('softmax'), sorted(
        s.split('@')[0] for s in op.input_names if op.input(s))


def close(found, wanted):
    """Within rounding of sums of values around 1."""
    np.testing.assert_allclose(found, wanted, atol=2e-5)


ALL_SLOTS = ['Offsets', 'Reference', 'Value', 'Weights']


@pytest.mark.parametrize('levels', range(1, 6))
@pytest.mark.parametrize('form', ['points', 'boxes', 'given'])
def test_against_paddles_operators(form, levels):
    model, arrays = network(form, levels), inputs_of(form, levels)
    wanted, = run(model, arrays)
    assert deformable_attention(model) == 1
    assert fused(model) == ((True, ALL_SLOTS) if form != 'given' else
                            (False, ['Offsets', 'Value', 'Weights']))
    left = {op.type
            for op in model.ops} - {'feed', 'fetch', 'scale', 'reshape2'}
    assert left == {attention.OPERATOR}
    found, = run(model, arrays)
    close(found, wanted)
    assert deformable_attention(model) == 0


def test_what_is_no_place_is_outside():
    model, arrays = network('given', 2), inputs_of('given', 2)
    odd = arrays['offsets'].reshape(-1)[::3]
    odd[:] = 1e9
    wanted, = run(model, arrays)
    deformable_attention(model)
    odd[:] = np.resize([np.nan, np.inf, -np.inf], odd.shape)
    found, = run(model, arrays)
    close(found, wanted)


def operators(model, kind):
    return [op for op in model.ops if op.type == kind]


def change(kind, index=0, **attributes):
    """An edit that changes attributes of one operator."""

    def edit(model):
        for name, value in attributes.items():
            operators(model, kind)[index]._set_attr(name, value)

    return edit


def write_again(model):
    """What the operator would read last is not what was read first."""
    block = model.program.global_block()
    value = operators(model, 'reshape2')[0].input('X')[0]
    with static_mode(paddle):
        block._insert_op(block.ops.index(operators(model, 'reduce_sum')[0]),
                         type='scale',
                         inputs={'X': [value]},
                         outputs={'Out': [value]},
                         attrs={'scale': 2.0})


def in_double(model):
    block = model.program.global_block()
    block.var('value').desc.set_dtype(paddle.float64)


def swap_maps(model):
    block = model.program.global_block()
    stack, = operators(model, 'stack')
    stack.desc.set_input('X', stack.input('X')[::-1])
    block._sync_with_cpp()


@pytest.mark.parametrize('edit', [
    change('grid_sampler', 1, align_corners=True),
    change('grid_sampler', 0, mode='nearest'),
    change('grid_sampler', 1, padding_mode='border'),
    change('transpose2', -1, axis=[0, 1, 2]),
    change('transpose2', 0, axis=[0, 1, 2]),
    change('stack', axis=3 - 1),
    change('split', axis=2),
    change('reduce_sum', keep_dim=True),
    change('reduce_sum', dim=[2]),
    change('elementwise_mul', -1, axis=0),
    change('slice', -1, starts=[0], ends=[1]),
    change('scale', 3, bias=-1.5),
    change('scale', 2, scale=3.0),
    write_again,
    in_double,
    swap_maps,
])
def test_another_program_is_left_as_it_is(edit):
    model = network('boxes', 2)
    edit(model)
    before = [(op.type, op.input_arg_names, op.output_arg_names)
              for op in model.ops]
    assert deformable_attention(model) == 0
    assert before == [(op.type, op.input_arg_names, op.output_arg_names)
                      for op in model.ops]


@pytest.mark.parametrize('form, edit, wanted', [
    ('points', change('softmax', axis=1), (False, ALL_SLOTS)),
    ('boxes', change('scale', 0, scale=0.75),
     (True, ['Offsets', 'Value', 'Weights'])),
    ('boxes', change('slice', 0, starts=[1], ends=[3]),
     (True, ['Offsets', 'Value', 'Weights'])),
])
def test_what_differs_around_it_stays(form, edit, wanted):
    model, arrays = network(form, 3), inputs_of(form, 3)
    edit(model)
    before, = run(model, arrays)
    assert deformable_attention(model) == 1
    assert fused(model) == wanted
    close(run(model, arrays)[0], before)


def test_offsets_in_other_units_stay():
    arrays = inputs_of('points', 2)
    model = network('points', 2, sizes=[(5, 7), (2, 2)])
    before, = run(model, arrays)
    assert deformable_attention(model) == 1
    assert fused(model) == (True, ['Offsets', 'Value', 'Weights'])
    close(run(model, arrays)[0], before)


def test_names_may_be_written_more_than_once():
    """One name for the planes of all maps, and one for all grids."""
    model, arrays = network('boxes', 3), inputs_of('boxes', 3)
    wanted, = run(network('boxes', 3), arrays)
    block = model.program.global_block()
    for sampler in operators(model, 'grid_sampler'):
        for slot in ('X', 'Grid'):
            old = sampler.input(slot)[0]
            for op in block.ops:
                op._rename_output(old, 'shared.' + slot)
            sampler._rename_input(old, 'shared.' + slot)
            if not block.has_var('shared.' + slot):
                block.create_var(name='shared.' + slot,
                                 shape=block.var(old).shape,
                                 dtype='float32')
    block._sync_with_cpp()
    assert deformable_attention(model) == 1
    close(run(model, arrays)[0], wanted)


def test_nothing_to_do():
    """No queries, no images: no crash, and no output either."""
    model = network('given', 2)
    deformable_attention(model)
    arrays = inputs_of('given', 2)
    block = model.program.global_block()
    for name in arrays:
        block.var(name).desc.set_shape([-1] * arrays[name].ndim)
    for empty in (slice(0), (slice(None), slice(0))):
        few = {
            name:
            array[empty] if name != 'value' else
            array[empty if empty == slice(0) else slice(None)]
            for name, array in arrays.items()
        }
        run(model, few)
    close(run(model, arrays)[0], run(network('given', 2), arrays)[0])


@pytest.mark.parametrize('attributes, said', [
    ({
        'shapes': [7, 5]
    }, 'the maps have 35 places'),
    ({
        'shapes': [9, 4, 1, 1]
    }, 'has more places'),
    ({
        'shapes': [7, 5, 0, 1]
    }, 'is empty'),
    ({
        'shapes': []
    }, 'there are no maps'),
    ({
        'points': 3
    }, 'has another size'),
    ({
        'heads': 2
    }, 'has another size'),
    ({
        'heads': 0
    }, 'must be above 0'),
])
def test_wrong_sizes(attributes, said):
    model = network('boxes', 2)
    deformable_attention(model)
    change(attention.OPERATOR, **attributes)(model)
    with pytest.raises(Exception, match=said):
        run(model, inputs_of('boxes', 2))


@pytest.mark.parametrize(
    'name', ['deformable_attention', 'deformable_sample', 'depthwise_conv2d'])
def test_a_library_runs_on_any_cpu(name):
    """Registers of AVX and AVX-512 are named only in kernels compiled for
    them, which are called where the CPU has them."""
    library = build.build(os.path.join(PROJECT, 'ops', name + '.cc'))
    listing = subprocess.run(['objdump', '-dC', library],
                             stdout=subprocess.PIPE,
                             universal_newlines=True,
                             check=True).stdout
    users = set()
    function = ''
    for line in listing.splitlines():
        if line.endswith('>:'):
            function = line
        elif '%ymm' in line or '%zmm' in line:
            users.add(re.sub(r'.*(avx2|avx512|baseline)::.*', r'\1', function))
    assert users == {'avx2', 'avx512'}


RUN_ALONE = '''
import os, sys
sys.path[:0] = %r
from act import predictor, runtime
from act.config import CpuSection
from act.program.model import ModelFiles
import numpy as np
plan = predictor.Plan(ModelFiles(%r), 'fp32', False, %d, (), (), {}, None,
                      rewrites={'deformable_attention': 1})
one = predictor.Predictor(plan)
arrays = dict(np.load(%r))
for _ in range(2):
    one.run(arrays)
print(len(os.listdir('/proc/self/task')))
'''


def test_threads_are_those_of_the_predictor(tmp_path):
    model = network('points', 3, sizes=[(2, 2)] * 3)  # a parameter to save
    deformable_attention(model)
    model.save(ModelFiles(str(tmp_path / 'model')))
    np.savez(str(tmp_path / 'arrays.npz'), **inputs_of('points', 3))
    counts = []
    for threads in (1, 2):
        code = RUN_ALONE % ([PROJECT], str(
            tmp_path / 'model'), threads, str(tmp_path / 'arrays.npz'))
        done = subprocess.run([sys.executable, '-c', code],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              universal_newlines=True)
        assert done.returncode == 0, done.stderr
        counts.append(int(done.stdout.split()[-1]))
    assert counts[1] == counts[0] + 1


WITHOUT_COMPILER = '''
import sys
sys.path[:0] = %r
from act import predictor
from act.config import CpuSection
from act.program.model import ModelFiles
plan = predictor.plan(ModelFiles(%r), CpuSection(), threads=1)
print(plan.rewrites.get('deformable_attention', 0))
predictor.Predictor(plan)
'''


def test_without_a_compiler_the_plain_program_runs(sibling, tmp_path):
    code = WITHOUT_COMPILER % ([PROJECT], sibling('rtdetr_tiny'))
    done = subprocess.run([sys.executable, '-c', code],
                          env=dict(os.environ,
                                   PATH=str(tmp_path),
                                   XDG_CACHE_HOME=str(tmp_path)),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == '0'
    said, = [
        line for line in done.stderr.splitlines()
        if "deformable_attention (without it" in line
    ]
    assert 'times as long' in said and 'apt-get install g++' in said
