"""TensorFlow's messages without importing TensorFlow: classes, dtypes, attributes and tensors.

The only package in which `Any` stands for a message. Reading an attribute goes through `attrs`:
`node.attr[key]` on a protobuf map *adds* a missing key, which would edit the graph.
"""

from __future__ import annotations

from fqrewrite.proto.messages import (
    AttrValue,
    CollectionDef,
    FunctionDef,
    GraphDef,
    MetaGraphDef,
    NodeDef,
    SavedModel,
    SaverDef,
    TensorProto,
    TensorShapeProto,
    VariableDef,
    message_class,
)

__all__ = [
    "AttrValue",
    "CollectionDef",
    "FunctionDef",
    "GraphDef",
    "MetaGraphDef",
    "NodeDef",
    "SavedModel",
    "SaverDef",
    "TensorProto",
    "TensorShapeProto",
    "VariableDef",
    "message_class",
]
