"""The only way to change a graph.

Every edit is filed under the plan item it belongs to, so that the report can be the join of plan and edits and never
a comparison of graphs. NodeDefs are kept up to date with every edit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fqrewrite.errors import GraphError
from fqrewrite.ir.block import Block
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.proto import NodeDef


class ItemEdits:
    """What was done for one plan item: names of new nodes, and of the consumers and nodes that changed."""

    __slots__ = ("inserted", "replaced", "rewired")

    def __init__(self) -> None:
        self.inserted: list[str] = []
        self.rewired: list[str] = []
        self.replaced: list[str] = []


class EditLog:
    """The edits, by plan item id, in the order in which the items were realised."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: dict[str, ItemEdits] = {}

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Takes new nodes that were removed again out of the log."""
        for edits in self.items.values():
            edits.inserted = [name for name in edits.inserted if not gone(name)]
            edits.replaced = [name for name in edits.replaced if not gone(name)]
            edits.rewired = [edge for edge in edits.rewired if not gone(edge.rpartition(":")[0])]

    @property
    def inserted(self) -> int:
        """Number of nodes inserted."""
        return sum(len(edits.inserted) for edits in self.items.values())


SHARED = "shared"
"""The item under which edits stand that serve several items: constants, the step counter."""


class Editor:
    """Adds nodes to a graph and moves edges.

    New nodes come from templates: a NodeDef that holds op and attributes, copied and then named. That is the
    cheapest way to fill a protobuf from Python (1.4 microseconds a node, measured).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.log = EditLog()
        self._nodes = graph.nodes
        self._new_proto = graph.graph_def.node.add
        self._unindexed: list[Node] = []
        self._sealed: set[Node] = set()
        self._source_count = len(graph)
        self.originals: dict[str, bytes] = {}
        self._current = self.log.items[SHARED] = ItemEdits()

    def begin(self, item: str) -> None:
        """Files the edits that follow under this plan item.

        Raises:
            GraphError: `item-realised-twice`.
        """
        if item in self.log.items:
            raise GraphError("item-realised-twice", f"plan item {item!r} was realised before")
        self._current = self.log.items[item] = ItemEdits()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Files the edits within under `SHARED`."""
        current = self._current
        self._current = self.log.items[SHARED]
        try:
            yield
        finally:
            self._current = current

    def add(
        self,
        template: Any,
        name: str,
        inputs: Sequence[Value] = (),
        *,
        controls: Sequence[Node] = (),
        device: str = "",
    ) -> Node:
        """Appends a node.

        Args:
            template: NodeDef with op and attributes.
            name: must be free.
            inputs, controls, device: of the new node.

        Raises:
            GraphError: `duplicate-node-name`.
        """
        nodes = self._nodes
        if name in nodes:
            raise GraphError("duplicate-node-name", f"a node called {name!r} exists already", where=name)
        proto = self._new_proto()
        proto.CopyFrom(template)
        proto.name = name
        if device:
            proto.device = device
        node = Node(name, template.op, proto, len(nodes))
        if inputs:
            node.inputs = data = list(inputs)
            texts = []
            for slot, (source, port) in enumerate(data):
                source.uses.append((node, slot))
                texts.append(f"{source.name}:{port}" if port else source.name)
            proto.input.extend(texts)
        if controls:
            node.controls = list(controls)
            proto.input.extend(["^" + control.name for control in controls])
        nodes[name] = node
        self._unindexed.append(node)
        self._current.inserted.append(name)
        return node

    def insert(self, block: Block, scope: str, arguments: Sequence[Value]) -> list[Value]:
        """Appends a whole block; returns what it exports.

        To this graph each export is a node that reads all of the block's arguments; what is inside cannot be read or
        rewired any more. (A `Graph` made of the GraphDef afterwards shows every node.)

        Args:
            block: what to insert.
            scope: must be free.
            arguments: the tensors that the block reads.

        Raises:
            GraphError: `duplicate-node-name`.
        """
        texts = [f"{source.name}:{port}" if port else source.name for source, port in arguments]
        names, protos = block.insert(self.graph.graph_def, scope, texts)
        exports: dict[str, Value] = {}
        for proto in protos:
            name = proto.name
            if name in exports:
                continue
            if name in self._nodes:
                raise GraphError("duplicate-node-name", f"the scope {scope!r} is in use", where=scope)
            node = Node(name, proto.op, proto, len(self._nodes))
            node.inputs = list(arguments)
            for slot, (source, _) in enumerate(arguments):
                source.uses.append((node, slot))
            self._nodes[name] = node
            self._sealed.add(node)
            self._unindexed.append(node)
            exports[name] = Value(node, 0)
        self._current.inserted.extend(names)
        return [exports[proto.name] for proto in protos]

    def clone(self, node: Node, name: str, inputs: Sequence[Value]) -> Node:
        """Appends a copy of a node with every attribute, its device and its control inputs, but other data inputs."""
        template = NodeDef()
        template.CopyFrom(node.proto)
        template.ClearField("input")
        return self.add(template, name, inputs, controls=node.controls)

    def redirect(self, edges: Iterable[tuple[Node, int]], new: Value) -> None:
        """Makes each (consumer, slot) read `new`."""
        for node, slot in edges:
            self.set_input(node, slot, new)

    def set_input(self, node: Node, slot: int, new: Value) -> None:
        """Makes one data input read `new`.

        Raises:
            GraphError: `broken-invariant` when the node stands for a block.
        """
        self._change(node)
        old = node.inputs[slot]
        old.node.uses.remove((node, slot))
        node.inputs[slot] = new
        new.node.uses.append((node, slot))
        node.proto.input[slot] = _text(new)  # data inputs stand first
        self._current.rewired.append(f"{node.name}:in{slot}")

    def add_control(self, node: Node, before: Node) -> None:
        """Makes `before` run before `node`."""
        if before not in node.controls:
            self._change(node)
            node.controls.append(before)
            node.proto.input.append("^" + before.name)
            self._current.rewired.append(f"{node.name}:^{before.name}")

    def drop_control(self, node: Node, before: Node) -> None:
        """Makes `node` wait for `before` no longer."""
        if before in node.controls:
            self._change(node)
            node.controls = [control for control in node.controls if control is not before]
            kept = [text for text in node.proto.input if text != "^" + before.name]
            del node.proto.input[:]
            node.proto.input.extend(kept)
            self._current.rewired.append(f"{node.name}:^{before.name}")

    def become(self, node: Node, template: Any, inputs: Sequence[Value]) -> None:
        """Turns a node into another operation under its old name, so that everything that names it still resolves.

        Control inputs and the device stay.
        """
        self._change(node)
        self._index_new()
        for slot, value in enumerate(node.inputs):
            value.node.uses.remove((node, slot))
        name, device, old_op = node.name, node.proto.device, node.op
        node.proto.CopyFrom(template)
        node.proto.name, node.proto.device = name, device
        node.op = template.op
        node.inputs = list(inputs)
        for slot, value in enumerate(inputs):
            value.node.uses.append((node, slot))
        self.graph.reindex_op(node, old_op)
        node.proto.input.extend([*map(_text, inputs), *("^" + control.name for control in node.controls)])
        self._current.replaced.append(name)

    def remove(self, nodes: Collection[Node]) -> None:
        """Removes nodes; nothing that stays may read them or wait for them. O(nodes of the graph).

        Raises:
            GraphError: `broken-invariant` when something would read a node that is gone, or blocks were inserted
                (what is in them is not in this graph; make a new `Graph` first).
        """
        if self._sealed:
            raise GraphError("broken-invariant", "nodes are removed before blocks are inserted, or from a new graph")
        self._index_new()
        gone = set(nodes)
        for node in self.graph:
            if node not in gone and any(operand.node in gone for operand in node.inputs):
                raise GraphError("broken-invariant", f"{node.name!r} reads a node that is to be removed")
            if node not in gone and not gone.isdisjoint(node.controls):
                raise GraphError("broken-invariant", f"{node.name!r} waits for a node that is to be removed")
        for node in gone:
            self._remember(node)
        self._source_count -= sum(node.index < self._source_count for node in gone)
        self.graph.discard(gone)

    def commit(self) -> None:
        """Ends the edits: checks that all new names differ, and enters the new nodes in the op-type index.

        Raises:
            GraphError: `duplicate-node-name` when two blocks share a name.
        """
        lists = [edits.inserted for edits in self.log.items.values()]
        if len(set().union(*lists)) != sum(map(len, lists)):
            twice = Counter(name for names in lists for name in names).most_common(1)[0][0]
            raise GraphError("duplicate-node-name", f"two nodes were inserted under the name {twice!r}", where=twice)
        self._index_new()

    def _index_new(self) -> None:
        self.graph.index(self._unindexed)
        self._unindexed.clear()

    def _change(self, node: Node) -> None:
        """To be called before a node is changed."""
        if node in self._sealed:
            raise GraphError("broken-invariant", f"{node.name!r} stands for a block, whose inputs are sealed")
        self._remember(node)

    def _remember(self, node: Node) -> None:
        if node.index < self._source_count and node.name not in self.originals:
            self.originals[node.name] = node.proto.SerializeToString(deterministic=True)


def _text(value: Value) -> str:
    """A data input as a NodeDef writes it."""
    return f"{value.node.name}:{value.port}" if value.port else value.node.name
