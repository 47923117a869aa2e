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
"""The one place where a paddle.inference.Config is built."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

import numpy as np

from . import runtime
from .config import CpuSection, NmsSection
from .errors import UserError, nearest, unknown
from .postprocess import PostProcess, check_outputs
from .program import cpu, faster, halving
from .program.inspect import count_types, is_quantized, quantized_ops
from .program.model import Model, ModelFiles
from .program.network import Types

PRECISIONS = ('auto', 'fp32', 'bf16', 'int8')
# The vector extensions with which oneDNN computes in bf16 (avx512f: emulated).
BF16_IN_HARDWARE = ('avx512_bf16', 'amx_bf16')
BF16 = (*BF16_IN_HARDWARE, 'avx512f')
# oneDNN fuses a convolution's bias and activation into fused_conv2d before its
# int8 pass looks, and runs depthwise convolutions as plain ones: each type
# that training quantized, and what stands for it at that moment.
DEPLOYED_AS = {
    'conv2d': {'conv2d', 'fused_conv2d'},
    'depthwise_conv2d': {'depthwise_conv2d', 'conv2d', 'fused_conv2d'},
    'matmul_v2': {'fc'},
}
# What need not be among the int8 types although training quantized it: the
# first is a plain convolution by then, the second a choice.
_OPTIONAL = {'depthwise_conv2d', 'fc'}
DEPLOYABLE = ('conv2d', 'depthwise_conv2d', 'fused_conv2d', 'fc')


@dataclass(frozen=True)
class Plan:
    """What will run: a precision and how. See `plan`."""
    files: ModelFiles  # the model as it is loaded, prepared for oneDNN
    precision: str  # fp32, bf16, int8 or simulated_int8
    mkldnn: bool
    threads: int
    op_types: Sequence[str]  # given to oneDNN's int8 or bf16 pass
    deleted_passes: Sequence[str]
    quantized: Dict[str, int]  # operators that hold quantization, by type
    postprocess: PostProcess  # of the outputs
    bf16: bool = False  # layers that are not int8 compute in it
    # {rewrite's name: places it changed}, see `program.faster`
    rewrites: Dict[str, int] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        return 'onednn' if self.mkldnn else 'native'


def plan(files: ModelFiles,
         options: CpuSection,
         *,
         precision: str = 'auto',
         mkldnn: Optional[bool] = None,
         threads: Optional[int] = None,
         nms: Optional[NmsSection] = None,
         input_list: Optional[Dict[str, str]] = None,
         where: str = 'configuration',
         rewrites: Sequence[str] = faster.ALL,
         check_types: bool = True) -> Plan:
    """Decide what a request means for this model on this CPU.

    Args:
        files: the model as the user has it.
        options: the configuration's Deploy.cpu.
        precision: one of PRECISIONS. auto: int8 if the model is quantized,
            else fp32. fp32 of a quantized model runs its simulation: Q/DQ in
            float, oneDNN off.
        mkldnn: use oneDNN; None: yes, but for the simulation.
        threads: None: as configured, else all cores.
        nms: parameters of the NMS that the model does not hold, None if it
            does.
        input_list: {reader's name: model's name}, see `data.feed`.
        where: the configuration, for messages.
        rewrites: names of `program.faster.ALL` that may be applied. Of effect
            with oneDNN.
        check_types: refuse int8 types that are not those that training
            quantized. False: for a look at what such a mistake does.

    Raises:
        UserError: a precision that this model or CPU does not have; a model
            that is no detector, or holds its NMS where `nms` is given, or the
            other way round; an operator type that training did not quantize; a
            name that Paddle does not know.
    """
    model = Model.load(files)
    postprocess = check_outputs(model, files.directory, nms, input_list, where)
    check_names(options, where)
    types: Dict[str, int] = {}
    if is_quantized(model):
        types = count_types(quantized_ops(model))
    if precision == 'auto':
        precision = 'int8' if types else 'fp32'
    if precision not in PRECISIONS:
        raise unknown('precision', precision, PRECISIONS, '--precision')
    if precision == 'int8' and not types:
        raise UserError("--precision int8: '%s' holds no quantization; make an "
                        "int8 model with run.py" % files.directory)
    if precision == 'bf16' and types:
        raise UserError("--precision bf16: '%s' is quantized; give the float "
                        "model, or --precision int8" % files.directory)
    if precision in ('int8', 'bf16') and mkldnn is False:
        raise UserError("--precision %s on the CPU needs oneDNN; leave out "
                        "--use_mkldnn False" % precision)
    if precision == 'bf16' and not set(BF16) & set(runtime.cpu_extensions()):
        raise UserError("--precision bf16: this CPU (%s) has no AVX-512; use "
                        "fp32 or int8" % runtime.cpu_name())

    op_types: List[str] = []
    if precision == 'int8':
        op_types = _int8_types(options.int8_ops, types, where) \
            if check_types else sorted(options.int8_ops)
    elif precision == 'bf16':
        op_types = list(options.bf16_ops)
    elif types:
        precision, mkldnn = 'simulated_int8', bool(mkldnn)
    mkldnn = True if mkldnn is None else mkldnn
    bf16 = precision == 'bf16' or precision == 'int8' and \
        options.bf16_rest and bool(
            set(BF16_IN_HARDWARE) & set(runtime.cpu_extensions()))
    done: Dict[str, int] = {}
    if mkldnn and precision != 'simulated_int8':
        prepared = cpu.prepared(
            files,
            cpu.Target(rewrites=tuple(rewrites),
                       types=Types(bf16=bf16,
                                   linear=precision != 'bf16'
                                   or 'fc' in op_types,
                                   int8_linear='fc' in op_types),
                       int8=precision == 'int8',
                       int8_fc='fc' in op_types), model)
        files = prepared.files
        done = {n: prepared.done.get(n, 0) for n in rewrites}
        bf16 = bf16 and (precision == 'bf16'
                         or any(done.get(n) for n in faster.TYPED))
    return Plan(files=files,
                precision=precision,
                mkldnn=mkldnn,
                threads=threads or options.threads or runtime.cpu_count(),
                op_types=op_types,
                deleted_passes=list(options.deleted_passes),
                quantized=types,
                postprocess=postprocess,
                bf16=bf16,
                rewrites=done)


def check_names(options: CpuSection, where: str) -> None:
    """Check the operator types and passes of Deploy.cpu against Paddle's.

    Raises:
        UserError: a name that Paddle does not know.
    """
    paddle = runtime.import_paddle()
    types = set(paddle.base.core.get_all_op_names())
    for key in ('int8_ops', 'bf16_ops'):
        for name in getattr(options, key):
            if name not in types:
                # Where none is alike, the usual ones help more than all 1204.
                known = types if nearest(name, types) else DEPLOYABLE
                raise unknown('operator type', name, known,
                              '%s: Deploy.cpu.%s' % (where, key))
    passes = _all_passes() if options.deleted_passes else set()
    for name in options.deleted_passes:
        if name not in passes:
            raise unknown('IR pass', name, passes,
                          '%s: Deploy.cpu.deleted_passes' % where)


def _all_passes() -> Set[str]:
    """The IR passes of any precision and backend here."""
    from paddle import inference
    passes: Set[str] = set()
    for setting in ('disable_mkldnn', 'enable_mkldnn', 'enable_mkldnn_int8',
                    'enable_mkldnn_bfloat16'):
        config = inference.Config()
        config.disable_gpu()
        getattr(config, setting)()
        passes.update(config.pass_builder().all_passes())
    return passes


def _int8_types(asked: Sequence[str], quantized: Dict[str, int],
                where: str) -> List[str]:
    """The operator types for oneDNN: what is asked, if training quantized it.

    Raises:
        UserError: a type that training did not quantize (accuracy falls), or
            a quantized type left out (those operators would run in float).
    """
    allowed: Set[str] = set()
    for name in quantized:
        allowed |= DEPLOYED_AS.get(name, {name})
    extra = sorted(set(asked) - allowed)
    if extra:
        raise UserError(
            "%s: Deploy.cpu.int8_ops: '%s' was not quantized in training (%s "
            "were); in int8 it would spoil the accuracy: leave it out" %
            (where, extra[0], ', '.join(sorted(quantized))))
    left = sorted(allowed - set(asked) - _OPTIONAL)
    if left:
        raise UserError(
            "%s: Deploy.cpu.int8_ops: '%s' is missing: oneDNN would run most "
            "of the quantized operators in float; add it" % (where, left[0]))
    return sorted(asked)


def slower_than_fp32(plan: Plan) -> Optional[str]:
    """Why fp32 is the faster precision for this plan on this CPU, None if it is
    not known to be."""
    has = runtime.cpu_extensions()
    if plan.precision == 'int8' and halving.halves(has):
        return ('int8 is slower than fp32 on this CPU, which has no VNNI: run '
                'the float model with --precision fp32')
    if plan.precision == 'bf16' and not set(BF16_IN_HARDWARE) & set(has):
        return ('bf16 is slower than fp32 on this CPU, which emulates it: use '
                '--precision fp32')
    return None


def build_config(plan: Plan) -> Any:
    """The paddle.inference.Config of a plan.

    Raises:
        UserError: a pass in `deleted_passes` that this build does not have in
            any precision, or a getter that does not say what was asked for.
    """
    runtime.prepare()
    from paddle import inference
    config = inference.Config(plan.files.model_path, plan.files.params_path)
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(plan.threads)
    config.enable_memory_optim()
    config.switch_ir_optim(True)
    if plan.mkldnn:
        config.enable_mkldnn()
    else:
        # On by default in 2.6.2.
        config.disable_mkldnn()
    if plan.precision in ('int8', 'bf16') and not plan.op_types:
        raise UserError("%s needs its operator types named: oneDNN's default "
                        'set spoils box decoding' % plan.precision)
    if plan.precision == 'int8':
        # The program has int8 linear layers already (program.linear). Without a
        # set, box decoding goes int8 and the boxes are garbage.
        types = set(plan.op_types) - {'fc'}
        if types:
            config.enable_mkldnn_int8(types)
    elif plan.precision == 'bf16':
        config.enable_mkldnn_bfloat16()
        # With the default set, "operator < reshape2 > error".
        config.set_bfloat16_op(set(plan.op_types))
    for name in plan.deleted_passes:
        if name in config.pass_builder().all_passes():
            config.delete_pass(name)
        elif name not in _all_passes():
            raise unknown('IR pass', name, _all_passes(), 'deleted_passes')
    for getter, wanted in (('mkldnn_enabled', plan.mkldnn),
                           ('cpu_math_library_num_threads',
                            plan.threads), ('ir_optim', True)):
        found = getattr(config, getter)()
        if found != wanted:
            raise UserError("paddle.inference.Config.%s() says %s where %s was "
                            "asked for" % (getter, found, wanted))
    return config


class Predictor:
    """A model that runs."""

    def __init__(self, plan: Plan) -> None:
        from paddle import inference
        self.plan = plan
        config = build_config(plan)
        faster.load_operators(plan.rewrites)
        try:
            with runtime.captured_output():
                self._predictor = inference.create_predictor(config)
        except Exception as e:
            line = next((text for text in str(e).splitlines()
                         if 'Error' in text and 'Message' not in text), '')
            raise UserError("Paddle Inference cannot run '%s' in %s: %s" %
                            (plan.files.directory, plan.precision, line
                             or str(e).strip().splitlines()[-1])) from None
        self.inputs: List[str] = self._predictor.get_input_names()
        self._in = [self._predictor.get_input_handle(n) for n in self.inputs]
        self._out = [
            self._predictor.get_output_handle(n)
            for n in self._predictor.get_output_names()
        ]

    def set_inputs(self, feed: Dict[str, np.ndarray]) -> None:
        """Copy the inputs (name -> array) in."""
        for name, handle in zip(self.inputs, self._in):
            handle.copy_from_cpu(np.ascontiguousarray(feed[name]))

    def compute(self) -> None:
        """Run the network on the inputs set last."""
        self._predictor.run()

    def on_output(self, call: Callable[[str, Any], None]) -> None:
        """Have a function called within each run, after each operator: once
        for each of its outputs, with the variable's name and its tensor.

        Of one predictor a process: 2.6.2 passes over a second one's.
        """
        self._predictor.register_output_hook(
            lambda _, name, tensor: call(name, tensor))

    def outputs(self) -> List[np.ndarray]:
        """Copy the outputs out, in the model's order."""
        return [handle.copy_to_cpu() for handle in self._out]

    def run(self, feed: Dict[str, np.ndarray]) -> List[np.ndarray]:
        """Inputs in, network, outputs out."""
        self.set_inputs(feed)
        self.compute()
        return self.outputs()
