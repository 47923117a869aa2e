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
import unicodedata
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import pydantic
import yaml
from typing_extensions import Annotated

from . import upstream, yamlfile
from .errors import UserError, nearest, unknown
from .results import expected_row

PRESET, PRESETS = 'Preset', 'Presets'
# What else lies in a result directory, so that no model file may be called so.
RESULT_FILES = ('infer_cfg.yml', 'config.yml', 'reader.yml', 'record.json',
                'train_log.csv', 'last')
# Far above what anybody wants, and what the libraries' int32 still holds.
LARGEST = 2**31 - 1


def _bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ('true', 'false'):
        return value.lower() == 'true'
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise ValueError('must be True or False')


def _only(wanted: Any, reason: str) -> Callable[[Any], Any]:
    """A value that has no alternative yet; says why."""

    def check(value: Any) -> Any:
        try:
            same = _bool(value) is wanted if isinstance(
                wanted, bool) else type(value) is int and value == wanted
        except ValueError:
            same = False
        if not same:
            raise ValueError('must be %s: %s' % (wanted, reason))
        return wanted

    return check


def _whole(low: int, high: int = LARGEST) -> Callable[[Any], int]:

    def check(value: Any) -> int:
        # True is an int in Python.
        if type(value) is not int or not low <= value <= high:
            raise ValueError('must be a whole number from %d to %d' %
                             (low, high))
        return value

    return check


def _count_or_all(value: Any) -> int:
    if value == -1 and type(value) is int:
        return value
    try:
        return _whole(1)(value)
    except ValueError as e:
        raise ValueError('%s, or -1 for all' % e) from None


def _number(value: Any) -> Optional[float]:
    """A finite float, from the text that YAML makes of 1e-5 too; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float('inf') else None


def _real(allowed: Callable[[float], bool],
          what: str) -> Callable[[Any], float]:

    def check(value: Any) -> float:
        found = _number(value)
        if found is None or not allowed(found):
            raise ValueError('must be a number %s' % what)
        return found

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('must be a text that is not empty')
    # A NUL in a path is a ValueError of the system's; a lone surrogate cannot
    # be printed.
    if any(unicodedata.category(c) in ('Cc', 'Cs') for c in value):
        raise ValueError('must not hold control characters')
    return value


def _file_name(value: Any) -> str:
    if _text(value) in ('.', '..') or os.path.basename(value) != value:
        raise ValueError('must be the name of a file in the model directory, '
                         'without a path')
    if value in RESULT_FILES:
        raise ValueError('must not be the name of another file of the result')
    return value


def _texts(value: Any) -> List[str]:
    if not isinstance(value, list):
        raise ValueError('must be a list of words, as [a, b]')
    return [_text(v) for v in value]


def _some_texts(value: Any) -> List[str]:
    if not _texts(value):
        raise ValueError('must name at least one')
    return value


def _input_list(value: Any) -> Any:
    if value is None:
        return None
    try:
        if isinstance(value, dict):
            made: Any = {_text(k): _text(v) for k, v in value.items()}
            if value and len(set(made.values())) == len(made):
                return made
        elif len(set(_some_texts(value))) == len(value):
            return value
    except ValueError:
        pass
    raise ValueError("must be a list of names, or a mapping {reader's name: "
                     "model's name}, each name once")


def _shape(value: Any) -> Optional[Tuple[int, int]]:
    if value is None:
        return None
    try:
        height, width = [_whole(1)(v) for v in value]
    except (ValueError, TypeError):
        raise ValueError('must be [height, width], two whole numbers from 1 '
                         'on') from None
    return height, width


def _arguments(value: Any) -> Any:
    """Arguments of an optimizer or schedule: finite, and numbers that YAML
    made a text of made numbers."""
    if isinstance(value, dict):
        return {_text(k): _arguments(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_arguments(v) for v in value]
    if isinstance(value, str):
        found = _number(value)
        if found is None and value.strip().lstrip('+-').lower() not in (
                'nan', 'inf', 'infinity'):
            return _text(value)
        value = found
    if isinstance(value, (int, float)) and _number(value) is None and \
            not isinstance(value, bool) or value is None:
        raise ValueError('must hold finite numbers, words, lists and mappings '
                         'only')
    if not isinstance(value, (bool, int, float)):
        raise ValueError('must hold numbers, words, lists and mappings only')
    return value


def _typed(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get('type'), str):
        raise ValueError('must be a mapping with a type, as {type: NAME, '
                         'argument: value}')
    return _arguments(value)


def _learning_rate(value: Any) -> Any:
    if isinstance(value, dict):
        return _typed(value)
    found = _number(value)
    if found is None or found <= 0:
        raise ValueError('must be a number above 0, or a schedule {type: NAME, '
                         'argument: value}')
    return found


def _optimizer_builder(value: Any) -> Dict[str, Any]:
    known = ('optimizer', 'weight_decay', 'regularizer', 'grad_clip')
    if not isinstance(value, dict) or not value.get('optimizer'):
        raise ValueError('must be a mapping with an optimizer, as {optimizer: '
                         '{type: SGD}}')
    for key in value:
        if key not in known:
            guess = nearest(key, known)
            raise ValueError("holds the unknown key '%s'; %s" %
                             (key, "did you mean '%s'?" %
                              guess if guess else 'known: ' + ', '.join(known)))
    made: Dict[str, Any] = {}
    for key, part in value.items():
        if key == 'weight_decay':
            made[key] = _number(part)
            if made[key] is None or made[key] < 0:
                raise ValueError('holds weight_decay %.60r: must be a number '
                                 'from 0 on' % (part, ))
            continue
        try:
            made[key] = _typed(part)
        except ValueError as e:
            raise ValueError('holds %s %.60r: %s' % (key, part, e)) from None
    return made


def _options(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError('must be a mapping of ppdet keys')
    for key in value:
        _text(key)
    return value


def _expected(value: Any) -> List[Tuple[str, str, float, float]]:
    if not isinstance(value, list):
        raise ValueError('must be a list of rows [precision, metric, value, '
                         'tolerance]')
    for row in value:
        try:
            precision, metric, figure, tolerance = row
            figures = _number(figure), _number(tolerance)
        except (TypeError, ValueError):
            figures = (None, None)
        if None in figures or not isinstance(row, list):
            raise ValueError('holds %.60r: a row is [precision, metric, value, '
                             'tolerance], as [int8, mAP, 52.9, 0.2]' % (row, ))
        try:
            expected_row([precision, metric, *figures])
        except UserError as e:
            raise ValueError(str(e)) from None
    return [(r[0], r[1], _number(r[2]), _number(r[3])) for r in value]


def _checked(kind: Any, check: Callable[[Any], Any]) -> Any:
    """A type of a key: pydantic would turn True into 1 and 1.0, and 'yes' into
    True, so that each value is checked here first."""
    return Annotated[kind, pydantic.BeforeValidator(check)]


def _or_none(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _word(*known: str) -> Any:
    """The type of a key that takes one of some words."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return value
        guess = nearest(value, known) if isinstance(value, str) else None
        raise ValueError('must be %s%s' % (' or '.join(map(
            repr, known)), "; did you mean '%s'?" % guess if guess else ''))

    return _checked(str, check)


