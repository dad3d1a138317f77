"""A live graph is rewritten as its file is: the same plan, nodes and variables, and the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pytest
from graphs import KINDS, Net, layer, one_layer, two_layers, variable
from live_graphs import Both, Mode, live_graph, rewrite_both, successor
from numeric import Arrays, Step, deviation, parse, run, tf1

from fqrewrite.ir.graph import Graph
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.proto import GraphDef, VariableDef
from fqrewrite.source.provenance import recover, require_provenance

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden" / "data").glob("*.npz"))
TOLERANCE = 1e-6
_SHAPE = (2, 8, 8, 3)


def _conv(x: Any, scope: str, *, relu: bool = True, resource: bool = False) -> Any:
    with tf1.variable_scope(scope):
        y = tf1.nn.bias_add(layer("conv", x, 3, resource), variable("biases", (3,), resource), name="BiasAdd")
        return tf1.nn.relu(y, name="Relu") if relu else y


def _bypass(x: Any) -> Any:
    first = _conv(x, "a")
    return tf1.nn.relu(tf1.add(_conv(first, "b", relu=False), first, name="sum"), name="after")


def _post_activation_bypass(x: Any) -> Any:
    first = _conv(x, "a")
    return tf1.add(_conv(first, "b"), first, name="sum")


def _residual_resource(x: Any) -> Any:
    first = _conv(x, "a", resource=True)
    return tf1.nn.relu(_conv(first, "b", relu=False, resource=True) + first, name="after")


def _shared_weights(x: Any) -> Any:
    with tf1.variable_scope("shared"):
        weights = variable("weights", (3, 3, 3, 3), False)
    for name in ("first", "second"):
        x = tf1.nn.relu(tf1.nn.conv2d(x, weights, strides=1, padding="SAME", name=f"{name}/Conv2D"))
    return x


def _separable(x: Any) -> Any:
    with tf1.variable_scope("separable"):
        depthwise, pointwise = variable("dw", (3, 3, 3, 2), False), variable("pw", (1, 1, 6, 4), False)
        return tf1.nn.relu6(tf1.nn.separable_conv2d(x, depthwise, pointwise, strides=[1, 1, 1, 1], padding="SAME"))


NETS: dict[str, Callable[[Any], Any]] = {
    "bypass": _bypass,
    "post_activation_bypass": _post_activation_bypass,
    "residual_resource": _residual_resource,
    "shared_weights": _shared_weights,
    "separable": _separable,
}


def _built(build: Callable[[Any], Any]) -> bytes:
    graph = tf1.Graph()
    with graph.as_default():
        output = tf1.identity(build(tf1.placeholder(tf1.float32, _SHAPE, name="input")), name="output")
        tf1.reduce_mean(tf1.square(output), name="loss")
        tf1.add_to_collection("outputs", output)
        return bytes(tf1.train.export_meta_graph(graph=graph).SerializeToString())


class Source(NamedTuple):
    """A serialized MetaGraphDef, the shape of its input, and its updates."""

    meta: bytes
    shape: tuple[int, ...]
    updates: tuple[str, ...] = ()


def _sources() -> dict[str, Source]:
    nets: dict[str, Net] = {kind: one_layer(kind, norm="fused", bias=True) for kind in KINDS}
    norms: tuple[Literal["fused", "unfused"], ...] = ("fused", "unfused")
    for resource in (False, True):
        kind = "resource" if resource else "ref"
        nets[f"two_layers_{kind}"] = two_layers(resource=resource)
        nets[f"two_layers_inference_{kind}"] = two_layers(resource=resource, training=False)
        for norm in norms:
            name = f"{norm}_{kind}"
            nets[f"matmul_{name}"] = one_layer("matmul", norm=norm, resource=resource)
            nets[f"dw_forced_{name}"] = one_layer("depthwise", norm=norm, resource=resource, force_updates=True)
            nets[f"norm_last_{name}"] = one_layer("conv", norm=norm, resource=resource, activation="none")
    found = {name: Source(_built(build), _SHAPE) for name, build in NETS.items()}
    return found | {name: Source(net.meta, net.input_shape, net.updates) for name, net in nets.items()}


SOURCES = _sources()
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "delayed": {"quant_delay": 2, "freeze_bn_delay": 3},
    "symmetric": {"weights": {"bits": 4, "symmetric": True}, "activations": {"symmetric": True}},
    "tflite-int8": {"preset": "tflite-int8"},
}


# The others with every config are for `-m heavy`.
TYPICAL = ("bypass", "residual_resource", "two_layers_ref", "two_layers_inference_resource", "norm_last_fused_ref")
CASES = [
    pytest.param(name, config, marks=() if config == "plain" or name in TYPICAL else pytest.mark.heavy)
    for name in SOURCES
    for config in CONFIGS
]


def _names(meta: Any) -> set[str]:
    return {node.name for node in meta.graph_def.node}


def _run(meta: Any, shape: tuple[int, ...], updates: tuple[str, ...], fetches: list[str]) -> list[Step]:
    random = np.random.RandomState(1)
    feeds = [{"input:0": random.normal(0.3, 1.0, shape).astype(np.float32)} for _ in range(4)]
    return run(meta, feeds, fetches, updates=updates)


def _check_same(live: list[Step], file: list[Step]) -> None:
    for ours, theirs in zip(live, file, strict=True):
        assert ours.variables.keys() == theirs.variables.keys()
        for got, want in ((ours.values, theirs.values), (ours.variables, theirs.variables)):
            for one, other in zip(got.values(), want.values(), strict=True):
                assert deviation(one, other) <= TOLERANCE


def _check_structure(both: Both) -> None:
    """Plan, names and collections are those of the file; nothing that the file does not have is read."""
    provenance, _ = require_provenance(GraphDef.FromString(both.live.graph_def.SerializeToString()), "")
    live_plan, file_plan = (msgspec.json.encode(plan, order="sorted") for plan in (provenance.plan, both.file.plan))
    assert live_plan == file_plan
    live, file, source = both.live, parse(both.file.meta), both.source
    assert _names(file) <= _names(live)
    added = _names(live) - _names(file)
    assert all(name in _names(source) or name.endswith("/rewritten") for name in added)
    collections = {**live.collection_def, **file.collection_def}
    for key in collections:
        if key in ("variables", "trainable_variables"):
            ours, theirs = (_variables(meta, key) for meta in (live, file))
            assert ours == theirs


def _variables(meta: Any, key: str) -> list[tuple[str, str, str, bool]]:
    messages = [VariableDef.FromString(entry) for entry in meta.collection_def[key].bytes_list.value]
    return [(m.variable_name, m.initializer_name, m.snapshot_name, m.is_resource) for m in messages]


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("name", "config"), CASES)
def test_small_graphs(name: str, mode: Mode, config: str) -> None:
    meta, shape, updates = SOURCES[name]
    both = rewrite_both(live_graph(meta), mode, CONFIGS[config])
    _check_structure(both)
    if mode == "eval":
        updates = ()
    elif both.live.collection_def["update_ops"].node_list.value:
        assert list(both.live.collection_def["update_ops"].node_list.value) == list(
            parse(both.file.meta).collection_def["update_ops"].node_list.value
        )
    fetches = ["output:0", "loss:0"] if mode == "train" else ["output:0"]  # of an eval graph files keep what is needed
    live = _run(both.live, shape, updates, [successor(both.graph, tensor) for tensor in fetches])
    _check_same(live, _run(parse(both.file.meta), shape, updates, fetches))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_graphs_of_tensorflow_1(path: Path) -> None:
    members: Arrays = dict(np.load(path))
    about = json.loads(members["about"].tobytes())
    both = rewrite_both(live_graph(members["before.meta"].tobytes()), about["mode"], {"outputs": about["outputs"]})
    _check_structure(both)


@pytest.mark.parametrize("name", SOURCES)
def test_the_live_graph_tells_of_its_source(name: str) -> None:
    """What a Saver writes of the graph leads back to the source graph, as what `fqrewrite train` writes does."""
    both = rewrite_both(live_graph(SOURCES[name][0]), "train", {"preset": "tflite-int8"})
    graph_def = GraphDef.FromString(both.live.graph_def.SerializeToString())
    recovered = Graph(recover(graph_def, *require_provenance(graph_def, "")))
    for node in GraphDef.FromString(both.source.graph_def.SerializeToString()).node:
        found = recovered.node(node.name).proto
        assert (found.op, list(found.input)) == (node.op, list(node.input)), node.name
    assert MARKER_NAME in recovered
