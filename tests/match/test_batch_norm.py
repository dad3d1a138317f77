from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.batch_norm import BatchNorm, find_batch_norms, reduced_axes

HEAD = "x = Placeholder\nepsilon = Const {value: 0.001}\nrate = Const {value: 0.01}\n" + "".join(
    f"{name} = VariableV2 {{shape: [4]}}\n{name}/read = Identity({name})\n"
    for name in ("gamma", "beta", "mean", "variance")
)
UPDATES = """
mean/sub = Sub(mean/read, {mean})
mean/mul = Mul(mean/sub, rate)
mean/update = AssignSub(mean, mean/mul)
variance/sub = Sub(variance/read, {variance})
variance/mul = Mul(variance/sub, rate)
variance/update = AssignSub(variance, variance/mul)
"""
FUSED = "bn = FusedBatchNormV3(x, gamma/read, beta/read, mean/read, variance/read)"
TRAINING = f"{FUSED} {{is_training: true, epsilon: 0.5}}\n"
MOMENTS = """
axes = Const {value: [0, 1, 2]}
m = Mean(x, axes) {keep_dims: true}
stop = StopGradient(m)
difference = SquaredDifference(x, stop)
v = Mean(difference, axes) {keep_dims: true}
m/flat = Squeeze(m)
v/flat = Squeeze(v)
"""
NORM = """
sum = Add({variance}, epsilon)
rsqrt = Rsqrt(sum)
inverse = Mul(rsqrt, gamma/read)
scaled = Mul(x, inverse)
shift = Mul({mean}, inverse)
offset = Sub(beta/read, shift)
out = Add(scaled, offset)
"""
INFERENCE = NORM.format(mean="mean/read", variance="variance/read")
BATCH = MOMENTS + UPDATES.format(mean="m/flat", variance="v/flat") + NORM.format(mean="m/flat", variance="v/flat")


def _find(text: str) -> BatchNorm:
    (found,) = find_batch_norms(Graph(parse(HEAD + text)))
    return found


def _texts(*values: object) -> list[str]:
    return [str(value) for value in values]


def test_fused_in_inference_mode() -> None:
    norm = _find(f"{FUSED} {{is_training: false}}\n")
    assert _texts(norm.x, norm.gamma, norm.beta) == ["x:0", "gamma/read:0", "beta/read:0"]
    assert _texts(norm.mean, norm.variance, norm.moving_mean) == ["mean/read:0", "variance/read:0", "None"]
    assert (norm.form, norm.training, norm.epsilon, norm.affine) == ("fused", False, 1e-4, "parameters")


def test_fused_in_training_mode() -> None:
    norm = _find(TRAINING + UPDATES.format(mean="bn:1", variance="bn:2"))
    assert (norm.node.name, norm.training, norm.mean, norm.epsilon) == ("bn", True, None, 0.5)
    assert norm.moving_mean is not None
    assert norm.moving_variance is not None
    assert _texts(norm.moving_mean.read, norm.moving_variance.read) == ["mean/read:0", "variance/read:0"]
    assert norm.average_factor == 1.0


def test_fused_without_updates_has_no_moving_averages() -> None:
    norm = _find(TRAINING)
    assert (norm.training, norm.moving_mean, norm.moving_variance) == (True, None, None)


def test_running_averages_are_the_inputs_and_not_what_the_outputs_update() -> None:
    norm = _find(TRAINING.replace("0.5", "0.5, exponential_avg_factor: 0.25"))
    assert (norm.training, norm.average_factor, norm.moving_mean) == (True, 0.25, None)
    assert _texts(norm.mean, norm.variance) == ["mean/read:0", "variance/read:0"]


def test_unfused_in_both_modes_needs_no_layer_before_it() -> None:
    norm = _find(INFERENCE)
    assert (norm.form, norm.training, norm.node.name) == ("unfused", False, "out")
    norm = _find(BATCH)
    assert norm.moving_variance is not None
    assert norm.training
    assert _texts(norm.mean, norm.variance, norm.moving_variance.read) == ["m/flat:0", "v/flat:0", "variance/read:0"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # a resolved conditional chose the statistics, and the data went through it too
        ("Mul(m/flat, inverse)", "Mul(m/chosen, inverse)"),
        # float16 is averaged in float32
        ("Mul(m/flat, inverse)", "Mul(m/half, inverse)"),
        ("m = Mean(x,", "x/in = Identity(x)\nm = Mean(x/in,"),
        ("SquaredDifference(x,", "SquaredDifference(x/float,"),
    ],
)
def test_statistics_are_known_behind_what_keeps_the_numbers(old: str, new: str) -> None:
    more = "m/chosen = Identity(m/flat)\nm/half = Cast(m/flat) {DstT: half}\nx/float = Cast(x) {DstT: float}\n"
    assert old in BATCH
    norm = _find(more + BATCH.replace(old, new))
    assert norm.training
    assert norm.moving_mean is not None


@pytest.mark.parametrize("axes", ["[0]", "[0, 1]", "[0, 2, 3]", "[2, 0, 3]", "[0, 1, 2, 3]"])
def test_all_axes_but_one_are_averaged_over(axes: str) -> None:
    norm = _find(BATCH.replace("[0, 1, 2]", axes))
    assert norm.mean is not None
    assert reduced_axes(norm.mean) == tuple(sorted(int(axis) for axis in axes[1:-1].split(",")))


@pytest.mark.parametrize("axes", ["[1, 2]", "[3]", "[-1]", "[0, 3]", "[1, 2, 3]"])
def test_layer_norm_and_instance_norm_are_none(axes: str) -> None:
    assert list(find_batch_norms(Graph(parse(HEAD + BATCH.replace("[0, 1, 2]", axes))))) == []


@pytest.mark.parametrize(
    ("gamma", "affine"), [("gamma/read", "parameters"), ("Neg(x)", "data"), ("Mul(v/flat, gamma/read)", "statistics")]
)
def test_what_gamma_is_made_of(gamma: str, affine: str) -> None:
    line = f"g = {gamma}\n" if "(" in gamma else "g = Identity(gamma/read)\n"
    assert _find(line + BATCH.replace("(rsqrt, gamma/read)", "(rsqrt, g)")).affine == affine


def test_all_of_a_graph_are_found_in_its_order() -> None:
    second = "bn = FusedBatchNorm(out, gamma/read, beta/read, mean/read, variance/read)\ny = Add(x, bn)\n"
    found = find_batch_norms(Graph(parse(HEAD + INFERENCE + second)))
    assert [norm.node.name for norm in found] == ["out", "bn"]
