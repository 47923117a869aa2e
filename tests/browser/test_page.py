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
"""The report in a real browser: Chromium, headless, without a network.

Left out of `make test`, as it needs Chromium: make test-browser.
"""

import json
import os
import shutil

import pytest
import report_records as records
from act import results
from act.report import make
from playwright import sync_api

# As distributions name it.
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
FIELDS = ('map', 'ap50', 'latency_ms_p50', 'latency_ms_p90', 'latency_ms_p99',
          'latency_ms_mean', 'inference_ms', 'model_size_mb', 'peak_memory_mib',
          'num_images')


@pytest.fixture(scope='module')
def browser():
    found = [path for path in map(shutil.which, NAMES) if path]
    assert found, 'none of %s is installed' % ', '.join(NAMES)
    with sync_api.sync_playwright() as playwright:
        # Chromium has no sandbox for root, who runs CI.
        started = playwright.chromium.launch(executable_path=found[0],
                                             args=['--no-sandbox'])
        yield started
        started.close()


class Opened:
    """A page that was opened from disk, and what happened there."""

    def __init__(self, context, path):
        self.said, self.asked = [], []
        self.page = context.new_page()
        self.page.on('console', lambda m: self.said.append((m.type, m.text)))
        self.page.on('pageerror', lambda e: self.said.append(('error', str(e))))
        self.page.on('dialog', self._dialog)
        self.page.on('request', lambda r: self.asked.append(r.url))
        self.page.goto('file://' + os.path.abspath(path))

    def _dialog(self, dialog):
        self.said.append(('dialog', dialog.message))
        dialog.dismiss()

    def pictures(self):
        """(alternative text, width) of each, once it is decoded."""
        return self.page.evaluate('''async () => {
            const found = [...document.images];
            await Promise.allSettled(found.map(image => image.decode()));
            return found.map(image => [image.alt, image.naturalWidth]);
        }''')


@pytest.fixture
def opened(browser):
    contexts = []

    def open_(path, width=1100):
        context = browser.new_context(offline=True,
                                      viewport={
                                          'width': width,
                                          'height': 900
                                      })
        contexts.append(context)
        return Opened(context, path)

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    place = tmp_path_factory.mktemp('records')
    rows = records.save_all(place)
    return rows, make.make([str(place)], str(place / 'report'))


def test_no_errors_and_no_network(report, opened):
    found = opened(report[1])
    pictures = found.pictures()
    assert len(pictures) == 8
    for words, width in pictures:
        assert words and width > 0, words
    assert found.said == []
    assert [url[:5] for url in found.asked[:1]] == ['file:']
    assert {url[:5] for url in found.asked[1:]} <= {'data:'}


def test_figures_of_three_rows_are_the_records(report, opened):
    rows, path = report
    assert len(rows) == 3
    page = opened(path).page
    for row in rows:
        with open(row, encoding='utf-8') as f:
            record = json.load(f)
        for name in FIELDS:
            cells = page.locator('tr[data-record="%s"] td[data-field="%s"]' %
                                 (row, name))
            texts = cells.all_inner_texts()
            shown = results.show(results.FIELDS[name], record[name])
            assert texts and set(texts) == {shown}, (row, name)


def test_contents_lead_to_their_sections(report, opened):
    page = opened(report[1]).page
    links = page.locator('nav a')
    assert links.count() >= 10
    for at in range(links.count()):
        links.nth(at).click()
        title = page.locator(':target h2')
        assert title.inner_text() == links.nth(at).inner_text()
        assert title.is_visible()


@pytest.mark.parametrize('width', [360, 1100])
def test_wide_tables_scroll_and_the_page_does_not(report, opened, width):
    page = opened(report[1], width).page
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_what_records_say_is_no_script(tmp_path, opened):
    for at, name in enumerate(
        ('<script>alert(1)</script>', '"><img src=x onerror=alert(1)>')):
        records.save(
            records.evaluation(model_name=name,
                               model_dir=str(at),
                               cpu=name,
                               command=name,
                               error=name), tmp_path, str(at), 'record.json')
    path = make.make([str(tmp_path)], str(tmp_path / 'report'))
    found = opened(path)
    assert all(width > 0 for _, width in found.pictures())
    assert found.said == []
    assert found.page.get_by_text('<script>alert(1)</script>').count() > 3


def test_a_script_would_be_refused_and_seen(report, opened, tmp_path):
    """The page's policy holds, and these tests see what breaks it."""
    with open(report[1], encoding='utf-8') as f:
        text = f.read()
    path = tmp_path / 'changed.html'
    path.write_text(text.replace(
        '</main>', '<script>alert(1)</script>'
        '<img alt="broken" src="data:image/png;base64,AAAA"></main>'),
                    encoding='utf-8')
    found = opened(str(path))
    assert found.pictures()[-1] == ['broken', 0]
    assert found.said and {kind for kind, _ in found.said} == {'error'}
    assert 'Content Security Policy' in found.said[0][1]
