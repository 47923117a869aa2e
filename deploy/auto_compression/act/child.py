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
"""A plan and its inputs handed to a process of its own.

oneDNN reads DNNL_VERBOSE when it is loaded, and Paddle takes hooks on outputs
from one predictor a process only (2.6.2), so runs that are logged happen in a
process that does nothing else: a module, run with the plan and the inputs on
its command line.
"""

import dataclasses
import json
import os
import sys
from typing import Callable, Dict, List, Sequence

import numpy as np

from .data import Batch
from .errors import UserError
from .postprocess import PostProcess
from .predictor import Plan, Predictor
from .program.model import ModelFiles


def command(module: str, plan: Plan, feed: Batch, work: str, *more:
            str) -> List[str]:
    """The command line of such a process.

    Args:
        module: to run, as 'act.int8_check'.
        plan: of the predictor.
        feed: one batch, under the model's input names.
        work: an existing directory, for the inputs.
        more: arguments of the module's own.
    """
    inputs = os.path.join(work, 'feed.npz')
    np.savez(inputs, **feed)
    # How outputs become boxes is not of the run, and its NMS section no JSON.
    plain = dataclasses.replace(plan, postprocess=PostProcess())
    return [
        sys.executable, '-m', module,
        json.dumps(dataclasses.asdict(plain)), inputs, *more
    ]


def environment() -> Dict[str, str]:
    """This process's environment, and where modules of `act` are found."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    env = dict(os.environ)
    env['PYTHONPATH'] = os.pathsep.join(
        [package] + [p for p in [env.get('PYTHONPATH')] if p])
    return env


def predictor(arguments: Sequence[str]) -> Predictor:
    """In the process: the predictor, its inputs set.

    Args:
        arguments: the first two of `command`'s after the module.
    """
    values = json.loads(arguments[0])
    values['files'] = ModelFiles(**values['files'])
    made = Predictor(Plan(**values))
    with np.load(arguments[1]) as feed:
        made.set_inputs(dict(feed))
    return made


def run(main: Callable[[List[str]], None]) -> None:
    """In the process: its main, with one line for bad input."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit('error: %s' % error)
