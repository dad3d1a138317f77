from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.moving_average import find_moving_average

REF = "x = Placeholder\nv = VariableV2 {shape: [4]}\nv/read = Identity(v)\n"
RESOURCE = "x = Placeholder\nv = VarHandleOp {shape: [4]}\nv/read = ReadVariableOp(v)\n"
OTHER = "u = VariableV2 {shape: [4]}\nu/read = Identity(u)\n"
RATE = "rate = Const {value: 0.01}\ndecay = Const {value: 0.99}\n"


def _subtract(assign: str = "AssignSub", *, statistic: str = "x") -> str:
    return f"""
        difference = Sub(v/read, {statistic})
        amount = Mul(difference, rate)
        update = {assign}(v, amount)
    """


def _weighted(assign: str = "Assign", *, add: str = "Add(old, new)", old: str = "Mul(v/read, decay)") -> str:
    return f"old = {old}\nnew = Mul(x, rate)\nnext = {add}\nupdate = {assign}(v, next)\n"


STEP = "difference = Sub(x, v/read)\namount = Mul(difference, rate)\n"
AWAY = "difference = Sub(v/read, x)\namount = Mul(difference, rate)\n"


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        (REF + STEP + "update = AssignAdd(v, amount)\n", False),
        (RESOURCE + STEP + "update = AssignAddVariableOp(v, amount)\n", False),
        (REF + STEP + "next = AddV2(amount, v/read)\nupdate = Assign(v, next)\n", True),
        (REF + AWAY + "next = Sub(v/read, amount)\nupdate = Assign(v, next)\n", True),
        (REF + _subtract(), False),
        (RESOURCE + _subtract("AssignSubVariableOp"), False),
        (REF + _subtract().replace("(difference, rate)", "(rate, difference)"), False),
        (REF + "s = Squeeze(x)\n" + _subtract(statistic="s"), False),
        (REF + "c = Cast(x)\ni = Identity(c)\nr = StopGradient(i)\n" + _subtract(statistic="r"), False),
        (REF + _weighted(), True),
        (REF + _weighted(add="AddV2(new, old)"), True),
        (REF + _weighted(old="Mul(decay, v/read)"), True),
        (RESOURCE + _weighted("AssignVariableOp"), True),
        # what resolved conditionals leave
        (REF + "i = Identity(difference)\n" + _subtract().replace("Mul(difference", "Mul(i"), False),
        (REF + "i = Identity(amount)\n" + _subtract().replace("(v, amount)", "(v, i)"), False),
        (REF + "i = Identity(new)\n" + _weighted(add="Add(old, i)"), True),
        (REF + "i = Identity(next)\n" + _weighted().replace("(v, next)", "(v, i)"), True),
        (
            RESOURCE + "h = Identity(v)\n" + _subtract("AssignSubVariableOp").replace("(v, amount)", "(h, amount)"),
            False,
        ),
        # Keras, which leaves out empty batches
        (
            RESOURCE
            + "some = Placeholder\nzeros = ZerosLike(amount)\nkept = SelectV2(some, amount, zeros)\n"
            + _subtract("AssignSubVariableOp").replace("(v, amount)", "(v, kept)"),
            False,
        ),
    ],
)
def test_known_forms(text: str, absolute: bool) -> None:
    update = find_moving_average(Graph(parse(text + RATE)).value("x"))
    assert update is not None
    assert (str(update.read), update.assign.name, update.absolute) == ("v/read:0", "update", absolute)


def test_the_read_that_the_update_uses_is_meant() -> None:
    text = REF + "v/own = Identity(v)\n" + _subtract().replace("Sub(v/read", "Sub(v/own") + RATE
    update = find_moving_average(Graph(parse(text)).value("x"))
    assert update is not None
    assert str(update.read) == "v/own:0"


