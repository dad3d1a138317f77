"""The shapes of parameters behind operations that only move their numbers; nothing is computed but shapes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from fqrewrite.ir.graph import Node
from fqrewrite.proto.attrs import get_int, get_ints

Shape = tuple[int, ...]
"""-1 for an unknown dimension."""
Ints = tuple[int, ...]


def moved_shape(node: Node, shape: Shape, arguments: list[Ints | None]) -> Shape | None:
    """The shape of what an operation of `MOVING_OPS` makes of its first input; None when it is not known.

    Args:
        node: the operation.
        shape: of its first input.
        arguments: the numbers in its other inputs, None for one that is no constant.
    """
    known = [argument for argument in arguments if argument is not None]
    if len(known) < len(arguments):
        return None
    try:
        return _MOVES[node.op](node, shape, known)
    except (IndexError, ValueError):
        return None  # the graph is wrong about it, which TensorFlow will say


def _transpose(_: Node, shape: Shape, arguments: list[Ints]) -> Shape:
    return tuple(shape[axis] for axis in arguments[0])


def _expand_dims(_: Node, shape: Shape, arguments: list[Ints]) -> Shape:
    (axis,) = arguments[0]
    place = axis if axis >= 0 else len(shape) + 1 + axis
    if not 0 <= place <= len(shape):
        raise IndexError(axis)
    return (*shape[:place], 1, *shape[place:])


def _squeeze(node: Node, shape: Shape, _: list[Ints]) -> Shape | None:
    axes = get_ints(node.proto, "squeeze_dims", ())
    if not axes and min(shape, default=1) < 0:
        return None
    dropped = {axis % len(shape) for axis in axes} or {axis for axis, size in enumerate(shape) if size == 1}
    return tuple(size for axis, size in enumerate(shape) if axis not in dropped)


def _reshape(_: Node, shape: Shape, arguments: list[Ints]) -> Shape:
    target, rest = arguments[0], prod(size for size in arguments[0] if size >= 0)
    if min(shape, default=1) < 0 or rest <= 0:
        return target
    return tuple(prod(shape) // rest if size < 0 else size for size in target)


def _strided_slice(node: Node, shape: Shape, arguments: list[Ints]) -> Shape | None:
    begin, end, strides = arguments
    masks = {
        name: get_int(node.proto, f"{name}_mask", 0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    if masks["ellipsis"]:
        return None
    sizes, left = list[int](), list(shape)
    for place, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        said = {name for name, mask in masks.items() if mask >> place & 1}
        if "new_axis" in said:
            sizes.append(1)
            continue
        size = left.pop(0)
        if "shrink_axis" in said:
            continue
        if size < 0:
            sizes.append(size)
            continue
        part = slice(None if "begin" in said else first, None if "end" in said else last, step)
        sizes.append(len(range(*part.indices(size))))
    return (*sizes, *left)


_MOVES: dict[str, Callable[[Node, Shape, list[Ints]], Shape | None]] = {
    "Transpose": _transpose,
    "ExpandDims": _expand_dims,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "StridedSlice": _strided_slice,
}
MOVING_OPS = frozenset(_MOVES)
"""Operations whose result's shape follows from their first input's and from constants."""
