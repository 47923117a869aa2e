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
"""Bad input, case by case, through the scripts' own main: exit code 2, one line
that names what is wrong and what mends it, and nothing written."""

import errno
import os
import resource
import shutil

import pytest
from act import cli, files, predictor, results, runtime
from act.compress import job, ptq
from act.config import CpuSection
from act.errors import UserError
from act.program.model import Model, ModelFiles
from conftest import PROJECT, YAML, call_script, run_script


def snapshot(*roots):
    """{path: size and time} of all below some directories."""
    found = {}
    for root in map(str, roots):
        for directory, names, others in os.walk(root):
            for name in names + others:
                path = os.path.join(directory, name)
                stat = os.lstat(path)
                found[path] = None if os.path.isdir(path) else (
                    stat.st_size, stat.st_mtime_ns)
    return found


class Scripts:
    """Runs a script's main in this process, in a directory of its own."""

    def __init__(self, place, capfd):
        self.place, self._capfd = place, capfd

    def call(self, script, *arguments):
        """Exit code and stderr."""
        self._capfd.readouterr()
        code = call_script(script, *arguments)
        return code, self._capfd.readouterr().err

    def refused(self, words, script, *arguments, watch=()):
        """One line with these words, and all as it was."""
        before = snapshot(self.place, *watch)
        code, said = self.call(script, *arguments)
        assert code == 2, said
        assert said.startswith('error: ') and said.endswith('\n')
        assert len(said.splitlines()) == 1, said
        for word in words:
            assert word in said, said
        assert snapshot(self.place, *watch) == before
        return said


@pytest.fixture
def scripts(tmp_path, monkeypatch, capfd):
    place = tmp_path / 'place'
    place.mkdir()
    monkeypatch.chdir(place)
    # Nothing slow may be reached.
    monkeypatch.setattr(ptq, 'quantize', None)
    return Scripts(place, capfd)


@pytest.fixture(scope='module')
def base(float_model, shapes):
    """Overrides with which the shipped YAML works."""
    return [
        'Global.model_dir=' + float_model, 'Reader.dataset_dir=' + shapes,
        'Quantization.strategy=ptq'
    ]


EVALUATION = 'paddle_inference_eval.py'


@pytest.mark.parametrize('script, option', [
    ('run.py', '--config_path'),
    (EVALUATION, '--config_path'),
    ('export.py', '-c'),
])
@pytest.mark.parametrize('text, words', [
    (None, ['model.yml']),
    ('a: [1', ['model.yml']),
    ('', ['model.yml']),
    ('- a', ['model.yml']),
    ('just text', ['model.yml']),
    ('a: 1\0', ['model.yml']),
    ('a: &a [*a]', ['model.yml']),
    ('[' * 5000, ['model.yml']),
])
def test_configuration_files(scripts, script, option, text, words):
    path = scripts.place / 'model.yml'
    if text is not None:
        path.write_text(text)
    scripts.refused(words, script, option, path)


@pytest.mark.parametrize('text, words', [
    ('Global: {model_dir: m}\nGlobal: {model_dir: n}\n',
     ["line 2: key 'Global' stands twice", 'remove one']),
    ('a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n' +
     ''.join('%s: &%s [%s]\n' % (new, new, ', '.join(['*' + old] * 10))
             for old, new in zip('abcdef', 'bcdefg')), ['100000 values']),
    ('_BASE_: [x.yml]\n', ["unknown key '_BASE_'", 'known: ']),
    ('Global: 3\n', ["key 'Global' is 3", 'model_dir']),
    ('Presets: [a]\n', ["key 'Presets' is ['a']"]),
    ('Preset: a\n', ["unknown preset 'a'; known: none"]),
    ('Presets: {a: 3}\n', ['preset a is 3']),
    ('Presets: {a: {Globl: {}}}\n', ['preset a', "did you mean 'Global'?"]),
    ('x: !!timestamp y\n', ['not valid YAML']),
    ('x: 2024-13-45\n', ['not valid YAML']),
    ('x: "\\ud800"\n', ["unknown key 'x'"]),
])
def test_what_is_in_the_file(scripts, text, words):
    path = scripts.place / 'model.yml'
    path.write_text(text)
    scripts.refused(['model.yml'] + words, 'run.py', '--config_path', path)


