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
"""Import order, environment variables and versions: each trap of the libraries
in one place, with its reason.

Call `prepare()` before the first import of paddle, ppdet or paddleslim;
`import_paddle()` does both.
"""

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import logging
import os
import platform
import signal
import sys
import tempfile
import threading
import warnings
import zlib
from typing import Any, Dict, Iterator, List, Optional

from . import mends, versions
from .errors import UserError
from .versions import PADDLE

PADDLESLIM = '2.6.0'
# PaddleSlim 2.6.0 and paddledet 2.6.0 have wheels for any Python 3; Paddle
# 2.6.2 has them for these.
PYTHONS = ((3, 8), (3, 12))

_prepared = False


def prepare() -> None:
    """Make this process safe for paddle, once.

    Raises:
        UserError: paddle is missing or of another version.
    """
    global _prepared
    if _prepared:
        return
    # libpaddle exports its own zlib. A library whose first call into zlib
    # comes after `import paddle` lands in that copy and crashes in
    # inflateReset2; one round trip before binds the right symbols.
    zlib.decompress(zlib.compress(b'bind zlib'))
    # paddledet 2.6.0 exports with the AST dy2static that Paddle 2.6 runs only
    # when fall-back is off ("Can't call main_program when full_graph=False").
    os.environ.setdefault('ENABLE_FALL_BACK', 'False')
    # CUDA numbers GPUs by their speed, NVML and nvidia-smi by their place.
    os.environ.setdefault('CUDA_DEVICE_ORDER', 'PCI_BUS_ID')
    # Paddle's oneDNN and IR passes print a line each at INFO.
    os.environ.setdefault('GLOG_minloglevel', '2')
    # paddle/version files were generated for protobuf 3; the pure-Python
    # parser accepts them with any protobuf, and programs are parsed in C++.
    os.environ.setdefault('PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION', 'python')
    # Old API names used inside ppdet and paddleslim; nothing a user can mend.
    for module in ('ppdet', 'paddleslim', 'paddle', 'pkg_resources', 'astor',
                   'numpy'):
        warnings.filterwarnings('ignore', module=r'%s(\.|$)' % module)
    os.environ.update(installed().environment)
    _prepared = True


def installed() -> versions.Paddle:
    """The version of paddle that is installed.

    Raises:
        UserError: it is missing, of a version that is not in the table, or
            there twice.
    """
    cpu, gpu = version('paddlepaddle'), version('paddlepaddle-gpu')
    if cpu and gpu:
        # Both are the one package `paddle`.
        raise UserError(
            'paddlepaddle and paddlepaddle-gpu are both installed, one over '
            'the other: pip uninstall both, and install one')
    found = versions.TABLE.get(cpu or gpu)
    if found is None or gpu and not found.whole:
        raise UserError(
            'paddlepaddle %s is needed, found %s: run `make setup`, or pip '
            'install -r requirements.txt -c constraints.txt' %
            (PADDLE, cpu or gpu or 'none'))
    return found


def need_whole(what: str) -> None:
    """Check that all works with the paddle that is installed.

    Args:
        what: needs it, for the message.

    Raises:
        UserError: with this one models only run on the CPU, or see
            `installed`.
    """
    found = installed()
    if not found.whole:
        raise UserError(
            '%s needs paddlepaddle %s, found %s, with which models are '
            'evaluated and diagnosed on the CPU, and that is all: use the '
            'environment that `make setup` makes' %
            (what, PADDLE, found.version))


def import_paddle():
    """`import paddle`, safely. Returns the module."""
    prepare()
    handler = signal.getsignal(signal.SIGTERM)
    import paddle
    # Paddle takes SIGTERM over from C++: it prints a stack ("FatalError:
    # `Termination signal` is detected") and ends without any clean-up.
    if handler is not None and \
            threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    # "The old way to load inference model is deprecated": the new way knows
    # no file names of its own.
    logging.getLogger('paddle.static.io').setLevel(logging.ERROR)
    return paddle


def import_ppdet(directory: Optional[str] = None):
    """`import ppdet`, safely, mended, and with RT-DETR. Returns the module.

    Args:
        directory: see `use_ppdet`; of effect at the first import.

    Raises:
        UserError: `directory` holds no ppdet, or a package it needs is missing.
    """
    import_paddle()
    where = use_ppdet(directory)
    # It prints twice that its tracking part would like numba.
    out = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()) as silent:
        try:
            import ppdet.data
            import ppdet.engine  # noqa: F401
        except ModuleNotFoundError as e:
            raise UserError(
                "ppdet (%s) needs the module '%s': pip install --no-deps -r "
                'requirements-ppdet.txt -c constraints.txt' %
                (where, e.name)) from None
    # Its loggers were made meanwhile.
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith('ppdet'):
            for handler in getattr(logger, 'handlers', ()):
                if getattr(handler, 'stream', None) is silent:
                    handler.setStream(out)
    # Not in PaddleDetection's tree, which has RT-DETR.
    if importlib.util.find_spec('backport'):
        import backport
        backport.register()
    # concat of 0-D tensors: DINO and other deformable transformers do not run.
    mends.mend_ppdet()
    return ppdet


