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
"""Limits the vector extensions of a process and of those that it starts.

What engines honour, seen in the kernels they chose and in their times:

    AMX denied by the kernel   all: Paddle 2.6.2, OpenVINO 2026.4, ONNX Runtime
                               1.32
    ONEDNN_MAX_CPU_ISA         Paddle's oneDNN and OpenVINO, kernels of its own
                               included; not ONNX Runtime, which knows no such
                               setting: below AVX512 with VNNI it is faster than
                               on a CPU of that level
    MKL_ENABLE_INSTRUCTIONS    MKL, which does Paddle's remaining products
"""

import ctypes
import os
import platform
import struct

# Level: (oneDNN's name for the limit, whether AMX is denied by the kernel).
LEVELS = {
    'native': ('', False),
    'avx512_bf16': ('AVX512_CORE_BF16', True),
    'avx512_vnni': ('AVX512_CORE_VNNI', True),
    'avx512': ('AVX512_CORE', True),
    'avx2': ('AVX2', True),
}
_ARCH_PRCTL, _AUDIT_X86_64 = 158, 0xc000003e
_REQUEST_PERMISSION = (0x1023, 0x1025)  # ARCH_REQ_XCOMP_PERM, ..._GUEST_PERM
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # of the kernel's packet filter
_ALLOW, _EPERM = 0x7fff0000, 0x00050001


def limit(level: str) -> None:
    """Limit this process, and those it starts, to a level of LEVELS. To be
    called before a library that computes is loaded.

    Raises:
        OSError: see `deny_amx`.
    """
    name, without_amx = LEVELS[level]
    if name:
        os.environ['ONEDNN_MAX_CPU_ISA'] = name
    if level == 'avx2':
        os.environ['MKL_ENABLE_INSTRUCTIONS'] = 'AVX2'
    if without_amx:
        deny_amx()


def deny_amx() -> None:
    """Refuse AMX to this process and its children, for good.

    A program must ask Linux for AMX (arch_prctl); from here on the kernel says
    no, and every library takes the next best kernels. Nothing else changes.

    Raises:
        OSError: the kernel does not let us, or this is no x86-64 Linux.
    """
    if platform.machine() != 'x86_64' or platform.system() != 'Linux':
        raise OSError('AMX can be denied on x86-64 Linux only')

    def step(code: int, true: int, false: int, value: int) -> bytes:
        return struct.pack('=HBBI', code, true, false, value)

    # struct seccomp_data: nr at 0, arch at 4, args[0] at 16.
    program = b''.join([
        step(_LOAD, 0, 0, 4),
        step(_EQUAL, 0, 6, _AUDIT_X86_64),
        step(_LOAD, 0, 0, 0),
        step(_EQUAL, 0, 4, _ARCH_PRCTL),
        step(_LOAD, 0, 0, 16),
        step(_EQUAL, 1, 0, _REQUEST_PERMISSION[0]),
        step(_EQUAL, 0, 1, _REQUEST_PERMISSION[1]),
        step(_RETURN, 0, 0, _EPERM),
        step(_RETURN, 0, 0, _ALLOW),
    ])
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: length in steps, pointer.
    head = struct.pack('@HP', len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                      (_PR_SET_SECCOMP, _FILTER,
                       ctypes.create_string_buffer(head, len(head)), 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), 'AMX cannot be denied')
