"""Quantizers against numpy: how ranges are learned, what is done with them, and when."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from graphs import Kind, Net, one_layer, two_layers
from numeric import Step, deviation, parse, run, worst_gradient
from rewriting import rewrite

WEIGHTS = "net/layer/weights_quant"
ACT = "net/layer/act_quant"
RELU = "net/layer/Relu:0"


def fake_quant(x: Any, low: Any, high: Any, bits: int, narrow: bool) -> Any:
    """float32 x on the grid of 2^bits levels that holds zero exactly (Jacob et al. 2018, eq. 12, 13)."""
    least, most = (1 if narrow else 0), 2**bits - 1
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    scale = (high - low) / (most - least)
    zero = np.clip(np.round(least - low / scale), least, most)
    return ((np.clip(np.round(x / scale + zero), least, most) - zero) * scale).astype(np.float32)


def output_of(scope: str, op: str = "FakeQuantWithMinMaxVars") -> str:
    return f"{scope}/{op}:0"


def assert_on_grid(got: Any, want: Any, low: Any, high: Any, bits: int) -> None:
    """Equal, but for single numbers on a rounding tie, which may fall to the other side."""
    step = np.max(np.asarray(high) - np.asarray(low)) / (2**bits - 2)
    differs = np.abs(got - want) > 1e-3 * step
    assert differs.mean() <= 0.01, differs.mean()
    assert np.abs(got - want).max() <= 1.01 * step


def train(
    net: Net, config: dict[str, Any] | None = None, *, fetches: tuple[str, ...] = (), steps: int = 1
) -> list[Step]:
    meta = parse(rewrite(net.meta, "train", config).meta)
    model = frozenset(("net/layer/weights:0", "net/layer/biases:0"))
    return run(meta, net.feeds(steps), ["output:0", *fetches], only=model)


@pytest.mark.parametrize("resource", [False, True])
def test_activation_range_is_a_debiased_moving_average(resource: bool) -> None:
    net = one_layer("conv", bias=True, activation="none", resource=resource)
    decay = 0.9
    config = {"activations": {"ema_decay": decay}}
    tensor = "net/layer/BiasAdd:0"
    steps = train(net, config, fetches=(tensor, output_of(ACT)), steps=5)
    biased, weight = np.zeros(2), 0.0
    for count, step in enumerate(steps, 1):
        x = step.values[tensor]
        batch = np.array([min(x.min(), 0.0), max(x.max(), 0.0)])
        biased += (1 - decay) * (batch - biased)
        weight = 1 - decay**count
        low, high = biased / weight
        np.testing.assert_allclose(step.variables[f"{ACT}/min:0"], low, rtol=1e-5)
        np.testing.assert_allclose(step.variables[f"{ACT}/max:0"], high, rtol=1e-5)
        assert step.variables[f"{ACT}/{ACT}/max/local_step:0"] == count
        if count == 1:
            np.testing.assert_allclose([low, high], batch)
        # The range of this very step is used, not that of the step before.
        assert_on_grid(step.values[output_of(ACT)], fake_quant(x, low, high, 8, False), low, high, 8)
    assert deviation(steps[4].variables[f"{ACT}/max:0"], steps[0].variables[f"{ACT}/max:0"]) > 1e-3


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_weights_use_their_range_of_this_step(symmetric: bool, bits: int) -> None:
    net = one_layer("conv", bias=True)
    config = {"weights": {"bits": bits, "symmetric": symmetric}}
    step = train(net, config, fetches=(output_of(WEIGHTS),))[0]
    weights = step.variables["net/layer/weights:0"]
    low, high = min(weights.min(), 0.0), max(weights.max(), 0.0)
    assert abs(low) != abs(high)
    if symmetric:
        low, high = min(low, -high), max(high, -low)
        assert low == -high
    np.testing.assert_allclose(step.variables[f"{WEIGHTS}/min:0"], low, rtol=1e-6)
    np.testing.assert_allclose(step.variables[f"{WEIGHTS}/max:0"], high, rtol=1e-6)
    got = step.values[output_of(WEIGHTS)]
    assert_on_grid(got, fake_quant(weights, low, high, bits, True), low, high, bits)
    assert len(np.unique(got)) <= 2**bits - 1


def test_symmetric_activations_are_wide() -> None:
    net = one_layer("conv", bias=True, activation="none")
    tensor = "net/layer/BiasAdd:0"
    step = train(net, {"activations": {"bits": 4, "symmetric": True}}, fetches=(tensor, output_of(ACT)))[0]
    x = step.values[tensor]
    ratio = -(2**4 - 2) / 2**4
    low, high = min(x.min(), x.max() / ratio), max(x.max(), x.min() * ratio)
    # In float32, 1 - 0.999 is off by 1.3e-5 of itself.
    np.testing.assert_allclose(step.variables[f"{ACT}/min:0"], low, rtol=2e-5)
    np.testing.assert_allclose(step.variables[f"{ACT}/max:0"], high, rtol=2e-5)
    assert_on_grid(step.values[output_of(ACT)], fake_quant(x, low, high, 4, False), low, high, 4)


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "matmul"])
def test_per_channel_weights(kind: Kind, resource: bool) -> None:
    net = one_layer(kind, bias=True, resource=resource)
    config = {"weights": {"granularity": "per_channel", "bits": 6}}
    op = "FakeQuantWithMinMaxVarsPerChannel"
    made = parse(rewrite(net.meta, "train", config).meta)
    layer_op = {"conv": "Conv2D", "depthwise": "depthwise", "matmul": "MatMul"}[kind]
    node = next(node for node in made.graph_def.node if node.name == f"net/layer/{layer_op}")
    read = node.input[1] if ":" in node.input[1] else f"{node.input[1]}:0"
    step = train(net, config, fetches=(output_of(WEIGHTS, op), read))[0]
    weights = step.variables["net/layer/weights:0"]
    channels = weights.shape[-1] * (weights.shape[-2] if kind == "depthwise" else 1)
    flat = weights.reshape(-1, channels)
    low, high = np.minimum(flat.min(axis=0), 0), np.maximum(flat.max(axis=0), 0)
    assert step.variables[f"{WEIGHTS}/min:0"].shape == (channels,)
    np.testing.assert_allclose(step.variables[f"{WEIGHTS}/min:0"], low, rtol=1e-6)
    np.testing.assert_allclose(step.variables[f"{WEIGHTS}/max:0"], high, rtol=1e-6)
    want = fake_quant(flat, low, high, 6, True)
    assert_on_grid(step.values[output_of(WEIGHTS, op)].reshape(-1, channels), want, low, high, 6)
    assert step.values[read].shape == weights.shape
    assert_on_grid(step.values[read].reshape(-1, channels), want, low, high, 6)


def test_per_channel_of_folded_weights_trains_and_evaluates() -> None:
    config = {"weights": {"granularity": "per_channel"}}
    net = one_layer("depthwise", norm="fused")
    trained = run(
        parse(rewrite(net.meta, "train", config).meta),
        net.feeds(2),
        ["output:0"],
        updates=net.updates,
        only=frozenset(("net/layer/weights:0",)),
        loss="loss:0",
    )
    assert all(np.isfinite(gradient).all() and np.any(gradient) for gradient in trained[0].gradients.values())
    inference = one_layer("depthwise", norm="fused", training=False)
    op = "FakeQuantWithMinMaxVarsPerChannel"
    fetches = [output_of(WEIGHTS, op), "net/layer/mul_fold:0"]
    got = run(
        parse(rewrite(inference.meta, "eval", config).meta),
        net.feeds(1),
        fetches,
        values=trained[1].variables,
    )[0]
    low, high = (trained[1].variables[f"{WEIGHTS}/{end}:0"] for end in ("min", "max"))
    want = fake_quant(got.values[fetches[1]].reshape(-1, 6), low, high, 8, True)
    assert_on_grid(got.values[fetches[0]].reshape(-1, 6), want, low, high, 8)


@pytest.mark.parametrize("resource", [False, True])
class TestDelay:
    def test_quantizes_from_the_step_on(self, resource: bool) -> None:
        net = one_layer("conv", bias=True, resource=resource)
        fetches = (RELU, output_of(ACT))
        steps = train(net, {"quant_delay": 3}, fetches=fetches, steps=4)
        ends = []
        for count, step in enumerate(steps, 1):
            # One increment a run, although two quantizers ask for the step.
            assert step.variables["fake_quantization_step:0"] == count
            quantized, raw = step.values[output_of(ACT)], step.values[RELU]
            assert np.any(quantized != raw)
            np.testing.assert_array_equal(step.values["output:0"], quantized if count >= 3 else raw)
            ends.append(float(step.variables[f"{ACT}/max:0"]))
        assert len(set(ends)) == 4  # ranges are learned from the first step on

    def test_the_delay_phase_is_float_training(self, resource: bool) -> None:
        net = two_layers(resource=resource)
        model = frozenset(name for name in run(parse(net.meta), net.feeds(1), ["loss:0"])[0].variables)
        names = ["output:0", "loss:0"]
        config = {"quant_delay": 1000, "activations": {"symmetric": True}}
        after = parse(rewrite(net.meta, "train", config).meta)
        want = run(parse(net.meta), net.feeds(3), names, updates=net.updates, loss="loss:0")
        got = run(after, net.feeds(3), names, updates=net.updates, only=model, loss="loss:0")
        for a, b in zip(want, got, strict=True):
            assert max(deviation(b.values[name], a.values[name]) for name in names) <= 1e-4
            assert max(deviation(b.variables[name], a.variables[name], 1e-3) for name in model) <= 1e-4
        assert len(got[0].gradients) == 8
        assert worst_gradient(got[0].gradients, want[0].gradients) <= 1e-4

    def test_an_eval_graph_has_no_delay(self, resource: bool) -> None:
        net = one_layer("conv", bias=True, resource=resource)
        meta = parse(rewrite(net.meta, "eval", {"quant_delay": 3}).meta)
        step = run(meta, net.feeds(1), ["output:0", RELU], only=frozenset(("net/layer/weights:0",)))[0]
        assert "fake_quantization_step:0" not in step.variables
        raw = step.values[RELU]
        assert_on_grid(step.values["output:0"], fake_quant(raw, 0.0, 6.0, 8, False), 0.0, 6.0, 8)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("resource", [False, True])
def test_new_variables_are_of_the_model_kind_and_not_trainable(resource: bool, mode: Literal["train", "eval"]) -> None:
    net = two_layers(resource=resource, training=mode == "train")
    made = rewrite(net.meta, mode)
    ops = {node.op for node in parse(made.meta).graph_def.node}
    assert ("VarHandleOp" in ops, "VariableV2" in ops) == (resource, not resource)
    got = run(parse(made.meta), net.feeds(1), ["output:0"], loss="loss:0")[0]
    assert len(got.gradients) == 8
    new = {f"{item.scope}/{end}:0" for item in made.plan.quantizers for end in ("min", "max")}
    assert new <= set(got.variables)
    assert not new & set(got.gradients)