@pytest.mark.parametrize("read", ["biased/assign", "biased/now"])
def test_the_debiased_average_is_meant(read: str) -> None:
    """As `zero_debias` of tf.contrib makes it, from a variable that is far from the average at first."""
    text = _subtract().replace("update = AssignSub(v,", "biased/assign = AssignSub(u,").replace("v/read", "u/read")
    text = REF + OTHER + text + "biased/now = Identity(u, ^biased/assign)\n"
    text += f"bias = Const {{value: 0.5}}\ndebiased = RealDiv({read}, bias)\nupdate = Assign(v, debiased)\n"
    update = find_moving_average(Graph(parse(text + RATE)).value("x"))
    assert update is not None
    assert (str(update.read), update.assign.name, update.absolute) == ("v/read:0", "update", True)


def test_the_read_in_front_of_a_conditional_is_meant() -> None:
    text = REF + "v/side = Identity(v/read)\n" + _subtract().replace("Sub(v/read", "Sub(v/side") + RATE
    update = find_moving_average(Graph(parse(text)).value("x"))
    assert update is not None
    assert str(update.read) == "v/read:0"


@pytest.mark.parametrize(
    "text",
    [
        REF,
        REF
        + "some = Placeholder\nkept = SelectV2(some, amount, rate)\n"
        + _subtract().replace("(v, amount)", "(v, kept)"),
        REF + STEP + "update = AssignSub(v, amount)\n",  # away from the statistic
        REF + AWAY + "next = Add(v/read, amount)\nupdate = Assign(v, next)\n",
        REF + STEP + "next = Sub(v/read, amount)\nupdate = Assign(v, next)\n",
        REF + AWAY + "next = Sub(amount, v/read)\nupdate = Assign(v, next)\n",
        REF + OTHER + STEP + "next = Add(u/read, amount)\nupdate = Assign(v, next)\n",
        REF + _subtract().replace("Sub(v/read, x)", "Sub(x, v/read)"),  # the wrong way round
        REF + OTHER + _subtract().replace("AssignSub(v,", "AssignSub(u,"),  # updates another variable
        REF + OTHER + _weighted().replace("Assign(v,", "Assign(u,"),
        REF + _subtract("Assign"),  # sets the variable to the amount
        REF + _subtract("AssignAdd"),
        REF + _weighted("AssignSub"),
        REF + "y = Neg(x)\n" + _subtract(statistic="y"),
        REF + _weighted(old="Mul(rate, decay)"),
        REF + "difference = Sub(rate, x)\namount = Mul(difference, rate)\nupdate = AssignSub(v, amount)\n",
    ],
)
def test_other_forms(text: str) -> None:
    assert find_moving_average(Graph(parse(text + RATE)).value("x")) is None


def test_each_output_of_a_node_has_its_own() -> None:
    graph = Graph(parse(REF + "bn = Split(x, x)\n" + _subtract(statistic="bn:1") + RATE))
    assert find_moving_average(graph.value("bn:1")) is not None
    assert find_moving_average(graph.value("bn:2")) is None


@pytest.mark.parametrize(
    ("kind", "read", "assign", "expected", "ordered"),
    [
        (RESOURCE, "ReadVariableOp(v)", "AssignSubVariableOp", "v/own:0", True),
        (RESOURCE, "ReadVariableOp(v, ^x)", "AssignSubVariableOp", "v/read:0", False),
        (REF, "Identity(v)", "AssignSub", "v/own:0", False),
        (REF, "Identity(v, ^x)", "AssignSub", "v/read:0", False),
    ],
)
def test_a_read_that_waits_for_something_is_not_used(
    kind: str, read: str, assign: str, expected: str, ordered: bool
) -> None:
    """An update under control dependencies may wait for the loss, which a fold is before."""
    text = kind + f"v/own = {read}\n" + _subtract(assign).replace("Sub(v/read", "Sub(v/own") + RATE
    update = find_moving_average(Graph(parse(text)).value("x"))
    assert update is not None
    assert (str(update.read), update.ordered) == (expected, ordered)
