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
"""Data that is not clean: what is refused, in which words, and what goes on."""

import io
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from act import annotations, cli, data, evaluate, images, results
from act.compress import job
from act.config import ReaderSection
from act.errors import UserError
from conftest import PROJECT, YAML, call_script, run_script
from PIL import Image

READER = os.path.join(PROJECT, 'configs', 'readers', 'picodet_320.yml')
TRAIN = os.path.join('annotations', 'instances_train2017.json')
VAL = os.path.join('annotations', 'instances_val2017.json')
# Begins and ends as a JPEG file and holds nothing, as after a bad sector.
HOLLOW = b'\xff\xd8\xff\xe0' + b'\x7f' * 400 + b'\xff\xd9'


def good_content():
    return {
        'images': [{
            'id': i,
            'file_name': '%d.jpg' % i,
            'height': 40,
            'width': 60
        } for i in (1, 2, 3)],
        'annotations': [{
            'id': i,
            'image_id': i,
            'category_id': 8,
            'bbox': [1, 2.5, 10, 20],
            'area': 200.0,
            'iscrowd': 0
        } for i in (1, 2)],
        'categories': [{
            'id': 8,
            'name': 'x'
        }],
    }


def picture(seed=0, height=40, width=60):
    """(height, width, 3) uint8 with enough detail not to fit into a header."""
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(
        rng.integers(0, 255, (height, width, 3), dtype=np.uint8), (3, 3), 0)


@pytest.fixture
def dataset(tmp_path):
    """Three whole JPEG files and their annotations."""
    (tmp_path / 'images').mkdir()
    for i in (1, 2, 3):
        cv2.imwrite(str(tmp_path / 'images' / ('%d.jpg' % i)), picture(i))
    (tmp_path / 'a.json').write_text(json.dumps(good_content()))
    return tmp_path


def load(root, **kwargs):
    return data.load_images(str(root), 'images', 'a.json', **kwargs)


def refusal(call):
    """The one line that a call is refused with, through the scripts' end."""
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.strip() and '\n' not in message
    return message


def open_shapes(root, **section):
    return data.open_reader(
        ReaderSection(file=READER,
                      **dict({'dataset_dir': str(root)}, **section)))


def test_clean_data_pass(dataset):
    assert [r.id for r in load(dataset).records] == [1, 2, 3]


# Paths ----------------------------------------------------------------------


def test_dataset_dir_missing(tmp_path):
    root = str(tmp_path / 'nowhere')
    for read in (open_shapes(root).train, open_shapes(root).val):
        line = refusal(read)
        assert repr(root) in line and 'Reader.dataset_dir' in line
        assert '-o Reader.dataset_dir=DIR' in line


def test_dataset_dir_of_the_reader_file_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    line = refusal(data.open_reader(ReaderSection(file=READER)).train)
    assert "'dataset/coco'" in line
    assert 'TrainDataset.dataset_dir in %r' % READER in line
    assert '-o Reader.dataset_dir=DIR' in line


@pytest.mark.parametrize('name, prefix', [('TrainDataset', 'train_'),
                                          ('EvalDataset', '')])
def test_image_dir_missing(dataset, name, prefix):
    keys = {prefix + 'anno_path': 'a.json'}
    line = refusal(
        getattr(open_shapes(dataset, **keys), 'train' if prefix else 'val'))
    assert '%s.image_dir in %r' % (name, READER) in line
    assert '-o Reader.%simage_dir=DIR' % prefix in line
    keys[prefix + 'image_dir'] = 'there'
    line = refusal(
        getattr(open_shapes(dataset, **keys), 'train' if prefix else 'val'))
    assert repr(str(dataset / 'there')) in line
    assert 'named by Reader.%simage_dir' % prefix in line


@pytest.mark.parametrize('read, key', [('train', 'train_anno_path'),
                                       ('val', 'anno_path')])
def test_annotation_file_missing(dataset, read, key):
    line = refusal(getattr(open_shapes(dataset, **{key: 'b.json'}), read))
    assert repr(str(dataset / 'b.json')) in line
    assert '-o Reader.%s=FILE' % key in line


