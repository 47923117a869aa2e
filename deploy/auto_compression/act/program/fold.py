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
"""What a program computes from constants alone is computed once and kept.

With fixed input sizes that is much: Paddle's export keeps `shape` operators and
everything computed from them, even where all sizes are fixed. In DINO that is
half the program: sizes of levels, position embeddings, anchors, and reference
points. For any size it is the weights of attention, which networks keep in one
parameter and cut into three whenever they run.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from .. import runtime
from ..errors import UserError, unknown
from .model import Model, static_mode

# What is not computed ahead: it interacts, draws numbers, or carries
# quantization, which lives in operators on constant weights.
KEPT = {
    'feed', 'fetch', 'print', 'assert', 'py_func', 'bernoulli', 'multinomial',
    'poisson', 'exponential', 'quantize_linear', 'dequantize_linear'
}
KEPT_PREFIXES = ('fake_quantize_', 'fake_dequantize_', 'fake_channel_wise_')
# Sizes given as tensors: operator type -> (slots, the attribute that says the
# same). Of two slots the first with something in it counts: one tensor, or
# one for each element.
SIZES: Dict[str, Sequence[Tuple[Tuple[str, ...], str]]] = {
    'reshape2': [(('ShapeTensor', 'Shape'), 'shape')],
    'expand_v2': [(('expand_shapes_tensor', 'Shape'), 'shape')],
    'tile': [(('repeat_times_tensor', 'RepeatTimes'), 'repeat_times')],
    'fill_constant': [(('ShapeTensorList', 'ShapeTensor'), 'shape')],
    'split': [(('SectionsTensorList', ), 'sections')],
    'slice': [(('StartsTensorList', 'StartsTensor'), 'starts'),
              (('EndsTensorList', 'EndsTensor'), 'ends')],
    'strided_slice': [(('StartsTensorList', 'StartsTensor'), 'starts'),
                      (('EndsTensorList', 'EndsTensor'), 'ends'),
                      (('StridesTensorList', 'StridesTensor'), 'strides')],
    'top_k_v2': [(('K', ), 'k')],
}


@dataclass(frozen=True)
class Folded:
    """What folding did: operators by type before and after, and the constants
    that were made."""
    before: Dict[str, int]
    after: Dict[str, int]
    constants: int
    constants_mb: float  # 1e6 bytes

    def __str__(self) -> str:
        return ('%d operators -> %d (shape: %d -> %d); %d constants, %.2f MB' %
                (sum(self.before.values()), sum(self.after.values()),
                 self.before.get('shape', 0), self.after.get(
                     'shape', 0), self.constants, self.constants_mb))


def fold(model: Model,
         input_shapes: Optional[Dict[str, Sequence[int]]] = None) -> Folded:
    """Fold what follows from constants, and from the sizes of inputs if given.

    Operators whose inputs are all constant, and `shape` of what has a static
    shape, are run once by Paddle's executor on the CPU; so the outputs stay as
    they are, bit by bit. Sizes that operators read from constants become
    attributes. What nothing reads any more is removed.

    Args:
        model: changed in place.
        input_shapes: {input: shape}, for each input; sizes from 1 on. The
            inputs are fixed to them. None: the inputs stay as they are.

    Returns:
        what was done.

    Raises:
        UserError: an input that the model does not have, one left out, or a
            shape that the model, or one of its operators, does not take.
    """
    paddle = runtime.import_paddle()
    before = Counter(op.type for op in model.ops)
    known_before = {var.name for var in model.persistable()}
    with static_mode(paddle):
        if input_shapes is not None:
            _fix_inputs(model, input_shapes)
        changed = True
        while changed:
            if input_shapes is not None:
                _infer_shapes(model)
            changed = _fold_once(model, paddle)
        if input_shapes is not None:
            _check_top_k(model)
        drop_variables(model)
    made = [v for v in model.persistable() if v.name not in known_before]
    return Folded(dict(before), dict(Counter(op.type for op in model.ops)),
                  len(made),
                  sum(model.parameter(v.name).nbytes for v in made) / 1e6)


def _fix_inputs(model: Model, shapes: Dict[str, Sequence[int]]) -> None:
    block = model.program.global_block()
    inputs = model.inputs()
    for name in shapes:
        if name not in inputs:
            raise unknown('input', name, inputs, 'the model')
    for name in inputs:
        var, shape = block.var(name), list(shapes.get(name, ()))
        has = list(var.shape)
        if len(shape) != len(has) or any(s < 1 or h not in (-1, s)
                                         for s, h in zip(shape, has)):
            raise UserError("input '%s' cannot be %s: the model takes %s (-1: "
                            'any)' % (name, shape or 'left out', has))
        var.desc.set_shape(shape)


def _infer_shapes(model: Model) -> None:
    """Let each operator say its outputs' shapes anew."""
    block = model.program.global_block()
    for op in block.ops:
        if op.type in ('feed', 'fetch'):
            continue
        try:
            op.desc.infer_shape(block.desc)
        except Exception as e:
            said = [
                line for line in str(e).splitlines()
                if line.strip() and 'Traceback' not in line
            ]
            raise _wrong_size(
                model, '%s says %s' %
                (op.type, said[0] if said else type(e).__name__)) from None