WHOLE = 'must be a whole number from 1'
OVERRIDES = [
    ('TrainConfig.trian_iter=3', "did you mean 'train_iter'?"),
    ('Golbal.model_dir=m', "did you mean 'Global'?"),
    ('TrainConfig.train_iter=0', WHOLE),
    ('TrainConfig.train_iter=-1', WHOLE),
    ('TrainConfig.train_iter=True', WHOLE),
    ('TrainConfig.train_iter=2.5', WHOLE),
    ('TrainConfig.train_iter=many', WHOLE),
    ('TrainConfig.train_iter=.nan', WHOLE),
    ('TrainConfig.train_iter=', WHOLE),
    ('TrainConfig.eval_iter=0', WHOLE),
    ('TrainConfig.batch_size=0', WHOLE),
    ('TrainConfig.eval_images=0', WHOLE),
    ('TrainConfig.seed=-1', 'must be a whole number from 0'),
    ('TrainConfig.learning_rate=0', 'must be a number above 0'),
    ('TrainConfig.learning_rate=.inf', 'must be a number above 0'),
    ('TrainConfig.learning_rate={type: 3}', 'must be a mapping with a type'),
    ('TrainConfig.learning_rate.values=[.nan]', 'finite'),
    ('TrainConfig.optimizer_builder.optimiser.type=SGD',
     "did you mean 'optimizer'?"),
    ('TrainConfig.optimizer_builder.weight_decay=-1', 'weight_decay'),
    ('Quantization.calibration_images=0', WHOLE),
    ('Quantization.hist_percent=1.5', 'above 0, at most 1'),
    ('Quantization.strategy=qta', "must be 'ptq' or 'qat'; did you mean 'qat'"),
    ('Quantization.algo=[KL]', "must be 'avg' or 'hist'"),
    ('Quantization.bias_correction=3', 'must be True or False'),
    ('Quantization=3', "key 'Quantization' is 3; must be a section"),
    ('Distillation.alpha=-1', 'must be a number from 0 on'),
    ('Distillation.alpha=.inf', 'must be a number from 0 on'),
    ('Distillation.loss=soft_lable', "did you mean 'soft_label'?"),
    ('Distillation.node=x', 'must be a list of words'),
    ('QuantAware.moving_rate=1', 'above 0 and below 1'),
    ('QuantAware.weight_bits=4', 'must be 8'),
    ('QuantAware.onnx_format=False', 'must be True'),
    ('QuantAware.quantize_op_types=[]', 'must name at least one'),
    ('Global.Evaluation=3', 'must be True or False'),
    ('Global.Evaluation=maybe', 'must be True or False'),
    ('Global.include_nms=False', "key 'Deploy.nms' is missing; Global.inclu"),
    ('Global.include_nms=maybe', 'must be True or False'),
    ('Deploy.nms=3', 'must be a section with keys: score_threshold'),
    ('Deploy.nms.keep_top_k=100', "'Deploy.nms.score_threshold' is missing"),
    ('Deploy.nms={score_threshold: 1, nms_threshold: 0.6, nms_top_k: 1, '
     'keep_top_k: 1}', 'from 0 on and below 1'),
    ('Deploy.nms={score_threshold: 0, nms_threshold: 0, nms_top_k: 1, '
     'keep_top_k: 1}', 'above 0, at most 1'),
    ('Deploy.nms={score_threshold: 0, nms_threshold: 1, nms_top_k: 0, '
     'keep_top_k: 1}', 'from 1 to 2147483647, or -1 for all'),
    ('Deploy.nms={score_threshold: 0, nms_threshold: 1, nms_topk: 0, '
     'keep_top_k: 1}', "did you mean 'nms_top_k'?"),
    ('Global.model_filename=../m', 'without a path'),
    ('Global.model_filename=record.json', 'another file of the result'),
    ('Global.model_filename=model.pdiparams', 'must be two files'),
    ('Global.model_dir=', 'must be a text that is not empty'),
    ('Global.model_dir="a\\0b"', 'control characters'),
    ('Global.input_list=3', 'must be a list of names'),
    ('Deploy.input_shape=[0, 320]', 'must be [height, width]'),
    ('Deploy.input_shape=320', 'must be [height, width]'),
    ('Deploy.cpu.threads=0', 'must be a whole number from 1 to 1024'),
    ('Deploy.cpu=x', "key 'Deploy.cpu' is 'x'; must be a section"),
    ('Deploy.tensorrt.min_subgraph_size=0',
     'must be a whole number from 1 to 1024'),
    ('Deploy.tensorrt.workspace_mb=1.5', WHOLE),
    ('Deploy.tensorrt.dynamic_shape=maybe', 'must be True or False'),
    ('Deploy.tensorrt.disabled_ops=slice', 'must be a list of words'),
    ('Deploy.tensorrt.workspace=1', "did you mean 'workspace_mb'?"),
    ('Expected=[[int8, mAPP, 1, 1]]', "did you mean 'mAP'?"),
    ('Expected=[[int9, mAP, 1, 1]]', "did you mean 'int8'?"),
    ('Expected=[[int8, mAP, .nan, 1]]', 'a row is [precision'),
    ('Expected=x', 'must be a list of rows'),
    ('Preset=cocoo', 'known: demo, coco'),
    ('novalue', 'expected KEY=VALUE'),
    ('a..b=1', 'expected KEY=VALUE'),
    ('a=[1', 'not valid YAML'),
    ('Global.x.y={a: 1, a: 2}', "key 'a' stands twice"),
]


