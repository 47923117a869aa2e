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
"""Documents against the code: commands, options, keys, fields and paths.

In them, words that begin with MY_ stand for what is the reader's.
"""

import argparse
import functools
import glob
import importlib
import importlib.util
import os
import re
import shlex
import textwrap
from collections import Counter

import pydantic
import pytest
import yaml
from act import cli, config, data, deploy, evaluate, export, results
from act.compress import job
from act.errors import UserError
from act.profile import run as profile
from act.report import make
from act.search import floats, layers
from act.shapes import ranges
from conftest import PROJECT, ROOT, YAML

ENGLISH = os.path.join('deploy', 'auto_compression', 'README.md')
CHINESE = os.path.join('deploy', 'auto_compression', 'README_cn.md')
MANUALS = (ENGLISH, CHINESE)
DOCUMENTS = MANUALS + ('README.md', 'CONTRIBUTING.md')
# Of paddle.distributed.launch, in the manuals.
LAUNCH = {'--nproc_per_node', '--log_dir', '--master', '--nnodes'}
SCRIPTS = ('run.py', 'paddle_inference_eval.py', 'export.py', 'diagnose.py',
           'report.py', 'sweep.py', 'demo/shapes.py', 'demo/train.py')
# What the scripts make, so that no checkout has it.
MADE_ROOTS = ('vdl_log_dir', 'output', 'dataset', 'inference_model', '.venv',
              '.venv-gpu', '.venv-paddle3')
MADE_FILES = {
    job.CONFIG, job.READER, job.RECORD, job.LOG, job.LAST, evaluate.PICTURES,
    ranges.NAME, profile.RECORD, profile.PICTURE, layers.JOURNAL, layers.RECORD,
    layers.PICTURE, floats.RECORD, floats.PICTURE, make.PAGE, make.MARKDOWN,
    deploy.RECORD, deploy.OPERATORS, 'model.json'
}.union(export.FILES, (task + end for task in ('passes', 'ops')
                       for end in ('.json', '.png', '.yml')))
SUFFIXES = ('py', 'yml', 'txt', 'md', 'json', 'csv', 'cc', 'jpg', 'png',
            'pdmodel', 'pdiparams')
KEY_HEADERS = ('Key', '键')
FIELD_HEADERS = ('Field', '字段')
REQUIRED = ('required', '必填')
# On the line before a block that tests/test_readme.py runs.
TAG = '<!-- runnable -->'
CODE = re.compile(r'`([^`\n]+)`')


@functools.lru_cache(maxsize=None)
def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as f:
        return f.read()


def blocks(text, language):
    """Contents of the fenced blocks of a language, in order."""
    found = re.findall(r'^[ ]*```(\w*)\n(.*?)^[ ]*```$', text,
                       re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for name, body in found if name == language]


def runnable(text):
    """(line, language, content) of the blocks that are tagged as runnable; the
    line is that of the content's first."""
    found = re.finditer(r'^ *%s\n *```(\w*)\n(.*?)^ *```$' % TAG, text,
                        re.MULTILINE | re.DOTALL)
    return [(text.count('\n', 0, m.start(2)) + 1, m.group(1),
             textwrap.dedent(m.group(2))) for m in found]


def prose(text):
    """The text without fenced blocks."""
    return re.sub(r'^[ ]*```.*?^[ ]*```$',
                  '',
                  text,
                  flags=re.MULTILINE | re.DOTALL)


def commands(text):
    """Lines of the bash blocks, each with its continuations."""
    lines = '\n'.join(blocks(text, 'bash')).replace('\\\n', ' ').splitlines()
    return [' '.join(line.split()) for line in lines if line.strip()]


def script_commands(text):
    """Those of `commands` that run a script: lists of words after python."""
    words = [shlex.split(line) for line in commands(text)]
    return [_unlaunched(w[1:]) for w in words if w[0] == 'python']


