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
"""What the pictures share that matplotlib draws."""

import io
from typing import Any

from .errors import UserError
from .files import write_whole


def pyplot() -> Any:
    """matplotlib's pyplot, for machines without a display."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    return pyplot


def save(figure: Any, path: str) -> None:
    """Write a figure as a PNG, whole or not at all, and close it.

    Raises:
        UserError: it cannot be written.
    """
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=100)
    pyplot().close(figure)
    try:
        write_whole(path, content.getvalue())
    except OSError as e:
        raise UserError("picture '%s' cannot be written: %s" %
                        (path, e.strerror or e)) from None
