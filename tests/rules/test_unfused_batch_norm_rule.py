from __future__ import annotations

import pytest
from planning import declined

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import FoldItem, MovingAverage, Plan

PARAMETERS = "".join(
    f"{name} = VariableV2 {{shape: [4]}}\n{name}/read = Identity({name})\n"
    for name in ("gamma", "beta", "mean", "variance", "b")
)
HEAD = (
    "x = Placeholder {shape: [?, 8, 8, 3]}\nepsilon = Const {value: 0.001}\n" + PARAMETERS
    + "w = VariableV2 {shape: [3, 3, 3, 4]}\nw/read = Identity(w)\n"
)  # fmt: skip
CONV = HEAD + "c/Conv2D = Conv2D(x, w/read)\n"
NORM = """
sum = Add(variance/read, epsilon)
rsqrt = Rsqrt(sum)
inverse = Mul(rsqrt, gamma/read)
scaled = Mul(c/Conv2D, inverse)
shift = Mul(mean/read, inverse)
offset = Sub(beta/read, shift)
out = Add(scaled, offset)
"""
RELU = "relu = Relu(out)\n"
MOMENTS = """
axes = Const {value: [0, 1, 2]}
m = Mean(c/Conv2D, axes) {keep_dims: true}
stop = StopGradient(m)
difference = SquaredDifference(c/Conv2D, stop)
v = Mean(difference, axes) {keep_dims: true}
m/flat = Squeeze(m) {squeeze_dims: [0, 1, 2]}
v/flat = Squeeze(v) {squeeze_dims: [0, 1, 2]}
"""
UPDATES = """
rate = Const {value: 0.01}
mean/sub = Sub(mean/read, m/flat)
mean/mul = Mul(mean/sub, rate)
mean/update = AssignSub(mean, mean/mul)
variance/sub = Sub(variance/read, v/flat)
variance/mul = Mul(variance/sub, rate)
variance/update = AssignSub(variance, variance/mul)
"""


def _replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def _batch(mean: str = "m/flat", variance: str = "v/flat") -> str:
    return _replaced(NORM, ("mean/read", mean), ("variance/read", variance))


def _plan(text: str, outputs: tuple[str, ...] = ("relu",)) -> Plan:
    return build_plan(Graph(parse(text)), contrib(), source_sha256="0", public_outputs=outputs)


def _fold(text: str) -> FoldItem:
    plan = _plan(text)
    assert declined(plan) == ()
    (item,) = plan.folds
    assert item.rule == "unfused_batch_norm"
    assert [quantizer.tensor for quantizer in plan.quantizers] == ["w/read:0", "relu:0"]
    return item


def test_takes_the_plain_form() -> None:
    assert _fold(CONV + NORM + RELU) == FoldItem(
        id="fold:out:0",
        scope="c",
        suffix="",
        layer="c/Conv2D",
        weight_slot=1,
        chain=(),
        bias=None,
        norm="out",
        output="out:0",
        statistics="moving",
        gamma="gamma/read:0",
        beta="beta/read:0",
        mean="mean/read:0",
        variance="variance/read:0",
        epsilon=0.0010000000474974513,
        channels=4,
        form="unfused",
        rule="unfused_batch_norm",
    )


NO_GAMMA = _replaced(NORM, ("inverse = Mul(rsqrt, gamma/read)\n", ""), ("inverse", "rsqrt"))
NO_BETA = _replaced(NORM, ("Sub(beta/read, shift)", "Neg(shift)"))
NEGATED_MEAN = _replaced(
    NORM,
    ("shift = Mul(mean/read, inverse)\n", "negated = Neg(mean/read)\n"),
    ("Sub(beta/read, shift)", "Mul(inverse, negated)"),
)


COMMUTED = _replaced(
    NORM,
    ("Add(scaled, offset)", "AddV2(offset, scaled)"),
    ("(rsqrt, gamma/read)", "(gamma/read, rsqrt)"),
    ("(c/Conv2D, inverse)", "(inverse, c/Conv2D)"),
    ("(mean/read, inverse)", "(inverse, mean/read)"),
    ("Add(variance", "AddV2(variance"),
)


@pytest.mark.parametrize(
    ("norm", "gamma", "beta"),
    [
        (NO_GAMMA, None, "beta/read:0"),
        (NO_BETA, "gamma/read:0", None),
        (NEGATED_MEAN, "gamma/read:0", None),
        (_replaced(NO_GAMMA, ("Sub(beta/read, shift)", "Neg(shift)")), None, None),
        (COMMUTED, "gamma/read:0", "beta/read:0"),
    ],
)
def test_takes_other_forms(norm: str, gamma: str | None, beta: str | None) -> None:
    item = _fold(CONV + norm + RELU)
    assert (item.gamma, item.beta) == (gamma, beta)
    assert (item.mean, item.variance) == ("mean/read:0", "variance/read:0")


def test_takes_nested_parameters() -> None:
    item = _fold(_replaced(CONV, ("{shape: [4]}", "{shape: [1, 1, 1, 4]}")) + NORM + RELU)
    assert item.channels == 4


