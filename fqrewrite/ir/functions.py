"""Library functions of a GraphDef, and their bodies as graphs.

A FunctionDef writes inputs by name (`node:argument:index`, the function's own arguments bare) and may leave attributes
to its caller. `instantiate` gives the body with both resolved, as a `Graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.proto import GraphDef
from fqrewrite.proto.output_args import output_arguments, port_range

ARGUMENT = "_Arg"
"""The op type of the nodes that stand for a function's arguments in its `Body`."""

Library = Mapping[str, Any]
"""FunctionDefs by name."""

_CONDITIONALS = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_NOBODY: frozenset[str] = frozenset()

Attributes = Mapping[str, Any]
"""AttrValues by name."""


class Body(NamedTuple):
    """What a function computes.

    Attributes:
        graph: its nodes, under the names that they have in the function. An argument is a node of op `ARGUMENT` that
            is called like it and has a port for each of its tensors (several when it is a list).
        arguments: the tensors that a call passes, in order.
        outputs: the tensors that a call returns, in order.
        types: their dtypes.
        controls: the nodes that have run when the call has.
    """

    graph: Graph
    arguments: list[Value]
    outputs: list[Value]
    types: list[int]
    controls: list[Node]


def functions_of(graph_def: Any) -> dict[str, Any]:
    """The library functions of a GraphDef by name."""
    return {function.signature.name: function for function in graph_def.library.function}


def count_nodes(library: Library, name: str, counts: Callable[[Node], bool], callers: frozenset[str] = _NOBODY) -> int:
    """How many nodes of a kind run at least when a function is called: of a conditional in it, the fewer of its sides.

    Args:
        library: functions by name; what is not in it has no nodes.
        name: of the function.
        counts: tells by a node's op and attributes; it has no inputs.
        callers: functions that are not looked into, because they are running.
    """
    if name not in library or name in callers:
        return 0
    path, total = callers | {name}, 0
    for proto in library[name].node_def:
        total += counts(Node(proto.name, proto.op, proto, 0))
        passed = [[attribute.func, *attribute.list.func] for attribute in proto.attr.values()]
        called = [function.name for functions in passed for function in functions if function.name]
        numbers = [count_nodes(library, function, counts, path) for function in called]
        total += min(numbers, default=0) if proto.op in _CONDITIONALS else sum(numbers)
    return total


def function_of(node: Node) -> str:
    """The library function that a node stood in before it was inlined; "" for a node of the main graph."""
    names = node.proto.experimental_debug_info.original_func_names
    return str(names[-1]) if names else ""


def remember_function(node: Node, function: str) -> None:
    """Notes where a node stood, in the field that TensorFlow uses for it; a note that is there stays."""
    names = node.proto.experimental_debug_info.original_func_names
    if not names:
        names.append(function)


def find_function(library: Library, name: str, where: str) -> Any:
    """The function of that name, which the node `where` calls.

    Raises:
        GraphError: `no-such-function`.
    """
    if name not in library:
        raise GraphError("no-such-function", f"the graph's library has no function {name!r}", where=where)
    return library[name]


def instantiate(function: Any, attributes: Attributes, library: Library) -> Body:
    """The body of a function as a call with these attributes runs it.

    Args:
        function: FunctionDef; it is not changed.
        attributes: what the call gives for the function's placeholders. Those left out have the signature's defaults.
        library: the functions that the body may call by name.

    Raises:
        GraphError: `function-malformed` when signature, attributes and body contradict each other,
            `unknown-output-argument`, or what `Graph` raises.
    """
    signature = function.signature
    defaults = {attr.name: attr.default_value for attr in signature.attr if attr.HasField("default_value")}
    attributes = {**defaults, **attributes}
    arguments = [(argument.name, _types(signature.name, argument, attributes)) for argument in signature.input_arg]
    graph_def = GraphDef()
    tensors = {name: [(name, port) for port in range(len(types))] for name, types in arguments}
    for name in tensors:
        graph_def.node.add(name=name, op=ARGUMENT)
    nodes = {}
    for original in function.node_def:
        if original.op == ARGUMENT:
            raise _malformed(signature.name, f"its node {original.name!r} has the op of an argument")
        node = graph_def.node.add()
        node.CopyFrom(original)
        for key in node.attr:
            _fill(node.attr[key], attributes, signature.name)
        nodes[node.name] = node
    names = _Names(signature.name, tensors, nodes, library)
    for node in nodes.values():
        texts = list(node.input)
        del node.input[:]
        for text in texts:
            node.input.extend([text] if text.startswith("^") else names.flat(text))

    graph = Graph(graph_def)
    outputs, output_types = list[Value](), list[int]()
    for argument in signature.output_arg:
        types = _types(signature.name, argument, attributes)
        found = names.flat(function.ret[argument.name]) if argument.name in function.ret else []
        if len(found) != len(types):
            raise _malformed(signature.name, f"its output {argument.name!r} is not returned")
        outputs += map(graph.value, found)
        output_types += types
    controls = [graph.node(function.control_ret[key]) for key in sorted(function.control_ret)]
    passed = [graph.node(name).value(port) for name, types in arguments for port in range(len(types))]
    run = [node for node in dict.fromkeys(controls) if node.op != ARGUMENT]
    return Body(graph, passed, outputs, output_types, run)


