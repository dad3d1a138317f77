"""Recognising dropout: a product of data with a mask made from random numbers.

    x / keep * floor(keep + u)            TensorFlow to 1.12; u is uniform in [0, 1)
    x * (1 / keep) * cast(u >= rate)      TensorFlow 1.13 to 2.3, Keras
    select(u >= rate, x / keep, 0)        TensorFlow 2
    x * (1 + deviation * n)               Gaussian dropout (Srivastava et al. 2014, section 10); n is standard normal

Whatever is multiplied can stand in any order, and the mask may be smaller than x. That the data is divided by the
probability with which it is kept is what tells a dropout, whose inference mode is x, from a random augmentation. Masks
without it, alpha dropout and noise that is added are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import constant_float, strip_identity
from fqrewrite.match.scalar_expression import ONE, Samples, are_equal, product, quotient, samples

_RANDOM = frozenset(
    {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2", "RandomStandardNormal", "Bernoulli"}
)
_MASK_OPS = frozenset({"Add", "AddV2", "Sub", "Mul", "Floor", "GreaterEqual", "Greater", "Less", "Cast", "Identity"})
_MOST_MASK_OPS = 12
_PRODUCT = frozenset({"Mul", "RealDiv", "Select", "SelectV2"})
_UNIFORM = ("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
_NORMAL = ("RandomStandardNormal", "TruncatedNormal", "StatelessRandomNormal", "StatelessRandomNormalV2")
_MOST_STEPS = 6  # scaling and shifting to a range, and adding the probability, with an Identity here and there
_PASS = frozenset({"Identity", "Cast", "Reshape", "StopGradient", "ExpandDims", "Squeeze", "Enter"})
_SUMS = frozenset({"Add", "AddV2"})
_DIVISIONS = frozenset({"RealDiv", "Div"})
_SELECTS = frozenset({"Select", "SelectV2"})
_ABOVE = frozenset({"Greater", "GreaterEqual"})
_BELOW = frozenset({"Less", "LessEqual"})


class Dropout(NamedTuple):
    """One dropout: its result, and the data that goes in; the same in inference mode."""

    result: Value
    data: Value


class _Noise(NamedTuple):
    """scale * random + shift, in `steps` operations."""

    value: Value
    scale: Samples
    shift: Samples
    steps: int = 0


class _Mask(NamedTuple):
    """Numbers that are `factor` with the probability `keep` and 0 otherwise, or the same as a condition."""

    value: Value
    keep: Samples
    factor: Samples = ONE


def find_dropouts(graph: Graph) -> list[Dropout]:
    """The dropouts of a graph, each once; also what a backward pass makes of them."""
    found: dict[Value, Dropout] = {}
    for node in graph.by_op(*_UNIFORM):
        for noise in _affine(node):
            for mask in _thresholds(noise):
                for dropout in _products(mask):
                    found.setdefault(dropout.result, dropout)
    for node in graph.by_op(*_NORMAL):
        for noise in _affine(node):
            if not are_equal(noise.shift, ONE):
                continue
            for consumer, slot in noise.value.uses():
                if consumer.op == "Mul":
                    result = consumer.value()
                    found.setdefault(result, Dropout(result, consumer.inputs[1 - slot]))
    return list(found.values())


def _affine(random: Node) -> Iterator[_Noise]:
    """The random numbers, and what shifting and scaling makes of them."""
    queue = [_Noise(random.value(), ONE, (0.0, 0.0))]
    for noise in queue:
        yield noise
        if noise.steps < _MOST_STEPS:
            queue += (found for use in noise.value.uses() if (found := _moved(noise, *use)) is not None)


def _moved(noise: _Noise, node: Node, slot: int) -> _Noise | None:
    """What the operation that has the noise at an input makes of it; None when it does not just shift or scale it."""
    value, steps = node.value(), noise.steps + 1
    if node.op in _PASS:
        return _Noise(value, noise.scale, noise.shift, steps)
    if node.op not in _SUMS and node.op not in ("Sub", "Mul"):
        return None
    other = samples(node.inputs[1 - slot])
    if node.op == "Mul":
        return _Noise(value, product(noise.scale, other), product(noise.shift, other), steps)
    if node.op in _SUMS:
        return _Noise(value, noise.scale, _sum(noise.shift, other), steps)
    if slot == 0:
        return _Noise(value, noise.scale, _sum(noise.shift, _negative(other)), steps)
    return _Noise(value, _negative(noise.scale), _sum(other, _negative(noise.shift)), steps)


def _thresholds(noise: _Noise) -> Iterator[_Mask]:
    """Comparisons of uniform random numbers with a threshold."""
    for consumer, slot in noise.value.uses():
        if consumer.op == "Floor":
            yield _Mask(consumer.value(), _share_above(noise, ONE))
        elif consumer.op in _ABOVE or consumer.op in _BELOW:
            above = _share_above(noise, samples(consumer.inputs[1 - slot]))
            keeps_above = (consumer.op in _ABOVE) == (slot == 0)
            yield _Mask(consumer.value(), above if keeps_above else _rest(above))


def _share_above(noise: _Noise, limit: Samples) -> Samples:
    """The probability that scale * u + shift is above a limit, u being uniform in [0, 1)."""
    below = quotient(_sum(limit, _negative(noise.shift)), noise.scale)
    return _rest(below) if noise.scale[0] > 0 else below


def _products(mask: _Mask) -> Iterator[Dropout]:
    queue = [mask]
    for mask in queue:
        for consumer, slot in mask.value.uses():
            value = consumer.value()
            if consumer.op in _PASS:
                queue.append(mask._replace(value=value))
            elif consumer.op == "LogicalNot":
                queue.append(_Mask(value, _rest(mask.keep)))
            elif consumer.op in _SELECTS and slot == 0:
                if _is_zero(consumer.inputs[2]):
                    yield from _dropouts(consumer, consumer.inputs[1], mask)
                elif _is_zero(consumer.inputs[1]):
                    yield from _dropouts(consumer, consumer.inputs[2], _Mask(mask.value, _rest(mask.keep)))
            elif consumer.op == "Mul" or (consumer.op in _DIVISIONS and slot == 0):
                factor = product(mask.factor, _factor(consumer, 1 - slot))
                if not _makes_up(mask.factor, mask) and _makes_up(factor, mask):
                    queue.append(mask._replace(value=value, factor=factor))
                elif consumer.op == "Mul":
                    yield from _dropouts(consumer, consumer.inputs[1 - slot], mask)


def _dropouts(node: Node, data: Value, mask: _Mask) -> Iterator[Dropout]:
    """The dropout that a product of data and mask belongs to, if the data is divided by `keep` somewhere."""
    result = node.value()
    if _makes_up(mask.factor, mask):
        yield Dropout(result, data)
        return
    scaled = strip_identity(data).node
    for slot in _scaled_slots(scaled):
        if _makes_up(_factor(scaled, 1 - slot), mask):
            yield Dropout(result, scaled.inputs[slot])
            return
    for consumer, slot in result.uses():
        if slot in _scaled_slots(consumer) and _makes_up(_factor(consumer, 1 - slot), mask):
            yield Dropout(consumer.value(), data)


def _scaled_slots(node: Node) -> tuple[int, ...]:
    """The inputs of a product or quotient that the other one can be the scale of."""
    return (0, 1) if node.op == "Mul" else (0,) if node.op in _DIVISIONS else ()


def _factor(node: Node, slot: int) -> Samples:
    """What a product or quotient multiplies by, when its input `slot` is the scale."""
    scale = samples(node.inputs[slot])
    return scale if node.op == "Mul" else quotient(ONE, scale)


def _makes_up(factor: Samples, mask: _Mask) -> bool:
    """Whether a factor keeps the mean of the data as it is without a dropout."""
    return are_equal(product(factor, mask.keep), ONE)


def _is_zero(value: Value) -> bool:
    node = strip_identity(value).node
    if node.op == "Fill":
        return _is_zero(node.inputs[1])
    return node.op == "ZerosLike" or constant_float(value) == 0.0


def _sum(left: Samples, right: Samples) -> Samples:
    return left[0] + right[0], left[1] + right[1]


def _negative(value: Samples) -> Samples:
    return -value[0], -value[1]


def _rest(probability: Samples) -> Samples:
    return 1.0 - probability[0], 1.0 - probability[1]


def dropped_out(node: Node) -> Value | None:
    """The data that goes into a dropout, when `node` is one of its operations; None when it is not.

    Both products are meant: the one with the mask, and the one with 1/keep_prob that feeds it or reads it.
    """
    if node.op not in _PRODUCT:
        return None
    data = _masked(node)
    if data is not None:
        return data
    consumers = node.value().consumers()
    if len(consumers) == 1 and consumers[0].op in _PRODUCT:
        data = _masked(consumers[0])
        if data is not None and data.node is node:
            return node.inputs[0]
    return None


def _masked(node: Node) -> Value | None:
    """The operand of a product that is not a random mask, when another operand is one."""
    masks = [_is_mask(operand) for operand in node.inputs]
    if not any(masks):
        return None
    return next((operand for operand, mask in zip(node.inputs, masks, strict=True) if not mask), None)


def _is_mask(value: Value) -> bool:
    queue, seen = [value.node], set[Node]()
    for node in queue:
        if node.op in _RANDOM:
            return True
        if node.op in _MASK_OPS and node not in seen and len(seen) < _MOST_MASK_OPS:
            seen.add(node)
            queue.extend(operand.node for operand in node.inputs)
    return False
