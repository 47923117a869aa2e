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
"""Lay the project onto a branch of PaddleDetection, as commits, and write them
as a series of patches."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Dict, List, Tuple

import checks
import laying
from act.errors import CheckFailed, UserError

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, 'patches'))

from check import PATCHES  # noqa: E402

WORK_BRANCH = 'auto_compression'


@dataclass(frozen=True)
class Branch:
    """A branch of PaddleDetection.

    Attributes:
        name: of the branch.
        shims: {its script: the one of ours that took its place}.
        edits: of its files in our directory: (file, before, after).
        patches_only: it gets the fixes of `patches/` and nothing else.
    """
    name: str
    shims: Tuple[Tuple[str, str], ...] = ()
    edits: Tuple[Tuple[str, str, str], ...] = ()
    patches_only: bool = False

    @property
    def short(self) -> str:
        return self.name.rpartition('/')[2]

    @property
    def patches(self) -> List[str]:
        return [
            os.path.join(ROOT, 'patches', name) for name, branches, _ in PATCHES
            if self.name in branches
        ]


# Since 2.7.1 the two scripts have other names there.
_SHIMS = (('run_det.py', 'run.py'), ('test_det.py', 'paddle_inference_eval.py'))
# Its commands name the reader file by an option that means the other file.
_EDITS = (('test.sh', ' --config_path ', ' --config '), )
BRANCHES = (
    Branch('develop', _SHIMS, _EDITS),
    Branch('release/2.7.1', _SHIMS, _EDITS),
    Branch('release/2.7'),
    Branch('release/2.6.1'),
    Branch('release/2.6', patches_only=True),
)


def branch(name: str) -> Branch:
    """The branch of a name, with or without 'release/'.

    Raises:
        UserError: there is none.
    """
    for one in BRANCHES:
        if name in (one.name, one.short):
            return one
    raise UserError("--branch '%s' is none of: %s" %
                    (name, ', '.join(b.short for b in BRANCHES)))


def git(directory: str, *arguments: str) -> str:
    """Run git there. Returns what it printed.

    Raises:
        CheckFailed: it failed; the message has the last line that it said.
    """
    done = subprocess.run(['git', '-C', directory, *arguments],
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ['']
        raise CheckFailed('git %s: %s' % (' '.join(arguments[:2]), said[-1]))
    return done.stdout


def make(ppdet: str, branch: Branch, output_dir: str) -> List[str]:
    """Write the series of a branch.

    Args:
        ppdet: a PaddleDetection checkout, or a bare repository; only read.
        branch: that the series applies to.
        output_dir: replaced, if it holds nothing but a series.

    Returns:
        paths of the patches, the cover letter first.

    Raises:
        UserError: no repository, no such branch, or another directory's
            content would be replaced.
        CheckFailed: a patch does not apply, or a check of PaddleDetection's.
    """
    _check_output(output_dir)
    with tempfile.TemporaryDirectory(prefix='act_pr_') as work:
        base = _checkout(ppdet, branch, os.path.join(work, 'tree'))
        tree = os.path.join(work, 'tree')
        for path in branch.patches:
            git(tree, 'am', '-q', path)
        if not branch.patches_only:
            files = laying.files(ROOT, branch.shims)
            files.update(
                laying.edited(os.path.join(tree, laying.PLACE), branch.edits))
            for subject, body, part in laying.commits(files):
                _commit(tree, subject, body, part)
        changed = git(tree, 'diff', '--name-only', base).split()
        checks.run(
            tree, changed,
            git(tree, 'diff', '--name-only', '--diff-filter=A', base).split())
        git(tree, 'config', 'branch.%s.description' % WORK_BRANCH,
            laying.cover_letter(ROOT, branch.name, branch.patches_only))
        made = os.path.join(work, 'series')
        git(tree, 'format-patch', '-q', '--cover-letter',
            '--cover-from-description=subject', '-o', made, base)
        _check_applies(tree, base, made, os.path.join(work, 'again'))
        if os.path.isdir(output_dir):
            shutil.rmtree(output_dir)
        shutil.move(made, output_dir)
    return [
        os.path.join(output_dir, name)
        for name in sorted(os.listdir(output_dir))
    ]


def _check_output(directory: str) -> None:
    if os.path.isdir(directory) and not all(
            name.endswith('.patch') for name in os.listdir(directory)):
        raise UserError("--output_dir '%s' holds more than patches; name "
                        'another' % directory)


def _checkout(ppdet: str, branch: Branch, tree: str) -> str:
    """A copy of the branch, on WORK_BRANCH. Returns the commit."""
    try:
        found = git(ppdet, 'for-each-ref', '--format=%(objectname)',
                    'refs/heads/' + branch.name,
                    'refs/remotes/*/' + branch.name).split()
    except CheckFailed:
        raise UserError("--ppdet '%s' is no git repository" % ppdet) from None
    if not found:
        raise UserError(
            "--ppdet '%s' has no branch '%s'; get it: git fetch origin %s" %
            (ppdet, branch.name, branch.name))
    git('.', 'clone', '-q', '--shared', '--no-checkout', ppdet, tree)
    author = git(ROOT, 'log', '-1', '--format=%an%n%ae').split('\n')
    git(tree, 'config', 'user.name', author[0])
    git(tree, 'config', 'user.email', author[1])
    git(tree, 'checkout', '-q', '-b', WORK_BRANCH, found[0])
    return found[0]


def _commit(tree: str, subject: str, body: str, files: Dict[str,
                                                            bytes]) -> None:
    for name, content in files.items():
        path = os.path.join(tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(content)
    # Their .gitignore has *.json.
    git(tree, 'add', '-f', '--', *files)
    git(tree, 'commit', '-q', '-m', subject, '-m', body)


def _check_applies(tree: str, base: str, made: str, again: str) -> None:
    """Raise CheckFailed if `git am` makes another tree of the series."""
    git(tree, 'worktree', 'add', '-q', '--detach', again, base)
    git(
        again, 'am', '-q', *[
            os.path.join(made, name) for name in sorted(os.listdir(made))
            if not name.startswith('0000-')
        ])
    if git(again, 'rev-parse', 'HEAD^{tree}') != git(tree, 'rev-parse',
                                                     'HEAD^{tree}'):
        raise CheckFailed('the series makes another tree than the commits that '
                          'it was made of')
