"""Functions that do nothing but call another one: a signature, and whatever else computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fqrewrite.outline.body import add_effect, set_signature
from fqrewrite.outline.records import Argument, Core, FunctionDef, set_call
from fqrewrite.proto.attrs import shape_proto

_CALL = "StatefulPartitionedCall"  # no argument's name: those are in lower case


def wrap(core: Core, name: str, model: Any, inputs: Sequence[int], outputs: Sequence[int], call: Any) -> Any:
    """Makes a function that calls the core in the way of a function that computed the same before.

    Args:
        core: what is called. Its captures are the new function's last arguments.
        name: of the new function.
        model: FunctionDef of the function that it stands in for; its arguments, without those it captured, and what it
            returns are kept.
        inputs: of each argument of the core, the number of the argument that is passed on.
        outputs: of each thing that is returned, which output of the core it is.
        call: NodeDef of a call, for its attributes.

    Returns:
        FunctionDef.
    """
    arguments = own_arguments(model, len(inputs))
    taken = {argument.name for argument in arguments}
    captures = [capture.argument for capture in core.captures]
    captures = [entry._replace(name=f"captured_{entry.name}") if entry.name in taken else entry for entry in captures]
    returned = model.signature.output_arg
    function = FunctionDef()
    set_signature(function, name, [*arguments, *captures], [(entry.name, entry.type) for entry in returned])
    for number in range(len(arguments)):  # the names that users see in error messages
        if number in model.arg_attr:
            function.arg_attr[number].CopyFrom(model.arg_attr[number])
    node = function.node_def.add()
    node.CopyFrom(call)
    node.name, node.op = _CALL, _CALL
    node.attr.pop("_output_shapes", None)
    shapes = {number: _shape(model, entry.name) for number, entry in zip(outputs, returned, strict=True)}
    # Without, the loader knows no shape of what is returned: it infers none from handles.
    listed = node.attr["_output_shapes"].list.shape
    listed.extend(shapes.get(number) or shape_proto(None) for number in range(len(core.call.output_types)))
    passed = [arguments[number] for number in inputs] + captures
    del node.input[:]
    node.input.extend(argument.name for argument in passed)
    set_call(node, core.name, [argument.dtype for argument in passed], core.call.output_types)
    for entry, number in zip(returned, outputs, strict=True):
        function.ret[entry.name] = f"{_CALL}:output:{number}"
    add_effect(function, _CALL)
    return function


def own_arguments(function: Any, count: int) -> list[Argument]:
    """The first arguments of a FunctionDef, with their static shapes."""
    shapes = function.attr["_input_shapes"].list.shape if "_input_shapes" in function.attr else ()
    found = []
    for number, entry in enumerate(function.signature.input_arg[:count]):
        shape = shapes[number] if number < len(shapes) else shape_proto(None)
        found.append(Argument(entry.name, entry.type, shape))
    return found


def _shape(function: Any, output: str) -> Any:
    """The static shape of what a function returns, as it was traced; None when it does not say."""
    name, _, rest = function.ret[output].partition(":")
    index = int(rest.rpartition(":")[2] or 0)
    for node in function.node_def:
        if node.name == name and "_output_shapes" in node.attr:
            shapes = node.attr["_output_shapes"].list.shape
            single = ":" in rest and index < len(shapes) and len(rest.split(":")) == 2
            return shapes[index] if single else None
    return None
