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
"""Reads a .pdparams file without trusting it.

paddle.save writes a pickle, and a pickle may name any function to call:
`paddle.load` of a file from the internet runs what its author wished. Here the
few names that weights need stand for functions of ours, and no other is looked
up. numpy's own reconstruction is not among them: told a wrong dtype, it reads
memory that is not the array's.

What files hold was read off paddle/framework/io.py and io_utils.py (2.6.2).
"""

import _compat_pickle
import collections
import io
import os
import pickle
import pickletools
from typing import Any, Dict

import numpy as np

from .errors import UserError

# Kinds of numbers that Paddle's tensors have; bfloat16 is stored as u2.
NUMBERS = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4',
           'f8')
# What paddle.save adds to a state dict: names of parameters, dropped as
# paddle.load does; and which entries are slices of one too large for its
# protocol.
NAME_TABLE = 'StructuredToParameterName@@'
SLICES = 'UnpackBigParamInfor@@'
DEEPEST = 20  # containers in containers; checkpoints have three or four
# What the protocols 2 to 4 use for containers, numbers, texts and bytes.
OPCODES = ('PROTO', 'FRAME', 'STOP', 'MARK', 'POP', 'POP_MARK', 'EMPTY_DICT',
           'EMPTY_LIST', 'EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3',
           'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'BINPUT', 'LONG_BINPUT',
           'MEMOIZE', 'BINGET', 'LONG_BINGET', 'NONE', 'NEWTRUE', 'NEWFALSE',
           'BININT', 'BININT1', 'BININT2', 'LONG1', 'LONG4', 'BINFLOAT',
           'BINSTRING', 'SHORT_BINSTRING', 'BINUNICODE', 'SHORT_BINUNICODE',
           'BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'GLOBAL',
           'STACK_GLOBAL', 'REDUCE')


class _Refused(Exception):
    """The file asks for something that weights never need."""


class _Operation(_Refused):
    """That is an operation; of a file that is no pickle, a byte of it."""


def _bytes(value: Any) -> bytes:
    # Python 2 wrote bytes as texts.
    return value.encode('latin1') if isinstance(value, str) else bytes(value)


class _Dtype:
    """Stands for a numpy.dtype."""

    def __init__(self, code: Any, align: int = 0, copy: int = 0) -> None:
        code = code.decode('latin1') if isinstance(code, bytes) else code
        if code not in NUMBERS:
            raise _Refused('an array of numpy type %s' % _shown(code))
        self.value = np.dtype(code)

    def restore(self, state: Any) -> None:
        _, order, subarray, names, fields = state[:5]
        if subarray or names or fields:
            raise _Refused('an array of a structured numpy type')
        self.value = self.value.newbyteorder(order)


class _Array:
    """Stands for a numpy.ndarray; `value` is read-only."""
    value = None

    def restore(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not all(
                type(side) is int and side >= 0 for side in shape):
            raise ValueError('not an array')
        # Any other size of the content is an error.
        made = np.frombuffer(_bytes(content), dtype.value)
        made = made.reshape(shape, order='F' if fortran else 'C')
        if not dtype.value.isnative:
            made = made.astype(dtype.value.newbyteorder('='))
        self.value = made


_NDARRAY = object()


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise ValueError('not an array')
    return _Array()


def _scalar(dtype: _Dtype, content: Any) -> Any:
    return np.frombuffer(_bytes(content), dtype.value, count=1)[0]


def _encode(text: str, encoding: str) -> bytes:
    # How the protocol 2 holds bytes.
    if encoding != 'latin1':
        raise _Refused('_codecs.encode with %s' % _shown(encoding))
    return text.encode('latin1')


def _empty_bytes() -> bytes:
    return b''


def _pair(content: Any) -> tuple:
    # How paddle.save holds a tensor in a container: its name and its array.
    return tuple(content)


def _ordered(content: Any = ()) -> Any:
    return collections.OrderedDict(content)


KNOWN: Dict[str, Any] = {
    'collections.OrderedDict': _ordered,
    '_codecs.encode': _encode,
    'numpy.ndarray': _NDARRAY,
    'numpy.dtype': _Dtype,
    # As numpy 1 and 2 call it.
    'numpy.core.multiarray._reconstruct': _reconstruct,
    'numpy._core.multiarray._reconstruct': _reconstruct,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    'builtins.bytes': _empty_bytes,
    'builtins.tuple': _pair,
}


class _Dispatch(dict):
    """Handlers by opcode, for no other opcodes than OPCODES."""

    def __missing__(self, code: int) -> Any:
        known = pickletools.code2op.get(chr(code))
        if known is None:
            raise ValueError('not a pickle')
        raise _Operation('the pickle operation %s' % known.name)


class _Reader(pickle._Unpickler):
    """The unpickler of the standard library that is written in Python: the one
    in C allocates what the index of a memo says, up to 64 GB (seen in Python
    3.11), and cannot leave out opcodes."""
    dispatch = _Dispatch({
        ord(op.code): pickle._Unpickler.dispatch[ord(op.code)]
        for op in pickletools.opcodes if op.name in OPCODES
    })

    def find_class(self, module: str, name: str) -> Any:
        if self.proto < 3:  # these have Python 2's names
            names = _compat_pickle.NAME_MAPPING
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
            module, name = names.get((module, name), (module, name))
        found = '%s.%s' % (module, name)
        if found not in KNOWN:
            raise _Refused(_shown(found, quote=''))
        return KNOWN[found]

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (_Dtype, _Array)):
            raise _Refused('a state for %s' % type(target).__name__)
        target.restore(state)

    def _inst(self) -> None:
        # Only to name what it asks for.
        module, name = (self.readline()[:-1].decode('latin1') for _ in '12')
        self.find_class(module, name)
        raise _Refused('the pickle operation INST')

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.INST[0]] = _inst


