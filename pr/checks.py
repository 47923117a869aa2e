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
"""What PaddleDetection's contributors run before they commit: its
.pre-commit-config.yaml, and yapf, which its older branches list there too."""

import os
import subprocess
import sys
from typing import List, Sequence

from act.errors import CheckFailed

# Hook of pre_commit_hooks, suffixes of its files (none: all).
HOOKS = (
    ('check_merge_conflict', ()),
    ('check_symlinks', ()),
    ('detect_private_key', ()),
    ('end_of_file_fixer', ('.md', '.yml')),
    ('trailing_whitespace_fixer', ('.md', '.yml')),
)
CPP = ('.c', '.cc', '.cxx', '.cpp', '.cu', '.h', '.hpp', '.hxx')
# Of .travis/codestyle/cpplint_pre_commit.hook.
CPPLINT = ('--quiet', '--filter=-readability/fn_size,'
           '-build/include_what_you_use,-build/c++11')


def _said(tree: str, command: Sequence[str]) -> List[str]:
    """What a command that failed printed, nothing if it did not fail."""
    done = subprocess.run(command,
                          cwd=tree,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          universal_newlines=True)
    if not done.returncode:
        return []
    return done.stdout.strip().splitlines() or [' '.join(command[:3])]


def run(tree: str, files: Sequence[str], added: Sequence[str]) -> None:
    """Check files of a tree.

    Args:
        tree: a PaddleDetection checkout.
        files: that the series changes, relative to it.
        added: those that were not there. yapf is for them: it would change
            lines of others that the series does not.

    Raises:
        CheckFailed: with the first line of each check that failed.
    """
    python = sys.executable

    def of(suffixes: Sequence[str]) -> List[str]:
        return [f for f in files if f.endswith(tuple(suffixes))]

    failed = []
    for hook, suffixes in HOOKS:
        chosen = of(suffixes) if suffixes else list(files)
        if chosen:
            failed += _said(tree,
                            [python, '-m', 'pre_commit_hooks.' + hook, *chosen])
    for name in of(('.md', '.yml')):
        with open(os.path.join(tree, name), 'rb') as f:
            content = f.read()
        for word, bytes_ in (('a tab', b'\t'), ('a carriage return', b'\r')):
            if bytes_ in content:
                failed.append('%s: %s' % (name, word))
    if of(CPP):
        # From the environment that runs this, not the system's.
        beside = os.path.join(os.path.dirname(python), 'clang-format')
        failed += _said(tree, [beside, '--dry-run', '--Werror', *of(CPP)])
        failed += _said(tree, [python, '-m', 'cpplint', *CPPLINT, *of(CPP)])
    ours = [name for name in added if name.endswith('.py')]
    if ours:
        failed += _said(tree, [python, '-m', 'yapf', '--diff', *ours])
    if failed:
        raise CheckFailed(
            "%d lines of PaddleDetection's checks, the first: %s" %
            (len(failed), failed[0]))
