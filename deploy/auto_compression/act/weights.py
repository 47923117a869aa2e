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
"""A model's trained weights: from a file or a URL into the network.

Downloads lie where PaddleDetection puts its own, and one that lies there is
used without a network. Its own downloader (ppdet/utils/download.py) asks the
server for the MD5 of a cached file at each run, three times, has no timeout,
and logs where this raises.
"""

import base64
import binascii
import hashlib
import os
import re
from typing import Any, Iterator, Sequence
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from . import pdparams
from .errors import UserError
from .files import writing

SUFFIX = '.pdparams'
# ppdet's short form of its server.
PPDET = ('ppdet://', 'https://paddledet.bj.bcebos.com/')
# Seconds to connect, and without a byte, before a download is given up.
TIMEOUT = (10, 30)


class _Failed(Exception):
    """A download did not work; the message is the reason in a few words."""


def home() -> str:
    """PaddleDetection's directory of downloaded weights."""
    return os.path.expanduser('~/.cache/paddle/weights')


def locate(weights: Any) -> str:
    """The file of some weights, downloaded if it is a URL.

    Args:
        weights: a .pdparams file, with or without its suffix, or its URL
            (http, https, ppdet).

    Returns:
        its path. A downloaded one has been read once.

    Raises:
        UserError: no such file, or it cannot be downloaded.
    """
    if not isinstance(weights, str) or not weights.strip():
        raise UserError('weights are %.60r; give a .pdparams file or a URL '
                        'with -o weights=...' % (weights, ))
    scheme = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', weights)
    if scheme is None:
        path = weights if weights.endswith(SUFFIX) else weights + SUFFIX
        if not os.path.isfile(path):
            raise UserError(
                "weights '%s' %s; give a .pdparams file or a URL with "
                '-o weights=...' %
                (path,
                 'are a directory' if os.path.isdir(path) else 'do not exist'))
        return path
    if scheme.group(1).lower() not in ('http', 'https', 'ppdet'):
        raise UserError("weights '%s': URLs may begin with http://, https:// "
                        'and ppdet://; of a file, give its path' % weights)
    url = weights
    if weights.startswith(PPDET[0]):
        url = PPDET[1] + weights[len(PPDET[0]):]
    try:
        name = os.path.basename(urlsplit(url).path)
    except ValueError:
        name = ''
    if not name.endswith(SUFFIX) or name == SUFFIX:
        raise UserError("weights '%s': the URL must end in the name of a "
                        '%s file' % (weights, SUFFIX))
    path = os.path.join(home(), name)
    if not os.path.isfile(path):
        try:
            _download(url, path)
        except _Failed as e:
            raise UserError(
                "weights '%s' cannot be fetched: %s; fetch them where it "
                "works and put them at '%s', or name the file (export.py -o "
                'weights=FILE, run.py -o Export.weights=FILE)' %
                (url, e, path)) from None
    return path


