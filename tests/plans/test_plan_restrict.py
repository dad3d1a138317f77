"""What of a plan is left for an eval graph."""

from __future__ import annotations

import numpy as np
from planning import INPUT, conv, plan_of

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.restrict import restrict, without_unseen

NET = f"{INPUT}{conv('a')}a/Relu = Relu(a/Conv2D)\nb/w = VariableV2 {{shape: [1, 1, 4, 4]}}\n"
NET += "b/w/read = Identity(b/w)\nb/Conv2D = Conv2D(a/Relu, b/w/read)\nb/Relu = Relu(b/Conv2D)\n"
NEVER = {"b/act_quant/min": np.zeros(()), "b/act_quant/b/act_quant/min/local_step": np.zeros(())}


def test_what_is_on_nodes_that_are_gone_is_left_out() -> None:
    plan = plan_of(NET, ("b/Relu:0",))
    first = "".join(line for line in NET.splitlines(keepends=True) if not line.startswith("b/"))
    kept = restrict(plan, Graph(parse(first)))
    assert {item.scope for item in kept.quantizers} == {"a/weights_quant", "a/act_quant"}


def test_a_quantizer_behind_an_output_that_training_never_ran_is_left_out() -> None:
    plan = plan_of(NET, ("b/Relu:0",))
    kept, unseen = without_unseen(plan, {"b/Relu:0"}, NEVER)
    assert unseen == ["b/Relu:0"]
    assert {item.scope for item in plan.quantizers} - {item.scope for item in kept.quantizers} == {"b/act_quant"}


def test_it_stays_when_it_was_run_or_is_no_output_or_unknown() -> None:
    plan = plan_of(NET, ("b/Relu:0",))
    run = {**NEVER, "b/act_quant/b/act_quant/min/local_step": np.ones(())}
    assert without_unseen(plan, {"b/Relu:0"}, run) == (plan, [])
    assert without_unseen(plan, set(), NEVER) == (plan, [])
    assert without_unseen(plan, {"b/Relu:0"}, {}) == (plan, [])
