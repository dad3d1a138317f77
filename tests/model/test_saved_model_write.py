"""SavedModels that this package writes, loaded by TensorFlow: 1 and 2, and the TFLite converter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from numeric import session_config, tf1

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.model.directory import write_directory
from fqrewrite.model.saved_model import FILE_NAME, VARIABLES_PREFIX, saved_model_bytes
from fqrewrite.model.signature import TensorInfo, output_dtype, signature_of
from fqrewrite.proto import GraphDef, MetaGraphDef, SavedModel
from fqrewrite.transform.freeze import VARIABLE_OPS, freeze
from fqrewrite.transform.saver import add_saver

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
KINDS = ("frozen", "reference", "resource")

# TensorFlow 2 is run by a process of its own: these tests are graph mode, and the converter may crash.
CHILD = """
import json, sys
import numpy as np
import tensorflow as tf

x = np.array(json.loads(sys.argv[1]), np.float32)
found = {}
for path in sys.argv[2:]:
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]
    result = {key: value.numpy().tolist() for key, value in function(x=tf.constant(x)).items()}
    trainable = len(getattr(loaded, "variables", []))
    found[path] = {"result": result, "variables": trainable, "shape": function.inputs[0].shape.as_list()}
converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[2])
interpreter = tf.lite.Interpreter(model_content=converter.convert())
runner = interpreter.get_signature_runner("serving_default")
found["lite"] = {key: value.tolist() for key, value in runner(x=x).items()}
print(json.dumps(found))
"""


def _build(resource: bool) -> tuple[Any, np.ndarray[Any, Any], dict[str, Any]]:
    """A MetaGraphDef without a saver, its output for X, and the values of its variables."""
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        x = tf1.placeholder(tf.float32, (None, 4), name="net/x")
        w = tf1.get_variable("w", initializer=np.arange(8, dtype=np.float32).reshape(4, 2), use_resource=resource)
        b = tf1.get_variable("b", initializer=np.array([1, -3], np.float32), use_resource=resource)
        y = tf1.nn.relu(tf1.matmul(x, w) + b, name="net/y")
        session.run(tf1.global_variables_initializer())
        w.load(w.eval() * 2, session)
        values = {v.op.name: session.run(v) for v in (w, b)}
        meta = MetaGraphDef.FromString(tf1.train.export_meta_graph().SerializeToString())
        return meta, session.run(y, {x: X}), values


def _variables_files(values: Mapping[str, Any], prefix: str) -> dict[str, bytes]:
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.raw_ops.SaveV2(prefix=prefix, tensor_names=list(values), shape_and_slices=[""] * len(values),
                                       tensors=list(values.values())))  # fmt: skip
    return {
        f"{VARIABLES_PREFIX}{suffix}": Path(prefix + suffix).read_bytes()
        for suffix in (".index", ".data-00000-of-00001")
    }


def _frozen(meta: Any, values: Mapping[str, Any], output: str) -> Any:
    graph = Graph(meta.graph_def)
    editor = Editor(graph)
    freeze(graph, editor, values, [graph.value(output)])
    editor.commit()
    theirs = tf1.GraphDef.FromString(graph.graph_def.SerializeToString())
    pruned = tf1.graph_util.extract_sub_graph(theirs, [output.partition(":")[0]])
    return GraphDef.FromString(pruned.SerializeToString())


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, np.ndarray[Any, Any]]]:
    """A SavedModel of each kind, and what it computes from X."""
    folder = tmp_path_factory.mktemp("saved_models")
    made = {}
    for kind in KINDS:
        meta, want, values = _build(kind == "resource")
        files = {}
        if kind == "frozen":
            meta = _frozen(meta, values, "net/y:0")
            graph = Graph(meta)
        else:
            graph = Graph(meta.graph_def)
            editor = Editor(graph)
            meta.saver_def.CopyFrom(add_saver(editor, graph.by_op(*VARIABLE_OPS)))
            editor.commit()
            files = _variables_files(values, str(folder / f"{kind}-ckpt"))
        signature = signature_of(graph, [graph.value("net/y:0")])
        write_directory(folder / kind, {FILE_NAME: saved_model_bytes(meta, *signature), **files})
        made[kind] = (folder / kind, want)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow_1_loads_it(directories: dict[str, tuple[Path, np.ndarray[Any, Any]]], kind: str) -> None:
    path, want = directories[kind]
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        meta = tf1.saved_model.load(session, ["serve"], str(path))
        signature = meta.signature_def["serving_default"]
        assert signature.method_name == tf1.saved_model.PREDICT_METHOD_NAME
        assert signature.inputs["x"].dtype == tf.float32.as_datatype_enum
        assert [dim.size for dim in signature.inputs["x"].tensor_shape.dim] == [-1, 4]
        got = session.run(signature.outputs["y"].name, {signature.inputs["x"].name: X})
    np.testing.assert_array_equal(got, want)


def test_tensorflow_2_and_the_converter_load_it(directories: dict[str, tuple[Path, np.ndarray[Any, Any]]]) -> None:
    paths = [str(path) for path, _ in directories.values()]
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", CHILD, json.dumps(X.tolist()), *paths]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    for path, want in directories.values():
        np.testing.assert_allclose(found[str(path)]["result"]["y"], want, rtol=1e-6)
        assert found[str(path)]["shape"] == [None, 4]
    assert found[paths[KINDS.index("resource")]]["variables"] == 2
    np.testing.assert_allclose(found["lite"]["y"], directories["frozen"][1], rtol=1e-6)


def _graph(text: str, producer: int = 27) -> Graph:
    graph_def = parse(text)
    graph_def.versions.producer = producer
    return Graph(graph_def)


TWO_INPUTS = """
b/x = Placeholder {shape: [?, 3]}
a/x = Placeholder {dtype: int64}
unneeded = Placeholder
keep_prob = PlaceholderWithDefault(one) {shape: []}
more = PlaceholderWithDefault(ones) {shape: [2]}
lambda = Placeholder {shape: []}
7-up = Placeholder(^lambda) {shape: [1]}
one = Const {value: 1.0}
ones = Const {value: [1.0, 1.0]}
s/y = Op(b/x, a/x, keep_prob, more, ^7-up)
t/y = Less(s/y, s/y)
"""


def test_keys_are_unique_identifiers() -> None:
    graph = _graph(TWO_INPUTS)
    inputs, outputs = signature_of(graph, [graph.value(name) for name in ("t/y", "s/y", "s/y:1", "t/y:0")])
    assert {key: (info.tensor, info.dtype, info.shape) for key, info in inputs.items()} == {
        "x": ("b/x:0", 1, (-1, 3)),
        "x_1": ("a/x:0", 9, None),
        "more": ("more:0", 1, (2,)),
        "tensor_lambda": ("lambda:0", 1, ()),
        "tensor_7_up": ("7-up:0", 1, (1,)),
    }
    assert {key: (info.tensor, info.dtype, info.shape) for key, info in outputs.items()} == {
        "y": ("t/y:0", 10, None),
        "y_1": ("s/y:0", 1, None),
        "y_1_1": ("s/y:1", 1, None),
    }


def test_scalar_placeholders_of_old_graphs_have_an_unknown_shape() -> None:
    graph = _graph("x = Placeholder {shape: []}\ny = Relu(x)\n", producer=22)
    assert signature_of(graph, [graph.value("y")])[0]["x"].shape is None


def test_output_dtypes_are_those_that_tensorflow_infers() -> None:
    with tf1.Graph().as_default() as theirs:
        x = tf1.placeholder(tf.float16, (2, 3))
        flag = tf1.placeholder(tf.bool, ())
        i = tf.argmax(x, 1)
        tf.argmin(x, 1, output_type=tf.int32)
        tf.shape(x, out_type=tf.int64), tf.size(x), tf.rank(x), tf.cast(x, tf.uint8), tf.bitcast(x, tf.int16)
        tf.gather(x, i), tf.gather_nd(x, [[0, 0]]), tf.nn.top_k(x), tf.where(x > 0), tf.reduce_any(x > 0)
        tf.strings.to_number(tf.as_string(i), tf.int32), tf.strings.length("a"), tf.identity_n([x, i])
        tf1.cond(flag, lambda: x, lambda: x * 2), tf.math.is_nan(x), tf.unique(i), tf.nn.softmax(x)
    ours = Graph(GraphDef.FromString(theirs.as_graph_def().SerializeToString()))
    checked = 0
    for operation in theirs.get_operations():
        for tensor in operation.outputs:
            if tensor.name != "Unique:1":  # an unusual second output
                assert output_dtype(ours.value(tensor.name)) == tensor.dtype.as_datatype_enum, tensor
                checked += 1
    assert checked > 40


SIGNED = """
graph_def {
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Relu" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "z" op: "Relu" input: "y" attr { key: "T" value { type: DT_FLOAT } } }
}
meta_info_def { tags: "train" tensorflow_version: "1.15.5" }
saver_def { filename_tensor_name: "save/Const:0" save_tensor_name: "save/y:0" restore_op_name: "save/restore_all" }
collection_def { key: "losses" value { node_list { value: "gone:0" value: "z:0" } } }
asset_file_def { tensor_info { name: "gone:0" } filename: "f" }
signature_def {
  key: "serving_default"
  value {
    inputs { key: "pictures" value { name: "x:0" } } inputs { key: "phase" value { name: "phase:0" } }
    outputs { key: "scores" value { name: "z:0" } } method_name: "tensorflow/serving/classify"
  }
}
signature_def {
  key: "middle"
  value { inputs { key: "i" value { name: "y:0" } } outputs { key: "o" value { name: "z" } } }
}
signature_def { key: "lost" value { outputs { key: "o" value { name: "gone:0" } } } }
signature_def { key: "unfed" value { outputs { key: "o" value { name: "z:0" } } } }
signature_def {
  key: "sparse"
  value {
    inputs { key: "i" value { name: "x:0" } }
    outputs {
      key: "o"
      value { coo_sparse { values_tensor_name: "z:0" indices_tensor_name: "gone:0" dense_shape_tensor_name: "y:0" } }
    }
  }
}
"""


def _written(output: str) -> Any:
    meta = text_format.Parse(SIGNED, MetaGraphDef())
    before = meta.SerializeToString(deterministic=True)
    graph = Graph(meta.graph_def)
    data = saved_model_bytes(meta, *signature_of(graph, [graph.value(output)]))
    assert meta.SerializeToString(deterministic=True) == before
    [written] = SavedModel.FromString(data).meta_graphs
    return written


def test_signatures_that_the_graph_still_serves_are_kept() -> None:
    written = _written("z:0")
    assert set(written.signature_def) == {"serving_default", "middle"}
    serving = written.signature_def["serving_default"]
    assert (set(serving.inputs), set(serving.outputs)) == ({"pictures"}, {"scores"})
    assert serving.method_name == "tensorflow/serving/classify"
    assert list(written.meta_info_def.tags) == ["serve"]
    assert written.meta_info_def.tensorflow_version == "1.15.5"


def test_the_asked_outputs_win_over_an_old_signature() -> None:
    serving = _written("y:0").signature_def["serving_default"]
    assert {key: info.name for key, info in serving.outputs.items()} == {"y": "y:0"}
    assert {key: info.name for key, info in serving.inputs.items()} == {"x": "x:0"}


def test_what_names_ops_that_are_gone_goes() -> None:
    written = _written("z:0")
    assert list(written.collection_def["losses"].node_list.value) == ["z:0"]
    assert not written.HasField("saver_def")
    assert not written.asset_file_def


def test_bytes_are_the_same_each_time() -> None:
    infos = {name: TensorInfo(tensor=f"{name}:0", dtype=1, shape=(2,)) for name in "abcdefgh"}
    graph_def = parse("a = Placeholder {shape: [2]}\n")
    backwards = dict(reversed(infos.items()))
    assert saved_model_bytes(graph_def, infos, infos) == saved_model_bytes(graph_def, backwards, backwards)
    [written] = SavedModel.FromString(saved_model_bytes(graph_def, infos, {}, "mine")).meta_graphs
    assert list(written.signature_def) == ["mine"]


def test_what_tensorflow_2_runs_after_loading_becomes_the_main_op() -> None:
    """Else it would be one of the signatures of a model without objects."""
    meta = MetaGraphDef(graph_def=parse("x = Placeholder\ny = Neg(x)\ninit = NoOp"))
    meta.object_graph_def.nodes.add()
    meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "init"
    infos = {"y": TensorInfo(tensor="y:0", dtype=1)}
    [written] = SavedModel.FromString(saved_model_bytes(meta, {}, infos)).meta_graphs
    assert list(written.signature_def) == ["serving_default"]
    assert list(written.collection_def["saved_model_main_op"].node_list.value) == ["init"]
    assert not written.HasField("object_graph_def")