def _check_top_k(model: Model) -> None:
    """Raise UserError if more is asked of a `top_k_v2` than there is: its rule
    for shapes lets that through, and the model would fail when it runs."""
    block = model.program.global_block()
    for op in block.ops:
        if op.type == 'top_k_v2' and not op.input('K'):
            has = block.var(op.input('X')[0]).shape[op.attr('axis')]
            if 0 <= has < op.attr('k'):
                raise _wrong_size(
                    model,
                    'it selects %d of %d candidates' % (op.attr('k'), has))


def _wrong_size(model: Model, reason: str) -> UserError:
    block = model.program.global_block()
    sizes = [list(block.var(n).shape) for n in model.inputs()]
    return UserError('the network does not take inputs of %s (%s); choose '
                     'another size' % (' and '.join(map(str, sizes)), reason))


def _fold_once(model: Model, paddle: Any) -> bool:
    """One round. Returns whether anything changed."""
    block = model.program.global_block()
    folded, known = _constant_ops(model, paddle)
    folded_outputs = {n for op in folded for n in op.output_arg_names}
    rest = [op for op in model.ops if op not in folded]
    read = {n for op in rest for n in op.input_arg_names}
    # These stand for themselves, and no constant of theirs need be stored.
    leaves = {
        n
        for op in folded if not any(op.input_arg_names)
        for n in op.output_arg_names
    }
    wanted = sorted(folded_outputs & read)
    # Sizes are wanted as attributes, those of leaves too.
    sized = [(op, attribute, names) for op in rest
             for attribute, names in _size_inputs(op)
             if all(n in known for _, n in names)]
    values = _evaluate(model, paddle, folded, wanted) if wanted else {}
    for op, attribute, names in sized:
        found = [
            int(v) for _, n in names for v in np.reshape(
                values[n] if n in values else model.parameter(n), -1)
        ]
        _set_sizes(op, attribute, found, {slot for slot, _ in names})
    read = {n for op in rest for n in op.input_arg_names}
    stored = [n for n in wanted if n in read and n not in leaves]
    for name in stored:
        var = block.var(name)
        model.scope.var(name).get_tensor().set(values[name], paddle.CPUPlace())
        var.desc.set_shape(list(values[name].shape))
        var.persistable = True
        var.stop_gradient = True
    gone = {
        id(op)
        for op in folded if not (set(op.output_arg_names) & leaves & read)
    }
    _remove(block, gone)
    dead = remove_dead(model)
    return bool(stored or sized or dead or gone)


def _constant_ops(model: Model, paddle: Any) -> Tuple[List[Any], Set[str]]:
    """Operators of the global block that can be computed ahead, in order, and
    the names of all constants."""
    writes = Counter(n for op in model.ops for n in op.output_arg_names)
    known = {v.name for v in model.persistable() if not writes[v.name]}
    block = model.program.global_block()
    tensor = paddle.base.core.VarDesc.VarType.LOD_TENSOR
    # Paddle does not save a program whose output is a parameter.
    fetched = {
        n
        for op in block.ops if op.type == 'fetch' for n in op.input_arg_names
    }
    folded = []
    for op in block.ops:
        if op.type in KEPT or op.type.startswith(KEPT_PREFIXES) or \
                op.has_attr('seed') or op.has_attr('sub_block'):
            continue
        if not all(n in known for n in op.input_arg_names) and \
                not _has_static_shape(op, block):
            continue
        outputs = op.output_arg_names
        # A name that is written twice may be read in between.
        if outputs and all(
                writes[n] == 1 and block.has_var(n) and block.var(n).type ==
                tensor and not block.var(n).persistable and n not in fetched
                for n in outputs):
            folded.append(op)
            known.update(outputs)
    return folded, known


