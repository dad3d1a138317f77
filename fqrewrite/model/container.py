"""Opening GraphDef files, MetaGraphDef files and SavedModel directories, and saving the first two.

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
from typing import TYPE_CHECKING, Any

from google.protobuf.message import EncodeError

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.model import kinds
from fqrewrite.model.atomic import write_atomic
from fqrewrite.model.collections import Reconstruction, reconstruct
from fqrewrite.model.kinds import Kind, SourceKind
from fqrewrite.proto import MetaGraphDef
from fqrewrite.proto.messages import POOL

if TYPE_CHECKING:
    from fqrewrite.model.saved_model_read import SavedModelSource

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""The file in a SavedModel's directory. Where both are, TensorFlow reads the first."""
MOST_BYTES = 2**31 - 1
"""Protobuf reads and writes no message larger than this."""


class Model:
    """An open model file.

    Attributes:
        path: the file it was read from; of a SavedModel, its saved_model.pb.
        kind: "graph_def" or "meta_graph".
        source_kind: what `kind` was when the file was read, or "saved_model".
        text: whether `raw` is in protobuf's text format.
        raw: the file's bytes; of a SavedModel, those of the MetaGraphDef that was chosen in it.
        sha256: hex digest of the file's bytes; of a SavedModel, of its file and of what was chosen in it.
        message: the GraphDef or MetaGraphDef that was parsed; what is edited.
        saved_model: where the MetaGraphDef was in; None for a file.
        edited: set by whoever edits `message`. While it is False, saving in the kind and format of the
        input writes
            `raw` again, byte for byte.
        inlined: number of function calls in the graph that were replaced by what they compute.
        renamed: new names of nodes that had to take others, by the names in the file.
    """

    __slots__ = (
        *("edited", "inlined", "kind", "message", "path", "raw", "renamed", "saved_model", "sha256"),
        *("source_kind", "text"),
    )

    def __init__(self, path: Path, kind: Kind, text: bool, raw: bytes, message: Any, sha256: str | None = None) -> None:
        self.path = path
        self.kind: Kind = kind
        self.source_kind: SourceKind = kind
        self.text = text
        self.raw = raw
        self.sha256 = sha256 or hashlib.sha256(raw).hexdigest()
        self.message = message
        self.saved_model: SavedModelSource | None = None
        self.edited = False
        self.inlined = 0
        self.renamed: dict[str, str] = {}

    def copy(self) -> Model:
        """The same file, with a message of its own."""
        message = type(self.message)()
        message.CopyFrom(self.message)
        copied = Model(self.path, self.kind, self.text, self.raw, message, self.sha256)
        copied.source_kind, copied.edited = self.source_kind, self.edited
        copied.saved_model, copied.inlined, copied.renamed = self.saved_model, self.inlined, self.renamed
        return copied

    @property
    def graph_def(self) -> Any:
        """The GraphDef inside (not a copy)."""
        return kinds.graph_of(self.message, self.kind)


def load(
    path: str | os.PathLike[str],
    *,
    tag_set: tuple[str, ...] | None = None,
    signatures: tuple[str, ...] | None = (),
) -> Model:
    """Opens a GraphDef or MetaGraphDef, binary or text, or a SavedModel.

    Args:
        path: a file, or the directory of a SavedModel.
        tag_set: which graph of a SavedModel; None for the only one, or the one that is tagged "serve" and no more.
        signatures: of a SavedModel that are meant; none for "serving_default" or the only one. None to choose none,
            which is enough to look at the graph.

    Raises:
        InputError: codes file-not-found, file-unreadable, is-a-directory, file-empty, file-truncated, file-foreign,
            saved-model-file, pbtxt-syntax, graph-empty, graph-too-large; of a SavedModel, also signature-none.
        ConfigError: saved-model-option for tags or signatures of a file; of a SavedModel, codes tag-set-unknown,
            tag-set-ambiguous, signature-unknown, signature-ambiguous.
    """
    path = Path(path)
    file = _file_in(path)
    if file is not None:
        return _load_saved_model(file, _read(file), tag_set, signatures)
    raw = _read(path)
    if not raw:
        raise InputError("file-empty", "the file is empty", where=str(path))
    try:
        message, kind, text = kinds.parse(raw, str(path))
    except InputError as error:
        if error.code != "saved-model-file" or path.name not in SAVED_MODEL_FILES:
            raise
        return _load_saved_model(path, raw, tag_set, signatures)
    if tag_set is not None or signatures:
        what = "this is no SavedModel, and tags and signatures are chosen in a SavedModel only"
        raise ConfigError("saved-model-option", what, where=path_text(path))
    return Model(path, kind, text, raw, message)


def is_saved_model(path: Path) -> bool:
    """Whether a path is the directory of a SavedModel, or the file in it."""
    return _file_in(path) is not None or (path.name in SAVED_MODEL_FILES and path.is_file())


def _file_in(directory: Path) -> Path | None:
    """The file that makes a directory a SavedModel; None when it has none. Of both TensorFlow reads the first."""
    try:
        return next((file for name in SAVED_MODEL_FILES if (file := directory / name).exists()), None)
    except (OSError, ValueError):  # a folder that may not be looked into; a NUL in the name
        return None


def _load_saved_model(
    file: Path, data: bytes, tag_set: tuple[str, ...] | None, signatures: tuple[str, ...] | None
) -> Model:
    from fqrewrite.model.saved_model_read import open_saved_model

    opened = open_saved_model(file, data, tag_set)
    model = Model(file, "meta_graph", False, opened.raw, opened.meta_graph, opened.source.sha256)
    model.source_kind, model.saved_model = "saved_model", opened.source
    if signatures is not None:
        choose_signatures(model, signatures)
    return model


def choose_signatures(model: Model, wanted: tuple[str, ...]) -> None:
    """Chooses signatures of a SavedModel of which none is chosen yet; of a file, there are none.

    Args:
        model: what `load` opened with signatures None.
        wanted: as `load` takes them.

    Raises:
        InputError, ConfigError: as `load`.
    """
    if model.saved_model is not None:
        from fqrewrite.model.saved_model_read import choose_signatures as choose

        model.saved_model = choose(model.saved_model, model.message, wanted, path_text(model.path))
        model.sha256 = model.saved_model.sha256


def _read(path: Path) -> bytes:
    where = str(path)
    try:
        if path.is_dir():
            what = "this directory holds neither a SavedModel nor a checkpoint"
            raise InputError("is-a-directory", what, where=where)
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
