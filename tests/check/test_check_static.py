"""What the static check says about graphs, one finding at a time."""

from __future__ import annotations

import pytest

from fqrewrite.check.quantizers import PER_CHANNEL
from fqrewrite.check.records import Static
from fqrewrite.check.static import check_graph
from fqrewrite.check.targets import TARGETS
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse

# x -> fq_x -> conv (w behind fq_w) -> bias -> relu -> fq_y
NET = """
x = Placeholder {shape: [1, 8, 8, 2]}
lo = Const {value: -1.0}
hi = Const {value: 1.0}
fq_x = FakeQuantWithMinMaxVars(x, lo, hi)
w = Const {value: [[[[0.5, -0.25], [0.125, 0.5]]]]}
wlo = Const {value: -0.5}
whi = Const {value: 0.5}
fq_w = FakeQuantWithMinMaxVars(w, wlo, whi) {narrow_range: true}
conv = Conv2D(fq_x, fq_w)
b = Const {value: [0.5, 0.25]}
bias = BiasAdd(conv, b)
relu = Relu(bias)
fq_y = FakeQuantWithMinMaxVars(relu, lo, hi)
"""


def _check(text: str, *outputs: str, target: str = "tflite-int8") -> Static:
    graph = Graph(parse(text))
    return check_graph(graph, [graph.value(name) for name in outputs or ("fq_y",)], TARGETS[target])


def _codes(static: Static) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.severity, finding.name) for finding in static.findings]


def test_a_quantized_net_passes() -> None:
    static = _check(NET)
    assert static.prediction == "integer"
    assert _codes(static) == []
    assert (static.operations, static.float_operations, static.quantizers) == (1, (), 3)


def test_only_what_the_outputs_need_counts() -> None:
    more = NET + "elu = Elu(relu)\nv = VariableV2 {shape: [2]}\nsum = Add(elu, v)\n"
    assert _check(more).prediction == "integer"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Conv2D(fq_x, fq_w)", "Conv2D(x, fq_w)", ("input-without-range", "float", "x:0")),
        ("(relu, lo, hi)", "(relu, lo, lo)", ("range-empty", "wrong", "fq_y")),
        ("{value: -1.0}", "{value: 0.5}", ("range-without-zero", "wrong", "fq_x")),
        ("{value: -1.0}", "{value: -inf}", ("range-not-finite", "fails", "fq_x")),
        ("{value: -1.0}", "{value: nan}", ("range-not-finite", "wrong", "fq_x")),
        ("{value: -0.5}", "{value: -0.25}", ("weights-asymmetric", "fails", "conv")),
        ("{narrow_range: true}", "{narrow_range: true, num_bits: 5}", ("weights-bits", "wrong", "conv")),
        ("{narrow_range: true}", "{narrow_range: true, num_bits: 16}", ("weights-bits", "fails", "conv")),
        ("Conv2D(fq_x, fq_w)", "Conv2D(fq_x, w)", ("weights-without-quantizer", "warning", "conv")),
        ("BiasAdd(conv, b)", "BiasAdd(conv, fq_b)", ("bias-quantized", "float", "fq_b")),
        ("relu = Relu(bias)", "relu = Elu(bias)", ("operation-float", "float", "relu")),
        ("relu = Relu(bias)", "relu = Betainc(bias)", ("operation-unknown", "float", "relu")),
        ("relu = Relu(bias)", "relu = Erf(bias)", ("operation-fails", "fails", "relu")),
        ("relu = Relu(bias)", "relu = ReluGrad(bias, bias)", ("training-left", "fails", "relu")),
        ("relu = Relu(bias)", "relu = Add(bias, v)", ("variable-left", "fails", "v")),
        ("relu = Relu(bias)", "relu = PartitionedCall(bias)", ("function-not-checked", "float", "relu")),
        ("relu = Relu(bias)", "relu = Switch(bias, p)", ("control-flow-left", "float", "relu")),
        ("(relu, lo, hi)", "(relu, lo, v)", ("range-not-constant", "fails", "fq_y")),
        ("(relu, lo, hi)", "(relu, lo, hi) {num_bits: 4}", ("activation-bits", "fails", "fq_y")),
        ("(relu, lo, hi)", "(relu, lo, hi) {num_bits: 16}", ("activation-bits", "wrong", "fq_y")),
    ],
)
def test_findings(old: str, new: str, expected: tuple[str, str, str]) -> None:
    extra = "fq_b = FakeQuantWithMinMaxVars(b, lo, hi)\nv = VariableV2 {shape: []}\np = Placeholder {dtype: bool}\n"
    static = _check(NET.replace(old, new) + extra)
    assert expected in _codes(static)
    assert (static.prediction == "integer") == (expected[1] == "warning")


