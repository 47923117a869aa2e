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
"""The one place where a paddle.inference.Config is built, for CPU and GPU, and
the predictor that runs it."""

import contextlib
import time
from dataclasses import replace
from typing import Any, Callable, Iterator, List, Mapping

import numpy as np

from . import gpu, readback, runtime, tensorrt
from .errors import UserError, reason, unknown
from .plan import (
    BF16,
    Plan,
    check_names,
    cpu_passes,
    plan,
    slower_than_fp32,
)
from .program import faster

__all__ = [
    'BF16', 'Plan', 'Predictor', 'build_config', 'check_names', 'plan',
    'slower_than_fp32'
]

# Of the GPU's memory, taken at once; more is taken as it is needed.
MEMORY_POOL_MB = 200


def build_config(plan: Plan,
                 wrapped: Callable[[Any], Any] = lambda config: config) -> Any:
    """The paddle.inference.Config of a plan.

    Args:
        plan: what shall run.
        wrapped: makes of a Config what takes the calls in its place, as to
            record them.

    Raises:
        UserError: a pass in `deleted_passes` that this build does not have in
            any precision, a build that cannot do what is asked for, or a getter
            that does not say what was asked for.
    """
    runtime.prepare()
    from paddle import inference
    config = wrapped(
        inference.Config(plan.files.model_path, plan.files.params_path))
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(plan.threads)
    config.enable_memory_optim()
    config.switch_ir_optim(plan.optimize)
    if plan.device == 'GPU':
        _for_gpu(config, plan)
    else:
        _for_cpu(config, plan)
    # Last: each call above may make the list of passes anew.
    for name in plan.deleted_passes:
        if name in config.pass_builder().all_passes():
            # Not the config's own delete_pass: 3.3.1's leaves it in the list.
            config.pass_builder().delete_pass(name)
            continue
        known = tensorrt.PASSES if plan.tensorrt else cpu_passes()
        if name not in known:
            raise unknown('IR pass', name, known, 'deleted_passes')
    readback.check(config, plan)
    return config


def _for_cpu(config: Any, plan: Plan) -> None:
    config.disable_gpu()
    if plan.mkldnn:
        config.enable_mkldnn()
    else:
        # On by default in 2.6.2.
        config.disable_mkldnn()
    if plan.precision in ('int8', 'bf16') and not plan.op_types:
        raise UserError("%s needs its operator types named: oneDNN's default "
                        'set spoils box decoding' % plan.precision)
    # Without a set, box decoding goes int8 and the boxes are garbage.
    if plan.int8_types:
        config.enable_mkldnn_int8(plan.int8_types)
    if plan.precision == 'bf16':
        config.enable_mkldnn_bfloat16()
        # With the default set, "operator < reshape2 > error".
        config.set_bfloat16_op(set(plan.op_types))


def _for_gpu(config: Any, plan: Plan) -> None:
    # The CPU build logs an error, and goes on.
    gpu.check_build()
    from paddle.inference import PrecisionType
    precisions = {
        'fp32': PrecisionType.Float32,
        'fp16': PrecisionType.Half,
        'int8': PrecisionType.Int8
    }
    engines = plan.tensorrt
    # Before TensorRT, which is silently not enabled otherwise.
    config.enable_use_gpu(MEMORY_POOL_MB, 0,
                          precisions['fp32' if engines else plan.precision])
    if not engines:
        return
    config.enable_tensorrt_engine(
        workspace_size=engines.workspace_bytes,
        max_batch_size=plan.batch_size,
        min_subgraph_size=engines.min_subgraph_size,
        precision_mode=precisions[plan.precision],
        use_static=bool(engines.cache_dir),
        # Ranges are in the model. True, the default, calibrates anew.
        use_calib_mode=False,
        use_cuda_graph=False)
    if engines.cache_dir:
        config.set_optim_cache_dir(engines.cache_dir)
    if engines.explicit_quantization:
        config.enable_tensorrt_explicit_quantization()
    if engines.dynamic_shape:
        if not engines.range_file:
            raise UserError('dynamic shapes need a range file')
        # True would build engines while images are timed, and write the file
        # anew, where an input is outside of the ranges. Here it is refused.
        config.enable_tuned_tensorrt_dynamic_shape(engines.range_file, False)
    if engines.disabled_ops:
        config.exp_disable_tensorrt_ops(list(engines.disabled_ops))


