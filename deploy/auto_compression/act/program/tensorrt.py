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
"""A program made ready for TensorRT.

Paddle's operator teller keeps some operators out of TensorRT, and each cuts an
engine in two: DINO of any size falls into 15. The rewrites here say the same
with operators that it takes. They change no value beyond what each states, and
what they do not find they leave alone. That an engine of the result can be
built, and is right, needs a GPU to see; benchmarks/trt_partition shows the
partition.
"""

from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import runtime
from . import copies
from .graph import Graph
from .model import Model, ModelFiles, static_mode

# Part of the cache key: count up when a rewrite changes.
VERSION = 3
# A slice's end that means the axis' end.
END = 2**31 - 1

# An operator to put in: type, inputs, outputs, attributes.
Op = Tuple[str, Dict[str, List[str]], Dict[str, List[str]], Dict[str, Any]]


def _names(op: Any, slot: str) -> List[str]:
    """What an operator reads through a slot, which it need not have."""
    return op.input(slot) if slot in op.input_names else []


class _Writer:
    """The operators that take one's place, and the variables between them."""

    def __init__(self, block: Any, op: Any) -> None:
        self._block = block
        self._prefix = op.output_arg_names[0] + '.trt'
        self.ops: List[Op] = []

    def add(self, kind: str, inputs: Dict[str, List[str]],
            attrs: Dict[str, Any], like: Any, rank: int) -> str:
        """An operator whose output, new, is of a variable's type. Returns the
        output's name."""
        name = '%s_%d' % (self._prefix, len(self.ops))
        self._block.create_var(name=name, dtype=like.dtype, shape=[-1] * rank)
        self.put(kind, inputs, name, attrs)
        return name

    def put(self, kind: str, inputs: Dict[str, List[str]], output: str,
            attrs: Dict[str, Any]) -> None:
        """An operator that writes an output that is there already."""
        outputs = {'Out': [output]}
        if kind == 'unsqueeze2':  # which only training reads
            outputs['XShape'] = [output + '.shape']
            self._block.create_var(name=output + '.shape')
        self.ops.append((kind, inputs, outputs, attrs))


def _replace(model: Model, new: Callable[[Any, Any, Graph],
                                         Optional[List[Op]]]) -> int:
    """Put operators in the place of each that `new` gives some for.

    Args:
        model: changed in place.
        new: called with the block, one of its operators and the graph.

    Returns:
        number of operators replaced.
    """
    with static_mode(runtime.import_paddle()):
        block = model.program.global_block()
        graph = Graph(block)
        found = [(index, ops) for index, op in enumerate(graph.ops)
                 for ops in [new(block, op, graph)] if ops is not None]
        for index, ops in reversed(found):
            block._remove_op(index, sync=False)
            for at, (kind, inputs, outputs, attrs) in enumerate(ops):
                block._insert_op(index + at,
                                 type=kind,
                                 inputs=inputs,
                                 outputs=outputs,
                                 attrs=attrs)
        block._sync_with_cpp()
    return len(found)


def split_to_slices(model: Model) -> int:
    """Make slices of a split whose sections are tensors: each begins where the
    sum of the sections before it ends.

    DINO cuts its features into levels so, whose sizes follow the image's.

    Args:
        model: changed in place.

    Returns:
        number of splits replaced.
    """

    def slices(block: Any, op: Any, graph: Graph) -> Optional[List[Op]]:
        if op.type != 'split' or not _names(op, 'SectionsTensorList') or \
                _names(op, 'AxisTensor'):
            return None
        made = _Writer(block, op)
        sections, source = op.input('SectionsTensorList'), op.input('X')
        outputs, begin = op.output('Out'), ''
        if len(sections) != len(outputs) or \
                any(block.var(n).shape != (1, ) for n in sections):
            return None
        for at, (section, output) in enumerate(zip(sections, outputs)):
            last = at == len(sections) - 1
            if begin and not last:
                end = made.add('elementwise_add', {
                    'X': [begin],
                    'Y': [section]
                }, {'axis': -1}, block.var(section), 1)
            else:
                end = '' if last else section
            inputs = {'Input': source}
            if begin:
                inputs['StartsTensorList'] = [begin]
            if end:
                inputs['EndsTensorList'] = [end]
            made.put(
                'slice', inputs, output, {
                    'axes': [op.attr('axis')],
                    'starts': [-1 if begin else 0],
                    'ends': [-1 if end else END],
                    'infer_flags': [-1],
                    'decrease_axis': []
                })
            begin = end
        return made.ops

    return _replace(model, slices)


def meshgrid_to_sums(model: Model) -> int:
    """Make sums of a column and a row of a meshgrid of two vectors of any
    length: one of them times zero.

    Args:
        model: changed in place. The vectors hold finite numbers.

    Returns:
        number of meshgrids replaced.
    """

    def sums(block: Any, op: Any, graph: Graph) -> Optional[List[Op]]:
        # Those of fixed sizes are constants, and folded by Paddle.
        if op.type != 'meshgrid' or len(op.input('X')) != 2 or \
                any(block.var(n).shape != (-1, ) for n in op.input('X')):
            return None
        made = _Writer(block, op)
        lines = [
            made.add('unsqueeze2', {'X': [name]}, {'axes': [1 - at]},
                     block.var(name), 2)
            for at, name in enumerate(op.input('X'))
        ]
        for at, output in enumerate(op.output('Out')):
            zeros = made.add('scale', {'X': [lines[1 - at]]}, {
                'scale': 0.0,
                'bias': 0.0,
                'bias_after_scale': True
            }, block.var(output), 2)
            made.put('elementwise_add', {
                'X': [lines[at]],
                'Y': [zeros]
            }, output, {'axis': -1})
        return made.ops

    return _replace(model, sums)


