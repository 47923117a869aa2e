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
"""What NVML says, read by nvidia-ml-py itself from a library that answers as
the driver's would: nvml.c. Each case is a process of its own, since it is
loaded once."""

import json
import os
import subprocess
import sys

import pynvml
import pytest
from act import gpu, results
from conftest import PROJECT

HERE = os.path.dirname(os.path.abspath(__file__))
PROBE = """
import json, os
from act import gpu
if os.environ.get('MINE'):
    os.environ['NVML_PID'] = str(os.getpid())
monitor = gpu.Monitor()
for _ in range(3):
    monitor.sample()
print(json.dumps(monitor.fields()))
"""


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """Directory of the library."""
    place = tmp_path_factory.mktemp('nvml')
    subprocess.run([
        'gcc', '-shared', '-fPIC', '-w',
        os.path.join(HERE, 'nvml.c'), '-o',
        str(place / 'libnvidia-ml.so.1')
    ],
                   check=True)
    return str(place)


def probe(library, **env):
    """Lines said, and the fields."""
    env = {
        **os.environ, 'LD_LIBRARY_PATH': library,
        'PYTHONPATH': PROJECT,
        'CUDA_VISIBLE_DEVICES': '',
        **env
    }
    done = subprocess.run([sys.executable, '-c', PROBE],
                          env=env,
                          stdout=subprocess.PIPE,
                          universal_newlines=True,
                          check=True)
    *said, fields = done.stdout.splitlines()
    return said, json.loads(fields)


def test_what_it_says(library):
    said, fields = probe(library, MINE='1', NVML_REASONS=str(0x1 | 0x4 | 0x40))
    assert said == []
    assert fields == {
        'gpu_driver': '535.104.05',
        'gpu_clock_mhz': 1380,
        'gpu_clock_max_mhz': 1530,
        'gpu_throttled': ['power cap', 'thermal slowdown by hardware'],
        'peak_gpu_memory_mib': 640,
    }
    record = results.new_record('paddle_inference_eval.py', ['test'])
    results.validate(dict(record, **fields))


def test_a_process_that_it_does_not_see(library):
    """As in a container: the device's growth since the beginning."""
    _, fields = probe(library, NVML_PID='99999999', NVML_STEP='10')
    assert fields['peak_gpu_memory_mib'] == 30
    # Nor does this device tell what throttles it.
    assert fields['gpu_throttled'] is None


@pytest.mark.parametrize('visible, index, found', [
    ('2,0', '2', True),
    ('0', '2', False),
    ('GPU-1', '7', True),
    ('GPU-2', '7', False),
])
def test_which_device(library, visible, index, found):
    said, fields = probe(library,
                         CUDA_VISIBLE_DEVICES=visible,
                         NVML_INDEX=index)
    assert (fields['gpu_driver'] is not None) is found
    assert len(said) == (0 if found else 1)


def test_without_a_driver(tmp_path):
    said, fields = probe(str(tmp_path))
    assert said == [
        'GPU memory and clocks are not measured: NVML: NVML Shared Library Not '
        'Found'
    ] or fields['gpu_driver']
    assert set(fields) == {
        'gpu_driver', 'gpu_clock_mhz', 'gpu_clock_max_mhz', 'gpu_throttled',
        'peak_gpu_memory_mib'
    }


def test_masks_are_nvidias():
    known = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith('nvmlClocksEventReason') and isinstance(value, int)
        and not name.endswith(('All', 'None'))
    }
    assert known == set(gpu.THROTTLED) | set(gpu._NOT_THROTTLED)
    assert gpu.throttled(0x1 | 0x2) == []
    assert gpu.throttled(0x8 | 0x400) == ['hardware slowdown', '0x400']
