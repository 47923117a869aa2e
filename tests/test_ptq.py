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
"""Post-training quantization: what is faster gives the same."""

import threading

import numpy as np
import pytest
from act.compress import ptq
from act.program.inspect import is_observer
from act.program.model import Model, ModelFiles


@pytest.mark.parametrize('low, high', [(0.0, 1.0), (0.1, 2900.7), (0.0, 3e-5)])
def test_histogram_counts_as_numpy_does(low, high):
    rng = np.random.default_rng(0)
    _, edges = np.histogram([], bins=2048, range=(low, high))
    values = rng.uniform(low, high, (40, 50, 60)).astype(np.float32)
    # On the edges, beside them, and outside.
    values.ravel()[:2049] = edges
    values.ravel()[2049:4098] = np.nextafter(edges.astype(np.float32),
                                             np.float32(0))
    values.ravel()[4098:4100] = (low - 1, high + 1)
    wanted, _ = np.histogram(values, bins=edges)
    np.testing.assert_array_equal(ptq.uniform_histogram(values, edges), wanted)


def test_ranges_are_those_of_paddles_own_sampling(small_detector, settings,
                                                  tmp_path, monkeypatch):
    from act import data
    reader = data.open_reader(settings.Reader)
    records = reader.train().records[:6]
    options = settings.Quantization.model_copy(update={'algo': 'hist'})

    def batches():
        # In a thread of Paddle's, a stop would end with that one's traceback.
        assert threading.current_thread() is threading.main_thread()
        for chunk in data.chunks(records, 1):
            batch = reader.pipeline(chunk)
            yield {k: batch[k] for k in ('image', 'scale_factor')}

    def scales(directory):
        ptq.quantize(small_detector, 'model.pdmodel', 'model.pdiparams',
                     directory, batches, 6, settings.QuantAware, options)
        model = Model.load(ModelFiles(directory))
        return {
            op.input('Scale')[0]: model.parameter(op.input('Scale')[0])
            for op in model.ops
            if op.type == 'quantize_linear' and not is_observer(op)
        }

    fast = scales(str(tmp_path / 'fast'))
    # A few activations held at a time.
    monkeypatch.setattr(ptq, '_FIRST', 3)
    monkeypatch.setattr(ptq, '_MEMORY', 1 << 20)
    made = []
    parts = ptq._parts

    def counted(*args):
        made.append(len(parts(*args)))
        return parts(*args)

    monkeypatch.setattr(ptq, '_parts', counted)
    parted = scales(str(tmp_path / 'parted'))
    for name, value in fast.items():
        np.testing.assert_array_equal(value, parted[name], err_msg=name)
    first, measured = made
    assert first > 1 and measured > 2
    monkeypatch.setattr(ptq, '_calibration', lambda base, quant, where: base)
    slow = scales(str(tmp_path / 'slow'))
    assert len(fast) > 5 and sorted(fast) == sorted(slow)
    for name, value in fast.items():
        np.testing.assert_array_equal(value, slow[name], err_msg=name)
