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

The one so far: deformable transformers put `paddle.concat([h, w])` into
`spatial_shapes`, with h and w unpacked from `paddle.shape(feat)`. Since Paddle
2.5 these are 0-D, and concat refuses 0-D tensors ("The axis is expected to be
in range of [0, 0)"), in export and in dygraph alike; `paddle.stack` makes of
them the pair that is wanted. Later releases unpack `feat.shape` in some files,
so that h and w are whole numbers in dygraph, which neither takes.

Whether a ppdet has the fault is read off the source of its method, as files
and branches of one release differ: where h and w are slices with one element
each, concat is right and stack would be wrong. `patches/` at the root holds
the same changes for PaddleDetection.
"""

import inspect
import linecache
import re
import sys
import textwrap
from typing import Any, Dict, List, Optional

# Module below ppdet.modeling.transformers, class, method.
FAULTY = (
    ('dino_transformer', 'DINOTransformer', '_get_encoder_input'),
    ('deformable_transformer', 'DeformableTransformer', 'forward'),
    ('group_detr_transformer', 'GroupDINOTransformer', '_get_encoder_input'),
    ('mask_dino_transformer', 'MaskDINO', '_get_encoder_input'),
)
# The unpacking, what is unpacked, and what is appended.
UNPACKED = (r'(\w+, \w+, h, w = %s\n'
            r'\s*spatial_shapes\.append\()paddle\.concat\(\[h, w\]\)(\)\n)')
MENDS = ((re.compile(UNPACKED % r'paddle\.shape\(\w+\)'),
          r'\1paddle.stack([h, w])\2'), (re.compile(UNPACKED % r'(\w+)\.shape'),
                                         r'\1paddle.shape(\2)[2:]\3'))


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
        function = mended(method) if method else None
        if function:
            setattr(owner, method_name, function)
            done.append('%s.%s.%s' % (module_name, class_name, method_name))
    return done


def mended_source(source: str) -> str:
    """The source of a method with what is faulty in it replaced."""
    for pattern, replacement in MENDS:
        source = pattern.sub(replacement, source)
    return source


def mended(method: Any) -> Optional[Any]:
    """The function that a method should be; None if it has no fault.

    It has its source where `inspect` looks for it: Paddle's conversion to a
    static program reads that.
    """
    try:
        found = textwrap.dedent(inspect.getsource(method))
    except OSError:  # compiled without its source
        return None
    source = mended_source(found)
    if source == found:
        return None
    name = '<mended %s.%s>' % (method.__module__, method.__qualname__)
    made: Dict[str, Any] = {}
    exec(compile(source, name, 'exec'), method.__globals__, made)
    function = made[method.__name__]
    function.__qualname__ = method.__qualname__
    # Without a time of change, checkcache() keeps what is no file.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    return function
