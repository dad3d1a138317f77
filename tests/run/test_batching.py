"""From arrays to feeds: batch sizes, and everything that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fqrewrite.errors import InputError
from fqrewrite.run.batching import Batch, batched, checked_feed
from fqrewrite.run.inputs import GraphInput


class Stored:
    """An array as a column."""

    def __init__(self, array: Any) -> None:
        self.where = "data"
        self.array = np.asarray(array)
        self.dtype: Any = self.array.dtype
        self.shape = self.array.shape
        self.position = 0

    def read(self, count: int) -> Any:
        self.position += count
        return self.array[self.position - count : self.position]


def taking(
    *shape: int, name: str = "x", dtype: str = "float32", optional: bool = False, unknown: bool = False
) -> GraphInput:
    return GraphInput(name=name, dtype=dtype, shape=None if unknown else shape, optional=optional)


def batches(data: Mapping[str | None, Any], *inputs: GraphInput, size: int = 4) -> list[Batch]:
    opened = batched({key: Stored(array) for key, array in data.items()}, inputs, size, "data")
    found = list(opened.batches)
    assert opened.samples == sum(batch.samples for batch in found)
    return found


def failure(data: Mapping[str | None, Any], *inputs: GraphInput) -> InputError:
    with pytest.raises(InputError) as caught:
        batches(data, *inputs)
    return caught.value


ARRAY = np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.mark.parametrize("wanted", [taking(-1, 3), taking(-1, -1), taking(unknown=True)])
@pytest.mark.parametrize("key", ["x", "x:0", None])
def test_open_batch_sizes(wanted: GraphInput, key: str | None) -> None:
    found = batches({key: ARRAY}, wanted)
    assert [batch.samples for batch in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([batch.feed["x"] for batch in found]), ARRAY)


def test_fixed_batch_sizes() -> None:
    assert [batch.feed["x"].shape for batch in batches({"x": ARRAY}, taking(1, 3))] == [(1, 3)] * 10
    found = batches({"x": ARRAY}, taking(8, 3))
    assert [batch.samples for batch in found] == [8, 2]
    np.testing.assert_array_equal(found[1].feed["x"], ARRAY[[8, 9] * 4])  # filled up with its own samples


def test_placeholders_without_a_batch_axis() -> None:
    found = batches({"x": ARRAY, "s": np.arange(10, dtype=np.int64)}, taking(3), taking(name="s", dtype="int32"))
    assert len(found) == 10
    np.testing.assert_array_equal(found[7].feed["x"], ARRAY[7])
    assert found[7].feed["s"] == 7 and found[7].feed["s"].dtype == np.int32


def test_what_nobody_asks_for_is_ignored_and_what_has_a_default_may_lack() -> None:
    found = batches({"x": ARRAY, "labels": np.zeros(3)}, taking(-1, 3), taking(name="keep", optional=True))
    assert [list(batch.feed) for batch in found] == [["x"]] * 3


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("float32", ARRAY.astype(np.float64)),
        ("float16", ARRAY),
        ("bfloat16", ARRAY),
        ("int32", ARRAY.astype(np.int64)),
        ("uint8", ARRAY.astype(np.int64)),
        ("bool", ARRAY > 3),
    ],
)
def test_numbers_of_the_same_kind_are_converted(dtype: str, array: Any) -> None:
    found = batches({"x": array}, taking(-1, 3, dtype=dtype))
    assert all(batch.feed["x"].dtype.name == dtype for batch in found)
    np.testing.assert_array_equal(np.concatenate([batch.feed["x"] for batch in found]), array)


@pytest.mark.parametrize(
    ("dtype", "array", "words"),
    [
        ("float32", ARRAY.astype(np.uint8), "uint8, and the placeholder 'x' takes float32"),
        ("float32", ARRAY > 3, "bool"),
        ("int32", ARRAY, "float32, and the placeholder 'x' takes int32"),
        ("uint8", ARRAY.astype(np.int64) - 1, "does not fit into uint8"),
        ("string", ARRAY, "takes string"),
    ],
)
def test_numbers_of_another_kind(dtype: str, array: Any, words: str) -> None:
    found = failure({"x": array}, taking(-1, 3, dtype=dtype))
    assert found.code == "data-dtype" and words in str(found)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [(ARRAY, taking(-1, 4)), (ARRAY, taking(-1, 3, 1)), (ARRAY, taking(4)), (ARRAY, taking(-1, -1, -1, -1))],
)
def test_other_shapes(array: Any, wanted: GraphInput) -> None:
    found = failure({"x": array}, wanted)
    assert found.code == "data-shape" and "the array is [10, 3]" in str(found)


def test_numbers_of_samples_and_batch_sizes_that_differ() -> None:
    two = (taking(-1, 3), taking(-1, 3, name="y"))
    found = failure({"x": ARRAY, "y": ARRAY[:7]}, *two)
    assert found.code == "data-shape" and "x 10, y 7" in str(found)
    found = failure({"x": ARRAY, "y": ARRAY}, taking(2, 3), taking(5, 3, name="y"))
    assert found.code == "data-shape" and "x [2, 3], y [5, 3]" in str(found)


def test_inputs_without_data() -> None:
    found = failure({"X": ARRAY}, taking(-1, 3))
    assert found.code == "data-input-missing"
    assert "no array 'x'" in str(found) and "has X" in str(found) and "x (float32[?, 3])" in str(found)
    assert failure({None: ARRAY}, taking(-1, 3), taking(-1, 3, name="y")).code == "data-input-missing"
    assert failure({}, taking(unknown=True)).code == "data-input-missing"
    assert "no input to feed" in str(failure({"x": ARRAY}))


def test_no_samples() -> None:
    assert failure({"x": ARRAY[:0]}, taking(-1, 3)).code == "data-empty"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_samples_that_are_not_finite(bad: float) -> None:
    array = ARRAY.astype(np.float64)
    array[6, 1] = bad
    found = failure({"x": array}, taking(-1, 3))
    assert found.code == "data-not-finite" and "sample 6" in str(found)


def test_feeds_of_a_function() -> None:
    inputs = (taking(2, 3), taking(name="keep", optional=True))
    found = checked_feed({"x:0": ARRAY[:2], "more": 1}, inputs, "f")
    assert found.samples == 2 and list(found.feed) == ["x"]
    assert checked_feed({"keep": 0.5}, inputs[1:], "f").feed["keep"] == np.float32(0.5)
    for feed, code in (
        ({}, "data-input-missing"),
        ({"x": ARRAY}, "data-shape"),
        ({"x": ARRAY[0]}, "data-shape"),
        ({"x": ARRAY[:2].astype(np.int64)}, "data-dtype"),
        ({"x": ARRAY[:2] * np.nan}, "data-not-finite"),
    ):
        with pytest.raises(InputError) as caught:
            checked_feed(feed, inputs, "f")
        assert caught.value.code == code
    with pytest.raises(InputError) as caught:
        checked_feed({"x": ARRAY[:0]}, (taking(-1, 3),), "f")
    assert caught.value.code == "data-empty"
