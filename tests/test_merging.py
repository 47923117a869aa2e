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
"""The merge of teacher and student gives PaddleSlim's program, in one go."""

import contextlib

import numpy as np
import program_equality
import pytest
from act.compress import merging, qat
from act.program.model import ModelFiles


def build(settings):
    return qat.build(
        ModelFiles.named(settings.Global, settings.Global.model_dir),
        settings.QuantAware, settings.Distillation, settings.TrainConfig)


@pytest.fixture(scope='module')
def sessions(settings):
    """Of the demo's detector: by fast_merge(), and by PaddleSlim alone."""
    ours = build(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qat, 'fast_merge', contextlib.nullcontext)
        return ours, build(settings)


@pytest.mark.parametrize('kind', ['train_program', 'test_program'])
def test_same_program(sessions, kind):
    ours, theirs = (getattr(s, kind) for s in sessions)
    assert program_equality.listing(ours) == program_equality.listing(theirs)
    assert program_equality.compare(ours, theirs) == []


def held(session):
    """The values of all variables that programs keep, the teacher's too."""
    found = {}
    for var in session.train_program.list_vars():
        if var.persistable and var.name not in ('feed', 'fetch'):
            found[var.name] = np.array(
                session.scope.find_var(var.name).get_tensor())
    return found


def test_same_values(sessions):
    ours, theirs = map(held, sessions)
    assert sum(name.startswith('teacher_') for name in ours) > 100
    assert program_equality.compare_values(ours, theirs) == []


def test_patch_is_undone():
    from paddleslim.auto_compression import create_compressed_program as owner
    before = owner.merge
    with pytest.raises(KeyError), merging.fast_merge():
        assert owner.merge is not before
        raise KeyError
    assert owner.merge is before


def test_another_version_is_left_alone(monkeypatch):
    from paddleslim.auto_compression import create_compressed_program as owner
    before = owner.merge
    monkeypatch.setattr(merging, 'SUPPORTED', '2.7.0')
    with pytest.warns(UserWarning, match='paddleslim 2.7.0'), \
            merging.fast_merge():
        assert owner.merge is before
