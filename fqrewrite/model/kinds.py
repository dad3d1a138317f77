"""What a file holds, decided by its content.

A GraphDef, a MetaGraphDef and a SavedModel have no magic number, and protobuf parsing is permissive: the
bytes of one may parse as another. What tells them apart is that a graph has nodes with names. A
MetaGraphDef read as a GraphDef would have its meta_info_def for a node, with a serialised OpList (which
starts with a line feed) for an op; a GraphDef read as a MetaGraphDef would have its function library for a
graph, with serialised OpDefs for node names. Neither is printable text, so at most one reading is
plausible.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from google.protobuf.message import DecodeError

from fqrewrite.errors import InputError
from fqrewrite.model.foreign import foreign_error
from fqrewrite.model.truncation import salvage
from fqrewrite.proto import GraphDef, MetaGraphDef, SavedModel
from fqrewrite.proto.messages import POOL

Kind = Literal["graph_def", "meta_graph"]
SourceKind = Literal["graph_def", "meta_graph", "saved_model"]

_CONTROL_CHARACTERS = bytes(code for code in range(32) if code not in b"\t\n\r\f")
_FIRST_FIELD = re.compile(r"(?:\s|#[^\n]*\n)*([A-Za-z_]\w*)\s*([:{<]\s*\{?)")
_GRAPH_FIELDS = frozenset(GraphDef.DESCRIPTOR.fields_by_name)
_META_GRAPH_FIELDS = frozenset(MetaGraphDef.DESCRIPTOR.fields_by_name)
_SAVED_MODEL_FIELDS = frozenset(SavedModel.DESCRIPTOR.fields_by_name)


def graph_of(message: Any, kind: Kind) -> Any:
    """Returns the GraphDef in a GraphDef or MetaGraphDef message (not a copy)."""
    return message if kind == "graph_def" else message.graph_def


def parse(raw: bytes, where: str) -> tuple[Any, Kind, bool]:
    """Parses the bytes of a model file.

    Args:
        raw: all bytes of the file, at least one.
        where: the file's name, for errors.

    Returns:
        The message, its kind, and whether the bytes are protobuf's text format.

    Raises:
        InputError: not a graph that has nodes (codes file-foreign, file-truncated, saved-model-file,
            pbtxt-syntax, graph-empty).
    """
    text = _as_text(raw)
    if text is not None:
        message, kind = _parse_text(text, raw, where)
        if not graph_of(message, kind).node:
            raise _empty(graph_of(message, kind), where)
        return message, kind, True
    # Only the order comes from the name: protobuf 3.20 complains on standard error of every wrong guess.
    kinds: tuple[Kind, ...] = ("meta_graph", "graph_def") if where.endswith(".meta") else ("graph_def", "meta_graph")
    tried: dict[Kind, Any] = {}
    for kind in kinds:
        tried[kind] = message = _try(MetaGraphDef if kind == "meta_graph" else GraphDef, raw)
        if message is not None and _plausible(graph_of(message, kind)):
            return message, kind, False
    raise _refusal(raw, tried["graph_def"], tried["meta_graph"], where)


def parse_saved_model(raw: bytes, where: str) -> tuple[Any, bool]:
    """Parses the bytes of a SavedModel's file.

    Args:
        raw: all bytes of the file.
        where: the file's name, for errors.

    Returns:
        The SavedModel, with at least one graph, and whether the bytes are protobuf's text format.

    Raises:
        InputError: codes file-empty, file-foreign, file-truncated, pbtxt-syntax, graph-empty.
    """
    if not raw:
        raise InputError("file-empty", "the file is empty", where=where)
    text = _as_text(raw)
    if text is not None:
        first = _FIRST_FIELD.match(text)
        if first is None or first[1] not in _SAVED_MODEL_FIELDS:
            raise _no_saved_model(raw, where)
        message = _parsed_text(text, SavedModel, where)
    else:
        message = _try(SavedModel, raw)
        if message is None and salvage(raw, SavedModel.DESCRIPTOR):
            raise _cut_off(raw, where, "a SavedModel")
        if message is None or not (message.meta_graphs or _all_known(message)):
            raise _no_saved_model(raw, where)
    if not any(_plausible(entry.graph_def) for entry in message.meta_graphs):
        if all(_all_known(entry) for entry in message.meta_graphs):
            raise InputError("graph-empty", "the SavedModel has no graph with nodes", where=where)
        raise _no_saved_model(raw, where)
    return message, text is not None


def _no_saved_model(raw: bytes, where: str) -> InputError:
    """The error for bytes that should be a SavedModel."""
    foreign = foreign_error(raw, where)
    if foreign is not None:
        return foreign
    for message_class, kind in ((GraphDef, "GraphDef"), (MetaGraphDef, "MetaGraphDef")):
        message = _try(message_class, raw)
        if message is not None and _plausible(message if kind == "GraphDef" else message.graph_def):
            remedy = f"give it another name, such as model.{'pb' if kind == 'GraphDef' else 'meta'}, and pass that"
            return InputError("file-foreign", f"this is a {kind} and no SavedModel", where=where, remedy=remedy)
    return InputError("file-foreign", "this is no SavedModel, or the file is damaged", where=where)


def _cut_off(raw: bytes, where: str, what: str) -> InputError:
    return InputError(
        "file-truncated",
        f"the file is cut off: after {len(raw)} bytes, in the middle of {what}",
        where=where,
        remedy="copy or download the file again and compare its size with the original",
    )


def _try(message_class: Any, raw: bytes) -> Any:
    try:
        return message_class.FromString(raw)
    except (DecodeError, UnicodeDecodeError):  # the second from the pure Python implementation
        return None


def _plausible(graph: Any) -> bool:
    """Returns whether one of the first nodes has a name and an op that are printable text."""
    return any(node.name and node.op and (node.name + node.op).isprintable() for node in graph.node[:16])


def _refusal(raw: bytes, graph: Any, meta_graph: Any, where: str) -> InputError:
    """Explains bytes that are no text and in which no graph with nodes was found."""
    saved_model = _try(SavedModel, raw)
    if saved_model is not None and any(_plausible(item.graph_def) for item in saved_model.meta_graphs):
        return _saved_model_error(where)
    foreign = foreign_error(raw, where)
    if foreign is not None:
        return foreign
    for message, kind in ((graph, "graph_def"), (meta_graph, "meta_graph")):
        if message is not None and _all_known(message):
            return _empty(message if kind == "graph_def" else message.graph_def, where)
    if _truncated(raw):
        return _cut_off(raw, where, "a graph")
    return InputError("file-foreign", "this is not a TensorFlow graph, or the file is damaged", where=where)


def _truncated(raw: bytes) -> bool:
    """Returns whether the bytes are the beginning of a GraphDef, MetaGraphDef or SavedModel."""
    graph_bytes = salvage(raw, GraphDef.DESCRIPTOR)
    graph = None if graph_bytes is None else _try(GraphDef, graph_bytes)
    if graph is not None and graph.node and graph.node[0].name and graph.node[0].name.isprintable():
        return True
    meta_bytes = salvage(raw, MetaGraphDef.DESCRIPTOR)
    meta_graph = None if meta_bytes is None else _try(MetaGraphDef, meta_bytes)
    if meta_graph is None:
        return False
    info = meta_graph.meta_info_def
    stripped = info.stripped_op_list.op
    return _plausible(meta_graph.graph_def) or (len(stripped) > 0 and stripped[0].name.isidentifier())


def _all_known(message: Any) -> bool:
    """Returns whether the message has no unknown field at any depth."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return bool(known.ByteSize() == message.ByteSize())


