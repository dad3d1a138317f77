"""What a graph takes and gives, as a serving signature: placeholders and outputs by key."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

import msgspec

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.proto.attrs import get_shape, get_type
from fqrewrite.proto.dtypes import DT_BOOL, DT_FLOAT, DT_INT32, DT_INT64, DT_INVALID, DT_STRING, base_dtype

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_WITH_DEFAULT = "PlaceholderWithDefault"
# Before this version of GraphDef a placeholder of unknown shape was written as a scalar.
_FIRST_PRODUCER_WITH_SCALARS = 24

# The dtype of an output that no attribute tells, or an attribute of an unusual name and its default; else T or dtype.
_BOOLS = frozenset(
    {"Equal", "NotEqual", "ApproximateEqual", "Less", "LessEqual", "Greater", "GreaterEqual"}
    | {"LogicalAnd", "LogicalOr", "LogicalNot", "All", "Any", "IsFinite", "IsInf", "IsNan", "InTopK", "InTopKV2"}
)
_FIXED = {
    "AsString": DT_STRING,
    "Bucketize": DT_INT32,
    "NonMaxSuppression": DT_INT32,
    "NonMaxSuppressionV2": DT_INT32,
    "NonMaxSuppressionV3": DT_INT32,
    "Rank": DT_INT32,
    "StringLength": DT_INT32,
    "Where": DT_INT64,
}
_FIXED_LATER = {("TopK", 1): DT_INT32, ("TopKV2", 1): DT_INT32, ("Merge", 1): DT_INT32}
_ATTRIBUTES = {
    "ArgMax": ("output_type", DT_INT64),
    "ArgMin": ("output_type", DT_INT64),
    "Bitcast": ("type", DT_FLOAT),
    "Cast": ("DstT", DT_FLOAT),
    "Dequantize": ("dtype", DT_FLOAT),
    "Gather": ("Tparams", DT_FLOAT),
    "GatherNd": ("Tparams", DT_FLOAT),
    "GatherV2": ("Tparams", DT_FLOAT),
    "LookupTableFindV2": ("Tout", DT_FLOAT),
    "Shape": ("out_type", DT_INT32),
    "ShapeN": ("out_type", DT_INT32),
    "Size": ("out_type", DT_INT32),
    "StringToNumber": ("out_type", DT_FLOAT),
}
_LISTS = {"IdentityN": "T", "While": "T", "StatelessWhile": "T", "IteratorGetNext": "output_types"} | dict.fromkeys(
    ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase"), "Tout"
)


class TensorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of a signature.

    Attributes:
        tensor: its name, ``node:port``.
        dtype: DataType number.
        shape: -1 for an unknown dimension, None for an unknown rank.
    """

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None = None


def signature_of(graph: Graph, outputs: Iterable[Value]) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """The inputs and outputs of a signature by key: the last component of the node's name, made an identifier.

    Inputs are the placeholders that the outputs depend on, in graph order. Of those with a default, scalars are
    settings (a dropout rate, a training switch) and no inputs. Output shapes are not inferred.
    """
    outputs = list(outputs)
    inputs: dict[str, TensorInfo] = {}
    needed = needed_placeholders((value.node for value in outputs), stop=frozenset())
    for node in sorted(needed, key=lambda node: node.index):
        shape = _placeholder_shape(graph, node)
        if node.op in _PLACEHOLDERS or shape != ():
            info = TensorInfo(tensor=f"{node.name}:0", dtype=output_dtype(node.value()), shape=shape)
            inputs[_key(node.name, inputs)] = info
    named: dict[str, TensorInfo] = {}
    for value in dict.fromkeys(outputs):
        name = f"{value.node.name}_{value.port}" if value.port else value.node.name
        named[_key(name, named)] = TensorInfo(tensor=str(value), dtype=output_dtype(value))
    return inputs, named


def needed_placeholders(roots: Iterable[Node], stop: frozenset[Node]) -> list[Node]:
    """The placeholders, also those with a default, that the roots depend on by data or control edges.

    Args:
        roots: where to start.
        stop: nodes that are fed; what is behind them is not needed, and they are not listed.
    """
    stack = list(dict.fromkeys(roots))
    seen, found = {*stack, *stop}, list[Node]()
    for node in stack:
        if node in stop:
            continue
        if node.op in _PLACEHOLDERS or node.op == _WITH_DEFAULT:
            found.append(node)
        for before in (*(value.node for value in node.inputs), *node.controls):
            if before not in seen:
                seen.add(before)
                stack.append(before)
    return found


def must_be_fed(node: Node) -> bool:
    """Whether it is a placeholder without a default."""
    return node.op in _PLACEHOLDERS


def output_dtype(value: Value) -> int:
    """DataType number of a tensor, by its op's attributes; float32 for an op that says nothing.

    Known are TensorFlow's usual rules and the ops that outputs of models are made of; an output of an op whose second
    output differs from its first in an unusual way gets the first one's.
    """
    node, port = value
    fixed = _FIXED_LATER.get((node.op, port), _FIXED.get(node.op))
    if fixed is not None:
        return fixed
    if node.op in _BOOLS:
        return DT_BOOL
    if node.op in _ATTRIBUTES:
        key, default = _ATTRIBUTES[node.op]
        return get_type(node.proto, key, default)
    if node.op in _LISTS:
        types = node.proto.attr[_LISTS[node.op]].list.type if _LISTS[node.op] in node.proto.attr else ()
        return int(types[port]) if port < len(types) else DT_FLOAT
    number = get_type(node.proto, "T", DT_INVALID) or get_type(node.proto, "dtype", DT_INVALID)
    return base_dtype(number) or DT_FLOAT


def _placeholder_shape(graph: Graph, node: Node) -> tuple[int, ...] | None:
    shape = get_shape(node.proto, "shape")
    if shape == () and graph.graph_def.versions.producer < _FIRST_PRODUCER_WITH_SCALARS:
        return None
    return shape


def _key(name: str, taken: dict[str, TensorInfo]) -> str:
    """A key that is a Python identifier and not taken: TensorFlow 2 calls signatures with keyword arguments."""
    wanted = re.sub(r"[^A-Za-z0-9_]", "_", name.rpartition("/")[2])
    if not wanted.isidentifier() or keyword.iskeyword(wanted):
        wanted = f"tensor_{wanted}"
    key, number = wanted, 0
    while key in taken:
        number += 1
        key = f"{wanted}_{number}"
    return key
