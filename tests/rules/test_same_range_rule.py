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


def test_nothing_needs_a_range_where_nothing_is_computed_in_integers() -> None:
    plan = integer_plan("x = Placeholder\np = Reshape(x, x)\ny = Elu(p)\n")
    assert sites(plan) == {}
    assert left_float(plan) == {"y:0": "float-in-runtime"}


def test_several_inputs_that_are_handed_on_have_ranges_of_their_own() -> None:
    """Behind a custom gradient (swish), only the first output is read; else nothing is known."""
    alone = integer_plan("x = Placeholder\np = IdentityN(x, x)\ny = LeakyRelu(p)\n")
    assert left_float(alone) == {}
    both = integer_plan("x = Placeholder\nz = Placeholder\np = IdentityN(x, z)\ny = Mul(p, p:1)\n")
    assert left_float(both) == {"p:0": "operation-not-known"}
