"""What the parts of this package tell each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from fqrewrite.errors import Refusal
from fqrewrite.proto import message_class
from fqrewrite.proto.attrs import types_attr

CALL_OPS = ("StatefulPartitionedCall", "PartitionedCall")
GENERIC_OBJECT = "_generic_user_object"

SavedObject: Any = message_class("tensorflow.SavedObject")
StructuredValue: Any = message_class("tensorflow.StructuredValue")
FunctionDef: Any = message_class("tensorflow.FunctionDef")
SavedObjectGraph: Any = message_class("tensorflow.SavedObjectGraph")
TrackableObjectGraph: Any = message_class("tensorflow.TrackableObjectGraph")


class SignatureCall(NamedTuple):
    """A signature of a TF2 SavedModel: a call in the main graph of the function that is the signature.

    Attributes:
        key: of the signature.
        call: name of the calling node.
        function: name of the function.
        inputs: tensors of the main graph that are passed in and not captured.
        captures: object id of each captured tensor of the main graph, in the order of the function's arguments.
        types: DataType numbers of all these.
        output_types: DataType numbers of what the function returns.
    """

    key: str
    call: str
    function: str
    inputs: tuple[str, ...]
    captures: dict[str, int]
    types: dict[str, int]
    output_types: tuple[int, ...]


class Argument(NamedTuple):
    """An argument of a function: its ArgDef's name and type, its static shape, and for handles what is behind them."""

    name: str
    dtype: int
    shape: Any
    handle: tuple[int, Any] | None = None


class Capture(NamedTuple):
    """A resource or constant outside of a function that its body reads.

    Attributes:
        argument: what it is called in the function.
        tensor: in the main graph.
        object_id: of the object that owns it.
    """

    argument: Argument
    tensor: str
    object_id: int


class Core(NamedTuple):
    """The rewritten computation of a signature.

    Attributes:
        call: the signature, as it was.
        name: of the function that computes it.
        inputs: its arguments that are not captured.
        captures: the other arguments.
    """

    call: SignatureCall
    name: str
    inputs: tuple[Argument, ...]
    captures: tuple[Capture, ...]


def signature_call(meta_graph: Any, key: str) -> SignatureCall:
    """Finds the call behind a signature.

    Args:
        meta_graph: MetaGraphDef with an object graph, as TensorFlow 2 wrote it.
        key: of the signature.

    Raises:
        Refusal: `signature-not-a-call` when the main graph is no calls of functions that the object graph knows.
    """
    definition = meta_graph.signature_def[key]
    names = {info.name.partition(":")[0] for info in definition.outputs.values()}
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    node = nodes.get(names.pop()) if len(names) == 1 else None
    known = meta_graph.object_graph_def.concrete_functions
    if node is None or node.op not in CALL_OPS or node.attr["f"].func.name not in known:
        what = f"the signature {key!r} is not one call of a function of the object graph, as TensorFlow 2 writes it"
        raise Refusal("signature-not-a-call", what, where=key)
    function = str(node.attr["f"].func.name)
    bound = list(known[function].bound_inputs)
    inputs = [text for text in node.input if not text.startswith("^")]
    first = len(inputs) - len(bound)
    return SignatureCall(
        key=key,
        call=node.name,
        function=function,
        inputs=tuple(inputs[:first]),
        captures=dict(zip(inputs[first:], bound, strict=True)),
        types=dict(zip(inputs, node.attr["Tin"].list.type, strict=True)),
        output_types=tuple(node.attr["Tout"].list.type),
    )


def free_name(wanted: str, taken: set[str]) -> str:
    """The name, with a number at its end if it is taken; enters it among those."""
    name, number = wanted, 1
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name


def function_name(stem: str, taken: set[str]) -> str:
    """A name as TensorFlow's loader expects them, of which it shows the stem; enters it among those taken."""
    number = 0
    while (name := f"__inference_{stem}_{number}") in taken:
        number += 1
    taken.add(name)
    return name


def argument_name(text: str) -> str:
    """The text with nothing in it but what an argument's name may hold."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text.lower())
    return plain if plain[:1].isalpha() else f"x_{plain}"


def set_call(node: Any, function: str, types: Iterable[int], output_types: Iterable[int]) -> None:
    """Makes a call node call another function."""
    node.attr["f"].func.name = function
    node.attr["Tin"].CopyFrom(types_attr(types))
    node.attr["Tout"].CopyFrom(types_attr(output_types))
