from __future__ import annotations

import pytest
from planning import integer_plan, sites

W = "x = Placeholder\nw = VariableV2 {shape: [2, 3, 4]}\nw/read = Identity(w)\n"


@pytest.mark.parametrize(
    ("line", "edge"), [("m = BatchMatMulV2(x, w/read)\n", "m:in1"), ("m = BatchMatMul(w/read, x)\n", "m:in0")]
)
def test_takes_weights_on_either_side(line: str, edge: str) -> None:
    plan = integer_plan(W + line)
    assert sites(plan) == {"x:0": "input", "m:0": "layer_kernel"}
    (weights,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (weights.edges, weights.scheme.granularity) == ((edge,), "per_tensor")


def test_neither_bias_nor_relu_is_fused() -> None:
    lines = "b = VariableV2 {shape: [4]}\nb/read = Identity(b)\n"
    lines += "m = BatchMatMulV2(x, w/read)\na = Add(m, b/read)\ny = Relu(a)\n"
    assert set(sites(integer_plan(W + lines))) == {"x:0", "m:0", "b/read:0", "y:0"}


def test_leaves_data_to_others() -> None:
    plan = integer_plan("x = Placeholder\nm = BatchMatMulV3(x, x)\n")
    assert sites(plan) == {"x:0": "input", "m:0": "own_range"}