Bool = _checked(bool, _bool)
Text = _checked(str, _text)
OptionalText = _checked(Optional[str], _or_none(_text))
FileName = _checked(str, _file_name)
Texts = _checked(List[str], _texts)
SomeTexts = _checked(List[str], _some_texts)
Count = _checked(int, _whole(1))
Share = _checked(float, _real(lambda v: 0 < v <= 1, 'above 0, at most 1'))


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra='forbid', protected_namespaces=())


class GlobalSection(_Section):
    """What is compressed."""
    model_dir: Text
    model_filename: FileName = 'model.pdmodel'
    params_filename: FileName = 'model.pdiparams'
    # Names of the model's inputs, or {reader's name: model's name}. Default:
    # the inputs the model has.
    input_list: _checked(Optional[Union[List[str], Dict[str, str]]],
                         _input_list) = None
    # Whether the model ends in its NMS. If not, Deploy.nms says how it is.
    include_nms: Bool = True
    Evaluation: Bool = True

    @pydantic.model_validator(mode='after')
    def _names_apart(self) -> 'GlobalSection':
        # PaddleSlim writes NAME.pdmodel and NAME.pdiparams, renamed after.
        if self.model_filename == self.params_filename or \
                self.model_filename.endswith('.pdiparams') or \
                self.params_filename.endswith('.pdmodel'):
            raise ValueError(
                "model_filename '%s' and params_filename '%s' must be two "
                'files, as model.pdmodel and model.pdiparams' %
                (self.model_filename, self.params_filename))
        return self

    @property
    def input_mapping(self) -> Optional[Dict[str, str]]:
        """{reader's name: model's name}, None if the names are the same."""
        return self.input_list if isinstance(self.input_list, dict) else None


