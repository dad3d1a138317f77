"""Layers inside library functions, which this version does not reach into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_LAYER_OPS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput", "BatchMatMulV2"})


class FunctionLayer(msgspec.Struct, frozen=True):
    """A layer in a function body: ``function/node``, its op type, and why it is left out."""

    name: str
    op: str
    reason: str


def layers_in_functions(graph_def: Any) -> Iterator[FunctionLayer]:
    """The layers in the bodies of a GraphDef's library functions."""
    for function in graph_def.library.function:
        name = function.signature.name
        for node in function.node_def:
            if node.op in _LAYER_OPS:
                yield FunctionLayer(f"{name}/{node.name}", node.op, f"it is in the body of the function {name!r}")
