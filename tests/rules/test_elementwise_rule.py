from __future__ import annotations

import pytest
from planning import INPUT, activations, conv, declined, plan_of

from configs import contrib
from fqrewrite.config.records import ActivationSettings
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan

CONV = INPUT + conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"


RELU = BIASED + "n/c/Relu = Relu(n/c/BiasAdd)\n"
DROPOUT = """
shape = Const {value: [4]}
rate = Const {value: 0.5}
r = RandomUniform(shape)
keep = GreaterEqual(r, rate)
mask = Cast(keep) {SrcT: bool}
scaled = Mul(n/c/Relu, rate)
d = Mul(scaled, mask)
"""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("m = Mul(n/c/Relu, x)\n", {"m/activation_Mul_quant": "m:0"}),
        ("p = MaxPool(n/c/Relu)\nk/a = Add(x, p)\n", {"k/a/activation_Add_quant": "k/a:0"}),
        ("s = Const {value: [-1]}\np = Reshape(n/c/Relu, s)\ni = Identity(p)\na = AddV2(x, i)\n",
         {"a/activation_AddV2_quant": "a:0"}),
        ("own = FakeQuantWithMinMaxVars(x, b/read, b/read)\nm = Mul(own, x)\nout = Sub(m, n/c/Relu)\n",
         {"m/activation_Mul_quant": "m:0"}),
        # a chain: what reads an elementwise result is quantized too
        ("m = Mul(n/c/Relu, x)\nk = Mul(m, x)\n",
         {"m/activation_Mul_quant": "m:0", "k/activation_Mul_quant": "k:0"}),
        ("m = Mul(n/c/Relu, x)\np = MaxPool(m)\na = Add(p, x)\n",
         {"m/activation_Mul_quant": "m:0", "a/activation_Add_quant": "a:0"}),
        # several consumers: the tensor in front of the Relu is read by others
        ("m = Mul(n/c/Relu, x)\nr = Relu(m)\nout = Sub(r, m)\n", {"m/activation_Mul_quant": "m:0"}),
        # a bypass that no activation follows
        ("n/d/w = VariableV2 {shape: [1, 1, 4, 4]}\nn/d/Conv2D = Conv2D(n/c/Relu, n/d/w)\n"
         "n/d/b = BiasAdd(n/d/Conv2D, b/read)\nn/sum = Add(n/d/b, x)\nout = Softmax(n/sum)\n",
         {"n/sum/activation_Add_quant": "n/sum:0"}),
    ],
)  # fmt: skip
def test_takes(lines: str, expected: dict[str, str]) -> None:
    plan = plan_of(RELU + lines)
    assert activations(plan, "elementwise") == expected
    made = [item for item in plan.quantizers if item.rule == "elementwise"]
    assert {(item.role, item.layer, item.range.source, item.range.initial) for item in made} == {
        ("elementwise", None, "ema", (-6.0, 6.0)),
    }  # fmt: skip
    assert declined(plan) == ()


@pytest.mark.parametrize(
    "lines",
    [
        "m = Mul(n/c/Relu, x)\nout = Relu(m)\n",
        "m = Mul(n/c/Relu, x)\nout = Relu6(m)\n",
        "m = Sub(n/c/Relu, x)\n",
        "s = Sub(n/c/Relu, x)\nm = Mul(s, x)\n",  # what is quantized is not reached through a Sub
        "p = AvgPool(n/c/Relu)\nm = Mul(p, x)\n",
        "m = Mul(x, x)\nout = Sub(m, n/c/Relu)\n",
        # the model's own fake quants of the other kinds are not followed, as in tf.contrib.quantize
        "own = FakeQuantWithMinMaxArgs(x)\nm = Mul(own, x)\nout = Sub(m, n/c/Relu)\n",
        "own = FakeQuantWithMinMaxVarsPerChannel(x, b/read, b/read)\nm = Mul(own, x)\nout = Sub(m, n/c/Relu)\n",
    ],
)
def test_leaves_alone(lines: str) -> None:
    plan = plan_of(RELU + lines)
    assert activations(plan, "elementwise") == {}
    assert declined(plan) == ()


def test_declines_inside_dropout_and_goes_on_behind_it() -> None:
    plan = plan_of(RELU + DROPOUT + "a = Add(d, x)\n")
    assert activations(plan, "elementwise") == {"a/activation_Add_quant": "a:0"}
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [
        ("tensor", "scaled:0", "inside-dropout"), ("tensor", "d:0", "inside-dropout"),
    ]  # fmt: skip


def test_the_inference_graph_without_dropout_has_the_same_quantizers() -> None:
    training = plan_of(RELU + DROPOUT + "a = Add(d, x)\n")
    inference = plan_of(RELU + "d = Identity(n/c/Relu)\na = Add(d, x)\n")
    assert activations(training) == activations(inference)


def test_declines_inside_control_flow() -> None:
    lines = "p = Placeholder {dtype: bool, shape: []}\ns = Switch(x, p)\n"
    lines += "q = FakeQuantWithMinMaxVars(s:1, b/read, b/read)\nm = Mul(q, q)\njoin = Merge(s, m)\n"
    lines += "out = Sub(join, n/c/Relu)\n"
    plan = plan_of(RELU + lines)
    assert activations(plan, "elementwise") == {}
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [
        ("tensor", "m:0", "inside-control-flow"),
    ]  # fmt: skip


def test_symmetry_is_left_out_as_in_contrib() -> None:
    config = contrib(activations=ActivationSettings(symmetric=True, bits=6))
    plan = build_plan(Graph(parse(RELU + "m = Mul(n/c/Relu, x)\n")), config, source_sha256="0")
    schemes = {item.scope: (item.scheme.symmetric, item.scheme.bits) for item in plan.quantizers}
    assert schemes["n/c/act_quant"] == (True, 6)
    assert schemes["m/activation_Mul_quant"] == (False, 6)


def test_long_chains_do_not_recurse() -> None:
    lines = "m0 = Mul(n/c/Relu, x)\n" + "".join(f"m{i} = Mul(m{i - 1}, x)\n" for i in range(1, 1500))
    assert len(activations(plan_of(RELU + lines), "elementwise")) == 1500