def test_causes_and_victims_are_told_apart() -> None:
    text = NET.replace("(relu, lo, hi)", "(pool, lo, hi)") + "pool = MaxPool(elu)\nelu = Elu(relu)\n"
    static = _check(text)
    named = {operation.name: operation.because for operation in static.float_operations}
    assert named == {"conv": "relu:0", "elu": "elu", "pool": "elu:0"}
    assert _codes(static) == [
        ("operation-float", "float", "elu"),
        ("range-missing", "float", "relu:0"),
        ("range-missing", "float", "elu:0"),
    ]


def test_readers_beside_the_quantizer() -> None:
    static = _check(NET + "pool = MaxPool(relu)\n", "fq_y", "pool")
    assert _codes(static) == [("range-bypassed", "float", "relu:0")]
    assert "pool" in static.findings[0].reason


def test_quantizers_that_differ() -> None:
    static = _check(NET + "other = FakeQuantWithMinMaxVars(relu, wlo, hi)\n", "fq_y", "other")
    assert _codes(static) == [("ranges-conflict", "float", "relu:0")]


def test_a_missing_range_is_sought_in_front_of_ops_that_pass_it_on() -> None:
    static = _check(NET + "pool = MaxPool(relu)\ny = Sigmoid(pool)\n", "y")
    assert _codes(static) == [("range-missing", "float", "relu:0")]


def test_operands_of_other_ranges_saturate() -> None:
    more = NET + "fq_z = FakeQuantWithMinMaxVars(z, wlo, whi)\nz = Placeholder {shape: [1, 8, 8, 2]}\n"
    assert _codes(_check(more + "max = Maximum(fq_z, fq_x)\n", "max")) == [("ranges-differ", "wrong", "max")]
    assert _codes(_check(more + "max = Maximum(fq_x, fq_z)\n", "max")) == []


@pytest.mark.parametrize("split", ["Split(axis, fq_y) {num_split: 2}", "Unpack(fq_y) {num: 2}"])
def test_an_unused_output_of_a_split(split: str) -> None:
    net = NET + f"axis = Const {{value: 3}}\nsplit = {split}\nfq_s = FakeQuantWithMinMaxVars(split:1, lo, hi)\n"
    static = _check(net, "split:1")
    assert _codes(static) == [("split-output-unused", "float", "split")]
    assert _check(net, "fq_s").prediction == "integer"
    assert _check(net, "split:0", "split:1").prediction == "integer"


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ("[0.5, 0.5]", "wrong"),
        ("0.5", "wrong"),
        ("[0.5, 0.25]", "integer"),
        ("[0.0, 0.0]", "integer"),
    ],
)
def test_a_bias_of_equal_numbers(bias: str, expected: str) -> None:
    net = NET.replace("(w, wlo, whi)", "(w, wlos, whis)").replace(
        "fq_w = FakeQuantWithMinMaxVars", f"fq_w = {PER_CHANNEL}"
    )
    net += "wlos = Const {value: [-0.5, -0.25]}\nwhis = Const {value: [0.5, 0.25]}\n"
    net = net.replace("BiasAdd", "AddV2").replace("{value: [0.5, 0.25]}\nbias", f"{{value: {bias}}}\nbias")
    static = _check(net)
    assert static.prediction == expected
    assert _codes(static) == ([("bias-uniform", "wrong", "bias")] if expected == "wrong" else [])
    more = "c = Const {value: [0.5, 0.25]}\nbias2 = AddV2(bias, c)\n"
    assert _check(net.replace("Relu(bias)", "Relu(bias2)") + more).prediction == "integer"


def test_targets_differ() -> None:
    asymmetric = NET.replace("{value: -0.5}", "{value: -0.25}").replace("Conv2D(fq_x", "Conv2D(x")
    assert _check(asymmetric, target="tflite-uint8").prediction == "integer"
    absolute = NET.replace("= Relu(bias)", "= Abs(fq_x)")
    assert _check(absolute).prediction == "integer"
    assert _codes(_check(absolute, target="tflite-uint8")) == [("operation-fails", "fails", "relu")]
