"""VariableDefs and collections for a bare GraphDef, and training in TensorFlow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from fqrewrite.errors import GraphError
from fqrewrite.model import collections, container
from fqrewrite.model.variables import find_variables
from fqrewrite.proto import GraphDef, MetaGraphDef, VariableDef

v1 = tf.compat.v1
VARIABLES = {"w", "b", "step", "average", "biased"}


def _training_graph(use_resource: bool, optimizer: bool = False) -> Any:
    """Weights, a bias, an int64 step, and a moving average that is updated by Assign from its own value."""
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(1)
        x = v1.placeholder(tf.float32, [None, 3], "x")
        with v1.variable_scope("", use_resource=use_resource):
            w = v1.get_variable("w", [3, 2], initializer=v1.truncated_normal_initializer(seed=2))
            b = v1.get_variable("b", [2], initializer=v1.zeros_initializer())
            step = v1.get_variable("step", [], tf.int64, v1.zeros_initializer(), trainable=False)
            average = v1.get_variable("average", [2], initializer=v1.zeros_initializer(), trainable=False)
            biased = v1.get_variable("biased", [2], initializer=v1.zeros_initializer(), trainable=False)
        y = tf.add(tf.matmul(x, w), b, name="y")
        mean = tf.reduce_mean(y, 0)
        v1.assign(average, average * 0.9 + mean * 0.1, name="update")
        v1.assign_sub(biased, (biased - mean) * 0.1, name="update_biased")
        v1.assign_add(step, 1, name="update_step")
        for variable in (w, b):  # as Keras sets weights
            v1.assign(variable, v1.placeholder(tf.float32, variable.shape), name=f"{variable.op.name}/set")
        loss = tf.reduce_mean(tf.square(y - 1.0), name="loss")
        if optimizer:
            v1.train.AdamOptimizer().minimize(loss)
        v1.train.Saver(name="saver")
        return graph, v1.train.export_meta_graph(graph=graph, clear_extraneous_savers=False)


def _definitions(meta_graph: Any, key: str) -> dict[str, Any]:
    parsed = [VariableDef.FromString(item) for item in meta_graph.collection_def[key].bytes_list.value]
    return {definition.variable_name: definition for definition in parsed}


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("optimizer", [False, True])
def test_collections_are_those_that_tensorflow_wrote(use_resource: bool, optimizer: bool) -> None:
    _, exported = _training_graph(use_resource, optimizer)
    expected = MetaGraphDef.FromString(exported.SerializeToString())
    rebuilt = MetaGraphDef(graph_def=expected.graph_def)
    found = collections.reconstruct(rebuilt)
    assert found.trainable == ("w", "b")
    assert set(found.other) >= VARIABLES - {"w", "b"}
    assert found.skipped == ()
    for key in ("variables", "trainable_variables"):
        theirs, ours = _definitions(expected, key), _definitions(rebuilt, key)
        assert ours.keys() == theirs.keys()
        for name, definition in theirs.items():
            for field in (
                "initializer_name",
                "initial_value_name",
                "snapshot_name",
                "is_resource",
                "trainable",
            ):
                assert getattr(ours[name], field) == getattr(definition, field), (name, field)


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_graph_def_saved_as_meta_trains_in_tensorflow(tmp_path: Path, use_resource: bool) -> None:
    graph, _ = _training_graph(use_resource)
    source, target = tmp_path / "model.pb", tmp_path / "model.meta"
    source.write_bytes(graph.as_graph_def().SerializeToString())
    container.save(container.load(source), target)

    with tf.Graph().as_default() as imported:
        saver = v1.train.import_meta_graph(str(target))
        assert {variable.op.name for variable in v1.global_variables()} == VARIABLES
        assert [variable.op.name for variable in v1.trainable_variables()] == ["w", "b"]
        train = v1.train.GradientDescentOptimizer(0.1).minimize(imported.get_tensor_by_name("loss:0"))
        inputs = {"x:0": np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)}
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            before = session.run("loss:0", inputs)
            for _ in range(50):
                session.run(train, inputs)
            after = session.run("loss:0", inputs)
            assert after < before / 2
            prefix = saver.save(session, str(tmp_path / "model.ckpt"))
            assert {name for name, _ in tf.train.list_variables(prefix)} == VARIABLES


@pytest.mark.parametrize("negated", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_statistics_of_a_batch_norm_in_inference_mode_are_not_trained(fused: bool, negated: bool) -> None:
    """Nothing updates them: only their place in the batch norm tells them from gamma and beta."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [1, 4, 4, 2])
        gamma, beta, mean, variance = (
            v1.get_variable(name, [2], initializer=v1.ones_initializer())
            for name in ("gamma", "beta", "mean", "variance")
        )
        if fused:
            v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False)
        else:
            tf.nn.batch_normalization(x, mean, variance, None if negated else beta, gamma, 1e-3)
    found = find_variables(GraphDef.FromString(graph.as_graph_def().SerializeToString()))
    assert {item.name: item.trainable for item in found} == {
        "gamma": True,
        "beta": True,
        "mean": False,
        "variance": False,
    }


