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
"""Rewrites that make a program faster: each finds its places, and the outputs
stay, on a trained model."""

import json
import os

import numpy as np
import pytest
from act import predictor, runtime
from act.config import CpuSection
from act.errors import UserError
from act.program import distribution, faster, nms, pooling, products
from act.program.model import Model, ModelFiles, static_mode
from conftest import PROJECT, run_script

# Places in demo/ppyoloe_plus_tiny.yml: an attention in each of four stages,
# three strides.
PLACES = {
    'mean_to_pooling': 4,
    'softmax_over_last_axis': 3,
    'select_boxes': 1,
    'join_layers': 83,
}


@pytest.fixture(scope='module')
def ppyoloe(sibling):
    return ModelFiles(sibling('ppyoloe_plus_tiny'))


@pytest.fixture(scope='module')
def feed(shapes):
    """One image of the demo's data, as the model takes it."""
    from act import config, data
    settings = config.load(
        os.path.join(PROJECT, 'demo', 'ppyoloe_plus_tiny_qat.yml'),
        {'Reader': {
            'dataset_dir': shapes
        }})
    reader = data.open_reader(settings.Reader)
    return reader.pipeline(reader.val().records[:2])


@pytest.fixture(scope='module')
def expected(ppyoloe, feed):
    """Of the plain program, in fp32."""
    plain, found = outputs(ppyoloe, feed, rewrites=())
    assert plain.files == ppyoloe and plain.rewrites == {}
    return found


def outputs(files, feed, **options):
    # By two threads: operators have parallel loops.
    made = predictor.plan(files, CpuSection(), threads=2, **options)
    one = predictor.Predictor(made)
    return made, one.run({name: feed[name] for name in one.inputs})


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_all_are_applied_and_outputs_stay(ppyoloe, feed, precision):
    if precision == 'bf16' and not set(predictor.BF16) & set(
            runtime.cpu_extensions()):
        precision = 'fp32'
    plain, expected = outputs(ppyoloe, feed, precision=precision, rewrites=())
    made, found = outputs(ppyoloe, feed, precision=precision)
    assert plain.files == ppyoloe and plain.rewrites == {}
    assert {n: c for n, c in made.rewrites.items() if c} == PLACES
    # The best: weak ones change places. Of fp32's rounding in sums; bf16 has 8
    # bits.
    best, wanted = (np.sort(values[0][:, 1])[-20:]
                    for values in (found, expected))
    np.testing.assert_allclose(best,
                               wanted,
                               atol=1e-4 if precision == 'fp32' else 2e-2)


@pytest.mark.parametrize('name', PLACES)
def test_one_alone(ppyoloe, feed, expected, name):
    made, found = outputs(ppyoloe, feed, rewrites=[name])
    assert made.rewrites == {name: PLACES[name]}
    for a, b in zip(found, expected):
        if name == 'select_boxes':  # bit by bit
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_the_plain_program_without_onednn(ppyoloe):
    made = predictor.plan(ppyoloe, CpuSection(), mkldnn=False)
    assert made.files == ppyoloe and not made.rewrites


def build(*lines):
    """A program of operators: (type, inputs, outputs, attributes)."""
    paddle = runtime.import_paddle()
    with static_mode(paddle):
        program = paddle.static.Program()
        block = program.global_block()
        scope = paddle.static.Scope()
        for kind, inputs, made, attrs in lines:
            for names in list(inputs.values()) + list(made.values()):
                for name, shape in names:
                    if not block.has_var(name):
                        block.create_var(name=name,
                                         shape=shape,
                                         dtype='float32',
                                         persistable=name.startswith('w'))
                        if name.startswith('w'):
                            scope.var(name).get_tensor().set(
                                np.ones(shape, np.float32), paddle.CPUPlace())
            block.append_op(type=kind,
                            inputs={
                                k: [n for n, _ in v]
                                for k, v in inputs.items()
                            },
                            outputs={
                                k: [n for n, _ in v]
                                for k, v in made.items()
                            },
                            attrs=attrs)
    return Model(program, scope)


@pytest.mark.parametrize('attrs, changed', [
    ({
        'dim': [2, 3],
        'keep_dim': True
    }, 1),
    ({
        'dim': [-1, -2],
        'keep_dim': True
    }, 1),
    ({
        'dim': [2, 3],
        'keep_dim': False
    }, 0),
    ({
        'dim': [1, 2],
        'keep_dim': True
    }, 0),
    ({
        'dim': [3],
        'keep_dim': True
    }, 0),
])
def test_means_that_are_pooling(attrs, changed):
    model = build(('reduce_mean', {
        'X': [('x', [1, 8, 4, 4])]
    }, {
        'Out': [('y', [1, 8, 1, 1])]
    }, attrs))
    assert pooling.mean_to_pooling(model) == changed
    assert [op.type
            for op in model.ops] == ['pool2d' if changed else 'reduce_mean']


