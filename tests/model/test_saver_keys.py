"""Keys of variables, in graphs whose Savers TensorFlow made and in printed ones."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from numeric import tf1

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.model.saver_keys import Key, find_key, partition_keys, saver_keys
from fqrewrite.model.slices import Slice, parse_slice
from fqrewrite.proto import GraphDef, MetaGraphDef


def read(graph: Any) -> Graph:
    return Graph(GraphDef.FromString(graph.as_graph_def().SerializeToString()))


def partitioned(resource: bool) -> None:
    with tf1.variable_scope("p", partitioner=tf1.fixed_size_partitioner(3), use_resource=resource):
        tf1.get_variable("w", [10, 4])


PARTS = {
    "p/w/part_0": [Key("p/w", "10 4 0,4:0,4")],
    "p/w/part_1": [Key("p/w", "10 4 4,3:0,4")],
    "p/w/part_2": [Key("p/w", "10 4 7,3:0,4")],
}


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("reshape", [False, True])
def test_what_a_saver_restores(resource: bool, version: int, reshape: bool) -> None:
    with tf.Graph().as_default() as graph:
        a = tf1.get_variable("a", [3, 4], use_resource=resource)
        b = tf1.get_variable("b", [], tf.int64, use_resource=resource)
        partitioned(resource)
        tf1.train.Saver(write_version=version, reshape=reshape)
        tf1.train.Saver({"renamed/a": a, "b": b}, write_version=version)
    assert saver_keys(read(graph)) == {"a": [Key("a"), Key("renamed/a")], "b": [Key("b")]} | PARTS


def test_names_that_are_stored_once_for_all() -> None:
    """A TensorProto repeats its last value, and none at all means empty text."""
    text = """
    file = Const {value: "model"}
    names = Const {value: ["w", "v"]}
    slices = Const {value: ["", ""]}
    restore = RestoreV2(file, names, slices)
    w = VariableV2 {shape: [2]}
    v = VariableV2 {shape: [2]}
    w/alias = RefIdentity(w)
    between = Identity(restore:1)
    assign = Assign(w/alias, restore)
    assign_1 = Assign(v, between)
    """
    for kept in (2, 1, 0):
        graph_def = parse(text)
        del graph_def.node[2].attr["value"].tensor.string_val[kept:]
        assert saver_keys(Graph(graph_def)) == {"w": [Key("w")], "v": [Key("v")]}
    del graph_def.node[1].attr["value"].tensor.string_val[1:]
    assert saver_keys(Graph(graph_def)) == {"w": [Key("w")], "v": [Key("w")]}


def test_the_oldest_restoring_ops() -> None:
    text = """
    file = Const {value: "model"}
    name = Const {value: "saved"}
    part = Const {value: "4 0,2"}
    whole = Restore(file, name)
    slice = RestoreSlice(file, name, part)
    w = Variable {shape: [4]}
    v = Variable {shape: [2]}
    assign = Assign(w, whole)
    assign_1 = Assign(v, slice)
    """
    assert saver_keys(Graph(parse(text))) == {"w": [Key("saved")], "v": [Key("saved", "4 0,2")]}


def test_what_is_computed_from_a_restored_value_is_another_value() -> None:
    text = """
    file = Const {value: "model"}
    names = Const {value: ["w", "v"]}
    slices = Const {value: ["", ""]}
    restore = RestoreV2(file, names, slices)
    half = Const {value: 0.5}
    w = VariableV2 {shape: []}
    product = Mul(restore, half)
    assign = Assign(w, product)
    v = Placeholder
    assign_1 = Assign(v, restore:1)
    unknown = Placeholder {dtype: string}
    elsewhere = RestoreV2(file, unknown, slices)
    assign_2 = Assign(w, elsewhere)
    """
    assert saver_keys(Graph(parse(text))) == {}


def test_a_shape_that_nothing_fills_costs_nothing() -> None:
    text = """
    file = Const {value: "model"}
    names = Const {value: [""]}
    restore = RestoreV2(file, names, names)
    w = VariableV2 {shape: []}
    assign = Assign(w, restore)
    """
    graph_def = parse(text)
    graph_def.node[1].attr["value"].tensor.tensor_shape.dim[0].size = 10**12
    assert saver_keys(Graph(graph_def)) == {}


@pytest.mark.parametrize("resource", [False, True])
def test_partitions_without_a_saver(resource: bool) -> None:
    with tf.Graph().as_default() as graph:
        tf1.get_variable("a", [2], use_resource=resource)
        partitioned(resource)
        exported = tf1.train.export_meta_graph(graph=graph)
    exported.collection_def["local_variables"].bytes_list.value.append(b"\xff")
    assert partition_keys(MetaGraphDef.FromString(exported.SerializeToString())) == PARTS


def test_the_first_key_that_is_there() -> None:
    keys = {"w": [Key("saved/w"), Key("older/w")], "import/w/part_0": [Key("w", "4 0,2")]}
    assert find_key("w", "shared", keys, {"w", "shared", "saved/w"}) == Key("w")
    assert find_key("w", "shared", keys, {"shared", "saved/w"}) == Key("shared")
    assert find_key("w", "", keys, {"older/w", "saved/w"}) == Key("saved/w")
    assert find_key("w", "", keys, {"older/w"}) == Key("older/w")
    assert find_key("w", "", keys, {"v", ""}) is None
    assert find_key("import/v", "", keys, {"v"}, "import") == Key("v")
    assert find_key("import/v", "", keys, {"v"}) is None
    assert find_key("important/v", "", keys, {"v"}, "import") is None
    assert find_key("import/w/part_0", "", keys, {"w"}, "import") == Key("w", "4 0,2")


def test_savers_that_swap_names() -> None:
    keys = {"a": [Key("b")], "b": [Key("a")]}
    assert find_key("a", "", keys, {"a", "b"}) == Key("b")
    assert find_key("b", "", keys, {"a", "b"}) == Key("a")
    assert find_key("a", "", keys, {"a"}) == Key("a")


def test_averages_that_a_saver_restores_into_variables_leave_the_variables_alone() -> None:
    keys = {"w": [Key("w"), Key("w/Average")], "w/Average": [Key("w/Average")]}
    assert find_key("w", "", keys, {"w", "w/Average"}) == Key("w")


def test_slices() -> None:
    assert parse_slice("10 4 0,5:-") == Slice(full_shape=(10, 4), starts=(0, 0), sizes=(5, 4))
    assert parse_slice("3 1,2").index() == (slice(1, 3),)
    for wrong in ("", "10 4", "10 4 0,5", "10 4 0,5:-:-", "10 4 8,5:-", "10 4 0,5:x", "-1 -", "10  0,5"):
        with pytest.raises(GraphError) as caught:
            parse_slice(wrong)
        assert caught.value.code == "slice-malformed"
