from __future__ import annotations

import random

import msgspec
import pytest
from planning import declined

from configs import contrib, contrib_weights
from fqrewrite.config.records import (
    ActivationSettings,
    Rule,
    WeightOverrides,
)
from fqrewrite.config.selectors import Selector
from fqrewrite.errors import ConfigError, GraphError, Refusal
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.proposal import Phase
from fqrewrite.match.proposal import Rule as GraphRule
from fqrewrite.plans import build
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Plan, Scheme
from fqrewrite.plans.serialise import plan_from_json, plan_to_json
from fqrewrite.proto import GraphDef
from fqrewrite.rules import rules_of

# A folded conv, a bypass, a depthwise conv with an unfused batch norm, a dense layer; and what is left out.
MODEL = """
x = Placeholder {shape: [?, 8, 8, 3]}
p = VariableV2 {shape: [4]}
p/read = Identity(p)
a/w = VariableV2 {shape: [1, 1, 3, 4]}
a/w/read = Identity(a/w)
a/Conv2D = Conv2D(x, a/w/read)
a/bn = FusedBatchNormV3(a/Conv2D, p/read, p/read, p/read, p/read) {is_training: false}
a/Relu = Relu(a/bn)
b/w = VariableV2 {shape: [1, 1, 4, 4]}
b/w/read = Identity(b/w)
b/Conv2D = Conv2D(a/Relu, b/w/read)
b/BiasAdd = BiasAdd(b/Conv2D, p/read)
join/add = Add(b/BiasAdd, a/Relu)
join/Relu = Relu6(join/add)
c/w = VariableV2 {shape: [3, 3, 4, 1]}
c/w/read = Identity(c/w)
c/depthwise = DepthwiseConv2dNative(join/Relu, c/w/read)
epsilon = Const {value: 0.001}
c/sum = Add(p/read, epsilon)
c/rsqrt = Rsqrt(c/sum)
c/scaled = Mul(c/depthwise, c/rsqrt)
c/shift = Mul(p/read, c/rsqrt)
c/offset = Sub(p/read, c/shift)
c/bn = Add(c/scaled, c/offset)
c/Relu = Relu6(c/bn)
volume = Conv3D(c/Relu, b/w/read)
late = FusedBatchNorm(volume, p/read, p/read, p/read, p/read) {is_training: false}
rows = Const {value: [-1, 4]}
flat = Reshape(late, rows)
d/w = VariableV2 {shape: [4, 4]}
d/w/read = Identity(d/w)
d/MatMul = MatMul(flat, d/w/read)
scores = BiasAdd(d/MatMul, p/read)
gated = Mul(c/Relu, x)
out = Sub(scores, gated)
"""


def _plan(text: str = MODEL, **settings: object) -> Plan:
    return build_plan(Graph(parse(text)), contrib(**settings), source_sha256="ab12")


def _scopes(plan: Plan) -> dict[str, str]:
    return {item.scope: item.tensor for item in plan.quantizers}


def test_the_whole() -> None:
    plan = _plan()
    assert _scopes(plan) == {
        "b/weights_quant": "b/w/read:0",
        "act_quant": "join/Relu:0",
        "b/conv_quant": "b/BiasAdd:0",
        "a/weights_quant": "a/w/read:0",
        "a/act_quant": "a/Relu:0",
        "c/weights_quant": "c/w/read:0",
        "c/act_quant": "c/Relu:0",
        "d/weights_quant": "d/w/read:0",
        "d/act_quant": "scores:0",
        "gated/activation_Mul_quant": "gated:0",
    }
    assert [(item.output, item.rule) for item in plan.folds] == [
        ("a/bn:0", "fused_batch_norm"), ("c/bn:0", "unfused_batch_norm"),
    ]  # fmt: skip
    assert {(entry.kind, entry.name, entry.code) for entry in declined(plan)} == {
        ("layer", "volume", "layer-not-quantizable"), ("batch_norm", "late", "batch-norm-not-after-layer"),
    }  # fmt: skip
    assert (plan.layers, plan.outputs, plan.source_sha256) == (5, ("out:0",), "ab12")
    assert all(item.id == f"quantize:{item.scope}" for item in plan.quantizers)
    assert len({item.id for item in plan.quantizers} | {item.id for item in plan.folds}) == 12


