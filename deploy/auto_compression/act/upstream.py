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
"""Configurations in two files, as PaddleDetection's own scripts took them: one
says how to compress, the other is the reader file.

What they left to the scripts is filled in here.
"""

from typing import Any, Dict, List, Optional

from .capability import DEPLOYED_AS, deployed_as
from .errors import UserError

# The NMS that those scripts did for models without one (post_process.py: 200
# candidates of a class).
NMS = {
    'score_threshold': 0.01,
    'nms_threshold': 0.6,
    'nms_top_k': 200,
    'keep_top_k': 300
}
_NO_DETECTOR = ('keypoint', )
# Kept by PaddleSlim's own loop, which is not used here.
_IDLE = {'TrainConfig': ('target_metric', 'origin_metric')}


def is_compression(content: Dict[str, Any]) -> bool:
    """Whether a YAML's content is the first of two files."""
    return isinstance(content.get('Global'), dict) and 'Reader' not in content \
        and 'Presets' not in content and 'Quantization' not in content


def is_reader(content: Dict[str, Any]) -> bool:
    """Whether a YAML's content is a reader file."""
    return 'Global' not in content and any(
        name in content for name in ('EvalReader', 'TestReader', 'EvalDataset'))


def int8_ops(types: List[str]) -> List[str]:
    """Deploy.cpu.int8_ops for types of operators that are quantized."""
    return sorted(deployed_as(name for name in types if name in DEPLOYED_AS))


def translated(content: Dict[str, Any],
               where: str,
               reader: Optional[str] = None) -> Dict[str, Any]:
    """The content of one YAML that says the same.

    Args:
        content: of the first file; see `is_compression`.
        where: its path, for messages.
        reader: the second file; None: as the first one names it.

    Raises:
        UserError: it is for no detector, or no reader file is named.
    """
    made = {
        name: dict(section) if isinstance(section, dict) else section
        for name, section in content.items()
    }
    section = made['Global']
    named = section.pop('reader_config', None)
    arch = section.pop('arch', None)
    if arch in _NO_DETECTOR:
        raise UserError('%s: Global.arch is %r; only detectors are supported' %
                        (where, arch))
    if not (reader or named):
        raise UserError(
            '%s: it has no Reader section and no Global.reader_config; name '
            'the reader file: --config READER_FILE' % where)
    for name, keys in _IDLE.items():
        if isinstance(made.get(name), dict):
            made[name] = {k: v for k, v in made[name].items() if k not in keys}
    made['Reader'] = {'file': reader or named}
    # The one thing that those scripts did.
    made['Quantization'] = {'strategy': 'qat'}
    quant = made.get('QuantAware')
    types = quant.get('quantize_op_types') if isinstance(quant, dict) else None
    deploy: Dict[str, Any] = {}
    if isinstance(types, list):
        deploy['cpu'] = {'int8_ops': int8_ops(types)}
    if section.get('include_nms') is False:
        deploy['nms'] = dict(NMS)
    if deploy:
        made['Deploy'] = deploy
    return made


def alone(model_dir: str, reader: str, types: List[str],
          include_nms: bool) -> Dict[str, Any]:
    """The content of a YAML for a model that only a reader file is named for.

    Args:
        model_dir: of the model.
        reader: the reader file.
        types: of its operators that are quantized.
        include_nms: whether it holds its NMS.
    """
    made: Dict[str, Any] = {
        'Global': {
            'model_dir': model_dir,
            'include_nms': include_nms
        },
        'Reader': {
            'file': reader
        },
        'Deploy': {}
    }
    if types:
        made['Deploy']['cpu'] = {'int8_ops': int8_ops(types)}
    if not include_nms:
        made['Deploy']['nms'] = dict(NMS)
    return made