@pytest.mark.parametrize('override, words', OVERRIDES)
def test_keys_and_values(scripts, override, words):
    key = override.partition('=')[0]
    said = scripts.refused([words], 'run.py', '--config_path', YAML, '-o',
                           override)
    if not override.startswith(('Preset', 'novalue', 'a')):
        assert YAML in said or '-o' in said
        assert key.split('.')[0] in said


@pytest.mark.parametrize('word, value', [
    ('True', True),
    ('False', False),
    ('true', True),
    ('false', False),
    ('1', True),
    ('0', False),
])
def test_booleans_of_overrides(word, value):
    from act import config
    overrides = cli.parse_overrides(['Global.Evaluation=' + word])
    assert config.load(YAML, overrides).Global.Evaluation is value


@pytest.mark.parametrize('script, arguments, words', [
    ('run.py', [], ['--config_path', 'required']),
    ('run.py', ['--config_path'], ['--config_path', 'expected one argument']),
    ('run.py', ['--config_path', ''], ['--config_path', 'not a path']),
    ('run.py', ['--config_path', YAML, '--devices', 'gpu'
                ], ['--devices', "choose from 'cpu'"]),
    ('run.py', ['--config_path', YAML, '--savedir', 'x'
                ], ["did you mean '--save_dir'?"]),
    ('export.py', [], ['--config', 'required']),
    (EVALUATION, ['--precision', 'int4'], ['--precision', "'int8'"]),
    (EVALUATION, ['--device', 'TPU'], ['--device', 'CPU']),
    (EVALUATION, ['--batch_size', '0'], ['--batch_size', '>= 1']),
    (EVALUATION, ['--batch_size', 'two'], ['--batch_size', '>= 1']),
    (EVALUATION, ['--cpu_threads', '-1'], ['--cpu_threads', '>= 1']),
    (EVALUATION, ['--num_images', '0'], ['--num_images', '>= 1']),
    (EVALUATION, ['--score_threshold', 'nan'], ['--score_threshold', '0 to 1']),
    (EVALUATION, ['--score_threshold', '2'], ['--score_threshold', '0 to 1']),
    (EVALUATION, ['--use_mkldnn', 'maybe'], ['--use_mkldnn', 'True or False']),
    (EVALUATION, ['--benchmark', 'a\nb'], ['--benchmark', 'True or False']),
    (EVALUATION, [], ['no result of run.py', '--model_path']),
])
def test_arguments(scripts, script, arguments, words):
    scripts.refused(words, script, *arguments)


def test_reader_file(scripts, base):
    run = ['run.py', '--config_path', YAML]
    scripts.refused(['none.yml', 'No such file'], *run, '--config', 'none.yml',
                    '-o', *base)
    (scripts.place / 'reader.yml').write_text('- a')
    scripts.refused(['reader.yml', 'must be a mapping'], *run, '--config',
                    'reader.yml', '-o', *base)


def damaged(float_model, place, damage):
    """A copy of the model with one thing wrong."""
    directory = place / 'model'
    shutil.copytree(float_model, directory)
    damage(ModelFiles(str(directory)))
    return str(directory)


def cut(path, by):
    os.truncate(path, os.path.getsize(path) - by)


