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
"""Types of operators that are left when Paddle's passes are done, asked in a
process of its own: Paddle takes hooks on outputs from one predictor a process
only, and making a predictor may crash."""

import json
import subprocess
import tempfile
from typing import List, Optional

from .. import child
from ..data import Batch
from ..predictor import Plan


def run(plan: Plan, feed: Batch, limit: float = 1800) -> Optional[List[str]]:
    """The types of the operators that run, in order, each once.

    Args:
        plan: of the predictor.
        feed: one batch, under the model's input names.
        limit: seconds after which the process is ended.

    Returns:
        None: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix='act_present_') as work:
        try:
            done = subprocess.run(child.command('act.search.present', plan,
                                                feed, work),
                                  env=child.environment(),
                                  timeout=limit,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL,
                                  encoding='utf-8',
                                  errors='replace',
                                  check=False)
        except subprocess.TimeoutExpired:
            return None
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if not done.returncode and lines else None


def main(arguments: List[str]) -> None:
    """The process."""
    predictor = child.predictor(arguments)
    found = {}
    predictor.on_type(lambda kind: found.setdefault(kind))
    predictor.compute()
    print(json.dumps(list(found)))


if __name__ == '__main__':
    child.run(main)
