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
"""The files and options of PaddleDetection's own scripts keep working."""

import json
import os
import shutil

import pytest
import yaml
from act import config, deployed, plan, upstream
from act.errors import UserError
from conftest import PROJECT, YAML, run_script

COMPRESSION = {
    'Global': {
        'include_nms': True,
        'Evaluation': True,
        'model_dir': './models/x/',
        'model_filename': 'model.pdmodel',
        'params_filename': 'model.pdiparams'
    },
    'Distillation': {
        'alpha': 1.0,
        'loss': 'soft_label'
    },
    'QuantAware': {
        'use_pact': True,
        'onnx_format': True,
        'activation_quantize_type': 'moving_average_abs_max',
        'quantize_op_types': ['conv2d', 'depthwise_conv2d', 'matmul_v2']
    },
    'TrainConfig': {
        'train_iter': 2,
        'eval_iter': 2,
        'target_metric': 0.365,
        'learning_rate': 0.00001,
        'optimizer_builder': {
            'optimizer': {
                'type': 'SGD'
            },
            'weight_decay': 4.0e-05
        }
    }
}


def changed(**sections):
    made = {k: dict(v) for k, v in COMPRESSION.items()}
    for name, values in sections.items():
        made[name].update(values)
    return made


def written(path, content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def reader(tmp_path, shapes):
    """A reader file of its own that names its data, 0 workers."""
    with open(os.path.join(PROJECT, 'configs', 'readers',
                           'picodet_320.yml')) as f:
        text = f.read()
    assert 'worker_num' not in text
    path = tmp_path / 'reader.yml'
    path.write_text(text.replace('dataset/coco', shapes) + '\nworker_num: 0\n')
    return str(path)


def test_two_files_are_one(tmp_path):
    path = written(tmp_path / 'x_qat_dis.yaml', COMPRESSION)
    settings = config.load(path, {'Quantization': {'seed': 3}}, 'readers/y.yml')
    assert settings.name == 'x_qat_dis'
    # As the user gave it, not beside the YAML.
    assert settings.Reader.file == 'readers/y.yml'
    assert settings.Quantization.strategy == 'qat'
    assert settings.Quantization.seed == 3
    assert settings.Deploy.cpu.int8_ops == [
        'conv2d', 'depthwise_conv2d', 'fc', 'fused_conv2d'
    ]
    assert settings.Distillation.loss == 'soft_label'
    assert settings.QuantAware.use_pact and settings.own_nms is None


@pytest.mark.parametrize(
    'types',
    [['conv2d'], ['depthwise_conv2d'], ['matmul_v2', 'depthwise_conv2d']])
def test_types_for_onednn_are_those_of_the_plan(types):
    asked = upstream.int8_ops([*types, 'elementwise_add'])
    assert plan._int8_types(asked, dict.fromkeys(types, 1), 'x.yml') == asked


def test_the_reader_that_the_first_file_names(tmp_path):
    named = changed(Global={'reader_config': 'configs/r.yml', 'arch': 'YOLO'})
    path = written(tmp_path / 'x.yaml', named)
    assert config.load(path).Reader.file == 'configs/r.yml'
    assert config.load(path, {}, 'other.yml').Reader.file == 'other.yml'
    # What is loaded is not what is kept.
    assert named['Global']['arch'] == 'YOLO'


def test_a_model_without_its_nms(tmp_path):
    path = written(tmp_path / 'x.yaml', changed(Global={'include_nms': False}))
    nms = config.load(path, {}, 'r.yml').own_nms
    assert nms.score_threshold == 0.01 and nms.nms_threshold == 0.6


@pytest.mark.parametrize('content, reader, words', [
    (COMPRESSION, None, ['no Reader section', '--config READER_FILE']),
    (changed(Global={'arch': 'keypoint'}), 'r.yml', ["'keypoint'", 'detector']),
    (changed(Global={'reader_confg': 'r.yml'}), 'r.yml',
     ["'Global.reader_confg'"]),
    (changed(QuantAware={'onnx_format': False}), 'r.yml', ['onnx_format']),
])
def test_what_is_refused(tmp_path, content, reader, words):
    path = written(tmp_path / 'x.yaml', content)
    with pytest.raises(UserError) as caught:
        config.load(path, {}, reader)
    assert path in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_our_own_files_are_not_taken_for_theirs():
    for name in os.listdir(os.path.join(PROJECT, 'configs')):
        if name.endswith('.yml'):
            content = config.read_mapping(os.path.join(PROJECT, 'configs',
                                                       name))
            assert not upstream.is_compression(content)
            assert not upstream.is_reader(content)


def test_a_model_and_a_reader_file_are_enough(reader, float_model, int8_model,
                                              tmp_path, shapes):
    settings, model = deployed.find(reader, float_model, {})
    assert model == float_model and settings.Reader.file == reader
    # A quantized model without the YAML that run.py leaves beside it.
    bare = str(tmp_path / 'bare')
    os.makedirs(bare)
    for name in ('model.pdmodel', 'model.pdiparams'):
        shutil.copy(os.path.join(int8_model, name), bare)
    settings, _ = deployed.find(None, bare, {}, reader)
    assert settings.Deploy.cpu.int8_ops == ['conv2d', 'fused_conv2d']
    # With it, it counts, but for the reader.
    settings, _ = deployed.find(reader, int8_model, {})
    assert settings.Quantization.strategy == 'ptq'
    assert settings.Reader.file == reader


def test_the_commands_of_before(tmp_path, reader, small_detector,
                                small_settings):
    annotations = small_settings[1]
    given = changed(Global={'model_dir': small_detector},
                    QuantAware={
                        'use_pact': False,
                        'quantize_op_types': ['conv2d', 'conv2d_transpose']
                    },
                    Distillation={'loss': 'l2'})
    path = written(tmp_path / 'small_qat_dis.yaml', given)
    made = str(tmp_path / 'made')
    done = run_script('run.py', '--act_config_path', path, '--config', reader,
                      '--save_dir', made, '--devices', 'cpu', '-o',
                      'TrainConfig.batch_size=2', 'TrainConfig.eval_images=4',
                      annotations)
    assert done.returncode == 0, done.stderr
    # What lists of a family name, and this model does not hold.
    assert "holds no 'conv2d_transpose': left out" in done.stdout
    record = str(tmp_path / 'record.json')
    done = run_script('paddle_inference_eval.py', '--model_path', made,
                      '--reader_config', reader, '--device', 'CPU',
                      '--precision', 'paddle', '--use_mkldnn', 'True',
                      '--cpu_threads', '1', '--img_shape', '320',
                      '--include_nms', 'True', '--delete_pass_name',
                      'fc_mkldnn_pass', '--num_images', '4', '--output_dir',
                      str(tmp_path / 'out'), '--output_json', record, '-o',
                      annotations)
    assert done.returncode == 0, done.stderr
    with open(record) as f:
        found = json.load(f)
    assert found['precision'] == 'int8'
    assert found['deleted_passes'] == ['fc_mkldnn_pass']
    assert found['int8_convs_ran'] == found['int8_convs_expected'] > 0


def test_a_pass_that_is_none(small_detector, small_settings, tmp_path):
    done = run_script('paddle_inference_eval.py', '--config_path', YAML,
                      '--delete_pass_name', 'fc_mkldn_pass', '--output_dir',
                      str(tmp_path / 'out'), '-o', *small_settings)
    assert done.returncode == 2
    assert "did you mean 'fc_mkldnn_pass'?" in done.stderr
