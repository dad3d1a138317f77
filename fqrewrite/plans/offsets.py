"""Which batch norms add one number, beta - (mean - bias) * gamma / sqrt(variance + epsilon), to all channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fqrewrite.ir.graph import Graph, Value
from fqrewrite.match.batch_norm import FUSED_OPS, batch_norm
from fqrewrite.match.parameters import Parameters
from fqrewrite.plans.constants import NotConstant, evaluate
from fqrewrite.plans.items import Plan, UniformOffset

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array

_FEW = 2.0**-22
"""How far numbers may differ, as a part of them, that another order of computing would make the same."""


def find_uniform_offsets(plan: Plan, constants: Graph) -> Plan:
    """Marks the batch norms whose offset becomes a uniform bias beside weights with a range for each channel.

    Args:
        plan: any.
        constants: the inference graph that the plan is for, its variables as constants.
    """
    scaled = {item.fold for item in plan.quantizers if item.fold and item.scheme.granularity == "per_channel"}
    norms = {item.norm: item.bias for item in plan.folds if item.id in scaled}
    norms |= {name: None for name in plan.respelled if constants.node(name).op in FUSED_OPS}
    found = [_uniform_offset(name, bias, constants) for name, bias in norms.items()]
    return msgspec.structs.replace(plan, uniform_offsets=tuple(entry for entry in found if entry is not None))


def _uniform_offset(name: str, bias: str | None, graph: Graph) -> UniformOffset | None:
    """The offset of a batch norm when it is known, and is one number, and not 0, for several channels."""
    import numpy as np

    norm = batch_norm(graph.node(name), Parameters())
    if norm is None or norm.mean is None or norm.variance is None:
        return None

    try:
        scale = _numbers(norm.gamma, 1) / np.sqrt(_numbers(norm.variance, 1) + np.float32(norm.epsilon))
        mean = _numbers(norm.mean, 0) - _numbers(None if bias is None else graph.value(bias), 0)
        offset = _numbers(norm.beta, 0) - mean * scale
    except NotConstant:
        return None
    first = float(offset[0])
    if offset.size == 1 or first == 0 or not np.all(np.abs(offset - first) <= abs(first) * _FEW):
        return None
    return UniformOffset(norm=name, offset=first, channels=offset.size)


def _numbers(value: Value | None, otherwise: float) -> Array:
    """The numbers of a constant, float32[C]; of none, float32[1] of another number."""
    import numpy as np

    return np.full(1, otherwise, np.float32) if value is None else evaluate(value).ravel()
