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
"""The README's commands: blocks that it tags as runnable are run as they stand,
in its order, by a user who has done what stands before them. Each needs what
the ones before it made, so they are not run apart."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import PROJECT
from test_docs import CODE, ENGLISH, read, runnable

BLOCKS = runnable(read(ENGLISH))
TRAINING_IMAGES, VALIDATION_IMAGES = 1, 4


def copy_of_the_project(place):
    """Copy what git knows of the project, as it is now."""
    listed = subprocess.run(['git', 'ls-files', '-z', '.'],
                            cwd=PROJECT,
                            stdout=subprocess.PIPE,
                            universal_newlines=True,
                            check=True).stdout
    for name in filter(None, listed.split('\0')):
        target = os.path.join(place, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(PROJECT, name), target)


def lay_result(model, place, name, paths):
    """Copy an int8 model to output/, as if it had been made there.

    Args:
        model: its directory.
        place: of the project.
        name: of the result.
        paths: {a path in its configuration: what it is there}.
    """
    target = os.path.join(place, 'output', name)
    shutil.copytree(model, target)
    path = os.path.join(target, 'config.yml')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for old, new in paths.items():
        assert old in text
        text = text.replace(old, new)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


@pytest.fixture(scope='module')
def place(tmp_path_factory, shapes, float_model, int8_model):
    """A copy of the project, where `make demo` and a training have been, on few
    images, and with the reader's own files."""
    from demo import shapes as generator
    place = tmp_path_factory.mktemp('readme') / 'auto_compression'
    copy_of_the_project(str(place))
    generator.generate(str(place / 'dataset' / 'shapes'),
                       train=TRAINING_IMAGES,
                       val=VALIDATION_IMAGES)
    # Of untagged commands, which take minutes: `make demo` makes two of these,
    # the training of the quick start output/qat, which is calibrated here.
    demo = os.path.join('inference_model', 'picodet_s_320_lcnet_demo')
    shutil.copytree(float_model, str(place / demo))
    paths = {float_model: demo, shapes: 'dataset/shapes'}
    lay_result(int8_model, str(place), 'qat', paths)
    lay_result(int8_model, str(place), 'picodet_s_320_lcnet_qat', paths)
    # "Compress your own model": the demo's detector stands for the reader's.
    (place /
     'MY_CONFIG.yml').write_text('_BASE_: [demo/picodet_s_320_lcnet.yml]\n')
    shutil.copy(str(place / 'demo/weights/picodet_s_320_lcnet.pdparams'),
                str(place / 'MY_WEIGHTS.pdparams'))
    readers = place / 'configs' / 'readers'
    (readers / 'MY_READER.yml').write_text(
        (readers / 'picodet_320.yml').read_text().replace(
            'dataset/coco', 'dataset/shapes').replace('num_classes: 80',
                                                      'num_classes: 6'))
    return place


def named_before(line):
    """The last code span before a line: the name of the file shown there."""
    return CODE.findall('\n'.join(read(ENGLISH).splitlines()[:line - 2]))[-1]


def run(language, text, place):
    """Run a block as a user does; returns the exit code and the output."""
    command = {
        'bash': ['bash', '-e', '-o', 'pipefail', '-c', text],
        'python': ['python', '-c', text]
    }[language]
    done = subprocess.run(command,
                          cwd=str(place),
                          env=dict(os.environ,
                                   PATH=os.pathsep.join([
                                       os.path.dirname(sys.executable),
                                       os.environ['PATH']
                                   ])),
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          universal_newlines=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize('line, language, text',
                         BLOCKS,
                         ids=['line %d' % line for line, _, _ in BLOCKS])
def test_block_runs(line, language, text, place):
    if language == 'yaml':
        # The text before it says where it is written to.
        path = place / named_before(line)
        assert path.suffix == '.yml' and not path.exists()
        path.write_text(text, encoding='utf-8')
        return
    code, output = run(language, text, place)
    if code or 'Traceback' in output:
        pytest.fail('%s, line %d, exit code %d:\n%s\n%s' %
                    (ENGLISH, line, code, text, output),
                    pytrace=False)
