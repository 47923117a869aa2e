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
"""The models of the mission on one CPU, beside the published figures.

Reads a result of cpu_engines.py (make results makes it) and published.yml, and
prints a Markdown table. Of each model: Paddle as it is, and this project in
fp32, bf16 and int8.
"""

import argparse
import json
import os
import sys
from typing import Any, Dict, List, Mapping, Optional, Sequence, TextIO

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

PUBLISHED = os.path.join(ROOT, 'benchmarks', 'published.yml')
ENGINES = ('paddle fp32', 'ours fp32', 'ours bf16', 'ours int8')
HEAD = ('Model', 'published: mAP, fp32 / int8', 'published: ms, fp32 / int8',
        'published: int8 / fp32', 'here: ms, Paddle fp32',
        'here: ms, fp32 / bf16 / int8', 'here: int8 / fp32',
        'here: int8 / Paddle fp32', 'times the limit, fp32 / int8',
        'agreement AP, bf16 / int8')


def table(result: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    """In Markdown. Times are medians of process CPU time, which other programs
    disturb least.

    Args:
        result: of cpu_engines.py.
        published: {row of the result: {name; map, ms: [fp32, int8]}}.
    """
    lines = ['| %s |' % ' | '.join(HEAD), '|' + '-|' * len(HEAD)]
    for name, known in published.items():
        model = result['models'].get(name, {'error': 'not measured'})
        cells = [
            known['name'],
            _pair(known.get('map'), '%.2f'),
            _pair(known.get('ms'), '%.1f'),
            '%.2f' %
            (known['ms'][1] / known['ms'][0]) if known.get('ms') else '-'
        ]
        if 'error' in model:
            cells += [model['error']] + [''] * (len(HEAD) - len(cells) - 1)
        else:
            cells += _measured({row['name']: row
                                for row in model['rows']}, model['trained'])
        lines.append('| %s |' % ' | '.join(cells))
    return '\n'.join(lines)


def _measured(rows: Dict[str, Dict[str, Any]], trained: bool) -> List[str]:
    plain, fp32, bf16, int8 = (rows[name] for name in ENGINES)

    def ratio(other: Dict[str, Any]) -> str:
        if 'cpu_ms' not in int8 or 'cpu_ms' not in other:
            return '-'
        return '%.2f' % (int8['cpu_ms'] / other['cpu_ms'])

    def of(key: str, form: str, *chosen: Dict[str, Any]) -> str:
        return _pair([row.get(key) for row in chosen], form)

    return [
        of('cpu_ms', '%.1f', plain),
        of('cpu_ms', '%.1f', fp32, bf16, int8),
        ratio(fp32),
        ratio(plain),
        of('times_of_limit', '%.1f', fp32, int8),
        # What random weights find is chance.
        of('agreement_ap', '%.1f', bf16, int8) if trained else '-'
    ]


def _pair(values: Optional[Sequence[Optional[float]]], form: str) -> str:
    return ' / '.join('-' if v is None else form % v for v in values or [None])


def read(result: TextIO) -> str:
    """The table of a result's file."""
    with open(PUBLISHED, encoding='utf-8') as f:
        return table(json.load(result), yaml.safe_load(f))


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('result', type=argparse.FileType('r', encoding='utf-8'))
    with parser.parse_args().result as f:
        print(read(f))


if __name__ == '__main__':
    sys.exit(cli.run(main))
