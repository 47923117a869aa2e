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
"""Configurations that went wrong by chance: never a traceback, and never exit
code 0 on what is no configuration.

What is harmless is said here, apart from the code: MEANING writes out each key
and what its values are.
"""

import contextlib
import copy
import io
import math

import pytest
import yaml
from act import cli, config
from conftest import YAML
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with open(YAML, encoding='utf-8') as f:
    TEXT = f.read()
GOOD = yaml.safe_load(TEXT)
FUZZ = settings(derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck))
DATA = ('dataset_dir', 'image_dir', 'anno_path', 'train_image_dir',
        'train_anno_path')
OPTIMIZER = {'optimizer', 'weight_decay', 'regularizer', 'grad_clip'}


def whole(value, low=1):
    return type(value) is int and low <= value < 2**31


def real(value):
    try:
        return not isinstance(value, bool) and isinstance(
            value, (int, float, str)) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def text(value):
    return isinstance(value, str) and value.strip() != '' and all(
        c.isprintable() or c == '\u3000' for c in value)


def texts(value):
    return isinstance(value, list) and all(map(text, value))


def truth(value):
    return value in (0, 1) if isinstance(value, int) else isinstance(
        value, str) and value.lower() in ('true', 'false')


def one(*words):
    return lambda value: isinstance(value, str) and value in words


def file_name(value):
    return text(value) and '/' not in value


def typed(value):
    return isinstance(value, dict) and isinstance(value.get('type'), str)


def builder(value):
    return isinstance(value, dict) and typed(
        value.get('optimizer')) and set(value) <= OPTIMIZER


def shape(value):
    return value is None or isinstance(value, list) and len(value) == 2 and all(
        map(whole, value))


def names(value):
    return value is None or value != [] and texts(value) or (isinstance(
        value, dict) and texts(list(value.values())))


def rows(value):
    return isinstance(value, list) and all(
        isinstance(r, list) and len(r) == 4 and r[0] in
        ('fp32', 'int8', 'fp16', 'bf16',
         'simulated_int8') and text(r[1]) and real(r[2]) and real(r[3])
        for r in value)


# Key -> whether a value of it has a meaning. '?': the key may be left out.
MEANING = {
    'Global': {
        'model_dir': text,
        '?model_filename': file_name,
        '?params_filename': file_name,
        '?input_list': names,
        '?include_nms': truth,
        '?Evaluation': truth,
    },
    '?Export': {
        'config': text,
        'weights': text,
        '?options': lambda v: isinstance(v, dict),
    },
    'Reader': {
        'file': text,
        **{
            '?' + k: lambda v: v is None or text(v)
            for k in DATA
        }
    },
    '?Distillation': {
        '?loss': one('l2', 'soft_label'),
        '?alpha': lambda v: real(v) and float(v) >= 0,
        '?node': texts,
    },
    '?QuantAware': {
        '?use_pact':
        truth,
        '?onnx_format':
        truth,
        '?activation_quantize_type':
        one('moving_average_abs_max', 'range_abs_max', 'abs_max'),
        '?weight_quantize_type':
        one('channel_wise_abs_max', 'abs_max'),
        '?weight_bits':
        lambda v: v == 8,
        '?activation_bits':
        lambda v: v == 8,
        '?moving_rate':
        lambda v: real(v) and 0 < float(v) < 1,
        '?quantize_op_types':
        lambda v: texts(v) and len(v) > 0,
        '?not_quant_pattern':
        texts,
    },
    '?Quantization': {
        '?strategy': one('qat', 'ptq'),
        '?algo': one('avg', 'hist', 'mse', 'KL', 'abs_max'),
        '?hist_percent': lambda v: real(v) and 0 < float(v) <= 1,
        '?bias_correction': truth,
        '?calibration_images': whole,
        '?weight_rounding': one('gptq', 'nearest'),
        '?seed': lambda v: whole(v, 0),
    },
    '?TrainConfig': {
        'train_iter': whole,
        'eval_iter': whole,
        '?batch_size': whole,
        '?eval_images': lambda v: v is None or whole(v),
        'learning_rate': lambda v: real(v) and float(v) > 0 or typed(v),
        '?optimizer_builder': builder,
        '?freeze_batch_norm': truth,
        '?seed': lambda v: whole(v, 0),
    },
    '?Deploy': {
        '?input_shape': shape,
        '?cpu': {
            '?int8_ops': lambda v: texts(v) and len(v) > 0,
            '?bf16_ops': lambda v: texts(v) and len(v) > 0,
            '?bf16_rest': truth,
            '?deleted_passes': texts,
            '?threads': lambda v: v is None or whole(v) and v <= 1024,
        },
        '?tensorrt': {
            '?dynamic_shape': truth,
            '?disabled_ops': texts,
            '?min_subgraph_size': lambda v: whole(v) and v <= 1024,
            '?workspace_mb': lambda v: whole(v) and v <= 1 << 20,
            '?deleted_passes': texts,
        },
        '?nms': {
            'score_threshold': lambda v: real(v) and 0 <= float(v) < 1,
            'nms_threshold': lambda v: real(v) and 0 < float(v) <= 1,
            'nms_top_k': lambda v: whole(v) or whole(v, -1) and v == -1,
            'keep_top_k': lambda v: whole(v) or whole(v, -1) and v == -1,
        },
    },
    '?Expected': rows,
}
OPTIONAL_SECTIONS = ('Export', 'TrainConfig', 'nms')


