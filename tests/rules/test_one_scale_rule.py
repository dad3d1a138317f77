from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites, ties

TWO = "x = Placeholder\nz = Placeholder\naxis = Const {value: 3}\n"


@pytest.mark.parametrize(
    "line",
    [
        "y = ConcatV2(x, z, axis) {Tidx: int32}\n",
        "y = Concat(axis, x, z) {N: 2}\n",
        "y = Pack(x, z)\n",
        "y = Maximum(x, z)\n",
        "y = Minimum(z, x)\n",
        "y = PadV2(x, axis, z)\n",
        "c = Placeholder {dtype: bool}\ny = SelectV2(c, x, z)\n",
    ],
)
def test_inputs_and_result_share_a_range(line: str) -> None:
    plan = integer_plan(TWO + line)
    assert sites(plan) == {"x:0": "input", "z:0": "input", "y:0": "one_scale"}
    assert ties(plan) == {frozenset({"x:0", "z:0", "y:0"})}
    assert left_float(plan) == {}


def test_reversing_needs_a_quantizer_of_its_own() -> None:
    plan = integer_plan(TWO + "y = ReverseV2(x, axis)\n")
    assert ties(plan) == {frozenset({"x:0", "y:0"})}


def test_ties_reach_through_what_hands_ranges_on_and_through_each_other() -> None:
    lines = "p = MaxPool(x)\ny = ConcatV2(p, z, axis)\nk = Placeholder\nv = Identity(y)\nq = Maximum(v, k)\n"
    assert ties(integer_plan(TWO + lines)) == {frozenset({"x:0", "z:0", "y:0", "k:0", "q:0"})}


def test_constants_are_held() -> None:
    plan = integer_plan("x = Placeholder\nk = Const {value: 9.0}\ny = Minimum(x, k)\n")
    assert ties(plan) == {frozenset({"x:0", "k:0", "y:0"})}
    (constant,) = [item for item in plan.quantizers if item.role == "constant"]
    assert (constant.range.minimum, constant.range.maximum) == ((0.0,), (9.0,))


def test_a_fixed_range_stays_and_is_held() -> None:
    plan = integer_plan(TWO + "s = Sigmoid(x)\nt = Tanh(x)\ny = ConcatV2(s, z, t, axis)\n")
    assert ties(plan) == {frozenset({"z:0", "y:0"})}
    included = {item.tensor: item.included for item in plan.quantizers}
    assert included["y:0"] == included["z:0"] == (-1.0, 255 / 256)
    assert included["s:0"] == (0.0, 0.0)


def test_inputs_of_one_fixed_range_give_it_to_the_result() -> None:
    plan = integer_plan(TWO + "s = Sigmoid(x)\nt = Sigmoid(z)\ny = ConcatV2(s, t, axis)\n")
    limits = {item.tensor: (item.range.source, item.range.minimum, item.range.maximum) for item in plan.quantizers}
    assert limits["y:0"] == ("constant", (0.0,), (255 / 256,))
    assert ties(plan) == set()


def test_whole_numbers_have_no_range() -> None:
    plan = integer_plan(
        "x = Placeholder\ns = Shape(x)\np = Pack(s, s) {T: int32}\nf = Reshape(x, p)\ny = LeakyRelu(f)\n"
    )
    assert set(sites(plan)) == {"x:0", "y:0"}
