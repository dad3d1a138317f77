"""What a rewrite of a MetaGraphDef comes to for a graph whose nodes cannot be taken away or become others.

New nodes are added under their own names, and edges are moved. A node that the rewrite turned into another operation
stays what it is; the other operation is added as its successor, called ``<name>/rewritten``, and everything that read
the node reads the successor. What the rewrite removed stays, unread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from fqrewrite.ir.graph import split_tensor
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.model.collections import GLOBAL_VARIABLES
from fqrewrite.proto import GraphDef

# Attributes that say something about a graph's other nodes, or about its writing.
_OF_NO_MEANING = ("_class", "_output_shapes")


class Edge(NamedTuple):
    """A data input of an old node, and the tensor that it is to read."""

    consumer: str
    slot: int
    source: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done to the graph.

    Attributes:
        added: GraphDef of the nodes to add, which read old ones by name.
        edges: data inputs of old nodes that move.
        waits: for each old node whose control inputs change all that it is to wait for, by name.
        successors: names of the nodes that take the place of old ones.
        changed: names of the old nodes of which any input changes.
    """

    added: Any
    edges: tuple[Edge, ...]
    waits: dict[str, tuple[str, ...]]
    successors: dict[str, str]
    changed: tuple[str, ...]


def difference(source: Any, rewritten: Any, outputs: Collection[str]) -> Difference:
    """Compares a rewritten GraphDef with its source, node by node; the provenance in it is passed over.

    Args:
        source: GraphDef.
        rewritten: GraphDef.
        outputs: names of nodes that are read from outside.
    """
    return _Comparison(source, rewritten, outputs).difference()


class _Comparison:
    def __init__(self, source: Any, rewritten: Any, outputs: Collection[str]) -> None:
        self.old = {node.name: node for node in source.node}
        self.new = {node.name: node for node in rewritten.node if node.name != MARKER_NAME}
        self.versions = source.versions
        read = {name for node in self.new.values() for name in _sources(node)} | set(outputs)
        self.replaced = {
            name: node for name, node in self.new.items() if name in self.old and _is_other(self.old[name], node)
        }
        self.successors = {name: self._free(f"{name}/rewritten") for name in self.replaced if name in read}

    def difference(self) -> Difference:
        edges: list[Edge] = []
        waits: dict[str, tuple[str, ...]] = {}
        for name, node in self.new.items():
            if name not in self.old or name in self.replaced:
                continue
            data, controls = self._inputs(node)
            old_data, old_controls = _split(self.old[name])
            moved = zip(data, map(_tensor, old_data), strict=True)
            edges += [Edge(name, slot, text) for slot, (text, old) in enumerate(moved) if text != old]
            if set(controls) != set(old_controls):
                waits[name] = tuple(controls)
        return Difference(
            added=self._added(),
            edges=tuple(edges),
            waits=waits,
            successors=self.successors,
            changed=tuple(sorted({edge.consumer for edge in edges} | waits.keys())),
        )

    def _added(self) -> Any:
        added = GraphDef(versions=self.versions)
        for name, node in self.new.items():
            if name in self.old and name not in self.successors:
                continue
            copy = added.node.add()
            copy.CopyFrom(node)
            copy.name = self.successors.get(name, name)
            data, controls = self._inputs(node)
            copy.input[:] = [*data, *("^" + control for control in controls)]
        return added

    def _inputs(self, node: Any) -> tuple[list[str], list[str]]:
        """Data inputs as ``node:port`` and control inputs by name, successors taking the place of what is replaced."""
        data, controls = _split(node)
        return (
            [_tensor(text, self.successors) for text in data],
            [self.successors.get(name, name) for name in controls],
        )

    def _free(self, name: str) -> str:
        number, free = 0, name
        while free in self.old or free in self.new:
            number += 1
            free = f"{name}_{number}"
        return free


def new_variables(source: Any, rewritten: Any) -> list[bytes]:
    """The VariableDefs that the rewrite added to a MetaGraphDef's global collection."""
    known = set(_variables(source))
    return [entry for entry in _variables(rewritten) if entry not in known]


def collection_changes(source: Any, rewritten: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """Of collections of nodes and tensors that changed the key, the names that went, and those that came."""
    for key in sorted({*source.collection_def, *rewritten.collection_def}):
        before, after = _names(source, key), _names(rewritten, key)
        gone = [name for name in before if name not in after]
        come = [name for name in after if name not in before]
        if gone or come:
            yield key, gone, come


def _variables(meta_graph: Any) -> list[bytes]:
    collections = meta_graph.collection_def
    return list(collections[GLOBAL_VARIABLES].bytes_list.value) if GLOBAL_VARIABLES in collections else []


def _names(meta_graph: Any, key: str) -> list[str]:
    collections = meta_graph.collection_def
    return list(collections[key].node_list.value) if key in collections else []


def _is_other(old: Any, new: Any) -> bool:
    return old.op != new.op or _attributes(old) != _attributes(new)


def _attributes(node: Any) -> dict[str, Any]:
    return {key: value for key, value in node.attr.items() if key not in _OF_NO_MEANING}


def _sources(node: Any) -> Iterator[str]:
    data, controls = _split(node)
    yield from (split_tensor(text)[0] for text in data)
    yield from controls


def _split(node: Any) -> tuple[list[str], list[str]]:
    """Data inputs as they are written, and control inputs by name."""
    data = [text for text in node.input if not text.startswith("^")]
    return data, [text[1:] for text in node.input if text.startswith("^")]


def _tensor(text: str, renamed: Mapping[str, str] = MappingProxyType({})) -> str:
    name, port = split_tensor(text)
    return f"{renamed.get(name, name)}:{port}"
