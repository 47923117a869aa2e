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
"""Command lines: exit codes, booleans, overrides, speed of --help."""

import argparse
import importlib
import sys
import time
from dataclasses import dataclass, fields

import pytest
from act import cli
from act.errors import CheckFailed, UserError, reason, unknown
from conftest import run_script

SCRIPTS = ('run.py', 'paddle_inference_eval.py', 'export.py', 'diagnose.py',
           'report.py', 'sweep.py')


@pytest.mark.parametrize('raised, code', [
    (None, 0),
    (UserError('x'), 2),
    (CheckFailed('x'), 1),
    (KeyboardInterrupt(), 130),
])
def test_exit_codes(raised, code, capsys):

    def main():
        if raised:
            raise raised

    assert cli.run(main) == code
    if code in (1, 2):
        assert capsys.readouterr().err == 'error: x\n'


@pytest.mark.parametrize('words, value', [
    ([], False),
    (['--flag'], True),
    (['--flag', 'False'], False),
    (['--flag', '0'], False),
    (['--flag', 'true'], True),
])
def test_flags(words, value):
    parser = argparse.ArgumentParser()
    cli.add_flag(parser, '--flag')
    assert parser.parse_args(words).flag is value


def test_flag_refuses_other_words(capsys):
    parser = argparse.ArgumentParser()
    cli.add_flag(parser, '--flag')
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--flag', 'maybe'])
    assert stop.value.code == 2
    assert "'maybe' is not True or False" in capsys.readouterr().err


def test_options_of_a_command_line():

    @dataclass(frozen=True)
    class Options:
        runs: int = 20
        compare: str = 'nothing'
        made: int = 0
        silent: bool = True

    args = argparse.Namespace(runs=3, compare=None, task='profile')
    assert cli.filled(Options, args, made=4) == Options(3, None, 4, True)
    # What is said in the call goes before.
    assert cli.filled(Options, args, runs=5).runs == 5


MODEL = {'config_path', 'reader_config', 'model_path', 'opt'}


@pytest.mark.parametrize('words, module, handled', [
    (['profile'], 'act.profile.run', {'task', 'compare', 'no_rewrite'}),
    (['passes'], 'act.search.trial', {'task', 'no_rewrite'}),
    (['ops'], 'act.search.trial', {'task', 'no_rewrite', 'types'}),
    (['layers'], 'act.search.layers', {'task'}),
    (['search'], 'act.search.floats', {'task'}),
    ([], 'act.evaluate', {
        'no_rewrite', 'compare', 'image_file', 'explain', 'collect_shapes_only',
        'include_nms', 'delete_pass_name', 'img_shape',
        'use_multi_img_for_dynamic_shape_collect'
    }),
])
def test_no_option_is_lost(words, module, handled, monkeypatch):
    """Each is a field of Options by its name, or is handled by the script."""
    script = importlib.import_module(
        'diagnose' if words else 'paddle_inference_eval')
    monkeypatch.setattr(sys, 'argv', ['script.py', *words])
    given = set(vars(script.parse_args()))
    taken = {f.name for f in fields(importlib.import_module(module).Options)}
    assert given - taken == MODEL | handled


def test_overrides():
    assert cli.parse_overrides(['A.b=1', 'A.c=[2, x]', 'd=a=b', 'e=False']) == {
        'A': {
            'b': 1,
            'c': [2, 'x']
        },
        'd': 'a=b',
        'e': False,
    }


@pytest.mark.parametrize('pair', ['novalue', '=1', 'a=[1'])
def test_bad_overrides(pair):
    with pytest.raises(UserError):
        cli.parse_overrides([pair])


def test_override_of_a_value_and_its_keys():
    with pytest.raises(UserError, match="'a' is given a value and keys"):
        cli.parse_overrides(['a=1', 'a.b=2'])


def test_unknown_word_names_the_nearest():
    error = unknown('key', 'trian_iter', ['train_iter', 'eval_iter'], 'f.yml')
    assert str(error) == ("f.yml: unknown key 'trian_iter'; did you mean "
                          "'train_iter'?")


@pytest.mark.parametrize('said, line', [
    ('\nC++ Traceback:\n0 paddle::Run\nError Message Summary:\n'
     'NotFoundError: no such file.\n  [Hint: expected true] (at a.cc:1)\n',
     'NotFoundError: no such file.'),
    ('(NotFound) Operator (x) is not registered.\n'
     '  [Hint: op_info_ptr should not be null.] (at b.cc:2)\n',
     '(NotFound) Operator (x) is not registered.'),
    ('something else\nlast', 'last'),
    ('', 'RuntimeError'),
])
def test_the_line_of_an_error_of_paddle(said, line):
    assert reason(RuntimeError(said)) == line


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_imports_no_paddle(script):
    # Half a second is the promise; the bound here leaves room for a loaded
    # machine, which importing paddle (3 s) would still exceed.
    start = time.process_time()
    done = run_script(script, '--help')
    assert done.returncode == 0
    assert 'usage' in done.stdout
    probe = run_script(script,
                       '--help',
                       env={
                           'PYTHONVERBOSE': '1',
                           'PATH': '/usr/bin:/bin'
                       })
    assert "import 'argparse'" in probe.stderr
    for heavy in ('paddle', 'ppdet', 'cv2', 'numpy', 'pydantic'):
        assert "import '%s'" % heavy not in probe.stderr, heavy
    assert time.process_time() - start < 5
