from __future__ import annotations

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer, LayerKind

VARIABLES = "x = Placeholder\nw = VariableV2 {shape: [3, 3, 3, 4]}\nshape = Const {value: [-1, 4]}\n"


def _analysis(text: str, layer: str, kind: LayerKind = "conv2d") -> tuple[Analysis, Layer]:
    analysis = Analysis(Graph(parse(VARIABLES + text)))
    node = analysis.graph.node(layer)
    analysis.layers[node] = Layer(node, kind, 1)
    return analysis, analysis.layers[node]


def test_raw_outputs_pass_what_changes_only_the_shape() -> None:
    analysis, layer = _analysis("c = Conv2D(x, w)\ns = Squeeze(c)\nr = Reshape(s, shape)\nn = Neg(r)\n", "c")
    analysis.find_raw_outputs()
    assert {str(value): owner for value, owner in analysis.raw.items()} == dict.fromkeys(("c:0", "s:0", "r:0"), layer)


def test_raw_outputs_end_where_the_value_forks() -> None:
    analysis, _ = _analysis("c = Conv2D(x, w)\ns = Squeeze(c)\nn = Neg(c)\n", "c")
    analysis.find_raw_outputs()
    assert [str(value) for value in analysis.raw] == ["c:0"]


def test_raw_outputs_end_at_the_shape_operand() -> None:
    analysis, _ = _analysis("c = Conv2D(x, w)\nr = Reshape(x, c)\n", "c")
    analysis.find_raw_outputs()
    assert [str(value) for value in analysis.raw] == ["c:0"]


def test_folded_and_declined_layers_have_no_raw_output() -> None:
    for claim in ("fold", "decline"):
        analysis, layer = _analysis("c = Conv2D(x, w)\nbn = Neg(c)\n", "c")
        if claim == "fold":
            analysis.add_fold(layer, analysis.graph.value("bn"), batch_statistics=False)
        else:
            analysis.set_aside.add(layer.node)
        analysis.find_raw_outputs()
        assert not analysis.raw


def test_a_folded_matmul_ends_behind_the_reshape() -> None:
    text = "m = MatMul(x, w)\nbn = Neg(m)\nr = Reshape(bn, shape)\ni = Identity(r)\nj = Identity(bn)\n"
    for also, folded in (("", ["bn:0", "r:0"]), ("k = Neg(bn)\n", ["bn:0"])):
        analysis, layer = _analysis((text + also).replace("j = Identity(bn)\n", ""), "m", "matmul")
        analysis.add_fold(layer, analysis.graph.value("bn"), batch_statistics=True)
        assert [str(value) for value in analysis.folded] == folded
        assert [str(value) for value in analysis.fold_outputs] == ["bn:0"]
        assert {str(value) for value in analysis.waiting} == ({"i:0"} if "r:0" in folded else set())


def test_only_folds_with_batch_statistics_have_something_waiting() -> None:
    analysis, layer = _analysis("c = Conv2D(x, w)\nbn = Neg(c)\ni = Identity(bn)\n", "c")
    analysis.add_fold(layer, analysis.graph.value("bn"), batch_statistics=False)
    assert not analysis.waiting


def test_running_into_a_fake_quant() -> None:
    text = "a = Neg(x)\nb = Identity(a)\nc = Reshape(b, shape)\nq = FakeQuantWithMinMaxArgs(c)\nd = Neg(x)\n"
    analysis, _ = _analysis(text + "e = Relu(d)\nlayer = Conv2D(x, w)\n", "layer")
    found = {name for name in "abcde" if analysis.runs_into_fake_quant(analysis.graph.value(name))}
    assert found == {"a", "b", "c"}
    analysis.quantized.add(analysis.graph.value("e"))
    assert analysis.runs_into_fake_quant(analysis.graph.value("e"))
    assert not analysis.runs_into_fake_quant(analysis.graph.value("d"))
