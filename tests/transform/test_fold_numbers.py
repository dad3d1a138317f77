"""Folded batch norms compute what the unfolded ones did: values, gradients and moving averages."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from graphs import KINDS, Kind, Net, one_layer
from numeric import (
    RTOL_EVAL,
    RTOL_TRAIN,
    Step,
    channels_last,
    deviation,
    parse,
    quantizers_out,
    run,
    worst_gradient,
)
from rewriting import rewrite

Norm = Literal["fused", "unfused"]
VARIANTS: list[dict[str, Any]] = [
    {"bias": True},
    {"gamma": False},
    {"beta": False},
    {"gamma": False, "beta": False},
    {"activation": "none"},
    {"resource": True, "bias": True},
]


def folded(net: Net, mode: Literal["train", "eval"], config: dict[str, Any] | None = None) -> Any:
    """The rewritten graph without its quantizers; one batch norm must have been folded."""
    made = rewrite(net.meta, mode, config)
    assert [item.layer.startswith("net/layer/") for item in made.plan.folds] == [True]
    assert {item.role for item in made.plan.quantizers} == {"weights", "activation"}
    meta = parse(made.meta)
    assert not [node.name for node in meta.graph_def.node if node.op.startswith("FusedBatchNorm")]
    return quantizers_out(meta)


def assert_same_training(before: list[Step], after: list[Step]) -> None:
    for want, got in zip(before, after, strict=True):
        for name in want.values:
            assert deviation(got.values[name], want.values[name]) <= RTOL_TRAIN, name
        for name in want.variables:
            assert deviation(got.variables[name], want.variables[name], 1e-3) <= RTOL_TRAIN, name
    assert worst_gradient(after[0].gradients, before[0].gradients) <= RTOL_TRAIN


def train(net: Net, meta: Any) -> list[Step]:
    names = frozenset(
        f"net/layer/{name}:0"
        for name in (
            "weights",
            "biases",
            "BatchNorm/gamma",
            "BatchNorm/beta",
            "BatchNorm/moving_mean",
            "BatchNorm/moving_variance",
        )
    )
    loss = "loss:0" if net.differentiable else None
    return run(meta, net.feeds(3), ["output:0", "loss:0"], updates=net.updates, only=names, loss=loss)


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_graph_is_the_float_function(kind: Kind, norm: Norm) -> None:
    net = one_layer(kind, norm=norm)
    before = train(net, parse(net.meta))
    assert bool(before[0].gradients) == net.differentiable
    assert_same_training(before, train(net, folded(net, "train")))
    # Three updates with a momentum of 0.9 must have moved the averages far beyond the tolerance.
    moved = before[2].variables["net/layer/BatchNorm/moving_mean:0"]
    assert deviation(moved, before[0].variables["net/layer/BatchNorm/moving_mean:0"]) > 0.01


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_training_variants(variant: dict[str, Any], norm: Norm) -> None:
    net = one_layer("conv", norm=norm, **variant)
    assert_same_training(train(net, parse(net.meta)), train(net, folded(net, "train")))


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("kind", KINDS)
def test_eval_graph_is_the_float_function(kind: Kind, norm: Norm) -> None:
    net = one_layer(kind, norm=norm, training=False)
    before = run(parse(net.meta), net.feeds(1), ["output:0"])
    after = run(folded(net, "eval"), net.feeds(1), ["output:0"])
    assert deviation(after[0].values["output:0"], before[0].values["output:0"]) <= RTOL_EVAL


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_eval_variants(variant: dict[str, Any], norm: Norm) -> None:
    net = one_layer("depthwise", norm=norm, training=False, **variant)
    before = run(parse(net.meta), net.feeds(1), ["output:0"])
    after = run(folded(net, "eval"), net.feeds(1), ["output:0"])
    assert deviation(after[0].values["output:0"], before[0].values["output:0"]) <= RTOL_EVAL


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_statistics_that_keep_their_dimensions(bias: bool, training: bool) -> None:
    net = one_layer("conv", norm="unfused", training=training, keep_dims=True, bias=bias)
    before = train(net, parse(net.meta))
    assert_same_training(before, train(net, folded(net, "train")))
    assert_same_training(before, train(net, folded(net, "train", {"freeze_bn_delay": 1000})))


@pytest.mark.parametrize("training", [True, False])
def test_nchw(training: bool) -> None:
    net = one_layer("conv_nchw", norm="fused", training=training)
    before, after = channels_last(parse(net.meta)), channels_last(folded(net, "train"))
    assert_same_training(train(net, before), train(net, after))


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("norm", ["fused", "unfused"])
def test_forced_updates_still_happen(norm: Norm, resource: bool) -> None:
    net = one_layer("conv", norm=norm, resource=resource, force_updates=True)
    changed = net._replace(updates=())  # nothing asks for the updates but the output
    before, after = train(changed, parse(net.meta)), train(changed, folded(net, "train"))
    assert_same_training(before, after)
    name = "net/layer/BatchNorm/moving_variance:0"
    assert deviation(after[2].variables[name], after[0].variables[name]) > 0.01


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("norm", ["fused", "unfused"])
class TestFreezing:
    @pytest.mark.parametrize("assign", [False, True])
    def test_statistics_switch_at_the_step(self, norm: Norm, resource: bool, assign: bool) -> None:
        net = one_layer("conv", norm=norm, bias=True, resource=resource, assign=assign)
        inference = one_layer("conv", norm=norm, bias=True, resource=resource, training=False)
        frozen = folded(net, "train", {"freeze_bn_delay": 3})
        names = ["output:0", "loss:0"]
        model = frozenset(name for name in train(net, parse(net.meta))[0].variables)
        got = run(frozen, net.feeds(4), names, updates=net.updates, only=model)
        batch = run(parse(net.meta), net.feeds(4), names, updates=net.updates, only=model)
        for step in (0, 1):
            assert deviation(got[step].values["output:0"], batch[step].values["output:0"]) <= RTOL_TRAIN
        moving = run(parse(inference.meta), net.feeds(4), names, values=got[1].variables)
        for step in (2, 3):
            assert deviation(got[step].values["output:0"], moving[step].values["output:0"]) <= RTOL_TRAIN
        for name in ("net/layer/BatchNorm/moving_mean:0", "net/layer/BatchNorm/moving_variance:0"):
            assert deviation(got[1].variables[name], batch[1].variables[name]) <= RTOL_TRAIN
            assert (got[3].variables[name] == got[1].variables[name]).all(), name
            assert deviation(got[1].variables[name], got[0].variables[name]) > 0.01, name

    def test_gradients_are_those_of_an_inference_batch_norm(self, norm: Norm, resource: bool) -> None:
        net = one_layer("conv", norm=norm, resource=resource)
        inference = one_layer("conv", norm=norm, resource=resource, training=False)
        frozen = folded(net, "train", {"freeze_bn_delay": 0})
        names = ["output:0", "loss:0"]
        want = run(parse(inference.meta), net.feeds(1), names, loss="loss:0")
        got = run(frozen, net.feeds(1), names, updates=net.updates, only=frozenset(want[0].variables), loss="loss:0")
        assert deviation(got[0].values["loss:0"], want[0].values["loss:0"]) <= RTOL_TRAIN
        assert worst_gradient(got[0].gradients, want[0].gradients) <= RTOL_TRAIN
