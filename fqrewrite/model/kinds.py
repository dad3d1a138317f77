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
        InputError: not a graph that has nodes (codes file-foreign, file-truncated, saved-model-not-supported,
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
        return saved_model_error(where)
    foreign = foreign_error(raw, where)
    if foreign is not None:
        return foreign
    for message, kind in ((graph, "graph_def"), (meta_graph, "meta_graph")):
        if message is not None and _all_known(message):
            return _empty(message if kind == "graph_def" else message.graph_def, where)
    if _truncated(raw):
        return InputError(
            "file-truncated",
            f"the file is cut off: after {len(raw)} bytes, in the middle of a graph",
            where=where,
            remedy="copy or download the file again and compare its size with the original",
        )
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
        raise saved_model_error(where)
    if first is None or first[1] not in _META_GRAPH_FIELDS | _GRAPH_FIELDS:
        foreign = foreign_error(raw, where)
        if foreign is not None:
            raise foreign
        # `name {` is a message in protobuf's text format: a misspelt field, which its parser names.
        if first is None or "{" not in first[2]:
            what = "this is text, but not a graph in protobuf's text format"
            raise InputError("file-foreign", what, where=where)
    kind: Kind = "meta_graph" if first[1] in _META_GRAPH_FIELDS else "graph_def"

    from google.protobuf import text_format

    message = MetaGraphDef() if kind == "meta_graph" else GraphDef()
    try:
        text_format.Parse(text, message, descriptor_pool=POOL)
    except text_format.ParseError as error:
        line = error.GetLine()
        what = re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
        place = where if line is None else f"{where}:{line}"
        raise InputError("pbtxt-syntax", what, where=place) from error
    return message, kind


def saved_model_error(where: str) -> InputError:
    """Returns the error for a SavedModel, file or directory."""
    what = "this is a SavedModel, which this version cannot read"
    return InputError("saved-model-not-supported", what, where=where)


def _empty(graph: Any, where: str) -> InputError:
    functions = len(graph.library.function)
    library = f", only a library of {functions} functions" if functions else ""
    return InputError("graph-empty", f"the graph has no nodes{library}", where=where)
