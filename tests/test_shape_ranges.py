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
"""Shape ranges for TensorRT: which inputs a reader makes, the images that span
them, range files and what they refuse."""

import contextlib
import dataclasses
import glob
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import cv2
import numpy as np
import programs
import pytest
from act import child, cli, config, data, files, images, runtime
from act.errors import UserError
from act.program.model import Model, ModelFiles, static_mode
from act.shapes import collect, inputs, levels, ranges, rule, sizes
from act.shapes.cover import commonest, cover
from conftest import PROJECT
from PIL import Image

READER = """
metric: COCO
EvalDataset: !COCODataSet {image_dir: images, anno_path: found.json}
EvalReader:
  sample_transforms:
  - Decode: {}
  - %s
  - NormalizeImage: {mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}
  - Permute: {}
  batch_transforms: [%s]
"""
KEEP = 'Resize: {interp: 1, target_size: [%d, %d], keep_ratio: True}'
FIXED = 'Resize: {interp: 2, target_size: [%d, %d], keep_ratio: False}'
PAD = '{PadBatch: {pad_to_stride: 32}}'
RULES = {
    'keep_ratio': (KEEP % (80, 133), ''),
    'longer first': (KEEP % (133, 80), ''),
    'square': (KEEP % (64, 64), ''),
    'padded': (KEEP % (80, 133), PAD),
    'mask': (KEEP % (80, 133), '{PadMaskBatch: {pad_to_stride: -1}}'),
    'fixed': (FIXED % (96, 64), ''),
    'fixed, padded': (FIXED % (70, 90), PAD),
    'own size': ('Permute: {}', PAD),
}


def write_reader(directory, transforms, batch=''):
    text = READER % (transforms, batch)
    if transforms.startswith('Permute'):
        text = text.replace('  - Permute: {}\n', '', 1)
    path = os.path.join(str(directory), 'reader.yml')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    return path


def open_reader(directory, *transforms):
    return data.open_reader(
        config.ReaderSection(file=write_reader(directory, *transforms),
                             dataset_dir=str(directory)))


def write_images(directory, image_sizes, annotated=None):
    """A data set of grey images of these heights and widths."""
    os.makedirs(os.path.join(directory, 'images'), exist_ok=True)
    listed = []
    for at, (height, width) in enumerate(image_sizes):
        name = '%03d.jpg' % at
        cv2.imwrite(os.path.join(directory, 'images', name),
                    np.full((height, width, 3), 99, np.uint8))
        said = (annotated or image_sizes)[at]
        listed.append({
            'id': at + 1,
            'file_name': name,
            'height': int(said[0]),
            'width': int(said[1])
        })
    with open(os.path.join(directory, 'found.json'), 'w',
              encoding='utf-8') as f:
        json.dump(
            {
                'images': listed,
                'annotations': [],
                'categories': [{
                    'id': 1,
                    'name': 'one'
                }]
            }, f)


def random_sizes(seed, count, least=20, most=400):
    random = np.random.default_rng(seed)
    return random.integers(least, most, (count, 2))


# What the reader makes of sizes.


@pytest.mark.parametrize('name', RULES)
def test_the_rule_is_what_the_pipeline_does(tmp_path, name):
    reader = open_reader(tmp_path, *RULES[name])
    found = rule.of(reader)
    # The last ones: sides that become a half.
    images = np.concatenate([
        random_sizes(0, 120),
        [(80, 133), (133, 80), (80, 80), (1, 1), (300, 40), (160, 161),
         (160, 163), (165, 160), (32, 25), (39, 25)]
    ])
    made = found.sizes(*images.T)
    for (height, width), size in zip(images, made):
        batch = reader.pipeline.preprocess([inputs.made_up(height, width)])
        assert batch['image'].shape[2:] == tuple(size), (height, width)
    fixed = {tuple(s) for s in made.tolist()}
    assert found.fixed == (fixed.pop() if len(fixed) == 1 else None)


@pytest.mark.parametrize('target', [(800, 1333), (640, 640), (512, 1024)])
def test_the_rule_at_the_sizes_of_real_models(tmp_path, target):
    reader = open_reader(tmp_path, KEEP % target)
    images = random_sizes(1, 25, 300, 700)
    for (height, width), size in zip(images, rule.of(reader).sizes(*images.T)):
        batch = reader.pipeline.preprocess([inputs.made_up(height, width)])
        assert batch['image'].shape[2:] == tuple(size)


