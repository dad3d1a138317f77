"""What a rewritten graph carries about its own making, in a Const string that TensorFlow hands on untouched.

It is the plan, and every node of the source graph that the rewrite changed or removed, as it was: enough to get back
to the source graph from the rewritten one, however much training has added to it since.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from fqrewrite import __version__
from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.plans.items import SCHEMA_VERSION, Changes, Plan
from fqrewrite.proto import GraphDef, NodeDef
from fqrewrite.proto.dtypes import DT_STRING
from fqrewrite.transform import templates

_MAGIC = b"fqrewrite\n"
_MOST_BYTES = 1 << 30  # a marker that unpacks to more was not written here


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How a graph was made.

    Attributes:
        tool_version: of the fqrewrite that made it.
        mode: what it was made for.
        plan: what was applied.
        changes: what was done beside.
        originals: GraphDef of the source graph's nodes that were changed or removed.
        prepared: names of the nodes that the preparation put in: what was in a conditional that was resolved.
        captures: where the graph became the body of a function, what the arguments of that stand for: by argument, the
            name of a variable (VarHandleOp) or input (Placeholder) of the rewritten graph. Then `originals` are all
            nodes of the source graph but its inputs: what the function does not need is not in it.
        calls: and whose outputs each function returns: by the key of the signature, the node of the source graph.
    """

    tool_version: str = __version__
    mode: Literal["train", "eval"]
    plan: Plan
    changes: Changes
    originals: bytes = b""
    prepared: tuple[str, ...] = ()
    captures: dict[str, str] = {}
    calls: dict[str, str] = {}


class Header(msgspec.Struct, frozen=True):
    """What can be read of a marker of any version."""

    tool_version: str
    schema: int


def mark(editor: Editor, provenance: Provenance) -> None:
    """Leaves the provenance in the graph."""
    header = msgspec.json.encode(Header(provenance.tool_version, SCHEMA_VERSION))
    # Level 1 takes a third of the time of the default, for a tenth more bytes.
    packed = zlib.compress(msgspec.msgpack.encode(provenance, order="deterministic"), 1)
    content = _MAGIC + header + b"\n" + packed
    with editor.shared():
        editor.add(templates.scalar(content, DT_STRING), MARKER_NAME)


def originals(editor: Editor) -> bytes:
    """The nodes that were changed or removed, as a GraphDef."""
    message = GraphDef()
    for name in sorted(editor.originals):
        message.node.add().MergeFromString(editor.originals[name])
    return bytes(message.SerializeToString(deterministic=True))


def source_nodes(editor: Editor, roots: Iterable[str]) -> bytes:
    """All that some nodes need in the source graph, as it was, but for the inputs of the graph; a GraphDef."""
    message = GraphDef()
    queue = list(dict.fromkeys(roots))
    seen = set(queue)
    for name in queue:
        if name in editor.originals:
            proto = NodeDef.FromString(editor.originals[name])
        else:
            proto = editor.graph.node(name).proto
        if proto.op != "Placeholder":
            message.node.append(proto)
        for text in proto.input:
            source = text.removeprefix("^").partition(":")[0]
            if source not in seen:
                seen.add(source)
                queue.append(source)
    return bytes(message.SerializeToString(deterministic=True))


def find_provenance(graph_def: Any, where: str) -> tuple[Provenance, str] | None:
    """The provenance in a graph, and the name scope that the graph was imported under; None for a graph without.

    It may also be in a library function, and then in no scope.

    Args:
        graph_def: GraphDef.
        where: the file, for messages.

    Raises:
        Refusal: `provenance-unreadable` for one that is damaged or of another version; `provenance-ambiguous` when
            the graph holds several rewritten graphs.
    """
    markers = [node for node in graph_def.node if _is_marker(node)]
    if not markers:
        found = {_content(node): node for function in graph_def.library.function for node in markers_in(function)}
        markers = list(found.values())
    if not markers:
        return None
    if len(markers) > 1:
        scopes = ", ".join(repr(node.name.removesuffix(MARKER_NAME)) for node in markers)
        what = f"the graph holds {len(markers)} rewritten graphs, in the scopes {scopes}"
        raise Refusal("provenance-ambiguous", what, where=where)
    (marker,) = markers
    return _read(_content(marker), where), marker.name.removesuffix(MARKER_NAME)


