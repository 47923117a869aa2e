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
"""What quantization-aware training runs: teacher, student, loss, optimizer.

The programs are PaddleSlim's: its functions recover the inference program for
training, merge the teacher in, add the distillation loss and quantize. What is
done around them mends what AutoCompression does silently: constants become
trainable, learning-rate schedules are lost, batch norm's statistics drift.
"""

import contextlib
import copy
import io
import logging
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from .. import runtime
from ..config import DistillationSection, QuantAwareSection, TrainSection
from ..data import Batch
from ..errors import UserError, unknown
from ..files import work_directory
from ..program.inspect import WEIGHT_INPUT, dequantized
from ..program.model import Model, ModelFiles, static_mode
from ..program.observers import separate, strip_observers
from ..ranks import ALONE, Ranks, lost_peers
from . import parallel
from .irgraph import fast_irgraph
from .merging import fast_merge
from .selection import SKIPPED, is_constant, leave_in_float

# Prefix that PaddleSlim gives the teacher's variables; they never change.
_TEACHER = 'teacher_'
NORM_OPS = ('batch_norm', 'sync_batch_norm', 'layer_norm', 'instance_norm')


@dataclass
class QatSession:
    """A student that can be trained, evaluated and saved.

    Loss terms are scalars; the learning rate is that of the next step.
    """
    paddle: Any
    scope: Any
    exe: Any
    train_program: Any
    test_program: Any
    feed_names: List[str]
    fetch_vars: List[Any]
    loss_vars: Dict[str, Any]  # 'loss' first, then its terms
    scheduler: Any  # paddle.optimizer.lr.LRScheduler, or None
    optimizer: Any
    quant_config: Dict[str, Any]
    frozen: List[str]  # parameters that training leaves alone
    naming: Any  # the generator that named what was added to the programs
    seed: int = 0
    iterations: int = 0  # done so far
    # Activations whose ranges training leaves alone.
    kept_ranges: List[str] = field(default_factory=list)

    def learning_rate(self) -> float:
        """Of the next step."""
        if self.scheduler is not None:
            return float(self.scheduler())
        return float(self.optimizer._learning_rate)

    def step(self, feed: Batch) -> Dict[str, float]:
        """One iteration. Returns the loss and its terms."""
        # Random numbers follow from the iteration: nothing of them to keep.
        self.paddle.seed(self.seed + self.iterations)
        with self._inside(), lost_peers():
            # A copy: the executor drops inputs that the program, cut off at
            # the distillation nodes, does not need.
            values = self.exe.run(self.train_program,
                                  feed=dict(feed),
                                  fetch_list=list(self.loss_vars.values()))
        if self.scheduler is not None:
            self.scheduler.step()
        self.iterations += 1
        return {
            name: float(np.asarray(v).mean())
            for name, v in zip(self.loss_vars, values)
        }

    def infer(self, feed: Batch) -> List[np.ndarray]:
        """The quantized student's outputs, simulated in float."""
        with self._inside():
            outputs = self.exe.run(self.test_program,
                                   feed=dict(feed),
                                   fetch_list=self.fetch_vars,
                                   return_numpy=False)
        return [np.array(o) for o in outputs]

    def state(self) -> Dict[str, np.ndarray]:
        """Copies of the test program's parameters and ranges."""
        return _copies(self._held([self.test_program]))

    def values(self) -> Dict[str, np.ndarray]:
        """Copies of all that training changes: the state, what the ranges are
        averaged from, and the optimizer's."""
        return _copies(self._held([self.test_program, self.train_program]))

    def _held(self, programs: Sequence[Any]) -> Dict[str, Any]:
        """The tensors that programs keep, but for the teacher's."""
        found = {}
        for program in programs:
            for v in program.list_vars():
                if v.persistable and v.name not in ('feed', 'fetch') and \
                        not v.name.startswith(_TEACHER):
                    tensor = self.scope.find_var(v.name).get_tensor()
                    if tensor._is_initialized():
                        found[v.name] = tensor
        return found

    def restore(self, state: Dict[str, np.ndarray]) -> None:
        """Set what `state` or `values` returned."""
        for name, value in state.items():
            self._set(name, value)

    def schedule(self) -> Optional[Dict[str, Any]]:
        """State of the learning rate's schedule, of plain numbers; None without
        one."""
        return None if self.scheduler is None else self.scheduler.state_dict()

    def go_on(self, iterations: int, values: Dict[str, np.ndarray],
              schedule: Optional[Dict[str, Any]],
              kept_ranges: Sequence[str]) -> None:
        """Take up training where another session left it.

        Args:
            iterations: that it did.
            values, schedule, kept_ranges: what it had then.

        Raises:
            UserError: its programs were not the same.
        """
        if set(values) != set(
                self._held([self.test_program, self.train_program])):
            raise UserError("--resume: the checkpoint's variables are not "
                            'those of this model; start without --resume')
        self.keep_ranges(kept_ranges)
        self.restore(values)
        if self.scheduler is not None:
            self.scheduler.set_state_dict(schedule)
        self.iterations = iterations

    def save(self, files: ModelFiles) -> None:
        """Convert the student as it is now and write it as a model that keeps
        its Q/DQ operators. The student can be trained on afterwards."""
        from paddleslim.quant import convert
        state = self.state()
        # Names go on where building ended, whatever the process has named
        # since: a run that was gone on with saves the same program.
        names = self.paddle.utils.unique_name.guard(copy.deepcopy(self.naming))
        with self._inside(), names, fast_irgraph():
            # convert() replaces the weights in the scope by int8 ones.
            program = convert(self.test_program.clone(for_test=True),
                              self.exe.place,
                              dict(self.quant_config),
                              scope=self.scope)
            block = program.global_block()
            with work_directory(files.directory, '.convert_') as work:
                self.paddle.static.save_inference_model(
                    os.path.join(work, 'model'),
                    [block.var(n) for n in self.feed_names],
                    [block.var(v.name) for v in self.fetch_vars],
                    self.exe,
                    program=program,
                    clip_extra=False)
                model = Model.load(ModelFiles(work))
        self.restore(state)
        separate(model)
        model.save(files)

    def measure_weights(self) -> None:
        """Set the range of each weight to its largest values.

        Training does so too, for operators that it runs: those behind what
        distillation compares it does not. There ranges stayed at the 0.001 they
        are made with, and PP-YOLOE's projection made every box a point.
        """
        weights = set(self._weights().values())
        # Both programs hold one for each range.
        measured = {
            op.input('Scale')[0]: op
            for op in self._quantizers() if op.input('X')[0] in weights
        }
        for op in measured.values():
            weight, scale = (np.array(
                self.scope.find_var(op.input(key)[0]).get_tensor())
                             for key in ('X', 'Scale'))
            axis = op.attr('quant_axis') if scale.size > 1 else None
            others = tuple(i for i in range(weight.ndim) if i != axis)
            self._set(
                op.input('Scale')[0],
                np.abs(weight).max(axis=others).reshape(scale.shape).astype(
                    scale.dtype))

    def start_from(self, files: ModelFiles) -> int:
        """Begin at a quantized model's weights and ranges, and keep the ranges.

        A moving average of each batch's largest value is the poorest of
        ranges; from there a short training ended at 88 agreement AP on real
        PicoDet-XS, from calibrated ranges at 94.

        Args:
            files: quantized from the same float model (see `refine`).

        Returns:
            number of operators whose weights and range were set.
        """
        model = Model.load(files)
        strip_observers(model)
        ranges, weights, steps = {}, {}, {}
        for op, weight, quantize in dequantized(model):
            ranges[quantize.input('X')[0]] = model.parameter(
                quantize.input('Scale')[0])
            integers = model.parameter(weight.input('X')[0])
            step = model.parameter(weight.input('Scale')[0]) / np.float32(127)
            shape = [1] * integers.ndim
            shape[weight.attr('quant_axis') if step.size > 1 else 0] = step.size
            weights[op.output_arg_names[0]] = integers * step.reshape(shape)
            steps[op.output_arg_names[0]] = model.parameter(
                weight.input('Scale')[0])
        names = self._weights()
        of_weight = {names[output]: step for output, step in steps.items()}
        self.keep_ranges(list(ranges))
        for op in self._quantizers():
            name = op.input('X')[0]
            step = ranges.get(name, of_weight.get(name))
            if step is not None:
                self._set(
                    op.input('Scale')[0],
                    step.reshape(-1).astype(np.float32))
        for output, value in weights.items():
            self._set(names[output], value.astype(np.float32))
        return len(weights)

    def keep_ranges(self, activations: Sequence[str]) -> None:
        """Let training leave the ranges of these activations as they are."""
        self.kept_ranges = sorted(activations)
        kept = set(activations)
        for op in self._quantizers():
            if op.input('X')[0] in kept:
                op._set_attr('is_test', True)

    def _quantizers(self) -> Iterator[Any]:
        for program in (self.train_program, self.test_program):
            program = getattr(program, '_program', program)
            for op in program.global_block().ops:
                if op.type == 'quantize_linear':
                    yield op

    def _weights(self) -> Dict[str, str]:
        """{output of an operator with weights: its float weight}."""
        writer: Dict[str, Any] = {}
        found = {}
        for op in self.test_program.global_block().ops:
            if op.type in WEIGHT_INPUT:
                name = op.input(WEIGHT_INPUT[op.type])[0]
                while name in writer and writer[name].type.endswith('_linear'):
                    name = writer[name].input('X')[0]
                if name not in writer:  # no product of two activations
                    found[op.output_arg_names[0]] = name
            for name in op.output_arg_names:
                writer[name] = op
        return found

    def _set(self, name: str, value: np.ndarray) -> None:
        self.scope.find_var(name).get_tensor().set(value,
                                                   self.paddle.CPUPlace())

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        with static_mode(self.paddle), self.paddle.static.scope_guard(
                self.scope):
            yield


