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
"""PaddleSlim's merge of teacher and student without its quadratic part.

`merge` gives each of the teacher's variables a prefix, one at a time, and each
time Paddle walks the whole program in C++ and again in Python: over a minute
for DINO-R50. Inside `fast_merge()` the teacher comes to it renamed in one go;
the rest is PaddleSlim's own code, and the program the same.
"""

import contextlib
import functools
import warnings
from typing import Any, Callable, Dict, Iterator

import numpy as np

from .. import runtime
from .irgraph import replace

# Read in this version.
SUPPORTED = runtime.PADDLESLIM
_KEPT = ('feed', 'fetch')


@contextlib.contextmanager
def fast_merge() -> Iterator[None]:
    """Make the merge of AutoCompression fast inside the with-block.

    The patch is one of the process: other threads see it too. With another
    PaddleSlim than the supported one, nothing is patched and a warning says so.
    """
    runtime.import_paddle()
    from paddleslim.auto_compression import create_compressed_program as owner
    found = runtime.version('paddleslim')
    if found != SUPPORTED:
        warnings.warn('fast_merge knows paddleslim %s, not %s: preparation is '
                      'not accelerated and may take minutes' %
                      (SUPPORTED, found),
                      stacklevel=3)
        yield
        return
    with contextlib.ExitStack() as stack:
        replace(stack, owner, 'merge', _renaming_first(owner.merge))
        yield


def _renaming_first(original: Callable[..., None]) -> Callable[..., None]:

    @functools.wraps(original)
    def merge(teacher_program: Any,
              student_program: Any,
              data_name_map: Dict[str, str],
              place: Any,
              scope: Any = None,
              teacher_scope: Any = None,
              name_prefix: str = 'teacher_',
              merge_feed: bool = True) -> None:
        paddle = runtime.import_paddle()
        from paddleslim.dist import single_distiller
        scope = scope or paddle.static.global_scope()
        recover = single_distiller._recover_outputs_attr
        final: Dict[str, str] = {}

        def recover_and_rename(program: Any) -> Any:
            # The last that it does before it renames.
            program = recover(program)
            kept = _KEPT if merge_feed else _KEPT[1:]
            names = {
                v.name: data_name_map.get(v.name, name_prefix + v.name)
                for v in program.list_vars() if v.name not in kept
            }
            for var in program.list_vars():
                held = (teacher_scope or scope).find_var(var.name)
                if var.persistable and var.name in names and held is not None:
                    scope.var(names[var.name]).get_tensor().set(
                        np.array(held.get_tensor()), place)
            final.update((name, name) for name in names.values())
            return rename(program, names)

        with contextlib.ExitStack() as stack:
            replace(stack, single_distiller, '_recover_outputs_attr',
                    recover_and_rename)
            # Names that map to themselves are left alone.
            original(teacher_program,
                     student_program,
                     final,
                     place,
                     scope=scope,
                     teacher_scope=scope,
                     name_prefix=name_prefix,
                     merge_feed=merge_feed)

    return merge


def rename(program: Any, names: Dict[str, str]) -> Any:
    """A copy of a program in which variables are called otherwise.

    Args:
        program: paddle.static.Program.
        names: {name: new name}; others stay.
    """
    from paddle.base.proto import framework_pb2
    paddle = runtime.import_paddle()
    desc = framework_pb2.ProgramDesc()
    desc.ParseFromString(program.desc.serialize_to_string())
    for block in desc.blocks:
        for var in block.vars:
            var.name = names.get(var.name, var.name)
        for op in block.ops:
            for slot in (*op.inputs, *op.outputs):
                slot.arguments[:] = [names.get(n, n) for n in slot.arguments]
    return paddle.static.Program.parse_from_string(desc.SerializeToString())
