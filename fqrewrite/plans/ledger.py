"""The plan while it is being made: items in, items out, each once."""

from __future__ import annotations

import msgspec

from fqrewrite.codes import CODES
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.proposal import Decline
from fqrewrite.plans.items import FoldItem, LeftOut, LeftOutKind, Note, QuantizerItem
from fqrewrite.plans.names import Names
from fqrewrite.plans.ties import Ties


class Ledger:
    """Collects the items of a plan."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.folds: list[FoldItem] = []
        self.quantizers: list[QuantizerItem] = []
        self.respelled: list[str] = []
        self._left_out: dict[tuple[str, str], LeftOut] = {}
        self._notes: dict[Note, None] = {}

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is left out, in the order in which it was met."""
        return tuple(self._left_out.values())

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes, each once."""
        return tuple(self._notes)

    def add_quantizer(self, item: QuantizerItem) -> int:
        """Adds a quantizer; returns its position."""
        self.quantizers.append(item)
        return len(self.quantizers) - 1

    def add_edge(self, index: int, edge: str) -> None:
        """Gives a weights quantizer another consumer that reads the same tensor under the same scheme."""
        item = self.quantizers[index]
        self.quantizers[index] = msgspec.structs.replace(item, edges=(*(item.edges or ()), edge))

    def tie(self, ties: Ties) -> None:
        """Makes quantizers share their ranges."""
        groups = {scope: group for group in ties.groups() for scope in group[0]}
        for index, item in enumerate(self.quantizers):
            if item.scope in groups:
                scopes, included = groups[item.scope]
                others = tuple(scope for scope in scopes if scope != item.scope)
                self.quantizers[index] = msgspec.structs.replace(item, tied_with=others, included=included)

    def has_left_out(self, node: Node) -> bool:
        """Whether a layer or batch norm is recorded as left out."""
        return ("layer", node.name) in self._left_out or ("batch_norm", node.name) in self._left_out

    def computed_in_place(self, node: Node) -> None:
        """Takes back that a batch norm which no layer takes in stays float: integers compute it where it stands."""
        entry = self._left_out.get(("batch_norm", node.name))
        if entry is not None and entry.code == "batch-norm-not-after-layer":
            del self._left_out["batch_norm", node.name]

    def note(self, note: Note) -> None:
        """Adds a note."""
        self._notes[note] = None

    def decline(self, decline: Decline) -> None:
        """Records why a rule declined; and, when that keeps a layer from being quantized, the layer."""
        self.leave_out(decline.kind, decline.node.name, decline.node.op, decline.code, decline.reason)
        if decline.layer is not None:
            reason = f"its batch norm {decline.node.name!r} cannot be folded: {decline.reason}"
            self.leave_out_layer(decline.layer.node, decline.code, reason)

    def leave_out_layer(self, node: Node, code: str, reason: str, because: str | None = None) -> None:
        """Records that a layer stays as it is."""
        self.leave_out("layer", node.name, node.op, code, reason, because)

    def leave_out_tensor(self, value: Value, code: str, reason: str, because: str | None = None) -> None:
        """Records that a tensor gets no quantizer."""
        self.leave_out("tensor", str(value), value.node.op, code, reason, because)

    def leave_out(
        self,
        kind: LeftOutKind,
        name: str,
        op: str,
        code: str,
        reason: str,
        because: str | None = None,
        *,
        function: str = "",
    ) -> None:
        """Records something left out; the first reason for a thing stays."""
        entry = LeftOut(
            kind=kind,
            name=name,
            op=op,
            code=code,
            reason=reason,
            remedy=CODES[code].remedy,
            because=because,
            function=function,
        )
        self._left_out.setdefault((kind, name), entry)
