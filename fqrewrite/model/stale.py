"""What a MetaGraphDef says about nodes that are no longer in its graph.

`import_meta_graph` fails on a collection or signature that names a node which is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from google.protobuf.message import DecodeError

from fqrewrite.errors import GraphError
from fqrewrite.model.collections import VARIABLE_COLLECTIONS
from fqrewrite.proto import SaverDef, VariableDef, message_class

_COND, _WHILE = "cond_context", "while_context"
_SWITCH = frozenset({"Switch", "RefSwitch"})
OUTPUT_SHAPES = "_output_shapes"
"""Attribute with shapes that an exporter once inferred. TensorFlow checks it at import and needs it for nothing."""


def drop_stale(meta_graph: Any) -> dict[str, int]:
    """Takes out of collections, signatures and the saver what names nodes that are not in the graph.

    A control-flow context stays when its conditional is still one; the nodes in it that are gone leave it.

    Raises:
        GraphError: `collection-malformed` for an entry that cannot be read.

    Returns:
        By collection, the number of entries taken out; signatures and the saver under "signature_def" and "saver_def".
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    dropped: dict[str, int] = {}
    contexts = _Contexts(nodes)
    for key in sorted(meta_graph.collection_def):
        collection = meta_graph.collection_def[key]
        if collection.WhichOneof("kind") == "node_list":
            old = list(collection.node_list.value)
            new = [name for name in old if _exists(name, nodes)]
            collection.node_list.value[:] = new
        elif collection.WhichOneof("kind") == "bytes_list":
            old = list(collection.bytes_list.value)
            if key in (_COND, _WHILE):
                new = contexts.surviving(key, old)
            else:
                new = [entry for entry in old if all(_exists(name, nodes) for name in _parsed_names(key, entry))]
            collection.bytes_list.value[:] = new
        else:
            continue
        if len(new) < len(old):
            dropped[key] = len(old) - len(new)
        if not new:
            del meta_graph.collection_def[key]
    contexts.hoist(meta_graph)
    for key in sorted(meta_graph.signature_def):
        signature = meta_graph.signature_def[key]
        tensors = [info.name for part in (signature.inputs, signature.outputs) for info in part.values()]
        if not all(_exists(name, nodes) for name in tensors if name):
            del meta_graph.signature_def[key]
            dropped["signature_def"] = dropped.get("signature_def", 0) + 1
    if meta_graph.HasField("saver_def") and not all(
        _exists(name, nodes) for name in _saver_names(meta_graph.saver_def)
    ):
        meta_graph.ClearField("saver_def")
        dropped["saver_def"] = 1
    return dropped


def drop_output_shapes(graph_def: Any) -> int:
    """Drops all `_output_shapes` attributes; returns the number of nodes that had one.

    After a rewrite they describe another graph, and old exporters wrote some that TensorFlow 2.21 rejects.
    """
    count = 0
    functions = [node for function in graph_def.library.function for node in function.node_def]
    for node in (*graph_def.node, *functions):
        if OUTPUT_SHAPES in node.attr:
            del node.attr[OUTPUT_SHAPES]
            count += 1
    return count


def _exists(name: str, nodes: Collection[str]) -> bool:
    return name.lstrip("^").partition(":")[0] in nodes


def _parsed_names(collection: str, entry: bytes) -> list[str]:
    try:
        return list(_names(collection, entry))
    except DecodeError:
        what = f"the collection {collection!r} holds something other than it should"
        raise GraphError("collection-malformed", what) from None


def _names(collection: str, entry: bytes) -> Iterator[str]:
    """Names that an entry of a bytes_list needs; none for collections whose content is not known."""
    if collection in VARIABLE_COLLECTIONS:
        variable = VariableDef.FromString(entry)
        names = (variable.variable_name, variable.initializer_name, variable.snapshot_name, variable.initial_value_name)
        yield from filter(None, names)
    elif collection == "queue_runners":
        runner = message_class("tensorflow.QueueRunnerDef").FromString(entry)
        yield from filter(None, (runner.queue_name, runner.close_op_name, runner.cancel_op_name))
        yield from runner.enqueue_op_name
    elif collection == "savers":
        yield from _saver_names(SaverDef.FromString(entry))


def _saver_names(saver: Any) -> Iterator[str]:
    yield from filter(None, (saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name))


class _Contexts:
    """Contexts of v1 conditionals and loops, which may hold others."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes
        self.freed: dict[str, list[bytes]] = {_COND: [], _WHILE: []}

    def surviving(self, key: str, entries: list[bytes]) -> list[bytes]:
        """The entries of a collection that are still contexts; what a vanished one held is freed."""
        message = message_class(f"tensorflow.{'CondContextDef' if key == _COND else 'WhileContextDef'}")
        kept = []
        for entry in entries:
            context = message.FromString(entry)
            if self._prune(context):
                kept.append(context.SerializeToString(deterministic=True))
        return kept

    def hoist(self, meta_graph: Any) -> None:
        """Puts contexts that have lost what was around them into the collections."""
        for key, entries in self.freed.items():
            if entries:
                meta_graph.collection_def[key].bytes_list.value.extend(entries)

    def _prune(self, context: Any) -> bool:
        """Drops from a context what is gone; False when it is a context no longer."""
        nested = []
        for inner in context.nested_contexts:
            kind = inner.WhichOneof("ctxt")
            if kind is not None and self._prune(getattr(inner, kind)):
                nested.append((kind, inner))
        if not self._is_alive(context):
            for kind, inner in nested:
                key = _COND if kind == "cond_ctxt" else _WHILE
                self.freed[key].append(getattr(inner, kind).SerializeToString(deterministic=True))
            return False
        kept = [inner for _, inner in nested]
        del context.nested_contexts[:]
        context.nested_contexts.extend(kept)
        values = context.values_def
        values.values[:] = [name for name in values.values if _exists(name, self.nodes)]
        for inner, outer in list(values.external_values.items()):
            if not (_exists(inner, self.nodes) and _exists(outer, self.nodes)):
                del values.external_values[inner]
        if context.DESCRIPTOR.name == "WhileContextDef":
            for ends in (context.loop_enter_names, context.loop_exit_names):
                ends[:] = [name for name in ends if _exists(name, self.nodes)]
            if not _exists(context.maximum_iterations_name, self.nodes):
                context.maximum_iterations_name = ""
        return True

    def _is_alive(self, context: Any) -> bool:
        pivot = self.nodes.get(context.pivot_name.partition(":")[0])
        if pivot is None:
            return False
        if context.DESCRIPTOR.name == "WhileContextDef":
            pivots = (context.pivot_for_pred_name, context.pivot_for_body_name)
            return all(_exists(name, self.nodes) for name in pivots if name)
        if not pivot.input:
            return False
        switch = self.nodes.get(pivot.input[0].partition(":")[0])
        return switch is not None and switch.op in _SWITCH
