"""How the values of attributes are written in printed graphs (`ir.text`).

The kind of an attribute follows from its key and from how its value is written: types stand under keys that
hold types (``T: half``) and shapes under those that hold shapes (``shape: [?, 8]``, or ``?`` for an unknown
rank); ``1`` is an int, ``1.0`` a float, ``true`` a bool; bare words and what is in quotes are strings; lists
of one kind are in brackets.

A Const is float32, int32, bool or string, by its elements, or what `dtype` says. Its value is one number,
nested lists, or one number with a `shape` to fill.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fqrewrite.errors import FqrewriteError
from fqrewrite.proto import dtypes
from fqrewrite.proto.attrs import (
    bool_attr,
    bytes_attr,
    float_attr,
    int_attr,
    ints_attr,
    shape_attr,
    shape_dims,
    shape_proto,
    strs_attr,
    type_attr,
    types_attr,
)
from fqrewrite.proto.messages import AttrListValue, AttrValue
from fqrewrite.proto.tensors import from_numpy, scalar_tensor, to_numpy, vector_tensor

if TYPE_CHECKING:
    import numpy as np

Written = None | bool | int | float | str | list["Written"]
"""A value as it is written: words and quoted text are str, ``none`` is None."""


class Inexpressible(Exception):
    """The value has no printed form."""


_INT = re.compile(r"[-+]?\d+")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.?\d+)(e[-+]?\d+)?|[-+]?inf|nan")
_PLAIN_STRING = re.compile(r"[A-Z][A-Z0-9_]*")
_WORDS: dict[str, Written] = {"none": None, "true": True, "false": False}

_TYPE_KEYS = frozenset({"dtype", "SrcT", "DstT", "U", "Index", "out_type", "output_type"})
_SHAPE_KEYS = frozenset({"shape", "element_shape"})
_TYPES = {dtypes.dtype_name(number): number for number in range(dtypes.DT_FLOAT, dtypes.DT_UINT64 + 1)}
_TYPES |= {"float": dtypes.DT_FLOAT, "double": dtypes.DT_DOUBLE, "half": dtypes.DT_HALF}
_TYPES |= {f"{name}_ref": number + dtypes.REF_OFFSET for name, number in _TYPES.items()}
_TYPE_NAMES = {number: name for name, number in _TYPES.items()}
_UNSAID = frozenset({dtypes.DT_FLOAT, dtypes.DT_INT32, dtypes.DT_BOOL, dtypes.DT_STRING})


def parse_value(token: str, tokens: Iterator[str]) -> Written:
    """The value that begins with `token`; the rest of it is taken from `tokens`.

    Raises:
        ValueError: what is wrong, as a phrase.
    """
    if token == "[":
        items: list[Written] = []
        token = next(tokens, "")
        while token != "]":
            items.append(parse_value(token, tokens))
            token = next(tokens, "")
            if token == ",":
                token = next(tokens, "")
            elif token != "]":
                raise ValueError("a list is not closed")
        return items
    if token in ("", ",", ":", "]"):
        raise ValueError("a value is missing")
    if token[0] == '"':
        text: str = json.loads(token)
        return text
    if token in _WORDS:
        return _WORDS[token]
    if _INT.fullmatch(token):
        return int(token)
    return float(token) if _FLOAT.fullmatch(token) else token


def to_attribute(key: str, value: Written) -> Any:
    """The AttrValue of what is written under a key.

    Raises:
        ValueError: what is wrong, as a phrase.
    """
    if key in _TYPE_KEYS or key.startswith("T"):
        return types_attr(map(_type, value)) if isinstance(value, list) else type_attr(_type(value))
    if key in _SHAPE_KEYS:
        return shape_attr(_shape(value))
    if isinstance(value, bool):
        return bool_attr(value)
    if isinstance(value, int):
        return int_attr(value)
    if isinstance(value, float):
        return float_attr(value)
    if isinstance(value, str):
        return bytes_attr(_encoded(value))
    if isinstance(value, list):
        return _list_attribute(key, value)
    raise ValueError(f"no value for {key!r}")


def _list_attribute(key: str, values: list[Written]) -> Any:
    kinds = {type(value) for value in values}
    if kinds <= {int}:
        return ints_attr([value for value in values if isinstance(value, int)])
    if kinds == {str}:
        return strs_attr([_encoded(value) for value in values if isinstance(value, str)])
    if kinds <= {float, int}:
        return AttrValue(list=AttrListValue(f=[value for value in values if isinstance(value, float | int)]))
    if kinds == {list}:
        return AttrValue(list=AttrListValue(shape=[shape_proto(_shape(value)) for value in values]))
    raise ValueError(f"the list {key!r} holds values of several kinds")


def _type(value: Written) -> int:
    if not isinstance(value, str) or value not in _TYPES:
        raise ValueError(f"{value!r} is no type")
    return _TYPES[value]


def _shape(value: Written) -> list[int] | None:
    if value == "?":
        return None
    sizes = [-1 if size == "?" else size for size in value] if isinstance(value, list) else [None]
    known = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if len(known) != len(sizes):
        raise ValueError(f"{value!r} is no shape")
    return known


def to_constant(value: Written, dtype: Written, shape: Written) -> Any:
    """The TensorProto of a Const.

    Args:
        value: its elements.
        dtype: the name of its dtype; None for the one that follows from its elements.
        shape: when `value` is one number, the shape to fill with it; else None.

    Raises:
        ValueError: what is wrong, as a phrase.
    """
    import numpy as np

    if isinstance(value, str):
        return scalar_tensor(_encoded(value), dtypes.DT_STRING)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return vector_tensor([_encoded(item) for item in value if isinstance(item, str)], dtypes.DT_STRING)
    array = np.asarray(value)
    if dtype is not None:
        array = array.astype(dtypes.dtype_name(_type(dtype)))
    elif array.dtype == np.float64:
        array = array.astype(np.float32)
    elif array.dtype == np.int64:
        if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
            raise ValueError("too large for int32: say `dtype: int64`")
        array = array.astype(np.int32)
    try:
        tensor = from_numpy(array)
    except FqrewriteError as error:
        raise ValueError(error.what) from None
    if shape is not None:
        if array.ndim:
            raise ValueError("a Const with a shape takes one number")
        tensor.tensor_shape.CopyFrom(shape_proto(_shape(shape)))
    return tensor


def format_attribute(attribute: Any) -> str:
    """The written form of an AttrValue.

    Raises:
        Inexpressible: it has none. (It may also have one that means something else under its key.)
    """
    kind = attribute.WhichOneof("value")
    if kind == "list":
        return _format_list(attribute.list)
    if kind == "type":
        return _format_type(attribute.type)
    if kind == "shape":
        return _format_shape(attribute.shape)
    if kind == "s":
        return _format_string(attribute.s)
    if kind == "f":
        return _format_float(attribute.f)
    if kind == "i":
        return str(attribute.i)
    if kind == "b":
        return str(attribute.b).lower()
    raise Inexpressible(kind)


def _format_list(values: Any) -> str:
    items = [str(value) for value in values.i]
    items += [_format_string(value) for value in values.s]
    items += [_format_float(value) for value in values.f]
    items += [_format_type(value) for value in values.type]
    items += [_format_shape(value) for value in values.shape]
    return f"[{', '.join(items)}]"


def _format_type(number: int) -> str:
    if number not in _TYPE_NAMES:
        raise Inexpressible(number)
    return _TYPE_NAMES[number]


def _format_shape(shape: Any) -> str:
    dims = shape_dims(shape)
    return "?" if dims is None else f"[{', '.join('?' if size == -1 else str(size) for size in dims)}]"


def _format_string(value: bytes) -> str:
    text = value.decode("utf-8", "surrogateescape")
    return text if _PLAIN_STRING.fullmatch(text) else json.dumps(text)


def _format_float(value: float) -> str:
    """The shortest decimal that is the same float32."""
    wanted = float_attr(value)
    texts = (f"{value:.{digits}g}" for digits in range(1, 10))
    text = next((text for text in texts if float_attr(float(text)) == wanted), repr(value))
    return f"{text}.0" if _INT.fullmatch(text) else text


def format_constant(tensor: Any) -> list[str]:
    """What is written for a Const: `value`, and `dtype` and `shape` where they are needed.

    Raises:
        Inexpressible: its dtype or its form is not known here.
    """
    if tensor.dtype == dtypes.DT_STRING:
        return [f"value: {_format_strings(tensor)}"]
    try:
        array = to_numpy(tensor)
    except FqrewriteError as error:
        raise Inexpressible(error.what) from None
    printed = [] if tensor.dtype in _UNSAID else [f"dtype: {_TYPE_NAMES[tensor.dtype]}"]
    if array.size != 1 and (array == array.ravel()[:1]).all():
        one = array.ravel()[0] if array.size else array.dtype.type(0)
        return [*printed, f"value: {_format_elements(one)}", f"shape: {_format_shape(tensor.tensor_shape)}"]
    return [*printed, f"value: {_format_elements(array)}"]


def _format_strings(tensor: Any) -> str:
    strings, rank = [_format_string(value) for value in tensor.string_val], len(tensor.tensor_shape.dim)
    if rank == 0 and len(strings) == 1:
        return strings[0]
    if rank == 1 and strings and len(strings) == tensor.tensor_shape.dim[0].size:
        return f"[{', '.join(strings)}]"
    raise Inexpressible("string")


def _format_elements(array: np.ndarray[Any, Any] | np.generic) -> str:
    short = array.dtype.name in ("float16", "float32")

    def text(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        return _format_float(value) if short else str(value).lower()

    return text(array.tolist())


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
