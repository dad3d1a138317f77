"""Operations on a variable's handle, and the like of each for the variable's value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fqrewrite.errors import Refusal
from fqrewrite.ir.graph import Node
from fqrewrite.proto.attrs import get_int, get_type, int_attr, type_attr
from fqrewrite.proto.dtypes import DT_INT32
from fqrewrite.transform import templates


def _identity(_: Node, dtype: int) -> Any:
    return templates.template("Identity", T=type_attr(dtype))


def _gather(node: Node, dtype: int) -> Any:
    number = type_attr(get_type(node.proto, "Tindices", DT_INT32))
    batch_dims = get_int(node.proto, "batch_dims", 0)
    given = {"batch_dims": int_attr(batch_dims)} if batch_dims else {}
    return templates.template("GatherV2", Tparams=type_attr(dtype), Tindices=number, Taxis=type_attr(DT_INT32), **given)


def _gather_nd(node: Node, dtype: int) -> Any:
    number = type_attr(get_type(node.proto, "Tindices", DT_INT32))
    return templates.template("GatherNd", Tparams=type_attr(dtype), Tindices=number)


def _shape(node: Node, dtype: int) -> Any:
    number = type_attr(get_type(node.proto, "out_type", DT_INT32))
    return templates.template("Shape", T=type_attr(dtype), out_type=number)


READERS: dict[str, Callable[[Node, int], Any]] = {
    "ReadVariableOp": _identity,
    "ResourceGather": _gather,
    "ResourceGatherNd": _gather_nd,
    "VariableShape": _shape,
}
"""By op, what makes the NodeDef of the operation on a value: of the node, and the variable's dtype."""

GATHER = "ResourceGather"
"""Of these, the only one whose like takes one input more: the axis."""


def gather_axis(node: Node) -> Any:
    """The NodeDef of the axis that the like of a `GATHER` takes as its last input."""
    return templates.scalar(get_int(node.proto, "batch_dims", 0), DT_INT32)


def not_frozen(variable: str, node: str, op: str, why: str) -> Refusal:
    """The refusal of an operation that there is no like of for values."""
    what = f"the variable {variable!r} cannot become a constant: {op} {node!r} needs it, and {why}"
    return Refusal("variable-not-frozen", what, where=node)
