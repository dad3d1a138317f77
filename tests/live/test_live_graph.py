"""What rewriting in place means for the graph, its collections and whoever holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from graphs import batch_norm, layer, two_layers, variable
from live_graphs import live_graph
from numeric import session_config, tf1
from phases import PHASE, SHAPE, fused
from tensorflow.python.eager.context import eager_mode

from fqrewrite import tf1 as quantize
from fqrewrite.errors import ConfigError, FqrewriteError, Refusal

FEED = np.random.RandomState(0).normal(0.3, 1.0, (4, 8, 8, 3)).astype(np.float32)


def _graph(*, training: bool = True, resource: bool = False) -> Any:
    return live_graph(two_layers(resource=resource, training=training).meta)


def _minimize(graph: Any) -> Any:
    with graph.as_default():
        return tf1.train.GradientDescentOptimizer(0.01).minimize(graph.get_tensor_by_name("loss:0"))


def _with_gradients() -> Any:
    graph = _graph()
    _minimize(graph)
    return graph


def _rewritten() -> Any:
    graph = _graph()
    quantize.create_training_graph(graph)
    return graph


def _finalized() -> Any:
    graph = _graph()
    graph.finalize()
    return graph


def _without_layers() -> Any:
    graph = tf1.Graph()
    with graph.as_default():
        tf1.nn.relu(tf1.placeholder(tf1.float32, (2, 2)), name="output")
    return graph


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (_with_gradients, "graph-has-gradients"),
    (_rewritten, "already-rewritten"),
    (_finalized, "graph-not-live"),
    (_without_layers, "nothing-quantized"),
    (lambda: "graph.pb", "graph-not-live"),
]


@pytest.mark.parametrize("create", [quantize.create_training_graph, quantize.create_eval_graph])
@pytest.mark.parametrize(("build", "code"), REFUSED, ids=[code for _, code in REFUSED])
def test_what_is_refused_stays_as_it_is(create: Callable[..., Any], build: Callable[[], Any], code: str) -> None:
    graph = build()
    before = graph.as_graph_def() if isinstance(graph, tf1.Graph) else graph
    with pytest.raises(FqrewriteError) as caught:
        create(graph)
    assert caught.value.code == code
    assert (graph.as_graph_def() if isinstance(graph, tf1.Graph) else graph) == before


def test_a_graph_beside_eager_execution() -> None:
    """As TensorFlow 2 has it outside of `with graph.as_default()`: no default graph, but a graph can be given."""
    graph = _graph()
    with eager_mode():
        with pytest.raises(ConfigError) as caught:
            quantize.create_training_graph()
        assert caught.value.code == "graph-not-live"
        assert quantize.create_training_graph(graph).summary.layers_quantized == 3


def test_the_remedy_speaks_of_graphs() -> None:
    with pytest.raises(Refusal) as caught:
        quantize.create_training_graph(_with_gradients())
    assert caught.value.remedy is not None
    assert "--strip-training" not in caught.value.remedy


def test_the_default_graph_is_meant_and_scopes_around_the_call_have_no_part() -> None:
    with _graph().as_default() as graph, tf1.name_scope("outer"), tf1.device("/device:CPU:1"):
        flag = tf1.constant(0.0, name="flag")
        with tf1.control_dependencies([flag]), tf1.variable_scope("variables"):
            report = quantize.create_training_graph()
    new = [op for op in graph.get_operations() if "_quant" in op.name]
    assert len(new) > 50
    assert not any(op.name.startswith("outer/") or flag.op in op.control_inputs for op in new)
    assert not any("CPU:1" in op.device for op in new)
    assert report.summary.layers_quantized == 3


@pytest.mark.parametrize("resource", [False, True])
def test_new_variables_are_variables(resource: bool) -> None:
    graph = _graph(resource=resource)
    old = {entry.name for entry in graph.get_collection("variables")}
    trainable = list(graph.get_collection("trainable_variables"))
    report = quantize.create_training_graph(graph, quant_delay=2)
    new = [entry for entry in graph.get_collection("variables") if entry.name not in old]
    assert len(new) == report.summary.variables_created
    assert {type(entry).__name__ for entry in new} == {"ResourceVariable" if resource else "RefVariable"}
    assert graph.get_collection("trainable_variables") == trainable
    step = _minimize(graph)
    with graph.as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.global_variables_initializer())
        for _ in range(3):
            session.run([step, *graph.get_collection("update_ops")], {"input:0": FEED})
        values = dict(zip([entry.op.name for entry in new], session.run(new), strict=True))
    assert values["fake_quantization_step"] == 3
    assert values["conv/act_quant/max"] > 0
    assert values["conv/act_quant/max"] != 6


def test_training_checkpoints_restore_into_the_eval_graph(tmp_path: Any) -> None:
    training = _graph()
    quantize.create_training_graph(training)
    step = _minimize(training)
    with training.as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.global_variables_initializer())
        for _ in range(5):
            session.run([step, *training.get_collection("update_ops")], {"input:0": FEED})
        tf1.train.Saver().save(session, str(tmp_path / "ckpt"))
        learned = session.run("conv/act_quant/max:0")
    inference = _graph(training=False)
    quantize.create_eval_graph(inference)
    with inference.as_default(), tf1.Session(config=session_config()) as session:
        tf1.train.Saver().restore(session, str(tmp_path / "ckpt"))
        assert session.run("conv/act_quant/max:0") == learned
        frozen = tf1.graph_util.convert_variables_to_constants(session, inference.as_graph_def(), ["output"])
        wanted = session.run("output:0", {"input:0": FEED})
    with tf1.Graph().as_default() as graph:
        tf1.import_graph_def(frozen, name="")
        assert not [op for op in graph.get_operations() if op.type in ("VariableV2", "VarHandleOp")]
        with tf1.Session(config=session_config()) as session:
            np.testing.assert_array_equal(session.run("output:0", {"input:0": FEED}), wanted)


def test_several_results_need_not_be_told_apart() -> None:
    """Losses, metrics and summaries hang on a training graph; contrib's placement does not depend on them."""
    graph = _graph()
    with graph.as_default():
        graph.clear_collection("outputs")
        tf1.reduce_max(graph.get_tensor_by_name("output:0"), name="metric")
    report = quantize.create_training_graph(graph)
    assert set(report.plan.outputs) == {"loss:0", "metric:0"}
    with pytest.raises(ConfigError) as caught:
        quantize.create_training_graph(_with_metric(), config={"preset": "tflite-int8"})
    assert caught.value.code == "outputs-ambiguous"


