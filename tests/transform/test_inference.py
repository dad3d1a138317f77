"""Training graphs turned into inference mode compute what the same graph built for inference computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from graphs import EPSILON, KINDS, Kind, Net, one_layer, two_layers, variable
from numeric import RTOL_EVAL, deviation, parse, run, tf1

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse as parse_text
from fqrewrite.ir.topology import topological_order
from fqrewrite.proto import MetaGraphDef
from fqrewrite.transform.inference import Inference, cut_updates, to_inference

Norm = Literal["fused", "unfused"]
SHAPE = (3, 4, 5, 2)


def converted(meta: bytes, outputs: tuple[str, ...] = ()) -> tuple[Any, Inference]:
    """TensorFlow's MetaGraphDef of the graph in inference mode, and what was done."""
    ours = MetaGraphDef.FromString(meta)
    graph = Graph(ours.graph_def)
    done = to_inference(graph, Editor(graph), [graph.value(name) for name in outputs])
    topological_order(graph)
    return parse(ours.SerializeToString()), done


def assert_inference(training: Net, inference: Net) -> None:
    """One batch norm is converted, the outputs agree, and running the graph leaves the variables alone."""
    meta, done = converted(training.meta)
    assert (len(done.batch_norms), done.not_converted) == (1, ())
    feeds = training.feeds(2)
    got, want = run(meta, feeds, ["output:0"]), run(parse(inference.meta), feeds, ["output:0"])
    before = run(parse(training.meta), feeds, ["output:0"])
    for step in (0, 1):
        assert deviation(got[step].values["output:0"], want[step].values["output:0"]) <= RTOL_EVAL
    assert deviation(before[0].values["output:0"], want[0].values["output:0"]) > 0.01
    for name, value in got[1].variables.items():
        assert (value == got[0].variables[name]).all(), name


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer(kind: Kind, norm: Norm) -> None:
    assert_inference(one_layer(kind, norm=norm), one_layer(kind, norm=norm, training=False))


@pytest.mark.parametrize("norm", ["fused", "unfused"])
@pytest.mark.parametrize(
    "variant",
    [
        {"force_updates": True},
        {"force_updates": True, "resource": True},
        {"assign": True, "bias": True},
        {"gamma": False, "beta": False},
        {"activation": "none", "resource": True},
    ],
    ids=str,
)
def test_variants(variant: dict[str, Any], norm: Norm) -> None:
    assert_inference(
        one_layer("conv", norm=norm, **variant),
        one_layer("conv", norm=norm, training=False, **{**variant, "force_updates": False}),
    )


def test_statistics_that_keep_their_dimensions() -> None:
    kept: dict[str, Any] = {"norm": "unfused", "keep_dims": True}
    assert_inference(one_layer("conv", **kept), one_layer("conv", training=False, **kept))


def test_several_layers() -> None:
    meta, done = converted(two_layers(resource=True).meta)
    assert len(done.batch_norms) == 2
    inference = two_layers(resource=True, training=False)
    got, want = (
        run(meta, inference.feeds(1), ["output:0"]),
        run(parse(inference.meta), inference.feeds(1), ["output:0"]),
    )
    assert deviation(got[0].values["output:0"], want[0].values["output:0"]) <= RTOL_EVAL