def test_planning_changes_nothing() -> None:
    graph_def = parse(MODEL)
    before = graph_def.SerializeToString(deterministic=True)
    first = build_plan(Graph(graph_def), contrib(), source_sha256="ab12")
    assert graph_def.SerializeToString(deterministic=True) == before
    assert build_plan(Graph(graph_def), contrib(), source_sha256="ab12") == first


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_equal_rules_does_not_matter(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    expected = _plan()
    generator = random.Random(seed)

    def shuffled(phase: Phase) -> list[GraphRule]:
        rules = list(rules_of(phase))
        generator.shuffle(rules)
        return sorted(rules, key=lambda rule: rule.rank)

    monkeypatch.setattr(build, "rules_of", shuffled)
    plan = _plan()
    assert sorted(plan.left_out, key=str) == sorted(expected.left_out, key=str)
    assert msgspec.structs.replace(plan, left_out=expected.left_out) == expected


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_nodes_decides_names_only(seed: int) -> None:
    """Nodes may come in any order in a GraphDef; what is quantized stays the same."""
    graph_def = parse(MODEL)
    nodes = list(graph_def.node)
    random.Random(seed).shuffle(nodes)
    shuffled = build_plan(Graph(GraphDef(node=nodes)), contrib(), source_sha256="ab12")
    assert set(_scopes(shuffled).values()) == set(_scopes(_plan()).values())
    assert {item.output for item in shuffled.folds} == {"a/bn:0", "c/bn:0"}
    assert set(shuffled.left_out) == set(_plan().left_out)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"freeze_bn_delay": 7, "quant_delay": 3},
        {"weights": contrib_weights(granularity="per_channel", symmetric=True, bits=4)},
        {"rules": (Rule(selector=Selector(ops=("MatMul",)), quantize=False, because="float", origin="c:1"),)},
    ],
)
def test_a_plan_survives_json(settings: dict[str, object]) -> None:
    plan = _plan(MODEL + "d/x = Const {value: [0.1]}\n", **settings)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert plan_from_json(plan_to_json(plan), "plan.json") == plan
    assert plan_to_json(plan) == plan_to_json(plan_from_json(plan_to_json(plan), "plan.json"))


