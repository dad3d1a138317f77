from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.constants import NotConstant, evaluate, weight_range

LEAVES = """
a = Const {value: [[1.0, 4.0], [9.0, 16.0]]}
b = Const {value: [2.0, -3.0]}
h = Const {value: [0.5, 0.25], dtype: half}
order = Const {value: [1, 0]}
rows = Const {value: [4, -1]}
zero = Const {value: 0}
last = Const {value: -1}
x = Placeholder
v = VariableV2 {shape: [2]}
"""
A = [[1.0, 4.0], [9.0, 16.0]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Identity(a)", A),
        ("Mul(a, b)", [[2.0, -12.0], [18.0, -48.0]]),
        ("Add(a, b)", [[3.0, 1.0], [11.0, 13.0]]),
        ("AddV2(b, a)", [[3.0, 1.0], [11.0, 13.0]]),
        ("Sub(a, b)", [[-1.0, 7.0], [7.0, 19.0]]),
        ("RealDiv(a, b)", [[0.5, -4 / 3], [4.5, -16 / 3]]),
        ("Maximum(b, b)", [2.0, -3.0]),
        ("Minimum(a, b)", [[1.0, -3.0], [2.0, -3.0]]),
        ("Sqrt(a)", [[1.0, 2.0], [3.0, 4.0]]),
        ("Rsqrt(a)", [[1.0, 0.5], [1 / 3, 0.25]]),
        ("Square(b)", [4.0, 9.0]),
        ("Neg(b)", [-2.0, 3.0]),
        ("Reshape(a, rows)", [[1.0], [4.0], [9.0], [16.0]]),
        ("Transpose(a, order)", [[1.0, 9.0], [4.0, 16.0]]),
        ("ExpandDims(b, zero)", [[2.0, -3.0]]),
        ("ExpandDims(b, last)", [[2.0], [-3.0]]),
        ("ConcatV2(a, a, last)", [[1.0, 4.0, 1.0, 4.0], [9.0, 16.0, 9.0, 16.0]]),
        ("Cast(h) {SrcT: half}", [0.5, 0.25]),
        ("Sum(a, order)", 30.0),
        ("Sum(a, zero) {keep_dims: true}", [[10.0, 20.0]]),
        ("MatMul(a, a)", [[37.0, 68.0], [153.0, 292.0]]),
        ("MatMul(a, a) {transpose_a: true}", [[82.0, 148.0], [148.0, 272.0]]),
        ("MatMul(a, a) {transpose_b: true}", [[17.0, 73.0], [73.0, 337.0]]),
    ],
)
def test_expressions(line: str, expected: float | list[float] | list[list[float]]) -> None:
    found = evaluate(Graph(parse(f"{LEAVES}y = {line}")).value("y"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-6)
    assert found.shape == np.asarray(expected).shape


def test_squeeze() -> None:
    text = "a = Const {value: [[[1.0, 2.0]]]}\nall = Squeeze(a)\none = Squeeze(a) {squeeze_dims: [0]}\n"
    graph = Graph(parse(text))
    assert evaluate(graph.value("all")).shape == (2,)
    assert evaluate(graph.value("one")).shape == (1, 2)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ("", [[9.0]]),
        ("begin_mask: 1", [[1.0], [9.0]]),
        ("end_mask: 2", [[9.0, 16.0]]),
        ("shrink_axis_mask: 2", [9.0]),
        ("new_axis_mask: 1", [[[1.0, 4.0]]]),
        ("ellipsis_mask: 1", [[1.0], [9.0]]),
    ],
)
def test_strided_slice(masks: str, expected: list[float]) -> None:
    leaves = f"{LEAVES}begin = Const {{value: [1, 0]}}\nend = Const {{value: [2, 1]}}\nstep = Const {{value: [1, 1]}}\n"
    found = evaluate(Graph(parse(f"{leaves}y = StridedSlice(a, begin, end, step) {{{masks}}}")).value("y"))
    np.testing.assert_array_equal(found, expected)


def test_strided_slice_with_a_step() -> None:
    leaves = f"{LEAVES}end = Const {{value: [-3]}}\nstep = Const {{value: [-1]}}\nfirst = Const {{value: [-1]}}\n"
    found = evaluate(Graph(parse(f"{leaves}y = StridedSlice(b, first, end, step)")).value("y"))
    np.testing.assert_array_equal(found, [-3.0, 2.0])


@pytest.mark.parametrize("line", ["Identity(x)", "Mul(a, v)", "Sign(a)", "Const"])
def test_what_is_not_known_here(line: str) -> None:
    with pytest.raises(NotConstant):
        evaluate(Graph(parse(f"{LEAVES}y = {line}")).value("y"))


def _expected(values: list[float], bits: int, symmetric: bool, narrow: bool) -> tuple[float, float]:
    """The range of one channel, number by number, from semantics.md A2."""
    low, high = min(values), max(values)
    if low == high == 0:
        return (-1.0 if symmetric else 0.0), 1.0
    if symmetric and narrow:
        return min(low, -high), max(high, -low)
    if symmetric:
        ratio = -(2**bits - 2) / 2**bits
        return min(low, high / ratio), max(high, low * ratio)
    return min(low, 0.0), max(high, 0.0)


def _widened(values: list[float], limits: tuple[float, float], least: float) -> tuple[float, float]:
    """The range of one of several symmetric channels: not too small beside the largest."""
    low, high = limits if any(values) else (0.0, 0.0)
    return min(low, -least), max(high, least)


FLOATS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@settings(max_examples=150, deadline=None)
@given(
    st_numpy.arrays(np.float32, st_numpy.array_shapes(min_dims=2, max_dims=4, max_side=3), elements=FLOATS),
    st.sampled_from(["tensor", "last", "last_two"]),
    st.integers(2, 8),
    st.booleans(),
    st.booleans(),
)
def test_ranges_against_brute_force(
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    channels: str,
    bits: int,
    symmetric: bool,
    narrow: bool,
) -> None:
    rank = weights.ndim
    axes = {"tensor": None, "last": tuple(range(rank - 1)), "last_two": tuple(range(rank - 2))}[channels]
    groups: dict[tuple[int, ...], list[float]] = {}
    for index in np.ndindex(weights.shape):
        channel = () if axes is None else tuple(index[axis] for axis in range(rank) if axis not in axes)
        groups.setdefault(channel, []).append(float(weights[index]))
    low, high = weight_range(weights, axes, bits, symmetric, narrow)
    assert len(low) == len(high) == len(groups)
    wanted = {channel: _expected(values, bits, symmetric, narrow) for channel, values in groups.items()}
    if symmetric and len(groups) > 1 and weights.any():
        wide = max(max(groups[channel], key=abs) != 0 and end for channel, (_, end) in wanted.items())
        wanted = {
            channel: _widened(values, limits, 1e-4 * wide)
            for (channel, values), limits in zip(groups.items(), wanted.values(), strict=True)
        }
    for found_low, found_high, channel in zip(low, high, sorted(groups), strict=True):
        np.testing.assert_allclose((found_low, found_high), wanted[channel], rtol=1e-6)
        assert found_low <= 0 <= found_high  # TFLite wants zero inside
        assert found_low < found_high  # and FakeQuant a range that is not empty
        assert math.isfinite(found_low)
        assert math.isfinite(found_high)


def test_ranges_are_exact_float32() -> None:
    weights = np.array([[0.1, -0.7]], dtype=np.float32)
    assert weight_range(weights, None, 8, True, True) == (
        (-float(np.float32(0.7)),),
        (float(np.float32(0.7)),),
    )
