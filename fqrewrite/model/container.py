"""Opening and saving GraphDef and MetaGraphDef files.

What a file holds is decided by its content, what is written by the output's suffix:

| suffix | written |
|---|---|
| `.pb` | GraphDef, binary |
| `.pbtxt` | GraphDef, text |
| `.meta` | MetaGraphDef, binary; text when the input was a text MetaGraphDef |
| `.meta.pbtxt` | MetaGraphDef, text |

Everything in the messages survives: unknown fields, versions, library, collections, devices, control edges,
every attribute. Text format cannot hold unknown fields, so a message that has some is refused as text.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from google.protobuf.message import EncodeError

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.model import kinds
from fqrewrite.model.atomic import write_atomic
from fqrewrite.model.collections import Reconstruction, reconstruct
from fqrewrite.model.kinds import Kind
from fqrewrite.proto import MetaGraphDef
from fqrewrite.proto.messages import POOL

MOST_BYTES = 2**31 - 1
"""Protobuf reads and writes no message larger than this."""


class Model:
    """An open model file.

    Attributes:
        path: the file it was read from.
        kind: "graph_def" or "meta_graph".
        source_kind: what `kind` was when the file was read.
        text: whether the file is in protobuf's text format.
        raw: the file's bytes.
        sha256: hex digest of `raw`.
        message: the GraphDef or MetaGraphDef that was parsed; what is edited.
        edited: set by whoever edits `message`. While it is False, saving in the kind and format of the
        input writes
            `raw` again, byte for byte.
    """

    __slots__ = ("edited", "kind", "message", "path", "raw", "sha256", "source_kind", "text")

    def __init__(self, path: Path, kind: Kind, text: bool, raw: bytes, message: Any, sha256: str | None = None) -> None:
        self.path = path
        self.kind: Kind = kind
        self.source_kind: Kind = kind
        self.text = text
        self.raw = raw
        self.sha256 = sha256 or hashlib.sha256(raw).hexdigest()
        self.message = message
        self.edited = False

    def copy(self) -> Model:
        """The same file, with a message of its own."""
        message = type(self.message)()
        message.CopyFrom(self.message)
        copied = Model(self.path, self.kind, self.text, self.raw, message, self.sha256)
        copied.source_kind, copied.edited = self.source_kind, self.edited
        return copied

    @property
    def graph_def(self) -> Any:
        """The GraphDef inside (not a copy)."""
        return kinds.graph_of(self.message, self.kind)


def load(path: str | os.PathLike[str]) -> Model:
    """Opens a model file: a GraphDef or MetaGraphDef, binary or text.

    Raises:
        InputError: codes file-not-found, file-unreadable, is-a-directory, file-empty, file-truncated,
        file-foreign,
            saved-model-not-supported, pbtxt-syntax, graph-empty, graph-too-large.
    """
    path = Path(path)
    raw = _read(path)
    if not raw:
        raise InputError("file-empty", "the file is empty", where=str(path))
    message, kind, text = kinds.parse(raw, str(path))
    return Model(path, kind, text, raw, message)


def _read(path: Path) -> bytes:
    where = str(path)
    try:
        if path.is_dir():
            if (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists():
                raise kinds.saved_model_error(where)
            raise InputError("is-a-directory", "this is a directory, not a model file", where=where)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _too_large(where, size)
        return path.read_bytes()
    except FileNotFoundError as error:
        beside = path.with_name(path.name + ".meta")
        remedy = f"a checkpoint has its graph in the .meta file: give {beside}" if beside.exists() else None
        raise InputError("file-not-found", "there is no such file", where=where, remedy=remedy) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("file-unreadable", f"the file cannot be read: {reason}", where=where) from error


def to_bytes(model: Model, kind: Kind, text: bool) -> bytes:
    """Serialises a model; the same message gives the same bytes.

    A MetaGraphDef asked for as a GraphDef gives its graph; a GraphDef asked for as a MetaGraphDef is
    wrapped in one whose variable collections are reconstructed (see `convert_to_meta_graph`; the model
    itself stays as it is).

    Raises:
        InputError: codes graph-too-large; unknown-fields-in-text when fields would be lost as text.
    """
    if not model.edited and (kind, text) == (model.kind, model.text):
        return model.raw
    if kind == model.kind:
        message = model.message
    elif kind == "graph_def":
        message = model.graph_def
    else:
        message, _ = _wrap(model.graph_def)
    where = str(model.path)
    if not text:
        # Not ByteSize() first: in protobuf's C implementation it serialises everything to find out.
        try:
            data: bytes = message.SerializeToString(deterministic=True)
        except EncodeError:
            raise _too_large(where, message.ByteSize()) from None
        if len(data) > MOST_BYTES:
            raise _too_large(where, len(data))
        return data
    if kinds.has_unknown_fields(message):
        raise InputError(
            "unknown-fields-in-text",
            "the graph holds fields that this version does not know, and text format would lose them",
            where=where,
        )

    from google.protobuf import text_format

    return str(text_format.MessageToString(message, descriptor_pool=POOL)).encode("utf-8")


def convert_to_meta_graph(model: Model) -> Reconstruction:
    """Turns a GraphDef model into a MetaGraphDef model, with variable collections found from its variable
    ops.

    Do it *before* new variables are added to a graph whose output will be a MetaGraphDef: reconstruction
    goes by structure, and the caller knows better what the new ones are.

    Returns:
        The variables it found, and those it could not describe.

    Raises:
        ValueError: the model is a MetaGraphDef already.
    """
    if model.kind == "meta_graph":
        raise ValueError("the model is a MetaGraphDef already")
    model.message, found = _wrap(model.graph_def)
    model.kind = "meta_graph"
    model.text = False
    model.edited = True
    return found


def _wrap(graph_def: Any) -> tuple[Any, Reconstruction]:
    meta_graph = MetaGraphDef(graph_def=graph_def)
    return meta_graph, reconstruct(meta_graph)


def output_format(path: Path, model: Model) -> tuple[Kind, bool]:
    """Returns the kind to write to a path, and whether as text (see the table at the head of this module).

    Raises:
        ConfigError: a suffix that says nothing (code output-suffix).
    """
    name = path.name.lower()
    if name.endswith(".meta.pbtxt"):
        return "meta_graph", True
    if name.endswith(".pbtxt"):
        return "graph_def", True
    if name.endswith(".pb"):
        return "graph_def", False
    if name.endswith(".meta"):
        return "meta_graph", model.text and model.kind == "meta_graph"
    raise ConfigError("output-suffix", "the output's suffix must be .pb, .pbtxt, .meta or .meta.pbtxt", where=str(path))


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes a model atomically, in the kind and format that the path's suffix asks for.

    Raises:
        ConfigError: code output-suffix.
        InputError: as `to_bytes` and `write_atomic`.
    """
    path = Path(path)
    kind, text = output_format(path, model)
    write_atomic(path, to_bytes(model, kind, text))


def _too_large(where: str, size: int) -> InputError:
    what = f"the graph takes {size / 2**30:.2f} GiB, and protobuf handles messages below 2 GiB only"
    return InputError("graph-too-large", what, where=where)