def filled_like(model: Model) -> int:
    """Make what is filled with one value, of sizes of another value's axes, of
    that other value: sliced where an axis is left out, and filled.

    Position embeddings begin with such ones, of each level's height and width.

    Args:
        model: changed in place.

    Returns:
        number of `fill_constant` replaced.
    """

    def filled(block: Any, op: Any, graph: Graph) -> Optional[List[Op]]:
        if op.type != 'fill_constant' or not _names(op, 'ShapeTensorList'):
            return None
        sizes = [
            _size_of(block, graph, op, n) for n in op.input('ShapeTensorList')
        ]
        if None in sizes or len({source for source, _ in sizes}) != 1:
            return None
        source, axes = sizes[0][0], [axis for _, axis in sizes]
        rank = len(block.var(source).shape)
        left_out = sorted(set(range(rank)) - set(axes))
        if axes != sorted(set(axes)):
            return None
        made = _Writer(block, op)
        if left_out:
            source = made.add('slice', {'Input': [source]}, {
                'axes': left_out,
                'starts': [0] * len(left_out),
                'ends': [1] * len(left_out),
                'infer_flags': [1] * len(left_out),
                'decrease_axis': left_out
            }, block.var(source), len(axes))
        made.put('fill_any_like', {'X': [source]},
                 op.output('Out')[0], {
                     'value': float(op.attr('value')),
                     'dtype': op.attr('dtype')
                 })
        return made.ops

    return _replace(model, filled)


def _size_of(block: Any, graph: Graph, op: Any,
             name: str) -> Optional[Tuple[str, int]]:
    """(value, axis) whose size an operator reads under a name, None if that is
    something else."""
    cut = graph.writer_of(op, name)
    shape = graph.writer(cut, 'Input') if cut and cut.type == 'slice' else None
    if shape is None or shape.type != 'shape' or cut.attr('axes') != [0] or \
            any(_names(cut, s)
                for s in ('StartsTensorList', 'EndsTensorList')) or \
            cut.attr('ends')[0] - cut.attr('starts')[0] != 1:
        return None
    source, axis = shape.input('Input')[0], cut.attr('starts')[0]
    # Another value of that name may have been written since.
    before = graph.ops[:graph.ops.index(op)]
    last = next((o for o in reversed(before) if source in o.output_arg_names),
                None)
    if axis < 0 or graph.writer(shape, 'Input') is not last:
        return None
    return source, axis


def flags_to_and(model: Model) -> int:
    """Make `logical_and` of products of truth values.

    Args:
        model: changed in place.

    Returns:
        number of products replaced.
    """

    def both(block: Any, op: Any, graph: Graph) -> Optional[List[Op]]:
        boolean = runtime.import_paddle().bool
        if op.type != 'elementwise_mul' or any(
                block.var(op.input(s)[0]).dtype != boolean for s in 'XY'):
            return None
        made = _Writer(block, op)
        made.put('logical_and', {s: op.input(s)
                                 for s in 'XY'},
                 op.output('Out')[0], {})
        return made.ops

    return _replace(model, both)


def projections_to_sums(model: Model) -> int:
    """Make a product and a sum of a 1x1 convolution to one channel that is
    labelled `skip_quant`: the teller takes no operator that is.

    PP-YOLOE's head ends in three, whose weights are the numbers 0 to 16 and
    stay float in an int8 model. A sum does in TensorRT, which a convolution
    without the label need not. The order of adding is another: relative
    differences of 1e-6.

    Args:
        model: changed in place.

    Returns:
        number of convolutions replaced.
    """

    def sums(block: Any, op: Any, graph: Graph) -> Optional[List[Op]]:
        if op.type != 'conv2d' or not op.has_attr('skip_quant') or \
                _names(op, 'Bias'):
            return None
        weight = block.var(op.input('Filter')[0])
        shape, source = weight.shape, op.input('Input')
        if not weight.persistable or shape[0] != 1 or shape[2:] != (1, 1):
            return None
        if op.attr('groups') != 1 or op.attr('data_format') == 'NHWC' or \
                list(op.attr('strides')) != [1, 1] or \
                any(op.attr('paddings')):
            return None
        made = _Writer(block, op)
        product = made.add('elementwise_mul', {
            'X': source,
            'Y': [weight.name]
        }, {'axis': -1}, block.var(source[0]), 4)
        made.put('reduce_sum', {'X': [product]},
                 op.output('Output')[0], {
                     'dim': [1],
                     'keep_dim': True,
                     'reduce_all': False
                 })
        return made.ops

    return _replace(model, sums)


REWRITES = (split_to_slices, meshgrid_to_sums, filled_like, flags_to_and,
            projections_to_sums)


def apply(model: Model) -> Dict[str, int]:
    """Apply all rewrites.

    Args:
        model: changed in place.

    Returns:
        {rewrite's name: places it changed}, of those that changed any.
    """
    done = {rewrite.__name__: rewrite(model) for rewrite in REWRITES}
    return {name: count for name, count in done.items() if count}


def prepared(files: ModelFiles,
             model: Optional[Model] = None) -> copies.Prepared:
    """The copy of a model that TensorRT is given; the model itself, if there is
    nothing to rewrite. See `copies.prepared`.

    Shape ranges are to be collected on this copy: an engine may begin at one of
    its variables.

    Args:
        files: the model as the user has it.
        model: the same, if it is loaded already; changed.

    Raises:
        UserError: see `Model.load`.
    """
    model = model or Model.load(files)
    done = apply(model)
    if not done:
        return copies.Prepared(files, {})
    return copies.prepared(files, ('tensorrt', VERSION), model, lambda _: done)
