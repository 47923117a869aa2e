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
"""The patches for Paddle and PaddleSlim: they apply to what is installed, and
the programs stay the same."""

import email
import glob
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys

import program_equality
import pytest
import test_irgraph
from act import runtime
from conftest import PROJECT, ROOT

# Folder below patches/: package, and where it lies in its repository.
PATCHED = {'paddle': ('paddle', 'python'), 'paddleslim': ('paddleslim', '')}

# argv: the float model, the file to write.
MERGE = '''
import contextlib, pickle, sys
sys.path.insert(0, %r)
from act import config, runtime
paddle = runtime.import_paddle()
import numpy as np
from act.compress import qat
from act.program.model import ModelFiles
qat.fast_merge = contextlib.nullcontext
settings = config.load(%r)
session = qat.build(ModelFiles(sys.argv[1]), settings.QuantAware,
                    settings.Distillation, settings.TrainConfig)
import paddleslim
with open(sys.argv[2], 'wb') as f:
    pickle.dump({
        'from': paddleslim.__file__,
        'train': session.train_program.desc.serialize_to_string(),
        'values': session.values()}, f)
''' % (PROJECT, os.path.join(PROJECT, 'configs', 'picodet_s_320_lcnet_qat.yml'))


def patches(folder):
    return sorted(glob.glob(os.path.join(ROOT, 'patches', folder, '*.patch')))


@pytest.mark.parametrize('folder', PATCHED)
def test_patches_are_mails(folder):
    assert len(patches(folder)) == 1
    with open(patches(folder)[0], encoding='utf-8') as f:
        mail = email.message_from_file(f)
    subject = ' '.join(mail['Subject'].split())
    assert subject.startswith('[PATCH] ') and len(subject) <= 8 + 72
    assert mail['From'] and mail['Date']
    with open(os.path.join(ROOT, 'patches', 'README.md'),
              encoding='utf-8') as f:
        readme = f.read()
    assert '`%s/%s`' % (folder, os.path.basename(patches(folder)[0])) in readme


@pytest.fixture(scope='module')
def overlay(tmp_path_factory):
    """Both packages as installed, by links, with the patched files in their
    place."""
    root = str(tmp_path_factory.mktemp('overlay'))
    for folder, (package, inside) in PATCHED.items():
        origin = os.path.dirname(importlib.util.find_spec(package).origin)
        shutil.copytree(origin,
                        os.path.join(root, package),
                        copy_function=os.symlink,
                        ignore=shutil.ignore_patterns('__pycache__'))
        with open(patches(folder)[0], encoding='utf-8') as f:
            names = [
                line[len('+++ b/'):].strip() for line in f
                if line.startswith('+++ b/')
            ]
        work = os.path.join(root, 'work', folder)
        for name in names:
            made = os.path.join(work, name)
            os.makedirs(os.path.dirname(made), exist_ok=True)
            path = os.path.relpath(name, inside) if inside else name
            shutil.copy(os.path.join(os.path.dirname(origin), path), made)
        subprocess.run(['git', 'init', '-q'], cwd=work, check=True)
        subprocess.run(['git', 'apply', patches(folder)[0]],
                       cwd=work,
                       check=True)
        for name in names:
            path = os.path.relpath(name, inside) if inside else name
            os.remove(os.path.join(root, path))
            shutil.copy(os.path.join(work, name), os.path.join(root, path))
    return root


def python(code, *arguments, overlay=None):
    env = dict(os.environ, OMP_NUM_THREADS='1')
    if overlay:
        env['PYTHONPATH'] = overlay
    return subprocess.Popen([sys.executable, '-c', code, *map(str, arguments)],
                            env=env,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def test_the_passes_build_the_same_program(tmp_path, overlay):
    """Trained and converted too, see test_irgraph."""
    paths = [tmp_path / 'patched', tmp_path / 'installed']
    processes = [
        python(test_irgraph.BUILD, 'original', 'plain', path, overlay=where)
        for path, where in zip(paths, (overlay, None))
    ]
    patched, installed = (test_irgraph.finish(process, path)
                          for process, path in zip(processes, paths))
    for kind in test_irgraph.KINDS:
        assert program_equality.compare(patched[kind], installed[kind]) == []
    for moment in ('initial', 'trained', 'converted_values'):
        assert program_equality.compare_values(patched[moment],
                                               installed[moment],
                                               patched['names'],
                                               installed['names']) == []


def test_merge_makes_the_same_program(tmp_path, overlay, small_detector):
    """Of a small detector: PaddleSlim's merge is slow."""
    made = []
    paths = [tmp_path / 'patched', tmp_path / 'installed']
    processes = [
        python(MERGE, small_detector, path, overlay=where)
        for path, where in zip(paths, (overlay, None))
    ]
    for process, path in zip(processes, paths):
        output = process.communicate()[0]
        assert process.returncode == 0, output.decode()[-3000:]
        made.append(pickle.loads(path.read_bytes()))
    patched, installed = made
    assert patched['from'].startswith(overlay)
    assert not installed['from'].startswith(overlay)
    runtime.import_paddle()
    programs = [program_equality.parse(m['train']) for m in made]
    assert program_equality.compare(*programs) == []
    assert program_equality.compare_values(patched['values'],
                                           installed['values']) == []
