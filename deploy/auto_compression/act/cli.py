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
import atexit
import dataclasses
import errno
import os
import re
import signal
import sys
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    NoReturn,
    Optional,
    Type,
    TypeVar,
)

from . import signals
from .errors import UserError, nearest

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_T = TypeVar('_T')


def run(main: Callable[[], Optional[int]]) -> int:
    """Run a script's main and turn its end into an exit code.

    0 if all went well, 1 if a check failed, 2 for bad input (one line on
    stderr), 130 after Ctrl-C, 143 after SIGTERM, 129 after a hang-up.
    """
    # From here on a signal has nothing left to undo, and Python, when it
    # shuts down, would answer it with a traceback.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
    try:
        with signals.handled():
            return main() or 0
    except UserError as e:
        return _end('error: %s' % e, e.exit_code)
    except signals.Stopped as e:
        # Objects that were cut in their making complain when they are freed.
        sys.unraisablehook = lambda _: None
        return _end(str(e), e.exit_code)
    except KeyboardInterrupt:
        return _end('stopped', 128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone. What is left to print goes
        # nowhere, or Python complains at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as e:
        # The modules name what they could not write; this is for the rest.
        if e.errno not in FULL:
            raise
        return _end(
            'error: %s%s; free some space' %
            (e.strerror, ": '%s'" % e.filename if e.filename else ''), 2)


def _end(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault('formatter_class',
                          argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """
        Raises:
            UserError: always.
        """
        unknown = re.match(r'unrecognized arguments: (--?[^\s=]+)', message)
        if unknown:
            known = [o for o in self._option_string_actions if o[:2] == '--']
            guess = nearest(unknown.group(1), known)
            if guess:
                message += "; did you mean '%s'?" % guess
        raise UserError('%s; see %s --help' % (message, self.prog))


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
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError("'%s' is not a whole number >= 1" %
                                         text)
    return value


def share(text: str) -> float:
    """argparse type for numbers from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("'%s' is not a number from 0 to 1" %
                                         text)
    return value


def percent(text: str) -> float:
    """argparse type for numbers from 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError("'%s' is not a number from 0 to 100" %
                                         text)
    return value


def ratio(text: str) -> float:
    """argparse type for numbers above 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 < value < float('inf'):
        raise argparse.ArgumentTypeError("'%s' is not a number above 1" % text)
    return value


def path(text: str) -> str:
    """argparse type for files and directories."""
    if not text.strip() or '\0' in text:
        raise argparse.ArgumentTypeError("'%s' is not a path" % text)
    return text


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


def add_number(parser: argparse.ArgumentParser, name: str,
               type: Callable[[str], float], default: Optional[float],
               help: str) -> None:
    """An option for a number; its help ends with the default, if it has one.
    """
    if default is not None:
        help += ' (default: %g)' % default
    parser.add_argument(name, type=type, default=default, help=help)


def add_threads(parser: argparse.ArgumentParser,
                help: str = 'default: all cores') -> None:
    """The --cpu_threads option, which Options call threads."""
    parser.add_argument('--cpu_threads',
                        dest='threads',
                        metavar='CPU_THREADS',
                        type=positive,
                        help=help)


def add_skip_bad_images(parser: argparse.ArgumentParser) -> None:
    """The --skip_bad_images option."""
    add_flag(parser,
             '--skip_bad_images',
             help='leave out images that are missing or broken')


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """The --fresh option of a search that keeps a journal."""
    add_flag(parser,
             '--fresh',
             help='try all anew, also what is known from an earlier run')


def add_compare(parser: argparse.ArgumentParser, help: str) -> None:
    """The --compare option."""
    parser.add_argument('--compare', metavar='MODEL_DIR', type=path, help=help)


def add_outputs(parser: argparse.ArgumentParser, directory: str,
                help: str) -> None:
    """The options that say where results go.

    Args:
        parser: gets them.
        directory: the default.
        help: what goes there.
    """
    parser.add_argument('--output_dir',
                        type=path,
                        default=directory,
                        help='%s (default: %s)' % (help, directory))
    parser.add_argument('--output_json', type=path, help='file for the record')


def filled(options: Type[_T], args: argparse.Namespace, **more: Any) -> _T:
    """A dataclass of options, as a command line gives them.

    Args:
        options: the dataclass. A field gets the argument of its name; one
            without keeps its default.
        args: the arguments; those that are no field are left out.
        more: what the fields get that no argument is named after.
    """
    names = {field.name for field in dataclasses.fields(options)}
    given = {name: v for name, v in vars(args).items() if name in names}
    return options(**{**given, **more})


def precision(text: str) -> str:
    """A precision; 'paddle' is PaddleDetection's word for auto."""
    return 'auto' if text == 'paddle' else text


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that say which model, and its configuration."""
    parser.add_argument(
        '--config_path',
        '--config',
        type=path,
        help='YAML of the model (default: the copy beside the model)')
    parser.add_argument('--reader_config',
                        type=path,
                        help='reader file, instead of the one the YAML names')
    parser.add_argument(
        '--model_path',
        type=path,
        help='model directory (default: the most recent result of run.py)')


def add_model(parser: argparse.ArgumentParser, *more: str) -> None:
    """The options that say which model runs, and how.

    Args:
        parser: gets them.
        more: precisions beside those of the CPU.
    """
    add_source(parser)
    parser.add_argument(
        '--precision',
        type=precision,
        default='auto',
        choices=['auto', 'paddle', 'fp32', *more, 'bf16', 'int8'],
        help='auto (also: paddle): int8 if the model is quantized, else fp32. '
        'On the CPU, fp32 of a quantized model is its simulation')
    add_flag(parser,
             '--use_mkldnn',
             default=None,
             help='oneDNN (default: on, but for simulations)')
    add_threads(parser)
    parser.add_argument('--batch_size', type=positive, default=1)
    parser.add_argument(
        '--no_rewrite',
        nargs='*',
        metavar='NAME',
        help='leave out the rewrites that make the program faster on the CPU, '
        'or only these')


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
    from . import yamlfile
    result: Dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition('=')
        parts = key.split('.')
        if not equals or not all(part.strip() for part in parts):
            raise UserError("-o %s: expected KEY=VALUE, as Section.key=3" %
                            pair)
        value = yamlfile.parse(text, '-o %s: the value' % pair)
        place = result
        *sections, last = parts
        for part in sections:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UserError("-o %s: '%s' is given a value and keys" %
                                (pair, part))
        place[last] = value
    return result
