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
"""report.py: what is on the page is what the records say."""

import base64
import html.parser
import json
import os
import random
import re
from xml.etree import ElementTree

import pytest
import report_records as records
from act import evaluate, results
from act.report import (
    classes,
    columns,
    figures,
    gather,
    make,
    markdown,
    page,
    pictures,
    training,
)
from conftest import call_script, run_script

HOSTILE = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '</pre></table><h1>',
    '{{ 7 * 7 }}{% raw %}',
    '&lt;&#x27;',
    '$\\frac{1}{$',
    'a|b`c``d\\',
    '_x_ *y* [z](javascript:alert(1))',
    '检测器 🚀 \u202e',
    '-->]]>',
    'x' * 400,
    'two\nlines',
]


class Parsed(html.parser.HTMLParser):
    """The tags and the text of a page, and the cells of its rows by field."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.cells, self._place = {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        values = dict(attributes)
        if tag == 'tr':
            self._record = values.get('data-record')
        if tag == 'td' and self._record:
            self._place = self._record, values['data-field']

    def handle_endtag(self, tag):
        self.tags.append('/' + tag)
        if tag == 'td':
            self._place = None

    def handle_data(self, text):
        self.words.append(text)
        if self._place:
            self.cells.setdefault(self._place, []).append(text)

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


def parsed(*paths):
    return Parsed(page.render(gather.gather([str(p) for p in paths])))


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    place = tmp_path_factory.mktemp('records')
    return place, records.save_all(place)


def test_of_a_real_evaluation(settings, float_model, int8_model, tmp_path):
    directory = str(tmp_path / 'evaluation')
    evaluate.evaluate(settings,
                      int8_model,
                      evaluate.Options(num_images=6,
                                       pictures=2,
                                       per_class=True,
                                       output_dir=directory),
                      ['paddle_inference_eval.py', '--device', 'CPU'],
                      compare=float_model)
    assert call_script('report.py', directory, int8_model, '--output_dir',
                       tmp_path / 'report') == 0
    text = (tmp_path / 'report' / 'report.html').read_text(encoding='utf-8')
    found = Parsed(text)
    for name in ('record.json', 'record_reference.json'):
        path = os.path.join(directory, name)
        record = results.read_json(path)
        for field in ('map', 'latency_ms_p50', 'model_size_mb', 'inference_ms'):
            shown = found.cells[path, field][0].rstrip(' *')
            assert shown == results.show(results.FIELDS[field], record[field])
    assert len(record['per_class']) == 6
    assert len(record['latency_ms_percentiles']) == 101
    sources = [s.partition(',') for s in found.values('src')]
    embedded = [base64.b64decode(s[2]) for s in sources]
    pictured = os.listdir(os.path.join(directory, 'pictures'))
    assert len(pictured) == 2
    for name in pictured:
        with open(os.path.join(directory, 'pictures', name), 'rb') as f:
            assert f.read() in embedded
    svg = [s for s in embedded if b'<svg' in s]
    assert len(svg) == len(embedded) - 2 == 5
    for kind in ('Compression', 'Environment', 'AP by class'):
        assert kind in found.words
    # The int8 model's own record is the compression, not another row.
    assert sum('Agreement AP' in w for w in found.words) == 1
    lines = (tmp_path / 'report' / 'report.md').read_text().splitlines()
    rows = [x for x in lines if x.startswith('| ')]
    assert sum('%.2f' % record['map'] in row for row in rows) >= 1


def test_metrics_have_no_common_axis(tmp_path):
    """An older record that names no metric is COCO's."""
    voc = dict(metric='VOC', map_type='11point', overlap_thresh=0.5)
    records.save(records.evaluation(), tmp_path, 'a', 'record_reference.json')
    records.save(records.compared(metric='COCO'), tmp_path, 'a', 'record.json')
    one = gather.gather([str(tmp_path)])
    blocks = page._accuracy_latency(one.rows)
    assert [b.title for b in blocks] == [''] and 'VOC' not in page.render(one)
    assert not [name for name, _ in gather.unlike(one.rows) if name == 'metric']
    records.save(records.evaluation(map=81.5, **voc), tmp_path, 'b',
                 'record_reference.json')
    records.save(records.compared(map=80.25, **voc), tmp_path, 'b',
                 'record.json')
    both = gather.gather([str(tmp_path)])
    assert len(both.rows) == 4
    coco, other = page._accuracy_latency(both.rows)
    assert (coco.title, other.title) == ('COCO', 'VOC 11point at IoU 0.5')
    assert '60.89 %' in coco.figure.words and '81.5' not in coco.figure.words
    assert other.figure.words.startswith('mAP, VOC 11point at IoU 0.5 against')
    assert '81.50 %' in other.figure.words and '60.89' not in other.figure.words
    assert b'mAP, VOC 11point at IoU 0.5, %' in other.figure.svg
    assert ('metric', ['COCO', 'VOC']) in gather.unlike(both.rows)
    assert 'Metric' in [
        h.title for h in columns.table(columns.RESULTS, both.rows).headers
    ]
    # One model, the same classes: still nothing to subtract.
    rows = {(e.metric, e.get('precision')): e for e in both.rows}
    mixed = gather.Pair(rows['VOC 11point at IoU 0.5', 'int8'], rows['COCO',
                                                                     'fp32'])
    assert classes.changes(mixed) == []
    assert all(p.candidate.metric == p.reference.metric for p in both.pairs)


