"""Functions that take a variable's handle, made to take its value: loops, conditionals and calls of a frozen graph.

Each gets a copy of the function whose argument is the value, and in it every operation that reads the variable becomes
the like of it for values. The function itself stays, for those who call it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Node
from fqrewrite.proto import NodeDef
from fqrewrite.transform.handles import GATHER, READERS, gather_axis, not_frozen


class _Calling(NamedTuple):
    """How an op calls functions: the attribute of its inputs' types, those of the functions, the first input passed."""

    types: str
    functions: tuple[str, ...]
    first: int
    hands_on: bool = False


_WHILE = _Calling("T", ("cond", "body"), 0, hands_on=True)
_IF = _Calling("Tin", ("then_branch", "else_branch"), 1)
_CASE = _Calling("Tin", ("branches",), 1)
_CALL = _Calling("Tin", ("f",), 0)
CALLING = {
    **dict.fromkeys(("While", "StatelessWhile"), _WHILE),
    **dict.fromkeys(("If", "StatelessIf"), _IF),
    **dict.fromkeys(("Case", "StatelessCase"), _CASE),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), _CALL),
}
"""The ops that may take handles, and how they call functions with them."""


class Passed(NamedTuple):
    """A variable whose value is passed: its name, DataType number and TensorShapeProto."""

    variable: str
    dtype: int
    shape: Any


Slots = Mapping[int, Passed]
"""The variables by the input slot, or by the argument, that is the handle."""


def pass_values(graph_def: Any, node: Node, slots: Slots) -> Any:
    """The NodeDef of a call, loop or conditional that is passed values for the handles in some of its slots.

    Args:
        graph_def: to whose library the functions are added.
        node: of the main graph; stays as it is.
        slots: its inputs that are handles, all of them variables that become constants.

    Raises:
        Refusal: `variable-not-frozen` when a function does with a handle what there is no like of for values.
    """
    if CALLING[node.op].hands_on:
        for user, slot in node.uses:
            port = user.inputs[slot].port
            if port in slots:
                raise not_frozen(slots[port].variable, node.name, node.op, f"it hands the variable on to {user.name!r}")
    template = NodeDef()
    template.CopyFrom(node.proto)
    template.ClearField("input")
    _Library(graph_def).convert(template, slots)
    return template


class _Library:
    """The functions of a graph, and those that were made of them.

    A function is made once for the same handles: its name says which arguments they are.
    """

    def __init__(self, graph_def: Any) -> None:
        self._store = graph_def.library.function
        self._functions = functions_of(graph_def)

    def convert(self, call: Any, slots: Slots) -> None:
        """Makes the NodeDef of a call pass values."""
        how = CALLING[call.op]
        arguments = {slot - how.first: given for slot, given in slots.items()}
        types = call.attr[how.types].list.type
        if max(arguments) >= len(types) or not self._knows(call, how):
            variable = next(iter(slots.values())).variable
            raise not_frozen(variable, call.name, call.op, "what it does with the variable's handle is not known")
        for argument, passed in arguments.items():
            types[argument] = passed.dtype
        if how.hands_on:
            _set_shapes(call.attr, "output_shapes", arguments)
        call.attr.pop("_output_shapes", None)
        for called in _called(call, how):
            called.name = self._with_values(called.name, arguments)

    def _knows(self, call: Any, how: _Calling) -> bool:
        called = _called(call, how)
        return bool(called) and all(passed.name in self._functions for passed in called)

    def _with_values(self, name: str, arguments: Slots) -> str:
        marks = "_".join(f"{index}" for index in sorted(arguments))
        new = f"{name}_values_{marks}"
        if new in self._functions:
            return new
        function = self._store.add()
        function.CopyFrom(self._functions[name])
        function.signature.name = new
        self._functions[new] = function
        _Body(function, self).take_values(arguments)
        return new


class _Body:
    """One function that is made to take values."""

    def __init__(self, function: Any, library: _Library) -> None:
        self._function = function
        self._library = library
        self._carriers: dict[str, Passed] = {}  # by what a handle is called in the body

    def take_values(self, arguments: Slots) -> None:
        function = self._function
        for index, given in arguments.items():
            argument = function.signature.input_arg[index]
            argument.type = given.dtype
            argument.ClearField("handle_data")
            function.arg_attr.pop(index, None)
            self._carriers[argument.name] = given
        _set_shapes(function.attr, "_input_shapes", arguments)
        renamed: dict[str, str] = {}
        pending = list(function.node_def)
        while found := [node for node in pending if any(text in self._carriers for text in node.input)]:
            for node in found:
                self._convert(node, renamed)
            pending = [node for node in pending if node not in found]
        for node in function.node_def:
            node.input[:] = [renamed.get(text, text) for text in node.input]
        for output in function.signature.output_arg:
            text = function.ret[output.name]
            function.ret[output.name] = renamed.get(text, text)
            if text in self._carriers:  # what a loop hands to its next turn
                output.type = self._carriers[text].dtype
                output.ClearField("handle_data")

    def _convert(self, proto: Any, renamed: dict[str, str]) -> None:
        """Makes a node that reads handles read values; notes what its output is called then."""
        slots = {slot: self._carriers[text] for slot, text in enumerate(proto.input) if text in self._carriers}
        given = next(iter(slots.values()))
        node = Node(proto.name, proto.op, proto, 0)
        if proto.op in CALLING:
            self._library.convert(proto, slots)
            return
        if proto.op == "Identity":
            proto.attr["T"].type = given.dtype
            proto.attr.pop("_output_shapes", None)
            self._carriers[f"{proto.name}:output:0"] = given
            return
        if proto.op not in READERS:
            where = f"{self._function.signature.name}/{proto.name}"
            raise not_frozen(given.variable, where, proto.op, "it takes the variable's handle, and not its value")
        inputs, template = list(proto.input), READERS[proto.op](node, given.dtype)
        if proto.op == "ReadVariableOp":
            renamed[f"{proto.name}:value:0"] = f"{proto.name}:output:0"
            renamed[f"{proto.name}:value"] = f"{proto.name}:output"
        if proto.op == GATHER:
            data = [text for text in inputs if not text.startswith("^")]
            inputs[len(data) : len(data)] = [f"{self._add_axis(node)}:output:0"]
        name, device = proto.name, proto.device
        proto.CopyFrom(template)
        proto.name, proto.device = name, device
        proto.input.extend(inputs)

    def _add_axis(self, node: Node) -> str:
        taken = {proto.name for proto in self._function.node_def}
        names = (f"{node.name}/axis" + (f"_{number}" if number else "") for number in count())
        name = next(name for name in names if name not in taken)
        axis = self._function.node_def.add()
        axis.CopyFrom(gather_axis(node))
        axis.name = name
        return name


def _called(call: Any, how: _Calling) -> list[Any]:
    """The NameAttrLists of the functions that a call passes on."""
    found = list[Any]()
    for key in how.functions:
        attribute = call.attr[key]
        found += attribute.list.func if attribute.WhichOneof("value") == "list" else [attribute.func]
    return found


def _set_shapes(attributes: Any, key: str, arguments: Slots) -> None:
    """Notes the shapes of values where those of their handles, which are scalars, were noted."""
    shapes = attributes[key].list.shape if key in attributes else ()
    for argument, passed in arguments.items():
        if argument < len(shapes):
            shapes[argument].CopyFrom(passed.shape)
