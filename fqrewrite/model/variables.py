"""The variables of a bare GraphDef: what initializes, reads and updates each, found from the ops around them.

A GraphDef does not say which variables an optimizer trains; its structure does. A variable is trained when
it has a floating dtype and nothing in the graph computes a new value for it (as for moving averages and
step counters) and it is neither a statistic that a batch norm normalises with nor the range of a fake
quantizer. Setting a variable from outside, to a constant or to another variable's value is not computing:
savers restore, Keras assigns from placeholders, moving averages are swapped in.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fqrewrite.proto import attrs, dtypes

REF_VARIABLES = frozenset({"Variable", "VariableV2"})
RESOURCE_VARIABLES = frozenset({"VarHandleOp"})
VARIABLES = REF_VARIABLES | RESOURCE_VARIABLES

_ASSIGN = frozenset({"Assign", "AssignVariableOp"})
_UPDATE_PREFIXES = ("AssignAdd", "AssignSub", "CountUpTo", "ResourceCountUpTo", "Scatter", "ResourceScatter")
_OPTIMIZER_PREFIXES = ("Apply", "ResourceApply", "SparseApply", "ResourceSparseApply")
# Ops that hand on the variable itself, by reference or handle, or the value read from it.
_HAND_ON = frozenset({"Identity", "RefIdentity", "Enter", "RefEnter", "Switch", "RefSwitch"})
_READ = _HAND_ON | {"ReadVariableOp", "Cast", "Reshape"}
# Values that come from outside the graph, set as they are.
_OUTSIDE = frozenset({"RestoreV2", "Restore", "RestoreSlice", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_DATA_PREFIXES = ("Placeholder", "Iterator", "QueueDequeue", "Reader", "PyFunc")
_FUSED_BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})


class FoundVariable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable op and what belongs to it.

    Attributes:
        name: the variable op's name.
        is_resource: a VarHandleOp, not a reference variable.
        initializer: name of the op that sets the initial value; None when the graph has none.
        initial_value: tensor of the initial value, None without an initializer.
        snapshot: tensor that reads the variable; None for a resource variable that is never read.
        trainable: whether an optimizer should train it (see the head of this module).
    """

    name: str
    is_resource: bool
    initializer: str | None
    initial_value: str | None
    snapshot: str | None
    trainable: bool


def find_variables(graph_def: Any) -> list[FoundVariable]:
    """Returns the variables of a GraphDef's main graph, in the order of their ops. Linear in the nodes."""
    return _Finder(graph_def).variables()


def _node_name(reference: str) -> str:
    return reference.partition(":")[0]


