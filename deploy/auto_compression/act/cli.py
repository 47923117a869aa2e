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
"""What the scripts' command lines share: exit codes, booleans, overrides."""

import argparse
import sys
from typing import Any, Callable, Dict, Iterable, Optional

from .errors import UserError


def run(main: Callable[[], Optional[int]]) -> int:
    """Run a script's main and turn its end into an exit code.

    0 if all went well, 1 if a check failed, 2 for bad input (one line on
    stderr), 130 after Ctrl-C.
    """
    try:
        return main() or 0
    except UserError as e:
        print('error: %s' % e, file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130


def boolean(text: str) -> bool:
    """argparse type for booleans; `type=bool` takes 'False' for true."""
    word = text.strip().lower()
    if word in ('true', '1', 'yes', 'on'):
        return True
    if word in ('false', '0', 'no', 'off'):
        return False
    raise argparse.ArgumentTypeError("'%s' is not True or False" % text)


def positive(text: str) -> int:
    """argparse type for counts of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError("'%s' is not a whole number >= 1" %
                                         text)
    return value


def add_flag(parser: argparse.ArgumentParser,
             name: str,
             default: Optional[bool] = False,
             help: str = '') -> None:
    """A boolean option: `--name` alone means True; True/False may follow."""
    parser.add_argument(name,
                        type=boolean,
                        nargs='?',
                        const=True,
                        default=default,
                        metavar='BOOL',
                        help=help)


def add_overrides(parser: argparse.ArgumentParser, target: str) -> None:
    """The `-o KEY=VALUE ...` option of PaddleDetection's tools."""
    parser.add_argument('-o',
                        '--opt',
                        nargs='+',
                        action='extend',
                        default=[],
                        metavar='KEY=VALUE',
                        help='override keys of %s; a dot goes down a level' %
                        target)


def parse_overrides(pairs: Iterable[str]) -> Dict[str, Any]:
    """['A.b=1', 'c=[2, 3]'] -> {'A': {'b': 1}, 'c': [2, 3]}.

    Values are read as YAML, as PaddleDetection's tools do.

    Raises:
        UserError: a pair without '=' or a value that is no YAML.
    """
    import yaml
    result: Dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        if not equals or not key.strip('. '):
            raise UserError("-o %s: expected KEY=VALUE" % pair)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError("-o %s: the value is not valid YAML" %
                            pair) from None
        place = result
        *path, last = key.split('.')
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UserError("-o %s: '%s' is given a value and keys" %
                                (pair, part))
        place[last] = value
    return result
