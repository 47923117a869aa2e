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
"""Throughput: one measurement in its own process, with an empty cache and with
what that left."""

import os
import sys

from conftest import ROOT, YAML

sys.path.insert(0, os.path.join(ROOT, 'benchmarks'))

import throughput  # noqa: E402


def _request(shapes, model, **others):
    return dict(
        {
            'config_path': YAML,
            'overrides': {
                'Reader': {
                    'dataset_dir': shapes
                }
            },
            'model': model,
            'precision': 'fp32',
            'threads': 1,
            'batch': 2,
            'runs': 2,
            'warmup': 1
        }, **others)


def test_a_measurement_and_one_that_fails(tmp_path, shapes, float_model):
    found = throughput.in_process(_request(shapes, float_model),
                                  str(tmp_path / 'cache'))
    assert set(found['seconds']) == {'import', 'prepare', 'load', 'first'}
    assert min(found['seconds'].values()) > 0
    assert found['images_per_second'] > 0 and found['peak_memory_mib'] > 100
    # Prepared programs were written where the next process finds them.
    assert os.listdir(str(tmp_path / 'cache'))
    failed = throughput.in_process(
        _request(shapes, str(tmp_path / 'nothing'), batch=1),
        str(tmp_path / 'cache'))
    assert 'nothing' in failed['error']
    rows = [
        dict(row, precision='fp32', threads=1, batch=2, cached=False)
        for row in (found, failed)
    ]
    lines = throughput.table(rows).splitlines()
    assert len({line.count('|') for line in lines}) == 1
    assert 'empty cache' in lines[2] and 'error' in lines[3]