def _unlaunched(words):
    """Without `-m paddle.distributed.launch` and its options."""
    if words[0] != '-m':
        return words
    assert words[1] == 'paddle.distributed.launch'
    at = next(i for i, word in enumerate(words) if word.endswith('.py'))
    assert {w for w in words[2:at] if w.startswith('-')} <= LAUNCH
    return words[at:]


def headings(text):
    """(level, title) of each heading, in order."""
    return [(len(marks), title.strip()) for marks, title in re.findall(
        r'^(#+) (.*)$', prose(text), re.MULTILINE)]


def sections(text):
    """The text between headings, in order."""
    return re.split(r'^#+ .*$', prose(text), flags=re.MULTILINE)


def tables(text):
    """Each table as rows of cells, its header first."""
    found = re.findall(r'(?:^\|.*\n)+', prose(text), re.MULTILINE)
    return [[[cell.strip() for cell in line.strip('|').split('|')]
             for at, line in enumerate(table.splitlines()) if at != 1]
            for table in found]


def table_of(text, headers):
    """Rows below the header of the one table whose first header is given."""
    found = [t for t in tables(text) if t[0][0] in headers]
    assert len(found) == 1
    return found[0][1:]


class _Parser(Exception):
    """Carries a script's argument parser out of the script."""


@functools.lru_cache(maxsize=None)
def parser_of(script):
    """The parser that a script parses its command line with."""
    path = os.path.join(PROJECT, script)
    name = 'documented_' + os.path.basename(script)[:-len('.py')]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)

    def caught(self, *_, **__):
        raise _Parser(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT)
        spec.loader.exec_module(module)
        patch.setattr(argparse.ArgumentParser, 'parse_args', caught)
        with pytest.raises(_Parser) as parser:
            getattr(module, 'parse_args', getattr(module, 'main', None))()
    return parser.value.args[0]


def tasks_of(script):
    """{subcommand: its parser} of a script."""
    return {
        name: parser
        for action in parser_of(script)._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, parser in action.choices.items()
    }


def options_of(script, task=None):
    """Option strings of a script and of its subcommands, or of one of them,
    without help."""
    parsers = [tasks_of(script)[task]
               ] if task else [parser_of(script), *tasks_of(script).values()]
    return set().union(*(p._option_string_actions
                         for p in parsers)) - {'-h', '--help'}


def parse(words):
    """Parse [script, argument, ...] as the script does; no abbreviations."""
    script, *arguments = words
    assert script in SCRIPTS
    for word in arguments:
        if word.startswith('-'):
            assert word in options_of(script), word
    try:
        return parser_of(script).parse_args(arguments)
    except SystemExit:
        pytest.fail('python %s: its parser refuses this' % ' '.join(words))


def setting_keys():
    """{dotted key: pydantic's field} of everything a YAML may hold."""
    found = {}

    def walk(model, prefix):
        for name, field in model.model_fields.items():
            options = getattr(field.annotation, '__args__',
                              (field.annotation, ))
            inner = [
                o for o in options
                if isinstance(o, type) and issubclass(o, pydantic.BaseModel)
            ]
            if inner:
                walk(inner[0], prefix + name + '.')
            elif prefix + name != 'path':
                found[prefix + name] = field

    walk(config.Settings, '')
    return found


def paths(text):
    """What looks like a path in code spans, links and commands."""
    words = CODE.findall(prose(text))
    words += re.findall(r'\]\(([^)#\s]+)', prose(text))
    words += [w for line in commands(text) for w in shlex.split(line)]
    looks = re.compile(r'[\w.*-]*[\w*]/?(/[\w.*-]+)*/?')
    return [
        w for w in words if looks.fullmatch(w) and (
            '/' in w or w.rpartition('.')[2] in SUFFIXES and w[0] != '.')
    ]


@pytest.mark.parametrize('path', MANUALS)
def test_commands_parse(path):
    found = script_commands(read(path))
    assert {words[0] for words in found} == set(SCRIPTS)
    for words in found:
        arguments = parse(words)
        named = getattr(arguments, 'config_path', None)
        if words[0] in ('run.py', 'paddle_inference_eval.py', 'diagnose.py'):
            if named is None or 'MY_' in named:
                named = YAML
            config.load(os.path.join(PROJECT, named),
                        cli.parse_overrides(arguments.opt))