def append(path, content):
    with open(path, 'ab') as f:
        f.write(content)


@pytest.mark.parametrize('damage, words', [
    (lambda m: shutil.rmtree(m.directory), ['does not exist', 'export.py']),
    (lambda m: (shutil.rmtree(m.directory), append(m.directory, b'')),
     ['is a file', 'export.py']),
    (lambda m: os.remove(m.model_path), ['model.pdmodel', 'does not exist']),
    (lambda m: os.remove(m.params_path), ['model.pdiparams', 'does not exist']),
    (lambda m: os.rename(m.model_path, m.model_path[:-len('pdmodel')] + 'json'),
     ['model.json', 'Paddle 3', 'export.py']),
    (lambda m: os.truncate(m.params_path, 0), ['model.pdiparams', 'is empty']),
    (lambda m: cut(m.model_path, 1), ['model.pdmodel', 'truncated']),
    (lambda m: cut(m.params_path, 1), ['model.pdiparams', 'truncated']),
    (lambda m: cut(m.params_path, 10**6), ['model.pdiparams', 'truncated']),
    (lambda m: append(m.params_path, b'x'), ['of another model']),
    (lambda m: append(m.model_path, b'text'), ['not a Paddle']),
])
def test_model_directories(scripts, base, float_model, damage, words):
    model = damaged(float_model, scripts.place, damage)
    run = ['run.py', '--config_path', YAML, '-o', *base]
    words = words + ['model', 'python export.py -c']
    scripts.refused(words, *run, 'Global.model_dir=' + model, 'Export=null')
    scripts.refused(words, EVALUATION, '--config_path', YAML, '--model_path',
                    model, '-o', *base)
    scripts.refused(words, EVALUATION, '--config_path', YAML, '--model_path',
                    float_model, '--compare', model, '-o', *base)


def test_parameters_of_another_model(scripts, base, float_model, int8_model):

    def swap(m):
        shutil.copyfile(ModelFiles(int8_model).params_path, m.params_path)

    model = damaged(float_model, scripts.place, swap)
    scripts.refused(['model.pdiparams', 'of another model'], 'run.py',
                    '--config_path', YAML, '-o', *base,
                    'Global.model_dir=' + model)


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    """Directory of a model with one input and one output of scores."""
    paddle = runtime.import_paddle()
    directory = str(tmp_path_factory.mktemp('models') / 'classifier')
    paddle.enable_static()
    try:
        scope, program = paddle.static.Scope(), paddle.static.Program()
        startup = paddle.static.Program()
        with paddle.static.scope_guard(scope), paddle.static.program_guard(
                program, startup):
            image = paddle.static.data('image', [-1, 3, 320, 320], 'float32')
            made = paddle.static.nn.conv2d(image, 10, 3)
            scores = paddle.mean(made, axis=[2, 3])
            exe = paddle.static.Executor(paddle.CPUPlace())
            exe.run(startup)
            paddle.static.save_inference_model(os.path.join(directory, 'model'),
                                               [image], [scores],
                                               exe,
                                               program=program)
    finally:
        paddle.disable_static()
    return directory


def test_a_model_that_is_no_detector(scripts, base, classifier):
    words = [classifier, 'the model gives [-1, 10]', 'export.nms=True']
    scripts.refused(words, 'run.py', '--config_path', YAML, '-o', *base,
                    'Global.model_dir=' + classifier)
    scripts.refused(words, EVALUATION, '--config_path', YAML, '--model_path',
                    classifier, '-o', *base)


@pytest.mark.parametrize('override, words', [
    ('Global.input_list=[image]', ['Global.input_list', 'scale_factor']),
    ('Global.input_list={im: image, scale_factor: scale_factor}',
     ["'image' is not among", 'Global.input_list']),
    ('QuantAware.quantize_op_types=[conv2]',
     ['quantize_op_types', "did you mean 'conv2d'?"]),
    ('QuantAware.quantize_op_types=[relu]', ['quantize_op_types', 'conv2d']),
    ('QuantAware.not_quant_pattern=[teacher]',
     ['not_quant_pattern', "unknown name scope 'teacher'"]),
    ('Deploy.cpu.int8_ops=[conv2d, fused_conv2]',
     ['Deploy.cpu.int8_ops', "did you mean 'fused_conv2d'?"]),
    ('Deploy.cpu.bf16_ops=[zzzz]', ['Deploy.cpu.bf16_ops', 'known: conv2d']),
    ('Deploy.cpu.deleted_passes=[conv_bn_fuse_pas]',
     ['Deploy.cpu.deleted_passes', "did you mean 'conv_bn_fuse_pass'?"]),
    ('Deploy.input_shape=[416, 416]', ['Deploy.input_shape', '[320, 320]']),
    ('Reader.dataset_dir=/nowhere', ['/nowhere', 'Reader.dataset_dir']),
])
def test_names_that_match_nothing(scripts, base, override, words):
    scripts.refused([YAML if 'Reader' not in override else 'error'] + words,
                    'run.py', '--config_path', YAML, '-o', *base, override)


