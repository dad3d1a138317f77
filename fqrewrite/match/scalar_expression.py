"""Whether small expressions of numbers agree, although not all that is in them is known.

A dropout divides by the very probability with which it keeps: 1 / (1 - rate), rate being a placeholder or a constant.
Instead of algebra, every unknown is given two arbitrary numbers, and both results are compared.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from fqrewrite.ir.graph import Value
from fqrewrite.match.parameters import constant_float

Samples = tuple[float, float]
"""What an expression comes to under the one assumption and under the other; NaN where it has no value."""

ONE: Samples = (1.0, 1.0)
_PASS = frozenset({"Identity", "Cast", "Reshape", "StopGradient", "ReadVariableOp", "Enter"})
_TOLERANCE = 5e-3  # constants may be rounded to float16 or bfloat16
_MOST_DEPTH = 8
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "AddV2": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "RealDiv": lambda a, b: a / b if b else float("nan"),
    "Div": lambda a, b: a / b if b else float("nan"),
}


def samples(value: Value, depth: int = 0) -> Samples:
    """What a scalar comes to; unknowns, and what is not made by arithmetic, lie between 0.2 and 0.8."""
    while value.node.op in _PASS:
        value = value.node.inputs[0]
    number = constant_float(value)
    if number is not None:
        return number, number
    node, operation = value.node, _ARITHMETIC.get(value.node.op)
    if operation is not None and depth < _MOST_DEPTH:
        left, right = (samples(operand, depth + 1) for operand in node.inputs)
        return operation(left[0], right[0]), operation(left[1], right[1])
    if node.op in ("Reciprocal", "Inv") and depth < _MOST_DEPTH:
        return quotient(ONE, samples(node.inputs[0], depth + 1))
    return _unknown(f"{value}/0"), _unknown(f"{value}/1")


def product(left: Samples, right: Samples) -> Samples:
    """left * right."""
    return left[0] * right[0], left[1] * right[1]


def quotient(left: Samples, right: Samples) -> Samples:
    """left / right."""
    divide = _ARITHMETIC["RealDiv"]
    return divide(left[0], right[0]), divide(left[1], right[1])


def are_equal(left: Samples, right: Samples) -> bool:
    """Whether two expressions are the same, up to rounding."""
    return all(abs(a - b) <= _TOLERANCE * max(abs(a), abs(b)) for a, b in zip(left, right, strict=True))


def _unknown(name: str) -> float:
    return 0.2 + 0.6 * zlib.crc32(name.encode()) / 2**32
