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
"""YAML, with an error for what PyYAML lets pass in silence."""

from typing import Any, Dict, Set

import yaml

from .errors import UserError

# Values that a document may hold after its aliases are written out. A few
# lines of aliases of aliases make billions.
MOST_VALUES = 100000


def parse(text: str, where: str, loader: Any = yaml.SafeLoader) -> Any:
    """The value of a YAML document.

    Args:
        text: the document.
        where: its file or option, for messages.
        loader: PyYAML's loader class.

    Raises:
        UserError: it is no YAML, holds a key twice, or aliases without end.
    """
    try:
        made = loader(text)
        try:
            node = made.get_single_node()
            if node is None:
                return None
            _check(node, where)
            return made.construct_document(node)
        finally:
            made.dispose()
    except UserError:
        raise
    except RecursionError:
        raise UserError('%s is not valid YAML: nested too deeply' %
                        where) from None
    # PyYAML lets errors of all kinds through: ValueError for 2024-13-45,
    # AttributeError for `!!timestamp x`.
    except Exception as e:
        mark = getattr(e, 'problem_mark', None)
        line = ', line %d' % (mark.line + 1) if mark else ''
        said = getattr(e, 'problem', None) or getattr(
            e, 'reason', None) or (str(e).splitlines() or [''])[0]
        raise UserError('%s%s is not valid YAML: %s' %
                        (where, line, said)) from None


def _check(root: yaml.Node, where: str) -> None:
    """Raise UserError for keys that stand twice in one mapping, and for
    aliases that make a value endless."""
    sizes: Dict[int, int] = {}
    open_nodes: Set[int] = set()

    def visit(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise UserError('%s, line %d: an alias stands inside the value it '
                            'names' % (where, node.start_mark.line + 1))
        if id(node) in sizes:
            return sizes[id(node)]
        open_nodes.add(id(node))
        children = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            seen: Set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        raise UserError(
                            "%s, line %d: key '%s' stands twice in one "
                            'section; remove one' %
                            (where, key.start_mark.line + 1, key.value))
                    seen.add(key.value)
            children = [part for pair in node.value for part in pair]
        size = 1 + sum(visit(child) for child in children)
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        if size > MOST_VALUES:
            raise UserError('%s holds more than %d values with its aliases '
                            'written out' % (where, MOST_VALUES))
        return size

    visit(root)
