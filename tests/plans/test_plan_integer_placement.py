"""Integer placement over whole graphs: what is reached, what the config says, what is learned."""

from __future__ import annotations

import pytest
from planning import INPUT, conv, integer_plan, left_float, sites, ties

from fqrewrite.config.records import ActivationOverrides, ActivationSettings, Rule
from fqrewrite.config.selectors import Selector
from fqrewrite.plans.items import Plan

NET = INPUT + conv("n/c") + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\nn/c/Relu = Relu(n/c/BiasAdd)\n"
HEADS = NET + "n/a = LeakyRelu(n/c/Relu)\nout = Softmax(n/a)\n"
LOSS = (
    HEADS
    + """
labels = Placeholder {shape: [?, 8, 8, 4]}
gap = Sub(out, labels)
squares = Mul(gap, gap)
axes = Const {value: [0, 1, 2, 3]}
loss = Mean(squares, axes)
"""
)
NORM = (
    INPUT
    + conv("n/c")
    + """
axes = Const {value: [0, 1, 2]}
mean = Mean(n/c/Conv2D, axes)
epsilon = Const {value: 0.001}
n/bn = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, b/read, b/read) {is_training: false}
n/Relu = Relu(n/bn)
n/side = Mul(mean, mean)
"""
)


def by_tensor(plan: Plan) -> dict[str, str]:
    return {item.tensor: item.scope for item in plan.quantizers}


def test_names_follow_the_tensors() -> None:
    assert by_tensor(integer_plan(HEADS)) == {
        "x:0": "x/quant",
        "n/c/w/read:0": "n/c/weights_quant",
        "n/c/Relu:0": "n/c/Relu/quant",
        "n/a:0": "n/a/quant",
        "out:0": "out/quant",
    }


def test_outputs_take_their_names_along() -> None:
    plan = integer_plan(HEADS, ("n/c/Relu:0", "out:0"))
    assert {item.tensor for item in plan.quantizers if item.takes_name} == {"n/c/Relu:0", "out:0"}
    assert "output-not-quantized" not in {note.code for note in plan.notes}


def test_a_loss_is_no_part_of_the_model() -> None:
    plan = integer_plan(LOSS)
    assert plan.outputs == ("loss:0",)
    assert set(sites(plan)) == {"x:0", "n/c/Relu:0", "n/a:0", "out:0"}
    assert left_float(plan) == {}


def test_what_nothing_needs_is_left_alone() -> None:
    assert set(sites(integer_plan(NORM, ("n/Relu:0",)))) == {"x:0", "n/Relu:0"}


@pytest.mark.parametrize(
    ("rule", "expected", "dragged"),
    [
        (Selector(name="n/a"), {"x:0", "n/c/Relu:0", "out:0"}, "out:0"),
        (Selector(name="n/c"), {"n/a:0", "out:0"}, "n/a:0"),
        (Selector(name="x"), {"n/c/Relu:0", "n/a:0", "out:0"}, "n/c/Relu:0"),
    ],
)
def test_the_config_keeps_operations_float(rule: Selector, expected: set[str], dragged: str) -> None:
    plan = integer_plan(HEADS, rules=(Rule(selector=rule, quantize=False, because="float", origin="c:1"),))
    assert set(sites(plan)) == expected
    assert "excluded-by-config" in left_float(plan).values()
    assert left_float(plan)[dragged] == "operand-stays-float"


def test_the_scope_counts() -> None:
    plan = integer_plan(HEADS, scope="n")
    assert set(sites(plan)) == {"x:0", "n/c/Relu:0", "n/a:0"}
    assert left_float(plan) == {"out:0": "outside-scope"}


def test_a_layer_that_stays_float_is_listed_once() -> None:
    """Not its bias and its activation beside it, which there are integer kernels for."""
    other = conv("m/c", "n/c/Relu").replace("shape: [1, 1, 3, 4]", "shape: [1, 1, 4, 4]")
    plan = integer_plan(NET + other, scope="m")
    assert left_float(plan) == {"n/c/Conv2D": "outside-scope"}
    assert set(sites(plan)) == {"n/c/Relu:0", "m/c/Conv2D:0"}


def test_settings_of_activations() -> None:
    rule = Rule(selector=Selector(name="n/a"), activations=ActivationOverrides(bits=6), origin="c:2")
    plan = integer_plan(HEADS, rules=(rule,), activations=ActivationSettings(ema_decay=0.9, symmetric=True))
    found = {item.tensor: item for item in plan.quantizers if item.role != "weights"}
    assert {tensor: item.scheme.bits for tensor, item in found.items()} == {
        "x:0": 8, "n/c/Relu:0": 8, "n/a:0": 6, "out:0": 8,
    }  # fmt: skip
    assert found["n/a:0"].because == "c:2"
    assert {item.range.decay for item in found.values() if item.range.source == "ema"} == {0.9}


def test_a_layer_whose_batch_norm_cannot_be_folded_stays_float() -> None:
    lines = "bn = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, b/read, b/read) {is_training: true}\ny = LeakyRelu(bn)\n"
    plan = integer_plan(INPUT + conv("n/c") + lines)
    assert left_float(plan) == {
        "bn": "batch-norm-without-moving-average", "n/c/Conv2D": "batch-norm-without-moving-average",
    }  # fmt: skip
    assert set(sites(plan)) == {"bn:0", "y:0"}


