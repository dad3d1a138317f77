"""Fused batch norms that no layer takes in."""

from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

NORM = "".join(f"{name} = Const {{value: [1.5, 2.0, 0.5]}}\n" for name in ("gamma", "beta", "mean", "variance"))
X = "x = Placeholder {shape: [1, 4, 4, 3]}\n" + NORM
PLAIN = "is_training: false, epsilon: 0.001"


def _norm(inputs: str = "x, gamma, beta, mean, variance", attributes: str = PLAIN, op: str = "FusedBatchNormV3") -> str:
    return f"n = {op}({inputs}) {{{attributes}}}\n"


@pytest.mark.parametrize("op", ["FusedBatchNorm", "FusedBatchNormV3"])
@pytest.mark.parametrize("relu", ["", "Relu", "Relu6"])
def test_needs_input_and_result(op: str, relu: str) -> None:
    plan = integer_plan(X + _norm(op=op) + (f"r = {relu}(n)\n" if relu else ""))
    assert sites(plan) == {"x:0": "input", ("r:0" if relu else "n:0"): "batch_norm_kernel"}
    assert plan.respelled == ("n",)
    assert plan.left_out == ()


def test_stands_behind_an_activation() -> None:
    text = X + "w = Const {value: [[[[1.0, 2.0, 3.0]]]]}\nk = Reshape(w, s)\ns = Const {value: [1, 1, 1, 3]}\n"
    text += "c = Conv2D(x, w)\nr = Relu(c)\n" + _norm("r, gamma, beta, mean, variance") + "t = Tanh(n)\n"
    plan = integer_plan(text)
    assert plan.respelled == ("n",)
    assert "n:0" in sites(plan)
    assert not left_float(plan)


@pytest.mark.parametrize(
    "norm",
    [
        _norm(attributes=PLAIN + ", data_format: NCHW"),
        _norm(attributes=PLAIN + ", data_format: NDHWC"),
        _norm("x, x, beta, mean, variance"),
        _norm("x, gamma, beta, x, variance"),
        _norm(attributes="is_training: true"),
        _norm(attributes="is_training: true, exponential_avg_factor: 0.5"),
        _norm(attributes=PLAIN + ", T: float16"),
    ],
)
def test_stays_float(norm: str) -> None:
    plan = integer_plan(X + norm + "t = Tanh(n)\n")
    assert plan.respelled == ()
    assert [entry.name for entry in plan.left_out if entry.kind == "batch_norm"] == ["n"]


@pytest.mark.parametrize("target", [None, "openvino", "tflite-uint8"])
def test_is_for_one_target(target: str | None) -> None:
    assert integer_plan(X + _norm(), target=target).respelled == ()


def test_one_behind_a_layer_is_folded() -> None:
    text = X + "w = Const {value: [[[[1.0, 2.0, 3.0]]]]}\nc = Conv2D(x, w)\n"
    plan = integer_plan(text + _norm("c, gamma, beta, mean, variance"))
    assert [item.norm for item in plan.folds] == ["n"]
    assert plan.respelled == ()
