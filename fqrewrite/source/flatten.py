"""A model's function calls inlined, so that all that follows sees one flat graph.

That flat graph is what a plan is made on and what provenance leads back to. What `train` made of a SavedModel of
TensorFlow 2 is the body of a function; its source comes in its place (see `outlined`).
"""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.errors import path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import Library, drop_unused_functions, functions_of, reachable_functions
from fqrewrite.ir.graph import Graph, Node, split_tensor
from fqrewrite.ir.inline import CALLS
from fqrewrite.match.batch_norm import FUSED_OPS
from fqrewrite.match.conditionals import IF
from fqrewrite.match.parameters import FAKE_QUANT_OPS
from fqrewrite.model.container import Model
from fqrewrite.plans.functions import LAYER_OPS
from fqrewrite.transform.flatten import flatten_calls

_MATTERS = LAYER_OPS | FAKE_QUANT_OPS | IF | {*FUSED_OPS, "ReadVariableOp"}


def flatten_model(model: Model, outputs: Iterable[str]) -> None:
    """Inlines the plain calls that a model's outputs need, in place; `model.inlined` says how many there were.

    Of a SavedModel these are all; of another graph those with layers in them, batch norms, fake quantizers,
    conditionals or variables. A second time there are none.

    Args:
        model: is edited.
        outputs: tensors that are the point of the graph. Those that are not in it (yet) do not count; when that leaves
            none, the whole graph does.

    Raises:
        Refusal: as `source.outlined.outlined_functions` and `source.outlined.restore_source`.
        GraphError: a function or a call of one is damaged.
    """
    library = functions_of(model.graph_def)
    if not any(node.op in CALLS or node.op in library for node in model.graph_def.node if library):
        return
    # What follows is for models that call functions alone: others need not wait for the import.
    from fqrewrite.source.outlined import outlined_functions, restore_source
    from fqrewrite.source.signatures import join_signatures

    join_signatures(model)
    where = path_text(model.path)
    graph = Graph(model.graph_def)
    roots = _roots(graph, outputs)
    outlined = outlined_functions(graph, roots, where)
    found = flatten_calls(
        Editor(graph),
        roots,
        lambda name: name not in outlined and _matters(model, library, name),
    )
    calls = found.calls
    if outlined:
        calls += restore_source(model, outlined, where)
    if calls:
        model.edited = True
        model.inlined += calls
        drop_unused_functions(model.graph_def)


def _roots(graph: Graph, outputs: Iterable[str]) -> list[Node]:
    names = [split_tensor(text)[0] for text in outputs]
    return [graph.nodes[name] for name in names if name in graph] or list(graph)


def _matters(model: Model, library: Library, name: str) -> bool:
    if model.saved_model is not None:
        return True
    inside = [name, *reachable_functions(library, library[name].node_def)]
    return any(node.op in _MATTERS for function in inside for node in library[function].node_def)
