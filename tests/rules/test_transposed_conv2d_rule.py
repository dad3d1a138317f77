from __future__ import annotations

from planning import INPUT, integer_plan, left_float, plan_of, sites

GRAPH = (
    INPUT
    + """
size = Const {value: [1, 8, 8, 4]}
w = VariableV2 {shape: [3, 3, 4, 3]}
w/read = Identity(w)
up = Conv2DBackpropInput(size, w/read, x)
a = BiasAdd(up, b/read)
y = Relu(a)
"""
)


def test_takes() -> None:
    plan = integer_plan(GRAPH, rules=())
    assert sites(plan) == {"x:0": "input", "y:0": "layer_kernel"}
    (weights,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (weights.tensor, weights.edges, weights.scheme.granularity) == ("w/read:0", ("up:in1",), "per_tensor")
    assert [note.code for note in plan.notes if note.code.startswith("per-channel")] == ["per-channel-unavailable"]


def test_leaves_a_filter_that_is_data() -> None:
    plan = integer_plan("x = Placeholder\nsize = Const {value: [1, 8, 8, 4]}\nup = Conv2DBackpropInput(size, x, x)\n")
    assert left_float(plan) == {"up": "weights-are-data"}


def test_is_none_in_contrib() -> None:
    assert left_float(plan_of(GRAPH))["up"] == "layer-not-quantizable"