@pytest.mark.parametrize('override, words', [
    ('TrainConfig.learning_rate={type: CosineDecay}',
     ['learning_rate.type', "did you mean 'CosineAnnealingDecay'?"]),
    ('TrainConfig.learning_rate={boundaries: [1, 2, 3]}',
     ['learning_rate: PiecewiseDecay', 'boundaries']),
    ('TrainConfig.learning_rate={values: [0.1, 0.1, -0.1]}',
     ['learning_rate: PiecewiseDecay', 'gives the rate -0.1']),
    ('TrainConfig.optimizer_builder.optimizer={type: SDG}',
     ['optimizer.type', "did you mean 'SGD'?"]),
    ('TrainConfig.optimizer_builder.optimizer={type: Adam, beta: 0.9}',
     ['optimizer: Adam', "'beta'"]),
    ('TrainConfig.optimizer_builder.optimizer={type: Momentum, momentum: a}',
     ['optimizer: Momentum']),
    ('TrainConfig.optimizer_builder.grad_clip={type: ClipGradByNrm}',
     ['grad_clip.type', "did you mean 'ClipGradByNorm'?"]),
    ('TrainConfig.optimizer_builder.grad_clip={clip_norm: a}',
     ['grad_clip: ClipGradByGlobalNorm']),
    ('TrainConfig.optimizer_builder.regularizer={type: L2Deca}',
     ['regularizer.type', "did you mean 'L2Decay'?"]),
    ('Distillation.node=[nothing]', ['Distillation.node', "'nothing'"]),
    ('TrainConfig=null', ['TrainConfig']),
])
def test_training_settings(scripts, base, override, words):
    scripts.refused([YAML] + words, 'run.py', '--config_path', YAML, '-o',
                    'Quantization.strategy=qat', *base[:2], override)


def test_precisions(scripts, base, float_model, int8_model, monkeypatch):
    evaluate = [EVALUATION, '--config_path', YAML, '--model_path']
    scripts.refused(['--precision int8', float_model, 'run.py'], *evaluate,
                    float_model, '--precision', 'int8', '-o', *base)
    scripts.refused(['--precision bf16', int8_model, 'is quantized'], *evaluate,
                    int8_model, '--precision', 'bf16', '-o', *base)
    scripts.refused(['--use_mkldnn False', 'oneDNN'], *evaluate, int8_model,
                    '--use_mkldnn', 'False', '--precision', 'int8', '-o', *base)
    monkeypatch.setattr(runtime, 'cpu_extensions', lambda: ['avx2'])
    scripts.refused(['--precision bf16', 'AVX-512', 'fp32'], *evaluate,
                    float_model, '--precision', 'bf16', '-o', *base)
    for extension in predictor.BF16:
        monkeypatch.setattr(runtime, 'cpu_extensions', lambda e=extension: [e])
        plan = predictor.plan(ModelFiles(float_model),
                              CpuSection(),
                              precision='bf16',
                              threads=1)
        assert plan.precision == 'bf16' and plan.mkldnn


