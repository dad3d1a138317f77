"""Which layers get one number added to all channels.

A batch norm adds beta - (mean - bias) * gamma / sqrt(variance + epsilon), a layer's biases add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.batch_norm import FUSED_OPS, batch_norm
from fqrewrite.match.parameters import BIAS_ADDS, Parameters
from fqrewrite.plans.constants import NotConstant, evaluate
from fqrewrite.plans.items import Plan, UniformOffset

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array

_FEW = 2.0**-22
"""How far numbers may differ, as a part of them, that another order of computing would make the same."""


def find_uniform_offsets(plan: Plan, constants: Graph) -> Plan:
    """Marks what becomes a uniform bias beside weights with a range for each channel.

    Args:
        plan: any.
        constants: the inference graph that the plan is for, its variables as constants.
    """
    by_channel = [item for item in plan.quantizers if item.scheme.granularity == "per_channel"]
    scaled = {item.fold for item in by_channel if item.fold}
    norms = {item.norm: item.bias for item in plan.folds if item.id in scaled}
    norms |= {name: None for name in plan.respelled if constants.node(name).op in FUSED_OPS}
    found = [_uniform_offset(name, bias, constants) for name, bias in norms.items()]
    layers = {edge.rpartition(":in")[0] for item in by_channel if not item.fold for edge in item.edges or ()}
    ends = {item.layer: item.tensor for item in plan.quantizers if item.layer in layers and item.role != "weights"}
    found += [_uniform_bias(constants.node(layer), constants.value(ends[layer])) for layer in ends if layer]
    return msgspec.structs.replace(plan, uniform_offsets=tuple(entry for entry in found if entry is not None))


def _uniform_bias(layer: Node, result: Value) -> UniformOffset | None:
    """The sum of what is added between a layer and the result of its kernel, as `_uniform_offset`."""
    import numpy as np

    added: list[tuple[str, Array]] = []
    node = layer
    while node is not result.node and len(node.uses) == 1:
        node, slot = node.uses[0]
        if node.op in BIAS_ADDS and len(node.inputs) == 2:
            try:
                bias = evaluate(node.inputs[1 - slot])
            except NotConstant:
                return None
            added.append((node.name, -bias if node.op == "Sub" else bias))
    vectors = [(name, bias) for name, bias in added if bias.size > 1]
    if node is not result.node or len({bias.size for _, bias in vectors}) != 1:
        return None
    name, vector = vectors[0]
    total = np.sum([bias.ravel() * np.ones(vector.size, np.float32) for _, bias in added], axis=0)
    return _of_one_number(name, total)


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
    return _of_one_number(name, offset)


def _of_one_number(name: str, offset: Array) -> UniformOffset | None:
    import numpy as np

    first = float(offset[0])
    if offset.size == 1 or first == 0 or not np.all(np.abs(offset - first) <= abs(first) * _FEW):
        return None
    return UniformOffset(node=name, offset=first, channels=offset.size)


def _numbers(value: Value | None, otherwise: float) -> Array:
    """The numbers of a constant, float32[C]; of none, float32[1] of another number."""
    import numpy as np

    return np.full(1, otherwise, np.float32) if value is None else evaluate(value).ravel()
