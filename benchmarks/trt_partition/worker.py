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
"""In a process of its own: a plan's predictor, created beside a pretended GPU.

    python -m trt_partition.worker REQUEST.json

It never runs the predictor: no kernel could. Its exit code is 0 if the
predictor was created, 2 if something was refused, with the reason on stderr.
"""

import ctypes
import dataclasses
import json
import os
import sys
from typing import Any, Dict

from act import cli, config
from act.errors import UserError
from act.program.model import ModelFiles
from act.shapes import ranges


def main() -> None:
    with open(sys.argv[1], encoding='utf-8') as f:
        asked: Dict[str, Any] = json.load(f)
    library = os.environ.pop('LD_PRELOAD')  # not for programs started here
    from act import plan, predictor, runtime
    runtime.import_paddle()
    from paddle import inference
    # After the import, which would set up the device, and before anything runs:
    # Paddle makes its allocators, one a device, on first use.
    begin = ctypes.CDLL(library).partition_begin
    begin.argtypes = [ctypes.c_char_p, ctypes.c_int]
    if begin(asked['directory'].encode(), asked['compute_capability']):
        raise UserError("'%s' cannot be written to" % asked['directory'])
    settings = config.load(asked['config'], asked['overrides'])
    made = plan.plan(ModelFiles.named(settings.Global, asked['model']),
                     settings.Deploy.cpu,
                     device='GPU',
                     use_trt=True,
                     precision=asked['precision'],
                     dynamic_shape=asked['dynamic_shape'],
                     trt_options=settings.Deploy.tensorrt,
                     nms=settings.own_nms,
                     input_list=settings.Global.input_mapping,
                     prepare=asked['prepare'],
                     where=settings.path)
    if made.tensorrt.dynamic_shape:
        made = dataclasses.replace(made,
                                   tensorrt=dataclasses.replace(
                                       made.tensorrt,
                                       ranges=ranges.read(
                                           asked['range_file'], '')))
    built = predictor.build_config(made)
    kept = inference.create_predictor(built)
    # It cannot be freed: Paddle would ask for the device's allocator.
    os._exit(0 if kept else 1)


if __name__ == '__main__':
    sys.exit(cli.run(main))