def test_takes_a_bias_before() -> None:
    text = CONV + "y = BiasAdd(c/Conv2D, b/read)\n" + _replaced(NORM, ("c/Conv2D", "y")) + RELU
    assert _fold(text).bias == "b/read:0"


def test_takes_a_frozen_one() -> None:
    text = CONV
    for name in ("gamma", "beta", "mean", "variance"):
        text = _replaced(text, (f"{name} = VariableV2 {{shape: [4]}}", f"{name} = Const {{value: 1.0, shape: [4]}}"))
    assert _fold(text + NORM + RELU).statistics == "moving"


@pytest.mark.parametrize(
    ("text", "mean", "variance"),
    [
        (MOMENTS + UPDATES + _batch(), "m/flat:0", "v/flat:0"),
        (MOMENTS + UPDATES + _batch("m", "v"), "m:0", "v:0"),
        (_replaced(MOMENTS, ("(c/Conv2D, stop)", "(c/Conv2D, m)")) + UPDATES + _batch(),
         "m/flat:0", "v/flat:0"),
        # forced updates
        (MOMENTS + UPDATES + "m/late = Identity(m/flat, ^mean/update)\n"
         "v/late = Identity(v/flat, ^variance/update)\n" + _batch("m/late", "v/late"),
         "m/late:0", "v/late:0"),
    ],
)  # fmt: skip
def test_takes_batch_statistics(text: str, mean: str, variance: str) -> None:
    item = _fold(CONV + text + RELU)
    assert (item.statistics, item.mean, item.variance) == ("batch", mean, variance)
    assert item.moving_mean == MovingAverage(read="mean/read:0", update="mean/update", amount_slot=1)
    assert item.moving_variance == MovingAverage(read="variance/read:0", update="variance/update", amount_slot=1)


def test_takes_batch_statistics_of_a_matmul_and_of_a_squeezed_convolution() -> None:
    matmul = _replaced(CONV, ("[3, 3, 3, 4]", "[3, 4]"), ("= Conv2D(", "= MatMul("))
    rows = _replaced(MOMENTS + UPDATES, ("[0, 1, 2]", "[0]"))
    assert _fold(matmul + rows + _batch() + RELU).statistics == "batch"
    squeezed = CONV + "s = Squeeze(c/Conv2D) {squeeze_dims: [1]}\n"
    lines = _replaced(MOMENTS + UPDATES + _batch(), ("[0, 1, 2]", "[0, 1]"), ("c/Conv2D", "s"))
    assert _fold(squeezed + lines + RELU).chain == ("s",)


POSITIONS = _replaced(
    CONV, ("mean = VariableV2 {shape: [4]}", "mean = VariableV2 {shape: [1, 8, 8, 4]}"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "layer"),
    [
        (CONV + MOMENTS + _batch(), "batch-norm-without-moving-average", True),
        (CONV + "y = Relu(c/Conv2D)\n" + _replaced(NORM, ("c/Conv2D", "y")),
         "batch-norm-not-after-layer", False),
        (_replaced(CONV, ("(x, w/read)", "(x, w/read) {data_format: NCHW}")) + NORM,
         "data-format-differs", True),
        (_replaced(CONV, ("gamma = VariableV2 {shape: [4]}", "gamma = VariableV2 {shape: [2]}")) + NORM,
         "batch-norm-channels-differ", True),
        (POSITIONS + NO_BETA, "batch-norm-channels-differ", True),  # one mean for each position
        (CONV + _replaced(MOMENTS + UPDATES, ("[0, 1, 2]", "[0]")) + _batch("m", "v"),
         "batch-norm-channels-differ", True),
        (CONV + _replaced(NORM, ("Add(scaled, offset)", "Add(scaled, offset) {T: half}")),
         "dtype-not-float32", True),
        # batch renormalization: gamma corrects the statistics of the batch
        (CONV + MOMENTS + UPDATES + "r = Mul(v/flat, gamma/read)\n"
         + _replaced(_batch(), ("(rsqrt, gamma/read)", "(rsqrt, r)")), "batch-norm-statistics-unknown", True),
    ],
)  # fmt: skip
def test_declines(text: str, code: str, layer: bool) -> None:
    plan = _plan(text + RELU)
    expected = [("batch_norm", "out", code), *([("layer", "c/Conv2D", code)] if layer else [])]
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == expected
    assert plan.folds == ()
    assert not layer or plan.quantizers == ()


