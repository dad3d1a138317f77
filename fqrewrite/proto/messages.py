"""TensorFlow's message classes, without TensorFlow.

The descriptors come from `descriptors.binpb` (written by scripts/build_descriptors.py) and live in a
*private*
DescriptorPool: in the default pool they would clash with a later `import tensorflow` in the same process.
Messages of these classes and TensorFlow's own are therefore different Python types; exchange them as
serialised bytes.

Ready about 0.02 s after the import starts. The classes are typed Any: protobuf makes them at run time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _load_pool() -> Any:
    # open() next to this file and not importlib.resources, whose import alone takes longer than all of this.
    with Path(__file__).with_name("descriptors.binpb").open("rb") as file:
        descriptor_set = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool: Any = descriptor_pool.DescriptorPool()
    for file_descriptor in descriptor_set.file:
        # AddSerializedFile exists from protobuf 3.20 to 7 in the C, upb and pure Python implementations;
        # Add does not.
        pool.AddSerializedFile(file_descriptor.SerializeToString())
    return pool


POOL: Any = _load_pool()
_FACTORY: Any = None if hasattr(message_factory, "GetMessageClass") else message_factory.MessageFactory(POOL)


def message_class(full_name: str) -> Any:
    """Returns the class of a message.

    Args:
        full_name: such as "tensorflow.GraphDef"; scripts/build_descriptors.py says which there are.

    Raises:
        KeyError: no such message.
    """
    descriptor = POOL.FindMessageTypeByName(full_name)
    if _FACTORY is not None:  # protobuf before 4.22
        return _FACTORY.GetPrototype(descriptor)
    return message_factory.GetMessageClass(descriptor)


AttrListValue: Any = message_class("tensorflow.AttrValue.ListValue")
AttrValue: Any = message_class("tensorflow.AttrValue")
CollectionDef: Any = message_class("tensorflow.CollectionDef")
FunctionDef: Any = message_class("tensorflow.FunctionDef")
GraphDef: Any = message_class("tensorflow.GraphDef")
MetaGraphDef: Any = message_class("tensorflow.MetaGraphDef")
NodeDef: Any = message_class("tensorflow.NodeDef")
SavedModel: Any = message_class("tensorflow.SavedModel")
SaverDef: Any = message_class("tensorflow.SaverDef")
TensorProto: Any = message_class("tensorflow.TensorProto")
TensorShapeProto: Any = message_class("tensorflow.TensorShapeProto")
TrackableObjectGraph: Any = message_class("tensorflow.TrackableObjectGraph")
VariableDef: Any = message_class("tensorflow.VariableDef")
