"""Attributes: reading leaves the node alone, writing gives what TensorFlow writes."""

from __future__ import annotations

from typing import Any

import pytest

from fqrewrite.proto import NodeDef, attrs, dtypes, tensors


def _node(**attributes: Any) -> Any:
    node = NodeDef(name="n", op="Op")
    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)
    return node


@pytest.mark.parametrize(
    ("getter", "built", "expected"),
    [
        (attrs.get_int, attrs.int_attr(-7), -7),
        (attrs.get_int, attrs.int_attr(0), 0),
        (attrs.get_bool, attrs.bool_attr(False), False),
        (attrs.get_float, attrs.float_attr(0.5), 0.5),
        (attrs.get_bytes, attrs.bytes_attr(b"\xff\x00"), b"\xff\x00"),
        (attrs.get_str, attrs.bytes_attr("größe"), "größe"),
        (attrs.get_str, attrs.bytes_attr(b"\xff"), "\ufffd"),
        (attrs.get_type, attrs.type_attr(dtypes.DT_FLOAT_REF), 101),
        (attrs.get_ints, attrs.ints_attr([1, 2, 2, 1]), (1, 2, 2, 1)),
        (attrs.get_ints, attrs.ints_attr([]), ()),
        (attrs.get_strs, attrs.strs_attr(["loc:@a", b"b"]), ("loc:@a", "b")),
    ],
)
def test_what_is_written_is_read(getter: Any, built: Any, expected: object) -> None:
    read = getter(_node(key=built), "key", None)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    "getter",
    [
        attrs.get_int,
        attrs.get_bool,
        attrs.get_float,
        attrs.get_bytes,
        attrs.get_str,
        attrs.get_type,
        attrs.get_ints,
        attrs.get_strs,
    ],
)
def test_absent_and_of_another_kind_read_as_the_default_and_add_nothing(getter: Any) -> None:
    node = _node(shape=attrs.shape_attr([1]))
    before = node.SerializeToString(deterministic=True)
    assert getter(node, "missing", "default") == "default"
    assert getter(node, "shape", "default") == "default"
    assert node.SerializeToString(deterministic=True) == before


def test_shapes() -> None:
    node = _node(known=attrs.shape_attr([2, -1]), scalar=attrs.shape_attr([]), unknown=attrs.shape_attr(None))
    assert attrs.get_shape(node, "known") == (2, -1)
    assert attrs.get_shape(node, "scalar") == ()
    assert attrs.get_shape(node, "unknown") is None
    assert attrs.get_shape(node, "missing") is None
    assert "missing" not in node.attr


def test_tensor_and_types_are_held() -> None:
    tensor = tensors.vector_tensor([1, 2], dtypes.DT_INT32)
    node = _node(value=attrs.tensor_attr(tensor), types=attrs.types_attr([dtypes.DT_FLOAT, dtypes.DT_INT64]))
    assert node.attr["value"].tensor == tensor
    assert list(node.attr["types"].list.type) == [1, 9]


def test_dtype_names_are_tensorflows() -> None:
    from tensorflow.python.framework import dtypes as theirs

    constants = {key: value for key, value in vars(dtypes).items() if key.startswith("DT_") and value}
    assert len(constants) > 25
    for key, number in constants.items():
        assert dtypes.dtype_name(number) == theirs.as_dtype(number).name, key
    assert dtypes.dtype_name(99) == "dtype 99"
    assert dtypes.base_dtype(dtypes.DT_HALF_REF) == dtypes.DT_HALF
    assert {theirs.as_dtype(number).is_floating for number in dtypes.FLOATING} == {True}