def test_the_shipped_readers_have_rules():
    fixed = {}
    for name in ('dino_800', 'picodet_320', 'ppyoloe_640', 'rtdetr_640'):
        path = os.path.join(PROJECT, 'configs', 'readers', name + '.yml')
        fixed[name] = rule.of(data.open_reader(
            config.ReaderSection(file=path))).fixed
    assert fixed == {
        'dino_800': None,
        'picodet_320': (320, 320),
        'ppyoloe_640': (640, 640),
        'rtdetr_640': (640, 640)
    }


def test_transforms_that_are_not_known(tmp_path):
    reader = open_reader(tmp_path, 'RandomFlip: {}')
    with pytest.raises(UserError, match="transform 'RandomFlip'.*Resize"):
        rule.of(reader)


def test_an_image_of_which_nothing_is_left(tmp_path):
    reader = open_reader(tmp_path, KEEP % (80, 133))
    with pytest.raises(UserError, match='1 x 900.*0 x 133'):
        rule.of(reader).sizes(np.array([50, 1]), np.array([50, 900]))
    with pytest.raises(cv2.error):
        reader.pipeline.preprocess([inputs.made_up(1, 900)])


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('name', [n for n in RULES if n != 'own size'])
def test_the_range_of_the_rule_holds_all_images(tmp_path, name, batch_size):
    made = rule.of(open_reader(tmp_path, *RULES[name]))
    every = inputs.of_rule(made, batch_size)
    images = random_sizes(2, 5000, 10, 2000)
    ratio = images.max(1) / images.min(1)
    images = images[ratio <= rule.ASPECT]
    batches = images[:len(images) // batch_size * batch_size].reshape(
        -1, batch_size, 2)
    if not made.pads:  # then a batch is of one size
        batches = batches[:, :1].repeat(batch_size, 1)
    size = made.sizes(*batches.reshape(-1, 2).T).reshape(batches.shape).max(1)
    runs = np.insert(size, 0, batch_size, 1)
    _, values = levels.quantities(np.concatenate([every.runs, runs]))
    known, new = values[:, :len(every.runs)], values[:, len(every.runs):]
    assert (known.min(1) <= new.min(1)).all()
    assert (known.max(1) >= new.max(1)).all()


def test_the_range_of_the_rule_is_made_of_images(tmp_path):
    """Nothing in it that no image up to the ratio becomes."""
    made = rule.of(open_reader(tmp_path, KEEP % (80, 133)))
    images = made.examples()
    assert (made.sizes(*images.T) == images).all()
    assert (images.max(1) / images.min(1)).max() <= rule.ASPECT + 0.25
    assert images.min() == round(133 / rule.ASPECT)
    low = made.examples(1.5)
    assert low.max() == 120 and low.min() == 80


def test_no_range_without_a_limit(tmp_path):
    made = rule.of(open_reader(tmp_path, *RULES['own size']))
    assert not made.limited
    with pytest.raises(UserError, match='no range of shapes.*Resize'):
        inputs.of_rule(made, 1)


# Sizes of images.


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_sizes_are_those_of_the_decoded_image(tmp_path, suffix):
    """Whatever its EXIF orientation."""
    records = []
    for turn in range(10):
        exif = Image.Exif()
        exif[0x112] = turn
        path = str(tmp_path / ('%d.%s' % (turn, suffix)))
        Image.new('RGB', (30, 20 + turn)).save(path, exif=exif)
        records.append(data.ImageRecord(turn, path, 1, 1))
    pipeline = open_reader(tmp_path, KEEP % (80, 133)).pipeline
    decoded = [pipeline.decode(r)['image'].shape[:2] for r in records]
    assert len(set(decoded)) == 10 and (24, 30) in decoded
    assert (30, 25) in decoded
    found, faults = sizes.measured(records)
    assert found.tolist() == [list(s) for s in decoded] and not faults


