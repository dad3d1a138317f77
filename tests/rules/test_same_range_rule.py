from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

from fqrewrite.rules.same_range import RULE

INPUTS = {
    **dict.fromkeys(("Split", "Reshape", "ExpandDims", "Transpose", "Max", "Min", "Pad", "MirrorPad", "Tile"), 1),
    **dict.fromkeys(("BroadcastTo", "TopKV2", "Gather", "GatherNd", "ResizeBilinear", "ResizeNearestNeighbor"), 1),
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND", "Slice", "SplitV", "GatherV2"), 2),
    "StridedSlice": 3,
}
"""How many other inputs an operation has."""


@pytest.mark.parametrize("op", RULE.ops)
def test_hands_the_range_on(op: str) -> None:
    others = ["d"] * INPUTS.get(op, 0)
    operands = ["d", "x"] if op == "Split" else ["x", *others]
    plan = integer_plan(f"x = Placeholder\nd = Const {{value: 3}}\np = {op}({', '.join(operands)})\ny = LeakyRelu(p)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "own_range"}
    assert left_float(plan) == {}


def test_several_results_have_one_range() -> None:
    lines = "d = Const {value: 3}\np = Split(d, x) {num_split: 2}\ny = Mul(p, p:1)\n"
    assert set(sites(integer_plan("x = Placeholder\n" + lines))) == {"x:0", "y:0"}


@pytest.mark.parametrize(
    "split", ["Split(d, x) {num_split: 3}", "SplitV(x, d, d) {num_split: 3}", "Unpack(x) {num: 3}"]
)
def test_a_split_with_an_unused_result_has_a_quantizer(split: str) -> None:
    lines = f"x = Placeholder\nd = Const {{value: 3}}\np = {split}\n"
    plan = integer_plan(lines + "y = Mul(p:1, p:2)\n")
    assert sites(plan) == {"x:0": "input", "p:1": "same_range", "y:0": "arithmetic"}
    tied = {item.tensor: item.tied_with for item in plan.quantizers if item.tied_with}
    assert tied == {"x:0": ("p/quant",), "p:1": ("x/quant",)}
    assert "p:0" not in sites(integer_plan(lines + "q = Mul(p:1, p:2)\ny = Mul(q, p)\n"))


def test_a_fixed_range_is_handed_on_through_a_split() -> None:
    lines = "x = Placeholder\ns = Sigmoid(x)\np = Unpack(s) {num: 2}\ny = Relu(p:1)\n"
    (item,) = [item for item in integer_plan(lines).quantizers if item.tensor == "p:1"]
    assert (item.range.source, item.range.minimum, item.range.maximum) == ("constant", (0.0,), (255 / 256,))


def test_an_input_that_is_only_moved() -> None:
    assert sites(integer_plan("x = Placeholder\np = MaxPool(x)\ny = Reshape(p, x)\n")) == {"x:0": "input"}
    assert sites(integer_plan("x = Placeholder\ny = Identity(x)\n")) == {}


def test_nothing_needs_a_range_where_nothing_is_computed_in_integers() -> None:
    plan = integer_plan("x = Placeholder\np = Reshape(x, x)\ny = Elu(p)\n")
    assert sites(plan) == {}
    assert left_float(plan) == {"y:0": "float-in-runtime"}


def test_each_result_has_the_range_of_the_operand_at_its_place() -> None:
    lines = "x = Placeholder\na = LeakyRelu(x)\ns = Sigmoid(x)\np = IdentityN(a, s)\n"
    plan = integer_plan(lines, ("p:0", "p:1"))
    assert sites(plan) == {"x:0": "input", "a:0": "own_range", "s:0": "fixed_range"}
    assert left_float(plan) == {}
    read = integer_plan(lines + "y = Concat(d, p, p:1)\nd = Const {value: 3}\n")
    assert {item.tensor: item.range.source for item in read.quantizers}["s:0"] == "constant"
