"""The names outside a graph's nodes that point into it.

Signatures, collections and savers address ops and tensors by name. Whoever edits the graph must keep every
one of them resolving.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from fqrewrite.model.collections import VARIABLE_COLLECTIONS
from fqrewrite.model.container import Model
from fqrewrite.proto import SaverDef, VariableDef

_VARIABLE_FIELDS = ("variable_name", "initializer_name", "snapshot_name", "initial_value_name")
_SAVER_FIELDS = ("filename_tensor_name", "save_tensor_name", "restore_op_name")


def public_references(model: Model) -> dict[str, list[str]]:
    """Returns the op and tensor names that a MetaGraphDef's other parts hold, each with the places it
    stands in.

    Names are as written: `logits` and `logits:0` are two keys, and a name need not exist in the graph. Read
    are signatures, node lists, asset files, the saver, savers in collections, and the VariableDefs of
    TensorFlow's own variable collections; other serialised messages in collections (queue runners, while
    and cond contexts) are not. A GraphDef has none. Linear in the size of those parts.

    Returns:
        Name to places, such as ``{"logits:0": ["signature_def[serving_default].outputs[logits]"]}``.
    """
    references: dict[str, list[str]] = {}
    if model.kind == "graph_def":
        return references

    def add(name: str, place: str) -> None:
        if name:
            references.setdefault(name, []).append(place)

    meta_graph = model.message
    for key, signature in sorted(meta_graph.signature_def.items()):
        for side in ("inputs", "outputs"):
            for argument, info in sorted(getattr(signature, side).items()):
                for name in _tensor_names(info):
                    add(name, f"signature_def[{key}].{side}[{argument}]")
    for asset in meta_graph.asset_file_def:
        for name in _tensor_names(asset.tensor_info):
            add(name, f"asset_file_def[{asset.filename}]")
    for field in _SAVER_FIELDS:
        add(getattr(meta_graph.saver_def, field), f"saver_def.{field}")
    variables: dict[bytes, list[str]] = {}
    for key in sorted(meta_graph.collection_def):
        for name, place in _collection_names(key, meta_graph.collection_def[key], variables):
            add(name, place)
    return references


def _tensor_names(info: Any) -> list[str]:
    """Returns the tensor names of a TensorInfo: one, or those of a sparse or composite tensor."""
    encoding = info.WhichOneof("encoding")
    if encoding == "coo_sparse":
        sparse = info.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    if encoding == "composite_tensor":
        return [name for component in info.composite_tensor.components for name in _tensor_names(component)]
    return [info.name]


def _collection_names(key: str, collection: Any, variables: dict[bytes, list[str]]) -> list[tuple[str, str]]:
    """Returns the names in one collection with their places.

    `variables` remembers the names in VariableDefs: most stand in several collections, as the same bytes.
    """
    place = f"collection_def[{key}]"
    if collection.WhichOneof("kind") == "node_list":
        return [(name, place) for name in collection.node_list.value]
    if key in VARIABLE_COLLECTIONS:
        return _message_names(collection, VariableDef, _VARIABLE_FIELDS, place, variables)
    if key == "savers":
        return _message_names(collection, SaverDef, _SAVER_FIELDS, place, {})
    return []


def _message_names(
    collection: Any,
    message_class: Any,
    fields: tuple[str, ...],
    place: str,
    remembered: dict[bytes, list[str]],
) -> list[tuple[str, str]]:
    names: list[tuple[str, str]] = []
    places = [f"{place}.{field}" for field in fields]
    for serialized in collection.bytes_list.value:
        values = remembered.get(serialized)
        if values is None:
            try:
                message = message_class.FromString(serialized)
            except DecodeError:
                continue  # something else under a well-known name: no names that TensorFlow would resolve
            values = [getattr(message, field) for field in fields]
            remembered[serialized] = values
        names += zip(values, places, strict=True)
    return names
