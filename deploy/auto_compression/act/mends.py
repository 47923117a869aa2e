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
"""Faults of ppdet that cannot be worked around from outside: the method that
has one is replaced, where and only where it is there.

The one so far: the deformable transformers build `spatial_shapes` from
`paddle.concat([h, w])`, with h and w read out of `paddle.shape(feat)`. Since
Paddle 2.5 these are 0-D, and concat refuses 0-D tensors ("The axis is expected
to be in range of [0, 0)"), in export and in dygraph alike. `paddle.stack`
makes of them the pair that is wanted. Whether a ppdet has the fault is read
off the source of its method, as releases differ, and so do branches of one
release. PaddleDetection mended one file of the four; `patches/` at the root
holds the change for the others.
"""

import inspect
import linecache
import re
import sys
import textwrap
from typing import Any, List

# Module below ppdet.modeling.transformers, class, method.
FAULTY = (
    ('dino_transformer', 'DINOTransformer', '_get_encoder_input'),
    ('deformable_transformer', 'DeformableTransformer', 'forward'),
    ('group_detr_transformer', 'GroupDINOTransformer', '_get_encoder_input'),
    ('mask_dino_transformer', 'MaskDINO', '_get_encoder_input'),
)
CONCAT_0D = re.compile(r'paddle\.concat\((\s*\[\s*h\s*,\s*w\s*\]\s*)\)')
STACK = r'paddle.stack(\1)'


def mend_ppdet() -> List[str]:
    """Replace the faulty methods of the ppdet that is imported.

    A method that lacks the fault, or that this ppdet does not have, is left
    alone; so a second call does nothing.

    Returns:
        the methods replaced, as 'dino_transformer.DINOTransformer.forward'.
    """
    done = []
    for module_name, class_name, method_name in FAULTY:
        module = sys.modules.get('ppdet.modeling.transformers.' + module_name)
        owner = getattr(module, class_name, None)
        method = vars(owner).get(method_name) if owner else None
        if method is not None and has_fault(method):
            setattr(owner, method_name, stacked(method))
            done.append('%s.%s.%s' % (module_name, class_name, method_name))
    return done


def has_fault(method: Any) -> bool:
    """Whether a function's source concatenates the scalars h and w."""
    try:
        return bool(CONCAT_0D.search(inspect.getsource(method)))
    except OSError:  # compiled without its source
        return False


def stacked(method: Any) -> Any:
    """The function that a method is with `stack` for `concat`.

    It has its source where `inspect` looks for it: Paddle's conversion to a
    static program reads that.
    """
    source = CONCAT_0D.sub(STACK, textwrap.dedent(inspect.getsource(method)))
    name = '<mended %s.%s>' % (method.__module__, method.__qualname__)
    made: dict = {}
    exec(compile(source, name, 'exec'), method.__globals__, made)
    function = made[method.__name__]
    function.__qualname__ = method.__qualname__
    # Without a time of change, checkcache() keeps what is no file.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    return function
