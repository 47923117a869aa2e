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
"""What runs where: one table of device, engine, precision and kind of model.

Every refusal of a combination cites its row here, and the table in the READMEs
is printed by this module:

    python -m act.capability [en|cn]

What depends on the machine at hand (AVX-512 for bf16, a GPU at all) is not of
this table; `plan` and `gpu` check it.
"""

import sys
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Set, Tuple

from .errors import UserError

NATIVE, ONEDNN, TENSORRT = 'native', 'onednn', 'tensorrt'
ENGINES = {'CPU': (NATIVE, ONEDNN), 'GPU': (NATIVE, TENSORRT)}
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
FLOAT, QUANTIZED = 'float', 'quantized'
# fp32 of a quantized model on the CPU: Q/DQ operators computed in float.
SIMULATED = 'simulated_int8'
# oneDNN fuses a convolution's bias and activation into fused_conv2d before its
# int8 pass looks, and runs depthwise convolutions as plain ones: each type
# that training quantized, and what stands for it at that moment.
DEPLOYED_AS = {
    'conv2d': ('conv2d', 'fused_conv2d'),
    'depthwise_conv2d': ('depthwise_conv2d', 'conv2d', 'fused_conv2d'),
    'matmul_v2': ('fc', ),
}


@dataclass(frozen=True)
class Reason:
    """Why a combination is refused, and what to do instead. In a message the
    model's name stands before it."""
    why: str
    instead: str


REASONS: Dict[str, Reason] = {
    'not_quantized':
    Reason('holds no quantization', 'make an int8 model with run.py'),
    'already_quantized':
    Reason('is quantized', 'give the float model, or --precision int8'),
    'needs_onednn':
    Reason('needs oneDNN', 'leave out --use_mkldnn False'),
    'no_fp16_on_cpu':
    Reason('would not run in it: Paddle has no fp16 kernels for CPUs',
           'use fp32 or bf16, or --device GPU'),
    # PaddleSlim #1862.
    'needs_tensorrt':
    Reason(
        'is quantized, and without TensorRT a GPU silently computes garbage '
        'from it', 'add --use_trt, or give the float model'),
    # Nor have Paddle's own kernels, but for few operators.
    'no_bf16_on_gpu':
    Reason('would not run in it: TensorRT 8.5 has no bf16', 'use fp16'),
    'neither_model':
    Reason(
        'is quantized, and engines of floats made of it are neither the int8 '
        'nor the float model', 'use --precision int8, or give the float model'),
}
# For the Chinese README: key | why | instead, the last perhaps on a new line.
_CHINESE = """
not_quantized | 没有量化 | 用 run.py 制作 int8 模型
already_quantized | 已经量化 | 给出浮点模型，或用 --precision int8
needs_onednn | 需要 oneDNN | 去掉 --use_mkldnn False
no_fp16_on_cpu | Paddle 没有 CPU 的 fp16 实现 | 用 fp32 或 bf16，或 --device GPU
needs_tensorrt | 已经量化；没有 TensorRT 时 GPU 算出错误的结果，没有提示 |
  加上 --use_trt，或给出浮点模型
no_bf16_on_gpu | TensorRT 8.5 没有 bf16 | 用 fp16
neither_model | 已经量化；由它建的浮点 engine 与两种模型都不同 |
  用 --precision int8，或给出浮点模型
"""

