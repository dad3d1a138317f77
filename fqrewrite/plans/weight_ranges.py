"""The range of weights that are constants, as a frozen graph keeps them, after their batch norm is folded in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fqrewrite.ir.graph import Graph
from fqrewrite.match.layers import channel_axis
from fqrewrite.match.parameters import is_constant
from fqrewrite.plans.constants import evaluate, weight_range
from fqrewrite.plans.items import FoldItem, RangeSpec, Scheme

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array


def constant_weight_range(
    tensor: str, scheme: Scheme, fold: FoldItem | None, graph: Graph, *, depthwise: bool
) -> RangeSpec | None:
    """The range of constant weights.

    Args:
        tensor: the weights, as the source graph names them.
        scheme: how they are quantized.
        fold: the batch norm that is folded into them.
        graph: the source graph.
        depthwise: whether the weights are float32[H, W, C, M], with C * M channels.

    Returns:
        The range, which is not finite when the weights are not; None when weights or batch norm are not constant.

    Raises:
        NotConstant: an operation on the way is not evaluated here.
    """
    value = graph.value(tensor)
    factors = [] if fold is None else [graph.value(name) for name in (_variance(fold), fold.gamma) if name is not None]
    if not all(map(is_constant, (value, *factors))):
        return None
    weights = evaluate(value)
    if fold is not None:
        weights = weights * _fold_scale(weights, fold, [evaluate(factor) for factor in factors], graph, depthwise)
    axes = None
    if scheme.granularity == "per_channel":
        axes = (0, 1) if depthwise else tuple(range(weights.ndim - 1))
    low, high = weight_range(weights, axes, scheme.bits, scheme.symmetric, scheme.narrow_range)
    return RangeSpec(source="constant", minimum=low, maximum=high)


def _variance(fold: FoldItem) -> str:
    """The variance by which the weights are scaled: in training, too, the moving one."""
    found = fold.variance if fold.moving_variance is None else fold.moving_variance.read
    assert found is not None, fold.id
    return found


def _fold_scale(weights: Array, fold: FoldItem, factors: list[Array], graph: Graph, depthwise: bool) -> Array:
    """gamma / sqrt(variance + epsilon), shaped to be multiplied with the weights; `factors` are variance and gamma."""
    import numpy as np

    variance, *gamma = factors
    scale: Array = (1.0 / np.sqrt(variance + np.float32(fold.epsilon))).astype(np.float32)
    if gamma:
        scale = scale * gamma[0]
    scale = scale.ravel()
    if depthwise:
        return scale.reshape(weights.shape[2:])
    return scale.reshape(-1, 1) if channel_axis(graph.node(fold.layer), fold.weight_slot) == -2 else scale
