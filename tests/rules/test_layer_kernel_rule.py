from __future__ import annotations

import pytest
from planning import INPUT, conv, integer_plan, left_float, sites

CONV = INPUT + conv("n/c")
SCALAR = "k = Const {value: 3.0}\n"


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        ("", "n/c/Conv2D:0"),
        ("y = BiasAdd(n/c/Conv2D, b/read)\n", "y:0"),
        ("y = Relu(n/c/Conv2D)\n", "y:0"),
        ("a = BiasAdd(n/c/Conv2D, b/read)\ny = Relu6(a)\n", "y:0"),
        ("a = AddV2(b/read, n/c/Conv2D)\ny = Relu6(a)\n", "y:0"),
        ("a = Sub(n/c/Conv2D, b/read)\ny = Relu6(a)\n", "y:0"),
        ("i = Identity(n/c/Conv2D)\na = BiasAdd(i, b/read)\nj = Identity(a)\ny = Relu(j)\n", "y:0"),
        ("s = Squeeze(n/c/Conv2D)\na = BiasAdd(s, b/read)\ny = Relu(a)\n", "y:0"),
        ("s = ExpandDims(n/c/Conv2D, b/read)\ny = Relu(s)\n", "y:0"),
        # one number for all channels is added to a bias
        ("a = BiasAdd(n/c/Conv2D, b/read)\n" + SCALAR + "y = AddV2(a, k)\n", "y:0"),
        (SCALAR + "a = BiasAdd(n/c/Conv2D, b/read)\ns = Sub(a, k)\ny = Relu6(s)\n", "y:0"),
        ("k = Const {value: 0.0}\ny = Add(n/c/Conv2D, k)\n", "y:0"),
        ("n = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, b/read, b/read) {is_training: false}\ny = Relu(n)\n", "y:0"),
        ("n = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, b/read, b/read) {is_training: false}\n", "n:0"),
    ],
)
def test_one_kernel(lines: str, result: str) -> None:
    plan = integer_plan(CONV + lines)
    assert sites(plan) == {"x:0": "input", result: "layer_kernel"}
    (weights,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (weights.scheme.granularity, weights.scheme.symmetric, weights.scheme.narrow_range) == (
        "per_channel", True, True,
    )  # fmt: skip
    assert left_float(plan) == {}


@pytest.mark.parametrize(
    ("lines", "results"),
    [
        # others read what stands before the Relu
        ("y = Relu(n/c/Conv2D)\nz = Add(y, n/c/Conv2D)\n", {"n/c/Conv2D:0", "y:0", "z:0"}),
        # a bias that differs from place to place is an operand
        ("p = Const {value: [[1, 2], [3, 4]]}\nq = Add(n/c/Conv2D, p)\n", {"n/c/Conv2D:0", "p:0", "q:0"}),
        # a Sub whose bias stands first is no bias
        ("q = Sub(b/read, n/c/Conv2D)\n", {"n/c/Conv2D:0", "b/read:0", "q:0"}),
        # the converter gives all channels the first one's bias when they have the same
        (SCALAR + "a = Add(n/c/Conv2D, k)\ny = Relu6(a)\n", {"n/c/Conv2D:0", "y:0"}),
        ("k = Const {value: [2, 2, 2, 2, 2]}\na = Add(n/c/Conv2D, k)\ny = Relu6(a)\n", {"n/c/Conv2D:0", "k:0", "y:0"}),
        # behind a BatchToSpaceND only where it is part of an atrous convolution
        ("s = BatchToSpaceND(n/c/Conv2D, b, b)\ny = BiasAdd(s, b/read)\n", {"n/c/Conv2D:0", "b/read:0", "y:0"}),
        ("s = ExpandDims(n/c/Conv2D, b)\ny = BiasAdd(s, b/read)\n", {"n/c/Conv2D:0", "b/read:0", "y:0"}),
        ("q = LeakyRelu(n/c/Conv2D)\n", {"n/c/Conv2D:0", "q:0"}),
        ("m = MaxPool(n/c/Conv2D)\nq = Relu(m)\n", {"n/c/Conv2D:0", "q:0"}),
    ],
)
def test_ends_where_the_converter_fuses_no_more(lines: str, results: set[str]) -> None:
    assert set(sites(integer_plan(CONV + lines))) == {"x:0"} | results


def test_an_output_is_no_inner_result() -> None:
    lines = "a = BiasAdd(n/c/Conv2D, b/read)\ny = Relu6(a)\n"
    assert set(sites(integer_plan(CONV + lines, ("a:0", "y:0")))) == {"x:0", "a:0", "y:0"}


def test_a_dense_layer_of_many_axes() -> None:
    lines = (
        "w = VariableV2 {shape: [3, 4]}\nw/read = Identity(w)\nrows = Const {value: [-1, 3]}\n"
        "back = Const {value: [-1, 8, 8, 4]}\nflat = Reshape(x, rows)\nm = MatMul(flat, w/read)\n"
        "r = Reshape(m, back)\na = BiasAdd(r, b/read)\ny = Relu(a)\n"
    )
    assert sites(integer_plan(INPUT + lines)) == {"x:0": "input", "y:0": "layer_kernel"}


@pytest.mark.parametrize(("channels", "quantized"), [(1, {"y:0"}), (2, {"c:0", "y:0"})])
def test_one_number_is_a_bias_of_one_channel(channels: int, quantized: set[str]) -> None:
    lines = f"w = VariableV2 {{shape: [1, 1, 3, {channels}]}}\nw/read = Identity(w)\nc = Conv2D(x, w/read)\n"
    plan = integer_plan(INPUT + lines + SCALAR + "y = Add(c, k)\n")
    assert set(sites(plan)) == {"x:0"} | quantized
