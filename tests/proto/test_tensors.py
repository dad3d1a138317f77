"""TensorProtos against TensorFlow's make_tensor_proto and MakeNdarray."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from tensorflow.python.framework import tensor_util

from fqrewrite.errors import GraphError, Refusal
from fqrewrite.proto import TensorProto, attrs, dtypes, tensors

FIELDS = {
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
}


def _ours(theirs: Any) -> Any:
    return TensorProto.FromString(theirs.SerializeToString())


def _theirs(ours: Any) -> Any:
    from tensorflow.core.framework import tensor_pb2

    return tensor_pb2.TensorProto.FromString(ours.SerializeToString())


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 0), (3,), (2, 3)])
def test_arrays_both_ways_as_tensorflow(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape, dtype=int)) * 1.5 - 1).astype(dtype).reshape(shape)
    ours = tensors.from_numpy(array)
    theirs = tensor_util.make_tensor_proto(array)
    np.testing.assert_array_equal(tensor_util.MakeNdarray(_theirs(ours)), array)
    if dtype not in ("uint16", "bool"):  # which TensorFlow never packs, though it reads them packed
        assert ours == _ours(theirs)
    read = tensors.to_numpy(_ours(theirs))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    read[...] = 0  # a copy of its own, not a view of the message's bytes


@pytest.mark.parametrize("dtype", FIELDS)
@pytest.mark.parametrize("stored", [0, 1, 2, 6])
def test_short_fields_are_filled_as_tensorflow_does(dtype: str, stored: int) -> None:
    values = np.arange(1, 1 + stored).astype(dtype)
    number = tensors.from_numpy(values).dtype
    tensor = TensorProto(dtype=number, tensor_shape=attrs.shape_proto([2, 3]))
    listed = values.view(np.uint16) if dtype == "float16" else values
    getattr(tensor, FIELDS[dtype]).extend(listed.tolist())
    expected = tensor_util.MakeNdarray(_theirs(tensor))
    np.testing.assert_array_equal(tensors.to_numpy(tensor), expected)
    if dtype in ("int32", "int64"):
        assert tensors.small_ints(tensor) == tuple(expected.reshape(-1).tolist())


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("values", [[], [-1], [0, 3, 1, 2], [[1, -2], [2**31 - 1, -(2**31)]]])
def test_small_ints_of_packed_and_listed_values(dtype: str, values: list[Any]) -> None:
    array = np.array(values, dtype)
    expected = tuple(array.reshape(-1).tolist())
    assert tensors.small_ints(_ours(tensor_util.make_tensor_proto(array))) == expected
    assert tensors.small_ints(_ours(tensor_util.make_tensor_proto(values, dtype=dtype))) == expected


def test_small_ints_declines_other_dtypes_and_large_tensors() -> None:
    assert tensors.small_ints(tensors.scalar_tensor(1.0, dtypes.DT_FLOAT)) is None
    assert tensors.small_ints(TensorProto(dtype=dtypes.DT_INT32, tensor_shape=attrs.shape_proto([1025]))) is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float_scalar(dtype: str) -> None:
    for shape in ((), (1, 1)):
        array = np.full(shape, 0.1, dtype)
        assert tensors.float_scalar(_ours(tensor_util.make_tensor_proto(array))) == float(array.reshape(-1)[0])
    packed = tensors.from_numpy(np.zeros(2, dtype))
    packed.tensor_content = np.full(1, 0.1, dtype).tobytes()
    packed.tensor_shape.CopyFrom(attrs.shape_proto([]))
    assert tensors.float_scalar(packed) == float(np.array(0.1, dtype))
    assert tensors.float_scalar(tensors.from_numpy(np.zeros(2, dtype))) is None
    assert tensors.float_scalar(tensors.scalar_tensor(1, dtypes.DT_INT32)) is None


@pytest.mark.parametrize(
    ("value", "number", "name"),
    [
        (1.25, dtypes.DT_FLOAT, "float32"),
        (1.25, dtypes.DT_DOUBLE, "float64"),
        (0.1, dtypes.DT_HALF, "float16"),
        (-3, dtypes.DT_INT32, "int32"),
        (2**40, dtypes.DT_INT64, "int64"),
        (True, dtypes.DT_BOOL, "bool"),
    ],
)
def test_scalars_and_vectors_are_tensorflows(value: Any, number: int, name: str) -> None:
    assert tensors.scalar_tensor(value, number) == _ours(tensor_util.make_tensor_proto(value, dtype=name))
    vector = tensor_util.MakeNdarray(_theirs(tensors.vector_tensor([value, value], number)))
    np.testing.assert_array_equal(vector, np.array([value, value], name))


@pytest.mark.parametrize("dtype", [*FIELDS, "bfloat16", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_array_tensors_of_every_dtype_a_variable_has(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape, dtype=int)) * 1.5 - 1).astype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    tensor = _theirs(tensors.array_tensor(array.reshape(shape)))
    assert tensor.dtype == tf.dtypes.as_dtype(dtype).as_datatype_enum
    read = tensor_util.MakeNdarray(tensor)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array.reshape(shape))
    assert array.size < 2 or len(tensor.tensor_content) == array.nbytes


@pytest.mark.parametrize(
    "array", [np.array([[b"a", b"\xff\0"]], object), np.array("ä", object), np.array(["a", "bc"]), np.array([b"a"])]
)
def test_array_tensors_of_strings(array: Any) -> None:
    tensor = tensors.array_tensor(array)
    assert tensor == _ours(tensor_util.make_tensor_proto(array))


def test_array_tensors_of_other_things_are_refused() -> None:
    for array in (np.array([None], object), np.zeros(2, "datetime64[s]")):
        with pytest.raises(Refusal) as caught:
            tensors.array_tensor(array)
        assert caught.value.code == "tensor-dtype"


def test_strings() -> None:
    assert tensors.scalar_tensor("ä", dtypes.DT_STRING) == _ours(tensor_util.make_tensor_proto("ä"))
    vector = tensors.vector_tensor(["a", b"\xff"], dtypes.DT_STRING)
    assert vector == _ours(tensor_util.make_tensor_proto([b"a", b"\xff"]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20))
@settings(max_examples=30)
def test_int64_round_trip(values: list[int]) -> None:
    tensor = tensors.from_numpy(np.array(values, np.int64))
    assert tensors.small_ints(tensor) == tuple(values)
    assert tensors.to_numpy(tensor).tolist() == values


def test_unsupported_dtypes_are_refused() -> None:
    for tensor in (TensorProto(dtype=dtypes.DT_BFLOAT16), tensors.scalar_tensor("a", dtypes.DT_STRING)):
        with pytest.raises(Refusal) as caught:
            tensors.to_numpy(tensor)
        assert caught.value.code == "tensor-dtype"
    with pytest.raises(Refusal, match="complex64"):
        tensors.from_numpy(np.zeros(2, np.complex64))


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(dtype=dtypes.DT_INT32, tensor_shape=attrs.shape_proto([2]), tensor_content=b"abc"),
        TensorProto(dtype=dtypes.DT_INT32, tensor_shape=attrs.shape_proto([2]), int_val=[1, 2, 3]),
        TensorProto(dtype=dtypes.DT_INT32, tensor_shape=attrs.shape_proto(None), int_val=[1]),
        TensorProto(dtype=dtypes.DT_INT32, tensor_shape=attrs.shape_proto([-1]), int_val=[1]),
    ],
)
def test_contradictions_are_graph_errors(tensor: Any) -> None:
    for read in (tensors.small_ints, tensors.to_numpy):
        with pytest.raises(GraphError) as caught:
            read(tensor)
        assert caught.value.code == "tensor-malformed"
