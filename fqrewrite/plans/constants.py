"""Values of constant expressions, and the ranges of constant weights.

A frozen graph keeps its weights as constants. Their range is known when the plan is made; numpy is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fqrewrite.ir.graph import Value
from fqrewrite.proto.attrs import get_bool, get_int, get_ints, get_type
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.proto.tensors import to_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


_SMALLEST_CHANNEL = 1e-4
"""The least range of a channel, as a part of the largest one's."""


class NotConstant(Exception):
    """The expression holds an operation that is not evaluated here."""


def evaluate(value: Value) -> Array:
    """The value of an expression of constants, computed in numpy in the dtype of its constants.

    Raises:
        NotConstant: it holds a variable, data, or an operation that is not known here.
    """
    node = value.node
    if node.op == "Const" and "value" in node.proto.attr:
        return to_numpy(node.proto.attr["value"].tensor)
    action = _ACTIONS.get(node.op)
    if action is None or value.port:
        raise NotConstant(node.op)
    return action(node.proto, [evaluate(operand) for operand in node.inputs])


def symmetric_limits(low: Array, high: Array, bits: int, narrow_range: bool) -> tuple[Array, Array]:
    """Widens a range so that it is symmetric, as the emitted training graph does (semantics.md, A2)."""
    import numpy as np

    ratio = np.float32(-1.0 if narrow_range else -((1 << bits) - 2) / (1 << bits))
    return np.minimum(low, high / ratio), np.maximum(high, low * ratio)


def weight_range(
    weights: Array, axes: tuple[int, ...] | None, bits: int, symmetric: bool, narrow_range: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(minimum, maximum) of weights, zero always inside.

    Args:
        weights: the weights that will be quantized.
        axes: axes to reduce for one range per channel; None for one range in all.
        bits, symmetric, narrow_range: the scheme.

    Returns:
        One float per tensor or per channel, exact float32 values.
    """
    import numpy as np

    low = np.atleast_1d(weights.min(axis=axes)).astype(np.float32).ravel()
    high = np.atleast_1d(weights.max(axis=axes)).astype(np.float32).ravel()
    return usable_limits(low, high, bits, symmetric, narrow_range)


def usable_limits(
    low: Array, high: Array, bits: int, symmetric: bool, narrow_range: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The smallest range that a quantizer can have around what was observed: zero inside, not empty.

    Args:
        low, high: float32[C], the extremes of the tensor or of each channel.
        bits, symmetric, narrow_range: the scheme.

    Returns:
        As `weight_range`; not finite where the extremes are not.
    """
    import numpy as np

    if symmetric:
        low, high = symmetric_limits(low, high, bits, narrow_range)
    else:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    if symmetric and low.size > 1:
        # A channel of tiny weights (a dead one, its batch norm folded in) still has a bias, whose integers must fit
        # into 32 bits: 17 biases of a real PoseNet do not otherwise (measured).
        smallest = high.max() * _SMALLEST_CHANNEL
        high, low = np.maximum(high, smallest), np.minimum(low, -smallest)
    # All is zero: any range is right, but FakeQuant needs min < max, and with a small one the integers of a bias, whose
    # scale is the product of two, would not fit into 32 bits.
    empty = (low == 0) & (high == 0)
    high = np.where(empty, np.float32(1), high)
    low = np.where(empty & symmetric, np.float32(-1), low)
    return tuple(float(x) for x in low), tuple(float(x) for x in high)


def _binary(name: str) -> Callable[[Any, Sequence[Array]], Array]:
    def action(_: Any, operands: Sequence[Array]) -> Array:
        import numpy as np

        result: Array = getattr(np, name)(*operands)
        return result

    return action


def _rsqrt(_: Any, operands: Sequence[Array]) -> Array:
    import numpy as np

    result: Array = (1.0 / np.sqrt(operands[0])).astype(operands[0].dtype)
    return result


def _cast(proto: Any, operands: Sequence[Array]) -> Array:
    return operands[0].astype(dtype_name(get_type(proto, "DstT", DT_FLOAT)))


def _expand_dims(_: Any, operands: Sequence[Array]) -> Array:
    import numpy as np

    return np.expand_dims(operands[0], int(operands[1].ravel()[0]))


def _concat(_: Any, operands: Sequence[Array]) -> Array:
    import numpy as np

    return np.concatenate(operands[:-1], axis=int(operands[-1]))


def _sum(proto: Any, operands: Sequence[Array]) -> Array:
    axes = tuple(int(axis) for axis in operands[1].ravel())
    total: Array = operands[0].sum(axis=axes, keepdims=get_bool(proto, "keep_dims", False))
    return total


def _squeeze(proto: Any, operands: Sequence[Array]) -> Array:
    axes = get_ints(proto, "squeeze_dims", ())
    return operands[0].squeeze(axes or None)


def _strided_slice(proto: Any, operands: Sequence[Array]) -> Array:
    """numpy's basic indexing, which TensorFlow took over; its bit masks say what stands at each place of the index."""
    source, begin, end, strides = operands
    masks = {
        name: get_int(proto, f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    index: list[Any] = []
    for place, (first, last, step) in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        said = {name for name, mask in masks.items() if mask >> place & 1}
        if "ellipsis" in said:
            index.append(Ellipsis)
        elif "new_axis" in said:
            index.append(None)
        elif "shrink_axis" in said:
            index.append(first)
        else:
            index.append(slice(None if "begin" in said else first, None if "end" in said else last, step))
    sliced: Array = source[tuple(index)]
    return sliced


def _matmul(proto: Any, operands: Sequence[Array]) -> Array:
    a, b = operands
    product: Array = (a.T if get_bool(proto, "transpose_a", False) else a) @ (
        b.T if get_bool(proto, "transpose_b", False) else b
    )
    return product


_ACTIONS: dict[str, Callable[[Any, Sequence[Array]], Array]] = {
    "Identity": lambda _, x: x[0],
    "Mul": _binary("multiply"),
    "Add": _binary("add"),
    "AddV2": _binary("add"),
    "Sub": _binary("subtract"),
    "RealDiv": _binary("divide"),
    "Maximum": _binary("maximum"),
    "Minimum": _binary("minimum"),
    "Sqrt": _binary("sqrt"),
    "Square": _binary("square"),
    "Neg": _binary("negative"),
    "Rsqrt": _rsqrt,
    "Reshape": lambda _, x: x[0].reshape(tuple(int(size) for size in x[1])),
    "Transpose": lambda _, x: x[0].transpose(tuple(int(axis) for axis in x[1])),
    "Squeeze": _squeeze,
    "ExpandDims": _expand_dims,
    "ConcatV2": _concat,
    "StridedSlice": _strided_slice,
    "Cast": _cast,
    "Sum": _sum,
    "MatMul": _matmul,
}