def test_integers_and_conditions_need_no_ranges() -> None:
    lines = "zero = Const {value: 0.0}\nc = Greater(n/c/Relu, zero)\ni = ArgMax(n/c/Relu, zero)\n"
    plan = integer_plan(NET + lines, ("c:0", "i:0"))
    assert set(sites(plan)) == {"x:0", "n/c/Relu:0"}
    assert left_float(plan) == {}


def test_order_of_nodes_does_not_matter() -> None:
    shuffled = "\n".join(sorted(LOSS.splitlines()))
    assert sites(integer_plan(shuffled)) == sites(integer_plan(LOSS))


def test_densely_connected_blocks_are_one_group() -> None:
    lines = "axis = Const {value: 3}\nj0 = ConcatV2(n/c/Relu, x, axis)\n"
    for index in range(1, 4):
        lines += f"r{index} = LeakyRelu(j{index - 1})\nj{index} = ConcatV2(j{index - 1}, r{index}, axis)\n"
    assert ties(integer_plan(NET + lines)) == {
        frozenset(
            {"x:0", "n/c/Relu:0", *(f"j{index}:0" for index in range(4)), *(f"r{index}:0" for index in (1, 2, 3))}
        )
    }


def test_a_target_without_a_kernel_computes_in_float() -> None:
    lines = "e = Exp(n/c/Relu)\ny = Mul(e, e)\n"
    assert left_float(integer_plan(NET + lines, target="tflite-int8")) == {}
    plan = integer_plan(NET + lines, target="tflite-uint8")
    assert left_float(plan) == {"e:0": "float-in-runtime", "y:0": "operand-stays-float"}
    assert set(sites(plan)) == {"x:0", "n/c/Relu:0", "y:0"}


def test_a_plan_without_layers_is_not_empty() -> None:
    assert not integer_plan("x = Placeholder\ny = Softmax(x)\n").is_empty
    assert integer_plan("x = Placeholder\ny = Elu(x)\n").is_empty


# Behind the activation, so that it is not folded.
BATCH_NORM = """
gamma = VariableV2 {shape: [4]}
gamma/read = Identity(gamma)
average = VariableV2 {shape: [4]}
average/read = Identity(average)
spread = VariableV2 {shape: [4]}
spread/read = Identity(spread)
axes = Const {value: [0, 1, 2]}
mean = Mean(n/c/Relu, axes)
centre = StopGradient(mean)
gap = SquaredDifference(n/c/Relu, centre)
variance = Mean(gap, axes)
epsilon = Const {value: 0.001}
sum = Add(variance, epsilon)
root = Rsqrt(sum)
inverse = Mul(root, gamma/read)
scaled = Mul(n/c/Relu, inverse)
shift = Mul(mean, inverse)
offset = Sub(b/read, shift)
out = Add(scaled, offset)
rate = Const {value: 0.01}
"""
UPDATES = """
average/sub = Sub(average/read, mean)
average/mul = Mul(average/sub, rate)
average/update = AssignSub(average, average/mul)
spread/sub = Sub(spread/read, variance)
spread/mul = Mul(spread/sub, rate)
spread/update = AssignSub(spread, spread/mul)
"""


def test_batch_statistics_count_as_the_moving_averages_of_inference() -> None:
    """What is computed from them and parameters is a constant there."""
    plan = integer_plan(NET + BATCH_NORM + UPDATES, ("out:0",))
    roles = {"x:0": "input", "n/c/Relu:0": "layer_kernel", "scaled:0": "arithmetic", "out:0": "arithmetic"}
    assert sites(plan) == {**roles, "inverse:0": "constant", "offset:0": "constant"}
    assert left_float(plan) == {}
    # What is computed from a parameter for another reads it as it is; data meet its quantized form.
    edges = {item.tensor: item.edges for item in plan.quantizers}
    assert edges["inverse:0"] == ("scaled:in1",)
    assert edges["offset:0"] is None


def test_batch_statistics_without_moving_averages_are_data() -> None:
    found = sites(integer_plan(NET + BATCH_NORM, ("out:0",)))
    assert found.keys() >= {"mean:0", "variance:0", "root:0", "inverse:0", "offset:0"}
    assert found["inverse:0"] == "arithmetic"


def test_a_batch_norm_in_pieces_that_no_layer_takes_in_is_computed_in_integers() -> None:
    lines = "".join(f"{name} = Const {{value: [1.0, 2.0]}}\n" for name in ("gamma", "beta", "mean", "variance"))
    lines += (
        "x = Placeholder {shape: [1, 4, 4, 2]}\na = Tanh(x)\ne = Const {value: 0.001}\nve = AddV2(variance, e)\n"
        "rs = Rsqrt(ve)\ninv = Mul(rs, gamma)\nscaled = Mul(a, inv)\nshift = Mul(mean, inv)\n"
        "off = Sub(beta, shift)\nbn = AddV2(scaled, off)\n"
    )
    plan = integer_plan(lines)
    assert {"scaled:0", "bn:0"} <= sites(plan).keys()
    assert plan.left_out == ()
