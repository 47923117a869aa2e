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
"""Paddle's IrGraph without its quadratic parts.

PaddleSlim quantizes a program through `paddle.base.framework.IrGraph`. Each of
its links asserts that both ends lie in the graph and each search for a name
wraps every variable, and both copy the whole node set: three to ten minutes
for PicoDet-S. Inside `fast_irgraph()` the same passes build the
same program in seconds.

What is the same, and what is made certain:

* Passes walk `all_op_nodes()`, `all_var_nodes()` and
  `all_persistable_nodes()`. Paddle returns sets of fresh wrappers, so their
  order is that of addresses and changes from process to process. Here it is
  that of node ids, which is the order of creation: program order for what was
  in the program. What depends on it: the numbers in generated names
  (`state_3`), the place of operators that do not depend on each other, and
  with PACT, where two convolutions read one activation, which of them gives
  its gradient to the clipping threshold (Paddle takes the first it meets).
* A graph is in SSA form: an operator that writes a variable in place (a scale
  in training, a gradient under weight decay) adds a second node of that name.
  Of several, Paddle's `_find_node_by_name` returns the last by address. Here it
  is the last created, which is the last written: the value that an operator
  added to the graph would read. In quant_aware and convert of PaddleSlim 2.6.0
  no result depends on the choice: several are met only where
  OutScaleForTrainingPass asks whether a scale exists.
"""

import collections
import collections.abc
import contextlib
import functools
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional

from .. import runtime

# The patches replace method bodies of this version.
SUPPORTED = runtime.PADDLE

# Passes that change the graph only through the IrGraph they are given, so that
# names can be indexed while they run (read in paddle 2.6.2).
INDEXED_PASSES = ('QuantizationTransformPass', 'QuantizationTransformPassV2',
                  'AddQuantDequantPass', 'AddQuantDequantPassV2',
                  'OutScaleForTrainingPass', 'QuantWeightPass',
                  'AddQuantDequantForInferencePass')
_INDEX = '_act_name_index'


@contextlib.contextmanager
def fast_irgraph() -> Iterator[None]:
    """Make IrGraph fast and deterministic inside the with-block.

    May be nested. The patch is one of the process: other threads see it too.
    With another Paddle than the supported one, nothing is patched and a
    warning says so: the result is right then, only late.
    """
    paddle = runtime.import_paddle()
    if paddle.__version__ != SUPPORTED:
        warnings.warn('fast_irgraph knows paddle %s, not %s: preparation is '
                      'not accelerated and may take minutes' %
                      (SUPPORTED, paddle.__version__),
                      stacklevel=3)
        yield
        return
    from paddle.base.framework import IrGraph
    if IrGraph.link_to is _link_to:
        yield
        return
    from paddle.static.quantization import quantization_pass
    with ordered_irgraph(), contextlib.ExitStack() as stack:
        # Their assertions copy the node set three times a link.
        replace(stack, IrGraph, 'link_to', _link_to)
        replace(stack, IrGraph, 'update_input_link', _update_input_link)
        replace(stack, IrGraph, 'update_output_link', _update_output_link)
        # Wraps and walks all nodes to find one.
        replace(stack, IrGraph, '_find_node_by_name',
                _find_node_by_name(IrGraph._find_node_by_name))
        # The index of names stays true.
        for name in ('create_persistable_node', 'create_var_node',
                     'create_var_node_from_desc', 'create_control_dep_var'):
            replace(stack, IrGraph, name, _adding(getattr(IrGraph, name)))
        replace(stack, IrGraph, 'safe_remove_nodes',
                _removing(IrGraph.safe_remove_nodes))
        # An index lives as long as a pass, so that C++ passes in between may
        # change the graph behind it.
        for name in INDEXED_PASSES:
            owner = getattr(quantization_pass, name)
            replace(stack, owner, 'apply', _indexed(owner.apply))
        yield


@contextlib.contextmanager
def ordered_irgraph() -> Iterator[None]:
    """Let IrGraph's own slow code walk nodes in a fixed order.

    What fast_irgraph() builds is what Paddle builds inside this, name by name:
    the reference to test against.
    """
    runtime.import_paddle()
    from paddle.base.framework import IrGraph
    with contextlib.ExitStack() as stack:
        # Sets, ordered by address and built anew for each search.
        replace(stack, IrGraph, 'all_op_nodes', _all_op_nodes)
        replace(stack, IrGraph, 'all_var_nodes', _all_var_nodes)
        replace(stack, IrGraph, 'all_persistable_nodes', _all_persistable_nodes)
        yield


def replace(stack: contextlib.ExitStack, owner: Any, name: str,
            value: Callable) -> None:
    """Set a method of a class or a function of a module, and set it back when
    the stack unwinds."""
    stack.callback(setattr, owner, name, owner.__dict__[name])
    setattr(owner, name, value)


class _Names:
    """The variable nodes of a graph by name, in order of their ids."""

    def __init__(self, graph: Any):
        self._nodes: Dict[str, Dict[int, Any]] = collections.defaultdict(dict)
        for node in _raw(graph, _is_var):
            self.add(node)

    def add(self, node: Any) -> None:
        self._nodes[node.name()][node.id()] = node

    def remove(self, node: Any) -> None:
        self._nodes[node.name()].pop(node.id(), None)

    def get(self, name: str) -> List[Any]:
        return list(self._nodes.get(name, {}).values())