def test_figures_on_the_page_are_the_records(saved):
    place, paths = saved
    found = parsed(place)
    for path in paths:
        with open(path, encoding='utf-8') as f:
            record = json.load(f)
        for name in ('map', 'ap50', 'latency_ms_p50', 'latency_ms_p90',
                     'latency_ms_mean', 'model_size_mb', 'peak_memory_mib',
                     'decode_ms', 'num_images', 'threads'):
            texts = found.cells[path, name]
            shown = results.show(results.FIELDS[name], record[name])
            assert texts and set(texts) == {shown}, name
    assert found.cells[paths[2], 'map_difference'] == ['-0.16 (-0.40, +0.08)']
    assert found.cells[paths[2], 'int8_convs_ran'] == ['65 / 65']


def test_the_page_needs_nothing_else(saved):
    found = parsed(saved[0])
    assert found.values('src')
    for address in found.values('src'):
        assert address.startswith('data:image/')
    for address in found.values('href'):
        assert address[0] == '#' and address[1:] in found.values('id')
    assert not {'script', 'link', 'iframe', 'object'} & set(found.tags)
    policy, = [v for v in found.values('content') if 'default-src' in v]
    assert "default-src 'none'" in policy and 'script' not in policy


def test_the_page_can_be_heard(saved):
    found = parsed(saved[0])
    images = found.tags.count('img')
    alternatives = [v for t, k, v in found.attributes if k == 'alt']
    assert len(alternatives) == images > 5 and all(alternatives)
    assert found.tags.count('caption') == found.tags.count('table') > 5
    headers = [(t, v) for t, k, v in found.attributes if k == 'scope']
    assert ('th', 'col') in headers and ('th', 'row') in headers
    for words in (figures.accuracy_latency, figures.stage_split):
        rows = gather.gather([str(saved[0])]).rows
        assert '60.73 %' in figures.accuracy_latency(rows).words
        assert words(rows).words in alternatives
    levels = [int(t[1]) for t in found.tags if re.fullmatch(r'h\d', t)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:]))


def test_what_belongs_together(tmp_path):
    reference = dict(time='2026-11-20T10:00:00Z')
    paths = [
        records.save(records.compared(), tmp_path, 'a', 'record.json'),
        records.save(records.evaluation(**reference), tmp_path, 'a',
                     'record_reference.json'),
        records.save(
            records.compared(model_dir='output/other', model_name='other'),
            tmp_path, 'b', 'record.json'),
        records.save(records.evaluation(model_name='other'), tmp_path, 'b',
                     'record_reference.json'),
        records.save(
            records.evaluation(model_name='third', model_dir='third', map=10.0),
            tmp_path, 'c', 'record.json'),
    ]
    found = gather.gather([str(tmp_path)])
    # The reference was measured twice and is one row; pairs keep their own.
    assert len(found.rows) == 4
    assert [e.path for e in found.repeated] == [paths[3]]
    assert {(p.candidate.path, p.reference.path)
            for p in found.pairs} == {(paths[0], paths[1]),
                                      (paths[2], paths[3])}
    families = {e.path: e.family for e in found.rows}
    assert families[paths[0]] == families[paths[1]] == families[paths[2]]
    assert families[paths[4]] != families[paths[0]]
    assert [e.get('precision')
            for e in found.rows] == ['fp32', 'int8', 'int8', 'fp32']
    assert [e.label for e in found.rows
            ] == ['detector fp32', 'detector int8', 'other int8', 'third fp32']
    # A row of its own goes before one that was only compared with.
    own = records.save(records.evaluation(map=60.0), tmp_path, 'd',
                       'record.json')
    found = gather.gather([str(tmp_path)])
    assert own in [e.path for e in found.rows]
    assert sorted(e.path for e in found.repeated) == [paths[1], paths[3]]


