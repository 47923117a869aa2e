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
"""An inference model on disk and in memory."""

import os
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from .. import runtime
from ..config import GlobalSection
from ..errors import UserError
from ..files import (
    file_digest,
    replace_directory,
    work_directory,
    write_whole,
)


@dataclass(frozen=True)
class ModelFiles:
    """Where an inference model lies."""
    directory: str
    model_filename: str = 'model.pdmodel'
    params_filename: str = 'model.pdiparams'

    @classmethod
    def named(cls, section: GlobalSection, directory: str) -> 'ModelFiles':
        """A directory's model, under a configuration's file names."""
        return cls(directory, section.model_filename, section.params_filename)

    @property
    def model_path(self) -> str:
        return os.path.join(self.directory, self.model_filename)

    @property
    def params_path(self) -> str:
        return os.path.join(self.directory, self.params_filename)

    def read(self) -> List[bytes]:
        """The content of both files."""
        content = []
        for path in (self.model_path, self.params_path):
            with open(path, 'rb') as f:
                content.append(f.read())
        return content

    def write(self, content: Sequence[bytes]) -> None:
        """What `read` gave, into `directory`."""
        for path, data in zip((self.model_path, self.params_path), content):
            write_whole(path, data)

    def check(self) -> 'ModelFiles':
        """Return self if both files are there.

        Raises:
            UserError: one is not, or is empty.
        """
        if not os.path.isdir(self.directory):
            raise UserError(
                "model directory '%s' %s; make one with run.py, or: %s" %
                (self.directory, 'is a file' if os.path.exists(self.directory)
                 else 'does not exist', self.remedy()))
        for path in (self.model_path, self.params_path):
            if not os.path.isfile(path):
                self._check_newer()
                raise UserError(
                    "'%s' does not exist: a model directory holds %s and %s "
                    "(set Global.model_filename and Global.params_filename for "
                    "other names); to export it again: %s" %
                    (path, self.model_filename, self.params_filename,
                     self.remedy()))
            if os.path.getsize(path) == 0:
                raise UserError("'%s' is empty; export the model again: %s" %
                                (path, self.remedy()))
        return self

    def _check_newer(self) -> None:
        """
        Raises:
            UserError: the directory holds a program of Paddle 3's own form.
        """
        there = set(os.listdir(self.directory))
        for name in sorted(there):
            stem, suffix = os.path.splitext(name)
            if suffix == '.json' and stem + '.pdiparams' in there:
                raise UserError(
                    "'%s' is a program of Paddle 3's own form (PIR), which "
                    'is not supported; export the model with paddlepaddle '
                    '2.6.2, and it runs with both: %s' %
                    (os.path.join(self.directory, name), self.remedy()))

    def remedy(self) -> str:
        """The command that makes such a directory."""
        return ('python export.py -c PPDET_CONFIG -o weights=WEIGHTS '
                '--save_dir %s' % self.directory)

    def size_mb(self) -> float:
        """Size of both files in MB (1e6 bytes)."""
        return sum(
            os.path.getsize(p)
            for p in (self.model_path, self.params_path)) / 1e6

    def digest(self) -> str:
        """SHA-256 over both files, hexadecimal."""
        return file_digest(self.model_path, self.params_path)


