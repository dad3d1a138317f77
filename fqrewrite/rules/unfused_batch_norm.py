"""Batch norm in pieces, found by structure and never by name.

    y = x * inverse + (beta - mean * inverse)        inverse = rsqrt(variance + epsilon) [* gamma]

as tf.nn.batch_normalization builds it (slim, tf.layers, Keras 3 export); without beta the last term is -mean * inverse.
Or as written by hand, (x - mean) * inverse + beta, or (x - mean) / sqrt(variance + epsilon) * gamma + beta.
"""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.moving_average import find_moving_average
from fqrewrite.match.parameters import constant_float, constant_ints, dtype_of
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.match.proposal import Decline, FoldProposal, Proposal, Rule
from fqrewrite.proto.attrs import get_ints
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.rules._chain import Chain, chain_to_layer
from fqrewrite.rules._fold import Obstacle, fold_or_decline, missing_updates

_RSQRT = Op("Rsqrt", Op("Add|AddV2", Bind("variance"), Bind("epsilon")), name="rsqrt")
_INVERSE = OneOf(Op("Mul", _RSQRT, Bind("gamma"), commutative=True), _RSQRT, name="inverse")
_SHIFT = Op("Mul", Bind("mean"), _INVERSE, commutative=True)
_NO_BETA = OneOf(Op("Neg", _SHIFT), Op("Mul", Op("Neg", Bind("mean")), _INVERSE, commutative=True))
_OFFSET = OneOf(Op("Sub", Bind("beta"), _SHIFT), _NO_BETA, name="offset")
_EXPANDED = Op("Add|AddV2", Op("Mul", Bind("x"), _INVERSE, commutative=True), _OFFSET, commutative=True)
_CENTRED = Op("Sub", Bind("x"), Bind("mean"))
_NORMALISED = OneOf(
    Op("Mul", _CENTRED, _RSQRT, commutative=True),
    Op("RealDiv", _CENTRED, Op("Sqrt", Op("Add|AddV2", Bind("variance"), Bind("epsilon")))),
)
_SCALED = OneOf(
    Op("Mul", _CENTRED, _INVERSE, commutative=True),
    Op("Mul", _NORMALISED, Bind("gamma"), commutative=True),
    _NORMALISED,
)
_OUTPUT = OneOf(_EXPANDED, Op("Add|AddV2", _SCALED, Bind("beta"), commutative=True))
_SHAPE_ONLY = frozenset({"Squeeze", "Reshape", "Identity"})
_MOST_CORRECTION_OPS = 50


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    output = node.value()
    bound = _OUTPUT.match(output)
    epsilon = constant_float(bound["epsilon"]) if bound else None
    if bound is None or epsilon is None:
        return
    x, mean, variance = bound["x"], bound["mean"], bound["variance"]
    gamma, parameter = bound.get("gamma"), analysis.parameters.is_parameter
    computed = [bound[name] for name in ("gamma", "beta") if name in bound and not parameter(bound[name])]
    renormalises = any(_depends_on(value, variance) for value in computed)
    batch = _is_batch_statistics(x, mean, variance)
    if not batch and not (parameter(mean) and parameter(variance)):
        return  # a layer norm or an instance norm
    if computed and not renormalises:
        # The layer is quantized without it: what is in front of the batch norm does not depend on the condition.
        reason = "its gamma or beta depends on data (a conditional batch norm), so it cannot become part of the weights"
        yield Decline(kind="batch_norm", node=node, code="batch-norm-conditioned", reason=reason)
        return
    # Where updates are forced, the statistics pass an Identity that waits for the update of their moving averages.
    moving_mean = find_moving_average(_strip_shape(mean)) if batch else None
    moving_variance = find_moving_average(_strip_shape(variance)) if batch else None

    def obstacle(chain: Chain) -> Obstacle | None:
        if renormalises:
            reason = "its gamma or beta corrects the statistics of the batch, as in batch renormalization"
            return "batch-norm-statistics-unknown", reason
        if batch and not _is_per_channel(mean, chain):
            return "batch-norm-channels-differ", "its statistics are not those of a whole channel"
        missing = missing_updates(moving_mean, moving_variance) if batch else None
        return missing or _obstacle(node, chain, analysis)

    def proposal(chain: Chain) -> FoldProposal:
        return FoldProposal(
            layer=chain.layer,
            chain=chain.nodes,
            bias=chain.bias,
            output=output,
            form="unfused",
            statistics="batch" if batch else "moving",
            gamma=gamma,
            beta=bound.get("beta"),
            mean=mean,
            variance=variance,
            epsilon=epsilon,
            moving_mean=moving_mean,
            moving_variance=moving_variance,
        )

    candidates = (gamma, bound.get("beta"), mean, variance)
    chain = chain_to_layer(x, analysis, *(value for value in candidates if value and parameter(value)))
    yield from fold_or_decline(node, chain, analysis, obstacle, proposal)