class ExportSection(_Section):
    """How `model_dir` came to be: a ppdet configuration and weights."""
    config: Text
    weights: Text
    options: _checked(Dict[str, Any], _options) = {}


MAX_WORKERS = 256


class ReaderSection(_Section):
    """Which images, and how they become the model's input."""
    file: Text
    dataset_dir: OptionalText = None
    image_dir: OptionalText = None
    anno_path: OptionalText = None
    train_image_dir: OptionalText = None
    train_anno_path: OptionalText = None
    # Threads that read ahead; None: as the reader file says.
    worker_num: _checked(Optional[int], _or_none(_whole(1, MAX_WORKERS))) = None


class DistillationSection(_Section):
    """As PaddleSlim defines it. `node`: variables compared between teacher
    and student; default: the inputs of the last operators with weights."""
    # PaddleSlim evaluates this name as Python; these take two variables.
    loss: _word('l2', 'soft_label') = 'l2'
    alpha: _checked(float, _real(lambda v: v >= 0, 'from 0 on')) = 1.0
    node: Texts = []


class QuantAwareSection(_Section):
    """As PaddleSlim defines it."""
    use_pact: Bool = False
    onnx_format: _checked(
        bool, _only(True, 'Paddle Inference reads no other format')) = True
    activation_quantize_type: _word('moving_average_abs_max', 'range_abs_max',
                                    'abs_max') = 'moving_average_abs_max'
    weight_quantize_type: _word('channel_wise_abs_max',
                                'abs_max') = 'channel_wise_abs_max'
    weight_bits: _checked(int, _only(8, 'int8 is what the kernels have')) = 8
    activation_bits: _checked(int, _only(8,
                                         'int8 is what the kernels have')) = 8
    moving_rate: _checked(float,
                          _real(lambda v: 0 < v < 1,
                                'above 0 and below 1')) = 0.9
    quantize_op_types: SomeTexts = ['conv2d']
    not_quant_pattern: Texts = ['skip_quant']
    # Names of weights: the operators that use them stay in float.
    float_weights: Texts = []


class QuantizationSection(_Section):
    """Which strategy, and what post-training quantization needs."""
    # The default is calibration: see benchmarks/results/accuracy_*.json.
    strategy: _word('ptq', 'qat') = 'ptq'
    algo: _word('avg', 'hist', 'mse', 'KL', 'abs_max') = 'hist'
    hist_percent: Share = 0.9999
    bias_correction: Bool = False
    calibration_images: Count = 64
    # gptq: together, by the operators' outputs, see act.compress.refine; for
    # qat, training starts from there.
    weight_rounding: _word('gptq', 'nearest') = 'gptq'
    seed: _checked(int, _whole(0)) = 0  # of the choice of images


class TrainSection(_Section):
    """As PaddleSlim's TrainConfig, with what our loop adds."""
    train_iter: Count
    eval_iter: Count
    batch_size: Count = 4
    eval_images: _checked(Optional[int], _or_none(_whole(1))) = None
    # Iterations between checkpoints; None: five minutes.
    checkpoint_iter: _checked(Optional[int], _or_none(_whole(1))) = None
    learning_rate: _checked(Union[float, Dict[str, Any]], _learning_rate)
    optimizer_builder: _checked(Dict[str, Any], _optimizer_builder) = {
        'optimizer': {
            'type': 'SGD'
        }
    }
    # Batch norm keeps the statistics it was trained with.
    freeze_batch_norm: Bool = True
    seed: _checked(int, _whole(0)) = 0


class CpuSection(_Section):
    """How Paddle Inference runs the model on the CPU."""
    int8_ops: SomeTexts = ['conv2d', 'fused_conv2d']
    bf16_ops: SomeTexts = ['conv2d', 'fused_conv2d', 'fc']
    # Of an int8 model: layers left in float, and what lies between layers, in
    # bf16 where the CPU computes in it.
    bf16_rest: Bool = False
    deleted_passes: Texts = []
    threads: _checked(Optional[int], _or_none(_whole(1, 1024))) = None


class TensorrtSection(_Section):
    """How Paddle Inference runs the model with TensorRT."""
    # Shapes may vary within collected ranges; False: the input's are fixed.
    # RT-DETR falls into 22 engines when they are, of one when they may vary.
    dynamic_shape: Bool = True
    # Operator types, as they are after the passes, or names of variables, that
    # stay out of the engines.
    disabled_ops: Texts = []
    # Groups of fewer operators are not worth an engine; Paddle's default.
    min_subgraph_size: _checked(int, _whole(1, 1024)) = 3
    # Scratch memory that an engine may take, MiB; as PaddleDetection's scripts.
    workspace_mb: _checked(int, _whole(1, 1 << 20)) = 1024
    deleted_passes: Texts = []