def nonsense(content, meaning=None, missing=True):
    """What is wrong with a mapping of sections, None if nothing is."""
    meaning = MEANING if meaning is None else meaning
    known = {k.lstrip('?'): v for k, v in meaning.items()}
    for key, value in content.items():
        if key not in known:
            return 'unknown key %r' % (key, )
        if isinstance(known[key], dict):
            if value is None and key in OPTIONAL_SECTIONS:
                continue
            if not isinstance(value, dict):
                return '%s is no section' % key
            found = nonsense(value, known[key], missing)
        else:
            found = None if known[key](value) else '%s is %r' % (key, value)
        if found:
            return found
    for key in known if missing else ():
        if key in meaning and key not in content:
            return '%s is missing' % key
    if meaning is MEANING and missing and without_nms(content) and not (
            content.get('Deploy') or {}).get('nms'):
        return 'no NMS at all'
    return None


def without_nms(content):
    found = (content.get('Global') or {}).get('include_nms', True)
    return str(found).lower() in ('0', 'false')


def laid(base, over):
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            value = laid(result[key], value)
        result[key] = value
    return result


def nonsense_of_file(content):
    """As `nonsense`, for a whole file with its presets."""
    if not isinstance(content, dict):
        return 'no mapping'
    content = dict(content)
    presets, chosen = content.pop('Presets', None), content.pop('Preset', None)
    presets = {} if presets is None else presets
    if not isinstance(presets, dict):
        return 'Presets is no mapping'
    if chosen is not None and (not isinstance(chosen, str)
                               or chosen not in presets):
        return 'no such preset'
    for name, preset in presets.items():
        if not isinstance(preset, dict):
            return 'preset %s is no mapping' % name
        found = nonsense(laid(content, preset), missing=name == chosen)
        if found:
            return found
    return None if presets and chosen else nonsense(content)


def places(content, path=()):
    """The paths of all keys of a nested mapping."""
    for key, value in content.items():
        yield path + (key, )
        if isinstance(value, dict):
            yield from places(value, path + (key, ))


PLACES = sorted(places(GOOD))
ODD = st.one_of(
    st.sampled_from([
        None, True, False, 0, 1, -1, 3, 8, 0.5, 1e-5, '1e-5', math.nan,
        math.inf, -math.inf, 10**30, -10**30, 1e308, '', ' ', 'x', 'True', '8',
        'nan', 'a\nb', '\0', '\ud800', '../x', 'ptq', 'qta', [], {}, [[]],
        ['conv2d'], [None], [1, 2], [320, 320.0], {
            'type': 'SGD'
        }, {
            'type': None
        }, {
            'a': {
                'b': {}
            }
        }, {
            1: 2
        }, [['int8', 'mAP', 1, 'x']], [['int8', 'mAP', 50, 1]]
    ]), st.integers(), st.floats(), st.text(max_size=8),
    st.lists(st.integers(-5, 400), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))


def holder_of(content, path):
    for key in path[:-1]:
        content = content[key]
    return content


