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
"""export.py: where a model comes from, and where it goes."""

import os

import pytest
import yaml
from act.program.model import ModelFiles
from conftest import PROJECT, run_script


@pytest.fixture
def configured(tmp_path):
    """A compression YAML whose weights do not exist, and its model's place."""
    with open(os.path.join(PROJECT, 'configs', 'picodet_xs_320_lcnet_qat.yml'),
              encoding='utf-8') as f:
        content = yaml.safe_load(f)
    made = str(tmp_path / 'made')
    content['Global']['model_dir'] = made
    content['Export'] = {
        'config': os.path.join(PROJECT, 'demo', 'picodet_s_320_lcnet.yml'),
        'weights': 'nowhere.pdparams'
    }
    path = tmp_path / 'model_qat.yml'
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    return path, content, made


def test_compression_yaml_names_source_and_result(configured, float_model):
    path, _, made = configured
    done = run_script('export.py', '--config_path', str(path))
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert "'nowhere.pdparams' do not exist" in done.stderr
    assert not os.path.exists(made)

    # Random weights need none, and are the same each time.
    found = set()
    for _ in range(2):
        done = run_script('export.py', '--config_path', str(path),
                          '--random_weights')
        assert done.returncode == 0, done.stderr
        assert 'random weights' in done.stdout
        found.add(ModelFiles(made).digest())
    assert len(found) == 1
    assert found != {ModelFiles(float_model).digest()}

    # -o lies over the YAML.
    trained = os.path.join(PROJECT, 'demo', 'weights',
                           'picodet_s_320_lcnet.pdparams')
    done = run_script('export.py', '--config_path', str(path), '-o',
                      'weights=' + trained)
    assert done.returncode == 0, done.stderr
    with open(ModelFiles(made).params_path, 'rb') as one, \
            open(ModelFiles(float_model).params_path, 'rb') as other:
        assert one.read() == other.read()


def test_bad_source(configured):
    path, content, _ = configured
    content.pop('Export')
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    done = run_script('export.py', '--config_path', str(path))
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'has no Export section' in done.stderr

    for arguments in ((), ('-c', 'a.yml', '--config_path', 'b.yml')):
        done = run_script('export.py', *arguments)
        assert done.returncode == 2 and done.stderr.count('\n') == 1
        assert '--config_path' in done.stderr
