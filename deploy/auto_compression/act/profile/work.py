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
"""How much a oneDNN primitive computes and moves, from its descriptor.

    mb1_ic3oc16_ih320oh160kh3..._iw320ow160kw3...   convolution (g16mb1_... if
                                                    grouped), also inner product
    1x300x256:256x256:1x300x256                     matmul: source, weights,
                                                    destination
    1x192x10x10:1x192x1x1                           binary, concat: the sources
    1x3x320x320                                     all others

A multiplication and an addition count as two operations, as in the rate that
`machine` measures.
"""

import re
from typing import Dict, Optional, Tuple

from ..onednn import Primitive

BYTES = {'f32': 4, 's32': 4, 'bf16': 2, 'f16': 2, 's8': 1, 'u8': 1}
_SIZE = re.compile(r'(mb|ic|oc|id|od|kd|ih|oh|kh|iw|ow|kw)(\d+)')
_DIMENSIONS = re.compile(r'\d+(x\d+)*')


def _sizes(descriptor: str) -> Dict[str, int]:
    return {name: int(value) for name, value in _SIZE.findall(descriptor)}


def _product(sizes: Dict[str, int], *names: str) -> int:
    found = 1
    for name in names:
        found *= sizes.get(name, 1)
    return found


def _elements(dimensions: str) -> int:
    found = 1
    for part in dimensions.split('x'):
        found *= int(part)
    return found


def shape(primitive: Primitive) -> Tuple[int, ...]:
    """Of what it writes; () if its descriptor does not say."""
    sizes = _sizes(primitive.descriptor)
    channels = {
        'convolution': 'oc',
        'deconvolution': 'oc',
        'pooling': 'ic',
        'resampling': 'ic'
    }.get(primitive.kind)
    if channels:
        return tuple(
            sizes.get(n, 1) for n in ('mb', channels, 'od', 'oh', 'ow')
            if n in sizes or n != 'od')
    if primitive.kind == 'inner_product':
        return sizes['mb'], sizes['oc']
    first = primitive.descriptor.split(':')[0]
    if primitive.kind != 'concat' and _DIMENSIONS.fullmatch(first):
        return tuple(map(int, first.split('x')))
    return ()


def gflop(primitive: Primitive) -> float:
    """Multiplications and additions of a convolution, inner product or matmul,
    in 1e9; 0 for what has none or does not say its sizes."""
    sizes = _sizes(primitive.descriptor)
    if primitive.kind in ('convolution', 'deconvolution'):
        # A deconvolution multiplies once for each element of its source.
        place = 'o' if primitive.kind == 'convolution' else 'i'
        return 2e-9 * _product(sizes, 'mb', 'oc', 'ic', 'kd', 'kh', 'kw',
                               *(place + d
                                 for d in 'dhw')) / (primitive.groups or 1)
    if primitive.kind == 'inner_product':
        return 2e-9 * _product(sizes, 'mb', 'ic', 'oc', 'id', 'ih', 'iw')
    if primitive.kind == 'matmul':
        parts = primitive.descriptor.split(':')
        if len(parts) == 3 and all(map(_DIMENSIONS.fullmatch, parts)):
            return 2e-9 * _elements(parts[2]) * int(parts[0].split('x')[-1])
        if len(parts) == 2 and all(map(_DIMENSIONS.fullmatch, parts)):
            return 2e-9 * _elements(parts[0]) * int(parts[1].split('x')[-1])
    return 0.0


def megabytes(primitive: Primitive) -> Optional[float]:
    """What it reads and writes at least once, in 1e6 bytes; None if its
    descriptor does not say."""
    source = BYTES.get(primitive.source or '', 4)
    weights = BYTES.get(primitive.weights or '', 4)
    destination = BYTES.get(primitive.destination or '', 4)
    sizes = _sizes(primitive.descriptor)
    if primitive.kind in ('convolution', 'deconvolution'):
        return 1e-6 * (source * _product(sizes, 'mb', 'ic', 'id', 'ih', 'iw') +
                       weights * _product(sizes, 'ic', 'oc', 'kd', 'kh', 'kw') /
                       (primitive.groups or 1) + destination *
                       _product(sizes, 'mb', 'oc', 'od', 'oh', 'ow'))
    if primitive.kind == 'inner_product':
        inner = _product(sizes, 'ic', 'id', 'ih', 'iw')
        return 1e-6 * (source * sizes['mb'] * inner + weights * inner *
                       sizes['oc'] + destination * sizes['mb'] * sizes['oc'])
    if primitive.kind in ('pooling', 'resampling'):
        return 1e-6 * (
            source * _product(sizes, 'mb', 'ic', 'id', 'ih', 'iw') +
            destination * _product(sizes, 'mb', 'ic', 'od', 'oh', 'ow'))
    parts = primitive.descriptor.split(':')
    if not all(map(_DIMENSIONS.fullmatch, parts)):
        return None
    elements = [_elements(p) for p in parts]
    if primitive.kind == 'matmul' and len(parts) == 2:
        first, second = (p.split('x') for p in parts)
        return 1e-6 * (
            source * elements[0] + weights * elements[1] +
            destination * elements[0] / int(first[-1]) * int(second[-1]))
    if primitive.kind == 'matmul':
        return 1e-6 * (source * elements[0] + weights * elements[1] +
                       destination * elements[2])
    if primitive.kind == 'reduction':  # source:destination
        return 1e-6 * (source * elements[0] + destination * elements[-1])
    written = max(elements) if primitive.kind == 'binary' else sum(elements)
    return 1e-6 * (source * sum(elements) + destination * written)
