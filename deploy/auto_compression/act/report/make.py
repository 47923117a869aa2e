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
"""A report, from records to files."""

import os
from typing import Sequence

from tabulate import tabulate

from .. import files
from . import columns, markdown, page
from .gather import gather, unlike

PAGE, MARKDOWN = 'report.html', 'report.md'


def make(paths: Sequence[str], output_dir: str) -> str:
    """Write the report, and print its table.

    Args:
        paths: see `gather`.
        output_dir: for PAGE and MARKDOWN.

    Returns:
        path of the page.

    Raises:
        UserError: a file is no record, or the report cannot be written.
    """
    what = "--output_dir '%s'" % output_dir
    files.check_writable(output_dir, what, directory=True)
    found = gather(paths)
    written = []
    for name, render in ((PAGE, page.render), (MARKDOWN, markdown.render)):
        path = os.path.join(output_dir, name)
        with files.writing(what):
            files.write_whole(path, render(found).encode('utf-8'))
        written.append(path)
    for table in (columns.table(columns.BRIEF, found.rows),
                  columns.table(columns.FAILED, found.failed)):
        if table.rows:
            print(_text(table), end='\n\n')
    for note in columns.notes(found.rows, unlike(found.rows)):
        print(note)
    for path in written[::-1]:
        print('report: %s' % path)
    return written[0]


def _text(table: columns.Table) -> str:
    """For the terminal."""
    return tabulate(
        [row.texts for row in table.rows],
        headers=[h.title for h in table.headers],
        tablefmt='simple',
        disable_numparse=True,
        maxheadercolwidths=12,
        maxcolwidths=60,
        colalign=['right' if h.number else 'left' for h in table.headers])
