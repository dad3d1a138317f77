"""Savers as TensorFlow understands them: import_meta_graph gives one that saves, restores and keeps count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import session_config, tf1

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.verify import verify_links
from fqrewrite.model.saver_keys import Key, partition_keys
from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.transform.freeze import VARIABLE_OPS
from fqrewrite.transform.saver import add_saver

VALUES = {
    "scope/w": np.arange(6, dtype=np.float32).reshape(3, 2),
    "step": np.int64(7),
    "flag": np.bool_(True),
    "name": np.array([b"a", b"bc"], object),
}


def _meta_graph(resource: bool, *, occupied: bool = False) -> Any:
    """A MetaGraphDef with zero-like initial values and without a saver."""
    with tf1.Graph().as_default():
        for name, value in VALUES.items():
            start = np.full(value.shape, b"", object) if value.dtype == object else np.zeros_like(value)
            tf1.get_variable(name, initializer=tf.constant(start), use_resource=resource)
        if occupied:
            tf1.no_op(name="Save/x")
            tf1.no_op(name="save_1")
        return MetaGraphDef.FromString(tf1.train.export_meta_graph().SerializeToString())


def _with_saver(meta: Any, keys: dict[str, Key] | None = None) -> Any:
    graph = Graph(meta.graph_def)
    editor = Editor(graph)
    meta.saver_def.CopyFrom(add_saver(editor, graph.by_op(*VARIABLE_OPS), keys))
    editor.commit()
    verify_links(graph)
    return tf1.MetaGraphDef.FromString(meta.SerializeToString(deterministic=True))


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_import_meta_graph_gives_a_working_saver(tmp_path: Path, resource: bool) -> None:
    meta = _with_saver(_meta_graph(resource))
    prefix = str(tmp_path / "ckpt")
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        saver = tf1.train.import_meta_graph(meta)
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            variable.load(VALUES[variable.op.name], session)
        saver.save(session, prefix, global_step=3)
        assert tf.train.latest_checkpoint(str(tmp_path)) == f"{prefix}-3"
        session.run(tf1.global_variables_initializer())
        saver.restore(session, f"{prefix}-3")
        for variable in tf1.global_variables():
            np.testing.assert_array_equal(session.run(variable), VALUES[variable.op.name])
    reader = tf1.train.load_checkpoint(f"{prefix}-3")
    assert set(reader.get_variable_to_shape_map()) == set(VALUES)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_it_restores_what_tensorflows_saver_saved(tmp_path: Path, resource: bool) -> None:
    """And the meta graph that Saver.save exports along is one that imports again."""
    meta = _meta_graph(resource)
    plain = tf1.MetaGraphDef.FromString(meta.SerializeToString())
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.train.import_meta_graph(plain)
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            variable.load(VALUES[variable.op.name], session)
        tf1.train.Saver().save(session, str(tmp_path / "theirs"))
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        saver = tf1.train.import_meta_graph(_with_saver(meta))
        saver.restore(session, str(tmp_path / "theirs"))
        saver.save(session, str(tmp_path / "ours"))
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.train.import_meta_graph(str(tmp_path / "ours.meta")).restore(session, str(tmp_path / "ours"))
        assert session.run("step:0" if not resource else "step/Read/ReadVariableOp:0") == 7


def test_parts_are_saved_as_slices_of_the_whole(tmp_path: Path) -> None:
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.get_variable("w", [5, 2], partitioner=tf1.fixed_size_partitioner(2), use_resource=False)
        tf1.get_variable("b", [2], use_resource=False)
        for variable in tf1.global_variables():
            variable.load(np.full(variable.shape, len(variable.op.name), np.float32), session)
        tf1.train.Saver().save(session, str(tmp_path / "theirs"), write_meta_graph=False)
        meta = MetaGraphDef.FromString(tf1.train.export_meta_graph().SerializeToString())
    keys = {name: found[0] for name, found in partition_keys(meta).items()}
    assert {name: key.slice_spec for name, key in keys.items()} == {
        "w/part_0": "5 2 0,3:0,2",
        "w/part_1": "5 2 3,2:0,2",
    }
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        saver = tf1.train.import_meta_graph(_with_saver(meta, keys))
        saver.restore(session, str(tmp_path / "theirs"))
        assert session.run("w/part_1:0").tolist() == [[8.0, 8.0], [8.0, 8.0]]
        saver.save(session, str(tmp_path / "ours"))
    reader = tf1.train.load_checkpoint(str(tmp_path / "ours"))
    assert reader.get_variable_to_shape_map() == {"w": [5, 2], "b": [2]}
    assert reader.get_tensor("w").tolist() == [[8.0, 8.0]] * 5


def test_variables_of_unknown_shape(tmp_path: Path) -> None:
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        v = tf1.Variable(tf1.placeholder_with_default([1.0, 2.0], [None]), validate_shape=False, use_resource=False)
        session.run(v.initializer)
        tf1.train.Saver().save(session, str(tmp_path / "theirs"), write_meta_graph=False)
        meta = MetaGraphDef.FromString(tf1.train.export_meta_graph().SerializeToString())
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.train.import_meta_graph(_with_saver(meta)).restore(session, str(tmp_path / "theirs"))
        assert session.run("Variable:0").tolist() == [1.0, 2.0]


def test_names_are_free_and_devices_those_of_the_variables() -> None:
    meta = _meta_graph(True, occupied=True)
    graph = Graph(meta.graph_def)
    handle = graph.node("step")
    handle.proto.device = "/device:CPU:0"
    saver_def = add_saver(Editor(graph), [handle])
    assert saver_def.restore_op_name == "save_2/restore_all"
    on_device = {node.name for node in graph if node.proto.device and node.name.startswith("save_2/")}
    assert on_device == {"save_2/Read_0", "save_2/Assign"}


def test_nothing_to_save() -> None:
    with pytest.raises(GraphError) as caught:
        add_saver(Editor(Graph(GraphDef())), [])
    assert caught.value.code == "no-variables-to-save"