def test_path_that_is_no_text(tmp_path):
    (tmp_path / 'r.yml').write_text(
        'EvalReader: {sample_transforms: [Decode: {}]}\n'
        'EvalDataset: !COCODataSet {dataset_dir: 5}\n')
    reader = data.open_reader(ReaderSection(file=str(tmp_path / 'r.yml')))
    assert 'EvalDataset.dataset_dir in' in refusal(reader.val)


# Annotations ----------------------------------------------------------------


@pytest.mark.parametrize('text, words', [
    ('images: 3', 'not valid JSON: line 1, column 1'),
    ('{"images": [],\n}', 'not valid JSON: line 2, column 1'),
    ('{"images": [1 2]}', 'not valid JSON: line 1, column 15'),
    ('', 'is empty'),
    (' \n', 'is empty'),
    ('[' * 100000, 'lists within lists'),
    ('{"images": %s}' % ('9' * 5000), 'digits'),
    ('[]', 'has no images: its top level is []'),
    ('3', 'has no images: its top level is 3'),
])
def test_not_json(dataset, text, words):
    (dataset / 'a.json').write_text(text)
    line = refusal(lambda: load(dataset))
    assert words in line and repr(str(dataset / 'a.json')) in line


def test_truncated_anywhere_is_said_to_be(dataset):
    text = json.dumps(dict(good_content(), more=[True, None, -1.5e3, 'ü']),
                      indent=1)
    for end in range(1, len(text)):
        (dataset / 'a.json').write_text(text[:end])
        line = refusal(lambda: load(dataset))
        assert 'looks truncated' in line, text[:end][-20:]
        assert 'in line %d;' % (text[:end].count('\n') + 1) in line


def test_truncated_within_a_character(dataset):
    (dataset / 'a.json').write_bytes('{"ü'.encode()[:-1])
    assert 'looks truncated' in refusal(lambda: load(dataset))
    (dataset / 'a.json').write_bytes(b'{"\xff": 1}')
    assert 'not UTF-8' in refusal(lambda: load(dataset))


def test_byte_order_mark_is_let_pass(dataset):
    text = (dataset / 'a.json').read_text()
    (dataset / 'a.json').write_text(text, encoding='utf-8-sig')
    assert len(load(dataset).records) == 3


def change(*path_and_value):
    """A good content with the value at a path replaced (or the item deleted, if
    the value is `...`)."""
    content = good_content()
    *path, last, value = path_and_value
    place = content
    for part in path:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


NAN, INF = float('nan'), float('inf')
BOX = 'bbox of annotation 2 (id 2) is'