class Predictor:
    """A model that runs.

    `create_seconds`: what its making took, on the GPU with TensorRT that of its
    engines; `engines_cached`: whether they were there already, None without
    TensorRT. `unverified`: options that the Config does not report.
    """

    def __init__(self, plan: Plan) -> None:
        from paddle import inference
        self.plan = plan
        self.engines_cached = tensorrt.cached(plan.tensorrt.cache_dir) \
            if plan.tensorrt else None
        faster.load_operators(plan.rewrites)
        start = time.perf_counter()
        with _engines_whole(plan) as placed:
            config = build_config(placed)
            self.unverified = readback.check(config, placed)
            try:
                with runtime.captured_output():
                    self._predictor = inference.create_predictor(config)
            except Exception as e:
                raise UserError(
                    "Paddle Inference cannot run '%s' in %s: %s" %
                    (plan.files.directory, plan.precision, reason(e))) from None
        self.create_seconds = time.perf_counter() - start
        self.inputs: List[str] = self._predictor.get_input_names()
        self._in = [self._predictor.get_input_handle(n) for n in self.inputs]
        self._out = [
            self._predictor.get_output_handle(n)
            for n in self._predictor.get_output_names()
        ]
        self._synchronize = _synchronize(plan.device)

    def set_inputs(self, feed: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs (name -> array) in."""
        for name, handle in zip(self.inputs, self._in):
            handle.copy_from_cpu(np.ascontiguousarray(feed[name]))
        self._synchronize()

    def check_shapes(self, feed: Mapping[str, np.ndarray], what: str) -> None:
        """Check that TensorRT's engines take some inputs.

        Args:
            feed: as `set_inputs` takes it.
            what: is run, for the message.

        Raises:
            UserError: they do not.
        """
        if self.plan.tensorrt:
            tensorrt.check_input(
                self.plan.tensorrt, self.plan.batch_size,
                {name: feed[name].shape
                 for name in self.inputs}, what)

    def compute(self) -> None:
        """Run the network on the inputs set last, to its end."""
        self._predictor.run()
        self._synchronize()

    def on_output(self, call: Callable[[str, Any], None]) -> None:
        """Have a function called within each run, after each operator: once
        for each of its outputs, with the variable's name and its tensor.

        Of one predictor a process: 2.6.2 passes over a second one's.
        """
        self._predictor.register_output_hook(
            lambda _, name, tensor: call(name, tensor))

    def on_type(self, call: Callable[[str], None]) -> None:
        """The same, called with the type of the operator."""
        self._predictor.register_output_hook(lambda kind, *_: call(kind))

    def outputs(self) -> List[np.ndarray]:
        """Copy the outputs out, in the model's order."""
        return [handle.copy_to_cpu() for handle in self._out]

    def run(self, feed: Mapping[str, np.ndarray]) -> List[np.ndarray]:
        """Inputs in, network, outputs out."""
        self.set_inputs(feed)
        self.compute()
        return self.outputs()


@contextlib.contextmanager
def _engines_whole(plan: Plan) -> Iterator[Plan]:
    """The plan, with a place for its engines while they are built."""
    if plan.tensorrt is None:
        yield plan
        return
    with tensorrt.building(plan.tensorrt) as engines:
        yield replace(plan, tensorrt=engines)


def _synchronize(device: str) -> Callable[[], None]:
    """What waits until the device has done its work. On the GPU `run` only
    hands the work over; copying an output would wait too, and be timed."""
    if device != 'GPU':
        return lambda: None
    paddle = runtime.import_paddle()
    place = paddle.CUDAPlace(0)
    return lambda: paddle.device.synchronize(place)