def test_a_row_under_other_conditions_is_not_the_same(tmp_path):
    for name, threads in (('a', 1), ('b', 2)):
        records.save(records.compared(threads=threads), tmp_path, name,
                     'record.json')
        records.save(records.evaluation(threads=threads), tmp_path, name,
                     'record_reference.json')
    found = gather.gather([str(tmp_path)])
    assert not found.repeated
    assert [e.label for e in found.rows] == [
        'detector fp32, threads 1', 'detector fp32, threads 2',
        'detector int8, threads 1', 'detector int8, threads 2'
    ]
    for pair in found.pairs:
        assert pair.candidate.get('threads') == pair.reference.get('threads')
    note, = columns.notes(found.rows, gather.unlike(found.rows))
    assert 'Not measured alike' in note and 'threads (1, 2)' in note


def test_a_model_is_not_compared_with_itself(tmp_path):
    """bf16 is compared with fp32 of the same directory, and that one is not
    there: another run in bf16 is no reference."""
    same = dict(precision='bf16',
                reference_model_dir='inference_model/detector')
    for name, threads in (('a', 1), ('b', 2)):
        records.save(records.evaluation(threads=threads, **same), tmp_path,
                     name, 'record.json')
    assert not gather.gather([str(tmp_path)]).pairs
    path = records.save(records.evaluation(), tmp_path, 'c', 'record.json')
    pairs = gather.gather([str(tmp_path)]).pairs
    assert [p.reference.path for p in pairs] == [path, path]


def test_labels_differ_whatever_the_records(tmp_path):
    random.seed(0)
    made = []
    for at in range(30):
        fields = {
            name: random.choice(values)
            for name, values in dict(model_dir=['x/model', 'y/model', None],
                                     model_name=['m', None],
                                     precision=['int8', None],
                                     threads=[1, 2]).items()
        }
        path = records.save(records.evaluation(**fields), tmp_path,
                            '%d.json' % at)
        made.append(path)
    found = gather.gather(made)
    labels = [e.label for e in found.rows]
    assert len(set(labels)) == len(labels) == 30


def test_files_are_found_once(tmp_path, monkeypatch):
    records.save_all(tmp_path)
    (tmp_path / '.compress_x').mkdir()
    (tmp_path / '.compress_x' / 'record.json').write_text('cut short')
    whole = gather.find([str(tmp_path)])
    assert len(whole) == 4
    monkeypatch.chdir(tmp_path)
    again = gather.find(
        [str(tmp_path), 'int8/record.json', './bf16', 'int8/record.json'])
    assert again == whole
    # A file's reference comes with it.
    assert gather.find(['int8/record.json']) == [
        'int8/record.json', 'int8/record_reference.json'
    ]


@pytest.mark.parametrize('content, said', [
    ('not JSON', 'is not JSON'),
    ('[1, 2]', 'must be an object'),
    ('{"images": [], "annotations": []}', "unknown field 'images'"),
    ('{"kinds": 1}', 'is a required property'),
    (None, 'cannot read'),
])
def test_a_file_that_is_no_record(tmp_path, capsys, content, said):
    path = tmp_path / 'record.json'
    if content is not None:
        path.write_text(content)
    assert call_script('report.py', path, '--output_dir',
                       tmp_path / 'report') == 2
    error = capsys.readouterr().err
    assert said in error and str(path) in error and error.count('\n') == 1
    assert not (tmp_path / 'report').exists()


