"""Reading and building attributes.

Reading never touches the message: `node.attr[key]` on a protobuf map adds a missing key, so every getter asks
`key in node.attr` first. An attribute of another kind than asked for reads as absent, as one that is
missing does: TensorFlow leaves an attribute out when it has the op's default value, so every getter takes
that default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from fqrewrite.proto.messages import AttrListValue, AttrValue, TensorShapeProto

_Default = TypeVar("_Default")


def _get(node_def: Any, key: str, kind: str) -> Any:
    """Returns the AttrValue when `key` is there and holds a `kind` (a field of the oneof), else None."""
    attributes = node_def.attr
    if key not in attributes:
        return None
    value = attributes[key]
    return value if value.WhichOneof("value") == kind else None


def get_int(node_def: Any, key: str, default: _Default) -> int | _Default:
    """Returns an int attribute, or `default` when it is absent."""
    value = _get(node_def, key, "i")
    return default if value is None else int(value.i)


def get_bool(node_def: Any, key: str, default: _Default) -> bool | _Default:
    """Returns a bool attribute, or `default` when it is absent."""
    value = _get(node_def, key, "b")
    return default if value is None else bool(value.b)


def get_float(node_def: Any, key: str, default: _Default) -> float | _Default:
    """Returns a float attribute (a float32, widened), or `default` when it is absent."""
    value = _get(node_def, key, "f")
    return default if value is None else float(value.f)


def get_bytes(node_def: Any, key: str, default: _Default) -> bytes | _Default:
    """Returns a string attribute as its bytes, or `default` when it is absent."""
    value = _get(node_def, key, "s")
    return default if value is None else bytes(value.s)


def get_str(node_def: Any, key: str, default: _Default) -> str | _Default:
    """Returns a string attribute as text (what is no UTF-8 is replaced), or `default` when it is absent."""
    value = _get(node_def, key, "s")
    return default if value is None else value.s.decode("utf-8", "replace")


def get_type(node_def: Any, key: str, default: _Default) -> int | _Default:
    """Returns a type attribute as its DataType number, or `default` when it is absent."""
    value = _get(node_def, key, "type")
    return default if value is None else int(value.type)


def get_ints(node_def: Any, key: str, default: _Default) -> tuple[int, ...] | _Default:
    """Returns a list(int) attribute, or `default` when it is absent. An empty list gives ()."""
    value = _get(node_def, key, "list")
    return default if value is None else tuple(value.list.i)


def get_strs(node_def: Any, key: str, default: _Default) -> tuple[str, ...] | _Default:
    """Returns a list(string) attribute as text, or `default` when it is absent. An empty list gives ()."""
    value = _get(node_def, key, "list")
    return default if value is None else tuple(item.decode("utf-8", "replace") for item in value.list.s)


def shape_dims(shape: Any) -> tuple[int, ...] | None:
    """Returns the dimensions of a TensorShapeProto, -1 for an unknown one; None when the rank is unknown."""
    return None if shape.unknown_rank else tuple(dimension.size for dimension in shape.dim)


def get_shape(node_def: Any, key: str) -> tuple[int, ...] | None:
    """Returns a shape attribute, -1 for an unknown dimension; None when it is absent or of unknown rank."""
    value = _get(node_def, key, "shape")
    return None if value is None else shape_dims(value.shape)


def int_attr(value: int) -> Any:
    """Builds an AttrValue that holds an int."""
    return AttrValue(i=value)


def bool_attr(value: bool) -> Any:
    """Builds an AttrValue that holds a bool."""
    return AttrValue(b=value)


def float_attr(value: float) -> Any:
    """Builds an AttrValue that holds a float (rounded to float32)."""
    return AttrValue(f=value)


def bytes_attr(value: bytes | str) -> Any:
    """Builds an AttrValue that holds a string; text is stored as UTF-8."""
    return AttrValue(s=_as_bytes(value))


def type_attr(number: int) -> Any:
    """Builds an AttrValue that holds a DataType number."""
    return AttrValue(type=number)


def shape_proto(dims: Sequence[int] | None) -> Any:
    """Builds a TensorShapeProto; -1 is an unknown dimension, None an unknown rank."""
    if dims is None:
        return TensorShapeProto(unknown_rank=True)
    shape = TensorShapeProto()
    for size in dims:
        shape.dim.add(size=size)
    return shape


def shape_attr(dims: Sequence[int] | None) -> Any:
    """Builds an AttrValue that holds a shape; -1 is an unknown dimension, None an unknown rank."""
    return AttrValue(shape=shape_proto(dims))


def tensor_attr(tensor_proto: Any) -> Any:
    """Builds an AttrValue that holds a copy of a TensorProto."""
    return AttrValue(tensor=tensor_proto)


def ints_attr(values: Iterable[int]) -> Any:
    """Builds an AttrValue that holds a list(int), which may be empty."""
    return AttrValue(list=AttrListValue(i=values))


def strs_attr(values: Iterable[bytes | str]) -> Any:
    """Builds an AttrValue that holds a list(string), which may be empty; text is stored as UTF-8."""
    return AttrValue(list=AttrListValue(s=[_as_bytes(value) for value in values]))


def types_attr(numbers: Iterable[int]) -> Any:
    """Builds an AttrValue that holds a list(type), which may be empty."""
    return AttrValue(list=AttrListValue(type=numbers))


def _as_bytes(value: bytes | str) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value
