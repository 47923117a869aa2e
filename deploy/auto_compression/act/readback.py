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
"""What a paddle.inference.Config says of itself, against what was asked for.

GETTERS is what of it is true in 2.6.2, UNTRUE what is not: tests/gpu holds both
against the GPU build. An option that nothing reports is `unverified`.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

from .errors import UserError
from .plan import Plan

_NAMES = {'fp32': 'Float32', 'fp16': 'Half', 'int8': 'Int8'}


def _always(plan: Plan) -> bool:
    return True


def _cpu(plan: Plan) -> bool:
    return plan.device == 'CPU'


def _gpu(plan: Plan) -> bool:
    return plan.device == 'GPU'


def _trt(plan: Plan) -> bool:
    return plan.tensorrt is not None


@dataclass(frozen=True)
class Getter:
    """One thing that a Config reports.

    option: what was asked for, as the record names it.
    source: a method, or 'summary: ROW' of Config.summary().
    wanted: what it must report for a plan; of the summary, as text.
    applies: whether it is true for a plan.
    """
    option: str
    source: str
    wanted: Callable[[Plan], Any]
    applies: Callable[[Plan], bool] = _always

    @property
    def row(self) -> str:
        """Of the summary, '' for a method."""
        kind, _, row = self.source.partition(': ')
        return row if kind == 'summary' else ''


def _word(value: bool) -> str:
    return str(value).lower()


GETTERS: Tuple[Getter, ...] = (
    Getter('model', 'prog_file', lambda p: p.files.model_path),
    Getter('model', 'params_file', lambda p: p.files.params_path),
    Getter('device', 'use_gpu', lambda p: p.device == 'GPU'),
    Getter('threads', 'cpu_math_library_num_threads', lambda p: p.threads),
    Getter('ir_optim', 'ir_optim', lambda p: p.optimize),
    Getter('memory_optim', 'summary: memory_optim', lambda p: 'true'),
    Getter('deleted_passes', 'pass_builder', lambda p: [], _always),
    Getter('mkldnn', 'mkldnn_enabled', lambda p: p.mkldnn, _cpu),
    Getter('mkldnn_int8', 'mkldnn_int8_enabled', lambda p: bool(p.int8_types),
           _cpu),
    Getter('tensorrt', 'tensorrt_engine_enabled', _trt),
    Getter('gpu_id', 'gpu_device_id', lambda p: 0, _gpu),
    Getter(
        'precision', 'summary: mixed_precision_mode', lambda p: 'fp16'
        if p.precision == 'fp16' and not p.tensorrt else 'fp32', _gpu),
    Getter('precision', 'tensorrt_precision_mode',
           lambda p: _NAMES[p.precision], _trt),
    Getter('dynamic_shape', 'tuned_tensorrt_dynamic_shape',
           lambda p: p.tensorrt.dynamic_shape, _trt),
    Getter('shape_range_file', 'shape_range_info_path',
           lambda p: p.tensorrt.range_file, _trt),
    Getter('allow_build_at_runtime', 'trt_allow_build_at_runtime',
           lambda p: False, _trt),
    Getter('explicit_quantization', 'tensorrt_explicit_quantization_enabled',
           lambda p: p.tensorrt.explicit_quantization, _trt),
    # With TensorRT the summary asks its library for the version.
    Getter('workspace_mb', 'summary: tensorrt_workspace_size',
           lambda p: str(p.tensorrt.workspace_bytes), _trt),
    Getter('batch_size', 'summary: tensorrt_max_batch_size',
           lambda p: str(p.batch_size), _trt),
    Getter('min_subgraph_size', 'summary: tensorrt_min_subgraph_size',
           lambda p: str(p.tensorrt.min_subgraph_size), _trt),
    Getter('engine_cache', 'summary: tensorrt_use_static_engine',
           lambda p: _word(bool(p.tensorrt.cache_dir)), _trt),
    Getter('use_calib_mode', 'summary: tensorrt_use_calib_mode',
           lambda p: 'false', _trt),
)
# Getters of 2.6.2 that do not say what was asked for.
UNTRUE: Dict[str, str] = {
    'tensorrt_dynamic_shape_enabled':
    'stays False with a shape file; tuned_tensorrt_dynamic_shape is the one',
    'mkldnn_enabled': 'stays True on the GPU, where it is of no effect',
    'fraction_of_gpu_memory_for_pool':
    'asks the device, and raises without one',
}
# Options that nothing reports, and whether a plan has them.
UNREPORTED: Tuple[Tuple[str, Callable[[Plan], bool]], ...] = (
    ('int8_ops', lambda p: _cpu(p) and p.precision == 'int8'),
    ('bf16_ops', lambda p: _cpu(p) and p.precision == 'bf16'),
    ('disabled_ops', lambda p: _trt(p) and bool(p.tensorrt.disabled_ops)),
    ('engine_cache directory',
     lambda p: _trt(p) and bool(p.tensorrt.cache_dir)),
)


def summary(config: Any) -> Dict[str, str]:
    """The rows of Config.summary(); none where TensorRT is asked for and its
    library is not there."""
    try:
        text = config.summary()
    except RuntimeError:
        return {}
    rows = [line.strip('|').split('|') for line in text.splitlines()]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def _reported(config: Any, getter: Getter, plan: Plan, rows: Dict[str,
                                                                  str]) -> Any:
    if getter.row:
        return rows.get(getter.row)
    value = getattr(config, getter.source)()
    if getter.source == 'pass_builder':
        return sorted(set(plan.deleted_passes) & set(value.all_passes()))
    # Precisions, by their name.
    return getattr(value, 'name', value)


def check(config: Any, plan: Plan) -> List[str]:
    """Compare a Config with its plan.

    Returns:
        the options asked for that could not be read back.

    Raises:
        UserError: one reads otherwise than it was asked for.
    """
    rows = summary(config)
    unverified = [name for name, has in UNREPORTED if has(plan)]
    for getter in GETTERS:
        if not getter.applies(plan):
            continue
        if getter.row and not rows:
            unverified.append(getter.option)
            continue
        found, wanted = _reported(config, getter, plan,
                                  rows), getter.wanted(plan)
        if found != wanted:
            raise UserError(
                'paddle.inference.Config: %s says %s where %s was asked for '
                '(%s)' % (getter.source, found, wanted, getter.option))
    return sorted(set(unverified))
