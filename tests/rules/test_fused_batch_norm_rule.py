from __future__ import annotations

import pytest
from planning import declined

from configs import contrib
from fqrewrite.config.records import Config
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import FoldItem, MovingAverage, Plan

X = "x = Placeholder {shape: [?, 8, 8, 3]}\n"
PARAMETERS = "".join(
    f"{name} = VariableV2 {{shape: [4]}}\n{name}/read = Identity({name})\n"
    for name in ("gamma", "beta", "mean", "variance", "b")
)
CONV = X + PARAMETERS + "w = VariableV2 {shape: [3, 3, 3, 4]}\nw/read = Identity(w)\nn/c/Conv2D = Conv2D(x, w/read)\n"
DEPTHWISE = X + PARAMETERS + (
    "w = VariableV2 {shape: [3, 3, 2, 2]}\nw/read = Identity(w)\n"
    "n/c/Conv2D = DepthwiseConv2dNative(x, w/read)\n"
)  # fmt: skip
MATMUL = "x = Placeholder {shape: [?, 3]}\n" + PARAMETERS + (
    "w = VariableV2 {shape: [3, 4]}\nw/read = Identity(w)\nn/c/MatMul = MatMul(x, w/read)\n"
    "flat = Const {value: [-1, 4]}\nnested = Const {value: [-1, 1, 1, 4]}\n"
)  # fmt: skip
RELU = "n/c/Relu = Relu(n/c/bn)\n"


def _norm(x: str = "n/c/Conv2D", op: str = "FusedBatchNormV3", more: str = "", name: str = "n/c/bn") -> str:
    inputs = f"{x}, gamma/read, beta/read, mean/read, variance/read"
    return f"{name} = {op}({inputs}) {{is_training: false, epsilon: 0.001{more}}}\n"


def _training(more: str = "", *, updates: bool = True) -> str:
    text = "none = Const {value: []}\nrate = Const {value: 0.01}\n"
    text += f"n/c/bn = FusedBatchNormV3(n/c/Conv2D, gamma/read, beta/read, none, none) {{epsilon: 0.001{more}}}\n"
    for name, port in (("mean", 1), ("variance", 2)) if updates else ():
        text += f"{name}/sub = Sub({name}/read, n/c/bn:{port})\n{name}/mul = Mul({name}/sub, rate)\n"
        text += f"{name}/update = AssignSub({name}, {name}/mul)\n"
    return text


def _plan(text: str, outputs: tuple[str, ...] = (), config: Config | None = None) -> Plan:
    return build_plan(Graph(parse(text)), config or contrib(), source_sha256="0", public_outputs=outputs)


def _fold(text: str) -> FoldItem:
    plan = _plan(text)
    assert declined(plan) == ()
    (item,) = plan.folds
    assert item.rule == "fused_batch_norm"
    return item


