"""Calls that the converter makes one operation of, by what their function says that it implements."""

from __future__ import annotations

from fqrewrite.ir.functions import Library
from fqrewrite.ir.graph import Node
from fqrewrite.proto.attrs import get_str

_OPERATIONS = {"lstm": "tfl.unidirectional_sequence_lstm"}
"""What the converter calls the result, by the beginning of `api_implements`; Keras 2 puts a number behind it."""


def fused_operation(node: Node, library: Library) -> str | None:
    """The name that the converter gives the operation that a call becomes; None for a call that is inlined."""
    attribute = node.proto.attr["f"].func.name if "f" in node.proto.attr else ""
    function = library.get(attribute)
    if function is None:
        return None
    return _OPERATIONS.get(get_str(function, "api_implements", "").partition("_")[0])