def _copies(tensors: Dict[str, Any]) -> Dict[str, np.ndarray]:
    return {name: np.array(tensor) for name, tensor in tensors.items()}


def trainable_parameters(model: Model) -> List[str]:
    """Which of a model's fp32 variables training may change.

    An inference program no longer tells parameters from constants, and
    AutoCompression trains every fp32 variable: PicoDet's projection [0..7]
    came back as [1.9e-7, 0.9999998, ...]. Told by use: weights of two or more
    dimensions that are not all integers, scale and bias of norms, and biases
    added to the output of an operator with a weight.
    """
    shared = {
        v.name
        for v in model.persistable()
        if v.dtype == runtime.import_paddle().float32
    }
    made_by = {n: op for op in model.ops for n in op.output_arg_names}
    names: List[str] = []

    def bias_of(name: str) -> Optional[str]:
        # A convolution's bias goes through a reshape to (1, C, 1, 1).
        maker = made_by.get(name)
        if maker is not None and maker.type in ('reshape2', 'unsqueeze2'):
            name = maker.input('X')[0]
        return name if name in shared else None

    for op in model.ops:
        if op.type in WEIGHT_INPUT:
            name = op.input(WEIGHT_INPUT[op.type])[0]
            if name in shared:
                value = model.parameter(name)
                if value.ndim > 1 and not is_constant(value):
                    names.append(name)
            if 'Bias' in op.input_names:
                names += [n for n in op.input('Bias') if n in shared]
        elif op.type in NORM_OPS:
            names += [
                n for key in ('Scale', 'Bias') if key in op.input_names
                for n in op.input(key) if n in shared
            ]
        elif op.type == 'elementwise_add':
            maker = made_by.get(op.input('X')[0])
            bias = bias_of(op.input('Y')[0])
            if bias and maker is not None and maker.type in WEIGHT_INPUT:
                names.append(bias)
    return list(dict.fromkeys(names))


