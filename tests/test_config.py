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
"""Configurations: what is read, and what is refused."""

import pytest
import yaml
from act import cli, config
from act.errors import UserError
from conftest import YAML

GOOD = {
    'Global': {
        'model_dir': 'm'
    },
    'Reader': {
        'file': 'reader.yml'
    },
    'TrainConfig': {
        'train_iter': 10,
        'eval_iter': 5,
        'learning_rate': '1e-5'
    },
    'Preset': 'a',
    'Presets': {
        'a': {
            'Global': {
                'model_filename': 'a.pdmodel'
            }
        },
        'b': {
            'Global': {
                'model_filename': 'b.pdmodel'
            }
        },
    },
}


def write(tmp_path, content):
    path = tmp_path / 'model.yml'
    path.write_text(content if isinstance(content, str) else yaml.dump(content))
    return str(path)


def test_good(tmp_path):
    path = write(tmp_path, GOOD)
    settings = config.load(path)
    assert settings.name == 'model'
    assert settings.Reader.file == str(tmp_path / 'reader.yml')
    # PyYAML reads 1e-5 as a string.
    assert settings.TrainConfig.learning_rate == 1e-5
    assert settings.Global.model_filename == 'a.pdmodel'


def test_presets_and_overrides(tmp_path):
    path = write(tmp_path, GOOD)
    chosen = config.load(path, {'Preset': 'b'})
    assert chosen.Global.model_filename == 'b.pdmodel'
    over = config.load(path, {'Global': {'model_filename': 'c'}})
    assert over.Global.model_filename == 'c'
    with pytest.raises(UserError, match="unknown preset 'c'; known: a, b"):
        config.load(path, {'Preset': 'c'})


@pytest.mark.parametrize('preset', ['demo', 'coco'])
def test_shipped(preset):
    settings = config.load(YAML, {'Preset': preset})
    assert settings.QuantAware.quantize_op_types == ['conv2d']
    assert settings.TrainConfig.train_iter


def test_dump_reads_back(tmp_path):
    settings = config.load(YAML)
    path = write(tmp_path, config.dump(settings))
    again = config.load(path)
    settings.Reader = again.Reader
    settings.Export = again.Export
    assert again.model_dump() == settings.model_dump()


@pytest.mark.parametrize('change, line', [
    (['TrainConfig.trian_iter=3'
      ], "unknown key 'TrainConfig.trian_iter'; did you mean 'train_iter'?"),
    (['Globall.x=1'], "unknown key 'Globall'; did you mean 'Global'?"),
    (['Deploy.cpu.thread=1'
      ], "unknown key 'Deploy.cpu.thread'; did you mean 'threads'?"),
    (['TrainConfig.train_iter=0'], 'TrainConfig.train_iter'),
    (['TrainConfig.train_iter=many'], 'TrainConfig.train_iter'),
    (['Quantization.strategy=qta'], "'ptq' or 'qat'"),
    (['QuantAware.quantize_op_types=conv2d'], 'QuantAware.quantize_op_types'),
    (['Global=3'], "key 'Global' is 3"),
    (['path=x'], "unknown key 'path'"),
])
def test_bad_keys_and_values(tmp_path, change, line):
    path = write(tmp_path, GOOD)
    with pytest.raises(UserError) as error:
        config.load(path, cli.parse_overrides(change))
    message = str(error.value)
    assert line in message
    assert message.startswith(path)
    assert '\n' not in message


@pytest.mark.parametrize('content, line', [
    ('', 'found nothing'),
    ('- a', 'found list'),
    ('a: [1', 'line 1 is not valid YAML'),
    ('Reader: {file: x}', "key 'Global' is missing"),
    ('1: 2', 'section names must be words'),
])
def test_bad_files(tmp_path, content, line):
    with pytest.raises(UserError, match=line):
        config.load(write(tmp_path, content))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match='No such file'):
        config.load(str(tmp_path / 'none.yml'))


def test_binary_file(tmp_path):
    path = tmp_path / 'model.yml'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='model.yml'):
        config.load(str(path))
