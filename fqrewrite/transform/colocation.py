"""Colocation with nodes that are gone: TensorFlow refuses to import a graph in which a node asks for it."""

from __future__ import annotations

from fqrewrite.ir.editor import Editor
from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import strs_attr

_CLASS = "_class"
_PREFIX = b"loc:@"


def drop_stale_colocations(editor: Editor) -> list[str]:
    """Takes out of every node's `_class` the nodes that are not in the graph, for after nodes were removed.

    Returns:
        Names of the nodes that changed. The edits are filed under the editor's current item.
    """
    graph = editor.graph
    names = {name.encode("utf-8") for name in graph.nodes}
    changed = []
    for node in graph:
        if _CLASS not in node.proto.attr:
            continue
        classes = list(node.proto.attr[_CLASS].list.s)
        kept = [entry for entry in classes if not entry.startswith(_PREFIX) or entry[len(_PREFIX) :] in names]
        if len(kept) < len(classes):
            template = NodeDef()
            template.CopyFrom(node.proto)
            template.ClearField("input")
            if kept:
                template.attr[_CLASS].CopyFrom(strs_attr(kept))
            else:
                del template.attr[_CLASS]
            editor.become(node, template, node.inputs)
            changed.append(node.name)
    return changed