def final_weight_outputs(model: Model) -> List[str]:
    """Outputs of the last operators with weights, bias included: what teacher
    and student are compared at when the configuration names no node.

    PaddleSlim's own search follows the first consumer only, recurses without
    end on programs that were saved twice, and takes constants for weights.
    """
    trainable = set(trainable_parameters(model))
    weighted = [
        op for op in model.ops
        if trainable & set(op.input_arg_names) and op.type in WEIGHT_INPUT
    ]
    consumers: Dict[str, List[Any]] = {}
    for op in model.ops:
        for name in op.input_arg_names:
            consumers.setdefault(name, []).append(op)
    final = []
    targets = {op.output_arg_names[0] for op in weighted}
    for op in weighted:
        seen, todo = set(), list(op.output_arg_names)
        reaches = False
        while todo and not reaches:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for user in consumers.get(name, ()):
                outputs = user.output_arg_names
                reaches = reaches or outputs[0] in targets
                todo += outputs
        if reaches:
            continue
        output = op.output_arg_names[0]
        users = consumers.get(output, ())
        if len(users) == 1 and users[0].type == 'elementwise_add':
            output = users[0].output_arg_names[0]
        final.append(output)
    return final


def _scheduler_and_optimizer_check(train: TrainSection, where: str) -> None:
    """Raise UserError for an optimizer, schedule, clipping or regularizer that
    Paddle lacks, or that does not take its arguments."""
    paddle = runtime.import_paddle()
    where += ': TrainConfig.'

    def made(module: Any, prefix: str, kind: str, section: Dict[str, Any],
             key: str, **more: Any) -> Any:
        bases = ('Optimizer', 'LRScheduler', 'WeightDecayRegularizer')
        known = [
            n for n in dir(module)
            if n[0].isupper() and n.startswith(prefix) and n not in bases
        ]
        name = str(section.get('type'))
        if name not in known:
            raise unknown(kind, name, known, where + key + '.type')
        arguments = {k: v for k, v in section.items() if k != 'type'}
        try:
            result = getattr(module, name)(**arguments, **more)
            if key == 'learning_rate':
                # Some arguments are looked at when their step comes.
                for _ in range(min(train.train_iter, 1000)):
                    if not 0 <= float(result()) < float('inf'):
                        raise ValueError('gives the rate %s' % result())
                    result.step()
            elif module is paddle.optimizer:
                static = paddle.static
                with static.program_guard(static.Program(), static.Program()):
                    weight = static.create_parameter([2], 'float32')
                    result.minimize((weight * weight).mean())
            return result
        except Exception as e:  # Paddle checks arguments in many ways
            said = [t for t in str(e).splitlines() if t.strip()] or ['']
            raise UserError('%s%s: %s: %s' %
                            (where, key, name, said[-1].strip())) from None

    rate = train.learning_rate
    builder = train.optimizer_builder
    if isinstance(rate, dict):
        rate = made(paddle.optimizer.lr, '', 'schedule', rate, 'learning_rate')
    clip, decay = builder.get('grad_clip'), builder.get('weight_decay')
    if clip:
        clip = made(paddle.nn, 'ClipGrad', 'clipping', clip,
                    'optimizer_builder.grad_clip')
    if builder.get('regularizer'):
        decay = made(paddle.regularizer, '', 'regularizer',
                     builder['regularizer'], 'optimizer_builder.regularizer')
    with static_mode(paddle):
        made(paddle.optimizer,
             '',
             'optimizer',
             builder.get('optimizer') or {},
             'optimizer_builder.optimizer',
             learning_rate=rate,
             grad_clip=clip or None,
             weight_decay=decay)