# {(device, engine, kind): what becomes of each of PRECISIONS}: the precision
# that runs, or a key of REASONS.
_TABLE: Dict[Tuple[str, str, str], Tuple[str, str, str, str]] = {
    ('CPU', NATIVE, FLOAT):
    ('fp32', 'no_fp16_on_cpu', 'needs_onednn', 'not_quantized'),
    ('CPU', NATIVE, QUANTIZED):
    (SIMULATED, 'no_fp16_on_cpu', 'already_quantized', 'needs_onednn'),
    ('CPU', ONEDNN, FLOAT): ('fp32', 'no_fp16_on_cpu', 'bf16', 'not_quantized'),
    ('CPU', ONEDNN, QUANTIZED):
    (SIMULATED, 'no_fp16_on_cpu', 'already_quantized', 'int8'),
    ('GPU', NATIVE, FLOAT): ('fp32', 'fp16', 'no_bf16_on_gpu', 'not_quantized'),
    ('GPU', NATIVE, QUANTIZED):
    ('needs_tensorrt', 'needs_tensorrt', 'no_bf16_on_gpu', 'needs_tensorrt'),
    ('GPU', TENSORRT, FLOAT): ('fp32', 'fp16', 'no_bf16_on_gpu',
                               'not_quantized'),
    ('GPU', TENSORRT, QUANTIZED): ('neither_model', 'neither_model',
                                   'no_bf16_on_gpu', 'int8'),
}


@dataclass(frozen=True)
class Row:
    """One combination, and what becomes of it: `runs` is the precision that
    runs, '' if it is refused, for `refused`, a key of REASONS."""
    device: str
    engine: str
    kind: str
    precision: str
    runs: str
    refused: str

    def __str__(self) -> str:
        return '%s, %s, %s model, %s' % (self.device, self.engine, self.kind,
                                         self.precision)

    def error(self, model: str) -> UserError:
        """The refusal, of a model named so."""
        reason = REASONS[self.refused]
        return UserError(
            "--precision %s: '%s' %s; %s (capability: %s)" %
            (self.precision, model, reason.why, reason.instead, self))


def rows() -> Iterator[Row]:
    """All combinations."""
    for (device, engine, kind), cells in _TABLE.items():
        for precision, cell in zip(PRECISIONS, cells):
            refused = cell if cell in REASONS else ''
            yield Row(device, engine, kind, precision, '' if refused else cell,
                      refused)


def find(device: str, engine: str, kind: str, precision: str) -> Row:
    """The row of one combination."""
    wanted = (device, engine, kind, precision)
    return next(r for r in rows()
                if (r.device, r.engine, r.kind, r.precision) == wanted)


def deployed_as(types: Iterable[str]) -> Set[str]:
    """The types under which oneDNN's int8 pass meets operators of these types,
    which training quantized."""
    return {made for name in types for made in DEPLOYED_AS.get(name, (name, ))}


_WORDS = {
    'en':
    ('Device, engine, model', 'yes', 'Refused as', 'The model', 'Instead', {
        FLOAT: 'float',
        QUANTIZED: 'quantized'
    }),
    'cn': ('设备、引擎、模型', '是', '拒绝的原因', '模型', '改为', {
        FLOAT: '浮点',
        QUANTIZED: '量化'
    }),
}


def markdown(language: str = 'en') -> str:
    """The table, and the reasons in it, for a README in 'en' or 'cn'."""
    head, yes, refused, model, instead, kinds = _WORDS[language]

    def code(word: str) -> str:
        return '`%s`' % word

    def lines(header: List[str], body: List[List[str]]) -> List[str]:
        return ['| %s |' % ' | '.join(header), '|' + '-|' * len(header)
                ] + ['| %s |' % ' | '.join(row) for row in body]

    body = []
    for (device, engine, kind), cells in _TABLE.items():
        body.append([
            ', '.join((device, code(engine), kinds[kind])),
            *(yes if cell == precision else code(cell)
              for precision, cell in zip(PRECISIONS, cells))
        ])
    reasons = [[key, r.why, r.instead] for key, r in REASONS.items()]
    if language == 'cn':
        reasons = [[
            cell.strip() for cell in line.split('|')
        ] for line in _CHINESE.strip().replace('|\n', '|').splitlines()]
    reasons = [[code(key), *cells] for key, *cells in reasons]
    return '\n'.join(
        lines([head, *map(code, PRECISIONS)], body) + [''] +
        lines([refused, model, instead], reasons)) + '\n'


if __name__ == '__main__':
    print(markdown(*sys.argv[1:2]), end='')
