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
from typing import Any, Dict, Optional, Tuple

from . import config
from .compress.job import CONFIG, latest_result
from .errors import UserError
from .program.model import ModelFiles


def find(config_path: Optional[str], model_path: Optional[str],
         overrides: Dict[str, Any]) -> Tuple[config.Settings, str]:
    """The settings, and the model's directory.

    Args:
        config_path: YAML; None: the copy beside the model.
        model_path: None: the YAML's model, or, without a YAML, the most recent
            result of run.py, which is named on the terminal.
        overrides: see `config.load`.

    Raises:
        UserError: there is no such model or configuration.
    """
    if not model_path and not config_path:
        model_path, config_path = latest_result()
        print("model: '%s', the most recent result of run.py; another: "
              '--model_path DIR' % model_path)
    if not config_path:
        config_path = os.path.join(model_path, CONFIG)
        if not os.path.isdir(model_path):
            ModelFiles(model_path).check()
        if not os.path.exists(config_path):
            raise UserError("'%s' holds no %s: name the model's YAML with "
                            '--config_path' % (model_path, CONFIG))
    settings = config.load(config_path, overrides)
    return settings, model_path or settings.Global.model_dir
