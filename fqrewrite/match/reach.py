"""What a node needs, and what needs it."""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import READ_OPS, VARIABLE_OPS

_TABLE_FILLS = ("InitializeTable", "LookupTableImport")
_OUTSIDE = frozenset({"RestoreV2", "Restore", "RestoreSlice", "Placeholder", "PlaceholderWithDefault"})


def ancestors(roots: Iterable[Node]) -> set[Node]:
    """The roots and all that they read or wait for, directly or not."""
    found = set(roots)
    queue = list(found)
    for node in queue:
        for source in (*(operand.node for operand in node.inputs), *node.controls):
            if source not in found:
                found.add(source)
                queue.append(source)
    return found


def descendants(roots: Iterable[Node]) -> set[Node]:
    """The roots and all that reads them, directly or not."""
    found = set(roots)
    queue = list(found)
    for node in queue:
        for consumer, _ in node.uses:
            if consumer not in found:
                found.add(consumer)
                queue.append(consumer)
    return found


def readers(roots: Iterable[Value]) -> set[Node]:
    """All nodes that read these values, directly or through others; not those that only wait for them."""
    return descendants(consumer for value in roots for consumer in value.consumers())


def with_initializers(needed: set[Node]) -> set[Node]:
    """Needed nodes, and what gives the variables and lookup tables among them their first values.

    Variables also keep their plain reads, which a MetaGraphDef names.
    """
    found = set(needed)
    queue = list(found)
    for node in queue:
        new: list[Node] = []
        if node.op in VARIABLE_OPS:
            readings = [use for use, slot in node.uses if slot == 0 and use.op in READ_OPS and not use.controls]
            assign = initializer(node)
            new = [*readings, *([assign] if assign else [])]
        elif "Table" in node.op:
            new = [use for use, slot in node.uses if slot == 0 and use.op.startswith(_TABLE_FILLS)]
        more = ancestors(new) - found
        found |= more
        queue += more
    return found


def initializer(variable: Node) -> Node | None:
    """The assignment of the initial value: the one that TensorFlow calls so, else the first that restores nothing."""
    assigns = [use for use, slot in variable.uses if slot == 0 and use.op in ("Assign", "AssignVariableOp")]
    named = [node for node in assigns if node.name == f"{variable.name}/Assign"]
    fresh = [node for node in assigns if not any(source.op in _OUTSIDE for source in ancestors([node.inputs[1].node]))]
    return next(iter((*named, *fresh)), None)