class Model:
    """A program with its parameters in a scope of its own.

    The program keeps its feed and fetch operators; rewrites edit it in place.
    Saving writes the program as it is: PaddleSlim's and Paddle's own savers
    normalise it and leave `scale` operators behind at each round.
    """

    def __init__(self, program: Any, scope: Any) -> None:
        self.program = program
        self.scope = scope

    @classmethod
    def load(cls, files: ModelFiles) -> 'Model':
        """Read a model.

        Raises:
            UserError: a file is missing, truncated, or of another model.
        """
        files.check()
        paddle = runtime.import_paddle()
        static = paddle.static
        with open(files.model_path, 'rb') as f:
            content = f.read()
        try:
            with static_mode(paddle):
                program = static.deserialize_program(content)
        except Exception:
            raise UserError("'%s' is not a Paddle inference program, or is "
                            "truncated; export the model again: %s" %
                            (files.model_path, files.remedy())) from None
        scope = static.Scope()
        with static.scope_guard(scope), static_mode(paddle):
            exe = static.Executor(paddle.CPUPlace())
            try:
                # Not deserialize_persistables(): it passes the file's content
                # as an attribute, copied by each pass (13 s for DINO-R50).
                static.io.load_vars(exe,
                                    files.directory,
                                    program,
                                    predicate=static.io.is_persistable,
                                    filename=files.params_filename)
                # Bytes that the last tensor lacks are no error of Paddle's.
                whole = len(static.io._serialize_persistables(
                    program, exe)) == os.path.getsize(files.params_path)
            except Exception:
                whole = False
        if not whole:
            raise UserError(
                "'%s' does not hold the parameters of '%s': "
                "truncated, or of another model; export the model "
                "again: %s" %
                (files.params_path, files.model_path, files.remedy()))
        model = cls(program, scope)
        if not model.inputs() or not model.outputs():
            raise UserError("'%s' is a program without inputs and outputs, no "
                            "inference model; export the model again: %s" %
                            (files.model_path, files.remedy()))
        return model

    @classmethod
    def load_written(cls, files: ModelFiles, what: str) -> 'Model':
        """Read back a model that Paddle has just written: its C++ savers do
        not tell when the disk is full.

        Args:
            files: of the model.
            what: the option or path, for the message.

        Raises:
            UserError: it was not written whole.
        """
        try:
            return cls.load(files)
        except UserError:
            raise UserError("%s cannot be written: the model was cut off; is "
                            "the disk full? Free some space there, or name "
                            "another place" % what) from None

    def save(self,
             files: ModelFiles,
             beside: Optional[Dict[str, bytes]] = None) -> None:
        """Write both files into `files.directory`, which appears whole.

        Args:
            files: where to.
            beside: {name: content} of further files there.

        Raises:
            OSError: they cannot be written; what was there stays.
        """
        paddle = runtime.import_paddle()
        from paddle.static import io
        with work_directory(files.directory, '.model_') as work:
            made = os.path.join(work, 'made')
            os.mkdir(made)
            with paddle.static.scope_guard(self.scope), static_mode(paddle):
                exe = paddle.static.Executor(paddle.CPUPlace())
                params = io._serialize_persistables(self.program, exe)
            content = {
                files.model_filename: self.program.desc.serialize_to_string(),
                files.params_filename: params
            }
            for name, data in {**content, **(beside or {})}.items():
                with open(os.path.join(made, name), 'wb') as f:
                    f.write(data)
            replace_directory(made, files.directory)

    @property
    def ops(self) -> List[Any]:
        """All operators, in program order."""
        return [op for block in self.program.blocks for op in block.ops]

    def inputs(self) -> List[str]:
        """Names of the model's inputs."""
        return [op.output('Out')[0] for op in self.ops if op.type == 'feed']

    def outputs(self) -> List[Any]:
        """The model's outputs: variables with name and shape."""
        block = self.program.global_block()
        return [
            block.var(op.input('X')[0]) for op in self.ops if op.type == 'fetch'
        ]

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter's value."""
        return np.array(self.scope.find_var(name).get_tensor())

    def set_parameter(self, name: str, value: np.ndarray) -> None:
        """Overwrite a parameter's value; shape and dtype stay."""
        paddle = runtime.import_paddle()
        self.scope.find_var(name).get_tensor().set(value, paddle.CPUPlace())

    def persistable(self) -> Iterator[Any]:
        """Variables with a value of their own."""
        for var in self.program.list_vars():
            if var.persistable and var.name not in ('feed', 'fetch'):
                yield var


class static_mode:
    """Static mode for a while; the executor refuses to work without."""

    def __init__(self, paddle: Any) -> None:
        self._paddle = paddle
        self._dynamic = paddle.in_dynamic_mode()

    def __enter__(self) -> None:
        self._paddle.enable_static()

    def __exit__(self, *_: Any) -> None:
        if self._dynamic:
            self._paddle.disable_static()