@contextlib.contextmanager
def captured_output() -> Iterator[Any]:
    """Catch what C++ code writes to stdout and stderr, for as long as it lasts.

    Paddle's IR passes and oneDNN's quantizer print hundreds of lines that no
    flag turns off.

    Yields:
        a binary file that holds what was written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as sink:
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield sink
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # The C library has a buffer of its own.
            ctypes.CDLL(None).fflush(None)
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])


def use_ppdet(directory: Optional[str] = None) -> str:
    """Choose which ppdet is imported, before its first import.

    Args:
        directory: a PaddleDetection checkout. None: the checkout that this
            directory lies in, if it is one, else the installed package.

    Returns:
        where ppdet comes from.

    Raises:
        UserError: `directory` holds no ppdet.
    """
    if 'ppdet' in sys.modules:
        return os.path.dirname(sys.modules['ppdet'].__path__[0])
    here = os.path.abspath(__file__)
    in_tree = os.path.normpath(os.path.join(here, '..', '..', '..', '..'))
    place = directory or in_tree
    if os.path.isfile(os.path.join(place, 'ppdet', '__init__.py')):
        sys.path.insert(0, os.path.abspath(place))
        return os.path.abspath(place)
    if directory:
        raise UserError("--ppdet_dir '%s' holds no ppdet package: name the "
                        "root of a PaddleDetection checkout" % directory)
    return 'paddledet %s' % version('paddledet')


def version(package: str) -> str:
    """Installed version of a distribution, '' if it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ''


def user_cache(*parts: str) -> str:
    """A path in the user's cache: below $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get('XDG_CACHE_HOME') or os.path.join(
        os.path.expanduser('~'), '.cache')
    return os.path.join(root, 'paddle_auto_compression', *parts)


def cpu_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        with open('/proc/cpuinfo') as f:
            for line in f:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


_EXTENSIONS = ('avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16',
               'amx_int8', 'amx_bf16')
# What oneDNN uses at most under each value of ONEDNN_MAX_CPU_ISA; of any other,
# as ALL, everything.
_LIMITS = {
    'SSE41': (),
    'AVX': (),
    'AVX2': ('avx2', ),
    'AVX2_VNNI': ('avx2', 'avx_vnni'),
    'AVX2_VNNI_2': ('avx2', 'avx_vnni'),
    'AVX512_CORE': ('avx2', 'avx512f'),
    'AVX512_CORE_VNNI': ('avx2', 'avx512f', 'avx512_vnni'),
    'AVX512_CORE_BF16': ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16'),
    'AVX512_CORE_FP16': ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16'),
}


def cpu_extensions() -> List[str]:
    """Which vector extensions that matter to oneDNN it may use here: those of
    `_EXTENSIONS` that the CPU has, within ONEDNN_MAX_CPU_ISA (or
    DNNL_MAX_CPU_ISA, its older name)."""
    limit = os.environ.get('ONEDNN_MAX_CPU_ISA') or os.environ.get(
        'DNNL_MAX_CPU_ISA') or ''
    allowed = _LIMITS.get(limit.upper(), _EXTENSIONS)
    try:
        with open('/proc/cpuinfo') as f:
            for line in f:
                if line.startswith('flags'):
                    flags = set(line.split(':', 1)[1].split())
                    return [
                        e for e in _EXTENSIONS if e in flags and e in allowed
                    ]
    except OSError:
        pass
    return []


def environment() -> Dict[str, Any]:
    """What figures depend on besides the model: versions and the machine."""
    return {
        'python': platform.python_version(),
        'paddle': version('paddlepaddle') or version('paddlepaddle-gpu'),
        'paddleslim': version('paddleslim'),
        'ppdet': version('paddledet'),
        'numpy': version('numpy'),
        'opencv': version('opencv-python-headless') or version('opencv-python'),
        'system': '%s %s' % (platform.system(), platform.release()),
        'cpu': cpu_name(),
        'cpu_extensions': cpu_extensions(),
        'cpu_count': cpu_count(),
    }