@pytest.mark.parametrize('content, words', [
    (change('images', ...), 'has no images'),
    (change('annotations', ...), 'has no annotations'),
    (change('categories', ...), 'has no categories'),
    (change('images', []), 'has no images: the list is empty'),
    (change('categories', []), 'has no categories: the list is empty'),
    (change('images', {}), 'images is {}; it must be a list'),
    (change('annotations', None), 'annotations is None; it must be a list'),
    (change('images', 1, 7), 'image 2 is 7; allowed is an object'),
    (change('annotations', 1, []), 'annotation 2 is []; allowed is an object'),
    (change('categories', 0, 'x'), "category 1 is 'x'; allowed is an object"),
    (change('images', 2, 'id', 1), 'id 1 is that of two images, the 1. and '
     'the 3.'),
    (change('categories', [{
        'id': 8
    }, {
        'id': 8
    }]), 'id 8 is that of two categories'),
    (change('images', 1, 'id', ...), 'id of image 2 is missing'),
    (change('images', 1, 'id', '2'), "id of image 2 (id '2') is '2'; allowed "
     'is a whole number'),
    (change('images', 1, 'id', True), 'is True; allowed is a whole number'),
    (change('images', 1, 'id', 2.0), 'is 2.0; allowed is a whole number'),
    (change('images', 1, 'id', 2**70), 'allowed is a whole number'),
    (change('images', 1, 'height', 0), 'height of image 2 (id 2) is 0; '
     'allowed is a whole number of pixels, at least 1'),
    (change('images', 1, 'width', '60'), "width of image 2 (id 2) is '60'"),
    (change('images', 1, 'width', ...), 'width of image 2 (id 2) is missing'),
    (change('images', 1, 'file_name', ''), "file_name of image 2 (id 2) is ''"),
    (change('images', 1, 'file_name', 4), 'file_name of image 2 (id 2) is 4'),
    (change('categories', 0, 'name', ['x']), "name of category 1 (id 8) is "
     "['x']; allowed is a text"),
    (change('categories', 0, 'name', '\ud800'), 'allowed is a text'),
    (change('annotations', 1, 'bbox', [1, 2, -3, 4]), BOX + ' [1, 2, -3, 4]; '
     'allowed is [x, y, width, height]'),
    (change('annotations', 1, 'bbox', [1, 2, 3, -.5]), BOX),
    (change('annotations', 1, 'bbox', [NAN, 2, 3, 4]), BOX + ' [nan, 2, 3, 4]'),
    (change('annotations', 1, 'bbox', [1, 2, 3, NAN]), BOX),
    (change('annotations', 1, 'bbox', [1, 2, 3, INF]), BOX),
    (change('annotations', 1, 'bbox', [1, 2, 3, 10**400]), BOX),
    (change('annotations', 1, 'bbox', [1, 2, 3, '4']), BOX),
    (change('annotations', 1, 'bbox', [1, 2, 3, True]), BOX),
    (change('annotations', 1, 'bbox', [1, 2, 3]), BOX),
    (change('annotations', 1, 'bbox', []), BOX),
    (change('annotations', 1, 'bbox', None), BOX),
    (change('annotations', 1, 'bbox', ...), BOX + ' missing'),
    (change('annotations', 1, 'area', -1), 'area of annotation 2 (id 2) is -1'),
    (change('annotations', 1, 'area', NAN), 'area of annotation 2'),
    (change('annotations', 1, 'iscrowd', 2), 'iscrowd of annotation 2'),
    (change('annotations', 1, 'image_id', 'x'), 'image_id of annotation 2'),
    (change('annotations', 1, 'category_id', 9), 'category_id of annotation 2 '
     '(id 2) is 9, which categories does not list (8)'),
    (change('annotations', 1, 'category_id', None), 'category_id of annotation '
     '2 (id 2) is None'),
    (change('images', [dict(good_content()['images'][0], id=77)]),
     'none of the 2 annotations is of an image that it lists'),
])
def test_wrong_annotations(dataset, content, words):
    (dataset / 'a.json').write_text(json.dumps(content))
    line = refusal(lambda: load(dataset))
    assert words in line and 'annotation file %r' % str(
        dataset / 'a.json') in line
    # A mend: an imperative after the last semicolon, or the list's end.
    assert ';' in line


def test_number_beyond_double_precision(dataset):
    text = (dataset / 'a.json').read_text().replace('2.5', '1e400', 1)
    (dataset / 'a.json').write_text(text)
    assert 'is [1, inf, 10, 20]' in refusal(lambda: load(dataset))


@pytest.mark.parametrize('content', [
    change('annotations', []),
    change('annotations', 1, 'bbox', [1, 2, 0, 4]),
    change('annotations', 1, 'bbox', [-1.5, 2, 0, 0]),
    change('annotations', 1, 'area', ...),
    change('annotations', 1, 'iscrowd', True),
    change('annotations', 1, 'image_id', 99),
    change('annotations', 1, 'id', ...),
    change('categories', 0, 'name', ...),
    change('categories', 0, 'name', 'ü'),
])
def test_what_real_files_have_is_let_pass(dataset, content):
    (dataset / 'a.json').write_text(json.dumps(content))
    assert len(load(dataset).records) == 3


# Images ---------------------------------------------------------------------


