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
"""Which of Paddle's IR passes make a model wrong or slow."""

from dataclasses import replace
from typing import Any, Dict, FrozenSet, List, Sequence

from .. import config, predictor, request
from ..plan import Plan
from . import guilty
from .evidence import Evidence
from .trial import Options

KEY = 'Deploy.cpu.deleted_passes'
PREPARED = 'prepared copy'
# Without these nothing runs in oneDNN, in int8 or in bf16: any fault of theirs
# goes away with them, and so they are taken out last.
WITHOUT_IT_NOTHING = ('mkldnn_placement_pass', 'quant_dequant_mkldnn_pass',
                      'cpu_quantize_placement_pass', 'cpu_quantize_pass',
                      'cpu_bfloat16_placement_pass', 'cpu_bfloat16_pass')


def plan_of(settings: config.Settings,
            model_dir: str,
            options: Options,
            as_saved: bool = False) -> Plan:
    """The plan of the model with all passes in, but for those configured; also
    of an operator set that would be refused: it may be what is looked for."""
    return request.plan_of(settings,
                           model_dir,
                           options.asked,
                           prepare=not as_saved,
                           check_types=False)


def of_plan(made: Plan) -> List[str]:
    """The passes that run, in their order, each once."""
    config = predictor.build_config(made)
    return list(dict.fromkeys(config.pass_builder().all_passes()))


def search(settings: config.Settings, model_dir: str, options: Options,
           command: Sequence[str]) -> Dict[str, Any]:
    """Which passes break a model; see guilty.search."""
    made = plan_of(settings, model_dir, options, options.as_saved)
    items = of_plan(made)
    configured = list(made.deleted_passes)

    def without(out: FrozenSet[str]) -> Plan:
        return replace(made,
                       deleted_passes=configured +
                       [i for i in items if i in out])

    others = {}
    if options.as_saved and made.mkldnn:
        others[PREPARED] = lambda: plan_of(settings, model_dir, options)
    task = guilty.Task(name='passes',
                       noun='pass',
                       items=items,
                       keep=[p for p in WITHOUT_IT_NOTHING if p in items],
                       plan=without,
                       key=KEY,
                       value=lambda culprits: configured + list(culprits),
                       others=others,
                       notes=_notes)
    return guilty.search(settings, model_dir, options, task, command)


def _notes(found: Evidence) -> List[str]:
    prepared = found.form(PREPARED)
    if prepared and prepared['map'] is not None:
        return [
            'The copy that this project prepares (without --as_saved) has %.2f '
            'mAP, agreement AP %.1f, with no pass taken out: deploy that one.' %
            (prepared['map'], prepared['agreement_ap'])
        ]
    return []