def test_next_steps_are_in_the_manual():
    lines = read('deploy/auto_compression/demo/next_steps.txt').splitlines()
    found = [' '.join(x.split()) for x in lines if x.startswith('  python ')]
    assert found
    for line in found:
        parse(shlex.split(line)[1:])
        assert line in commands(read(ENGLISH))


@pytest.mark.parametrize('path', DOCUMENTS)
def test_make_targets_exist(path):
    targets = set(re.findall(r'^([\w-]+):', read('Makefile'), re.MULTILINE))
    lines = commands(read(path)) + CODE.findall(prose(read(path)))
    named = {x.split()[1] for x in lines if x.startswith('make ')}
    assert named and named <= targets


def test_manuals_have_the_same_commands():
    assert commands(read(ENGLISH)) == commands(read(CHINESE))


def test_manuals_have_the_same_runnable_blocks():
    found = [runnable(read(path)) for path in MANUALS]
    for path, tagged in zip(MANUALS, found):
        # No tag is anywhere else, or before something else.
        assert tagged and len(tagged) == read(path).count(TAG)
    # Comments in YAML are in the manual's language.
    shapes = [[(language, yaml.safe_load(text) if language == 'yaml' else text)
               for _, language, text in tagged] for tagged in found]
    assert shapes[0] == shapes[1]


def test_symptoms_are_headings():
    _, _, text = read(ENGLISH).partition('\n## Troubleshooting\n')
    found = [title.lower() for _, title in headings(text.split('\n## ')[0])]
    for symptom in ('the quantized model is slower', 'accuracy is zero',
                    'tensorrt build fails with dynamic shape',
                    'segmentation fault at import',
                    'could not find threshold information'):
        assert any(symptom in title for title in found), symptom


def test_manuals_have_the_same_shape():
    english, chinese = read(ENGLISH), read(CHINESE)
    assert [level for level, _ in headings(english)
            ] == [level for level, _ in headings(chinese)]
    shapes = [[[len(row) for row in table] for table in tables(text)]
              for text in (english, chinese)]
    assert shapes[0] == shapes[1]
    marks = [re.findall(r'<!-- \w+ -->', text) for text in (english, chinese)]
    assert marks[0] == marks[1]
    loaded = [[yaml.safe_load(b) for b in blocks(text, 'yaml')]
              for text in (english, chinese)]
    assert loaded[0] == loaded[1]


def test_manuals_have_the_same_code_and_figures():
    english, chinese = read(ENGLISH), read(CHINESE)
    for (_, title), one, two in zip([(0, 'the top')] + headings(english),
                                    sections(english), sections(chinese)):
        assert Counter(CODE.findall(one)) == Counter(CODE.findall(two)), title
        figures = [
            Counter(re.findall(r'\d+\.\d+', CODE.sub('', text)))
            for text in (one, two)
        ]
        assert figures[0] == figures[1], title
    for one, two in zip(tables(english), tables(chinese)):
        for row, other in zip(one, two):
            assert CODE.findall(row[0]) == CODE.findall(other[0])


@pytest.mark.parametrize('path', MANUALS)
def test_examples_of_configurations_load(path, tmp_path):
    found = blocks(read(path), 'yaml')
    assert found
    for index, text in enumerate(found):
        file = tmp_path / ('%d.yml' % index)
        file.write_text(text, encoding='utf-8')
        config.load(str(file))


def test_examples_of_reader_files_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    english, chinese = (blocks(read(path), 'yml') for path in MANUALS)
    assert english == chinese and english
    for index, text in enumerate(english):
        file = tmp_path / ('%d.yml' % index)
        file.write_text(text, encoding='utf-8')
        reader = data.open_reader(config.ReaderSection(file=str(file)))
        for images in (reader.train, reader.val):
            # All of it is right, but for the data, which is not there.
            with pytest.raises(UserError, match='dataset_dir'):
                images()