@st.composite
def changed_trees(draw):
    """The shipped configuration with one to three keys changed."""
    content = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(sorted(places(content), key=repr)))
        holder, key = holder_of(content, path), path[-1]
        kind = draw(st.sampled_from(['delete', 'rename', 'value', 'value']))
        if kind == 'delete':
            del holder[key]
        elif kind == 'rename':
            at = draw(st.integers(0, max(len(str(key)) - 1, 0)))
            letter = draw(st.sampled_from(list('aez_A') + ['']))
            value = holder.pop(key)
            holder[str(key)[:at] + letter + str(key)[at + 1:]] = value
        else:
            holder[key] = draw(ODD)
        if not content:
            break
    return content


@st.composite
def changed_texts(draw):
    """The shipped file with its text damaged."""
    text = TEXT
    lines = text.splitlines(True)
    kind = draw(
        st.sampled_from(
            ['cut', 'control', 'double', 'drop', 'insert', 'indent', 'alias']))
    at = draw(st.integers(0, len(text)))
    row = draw(st.integers(0, len(lines) - 1))
    if kind == 'cut':
        return text[:at]
    if kind == 'control':
        return text[:at] + draw(st.sampled_from('\0\x01\x1b\x7f\ufffe\x85')) + \
            text[at:]
    if kind == 'double':
        return ''.join(lines[:row] + [lines[row]] + lines[row:])
    if kind == 'drop':
        return ''.join(lines[:row] + lines[row + 1:])
    if kind == 'indent':
        return ''.join(lines[:row] + [' ' + lines[row]] + lines[row + 1:])
    if kind == 'alias':
        return text + draw(
            st.sampled_from([
                '\nx: &a [*a]\n', '\nx: *nowhere\n', '\n? [a, b]\n: 1\n',
                '\nx: !!timestamp y\n', '\nx: !!python/object:os.system {}\n',
                '\n--- {}\n', '\nDistillation: {}\n'
            ]))
    mark = draw(st.sampled_from(list('{}[]:,&*!|>%@`\'"#-\t\n')))
    return text[:at] + mark + text[at:]


def ends(path, overrides=()):
    """Exit code and stderr of loading a configuration as the scripts do."""

    def main():
        config.load(path, cli.parse_overrides(overrides))

    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = cli.run(main)
    return code, said.getvalue()


def check(path, problem, overrides=()):
    """One run: an error in one line, or no nonsense."""
    code, said = ends(path, overrides)
    assert code in (0, 2)
    if code:
        assert said.startswith('error: ') and said.count('\n') == 1
        assert len(said.splitlines()) == 1 and len(said) < 1500
    else:
        assert said == '' and problem is None, problem


@pytest.fixture(scope='module')
def runs():
    """Counts the cases of this module; they are asked for at its end."""
    counted = []
    yield counted
    assert len(counted) >= 250


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp('fuzz') / 'model.yml')


def store(path, text):
    with open(path, 'w', encoding='utf-8', errors='surrogatepass',
              newline='') as f:
        f.write(text)


@settings(FUZZ, max_examples=120)
@given(content=changed_trees())
def test_changed_keys(content, path, runs):
    runs.append(content)
    text = yaml.safe_dump(content, allow_unicode=False)
    store(path, text)
    check(path, nonsense_of_file(content))


@settings(FUZZ, max_examples=100)
@given(text=changed_texts())
def test_damaged_text(text, path, runs):
    runs.append(text)
    store(path, text)
    try:
        problem = nonsense_of_file(yaml.safe_load(text))
    except Exception as e:
        problem = e
    check(path, problem)


@settings(FUZZ, max_examples=60)
@given(place=st.sampled_from(PLACES), value=ODD)
def test_odd_overrides(place, value, path, runs):
    if place[0] == 'Presets':
        place = place[2:] or ('Preset', )
    runs.append(place)
    store(path, TEXT)
    written = yaml.safe_dump(value, default_flow_style=True)
    # safe_dump ends plain values with a line of dots.
    written = written.replace('\n...\n', '').strip()
    content = copy.deepcopy(GOOD)
    preset = content['Presets']['demo']
    over = value
    for key in reversed(place):
        over = {key: over}
    content['Presets'] = {'demo': laid(preset, over)}
    if place == ('Preset', ):
        content = dict(copy.deepcopy(GOOD), Preset=value)
    problem = nonsense_of_file(content)
    check(path, problem, ['.'.join(place) + '=' + written])


def test_the_shipped_file_is_good(path):
    store(path, TEXT)
    assert nonsense_of_file(GOOD) is None
    assert ends(path) == (0, '')
