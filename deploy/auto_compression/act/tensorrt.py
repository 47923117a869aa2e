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
"""TensorRT as Paddle Inference 2.6.2 drives it: what of a plan is its own.

Deciding is pure, and needs neither the GPU build of Paddle nor a device.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from . import runtime
from .config import TensorrtSection
from .errors import UserError, unknown
from .files import replace_directory, work_directory, write_whole
from .program.model import Model
from .shapes import ranges as shape_ranges

# What the wheel of paddlepaddle-gpu 2.6.2 is built for.
VERSION = (8, 5, 3)
# Below it, Paddle keeps a convolution whose weight is another operator's output
# out of TensorRT ("Trt below 8.6 not support conv2d's filter is a intermedoate
# tensor"), and explicit quantization makes each quantized weight one: the
# demo's int8 PicoDet-S falls into 52 engines, of one without.
EXPLICIT_SINCE = (8, 6, 0)
# The IR passes with TensorRT. The CPU build has no way to ask for them; tests/
# gpu compares them with the GPU build's.
PASSES = (
    'adaptive_pool2d_convert_global_pass',
    'add_support_int8_pass',
    'auto_mixed_precision_pass',
    'constant_folding_pass',
    'conv_bn_fuse_pass',
    'conv_elementwise_add2_act_fuse_pass',
    'conv_elementwise_add_act_fuse_pass',
    'conv_elementwise_add_fuse_pass',
    'delete_quant_dequant_filter_op_pass',
    'delete_quant_dequant_linear_op_pass',
    'delete_quant_dequant_op_pass',
    'delete_remove_padding_recover_padding_pass',
    'dense_fc_to_sparse_pass',
    'dense_multihead_matmul_to_sparse_pass',
    'elementwise_groupnorm_act_pass',
    'elementwiseadd_transpose_pass',
    'groupnorm_act_pass',
    'identity_op_clean_pass',
    'layernorm_shift_partition_fuse_pass',
    'merge_layernorm_fuse_pass',
    'multihead_matmul_roformer_fuse_pass',
    'preln_elementwise_groupnorm_act_pass',
    'preln_embedding_eltwise_layernorm_fuse_pass',
    'preln_layernorm_x_fuse_pass',
    'preln_residual_bias_fuse_pass',
    'preln_skip_layernorm_fuse_pass',
    'quant_conv2d_dequant_fuse_pass',
    'remove_padding_recover_padding_pass',
    'reverse_roll_fuse_pass',
    'shuffle_channel_detect_pass',
    'simplify_with_basic_ops_pass',
    'split_layernorm_to_math_ops_pass',
    'tensorrt_subgraph_pass',
    'trans_layernorm_fuse_pass',
    'transpose_flatten_concat_fuse_pass',
    'trt_cross_multihead_matmul_fuse_pass',
    'trt_delete_weight_dequant_linear_op_pass',
    'trt_embedding_eltwise_layernorm_fuse_pass',
    'trt_flash_multihead_matmul_fuse_pass',
    'trt_map_ops_to_matrix_multiply_pass',
    'trt_multihead_matmul_fuse_pass_v2',
    'trt_multihead_matmul_fuse_pass_v3',
    'trt_prompt_tuning_embedding_eltwise_layernorm_fuse_pass',
    'trt_qk_multihead_matmul_fuse_pass',
    'trt_remove_amp_strategy_op_pass',
    'trt_skip_layernorm_fuse_pass',
    'trt_support_nhwc_pass',
    'vit_attention_fuse_pass',
)


def built_for() -> Tuple[int, int, int]:
    """TensorRT's version that this build of Paddle is for; the CPU build
    answers for the GPU wheel."""
    runtime.prepare()
    from paddle import inference
    found = inference.get_trt_compile_version()
    return found if any(found) else VERSION


@dataclass(frozen=True)
class Tensorrt:
    """How TensorRT runs a model. See `decide`.

    `ranges` are those of dynamic shapes, once they are collected; `cache_dir`
    where engines are kept, once the device is known that they are for ('':
    nowhere), and `key` what they depend on; `fixed` are fixed shapes, see
    `fixed_shapes`.
    """
    dynamic_shape: bool
    disabled_ops: Sequence[str]
    min_subgraph_size: int
    workspace_mb: int
    explicit_quantization: bool
    ranges: Optional[shape_ranges.RangeFile] = None
    cache_dir: str = ''
    key: Dict[str, Any] = field(default_factory=dict)
    fixed: Dict[str, Tuple[int, ...]] = field(default_factory=dict)

    @property
    def range_file(self) -> str:
        """Path of the ranges; '' without."""
        return self.ranges.path if self.ranges else ''

    @property
    def workspace_bytes(self) -> int:
        return self.workspace_mb << 20


def decide(options: TensorrtSection,
           precision: str,
           dynamic_shape: Optional[bool] = None,
           version: Optional[Tuple[int, int, int]] = None) -> Tensorrt:
    """How TensorRT runs a model.

    Args:
        options: the configuration's Deploy.tensorrt.
        precision: that runs.
        dynamic_shape: None: as configured.
        version: of TensorRT; None: `built_for`.
    """
    version = version or built_for()
    return Tensorrt(dynamic_shape=options.dynamic_shape
                    if dynamic_shape is None else dynamic_shape,
                    disabled_ops=list(options.disabled_ops),
                    min_subgraph_size=options.min_subgraph_size,
                    workspace_mb=options.workspace_mb,
                    explicit_quantization=precision == 'int8'
                    and version >= EXPLICIT_SINCE)


def wrong_names(options: TensorrtSection, where: str) -> Iterator[UserError]:
    """An error for each pass of Deploy.tensorrt that Paddle does not know."""
    for name in options.deleted_passes:
        if name not in PASSES:
            yield unknown('IR pass', name, PASSES,
                          '%s: Deploy.tensorrt.deleted_passes' % where)


# Marks operators that have ranges of quantization, of which a float model has
# none; over two minutes of DINO's loading.
FOR_INT8 = 'add_support_int8_pass'


def deleted_passes(options: TensorrtSection, quantized: bool) -> List[str]:
    """The passes that do not run: those configured, and that for int8 where
    nothing is quantized."""
    names = list(options.deleted_passes)
    if not quantized and FOR_INT8 not in names:
        names.append(FOR_INT8)
    return names


def fixed_shapes(model: Model, directory: str,
                 where: str) -> Dict[str, Tuple[int, ...]]:
    """{input: its shape, without the batch} of a model whose shapes shall be
    fixed.

    Raises:
        UserError: an input of it has sizes that may vary, besides the batch.
    """
    block = model.program.global_block()
    found = {}
    for name in model.inputs():
        shape = tuple(block.var(name).shape)
        if any(size < 0 for size in shape[1:]):
            raise UserError(
                "fixed shapes (%s: Deploy.tensorrt.dynamic_shape, or "
                "--use_dynamic_shape): input '%s' of '%s' is %s, of no fixed "
                'size; leave them dynamic, or export the model for one size: '
                'export.py --input_size H W' %
                (where, name, directory, list(shape)))
        found[name] = shape[1:]
    return found


def check_input(engines: Tensorrt, batch_size: int,
                shapes: Mapping[str, Sequence[int]], what: str) -> None:
    """Check that engines take an input.

    Args:
        engines: of a plan.
        batch_size: that they are built for.
        shapes: {input's name: its shape}.
        what: is run, for the message.

    Raises:
        UserError: it is outside of the ranges, or not of the fixed shape.
    """
    if engines.ranges:
        shape_ranges.check_input(engines.ranges, shapes, what)
    for name, shape in engines.fixed.items():
        if tuple(shapes[name][1:]) != shape or shapes[name][0] > batch_size:
            raise UserError(
                "%s: input '%s' is %s; TensorRT's engines are built for %s and "
                'batches of %d: correct the reader, or let shapes vary '
                '(--use_dynamic_shape)' %
                (what, name, list(shapes[name]), list(shape), batch_size))


def engine_key(*, model: str, ranges: Optional[str], precision: str,
               batch_size: int, deleted_passes: Sequence[str],
               engines: Tensorrt, gpu: str, compute: str,
               versions: Dict[str, str]) -> Dict[str, Any]:
    """All that an engine depends on. Paddle's own key, of the names and shapes
    of a subgraph, holds neither weights nor versions.

    Args:
        model: hash of the model.
        ranges: hash of the range file, None without.
        precision: that runs.
        batch_size: images in a batch, at most.
        deleted_passes: see `Plan`.
        engines: how TensorRT runs it.
        gpu: the device's name.
        compute: its compute capability, as '8.6'.
        versions: of paddle, cuda and tensorrt.
    """
    return {
        'model': model,
        'ranges': ranges,
        'precision': precision,
        'batch_size': batch_size,
        'deleted_passes': sorted(deleted_passes),
        'disabled_ops': sorted(engines.disabled_ops),
        'min_subgraph_size': engines.min_subgraph_size,
        'workspace_mb': engines.workspace_mb,
        'dynamic_shape': engines.dynamic_shape,
        'explicit_quantization': engines.explicit_quantization,
        'gpu': gpu,
        'compute': compute,
        **versions
    }


def engine_dir(key: Dict[str, Any]) -> str:
    """Where the engines of a key are kept: in the user's cache, in a directory
    whose name holds what one looks for, and a hash of everything."""
    text = json.dumps(key, sort_keys=True)
    name = '-'.join([
        key['model'][:12], key['precision'],
        'shapes_' + (key['ranges'][:12] if key['ranges'] else 'fixed'),
        'paddle' + key['paddle'], 'trt' + key['tensorrt'], 'cuda' + key['cuda'],
        re.sub(r'\W+', '_', key['gpu']), 'sm' + key['compute'],
        hashlib.sha256(text.encode()).hexdigest()[:16]
    ])
    return runtime.user_cache('engines', name)


KEY = 'key.json'  # what the engines depend on, beside them


def cached(directory: str) -> bool:
    """Whether a directory holds engines; of '', no."""
    try:
        return any(name != KEY for name in os.listdir(directory))
    except OSError:
        return False


@contextlib.contextmanager
def building(engines: Tensorrt) -> Iterator[Tensorrt]:
    """Where engines shall be kept while a predictor is created: Paddle writes
    them one by one, and would read what a killed process left behind.

    Args:
        engines: of a plan.

    Yields:
        the same, with a directory that becomes its own at the end; itself, if
        its engines are there; with none, if none can be written.
    """
    directory = engines.cache_dir
    if not directory or cached(directory):
        yield engines
        return
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(work_directory(directory, '.engines_'))
        except OSError:
            place = ''
        yield replace(engines, cache_dir=place)
        if place and cached(place):
            text = json.dumps(engines.key, indent=2, sort_keys=True)
            write_whole(os.path.join(place, KEY), text.encode())
            with contextlib.suppress(OSError):
                replace_directory(place, directory)
