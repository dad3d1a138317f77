from __future__ import annotations

from planning import integer_plan, sites

W = "x = Placeholder\nw = VariableV2 {shape: [4, 5]}\nw/read = Identity(w)\n"


def test_takes_weights() -> None:
    plan = integer_plan(W + "y = Einsum(x, w/read)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "layer_kernel"}
    (weights,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (weights.edges, weights.scheme.granularity) == (("y:in1",), "per_tensor")


def test_leaves_data_to_others() -> None:
    assert sites(integer_plan("x = Placeholder\ny = Einsum(x, x)\n")) == {"x:0": "input", "y:0": "own_range"}