class NmsSection(_Section):
    """The non-maximum suppression of a model that does not hold it, as `nms` of
    its head in the ppdet configuration. Where it is given, all of it is: mAP
    depends on each."""
    score_threshold: _checked(
        float, _real(lambda v: 0 <= v < 1, 'from 0 on and below 1'))
    nms_threshold: Share  # boxes that overlap by more are one
    nms_top_k: _checked(int, _count_or_all)  # of each class, before
    keep_top_k: _checked(int, _count_or_all)  # of an image, after


class DeploySection(_Section):
    """The model as it is deployed."""
    # Height, width. Checked against what the reader makes.
    input_shape: _checked(Optional[Tuple[int, int]], _shape) = None
    cpu: CpuSection = CpuSection()
    tensorrt: TensorrtSection = TensorrtSection()
    nms: Optional[NmsSection] = None  # of effect if include_nms is False


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
    Expected: _checked(List[Tuple[str, str, float, float]], _expected) = []
    path: str = pydantic.Field('', exclude=True)

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return os.path.splitext(os.path.basename(self.path))[0]

    @property
    def model_name(self) -> str:
        """What records call the model: the file's name, or, as results of
        run.py all hold a config.yml, that of its directory."""
        if os.path.basename(self.path) != 'config.yml':
            return self.name
        return os.path.basename(os.path.dirname(os.path.abspath(self.path)))

    @property
    def own_nms(self) -> Optional[NmsSection]:
        """The NMS that is ours to do, None if the model holds it."""
        return None if self.Global.include_nms else self.Deploy.nms


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
        UserError: the file is missing, unreadable, no YAML, empty, or a list;
            or a key stands in it twice.
    """
    where = "configuration '%s'" % path
    try:
        with open(path, encoding='utf-8') as f:
            text = f.read()
    except OSError as e:
        raise UserError("%s: %s; name the YAML of a model, as those below "
                        'configs/' % (where, e.strerror or e)) from None
    except UnicodeDecodeError:
        raise UserError('%s is not a text file' % where) from None
    content = yamlfile.parse(text, where, loader)
    if not isinstance(content, dict):
        raise UserError(
            '%s must be a mapping of sections, found %s' %
            (where, 'nothing' if content is None else type(content).__name__))
    return content


def _section_of(field: Any) -> Any:
    """The section that a field holds, None if it holds a value."""
    annotation = field.annotation
    for option in getattr(annotation, '__args__', (annotation, )):
        if isinstance(option, type) and issubclass(option, pydantic.BaseModel):
            return option
    return None


def _check_sections(content: Dict[str, Any],
                    where: str,
                    model: Any = None,
                    prefix: str = '') -> None:
    """Raise UserError for a section that is no mapping. Asked of the file, the
    preset and the overrides each: laid over it, one would hide it."""
    for name, field in (model or Settings).model_fields.items():
        section, value = _section_of(field), content.get(name)
        if section is None or value is None:
            continue
        if not isinstance(value, dict):
            raise UserError(
                "%s: key '%s%s' is %.60r; must be a section with keys: %s" %
                (where, prefix, name, value, ', '.join(section.model_fields)))
        _check_sections(value, where, section, '%s%s.' % (prefix, name))


def _known_keys(location: Tuple[Any, ...]) -> List[str]:
    """Keys allowed in the section a validation error points into."""
    model: Any = Settings
    for part in location:
        field = model.model_fields.get(part)
        model = _section_of(field) if field else None
        if model is None:
            return []
    return [k for k in model.model_fields if k != 'path']


def _explain(error: Dict[str, Any], where: str) -> UserError:
    """One line for one of pydantic's complaints."""
    location = error['loc']
    dotted = '.'.join(str(p) for p in location)
    kind, found = error['type'], error.get('input')
    if kind in ('extra_forbidden', 'invalid_key'):
        return unknown('key', dotted, _known_keys(location[:-1]), where,
                       location[-1])
    if kind == 'missing':
        return UserError("%s: key '%s' is missing; add it, or give it with -o "
                         '%s=VALUE' % (where, dotted, dotted))
    if kind == 'model_type' or found is None and 'Section' in error['msg']:
        said = 'must be a section with keys: %s' % ', '.join(
            _known_keys(location))
    else:
        said = error['msg'].replace('Value error, ', '', 1)
    if isinstance(found, dict) and _known_keys(location):
        return UserError("%s: %s: %s" % (where, dotted, said))
    return UserError("%s: key '%s' is %.60r; %s" % (where, dotted, found, said))