@pytest.mark.parametrize("op", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
def test_takes_all_versions_in_inference(op: str) -> None:
    assert _fold(CONV + _norm(op=op) + RELU) == FoldItem(
        id="fold:n/c/bn:0",
        scope="n/c",
        suffix="",
        layer="n/c/Conv2D",
        weight_slot=1,
        chain=(),
        bias=None,
        norm="n/c/bn",
        output="n/c/bn:0",
        statistics="moving",
        gamma="gamma/read:0",
        beta="beta/read:0",
        mean="mean/read:0",
        variance="variance/read:0",
        epsilon=0.0010000000474974513,
        channels=4,
        rule="fused_batch_norm",
    )


def test_takes_training() -> None:
    item = _fold(CONV + _training() + RELU)
    assert (item.statistics, item.mean, item.variance, item.freeze_delay) == ("batch", None, None, None)
    assert item.moving_mean == MovingAverage(read="mean/read:0", update="mean/update", amount_slot=1)
    assert item.moving_variance == MovingAverage(read="variance/read:0", update="variance/update", amount_slot=1)


def test_freezing_concerns_batch_statistics_only() -> None:
    frozen = contrib(freeze_bn_delay=100)
    (training,) = _plan(CONV + _training() + RELU, config=frozen).folds
    (inference,) = _plan(CONV + _norm() + RELU, config=frozen).folds
    assert (training.freeze_delay, inference.freeze_delay) == (100, None)


@pytest.mark.parametrize(
    ("text", "bias", "chain"),
    [
        (CONV + "y = BiasAdd(n/c/Conv2D, b/read)\n" + _norm("y"), "b/read:0", ()),
        (CONV + "y = Add(b/read, n/c/Conv2D)\n" + _norm("y"), "b/read:0", ()),
        (CONV + "y = AddV2(n/c/Conv2D, b/read)\n" + _norm("y"), "b/read:0", ()),
        (CONV + "y = Identity(n/c/Conv2D)\n" + _norm("y"), None, ()),
        (CONV + "block = Const {value: [2, 2]}\ncrops = Const {value: [[0, 0], [0, 0]]}\n"
         "y = BatchToSpaceND(n/c/Conv2D, block, crops)\n" + _norm("y"), None, ("y",)),
        (CONV + "s = Squeeze(n/c/Conv2D) {squeeze_dims: [1]}\nb1 = BiasAdd(s, b/read)\n"
         "axis = Const {value: 1}\ny = ExpandDims(b1, axis)\n" + _norm("y"), "b/read:0", ("s", "y")),
        (MATMUL + "y = Reshape(n/c/MatMul, nested)\n" + _norm("y"), None, ("y",)),
        (MATMUL + "z = BiasAdd(n/c/MatMul, b/read)\ny = Reshape(z, nested)\n" + _norm("y"),
         "b/read:0", ("y",)),
        (DEPTHWISE + _norm(), None, ()),
        (CONV.replace("(x, w/read)", "(x, w/read) {dilations: [1, 2, 2, 1]}") + _norm(), None, ()),
        (CONV.replace("(x, w/read)", "(x, w/read) {padding: EXPLICIT, "
                      "explicit_paddings: [0, 0, 1, 1, 1, 1, 0, 0]}") + _norm(), None, ()),
    ],
)  # fmt: skip
def test_takes_what_lies_between(text: str, bias: str | None, chain: tuple[str, ...]) -> None:
    item = _fold(text + RELU)
    assert (item.bias, item.chain, item.channels) == (bias, chain, 4)


def test_takes_one_data_format() -> None:
    nchw = CONV.replace("Conv2D(x, w/read)", "Conv2D(x, w/read) {data_format: NCHW}")
    item = _fold(nchw + _norm(more=", data_format: NCHW") + RELU)
    assert item.data_format == "NCHW"
    biased = "y = BiasAdd(n/c/Conv2D, b/read) {data_format: NCHW}\n" + _norm("y", more=", data_format: NCHW")
    assert _fold(nchw + biased + RELU).bias == "b/read:0"


@pytest.mark.parametrize(
    ("text", "code", "layer"),
    [
        (CONV + _training(updates=False), "batch-norm-without-moving-average", True),
        (CONV + _training(", exponential_avg_factor: 0.9"), "batch-norm-running-average", True),
        (CONV + "y = Relu(n/c/Conv2D)\n" + _norm("y"), "batch-norm-not-after-layer", False),
        (CONV + _norm("x"), "batch-norm-not-after-layer", False),
        (CONV + "t = VariableV2 {shape: [8, 8, 4]}\ny = Add(n/c/Conv2D, t)\n" + _norm("y"),
         "batch-norm-not-after-layer", False),
        (CONV + "y = Add(n/c/Conv2D, x)\n" + _norm("y"), "batch-norm-not-after-layer", False),
        (CONV + "z = BiasAdd(n/c/Conv2D, b/read)\ny = BiasAdd(z, beta/read)\n" + _norm("y"),
         "batch-norm-not-after-layer", False),  # one bias is folded, not two
        (CONV + "axes = Const {value: [0, 1, 2]}\nm = Mean(n/c/Conv2D, axes)\n"
         + _norm().replace("mean/read", "m"), "batch-norm-statistics-unknown", True),
        (CONV.replace("gamma = VariableV2 {shape: [4]}", "gamma = VariableV2 {shape: [2]}") + _norm(),
         "batch-norm-channels-differ", True),
        (MATMUL + "two = Const {value: [-1, 2, 1, 2]}\ny = Reshape(n/c/MatMul, two)\n" + _norm("y"),
         "batch-norm-channels-differ", True),
        (MATMUL.replace("(x, w/read)", "(w/read, x)") + "y = Reshape(n/c/MatMul, nested)\n" + _norm("y"),
         "batch-norm-channels-differ", True),
        (CONV.replace("Conv2D(x, w/read)", "Conv2D(x, w/read) {data_format: NCHW}") + _norm(),
         "data-format-differs", True),
        (CONV + _norm(more=", data_format: NCHW"), "data-format-differs", True),
        (CONV.replace("Conv2D(x, w/read)", "Conv2D(x, w/read) {data_format: NCHW}")
         + "y = Add(n/c/Conv2D, b/read)\n" + _norm("y", more=", data_format: NCHW"),
         "batch-norm-channels-differ", True),  # such a bias is added along the width
        (CONV + _norm(more=", T: half"), "dtype-not-float32", True),
    ],
)  # fmt: skip
def test_declines(text: str, code: str, layer: bool) -> None:
    plan = _plan(text + RELU, outputs=("n/c/Relu",))
    expected = [("batch_norm", "n/c/bn", code)]
    if layer:
        expected.append(("layer", next(name for name in ("n/c/Conv2D", "n/c/MatMul") if name in text), code))
        assert plan.quantizers == ()  # a layer that is not folded must not be quantized unfolded
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == expected
    assert plan.folds == ()


def test_declines_a_switch_between_two() -> None:
    text = CONV + "phase = Placeholder {dtype: bool, shape: []}\ns = Switch(n/c/Conv2D, phase)\n"
    text += _norm("s:1") + _norm("s", name="n/c/bn_1") + "m = Merge(n/c/bn_1, n/c/bn)\nout = Relu(m)\n"
    plan = _plan(text)
    assert {(entry.kind, entry.code) for entry in declined(plan)} == {
        ("batch_norm", "batch-norm-switched"), ("layer", "batch-norm-switched"),
    }  # fmt: skip
    assert (plan.folds, plan.quantizers) == ((), ())


def test_passes_over_one_that_nothing_reads() -> None:
    plan = _plan(CONV + _norm() + "out = Relu(n/c/Conv2D)\n", outputs=("out",))
    assert (plan.folds, declined(plan)) == ((), ())
    assert [item.tensor for item in plan.quantizers] == ["w/read:0", "out:0"]


def test_takes_one_that_is_an_output() -> None:
    plan = _plan(CONV + _norm())
    assert [item.output for item in plan.folds] == ["n/c/bn:0"]
    assert [(item.tensor, item.fold) for item in plan.quantizers] == [
        ("w/read:0", "fold:n/c/bn:0"), ("n/c/bn:0", "fold:n/c/bn:0"),
    ]  # fmt: skip


def test_a_second_one_stays_with_a_note() -> None:
    plan = _plan(CONV + _norm() + _norm(name="n/c/bn2") + "out = Sub(n/c/bn, n/c/bn2)\n")
    assert [item.output for item in plan.folds] == ["n/c/bn:0"]
    assert [note.code for note in plan.notes if "bn2" in note.text] == ["second-batch-norm"]


def test_a_second_one_that_is_declined_stays_alone() -> None:
    second = "bn2 = FusedBatchNorm(n/c/Conv2D, b/read, b/read, b/read, b/read) {is_training: true}\n"
    plan = _plan(CONV + _norm() + second + "n/c/Relu = Relu(n/c/bn)\nout = Sub(bn2, n/c/Relu)\n")
    assert [item.output for item in plan.folds] == ["n/c/bn:0"]
    assert [item.tensor for item in plan.quantizers] == ["w/read:0", "n/c/Relu:0"]
    assert [(entry.kind, entry.name) for entry in declined(plan)] == [("batch_norm", "bn2")]


def test_folds_in_one_scope_have_their_own_names() -> None:
    text = CONV + _norm() + "w2 = VariableV2 {shape: [1, 1, 4, 4]}\nn/c/Conv2D_1 = Conv2D(n/c/bn, w2)\n"
    text += _norm("n/c/Conv2D_1", name="n/c/bn_1") + "out = Relu(n/c/bn_1)\n"
    plan = _plan(text)
    assert [(item.layer, item.suffix) for item in plan.folds] == [("n/c/Conv2D", ""), ("n/c/Conv2D_1", "_1")]
    assert declined(plan) == ()


@pytest.mark.parametrize("first", ["Const {value: [1, 8, 4, 1]}", "Pack(one, eight, four, one)"])
@pytest.mark.parametrize(("data_format", "left"), [("NCHW", []), ("NHWC", ["n/c/MatMul"])])
def test_a_layer_norm_is_none(first: str, data_format: str, left: list[str]) -> None:
    """Keras 2 makes examples the channels of a batch of one; the layer in front is quantized all the same."""
    text = MATMUL + "".join(
        f"{name} = Const {{value: {size}}}\n" for name, size in (("one", 1), ("eight", 8), ("four", 4))
    )
    text += "ones = Fill(eight, one)\nnone = Const {value: []}\n"
    text += f"shape = {first}\nexamples = Reshape(n/c/MatMul, shape)\n"
    text += f"norm = FusedBatchNormV3(examples, ones, ones, none, none) {{data_format: {data_format}}}\n"
    plan = _plan(text + "y = Relu(norm)\n", ("y:0",))
    assert [entry.name for entry in declined(plan) if entry.kind == "layer"] == left
