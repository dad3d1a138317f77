"""A saver in the graph: what TensorFlow 1's `Saver` adds, as stock ops.

With it, and its SaverDef in the MetaGraphDef, `import_meta_graph` gives a working Saver and a SavedModel restores its
variables. It saves into one file, in the V2 format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.proto import SaverDef
from fqrewrite.proto.attrs import bool_attr, get_shape, get_type, shape_attr, type_attr, types_attr
from fqrewrite.proto.dtypes import DT_INVALID, DT_STRING, base_dtype
from fqrewrite.transform import templates

_STRING = type_attr(DT_STRING)
_DEFAULT = templates.template("PlaceholderWithDefault", dtype=_STRING, shape=shape_attr(()))
_NO_OP = templates.template("NoOp")
# What tf.compat.v1.train.Saver has by default.
_MOST_KEPT = 5
_KEEP_EVERY_HOURS = 10000.0


class Key(Protocol):
    """Where a checkpoint holds a variable.

    Attributes:
        name: the checkpoint's key.
        slice_spec: the part of the value, as SaveV2 reads it: ``"8 4 4,4:0,4"`` for the lower half of float32[8, 4]; ""
            for all of it.
    """

    @property
    def name(self) -> str: ...

    @property
    def slice_spec(self) -> str: ...


def add_saver(editor: Editor, variables: Sequence[Node], keys: Mapping[str, Key] | None = None) -> Any:
    """Adds the ops that save and restore variables, in the scope ``save`` or, if it is in use, ``save_1``...

    A checkpoint holds a variable under the name of its node if no other key is given for it.

    Args:
        editor: edits are filed under its current item.
        variables: reference or resource variables, at least one.
        keys: of variables that are held otherwise (the parts of a partitioned one), by the name of the node.

    Returns:
        The SaverDef, for the MetaGraphDef.

    Raises:
        GraphError: there is nothing to save (code no-variables-to-save).
    """
    if not variables:
        raise GraphError("no-variables-to-save", "the graph has no variables, so that there is nothing to save")
    scope = _free_scope(editor.graph)
    places = [(keys or {}).get(node.name) for node in variables]
    names = [place.name if place else node.name for place, node in zip(places, variables, strict=True)]
    specs = [place.slice_spec if place else "" for place in places]
    dtypes = [base_dtype(get_type(node.proto, "dtype", DT_INVALID)) for node in variables]
    typed = types_attr(dtypes)

    start = editor.add(templates.scalar("model", DT_STRING), f"{scope}/filename/input")
    default = editor.add(_DEFAULT, f"{scope}/filename", [start.value()])
    filename = editor.add(_DEFAULT, f"{scope}/Const", [default.value()])

    contents = [
        _content(editor, node, dtype, f"{scope}/Read_{number}")
        for number, (node, dtype) in enumerate(zip(variables, dtypes, strict=True))
    ]
    operands = _operands(editor, f"{scope}/SaveV2", filename, names, specs)
    save = editor.add(templates.template("SaveV2", dtypes=typed), f"{scope}/SaveV2", [*operands, *contents])
    identity = templates.template("Identity", T=_STRING)
    saved = editor.add(identity, f"{scope}/control_dependency", [filename.value()], controls=[save])

    operands = _operands(editor, f"{scope}/RestoreV2", filename, names, specs)
    restore = editor.add(templates.template("RestoreV2", dtypes=typed), f"{scope}/RestoreV2", operands)
    assigns = [
        _assign(editor, node, restore.value(port), dtype, f"{scope}/Assign" + (f"_{port}" if port else ""))
        for port, (node, dtype) in enumerate(zip(variables, dtypes, strict=True))
    ]
    restore_all = editor.add(_NO_OP, f"{scope}/restore_all", controls=assigns)
    return SaverDef(
        filename_tensor_name=str(filename.value()),
        save_tensor_name=str(saved.value()),
        restore_op_name=restore_all.name,
        max_to_keep=_MOST_KEPT,
        keep_checkpoint_every_n_hours=_KEEP_EVERY_HOURS,
        version=SaverDef.V2,
    )


def _operands(editor: Editor, name: str, filename: Node, names: list[str], specs: list[str]) -> list[Value]:
    tensor_names = editor.add(templates.vector(names, DT_STRING), f"{name}/tensor_names")
    shape_and_slices = editor.add(templates.vector(specs, DT_STRING), f"{name}/shape_and_slices")
    return [filename.value(), tensor_names.value(), shape_and_slices.value()]


def _content(editor: Editor, variable: Node, dtype: int, name: str) -> Value:
    """The value to save: a reference is read where it is used, a handle by an op."""
    if variable.op != "VarHandleOp":
        return variable.value()
    read = templates.template("ReadVariableOp", dtype=type_attr(dtype))
    return editor.add(read, name, [variable.value()], device=variable.proto.device).value()


def _assign(editor: Editor, variable: Node, value: Value, dtype: int, name: str) -> Node:
    if variable.op == "VarHandleOp":
        assign = templates.template("AssignVariableOp", dtype=type_attr(dtype))
    else:
        shape = get_shape(variable.proto, "shape")
        # The oldest op writes an unknown shape as that of a scalar.
        known = shape is not None and -1 not in shape and (shape or variable.op != "Variable")
        given = {} if known else {"validate_shape": bool_attr(False)}
        assign = templates.template("Assign", T=type_attr(dtype), **given)
    return editor.add(assign, name, [variable.value(), value], device=variable.proto.device)


def _free_scope(graph: Graph) -> str:
    """The first of save, save_1... below which there is no node; case makes no difference, as in TensorFlow."""
    used = {name.partition("/")[0].lower() for name in graph.nodes}
    scope, number = "save", 0
    while scope in used:
        number += 1
        scope = f"save_{number}"
    return scope
