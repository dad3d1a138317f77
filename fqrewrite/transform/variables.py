"""Variables of the model's own kind, recorded in blocks: reference variables or resource variables."""

from __future__ import annotations

from fqrewrite.ir.block import BlockBuilder, BlockVariable
from fqrewrite.proto.dtypes import DT_FLOAT
from fqrewrite.transform import templates


def add_variable(
    builder: BlockBuilder,
    name: str,
    initial: str,
    *,
    resource: bool,
    shape: tuple[int, ...] = (),
    dtype: int = DT_FLOAT,
    device: str = "",
) -> BlockVariable:
    """Records a variable with its initializer and a reading, named as TensorFlow names them.

    Args:
        builder: what to record in.
        name: below the block's scope; "" for the scope itself.
        initial: the tensor that it is initialised with.
        resource: a resource variable, or a reference variable.
        shape, dtype, device: of the variable.
    """
    template, assign, read = (
        templates.resource_variable(shape, dtype) if resource else templates.ref_variable(shape, dtype)
    )
    prefix = f"{name}/" if name else ""
    node = builder.add(template, name, device=device, is_handle=resource)
    initializer = builder.add(assign, f"{prefix}Assign", node, initial, device=device)
    value = builder.add(read, f"{prefix}{read_name(resource)}", node, device=device)
    variable = BlockVariable(node, initializer, initial, value, resource)
    builder.add_variable(variable)
    return variable


def read_name(resource: bool) -> str:
    """The name of a variable's reading, below the variable's own."""
    return "Read/ReadVariableOp" if resource else "read"


def update_variable(
    builder: BlockBuilder,
    variable: BlockVariable,
    op: str,
    amount: str,
    name: str,
    *,
    dtype: int = DT_FLOAT,
    device: str = "",
) -> str:
    """Records an update of a variable; returns its value after the update.

    Args:
        builder: what to record in.
        variable: what is updated.
        op: "Assign", "AssignAdd" or "AssignSub".
        amount: the new value, or what is added or subtracted.
        name: of the update; of a resource variable the read behind it is called ``<name>/read``.
        dtype, device: of the variable.
    """
    if not variable.is_resource:
        # The output of an assignment to a reference variable is the variable after it.
        template = templates.ref_variable((), dtype)[1] if op == "Assign" else templates.assign_ref(op, dtype)
        return builder.add(template, name, variable.node, amount, device=device)
    assign = templates.assign_resource(f"{op}VariableOp", dtype)
    update = builder.add(assign, name, variable.node, amount, device=device)
    read = templates.resource_variable((), dtype)[2]
    return builder.add(read, f"{name}/read", variable.node, controls=(update,), device=device)