@pytest.mark.parametrize('column, row, changed', [
    ([1, 9, 1], [16], 1),
    ([4, 1], [16], 1),
    ([1, 9, 16], [16], 0),
    ([1, 9, 1], [1], 0),
    ([1, 9, 1], [1, 16], 0),
    ([1], [16], 0),
])
def test_outer_products(column, row, changed):
    paddle = runtime.import_paddle()
    rng = np.random.default_rng(0)
    model = build(('elementwise_mul', {
        'X': [('x', column)],
        'Y': [('w', row)]
    }, {
        'Out': [('y', list(np.broadcast_shapes(column, row)))]
    }, {
        'axis': -1
    }))
    model.set_parameter('w', rng.normal(size=row).astype(np.float32))
    feed = {'x': rng.normal(size=column).astype(np.float32)}
    assert products.outer_to_matmul(model) == changed
    assert [op.type for op in model.ops
            ] == ['matmul_v2' if changed else 'elementwise_mul']
    with static_mode(paddle):
        found, = paddle.static.Executor(paddle.CPUPlace()).run(
            model.program, feed=feed, fetch_list=['y'], scope=model.scope)
    np.testing.assert_array_equal(
        found,
        feed['x'] * model.parameter([v.name for v in model.persistable()][0]))


def a_distribution(axis=1, stride=1, squeezed=1, reader=False):
    lines = [
        ('transpose2', {
            'X': [('x', [1, 4, 8, 16])]
        }, {
            'Out': [('t', [1, 8, 16, 4])],
            'XShape': [('s', [0, 1, 4, 8, 16])]
        }, {
            'axis': [0, 2, 3, 1]
        }),
        ('softmax', {
            'X': [('t', [1, 8, 16, 4])]
        }, {
            'Out': [('p', [1, 8, 16, 4])]
        }, {
            'axis': axis
        }),
        ('conv2d', {
            'Input': [('p', [1, 8, 16, 4])],
            'Filter': [('w', [1, 8, 1, 1])]
        }, {
            'Output': [('c', [1, 1, 16, 4])]
        }, {
            'strides': [stride, 1],
            'paddings': [0, 0],
            'groups': 1,
            'padding_algorithm': 'EXPLICIT'
        }),
        ('squeeze2', {
            'X': [('c', [1, 1, 16, 4])]
        }, {
            'Out': [('o', [1, 16, 4])],
            'XShape': [('u', [0, 1, 1, 16, 4])]
        }, {
            'axes': [squeezed]
        }),
    ]
    if reader:
        lines.append(('relu', {
            'X': [('p', [1, 8, 16, 4])]
        }, {
            'Out': [('r', [1, 8, 16, 4])]
        }, {}))
    return build(*lines)


@pytest.mark.parametrize('other, changed', [({}, 1), (dict(axis=-3), 1),
                                            (dict(axis=2), 0),
                                            (dict(stride=2), 0),
                                            (dict(squeezed=0), 0),
                                            (dict(reader=True), 0)])
def test_distributions(other, changed):
    model = a_distribution(**other)
    before = [op.type for op in model.ops]
    assert distribution.softmax_over_last_axis(model) == changed
    assert [op.type for op in model.ops
            ] == (['transpose2', 'softmax', 'matmul_v2'] if changed else before)


def nms_program(kind, boxes, scores, attributes):
    attributes = dict(attributes)
    if kind == 'multiclass_nms3':
        attributes['nms_eta'] = 1.0
    return build((kind, {
        'BBoxes': [('boxes', boxes)],
        'Scores': [('scores', scores)]
    }, {
        'Out': [('out', [-1, 6])],
        'Index': [('index', [-1, 1])],
        'NmsRoisNum': [('count', [-1])]
    }, attributes))


def nms_of(kind, boxes, scores, attributes):
    paddle = runtime.import_paddle()
    model = nms_program(kind, boxes.shape, scores.shape, attributes)
    block = model.program.global_block()
    for name in ('index', 'count'):
        block.var(name).desc.set_dtype(paddle.base.core.VarDesc.VarType.INT32)
    with static_mode(paddle):
        return [
            np.array(value) for value in paddle.static.Executor(
                paddle.CPUPlace()).run(model.program,
                                       feed={
                                           'boxes': boxes,
                                           'scores': scores
                                       },
                                       fetch_list=['out', 'index', 'count'],
                                       return_numpy=False)
        ]


def some_boxes(rng, images, count):
    corners = rng.uniform(0, 50, (images, count, 4))
    if rng.random() < 0.7:  # else some are inside out
        corners[...,
                2:] = corners[..., :2] + rng.uniform(0, 30, (images, count, 2))
    if rng.random() < 0.2:  # some are alike
        corners = np.round(corners, -1)
    if rng.random() < 0.2:
        corners.flat[rng.integers(corners.size)] = rng.choice([np.nan, np.inf])
    return corners.astype(np.float32)