def _with_metric() -> Any:
    graph = _graph()
    with graph.as_default():
        graph.clear_collection("outputs")
        tf1.reduce_max(graph.get_tensor_by_name("output:0"), name="metric")
    return graph


def test_metrics_on_an_eval_graph_read_the_quantized_logits() -> None:
    graph = tf1.Graph()
    with graph.as_default():
        x, labels = tf1.placeholder(tf1.float32, (2, 5), name="input"), tf1.placeholder(tf1.int64, (2,), name="labels")
        with tf1.variable_scope("logits"):
            y = tf1.nn.bias_add(layer("matmul", x, 3, False), variable("biases", (3,), False), name="BiasAdd")
        right = tf1.cast(tf1.equal(tf1.argmax(y, 1), labels), tf1.float32)
        tf1.reduce_mean(right, name="accuracy")
        tf1.losses.sparse_softmax_cross_entropy(labels, y)
    quantize.create_eval_graph(graph)
    quantized = graph.get_tensor_by_name("logits/act_quant/FakeQuantWithMinMaxVars:0")
    readers = {op.type for op in quantized.consumers()}
    assert readers == {"ArgMax", "SparseSoftmaxCrossEntropyWithLogits"}


def test_an_output_keeps_its_operation_and_gets_a_successor() -> None:
    """Where a file has the quantized tensor under the output's name, the live graph has it beside, and says so."""
    graph = tf1.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf1.float32, (2, 8, 8, 3), name="input")
        tf1.add_to_collection("outputs", tf1.nn.relu(layer("conv", x, 3, False), name="output"))
    report = quantize.create_eval_graph(graph, config={"preset": "tflite-int8"})
    assert report.outputs == ("output/rewritten:0",)
    assert "output-beside" in [note.code for note in report.notes]
    assert graph.get_collection("outputs") == [graph.get_tensor_by_name("output/rewritten:0")]