def _obstacle(node: Node, chain: Chain, analysis: Analysis) -> Obstacle | None:
    """Why this batch norm cannot be folded although a layer is before it; None when it can."""
    if node in analysis.control_flow:
        return "inside-control-flow", "it is inside a conditional or a while loop"
    if chain.layer.data_format == "NCHW":
        return "data-format-differs", "it is an unfused batch norm behind an NCHW layer"
    if dtype_of(node) != DT_FLOAT:
        return "dtype-not-float32", f"it computes in {dtype_name(dtype_of(node))}"
    return None


def _is_batch_statistics(x: Value, mean: Value, variance: Value) -> bool:
    """Whether mean and variance are those of x over all axes but the last, as tf.nn.moments computes them."""
    average = _strip_shape(mean)
    spread = _strip_shape(variance)
    if average.node.op != "Mean" or spread.node.op != "Mean":
        return False
    squares = spread.node.inputs[0].node
    if squares.op != "SquaredDifference":
        return False
    centre = squares.inputs[1]
    if centre.node.op == "StopGradient":
        centre = centre.node.inputs[0]
    same = average.node.inputs[0] == x and squares.inputs[0] == x and _strip_shape(centre) == average
    return same and _reduces_all_but_last(average.node) and _reduces_all_but_last(spread.node)


def _reduces_all_but_last(mean: Node) -> bool:
    axes = constant_ints(mean.inputs[1])
    return axes is not None and tuple(sorted(axes)) == tuple(range(len(axes))) and len(axes) in (1, 2, 3)


def _depends_on(value: Value, statistic: Value) -> bool:
    """Whether a value is computed from a statistic within a few operations."""
    source = _strip_shape(statistic).node
    queue, seen = [value.node], set[Node]()
    for node in queue:
        if node is source:
            return True
        if node not in seen and len(seen) < _MOST_CORRECTION_OPS:
            seen.add(node)
            queue.extend(operand.node for operand in node.inputs)
    return False


def _is_per_channel(mean: Value, chain: Chain) -> bool:
    """Whether a mean over the first axes leaves one number per channel of the layer, as far as the rank is known."""
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
    axes = constant_ints(_strip_shape(mean).node.inputs[1])
    return rank is None or axes is None or len(axes) == rank - 1


def _strip_shape(value: Value) -> Value:
    while value.node.op in _SHAPE_ONLY:
        value = value.node.inputs[0]
    return value


RULE = Rule(
    name="unfused_batch_norm",
    phase="fold",
    rank=1,  # behind the fused ones, as in tf.contrib.quantize: the order decides which fold gets the plain names
    ops=("Add", "AddV2"),
    summary="A batch norm in pieces (`Rsqrt`, `Mul`, `Sub`, `Add`; slim, tf.layers, Keras 3 export) is folded by "
    "structure, whatever its names.",
    propose=_propose,
)
