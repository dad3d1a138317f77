"""What the layer rules share: the conditions under which an operation is a layer, and the listing of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer, LayerKind
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.proposal import Decline, LayerProposal, Proposal
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name


def propose_layer(
    node: Node, analysis: Analysis, kind: LayerKind, slots: tuple[int, ...], operands: tuple[int, ...] = (0, 1)
) -> Iterator[Proposal]:
    """The node is a layer when one of the input slots holds a parameter and the others data.

    Args:
        node: the operation.
        analysis: the graph around it.
        kind: what kind of layer it would be.
        slots: the input slots that may hold the weights, the usual one first.
        operands: the input slots that hold weights and data.
    """
    if len(node.inputs) <= max(operands):
        return
    parameter = analysis.parameters.is_parameter
    if all(parameter(node.inputs[slot]) for slot in operands):
        return  # part of the computation of a parameter, not a layer
    slot = next((slot for slot in slots if parameter(node.inputs[slot])), None)
    dtype = dtype_of(node)
    if node in analysis.control_flow:
        code, reason = "inside-control-flow", "it is inside a conditional or a while loop"
    elif slot is None:
        code, reason = "weights-are-data", "its weights depend on the graph's input, not on variables alone"
    elif dtype != DT_FLOAT:
        code, reason = "dtype-not-float32", f"it computes in {dtype_name(dtype)}; fake quantizers take float32"
    else:
        yield LayerProposal(Layer(node, kind, slot))
        return
    yield Decline(kind="layer", node=node, code=code, reason=reason)


def list_layers(why: Mapping[str, str]) -> Callable[[Node, Analysis], Iterator[Proposal]]:
    """What a rule proposes whose operations stay float: they are listed, but for those that compute parameters.

    Args:
        why: the reason by op type.
    """

    def propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
        if not all(analysis.parameters.is_parameter(operand) for operand in node.inputs):
            yield Decline(kind="layer", node=node, code="layer-not-quantizable", reason=why[node.op])

    return propose