def spoil(path, how):
    """Make one image bad; returns the word it is named with."""
    content = path.read_bytes()
    if how == 'missing':
        path.unlink()
    elif how == 'truncated':
        path.write_bytes(content[:len(content) * 2 // 3])
    elif how == 'zero bytes':
        path.write_bytes(b'')
    elif how == 'not an image':
        path.write_text('<html>404</html>')
    elif how == 'not a file':
        path.unlink()
        path.mkdir()
    elif how == 'broken':
        path.write_bytes(b'BM' + b'\x07' * 90)
    return how


BAD = ('missing', 'truncated', 'zero bytes', 'not an image', 'not a file',
       'broken')


@pytest.mark.parametrize('how', BAD)
def test_bad_image(dataset, how, capsys):
    path = dataset / 'images' / '2.jpg'
    word = spoil(path, how)
    line = refusal(lambda: load(dataset))
    assert line.startswith('1 of 3 images of %r are missing or broken: %r (%s' %
                           (str(dataset / 'a.json'), str(path), word))
    assert '--skip_bad_images' in line
    assert ('-o Reader.image_dir=DIR' in line) == (how == 'missing')

    bad = images.BadImages(skip=True)
    assert [r.id for r in load(dataset, bad=bad).records] == [1, 3]
    assert list(bad.faults) == [str(path)]
    out, _ = capsys.readouterr()
    assert 'left out: 1 of 3' in out and repr(str(path)) in out


def test_many_bad_images_are_counted_and_three_named(dataset):
    content = good_content()
    content['images'] += [
        dict(content['images'][0], id=i, file_name='%d.jpg' % i)
        for i in range(4, 9)
    ]
    (dataset / 'a.json').write_text(json.dumps(content))
    line = refusal(lambda: load(dataset))
    assert '5 of 8 images' in line and 'and 2 more' in line
    assert '6.jpg' in line and '7.jpg' not in line


def test_all_images_bad_is_an_error_even_if_skipped(dataset):
    for i in (1, 2, 3):
        spoil(dataset / 'images' / ('%d.jpg' % i), 'zero bytes')
    line = refusal(lambda: load(dataset, bad=images.BadImages(skip=True)))
    assert 'none of 3 images can be used' in line and 'zero bytes' in line


def encoded(kind, array):
    if kind == 'progressive':
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, 'JPEG', progressive=True)
        return stream.getvalue()
    return cv2.imencode('.' + kind, array)[1].tobytes()


@pytest.mark.parametrize('kind', ['jpg', 'progressive', 'png', 'bmp', 'webp'])
def test_truncated_files_of_each_kind(tmp_path, kind):
    content = encoded(kind, picture(0, 90, 120))
    path = tmp_path / 'x'
    path.write_bytes(content)
    assert images.structure_fault(str(path)) is None
    # What cameras and editors append does no harm.
    for tail in (b'\0', b'\n' * 63, b'\0' * 1000):
        path.write_bytes(content + tail)
        assert images.structure_fault(str(path)) is None
    for end in list(range(3, len(content),
                          len(content) // 40)) + [len(content) - 1]:
        path.write_bytes(content[:end])
        assert images.structure_fault(str(path)), end
    # As a download that was given its size at the start and broke off.
    if kind in ('jpg', 'progressive', 'png'):
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes(len(content) - half))
        assert images.structure_fault(str(path)) == 'truncated'


def test_thumbnail_is_not_taken_for_the_image(tmp_path):
    """Its end mark stands in the header of a file that is cut later."""
    small = encoded('jpg', picture(1, 16, 16))
    header = b'\xff\xe1' + (len(small) + 2).to_bytes(2, 'big') + small
    whole = encoded('jpg', picture(2, 90, 120))
    whole = whole[:2] + header + whole[2:]
    path = tmp_path / 'x.jpg'
    path.write_bytes(whole)
    assert images.structure_fault(str(path)) is None
    path.write_bytes(whole + b'\0' * 100)
    assert images.structure_fault(str(path)) is None
    path.write_bytes(whole[:-200])
    assert images.structure_fault(str(path)) == 'truncated'


def save_kind(kind, path):
    """One image file of a kind that data sets have beside plain ones."""
    colour = picture(5, 40, 60)
    if kind == 'grayscale':
        Image.fromarray(colour[..., 0]).save(path + '.jpg')
        return path + '.jpg'
    if kind == '16-bit':
        cv2.imwrite(path + '.png', colour.astype(np.uint16) * 257 - 100)
        return path + '.png'
    if kind == '16-bit grayscale':
        cv2.imwrite(path + '.png', colour[..., 0].astype(np.uint16) * 257)
        return path + '.png'
    if kind == 'transparent':
        cv2.imwrite(path + '.png', np.dstack([colour, colour[..., 0]]))
        return path + '.png'
    if kind == 'palette':
        Image.fromarray(colour).convert('P').save(path + '.png')
        return path + '.png'
    if kind == 'CMYK':
        Image.fromarray(colour).convert('CMYK').save(path + '.jpg')
        return path + '.jpg'
    assert kind == 'EXIF-rotated'
    exif = Image.Exif()
    exif[0x112] = 6  # stored lying on its side
    Image.fromarray(colour).save(path + '.jpg', exif=exif)
    return path + '.jpg'


KINDS = ('grayscale', '16-bit', '16-bit grayscale', 'transparent', 'palette',
         'CMYK', 'EXIF-rotated')


@pytest.mark.parametrize('kind', KINDS)
def test_kinds_are_read_as_ppdet_reads_them(dataset, kind):
    path = save_kind(kind, str(dataset / 'images' / 'kind'))
    content = good_content()
    content['images'][0]['file_name'] = os.path.basename(path)
    (dataset / 'a.json').write_text(json.dumps(content))
    reader = open_shapes(dataset, image_dir='images', anno_path='a.json')
    record = reader.val().records[0]
    assert record.path == path
    batch = reader.pipeline([record])

    from ppdet.data.transform import Decode, NormalizeImage, Permute, Resize
    sample = {'im_file': path, 'im_id': np.array([1]), 'h': 40., 'w': 60.}
    for apply in (Decode(),
                  Resize(interp=2, target_size=[320, 320], keep_ratio=False),
                  NormalizeImage(is_scale=True,
                                 mean=[0.485, 0.456, 0.406],
                                 std=[0.229, 0.224, 0.225]), Permute()):
        sample = apply(sample)
    for key in ('image', 'im_shape', 'scale_factor'):
        np.testing.assert_array_equal(batch[key][0], sample[key])
    if kind == 'EXIF-rotated':
        # Upright, whatever size the annotation gives; boxes are scaled by it.
        np.testing.assert_allclose(batch['scale_factor'][0],
                                   [320 / 60, 320 / 40],
                                   rtol=1e-6)
    else:
        np.testing.assert_allclose(batch['scale_factor'][0],
                                   [320 / 40, 320 / 60],
                                   rtol=1e-6)
    # Something is to be seen.
    assert batch['image'].std() > 0.1


def test_kind_that_ppdet_cannot_read_is_bad(dataset):
    path = dataset / 'images' / '2.jpg'
    Image.fromarray(picture()).save(str(path), 'GIF')
    line = refusal(lambda: load(dataset))
    assert '2.jpg' in line and 'not an image that OpenCV reads' in line


# Runs -----------------------------------------------------------------------


@pytest.fixture
def spoiled(shapes, tmp_path):
    """A copy of the shapes data set, and the paths of its images by split."""
    root = tmp_path / 'shapes'
    shutil.copytree(shapes, str(root))
    found = {}
    for split, file in (('train', TRAIN), ('val', VAL)):
        content = json.loads((root / file).read_text())
        items = sorted(content['images'], key=lambda item: item['id'])
        found[split] = [
            root / (split + '2017') / item['file_name'] for item in items
        ]
    return root, found


def with_data(settings, root, **changes):
    made = settings.model_copy(deep=True)
    made.Reader.dataset_dir = str(root)
    for key, value in changes.items():
        setattr(made.Quantization, key, value)
    return made


@pytest.mark.parametrize('content', [HOLLOW, b''])
def test_evaluation_refuses_and_skips(settings, float_model, spoiled, tmp_path,
                                      content):
    root, found = spoiled
    found['val'][1].write_bytes(content)
    made = with_data(settings, root)
    out = tmp_path / 'out'
    options = evaluate.Options(num_images=4, output_dir=str(out), batch_size=2)
    line = refusal(
        lambda: evaluate.evaluate(made, float_model, options, ['test']))
    assert repr(str(found['val'][1])) in line and '--skip_bad_images' in line
    assert not out.exists()

    options = evaluate.Options(num_images=4,
                               output_dir=str(out),
                               batch_size=2,
                               skip_bad_images=True)
    record, _ = evaluate.evaluate(made, float_model, options, ['test'])
    assert record['skipped_images'] == 1
    # The first four good ones of 24, or those good among the first four: what
    # is broken in the middle shows only when it is decoded.
    ids = [1, 3, 4] if content else [1, 3, 4, 5]
    assert record['num_images'] == len(ids)
    assert 'skipped_images' in results.table(record)
    saved = json.loads((out / 'record.json').read_text())
    assert saved['skipped_images'] == 1

    # The same figures as of a data set that never had the image.
    content = json.loads((root / VAL).read_text())
    order = sorted(item['id'] for item in content['images'])
    keep = {order[i - 1] for i in ids}
    content['images'] = [i for i in content['images'] if i['id'] in keep]
    (root / VAL).write_text(json.dumps(content))
    options = evaluate.Options(output_dir=str(out))
    clean, _ = evaluate.evaluate(made, float_model, options, ['test'])
    assert clean['num_images'] == len(ids) and clean['skipped_images'] is None
    assert clean['map'] == pytest.approx(record['map'], abs=1e-6)
    assert 'skipped_images' not in results.table(clean)


def test_evaluation_of_nothing_but_broken_images(settings, float_model, spoiled,
                                                 tmp_path):
    root, found = spoiled
    for path in found['val']:
        path.write_bytes(HOLLOW)
    options = evaluate.Options(output_dir=str(tmp_path / 'out'),
                               skip_bad_images=True)
    line = refusal(lambda: evaluate.evaluate(with_data(settings, root),
                                             float_model, options, ['test']))
    assert 'none of 24 images can be used' in line


def test_comparison_where_nothing_is(settings, float_model, int8_model, spoiled,
                                     tmp_path, capsys):
    """Neither objects nor boxes: no figure of them, and all others."""
    root, found = spoiled
    for path in found['val']:
        with Image.open(str(path)) as picture:
            black = Image.new('RGB', picture.size)
        black.save(str(path))
    content = json.loads((root / VAL).read_text())
    (root / VAL).write_text(json.dumps(dict(content, annotations=[])))
    options = evaluate.Options(num_images=2, output_dir=str(tmp_path / 'out'))
    record, _ = evaluate.evaluate(with_data(settings, root),
                                  int8_model,
                                  options, ['test'],
                                  compare=float_model)
    for name in ('map', 'map_difference', 'map_difference_low', 'agreement_ap'):
        assert record[name] is None, name
    assert record['agreement_boxes'] == 0 and record['latency_ratio'] > 0
    said = [x for x in capsys.readouterr().err.splitlines() if 'warning' in x]
    assert len(said) == 2
    assert '2 images have no ground truth' in said[0]
    assert 'no box of score >= 0.3 in 2 images' in said[1]
    assert call_script('report.py', str(tmp_path / 'out'), '--output_dir',
                       str(tmp_path / 'report')) == 0


def test_calibration_takes_the_next_good_ones(settings, spoiled):
    root, found = spoiled
    made = with_data(settings, root, calibration_images=6)
    before = job._Source(made, False).calibration()
    assert len(before) == 6
    hollow = before[2]
    with open(hollow.path, 'wb') as f:
        f.write(HOLLOW)
    line = refusal(job._Source(made, False).calibration)
    assert repr(hollow.path) in line
    source = job._Source(made, True)
    after = source.calibration()
    assert len(after) == 6 and hollow not in after
    assert after[:5] == [r for r in before if r != hollow]
    assert list(source.reader.bad.faults) == [hollow.path]


def test_broken_image_in_the_midst_of_training(settings, spoiled, capsys):
    root, found = spoiled
    made = with_data(settings, root)
    hollow = found['train'][3]
    hollow.write_bytes(HOLLOW)
    source = job._Source(made, False)
    chosen = source.train.records[2:4]
    assert repr(str(hollow)) in refusal(lambda: source.feed_training(chosen))

    source = job._Source(made, True)
    batch = source.feed_training(chosen)
    wanted = source.feed([source.train.records[i] for i in (2, 4)])
    np.testing.assert_array_equal(batch['image'], wanted['image'])
    assert 'left out' in capsys.readouterr().out
    source.feed_training(chosen)  # the next pass
    assert 'left out' not in capsys.readouterr().out
    assert len(source.reader.bad.faults) == 1


class _Trained(Exception):
    """Ends a run where training would end."""


@pytest.mark.parametrize('skip', [False, True])
def test_qat_goes_on_with_whole_batches(settings, spoiled, tmp_path, skip,
                                        monkeypatch):
    root, found = spoiled
    found['train'][3].write_bytes(HOLLOW)
    made = with_data(settings, root, strategy='qat')

    class Session:
        frozen = ()
        iterations = 0

    def train(session, feeds, section, **_):
        passes = 2 * len(found['train']) // section.batch_size
        for _ in range(passes):
            assert len(next(feeds)['image']) == section.batch_size
        raise _Trained

    monkeypatch.setattr('act.compress.qat.build', lambda *_: Session())
    monkeypatch.setattr('act.compress.loop.train', train)
    save_dir = tmp_path / 'result'
    with pytest.raises(_Trained if skip else data.BadImage):
        job.compress(made, str(save_dir), ['test'], skip_bad_images=skip)
    assert os.listdir(str(tmp_path)) == ['shapes']


def test_images_of_evaluations_are_decoded_before_training(settings, spoiled):
    root, found = spoiled
    found['val'][0].write_bytes(HOLLOW)
    made = with_data(settings, root)
    assert repr(str(
        found['val'][0])) in refusal(lambda: job._Source(made, False))
    source = job._Source(made, True)
    assert len(source.val.records) == 23


def test_picture_of_a_bad_image(settings, float_model, tmp_path):
    for content, word in ((b'', 'zero bytes'), (HOLLOW, 'broken')):
        (tmp_path / 'x.jpg').write_bytes(content)
        line = refusal(lambda: evaluate.draw_image(
            settings, float_model, str(tmp_path / 'x.jpg'),
            evaluate.Options(output_dir=str(tmp_path / 'out'))))
        assert '--image_file' in line and word in line
    assert not (tmp_path / 'out').exists()


def test_scripts_refuse_in_one_line(float_model, spoiled, tmp_path, capfd):
    """The real scripts: exit code 2, one line, nothing written."""
    root, found = spoiled
    common = [
        '--config_path', YAML, '-o',
        'Reader.dataset_dir=%s' % root,
        'Global.model_dir=%s' % float_model, 'Quantization.strategy=ptq',
        'Quantization.algo=avg', 'Quantization.calibration_images=20',
        'Quantization.weight_rounding=nearest'
    ]
    spoil(found['train'][0], 'truncated')
    save_dir = tmp_path / 'result'
    done = run_script('run.py', *common, '--save_dir', str(save_dir))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: 1 of 12 images')
    assert len(done.stderr.splitlines()) == 1
    assert not save_dir.exists()
    assert sorted(os.listdir(str(tmp_path))) == ['shapes']

    found['train'][1].write_bytes(HOLLOW)
    assert call_script('run.py', *common, '--skip_bad_images', '--save_dir',
                       save_dir) == 0
    record = json.loads((save_dir / 'record.json').read_text())
    assert record['skipped_images'] == 2
    assert record['calibration_images'] == 10

    text = (root / VAL).read_text()
    (root / VAL).write_text(text[:len(text) // 2])
    out = tmp_path / 'out'
    capfd.readouterr()
    assert call_script('paddle_inference_eval.py', '--model_path', float_model,
                       '--output_dir', out, *common) == 2
    assert not out.exists()
    line, = capfd.readouterr().err.splitlines()
    assert line.startswith('error: ') and 'looks truncated' in line


def test_errors_end_scripts_with_2(dataset, capsys):
    (dataset / 'a.json').write_text('{')
    assert cli.run(lambda: load(dataset) and 0) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: annotation file') and err.count('\n') == 1


def test_collection_is_on_again_after_an_error(dataset):
    import gc
    (dataset / 'a.json').write_text('{')
    with pytest.raises(UserError):
        annotations.read(str(dataset / 'a.json'))
    assert gc.isenabled()
