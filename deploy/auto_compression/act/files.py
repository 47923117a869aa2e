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
"""Files and directories that appear whole or not at all."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from typing import Iterator, Optional, Tuple

from . import signals
from .errors import UserError


def file_digest(*paths: str) -> str:
    """SHA-256 over the content of files, hexadecimal."""
    sha = hashlib.sha256()
    for path in paths:
        with open(path, 'rb') as f:
            for block in iter(lambda: f.read(1 << 20), b''):
                sha.update(block)
    return sha.hexdigest()


def write_whole(path: str, content: bytes) -> None:
    """Write a file under a temporary name beside it, and rename it.

    Makes the directory. If it fails, an older file stays as it was.

    Raises:
        OSError: it cannot be written.
    """
    directory, name = os.path.split(path)
    os.makedirs(directory or '.', exist_ok=True)
    temporary = os.path.join(directory, '.%s.%d.tmp' % (name, os.getpid()))
    try:
        with open(temporary, 'wb') as f:
            f.write(content)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def replace_directory(made: str, target: str) -> None:
    """Rename a directory to where another may be. Both lie in one file system.

    Raises:
        OSError: it cannot be done; what was there stays.
    """
    old = made + '.old'
    signals.check()
    # Cut in two, neither the older nor the new one would be there.
    with signals.held():
        if os.path.isdir(target):
            os.rename(target, old)
        try:
            os.rename(made, target)
        except OSError:
            if os.path.isdir(old):
                os.rename(old, target)
            raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def work_directory(target: str, prefix: str) -> Iterator[str]:
    """A directory beside `target` to make it in; gone at the end, and with it,
    if nothing came of it, the directories that were made on the way.

    What a process that was killed has left beside it, under the same prefix,
    goes too: a living one holds a lock on its directory.

    Raises:
        OSError: it cannot be made.
    """
    parent = os.path.dirname(os.path.abspath(target))
    missing = []
    place = parent
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    work = lock = None
    try:
        with signals.held():
            os.makedirs(parent, exist_ok=True)
            _clear(parent, prefix)
            work, lock = _locked_directory(parent, prefix)
        yield work
    finally:
        # A second Ctrl-C waits until nothing is left behind.
        with signals.held():
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)
                if lock is not None:
                    os.close(lock)
            with contextlib.suppress(OSError):  # not empty, or never made
                for directory in missing:
                    os.rmdir(directory)


def _lock(directory: str) -> Optional[int]:
    """A descriptor that locks a directory until it is closed or its process
    ends; None if another process has it, or it is not there (any more)."""
    try:
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.isdir(directory):
            return held
    except OSError:
        pass
    os.close(held)
    return None


def _locked_directory(parent: str, prefix: str) -> Tuple[str, Optional[int]]:
    # Between the two steps another process may take it for a dead one's. Where
    # the file system knows no locks, nothing is ever cleared.
    for _ in range(10):
        work = tempfile.mkdtemp(prefix=prefix, dir=parent)
        lock = _lock(work)
        if lock is not None or os.path.isdir(work):
            break
    return work, lock


def _clear(parent: str, prefix: str) -> None:
    """Remove the work directories of processes that were killed."""
    for name in os.listdir(parent):
        if name.startswith(prefix):
            path = os.path.join(parent, name)
            lock = _lock(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what the system says about writing into a line for users.

    Args:
        what: the option or file, e.g. "--save_dir 'output/x'".

    Raises:
        UserError: for an OSError inside the with-block.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        said = e.strerror or str(e)
        # Of a copy, the second name is the one that is written.
        name = e.filename2 or e.filename
        raise UserError(
            '%s cannot be written: %s%s; free some space there, or name '
            'another place' %
            (what, said, " ('%s')" % name if name else '')) from None


def check_result(directory: str, marker: str, maker: str) -> None:
    """Check --save_dir before slow work: an older result there is replaced, and
    nothing else.

    Args:
        directory: where the result will be.
        marker: a file that each such result holds.
        maker: of such results, for the message.

    Raises:
        UserError: it cannot be written there, or would replace something else.
    """
    what = "--save_dir '%s'" % directory
    check_writable(directory, what, directory=True)
    if os.path.isdir(directory) and os.listdir(directory) and \
            not os.path.exists(os.path.join(directory, marker)):
        raise UserError('%s is not empty and no result of %s; name another' %
                        (what, maker))


def check_outputs(directory: str, record: Optional[str]) -> None:
    """`check_writable` of --output_dir and, if it is given, --output_json.

    Raises:
        UserError: one of them cannot be written.
    """
    check_writable(directory, "--output_dir '%s'" % directory, directory=True)
    if record:
        check_writable(record, "--output_json '%s'" % record, directory=False)


def check_writable(path: str, what: str, *, directory: bool) -> None:
    """Check before slow work that its result can be written.

    Makes what would be made, and takes it away again: permissions do not tell,
    as of root or below /proc.

    Args:
        path: of the result.
        what: see `writing`.
        directory: whether it is a directory, else a file.

    Raises:
        UserError: it cannot be written.
    """
    if directory and os.path.lexists(path) and not os.path.isdir(path):
        raise UserError('%s is a file, not a directory; name another' % what)
    if not directory and os.path.isdir(path):
        raise UserError('%s is a directory, not a file; name a file' % what)
    probed = os.path.join(path, 'x') if directory else path
    with writing(what), work_directory(probed, '.probe_'):
        pass
