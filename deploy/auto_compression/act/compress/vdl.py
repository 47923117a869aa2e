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
"""Training's scalars as a VisualDL log, as PaddleDetection's trainers write."""

import contextlib
from typing import Dict, Iterator

from ..errors import UserError
from .loop import Hook


@contextlib.contextmanager
def scalars(directory: str) -> Iterator[Hook]:
    """A hook that logs each scalar of a row under its name.

    Args:
        directory: of the log; a run that is gone on with adds a file to it.

    Raises:
        UserError: VisualDL is not installed.
    """
    try:
        from visualdl import LogWriter
    except ImportError:
        raise UserError('--use_vdl: visualdl is not installed: pip install '
                        'visualdl -c constraints.txt') from None
    with LogWriter(directory) as writer:

        def log(iteration: int, row: Dict[str, float]) -> None:
            for name, value in row.items():
                if name != 'iteration':
                    writer.add_scalar(name, value, iteration)

        yield log