@pytest.mark.parametrize('place, words', [
    ('file/x', ['file/x', 'Not a directory']),
    ('file', ['file', 'is a file']),
    ('/proc/x/y', ['/proc/x/y', 'cannot be written']),
])
def test_places_that_cannot_be_written(scripts, base, float_model, place, words,
                                       monkeypatch):
    (scripts.place / 'file').write_text('mine')
    # Refused before the model or its weights are loaded.
    monkeypatch.setattr(Model, 'load', None)
    run = ['run.py', '--config_path', YAML, '-o', *base]
    scripts.refused(['--save_dir'] + words, *run, '--save_dir', place)
    scripts.refused(['--save_dir'] + words, 'export.py', '-c',
                    os.path.join(PROJECT, 'demo', 'picodet_s_320_lcnet.yml'),
                    '--save_dir', place)
    evaluate = [
        EVALUATION, '--config_path', YAML, '--model_path', float_model, '-o',
        *base
    ]
    scripts.refused(['--output_dir'] + words, *evaluate, '--output_dir', place)
    record = place + '/record.json'
    scripts.refused(['--output_json'], *evaluate, '--output_json', record)
    scripts.refused(['--output_json'], *run, '--output_json', record)
    scripts.refused(['--output_json', 'is a directory'], *run, '--output_json',
                    '.')


def test_export_options(scripts):
    configuration = os.path.join(PROJECT, 'demo', 'picodet_s_320_lcnet.yml')
    scripts.refused(["unknown key 'weigths'", "did you mean 'weights'?"],
                    'export.py', '-c', configuration, '-o', 'weigths=x')


def limited(size):
    """For subprocess: files of at most `size` bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_full_disk(float_model, int8_model, base, tmp_path):
    """Files that cannot grow: Python's writes fail, Paddle's are cut off."""
    (tmp_path / 'out').mkdir()
    configuration = os.path.join(PROJECT, 'demo', 'picodet_s_320_lcnet.yml')
    shutil.copytree(int8_model, str(tmp_path / 'out' / 'result'))
    result = str(tmp_path / 'out' / 'result')
    before = snapshot(tmp_path)
    for size, script, arguments, words in (
        (10**6, 'run.py', [
            '--config_path', YAML, '--save_dir', result, '-o', *base,
            'Quantization.calibration_images=1',
            'Quantization.weight_rounding=nearest'
        ], '--save_dir'),
        (10**6, 'export.py', ['-c', configuration, '--save_dir',
                              result], 'cut off'),
        (500, EVALUATION, [
            '--config_path', YAML, '--model_path', float_model, '--num_images',
            '1', '--output_dir',
            str(tmp_path), '-o', *base
        ], 'record.json'),
    ):
        done = run_script(script, *arguments, preexec_fn=limited(size))
        assert done.returncode == 2, done.stderr
        line = done.stderr.splitlines()[-1]
        assert line.startswith('error: ') and words in line
        assert 'Traceback' not in done.stderr
        assert snapshot(tmp_path) == before


def test_a_result_that_was_cut_off(scripts, settings, int8_model, monkeypatch):
    """Paddle's writer says nothing; the result is read back."""

    def quantize(directory, model, params, save_dir, *_):
        for name in (model, params):
            shutil.copy(os.path.join(int8_model, name), save_dir)
        cut(os.path.join(save_dir, params), 1)

    monkeypatch.setattr(ptq, 'quantize', quantize)
    shutil.copytree(int8_model, 'result')
    before = snapshot(scripts.place)
    with pytest.raises(UserError, match='cut off; is the disk full'):
        job.compress(settings, 'result', [])
    assert snapshot(scripts.place) == before


class Full:
    """An open file that has no room."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_space_left(tmp_path, monkeypatch, capsys):
    path = str(tmp_path / 'record.json')
    record = results.new_record('test', ['test'])
    results.write_json(record, path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(files, 'open', Full, raising=False)
    assert cli.run(lambda: results.write_json(record, path)) == 2
    said = capsys.readouterr().err
    assert path in said and 'No space left' in said
    assert len(said.splitlines()) == 1
    # What no module names is a line all the same.
    assert cli.run(lambda: Full().write(b'')) == 2
    assert capsys.readouterr().err.startswith('error: No space left')
    assert snapshot(tmp_path) == before


def test_a_directory_that_cannot_be_replaced(tmp_path, monkeypatch):
    made, target = tmp_path / 'work' / 'made', tmp_path / 'target'
    made.mkdir(parents=True)
    target.mkdir()
    (target / 'old').write_text('old')
    rename = os.rename

    def fail(source, goal):
        if source == str(made):
            raise OSError(errno.EIO, 'broken')
        rename(source, goal)

    monkeypatch.setattr(os, 'rename', fail)
    with pytest.raises(OSError):
        files.replace_directory(str(made), str(target))
    assert (target / 'old').read_text() == 'old'