@pytest.mark.parametrize(
    ("data", "code"),
    [(data, "plan-unreadable") for data in (b"{}", b"no json", b"[1]", b'{"tool_version": "\xff"}', b"[" * 10**5)],
)
def test_what_is_no_plan(data: bytes, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_from_json(data, "p.json")
    assert (caught.value.code, caught.value.where) == (code, "p.json")


def test_an_edited_plan_is_refused() -> None:
    data = plan_to_json(_plan())
    for edited in (data.replace(b'"bits": 8', b'"bits": 7'), data.replace(b'"digest"', b'"other"')):
        assert edited != data
        with pytest.raises(ConfigError, match="changed after it was made") as caught:
            plan_from_json(edited, "p.json")
        assert caught.value.code == "plan-unreadable"
    plan_from_json(data.replace(b"\n", b"\r\n"), "p.json")


def test_a_plan_of_another_format_is_refused() -> None:
    other = msgspec.structs.replace(_plan(), schema_version=99)
    with pytest.raises(ConfigError, match="format version 99") as caught:
        plan_from_json(plan_to_json(other), "p.json")
    assert caught.value.code == "plan-mismatch"


def test_constant_weights_have_their_range_in_the_plan() -> None:
    text = "x = Placeholder {shape: [?, 4]}\nw = Const {value: [[-0.5, 0.25], [0.125, 2.0]]}\nm = MatMul(x, w)\n"
    (weights, _) = _plan(text).quantizers
    assert (weights.range.source, weights.range.minimum, weights.range.maximum) == (
        "constant",
        (-0.5,),
        (2.0,),
    )
    conv = text.replace(
        "Const {value: [[-0.5, 0.25], [0.125, 2.0]]}", "Const {value: [[[[-0.5, 0.25], [0.125, 2.0]]]]}"
    )
    settings = contrib_weights(granularity="per_channel", symmetric=True)
    (weights, _) = _plan(conv.replace("MatMul", "Conv2D"), weights=settings).quantizers
    assert (weights.range.minimum, weights.range.maximum) == ((-0.5, -2.0), (0.5, 2.0))


FROZEN = """
x = Placeholder {shape: [?, 8, 8, 2]}
gamma = Const {value: [2.0, -1.0]}
beta = Const {value: [0.0, 0.0]}
mean = Const {value: [0.5, 0.5]}
variance = Const {value: [4.0, 0.25]}
"""


@pytest.mark.parametrize(
    ("layer", "low", "high"),
    [
        ("w = Const {value: [[[[1.0, 2.0], [-3.0, 4.0]]]]}\nc = Conv2D(x, w)\n", -8.0, 2.0 * 0.5),
        ("w = Const {value: [[[[1.0], [-3.0]]]]}\nc = DepthwiseConv2dNative(x, w)\n", 0.0, 6.0),
        ("w = Const {value: [[1.0, 2.0], [-3.0, 4.0]]}\nc = MatMul(x, w)\n", -8.0, 1.0),
        ("w = Const {value: [[1.0, -3.0], [2.0, 4.0]]}\nc = MatMul(x, w) {transpose_b: true}\n", -8.0, 1.0),
    ],
)
def test_folded_constant_weights_have_the_range_of_their_product(layer: str, low: float, high: float) -> None:
    """The scale is gamma / sqrt(variance + epsilon) = [1, -2]."""
    text = FROZEN + layer
    text += "bn = FusedBatchNormV3(c, gamma, beta, mean, variance) {is_training: false, epsilon: 1e-12}\n"
    plan = _plan(text)
    assert len(plan.folds) == 1
    weights = plan.quantizers[0]
    assert weights.range.source == "constant"
    assert weights.range.minimum == pytest.approx((low,), rel=1e-6)
    assert weights.range.maximum == pytest.approx((high,), rel=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        "w = Const {value: 0.5, shape: [3, 2, 4]}\nzero = Const {value: 0}\nk = ExpandDims(w, zero)\n",
        "w = Const {value: 0.5, shape: [1, 1, 2, 4], dtype: half}\nk = Cast(w) {SrcT: half}\n",
        "w = Const {value: 0.5, shape: [1, 1, 2, 2]}\naxis = Const {value: 3}\nk = ConcatV2(w, w, axis)\n",
    ],
)
def test_constant_weights_in_frozen_graphs_need_no_variables(weights: str) -> None:
    plan = _plan("x = Placeholder {shape: [?, 8, 8, 2]}\n" + weights + "c = Conv2D(x, k)\n")
    assert plan.quantizers[0].range.source == "constant"
    assert plan.quantizers[0].range.maximum == (0.5,)


def test_settings_reach_the_items() -> None:
    weights, activations = contrib_weights(bits=4, symmetric=True), ActivationSettings(bits=6, ema_decay=0.5)
    for item in _plan(weights=weights, activations=activations, quant_delay=9).quantizers:
        assert item.delay == 9
        if item.role == "weights":
            assert item.scheme == Scheme(bits=4, symmetric=True, narrow_range=True)
        else:
            assert item.scheme == Scheme(bits=6, symmetric=False, narrow_range=False)
            assert item.range.decay == 0.5


def test_rules_of_the_config() -> None:
    rules = (
        Rule(selector=Selector(name="b/**"), weights=WeightOverrides(bits=4), origin="c.yaml:3"),
        Rule(selector=Selector(ops=("MatMul",)), quantize=False, because="kept float", origin="c.yaml:4"),
        Rule(selector=Selector(name="c/w"), weights=WeightOverrides(bits=5), origin="c.yaml:5"),  # by its variable
        Rule(selector=Selector(name="nowhere/**"), quantize=False, origin="c.yaml:6"),
        Rule(selector=Selector(name="gated"), quantize=False, origin="c.yaml:7"),
    )
    plan = _plan(rules=rules)
    weights = {item.scope: (item.scheme.bits, item.because) for item in plan.quantizers if item.role == "weights"}
    assert weights == {
        "a/weights_quant": (8, None), "b/weights_quant": (4, "c.yaml:3"), "c/weights_quant": (5, "c.yaml:5"),
    }  # fmt: skip
    excluded = [entry for entry in plan.left_out if entry.code == "excluded-by-config"]
    assert [(entry.kind, entry.name, entry.reason, entry.because) for entry in excluded] == [
        ("layer", "d/MatMul", "kept float", "c.yaml:4"),
        ("tensor", "gated:0", "a rule of the config leaves it float", "c.yaml:7"),
    ]
    unmatched = [note.text for note in plan.notes if note.code == "selector-matches-nothing"]
    assert len(unmatched) == 1
    assert unmatched[0].startswith("c.yaml:6")