def build(files: ModelFiles,
          quant: QuantAwareSection,
          distillation: DistillationSection,
          train: TrainSection,
          where: str = 'configuration',
          ranks: Ranks = ALONE) -> QatSession:
    """Build teacher, student and optimizer from a float model.

    Args:
        files: the float model; it is only read.
        quant, distillation, train: the configuration's sections.
        where: the configuration, for messages.
        ranks: that train together; all must call this.

    Raises:
        UserError: an optimizer, schedule or distillation node that does not
            exist.
    """
    paddle = runtime.import_paddle()
    _scheduler_and_optimizer_check(train, where)
    with runtime.captured_output():
        from paddleslim.auto_compression import create_compressed_program as cc
        from paddleslim.auto_compression.strategy_config import ProgramInfo
        from paddleslim.common.recover_program import recover_inference_program
    for name in ('paddleslim.quant.quanter',
                 'paddleslim.auto_compression.create_compressed_program'):
        logging.getLogger(name).setLevel(logging.WARNING)

    model = Model.load(files)
    trainable = set(trainable_parameters(model))
    known = {v.name for v in model.program.list_vars()}
    nodes = list(distillation.node) or final_weight_outputs(model)
    for node in nodes:
        if node not in known:
            raise unknown('variable', node, known,
                          where + ': Distillation.node')
    pairs = [n for node in nodes for n in ('teacher_' + node, node)]

    paddle.seed(train.seed)
    scope = paddle.static.Scope()
    # The device that launch gave this process, else the first.
    exe = paddle.static.Executor(
        paddle.CUDAPlace(paddle.distributed.ParallelEnv().device_id) if paddle.
        is_compiled_with_cuda() else paddle.CPUPlace())

    with static_mode(paddle), paddle.static.scope_guard(scope), \
            paddle.utils.unique_name.guard(), fast_irgraph(), \
            fast_merge(), contextlib.redirect_stderr(io.StringIO()):
        program, names, fetch_vars = paddle.static.load_inference_model(
            files.directory,
            exe,
            model_filename=files.model_filename,
            params_filename=files.params_filename)
        # Its own startup program is not run: it would draw the
        # weights anew.
        program = recover_inference_program(program, paddle.static.Program())
        frozen = _freeze(program, trainable, train.freeze_batch_norm)
        leave_in_float(program, scope, quant)
        settings = {
            'teacher_model_dir': files.directory,
            'teacher_model_filename': files.model_filename,
            'teacher_params_filename': files.params_filename,
            'node': [],
            'loss': distillation.loss,
            'alpha': distillation.alpha,
        }
        train_info, test_info = cc.build_distill_program(
            exe,
            exe.place,
            settings,
            copy.deepcopy({
                'learning_rate': train.learning_rate,
                'optimizer_builder': train.optimizer_builder,
            }),
            ProgramInfo(paddle.static.Program(), program, names, fetch_vars),
            default_distill_node_pair=pairs)
        quant_config = dict(quant.model_dump(), not_quant_pattern=[SKIPPED])
        train_info, test_info, used = cc.build_quant_program(
            exe, exe.place, dict(quant_config), train_info, test_info)
        exe.run(train_info.startup_program)
        naming = paddle.base.unique_name.generator

    scheduler = train_info.learning_rate
    if isinstance(scheduler, float):
        scheduler = None
    else:
        # PaddleSlim's passes rebuild the program and lose this; without it the
        # executor never asks the schedule for the rate.
        train_info.program.lr_scheduler = scheduler
    terms = {'loss': train_info.fetch_targets[0]}
    if len(train_info.loss_dict) > 1:
        terms.update(train_info.loss_dict)
    if ranks.size > 1:
        with static_mode(paddle):
            parallel.connect(exe, ranks)
            terms = parallel.share(train_info.program, terms, ranks)
    session = QatSession(paddle=paddle,
                         scope=scope,
                         exe=exe,
                         train_program=train_info.program,
                         test_program=test_info.program,
                         feed_names=list(names),
                         fetch_vars=list(test_info.fetch_targets),
                         loss_vars=terms,
                         scheduler=scheduler,
                         optimizer=train_info.optimizer,
                         quant_config=used,
                         frozen=frozen,
                         naming=naming,
                         seed=train.seed)
    session.measure_weights()
    return session


def _freeze(program: Any, trainable: 'set[str]',
            freeze_batch_norm: bool) -> List[str]:
    """Take what is no parameter out of training; returns the names."""
    frozen = []
    for var in program.list_vars():
        if var.persistable and var.name not in trainable and \
                hasattr(var, 'trainable'):
            var.trainable = False
            var.stop_gradient = True
            frozen.append(var.name)
    for op in program.global_block().ops:
        if op.type == 'batch_norm':
            # Statistics of four images are not those of the data set. An
            # exported model has the attribute set.
            op._set_attr('use_global_stats', freeze_batch_norm)
    return frozen
