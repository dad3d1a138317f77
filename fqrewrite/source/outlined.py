"""Getting back from a SavedModel that `train` wrote, and that was trained and saved again, to the graph it was made of.

There the rewritten graph is the body of a function; its provenance has the whole source graph, but for variables and
inputs. Those are what the function is passed now. They take the names that the plan knows them by, whatever the objects
are called since; other nodes of these names move to a scope of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import Library, functions_of, reachable_functions
from fqrewrite.ir.graph import Graph, Node, Value, split_tensor
from fqrewrite.ir.inline import CALLS, called_function
from fqrewrite.match.reach import ancestors
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.model.container import Model
from fqrewrite.model.rename import rename_nodes, rename_tensors, renamed
from fqrewrite.outline.core import signature_of_core
from fqrewrite.proto import GraphDef
from fqrewrite.proto.attrs import type_attr, types_attr
from fqrewrite.source.provenance import Provenance, mark, marked_functions
from fqrewrite.transform.templates import template

_OUTSIDE = "outside"
_RENAMED = frozenset({"VarHandleOp", "Placeholder"})


class _Passed(NamedTuple):
    """What a function is passed, and its DataType number."""

    value: Value
    dtype: int


def outlined_functions(graph: Graph, roots: Iterable[Node], where: str) -> dict[str, Provenance]:
    """The functions that the roots run that are rewritten graphs, and how these were made.

    Raises:
        Refusal: `provenance-unreadable`; `provenance-ambiguous` for functions of several rewritten models.
    """
    marked = marked_functions(graph.graph_def, where)
    if not marked:
        return {}
    library = functions_of(graph.graph_def)
    run = reachable_functions(library, (node.proto for node in ancestors(roots)))
    found = {name: provenance for name, provenance in marked.items() if name in run}
    if len({provenance.originals for provenance in found.values()}) > 1:
        what = f"the outputs are computed by several rewritten models, in the functions {', '.join(found)}"
        raise Refusal("provenance-ambiguous", what, where=where)
    return found


def restore_source(model: Model, functions: Mapping[str, Provenance], where: str) -> int:
    """Puts the source graph in the place of calls of rewritten graphs, and its provenance with it.

    Args:
        model: is edited: nodes, signatures and saver. All other plain calls around those must be inlined.
        functions: of one rewritten model.
        where: the file, for messages.

    Returns:
        The number of calls.

    Raises:
        Refusal: `provenance-ambiguous` when a function is called several times, or passed the same variables otherwise.
    """
    library = functions_of(model.graph_def)
    provenance = next(iter(functions.values()))
    graph = Graph(model.graph_def)
    calls = _calls(graph, functions, library, where)
    sources = {call.name: provenance.calls[signature_of_core(library[function])] for function, call in calls.items()}
    passed = _passed(calls, library, provenance, where)
    tensors = _handed_out(graph, model.message, sources) if model.kind == "meta_graph" else {}

    source = _source_nodes(provenance, (library[name] for name in functions), passed)
    names = _new_names(graph, passed, {*(node.name for node in source.node), MARKER_NAME})
    types = {names.get(call.name, call.name): list(call.proto.attr["Tout"].list.type) for call in calls.values()}
    rename_nodes(model.message, model.graph_def, names)
    model.renamed = names
    if tensors:
        rename_tensors(model.message, {renamed(text, names): tensor for text, tensor in tensors.items()})
    nodes = model.graph_def.node
    nodes.extend([*source.node, _marker(provenance, source)])
    for name, (value, dtype) in passed.items():
        held = names.get(value.node.name, value.node.name)
        if held != name:  # what is no placeholder, or is passed twice
            identity = template("Identity", T=type_attr(dtype))
            identity.name, identity.input[:] = name, [f"{held}:{value.port}"]
            nodes.append(identity)
    graph = Graph(model.graph_def)
    editor = Editor(graph)
    for call_name, known in sources.items():
        call = graph.node(names.get(call_name, call_name))
        returned = [graph.node(known).value(port) for port in range(len(types[call.name]))]
        editor.become(call, template("IdentityN", T=types_attr(types[call.name])), returned)
        for consumer, slot in list(call.uses):
            editor.set_input(consumer, slot, returned[consumer.inputs[slot].port])
    return len(calls)


def _calls(graph: Graph, functions: Mapping[str, Provenance], library: Library, where: str) -> dict[str, Node]:
    """The one call of each function."""
    found: dict[str, Node] = {}
    for node in graph.by_op(*CALLS, *library):
        name = str(called_function(node, library).name)
        if name in functions and found.setdefault(name, node) is not node:
            what = f"the rewritten graph, in the function {name!r}, is called by {found[name].name!r} and {node.name!r}"
            raise Refusal("provenance-ambiguous", what, where=where)
    return found


def _passed(calls: Mapping[str, Node], library: Library, provenance: Provenance, where: str) -> dict[str, _Passed]:
    """What the functions are passed, by the names that the plan has for it."""
    found: dict[str, _Passed] = {}
    for function, call in calls.items():
        for argument, value in zip(library[function].signature.input_arg, call.inputs, strict=False):
            name, passed = provenance.captures.get(argument.name), _Passed(value, argument.type)
            if name is not None and found.setdefault(name, passed) != passed:
                what = f"what the plan calls {name!r} is {found[name].value} for one signature, and {value} for another"
                raise Refusal("provenance-ambiguous", what, where=where)
    return found


def _source_nodes(provenance: Provenance, bodies: Iterable[Any], passed: Collection[str]) -> Any:
    """The source graph without what is passed, which is called as it is now; a GraphDef.

    TensorFlow gives the functions that a function calls other names each time that it saves a model.

    Args:
        provenance: of the functions.
        bodies: the functions, whose nodes have the names of the source graph and call functions by their names now.
        passed: names of nodes.
    """
    kept = [node for node in GraphDef.FromString(provenance.originals).node if node.name not in passed]
    called = {node.name: _functions_in(node) for body in bodies for node in body.node_def}
    now: dict[str, str] = {}
    for node in kept:
        pairs = zip(_functions_in(node), called.get(node.name, []), strict=False)
        now |= {old.name: new.name for old, new in pairs}
    for node in kept:
        for function in _functions_in(node):
            function.name = now.get(function.name, function.name)
    found = GraphDef()
    found.node.extend(kept)
    return found


def _functions_in(node: Any) -> list[Any]:
    """The NameAttrLists in a node's attributes, by the attributes' names."""
    found = list[Any]()
    for _, value in sorted(node.attr.items()):
        kind = value.WhichOneof("value")
        found += [value.func] if kind == "func" else value.list.func if kind == "list" else ()
    return found


def _marker(provenance: Provenance, source: Any) -> Any:
    """The NodeDef that says how the graph was made, with this for its source graph."""
    message = GraphDef()
    originals = source.SerializeToString(deterministic=True)
    mark(Editor(Graph(message)), msgspec.structs.replace(provenance, originals=originals))
    return message.node[0]


def _handed_out(graph: Graph, meta_graph: Any, sources: Mapping[str, str]) -> dict[str, str]:
    """The outputs of signatures that are outputs of rewritten graphs, and what these are in the source graph."""
    found = {}
    for signature in meta_graph.signature_def.values():
        for info in signature.outputs.values():
            if info.name and split_tensor(info.name)[0] in graph:
                value = graph.value(info.name)
                while value.node.op in ("Identity", "IdentityN"):
                    value = value.node.inputs[value.port]
                if value.node.name in sources:
                    found[info.name] = f"{sources[value.node.name]}:{value.port}"
    return found


def _new_names(graph: Graph, passed: Mapping[str, _Passed], own: set[str]) -> dict[str, str]:
    """New names for what is passed to the rewritten graph, and for nodes around it whose names it has itself."""
    found: dict[str, str] = {}
    for name, (value, _) in passed.items():
        if value.node.op in _RENAMED and value.node.name not in found:
            found[value.node.name] = name
    taken = own | set(passed)
    for node in graph:
        if node.name in taken and node.name not in found:
            name = f"{_OUTSIDE}/{node.name}"
            while name in graph or name in taken:
                name += "_1"
            found[node.name] = name
    return {old: new for old, new in found.items() if old != new}
