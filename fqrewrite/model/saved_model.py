"""Writing the `saved_model.pb` of a TensorFlow 1 SavedModel: one graph with the tag "serve", and its signatures.

TensorFlow 2, TensorFlow Serving and the TFLite converter load it as well. Variables, if there are any, lie in
`variables/variables.*` beside it, and the MetaGraphDef needs a saver (`transform.saver`) by which they are restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import EncodeError

from fqrewrite.errors import InputError
from fqrewrite.ir.graph import Graph, Node, split_tensor
from fqrewrite.model.signature import TensorInfo, must_be_fed, needed_placeholders
from fqrewrite.model.stale import drop_stale
from fqrewrite.model.variables import VARIABLES
from fqrewrite.proto import MetaGraphDef, SavedModel
from fqrewrite.proto.attrs import shape_proto

SERVING_TAG = "serve"
SERVING_DEFAULT = "serving_default"
FILE_NAME = "saved_model.pb"
VARIABLES_PREFIX = "variables/variables"
"""Path of the variables' checkpoint in the directory, without .index or .data-00000-of-00001."""

_PREDICT = "tensorflow/serving/predict"
_SCHEMA_VERSION = 1


def saved_model_bytes(
    message: Any,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
    signature_key: str = SERVING_DEFAULT,
) -> bytes:
    """Serialises a SavedModel; the same message gives the same bytes.

    A MetaGraphDef's own signatures stay as long as the graph can still serve them: inputs that the graph has lost go,
    and a signature goes that has lost an output, or whose outputs depend on a placeholder that is not among its
    inputs. One under `signature_key` stays only if its outputs are the very tensors of `outputs`; then its keys are
    worth more than ours. A saver goes when the graph has no variables, and so does all that names nodes that are gone.

    Args:
        message: GraphDef or MetaGraphDef; it is not changed.
        inputs, outputs: of the signature, by key.
        signature_key: of the signature.

    Raises:
        InputError: the message would be too large (code graph-too-large).
    """
    saved_model = SavedModel(saved_model_schema_version=_SCHEMA_VERSION)
    meta_graph = saved_model.meta_graphs.add()
    if message.DESCRIPTOR.full_name == MetaGraphDef.DESCRIPTOR.full_name:
        meta_graph.CopyFrom(message)
        _drop_stale_parts(meta_graph, {info.tensor for info in outputs.values()}, signature_key)
    else:
        meta_graph.graph_def.CopyFrom(message)
    meta_graph.meta_info_def.tags[:] = [SERVING_TAG]
    if signature_key not in meta_graph.signature_def:
        signature = meta_graph.signature_def[signature_key]
        signature.method_name = _PREDICT
        for infos, written in ((inputs, signature.inputs), (outputs, signature.outputs)):
            for key, info in infos.items():
                written[key].name, written[key].dtype = info.tensor, info.dtype
                written[key].tensor_shape.CopyFrom(shape_proto(info.shape))
    try:
        return bytes(saved_model.SerializeToString(deterministic=True))
    except EncodeError as error:
        what = "the SavedModel takes more than 2 GiB, and protobuf handles messages below 2 GiB only"
        raise InputError("graph-too-large", what) from error


def _drop_stale_parts(meta_graph: Any, outputs: set[str], signature_key: str) -> None:
    graph = Graph(meta_graph.graph_def)
    for key in list(meta_graph.signature_def):
        signature = meta_graph.signature_def[key]
        if not _is_served(graph, signature) or (
            key == signature_key and {_full(name) for name in _names(signature.outputs)} != outputs
        ):
            del meta_graph.signature_def[key]
    drop_stale(meta_graph)
    if not graph.by_op(*VARIABLES):
        meta_graph.ClearField("saver_def")
    assets = [asset for asset in meta_graph.asset_file_def if split_tensor(asset.tensor_info.name)[0] in graph]
    kept = [type(asset).FromString(asset.SerializeToString()) for asset in assets]
    del meta_graph.asset_file_def[:]
    meta_graph.asset_file_def.extend(kept)


def _is_served(graph: Graph, signature: Any) -> bool:
    """Whether the graph has what the signature needs; inputs that it has lost are taken out."""
    if any(_node(graph, name) is None for name in _names(signature.outputs)):
        return False
    for key in list(signature.inputs):
        if any(_node(graph, name) is None for name in _info_names(signature.inputs[key])):
            del signature.inputs[key]
    fed = frozenset(node for name in _names(signature.inputs) if (node := _node(graph, name)) is not None)
    roots = [node for name in _names(signature.outputs) if (node := _node(graph, name)) is not None]
    return not any(must_be_fed(node) for node in needed_placeholders(roots, stop=fed))


def _node(graph: Graph, tensor: str) -> Node | None:
    return graph.nodes.get(split_tensor(tensor)[0])


def _full(tensor: str) -> str:
    name, port = split_tensor(tensor)
    return f"{name}:{port}"


def _names(infos: Mapping[str, Any]) -> Iterator[str]:
    for info in infos.values():
        yield from _info_names(info)


def _info_names(info: Any) -> Iterator[str]:
    """The tensors that a TensorInfo names: one, or the parts of a sparse or composite one."""
    kind = info.WhichOneof("encoding")
    if kind == "coo_sparse":
        sparse = info.coo_sparse
        yield from (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    elif kind == "composite_tensor":
        for component in info.composite_tensor.components:
            yield from _info_names(component)
    elif kind == "name":
        yield info.name
