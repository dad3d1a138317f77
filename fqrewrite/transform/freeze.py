"""Variables become constants: what a checkpoint holds, written into the graph.

Every variable that the roots depend on turns into a Const under its own name, so that whoever reads it by reference
goes on as before. A resource variable is read through its handle, and a handle can travel through conditionals and
loops: each op that it travels through then hands on the value, and each op that reads it becomes the like of it for
values. What depends on no root is left as it is, for pruning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from fqrewrite.errors import InputError, Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import inside_control_flow, topological_order
from fqrewrite.match.reach import ancestors
from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import get_shape, get_type, type_attr
from fqrewrite.proto.dtypes import DT_BOOL, DT_INVALID, base_dtype, dtype_name
from fqrewrite.proto.tensors import array_tensor
from fqrewrite.transform import templates
from fqrewrite.transform.freeze_calls import CALLING, Passed, pass_values
from fqrewrite.transform.handles import GATHER, READERS, gather_axis, not_frozen

if TYPE_CHECKING:
    import numpy

REF_VARIABLE_OPS = frozenset({"Variable", "VariableV2"})
VARIABLE_OPS = REF_VARIABLE_OPS | {"VarHandleOp"}

# Ops that hand on a reference, and the ops that do the same with a value.
_OF_VALUES = {
    "RefEnter": "Enter",
    "RefExit": "Exit",
    "RefIdentity": "Identity",
    "RefMerge": "Merge",
    "RefNextIteration": "NextIteration",
    "RefSwitch": "Switch",
}
# Ops that hand on a handle as well as a value; all have an attribute T.
_HAND_ON = frozenset(_OF_VALUES.values())
# Ops on references that write, or that there is no like of for values. Everything else reads the value itself.
_ON_REFERENCES = frozenset({"Assign", "AssignAdd", "AssignSub", "CountUpTo", "StridedSliceAssign", "RefSelect"})
_ON_REFERENCES_PREFIXES = ("Apply", "SparseApply", "Scatter")
_SCATTER_OF_VALUES = frozenset({"ScatterNd", "ScatterNdNonAliasingAdd"})
_IS_INITIALIZED = frozenset({"IsVariableInitialized", "VarIsInitializedOp"})


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """What `freeze` did.

    Attributes:
        variables: names of the variables that are constants now, in graph order.
        readers: names of the ops that had to change with them.
    """

    variables: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


def needed_variables(graph: Graph, roots: Iterable[Value | Node]) -> list[Node]:
    """The variables that the roots depend on, by data or control edges, in graph order. O(nodes + edges)."""
    return _variables_in(graph, ancestors(map(_node, roots)))


def freeze(
    graph: Graph, editor: Editor, values: Mapping[str, numpy.ndarray[Any, Any]], roots: Iterable[Value | Node]
) -> Frozen:
    """Turns the variables that the roots depend on into constants.

    What writes to those variables must have been pruned, as far as the roots depend on it. After an error the graph
    is half frozen, and of no further use.

    Args:
        graph: the editor's graph.
        editor: edits are filed under its current item.
        values: the value of each needed variable by the name of its node, of the node's dtype and shape; those of
            others are ignored. Strings are arrays of dtype object.
        roots: outputs of the graph.

    Raises:
        InputError: `variable-value-missing`, listing the variables without a value; `variable-value-mismatch` for
            a value of another dtype or shape.
        Refusal: `variable-not-frozen` for a variable that is written, or handed to an op without a like for values
            (a library function, say); `tensor-dtype`.
    """
    needed = ancestors(map(_node, roots))
    variables = _variables_in(graph, needed)
    missing = [variable.name for variable in variables if variable.name not in values]
    if missing:
        count = "1 variable has" if len(missing) == 1 else f"{len(missing)} variables have"
        listed = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise InputError("variable-value-missing", f"{count} no value: {listed}", where=missing[0])
    freezer = _Freezer(graph, editor, needed)
    for variable in variables:
        freezer.freeze(variable, _checked_tensor(variable, values[variable.name]))
    freezer.check_merges()
    freezer.convert_calls()
    return Frozen(variables=tuple(variable.name for variable in variables), readers=tuple(freezer.readers))


class _Freezer:
    """Follows each variable through what hands it on.

    Attributes:
        readers: names of the ops that changed.
    """

    def __init__(self, graph: Graph, editor: Editor, needed: set[Node]) -> None:
        self.readers: list[str] = []
        self._editor = editor
        self._needed = needed
        self._calls: dict[Node, None] = {}
        self._passed: dict[Node, Passed] = {}
        self._carriers: dict[Node, Node] = {}  # what hands on a variable -> the variable
        # A constant inside a loop or conditional has to be tied to its place by a control edge.
        gathers = graph.by_op(GATHER)
        self._inside = inside_control_flow(graph, topological_order(graph)) if gathers else set[Node]()

    def freeze(self, variable: Node, tensor: Any) -> None:
        """Turns one variable, and all that reads it, over to its value."""
        convert = self._convert_by_reference if variable.op in REF_VARIABLE_OPS else self._convert_by_handle
        self._editor.become(variable, templates.constant(tensor), [])
        self._carriers[variable] = variable
        self._passed[variable] = Passed(variable.name, tensor.dtype, tensor.tensor_shape)
        pending = [variable]
        for carrier in pending:
            for node in dict.fromkeys(node for node, _ in carrier.uses):
                if node in self._needed and node not in self._carriers and convert(node, variable, tensor.dtype):
                    self._carriers[node] = variable
                    pending.append(node)

    def convert_calls(self) -> None:
        """Gives the functions that take handles the values instead."""
        for node in self._calls:
            slots = {
                slot: self._passed[variable]
                for slot, value in enumerate(node.inputs)
                if (variable := self._carriers.get(value.node)) is not None
            }
            self._become(node, pass_values(self._editor.graph.graph_def, node, slots), node.inputs)

    def check_merges(self) -> None:
        """Checks that where handles or references meet, all of them are frozen.

        Raises:
            Refusal: `variable-not-frozen`.
        """
        for node, variable in self._carriers.items():
            for value in node.inputs if node.op == "Merge" else ():
                if value.node not in self._carriers:
                    raise _refused(variable, node, f"it joins it with {value}, which is no variable")

    def _convert_by_reference(self, node: Node, variable: Node, dtype: int) -> bool:
        """Adapts one consumer of a reference; returns whether it hands the reference on."""
        if node.op in _OF_VALUES:
            self._become(node, _renamed(node, _OF_VALUES[node.op], dtype), node.inputs)
            return True
        if node.op in _IS_INITIALIZED:
            self._settle_initialized(node, variable)
        elif node.op in _ON_REFERENCES or (
            node.op.startswith(_ON_REFERENCES_PREFIXES) and node.op not in _SCATTER_OF_VALUES
        ):
            raise _refused(variable, node, "it works on the variable itself, not on its value")
        return False

    def _convert_by_handle(self, node: Node, variable: Node, dtype: int) -> bool:
        """Adapts one consumer of a handle; returns whether it hands the handle on."""
        if node.op in _HAND_ON:
            self._become(node, _renamed(node, node.op, dtype), node.inputs)
            return True
        if node.op in _IS_INITIALIZED:
            self._settle_initialized(node, variable)
        elif node.op in READERS:
            template = READERS[node.op](node, dtype)
            inputs = [*node.inputs, self._gather_axis(node)] if node.op == GATHER else node.inputs
            self._become(node, template, inputs)
        elif node.op in CALLING:
            self._calls[node] = None
        else:
            raise _refused(variable, node, "it takes the variable's handle, and not its value")
        return False

    def _settle_initialized(self, node: Node, variable: Node) -> None:
        if node.inputs[0].node is not variable:
            raise _refused(variable, node, "it asks inside a conditional or loop whether it is initialized")
        self._become(node, templates.scalar(True, DT_BOOL), [])

    def _gather_axis(self, node: Node) -> Value:
        name = f"{node.name}/axis"
        while name in self._editor.graph:
            name += "_1"
        controls = [node.inputs[1].node] if node in self._inside else []
        return self._editor.add(gather_axis(node), name, controls=controls, device=node.proto.device).value()

    def _become(self, node: Node, template: Any, inputs: Iterable[Value]) -> None:
        self._editor.become(node, template, list(inputs))
        self.readers.append(node.name)


def _node(root: Value | Node) -> Node:
    return root.node if isinstance(root, Value) else root


def _variables_in(graph: Graph, needed: set[Node]) -> list[Node]:
    return [node for node in graph.by_op(*VARIABLE_OPS) if node in needed]


def _checked_tensor(variable: Node, value: numpy.ndarray[Any, Any]) -> Any:
    """The TensorProto of a variable's value."""
    tensor = array_tensor(value)
    dtype = base_dtype(get_type(variable.proto, "dtype", DT_INVALID))
    shape = get_shape(variable.proto, "shape")
    if shape == () and variable.op == "Variable":
        shape = None  # the oldest op writes an unknown shape so
    dims = value.shape
    fits = shape is None or (
        len(shape) == len(dims) and all(size in (-1, found) for size, found in zip(shape, dims, strict=True))
    )
    if tensor.dtype != dtype or not fits:
        wanted = dtype_name(dtype) + ("" if shape is None else str(list(shape)))
        what = f"the variable is {wanted} and its value {dtype_name(tensor.dtype)}{list(dims)}"
        raise InputError("variable-value-mismatch", what, where=variable.name)
    return tensor


def _renamed(node: Node, op: str, dtype: int) -> Any:
    """The same op for values of a dtype. Shapes that were noted for handles are wrong for values, and go."""
    template = NodeDef()
    template.CopyFrom(node.proto)
    template.ClearField("input")
    template.op = op
    template.attr["T"].CopyFrom(type_attr(dtype))
    for key in ("_output_shapes", "_handle_shapes", "_handle_dtypes"):
        template.attr.pop(key, None)
    return template


def _refused(variable: Node, node: Node, why: str) -> Refusal:
    return not_frozen(variable.name, node.name, node.op, why)
