"""Batch norm in pieces, folded into the layer before it."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.batch_norm import SUM_OPS, BatchNorm, reduced_axes, unfused_batch_norm
from fqrewrite.match.parameters import constant_ints, dtype_of
from fqrewrite.match.proposal import Decline, Proposal, Rule
from fqrewrite.proto.attrs import get_ints
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.rules._chain import Chain, chain_to_layer
from fqrewrite.rules._fold import Obstacle, fold_or_decline, missing_updates


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    norm = unfused_batch_norm(node, analysis.parameters)
    if norm is None:
        return
    if norm.affine == "data":
        # The layer is quantized without it: what is in front of the batch norm does not depend on the condition.
        reason = "its gamma or beta depends on data (a conditional batch norm), so it cannot become part of the weights"
        yield Decline(kind="batch_norm", node=node, code="batch-norm-conditioned", reason=reason)
        return
    candidates = (norm.gamma, norm.beta, norm.mean, norm.variance)
    parameters = (value for value in candidates if value and analysis.parameters.is_parameter(value))
    yield from fold_or_decline(norm, chain_to_layer(norm.x, analysis, *parameters), analysis, _obstacle)


def _obstacle(norm: BatchNorm, chain: Chain, analysis: Analysis) -> Obstacle | None:
    """Why this batch norm cannot be folded although a layer is before it; None when it can."""
    node = norm.node
    if norm.affine == "statistics":
        reason = "its gamma or beta corrects the statistics of the batch, as in batch renormalization"
        return "batch-norm-statistics-unknown", reason
    if norm.training and norm.mean is not None:
        if not _is_per_channel(norm.mean, chain):
            return "batch-norm-channels-differ", "its statistics are not those of a whole channel"
        missing = missing_updates(norm.moving_mean, norm.moving_variance)
        if missing is not None:
            return missing
    if node in analysis.control_flow:
        return "inside-control-flow", "it is inside a conditional or a while loop"
    if chain.layer.data_format == "NCHW":
        return "data-format-differs", "it is an unfused batch norm behind an NCHW layer"
    if dtype_of(node) != DT_FLOAT:
        return "dtype-not-float32", f"it computes in {dtype_name(dtype_of(node))}"
    return None


def _is_per_channel(mean: Value, chain: Chain) -> bool:
    """Whether a mean leaves one number per channel of the layer, as far as the rank is known."""
    axes = reduced_axes(mean)
    if axes is None or (axes != tuple(range(len(axes))) and chain.layer.data_format == "NHWC"):
        return False
    rank: int | None = 2 if chain.layer.kind == "matmul" else 4
    for node in chain.nodes:
        if node.op == "Squeeze":
            dropped = get_ints(node.proto, "squeeze_dims", ())
            rank = rank - len(dropped) if rank is not None and dropped else None
        elif node.op == "ExpandDims" and rank is not None:
            rank += 1
        elif node.op == "Reshape":
            target = constant_ints(node.inputs[1])
            rank = len(target) if target is not None else None
    return rank is None or len(axes) == rank - 1


RULE = Rule(
    name="unfused_batch_norm",
    phase="fold",
    rank=1,  # behind the fused ones, as in tf.contrib.quantize: the order decides which fold gets the plain names
    ops=SUM_OPS,
    summary="A batch norm in pieces (`Rsqrt`, `Mul`, `Sub`, `Add`; slim, tf.layers, Keras 3 export) is folded by "
    "structure, whatever its names.",
    propose=_propose,
)