def test_nms_is_that_of_paddle_bit_by_bit():
    from ops import build as operators
    operators.load('multiclass_nms')
    empty = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        images, classes = rng.integers(1, 4), rng.integers(1, 8)
        count = int(rng.choice([1, 2, 5, 17, 100, 333]))
        boxes = some_boxes(rng, images, count)
        scores = rng.uniform(0, 1, (images, classes, count))
        if rng.random() < 0.3:  # equal ones
            scores = np.round(scores, 1)
        if rng.random() < 0.2:
            scores.flat[rng.integers(scores.size)] = np.nan
        scores = scores.astype(np.float32) * (rng.random() > 0.1)
        attributes = {
            'background_label': int(rng.choice([-1, 0, 2])),
            'score_threshold': float(rng.choice([-1, 0, 0.05, 0.5])),
            'nms_top_k': int(rng.choice([-1, 1, 10, 1000])),
            'nms_threshold': float(rng.choice([0.3, 0.6, 1.0])),
            'keep_top_k': int(rng.choice([-1, 1, 20, 100])),
            'normalized': bool(rng.integers(2)),
        }
        expected, found = (nms_of(kind, boxes, scores, attributes)
                           for kind in ('multiclass_nms3',
                                        'multiclass_nms_fast'))
        empty += not len(expected[0])
        for a, b in zip(found, expected):
            assert a.dtype == b.dtype and a.shape == b.shape, seed
            np.testing.assert_array_equal(a, b, str(seed))
    assert 3 < empty < 40


NMS = {
    'background_label': -1,
    'score_threshold': 0.05,
    'nms_top_k': 100,
    'nms_threshold': 0.6,
    'keep_top_k': 100,
    'normalized': True
}


@pytest.mark.parametrize('boxes, scores, eta, changed', [
    ([1, 9, 4], [1, 3, 9], 1.0, 1),
    ([1, 9, 4], [1, 3, 9], 0.9, 0),
    ([1, 9, 8], [1, 3, 9], 1.0, 0),
    ([9, 3, 4], [9, 3], 1.0, 0),
])
def test_nms_that_is_left(boxes, scores, eta, changed):
    from ops import build as operators
    operators.load('multiclass_nms')
    model = nms_program('multiclass_nms3', boxes, scores, NMS)
    model.ops[0]._set_attr('nms_eta', eta)
    assert nms.select_boxes(model) == changed


def test_no_compiler_costs_one_line_and_no_result(ppyoloe, feed, tmp_path,
                                                  shapes):
    """In a process of its own: here the operator is registered already."""
    output = tmp_path / 'record.json'
    done = run_script('paddle_inference_eval.py',
                      '--config_path',
                      'demo/ppyoloe_plus_tiny_qat.yml',
                      '--model_path',
                      ppyoloe.directory,
                      '--num_images',
                      '2',
                      '--output_dir',
                      str(tmp_path / 'out'),
                      '--output_json',
                      str(output),
                      '-o',
                      'Reader.dataset_dir=' + shapes,
                      env={
                          **os.environ, 'PATH': '',
                          'XDG_CACHE_HOME': str(tmp_path / 'cache')
                      })
    assert done.returncode == 0, done.stderr
    warnings = [x for x in done.stderr.splitlines() if 'warning:' in x]
    assert len(warnings) == 1
    for part in ('left out', 'select_boxes (without it NMS takes about ten',
                 'join_layers (without it', 'apt-get install g++'):
        assert part in warnings[0]
    assert json.loads(output.read_text())['rewrites'] == {
        **dict.fromkeys(faster.ALL, 0),
        **PLACES, 'select_boxes': 0,
        'join_layers': 0
    }


def test_what_no_rewrite_leaves():
    assert faster.chosen(None) == faster.ALL
    assert faster.chosen([]) == ()
    assert faster.chosen(['select_boxes']) == tuple(name for name in faster.ALL
                                                    if name != 'select_boxes')
    with pytest.raises(UserError, match="'select_box'.*select_boxes"):
        faster.chosen(['select_box'])


def test_copies_of_other_rewrites_are_other_copies(ppyoloe):
    plans = [
        predictor.plan(ppyoloe, CpuSection(), rewrites=names)
        for names in (faster.ALL, faster.ALL[:1], ())
    ]
    assert len({p.files.directory for p in plans}) == 3
    ops = [{op.type for op in Model.load(p.files).ops} for p in plans]
    assert 'multiclass_nms_fast' in ops[0]
    assert 'multiclass_nms3' in ops[1] and 'reduce_mean' not in ops[1]
    assert 'reduce_mean' in ops[2]
