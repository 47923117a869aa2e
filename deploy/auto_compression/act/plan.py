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
"""What a request means for a model: a plan, which is data.

`predictor` makes a Paddle Inference configuration of it, and `explain` shows
it. Whether the device is there is asked by neither: see `gpu`.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Dict, Iterator, List, Optional, Sequence, Set

from . import capability, runtime, tensorrt
from .config import CpuSection, NmsSection, TensorrtSection
from .errors import UserError, nearest, unknown
from .optimized import optimized, wrong_ops
from .postprocess import PostProcess, check_outputs
from .program import copies, cpu, faster, halving
from .program import tensorrt as trt_program
from .program.inspect import count_types, is_quantized, quantized_ops
from .program.model import Model, ModelFiles
from .program.network import Types
from .tensorrt import Tensorrt

PRECISIONS = ('auto', *capability.PRECISIONS)
# The vector extensions with which oneDNN computes in bf16 (avx512f: emulated).
BF16_IN_HARDWARE = ('avx512_bf16', 'amx_bf16')
BF16 = (*BF16_IN_HARDWARE, 'avx512f')
# What need not be among the int8 types although training quantized it: the
# first is a plain convolution by then, the second a choice.
_OPTIONAL = {'depthwise_conv2d', 'fc'}
DEPLOYABLE = ('conv2d', 'depthwise_conv2d', 'fused_conv2d', 'fc')


@dataclass(frozen=True)
class Plan:
    """What will run: a precision and how. See `plan`."""
    files: ModelFiles  # the model as it is loaded, prepared for its engine
    precision: str  # fp32, fp16, bf16, int8 or simulated_int8
    mkldnn: bool  # of effect on the CPU
    threads: int
    op_types: Sequence[str]  # given to oneDNN's int8 or bf16 pass
    deleted_passes: Sequence[str]
    quantized: Dict[str, int]  # operators that hold quantization, by type
    postprocess: PostProcess  # of the outputs
    # {rewrite's name: places it changed}, see `program.faster`
    rewrites: Dict[str, int] = field(default_factory=dict)
    device: str = 'CPU'
    batch_size: int = 1
    bf16: bool = False  # layers that are not int8 compute in it
    tensorrt: Optional[Tensorrt] = None
    as_saved: bool = False  # the model as the user has it, not prepared
    optimize: bool = True  # run the IR passes

    @property
    def backend(self) -> str:
        if self.device == 'GPU':
            return capability.TENSORRT if self.tensorrt else capability.NATIVE
        return capability.ONEDNN if self.mkldnn else capability.NATIVE

    @property
    def float_precision(self) -> Optional[str]:
        """What layers that are not int8 compute in; None: TensorRT chooses."""
        if self.device == 'GPU':
            return None
        return 'bf16' if self.bf16 else 'fp32'

    @property
    def int8_types(self) -> Set[str]:
        """The types that oneDNN's int8 pass is asked for."""
        if self.precision != 'int8':
            return set()
        # A prepared program has int8 linear layers already (program.linear).
        return set(self.op_types) - (set() if self.as_saved else {'fc'})

    @property
    def row(self) -> capability.Row:
        """What allows it."""
        precision = 'fp32' if self.precision == capability.SIMULATED else \
            self.precision
        return capability.find(self.device, self.backend, _kind(self.quantized),
                               precision)


def _kind(quantized: Dict[str, int]) -> str:
    return capability.QUANTIZED if quantized else capability.FLOAT