def test_an_excluded_layer_keeps_its_batch_norm() -> None:
    rule = Rule(selector=Selector(name="a/Conv2D"), quantize=False, origin="c.yaml:1")
    plan = _plan(rules=(rule,))
    assert [item.output for item in plan.folds] == ["c/bn:0"]
    assert not {"a/weights_quant", "a/act_quant"} & _scopes(plan).keys()
    assert [entry.name for entry in plan.left_out if entry.code == "excluded-by-config"] == ["a/Conv2D"]
    assert not [entry for entry in plan.left_out if entry.name == "a/bn"]


def test_scope() -> None:
    plan = _plan(scope="c")
    assert set(_scopes(plan)) == {"c/weights_quant", "c/act_quant"}
    outside = {entry.name for entry in plan.left_out if entry.code == "outside-scope" and entry.kind == "layer"}
    assert outside == {"a/Conv2D", "b/Conv2D", "d/MatMul"}
    assert _plan(scope="c/").quantizers == plan.quantizers


def test_a_scope_without_nodes_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        _plan(scope="nowhere")
    assert (caught.value.code, caught.value.where) == ("scope-matches-nothing", "scope")


def test_per_channel_weights() -> None:
    plan = _plan(weights=contrib_weights(granularity="per_channel"))
    found = {
        item.scope: (item.scheme.granularity, item.weight_shape) for item in plan.quantizers if item.role == "weights"
    }
    assert found == {
        "a/weights_quant": ("per_channel", (1, 1, 3, 4)),
        "b/weights_quant": ("per_channel", (1, 1, 4, 4)),
        "c/weights_quant": ("per_channel", (3, 3, 4, 1)),
        "d/weights_quant": ("per_channel", (4, 4)),
    }
    assert all(item.scheme.granularity == "per_tensor" for item in plan.quantizers if item.role != "weights")
    assert not [note for note in plan.notes if note.code == "per-channel-unavailable"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            MODEL.replace("MatMul(flat, d/w/read)", "MatMul(flat, d/w/read) {transpose_b: true}"),
            "not the last axis",
        ),
        (MODEL.replace("MatMul(flat, d/w/read)", "MatMul(d/w/read, flat)"), "not the last axis"),
        (MODEL.replace("d/w = VariableV2 {shape: [4, 4]}", "d/w = VariableV2 {shape: ?}"), "unknown"),
        (MODEL.replace("d/w = VariableV2 {shape: [4, 4]}", "d/w = VariableV2 {shape: [?, 4]}"), "unknown"),
    ],
)
def test_per_channel_falls_back_with_a_note(text: str, why: str) -> None:
    plan = _plan(text, weights=contrib_weights(granularity="per_channel"))
    (weights,) = [item for item in plan.quantizers if item.scope == "d/weights_quant"]
    assert (weights.scheme.granularity, weights.weight_shape) == ("per_tensor", ())
    (note,) = [note for note in plan.notes if note.code == "per-channel-unavailable"]
    assert note.text.startswith("d/MatMul:")
    assert why in note.text


def test_shared_weights_under_two_schemes_have_two_quantizers() -> None:
    text = MODEL.replace("MatMul(flat, d/w/read)", "Conv2D(flat, b/w/read)").replace("d/MatMul", "d/Conv2D")
    shared = [item for item in _plan(text).quantizers if item.tensor == "b/w/read:0"]
    assert [item.edges for item in shared] == [("b/Conv2D:in1", "d/Conv2D:in1")]
    rule = Rule(selector=Selector(name="d/**"), weights=WeightOverrides(bits=4), origin="c.yaml:1")
    split = [item for item in _plan(text, rules=(rule,)).quantizers if item.tensor == "b/w/read:0"]
    assert [(item.scheme.bits, item.edges) for item in split] == [
        (8, ("b/Conv2D:in1",)),
        (4, ("d/Conv2D:in1",)),
    ]