@pytest.mark.parametrize(
    "text",
    [
        CONV + _replaced(MOMENTS, ("[0, 1, 2]", "[3]")) + _batch("m", "v"),  # layer norm
        CONV + _replaced(MOMENTS, ("[0, 1, 2]", "[-1]")) + _batch("m", "v"),
        CONV + _replaced(MOMENTS, ("[0, 1, 2]", "[1, 2, 3]")) + _batch("m", "v"),
        CONV + _replaced(MOMENTS, ("[0, 1, 2]", "[1, 2]")) + _batch("m", "v"),  # instance norm
        CONV + _replaced(MOMENTS, ("SquaredDifference(c/Conv2D, stop)", "SquaredDifference(x, stop)")) + _batch(),
        CONV + _replaced(MOMENTS, ("(c/Conv2D, stop)", "(c/Conv2D, b/read)")) + _batch(),
        CONV + _replaced(NORM, ("(mean/read, inverse)", "(mean/read, gamma/read)")),
        CONV + _replaced(NORM, ("Add(scaled, offset)", "Sub(scaled, offset)")),
        CONV + _replaced(NORM, ("Rsqrt(sum)", "Sqrt(sum)")),
    ],
)
def test_other_norms_are_none(text: str) -> None:
    plan = _plan(text + RELU)
    assert plan.folds == ()
    assert [entry for entry in declined(plan) if entry.kind == "batch_norm"] == []
    assert "w/read:0" in {item.tensor for item in plan.quantizers}


def test_parameters_are_found_by_structure_and_not_by_name() -> None:
    """Two batch norms in scopes a/b and b/a, which tf.contrib.quantize mistakes for each other."""
    one = _replaced(NORM, *((f"{name} =", f"a/b/{name} =") for name in ("sum", "rsqrt", "inverse", "shift")))
    one = _replaced(
        one,
        ("(sum)", "(a/b/sum)"),
        ("(rsqrt,", "(a/b/rsqrt,"),
        ("inverse)", "a/b/inverse)"),
        ("shift)", "a/b/shift)"),
    )
    second = "w2 = VariableV2 {shape: [1, 1, 4, 4]}\nd/Conv2D = Conv2D(out, w2)\nmean2 = VariableV2 {shape: [4]}\n"
    second += """
        b/a/sum = Add(variance/read, epsilon)
        b/a/rsqrt = Rsqrt(b/a/sum)
        b/a/scaled = Mul(d/Conv2D, b/a/rsqrt)
        b/a/shift = Mul(mean2, b/a/rsqrt)
        b/a/offset = Neg(b/a/shift)
        relu = Add(b/a/scaled, b/a/offset)
    """
    plan = _plan(CONV + one + second)
    assert [(item.layer, item.mean, item.gamma) for item in plan.folds] == [
        ("c/Conv2D", "mean/read:0", "gamma/read:0"), ("d/Conv2D", "mean2:0", None),
    ]  # fmt: skip


def test_fused_ones_get_the_plain_names() -> None:
    """As in tf.contrib.quantize, which folds the fused ones of a graph first."""
    text = CONV + NORM + RELU + "w2 = VariableV2 {shape: [1, 1, 4, 4]}\nc/Conv2D_1 = Conv2D(relu, w2)\n"
    parameters = "gamma/read, beta/read, mean/read, variance/read"
    text += f"bn = FusedBatchNorm(c/Conv2D_1, {parameters}) {{is_training: false}}\n"
    plan = _plan(text, outputs=("bn",))
    assert [(item.rule, item.suffix) for item in plan.folds] == [
        ("fused_batch_norm", ""),
        ("unfused_batch_norm", "_1"),
    ]


def test_a_conditional_one_stays_behind_its_quantized_layer() -> None:
    plan = _plan(CONV + _replaced(NORM, ("gamma/read)", "x)")) + RELU)
    assert plan.folds == ()
    assert [(entry.kind, entry.code) for entry in declined(plan)] == [("batch_norm", "batch-norm-conditioned")]
    assert "w/read:0" in {item.tensor for item in plan.quantizers}


# As Keras 3 exports a layer whose output has an unknown size: every parameter reshaped to [1, 1, 1, 4].
KERAS = (
    CONV + "to = Const {value: [1, 1, 1, 4]}\n"
    + "".join(f"{name}/wide = Reshape({name}/read, to)\n" for name in ("gamma", "beta", "mean", "variance", "b"))
)  # fmt: skip
_WIDE = tuple((f"{name}/read", f"{name}/wide") for name in ("gamma", "beta", "mean", "variance"))


@pytest.mark.parametrize(("biased", "bias"), [("", None), ("c/add = AddV2(c/Conv2D, b/wide)\n", "b/wide:0")])
def test_parameters_reshaped_to_the_rank_of_the_output(biased: str, bias: str | None) -> None:
    norm = _replaced(NORM, *_WIDE, *([("c/Conv2D", "c/add")] if biased else []))
    plan = build_plan(Graph(parse(KERAS + biased + norm + RELU)), contrib(), source_sha256="")
    (item,) = plan.folds
    assert (item.layer, item.gamma, item.variance, item.bias) == ("c/Conv2D", "gamma/wide:0", "variance/wide:0", bias)


def test_parameters_reshaped_to_other_channels_are_declined() -> None:
    text = KERAS.replace("[1, 1, 1, 4]", "[1, 4, 1, 1]") + _replaced(NORM, *_WIDE) + RELU
    plan = build_plan(Graph(parse(text)), contrib(), source_sha256="")
    assert plan.folds == ()
    assert {entry.code for entry in plan.left_out if entry.kind == "batch_norm"} == {"batch-norm-channels-differ"}
