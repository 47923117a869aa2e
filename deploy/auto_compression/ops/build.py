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
"""Builds the C++ operators of this directory on first use and loads them.

Paddle's own `cpp_extension.load` runs setuptools in a child process, wants
Python's headers, and rewrites a Python module on every run.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from typing import List, Set

from act.errors import UserError
from act.runtime import import_paddle, installed, user_cache, version

# No -march: multiversion.h compiles kernels for each instruction set, so that
# a library runs on any CPU of its architecture.
# -fno-trapping-math: comparisons of floats may become vectors.
# PADDLE_NO_PYTHON: operators need no Python headers.
COMPILE_FLAGS = [
    '-std=c++17', '-O3', '-fno-trapping-math', '-fopenmp', '-fPIC', '-w',
    '-D_GLIBCXX_USE_CXX11_ABI=1', '-DPADDLE_WITH_CUSTOM_KERNEL',
    '-DPADDLE_NO_PYTHON'
]
# No -fopenmp here: it would link libgomp, a second pool of threads beside
# Paddle's libiomp5, which has libgomp's entry points too.
# No symbol may stay undefined: a function of GCC's OpenMP that Paddle's library
# lacks would be found in a libgomp that another package has loaded, which knows
# nothing of the threads.
LINK_FLAGS = [
    '-shared', '-Wl,--no-undefined', '-l:libpaddle.so', '-l:libcommon.so',
    '-l:libiomp5.so', '-l:libdnnl.so.3'
]

_loaded: Set[str] = set()


def load(name: str) -> None:
    """Register the operators of a source file with paddle, once a process.

    Args:
        name: of the source file in this directory, without '.cc'.

    Raises:
        UserError: it is not built yet, and cannot be.
    """
    if name in _loaded:
        return
    import_paddle()
    from paddle.utils.cpp_extension import load_op_meta_info_and_register_op
    here = os.path.dirname(os.path.abspath(__file__))
    load_op_meta_info_and_register_op(build(os.path.join(here, name + '.cc')))
    _loaded.add(name)


def build(source: str) -> str:
    """Compile a source file, unless the cache has it.

    Args:
        source: path of the .cc file.

    Returns:
        path of the shared object.

    Raises:
        UserError: there is no g++, it fails, or the cache is not writable.
    """
    name = os.path.splitext(os.path.basename(source))[0]
    directory = _cache_directory(source)
    library = os.path.join(directory, name + '.so')
    if os.path.isfile(library):
        return library
    compiler = shutil.which('g++')
    if compiler is None:
        raise UserError("%s needs g++ to be built, and there is none in PATH: "
                        "install it (Debian: apt-get install g++)" % source)
    paddle = import_paddle()
    root = os.path.dirname(os.path.abspath(paddle.__file__))
    include = paddle.sysconfig.get_include()
    try:
        os.makedirs(directory, exist_ok=True)
        # Built beside its place and renamed, so that a process that builds
        # the same at the same time never sees half a file.
        with tempfile.TemporaryDirectory(dir=directory) as work:
            compiled = os.path.join(work, name + '.o')
            linked = os.path.join(work, name + '.so')
            _run([compiler] + COMPILE_FLAGS + [
                '-I' + include, '-I' + os.path.join(include, 'third_party'),
                '-c', source, '-o', compiled
            ], source)
            # These libraries are in the process by then, and are found by
            # their names: no rpath, so the cache outlives a moved environment.
            _run([compiler, compiled, '-o', linked] +
                 ['-L' + os.path.join(root, d)
                  for d in ('base', 'libs')] + _link_flags(), source)
            os.replace(linked, library)
    except OSError as e:
        raise UserError('cannot build %s in %s: %s; set XDG_CACHE_HOME to a '
                        'writable directory' % (source, directory, e)) from e
    return library


def _cache_directory(source: str) -> str:
    """Where the library of this source, with the headers beside it, of paddle,
    the compiler's line and the architecture lies."""
    directory = os.path.dirname(os.path.abspath(source))
    headers = sorted(n for n in os.listdir(directory) if n.endswith('.h'))
    digest = hashlib.sha256()
    for path in [source] + [os.path.join(directory, n) for n in headers]:
        with open(path, 'rb') as f:
            digest.update(f.read())
    for part in [version('paddlepaddle') or version('paddlepaddle-gpu')
                 ] + COMPILE_FLAGS + _link_flags() + [platform.machine()]:
        digest.update(b'\0' + part.encode())
    return user_cache('ops', digest.hexdigest()[:16])


def _link_flags() -> List[str]:
    return LINK_FLAGS + ['-l:' + name for name in installed().libraries]


def _run(command: List[str], source: str) -> None:
    """Run the compiler; the first error it prints becomes a UserError."""
    done = subprocess.run(command,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        lines = done.stdout.decode(errors='replace').splitlines()
        errors = [x for x in lines if 'error' in x or 'undefined' in x
                  ] or lines[-1:] or ['?']
        raise UserError('g++ cannot build %s: %s' % (source, errors[0].strip()))
