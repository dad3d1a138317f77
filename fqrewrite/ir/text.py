"""A tiny printed form of graphs, both ways, for tests and messages. One node a line:

    x = Placeholder {shape: [?, 8, 8, 3]}
    w = VariableV2 {shape: [3, 3, 3, 4]}
    y = Conv2D(x, w) {strides: [1, 2, 2, 1]}        # padding SAME and T float go without saying
    eps = Const {value: 0.001}
    z = Relu6(y:0, ^init) @ /device:CPU:0

Attributes that TensorFlow insists on have defaults, which are left out when a graph is printed; the value
`none` takes a default away. How values are written is told in `ir.text_values`. Versions and library
functions have no printed form, and constants keep their numbers but not how they are stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fqrewrite.errors import GraphError
from fqrewrite.ir.text_values import (
    Inexpressible,
    Written,
    format_attribute,
    format_constant,
    parse_value,
    to_attribute,
    to_constant,
)
from fqrewrite.proto.attrs import bytes_attr, get_type, int_attr, ints_attr, tensor_attr, type_attr
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT32
from fqrewrite.proto.messages import GraphDef

_LINE = re.compile(
    r"(?P<name>[^\s=(){}]+)\s*=\s*(?P<op>\w+)\s*(?:\((?P<inputs>[^()]*)\))?\s*"
    r"(?:\{(?P<attrs>.*)\})?\s*(?:@\s*(?P<device>\S+))?"
)
_COMMENT = re.compile(r'((?:[^"#]|"(?:[^"\\]|\\.)*")*)#.*')
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\],:]|[^\s\[\],:"]+)')

# Attributes for which TensorFlow's op registry has no default. An op that is not listed gets T alone.
_FLOAT = type_attr(DT_FLOAT)
_T, _DTYPE = {"T": _FLOAT}, {"dtype": _FLOAT}
_CONV = {**_T, "strides": ints_attr([1, 1, 1, 1]), "padding": bytes_attr("SAME")}
_CONV_3D = {**_CONV, "strides": ints_attr([1, 1, 1, 1, 1])}
_POOL = {**_CONV, "strides": ints_attr([1, 2, 2, 1]), "ksize": ints_attr([1, 2, 2, 1])}
_REQUIRED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("NoOp LoopCond LogicalAnd LogicalOr LogicalNot", {}),
    ("FakeQuantWithMinMaxVars FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVarsPerChannel", {}),
    ("Const Placeholder PlaceholderWithDefault VariableV2 Variable VarHandleOp ReadVariableOp", _DTYPE),
    ("AssignVariableOp AssignSubVariableOp AssignAddVariableOp", _DTYPE),
    ("RandomUniform RandomStandardNormal TruncatedNormal", {**_DTYPE, "T": type_attr(DT_INT32)}),
    ("Conv2D DepthwiseConv2dNative Conv2DBackpropInput Conv2DBackpropFilter", _CONV),
    ("Conv3D Conv3DBackpropInputV2", _CONV_3D),
    ("MaxPool AvgPool", _POOL),
    ("FusedBatchNormV2 FusedBatchNormV3", {**_T, "U": _FLOAT}),
    ("Cast", {"SrcT": _FLOAT, "DstT": _FLOAT}),
)
_DEFAULTS = {op: attributes for ops, attributes in _REQUIRED for op in ops.split()}
_COUNTED = {"Merge": 0, "Pack": 0, "AddN": 0, "Einsum": 0, "ConcatV2": 1}
"""Ops whose attribute N is the number of their data inputs, and how many of these do not count."""


def parse(text: str) -> Any:
    """The GraphDef of a printed graph. Only the form is checked: tests of errors need graphs that are wrong.

    Raises:
        GraphError: `graph-text-syntax`, with the line.
    """
    graph_def = GraphDef()
    for number, line in enumerate(text.splitlines(), start=1):
        comment = _COMMENT.fullmatch(line)
        line = (comment[1] if comment else line).strip()
        if not line:
            continue
        try:
            _parse_node(line, graph_def.node.add())
        except (ValueError, TypeError, OverflowError) as error:
            raise GraphError("graph-text-syntax", f"{error}: {line}", where=f"line {number}") from None
    return graph_def


def format_graph(graph_def: Any) -> str:
    """The printed form of a GraphDef's nodes, in their order, attributes sorted by key.

    Raises:
        GraphError: `graph-text-inexpressible` when an attribute has no printed form (a function, a tensor
            that is not the value of a Const).
    """
    return "".join(_format_node(node) + "\n" for node in graph_def.node)


def _defaults(op: str, inputs: list[str]) -> dict[str, Any]:
    found = dict(_DEFAULTS.get(op, _T))
    if op in _COUNTED:
        found["N"] = int_attr(sum(text[:1] != "^" for text in inputs) - _COUNTED[op])
    return found


def _parse_node(line: str, node: Any) -> None:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("not of the form `name = Op(inputs) {attributes} @ device`")
    node.name, node.op, node.device = match["name"], match["op"], match["device"] or ""
    inputs = [text.strip() for text in (match["inputs"] or "").split(",")]
    if inputs != [""]:
        if "" in inputs:
            raise ValueError("an input is empty")
        node.input.extend(inputs)
    written = _parse_attributes(match["attrs"] or "")
    attributes = _defaults(node.op, list(node.input))
    if node.op == "Const" and "value" in written:
        tensor = to_constant(written.pop("value"), written.pop("dtype", None), written.pop("shape", None))
        attributes |= {"dtype": type_attr(tensor.dtype), "value": tensor_attr(tensor)}
    for key, value in written.items():
        if value is None:
            attributes.pop(key, None)
        else:
            attributes[key] = to_attribute(key, value)
    for key, attribute in attributes.items():
        node.attr[key].CopyFrom(attribute)


def _parse_attributes(text: str) -> dict[str, Written]:
    tokens = _tokens(text.rstrip())
    found: dict[str, Written] = {}
    token = next(tokens, "")
    while token:
        key = token
        if next(tokens, "") != ":":
            raise ValueError(f"the attribute {key!r} has no value")
        if key in found:
            raise ValueError(f"the attribute {key!r} occurs twice")
        found[key] = parse_value(next(tokens, ""), tokens)
        token = next(tokens, "")
        if token not in ("", ","):
            raise ValueError(f"{token!r} where a comma should be")
        token = next(tokens, "")
    return found


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError("a quote is not closed")
        yield match[1]
        position = match.end()


def _format_node(node: Any) -> str:
    text = f"{node.name} = {node.op}"
    if node.input:
        text += f"({', '.join(node.input)})"
    attributes = _format_attributes(node)
    if attributes:
        text += f" {{{', '.join(attributes)}}}"
    return f"{text} @ {node.device}" if node.device else text


def _format_attributes(node: Any) -> list[str]:
    defaults = _defaults(node.op, list(node.input))
    printed = [f"{key}: none" for key in sorted(defaults) if key not in node.attr]
    dtype = get_type(node, "dtype", None)
    constant = node.op == "Const" and "value" in node.attr and node.attr["value"].tensor.dtype == dtype
    for key in sorted(node.attr):
        attribute = node.attr[key]
        try:
            if constant and key == "value":
                printed += format_constant(attribute.tensor)
            elif not (constant and key == "dtype") and defaults.get(key) != attribute:
                printed.append(f"{key}: {_format_checked(key, attribute)}")
        except Inexpressible:
            what = f"the attribute {key!r} has no printed form"
            raise GraphError("graph-text-inexpressible", what, where=node.name) from None
    return printed


def _format_checked(key: str, attribute: Any) -> str:
    text = format_attribute(attribute)
    try:
        written = _parse_attributes(f"{key}: {text}")[key]
        if to_attribute(key, written) == attribute:
            return text
    except ValueError:
        pass
    raise Inexpressible(key)