def _validated(content: Dict[str, Any], path: str, where: str) -> 'Settings':
    """Settings of a mapping.

    Raises:
        UserError: see `_explain`. What is missing is named last: the cause may
            be a misspelt key.
    """
    if 'path' in content:
        raise unknown('key', 'path', _known_keys(()), where)
    for key in content:
        if not isinstance(key, str):
            raise UserError('%s: section names must be words, found %.60r' %
                            (where, key))
    try:
        settings = Settings(**content, path=path)
    except pydantic.ValidationError as e:
        errors = sorted(e.errors(), key=lambda one: one['type'] == 'missing')
        raise _explain(errors[0], where) from None
    if not settings.Global.include_nms and settings.Deploy.nms is None:
        raise UserError(
            "%s: key 'Deploy.nms' is missing; Global.include_nms is False, so "
            "that it must hold %s, as nms of the model's head in its ppdet "
            'configuration' % (where, ', '.join(NmsSection.model_fields)))
    return settings


def load(path: str,
         overrides: Optional[Dict[str, Any]] = None,
         reader: Optional[str] = None) -> Settings:
    """Read and check a model's YAML.

    Args:
        path: of the YAML file; it may be the first of two, see `upstream`.
        overrides: nested mapping laid over the file, see
            `act.cli.parse_overrides`. `Preset` picks another of the file's
            presets and is applied first.
        reader: a reader file in the place of the one that the YAML names.

    Raises:
        UserError: anything in the file or the overrides that is not allowed;
            a preset that is not chosen is checked too.
    """
    content = read_mapping(path)
    overrides = dict(overrides or {})
    in_two = upstream.is_compression(content)
    if in_two:
        content = upstream.translated(content, path, reader)
    presets = content.pop(PRESETS, None)
    presets = {} if presets is None else presets
    if not isinstance(presets, dict):
        raise UserError("%s: key '%s' is %.60r; must be a mapping {preset's "
                        'name: {section: ...}}' % (path, PRESETS, presets))
    in_file = content.pop(PRESET, None)
    chosen = overrides.pop(PRESET, in_file)
    for name in (in_file, chosen):
        if name is not None and (not isinstance(name, str)
                                 or name not in presets):
            raise UserError(
                "%s: unknown preset '%s'; known: %s" %
                (path, name, ', '.join(map(str, presets)) or 'none'))
    _check_sections(content, path)
    for name, preset in presets.items():
        where = '%s: preset %s' % (path, name)
        if not isinstance(preset, dict):
            raise UserError('%s is %.60r; must be a mapping of sections' %
                            (where, preset))
        _check_sections(preset, where)
        _check_unchosen(merge(content, preset), path, where)
    _check_sections(overrides, path)
    if chosen is not None:
        content = merge(content, presets[chosen])
    settings = _validated(merge(content, overrides), path, path)
    if reader:
        settings.Reader.file = reader
    elif not in_two:  # else it stands as the user, or that file, gave it
        settings.Reader.file = beside(path, settings.Reader.file)
    if settings.Export:
        settings.Export.config = beside(path, settings.Export.config)
        # Weights may be a URL, or a file of the user's own.
        weights = beside(path, settings.Export.weights)
        if os.path.exists(weights):
            settings.Export.weights = weights
    return settings


def for_model(model_dir: str,
              reader: str,
              types: List[str],
              include_nms: bool = True,
              overrides: Optional[Dict[str, Any]] = None) -> Settings:
    """Settings for a model that has no YAML, only a reader file.

    Args:
        model_dir, reader, types, include_nms: see `upstream.alone`.
        overrides: see `load`.

    Raises:
        UserError: see `load`.
    """
    content = upstream.alone(model_dir, reader, types, include_nms)
    return _validated(merge(content, overrides or {}), reader, reader)


def _check_unchosen(content: Dict[str, Any], path: str, where: str) -> None:
    """Check a preset on its own. What it leaves out, -o may give."""
    try:
        _validated(content, path, where)
    except UserError as e:
        if ' is missing;' not in str(e):
            raise


def beside(path: str, name: str) -> str:
    """`name` as a path relative to the directory that `path` lies in."""
    return os.path.normpath(os.path.join(os.path.dirname(path), name))


def dump(settings: Settings) -> str:
    """The settings as YAML text that `load` reads back."""
    return yaml.safe_dump(settings.model_dump(mode='json', exclude_none=True),
                          sort_keys=False,
                          default_flow_style=None)
