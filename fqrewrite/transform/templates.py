"""NodeDefs to copy: one for each operation that a rewrite inserts. Stock TensorFlow ops only.

Attributes that have their default value are left out, as TensorFlow's `strip_default_attrs` does: importing a graph
fills them in, and older versions read it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import bool_attr, bytes_attr, int_attr, ints_attr, shape_attr, tensor_attr, type_attr
from fqrewrite.proto.dtypes import DT_BOOL, DT_FLOAT, DT_INT32, DT_INT64
from fqrewrite.proto.tensors import scalar_tensor, vector_tensor


def template(op: str, **attributes: Any) -> Any:
    """A NodeDef of this op with these AttrValues."""
    proto = NodeDef(op=op)
    for key, value in attributes.items():
        proto.attr[key].CopyFrom(value)
    return proto


_FLOAT = type_attr(DT_FLOAT)
_INT32 = type_attr(DT_INT32)

IDENTITY = template("Identity", T=_FLOAT)
STOP_GRADIENT = template("StopGradient", T=_FLOAT)
ADD = template("AddV2", T=_FLOAT)
SUB = template("Sub", T=_FLOAT)
MUL = template("Mul", T=_FLOAT)
DIV = template("RealDiv", T=_FLOAT)
POW = template("Pow", T=_FLOAT)
RSQRT = template("Rsqrt", T=_FLOAT)
SQUARE = template("Square", T=_FLOAT)
MINIMUM = template("Minimum", T=_FLOAT)
MAXIMUM = template("Maximum", T=_FLOAT)
RESHAPE = template("Reshape", T=_FLOAT)
MEAN = template("Mean", T=_FLOAT)
MIN = template("Min", T=_FLOAT)
MAX = template("Max", T=_FLOAT)
SIZE = template("Size", T=_FLOAT)
SHAPE = template("Shape", T=_FLOAT)
SLICE = template("Slice", T=_INT32, Index=_INT32)
TO_FLOAT = template("Cast", SrcT=_INT32, DstT=_FLOAT)
BOOL_TO_FLOAT = template("Cast", SrcT=type_attr(DT_BOOL), DstT=_FLOAT)
SELECT = template("Select", T=_FLOAT)
GREATER_EQUAL_INT64 = template("GreaterEqual", T=type_attr(DT_INT64))
LESS_INT64 = template("Less", T=type_attr(DT_INT64))


DEPTHWISE_1X1 = template(
    "DepthwiseConv2dNative", T=_FLOAT, strides=ints_attr((1, 1, 1, 1)), padding=bytes_attr("VALID")
)
"""Of stride 1."""


@cache
def pack(number: int) -> Any:
    """A Pack of this many float32 tensors."""
    return template("Pack", T=_FLOAT, N=int_attr(number))


@cache
def bias_add(data_format: str) -> Any:
    """BiasAdd, which knows where the channels are."""
    return template("BiasAdd", T=_FLOAT, data_format=bytes_attr(data_format))


@cache
def fake_quant(bits: int, narrow_range: bool, per_channel: bool) -> Any:
    """FakeQuantWithMinMaxVars, or its per-channel form for the last axis."""
    op = "FakeQuantWithMinMaxVarsPerChannel" if per_channel else "FakeQuantWithMinMaxVars"
    return template(op, num_bits=int_attr(bits), narrow_range=bool_attr(narrow_range))


@cache
def scalar(value: float | str | bytes, dtype: int = DT_FLOAT) -> Any:
    """A scalar Const."""
    return template("Const", dtype=type_attr(dtype), value=tensor_attr(scalar_tensor(value, dtype)))


def vector(values: Sequence[float | str], dtype: int = DT_FLOAT) -> Any:
    """A Const of rank 1."""
    return template("Const", dtype=type_attr(dtype), value=tensor_attr(vector_tensor(values, dtype)))


def constant(tensor_proto: Any) -> Any:
    """A Const of any tensor."""
    proto = NodeDef(op="Const")
    proto.attr["dtype"].type = tensor_proto.dtype
    proto.attr["value"].tensor.CopyFrom(tensor_proto)  # the one copy: weights are large
    return proto


@cache
def ref_variable(shape: tuple[int, ...], dtype: int) -> tuple[Any, Any, Any]:
    """VariableV2, its Assign and its reading Identity."""
    number = type_attr(dtype)
    variable = template("VariableV2", dtype=number, shape=shape_attr(shape))
    assign = template("Assign", T=number)
    return variable, assign, template("Identity", T=number)


@cache
def resource_variable(shape: tuple[int, ...], dtype: int) -> tuple[Any, Any, Any]:
    """VarHandleOp (its shared_name is set by the caller), its AssignVariableOp and its ReadVariableOp."""
    number = type_attr(dtype)
    handle = template("VarHandleOp", dtype=number, shape=shape_attr(shape))
    return handle, template("AssignVariableOp", dtype=number), template("ReadVariableOp", dtype=number)


@cache
def assign_ref(op: str, dtype: int) -> Any:
    """AssignAdd or AssignSub of a reference variable; output 0 is the variable after it."""
    return template(op, T=type_attr(dtype))


@cache
def assign_resource(op: str, dtype: int) -> Any:
    """AssignVariableOp, AssignAddVariableOp or AssignSubVariableOp."""
    return template(op, dtype=type_attr(dtype))
