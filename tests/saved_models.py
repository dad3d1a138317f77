"""SavedModels of TensorFlow 1 to open and rewrite: small ones by hand, and one that TensorFlow wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from fqrewrite.ir.text import parse
from fqrewrite.proto import MetaGraphDef, SavedModel
from fqrewrite.proto.dtypes import DT_FLOAT

Ends = tuple[Mapping[str, str], Mapping[str, str]]
"""Tensors of a signature by key: inputs, outputs."""

PICTURES = np.random.RandomState(0).uniform(0, 1, (8, 8, 8, 3)).astype(np.float32)


def meta_graph(text: str, *tags: str, **signatures: Ends) -> Any:
    """A MetaGraphDef of a graph in the printed form of `fqrewrite.ir.text`."""
    message = MetaGraphDef(graph_def=parse(text))
    message.meta_info_def.tags.extend(tags)
    for key, (inputs, outputs) in signatures.items():
        signature = message.signature_def[key]
        signature.method_name = "tensorflow/serving/predict"
        for infos, named in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for name, tensor in named.items():
                infos[name].name, infos[name].dtype = tensor, DT_FLOAT
    return message


def write_saved_model(directory: Path, *graphs: Any, text: bool = False) -> Path:
    """Writes a SavedModel without variables; returns its directory."""
    message = SavedModel(saved_model_schema_version=1, meta_graphs=graphs)
    directory.mkdir(parents=True, exist_ok=True)
    if text:
        (directory / "saved_model.pbtxt").write_text(text_format.MessageToString(message), encoding="utf-8")
    else:
        (directory / "saved_model.pb").write_bytes(message.SerializeToString(deterministic=True))
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """All files in a directory by their path in it."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in sorted(files)}


def graphs_in(directory: Path) -> list[Any]:
    """The MetaGraphDefs of a SavedModel."""
    return list(SavedModel.FromString((directory / "saved_model.pb").read_bytes()).meta_graphs)


def classifier(directory: Path, *, resource: bool) -> Path:
    """Has TensorFlow write a SavedModel of two graphs: to serve, with a lookup table and its asset, and to train.

    The first has the tag "serve" and the signatures "serving_default" (with names of classes from the table) and "raw",
    the second "train" and "gpu", and the signature "loss".
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    vocabulary = directory.parent / f"{directory.name}.vocabulary"
    vocabulary.write_text("ant\nbee\ncow\ndog\nelk\n", encoding="utf-8")
    builder = tf1.saved_model.Builder(str(directory))
    with tf1.Graph().as_default(), tf1.Session() as session:
        x, logits = _net(tf, resource)
        path = tf1.constant(str(vocabulary), name="vocabulary")
        tf1.add_to_collection(tf1.GraphKeys.ASSET_FILEPATHS, path)
        initializer = tf.lookup.TextFileInitializer(
            path, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
        )
        table = tf.lookup.StaticHashTable(initializer, "none")
        names = tf1.identity(table.lookup(tf1.argmax(logits, 1)), name="names")
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        signatures = {
            "serving_default": _signature(tf1, {"image": x}, {"scores": logits, "names": names}),
            "raw": _signature(tf1, {"image": x}, {"scores": logits}),
        }
        assets = tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS)
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures, assets_collection=assets, main_op=tf1.tables_initializer()
        )
    with tf1.Graph().as_default():
        x, logits = _net(tf, resource)
        tf1.losses.mean_squared_error(tf.zeros_like(logits), logits)
        builder.add_meta_graph(["train", "gpu"], {"loss": _signature(tf1, {"image": x}, {"scores": logits})})
    builder.save()
    extra = directory / "assets.extra"
    extra.mkdir()
    (extra / "readme").write_text("of the model's maker", encoding="utf-8")
    return directory


def _net(tf: Any, resource: bool) -> tuple[Any, Any]:
    tf1, random = tf.compat.v1, np.random.RandomState(1)

    def variable(name: str, *shape: int) -> Any:
        value = random.uniform(-0.5, 0.5, shape).astype(np.float32)
        return tf1.get_variable(name, initializer=value, use_resource=resource)

    x = tf1.placeholder(tf.float32, (None, 8, 8, 3), name="x")
    conv = tf1.nn.conv2d(x, variable("conv/w", 3, 3, 3, 4), 1, "SAME", name="conv/Conv2D")
    relu = tf1.nn.relu6(tf1.nn.bias_add(conv, variable("conv/b", 4)), name="conv/Relu6")
    features = tf1.reduce_mean(relu, [1, 2])
    head = tf1.matmul(features, variable("head/w", 4, 5), name="head/MatMul")
    return x, tf1.nn.bias_add(head, variable("head/b", 5), name="logits")


def _signature(tf1: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
    infos = [
        {key: tf1.saved_model.build_tensor_info(tensor) for key, tensor in part.items()} for part in (inputs, outputs)
    ]
    return tf1.saved_model.build_signature_def(*infos, tf1.saved_model.PREDICT_METHOD_NAME)
