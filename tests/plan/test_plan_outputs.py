from __future__ import annotations

import pytest

from fqrewrite.errors import ConfigError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.analysis import Analysis
from fqrewrite.plan.outputs import named_outputs, sink_outputs

MODEL = """
x = Placeholder
w = VariableV2 {shape: [3, 4]}
w/read = Identity(w)
net/logits = MatMul(x, w/read)
net/probabilities = Softmax(net/logits)
"""


def _sinks(text: str) -> list[str]:
    return [str(value) for value in sink_outputs(Analysis(Graph(parse(text))))]


@pytest.mark.parametrize(
    "more",
    [
        "",
        "init = NoOp(^w)\n",
        "zero = Const {value: 0.0}\nassign = Assign(w, zero)\n",
        "v = VarHandleOp\nzero = Const {value: 0.0}\na = AssignVariableOp(v, zero)\nr = ReadVariableOp(v)\n",
        'tag = Const {value: "loss"}\nsummary = ScalarSummary(tag, net/logits)\n',
        "shape = Shape(net/logits)\nstop = StopGradient(net/logits)\n",
        "regulariser = L2Loss(w/read)\n",  # depends on no data
        "name = Placeholder {dtype: string}\ntext = StringJoin(name) {T: string}\n",
        "label = Placeholder {dtype: int64}\n",  # reads nothing
        "p = Placeholder {dtype: bool}\nguard = Switch(x, p)\nunused = Neg(guard)\n",
    ],
)
def test_the_sink_is_the_output(more: str) -> None:
    assert _sinks(MODEL + more) == ["net/probabilities:0"]


def test_several_sinks_are_ambiguous() -> None:
    with pytest.raises(ConfigError, match=r"2 tensors could be the outputs: net/prob.*:0, loss:0") as caught:
        _sinks(MODEL + "loss = Mean(net/logits)\n")
    assert caught.value.code == "outputs-ambiguous"
    assert caught.value.remedy is not None
    assert "--outputs net/probabilities:0,loss:0" in caught.value.remedy


def test_many_sinks_are_not_all_listed() -> None:
    with pytest.raises(ConfigError, match=r"21 tensors.* and 9 more"):
        _sinks(MODEL + "".join(f"o{index} = Neg(net/logits)\n" for index in range(20)))


def test_no_sink() -> None:
    with pytest.raises(ConfigError) as caught:
        _sinks("x = Placeholder\nw = VariableV2\nr = Identity(w)\n")
    assert caught.value.code == "outputs-none"


def test_named_outputs() -> None:
    graph = Graph(parse(MODEL))
    found = named_outputs(graph, ["net/logits", "net/probabilities:0", "net/logits:0", "x:1"])
    assert [str(value) for value in found] == ["net/logits:0", "net/probabilities:0", "x:1"]


def test_names_that_are_not_found_come_with_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"no tensor 'net/logit:0'; did you mean net/logits") as caught:
        named_outputs(Graph(parse(MODEL)), ["net/logit:0"])
    assert (caught.value.code, caught.value.where) == ("output-not-found", "net/logit:0")


def test_names_like_nothing_come_without_a_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        named_outputs(Graph(parse(MODEL)), ["qqqqqqqq"])
    assert "did you mean" not in caught.value.what
