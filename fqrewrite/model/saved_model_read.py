"""Opening a SavedModel directory: one of its graphs, chosen by its tags, and signatures of that.

The directory holds `saved_model.pb` (or `saved_model.pbtxt`) and, beside it, `variables/`, `assets/` and whatever else
its exporter put there. What is not rewritten is kept as bytes, not as messages: see `replace_meta_graph`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.ir.graph import split_tensor
from fqrewrite.model import kinds, wire
from fqrewrite.model.saved_model import SERVING_DEFAULT, SERVING_TAG, VARIABLES_PREFIX, input_names, output_names
from fqrewrite.proto import SavedModel

# Entries of signature_def that TensorFlow 2 keeps for itself: initialisation, training.
_INTERNAL = "__saved_model_"
_META_GRAPHS = SavedModel.DESCRIPTOR.fields_by_name["meta_graphs"].number


class SavedModelSource(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The SavedModel that a graph was read from.

    Attributes:
        directory: as it was given.
        raw: the bytes of saved_model.pb; of a saved_model.pbtxt, what it would be in binary.
        sha256: hex digest of the file and of what was chosen in it.
        index: of the chosen graph in `message.meta_graphs`.
        tags: of the chosen graph.
        signatures: keys of the chosen signatures, in the order they were asked for; () for a graph without any.
        has_objects: whether the graph comes with an object graph: TensorFlow 2 wrote it.
    """

    directory: Path
    raw: bytes
    sha256: str
    index: int
    tags: tuple[str, ...]
    signatures: tuple[str, ...]
    has_objects: bool

    @cached_property
    def message(self) -> Any:
        """The whole SavedModel as it was read. Parsed when it is first asked for; a rewrite does not change it."""
        return SavedModel.FromString(self.raw)

    @property
    def fields(self) -> list[wire.Field]:
        """Where the graphs are in `raw`."""
        return [field for field in wire.length_delimited(self.raw) if field.number == _META_GRAPHS]

    @property
    def variables(self) -> Path:
        """Prefix of the checkpoint with the variables, which need not exist."""
        return self.directory / VARIABLES_PREFIX

    def replace_meta_graph(self, meta_graph: bytes) -> bytes:
        """The bytes of a saved_model.pb with another graph in place of the chosen one; all others stay as they are."""
        chosen = self.fields[self.index]
        return self.raw[: chosen.start] + wire.bytes_field(_META_GRAPHS, meta_graph) + self.raw[chosen.end :]


class Opened(NamedTuple):
    """A SavedModel with one of its graphs.

    Attributes:
        source: the SavedModel; no signature is chosen yet.
        meta_graph: the chosen MetaGraphDef, to be edited.
        raw: its bytes in `source.raw`.
    """

    source: SavedModelSource
    meta_graph: Any
    raw: bytes


def open_saved_model(file: Path, data: bytes, tag_set: tuple[str, ...] | None) -> Opened:
    """Opens a SavedModel and chooses one of its graphs.

    Args:
        file: its saved_model.pb or saved_model.pbtxt.
        data: the bytes of that.
        tag_set: the tags of the graph; None for the only graph, or else the one that is tagged "serve" and no more.

    Raises:
        InputError: the file is damaged or no SavedModel (codes file-empty, file-foreign, file-truncated, graph-empty,
            pbtxt-syntax).
        ConfigError: codes tag-set-unknown, tag-set-ambiguous.
    """
    where = path_text(file)
    message, text = kinds.parse_saved_model(data, where)
    raw: bytes = message.SerializeToString(deterministic=True) if text else data
    index = _chosen_graph(message, tag_set, where)
    meta_graph = message.meta_graphs[index]
    tags = tuple(meta_graph.meta_info_def.tags)
    source = SavedModelSource(
        directory=file.parent,
        raw=raw,
        sha256=_digest(hashlib.sha256(data).hexdigest(), sorted(tags)),
        index=index,
        tags=tags,
        signatures=(),
        has_objects=bool(meta_graph.object_graph_def.nodes),
    )
    field = source.fields[index]
    return Opened(source, meta_graph, raw[field.content : field.end])


