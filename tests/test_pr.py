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
"""The pull request: laid onto repositories that are as PaddleDetection's where
it touches them."""

import os
import re
import subprocess
import sys

import pytest
from act import config
from act.errors import CheckFailed, UserError
from conftest import ROOT
from test_patches import PATCHES, git, hunks

sys.path.insert(0, os.path.join(ROOT, 'pr'))

import checks  # noqa: E402
import laying  # noqa: E402
import series  # noqa: E402

OURS = laying.PLACE
FILES = {
    '.style.yapf': '[style]\nbased_on_style = pep8\ncolumn_limit = 80\n',
    '.gitignore': '*.json\n',
    OURS + 'README.md': '# 自动化压缩 \n\n| a\t| b |\n',
    OURS + 'eval.py': 'print(1)\n',
    OURS + 'run_det.py': 'print(2)\n',
    OURS + 'test_det.py': 'print(3)\n',
    OURS + 'test.sh': 'python run.py --act_config_path a --config_path b\n',
    OURS + 'configs/x_qat_dis.yaml': 'Global:\n  model_dir: x\n',
    'ppdet/__init__.py': '',
}


@pytest.fixture(scope='module')
def ppdet(tmp_path_factory):
    """A repository with two of the branches."""
    place = tmp_path_factory.mktemp('ppdet')
    git(place, 'init', '-q', '-b', 'develop')
    for name in ('develop', 'release/2.6'):
        if name != 'develop':
            git(place, 'checkout', '-q', '-b', name)
        files = dict(FILES)
        for path in series.branch(name).patches:
            with open(path, encoding='utf-8') as f:
                for file, before, _ in hunks(f.read()):
                    files[file] = '\n'.join(before) + '\n'
        for file, content in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(content, encoding='utf-8')
        git(place, 'add', '-A', '-f')
        git(place, 'commit', '-qm', name)
    return str(place)


@pytest.fixture(scope='module')
def applied(ppdet, tmp_path_factory):
    """develop, with the series on it as a user would apply it."""
    place = tmp_path_factory.mktemp('pr')
    made = series.make(ppdet, series.branch('develop'), str(place / 'series'))
    tree = str(place / 'tree')
    git(place, 'clone', '-q', '-b', 'develop', ppdet, tree)
    git(tree, 'am', '-q', *made[1:])
    return made, tree


def test_branches_and_patches_go_together():
    named = {p for b in series.BRANCHES for p in b.patches}
    assert sorted(named) == PATCHES
    assert series.branch('2.7.1') is series.branch('release/2.7.1')
    with pytest.raises(UserError, match='none of: develop, 2.7.1, 2.7'):
        series.branch('2.5')


def test_the_cover_letter_comes_first(applied):
    made, _ = applied
    with open(made[0], encoding='utf-8') as f:
        text = f.read()
    assert 'PATCH 0/5] Auto compression' in text and 'For develop.' in text
    assert '***' not in text and 'How it was tested' in text


def test_what_is_laid(applied):
    _, tree = applied
    found = set(git(tree, 'ls-files', OURS).stdout.replace(OURS, '').split())
    assert {
        'run.py', 'run_det.py', 'eval.py', 'README_cn.md', 'act/runtime.py',
        'ops/.clang-format', 'demo/example.jpg', laying.PUBLISHED
    } <= found
    for name in found:
        assert not name.startswith(('backport/', 'demo/weights', 'benchmarks'))
        assert name != 'Makefile'
    with open(os.path.join(tree, OURS, 'test.sh')) as f:
        assert f.read() == 'python run.py --act_config_path a --config b\n'
    with open(os.path.join(tree, OURS, 'eval.py')) as f:
        assert f.read() == FILES[OURS + 'eval.py']
    assert git(tree, 'status', '--short').stdout == ''


def test_the_scripts_run_there(applied):
    _, tree = applied
    for old, new in series.branch('develop').shims:
        said = []
        for name in (old, new):
            done = subprocess.run(
                [sys.executable,
                 os.path.join(tree, OURS, name), '--help'],
                stdout=subprocess.PIPE,
                universal_newlines=True,
                check=True)
            said.append(done.stdout.replace(old, 'x').replace(new, 'x'))
        assert said[0].split() == said[1].split()


