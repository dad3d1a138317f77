"""TensorProto to and from Python and numpy values.

A TensorProto holds its elements either packed in `tensor_content` (little-endian) or in the repeated field
of its dtype. The repeated field may be shorter than the tensor: its last value is then repeated to fill,
and no value at all means zeros (tensor.proto, and TensorFlow's MakeNdarray). numpy costs 70 ms to import,
so only the functions that give or take arrays import it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from fqrewrite.errors import GraphError, Refusal
from fqrewrite.proto import dtypes
from fqrewrite.proto.attrs import shape_dims, shape_proto
from fqrewrite.proto.messages import TensorProto

if TYPE_CHECKING:
    import numpy

# The repeated field that holds the elements of a dtype. float16 is held as the uint16 of its bits.
_VALUE_FIELDS: Final = {
    dtypes.DT_FLOAT: "float_val",
    dtypes.DT_DOUBLE: "double_val",
    dtypes.DT_HALF: "half_val",
    dtypes.DT_INT8: "int_val",
    dtypes.DT_INT16: "int_val",
    dtypes.DT_INT32: "int_val",
    dtypes.DT_UINT8: "int_val",
    dtypes.DT_UINT16: "int_val",
    dtypes.DT_INT64: "int64_val",
    dtypes.DT_UINT32: "uint32_val",
    dtypes.DT_UINT64: "uint64_val",
    dtypes.DT_BOOL: "bool_val",
    dtypes.DT_STRING: "string_val",
}
_STRUCT_CODES: Final = {
    dtypes.DT_FLOAT: "f",
    dtypes.DT_DOUBLE: "d",
    dtypes.DT_HALF: "e",
    dtypes.DT_INT32: "i",
    dtypes.DT_INT64: "q",
    dtypes.DT_BOOL: "?",
}
# Dtypes whose elements `array_tensor` packs, however few.
_PACKED_ONLY: Final = {
    dtypes.dtype_name(number): number for number in (dtypes.DT_BFLOAT16, dtypes.DT_COMPLEX64, dtypes.DT_COMPLEX128)
}

_MOST_SMALL_INTS: Final = 1024

Scalar = float | int | bool | str | bytes


def scalar_tensor(value: Scalar, dtype: int) -> Any:
    """Builds a scalar TensorProto.

    Args:
        value: a number, bool or string that fits the dtype.
        dtype: any that `to_numpy` takes, or DT_STRING (text is stored as UTF-8).
    """
    return _tensor([value], dtype, ())


def vector_tensor(values: Sequence[Scalar], dtype: int) -> Any:
    """Builds a TensorProto of rank 1, as `scalar_tensor` does of rank 0."""
    return _tensor(values, dtype, (len(values),))


def filled_tensor(values: Sequence[Scalar], dtype: int, dims: tuple[int, ...]) -> Any:
    """Builds a TensorProto of any shape from all its elements in a row, or from one that they all are."""
    return _tensor(values, dtype, dims)


def _tensor(values: Sequence[Scalar], dtype: int, dims: tuple[int, ...]) -> Any:
    tensor = TensorProto(dtype=dtype, tensor_shape=shape_proto(dims))
    stored: list[Any] = [value.encode("utf-8") if isinstance(value, str) else value for value in values]
    if dtype == dtypes.DT_HALF:
        stored = [struct.unpack("<H", struct.pack("<e", value))[0] for value in stored]
    getattr(tensor, _VALUE_FIELDS[dtype]).extend(stored)
    return tensor


def element_count(tensor_proto: Any) -> int:
    """Returns the number of elements of a TensorProto.

    Raises:
        GraphError: its shape is not fully known (code tensor-malformed).
    """
    dims = shape_dims(tensor_proto.tensor_shape)
    if dims is None or any(size < 0 for size in dims):
        raise GraphError("tensor-malformed", "a constant's shape is not fully known")
    count = 1
    for size in dims:
        count *= size
    return count


def small_ints(tensor_proto: Any) -> tuple[int, ...] | None:
    """Returns the elements of a small int32 or int64 tensor of any shape (axes, permutations, shapes),
    flattened.

    None for other dtypes and for more than 1024 elements, which no such operand has.

    Raises:
        GraphError: the TensorProto contradicts itself (code tensor-malformed).
    """
    if tensor_proto.dtype not in (dtypes.DT_INT32, dtypes.DT_INT64):
        return None
    count = element_count(tensor_proto)
    if count > _MOST_SMALL_INTS:
        return None
    return tuple(int(value) for value in _elements(tensor_proto, count))


def float_scalar(tensor_proto: Any) -> float | None:
    """Returns the value of a float16, float32 or float64 tensor of exactly one element, whatever its rank.

    None for other dtypes and other numbers of elements. A float32 is widened: 0.1 reads as
    0.10000000149011612.

    Raises:
        GraphError: the TensorProto contradicts itself (code tensor-malformed).
    """
    if tensor_proto.dtype not in (dtypes.DT_FLOAT, dtypes.DT_DOUBLE, dtypes.DT_HALF):
        return None
    if element_count(tensor_proto) != 1:
        return None
    return float(_elements(tensor_proto, 1)[0])


def repeated_float(tensor_proto: Any) -> float | None:
    """Returns the value that all elements of a float tensor have; None for other dtypes, or when they differ.

    Cost is linear in the number of elements.

    Raises:
        GraphError: the TensorProto contradicts itself (code tensor-malformed).
    """
    if tensor_proto.dtype not in (dtypes.DT_FLOAT, dtypes.DT_DOUBLE, dtypes.DT_HALF):
        return None
    count = element_count(tensor_proto)
    if not count:
        return None
    first, *others = _elements(tensor_proto, count)
    return None if any(other != first for other in others) else float(first)


def scalar_value(tensor_proto: Any) -> bool | int | float | None:
    """Returns the value of a float, int32, int64 or bool tensor of exactly one element; None for any other.

    Raises:
        GraphError: the TensorProto contradicts itself (code tensor-malformed).
    """
    if tensor_proto.dtype not in _STRUCT_CODES or element_count(tensor_proto) != 1:
        return None
    return _elements(tensor_proto, 1)[0]


def _elements(tensor_proto: Any, count: int) -> tuple[float, ...]:
    """Returns all elements of a tensor whose dtype has a struct code, without numpy."""
    code = _STRUCT_CODES[tensor_proto.dtype]
    content = tensor_proto.tensor_content
    if content:
        layout = struct.Struct(f"<{count}{code}")
        if layout.size != len(content):
            raise _wrong_size(tensor_proto, layout.size)
        return layout.unpack(content)
    values = tuple(getattr(tensor_proto, _VALUE_FIELDS[tensor_proto.dtype]))
    if tensor_proto.dtype == dtypes.DT_HALF:
        values = tuple(struct.unpack("<e", struct.pack("<H", bits & 0xFFFF))[0] for bits in values)
    if len(values) > count:
        raise _too_many(len(values), count)
    return values + (values[-1] if values else 0,) * (count - len(values))


def to_numpy(tensor_proto: Any) -> numpy.ndarray[Any, Any]:
    """Returns the elements of a TensorProto as a new array of its shape and dtype.

    Floats (16, 32, 64 bits), ints (8 to 64 bits, signed or not) and bools. Cost is linear in the number of
    elements.

    Raises:
        Refusal: another dtype, such as bfloat16 or string (code tensor-dtype).
        GraphError: the TensorProto contradicts itself (code tensor-malformed).
    """
    import numpy

    dtype_number = tensor_proto.dtype
    if dtype_number not in _VALUE_FIELDS or dtype_number == dtypes.DT_STRING:
        raise Refusal("tensor-dtype", f"a constant is {dtypes.dtype_name(dtype_number)}, which is not supported")
    dtype = numpy.dtype(dtypes.dtype_name(dtype_number)).newbyteorder("<")
    count = element_count(tensor_proto)
    dims = tuple(dimension.size for dimension in tensor_proto.tensor_shape.dim)
    content = tensor_proto.tensor_content
    if content:
        if len(content) != count * dtype.itemsize:
            raise _wrong_size(tensor_proto, count * dtype.itemsize)
        return numpy.frombuffer(content, dtype=dtype).astype(dtype.newbyteorder("=")).reshape(dims)
    field = getattr(tensor_proto, _VALUE_FIELDS[dtype_number])
    if len(field) > count:
        raise _too_many(len(field), count)
    if dtype_number == dtypes.DT_HALF:
        values = numpy.array(field, dtype=numpy.uint16).view(numpy.float16)
    else:
        values = numpy.array(field, dtype=dtype.newbyteorder("="))
    if len(values) < count:
        fill = values[-1] if len(values) else dtype.type(0)
        values = numpy.concatenate([values, numpy.full(count - len(values), fill, dtype=values.dtype)])
    return values.reshape(dims)


def from_numpy(array: numpy.ndarray[Any, Any]) -> Any:
    """Builds the TensorProto of an array (or numpy scalar) of a dtype that `to_numpy` gives.

    As TensorFlow's make_tensor_proto: one element goes into the repeated field, more into `tensor_content`.

    Raises:
        Refusal: another dtype (code tensor-dtype).
    """
    import numpy

    array = numpy.asarray(array)
    number = _dtype_number(array.dtype.name)
    tensor = TensorProto(dtype=number, tensor_shape=shape_proto(array.shape))
    if array.size > 1:
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    elif number == dtypes.DT_HALF:
        tensor.half_val.extend(array.reshape(-1).view(numpy.uint16).tolist())
    else:
        getattr(tensor, _VALUE_FIELDS[number]).extend(array.reshape(-1).tolist())
    return tensor


def array_tensor(array: numpy.ndarray[Any, Any]) -> Any:
    """Builds the TensorProto of an array of any dtype that a variable's value is read from a checkpoint with.

    As `from_numpy`, and beside its dtypes: strings (object arrays of bytes or text, numpy's own bytes or text),
    bfloat16 (of the ml_dtypes package), complex64 and complex128.

    Raises:
        Refusal: another dtype (code tensor-dtype).
    """
    import numpy

    array = numpy.asarray(array)
    if array.dtype.kind in "OSU":
        tensor = TensorProto(dtype=dtypes.DT_STRING, tensor_shape=shape_proto(array.shape))
        elements = array.reshape(-1).tolist()
        if not all(isinstance(element, bytes | str) for element in elements):
            raise Refusal("tensor-dtype", "an array of Python objects holds something else than strings")
        tensor.string_val.extend(item.encode("utf-8") if isinstance(item, str) else item for item in elements)
        return tensor
    number = _PACKED_ONLY.get(array.dtype.name)
    if number is None:
        return from_numpy(array)
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return TensorProto(dtype=number, tensor_shape=shape_proto(array.shape), tensor_content=content)


def _dtype_number(name: str) -> int:
    for number in _VALUE_FIELDS:
        if number != dtypes.DT_STRING and dtypes.dtype_name(number) == name:
            return number
    raise Refusal("tensor-dtype", f"an array is {name}, which is not supported")


def _wrong_size(tensor_proto: Any, expected: int) -> GraphError:
    found = len(tensor_proto.tensor_content)
    return GraphError("tensor-malformed", f"a constant holds {found} bytes and its shape needs {expected}")


def _too_many(found: int, expected: int) -> GraphError:
    return GraphError("tensor-malformed", f"a constant holds {found} values and its shape takes {expected}")
