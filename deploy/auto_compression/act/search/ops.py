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
"""Which types of operators make a model wrong or slow, on the CPU when oneDNN
computes them in int8, on the GPU when TensorRT gets them."""

from dataclasses import replace
from typing import Any, Dict, FrozenSet, List, Optional, Sequence

from .. import config, data, gpu, request
from ..errors import UserError, unknown
from ..optimized import optimized
from ..plan import Plan
from ..program.model import Model
from . import guilty, passes, present
from .evidence import Evidence
from .trial import Options

# What cpu_quantize_placement_pass of Paddle 2.6.2 takes, and puts into int8 if
# it is given no set; other types are an error. tests/test_passes.py asks it.
QUANTIZABLE = ('concat', 'conv2d', 'depthwise_conv2d', 'elementwise_add',
               'elementwise_mul', 'elementwise_sub', 'fc', 'fused_conv2d',
               'fused_conv3d', 'fused_elementwise_add', 'fused_elementwise_mul',
               'fused_elementwise_sub', 'fused_matmul', 'fused_transpose',
               'fusion_gru', 'fusion_lstm', 'matmul', 'matmul_v2', 'multi_gru',
               'nearest_interp', 'nearest_interp_v2', 'pool2d', 'prior_box',
               'reshape2', 'slice', 'split', 'transpose2')
# No set is oneDNN's default one. A type that no detector has stands for none.
NONE = 'multi_gru'
CONFIGURED = 'configured types'


def search(settings: config.Settings,
           model_dir: str,
           options: Options,
           command: Sequence[str],
           types: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Which types of operators break a model, see guilty.search.

    Args:
        settings: the model's configuration.
        model_dir: the model.
        options: see trial.Options.
        command: as the user gave it, for the record.
        types: that are tried beside the configured ones; None: all that may be.

    Raises:
        UserError: also if there is no set to search in, as in fp32; or there is
            no GPU.
    """
    task = _of_tensorrt if options.device == 'GPU' else _of_onednn
    return guilty.search(settings, model_dir, options,
                         task(settings, model_dir, options, types), command)


def _with_types(settings: config.Settings,
                types: Sequence[str]) -> config.Settings:
    """The settings with other int8 types."""
    cpu = settings.Deploy.cpu.model_copy(update={'int8_ops': list(types)})
    return settings.model_copy(
        update={'Deploy': settings.Deploy.model_copy(update={'cpu': cpu})})


def _of_onednn(settings: config.Settings, model_dir: str, options: Options,
               types: Optional[Sequence[str]]) -> guilty.Task:
    for name in types or ():
        if name not in QUANTIZABLE:
            raise unknown('operator type', name, QUANTIZABLE,
                          "--types: of oneDNN's int8")

    def plan_of(chosen: Sequence[str]) -> Plan:
        return passes.plan_of(_with_types(settings, chosen or [NONE]),
                              model_dir, options, options.as_saved)

    nothing = plan_of([])
    if nothing.precision != 'int8':
        raise UserError(
            "ops: '%s' runs in %s, where no set of types goes to int8; name a "
            'quantized model, or search with diagnose.py passes' %
            (model_dir, nothing.precision))
    configured = list(settings.Deploy.cpu.int8_ops)
    there = _present(settings, nothing, configured)
    items = [t for t in there if t in (types or QUANTIZABLE) or t in configured]
    keep = [t for t in items if t in configured]

    def without(out: FrozenSet[str]) -> Plan:
        return plan_of([i for i in items if i not in out])

    return guilty.Task(
        name='ops',
        noun='type',
        items=items,
        keep=keep,
        plan=without,
        key='Deploy.cpu.int8_ops',
        value=lambda culprits: [t for t in configured if t not in culprits],
        others={CONFIGURED: lambda: plan_of(configured)},
        depends=' '.join(items),
        notes=lambda found: _notes(found, configured))


def _present(settings: config.Settings, nothing: Plan,
             configured: Sequence[str]) -> List[str]:
    """Types that the program has when oneDNN's int8 pass looks at it; all that
    this pass knows, if the program does not run."""
    reader = data.open_reader(settings.Reader)
    inputs = Model.load(nothing.files).inputs()
    feed = data.feed(reader.pipeline(reader.val().records[:1]), inputs,
                     settings.Global.input_mapping, settings.path)
    found = present.run(nothing, feed)
    if found is None:
        return list(dict.fromkeys([*configured, *QUANTIZABLE]))
    return [t for t in found if t in QUANTIZABLE]


def _notes(found: Evidence, configured: Sequence[str]) -> List[str]:
    if found.found is None or not found.culprits:
        return []
    added = [t for t in found.culprits if t not in configured]
    usual = found.form(CONFIGURED)
    if not added or usual is None or usual['map'] is None:
        return []
    return [
        'Of these the YAML does not name %s: keep %s out. With the types that '
        'it names, mAP is %.2f, agreement AP %.1f.' %
        (', '.join(added), 'it' if len(added) == 1 else 'them', usual['map'],
         usual['agreement_ap'])
    ]


def _of_tensorrt(settings: config.Settings, model_dir: str, options: Options,
                 types: Optional[Sequence[str]]) -> guilty.Task:
    if not options.use_trt:
        raise UserError('ops: on the GPU the types are those that TensorRT '
                        'gets; add --use_trt')
    made = request.plan_of(settings,
                           model_dir,
                           options.asked,
                           prepare=not options.as_saved)
    device = gpu.find(True)
    reader = data.open_reader(settings.Reader)
    made = request.with_ranges(made, settings, model_dir, options.asked,
                               reader.val(), reader)
    model = Model.load(made.files)
    may_be = optimized(model, made.tensorrt.dynamic_shape,
                       made.deleted_passes).types
    configured = list(made.tensorrt.disabled_ops)
    for name in types or ():
        if name not in may_be:
            raise unknown('operator type', name, may_be,
                          "--types: of TensorRT's program")
    first = {op.type: at for at, op in reversed(list(enumerate(model.ops)))}
    items = sorted(
        (t
         for t in may_be if t not in configured and (not types or t in types)),
        key=lambda t: (first.get(t,
                                 len(first) + len(model.ops)), t))

    def without(out: FrozenSet[str]) -> Plan:
        disabled = configured + [i for i in items if i in out]
        return request.with_engines(
            replace(made,
                    tensorrt=replace(made.tensorrt, disabled_ops=disabled)),
            device)

    return guilty.Task(name='ops',
                       noun='type',
                       items=items,
                       keep=[],
                       plan=without,
                       key='Deploy.tensorrt.disabled_ops',
                       value=lambda culprits: configured + list(culprits),
                       depends='tensorrt ' + ' '.join(items))
