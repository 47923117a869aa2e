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
"""Which model a command line is about, and its configuration."""

import os
from typing import Any, Dict, List, Optional, Tuple

from . import config, data, upstream
from .compress.job import CONFIG, latest_result
from .errors import UserError
from .program.inspect import count_types, is_quantized, quantized_ops
from .program.model import Model, ModelFiles


def find(config_path: Optional[str],
         model_path: Optional[str],
         overrides: Dict[str, Any],
         reader: Optional[str] = None) -> Tuple[config.Settings, str]:
    """The settings, and the model's directory.

    Args:
        config_path: YAML; None: the copy beside the model. A reader file is
            taken for `reader`.
        model_path: None: the YAML's model, or, without a YAML, the most recent
            result of run.py, which is named on the terminal.
        overrides: see `config.load`.
        reader: a reader file in the place of the one that the YAML names. It
            does without a YAML.

    Raises:
        UserError: there is no such model or configuration.
    """
    if config_path and not reader and _is_reader(config_path):
        reader, config_path = config_path, None
    if not model_path and not config_path:
        model_path, config_path = latest_result()
        print("model: '%s', the most recent result of run.py; another: "
              '--model_path DIR' % model_path)
    if not config_path:
        config_path = os.path.join(model_path, CONFIG)
        if not os.path.isdir(model_path):
            ModelFiles(model_path).check()
        if not os.path.exists(config_path):
            if reader:
                return _without_yaml(model_path, reader, overrides), model_path
            raise UserError("'%s' holds no %s: name the model's YAML with "
                            '--config_path' % (model_path, CONFIG))
    settings = config.load(config_path, overrides, reader)
    return settings, model_path or settings.Global.model_dir


def _is_reader(path: str) -> bool:
    try:
        return upstream.is_reader(data.read_file(path))
    except UserError:  # said where it is read as what it shall be
        return False


def _without_yaml(model_path: str, reader: str,
                  overrides: Dict[str, Any]) -> config.Settings:
    model = Model.load(ModelFiles(model_path).check())
    types: List[str] = []
    if is_quantized(model):
        types = list(count_types(quantized_ops(model)))
    given = overrides.get('Global') or {}
    return config.for_model(model_path, reader, types,
                            given.get('include_nms', True), overrides)
