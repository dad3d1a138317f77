"""Which tensors are the point of a graph."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from fqrewrite.errors import ConfigError
from fqrewrite.ir.graph import Graph, Node, Value, split_tensor
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import dtype_of, strip_identity
from fqrewrite.match.reach import ancestors
from fqrewrite.match.refusals import backward_pass
from fqrewrite.plans.items import Plan, fake_quant_op
from fqrewrite.proto.dtypes import DT_RESOURCE, DT_STRING, DT_VARIANT

_NO_RESULT = frozenset(
    {"Assert", "Print", "PrintV2", "NoOp", "Shape", "ShapeN", "Size", "Rank", "StopGradient", "LoopCond"}
    | {"OptionalFromValue", "OptionalNone"}  # what a branch of an If hands to its gradient
    | {"Assign", "AssignAdd", "AssignSub", "ScatterUpdate", "ScatterAdd", "ScatterSub", "CountUpTo"}
)
_NOT_NUMBERS = frozenset({DT_STRING, DT_RESOURCE, DT_VARIANT})
_GRADIENTS = re.compile(r"(^|/)gradients(_\d+)?/")
_MOST_CANDIDATES = 12


def named_outputs(graph: Graph, names: Iterable[str]) -> tuple[Value, ...]:
    """The values that a config, a flag or a signature names as ``node:port`` or ``node``.

    Raises:
        ConfigError: `output-not-found`, with the nearest names.
    """
    values = []
    for text in names:
        name, port = split_tensor(text)
        if name not in graph:
            from difflib import get_close_matches  # only where a name is wrong

            near = get_close_matches(name, graph.nodes, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ConfigError("output-not-found", f"the graph has no tensor {text!r}{hint}", where=text)
        values.append(Value(graph.node(name), port))
    return tuple(dict.fromkeys(values))


def quantized_names(plan: Plan) -> dict[str, str]:
    """By tensor, its quantized form in the graph that the plan is applied to, where that does not take its name."""
    return {
        item.tensor: f"{item.scope}/{fake_quant_op(item.scheme)}:0"
        for item in plan.quantizers
        if item.role != "weights" and not item.takes_name
    }


def find_outputs(graph: Graph, wanted: Iterable[str]) -> tuple[Value, ...]:
    """The outputs that are named, or else the only result that no forward pass reads.

    Raises:
        ConfigError: as `named_outputs` and `sink_outputs`.
    """
    return named_outputs(graph, wanted) or sink_outputs(Analysis(graph), backward_pass(graph))


def sink_outputs(analysis: Analysis, backward: Collection[Node] = ()) -> tuple[Value, ...]:
    """The only result that nothing reads, but for the backward pass.

    A sink computes numbers from data; assignments, summaries, shapes, savers and readings of variables are none, nor is
    what a gradient computes without need, or a loop variable of a while loop of which the result reads another.

    Raises:
        ConfigError: `outputs-ambiguous`, listing the candidates, when there are several; `outputs-none`.
    """
    sinks = find_sinks(analysis, backward)
    if len(sinks) == 1:
        return tuple(sinks)
    if not sinks:
        raise ConfigError("outputs-none", "the graph has no tensor that looks like an output")
    listed = ", ".join(str(value) for value in sinks[:_MOST_CANDIDATES])
    more = f" and {len(sinks) - _MOST_CANDIDATES} more" if len(sinks) > _MOST_CANDIDATES else ""
    raise ConfigError(
        "outputs-ambiguous", f"{len(sinks)} tensors could be the outputs: {listed}{more}", remedy=_remedy(sinks)
    )


def find_sinks(analysis: Analysis, backward: Collection[Node] = ()) -> list[Value]:
    """All results that nothing reads, as `sink_outputs` tells them."""
    sinks = [node.value() for node in analysis.graph if _is_sink(node, analysis, backward)]
    return _without_by_products(sinks, bool(backward)) if len(sinks) > 1 else sinks


def _without_by_products(sinks: list[Value], has_gradients: bool) -> list[Value]:
    if has_gradients:
        # Those that no weight needs depend on no operation that only a backward pass has; tf.gradients names them all.
        sinks = [value for value in sinks if not _GRADIENTS.search(value.node.name)] or sinks
    loops = {value: loop for value in sinks if (loop := _loop_of(value.node)) is not None}
    if loops:
        needed = ancestors(value.node for value in sinks if value not in loops)
        read = {_loop_of(node) for node in needed}
        sinks = [value for value in sinks if loops.get(value) not in read or value not in loops]
    return sinks


def _loop_of(node: Node) -> Node | None:
    """What stands for the while loop whose variable a node hands out: its LoopCond, or the While."""
    if not node.inputs:
        return None
    source = node.inputs[0].node
    if node.op in ("Exit", "RefExit"):
        return source.inputs[1].node if len(source.inputs) == 2 else None
    return source if node.op == "Identity" and source.op in ("While", "StatelessWhile") else None


def _remedy(sinks: list[Value]) -> str:
    return f"name the ones you want, e.g. --outputs {','.join(str(value) for value in sinks[:2])}"


def _is_sink(node: Node, analysis: Analysis, backward: Collection[Node]) -> bool:
    return (
        all(consumer in backward for consumer, _ in node.uses)
        and node not in backward
        and bool(node.inputs)
        and strip_identity(node.value()).node.op not in _NO_RESULT
        and not node.op.endswith(("Summary", "SummaryV2", "VariableOp"))
        and dtype_of(node) not in _NOT_NUMBERS
        and not analysis.parameters.is_parameter(node.value())
        and node not in analysis.control_flow
    )