class _Finder:
    def __init__(self, graph_def: Any) -> None:
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}
        self.assigns: dict[str, list[Any]] = {}
        self.reads: dict[str, list[str]] = {}
        self.updated: set[str] = set()
        self.trained: set[str] = set()
        self._collect()

    def _collect(self) -> None:
        """Fills the tables of writes and reads from every op whose first input is a variable."""
        for node in self.nodes.values():
            op = node.op
            if op in _ASSIGN or op.startswith(_UPDATE_PREFIXES):
                variable = self._behind(node, 0, _HAND_ON)
                if variable is not None and op in _ASSIGN and len(node.input) >= 2:
                    self.assigns.setdefault(variable, []).append(node)
                elif variable is not None:
                    self.updated.add(variable)
            elif op in ("Identity", "ReadVariableOp"):
                # Only direct reads: one behind a Switch or Enter runs in its branch or frame only.
                source = self.nodes.get(_node_name(node.input[0])) if node.input else None
                if source is not None and source.op in (REF_VARIABLES if op == "Identity" else RESOURCE_VARIABLES):
                    self.reads.setdefault(source.name, []).append(node.name)
            elif op in _FUSED_BATCH_NORMS:
                if not attrs.get_bool(node, "is_training", True):
                    self._add_statistics(node, (3, 4))
            elif op.startswith("FakeQuantWithMinMaxVars"):
                self._add_statistics(node, (1, 2))
            elif op == "Sub":
                self._unfused_mean(self._behind_op(node, 1, "Mul"))
            elif op == "Mul":
                self._unfused_negative_mean(node)
            elif op == "Rsqrt":
                self._unfused_variance(node)
            elif op.startswith(_OPTIMIZER_PREFIXES):
                handles = [_node_name(reference) for reference in node.input]
                self.trained.update(handles[:1])
                self.updated.update(name for name in handles[1:] if name in self.nodes)  # its slots

    def variables(self) -> list[FoundVariable]:
        return [self._describe(node) for node in self.nodes.values() if node.op in VARIABLES]

    def _describe(self, variable: Any) -> FoundVariable:
        name = variable.name
        is_resource = variable.op in RESOURCE_VARIABLES
        initializer = self._initializer(name)
        for assign in self.assigns.get(name, ()):
            if assign is not initializer and self._computes(assign):
                self.updated.add(name)
        return FoundVariable(
            name=name,
            is_resource=is_resource,
            initializer=None if initializer is None else initializer.name,
            initial_value=None if initializer is None else _tensor(initializer.input[1]),
            snapshot=self._snapshot(name, is_resource),
            trainable=self._is_floating(variable) and (name in self.trained or name not in self.updated),
        )

    def _initializer(self, name: str) -> Any:
        """Returns the Assign with TensorFlow's usual name, else the first that assigns a constant."""
        assigns = self.assigns.get(name, ())
        for assign in assigns:
            if assign.name == f"{name}/Assign":
                return assign
        return next((assign for assign in assigns if self._is_constant(assign.input[1])), None)

    def _snapshot(self, name: str, is_resource: bool) -> str | None:
        usual = f"{name}/Read/ReadVariableOp" if is_resource else f"{name}/read"
        reads = self.reads.get(name, ())
        if usual in reads:
            return f"{usual}:0"
        if reads:
            return f"{reads[0]}:0"
        return None if is_resource else f"{name}:0"  # a reference can be read as it is

    def _is_floating(self, variable: Any) -> bool:
        return attrs.get_type(variable, "dtype", dtypes.DT_INVALID) in dtypes.FLOATING

    def _computes(self, assign: Any) -> bool:
        """Returns whether an assignment computes a new value in the graph."""
        source = self._source(assign.input[1], _READ)
        if source is None or source.op in _OUTSIDE or source.op in VARIABLES:
            return False
        return not self._is_constant(assign.input[1])

    def _is_constant(self, reference: str) -> bool:
        """Returns whether a tensor depends on neither variables nor data. Stops at the first found."""
        seen: set[str] = set()
        pending = [_node_name(reference)]
        while pending:
            name = pending.pop()
            node = self.nodes.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.op in VARIABLES or node.op in _OUTSIDE or node.op.startswith(_DATA_PREFIXES):
                return False
            pending.extend(_node_name(item) for item in node.input if not item.startswith("^"))
        return True

    def _source(self, reference: str, through: frozenset[str]) -> Any:
        """Returns the node that a reference leads to through ops that hand on their first input, or None."""
        node = self.nodes.get(_node_name(reference))
        for _ in range(64):  # longer only in a cycle
            if node is None or node.op not in through or not node.input:
                return node
            node = self.nodes.get(_node_name(node.input[0]))
        return None

    def _behind(self, node: Any, slot: int, through: frozenset[str]) -> str | None:
        """Returns the name of the variable that an input slot leads to, if it leads to one."""
        if slot >= len(node.input):
            return None
        source = self._source(node.input[slot], through)
        return source.name if source is not None and source.op in VARIABLES else None

    def _add_statistics(self, node: Any, slots: tuple[int, ...]) -> None:
        """Marks the variables read in these slots as written by somebody else: statistics and ranges."""
        self.updated.update(name for slot in slots if (name := self._behind(node, slot, _READ)) is not None)

    def _unfused_variance(self, rsqrt: Any) -> None:
        """Marks v in Rsqrt(v + epsilon)."""
        added = self._behind_op(rsqrt, 0, "Add") or self._behind_op(rsqrt, 0, "AddV2")
        if added is not None and self._behind_op(added, 1, "Const") is not None:
            self._add_statistics(added, (0,))

    def _unfused_mean(self, product: Any) -> None:
        """Marks m in beta - m * (Rsqrt(...) [* gamma]), given the product in it, if it is one."""
        for slot in (0, 1):
            if product is not None and self._is_scale(product, 1 - slot):
                self._add_statistics(product, (slot,))

    def _unfused_negative_mean(self, product: Any) -> None:
        """Marks m in (-m) * (Rsqrt(...) [* gamma]), as tf.nn.batch_normalization writes it without a beta."""
        for slot in (0, 1):
            negative = self._behind_op(product, slot, "Neg")
            if negative is not None and self._is_scale(product, 1 - slot):
                self._add_statistics(negative, (0,))

    def _is_scale(self, node: Any, slot: int) -> bool:
        if self._behind_op(node, slot, "Rsqrt") is not None:
            return True
        scale = self._behind_op(node, slot, "Mul")
        return scale is not None and any(self._behind_op(scale, factor, "Rsqrt") is not None for factor in (0, 1))

    def _behind_op(self, node: Any, slot: int, op: str) -> Any:
        """Returns the node that an input slot leads to if it has the op, else None."""
        source = self._source(node.input[slot], _HAND_ON) if slot < len(node.input) else None
        return source if source is not None and source.op == op else None


def _tensor(reference: str) -> str:
    """Returns a node's input as a full tensor name, with its port."""
    return reference if ":" in reference else f"{reference}:0"
