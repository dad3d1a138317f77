"""Graphs that must not be rewritten: those with a backward pass, and those that were rewritten before.

Both are recognised by what nodes do, not by what they are called.
"""

from __future__ import annotations

import re

from fqrewrite.errors import Refusal
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import FAKE_QUANT_OPS, read_variable, strip_identity, transposed
from fqrewrite.match.reach import descendants

# Op types that only a backward pass or an optimizer uses. Conv2DBackpropInput is not one: it is also the forward
# transposed convolution. StopGradient and PreventGradient belong to the forward pass.
_BACKWARD = re.compile(
    r"(Grad(V\d+|ient|ientPerChannel|WithArgmax|Grad|GradWithArgmax)?$|BackpropFilter|"
    r"^(Resource)?(Sparse)?Apply[A-Z]|^SymbolicGradient$)"
)
_UPDATE_STEPS = frozenset({"Identity", "Mul", "Neg", "Add", "AddV2", "AddN"})
_FORWARD = frozenset({"StopGradient", "PreventGradient"})
_QUANTIZER_SCOPE = re.compile(r"(weights|act|conv|add|post_activation_bypass|activation_[A-Za-z0-9]+)_quant(_\d+)?$")
MARKER_OP, MARKER_NAME = "Const", "fqrewrite/provenance"


def is_backward(op: str) -> bool:
    """Whether only a backward pass or an optimizer uses this op type."""
    return bool(_BACKWARD.search(op)) and op not in _FORWARD


def backward_pass(graph: Graph) -> set[Node]:
    """Gradients, optimizers, and all that reads them."""
    return descendants(node for op in graph.op_types() if is_backward(op) for node in graph.by_op(op))


def refuse_backward_pass(analysis: Analysis) -> None:
    """Refuses a graph that holds gradients or an optimizer.

    Quantizers that are inserted now would stand in the forward pass only, and the gradients would be those of
    another function.

    Raises:
        Refusal: `graph-has-gradients`, naming the first such nodes.
    """
    graph = analysis.graph
    ops = [op for op in graph.op_types() if is_backward(op)]
    found = graph.by_op(*ops) if ops else _matmul_gradients(analysis)
    if found:
        names = ", ".join(f"{node.name} ({node.op})" for node in found[:3])
        raise Refusal(
            "graph-has-gradients", f"the graph holds a backward pass: {len(found)} such nodes, the first are {names}"
        )


def _matmul_gradients(analysis: Analysis) -> list[Node]:
    """x^T * dy for a forward x * W: the gradient of a MatMul with respect to its weights, made of MatMuls alone."""
    found = []
    for node in analysis.graph.by_op("MatMul"):
        if len(node.inputs) != 2 or not transposed(node, "a") or transposed(node, "b"):
            continue
        x, dy = node.inputs
        if analysis.parameters.is_parameter(x) or analysis.parameters.is_parameter(dy):
            continue
        forward = [
            consumer
            for consumer in x.consumers()
            if consumer.op == "MatMul"
            and consumer is not node
            and consumer.inputs[0] == x
            and analysis.parameters.is_parameter(consumer.inputs[1])
        ]
        if _goes_nowhere(node) and any(_depends_on(dy, layer) for layer in forward):
            found.append(node)
    return found


def _goes_nowhere(node: Node) -> bool:
    """Whether a result only feeds an update, as a gradient does; that of a soft assignment (NetVLAD) goes on."""
    return all(consumer.op in _UPDATE_STEPS or consumer.op.startswith("Assign") for consumer, _ in node.uses)


def _depends_on(value: Value, source: Node) -> bool:
    seen, queue = {value.node}, [value.node]
    for node in queue:
        if node is source:
            return True
        for operand in node.inputs:
            if operand.node not in seen:
                seen.add(operand.node)
                queue.append(operand.node)
    return False


def refuse_rewritten(graph: Graph) -> None:
    """Refuses a graph that this tool, or tf.contrib.quantize, has rewritten.

    A model's own fake quantizers are welcome: only quantizers whose ranges are variables below a quantizer's own
    scope, as a rewrite makes them, count.

    Raises:
        Refusal: `already-rewritten`.
    """
    marker = graph.nodes.get(MARKER_NAME)
    if marker is not None and marker.op == MARKER_OP:
        raise Refusal("already-rewritten", "fqrewrite has rewritten this graph before", where=MARKER_NAME)
    for node in graph.by_op(*FAKE_QUANT_OPS):
        if _QUANTIZER_SCOPE.search(node.scope) and len(node.inputs) == 3 and _own_range(node):
            raise Refusal(
                "already-rewritten",
                "the graph holds fake quantizers that tf.contrib.quantize or fqrewrite inserted",
                where=node.name,
            )


def _own_range(node: Node) -> bool:
    """Whether the quantizer's lower end is the variable <scope>/min, or what has just been assigned to it."""
    value = strip_identity(node.inputs[1])
    if value.node.op in ("Assign", "AssignSub"):
        value = value.node.inputs[0]
    variable = read_variable(value)
    return variable is not None and variable.name == f"{node.scope}/min"
