"""Writing the graph of a TensorFlow 1 SavedModel, and its signatures.

TensorFlow 2, TensorFlow Serving and the TFLite converter load it as well. Variables, if there are any, lie in
`variables/variables.*` beside it, and the MetaGraphDef needs a saver (`transform.saver`) by which they are restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from google.protobuf.message import EncodeError

from fqrewrite.errors import InputError
from fqrewrite.ir.graph import Graph, Node, split_tensor
from fqrewrite.model.signature import TensorInfo, must_be_fed, needed_placeholders
from fqrewrite.model.stale import drop_stale
from fqrewrite.model.variables import VARIABLES
from fqrewrite.proto import MetaGraphDef, SavedModel, message_class
from fqrewrite.proto.attrs import shape_proto

AssetFileDef = message_class("tensorflow.AssetFileDef")

SERVING_TAG = "serve"
SERVING_DEFAULT = "serving_default"
FILE_NAME = "saved_model.pb"
VARIABLES_PREFIX = "variables/variables"
"""Path of the variables' checkpoint in the directory, without .index or .data-00000-of-00001."""

INIT_SIGNATURE = "__saved_model_init_op"
"""Under this key TensorFlow 2 has what is to be run after loading; there is nothing to call in it."""

MAIN_OP = "saved_model_main_op"
"""The collection where TensorFlow 1 has that."""

_ASSETS = "saved_model_assets"  # a collection, where TensorFlow 1 has them
_PREDICT = "tensorflow/serving/predict"
_SCHEMA_VERSION = 1


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph is to be called by.

    Attributes:
        inputs, outputs: of a signature that is made when the graph has none for just these outputs, by key.
        signatures: keys that are meant for them; the first is that of a signature that is made.
        renamed: tensors that other tensors take the place of in these signatures.
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    signatures: tuple[str, ...] = (SERVING_DEFAULT,)
    renamed: Mapping[str, str] = {}


def saved_model_bytes(
    message: Any,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
    signature_key: str = SERVING_DEFAULT,
) -> bytes:
    """Serialises a SavedModel of one graph; the same message gives the same bytes.

    Args:
        message: GraphDef or MetaGraphDef; it is not changed.
        inputs, outputs: of the signature, by key.
        signature_key: of the signature.

    Raises:
        InputError: the message would be too large (code graph-too-large).
    """
    saved_model = SavedModel(saved_model_schema_version=_SCHEMA_VERSION)
    served = Served(inputs=inputs, outputs=outputs, signatures=(signature_key,))
    saved_model.meta_graphs.append(served_meta_graph(message, served))
    saved_model.meta_graphs[0].meta_info_def.tags[:] = [SERVING_TAG]
    return serialised(saved_model)


def served_meta_graph(message: Any, served: Served) -> Any:
    """A MetaGraphDef as a SavedModel holds it, which TensorFlow loads by its graph alone.

    A MetaGraphDef's own signatures stay as long as the graph can still serve them: inputs that the graph has lost go,
    and a signature goes that has lost an output, or whose outputs depend on a placeholder that is not among its
    inputs. Those of `served` stay only if their outputs are the very tensors of its outputs; then their keys are worth
    more than ours. A saver goes when the graph has no variables, and so does all that names nodes that are gone.

    Args:
        message: GraphDef or MetaGraphDef; it is not changed.
        served: by what it is called.
    """
    meta_graph = MetaGraphDef()
    if message.DESCRIPTOR.full_name == MetaGraphDef.DESCRIPTOR.full_name:
        meta_graph.CopyFrom(message)
        meta_graph.ClearField("object_graph_def")
        _drop_stale_parts(meta_graph, served)
    else:
        meta_graph.graph_def.CopyFrom(message)
    if not any(key in meta_graph.signature_def for key in served.signatures):
        signature = meta_graph.signature_def[served.signatures[0]]
        signature.method_name = _PREDICT
        for infos, written in ((served.inputs, signature.inputs), (served.outputs, signature.outputs)):
            for key, info in infos.items():
                written[key].name, written[key].dtype = info.tensor, info.dtype
                written[key].tensor_shape.CopyFrom(shape_proto(info.shape))
    return meta_graph


def serialised(message: Any) -> bytes:
    """The bytes of a message, the same every time.

    Raises:
        InputError: code graph-too-large.
    """
    try:
        return bytes(message.SerializeToString(deterministic=True))
    except EncodeError as error:
        what = "the SavedModel takes more than 2 GiB, and protobuf handles messages below 2 GiB only"
        raise InputError("graph-too-large", what) from error


def input_names(signature: Any) -> list[str]:
    """The tensors that are a signature's inputs, by their keys' order; of sparse ones all parts."""
    return [name for key in sorted(signature.inputs) for name in _info_names(signature.inputs[key])]


def output_names(signature: Any) -> list[str]:
    """The tensors that are a signature's outputs, likewise."""
    return [name for key in sorted(signature.outputs) for name in _info_names(signature.outputs[key])]


def _drop_stale_parts(meta_graph: Any, served: Served) -> None:
    graph = Graph(meta_graph.graph_def)
    definitions = meta_graph.signature_def
    own = [key for key in served.signatures if key in definitions]
    for key in own:
        for info in definitions[key].outputs.values():
            if info.name:
                info.name = served.renamed.get(_full(info.name), info.name)
    given = {_full(name) for key in own for name in output_names(definitions[key])}
    differing = given != {info.tensor for info in served.outputs.values()}
    for key in list(definitions):
        if key != INIT_SIGNATURE and (not _is_served(graph, definitions[key]) or (key in own and differing)):
            del definitions[key]
    drop_stale(meta_graph)
    if INIT_SIGNATURE in definitions:  # without objects it would be a signature like any other
        names = [split_tensor(name)[0] for name in output_names(definitions[INIT_SIGNATURE])]
        meta_graph.collection_def[MAIN_OP].node_list.value[:] = names
        del definitions[INIT_SIGNATURE]
    if not graph.by_op(*VARIABLES):
        meta_graph.ClearField("saver_def")
    _drop_assets(meta_graph, graph)


def _drop_assets(meta_graph: Any, graph: Graph) -> None:
    """Takes out the assets whose tensors are gone: TensorFlow feeds each with its file's path."""
    old = meta_graph.asset_file_def
    for number in reversed(range(len(old))):
        if _node(graph, old[number].tensor_info.name) is None:
            del old[number]
    if _ASSETS in meta_graph.collection_def:
        packed = meta_graph.collection_def[_ASSETS].any_list.value
        for number in reversed(range(len(packed))):
            if _node(graph, AssetFileDef.FromString(packed[number].value).tensor_info.name) is None:
                del packed[number]
        if not packed:
            del meta_graph.collection_def[_ASSETS]


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
