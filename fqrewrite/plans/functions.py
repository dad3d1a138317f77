"""Layers inside library functions: those that were inlined, and those out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from fqrewrite.ir.functions import function_of, functions_of, reachable_functions
from fqrewrite.ir.graph import Graph, split_tensor
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.reach import ancestors
from fqrewrite.plans.items import FoldItem, LeftOut, QuantizerItem

LAYER_OPS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput", "BatchMatMulV2"})
"""What is looked for in functions."""

_Item = TypeVar("_Item", QuantizerItem, FoldItem, LeftOut)


class FunctionLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer in a function body that stays there.

    Attributes:
        name: ``function/node``.
        op: its op type.
        function: its function.
        reason: why it is left out.
    """

    name: str
    op: str
    function: str
    reason: str


def layers_in_functions(analysis: Analysis) -> Iterator[FunctionLayer]:
    """The layers in the library functions that the outputs run: in loops, conditionals, fused and recursive functions.

    A function that is called at several places counts once.
    """
    library = functions_of(analysis.graph.graph_def)
    if not library:
        return
    needed = ancestors(value.node for value in analysis.outputs)
    callers = {node.name: node for node in analysis.graph if node in needed}
    for name, path in reachable_functions(library, (node.proto for node in callers.values())).items():
        caller = callers[path[0]]
        for node in library[name].node_def:
            if node.op in LAYER_OPS:
                through = "".join(f" through {function!r}" for function in path[1:-1])
                reason = f"it is in the body of the function {name!r}, which {caller.name} ({caller.op}) runs{through}"
                yield FunctionLayer(name=f"{name}/{node.name}", op=node.op, function=name, reason=reason)


class Origins:
    """Tells the plan's records which function they are about."""

    def __init__(self, graph: Graph) -> None:
        self._functions = {node.name: function for node in graph if (function := function_of(node))}

    def quantizer(self, item: QuantizerItem) -> QuantizerItem:
        """A quantizer with its function."""
        return self._with(item, item.layer or split_tensor(item.tensor)[0])

    def fold(self, item: FoldItem) -> FoldItem:
        """A fold with its function."""
        return self._with(item, item.layer)

    def left_out(self, entry: LeftOut) -> LeftOut:
        """What is left out, with its function."""
        return self._with(entry, split_tensor(entry.name)[0] if entry.kind == "tensor" else entry.name)

    def _with(self, item: _Item, node: str) -> _Item:
        function = self._functions.get(node, "")
        return msgspec.structs.replace(item, function=function) if function else item
