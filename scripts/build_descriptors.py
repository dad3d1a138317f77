"""Writes fqrewrite/proto/descriptors.binpb from the installed TensorFlow's own descriptors.

The file is a FileDescriptorSet: tensorflow/core/protobuf/saved_model.proto, the messages in collections of a
MetaGraphDef (control-flow contexts, queue runners), and all that these import, dependencies first. It is what lets
fqrewrite read and write TensorFlow's messages without importing TensorFlow.

    python scripts/build_descriptors.py            write the file
    python scripts/build_descriptors.py --check    exit status 1 if the file is not what would be written
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "fqrewrite" / "proto" / "descriptors.binpb"


def build() -> Any:
    """Returns the FileDescriptorSet of the installed TensorFlow.

    File options (names of Java and Go packages) are left out: they mean nothing to a reader of messages.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from google.protobuf import descriptor_pb2
    from tensorflow.core.protobuf import control_flow_pb2, queue_runner_pb2, saved_model_pb2

    files: dict[str, Any] = {}

    def add(file_descriptor: Any) -> None:
        if file_descriptor.name in files:
            return
        for dependency in file_descriptor.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file_descriptor.CopyToProto(proto)
        proto.ClearField("options")
        files[file_descriptor.name] = proto

    for module in (saved_model_pb2, control_flow_pb2, queue_runner_pb2):
        add(module.DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=list(files.values()))


def differences(expected: Any, found: Any) -> list[str]:
    """Returns the names of the .proto files whose messages, fields or enums differ between two
    FileDescriptorSets.

    The order of files and their options do not matter, nor does `json_name`, which some versions of
    protobuf fill in.
    """

    def content(descriptor_set: Any) -> dict[str, Any]:
        contents = {}
        for file in descriptor_set.file:
            copy = type(file)()
            copy.CopyFrom(file)
            copy.ClearField("options")
            _clear_json_names(copy.message_type)
            contents[copy.name] = copy
        return contents

    ours, theirs = content(expected), content(found)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def _clear_json_names(messages: Any) -> None:
    for message in messages:
        for field in message.field:
            field.ClearField("json_name")
        _clear_json_names(message.nested_type)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file and write nothing")
    parser.add_argument("--file", type=Path, default=TARGET, help="the file to write or check")
    options = parser.parse_args(arguments)

    built = build()
    if not options.check:
        options.file.write_bytes(built.SerializeToString(deterministic=True))
        print(f"{options.file}: {len(built.file)} files, {built.ByteSize()} bytes")
        return 0
    if not options.file.is_file():
        print(f"{options.file}: missing", file=sys.stderr)
        return 1
    differing = differences(built, type(built).FromString(options.file.read_bytes()))
    for name in differing:
        print(f"{options.file}: {name} differs from the installed TensorFlow's", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
