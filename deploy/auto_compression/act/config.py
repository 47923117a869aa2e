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
"""One YAML a model, read into validated, typed settings.

`load()` reads the file, applies its preset and the command line's overrides,
and checks every key: an unknown one is an error with the nearest known one,
since a misspelt option that is silently ignored costs its user a day.

Paths: files that a configuration names (`Reader.file`, `Export.config`, and
`Export.weights` if it is there) are relative to that configuration, data and
models to the current directory.
"""

import os
from typing import Any, Dict, List, Literal, Optional, Tuple, Union

import pydantic
import yaml

from .errors import UserError, nearest

PRESET, PRESETS = 'Preset', 'Presets'


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra='forbid', protected_namespaces=())


class GlobalSection(_Section):
    """What is compressed."""
    model_dir: str
    model_filename: str = 'model.pdmodel'
    params_filename: str = 'model.pdiparams'
    # Names of the model's inputs, or {reader's name: model's name}. Default:
    # the inputs the model has.
    input_list: Optional[Union[List[str], Dict[str, str]]] = None
    include_nms: Literal[True] = True
    Evaluation: bool = True

    @property
    def input_mapping(self) -> Optional[Dict[str, str]]:
        """{reader's name: model's name}, None if the names are the same."""
        return self.input_list if isinstance(self.input_list, dict) else None


class ExportSection(_Section):
    """How `model_dir` came to be: a ppdet configuration and weights."""
    config: str
    weights: str
    options: Dict[str, Any] = {}


class ReaderSection(_Section):
    """Which images, and how they become the model's input."""
    file: str
    dataset_dir: Optional[str] = None
    image_dir: Optional[str] = None
    anno_path: Optional[str] = None
    train_image_dir: Optional[str] = None
    train_anno_path: Optional[str] = None


class DistillationSection(_Section):
    """As PaddleSlim defines it. `node`: variables compared between teacher
    and student; default: the inputs of the last operators with weights."""
    # PaddleSlim evaluates this name as Python; these take two variables.
    loss: Literal['l2', 'soft_label'] = 'l2'
    alpha: float = 1.0
    node: List[str] = []


class QuantAwareSection(_Section):
    """As PaddleSlim defines it."""
    use_pact: bool = False
    onnx_format: Literal[True] = True
    activation_quantize_type: Literal['moving_average_abs_max', 'range_abs_max',
                                      'abs_max'] = 'moving_average_abs_max'
    weight_quantize_type: Literal['channel_wise_abs_max',
                                  'abs_max'] = 'channel_wise_abs_max'
    weight_bits: Literal[8] = 8
    activation_bits: Literal[8] = 8
    moving_rate: float = pydantic.Field(0.9, gt=0, lt=1)
    quantize_op_types: List[str] = pydantic.Field(['conv2d'], min_length=1)
    not_quant_pattern: List[str] = ['skip_quant']


class QuantizationSection(_Section):
    """Which strategy, and what post-training quantization needs."""
    strategy: Literal['qat', 'ptq'] = 'qat'
    algo: Literal['avg', 'hist', 'mse', 'KL', 'abs_max'] = 'hist'
    hist_percent: float = pydantic.Field(0.9999, gt=0, le=1)
    bias_correction: bool = False
    calibration_images: int = pydantic.Field(64, ge=1)
    # What is chosen anew after `algo`, see act.compress.refine.
    activation_ranges: Literal['output_error', 'algo'] = 'output_error'
    weight_rounding: Literal['gptq', 'nearest'] = 'gptq'
    seed: int = pydantic.Field(0, ge=0)  # of the choice of images

    @property
    def refines(self) -> bool:
        """Whether anything is chosen anew after `algo`."""
        return (self.activation_ranges, self.weight_rounding) != ('algo',
                                                                  'nearest')


class TrainSection(_Section):
    """As PaddleSlim's TrainConfig, with what our loop adds."""
    train_iter: int = pydantic.Field(ge=1)
    eval_iter: int = pydantic.Field(ge=1)
    batch_size: int = pydantic.Field(4, ge=1)
    eval_images: Optional[int] = pydantic.Field(None, ge=1)
    learning_rate: Union[float, Dict[str, Any]]
    optimizer_builder: Dict[str, Any] = {'optimizer': {'type': 'SGD'}}
    # Batch norm keeps the statistics it was trained with.
    freeze_batch_norm: bool = True
    seed: int = 0


class CpuSection(_Section):
    """How Paddle Inference runs the model on the CPU."""
    int8_ops: List[str] = ['conv2d', 'fused_conv2d']
    bf16_ops: List[str] = ['conv2d', 'fused_conv2d', 'fc']
    deleted_passes: List[str] = []
    threads: Optional[int] = pydantic.Field(None, ge=1)


class DeploySection(_Section):
    """The model as it is deployed."""
    # Height, width. Checked against what the reader makes.
    input_shape: Optional[Tuple[int, int]] = None
    cpu: CpuSection = CpuSection()