def choose_signatures(
    source: SavedModelSource, meta_graph: Any, wanted: tuple[str, ...], where: str
) -> SavedModelSource:
    """The same SavedModel with signatures chosen: those wanted, or else "serving_default" or the only one.

    Raises:
        InputError: signature-none for a SavedModel of TensorFlow 2 that gives nothing to call; signature-damaged for a
            signature of tensors that are not in the graph.
        ConfigError: codes signature-unknown, signature-ambiguous.
    """
    chosen = _chosen_signatures(meta_graph, wanted, source.has_objects, where)
    _check_signatures(meta_graph, chosen, where)
    return msgspec.structs.replace(source, signatures=chosen, sha256=_digest(source.sha256, chosen))


def _digest(digest: str, chosen: Iterable[str]) -> str:
    return hashlib.sha256("\0".join((digest, *chosen)).encode()).hexdigest()


def signature_keys(meta_graph: Any) -> list[str]:
    """Keys of the signatures that can be called, sorted."""
    definitions = meta_graph.signature_def
    return sorted(key for key in definitions if not key.startswith(_INTERNAL) and definitions[key].outputs)


def _chosen_graph(message: Any, wanted: tuple[str, ...] | None, where: str) -> int:
    tags = [frozenset(graph.meta_info_def.tags) for graph in message.meta_graphs]
    if wanted is not None:
        found = [index for index, own in enumerate(tags) if own == frozenset(wanted)]
    elif len(tags) == 1:
        found = [0]
    else:
        found = [index for index, own in enumerate(tags) if own == {SERVING_TAG}]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(_tags(own) for own in tags)
    if found:
        what = f"{len(found)} graphs of the SavedModel have the same tags, {_tags(tags[found[0]])}"
        raise ConfigError("tag-set-ambiguous", what, where=where)
    if wanted is None:
        what = (
            f"the SavedModel holds {len(tags)} graphs, and none has the tag {SERVING_TAG!r} only; their tags: {listed}"
        )
        raise ConfigError("tag-set-ambiguous", what, where=where)
    what = f"no graph of the SavedModel has exactly the tags {_tags(wanted)}; there are: {listed}"
    raise ConfigError("tag-set-unknown", what, where=where)


def _chosen_signatures(meta_graph: Any, wanted: tuple[str, ...], has_objects: bool, where: str) -> tuple[str, ...]:
    known = signature_keys(meta_graph)
    listed = ", ".join(map(repr, known)) or "none"
    for key in wanted:
        if key not in known:
            what = f"the graph has no signature {key!r}; it has: {listed}"
            raise ConfigError("signature-unknown", what, where=where)
    if wanted:
        return tuple(dict.fromkeys(wanted))
    if SERVING_DEFAULT in known:
        return (SERVING_DEFAULT,)
    if len(known) > 1:
        what = f"the graph has {len(known)} signatures and none is {SERVING_DEFAULT!r}: {listed}"
        raise ConfigError("signature-ambiguous", what, where=where)
    if not known and has_objects:
        raise InputError("signature-none", "the model has no signature, which would say what it computes", where=where)
    return tuple(known)


def _check_signatures(meta_graph: Any, keys: Iterable[str], where: str) -> None:
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    for key in keys:
        definition = meta_graph.signature_def[key]
        for tensor in (*input_names(definition), *output_names(definition)):
            name, port = split_tensor(tensor)
            if name not in nodes or port >= _outputs(nodes[name]):
                what = f"the signature {key!r} names {tensor!r}, and the graph has no such tensor"
                raise InputError("signature-damaged", what, where=where)


def _outputs(node: Any) -> float:
    """The number of outputs of a call; of anything else it is not known."""
    types = node.attr.get("Tout", None)
    return len(types.list.type) if types is not None and types.HasField("list") else math.inf


def _tags(tags: Collection[str]) -> str:
    return ",".join(sorted(tags)) if tags else "(none)"