@pytest.mark.parametrize("training", [True, False])
def test_a_switch_between_training_and_inference(training: bool) -> None:
    graph = tf1.Graph()
    with graph.as_default():
        phase = tf1.placeholder_with_default(False, (), name=PHASE)
        x = tf1.placeholder(tf1.float32, SHAPE, name="input")
        with tf1.variable_scope("conv"):
            y = tf1.nn.relu(fused(layer("conv", x, 4, False), phase))
        tf1.reduce_mean(y, name="output")
    create = quantize.create_training_graph if training else quantize.create_eval_graph
    report = create(graph)
    assert report.changes is not None
    assert report.changes.phases == (PHASE,)
    assert report.summary.folds == 1
    feed = {x: np.ones(SHAPE, np.float32), phase: not training}  # has no effect any more
    with graph.as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.global_variables_initializer())
        updates = graph.get_collection("update_ops")
        result, *_ = session.run(["output:0", *(updates if training else [])], feed)
        moved = session.run("conv/moving_mean:0")
    assert np.isfinite(result)
    assert bool(np.any(moved)) == training


def test_settings_of_the_experimental_functions() -> None:
    graph = tf1.Graph()
    with graph.as_default():
        y = tf1.placeholder(tf1.float32, (2, 8, 8, 3), name="input")
        for scope in ("first", "second"):
            with tf1.variable_scope(scope):
                y = layer("conv", y, 3, False)
                with tf1.variable_scope("BatchNorm"):
                    y = batch_norm(y, False, fused=True, training=True)
                y = tf1.nn.relu(y)
        tf1.reduce_mean(y, name="loss")
    report = quantize.experimental_create_training_graph(
        graph, weight_bits=4, activation_bits=6, symmetric=True, quant_delay=7, freeze_bn_delay=9, scope="second"
    )
    quantizers = {item.role: item for item in report.inserted}
    assert all(item.node.startswith("second/") for item in report.inserted)
    assert (quantizers["weights"].bits, quantizers["activation"].bits) == (4, 6)
    assert all(item.symmetric and item.delay == 7 for item in report.inserted)
    assert {fold.freeze_delay for fold in report.folds} == {9}


def test_a_config_without_preset_starts_from_contrib() -> None:
    report = quantize.create_training_graph(_graph(), config={"quant_delay": 5})
    assert report.config["preset"] == "contrib"
    assert {item.delay for item in report.inserted} == {5}
    report = quantize.create_training_graph(_graph(), 3, config={"quant_delay": 5})
    assert {item.delay for item in report.inserted} == {3}


def test_layers_in_a_function_are_inlined() -> None:
    graph = tf1.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf1.float32, (2, 5), name="input")
        weights = variable("weights", (5, 3), True)

        dense = tf.function(lambda value: tf1.nn.relu(tf1.matmul(value, weights)))
        result = tf1.identity(dense(x), name="output")
    feed = {x: np.random.RandomState(0).normal(0.0, 1.0, (2, 5)).astype(np.float32)}
    report = quantize.create_training_graph(graph)
    assert report.summary.layers_quantized == 1
    with graph.as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.global_variables_initializer())
        wanted = session.run(tf1.nn.relu(tf1.matmul(x, weights)), feed)
        np.testing.assert_allclose(session.run(result, feed), wanted, atol=0.1)
        maximum = next(entry for entry in graph.get_collection("variables") if entry.name == "act_quant/max:0")
        assert 0 < session.run(maximum) < 6