def _found(text: str) -> Any:
    (found,) = find_variables(text_format.Parse(text, GraphDef()))
    return found


VARIABLE = """
node { name: "v" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "c" op: "Const" }
node { name: "p" op: "Placeholder" }
node { name: "read" op: "Identity" input: "v" }
node { name: "sum" op: "Add" input: "c" input: "p" }
"""


@pytest.mark.parametrize(
    ("writes", "initializer", "trainable"),
    [
        ('node { name: "i" op: "Assign" input: "v" input: "c" }', "i", True),
        # The usual name is preferred, whatever comes first; setting to a constant again is no training.
        (
            'node { name: "reset" op: "Assign" input: "v" input: "c" }'
            'node { name: "v/Assign" op: "Assign" input: "v" input: "c" }',
            "v/Assign",
            True,
        ),
        ('node { name: "i" op: "Assign" input: "v" input: "p" }', None, True),
        (
            'node { name: "i" op: "Assign" input: "v:0" input: "c" }'
            'node { name: "u" op: "Assign" input: "v" input: "sum" }',
            "i",
            False,
        ),
        (
            'node { name: "i" op: "Assign" input: "v" input: "c" }'
            'node { name: "e" op: "RefEnter" input: "v" }'
            'node { name: "u" op: "AssignAdd" input: "e" input: "sum" }',
            "i",
            False,
        ),
        (
            'node { name: "i" op: "Assign" input: "v" input: "c" }'
            'node { name: "r" op: "RestoreV2" input: "c" input: "c" input: "c" }'
            'node { name: "save/Assign" op: "Assign" input: "v" input: "r:3" }',
            "i",
            True,
        ),
        (
            'node { name: "i" op: "Assign" input: "v" input: "c" }'
            'node { name: "f" op: "FakeQuantWithMinMaxVars" input: "p" input: "read" input: "c" }',
            "i",
            False,
        ),
    ],
)
def test_what_writes_a_variable(writes: str, initializer: str | None, trainable: bool) -> None:
    found = _found(VARIABLE + writes)
    assert (found.initializer, found.trainable) == (initializer, trainable)
    assert found.snapshot == "read:0"


def test_variables_that_cannot_be_described_are_skipped_and_named() -> None:
    text = (
        VARIABLE
        + """
    node { name: "h" op: "VarHandleOp" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "h/Assign" op: "AssignVariableOp" input: "h" input: "c" }
    """
    )
    meta_graph = MetaGraphDef(graph_def=text_format.Parse(text, GraphDef()))
    found = collections.reconstruct(meta_graph)
    assert dict(found.skipped).keys() == {"v", "h"}
    assert "initial value" in dict(found.skipped)["v"]
    assert "reads" in dict(found.skipped)["h"]
    assert not meta_graph.collection_def


def test_a_reference_variable_nobody_reads_is_its_own_snapshot() -> None:
    found = _found('node { name: "v" op: "Variable" attr { key: "dtype" value { type: DT_INT32 } } }')
    assert (found.snapshot, found.trainable, found.is_resource) == ("v:0", False, False)


def test_adding_variables() -> None:
    meta_graph = MetaGraphDef()
    serialized = collections.variable_def(
        variable="a/min",
        initializer="a/min/Assign",
        initial_value="a/min/Initializer:0",
        snapshot="a/min/read:0",
        is_resource=False,
        trainable=False,
    )
    collections.add_variables(meta_graph, [serialized], trainable=False)
    collections.add_variables(meta_graph, [serialized], trainable=True)
    assert len(meta_graph.collection_def["variables"].bytes_list.value) == 2
    assert len(meta_graph.collection_def["trainable_variables"].bytes_list.value) == 1
    assert list(_definitions(meta_graph, "variables")) == ["a/min:0"]

    meta_graph.collection_def["variables"].node_list.value.append("v:0")
    with pytest.raises(GraphError) as caught:
        collections.add_variables(meta_graph, [serialized], trainable=False)
    assert caught.value.code == "collection-malformed"
    assert meta_graph.collection_def["variables"].node_list.value == ["v:0"]