def has_unknown_fields(message: Any) -> bool:
    """Returns whether the message holds fields that this program does not know, at any depth. Copies it."""
    return not _all_known(message)


def _as_text(raw: bytes) -> str | None:
    """Returns the bytes as text; None if they are not UTF-8 or hold control characters, as graphs do."""
    for part in (raw[:4096], raw):
        if len(part.translate(None, _CONTROL_CHARACTERS)) != len(part):
            return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _parse_text(text: str, raw: bytes, where: str) -> tuple[Any, Kind]:
    first = _FIRST_FIELD.match(text)
    if first is not None and first[1] in _SAVED_MODEL_FIELDS:
        raise _saved_model_error(where)
    if first is None or first[1] not in _META_GRAPH_FIELDS | _GRAPH_FIELDS:
        foreign = foreign_error(raw, where)
        if foreign is not None:
            raise foreign
        # `name {` is a message in protobuf's text format: a misspelt field, which its parser names.
        if first is None or "{" not in first[2]:
            what = "this is text, but not a graph in protobuf's text format"
            raise InputError("file-foreign", what, where=where)
    kind: Kind = "meta_graph" if first[1] in _META_GRAPH_FIELDS else "graph_def"
    return _parsed_text(text, MetaGraphDef if kind == "meta_graph" else GraphDef, where), kind


def _parsed_text(text: str, message_class: Any, where: str) -> Any:
    from google.protobuf import text_format

    message = message_class()
    try:
        text_format.Parse(text, message, descriptor_pool=POOL)
    except text_format.ParseError as error:
        line = error.GetLine()
        what = re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
        place = where if line is None else f"{where}:{line}"
        raise InputError("pbtxt-syntax", what, where=place) from error
    return message


def _saved_model_error(where: str) -> InputError:
    """The error for the protobuf of a SavedModel under a name that does not make its directory one."""
    what = "this is the graph of a SavedModel, which is a directory that holds it as saved_model.pb"
    return InputError("saved-model-file", what, where=where)


def _empty(graph: Any, where: str) -> InputError:
    functions = len(graph.library.function)
    library = f", only a library of {functions} functions" if functions else ""
    return InputError("graph-empty", f"the graph has no nodes{library}", where=where)
