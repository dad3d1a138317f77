from __future__ import annotations

import pytest

from fqrewrite.errors import ConfigError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.refusals import backward_pass
from fqrewrite.plans.outputs import named_outputs, sink_outputs

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
        "sum = Mean(net/logits)\nassign = AssignSub(w, sum)\nupdate = Identity(assign)\n",  # of a resolved conditional
        "v = VarHandleOp\nzero = Const {value: 0.0}\na = AssignVariableOp(v, zero)\nr = ReadVariableOp(v)\n",
        'tag = Const {value: "loss"}\nsummary = ScalarSummary(tag, net/logits)\n',
        "shape = Shape(net/logits)\nstop = StopGradient(net/logits)\n",
        "kept = OptionalFromValue(net/logits)\n",  # of a branch of an If that was inlined
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


LOOP = """
zero = Const {value: 0.0}
enter = Enter(zero) {frame_name: "f"}
merge = Merge(enter, next)
x_in = Enter(x) {frame_name: "f"}
x_merge = Merge(x_in, x_next)
less = Less(merge, x_merge)
loop = LoopCond(less)
switch = Switch(merge, loop)
next = NextIteration(switch:1)
x_switch = Switch(x_merge, loop)
x_next = NextIteration(x_switch:1)
count = Exit(switch)
state = Exit(x_switch)
"""


def test_loop_variables_beside_the_result_are_none() -> None:
    assert _sinks("x = Placeholder\n" + LOOP + "y = Neg(state)\n") == ["y:0"]
    calls = "x = Placeholder\nloop = While(x, x)\ncount = Identity(loop)\nstate = Identity(loop:1)\n"
    assert _sinks(calls + "y = Neg(state)\n") == ["y:0"]


def test_loop_variables_may_be_the_result() -> None:
    with pytest.raises(ConfigError, match=r"2 tensors could be the outputs: count:0, state:0"):
        _sinks("x = Placeholder\n" + LOOP)
    with pytest.raises(ConfigError, match="count:0, state:0, y:0"):
        _sinks("x = Placeholder\n" + LOOP + "y = Neg(x)\n")


def test_gradients_that_no_weight_needs_are_no_result() -> None:
    text = MODEL + (
        "mse = Square(net/probabilities)\ngradients/mse_grad/Mul = Mul(mse, mse)\n"
        "gradients/soft_grad/ReluGrad = ReluGrad(net/logits, mse)\nloss = Neg(mse)\n"
    )
    graph = Graph(parse(text))
    backward = backward_pass(graph)
    assert [str(value) for value in sink_outputs(Analysis(graph), backward)] == ["loss:0"]
    with pytest.raises(ConfigError):  # without a backward pass a name says nothing
        sink_outputs(Analysis(graph))


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
