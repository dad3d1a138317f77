"""Checkpoints of TensorFlow 2, whose keys are paths through objects: `model/variables/0/.ATTRIBUTES/VARIABLE_VALUE`.

The variables of a SavedModel lie under paths from its own root. Another checkpoint of the same objects, such as
`tf.train.Checkpoint(model=tf.saved_model.load(...))`, has them under another root and, where an object can be reached
in two ways, under other names. Both come with the graph of their objects: SavedObjectGraph in the SavedModel, and
TrackableObjectGraph in the checkpoint under the key `_CHECKPOINTABLE_OBJECT_GRAPH`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fqrewrite.ir.inline import CALLS
from fqrewrite.model.saver_keys import Key

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The key under which a checkpoint has the graph of its objects."""

_VALUE = "VARIABLE_VALUE"
_SUFFIX = f"/.ATTRIBUTES/{_VALUE}"
_ESCAPED = re.compile(r"\.(S|\.)")  # tensorflow/python/checkpoint/graph_view.py: "." is "..", "/" is ".S"


def variable_objects(meta_graph: Any, saved: Mapping[str, Sequence[Key]]) -> dict[str, int]:
    """The objects that the variables of a SavedModel's main graph are, by the variable op's name.

    That is what the functions that the graph calls are bound to; or else what the variable's key leads to. Keras 3
    keeps each variable as two objects, of equal values in its checkpoint: the graph restores one, and the functions of
    what tf.saved_model.load gives read the other, which is trained.

    Args:
        meta_graph: MetaGraphDef as it was read.
        saved: the keys of the variables in the SavedModel's own checkpoint, by the variable op's name.
    """
    objects = meta_graph.object_graph_def
    found = {}
    for name, keys in saved.items():
        for key in keys:
            index = _follow(objects, key.name.removesuffix(_SUFFIX)) if key.name.endswith(_SUFFIX) else None
            if index is not None:
                found[name] = index
    variables = {node.name for node in meta_graph.graph_def.node if node.op == "VarHandleOp"}
    for node in meta_graph.graph_def.node:
        function = node.attr["f"].func.name if node.op in CALLS and "f" in node.attr else ""
        if function in objects.concrete_functions:
            bound = objects.concrete_functions[function].bound_inputs
            inputs = [text for text in node.input if not text.startswith("^")]
            pairs = zip(inputs[len(inputs) - len(bound) :], bound, strict=False)
            found |= {name: index for name, index in pairs if name in variables}
    return found


def object_keys(variables: Mapping[str, int], objects: Any, checkpoint: Any) -> dict[str, Key]:
    """Where the variables of a SavedModel are in a checkpoint of its objects.

    The SavedModel's root may be any object of the checkpoint; the one under which most variables are found counts, and
    among several the first.

    Args:
        variables: the objects that they are, by the variable op's name.
        objects: SavedObjectGraph.
        checkpoint: TrackableObjectGraph.

    Returns:
        The keys by variable, without those that are not found.
    """
    wanted = frozenset(variables.values())
    best: dict[int, str] = {}
    for root in _candidates(objects, checkpoint):
        found = _values_under(root, objects, checkpoint, wanted)
        if len(found) > len(best):
            best = found
        if len(best) == len(wanted):
            break
    return {name: Key(best[index]) for name, index in variables.items() if index in best}


def _follow(objects: Any, path: str) -> int | None:
    index = 0
    for part in path.split("/"):
        children = _children(objects.nodes[index]) if index < len(objects.nodes) else {}
        name = _ESCAPED.sub(lambda match: "/" if match[1] == "S" else ".", part)
        if name not in children:
            return None
        index = children[name]
    return index


def _candidates(objects: Any, checkpoint: Any) -> list[int]:
    """The objects of a checkpoint that have a child called like one of the SavedModel's root."""
    names = _children(objects.nodes[0]).keys() if objects.nodes else ()
    return [index for index, node in enumerate(checkpoint.nodes) if any(name in _children(node) for name in names)]


def _values_under(root: int, objects: Any, checkpoint: Any, wanted: frozenset[int]) -> dict[int, str]:
    """Walks from both roots along equal names; returns the checkpoint's keys of the wanted objects."""
    same = {0: root}
    queue = [0]
    for index in queue:
        theirs = _children(checkpoint.nodes[same[index]])
        for name, child in _children(objects.nodes[index]).items():
            if name in theirs and child not in same and child < len(objects.nodes):
                same[child] = theirs[name]
                queue.append(child)
    keys = {index: _value_key(checkpoint.nodes[same[index]]) for index in wanted if index in same}
    return {index: key for index, key in keys.items() if key is not None}


def _children(node: Any) -> dict[str, int]:
    return {child.local_name: child.node_id for child in node.children}


def _value_key(node: Any) -> str | None:
    return next((entry.checkpoint_key for entry in node.attributes if entry.name == _VALUE), None)