def test_the_configurations_load_there(applied):
    _, tree = applied
    place = os.path.join(tree, OURS, 'configs')
    for name in os.listdir(place):
        if name.endswith('.yml'):
            settings = config.load(os.path.join(place, name))
            assert 'demo' not in settings.Global.model_dir
            assert os.path.exists(settings.Reader.file)
            assert os.path.exists(settings.Export.config)


@pytest.mark.parametrize('name', ['README.md', 'README_cn.md'])
def test_the_documents_of_the_tree(applied, name):
    _, tree = applied
    with open(os.path.join(tree, OURS, name), encoding='utf-8') as f:
        text = f.read()
    for block in re.findall(r'```bash\n(.*?)```', text, re.DOTALL):
        assert 'make' not in block and 'demo/' not in block, block
    for target in laying.shown([text]):
        assert os.path.exists(os.path.join(tree, OURS, target)), target
    for anchor in laying.anchors(text):
        assert anchor in {laying.anchor(t) for t in laying.titles(text)}, anchor


def test_only_patches_where_that_is_all(ppdet, tmp_path):
    made = series.make(ppdet, series.branch('2.6'), str(tmp_path / 'x'))
    assert len(made) == 2
    with open(made[0], encoding='utf-8') as f:
        assert 'DINO transformers run' in f.read()


def test_an_older_series_is_replaced_and_nothing_else(ppdet, tmp_path):
    made = str(tmp_path / 'x')
    os.makedirs(made)
    (tmp_path / 'x' / '0009-old.patch').write_text('')
    series.make(ppdet, series.branch('2.6'), made)
    assert not os.path.exists(os.path.join(made, '0009-old.patch'))
    (tmp_path / 'x' / 'mine.txt').write_text('')
    with pytest.raises(UserError, match='holds more than patches'):
        series.make(ppdet, series.branch('2.6'), made)


def test_what_is_no_checkout(ppdet, tmp_path):
    with pytest.raises(UserError, match='is no git repository'):
        series.make(str(tmp_path), series.branch('develop'), 'x')
    with pytest.raises(UserError, match="no branch 'release/2.7'"):
        series.make(ppdet, series.branch('2.7'), 'x')


def test_a_patch_that_does_not_apply(ppdet, tmp_path):
    copy = str(tmp_path / 'copy')
    git(tmp_path, 'clone', '-q', '-b', 'release/2.6', ppdet, copy)
    with open(PATCHES[0], encoding='utf-8') as f:
        file = hunks(f.read())[0][0]
    with open(os.path.join(copy, file), 'w') as f:
        f.write('changed\n')
    git(copy, 'commit', '-qam', 'changed')
    with pytest.raises(CheckFailed, match='git am'):
        series.make(copy, series.branch('2.6'), str(tmp_path / 'out'))
    assert not os.path.exists(str(tmp_path / 'out'))


@pytest.mark.parametrize('name, content', [
    ('a.md', 'line \n'),
    ('a.md', 'line'),
    ('a.yml', 'a:\n\t- b\n'),
    ('a.py', 'x = {  "a":1}\n'),
    ('a.py', '<<<<<<< HEAD\n'),
    ('a.h', 'int  f ( );\n'),
    ('a.cc', '#include <thread>\nint f() { return 1; }\n'),
    ('a.txt', '-----BEGIN RSA PRIVATE KEY-----\n'),
])
def test_the_checks_find(tmp_path, name, content):
    git(tmp_path, 'init', '-q')
    (tmp_path / '.style.yapf').write_text(FILES['.style.yapf'])
    # A conflict is looked for during a merge only.
    (tmp_path / '.git' / 'MERGE_MSG').write_text('')
    (tmp_path / '.git' / 'MERGE_HEAD').write_text('')
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckFailed):
        checks.run(str(tmp_path), [name], [name])
    (tmp_path / name).write_text('')
    if not name.endswith(('.h', '.cc')):
        checks.run(str(tmp_path), [name], [name])