def _download(url: str, path: str) -> None:
    """Fetch a file of paddle.save; it appears whole or not at all.

    Checked against the length and the MD5 that the server gives in its
    headers, which is where PaddleDetection's publishes it, and read once, so
    that no error page and nothing that runs code gets into the cache.

    Raises:
        _Failed: the network or the server.
        UserError: it cannot be written, or is no file of paddle.save.
    """
    import requests
    temporary = os.path.join(
        os.path.dirname(path),
        '.%s.%d.tmp' % (os.path.basename(path), os.getpid()))
    try:
        with writing("the copy of the weights '%s'" % path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                # Length and MD5 are of the file as it is.
                answer = requests.get(url,
                                      stream=True,
                                      timeout=TIMEOUT,
                                      headers={'Accept-Encoding': 'identity'})
            except (requests.RequestException, ValueError) as e:
                raise _Failed(_reason(e)) from None
            with answer, open(temporary, 'wb') as f:
                for block in _blocks(answer, os.path.basename(path)):
                    f.write(block)
        pdparams.read(temporary, "what came from '%s'" % url, 'try again')
        with writing("the copy of the weights '%s'" % path):
            os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _blocks(answer: Any, title: str) -> Iterator[bytes]:
    """The body of a requests.Response, with progress, checked at its end.

    Raises:
        _Failed: the server's refusal, a lost connection, or a body that is
            not the one the server meant.
    """
    import requests
    if answer.status_code != 200:
        raise _Failed('the server says %d %s' %
                      (answer.status_code, answer.reason or ''))
    length = answer.headers.get('Content-Length', '')
    length = int(length) if length.isdigit() else None
    md5, got = hashlib.md5(), 0
    with tqdm(total=length, unit='B', unit_scale=True, desc=title) as bar:
        try:
            for block in answer.iter_content(1 << 18):
                md5.update(block)
                got += len(block)
                bar.update(len(block))
                yield block
        except requests.RequestException as e:
            raise _Failed('the connection broke off after %d bytes (%s)' %
                          (got, _reason(e))) from None
    if length is not None and got != length:
        raise _Failed('%d of %d bytes came' % (got, length))
    wanted = _md5_of(answer.headers.get('Content-MD5', ''))
    if wanted and md5.hexdigest() != wanted:
        raise _Failed('what came has the MD5 %s, the server says %s' %
                      (md5.hexdigest(), wanted))


def _md5_of(header: str) -> str:
    """The hexadecimal MD5 of a Content-MD5 header, '' if there is none."""
    try:
        found = base64.b64decode(header.strip(' "'), validate=True)
    except (binascii.Error, ValueError):
        return ''
    return found.hex() if len(found) == 16 else ''


def _reason(error: Exception) -> str:
    """An error of requests in a few words; its own are a page of objects."""
    import requests
    if isinstance(error, requests.Timeout):
        return 'no answer in time'
    if isinstance(error, requests.exceptions.ProxyError):
        return 'the proxy does not let it through'
    if isinstance(error, requests.exceptions.SSLError):
        return 'the connection is not secure (certificate or TLS)'
    if isinstance(error, requests.ConnectionError):
        return 'no connection'
    return 'not a working URL (%s)' % type(error).__name__


def load(model: Any, path: str, parts: Sequence[str] = ()) -> int:
    """Load weights into a network, all of them or none.

    ppdet's own loader drops what does not fit with a log line, and exports a
    detector whose head is random.

    Args:
        model: a paddle.nn.Layer; values become of its parameters' types.
        path: from `locate`.
        parts: names of sublayers; only theirs are loaded, the others are left
            as they are. Empty: the whole network.

    Returns:
        how many parameters and statistics were loaded.

    Raises:
        UserError: not weights, or not this model's, or it has no such part.
    """
    import paddle
    in_home = os.path.dirname(os.path.abspath(path)) == home()
    state = pdparams.read(
        path, mend='delete it and run again' if in_home else 'fetch it again')
    wanted = model.state_dict()
    for part in parts:
        if not any(name.startswith(part + '.') for name in wanted):
            raise UserError(
                "the model has no part '%s'; its parts: %s" %
                (part, ', '.join(sorted({n.split('.')[0]
                                         for n in wanted}))))
    if parts:
        prefixes = tuple(part + '.' for part in parts)
        wanted = {
            name: value
            for name, value in wanted.items() if name.startswith(prefixes)
        }
    missing = [name for name in wanted if name not in state]
    wrong = [
        name for name, value in wanted.items()
        if name in state and np.shape(state[name]) != tuple(value.shape)
    ]
    if missing or wrong:
        name = (wrong or missing)[0]
        what = "'%s' is %s, the model wants %s" % (
            name, list(np.shape(state[name])),
            list(wanted[name].shape)) if wrong else "'%s' is not there" % name
        raise UserError(
            "weights '%s' are of another model: %d of %d parameters do not "
            'fit, %s; check the configuration and -o num_classes=...' %
            (path, len(missing) + len(wrong), len(wanted), what))
    for name, value in wanted.items():
        # Paddle takes u2 for bfloat16.
        value.set_value(
            paddle.to_tensor(np.array(state[name])).astype(value.dtype))
    return len(wanted)
