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
"""What searches share: the journal of their probes."""

import json
import os

import pytest
from act.errors import UserError
from act.search.journal import Journal


def never():
    raise AssertionError('the result was known')


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'output' / 'probes.jsonl')


def test_a_probe_runs_once(path):
    journal = Journal(path, {'model': 'x'})
    assert journal.ask(['a', 1], lambda: (1, 2)) == [1, 2]
    assert journal.ask(['a', 1], never) == [1, 2]
    assert journal.ask(['a', 2], lambda: None) is None
    assert journal.reused == 1 and len(journal) == 2


def test_another_process_goes_on(path):
    Journal(path, {
        'model': 'x',
        'n': (1, 2)
    }).ask({
        'b': 1,
        'a': 2
    }, lambda: 3.5)
    after = Journal(path, {'model': 'x', 'n': (1, 2)})
    assert after.ask({'a': 2, 'b': 1}, never) == 3.5
    assert after.ask('c', lambda: True) is True
    assert len(Journal(path, {'model': 'x', 'n': (1, 2)})) == 2


@pytest.mark.parametrize('cut', [1, 3])
def test_a_line_that_a_kill_cut_is_made_again(path, cut):
    journal = Journal(path, {})
    journal.ask(1, lambda: 'one')
    journal.ask(2, lambda: 'two')
    with open(path, 'r+b') as f:
        f.truncate(os.path.getsize(path) - cut)
    after = Journal(path, {})
    assert after.ask(1, never) == 'one'
    assert after.ask(2, lambda: 'again') == 'again'
    assert after.ask(3, lambda: 'three') == 'three'
    with open(path, encoding='utf-8') as f:
        rows = [json.loads(line) for line in f]
    assert rows == [{}, [1, 'one'], [2, 'again'], [3, 'three']]


def test_probes_of_something_else_do_not_count(path, capsys):
    Journal(path, {'model': 'x', 'images': 8}).ask(1, lambda: 'x')
    other = Journal(path, {'model': 'y', 'images': 8})
    assert 'another model: made anew' in capsys.readouterr().out
    # The old file stays until there is something new.
    assert len(Journal(path, {'model': 'x', 'images': 8})) == 1
    assert other.ask(1, lambda: 'y') == 'y'
    assert Journal(path, {'model': 'y', 'images': 8}).ask(1, never) == 'y'


def test_fresh_forgets(path):
    Journal(path, {}).ask(1, lambda: 'old')
    journal = Journal(path, {}, fresh=True)
    assert journal.ask(1, lambda: 'new') == 'new'
    assert Journal(path, {}).ask(1, never) == 'new'


@pytest.mark.parametrize('content', [b'', b'x\n', b'{}\n[1]\n', b'\xff\n'])
def test_another_file_of_that_name(path, content, capsys):
    os.makedirs(os.path.dirname(path))
    with open(path, 'wb') as f:
        f.write(content)
    journal = Journal(path, {})
    assert len(journal) == 0
    assert 'no journal of probes' in capsys.readouterr().out
    assert journal.ask(1, lambda: 2) == 2
    assert Journal(path, {}).ask(1, never) == 2


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='journal .* cannot be written'):
        Journal(str(tmp_path / 'file' / 'x.jsonl'), {}).ask(1, lambda: 2)
