"""The range of weights that are constants, as a frozen graph keeps them: known when the plan is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fqrewrite.ir.graph import Graph
from fqrewrite.match.layers import Layer
from fqrewrite.match.parameters import is_constant, transposed
from fqrewrite.plan.constants import evaluate, weight_range
from fqrewrite.plan.items import FoldItem, RangeSpec, Scheme

if TYPE_CHECKING:
    from fqrewrite.plan.constants import Array


def constant_weight_range(layer: Layer, fold: FoldItem | None, scheme: Scheme, graph: Graph) -> RangeSpec | None:
    """The range of constant weights, after folding.

    Args:
        layer: a layer whose weights are constants.
        fold: the batch norm that is folded into it.
        scheme: how the weights are quantized.
        graph: the source graph.

    Returns:
        The range; None when the batch norm is not constant, so that the folded weights are not either.

    Raises:
        NotConstant: an operation on the way is not evaluated here.
    """
    if fold is not None and not _is_constant(fold, graph):
        return None
    weights = evaluate(layer.weights)
    if fold is not None:
        weights = weights * _fold_scale(layer, fold, graph)
    axes = None
    if scheme.granularity == "per_channel":
        axes = (0, 1) if layer.kind == "depthwise" else tuple(range(weights.ndim - 1))
    low, high = weight_range(weights, axes, scheme.bits, scheme.symmetric, scheme.narrow_range)
    return RangeSpec(source="constant", minimum=low, maximum=high)


def _is_constant(fold: FoldItem, graph: Graph) -> bool:
    names = [name for name in (fold.variance, fold.gamma) if name is not None]
    return fold.statistics == "moving" and all(is_constant(graph.value(name)) for name in names)


def _fold_scale(layer: Layer, fold: FoldItem, graph: Graph) -> Array:
    """gamma / sqrt(variance + epsilon), shaped to be multiplied with the weights."""
    import numpy as np

    variance, *gamma = (evaluate(graph.value(name)) for name in (fold.variance, fold.gamma) if name is not None)
    scale: Array = (1.0 / np.sqrt(variance + np.float32(fold.epsilon))).astype(np.float32)
    if gamma:
        scale = scale * gamma[0]
    scale = scale.ravel()
    if layer.kind == "depthwise":
        return scale.reshape(evaluate(layer.weights).shape[2:])
    if layer.kind == "matmul" and transposed(layer.node, "b"):
        return scale.reshape(-1, 1)
    return scale
