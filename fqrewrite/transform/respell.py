"""Operations without integer kernels written as others that have one and compute the same, to the last bit."""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Node
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter


def respell(node: Node, emitter: Emitter) -> None:
    """Turns an AddN of two inputs into an Add, a Square into a Mul, and a Neg into a Mul by -1.

    Raises:
        GraphError: it is another operation.
    """
    inputs = tuple(node.inputs)
    if node.op == "AddN" and len(inputs) == 2:
        emitter.editor.become(node, templates.ADD, inputs)
    elif node.op == "Square":
        emitter.editor.become(node, templates.MUL, inputs * 2)
    elif node.op == "Neg":
        minus_one = emitter.constant(-1.0, node.proto.device)
        emitter.editor.become(node, templates.MUL, (*inputs, minus_one))
    else:
        what = f"the plan wants to write it in another way, which {node.op} has none of"
        raise GraphError("plan-mismatch", what, where=node.name)
