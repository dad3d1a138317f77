"""A graph that can be asked who reads what.

A `Graph` is a view over a GraphDef: nodes keep their NodeDef (so that unknown attributes survive untouched), and
inputs are resolved to objects once. Reading is free for all; changing goes through `ir.editor.Editor` alone.

Uses are lists, not dictionaries: on 100,000 nodes lists build in 0.25 s and dictionaries in 0.64 s (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError


class Value(NamedTuple):
    """One output of a node: a tensor."""

    node: Node
    port: int

    def __str__(self) -> str:
        return f"{self.node.name}:{self.port}"

    def uses(self) -> list[tuple[Node, int]]:
        """(consumer, input slot) of every data edge that reads this value, oldest first."""
        port = self.port
        return [(node, slot) for node, slot in self.node.uses if node.inputs[slot].port == port]

    def consumers(self) -> list[Node]:
        """Nodes that read this value, each once, oldest first."""
        return list(dict.fromkeys(node for node, _ in self.uses()))


class Node:
    """One operation.

    Attributes:
        name, op: as in the NodeDef.
        proto: the NodeDef.
        inputs: data inputs by slot.
        controls: nodes that must run before.
        uses: (consumer, input slot) of every data edge out of this node, whatever the port.
        index: position in the GraphDef.
    """

    __slots__ = ("controls", "index", "inputs", "name", "op", "proto", "uses")

    def __init__(self, name: str, op: str, proto: Any, index: int) -> None:
        self.name = name
        self.op = op
        self.proto = proto
        self.index = index
        self.inputs: list[Value] = []
        self.controls: list[Node] = []
        self.uses: list[tuple[Node, int]] = []

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}>"

    def value(self, port: int = 0) -> Value:
        """Output `port` of this node."""
        return Value(self, port)

    @property
    def scope(self) -> str:
        """The name without its last component; "" at the top."""
        return self.name.rpartition("/")[0]


class Graph:
    """The nodes of one GraphDef, by name and by op type.

    Args:
        graph_def: a GraphDef message. It stays the store: the editor adds to it and edits it in place.

    Attributes:
        graph_def: the message.
        nodes: the nodes by name, in graph order.
        in_order: whether every node stood behind all that it reads when the graph was read, as TensorFlow writes it.

    Raises:
        GraphError: `node-name-missing`, `duplicate-node-name`, `dangling-input` or `bad-input-syntax`.
    """

    def __init__(self, graph_def: Any) -> None:
        self.graph_def = graph_def
        self.in_order = True
        self.nodes: dict[str, Node] = {}
        self._by_op: dict[str, list[Node]] = {}
        self._build()

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            GraphError: `no-such-node`.
        """
        try:
            return self.nodes[name]
        except KeyError:
            raise GraphError("no-such-node", f"the graph has no node {name!r}") from None

    def value(self, tensor: str) -> Value:
        """The value written ``node:port``, or ``node`` for port 0.

        Raises:
            GraphError: `no-such-node`.
        """
        name, port = split_tensor(tensor)
        return Value(self.node(name), port)

    def by_op(self, *ops: str) -> list[Node]:
        """Nodes of these op types, in graph order."""
        if len(ops) == 1:
            return list(self._by_op.get(ops[0], ()))
        found = [node for op in ops for node in self._by_op.get(op, ())]
        return sorted(found, key=lambda node: node.index)

    def op_types(self) -> Iterable[str]:
        """The op types that occur."""
        return [op for op, nodes in self._by_op.items() if nodes]

    def index(self, nodes: Iterable[Node]) -> None:
        """Enters new nodes in the op-type index (for the editor)."""
        for node in nodes:
            self._by_op.setdefault(node.op, []).append(node)

    def reindex_op(self, node: Node, old_op: str) -> None:
        """Moves a node to its new op type in the index (for the editor)."""
        self._by_op[old_op].remove(node)
        self._by_op.setdefault(node.op, []).append(node)

    def discard(self, gone: set[Node]) -> None:
        """Takes nodes out of the graph and its GraphDef (for the editor, which checks that nothing reads them)."""
        stays = [node for node in self if node not in gone]
        protos, end = self.graph_def.node, len(self.nodes)
        for node in reversed(stays):  # whole runs at once: a single removal moves all that stands behind it
            if node.index + 1 < end:
                del protos[node.index + 1 : end]
            end = node.index
        if end:
            del protos[:end]
        for node in gone:
            del self.nodes[node.name]
        self._by_op.clear()
        for index, node in enumerate(stays):
            node.index = index
            node.uses = [use for use in node.uses if use[0] not in gone]
        self.index(stays)

    def _build(self) -> None:
        protos = list(self.graph_def.node)
        names = [proto.name for proto in protos]
        ops = [proto.op for proto in protos]
        if not all(names) or not all(ops):
            index = next(index for index, pair in enumerate(zip(names, ops, strict=True)) if not all(pair))
            raise GraphError("node-name-missing", f"node number {index} has no name or no op")
        made = list(map(Node, names, ops, protos, range(len(protos))))
        nodes = self.nodes = dict(zip(names, made, strict=True))
        if len(nodes) != len(made):
            twice = next(name for index, name in enumerate(names) if nodes[name].index != index)
            raise GraphError("duplicate-node-name", f"two nodes are called {twice!r}", where=twice)
        by_op = self._by_op
        for node, op in zip(made, ops, strict=True):
            same = by_op.get(op)
            if same is None:
                by_op[op] = [node]
            else:
                same.append(node)
        self._connect(made)

    def _connect(self, made: list[Node]) -> None:
        find, new_value, in_order = self.nodes.get, tuple.__new__, True
        for index, node in enumerate(made):
            texts = node.proto.input
            if not texts:
                continue
            data, controls = node.inputs, node.controls
            for text in texts:
                source = find(text)
                if source is not None:
                    port = 0
                elif text[:1] == "^":
                    source = find(text[1:])
                    if source is None:
                        raise _dangling(node, text)
                    controls.append(source)
                    if source.index >= index:
                        in_order = False
                    continue
                else:
                    name, port = split_tensor(text)
                    source = find(name)
                    if source is None:
                        raise _dangling(node, text)
                if controls:
                    what = f"data input {text!r} stands behind a control input"
                    raise GraphError("bad-input-syntax", what, where=node.name)
                if source.index >= index:
                    in_order = False
                source.uses.append((node, len(data)))
                data.append(new_value(Value, (source, port)))  # twice as fast as Value(...)
        self.in_order = in_order


def split_tensor(text: str) -> tuple[str, int]:
    """(node name, port) of a tensor written ``node:port`` or ``node``.

    Raises:
        GraphError: `bad-input-syntax` when the port is no number.
    """
    name, colon, port = text.rpartition(":")
    if not colon:
        return text, 0
    if not port.isdecimal() or not name:
        raise GraphError("bad-input-syntax", f"{text!r} is no tensor name", where=text)
    return name, int(port)


def _dangling(node: Node, text: str) -> GraphError:
    return GraphError("dangling-input", f"input {text!r} names a node that is not in the graph", where=node.name)
