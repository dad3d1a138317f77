"""A plan made on a training graph, applied for inference, computes what the graph built for inference computes."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from graphs import KINDS, Kind, Net, one_layer, two_layers
from numeric import RTOL_EVAL, channels_last, deviation, parse, run

from configs import contrib
from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import MovingAverage
from fqrewrite.proto import MetaGraphDef
from fqrewrite.transform.apply import apply_plan
from fqrewrite.transform.inference import to_inference

Norm = Literal["fused", "unfused"]


def folded(net: Net, *, first_to_inference: bool, folds: int = 1) -> Any:
    """The graph with its batch norms folded for inference, and without quantizers."""
    meta = MetaGraphDef.FromString(net.meta)
    plan = build_plan(Graph(meta.graph_def), contrib(), source_sha256="0", public_outputs=("output:0",))
    assert [item.statistics for item in plan.folds] == ["batch"] * folds
    graph = Graph(meta.graph_def)
    if first_to_inference:
        editor = Editor(graph)
        to_inference(graph, editor)
        editor.commit()
    apply_plan(msgspec.structs.replace(plan, quantizers=()), Editor(graph), "eval")
    return parse(meta.SerializeToString())


def assert_same(got: Any, inference: Net, *, layout: Any = lambda meta: meta) -> None:
    before = run(layout(parse(inference.meta)), inference.feeds(1), ["output:0"])
    after = run(layout(got), inference.feeds(1), ["output:0"])
    assert deviation(after[0].values["output:0"], before[0].values["output:0"]) <= RTOL_EVAL


@pytest.mark.parametrize("first_to_inference", [False, True])
@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer(kind: Kind, norm: Norm, first_to_inference: bool) -> None:
    meta = folded(one_layer(kind, norm=norm), first_to_inference=first_to_inference)
    assert_same(meta, one_layer(kind, norm=norm, training=False))
    assert not [node.name for node in meta.graph_def.node if node.op.startswith("FusedBatchNorm")]


@pytest.mark.parametrize("first_to_inference", [False, True])
@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize(
    "variant",
    [
        {"bias": True},
        {"bias": True, "resource": True},
        {"gamma": False, "beta": False},
        {"assign": True},
        {"activation": "none"},
    ],
    ids=str,
)
def test_variants(variant: dict[str, Any], norm: Norm, first_to_inference: bool) -> None:
    meta = folded(one_layer("depthwise", norm=norm, **variant), first_to_inference=first_to_inference)
    assert_same(meta, one_layer("depthwise", norm=norm, training=False, **variant))


@pytest.mark.parametrize("first_to_inference", [False, True])
def test_statistics_that_keep_their_dimensions(first_to_inference: bool) -> None:
    net = one_layer("conv", norm="unfused", keep_dims=True, bias=True)
    inference = one_layer("conv", norm="unfused", keep_dims=True, bias=True, training=False)
    assert_same(folded(net, first_to_inference=first_to_inference), inference)


def test_nchw() -> None:
    meta = folded(one_layer("conv_nchw", norm="fused"), first_to_inference=True)
    assert_same(meta, one_layer("conv_nchw", norm="fused", training=False), layout=channels_last)


@pytest.mark.parametrize("resource", [False, True])
def test_several_layers(resource: bool) -> None:
    meta = folded(two_layers(resource=resource), first_to_inference=True, folds=2)
    assert_same(meta, two_layers(resource=resource, training=False))


@pytest.mark.parametrize("norm", ["fused", "unfused"])
def test_reads_that_the_inference_graph_lacks(norm: Norm) -> None:
    """The inference side of a resolved conditional may read the moving averages by nodes of its own."""
    net = one_layer("conv", norm=norm, resource=True)
    meta = MetaGraphDef.FromString(net.meta)
    graph = Graph(meta.graph_def)
    plan = build_plan(graph, contrib(), source_sha256="0", public_outputs=("output:0",))
    (item,) = plan.folds
    gone = MovingAverage(read="gone:0")
    elsewhere = msgspec.structs.replace(item, moving_mean=gone, moving_variance=gone)
    stripped = msgspec.structs.replace(plan, folds=(elsewhere,), quantizers=())
    with pytest.raises(GraphError, match="gone"):
        apply_plan(stripped, Editor(Graph(MetaGraphDef.FromString(net.meta).graph_def)), "eval")
    to_inference(graph, Editor(graph))
    apply_plan(stripped, Editor(graph), "eval")
    assert_same(parse(meta.SerializeToString()), one_layer("conv", norm=norm, resource=True, training=False))
