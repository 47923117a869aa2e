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
"""Copies of a model that are prepared for a target, made on first use."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict

from .. import runtime
from ..errors import UserError
from .model import Model, ModelFiles

# What was done, beside a prepared program.
DONE = 'rewrites.json'


@dataclass(frozen=True)
class Prepared:
    """A prepared program, and {rewrite's name: places it changed}."""
    files: ModelFiles
    done: Dict[str, Any]


def cache_dir() -> str:
    """Directory for prepared programs."""
    return runtime.user_cache('programs')


def prepared(files: ModelFiles, key: Any, model: Model,
             prepare: Callable[[Model], Dict[str, Any]]) -> Prepared:
    """The prepared copy of a model.

    Copies lie in the user's cache, keyed by the model's hash and `key`; never
    beside the user's model. If the cache cannot be written, a temporary
    directory is used.

    Args:
        files: the model as the user has it.
        key: all else that the copy depends on; its repr() counts.
        model: the same, loaded; changed.
        prepare: changes a model in place, and says what it did.
    """
    # A program names the version of Paddle that wrote it.
    wanted = repr((files.digest(), runtime.installed().version, key))
    name = hashlib.sha256(wanted.encode()).hexdigest()[:32]
    copy = ModelFiles(os.path.join(cache_dir(), name))
    if os.path.isdir(copy.directory):
        try:
            copy.check()
            with open(os.path.join(copy.directory, DONE)) as f:
                return Prepared(copy, json.load(f))
        except (UserError, OSError, ValueError):
            pass  # left behind half-cleaned: made anew below
    done = prepare(model)
    beside = {DONE: json.dumps(done).encode()}
    try:
        model.save(copy, beside)
    except OSError:
        copy = ModelFiles(
            os.path.join(tempfile.mkdtemp(prefix='act_program_'), name))
        model.save(copy, beside)
    return Prepared(copy, done)
