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
"""The patches for PaddleDetection: well-formed, and what the mends do."""

import email
import glob
import inspect
import os
import re
import shutil
import subprocess
import sys

import pytest
from act import mends, runtime
from conftest import ROOT

FOLDER = os.path.join(ROOT, 'patches')
PATCHES = sorted(glob.glob(os.path.join(FOLDER, '*.patch')))
sys.path.insert(0, FOLDER)


def git(directory, *arguments, check=True):
    return subprocess.run([
        'git', '-C',
        str(directory), '-c', 'user.name=t', '-c', 'user.email=t@t'
    ] + list(arguments),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          universal_newlines=True,
                          check=check)


def hunks(text):
    """[(path, lines before, lines after)] of a patch."""
    found = []
    for part in re.split(r'^diff --git .*$', text, flags=re.MULTILINE)[1:]:
        path = re.search(r'^\+\+\+ b/(.*)$', part, re.MULTILINE).group(1)
        for body in re.split(r'^@@ .*$', part, flags=re.MULTILINE)[1:]:
            lines = [x for x in body.split('\n')[1:] if x[:1] in tuple(' +-')]
            lines = [x for x in lines if x]
            found.append(
                (path, [x[1:] for x in lines
                        if x[0] != '+'], [x[1:] for x in lines if x[0] != '-']))
    return found


def test_the_table_names_the_files():
    import check
    named = [p[0] for p in check.PATCHES]
    assert sorted(named) == [os.path.basename(p) for p in PATCHES]
    with open(os.path.join(FOLDER, 'README.md'), encoding='utf-8') as f:
        readme = f.read()
    for name, branches, calls in check.PATCHES:
        row, = [x for x in readme.splitlines() if x.startswith('| `%s`' % name)]
        for word in branches:
            assert '`%s`' % word in row
        for call in calls:
            assert '`%s_transformer.py`' % call in row


@pytest.mark.parametrize('path', PATCHES, ids=os.path.basename)
def test_patches_are_mails(path):
    with open(path, encoding='utf-8') as f:
        text = f.read()
    mail = email.message_from_string(text)
    assert re.fullmatch(r'\S.* <\S+@\S+>', ' '.join(mail['From'].split()))
    assert mail['Date']
    subject = ' '.join(mail['Subject'].split())
    assert subject.startswith('[PATCH] ') and len(subject) <= 8 + 72
    message = mail.get_payload().split('\n---\n')[0]
    assert 'Error: ' in message and 'paddle.concat([h, w])' in message
    assert all(len(line) <= 76 for line in message.splitlines())
    assert hunks(text)


@pytest.mark.parametrize('path', PATCHES, ids=os.path.basename)
def test_patches_apply_and_are_the_mends(path, tmp_path):
    """On files that hold what the patch expects, `git am` makes of them what
    the mend makes of their source."""
    with open(path, encoding='utf-8') as f:
        found = hunks(f.read())
    git(tmp_path, 'init', '-q')
    before = {}
    for name, old, new in found:
        before[name] = '\n'.join(old) + '\n'
        assert len(old) == len(new)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(before[name])
    git(tmp_path, 'add', '-A')
    git(tmp_path, 'commit', '-qm', 'base')
    git(tmp_path, 'am', '-q', path)
    for name, text in before.items():
        after = (tmp_path / name).read_text()
        assert after != text
        assert after == mends.mended_source(text)


def test_the_dino_patch_on_the_installed_file(tmp_path):
    """Patched, the installed file's method is the one that the mend makes, and
    it runs."""
    runtime.import_ppdet()
    from ppdet.modeling.transformers import dino_transformer
    name = 'ppdet/modeling/transformers/dino_transformer.py'
    target = tmp_path / name
    target.parent.mkdir(parents=True)
    shutil.copy(dino_transformer.__file__, target)
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'apply', PATCHES[0])
    assert git(tmp_path, 'apply', '--check', PATCHES[0], check=False).returncode
    with open(str(target), encoding='utf-8') as f:
        source = f.read()
    # Relative imports of the file are those of its package.
    made = dict(vars(dino_transformer), __name__=dino_transformer.__name__)
    body = source[source.index('    def _get_encoder_input'):]
    body = body[:body.index('    def forward')]
    exec(compile(inspect.cleandoc('\n' + body) + '\n', str(target), 'exec'),
         made)
    patched = made['_get_encoder_input']
    ours = dino_transformer.DINOTransformer._get_encoder_input
    assert ours.__code__.co_filename.startswith('<mended ')
    assert inspect.cleandoc('\n' +
                            inspect.getsource(ours)) == inspect.cleandoc('\n' +
                                                                         body)

    import paddle
    network = dino_transformer.DINOTransformer(num_classes=3,
                                               hidden_dim=32,
                                               num_queries=5,
                                               backbone_feat_channels=[8],
                                               num_levels=2,
                                               nhead=2,
                                               num_encoder_layers=1,
                                               num_decoder_layers=1,
                                               dim_feedforward=8)
    network.eval()
    feats = [paddle.rand([1, 8, 6, 10])]
    with paddle.no_grad():
        for one, two in zip(patched(network, feats), ours(network, feats)):
            if one is not None:
                assert (one.numpy() == two.numpy()).all()
        assert patched(network, feats)[1].numpy().tolist() == [[6, 10], [3, 5]]


def test_the_check_tells_a_checkout_that_is_none(tmp_path):
    done = subprocess.run([
        sys.executable,
        os.path.join(FOLDER, 'check.py'), '--ppdet',
        str(tmp_path)
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 2
    assert 'is no git repository' in done.stderr


def test_the_check_misses_a_branch_that_is_not_there(tmp_path):
    git(tmp_path, 'init', '-q')
    done = subprocess.run([
        sys.executable,
        os.path.join(FOLDER, 'check.py'), '--ppdet',
        str(tmp_path), '--branch', 'develop'
    ],
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 1, done.stderr
    assert 'no such branch here' in done.stdout