def test_other_errors(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    path = records.save(records.evaluation(), tmp_path, 'record.json')
    for arguments, said in ((['empty'], 'holds no record'),
                            ([path, '--output_dir',
                              tmp_path / 'file'], 'is a file')):
        arguments = [tmp_path / a if a == 'empty' else a for a in arguments]
        assert call_script('report.py', *arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1


def groups():
    names = {
        'least': [n for n in records.compared() if n not in results.REQUIRED],
        'precision': ['precision'],
        'pictures': ['pictures'],
        'latency': [n for n in results.FIELDS if n.startswith('latency')],
        'environment': [f.name for f in results.GROUPS['environment']],
    }
    for group in ('accuracy', 'split', 'size', 'comparison', 'int8'):
        names[group] = [f.name for f in results.GROUPS[group]]
    names['size'].append('size_ratio')
    return names


@pytest.mark.parametrize('missing', sorted(groups()))
def test_what_a_record_lacks_is_left_out(tmp_path, missing):
    names = groups()[missing]
    for made, name in ((records.compared(), 'record.json'),
                       (records.evaluation(), 'record_reference.json')):
        for field in names:
            made.pop(field, None)
        records.save(made, tmp_path, name)
    found = parsed(tmp_path)
    gone = {
        'latency': {'latency', 'accuracy-latency'},
        'split': {'stages'},
        'size': {'size'},
        'accuracy': {'accuracy', 'classes', 'accuracy-latency'},
        'pictures': {'pictures'},
        'environment': {'environment'},
        'comparison': {'pictures', 'classes'},
        'precision': set(),
        'int8': set(),
        'least': {
            'results', 'latency', 'accuracy-latency', 'stages', 'size',
            'accuracy', 'classes', 'pictures', 'environment'
        },
    }[missing]
    every = {
        'results', 'accuracy-latency', 'accuracy', 'latency', 'stages',
        'classes', 'size', 'pictures', 'environment', 'commands'
    }
    assert set(found.values('id')) == every - gone
    assert markdown.render(gather.gather([str(tmp_path)]))


def test_null_is_as_missing(tmp_path):
    made = {
        name: value if name in results.REQUIRED else None
        for name, value in records.compared().items()
    }
    records.save(made, tmp_path, 'record.json')
    assert parsed(tmp_path).values('id') == ['commands']


def test_names_are_text(tmp_path):
    """Whatever a record says, the page has the elements that it would have."""

    def save(place, name):
        kind = dict(model_name=name,
                    model_dir=name.replace('\0', ''),
                    cpu=name,
                    per_class={
                        name: 10.0,
                        'b': 20.0
                    },
                    command=name,
                    error=name)
        records.save(
            records.compared(**kind, reference_model_dir='f', pictures=[]),
            place, 'record.json')
        records.save(records.evaluation(**dict(kind, model_dir='f')), place,
                     'record_reference.json')
        records.save(records.compression(**kind), place, 'c', 'record.json')
        with open(str(place / 'c' / 'train_log.csv'), 'w') as f:
            f.write(records.LOG)
        failed = results.new_record('run.py', ['run.py'])
        records.save(dict(failed, error=name, model_name=name), place,
                     'error.json')
        return gather.gather([str(place)])

    plain = Parsed(page.render(save(tmp_path / 'plain', 'name')))
    for at, name in enumerate(HOSTILE):
        found = save(tmp_path / str(at), name)
        text = page.render(found)
        hostile = Parsed(text)
        well_formed(hostile)
        assert hostile.tags == plain.tags, name
        assert [a[:2] for a in hostile.attributes
                ] == [a[:2] for a in plain.attributes], name
        assert ' '.join(name.split()) in ' '.join(' '.join(
            hostile.words).split())
        rows = [
            line for line in markdown.render(found).splitlines()
            if line.startswith('| ')
        ]
        bars = {len(re.findall(r'(?<!\\)(?:\\\\)*\|', row)) for row in rows}
        expected = markdown.render(gather.gather([str(tmp_path / 'plain')
                                                  ])).splitlines()
        assert bars == {
            row.count('|')
            for row in expected if row.startswith('| ')
        }, name


def well_formed(found):
    """Each figure of a page is one that a browser reads."""
    for source in found.values('src'):
        kind, _, content = source.partition(',')
        if 'svg' in kind:
            ElementTree.fromstring(base64.b64decode(content))


@pytest.mark.filterwarnings('error')
def test_characters_that_are_none(tmp_path):
    """Control characters and halves of characters, as JSON may hold them."""
    name = 'a\0b\x1b[31m\ud800\uffff\x9b'
    record = records.evaluation(model_name=name,
                                cpu=name,
                                per_class={name: 1.0})
    (tmp_path / 'record.json').write_text(json.dumps(record))
    assert call_script('report.py', tmp_path, '--output_dir',
                       tmp_path / 'report') == 0
    found = Parsed(
        (tmp_path / 'report' / 'report.html').read_text(encoding='utf-8'))
    well_formed(found)
    text = ''.join(found.words)
    assert 'a\ufffdb\ufffd[31m\ufffd\ufffd\ufffd fp32' in text
    assert not re.search('[\0-\x08\x0b-\x1f\x7f-\x9f]', text)


@pytest.mark.filterwarnings('error')
def test_long_names_leave_figures_room(tmp_path):
    for at in range(2):
        records.save(
            records.evaluation(model_name=('%d' % at) * 300 + ' end',
                               model_dir=str(at)), tmp_path, str(at),
            'record.json')
    rows = gather.gather([str(tmp_path)]).rows
    for figure in (figures.latency_distribution(rows), figures.sizes(rows),
                   figures.accuracy_latency(rows)):
        drawn = figure.svg.decode()
        assert '0' * 10 + '…' + '0' * 10 in drawn and '0' * 60 not in drawn
        assert '0' * 300 in figure.words


@pytest.mark.parametrize('name', HOSTILE)
def test_markdown_of_names(name):
    escaped = markdown.escape(name)
    assert '\n' not in escaped
    assert re.sub(r'\\(.)', r'\1', escaped) == ' '.join(name.split())
    assert not re.search(r'(?<!\\)(?:\\\\)*[|<`*\[]', escaped)
    block = markdown.code(name).split('\n')
    assert block[0] == block[-1] and block[0] not in name


def test_only_pictures_are_embedded(tmp_path):
    path = records.save(records.compared(), tmp_path, 'record.json')
    record = results.read_json(path)
    (tmp_path / 'secret.txt').write_text('secret')
    (tmp_path / 'cut.jpg').write_bytes(
        (tmp_path / 'pictures' / '000001.jpg').read_bytes()[:-20])
    (tmp_path / 'script.svg').write_text('<svg><script/></svg>')
    record['pictures'] += [
        'secret.txt', 'cut.jpg', 'script.svg', 'nowhere.png', '.', '/dev/zero'
    ]
    found = pictures.of(gather.Entry(path, record))
    assert [(p.name, p.kind) for p in found] == [('000001.jpg', 'image/jpeg'),
                                                 ('000002.png', 'image/png')]


def test_worst_classes():
    before = {str(at): 50.0 for at in range(80)}
    after = {str(at): 50.0 + (at * 37 % 80) - 40 for at in range(80)}
    before['unseen'], after['none'] = None, 5.0
    pair = gather.Pair(gather.Entry('a', {'per_class': after}, 'a'),
                       gather.Entry('b', {'per_class': before}, 'b'))
    found = classes.changes(pair)
    assert len(found) == 80
    points = [c.points for c in found]
    assert points == sorted(points)
    assert (found[0].points, found[0].name) == (-40.0, '0')
    figure = figures.class_changes(pair, found, classes.WORST)
    assert figure.svg.count(b'<svg') == 1
    named = re.findall(r'>(\d+)</text>', figure.svg.decode())
    assert named[:10] == [c.name for c in found[:10]]


@pytest.mark.parametrize('content', [
    '', 'loss\n0.5\n', 'loss,iteration,learning_rate\nx,1,0.1\n',
    'loss,iteration,learning_rate\nnan,1,0.1\n', '\0'
])
def test_logs_that_cannot_be_read(tmp_path, content):
    path = records.save(records.compression(), tmp_path, 'record.json')
    entry = gather.gather([path]).compressions[0]
    assert training.read(entry) is None
    (tmp_path / 'train_log.csv').write_text(content)
    assert training.read(entry) is None
    assert 'Compression' in parsed(tmp_path).words


def test_log(tmp_path):
    records.save_all(tmp_path)
    entry = gather.gather([str(tmp_path)]).compressions[0]
    assert entry.label == 'detector'
    log = training.read(entry)
    assert log.iterations == [1, 2, 3] and log.losses == [0.5, 0.375, 0.25]
    words = figures.losses(entry, log).words
    assert 'over 3 iterations: first 0.5, last 0.25' in words


def test_failed_runs_are_rows(tmp_path):
    failed = results.new_record('run.py', ['run.py', '--config_path', 'x.yml'])
    path = records.save(
        dict(failed, model_name='broken', error='no such file: 7'), tmp_path,
        'error.json')
    records.save(records.evaluation(error='a check failed'), tmp_path, 'ok',
                 'record.json')
    found = gather.gather([str(tmp_path)])
    assert [e.label for e in found.failed] == ['broken']
    assert len(found.rows) == 1
    whole = Parsed(page.render(found))
    assert whole.cells[path, 'error'] == ['no such file: 7']
    assert any('a check failed' in word for word in whole.words)
    assert 'no such file: 7' in markdown.render(found)


def test_profiles(tmp_path):
    from act.profile import record as profile
    made = results.new_record('diagnose.py', ['diagnose.py', 'profile'])
    made['machine'] = {}
    empty = {
        name: {
            field.name: None
            for field in fields
        }
        for name, fields in profile.TABLES.items()
    }
    made['models'] = [dict(empty['models'], model='float')]
    made['kinds'] = [
        dict(empty['kinds'], model='float', kind='conv2d', ms=12.5, count=4),
        dict(empty['kinds'], model='float', kind='pool2d', ms=50.0, count=1)
    ]
    made['layers'] = []
    made['causes'] = [
        dict(empty['causes'],
             model='float',
             words='slow <b>',
             evidence='Seen.',
             edit='Mend it.')
    ]
    path = tmp_path / 'profile.json'
    path.write_text(json.dumps(made))
    found = parsed(tmp_path)
    assert set(found.values('id')) == {'profiles', 'commands'}
    texts = [w.strip() for w in found.words if w.strip()]
    assert texts.index('pool2d') < texts.index('conv2d')
    assert any('slow <b> (0.00 ms). Seen.' in t for t in texts)


def test_machines_are_told_apart(tmp_path):
    for name in 'ab':
        records.save(records.evaluation(cpu='CPU ' + name, model_dir=name),
                     tmp_path, name, 'record.json')
    found = gather.gather([str(tmp_path)])
    assert [name
            for name, _ in columns.environments(found.entries)] == ['A', 'B']
    whole = Parsed(page.render(found))
    assert {'CPU a', 'CPU b'} <= set(whole.words)
    assert columns._letters(25) == 'Z' and columns._letters(26) == 'AA'


def test_commands(tmp_path):
    records.save_all(tmp_path)
    records.save(records.evaluation(processes=2, map=1.0, threads=3), tmp_path,
                 'two', 'record.json')
    found = gather.gather([str(tmp_path)])
    lines = [line for _, line in columns.commands(found.entries)]
    assert lines == [
        'python paddle_inference_eval.py --model_path output/detector',
        'python -m paddle.distributed.launch --nproc_per_node 2 '
        'paddle_inference_eval.py --model_path output/detector',
        'python run.py --config_path d.yml'
    ]


def test_figures_do_not_change(saved):
    """The same records give the same file."""
    found = gather.gather([str(saved[0])])
    assert page.render(found) == page.render(gather.gather([str(saved[0])]))


def test_many_rows(tmp_path):
    """As many as a sweep makes, and values that differ by much."""
    for at in range(25):
        fields = records.latency(10.0**(at % 5 - 1))
        records.save(
            records.evaluation(model_name='model %d' % at,
                               model_dir=str(at),
                               map=float(at % 3),
                               **fields), tmp_path, str(at), 'record.json')
    found = gather.gather([str(tmp_path)])
    assert len(found.rows) == 25
    whole = Parsed(page.render(found))
    assert whole.tags.count('img') == 4
    for source in whole.values('src'):
        drawn = base64.b64decode(source.partition(',')[2]).decode()
        texts = re.findall(r'<text[^>]*>([^<]*)</text>', drawn)
        assert len(texts) > 25
        # No formula, of which a browser shows the source.
        assert not [t for t in texts if '$' in t]


def test_one_model_quantized_in_two_ways(tmp_path):
    """The lines to both begin at the float model."""
    records.save_all(tmp_path)
    records.save(
        records.compared(model_dir='output/other',
                         model_name='other',
                         **records.latency(12.0)), tmp_path, 'other',
        'record.json')
    rows = gather.gather([str(tmp_path)]).rows
    assert [[r.label for r in line] for line in figures._lines(rows)
            ] == [['detector fp32', 'detector bf16', 'detector int8'],
                  ['detector fp32', 'detector bf16', 'other int8']]
    assert figures._lines(rows[:1]) == [rows[:1]]


def test_the_script_prints_table_and_paths(tmp_path):
    records.save_all(tmp_path)
    done = run_script('report.py', str(tmp_path), cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert '-0.16 (-0.40, +0.08)' in done.stdout
    assert done.stdout.splitlines()[-1] == 'report: output/report/report.html'
    assert done.stderr == ''
    assert sorted(os.listdir(str(tmp_path / 'output' /
                                 'report'))) == [make.PAGE, make.MARKDOWN]
    with open(str(tmp_path / 'output' / 'report' / 'report.html'),
              encoding='utf-8') as f:
        assert f.readline() == '<!DOCTYPE html>\n'