class Refusals:
    """What becomes of a refusal: raised, or kept so that the others are found
    too."""

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self.lines: List[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Run one check."""
        try:
            yield
        except UserError as error:
            if not self.keep:
                raise
            self.lines.append(str(error))


@dataclass(frozen=True)
class _Asked:
    """A request's device, engine and precision, the last never auto."""
    device: str
    engine: str
    precision: str


def plan(files: ModelFiles,
         options: CpuSection,
         *,
         device: str = 'CPU',
         precision: str = 'auto',
         mkldnn: Optional[bool] = None,
         use_trt: bool = False,
         dynamic_shape: Optional[bool] = None,
         trt_options: Optional[TensorrtSection] = None,
         batch_size: int = 1,
         threads: Optional[int] = None,
         nms: Optional[NmsSection] = None,
         input_list: Optional[Dict[str, str]] = None,
         where: str = 'configuration',
         rewrites: Sequence[str] = faster.ALL,
         check_types: bool = True,
         prepare: bool = True,
         refusals: Optional[Refusals] = None) -> Plan:
    """Decide what a request means for this model.

    Args:
        files: the model as the user has it.
        options: the configuration's Deploy.cpu.
        device: CPU or GPU.
        precision: one of PRECISIONS. auto: int8 if the model is quantized,
            else fp32. fp32 of a quantized model runs its simulation on the
            CPU: Q/DQ in float, oneDNN off.
        mkldnn: use oneDNN; None: yes, but for the simulation.
        use_trt: use TensorRT, on the GPU.
        dynamic_shape: shapes may vary in TensorRT; None: as configured.
        trt_options: the configuration's Deploy.tensorrt; None: its defaults.
        batch_size: images in a batch, at most.
        threads: None: as configured, else all cores.
        nms: parameters of the NMS that the model does not hold, None if it
            does.
        input_list: {reader's name: model's name}, see `data.feed`.
        where: the configuration, for messages.
        rewrites: names of `program.faster.ALL` that may be applied. Of effect
            with oneDNN.
        check_types: refuse int8 types that are not those that training
            quantized. False: for a look at what such a mistake does.
        prepare: make the prepared copy for oneDNN or TensorRT. False: `files`
            is the model as the user has it.
        refusals: keeps what is refused; None: the first is raised. A plan with
            a refusal does not run.

    Raises:
        UserError: what `capability` refuses for this model, or this CPU; a
            model that is no detector, or holds its NMS where `nms` is given,
            or the other way round; an operator type that training did not
            quantize; a name that Paddle does not know; fixed shapes for a
            model that has none.
    """
    noted = (refusals or Refusals()).noted
    if device == 'GPU':
        with noted():
            runtime.need_whole('--device GPU')
    model = Model.load(files)
    postprocess = PostProcess()
    with noted():
        postprocess = check_outputs(model, files.directory, nms, input_list,
                                    where)
    for error in wrong_names(options, where):
        with noted():
            raise error
    types: Dict[str, int] = {}
    with noted():
        if is_quantized(model):
            types = count_types(quantized_ops(model))
    if precision not in PRECISIONS:
        raise unknown('precision', precision, PRECISIONS, '--precision')
    asked = _Asked(
        device, _engine(device, mkldnn, use_trt),
        precision if precision != 'auto' else 'int8' if types else 'fp32')
    row = capability.find(asked.device, asked.engine, _kind(types),
                          asked.precision)
    with noted():
        if row.refused:
            raise row.error(files.directory)
        if row.runs == 'bf16' and not set(BF16) & set(runtime.cpu_extensions()):
            raise UserError(
                "--precision bf16: this CPU (%s) has no AVX-512; use "
                "fp32 or int8 (capability: %s)" % (runtime.cpu_name(), row))
    made = Plan(files=files,
                precision=row.runs or asked.precision,
                mkldnn=asked.engine == capability.ONEDNN,
                threads=threads or options.threads or runtime.cpu_count(),
                op_types=[],
                deleted_passes=[],
                quantized=types,
                postprocess=postprocess,
                device=device,
                batch_size=batch_size,
                as_saved=not prepare)
    if asked.engine == capability.TENSORRT:
        trt_options = trt_options or TensorrtSection()
        for error in tensorrt.wrong_names(trt_options, where):
            with noted():
                raise error
        engines = tensorrt.decide(trt_options, made.precision, dynamic_shape)
        with noted():
            if not engines.dynamic_shape:
                engines = replace(engines,
                                  fixed=tensorrt.fixed_shapes(
                                      model, files.directory, where))
        done = trt_program.prepared(files, model) if prepare else \
            copies.Prepared(files, trt_program.apply(model))
        passes = tensorrt.deleted_passes(trt_options, bool(types))
        asked_about = optimized(model, engines.dynamic_shape, passes)
        for error in wrong_ops(engines.disabled_ops, asked_about, where):
            with noted():
                raise error
        return replace(made,
                       files=done.files,
                       rewrites=done.done,
                       tensorrt=engines,
                       deleted_passes=passes)
    if device == 'GPU':
        return made
    if made.precision == capability.SIMULATED:
        made = replace(made, mkldnn=bool(mkldnn))
    with noted():
        made = replace(made,
                       bf16=_bf16(made.precision, options),
                       deleted_passes=_deleted_passes(options),
                       op_types=_op_types(made, options, where, check_types))
    if not prepare or made.precision == capability.SIMULATED or \
            not made.mkldnn:
        return made
    prepared = cpu.prepared(files, target(made, rewrites), model)
    done = {n: prepared.done.get(n, 0) for n in rewrites}
    # In an int8 program only what these rewrites put in computes in bf16.
    bf16 = made.bf16 and (made.precision == 'bf16'
                          or any(done.get(n) for n in faster.TYPED))
    return replace(made, files=prepared.files, rewrites=done, bf16=bf16)


def _engine(device: str, mkldnn: Optional[bool], use_trt: bool) -> str:
    if device == 'GPU':
        return capability.TENSORRT if use_trt else capability.NATIVE
    return capability.NATIVE if mkldnn is False else capability.ONEDNN


def target(made: Plan, rewrites: Sequence[str]) -> cpu.Target:
    """What a plan's program is prepared for on the CPU."""
    fc = 'fc' in made.op_types
    return cpu.Target(rewrites=tuple(rewrites),
                      types=Types(bf16=made.bf16,
                                  linear=made.precision != 'bf16' or fc,
                                  int8_linear=fc),
                      int8=made.precision == 'int8',
                      int8_fc=fc)


def _bf16(precision: str, options: CpuSection) -> bool:
    """Whether layers that are not int8 shall compute in bf16."""
    return precision == 'bf16' or precision == 'int8' and \
        options.bf16_rest and bool(
            set(BF16_IN_HARDWARE) & set(runtime.cpu_extensions()))


def _op_types(made: Plan, options: CpuSection, where: str,
              check_types: bool) -> List[str]:
    """The operator types for oneDNN."""
    if made.precision == 'bf16':
        return list(options.bf16_ops)
    if made.precision != 'int8':
        return []
    if not check_types:
        return sorted(options.int8_ops)
    return _int8_types(options.int8_ops, made.quantized, where)


def wrong_names(options: CpuSection, where: str) -> Iterator[UserError]:
    """An error for each operator type and pass of Deploy.cpu that Paddle does
    not know."""
    paddle = runtime.import_paddle()
    types = set(paddle.base.core.get_all_op_names())
    for key in ('int8_ops', 'bf16_ops'):
        for name in getattr(options, key):
            if name not in types:
                # Where none is alike, the usual ones help more than all 1204.
                known = types if nearest(name, types) else DEPLOYABLE
                yield unknown('operator type', name, known,
                              '%s: Deploy.cpu.%s' % (where, key))
    passes = cpu_passes() if options.deleted_passes else set()
    for name, here in zip(options.deleted_passes, _deleted_passes(options)):
        if here not in passes:
            yield unknown('IR pass', name, passes,
                          '%s: Deploy.cpu.deleted_passes' % where)


def _deleted_passes(options: CpuSection) -> List[str]:
    """Deploy.cpu.deleted_passes under the names of the installed Paddle."""
    here = runtime.installed()
    return [here.pass_name(name) for name in options.deleted_passes]


def check_names(options: CpuSection, where: str) -> None:
    """Check the operator types and passes of Deploy.cpu against Paddle's.

    Raises:
        UserError: a name that Paddle does not know.
    """
    for error in wrong_names(options, where):
        raise error


def cpu_passes() -> Set[str]:
    """The IR passes of any precision and backend on the CPU."""
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
    allowed = capability.deployed_as(quantized)
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
    if plan.device == 'GPU':
        return None
    has = runtime.cpu_extensions()
    if plan.precision == 'int8' and halving.halves(has):
        return ('int8 is slower than fp32 on this CPU, which has no VNNI: run '
                'the float model with --precision fp32')
    if plan.precision == 'bf16' and not set(BF16_IN_HARDWARE) & set(has):
        return ('bf16 is slower than fp32 on this CPU, which emulates it: use '
                '--precision fp32')
    return None