def drop_unused_functions(graph_def: Any) -> list[str]:
    """Removes the library functions that no node calls, not even through other functions; returns their names."""
    library = functions_of(graph_def)
    gradients = {entry.function_name: entry.gradient_func for entry in graph_def.library.gradient}
    custom = {entry.registered_op_type: entry.gradient_func for entry in graph_def.library.registered_gradients}
    used, queue = set[str](), [*called_by(graph_def.node, library), *_gradients(graph_def.node, custom)]
    while queue:
        name = queue.pop()
        if name not in used and name in library:
            used.add(name)
            queue += called_by(library[name].node_def, library)
            queue += _gradients(library[name].node_def, custom)
            queue += [gradients[name]] if name in gradients else []
            # The forward and backward halves of one function name each other in attributes.
            queue += [value.s.decode("utf-8", "replace") for value in library[name].attr.values() if value.s]
    for entries, key in ((graph_def.library.gradient, "function_name"), (graph_def.library.function, "signature")):
        for index in reversed(range(len(entries))):
            named = getattr(entries[index], key)
            if getattr(named, "name", named) not in used:
                del entries[index]
    registered = graph_def.library.registered_gradients
    for index in reversed(range(len(registered))):
        if registered[index].gradient_func not in used:
            del registered[index]
    return [name for name in library if name not in used]


def called_by(nodes: Iterable[Any], library: Library) -> Iterator[str]:
    """The library functions that NodeDefs call, or pass on in attributes; one as often as it occurs."""
    for node in nodes:
        if node.op in library:
            yield node.op
        for attribute in node.attr.values():
            yield from (name for name in _passed(attribute) if name in library)


def reachable_functions(library: Library, nodes: Iterable[Any]) -> dict[str, list[str]]:
    """The functions that run when these NodeDefs do, in the order in which they are met.

    Returns:
        By function, the chain of calls that leads to it: the node of the main graph, then functions, itself the last.
    """
    found: dict[str, list[str]] = {}
    for node in nodes:
        queue = [(name, [node.name, name]) for name in called_by([node], library)]
        for name, path in queue:
            if name not in found:
                found[name] = path
                queue += [(inner, [*path, inner]) for inner in called_by(library[name].node_def, library)]
    return found


class _Names:
    """Translates the tensors of one function body."""

    def __init__(
        self, function: str, arguments: dict[str, list[tuple[str, int]]], nodes: dict[str, Any], library: Library
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._nodes = nodes
        self._library = library

    def flat(self, text: str) -> list[str]:
        """The tensors that a data input or return value names, as a GraphDef writes them; several for a list."""
        name, *rest = text.split(":")
        if name in self._arguments and len(rest) < 2:
            tensors, index = self._arguments[name], rest
        elif name in self._nodes and rest:
            tensors, index = self._ports(self._nodes[name], rest[0]), rest[1:]
        else:
            raise _malformed(self._function, f"{text!r} names none of its tensors")
        if index:
            if len(index) > 1 or not index[0].isdecimal() or int(index[0]) >= len(tensors):
                raise _malformed(self._function, f"{text!r} names none of its tensors")
            tensors = [tensors[int(index[0])]]
        return [f"{node}:{port}" if port else node for node, port in tensors]

    def _ports(self, node: Any, argument: str) -> list[tuple[str, int]]:
        callee = self._library.get(node.op)
        if callee is None:
            known = output_arguments(node)
        else:
            returned = callee.signature.output_arg
            known = [(entry.name, len(_types(node.op, entry, node.attr))) for entry in returned]
        ports = port_range(known, argument)
        if ports is None:
            what = f"{node.op} has no output called {argument!r}"
            raise GraphError("unknown-output-argument", what, where=f"{self._function}/{node.name}")
        return [(node.name, port) for port in ports]


def _types(function: str, argument: Any, attributes: Attributes) -> list[int]:
    """The dtypes of the tensors that an ArgDef of a function stands for."""
    for key in (argument.type_attr, argument.number_attr, argument.type_list_attr):
        if key and key not in attributes:
            raise _malformed(function, f"the call gives no attribute {key!r}")
    if argument.type_list_attr:
        return list(attributes[argument.type_list_attr].list.type)
    dtype = attributes[argument.type_attr].type if argument.type_attr else argument.type
    return [dtype] * (attributes[argument.number_attr].i if argument.number_attr else 1)


def _fill(attribute: Any, attributes: Attributes, function: str) -> None:
    """Puts the caller's value in place of a placeholder, also in the attributes of functions that are passed on."""
    kind = attribute.WhichOneof("value")
    if kind == "placeholder":
        if attribute.placeholder not in attributes:
            raise _malformed(function, f"the call gives no attribute {attribute.placeholder!r}")
        attribute.CopyFrom(attributes[attribute.placeholder])
    elif kind in ("func", "list"):
        for passed in [attribute.func] if kind == "func" else attribute.list.func:
            for key in passed.attr:
                _fill(passed.attr[key], attributes, function)


def _gradients(nodes: Iterable[Any], registered: Mapping[str, str]) -> Iterator[str]:
    """The functions that compute the gradients of nodes with a custom one."""
    for node in nodes:
        if "_gradient_op_type" in node.attr:
            name = node.attr["_gradient_op_type"].s.decode("utf-8", "replace")
            if name in registered:
                yield registered[name]


def _passed(attribute: Any) -> Iterator[str]:
    """The functions that an attribute names, also as attributes of each other."""
    kind = attribute.WhichOneof("value")
    if kind in ("func", "list"):
        for function in [attribute.func] if kind == "func" else attribute.list.func:
            yield function.name
            for inner in function.attr.values():
                yield from _passed(inner)


def _malformed(function: str, what: str) -> GraphError:
    return GraphError("function-malformed", what, where=function)
