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
"""The collecting process: `python -m act.shapes.worker`, see `collect`.

A process of its own, since Paddle collects through hooks, which it takes from
one predictor at a time, and since the largest input of a data set may need more
memory than there is.
"""

import os
from typing import List

import numpy as np

from .. import child
from ..data import Batch
from ..postprocess import PostProcess
from ..predictor import Plan, build_config
from ..program.model import ModelFiles

RAN = 'ran'


def main(arguments: List[str]) -> None:
    """Run each input and have its shapes written, a line RAN after each.

    Args:
        arguments: directory and two file names of the model, threads, a
            directory with inputs 0.npz, 1.npz, ... that N.pbtxt are written
            to, and how many they are.
    """
    *model, threads, work, count = arguments
    # The user's own program: the GPU gets no rewrites for the CPU, and oneDNN
    # would change names.
    plan = Plan(files=ModelFiles(*model),
                precision='fp32',
                mkldnn=False,
                threads=int(threads),
                op_types=(),
                deleted_passes=(),
                quantized={},
                postprocess=PostProcess())
    for at in range(int(count)):
        with np.load(os.path.join(work, '%d.npz' % at)) as feed:
            _collect(plan, dict(feed), os.path.join(work, '%d.pbtxt' % at))
        print(RAN, flush=True)


def _collect(plan: Plan, feed: Batch, path: str) -> None:
    """The shapes of one input. One predictor each: of several inputs Paddle
    2.6.2 keeps only ranges, and reads beyond the end of tensors of integers
    that have fewer elements in one than in another."""
    config = build_config(plan)
    config.collect_shape_range_info(path)
    from paddle import inference
    predictor = inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(
            np.ascontiguousarray(feed[name]))
    predictor.run()
    # Paddle writes the file when the predictor is destroyed: here.


if __name__ == '__main__':
    child.run(main)