class Settings(_Section):
    """A model's YAML. `path` is the file it was read from."""
    Global: GlobalSection
    Export: Optional[ExportSection] = None
    Reader: ReaderSection
    Distillation: DistillationSection = DistillationSection()
    QuantAware: QuantAwareSection = QuantAwareSection()
    Quantization: QuantizationSection = QuantizationSection()
    TrainConfig: Optional[TrainSection] = None
    Deploy: DeploySection = DeploySection()
    # [precision, metric, value in percent, tolerance in points]
    Expected: List[Tuple[str, str, float, float]] = []
    path: str = pydantic.Field('', exclude=True)

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return os.path.splitext(os.path.basename(self.path))[0]


def merge(base: Dict[str, Any], over: Dict[str, Any]) -> Dict[str, Any]:
    """`over` laid onto `base`, mappings key by key, anything else replaced."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            value = merge(result[key], value)
        result[key] = value
    return result


def read_mapping(path: str, loader: Any = yaml.SafeLoader) -> Dict[str, Any]:
    """Read a YAML file that must be a mapping.

    Raises:
        UserError: the file is missing, unreadable, no YAML, empty, or a list.
    """
    try:
        with open(path, encoding='utf-8') as f:
            content = yaml.load(f, Loader=loader)
    except OSError as e:
        raise UserError("configuration '%s': %s" %
                        (path, e.strerror or e)) from None
    except UnicodeDecodeError:
        raise UserError("configuration '%s' is not a text file" %
                        path) from None
    except yaml.YAMLError as e:
        mark = getattr(e, 'problem_mark', None)
        where = ', line %d' % (mark.line + 1) if mark else ''
        raise UserError("configuration '%s'%s is not valid YAML: %s" %
                        (path, where, getattr(e, 'problem', None)
                         or str(e).splitlines()[0])) from None
    if not isinstance(content, dict):
        raise UserError(
            "configuration '%s' must be a mapping of sections, found %s" %
            (path, 'nothing' if content is None else type(content).__name__))
    return content


def _known_keys(location: Tuple[Any, ...]) -> List[str]:
    """Keys allowed in the section a validation error points into."""
    model: Any = Settings
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        for option in getattr(annotation, '__args__', (annotation, )):
            if isinstance(option, type) and issubclass(option,
                                                       pydantic.BaseModel):
                model = option
                break
        else:
            return []
    return [k for k in model.model_fields if k != 'path']


def _explain(error: Dict[str, Any], path: str) -> UserError:
    """One line for pydantic's first complaint."""
    location = error['loc']
    # pydantic appends the tried types of a union; a user knows no such keys.
    dotted = '.'.join(str(p) for p in location)
    if error['type'] == 'extra_forbidden':
        known = _known_keys(location[:-1])
        guess = nearest(location[-1], known)
        hint = ("did you mean '%s'?" % guess if guess else 'known keys: ' +
                ', '.join(sorted(known)))
        return UserError("%s: unknown key '%s'; %s" % (path, dotted, hint))
    if error['type'] == 'missing':
        return UserError("%s: key '%s' is missing" % (path, dotted))
    found = repr(error.get('input'))
    return UserError("%s: key '%s' is %s; %s" %
                     (path, dotted, found[:60], error['msg']))


def load(path: str, overrides: Optional[Dict[str, Any]] = None) -> Settings:
    """Read and check a model's YAML.

    Args:
        path: of the YAML file.
        overrides: nested mapping laid over the file, see
            `act.cli.parse_overrides`. `Preset` picks another of the file's
            presets and is applied first.

    Raises:
        UserError: anything in the file or the overrides that is not allowed.
    """
    content = read_mapping(path)
    overrides = dict(overrides or {})
    presets = content.pop(PRESETS, {}) or {}
    chosen = overrides.pop(PRESET, content.pop(PRESET, None))
    if chosen is not None:
        if not isinstance(presets, dict) or chosen not in presets:
            raise UserError(
                "%s: unknown preset '%s'; known: %s" %
                (path, chosen, ', '.join(map(str, presets)) or 'none'))
        content = merge(content, presets[chosen] or {})
    content = merge(content, overrides)
    if 'path' in content:
        raise UserError("%s: unknown key 'path'" % path)
    try:
        settings = Settings(**content, path=path)
    except pydantic.ValidationError as e:
        raise _explain(e.errors()[0], path) from None
    except TypeError:
        raise UserError("%s: section names must be words" % path) from None
    settings.Reader.file = beside(path, settings.Reader.file)
    if settings.Export:
        settings.Export.config = beside(path, settings.Export.config)
        # Weights may be a URL, or a file of the user's own.
        weights = beside(path, settings.Export.weights)
        if os.path.exists(weights):
            settings.Export.weights = weights
    return settings


def beside(path: str, name: str) -> str:
    """`name` as a path relative to the directory that `path` lies in."""
    return os.path.normpath(os.path.join(os.path.dirname(path), name))


def dump(settings: Settings) -> str:
    """The settings as YAML text that `load` reads back."""
    return yaml.safe_dump(settings.model_dump(mode='json', exclude_none=True),
                          sort_keys=False,
                          default_flow_style=None)
