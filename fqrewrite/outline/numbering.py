"""Whether two functions compute the same, by value numbering.

Two tensors have the same number when the same operations compute them from the same arguments and variables, whatever
the nodes are called and however the computation is split into functions that call each other. TensorFlow traces one
Python function several times, and exporters save each trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import ARGUMENT, Attributes, Library, find_function, instantiate
from fqrewrite.ir.graph import Node, Value
from fqrewrite.ir.topology import topological_order
from fqrewrite.outline.body import has_effect
from fqrewrite.outline.records import CALL_OPS

Key = Any
"""A hashable description of a value."""


class Computed(NamedTuple):
    """What a function computes from its arguments.

    Attributes:
        outputs: number of each thing that it returns.
        effects: numbers of what it does beside: assignments, assertions.
    """

    outputs: tuple[int, ...]
    effects: frozenset[int]


class Numbering:
    """Numbers values of the functions of one library; equal values get equal numbers.

    Args:
        library: functions by name.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._numbers: dict[Key, int] = {}
        self._passed: dict[str, int] = {}

    def number(self, key: Key) -> int:
        """The number of a value that is known by something else than its computation: an argument, a variable."""
        return self._numbers.setdefault(key, len(self._numbers))

    def computed(
        self, name: str, arguments: Sequence[int], attributes: Attributes | None = None, callers: tuple[str, ...] = ()
    ) -> Computed:
        """What a function computes.

        Args:
            name: of the function.
            arguments: numbers of what it is called with.
            attributes: what the call gives for the function's placeholders.
            callers: functions that are running.

        Raises:
            GraphError: the function is malformed, or calls itself.
        """
        if name in callers:
            raise GraphError("function-recursive", f"the function {name!r} calls itself", where=name)
        callers = (*callers, name)
        body = instantiate(find_function(self._library, name, name), attributes or {}, self._library)
        if len(arguments) != len(body.arguments):
            what = f"{name!r} takes {len(body.arguments)} arguments and is called with {len(arguments)}"
            raise GraphError("function-malformed", what, where=name)
        numbers: dict[Value, int] = dict(zip(body.arguments, arguments, strict=True))
        effects = set[int]()
        for node in topological_order(body.graph):
            if node.op == ARGUMENT:
                continue
            if any(value not in numbers for value in node.inputs):
                raise GraphError("graph-cycle", "a value depends on itself, in a loop", where=node.name)
            inputs = [numbers[value] for value in node.inputs]
            if node.op in CALL_OPS or node.op in self._library:
                function = node.op if node.op in self._library else node.proto.attr["f"].func.name
                given = node.proto.attr if node.op in self._library else node.proto.attr["f"].func.attr
                inner = self.computed(function, inputs, given, callers)
                effects |= inner.effects
                outputs: Callable[[int], int] = inner.outputs.__getitem__
            elif node.op in ("Identity", "IdentityN"):
                outputs = inputs.__getitem__
            else:
                key = self.number((node.op, self._attributes(node, callers), tuple(inputs)))
                if has_effect(node, self._library):
                    effects.add(key)
                outputs = partial(self._output, key)
            ports = {consumer.inputs[slot].port for consumer, slot in node.uses}
            ports |= {value.port for value in body.outputs if value.node is node}
            numbers |= {node.value(port): outputs(port) for port in ports}
        return Computed(tuple(numbers[value] for value in body.outputs), frozenset(effects))

    def _output(self, key: int, port: int) -> int:
        return self.number((key, port))

    def _attributes(self, node: Node, callers: tuple[str, ...]) -> Key:
        found = []
        for key in sorted(node.proto.attr):
            if key.startswith("_"):  # notes of TensorFlow's own: shapes, the name of a gradient
                continue
            value = node.proto.attr[key]
            functions = [value.func, *value.list.func] if value.WhichOneof("value") in ("func", "list") else []
            names = [function.name for function in functions if function.name]
            content: Key = tuple(self._function(name, callers) for name in names)
            found.append((key, content or value.SerializeToString(deterministic=True)))
        return tuple(found)

    def _function(self, name: str, callers: tuple[str, ...]) -> int:
        """The number of a function that is passed: the body of a loop, the branch of a conditional."""
        if name not in self._passed:
            count = len(find_function(self._library, name, name).signature.input_arg)
            inner = self.computed(name, [self.number(("argument", index)) for index in range(count)], None, callers)
            self._passed[name] = self.number(("function", inner))
        return self._passed[name]
