"""Recognising batch norms, found by structure and never by name, whatever stands before them.

FusedBatchNorm in all its versions, and batch norm in pieces:

    y = x * inverse + (beta - mean * inverse)        inverse = rsqrt(variance + epsilon) [* gamma]

as tf.nn.batch_normalization builds it (slim, tf.layers, Keras 3 export); without beta the last term is -mean * inverse.
Or as written by hand, (x - mean) * inverse + beta, or (x - mean) / sqrt(variance + epsilon) * gamma + beta.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.moving_average import Update, find_moving_average
from fqrewrite.match.parameters import Parameters, constant_float, constant_ints
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.proto.attrs import get_bool, get_float, get_str

FUSED_OPS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
SUM_OPS = ("Add", "AddV2")
"""What a batch norm in pieces ends in."""

Affine = Literal["parameters", "data", "statistics"]

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

_DEFAULT_EPSILON = 1e-4  # of the op's attribute, in TensorFlow's op registry
_SHAPE_ONLY = frozenset({"Squeeze", "Reshape", "Identity"})
_SAME_NUMBERS = _SHAPE_ONLY | {"Cast"}  # tf.nn.moments computes those of float16 in float32
_MOST_CORRECTION_OPS = 50


class BatchNorm(msgspec.Struct, frozen=True, kw_only=True):
    """One batch norm.

    Attributes:
        node: what computes its output, which is that node's output 0.
        x: what it normalises.
        gamma, beta: None without.
        mean, variance: the statistics it normalises with; None when a fused op computes them itself. Of a fused op
            with an `average_factor`, the moving averages.
        epsilon: added to the variance.
        form: "fused" or "unfused".
        training: whether it normalises with the statistics of the batch.
        moving_mean, moving_variance: how the moving averages of the batch's statistics are updated; None in inference
            mode and where no update is known.
        affine: what gamma and beta are: parameters, or "data" in a conditional batch norm, or in batch renormalization
            corrections computed from the "statistics" of the batch.
        average_factor: of a fused op in training mode. Below 1 its outputs 1 and 2 are its inputs 3 and 4, the moving
            averages, moved towards the statistics of the batch, and not those statistics.
    """

    node: Node
    x: Value
    gamma: Value | None
    beta: Value | None
    mean: Value | None
    variance: Value | None
    epsilon: float
    form: Literal["fused", "unfused"]
    training: bool
    moving_mean: Update | None = None
    moving_variance: Update | None = None
    affine: Affine = "parameters"
    average_factor: float = 1.0


def find_batch_norms(graph: Graph, parameters: Parameters | None = None) -> Iterator[BatchNorm]:
    """The batch norms of a graph, in graph order.

    Args:
        graph: any.
        parameters: what is known about its parameters already.
    """
    known = parameters or Parameters()
    for node in graph.by_op(*FUSED_OPS, *SUM_OPS):
        found = batch_norm(node, known)
        if found is not None:
            yield found


def batch_norm(node: Node, parameters: Parameters) -> BatchNorm | None:
    """The batch norm whose output this node computes; None when it computes none."""
    return fused_batch_norm(node, parameters) if node.op in FUSED_OPS else unfused_batch_norm(node, parameters)


def fused_batch_norm(node: Node, parameters: Parameters) -> BatchNorm | None:
    """The batch norm that a fused op is; None when it normalises each example by itself, as in a layer norm."""
    x, gamma, beta, mean, variance = node.inputs
    training = get_bool(node.proto, "is_training", True)
    if training and _is_batch_of_one(x, node):
        return None
    factor = get_float(node.proto, "exponential_avg_factor", 1.0) if training else 1.0
    from_batch = training and factor == 1.0
    is_plain = parameters.is_parameter(gamma) and parameters.is_parameter(beta)
    return BatchNorm(
        node=node,
        x=x,
        gamma=gamma,
        beta=beta,
        mean=None if from_batch else mean,
        variance=None if from_batch else variance,
        epsilon=get_float(node.proto, "epsilon", _DEFAULT_EPSILON),
        form="fused",
        training=training,
        moving_mean=find_moving_average(node.value(1)) if from_batch else None,
        moving_variance=find_moving_average(node.value(2)) if from_batch else None,
        affine="parameters" if is_plain else "data",
        average_factor=factor,
    )


def _is_batch_of_one(x: Value, norm: Node) -> bool:
    """Whether examples were made channels, of a batch of one: reshaped to [1, N, ...], with channels on axis 1.

    So Keras 2 computes layer norms and group norms.
    """
    if get_str(norm.proto, "data_format", "NHWC") != "NCHW" or x.node.op != "Reshape":
        return False
    shape = x.node.inputs[1]
    if shape.node.op == "Pack" and shape.node.inputs:
        return constant_ints(shape.node.inputs[0]) == (1,)
    return (constant_ints(shape) or ())[:1] == (1,)


def unfused_batch_norm(node: Node, parameters: Parameters) -> BatchNorm | None:
    """The batch norm in pieces that ends in this sum; None when none does, as for a layer norm or an instance norm."""
    bound = _OUTPUT.match(node.value())
    epsilon = constant_float(bound["epsilon"]) if bound else None
    if bound is None or epsilon is None:
        return None
    x, mean, variance = bound["x"], bound["mean"], bound["variance"]
    training = _is_batch_statistics(x, mean, variance)
    if not training and not (parameters.is_parameter(mean) and parameters.is_parameter(variance)):
        return None
    computed = [bound[name] for name in ("gamma", "beta") if name in bound and not parameters.is_parameter(bound[name])]
    affine: Affine = "parameters"
    if computed:
        affine = "statistics" if any(_depends_on(value, variance) for value in computed) else "data"
    # Where updates are forced, the statistics pass an Identity that waits for the update of their moving averages.
    return BatchNorm(
        node=node,
        x=x,
        gamma=bound.get("gamma"),
        beta=bound.get("beta"),
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        form="unfused",
        training=training,
        moving_mean=find_moving_average(statistic(mean)) if training else None,
        moving_variance=find_moving_average(statistic(variance)) if training else None,
        affine=affine,
    )


def statistic(value: Value) -> Value:
    """A statistic as it was computed, before its shape or type was changed."""
    return _behind(_SAME_NUMBERS, value)


def reduced_axes(value: Value) -> tuple[int, ...] | None:
    """The axes that a statistic of the batch averages over, in order; None when they are unknown."""
    axes = constant_ints(statistic(value).node.inputs[1])
    return None if axes is None else tuple(sorted(axes))


def _is_batch_statistics(x: Value, mean: Value, variance: Value) -> bool:
    """Whether mean and variance are those of x over all axes but one, as tf.nn.moments computes them."""
    average, spread = statistic(mean), statistic(variance)
    if average.node.op != "Mean" or spread.node.op != "Mean":
        return False
    squares = spread.node.inputs[0].node
    if squares.op != "SquaredDifference":
        return False
    data, centre = squares.inputs
    if centre.node.op == "StopGradient":
        centre = centre.node.inputs[0]
    same = _same(average.node.inputs[0], x) and _same(data, x) and statistic(centre) == average
    return same and _reduces_all_but_one(mean) and _reduces_all_but_one(variance)


def _same(one: Value, other: Value) -> bool:
    passing = frozenset({"Identity", "Cast"})
    return _behind(passing, one) == _behind(passing, other)


def _reduces_all_but_one(value: Value) -> bool:
    """Whether the batch is averaged over and at most one axis is left out, as far as the axes tell."""
    axes = reduced_axes(value)
    if axes is None or not 1 <= len(axes) <= 4 or axes[0] != 0:
        return False
    return len(set(range(axes[-1] + 1)) - set(axes)) <= 1


def _depends_on(value: Value, other: Value) -> bool:
    """Whether a value is computed from a statistic within a few operations."""
    source = statistic(other).node
    queue, seen = [value.node], set[Node]()
    for node in queue:
        if node is source:
            return True
        if node not in seen and len(seen) < _MOST_CORRECTION_OPS:
            seen.add(node)
            queue.extend(operand.node for operand in node.inputs)
    return False


def _behind(ops: frozenset[str], value: Value) -> Value:
    while value.node.op in ops:
        value = value.node.inputs[0]
    return value
