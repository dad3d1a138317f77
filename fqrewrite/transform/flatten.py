"""Plain calls of library functions replaced by what they compute, so that a whole model stands in one graph.

Nodes take the names that they have in their function, in the scope that the call stands in: a call at the top gives the
body's own names, `conv/StatefulPartitionedCall` gives `conv/NAME`. Where one of these is taken, all nodes of the body
that share its first component go below the call's own name instead. Each node remembers its function in its NodeDef's
`experimental_debug_info`, as those do that TensorFlow inlines.

What a function returns through, and waits for without need, goes: between layers of a model that was called layer by
layer there is nothing then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

import msgspec

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import (
    Library,
    functions_of,
    reachable_functions,
    remember_function,
)
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.inline import CALLS, Naming, called_function, replace_call
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.reach import ancestors
from fqrewrite.proto.dtypes import DT_RESOURCE
from fqrewrite.transform.effects import Effects

_IMPLEMENTS = ("api_implements", "_implements")
"""Attributes of a function that stands for an operation by a name: the TFLite converter fuses a Keras LSTM by it."""


class Flattened(msgspec.Struct, frozen=True, kw_only=True):
    """What `flatten_calls` did.

    Attributes:
        calls: number of calls that were inlined.
        inserted: names of the nodes that came in and stayed.
    """

    calls: int
    inserted: tuple[str, ...]


def flatten_calls(
    editor: Editor,
    roots: Iterable[Node],
    wanted: Callable[[str], bool] = lambda function: True,
) -> Flattened:
    """Replaces the plain calls that the roots need, also those in inlined bodies.

    Conditionals, loops and whatever else takes functions stay. So do calls of functions that call themselves, and of
    those that stand for an operation by a name.

    Args:
        editor: of the graph.
        roots: what the graph is for; what they do not need stays.
        wanted: says whether calls of the function of that name are to be inlined.

    Raises:
        GraphError: `no-such-function`, `function-malformed`, or what `instantiate` raises.
    """
    return _Flattening(editor, list(roots), wanted).run()


def plain_calls(graph: Graph, library: Library) -> list[Node]:
    """The nodes that call a function and nothing more, in graph order."""
    return graph.by_op(*CALLS, *library)


class _Flattening:
    def __init__(self, editor: Editor, roots: list[Node], wanted: Callable[[str], bool]) -> None:
        self.editor = editor
        self.graph = editor.graph
        self.roots = roots
        self.library = functions_of(self.graph.graph_def)
        self._kept_as_calls = {name for name in self.library if self._stays(name)}
        self._wanted = wanted
        self._own = set(self.graph)
        self._scopes: dict[Node, str] = {}
        self._handing: set[Node] = set()

    def run(self) -> Flattened:
        calls = 0
        while found := [node for node in self._needed_calls() if self._is_inlined(node)]:
            for node in found:
                self._inline(node)
            calls += len(found)
        if calls:
            self.editor.commit()
            self._drop_idle_controls()
            self._bypass()
            needed = ancestors(self._own)
            self.editor.remove([node for node in self.graph if node not in needed])
        inserted = tuple(node.name for node in self.graph if node not in self._own)
        return Flattened(calls=calls, inserted=inserted)

    def _needed_calls(self) -> list[Node]:
        self.editor.commit()
        needed = ancestors(self.roots)
        return [node for node in plain_calls(self.graph, self.library) if node in needed]

    def _is_inlined(self, node: Node) -> bool:
        name = str(called_function(node, self.library).name)
        return name not in self._kept_as_calls and self._wanted(name)

    def _stays(self, name: str) -> bool:
        return any(key in self.library[name].attr for key in _IMPLEMENTS) or calls_itself(self.library, name)

    def _inline(self, node: Node) -> None:
        function = called_function(node, self.library)
        scope = self._scopes.get(node, node.scope)
        naming = self._naming(scope, node.name)
        inlined = replace_call(self.editor, node, function, list(node.inputs), self.library, naming)
        for name, copy in inlined.nodes.items():
            remember_function(copy, str(function.name))
            inner = name.rpartition("/")[0]
            self._scopes[copy] = "/".join(filter(None, (scope, inner)))
        self._handing.update(value.node for value in inlined.outputs)
        self._handing.update(value.node for output in inlined.outputs for value in output.node.inputs)
        self._handing.add(node)

    def _naming(self, scope: str, call: str) -> Naming:
        def naming(names: Iterable[str]) -> dict[str, str]:
            wanted = {name: f"{scope}/{name}" if scope else name for name in names}
            taken = {_first(name) for name, found in wanted.items() if found in self.graph}
            below = self._free_scope(call, [name for name in wanted if _first(name) in taken])
            return {name: f"{below}/{name}" if _first(name) in taken else found for name, found in wanted.items()}

        return naming

    def _free_scope(self, call: str, names: list[str]) -> str:
        for number in count():
            scope = f"{call}_{number}" if number else call
            if not any(f"{scope}/{name}" in self.graph for name in names):
                return scope
        raise AssertionError  # count() does not end

    def _drop_idle_controls(self) -> None:
        """Lets inlined nodes, and what read the call, wait for nothing that has no effect."""
        effects = Effects(self.graph)
        for node in self.graph:
            if node in self._own and node not in self._handing:
                continue
            for before in list(node.controls):
                if before not in self._own and not effects.orders(node, before):
                    self.editor.drop_control(node, before)

    def _bypass(self) -> None:
        """Connects whoever reads what a function returns to what computes it, and readers of handles to variables."""
        for node in self.graph.by_op("Identity"):
            hands_on = node in self._handing or dtype_of(node) == DT_RESOURCE
            if hands_on and not node.controls:
                self.editor.redirect(list(node.uses), node.inputs[0])
        for node in self.graph.by_op("IdentityN"):
            if node in self._handing and node not in self._own and not node.controls:
                for consumer, slot in list(node.uses):
                    self.editor.set_input(consumer, slot, node.inputs[consumer.inputs[slot].port])


def calls_itself(library: Library, name: str) -> bool:
    """Whether a function is called while it runs, directly or through others."""
    return name in reachable_functions(library, library[name].node_def)


def _first(name: str) -> str:
    return name.partition("/")[0]