def built(build: Callable[[Any], Any]) -> bytes:
    """The MetaGraphDef of a function from ``input:0`` to ``output:0``."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        tf1.identity(build(tf1.placeholder(tf1.float32, SHAPE, name="input")), name="output")
        return bytes(tf1.train.export_meta_graph(graph=graph).SerializeToString())


def output(meta: Any, feed: dict[str, Any] | None = None) -> Any:
    values = {"input:0": np.random.RandomState(2).normal(0.4, 1.0, SHAPE).astype(np.float32), **(feed or {})}
    return run(meta, [values], ["output:0"])[0].values["output:0"]


def channels_first(*, training: bool, reshaped: bool) -> bytes:
    """A batch norm in pieces over axis 1, whose moving averages are flat."""
    channels, shape = SHAPE[1], (1, SHAPE[1], 1, 1)

    def build(x: Any) -> Any:
        mean, variance = (variable(name, (channels,), False, trainable=False) for name in ("mean", "variance"))
        batch = tf1.nn.moments(x, [0, 2, 3], keepdims=not reshaped)
        for moving, value in zip((mean, variance), batch, strict=True):
            flat = value if reshaped else tf1.squeeze(value)
            tf1.assign_sub(moving, (moving - flat) * 0.1)
        used = batch if training else (mean, variance)
        if reshaped or not training:
            used = tuple(tf1.reshape(value, shape) for value in used)
        return tf1.nn.batch_normalization(x, *used, None, None, EPSILON)

    return built(build)


@pytest.mark.parametrize("reshaped", [False, True])
def test_channels_that_are_not_the_last_axis(reshaped: bool) -> None:
    meta, done = converted(channels_first(training=True, reshaped=reshaped))
    assert len(done.batch_norms) == 1
    want = output(parse(channels_first(training=False, reshaped=reshaped)))
    assert deviation(output(meta), want) <= RTOL_EVAL


def test_running_averages_of_a_fused_batch_norm() -> None:
    def build(x: Any, *, training: bool) -> Any:
        channels = SHAPE[-1]
        mean, variance = (variable(name, (channels,), True, trainable=False) for name in ("mean", "variance"))
        factor = {"exponential_avg_factor": 0.25} if training else {}
        y, new_mean, new_variance, *_ = tf1.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf1.ones([channels]),
            offset=tf1.zeros([channels]),
            mean=mean,
            variance=variance,
            is_training=training,
            **factor,
        )
        with tf1.control_dependencies([mean.assign(new_mean), variance.assign(new_variance)] if training else []):
            return y + new_mean

    meta, done = converted(built(lambda x: build(x, training=True)))
    assert len(done.batch_norms) == 1
    want = output(parse(built(lambda x: build(x, training=False))))
    assert deviation(output(meta), want) <= RTOL_EVAL


def test_float16_in_pieces_takes_float32_averages() -> None:
    def build(x: Any, *, training: bool) -> Any:
        half = tf1.cast(x, tf1.float16)
        moving = [variable(name, (SHAPE[-1],), False, trainable=False) for name in ("mean", "variance")]
        batch = tf1.nn.moments(half, [0, 1, 2])
        for average, value in zip(moving, batch, strict=True):
            tf1.assign_sub(average, (average - tf1.cast(value, tf1.float32)) * 0.1)
        used = batch if training else [tf1.cast(average, tf1.float16) for average in moving]
        return tf1.nn.batch_normalization(half, *used, None, None, EPSILON)

    meta, done = converted(built(lambda x: build(x, training=True)))
    assert len(done.batch_norms) == 1
    want = output(parse(built(lambda x: build(x, training=False))))
    assert (output(meta) == want).all()


DROPOUTS: dict[str, Callable[[Any], Any]] = {
    "rate": lambda x: tf1.nn.dropout(x, rate=0.4),
    "spatial": lambda x: tf1.nn.dropout(x, rate=0.4, noise_shape=[SHAPE[0], 1, 1, SHAPE[3]]),
    "placeholder": lambda x: tf1.nn.dropout(x, keep_prob=tf1.placeholder_with_default(0.6, [], name="keep")),
    "stateless": lambda x: tf1.nn.experimental.stateless_dropout(x, 0.4, seed=[1, 2]),
    "twice": lambda x: tf1.nn.dropout(tf1.nn.dropout(x, rate=0.4), rate=0.3),
    "old": lambda x: tf1.div(x, 0.6) * tf1.floor(tf1.random_uniform(tf1.shape(x), seed=1) + 0.6),
    "multiplied": lambda x: x * (1.0 / 0.6) * tf1.cast(tf1.random_uniform(SHAPE, seed=1) >= 0.4, tf1.float32),
    "gaussian": lambda x: x * tf1.random_normal(SHAPE, mean=1.0, stddev=0.5, seed=1),
    "weights": lambda x: tf1.tensordot(x, tf1.nn.dropout(variable("w", (SHAPE[3], 6), False), rate=0.4), 1),
}
WITHOUT: dict[str, Callable[[Any], Any]] = {
    "weights": lambda x: tf1.tensordot(x, variable("w", (SHAPE[3], 6), False), 1)
}


@pytest.mark.parametrize("form", DROPOUTS)
def test_dropout_hands_on_what_goes_in(form: str) -> None:
    training = built(DROPOUTS[form])
    meta, done = converted(training)
    assert len(done.dropouts) == (2 if form == "twice" else 1)
    want = output(parse(built(WITHOUT.get(form, lambda x: x))))
    assert (output(meta) == want).all()
    assert deviation(output(parse(training)), want) > 0.1


def test_a_dropout_that_is_fetched_keeps_its_name() -> None:
    meta, done = converted(built(lambda x: tf1.nn.dropout(x, rate=0.4, name="last")))
    (name,) = done.dropouts
    feed = {"input:0": np.ones(SHAPE, np.float32)}
    assert (run(meta, [feed], [f"{name}:0"])[0].values[f"{name}:0"] == 1.0).all()


def test_noise_stays() -> None:
    training = built(lambda x: x + tf1.random_normal(SHAPE, seed=1))
    meta, done = converted(training)
    assert done == Inference()
    assert (output(meta) == output(parse(training))).all()


VARIABLES = "x = Placeholder\ngamma = VariableV2 {shape: [4]}\nmean = VariableV2 {shape: [4]}\n"
BATCH = "bn = FusedBatchNorm(x, gamma, gamma, mean, mean) {is_training: true}\n"
AVERAGED = BATCH + "".join(
    f"{name}/read = Identity({name}, ^x)\nd{port} = Sub({name}/read, bn:{port})\na{port} = Mul(d{port}, rate)\n"
    f"u{port} = AssignSub({name}, a{port})\n"
    for name, port in (("mean", 1), ("gamma", 2))
)
RATE = "rate = Const {value: 0.1}\n"


def _done(text: str, *outputs: str) -> tuple[Graph, Inference]:
    graph = Graph(parse_text(VARIABLES + RATE + text))
    return graph, to_inference(graph, Editor(graph), [graph.value(name) for name in outputs])


def test_a_batch_norm_without_moving_averages_is_named() -> None:
    _, done = _done(BATCH + "y = Relu(bn)\n")
    assert [(entry.name, "moving averages" in entry.reason) for entry in done.not_converted] == [("bn", True)]
    assert done.batch_norms == ()


def test_what_the_outputs_do_not_need_is_left_alone() -> None:
    graph, done = _done(BATCH + "y = Relu(bn)\nz = Relu(x)\n", "z")
    assert done == Inference()
    assert graph.node("bn").proto.attr["is_training"].b


def test_batch_renormalization_is_named() -> None:
    text = """
        axes = Const {value: [0, 1, 2]}
        m = Mean(x, axes)
        difference = SquaredDifference(x, m)
        v = Mean(difference, axes)
        correction = Mul(v, gamma)
        sum = Add(v, rate)
        rsqrt = Rsqrt(sum)
        inverse = Mul(rsqrt, correction)
        scaled = Mul(x, inverse)
        shift = Mul(m, inverse)
        offset = Neg(shift)
        out = Add(scaled, offset)
    """
    _, done = _done(text)
    assert [(entry.name, "renormalization" in entry.reason) for entry in done.not_converted] == [("out", True)]


def test_one_inside_an_open_conditional_is_named() -> None:
    text = "phase = Placeholder {dtype: bool}\ns = Switch(x, phase)\n" + AVERAGED.replace("Norm(x,", "Norm(s:1,")
    _, done = _done(text)
    assert [entry.reason for entry in done.not_converted] == ["it is inside a conditional or a while loop"]


def test_averages_are_read_without_waiting() -> None:
    graph, done = _done(AVERAGED)
    assert done.batch_norms == ("bn",)
    node = graph.node("bn")
    reads = [operand.node for operand in node.inputs[3:]]
    assert [read.inputs[0].node.name for read in reads] == ["mean", "gamma"]
    assert [read.controls for read in reads] == [[], []]
    assert "d1" in {consumer.name for consumer in reads[0].value().consumers()}  # the statistic is nobody's any more


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("u = AssignSub(mean, x)\ny = Identity(x, ^u)\n", []),
        ("u = ResourceApplyAdam(mean, x)\ny = Identity(x, ^u)\n", []),
        ("u = ScatterUpdate(mean, x, x)\ny = Identity(x, ^u)\n", []),
        ("u = AssignSub(mean, x)\ng = NoOp(^u)\nh = NoOp(^g)\ny = Identity(x, ^h)\n", []),
        ("u = AssignSub(mean, x)\nr = Identity(u)\ny = Identity(x, ^r)\n", []),
        ("u = AssignSub(mean, x)\nr = Identity(mean, ^u)\ny = Identity(x, ^r)\n", []),
        ("u = AssignSub(mean, x)\nz = Print(x, x)\ny = Identity(x, ^u, ^z)\n", ["z"]),
        ("u = AssignSub(mean, x)\nz = Print(x, x)\ng = NoOp(^u, ^z)\ny = Identity(x, ^g)\n", ["g"]),
        ("z = Switch(x, x)\np = Identity(z)\ny = Identity(x, ^p)\n", ["p"]),  # the pivot of a conditional
        ("z = ScatterNd(x, x, x)\ny = Identity(x, ^z)\n", ["z"]),
    ],
)
def test_only_updates_are_no_longer_waited_for(text: str, kept: list[str]) -> None:
    graph = Graph(parse_text(VARIABLES + text))
    cut_updates(Editor(graph), set(graph))
    assert [control.name for control in graph.node("y").controls] == kept
    assert not any(control.op == "AssignSub" for node in graph for control in node.controls)
