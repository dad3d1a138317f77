"""Which key of a checkpoint holds which variable.

Usually the key is the variable's name. A Saver may rename, and saves the parts of a partitioned variable as slices of
one value under a name that no variable has. What the Savers in a graph would restore tells; so do the VariableDefs of
a MetaGraphDef about partitions. The Saver of a SavedModel of TensorFlow 2 is a function that is passed the variables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from fqrewrite.ir.functions import ARGUMENT, functions_of, instantiate
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.inline import CALLS, called_function
from fqrewrite.model.collections import VARIABLE_COLLECTIONS
from fqrewrite.model.slices import format_slice
from fqrewrite.model.variables import VARIABLES
from fqrewrite.proto import VariableDef
from fqrewrite.proto.dtypes import DT_STRING
from fqrewrite.proto.tensors import element_count

_RESTORES = ("RestoreV2", "Restore", "RestoreSlice")
_ASSIGN = frozenset({"Assign", "AssignVariableOp"})
_BETWEEN = frozenset({"Identity", "Reshape"})  # between the restored value and its assignment, as input 0
_MOST_KEYS = 2**20  # in one restoring op: a damaged shape must not cost memory
_HAND_ON = frozenset({"Identity", "RefIdentity"})  # between an assignment and its variable


class Key(msgspec.Struct, frozen=True):
    """Where a variable's value is in a checkpoint.

    Attributes:
        name: the checkpoint's key.
        slice_spec: the part of the value, in the notation of `slices`; "" for all of it.
    """

    name: str
    slice_spec: str = ""


def saver_keys(graph: Graph) -> dict[str, list[Key]]:
    """The keys that the graph's Savers restore each variable from, by the variable op's name, in graph order.

    Raises:
        GraphError: a function that restores is damaged.
    """
    found: dict[str, list[Key]] = {}
    for variable, key in (*_restored_in(graph), *_restored_by_calls(graph)):
        keys = found.setdefault(variable.name, [])
        if key not in keys:
            keys.append(key)
    return found


def _restored_in(graph: Graph) -> Iterator[tuple[Node, Key]]:
    """What the restoring ops of a graph restore: variables, and of a function body what it is passed."""
    for node in graph.by_op(*_RESTORES):
        restored = _restored(node)
        for user, slot in node.uses:  # each port's uses in turn would cost the square of the variables
            port = user.inputs[slot].port
            for variable in _assigned(user, slot) if port < len(restored) else ():
                yield variable, restored[port]


def _restored_by_calls(graph: Graph) -> Iterator[tuple[Node, Key]]:
    """What functions restore that the graph calls."""
    library = functions_of(graph.graph_def)
    restoring = {name for name, function in library.items() if any(node.op in _RESTORES for node in function.node_def)}
    for call in graph.by_op(*CALLS, *restoring) if restoring else ():
        function = called_function(call, library)
        if function.name not in restoring:
            continue
        body = instantiate(library[function.name], function.attr, library)
        passed = {argument.node: value.node for argument, value in zip(body.arguments, call.inputs, strict=False)}
        for argument, key in _restored_in(body.graph):
            variable = _variable(passed[argument]) if argument in passed else None
            if variable is not None:
                yield variable, key


def partition_keys(meta_graph: Any) -> dict[str, list[Key]]:
    """The keys of partitioned variables' parts by the VariableDefs of a MetaGraphDef, by the variable op's name."""
    found: dict[str, list[Key]] = {}
    for collection in sorted(VARIABLE_COLLECTIONS & set(meta_graph.collection_def)):
        for serialized in meta_graph.collection_def[collection].bytes_list.value:
            try:
                variable = VariableDef.FromString(serialized)
            except DecodeError:
                continue  # somebody's own collection under this name
            info = variable.save_slice_info_def
            if not info.full_name or not len(info.full_shape) == len(info.var_offset) == len(info.var_shape) > 0:
                continue
            key = Key(info.full_name, format_slice(info.full_shape, info.var_offset, info.var_shape))
            keys = found.setdefault(variable.variable_name.partition(":")[0], [])
            if key not in keys:
                keys.append(key)
    return found


def find_key(
    variable_name: str,
    shared_name: str,
    keys: Mapping[str, Sequence[Key]],
    available: Collection[str],
    prefix_scope: str = "",
) -> Key | None:
    """The key of a variable: the first that the checkpoint has.

    In this order: its own name, its shared name, what Savers restore it from, its name without `prefix_scope`. When
    Savers restore another variable from the key of its name, and this one from others, those come first.

    Args:
        variable_name: of the variable op.
        shared_name: its attribute; "" for none.
        keys: of all variables, from `saver_keys` or `partition_keys`.
        available: the checkpoint's keys; something that is quick to ask, such as a set or `Values`.
        prefix_scope: the scope that the model was imported under, without the final slash.
    """
    own = [Key(name) for name in (variable_name, shared_name) if name]
    saved = list(keys.get(variable_name, ()))
    elsewhere = not any(key in saved for key in own) and any(
        key in theirs for other, theirs in keys.items() if other != variable_name for key in own
    )
    candidates = saved + own if elsewhere else own + saved
    if prefix_scope and variable_name.startswith(f"{prefix_scope}/"):
        candidates.append(Key(variable_name[len(prefix_scope) + 1 :]))
    return next((key for key in candidates if key.name in available), None)


def _restored(node: Node) -> list[Key]:
    """The key of each output of a restoring op; none when the graph computes its keys."""
    names = _strings(node, 1)
    if node.op == "Restore":
        return [Key(name) for name in names]
    slices = _strings(node, 2)
    if len(slices) != len(names):
        return []
    return [Key(name, spec.strip()) for name, spec in zip(names, slices, strict=True)]


def _strings(node: Node, slot: int) -> list[str]:
    """The elements of a Const of strings in an input slot; none when it is something else."""
    if slot >= len(node.inputs):
        return []
    constant = node.inputs[slot].node
    while constant.op == "Identity" and constant.inputs:
        constant = constant.inputs[0].node
    if constant.op != "Const" or "value" not in constant.proto.attr:
        return []
    tensor = constant.proto.attr["value"].tensor
    if tensor.dtype != DT_STRING or tensor.tensor_content:
        return []
    count = element_count(tensor)
    if count > _MOST_KEYS:
        return []
    values = [value.decode("utf-8", "surrogateescape") for value in tensor.string_val[:count]]
    return values + (values[-1:] or [""]) * (count - len(values))


def _assigned(user: Node, slot: int) -> Iterator[Node]:
    """The variables that a value is assigned to as it is, given one use of it."""
    pending, seen = [(user, slot)], {user}
    for node, used in pending:
        if node.op in _ASSIGN and used == 1:
            variable = _variable(node.inputs[0].node)
            if variable is not None:
                yield variable
        elif node.op in _BETWEEN and used == 0:
            pending += [use for use in node.uses if use[0] not in seen]
            seen |= {other for other, _ in node.uses}


def _variable(node: Node) -> Node | None:
    for _ in range(64):  # longer only in a cycle
        if node.op not in _HAND_ON or not node.inputs:
            break
        node = node.inputs[0].node
    return node if node.op in VARIABLES or node.op == ARGUMENT else None