def _shown(value: Any, quote: str = "'") -> str:
    """Part of a file's content, fit for a message: printable and short."""
    if not isinstance(value, str):
        return type(value).__name__
    text = ''.join(c if c.isprintable() else '?' for c in value[:80])
    return quote + text + quote


def _plain(value: Any, done: Dict[int, Any], depth: int = 0) -> Any:
    """The content with arrays in the place of what stood for them, and of
    (name, array) pairs.

    Args:
        value: part of the content.
        done: what became of other parts, by id: what is shared is made once,
            however often the file refers to it.
        depth: of the part.
    """
    if depth > DEEPEST:
        raise ValueError('nested too deep, or in itself')
    if value is None or isinstance(value,
                                   (bool, int, float, str, bytes, np.generic)):
        return value
    if id(value) not in done:
        done[id(value)] = _plain_object(value, done, depth + 1)
    return done[id(value)]


def _plain_object(value: Any, done: Dict[int, Any], depth: int) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError('an array without content')
        return value.value
    if isinstance(value, dict):
        if not all(isinstance(key, (str, int)) for key in value):
            raise ValueError('a key that is no text')
        return type(value)(
            (key, _plain(part, done, depth)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        made = type(value)(_plain(part, done, depth) for part in value)
        if isinstance(made, tuple) and len(made) == 2 and isinstance(
                made[0], str) and isinstance(made[1], np.ndarray):
            return made[1]
        return made
    raise ValueError('not a value')


def _joined(state: Dict[str, Any]) -> Dict[str, Any]:
    """A state dict without what paddle.save added."""
    for name, info in state.pop(SLICES, {}).items():
        # A slice is taken once, so that a small file makes no huge array.
        parts = [state.pop(part) for part in info['slices']]
        state[name] = np.concatenate(parts).reshape(info['OriginShape'])
    state.pop(NAME_TABLE, None)
    return state


def _kind(content: bytes) -> str:
    """What a file that is no .pdparams is, to the user."""
    if not content:
        return 'is empty'
    if content[:2] == b'PK':
        return 'is a zip archive'
    if content[:2] == b'\x1f\x8b' or content[257:262] == b'ustar':
        return 'is a tar archive'
    if content.lstrip()[:1] == b'<':
        return 'is a web page'
    if content[:1] != pickle.PROTO:
        return 'is no file of paddle.save'
    return 'is cut off or damaged'


def read(path: str,
         what: str = '',
         mend: str = 'fetch it again') -> Dict[str, Any]:
    """Read a file that paddle.save wrote: what paddle.load(path,
    return_numpy=True) gives, without running anything that the file names.

    Args:
        path: of the file.
        what: the file in messages; default: "weights 'PATH'".
        mend: what the user can do about a bad one.

    Returns:
        the state dict: names, and arrays (read-only), numbers, texts or
        containers of these.

    Raises:
        UserError: no such file, no file of paddle.save, damaged, or one that
            asks for more than weights need.
    """
    what = what or "weights '%s'" % path
    if os.path.isdir(path):
        raise UserError('%s is a directory; name a .pdparams file' % what)
    if not os.path.isfile(path):
        raise UserError('%s does not exist; give a .pdparams file or a URL '
                        'with -o weights=...' % what)
    try:
        with open(path, 'rb') as f:
            content = f.read()
    except OSError as e:
        raise UserError('%s cannot be read: %s' %
                        (what, e.strerror or e)) from None
    try:
        # Lengths that the file gives end at the content's end; encoding as
        # paddle.load.
        state = _Reader(io.BytesIO(content), encoding='latin1').load()
        state = _plain(state, {})
        found = type(state).__name__
        state = _joined(state) if isinstance(state, dict) else None
    except _Refused as e:
        if isinstance(e, _Operation) and content[:1] != pickle.PROTO:
            raise UserError('%s %s; %s' %
                            (what, _kind(content), mend)) from None
        raise UserError('%s holds %s, which weights never need; nothing of it '
                        'was run: get the file from where its model is '
                        'published' % (what, e)) from None
    except Exception:  # a broken pickle may raise anything
        raise UserError('%s %s; %s' % (what, _kind(content), mend)) from None
    if state is None:
        raise UserError('%s holds a %s, not the parameters of a model; %s' %
                        (what, found, mend))
    return state
