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
"""The small trained models beside the demo's detector, each of the operators of
a model that is too large to train here."""

import os

import numpy as np
import pytest
from act import config, evaluate, pdparams
from act.compress.qat import trainable_parameters
from act.compress.selection import is_constant, is_skipped, leave_in_float
from act.profile import run
from act.program.model import Model, ModelFiles
from conftest import PROJECT, run_script

# Name, and the mAP in percent on 20 images that it must reach. A network of
# random weights is below 1.
SIBLINGS = {
    'ppyoloe_plus_tiny': 35,
    'rtdetr_tiny': 40,
    'dino_tiny': 35,
}
LARGEST = 4e6  # bytes


@pytest.fixture(scope='module', params=SIBLINGS)
def name(request):
    """Of a sibling; its files in demo/ begin with it."""
    return request.param


def path_of(*parts):
    return os.path.join(PROJECT, 'demo', *parts)


@pytest.fixture(scope='module')
def exported(name, sibling):
    """Directory of the model."""
    return sibling(name)


def map_of(name, directory, shapes, output_dir):
    """mAP in percent on the first 20 validation images."""
    settings = config.load(path_of(name + '_qat.yml'),
                           {'Reader': {
                               'dataset_dir': shapes
                           }})
    record, _ = evaluate.evaluate(
        settings, directory,
        evaluate.Options(threads=1, num_images=20, output_dir=str(output_dir)),
        ['test'])
    assert record['num_images'] == 20
    return record['map']


def test_it_finds_objects(name, exported, shapes, tmp_path, capsys):
    assert map_of(name, exported, shapes, tmp_path) > SIBLINGS[name]


# What the program as it was exported loses time with, and an operator of it.
SLOW = {
    'ppyoloe_plus_tiny': ('reference', 'mean_0.tmp_0'),
    'rtdetr_tiny': ('naive_attention', 'grid_sample_0.tmp_0'),
}


@pytest.mark.parametrize('name', SLOW, indirect=True)
def test_its_profile_says_what_is_slow(name, exported, shapes, tmp_path,
                                       capsys):
    settings = config.load(path_of(name + '_qat.yml'),
                           {'Reader': {
                               'dataset_dir': shapes
                           }})
    made = run.profile(
        settings, exported,
        run.Options(threads=1, runs=3, output_dir=str(tmp_path), rewrites=()),
        ['test'])
    cause, layer = SLOW[name]
    found, = (row for row in made['causes'] if row['cause'] == cause)
    model, = made['models']
    assert found['ms'] > .02 * model['operators_ms']
    ours, = (row for row in made['layers'] if row['layer'] == layer)
    assert ours['implementation'] == ('ref:any'
                                      if cause == 'reference' else 'paddle')
    assert 0.95 <= model['operators_share'] <= 1


# By the model that is exported soonest.
@pytest.mark.parametrize('name', ['ppyoloe_plus_tiny'], indirect=True)
def test_random_weights_do_not(name, shapes, tmp_path, capsys):
    made = str(tmp_path / 'made')
    done = run_script('export.py', '--config_path', path_of(name + '_qat.yml'),
                      '--save_dir', made, '--random_weights')
    assert done.returncode == 0, done.stderr
    assert map_of(name, made, shapes, tmp_path) < 1


def test_weights_are_small(name):
    path = path_of('weights', name + '.pdparams')
    assert os.path.getsize(path) < LARGEST
    types = {value.dtype for value in pdparams.read(path).values()}
    assert np.dtype('float16') in types and np.dtype('float32') not in types


def test_each_preset_is_a_configuration(name):
    path = path_of(name + '_qat.yml')
    for preset in config.read_mapping(path).get('Presets', [None]):
        assert config.load(path, {
            'Preset': preset
        }).Export.config == path_of(name + '.yml')


@pytest.mark.parametrize('name', ['ppyoloe_plus_tiny'], indirect=True)
def test_projection_of_ppyoloe_is_a_constant(exported):
    """The sum over the distribution of a box side is neither trained nor
    quantized, unlike all other convolutions."""
    model = Model.load(ModelFiles(exported))
    settings = config.load(path_of('ppyoloe_plus_tiny_qat.yml'))
    weights = {op.input('Filter')[0] for op in model.ops if op.type == 'conv2d'}
    constant, = (n for n in weights if is_constant(model.parameter(n)))
    np.testing.assert_array_equal(
        model.parameter(constant).reshape(-1), np.arange(17))
    assert constant not in trainable_parameters(model)
    leave_in_float(model.program, model.scope, settings.QuantAware)
    assert {
        op.input('Filter')[0]
        for op in model.ops if op.type == 'conv2d' and is_skipped(op)
    } == {constant}