@pytest.mark.parametrize('path', DOCUMENTS)
def test_paths_exist(path):
    found = paths(read(path))
    assert found
    missing = []
    for word in found:
        parts = [p for p in word.split('/') if p not in ('..', '')]
        if word.startswith('http') or 'MY_' in word or \
                parts[0] in MADE_ROOTS or parts[-1] in MADE_FILES:
            continue
        if not any(
                glob.glob(os.path.join(ROOT, base, word))
                for base in ('', PROJECT)):
            missing.append(word)
    assert missing == []


@pytest.mark.parametrize('path', DOCUMENTS)
def test_anchors_exist(path):
    text = read(path)
    known = {
        re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
        for _, title in headings(text)
    }
    assert set(re.findall(r'\]\(#([^)]+)\)', text)) <= known


@pytest.mark.parametrize('path', MANUALS)
def test_configuration_keys(path):
    known = setting_keys()
    rows = table_of(read(path), KEY_HEADERS)
    documented = {CODE.findall(row[0])[0]: row[1] for row in rows}
    assert len(documented) == len(rows)
    # These two are taken out of the file before it is checked.
    assert documented.pop(config.PRESET) == '`null`'
    assert documented.pop(config.PRESETS) == '`{}`'
    assert set(documented) == set(known)
    for key, cell in documented.items():
        if known[key].is_required():
            assert cell in REQUIRED, key
        else:
            assert yaml.safe_load(CODE.fullmatch(cell).group(1)) == \
                known[key].get_default(call_default_factory=True), key


# Keys of PaddleDetection's own YAMLs, see act/upstream.py.
OF_TWO_FILES = ('Global.reader_config', 'Global.arch')


@pytest.mark.parametrize('path', DOCUMENTS)
def test_keys_in_the_text_exist(path):
    known = setting_keys()
    # Below these, keys are PaddleSlim's or Paddle's.
    free = tuple(k + '.' for k, field in known.items()
                 if 'Dict' in str(field.annotation))
    names = '|'.join(config.Settings.model_fields)
    for code in CODE.findall(prose(read(path))):
        for key in re.findall(r'\b(?:%s)\.[A-Za-z_][\w.]*' % names, code):
            assert key in known or key in OF_TWO_FILES or key.startswith(
                free) or any(k.startswith(key + '.') for k in known), key


@pytest.mark.parametrize('path', MANUALS)
def test_option_tables(path):
    seen = set()
    for header, *rows in tables(read(path)):
        named = re.search(r'`(\w+\.py)(?: (\w+))?`', header[0])
        if named:
            listed = [o for row in rows for o in CODE.findall(row[0])]
            assert Counter(listed) == Counter(options_of(*named.groups()))
            seen.add(named.groups())
    alone = ('run.py', 'paddle_inference_eval.py', 'export.py', 'report.py',
             'sweep.py')
    assert seen == {(script, None)
                    for script in alone} | {('diagnose.py', task)
                                            for task in tasks_of('diagnose.py')}


@pytest.mark.parametrize('path', MANUALS)
def test_options_in_the_text_exist(path):
    known = set().union({'-c'}, LAUNCH, *map(options_of, SCRIPTS))
    for code in CODE.findall(prose(read(path))):
        assert set(re.findall(r'(?<!\S)--?[a-z]\w*', code)) <= known


def test_options_of_launch_exist():
    from paddle.distributed.launch.context import args_envs
    with open(args_envs.__file__, encoding='utf-8') as f:
        source = f.read()
    for option in LAUNCH:
        assert '"%s"' % option in source


@pytest.mark.parametrize('path', MANUALS)
def test_fields_of_the_record_exist(path):
    for row in table_of(read(path), FIELD_HEADERS):
        for name in CODE.findall(row[0]):
            assert name in results.FIELDS


@pytest.mark.parametrize('path', DOCUMENTS)
def test_names_of_the_library_exist(path):
    for code in CODE.findall(prose(read(path))):
        if code.startswith('act.'):
            module, _, name = code.rstrip('()').rpartition('.')
            assert callable(getattr(importlib.import_module(module), name))