def _has_static_shape(op: Any, block: Any) -> bool:
    """Whether it is `shape` of something whose shape is static."""
    return op.type == 'shape' and \
        all(d >= 0 for d in block.var(op.input('Input')[0]).shape)


def _size_inputs(op: Any) -> List[Tuple[str, List[Tuple[str, str]]]]:
    """(attribute, [(slot, name), ...]) of each size read from tensors."""
    found = []
    for slots, attribute in SIZES.get(op.type, ()):
        for slot in slots:
            names = op.input(slot) if slot in op.input_names else []
            if names:
                found.append((attribute, [(slot, n) for n in names]))
                break
    return found


def _set_sizes(op: Any, attribute: str, sizes: List[int],
               slots: Set[str]) -> None:
    for slot in slots:
        op.desc.set_input(slot, [])
    op._set_attr(attribute, sizes[0] if attribute == 'k' else sizes)
    if op.has_attr('infer_flags'):
        # -1 would mean that a bound is not known.
        op._set_attr('infer_flags', [1] * len(op.attr('axes')))


def _evaluate(model: Model, paddle: Any, folded: List[Any],
              wanted: List[str]) -> Dict[str, np.ndarray]:
    """Values of outputs of constant operators."""
    block = model.program.global_block()
    found = {
        op.output('Out')[0]:
        np.array(block.var(op.input('Input')[0]).shape, np.int32)
        for op in folded if _has_static_shape(op, block)
    }
    needed = {n for n in wanted if n not in found}
    if not needed:
        return {n: found[n] for n in wanted}
    asked = sorted(needed)
    chosen = []
    for op in reversed(folded):
        outputs = set(op.output_arg_names)
        if needed & outputs and not outputs & set(found):
            chosen.append(op)
            needed.update(op.input_arg_names)
    program = paddle.static.Program()
    copy = program.global_block()
    for op in reversed(chosen):
        for name in op.input_arg_names + op.output_arg_names:
            if not copy.has_var(name):
                var = block.var(name)
                copy.create_var(name=name,
                                shape=var.shape,
                                dtype=var.dtype,
                                type=var.type,
                                persistable=var.persistable,
                                stop_gradient=True)
        copy.desc.append_op().copy_from(op.desc)
    copy._sync_with_cpp()
    executor = paddle.static.Executor(paddle.CPUPlace())
    run = executor.run(program,
                       feed={
                           n: v
                           for n, v in found.items() if n in needed
                       },
                       fetch_list=asked,
                       scope=model.scope)
    found.update(zip(asked, run))
    return {n: found[n] for n in wanted}


def _remove(block: Any, doomed: Set[int]) -> None:
    """Remove the operators with these ids."""
    for index in reversed(range(len(block.ops))):
        if id(block.ops[index]) in doomed:
            block._remove_op(index, sync=False)
    block._sync_with_cpp()


def remove_dead(model: Model) -> int:
    """Remove operators of the global block whose outputs nothing reads.

    Returns:
        number of operators removed.
    """
    block = model.program.global_block()
    live = {
        n
        for other in model.program.blocks[1:]
        for op in other.ops
        for n in op.input_arg_names
    }
    dead = set()
    for op in reversed(block.ops):
        if op.type in KEPT or op.has_attr('sub_block') or any(
                n in live or block.has_var(n) and block.var(n).persistable
                for n in op.output_arg_names):
            live.update(op.input_arg_names)
        else:
            dead.add(id(op))
    _remove(block, dead)
    return len(dead)


def drop_variables(model: Model) -> None:
    """Remove variables that no operator names."""
    used = {
        n
        for op in model.ops
        for n in list(op.input_arg_names) + list(op.output_arg_names)
    }
    for block in model.program.blocks:
        for name in list(block.vars):
            if name not in used:
                block._remove_var(name, sync=False)
        block._sync_with_cpp()
