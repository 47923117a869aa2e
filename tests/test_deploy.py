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
"""`export.py --optimize cpu`: what it writes runs without this project."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from act import data, deploy
from act.errors import UserError
from act.predictor import Predictor
from act.program.model import ModelFiles
from act.request import Options, plan_of
from conftest import run_script

# Paddle alone, as a user's program.
PROGRAM = '''
import json, os, sys, zlib
zlib.decompress(zlib.compress(b'x'))
import numpy as np
import paddle
from paddle import inference
from paddle.utils.cpp_extension import load_op_meta_info_and_register_op
place, feed, out, *operators = sys.argv[1:]
for path in operators:
    load_op_meta_info_and_register_op(path)
config = inference.Config(os.path.join(place, 'model.pdmodel'),
                          os.path.join(place, 'model.pdiparams'))
with open(os.path.join(place, 'deploy.json')) as f:
    record = json.load(f)
for name, *arguments in record['calls']:
    getattr(config, name)(*[set(a) if isinstance(a, list) else a
                            for a in arguments])
predictor = inference.create_predictor(config)
with np.load(feed) as values:
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(values[name])
predictor.run()
np.savez(out, *[predictor.get_output_handle(n).copy_to_cpu()
                for n in predictor.get_output_names()])
'''


@pytest.fixture(scope='module')
def feed(settings, int8_model):
    reader = data.open_reader(settings.Reader)
    batch = reader.pipeline(reader.val().records[:1])
    inputs = Predictor(plan_of(settings, int8_model, Options())).inputs
    return data.feed(batch, inputs, None, 'test')


@pytest.mark.parametrize('rewrites', [(), None])
def test_it_runs_with_paddle_alone(settings, int8_model, feed, tmp_path,
                                   rewrites):
    asked = {} if rewrites is None else {'rewrites': rewrites}
    made = str(tmp_path / 'made')
    deploy.write(settings, int8_model, made, ['export.py'], **asked)
    with open(os.path.join(made, 'deploy.json')) as f:
        record = json.load(f)
    assert record['precision'] == 'int8'
    assert ['enable_mkldnn_int8', ['conv2d', 'fused_conv2d']] in record['calls']
    assert bool(record['operators']) == (rewrites is None)
    from ops import build
    operators = [
        build.build(os.path.join(made, 'operators', name))
        for name in record['operators']
    ]
    np.savez(str(tmp_path / 'feed.npz'), **feed)
    subprocess.run([
        sys.executable, '-c', PROGRAM, made,
        str(tmp_path / 'feed.npz'),
        str(tmp_path / 'out.npz'), *operators
    ],
                   check=True)
    wanted = Predictor(plan_of(settings, int8_model,
                               Options(**asked))).run(feed)
    with np.load(str(tmp_path / 'out.npz')) as found:
        for name, value in zip(sorted(found), wanted):
            np.testing.assert_array_equal(found[name], value)


def test_the_script(settings, float_model, tmp_path):
    path = str(tmp_path / 'config.yml')
    from act import config
    with open(path, 'w') as f:
        f.write(config.dump(settings))
    done = run_script('export.py', '--config_path', path, '--optimize', 'cpu',
                      '--model_path', float_model, '--no_rewrite', '--save_dir',
                      str(tmp_path / 'made'))
    assert done.returncode == 0, done.stderr
    assert 'config.enable_mkldnn()' in done.stdout
    assert 'compile in' not in done.stdout
    done = run_script('export.py', '--config_path', path, '--optimize', 'cpu')
    assert done.returncode == 2 and '--model_path DIR' in done.stderr
    done = run_script('export.py', '--config_path', path, '--model_path', 'x')
    assert done.returncode == 2 and 'is for --optimize' in done.stderr


def test_what_is_there_stays(settings, float_model, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'file').write_text('x')
    with pytest.raises(UserError, match='no result of --optimize'):
        deploy.write(settings, float_model, str(tmp_path / 'mine'), ['x'])
    assert os.listdir(str(tmp_path / 'mine')) == ['file']
    made = str(tmp_path / 'made')
    for _ in range(2):  # its own result is replaced
        deploy.write(settings, float_model, made, ['x'], rewrites=())
    assert ModelFiles(made).check()
