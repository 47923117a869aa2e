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
"""What users meet as errors: one line, and an exit code."""

import difflib
import re
from typing import Iterable, Optional


class UserError(Exception):
    """Bad input. The message is one line that names the file, key or value,
    what is allowed, and what mends it. Scripts print it and exit with 2."""
    exit_code = 2

    def __init__(self, message: str = '') -> None:
        # What a user wrote may hold line breaks, and so may others' messages.
        super().__init__(' '.join(str(message).splitlines()))


class CheckFailed(UserError):
    """The run worked, but a result is not what was asked for (an `Expected`
    figure missed, int8 operators that did not run). Scripts exit with 1."""
    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> Optional[str]:
    """The known word most like `word`, or None if none is alike."""
    found = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(kind: str,
            word: str,
            known: Iterable[str],
            where: str,
            last: Optional[str] = None) -> UserError:
    """An error for a word that is not in the known set.

    Args:
        kind: what the word is, e.g. 'key' or 'IR pass'.
        word: as the user wrote it.
        known: what is allowed.
        where: file and section, or the option, that the word stands in.
        last: what of the word is compared with the known ones, if not all.
    """
    return UserError(
        "%s: unknown %s '%s'; %s" %
        (where, kind, word, hint(word if last is None else last, known)))


def hint(word: str, known: Iterable[str]) -> str:
    """What a message about a word that is not known ends with."""
    known = sorted(known)
    guess = nearest(word, known)
    return "did you mean '%s'?" % guess if guess else 'known: ' + (
        ', '.join(known) or 'none')


def reason(error: Exception) -> str:
    """The line that says why, of an error that Paddle tells in many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [x for x in lines if 'Error' in x and 'Message' not in x]
    # Else as '(NotFound) ...', and below it what was expected, as '[Hint: ...'.
    said = said or [x for x in lines if re.match(r'\([A-Z]\w+\) ', x)]
    return (said or lines[-1:] or [type(error).__name__])[0]