def test_sizes_of_other_kinds_and_of_broken_files(tmp_path):
    records = []
    for name in ('a.bmp', 'b.webp', 'c.tiff', 'd.jpg', 'e.jpg', 'none.jpg'):
        path = str(tmp_path / name)
        records.append(data.ImageRecord(1, path, 20, 30))
        if name[0] in 'abcd':
            Image.new('RGB', (30, 20)).save(path)
    with open(records[4].path, 'wb') as f:
        f.write(b'nothing')
    found, faults = sizes.measured(records)
    assert found.tolist() == [[20, 30]] * 4 + [[0, 0]] * 2
    assert list(faults) == [r.path for r in records[4:]]
    bad = images.BadImages(skip=True)
    left, found = sizes.readable(records, bad)
    assert left == records[:4] and len(found) == 4
    with pytest.raises(UserError, match='e.jpg.*--skip_bad_images'):
        sizes.readable(records, images.BadImages())
    with pytest.raises(UserError, match='none of 2 images'):
        sizes.readable(records[4:], bad)


def test_wrong_sizes_in_the_annotation_file(tmp_path, capsys):
    write_images(str(tmp_path), [(50, 90), (60, 80)], [(50, 90), (80, 60)])
    reader = open_reader(tmp_path, KEEP % (80, 133))
    found = inputs.of_images(reader.val().records, reader.bad, rule.of(reader),
                             1)
    assert found.runs.tolist() == [[1, 74, 133], [1, 80, 107]]
    assert re.search(r'1 of 2 images.*60 x 80 \(height x width\), not 80 x 60',
                     capsys.readouterr().out)


# The fewest images.


def halved(size):
    """By a 3 x 3 convolution of stride 2, with a border of 1."""
    return (size + 2 - 3) // 2 + 1


def dimensions(run):
    """All that dimensions of tensors may be for an input, by going through a
    network."""
    n, h, w = run
    found, tokens = [n, n * h, n * w], []
    for level in range(8):
        found += [h, w, h * w, n * h * w]
        if level > 1:
            tokens.append(h * w)
        h, w = halved(h), halved(w)
    for first, last in itertools.combinations(range(len(tokens) + 1), 2):
        found += [sum(tokens[first:last]), n * sum(tokens[first:last])]
    return found


def spans(runs, chosen):
    every = np.array([dimensions(r) for r in levels.as_runs(runs).tolist()])
    some = every[chosen]
    return (some.min(0) == every.min(0)).all() and (some.max(0)
                                                    == every.max(0)).all()


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('name', RULES)
def test_the_cover_spans_all(tmp_path, name, seed):
    made = rule.of(open_reader(tmp_path, *RULES[name]))
    images = random_sizes(seed, 150)
    runs = made.sizes(*images.T)
    assert spans(runs, cover(runs))
    if seed == 0:
        runs = np.insert(runs, 0,
                         np.random.default_rng(seed).integers(1, 4, 150), 1)
        assert spans(runs, cover(runs))


@pytest.mark.parametrize('seed', range(60))
def test_no_fewer_images_would_do(seed):
    """Every smaller choice is tried."""
    random = np.random.default_rng(seed)
    runs = random.integers(16, 300, (random.integers(1, 13), 2))
    chosen = cover(runs)
    assert spans(runs, chosen)
    for count in range(1, len(chosen)):
        for other in itertools.combinations(range(len(runs)), count):
            assert not spans(runs, list(other))


def test_covers_of_few_sizes():
    assert cover(np.zeros((0, 2))) == []
    assert cover(np.array([[64, 64]] * 5)) == [0]
    assert cover(np.array([[64, 64], [32, 32], [64, 64], [32, 40]])) == [0, 1]
    # The second has fewer pixels than the first, and more tokens of stride 32;
    # the others have the extremes of height and width.
    runs = np.array([[800, 1344], [1000, 1056], [700, 1400], [1100, 640]])
    assert cover(runs) == [0, 1, 2, 3]


def test_the_commonest():
    assert commonest(np.array([[9, 9], [1, 2], [3, 4], [3, 4], [1, 2]])) == 1


# Range files.


@pytest.fixture(scope='module')
def pyramid(tmp_path_factory):
    """Settings of a small model of any size, for a data set of images of many
    sizes."""
    directory = str(tmp_path_factory.mktemp('pyramid'))
    programs.save(os.path.join(directory, 'model'), programs.pyramid)
    write_images(os.path.join(directory, 'set'),
                 random_sizes(5, 40, 30, 300).tolist() + [(200, 300)] * 3)
    return config.load(
        os.path.join(PROJECT, 'demo', 'dino_tiny_qat.yml'), {
            'Global': {
                'model_dir': os.path.join(directory, 'model')
            },
            'Reader': {
                'file': write_reader(directory, KEEP % (192, 320)),
                'dataset_dir': os.path.join(directory, 'set')
            }
        })


