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
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

from .. import runtime
from ..config import QuantAwareSection, QuantizationSection
from ..data import Batch
from ..errors import UserError
from ..program.inspect import WEIGHT_INPUT
from ..program.model import Model, ModelFiles, static_mode
from ..program.observers import separate
from .irgraph import fast_irgraph
from .selection import is_skipped, leave_in_float


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


# Paddle holds every activation that gets a range at once: 23 GiB for DINO-R50.
# Here the program runs more than once an image, and holds as much (bytes) at a
# time; the first time, when sizes are not known, as many of them.
_MEMORY = 4 << 30
_FIRST = 200


class _Feed:
    """Stands for an executor that only keeps what it is fed."""

    def run(self, feed: Any, **_: Any) -> None:
        self.feed = feed


def _parts(sizes: Dict[str, int], limit: int) -> List[List[str]]:
    """Consecutive names whose sizes add up to no more than `limit`, if they can
    be parted so."""
    parts: List[List[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if parts[-1] and held + size > limit:
            parts.append([])
            held = 0
        parts[-1].append(name)
        held += size
    return parts


def _calibration(base: Any, quant: QuantAwareSection, where: str) -> Any:
    """Paddle's PostTrainingQuantization, of what has a range, and with
    `uniform_histogram`.

    Paddle samples the outputs of all operators that it knows, for observers:
    in DINO scalars, on which averaging fails, and anchors that are infinite
    outside of the image, on which histograms do. Neither gets a range, unless
    an operator that shall be quantized reads it: that is an error.
    """
    from paddle.static.quantization.utils import load_variable_data
    paddle = runtime.import_paddle()
    floats = (paddle.float16, paddle.float32, paddle.float64)

    class Calibration(base):
        _measured = False

        def _collect_target_varnames(self):
            leave_in_float(self._program, self._scope, quant)
            super()._collect_target_varnames()
            self._readers = {
                name: op
                for op in self._program.global_block().ops
                if op.type in self.quant_config.weight_quant_operation_types
                and not is_skipped(op) for name in op.input_arg_names
            }
            for var in self._sampled():
                if var.dtype not in floats or not var.shape:
                    self._leave_out(var.name)

        def _sampled(self):
            return [
                v for v in self._program.list_vars()
                if v.name in self._quantized_act_var_name
            ]

        def _leave_out(self, name):
            self._quantized_act_var_name.remove(name)
            # Paddle's list of what needs no range.
            self._zero_size_var_names.add(name)

        def _leave_out_infinite(self):
            for var in self._sampled():
                name = var.name
                if np.isfinite(load_variable_data(self._scope, name)).all():
                    continue
                if name in self._readers:
                    op = self._readers[name]
                    weight = op.input(WEIGHT_INPUT[op.type])[0]
                    raise UserError(
                        "%s: QuantAware: the %s with weight '%s' cannot be "
                        'quantized: its input is not finite on a calibration '
                        'image; add it to float_weights' %
                        (where, op.type, weight))
                self._leave_out(name)
                for found in (self._sampling_act_abs_min_max,
                              self._sampling_act_histogram,
                              self._quantized_threshold,
                              self._quantized_var_avg):
                    found.pop(name, None)

        def _set_activation_persistable(self):
            names = [
                n for n in dict.fromkeys(
                    v.name for v in self._program.list_vars())
                if n in self._quantized_act_var_name
            ]
            self._part(dict.fromkeys(names, 1), _FIRST)
            # Paddle's loop runs the program once a batch, then collects.
            self._runs, self._executor = self._executor, _Feed()

        def _reset_activation_persistable(self):
            self._executor = self._runs

        def _part(self, sizes, limit):
            self._parts = [(part, self._holding(set(part)))
                           for part in _parts(sizes, limit)]

        def _holding(self, names):
            """The program, keeping the values of these variables; what comes
            after the last of them is cut off."""
            program = self._program.clone()
            for var in program.list_vars():
                if var.name in names:
                    var.persistable = True
            block = program.global_block()
            made = [
                not names.isdisjoint(op.output_arg_names) for op in block.ops
            ]
            for index in reversed(range(len(made))):
                if made[index]:
                    break
                block._remove_op(index, sync=False)
            block._sync_with_cpp()
            return program

        def _in_parts(self, collect):
            whole = self._quantized_act_var_name
            sizes = {}
            for part, program in self._parts:
                runs = paddle.static.Executor(paddle.CPUPlace())
                runs.run(program, feed=self._executor.feed, scope=self._scope)
                # What had no reader any more stays in a scope below, as long
                # as the executor: gigabytes.
                runs.close()
                del runs
                self._scope.drop_kids()
                self._quantized_act_var_name = whole & set(part)
                held = set(self._quantized_act_var_name)
                self._leave_out_infinite()
                collect(self)
                whole -= held - self._quantized_act_var_name
                for name in part:
                    tensor = self._scope.find_var(name).get_tensor()
                    sizes[name] = np.prod(tensor.shape()) * 4
                    tensor._clear()
            self._quantized_act_var_name = whole
            if not self._measured:
                self._measured = True
                self._part(sizes, _MEMORY)

        def _collect_activation_abs_min_max(self):
            self._in_parts(base._collect_activation_abs_min_max)

        def _sampling(self):
            self._in_parts(base._sampling)

        def _sample_histogram(self):
            for name in self._quantized_act_var_name:
                value = load_variable_data(self._scope, name)
                if not value.size or name not in self._sampling_act_histogram:
                    self._zero_size_var_names.add(name)
                    continue
                counts, edges = self._sampling_act_histogram[name]
                counts += uniform_histogram(np.abs(value), edges)

    return Calibration


def quantize(model_dir: str,
             model_filename: str,
             params_filename: str,
             save_dir: str,
             batches: Callable[[], Iterator[Batch]],
             batch_count: int,
             quant: QuantAwareSection,
             options: QuantizationSection,
             where: str = 'configuration') -> None:
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
        where: the configuration, for messages.

    Raises:
        UserError: the input of an operator to be quantized is not finite.
    """
    paddle = runtime.import_paddle()
    from paddle.static.quantization import PostTrainingQuantization
    logging.getLogger(
        'paddle.static.quantization.post_training_quantization').setLevel(
            logging.ERROR)
    scope = paddle.static.Scope()
    exe = paddle.static.Executor(paddle.CPUPlace())

    class _Feeds(paddle.io.DataLoader):
        # The algorithm insists on this type. What it would start is left out:
        # a thread that ends with a traceback when the process is stopped.
        def __init__(self):
            pass

        def __iter__(self):
            return iter(batches())

    with static_mode(paddle), paddle.static.scope_guard(scope), fast_irgraph():
        ptq = _calibration(PostTrainingQuantization, quant, where)(
            executor=exe,
            scope=scope,
            data_loader=_Feeds(),
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
            onnx_format=True)
        ptq.quantize()
        ptq.save_quantized_model(save_dir,
                                 model_filename=model_filename,
                                 params_filename=params_filename)
    files = ModelFiles(save_dir, model_filename, params_filename)
    model = Model.load(files)
    if separate(model):
        model.save(files)
