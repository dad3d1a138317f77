"""Any other Add or Mul of something quantized."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.dropout import dropped_out
from fqrewrite.match.proposal import Decline, ElementwiseProposal, Proposal, Rule

_ELEMENTWISE = frozenset({"Add", "AddV2", "Mul"})
_RELU = frozenset({"Relu", "Relu6"})
_FAKE_QUANT = "FakeQuantWithMinMaxVars"  # of the model itself; tf.contrib.quantize starts from no other kind
_PASS = frozenset({"Reshape", "Identity", "BatchToSpaceND", "SpaceToBatchND", "MaxPool", "Max"})


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if not _reads_quantized(node, analysis):
        return
    if dropped_out(node) is not None:
        reason = "it is part of a dropout, which an inference graph does not have"
        yield Decline(kind="tensor", node=node, code="inside-dropout", reason=reason)
    elif node in analysis.control_flow:
        reason = "it is inside a conditional or a while loop"
        yield Decline(kind="tensor", node=node, code="inside-control-flow", reason=reason)
    else:
        yield ElementwiseProposal(node.value())


def _reads_quantized(node: Node, analysis: Analysis) -> bool:
    """Whether an Add or Mul reads something quantized and ends no layer itself.

    The answers are remembered: nodes are asked in topological order, so an answer about an earlier node is final.
    """
    known = analysis.elementwise
    if node not in known:
        known[node] = (
            node.op in _ELEMENTWISE
            and node not in analysis.settled
            and not _feeds_only_relu(node)
            and any(_leads_to_quantized(operand, analysis) for operand in node.inputs)
        )
    return known[node]


def _feeds_only_relu(node: Node) -> bool:
    uses = node.value().uses()
    return len(uses) == 1 and uses[0][0].op in _RELU


def _leads_to_quantized(value: Value, analysis: Analysis) -> bool:
    while True:
        node = value.node
        if value in analysis.quantized or node.op == _FAKE_QUANT:
            return True
        if value in analysis.fold_outputs:
            return False
        if node.op in _PASS:
            value = node.inputs[0]
            continue
        data = dropped_out(node)
        if data is None:
            break
        value = data
    return node.op in _ELEMENTWISE and any(_reads_quantized(operand.node, analysis) for operand in node.inputs)


RULE = Rule(
    name="elementwise",
    phase="elementwise",
    ops=("Add", "AddV2", "Mul"),
    summary="Any other `Add` or `Mul` that reads something quantized (through reshapes and max pools) is quantized, "
    "unless a single `Relu` or `Relu6` follows; never inside dropout.",
    propose=_propose,
)