def test_outputs_of_the_config_go_first() -> None:
    graph = Graph(parse(MODEL))
    public = ("scores:0",)
    assert build_plan(graph, contrib(), source_sha256="", public_outputs=public).outputs == public
    named = contrib(outputs=("c/Relu", "scores:0"))
    assert build_plan(graph, named, source_sha256="", public_outputs=("out:0",)).outputs == (
        "c/Relu:0",
        "scores:0",
    )


def test_an_output_that_nothing_reads_is_noted() -> None:
    plan = _plan("x = Placeholder\nw = VariableV2\nc = Conv2D(x, w)\nout = Relu(c)\n")
    assert [(note.code, note.text.partition(": ")[0]) for note in plan.notes] == [("output-not-quantized", "out:0")]
    assert not [note for note in _plan().notes if note.code == "output-not-quantized"]


def test_kind_of_variables() -> None:
    assert not _plan().resource_variables
    resource = "x = Placeholder\nw = VarHandleOp\nr = ReadVariableOp(w)\nc = Conv2D(x, r)\n"
    assert _plan(resource).resource_variables
    assert _plan("x = Placeholder\nw = Const {value: 1.0}\nc = Conv2D(x, w)\n").resource_variables


LOOP = """
x = Placeholder
w = VariableV2
c = Conv2D(x, w)
loop = While(c)
out = Identity(loop)
other = While(x)
"""


def test_layers_inside_functions_are_listed() -> None:
    """Those that the outputs run, each once, with the node that runs them."""
    graph_def = parse(LOOP)
    for name, calls in (("body", "inner"), ("inner", "inner"), ("unread", "inner")):
        function = graph_def.library.function.add()
        function.signature.name = name
        function.node_def.add(name="scope/Conv2D", op="Conv2D")
        function.node_def.add(name="scope/Relu", op="Relu")
        function.node_def.add(name="call", op="PartitionedCall").attr["f"].func.name = calls
    for node in graph_def.node:
        if node.op == "While":
            node.attr["body"].func.name = "unread" if node.name == "other" else "body"
    plan = build_plan(Graph(graph_def), contrib(outputs=("out:0",)), source_sha256="")
    found = [entry for entry in plan.left_out if entry.code == "inside-function"]
    assert [(entry.kind, entry.name, entry.op, entry.function) for entry in found] == [
        ("layer", "body/scope/Conv2D", "Conv2D", "body"),
        ("layer", "inner/scope/Conv2D", "Conv2D", "inner"),
    ]
    assert found[1].reason == "it is in the body of the function 'inner', which loop (While) runs through 'body'"
    assert plan.layers == 3


def test_items_say_in_which_function_they_stood() -> None:
    graph_def = parse(MODEL)
    for node in graph_def.node:
        if node.name.startswith(("a/", "volume")):
            node.experimental_debug_info.original_func_names.append("f")
    plan = build_plan(Graph(graph_def), contrib(), source_sha256="")
    assert {item.function for item in plan.folds if item.layer == "a/Conv2D"} == {"f"}
    assert {item.scope for item in plan.quantizers if item.function} == {"a/weights_quant", "a/act_quant"}
    assert {entry.name for entry in plan.left_out if entry.function} == {"volume"}
    assert plan_from_json(plan_to_json(plan), "plan.json") == plan


def test_empty_graphs() -> None:
    with pytest.raises(ConfigError) as caught:
        build_plan(Graph(GraphDef()), contrib(), source_sha256="")
    assert caught.value.code == "outputs-none"
    plan = _plan("x = Placeholder\nout = Neg(x)\n")
    assert (plan.folds, plan.quantizers, plan.left_out, plan.notes, plan.layers) == ((), (), (), (), 0)


@pytest.mark.parametrize(
    ("more", "error", "code"),
    [
        ("g = ReluGrad(a/Relu, a/Relu)\n", Refusal, "graph-has-gradients"),
        ('fqrewrite/provenance = Const {value: "x"}\n', Refusal, "already-rewritten"),
        ("one = Neg(two)\ntwo = Neg(one)\n", GraphError, "graph-cycle"),
        ("other = Neg(scores)\n", ConfigError, "outputs-ambiguous"),
    ],
)
def test_refusals(more: str, error: type[Exception], code: str) -> None:
    with pytest.raises(error) as caught:
        _plan(MODEL + more)
    assert getattr(caught.value, "code", None) == code
