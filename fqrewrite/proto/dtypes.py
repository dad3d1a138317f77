"""The numbers of TensorFlow's DataType enum, and the names TensorFlow prints for them."""

from __future__ import annotations

from typing import Final

DT_INVALID: Final = 0
DT_FLOAT: Final = 1
DT_DOUBLE: Final = 2
DT_INT32: Final = 3
DT_UINT8: Final = 4
DT_INT16: Final = 5
DT_INT8: Final = 6
DT_STRING: Final = 7
DT_COMPLEX64: Final = 8
DT_INT64: Final = 9
DT_BOOL: Final = 10
DT_QINT8: Final = 11
DT_QUINT8: Final = 12
DT_QINT32: Final = 13
DT_BFLOAT16: Final = 14
DT_QINT16: Final = 15
DT_QUINT16: Final = 16
DT_UINT16: Final = 17
DT_COMPLEX128: Final = 18
DT_HALF: Final = 19
DT_RESOURCE: Final = 20
DT_VARIANT: Final = 21
DT_UINT32: Final = 22
DT_UINT64: Final = 23

REF_OFFSET: Final = 100
"""A reference to a T has the number of T plus this: what a VariableV2 op gives."""

DT_FLOAT_REF: Final = DT_FLOAT + REF_OFFSET
DT_DOUBLE_REF: Final = DT_DOUBLE + REF_OFFSET
DT_INT32_REF: Final = DT_INT32 + REF_OFFSET
DT_INT64_REF: Final = DT_INT64 + REF_OFFSET
DT_BOOL_REF: Final = DT_BOOL + REF_OFFSET
DT_HALF_REF: Final = DT_HALF + REF_OFFSET

FLOATING: Final = frozenset({DT_FLOAT, DT_DOUBLE, DT_HALF, DT_BFLOAT16})
"""The floating-point dtypes, as TensorFlow's `DType.is_floating` has them (without the float8 ones)."""

_NAMES: Final = {
    DT_FLOAT: "float32",
    DT_DOUBLE: "float64",
    DT_INT32: "int32",
    DT_UINT8: "uint8",
    DT_INT16: "int16",
    DT_INT8: "int8",
    DT_STRING: "string",
    DT_COMPLEX64: "complex64",
    DT_INT64: "int64",
    DT_BOOL: "bool",
    DT_QINT8: "qint8",
    DT_QUINT8: "quint8",
    DT_QINT32: "qint32",
    DT_BFLOAT16: "bfloat16",
    DT_QINT16: "qint16",
    DT_QUINT16: "quint16",
    DT_UINT16: "uint16",
    DT_COMPLEX128: "complex128",
    DT_HALF: "float16",
    DT_RESOURCE: "resource",
    DT_VARIANT: "variant",
    DT_UINT32: "uint32",
    DT_UINT64: "uint64",
}


def base_dtype(number: int) -> int:
    """Returns the dtype number without the reference flag: DT_FLOAT for both DT_FLOAT and DT_FLOAT_REF."""
    return number - REF_OFFSET if number > REF_OFFSET else number


def dtype_name(number: int) -> str:
    """Returns TensorFlow's name of a dtype: "float32", "float32_ref"; "dtype 99" for an unknown one."""
    name = _NAMES.get(base_dtype(number))
    if name is None:
        return f"dtype {number}"
    return f"{name}_ref" if number > REF_OFFSET else name