def model_of(settings):
    return ModelFiles.named(settings.Global, settings.Global.model_dir)


def feeds(settings, runs):
    return [{
        'image': np.zeros((n, 3, h, w), np.float32),
        'im_shape': np.array([[h, w]] * n, np.float32)
    } for n, h, w in runs]


@pytest.fixture(scope='module')
def made(pyramid):
    """The range file of that model, collected once."""
    return collect.ensure(pyramid, model_of(pyramid))


def test_the_chosen_images_span_every_tensor(pyramid, made):
    """Brute force: the ranges over all images are those over the chosen."""
    reader = data.open_reader(pyramid.Reader)
    every = inputs.of_images(reader.val().records, reader.bad, rule.of(reader),
                             1)
    runs = np.unique(every.runs, axis=0)
    assert len(runs) > 30 and len(made.meta.runs) < 12
    found = ranges.merge(
        collect.run(model_of(pyramid), feeds(pyramid, runs.tolist()), 2))
    assert set(found) == set(made.ranges)
    for name, one in found.items():
        got = made.ranges[name]
        assert (got.min_shape, got.max_shape) == (one.min_shape,
                                                  one.max_shape), name
        assert (got.min_value, got.max_value) == (one.min_value,
                                                  one.max_value), name
    # The best shapes are those of what is most frequent.
    assert made.meta.runs[0] == (1, 192, 288)
    assert made.ranges['image'].opt_shape == (1, 3, 192, 288)
    tokens = sum(-(-192 // s) * -(-288 // s) for s in (8, 16, 32, 64))
    assert any(tokens in r.opt_shape for r in made.ranges.values())


def test_values_of_shapes_and_of_nothing_else(made):
    """Shapes have values; the numbers of a level's rows, that are more in one
    image than in another, have none (Paddle reads beyond their end)."""
    image = made.ranges['image']
    shapes = [r for r in made.ranges.values() if len(r.min_value) == 4]
    assert any(r.min_value[2:] == tuple(-(-s // 8) for s in image.min_shape[2:])
               for r in shapes)
    for one in made.ranges.values():
        if one.min_shape != one.max_shape:
            assert one.min_value == ()


def test_a_file_is_read_as_it_was_written(pyramid, made):
    found = ranges.read(made.path, made.command)
    assert found == made
    with open(made.path, encoding='utf-8') as f:
        assert ranges.text_of(found) == f.read()


def test_a_good_file_is_used(pyramid, made, capsys):
    before = os.stat(made.path)
    found = collect.ensure(pyramid, model_of(pyramid))
    assert found == made
    assert os.stat(made.path).st_mtime_ns == before.st_mtime_ns
    assert capsys.readouterr().out == ''
    # And for fewer images.
    images = data.open_reader(pyramid.Reader).val().take(3)
    assert collect.ensure(pyramid, model_of(pyramid), images) == made
    assert os.stat(made.path).st_mtime_ns == before.st_mtime_ns


def test_a_look_makes_nothing(pyramid, made, tmp_path):
    found = collect.look(pyramid, model_of(pyramid))
    assert found.file == made and found.path == made.path
    path = str(tmp_path / 'none.pbtxt')
    found = collect.look(pyramid, model_of(pyramid), path=path)
    assert found.file is None and found.why == 'there are none'
    assert [tuple(found.inputs.runs[at])
            for at in found.chosen] == made.meta.runs
    assert not os.path.exists(path)


def test_collecting_again_gives_the_same_file(pyramid, made, tmp_path):
    path = str(tmp_path / 'new' / 'again.pbtxt')
    collect.ensure(pyramid, model_of(pyramid), path=path)
    with open(path, 'rb') as f, open(made.path, 'rb') as g:
        assert f.read() == g.read()
    assert os.listdir(tmp_path / 'new') == ['again.pbtxt']


SEVERAL = [(1, 192, 192), (1, 192, 256), (1, 256, 192)]


@pytest.fixture(scope='module')
def paddles_own(pyramid, tmp_path_factory):
    """What Paddle itself writes of several inputs."""
    runtime.prepare()
    from paddle import inference
    files_ = model_of(pyramid)
    path = str(tmp_path_factory.mktemp('own') / 'own.pbtxt')
    made = inference.Config(files_.model_path, files_.params_path)
    made.disable_mkldnn()
    made.collect_shape_range_info(path)
    predictor = inference.create_predictor(made)
    for feed in feeds(pyramid, SEVERAL):
        for name, value in feed.items():
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
    assert not os.path.exists(path)
    del predictor
    return ranges.read(path, 'make it again')


def test_paddle_itself_writes_what_is_read(pyramid, paddles_own):
    assert paddles_own.meta is None
    assert paddles_own.ranges['image'].min_shape == (1, 3, 192, 192)
    assert paddles_own.ranges['image'].max_shape == (1, 3, 256, 256)
    # It does for a model if its variables are those.
    ranges.check(paddles_own, model_of(pyramid))
    ranges.check_runs(paddles_own, np.array([[1, 192, 200], [1, 200, 200]]),
                      'image')
    with pytest.raises(ranges.Refused, match='1x3x192x257, outside'):
        ranges.check_runs(paddles_own, np.array([[1, 192, 257]]), 'image')


def test_best_shapes_do_not_contradict_each_other(pyramid, paddles_own):
    """TensorRT builds no engine for such. Paddle chooses each dimension apart:
    here a height and width of 765 tokens, and 1020 tokens."""

    def tokens(height, width):
        return sum(-(-height // s) * -(-width // s) for s in (8, 16, 32, 64))

    def contradict(found):
        joined = next(r for r in found.values()
                      if r.max_shape == (1, 4, tokens(192, 256)))
        return joined.opt_shape[2] != tokens(*found['image'].opt_shape[2:])

    assert contradict(paddles_own.ranges)
    ours = ranges.merge(
        collect.run(model_of(pyramid), feeds(pyramid, SEVERAL), 2))
    assert not contradict(ours)
    for name, one in paddles_own.ranges.items():
        assert (one.min_shape, one.max_shape) == (ours[name].min_shape,
                                                  ours[name].max_shape)


@pytest.fixture
def copy(made, tmp_path):
    """Writes a changed copy of the file and returns its path."""

    def write(change):
        path = str(tmp_path / 'changed.pbtxt')
        with open(made.path, encoding='utf-8') as f:
            text = f.read()
        changed = change(text)
        assert changed != text
        files.write_whole(
            path, changed if isinstance(changed, bytes) else changed.encode())
        return path

    return write


REFUSED = {
    'of another model':
    (lambda t: re.sub('"model": "....', '"model": "0000', t),
     'made for another model'),
    'of another Paddle': (lambda t: t.replace('"paddle": "', '"paddle": "1'),
                          r'made by Paddle 12\.6\.2, not 2\.6\.2'),
    'of another version': (lambda t: t.replace('"version": 1', '"version": 9'),
                           'is of version 9, not 1'),
    'of keys unknown':
    (lambda t: t.replace('"source"', '"sauce"'), "line '# meta:' is broken"),
    'of no runs': (lambda t: re.sub(r'"runs": \[.*\]\]', '"runs": []', t),
                   "line '# meta:' is broken"),
    'cut': (lambda t: t[:len(t) // 2 - 3], 'cannot be read'),
    'cut between two':
    (lambda t: t[:t.rindex('shape_range_info')], r"holds no range of '.*' of"),
    'empty': (lambda t: '', 'holds no range'),
    'binary': (lambda t: b'\xff\xfe\x00', 'is no text'),
    'another file': (lambda t: '{"a": [1, 2]}', 'cannot be read'),
    'upside down': (lambda t: t.replace('min_', 'x_').replace('max_', 'min_').
                    replace('x_', 'max_'), 'no least, best and greatest'),
    'without a variable':
    (lambda t: re.sub(r'shape_range_info {\s+name: "to_16"[^}]*}\n', '', t),
     "holds no range of 'to_16' of"),
    'of other parameters':
    (lambda t: re.sub(r'(name: "stem"\s+min_shape: 4\s+min_shape: )3',
                      r'\g<1>2', re.sub('# meta.*', '', t)),
     "parameter 'stem' has 4x2x3x3 there and 4x3x3x3"),
    'too narrow':
    (lambda t: re.sub(r'"runs": .*\]\]', '"runs": [[1, 192, 288]]', t),
     r'input of \d+ x \d+ .*outside of'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_a_named_file_that_does_not_do_is_refused(pyramid, copy, name):
    change, said = REFUSED[name]
    path = copy(change)
    with open(path, 'rb') as f:
        before = f.read()
    with pytest.raises(ranges.Refused, match=said) as e:
        collect.ensure(pyramid, model_of(pyramid), path=path)
    assert str(e.value).startswith("shape ranges '%s': " % path)
    words = shlex.split(str(e.value).split('collect them again: ')[1])
    assert words == [
        'python', 'paddle_inference_eval.py', '--collect_shapes_only',
        '--config_path', pyramid.path, '--model_path', pyramid.Global.model_dir,
        '--shape_range_file', path, '-o', 'Reader.file=' + pyramid.Reader.file,
        'Reader.dataset_dir=' + pyramid.Reader.dataset_dir
    ]
    again = config.load(pyramid.path, cli.parse_overrides(words[-2:]))
    assert again.Reader == pyramid.Reader
    with open(path, 'rb') as f:
        assert f.read() == before


def test_a_stale_file_of_ours_is_made_again(pyramid, made, capsys):
    with open(made.path, encoding='utf-8') as f:
        text = f.read()
    files.write_whole(made.path, text[:1000].encode())
    found = collect.ensure(pyramid, model_of(pyramid))
    assert found == made
    assert 'collected again' in capsys.readouterr().out
    with open(made.path, encoding='utf-8') as f:
        assert f.read() == text


def test_inputs_outside_are_refused_by_name(made):
    what = "image 'x.jpg'"
    low, high = (made.ranges['image'].min_shape, made.ranges['image'].max_shape)
    for run in made.meta.runs:
        ranges.check_input(made, {'image': (1, 3, *run[1:])}, what)
    with pytest.raises(
            ranges.Refused,
            match="image 'x.jpg': input 'image' is 1x3x192x%d, outside of "
            '%s to %s; collect them again: python' %
        (high[3] + 1, 'x'.join(map(str, low)), 'x'.join(map(str, high)))):
        ranges.check_input(made, {'image': (1, 3, 192, high[3] + 1)}, what)
    with pytest.raises(ranges.Refused, match='of other dimensions'):
        ranges.check_input(made, {'image': (3, 192, 192)}, what)
    with pytest.raises(ranges.Refused, match='2x3x192x288, outside'):
        ranges.check_input(made, {'image': (2, 3, 192, 288)}, what)


def test_products_outside_are_refused_by_name(made):
    """Height and width were both seen, but not together: the tensor that has
    too many tokens is named, with its range."""
    shape = (1, 3, *made.ranges['image'].max_shape[2:])
    with pytest.raises(ranges.Refused) as e:
        ranges.check_input(made, {'image': shape}, "image 'x.jpg'")
    name, at, stride, size, low, high = re.search(
        r"image 'x.jpg', \S+: tensor '(.*)', dimension (\d): height x width at "
        r'stride (\d+) would be (\d+), outside of (\d+) to (\d+);',
        str(e.value)).groups()
    one = made.ranges[name]
    assert one.min_shape[int(at)] == int(low)
    assert one.max_shape[int(at)] == int(high) < int(size)
    assert int(size) == np.prod([-(-s // int(stride)) for s in shape[2:]])


def test_quantities_that_no_tensor_follows(made):
    """No level of stride 1 is flattened: more pixels are no fault of their
    own, if there are no more tokens."""

    def tokens(h, w):
        return np.array([-(-h // s) * -(-w // s) for s in (8, 16, 32, 64)])

    runs = [run[1:] for run in made.meta.runs]
    most = np.max([tokens(*run) for run in runs], 0)
    pixels = max(h * w for h, w in runs)
    high, wide = made.ranges['image'].max_shape[2:]
    found = [(h, w) for h in range(150, high) for w in range(150, wide)
             if h * w > pixels and (tokens(h, w) <= most).all()]
    assert found
    for h, w in found:
        assert ranges.outside(made, np.array([[1, h, w]])) is None


def test_the_largest_size_left_out(pyramid, made, tmp_path):
    """Then the image that has it is refused by name of tensor and range."""
    reader = data.open_reader(pyramid.Reader)
    every = reader.val()
    found = inputs.of_images(every.records, reader.bad, rule.of(reader), 1)
    tokens = np.prod(-(-found.runs[:, 1:] // 8), 1)
    less = every.only(r.id for r, t in zip(every.records, tokens)
                      if t < tokens.max())
    path = str(tmp_path / 'less.pbtxt')
    file = collect.ensure(pyramid, model_of(pyramid), less, path=path)
    for run in found.runs[tokens < tokens.max()]:
        ranges.check_input(file, {'image': (1, 3, *run[1:])}, 'image')
    with pytest.raises(ranges.Refused, match="tensor '.*'.*outside of"):
        ranges.check_input(file,
                           {'image':
                            (1, 3, *found.runs[tokens.argmax()][1:])}, 'image')
    with pytest.raises(ranges.Refused, match='outside of'):
        collect.ensure(pyramid, model_of(pyramid), every, path=path)


def test_the_range_of_the_rule(pyramid, tmp_path, capsys):
    path = str(tmp_path / 'rule.pbtxt')
    found = collect.ensure(pyramid, model_of(pyramid), path=path, source='rule')
    assert found.ranges['image'].min_shape == (1, 3, 40, 40)
    assert found.ranges['image'].max_shape == (1, 3, 320, 320)
    assert found.meta.runs[0] == (1, 192, 256)
    assert 'sizes that the reader makes' in capsys.readouterr().out
    # It does for the data too, and is not made anew for them.
    assert collect.ensure(pyramid, model_of(pyramid), path=path) == found


def test_the_warning_of_narrow_data(pyramid, capsys):
    made = rule.of(data.open_reader(pyramid.Reader))
    every = inputs.of_rule(made, 1).runs
    for runs, said in (([[1, 192, 320],
                         [1, 320,
                          50]], 'height at stride 1 192 to 320 of 40 to 320;'),
                       ([[1, 192, 192], [1, 320, 40], [1, 40, 320]],
                        'height x width at stride 1 12800 to 36864 of 12800 to '
                        '61440;')):
        collect._warn_if_narrow(made, np.array(runs))
        line, = capsys.readouterr().out.splitlines()
        assert said in line and '--shape_range rule' in line
    collect._warn_if_narrow(made, every[cover(every)])
    assert capsys.readouterr().out == ''


def test_batches(pyramid, tmp_path):
    """The last one is smaller; images of a batch are filled up to the greatest;
    each may come alone."""
    settings = pyramid.model_copy(deep=True)
    settings.Reader.file = write_reader(tmp_path, KEEP % (64, 128), PAD)
    path = str(tmp_path / 'batches.pbtxt')
    reader = data.open_reader(settings.Reader)
    images = reader.val().take(11)
    found = collect.ensure(settings,
                           model_of(settings),
                           images,
                           path=path,
                           batch_size=4)
    for size in (4, 1):
        for part in data.chunks(images.records, size):
            ranges.check_input(found,
                               {'image': reader.pipeline(part)['image'].shape},
                               'batch')
    with pytest.raises(ranges.Refused, match='5x3x'):
        ranges.check_input(found, {'image': (5, 3, 128, 64)}, 'batch')
    assert '--batch_size 4' in found.command


def test_a_fixed_size_needs_one_image(pyramid, tmp_path, capsys):
    settings = pyramid.model_copy(deep=True)
    settings.Reader.file = write_reader(tmp_path, FIXED % (64, 96))
    found = collect.ensure(settings,
                           model_of(settings),
                           path=str(tmp_path / 'fixed.pbtxt'))
    assert found.meta.runs == [(1, 64, 96)]
    assert 'warning' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['float_model', 'int8_model'])
def test_detectors(settings, request, name, tmp_path):
    """Also one that holds quantization: all that its operators read is there.
    """
    found = collect.ensure(settings,
                           ModelFiles(request.getfixturevalue(name)),
                           path=str(tmp_path / 'x.pbtxt'))
    assert found.meta.runs == [(1, 320, 320)]
    assert found.ranges['image'].max_shape == (1, 3, 320, 320)


def test_an_image_without_detections(settings, small_detector, tmp_path):
    """Paddle may write no range of what is computed of nothing."""
    model = Model.load(ModelFiles(small_detector))
    with static_mode(runtime.import_paddle()):
        block = model.program.global_block()
        at, nms = next((at, op) for at, op in enumerate(block.ops)
                       if op.type == 'multiclass_nms3')
        nms._set_attr('score_threshold', 1.0)
        boxes = nms.output('Out')[0]
        for reader in block.ops[at + 1:]:
            reader._rename_input(boxes, 'scaled')
        block.create_var(name='scaled', dtype='float32', shape=[-1, 6])
        block._insert_op(at + 1,
                         type='scale',
                         inputs={'X': [boxes]},
                         outputs={'Out': ['scaled']},
                         attrs={'scale': 1.0})
        block._sync_with_cpp()
    files = ModelFiles(str(tmp_path))
    model.save(files)
    found = collect.ensure(settings, files)
    for name, needed in (('scaled', False), ('box', True)):
        assert any(name in op.input_arg_names for op in model.ops)
        left = {n: r for n, r in found.ranges.items() if n != name}
        with pytest.raises(ranges.Refused, match="no range of 'box'"
                           ) if needed else contextlib.nullcontext():
            ranges.check(dataclasses.replace(found, ranges=left), files)


def test_a_model_of_another_size(pyramid, small_detector, tmp_path):
    settings = pyramid.model_copy(deep=True)
    settings.Reader.file = write_reader(tmp_path, FIXED % (64, 96))
    with pytest.raises(
            UserError,
            match=r'inputs of 1x64x96 .*exported for \?x3x320x320; correct'):
        collect.ensure(settings,
                       ModelFiles(small_detector),
                       path=str(tmp_path / 'none.pbtxt'))
    assert not os.path.exists(tmp_path / 'none.pbtxt')


def test_a_model_that_does_not_run(pyramid, tmp_path):
    """Five of four tokens: what Paddle says, and for which input."""
    settings = pyramid.model_copy(deep=True)
    settings.Reader.file = write_reader(tmp_path, FIXED % (8, 8))
    with pytest.raises(UserError,
                       match="does not run on an input of .*'image' 1x3x8x8"):
        collect.ensure(settings,
                       model_of(settings),
                       path=str(tmp_path / 'none.pbtxt'))
    assert os.listdir(tmp_path) == ['reader.yml']


def test_a_process_that_was_killed(pyramid):
    said = collect._failed(model_of(pyramid),
                           feeds(pyramid, [(1, 64, 96)])[0], -9, '')
    assert re.search("'image' 1x3x64x96.*signal 9; is there enough memory",
                     str(said))


def test_a_stop_leaves_nothing_behind(pyramid, signals_arrive, tmp_path):
    script = (
        'import sys, numpy as np\n'
        'from act import cli\n'
        'from act.program.model import ModelFiles\n'
        'from act.shapes import collect\n'
        'feed = {"image": np.zeros((1, 3, 96, 96), np.float32), '
        '"im_shape": np.ones((1, 2), np.float32)}\n'
        'sys.exit(cli.run(lambda: collect.run(ModelFiles(%r), [feed] * 1000, '
        '1)))' % pyramid.Global.model_dir)
    work = tmp_path / 'work'
    work.mkdir()
    process = subprocess.Popen([sys.executable, '-c', script],
                               env=dict(child.environment(), TMPDIR=str(work)),
                               stderr=subprocess.PIPE)
    said = b''
    while not re.search(rb'[1-9]\d*/1000', said):
        more = process.stderr.read1()
        assert more, said
        said += more
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert os.listdir(work) == []
    running = []
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        with contextlib.suppress(OSError), open(path, 'rb') as f:
            running.append(f.read())
    assert not any(str(work).encode() in line for line in running)


def test_broken_images_are_left_out_if_asked(pyramid, tmp_path):
    """Also such that only decoding finds: here the one that is needed most."""
    write_images(str(tmp_path), [(60, 60), (60, 100), (60, 110)])
    path = str(tmp_path / 'images' / '002.jpg')
    with open(path, 'rb') as f:
        head = f.read()[:170]  # its size, and nothing of the picture
    with open(path, 'wb') as f:
        f.write(head + b'\xff\xd9')
    section = config.ReaderSection(file=pyramid.Reader.file,
                                   dataset_dir=str(tmp_path))
    target = str(tmp_path / 'x.pbtxt')
    with pytest.raises(UserError, match='002.jpg.*--skip_bad_images'):
        collect.ensure(pyramid,
                       model_of(pyramid),
                       path=target,
                       reader=data.open_reader(section))
    found = collect.ensure(pyramid,
                           model_of(pyramid),
                           path=target,
                           reader=data.open_reader(section, True))
    assert found.ranges['image'].max_shape == (1, 3, 192, 320)
    assert [1, 192, 320] in map(list, found.meta.runs)
    assert (1, 175, 320) not in found.meta.runs


def test_a_place_that_cannot_be_written_to(pyramid):
    with pytest.raises(UserError, match="'/proc/none.*cannot be written"):
        collect.ensure(pyramid,
                       model_of(pyramid),
                       path='/proc/none/shape_range.pbtxt')
