"""What else of a SavedModel's graph is in use when it is cut down to its outputs.

Other signatures than the chosen ones go on being served, and the main op fills lookup tables when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fqrewrite.errors import path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import functions_of, reachable_functions
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.phase import PLACEHOLDERS
from fqrewrite.match.reach import ancestors
from fqrewrite.match.refusals import backward_pass
from fqrewrite.model.collections import node_list
from fqrewrite.model.container import Model
from fqrewrite.model.saved_model import INIT_SIGNATURE, MAIN_OP, input_names, output_names
from fqrewrite.model.saved_model_read import signature_keys
from fqrewrite.model.variables import VARIABLES
from fqrewrite.plans.items import Note
from fqrewrite.proto.attrs import type_attr
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.provenance import marked_functions
from fqrewrite.transform.templates import template

_READS = frozenset({"ResourceGather", "ResourceGatherNd"})
_MAIN_OPS = (MAIN_OP, "legacy_init_op")
_GIVEN = frozenset({"Const", "Placeholder"})  # TensorFlow feeds the path of an asset


def served_nodes(model: Model, graph: Graph) -> list[Node]:
    """What the signatures name that were not chosen; nothing of a model from a file."""
    return _present([name for key in _others(model) for name in output_names(model.message.signature_def[key])], graph)


def input_nodes(model: Model, graph: Graph) -> list[Node]:
    """The inputs of the chosen signatures of TensorFlow 2, needed or not: who calls them passes all."""
    if model.saved_model is None or not model.saved_model.has_objects:
        return []
    definitions = model.message.signature_def
    keys = [key for key in model.saved_model.signatures if key in definitions]
    nodes = _present([name for key in keys for name in input_names(definitions[key])], graph)
    return [node for node in nodes if node.op in PLACEHOLDERS]


def servable_nodes(model: Model, graph: Graph) -> list[Node]:
    """Those of the served nodes that need nothing but inference: their variables are read and not written."""
    backward = backward_pass(graph)
    found = []
    for node in served_nodes(model, graph):
        needed = ancestors([node])
        if backward.isdisjoint(needed) and all(_only_reads(other) for other in needed):
            found.append(node)
    return found


def flatten_others(model: Model) -> None:
    """Inlines the functions of signatures that were not chosen, in place, so that their variables can become constants.

    Those that compute what was rewritten for training stay calls: their graph has been undone.
    """
    if model.saved_model is None or not model.saved_model.has_objects:
        return
    graph, library = Graph(model.graph_def), functions_of(model.graph_def)
    marked = set(marked_functions(model.graph_def, path_text(model.path)))
    names = list[str]()
    for key in _others(model):
        outputs = output_names(model.message.signature_def[key])
        needed = ancestors(_present(outputs, graph))
        if needed and marked.isdisjoint(reachable_functions(library, (node.proto for node in needed))):
            names += outputs
    if names:
        flatten_model(model, names)


def _others(model: Model) -> list[str]:
    """The signatures that were not chosen; of TensorFlow 2, without those that go along (see `source.signatures`)."""
    source = model.saved_model
    if source is None:
        return []
    definitions = model.message.signature_def
    chosen = source.signatures if source.has_objects else ()
    given = {name for key in chosen if key in definitions for name in output_names(definitions[key])}
    others = [key for key in signature_keys(model.message) if key not in source.signatures]
    return [key for key in others if not given.issuperset(output_names(definitions[key]))]


def _only_reads(node: Node) -> bool:
    if not any(value.node.op in VARIABLES for value in node.inputs):
        return True
    writes = node.op.startswith(("Assign", "Scatter", "Apply", "Resource", "CountUpTo")) and node.op not in _READS
    return not writes and not any(value.HasField("func") for value in node.proto.attr.values())


def kept_signatures(model: Model) -> Note | None:
    """A note on the signatures that were not chosen, and are still there."""
    chosen = model.saved_model.signatures if model.saved_model else ()
    kept = _others(model)
    if not kept or not chosen:
        return None
    text = f"{_listed(kept)}: not chosen, and rewritten only in what it shares with {_listed(chosen)}"
    return Note(code="signature-not-rewritten", text=text)


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys))


def only_for_others(model: Model, graph: Graph, needed: Iterable[Node]) -> set[Node]:
    """The nodes that only signatures need that were not chosen.

    Args:
        model: the model.
        graph: of it.
        needed: outputs of the chosen signatures, and what training runs.
    """
    others = served_nodes(model, graph)
    return ancestors(others) - ancestors(needed) if others else set()


def main_op_nodes(model: Model, graph: Graph) -> list[Node]:
    """What is run when a SavedModel has been loaded and its variables restored; nothing of a model from a file."""
    return _present(main_ops(model.message), graph) if model.saved_model else []


def main_ops(meta_graph: Any) -> list[str]:
    """What is run when a SavedModel has been loaded and its variables restored."""
    names = [name for key in _MAIN_OPS for name in node_list(meta_graph, key)]
    if INIT_SIGNATURE in meta_graph.signature_def:
        names += output_names(meta_graph.signature_def[INIT_SIGNATURE])
    return names


def trim_main_ops(editor: Editor, model: Model, needed: set[Node], *, keeps_variables: bool) -> list[Node]:
    """Lets the main ops wait for nothing but what sets up the state that is needed.

    Args:
        editor: of the graph.
        model: of a SavedModel; of any other nothing is done.
        needed: what the graph is cut down to.
        keeps_variables: whether variables stay variables, or lookup tables are the only state.

    Returns:
        The main ops that are left.
    """
    found = main_op_nodes(model, editor.graph)
    _read_through(editor, ancestors(found))
    groups = [node for node in found if _is_group(node)]
    for group in groups:
        for control in list(group.controls):
            if _is_group(control):
                groups += [control] if control not in groups else []
            elif not _sets_up(control, needed, keeps_variables):
                editor.drop_control(group, control)
    return [node for node in found if _is_group(node) or _sets_up(node, needed, keeps_variables)]


def _read_through(editor: Editor, nodes: set[Node]) -> None:
    """Lets what reads a variable right after something was assigned to it take that.

    TensorFlow 2 keeps the path of a vocabulary in such a variable, which no checkpoint has.
    """
    for node in editor.graph:
        assigns = [control for control in node.controls if control.op == "AssignVariableOp"]
        if node.op != "ReadVariableOp" or node not in nodes or len(assigns) != 1:
            continue
        variable, value = assigns[0].inputs
        if variable == node.inputs[0] and value.node.op in _GIVEN:
            editor.become(node, template("Identity", T=type_attr(dtype_of(value.node))), [value])
            editor.drop_control(node, assigns[0])


def _is_group(node: Node) -> bool:
    return node.op == "NoOp"


def _present(names: Iterable[str], graph: Graph) -> list[Node]:
    nodes = (graph.nodes.get(name.partition(":")[0]) for name in names)
    return [node for node in dict.fromkeys(nodes) if node is not None]


def _sets_up(node: Node, needed: set[Node], keeps_variables: bool) -> bool:
    """Whether a node works on the needed state, and on no other variables."""
    state = [source for source in ancestors([node]) if _is_table(source) or source.op in VARIABLES]
    return bool(state) and all(source in needed and (keeps_variables or source.op not in VARIABLES) for source in state)


def _is_table(node: Node) -> bool:
    return node.op.endswith(("Table", "TableV2", "OfTensors", "OfTensorsV2"))
