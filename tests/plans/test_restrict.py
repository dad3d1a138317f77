from __future__ import annotations

import msgspec
from planning import INPUT, conv, plan_of

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.items import Plan
from fqrewrite.plans.restrict import restrict

NORM = "g = VariableV2 {shape: [4]}\ng/read = Identity(g)\n"
TEXT = (
    INPUT
    + NORM
    + conv("one")
    + "one/bn = FusedBatchNormV3(one/Conv2D, g/read, b/read, b/read, g/read) {is_training: false}\n"
    + "one/Relu = Relu(one/bn)\n"
    + conv("two")
    + "two/Relu = Relu(two/Conv2D)\nside = Neg(two/Relu)\nout = Add(one/Relu, two/Relu)\n"
)


def without(*names: str) -> Graph:
    """The graph without these nodes and without checks, as pruning leaves it."""
    graph_def = parse(TEXT)
    gone = set(names)
    while True:
        kept = [node for node in graph_def.node if node.name not in gone]
        more = {node.name for node in kept if any(text.partition(":")[0] in gone for text in node.input)}
        if not more:
            break
        gone |= more
    del graph_def.node[:]
    graph_def.node.extend(kept)
    return Graph(graph_def)


def scopes(plan: Plan) -> set[str]:
    return {item.scope for item in plan.quantizers}


def test_all_stays_in_the_whole_graph() -> None:
    plan = plan_of(TEXT, ("out:0", "side:0"))
    assert len(plan.folds) == 1
    assert restrict(plan, Graph(parse(TEXT))) == plan


def test_a_layer_that_is_gone_takes_its_items_along() -> None:
    plan = plan_of(TEXT, ("out:0", "side:0"))
    left = restrict(plan, without("one/Conv2D"))
    assert left.folds == ()
    assert {scope for scope in scopes(plan) - scopes(left) if scope.startswith("one/")} >= {"one/weights_quant"}
    assert "two/weights_quant" in scopes(left)
    assert left.source_sha256 == plan.source_sha256


def test_a_norm_that_is_gone() -> None:
    plan = plan_of(TEXT, ("out:0", "side:0"))
    left = restrict(plan, without("one/bn"))
    assert left.folds == ()
    assert all(item.fold is None for item in left.quantizers)  # weights of a fold are not in the graph without it


def test_edges_that_are_gone() -> None:
    plan = plan_of(TEXT, ("out:0", "side:0"))
    (item,) = (found for found in plan.quantizers if found.scope == "two/weights_quant")
    assert item.edges == ("two/Conv2D:in1",)
    more = msgspec.structs.replace(item, edges=(*item.edges, "gone:in0"))
    changed = msgspec.structs.replace(plan, quantizers=(more,))
    assert restrict(changed, Graph(parse(TEXT))).quantizers == (item,)
    only = msgspec.structs.replace(plan, quantizers=(msgspec.structs.replace(item, edges=("gone:in0",)),))
    assert restrict(only, Graph(parse(TEXT))).quantizers == ()
