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
"""The GPU: whether it is there, what it is, and, by NVML, how it fared while
something ran on it.

NVML is nvidia-ml-py, and optional; without it the figures are None.
"""

import os
import statistics
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from . import runtime
from .errors import UserError

# nvml.h: nvmlClocksEventReasons (nvmlClocksThrottleReasons before driver 535).
# An idle GPU, or one whose clocks were set, is not throttled.
THROTTLED = {
    0x4: 'power cap',
    0x8: 'hardware slowdown',
    0x10: 'sync boost',
    0x20: 'thermal slowdown by software',
    0x40: 'thermal slowdown by hardware',
    0x80: 'power brake',
}
_NOT_THROTTLED = {0x1: 'idle', 0x2: 'clocks set', 0x100: 'display clocks'}


@dataclass(frozen=True)
class Device:
    """The GPU that runs, CUDA's first. `compute` is its compute capability, as
    '8.6'; `tensorrt` the library's version, '' if it was not asked for."""
    name: str
    compute: str
    cuda: str
    tensorrt: str = ''


def check_build() -> None:
    """
    Raises:
        UserError: this is not the GPU build of Paddle.
    """
    if not runtime.import_paddle().is_compiled_with_cuda():
        raise UserError(
            '--device GPU: this is the CPU build of Paddle; install the GPU '
            'build: GPU=1 make setup, or pip install -r requirements-gpu.txt '
            '-c constraints.txt in an environment of its own')


def find(use_trt: bool) -> Device:
    """The device.

    Args:
        use_trt: TensorRT's library must be there too.

    Raises:
        UserError: this build of Paddle, the driver, a device or TensorRT is
            missing.
    """
    check_build()
    paddle = runtime.import_paddle()
    if paddle.device.cuda.device_count() < 1:
        raise UserError(
            '--device GPU: CUDA finds no GPU; nvidia-smi must list one, with a '
            'driver for CUDA %s, and CUDA_VISIBLE_DEVICES (%s) not hide it' %
            (paddle.version.cuda(),
             os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')))
    version = tensorrt_version() if use_trt else ''
    found = paddle.device.cuda.get_device_properties(0)
    return Device(name=found.name,
                  compute='%d.%d' % (found.major, found.minor),
                  cuda=paddle.version.cuda(),
                  tensorrt=version)


def tensorrt_version() -> str:
    """Version of TensorRT's library, of the GPU build.

    Raises:
        UserError: it is not found, or of another major version.
    """
    from paddle import inference
    built = inference.get_trt_compile_version()
    wanted = '.'.join(map(str, built))
    try:
        found = inference.get_trt_runtime_version()
    except RuntimeError:
        raise UserError(
            '--use_trt: the library of TensorRT %s (libnvinfer.so.%d) is not '
            'found; add its directory to LD_LIBRARY_PATH' %
            (wanted, built[0])) from None
    version = '.'.join(map(str, found))
    if found[0] != built[0]:
        raise UserError('--use_trt: TensorRT %s is found, Paddle is built for '
                        '%s; put that one first in LD_LIBRARY_PATH' %
                        (version, wanted))
    return version


class Monitor:
    """What NVML says of the device while something runs on it.

    `sample` is called beside the timed parts. Paddle and TensorRT keep the
    memory that they took, so that the largest of these samples is the peak.
    """

    def __init__(self) -> None:
        """Says once if NVML is not there."""
        self._nvml: Any = None
        self._device: Any = None
        self._before = 0
        self._memory: List[int] = []
        self._clocks: List[int] = []
        self._reasons: Optional[int] = None
        try:
            import pynvml
            pynvml.nvmlInit()
            self._device = _handle(pynvml)
            self._nvml = pynvml
            self._before = pynvml.nvmlDeviceGetMemoryInfo(self._device).used
        except ImportError:
            _say('nvidia-ml-py is not installed')
        except pynvml.NVMLError as e:
            _say(str(e))

    def sample(self) -> None:
        """Look at memory, clock and throttling now."""
        if self._nvml is None:
            return
        nvml, device = self._nvml, self._device
        self._memory.append(self._used())
        clock = _asked(nvml, nvml.nvmlDeviceGetClockInfo, device,
                       nvml.NVML_CLOCK_SM)
        if clock is not None:
            self._clocks.append(clock)
        reasons = _asked(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons,
                         device)
        if reasons is not None:
            self._reasons = (self._reasons or 0) | reasons

    def _used(self) -> int:
        """Bytes this process has taken; where NVML does not see it, as in a
        container, by how much the device's grew."""
        nvml, device = self._nvml, self._device
        processes = _asked(nvml, nvml.nvmlDeviceGetComputeRunningProcesses,
                           device) or []
        for process in processes:
            if process.pid == os.getpid() and process.usedGpuMemory:
                return process.usedGpuMemory
        return nvml.nvmlDeviceGetMemoryInfo(device).used - self._before

    def fields(self) -> Dict[str, Any]:
        """The record's fields; None of what was not measured."""
        fields: Dict[str, Any] = dict.fromkeys(
            ('gpu_driver', 'gpu_clock_mhz', 'gpu_clock_max_mhz',
             'gpu_throttled', 'peak_gpu_memory_mib'))
        if self._nvml is None:
            return fields
        nvml, device = self._nvml, self._device
        fields.update(gpu_driver=_asked(nvml, nvml.nvmlSystemGetDriverVersion),
                      gpu_clock_max_mhz=_asked(nvml,
                                               nvml.nvmlDeviceGetMaxClockInfo,
                                               device, nvml.NVML_CLOCK_SM))
        if self._memory:
            fields['peak_gpu_memory_mib'] = max(self._memory) / 2**20
        if self._reasons is not None:
            fields['gpu_throttled'] = throttled(self._reasons)
        if self._clocks:
            fields['gpu_clock_mhz'] = statistics.median(self._clocks)
        return fields


def throttled(reasons: int) -> List[str]:
    """What NVML's mask says held the clocks down."""
    names = [name for mask, name in THROTTLED.items() if reasons & mask]
    left = reasons & ~sum(THROTTLED) & ~sum(_NOT_THROTTLED)
    return names + (['0x%x' % left] if left else [])


def _handle(nvml: Any) -> Any:
    """NVML's handle of CUDA's first device. `runtime` has CUDA number them as
    NVML does."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')[0].strip()
    if visible.isdigit() or not visible:
        return nvml.nvmlDeviceGetHandleByIndex(int(visible or 0))
    return nvml.nvmlDeviceGetHandleByUUID(visible)


def _asked(nvml: Any, function: Any, *arguments: Any) -> Any:
    """What a function of NVML says; None where the device does not tell."""
    try:
        return function(*arguments)
    except nvml.NVMLError:
        return None


def _say(why: str) -> None:
    print('GPU memory and clocks are not measured: NVML: %s' % why)
