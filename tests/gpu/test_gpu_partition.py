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
"""Partitions of the demo's models, made for real: Paddle's GPU build analyses
them beside a pretended GPU, see benchmarks/trt_partition."""

import os
import sys

import pytest
from act import config
from act.optimized import optimized
from act.program import tensorrt
from act.program.model import Model, ModelFiles
from act.shapes import collect
from conftest import PROJECT, ROOT, YAML

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))

from trt_partition import analysis  # noqa: E402

DINO = os.path.join(PROJECT, 'demo', 'dino_tiny_qat.yml')


@pytest.fixture(scope='module')
def analyse(shapes, tmp_path_factory):
    """Analyses a model directory, as a configuration says and more words of a
    Request; gives the outcome."""
    made = analysis.Analysis(sys.executable)
    place = tmp_path_factory.mktemp('partition')

    def run(directory, path=YAML, timeout=300, options=None, **words):
        overrides = {
            'Reader': {
                'dataset_dir': shapes
            },
            'Deploy': {
                'tensorrt': options or {}
            }
        }
        if words.get('dynamic_shape') is not False:
            files = ModelFiles(directory)
            runs = tensorrt.prepared(files).files \
                if words.get('prepare', True) else files
            words['range_file'] = str(place / (runs.digest() + '.txt'))
            collect.ensure(config.load(path, overrides),
                           files,
                           path=words['range_file'],
                           prepared=runs)
        return made.run(
            analysis.Request(directory, path, overrides=overrides, **words),
            timeout)

    return run


def test_dynamic_shapes_keep_picodet_whole(analyse, float_model):
    found = analyse(float_model)
    assert found.status == analysis.CREATED, found.reason
    assert found.partition.refused == {'multiclass_nms3': 1}
    assert len(found.partition.engines) == 1
    assert found.partition.inside['matrix_multiply'] == 4
    may = optimized(Model.load(ModelFiles(float_model)), True).types
    assert set(found.partition.inside) <= may


def test_fixed_shapes_do_not(analyse, float_model):
    found = analyse(float_model, dynamic_shape=False)
    assert found.status == analysis.CREATED, found.reason
    assert found.partition.refused['matmul_v2'] == 4
    assert len(found.partition.engines) == 2
    may = optimized(Model.load(ModelFiles(float_model)), False).types
    assert set(found.partition.inside) | set(found.partition.refused) <= may


def test_int8_has_the_engine_of_float(analyse, int8_model):
    found = analyse(int8_model, precision='int8')
    assert found.status == analysis.CREATED, found.reason
    assert len(found.partition.engines) == 1
    assert found.partition.refused == {'multiclass_nms3': 1}


def test_disabled_operators_stay_out(analyse, float_model):
    found = analyse(float_model,
                    options={'disabled_ops': ['pool2d', 'matrix_multiply']})
    assert found.partition.disabled['pool2d'] == 6
    # Outside, later passes go on: its type may be another by then.
    assert sum(found.partition.disabled.values()) == 10
    assert len(found.partition.engines) > 2


def test_a_name_without_effect_is_refused(analyse, float_model):
    found = analyse(float_model, options={'disabled_ops': ['matmul_v2']})
    assert found.status == analysis.REFUSED
    assert "name 'matrix_multiply'" in found.reason


def test_the_rewrites_keep_dino_whole(analyse, sibling):
    directory = sibling('dino_tiny')
    found = analyse(directory, DINO)
    assert found.status == analysis.CREATED, found.reason
    assert len(found.partition.engines) == 1
    assert not found.partition.refused
    before = analyse(directory, DINO, prepare=False)
    assert set(before.partition.refused) == {
        'elementwise_mul', 'fill_constant', 'meshgrid', 'split'
    }
    assert len(before.partition.engines) > 5


def test_a_stall_is_told(analyse, float_model):
    found = analyse(float_model, dynamic_shape=False, timeout=0.5)
    assert found.status == analysis.TIMEOUT
    assert found.reason == 'before the passes'
