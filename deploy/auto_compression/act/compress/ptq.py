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
from typing import Callable, Iterator, List

from .. import runtime
from ..config import QuantAwareSection, QuantizationSection
from ..data import Batch
from .irgraph import fast_irgraph


def quantize(model_dir: str,
             model_filename: str,
             params_filename: str,
             save_dir: str,
             batches: Callable[[], Iterator[Batch]],
             batch_count: int,
             quant: QuantAwareSection,
             options: QuantizationSection,
             skip_tensors: List[str]=()) -> None:
    """Quantize an inference model and save it, Q/DQ operators included.

    This is what PaddleSlim's `quant_post_static` wraps; the wrapper runs
    everything twice when anything fails.

    Args:
        model_dir, model_filename, params_filename: the float model.
        save_dir: where `model_filename` and `params_filename` are written.
        batches: gives a fresh iterator over feeds (calibration passes over
            the images twice for hist and KL).
        batch_count: feeds that one iterator yields.
        quant: operator types and quantizer types.
        options: algorithm and its parameters.
        skip_tensors: variables left in float.
    """
    paddle = runtime.import_paddle()
    from paddle.static.quantization import PostTrainingQuantization
    logging.getLogger('paddle.static.quantization.post_training_quantization'
                      ).setLevel(logging.WARNING)
    paddle.enable_static()
    scope = paddle.static.Scope()
    exe = paddle.static.Executor(paddle.CPUPlace())

    class _Feeds(paddle.io.IterableDataset):
        # The algorithm insists on a paddle.io.DataLoader.
        def __iter__(self):
            return iter(batches())

    loader = paddle.io.DataLoader(
        _Feeds(), batch_size=None, return_list=True)
    with paddle.static.scope_guard(scope), fast_irgraph():
        ptq = PostTrainingQuantization(
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
            skip_tensor_list=list(skip_tensors) or None,
            onnx_format=True)
        ptq.quantize()
        ptq.save_quantized_model(
            save_dir,
            model_filename=model_filename,
            params_filename=params_filename)
