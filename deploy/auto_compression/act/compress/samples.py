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
"""What the weights of an operator multiply, sampled from a few images.

A convolution is a product of its weight matrix with rows of the input: one row
for each output position. Ranges and rounding are chosen on such rows.
"""

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Sequence

import numpy as np

from .. import runtime
from ..data import Batch
from ..program.model import Model, static_mode

# Rows kept of each operator; several for each element of the longest row that
# detectors have (4608).
ROWS = 32768


@dataclass(frozen=True)
class Product:
    """An operator with weights, as a product of matrices.

    Attributes:
        op: the operator, in the program that is sampled.
        source: name of its input.
        weight: name of its weight parameter.
    """
    op: Any
    source: str
    weight: str

    @property
    def name(self) -> str:
        """Name of the operator's output, which stands for it."""
        return self.op.output_arg_names[0]

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """The weight as (output channels, elements of a row)."""
        if self.op.type == 'conv2d':
            return weight.reshape(len(weight), -1)
        return weight.T

    def weight_of(self, matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """`matrix` as a weight of this shape: undoes `matrix()`."""
        if self.op.type == 'conv2d':
            return matrix.reshape(shape)
        return np.ascontiguousarray(matrix.T)

    def rows(self, source: np.ndarray, kernel: Sequence[int], count: int,
             rng: np.random.Generator) -> np.ndarray:
        """`count` random rows of the input matrix; each of them once if it
        has no more.

        Args:
            source: the operator's input, (N, C, H, W) or (..., C).
            kernel: the weight's shape.
            count: how many.
            rng: chooses them.

        Returns:
            (at most count, elements of a row), dtype as `source`.
        """

        def chosen(total: int) -> np.ndarray:
            if total <= count:
                return np.arange(total)
            return rng.integers(0, total, count)

        if self.op.type != 'conv2d':
            flat = source.reshape(-1, source.shape[-1])
            return flat[chosen(len(flat))]
        top, bottom, left, right = _paddings(self.op)
        (down, right_by), (dy, dx) = (self.op.attr('strides'),
                                      self.op.attr('dilations'))
        height, width = kernel[2:]
        padded = np.pad(source, ((0, 0), (0, 0), (top, bottom), (left, right)))
        high = (padded.shape[2] - dy * (height - 1) - 1) // down + 1
        wide = (padded.shape[3] - dx * (width - 1) - 1) // right_by + 1
        image, y, x = np.unravel_index(chosen(len(padded) * high * wide),
                                       (len(padded), high, wide))
        # (rows, C) for each place of the kernel.
        places = [
            padded[image, :, y * down + i * dy, x * right_by + j * dx]
            for i in range(height) for j in range(width)
        ]
        return np.stack(places, axis=2).reshape(len(image), -1)


def _paddings(op: Any) -> Sequence[int]:
    """Top, bottom, left, right."""
    paddings = op.attr('paddings')
    if len(paddings) == 4:
        return paddings
    return paddings[0], paddings[0], paddings[1], paddings[1]


def as_product(op: Any, source: str, weight: str,
               shape: Sequence[int]) -> Optional[Product]:
    """The operator as a product, or None if it is not one.

    Convolutions of one group with explicit padding, and multiplications by a
    matrix, are. Depthwise convolutions have nine weights a channel: too few for
    errors to be balanced among them.

    Args:
        op: the operator.
        source, weight: names of its input and its weight parameter.
        shape: of the weight.
    """
    if op.type == 'conv2d':
        fits = (op.attr('groups') == 1
                and op.attr('padding_algorithm') == 'EXPLICIT'
                and op.attr('data_format') in ('NCHW', 'AnyLayout'))
    elif op.type in ('mul', 'matmul_v2'):
        fits = len(shape) == 2 and not (
            op.has_attr('trans_x') and op.attr('trans_x')
            or op.has_attr('trans_y') and op.attr('trans_y'))
    else:
        fits = False
    return Product(op, source, weight) if fits else None


class Sampler:
    """A model that runs over images and gives rows of its products' inputs."""

    def __init__(self, model: Model, products: Sequence[Product]) -> None:
        """
        Args:
            model: whose program holds the products; changed (feed and fetch are
                taken out, copies of inputs put in).
            products: what will be sampled, in parts or at once.
        """
        self._model = model
        self._inputs = model.inputs()
        self._shapes = {
            p.name: model.parameter(p.weight).shape
            for p in products
        }
        with static_mode(runtime.import_paddle()):
            self._copies = _copy_sources(model, products)

    def rows(self,
             products: Sequence[Product],
             feeds: Iterable[Batch],
             count: int,
             seed: int = 0) -> Dict[str, np.ndarray]:
        """Run the model over the batches and keep rows of some products.

        Args:
            products: some of those the sampler was made with.
            feeds: batches.
            count: how many batches that will be.
            seed: of the choice of rows.

        Returns:
            {product's name: (at most about ROWS, elements of a row) float32}.
        """
        paddle = runtime.import_paddle()
        model = self._model
        rng = np.random.default_rng(seed)
        exe = paddle.static.Executor(paddle.CPUPlace())
        kept: Dict[str, List[np.ndarray]] = {p.name: [] for p in products}
        with static_mode(paddle), paddle.static.scope_guard(model.scope):
            for feed in feeds:
                values = exe.run(
                    model.program,
                    feed={n: feed[n]
                          for n in self._inputs},
                    fetch_list=[self._copies[p.name] for p in products])
                for product, value in zip(products, values):
                    kept[product.name].append(
                        product.rows(value, self._shapes[product.name],
                                     -(-ROWS // count), rng))
        return {n: np.concatenate(rows) for n, rows in kept.items()}


def _copy_sources(model: Model, products: Sequence[Product]) -> Dict[str, str]:
    """Copy each product's input to a variable of its own, since names may be
    written more than once. Returns {product's name: the copy}."""
    wanted = {id(p.op): p for p in products}
    copies = {}
    for block in model.program.blocks:
        for index in reversed(range(len(block.ops))):
            op = block.ops[index]
            if op.type in ('feed', 'fetch'):
                block._remove_op(index, sync=False)
            elif id(op) in wanted:
                product = wanted[id(op)]
                copy = block.create_var(name=product.name + '.source',
                                        dtype='float32')
                block._insert_op(index,
                                 type='assign',
                                 inputs={'X': [product.source]},
                                 outputs={'Out': [copy]})
                copies[product.name] = copy.name
        block._sync_with_cpp()
    return copies
