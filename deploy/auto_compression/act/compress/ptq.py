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
"""Post-training quantization: ranges from a few images, no training."""

import logging
from typing import Any, Callable, Iterator

import numpy as np

from .. import runtime
from ..config import QuantAwareSection, QuantizationSection
from ..data import Batch
from ..program.model import static_mode
from .irgraph import fast_irgraph


def uniform_histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """np.histogram over evenly spaced edges, without its sort.

    Given edges, numpy cannot know that they are even and sorts all values: two
    thirds of the time of post-training quantization. Given a range it makes
    the same edges, if in the same type, and the same counts.

    Args:
        values: of any shape.
        edges: (n + 1,) float64, as np.histogram(..., range=...) made them.

    Returns:
        (n,) counts.
    """
    counts, _ = np.histogram(values.astype(np.float64, copy=False),
                             bins=len(edges) - 1,
                             range=(edges[0], edges[-1]))
    return counts


def _with_fast_histogram(base: Any) -> Any:
    """Paddle's PostTrainingQuantization with `uniform_histogram`."""
    from paddle.static.quantization.utils import load_variable_data

    class FastPostTrainingQuantization(base):

        def _sample_histogram(self):
            for name in self._quantized_act_var_name:
                value = load_variable_data(self._scope, name)
                if not value.size or name not in self._sampling_act_histogram:
                    self._zero_size_var_names.add(name)
                    continue
                counts, edges = self._sampling_act_histogram[name]
                counts += uniform_histogram(np.abs(value), edges)

    return FastPostTrainingQuantization


def quantize(model_dir: str, model_filename: str, params_filename: str,
             save_dir: str, batches: Callable[[], Iterator[Batch]],
             batch_count: int, quant: QuantAwareSection,
             options: QuantizationSection) -> None:
    """Quantize an inference model and save it, Q/DQ operators included.

    This is what PaddleSlim's `quant_post_static` wraps; the wrapper runs
    everything twice when anything fails.

    Args:
        model_dir, model_filename, params_filename: the float model.
        save_dir: where `model_filename` and `params_filename` are written.
        batches: gives a fresh iterator over feeds (calibration passes over
            the images twice for hist and KL).
        batch_count: feeds that one iterator yields.
        quant: operator types, quantizer types, and what stays in float.
        options: algorithm and its parameters.
    """
    paddle = runtime.import_paddle()
    from paddle.static.quantization import PostTrainingQuantization
    logging.getLogger(
        'paddle.static.quantization.post_training_quantization').setLevel(
            logging.WARNING)
    scope = paddle.static.Scope()
    exe = paddle.static.Executor(paddle.CPUPlace())

    class _Feeds(paddle.io.IterableDataset):
        # The algorithm insists on a paddle.io.DataLoader.
        def __iter__(self):
            return iter(batches())

    with static_mode(paddle):
        loader = paddle.io.DataLoader(_Feeds(),
                                      batch_size=None,
                                      return_list=True)
    with static_mode(paddle), paddle.static.scope_guard(scope), fast_irgraph():
        ptq = _with_fast_histogram(PostTrainingQuantization)(
            executor=exe,
            scope=scope,
            data_loader=loader,
            model_dir=model_dir,
            model_filename=model_filename,
            params_filename=params_filename,
            batch_nums=batch_count,
            algo=options.algo,
            hist_percent=options.hist_percent,
            bias_correction=options.bias_correction,
            quantizable_op_type=quant.quantize_op_types,
            weight_bits=quant.weight_bits,
            activation_bits=quant.activation_bits,
            # 'range_abs_max' stores the calibrated ranges in the operators.
            activation_quantize_type='range_abs_max',
            weight_quantize_type=quant.weight_quantize_type,
            skip_tensor_list=quant.float_weights or None,
            onnx_format=True)
        ptq.quantize()
        ptq.save_quantized_model(save_dir,
                                 model_filename=model_filename,
                                 params_filename=params_filename)