class _Nodes(collections.abc.Set):
    """The nodes of a graph of one kind, in order of their ids.

    Stands for the set that IrGraph returns, and is filled when it is read: a
    search for a name does not need it.
    """

    def __init__(self, graph: Any, wanted: Callable[[Any], bool],
                 wrapper: Callable[[Any], Any]):
        self._graph = graph
        self._wanted = wanted
        self._wrapper = wrapper
        self._wrapped: Optional[Dict[Any, None]] = None

    @classmethod
    def _from_iterable(cls, iterable) -> set:
        return set(iterable)

    def fill(self) -> Dict[Any, None]:
        if self._wrapped is None:
            # A dictionary, because it keeps the order that a set does not.
            self._wrapped = dict.fromkeys(
                self._wrapper(n) for n in _raw(self._graph, self._wanted))
        return self._wrapped

    def __iter__(self):
        return iter(self.fill())

    def __len__(self):
        return len(self.fill())

    def __contains__(self, node):
        return node in self.fill()

    def find(self, name: str) -> Any:
        """The node of this name that was created last, None without one."""
        index = self._graph.__dict__.get(_INDEX)
        if index is None:
            nodes = [
                n for n in _raw(self._graph, self._wanted) if n.name() == name
            ]
        else:
            nodes = [n for n in index.get(name) if self._wanted(n)]
        return self._wrapper(max(nodes, key=_id)) if nodes else None


def _id(node: Any) -> int:
    return node.id()


def _is_op(node: Any) -> bool:
    return node.is_op()


def _is_var(node: Any) -> bool:
    return node.is_var()


def _is_persistable(node: Any) -> bool:
    return (node.is_var() and node.var() is not None
            and node.var().persistable())


def _raw(graph: Any, wanted: Callable[[Any], bool]) -> List[Any]:
    """The core nodes of a graph of one kind, in order of their ids."""
    return sorted(filter(wanted, graph.graph.nodes()), key=_id)


def _all_op_nodes(self) -> _Nodes:
    from paddle.base.framework import IrOpNode
    nodes = _Nodes(self, _is_op, IrOpNode)
    # Passes keep these while they change the graph: as it is now.
    nodes.fill()
    return nodes


def _all_var_nodes(self) -> _Nodes:
    from paddle.base.framework import IrVarNode
    return _Nodes(self, _is_var, IrVarNode)


def _all_persistable_nodes(self) -> _Nodes:
    from paddle.base.framework import IrVarNode
    return _Nodes(self, _is_persistable, IrVarNode)


def _find_node_by_name(original: Callable) -> Callable:

    @functools.wraps(original)
    def find(self, nodes, node_name):
        if not isinstance(nodes, _Nodes):
            # An operator's inputs or outputs: short, and in a fixed order.
            return original(self, nodes, node_name)
        node = nodes.find(node_name)
        # An AssertionError as in Paddle: passes catch it to learn that there
        # is no such node.
        assert node is not None, (
            'Cannot find the target node (%s)in the giving set.' % node_name)
        return node

    return find


def _link_to(self, node_in, node_out) -> None:
    node_in.append_output(node_out)
    node_out.append_input(node_in)


def _update_input_link(self, old_input_node, new_input_node, op_node) -> None:
    old_input_node.remove_output(op_node)
    op_node.remove_input(old_input_node)
    new_input_node.append_output(op_node)
    op_node.append_input(new_input_node)
    op_node.rename_input(old_input_node.name(), new_input_node.name())


def _update_output_link(self, old_output_node, new_output_node,
                        op_node) -> None:
    old_output_node.remove_input(op_node)
    op_node.remove_output(old_output_node)
    new_output_node.append_input(op_node)
    op_node.append_output(new_output_node)
    op_node.rename_output(old_output_node.name(), new_output_node.name())


def _adding(original: Callable) -> Callable:

    @functools.wraps(original)
    def create(self, *args, **kwargs):
        created = original(self, *args, **kwargs)
        index = self.__dict__.get(_INDEX)
        if index is not None:
            index.add(created.node)
        return created

    return create


def _removing(original: Callable) -> Callable:

    @functools.wraps(original)
    def safe_remove_nodes(self, remove_nodes):
        if not isinstance(remove_nodes, set):
            remove_nodes = set(remove_nodes) if isinstance(
                remove_nodes, collections.abc.Iterable) else {remove_nodes}
        index = self.__dict__.get(_INDEX)
        if index is not None:
            # Before the nodes are freed, for it reads their names.
            for removed in remove_nodes:
                index.remove(removed.node)
        original(self, remove_nodes)

    return safe_remove_nodes


def _indexed(original: Callable) -> Callable:

    @functools.wraps(original)
    def apply(self, graph, *args, **kwargs):
        if _INDEX in graph.__dict__:
            return original(self, graph, *args, **kwargs)
        setattr(graph, _INDEX, _Names(graph))
        try:
            return original(self, graph, *args, **kwargs)
        finally:
            delattr(graph, _INDEX)

    return apply
