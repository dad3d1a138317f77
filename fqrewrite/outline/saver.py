"""New variables in the functions by which TensorFlow 1 and TensorFlow Serving restore a TF2 SavedModel.

The main graph's saver calls two functions: `SaveV2` in one and `RestoreV2` in the other have the checkpoint's keys in a
constant, and the variables as arguments. Both are made longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fqrewrite.ir.functions import functions_of
from fqrewrite.model.object_checkpoint import OBJECT_GRAPH_KEY
from fqrewrite.outline.body import add_effect
from fqrewrite.outline.records import CALL_OPS, free_name
from fqrewrite.outline.variables import NewVariable
from fqrewrite.proto.attrs import type_attr
from fqrewrite.proto.dtypes import DT_RESOURCE


def extend_saver(meta_graph: Any, variables: Sequence[NewVariable]) -> bool:
    """Lets a saver save and restore new variables, whose VarHandleOps are in the main graph.

    Args:
        meta_graph: MetaGraphDef.
        variables: the new variables.

    Returns:
        Whether it could be done: whether there is a saver of the form that TensorFlow 2 writes.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    library = functions_of(meta_graph.graph_def)
    saver = meta_graph.saver_def
    save = nodes.get(saver.save_tensor_name.partition(":")[0])
    restore = nodes.get(saver.restore_op_name)
    if save is None or restore is None or save.op not in CALL_OPS or restore.op not in CALL_OPS:
        return False
    saving, restoring = (library.get(node.attr["f"].func.name) for node in (save, restore))
    if saving is None or restoring is None or not all(map(_is_simple, (saving, restoring), ("SaveV2", "RestoreV2"))):
        return False
    _extend_saving(saving, variables)
    _extend_restoring(restoring, variables)
    for call in (save, restore):
        _add_inputs(call, [variable.node.name for variable in variables])
        call.attr["Tin"].list.type.extend([DT_RESOURCE] * len(variables))
    return True


def object_graph_constants(meta_graph: Any) -> list[Any]:
    """TensorProtos of constants of the main graph that hold the graph of the checkpoint's objects."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    save = nodes.get(meta_graph.saver_def.save_tensor_name.partition(":")[0])
    saving = functions_of(meta_graph.graph_def).get(save.attr["f"].func.name) if save is not None else None
    if save is None or saving is None or not _is_simple(saving, "SaveV2"):
        return []
    saved = _only(saving, "SaveV2")
    keys = list(_constant(saving, saved.input[1]).attr["value"].tensor.string_val)
    if OBJECT_GRAPH_KEY.encode() not in keys:
        return []
    text = saved.input[3 + keys.index(OBJECT_GRAPH_KEY.encode())]
    arguments = [argument.name for argument in saving.signature.input_arg]
    if text not in arguments:
        return []
    source = nodes.get(save.input[arguments.index(text)].partition(":")[0])
    return [source.attr["value"].tensor] if source is not None and source.op == "Const" else []


def _is_simple(function: Any, op: str) -> bool:
    """Whether a function has one operation of that type, with constant keys."""
    found = [node for node in function.node_def if node.op == op]
    constants = {node.name for node in function.node_def if node.op == "Const"}
    return len(found) == 1 and all(text.partition(":")[0] in constants for text in found[0].input[1:3])


def _only(function: Any, op: str) -> Any:
    return next(node for node in function.node_def if node.op == op)


def _constant(function: Any, text: str) -> Any:
    """The Const behind an input."""
    name = text.partition(":")[0]
    return next(node for node in function.node_def if node.name == name)


def _extend_saving(function: Any, variables: Sequence[NewVariable]) -> None:
    save, taken = _only(function, "SaveV2"), _names(function)
    reads = []
    for variable in variables:
        argument = _add_argument(function, variable, taken)
        read = _add_node(function, "ReadVariableOp", f"{argument}_read", [argument], variable.dtype, taken)
        reads.append(f"{read}:value:0")
    _add_inputs(save, reads)
    _add_keys(function, save, variables)


def _extend_restoring(function: Any, variables: Sequence[NewVariable]) -> None:
    restore, taken = _only(function, "RestoreV2"), _names(function)
    for port, variable in enumerate(variables, start=len(restore.attr["dtypes"].list.type)):
        argument = _add_argument(function, variable, taken)
        source = [argument, f"{restore.name}:tensors:{port}"]
        _add_node(function, "AssignVariableOp", f"{argument}_assign", source, variable.dtype, taken)
    _add_keys(function, restore, variables)


def _names(function: Any) -> set[str]:
    return {entry.name for entry in (*function.signature.input_arg, *function.node_def)}


def _add_argument(function: Any, variable: NewVariable, taken: set[str]) -> str:
    name = free_name(f"fqrewrite_{len(function.signature.input_arg)}", taken)
    entry = function.signature.input_arg.add(name=name, type=DT_RESOURCE)
    entry.handle_data.add(dtype=variable.dtype, shape=variable.shape)
    if "_input_shapes" in function.attr:
        function.attr["_input_shapes"].list.shape.add()
    return name


def _add_node(function: Any, op: str, wanted: str, inputs: list[str], dtype: int, taken: set[str]) -> str:
    """Adds a node that runs whenever the function does; returns its name."""
    node = function.node_def.add(name=free_name(wanted, taken), op=op, input=inputs)
    node.attr["dtype"].CopyFrom(type_attr(dtype))
    add_effect(function, node.name)
    return str(node.name)


def _add_keys(function: Any, node: Any, variables: Sequence[NewVariable]) -> None:
    """Adds where in the checkpoint the variables are, and that all of each is meant."""
    keys, slices = [variable.key for variable in variables], [""] * len(variables)
    for text, values in zip(node.input[1:3], (keys, slices), strict=True):
        constant = _constant(function, text)
        constant.attr.pop("_output_shapes", None)
        tensor = constant.attr["value"].tensor
        missing = tensor.tensor_shape.dim[0].size - len(tensor.string_val)
        tensor.string_val.extend([tensor.string_val[-1]] * missing)  # the last value stands for those behind it
        tensor.string_val.extend(value.encode() for value in values)
        tensor.tensor_shape.dim[0].size = len(tensor.string_val)
    node.attr["dtypes"].list.type.extend(variable.dtype for variable in variables)
    node.attr.pop("_output_shapes", None)


def _add_inputs(node: Any, names: list[str]) -> None:
    """Adds data inputs behind those that there are, in front of control inputs."""
    controls = [text for text in node.input if text.startswith("^")]
    data = [text for text in node.input if not text.startswith("^")]
    node.input[:] = [*data, *names, *controls]