def marked_functions(graph_def: Any, where: str) -> dict[str, Provenance]:
    """The library functions that are rewritten graphs, and how each was made, in library order.

    Raises:
        Refusal: `provenance-unreadable`.
    """
    return {
        function.signature.name: _read(_content(marker), where)
        for function in graph_def.library.function
        for marker in markers_in(function)
    }


def require_provenance(graph_def: Any, where: str) -> tuple[Provenance, str]:
    """As `find_provenance`, of a graph that must have one.

    Raises:
        Refusal: `provenance-missing`, and as `find_provenance`.
    """
    found = find_provenance(graph_def, where)
    if found is None:
        raise Refusal("provenance-missing", "the graph does not say how it was made", where=where)
    return found


def markers_in(function: Any) -> list[Any]:
    """The NodeDefs of a FunctionDef that say how it was made."""
    return [node for node in function.node_def if _is_marker(node)]


def _content(marker: Any) -> bytes:
    return bytes(marker.attr["value"].tensor.string_val[0])


def _is_marker(node: Any) -> bool:
    if node.op != "Const" or not (node.name == MARKER_NAME or node.name.endswith("/" + MARKER_NAME)):
        return False
    tensor = node.attr["value"].tensor
    return tensor.dtype == DT_STRING and len(tensor.string_val) == 1 and tensor.string_val[0].startswith(_MAGIC)


def _read(content: bytes, where: str) -> Provenance:
    text, _, packed = content.removeprefix(_MAGIC).partition(b"\n")
    try:
        header = msgspec.json.decode(text, type=Header)
        if header.schema != SCHEMA_VERSION:
            what = f"the graph was made by fqrewrite {header.tool_version}, whose plans this version does not read"
            raise Refusal("provenance-unreadable", what, where=where)
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(packed, _MOST_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise zlib.error("it does not end where it should")
        return msgspec.msgpack.decode(unpacked, type=Provenance)
    except (msgspec.DecodeError, zlib.error, UnicodeDecodeError) as error:
        what = f"what fqrewrite left in the graph is damaged: {error}"
        raise Refusal("provenance-unreadable", what, where=where) from None


def recover(graph_def: Any, provenance: Provenance, scope: str) -> Any:
    """The source graph, out of a rewritten graph that may have been imported under a scope and trained since.

    What training has added is still in it, and so is what the rewrite inserted; nothing of the source reads it.

    Args:
        graph_def: the rewritten GraphDef; stays as it is.
        provenance: what was found in it.
        scope: the scope that it was imported under, with a slash at its end; "" for none.

    Returns:
        A new GraphDef, in the source's names.
    """
    found = GraphDef()
    found.CopyFrom(graph_def)
    if scope:
        _leave_scope(found, scope)
    # Whoever prepares the source graph again puts in nodes of these names.
    prepared = set(provenance.prepared)
    if prepared:
        _rename(found, lambda name: f"{MARKER_NAME}/{name}" if name in prepared else name)
    nodes = {node.name: node for node in found.node}
    for original in GraphDef.FromString(provenance.originals).node:
        node = nodes.get(original.name)
        if node is None:
            node = found.node.add()
        node.CopyFrom(original)
        # The rewrite dropped these from all other nodes; in the source they may have been wrong.
        if "_output_shapes" in node.attr:
            del node.attr["_output_shapes"]
    return found


def _leave_scope(graph_def: Any, scope: str) -> None:
    """Takes a name scope off the nodes in it; nodes outside whose names are then taken get a scope of their own."""
    inside = {node.name for node in graph_def.node if node.name.startswith(scope)}
    taken = {name.removeprefix(scope) for name in inside}

    def renamed(name: str) -> str:
        if name in inside:
            return name.removeprefix(scope)
        return f"outside/{name}" if name in taken else name

    _rename(graph_def, renamed)
    for node in graph_def.node:
        if "_class" in node.attr:
            del node.attr["_class"]
        if "frame_name" in node.attr:  # of a while loop; an import puts the scope in front
            node.attr["frame_name"].s = node.attr["frame_name"].s.removeprefix(scope.encode())


def _rename(graph_def: Any, renamed: Callable[[str], str]) -> None:
    for node in graph_def.node:
        node.name = renamed(node.name)
        node.input[:] = [_renamed_input(text, renamed) for text in node.input]


def _renamed_input(text: str, renamed: Callable[[str], str]) -> str:
    caret = "^" if text.startswith("^") else ""
    name, colon, port = text.removeprefix("^").partition(":")
    return f"{caret}{renamed(name)}{colon}{port}"
