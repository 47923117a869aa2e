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
"""The models of cpu_engines.yml, and the files that each engine takes, made
where they are missing."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional

from act import config, yamlfile
from act.errors import UserError, unknown
from act.files import write_whole

from .protocol import one_line

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(config.__file__)))
BENCHMARKS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEYS = ('config', 'overrides', 'export', 'float_of', 'trained', 'model_type')


@dataclass(frozen=True)
class Row:
    """One model of the table; see cpu_engines.yml for the fields."""
    name: str
    config: str
    overrides: Dict[str, Any] = field(default_factory=dict)
    export: List[str] = field(default_factory=list)
    float_of: Optional[str] = None
    trained: bool = False
    model_type: str = ''


def filled(value: Any, given: Mapping[str, Optional[str]]) -> Any:
    """A value with {NAME} replaced in its texts.

    Raises:
        KeyError: a name that is not given, or given as None.
    """
    if isinstance(value, dict):
        return {k: filled(v, given) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, given) for v in value]
    if isinstance(value, str):
        for name, text in given.items():
            mark = '{%s}' % name
            if mark in value:
                if text is None:
                    raise KeyError(name)
                value = value.replace(mark, text)
    return value


def read_rows(path: str,
              given: Mapping[str, Optional[str]],
              names: Optional[List[str]] = None) -> List[Row]:
    """The rows to measure.

    Args:
        path: the table.
        given: values of the options that rows may need; None: not given.
        names: rows that were asked for; None: all that need no option which is
            not given.

    Raises:
        UserError: an unknown row or key, or an option that a row asked for
            needs.
    """
    with open(path, encoding='utf-8') as f:
        table = yamlfile.parse(f.read(), path)
    for name in names or ():
        if name not in table:
            raise unknown('model', name, table, path)
    rows = []
    for name in names or table:
        for key in table[name]:
            if key not in KEYS:
                raise unknown('key', key, KEYS, '%s: %s' % (path, name))
        try:
            rows.append(Row(name, **filled(table[name], given)))
        except KeyError as e:
            if names:
                raise UserError('%s needs --%s' % (name, e.args[0])) from None
    return rows


class Models:
    """The files of one row below a work directory: config.yml, int8/, onnx/ and
    openvino/ in its own, the float model in its own or another row's.

    What is there is taken as it is: remove it to have it made anew.
    """

    def __init__(self, row: Row, work_dir: str, peers_python: str) -> None:
        """
        Raises:
            UserError: the row's configuration is wrong.
        """
        self._row, self._python = row, peers_python
        self._failed: Dict[str, str] = {}
        self.directory = os.path.join(os.path.abspath(work_dir), row.name)
        self.float_dir = os.path.join(os.path.abspath(work_dir), row.float_of
                                      or row.name, 'float')
        os.makedirs(self.directory, exist_ok=True)
        self.settings = self._settings()

    def path(self, *names: str) -> str:
        """A path in the row's directory."""
        return os.path.join(self.directory, *names)

    @property
    def config_file(self) -> str:
        """The row's configuration with all that is laid over it."""
        return self.path('config.yml')

    def _settings(self) -> config.Settings:
        settings = config.load(os.path.join(PROJECT, self._row.config),
                               self._row.overrides)
        settings.Global.model_dir = self.float_dir
        # The copy lies elsewhere: its paths hold from anywhere.
        for section, name in ((settings.Reader, 'file'), (settings.Reader,
                                                          'dataset_dir'),
                              (settings.Export, 'config'), (settings.Export,
                                                            'weights')):
            value = getattr(section, name, None)
            if value and '://' not in value:
                setattr(section, name,
                        os.path.abspath(os.path.join(PROJECT, value)))
        write_whole(self.config_file, config.dump(settings).encode())
        return config.load(self.config_file)

    def _made(self, path: str, command: Callable[[str], List[str]],
              python: str) -> str:
        """A file or directory: made under another name if it is not there.

        Raises:
            UserError: the command failed, now or before; its output is in a log
                beside.
        """
        if path in self._failed:
            raise UserError(self._failed[path])
        if os.path.exists(path):
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        stem, suffix = os.path.splitext(path)
        made = stem + '_unfinished' + suffix
        print('making %s' % path, flush=True)
        try:
            _run([python, *command(made)], stem + '.log')
        except UserError as e:
            self._failed[path] = str(e)
            raise
        os.rename(made, path)
        return path

    def float_model(self) -> str:
        """Directory of Paddle's float model."""
        return self._made(
            self.float_dir, lambda made: [
                'export.py', '--config_path', self.config_file, '--save_dir',
                made, *self._row.export
            ], sys.executable)

    def float_file(self) -> str:
        """Its .pdmodel file."""
        return os.path.join(self.float_model(),
                            self.settings.Global.model_filename)

    def int8_model(self) -> str:
        """Directory of our int8 model."""
        self.float_model()
        return self._made(
            self.path('int8'), lambda made: [
                'run.py', '--config_path', self.config_file, '--save_dir', made,
                '--devices', 'cpu'
            ], sys.executable)

    def onnx_model(self) -> str:
        """The float model as an .onnx file."""
        model = self.float_file()
        return self._made(
            os.path.join(os.path.dirname(self.float_dir), 'onnx', 'fp32.onnx'),
            lambda made: self._convert('onnx', model, made,
                                       self.path('calibration')), self._python)

    def onnxruntime_int8(self) -> str:
        """ONNX Runtime's int8 form, an .onnx file."""
        model = self.onnx_model()
        return self._made(
            self.path('onnx', 'int8.onnx'), lambda made: self._convert(
                'onnxruntime_int8', model, made, self.path('calibration'),
                self._depthwise()), self._python)

    def openvino_int8(self) -> str:
        """OpenVINO's int8 form, an .xml file; its weights lie beside it."""
        model = self.float_file()
        result = self.path('openvino', 'int8', 'model.xml')
        made = self._made(
            os.path.dirname(result), lambda made: self._convert(
                'openvino_int8', model, os.path.join(made, 'model.xml'),
                self.path('calibration'), self._depthwise(), self._row.
                model_type), self._python)
        return os.path.join(made, os.path.basename(result))

    def _depthwise(self) -> str:
        """As ours: where int8 depthwise convolutions cost accuracy, they would
        cost the peers' too."""
        types = self.settings.QuantAware.quantize_op_types
        return 'int8' if 'depthwise_conv2d' in types else 'fp32'

    @staticmethod
    def _convert(*arguments: str) -> List[str]:
        return ['-m', 'engines.convert', *arguments]


def _run(command: List[str], log: str) -> None:
    """Run a command in the project's directory, its output to a file.

    Raises:
        UserError: it failed, with the last line it wrote.
    """
    with open(log, 'wb') as f:
        try:
            code = subprocess.run(command,
                                  cwd=PROJECT,
                                  env=dict(os.environ, PYTHONPATH=BENCHMARKS),
                                  stdin=subprocess.DEVNULL,
                                  stdout=f,
                                  stderr=f,
                                  check=False).returncode
        except OSError as e:
            raise UserError("'%s' cannot be started: %s" %
                            (command[0], e.strerror)) from None
    if code:
        with open(log, errors='replace') as f:
            raise UserError('%s: exit code %d: %s' %
                            (os.path.basename(log), code, one_line(f.read())))
