"""Other names for nodes of a model, where they cannot keep those they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def rename_nodes(message: Any, graph_def: Any, names: Mapping[str, str]) -> None:
    """Gives nodes other names, also where a MetaGraphDef's signatures and saver name them.

    Wishes for colocation are dropped; collections are not looked at.

    Args:
        message: GraphDef or MetaGraphDef; is edited.
        graph_def: the graph in it.
        names: the new names by the old ones.
    """
    for node in graph_def.node:
        node.name = names.get(node.name, node.name)
        node.input[:] = [renamed(text, names) for text in node.input]
        if "_class" in node.attr:
            del node.attr["_class"]
    if message is not graph_def:
        _rename_public(message, lambda text: renamed(text, names))


def rename_tensors(meta_graph: Any, names: Mapping[str, str]) -> None:
    """Lets signatures of a MetaGraphDef name other tensors, by the old tensor; nodes keep their names."""
    _rename_public(meta_graph, lambda text: names.get(text, text))


def _rename_public(meta_graph: Any, rename: Callable[[str], str]) -> None:
    for signature in meta_graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            _rename_info(info, rename)
    saver = meta_graph.saver_def
    for key in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
        if getattr(saver, key):
            setattr(saver, key, rename(getattr(saver, key)))


def _rename_info(info: Any, rename: Callable[[str], str]) -> None:
    kind = info.WhichOneof("encoding")
    if kind == "name":
        info.name = rename(info.name)
    elif kind == "coo_sparse":
        for key in ("values_tensor_name", "indices_tensor_name", "dense_shape_tensor_name"):
            setattr(info.coo_sparse, key, rename(getattr(info.coo_sparse, key)))
    elif kind == "composite_tensor":
        for component in info.composite_tensor.components:
            _rename_info(component, rename)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A tensor, node or control input whose node has another name now."""
    caret = "^" if text.startswith("^") else ""
    name, colon, port = text.removeprefix("^").partition(":")
    return f"{caret}{names.get(name, name)}{colon}{port}"
