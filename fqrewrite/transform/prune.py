"""Removing what the outputs do not need, and saying what kind of thing it was; or what a rewrite left unread."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.labels import depends_on_labels
from fqrewrite.match.refusals import backward_pass

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("optimizer", r"^(Resource)?(Sparse)?Apply"),
        ("saver", r"^(SaveV2|Save|SaveSlices|RestoreV2|Restore|RestoreSlice|ShardedFilename|MergeV2Checkpoints)$"),
        ("summary", r"Summary(V2)?$|^WriteSummary|SummaryWriter"),
        ("input pipeline", r"Dataset|Iterator|Queue|Reader|^Parse(Single)?Example|^Decode|^(Uns|S)tage|^MatchingFiles"),
        ("control flow", r"^(Ref)?(Switch|Merge|Enter|Exit|NextIteration)$|^LoopCond$|^(Stateless)?(If|While|Case)$"),
        ("update", r"^(Resource)?(Assign|Scatter|CountUpTo)"),
        ("variable", r"^(Variable(V2)?|VarHandleOp|VarIsInitializedOp|IsVariableInitialized|ReadVariableOp)$"),
        ("assertion", r"^(Assert|Print(V2)?|CheckNumerics)$"),
        ("random", r"^(Stateless)?(Random|TruncatedNormal|Multinomial)"),
    )
)


def prune(editor: Editor, kept: set[Node]) -> dict[str, int]:
    """Removes all nodes but these, which read and wait for nothing else.

    Returns:
        By kind, how many nodes went, most first: "gradient", "optimizer", "loss and metrics", "summary", "saver",
        "input pipeline", "control flow", "update", "variable", "assertion", "random", "other".
    """
    graph = editor.graph
    removed = [node for node in graph if node not in kept]
    if not removed:
        return {}
    kinds = _kinds(graph, kept, removed)
    editor.remove(removed)
    return dict(sorted(Counter(kinds.values()).items(), key=lambda entry: (-entry[1], entry[0])))


def used_names(graph: Graph) -> set[str]:
    """Names of the nodes that others read or wait for."""
    waited_for = {control.name for node in graph for control in node.controls}
    return waited_for | {node.name for node in graph if node.uses}


def remove_unused(editor: Editor, names: Collection[str]) -> None:
    """Removes those of these nodes that nothing reads or waits for, and then those that only they did."""
    graph = editor.graph
    number = {node: len(node.uses) for node in graph}
    for node in graph:
        for control in node.controls:
            number[control] += 1
    queue = [node for node in graph if not number[node] and node.name in names]
    for node in queue:
        for source in (*(value.node for value in node.inputs), *node.controls):
            number[source] -= 1
            if not number[source] and source.name in names:
                queue.append(source)
    editor.remove(queue)


def _kinds(graph: Graph, kept: set[Node], removed: list[Node]) -> dict[Node, str]:
    backward = backward_pass(graph)
    labelled = depends_on_labels(graph, kept)
    kinds: dict[Node, str] = {}
    for node in removed:
        kind = next((kind for kind, pattern in _KINDS if pattern.search(node.op)), None)
        if kind is None:
            kind = "gradient" if node in backward else "loss and metrics" if node in labelled else "other"
        kinds[node] = kind
    _spread(removed, kinds)
    return kinds


def _spread(removed: list[Node], kinds: dict[Node, str]) -> None:
    """Nodes without a kind of their own have that of what reads them, or else of what they read and wait for."""
    for node in reversed(removed):
        if kinds[node] == "other":
            kinds[node] = _common(kinds.get(consumer, "other") for consumer, _ in node.uses)
    for node in removed:
        if kinds[node] == "other":
            sources = (*(value.node for value in node.inputs), *node.controls)
            kinds[node] = _common(kinds[source] for source in sources if source in kinds)


def _common(kinds: Iterable[str]) -> str:
    """The only kind; "other" when there are several, or none."""
    found = set(kinds)
    return found.pop() if len(found) == 1 else "other"
