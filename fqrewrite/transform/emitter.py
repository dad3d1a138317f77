"""Inserting nodes: names within a scope, shared constants, variables of the model's own kind.

Constants that many quantizers need (zero, the EMA rate) exist once a device. That keeps graphs small, and writing
them fast: a ResNet-152 takes 14,000 new nodes instead of 24,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Node, Value
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT32, DT_INT64
from fqrewrite.transform import templates

_CONSTANTS = "fqrewrite/constant"
STEP = "fake_quantization_step"


class Variable(NamedTuple):
    """A variable that was inserted.

    Attributes:
        node: the variable (reference) or its handle (resource).
        read: its value at the start of a run, unordered against assignments.
        initial: the value that it is initialised with.
        assign: its initializer.
    """

    node: Node
    read: Value
    initial: Value
    assign: Node


class Emitter:
    """Adds nodes through an editor.

    Args:
        editor: the editor of the graph.
        resource: whether new variables are resource variables (like the model's own) or reference variables.
    """

    def __init__(self, editor: Editor, *, resource: bool) -> None:
        self.editor = editor
        self.resource = resource
        self.variables: list[Variable] = []
        self._constants: dict[tuple[str, str], Value] = {}
        self._steps: dict[tuple[str, int], Value] = {}
        self._step: Value | None = None

    def add(
        self,
        template: Any,
        name: str,
        *inputs: Value,
        controls: Sequence[Node] = (),
        device: str = "",
    ) -> Value:
        """Adds a node; returns its output 0."""
        return Value(self.editor.add(template, name, inputs, controls=controls, device=device), 0)

    def constant(self, value: float, device: str = "", dtype: int = DT_FLOAT) -> Value:
        """A scalar constant, shared by all that ask for it on one device."""
        text = f"{dtype}_{value!r}".replace("+", "")
        return self._shared_constant(text, lambda: templates.scalar(value, dtype), device)

    def int_vector(self, values: tuple[int, ...], device: str = "") -> Value:
        """An int32 constant of rank 1 (axes, shapes), shared by all that ask for it on one device."""
        text = "shape_" + "_".join(str(value) for value in values)
        return self._shared_constant(text, lambda: templates.vector(values, DT_INT32), device)

    def _shared_constant(self, text: str, make: Any, device: str) -> Value:
        key = (text, device)
        found = self._constants.get(key)
        if found is None:
            where = device.strip("/").replace(":", "_").replace("/", "_")
            name = f"{_CONSTANTS}/{where}/{text}" if where else f"{_CONSTANTS}/{text}"
            with self.editor.shared():
                found = self._constants[key] = self.add(make(), name, device=device)
        return found

    def variable(
        self, name: str, initial: Value, *, shape: tuple[int, ...] = (), dtype: int = DT_FLOAT, device: str = ""
    ) -> Variable:
        """Adds a variable with its initializer and a read, named as TensorFlow names them."""
        editor = self.editor
        if self.resource:
            template, assign, read = templates.resource_variable(shape, dtype)
            node = editor.add(template, name, device=device)
            node.proto.attr["shared_name"].s = name.encode()
            read_name = f"{name}/Read/ReadVariableOp"
        else:
            template, assign, read = templates.ref_variable(shape, dtype)
            node = editor.add(template, name, device=device)
            read_name = f"{name}/read"
        initializer = editor.add(assign, f"{name}/Assign", (node.value(), initial), device=device)
        reading = editor.add(read, read_name, (node.value(),), device=device)
        found = Variable(node, reading.value(), initial, initializer)
        self.variables.append(found)
        return found

    def assign(self, variable: Variable, op: str, amount: Value, name: str, dtype: int = DT_FLOAT) -> Value:
        """Updates a variable; returns its value after the update.

        Args:
            variable: what is updated.
            op: "Assign", "AssignAdd" or "AssignSub".
            amount: the new value, or what is added or subtracted.
            name: of the update; with a resource variable the read behind it is `name` with ``/read``.
        """
        device = variable.node.proto.device
        target = variable.node.value()
        if not self.resource:
            template = templates.ref_variable((), dtype)[1] if op == "Assign" else templates.assign_ref(op, dtype)
            return self.add(template, name, target, amount, device=device)
        update = self.add(templates.assign_resource(f"{op}VariableOp", dtype), name, target, amount, device=device)
        read = templates.resource_variable((), dtype)[2]
        return self.add(read, f"{name}/read", target, controls=(update.node,), device=device)

    def step_reached(self, step: int) -> Value:
        """bool[]: whether this run's step, counted from 1 at the first run, is at least `step`."""
        return self._step_compared(step, "GreaterEqual")

    def step_not_reached(self, step: int) -> Value:
        """float32[]: 1 before `step`, 0 from then on."""
        return self._step_compared(step, "Less")

    def _step_compared(self, step: int, op: str) -> Value:
        key = (op, step)
        found = self._steps.get(key)
        if found is None:
            with self.editor.shared():
                limit = self.constant(step, dtype=DT_INT64)
                if op == "Less":
                    template, name = templates.LESS_INT64, f"{STEP}/before_{step}"
                else:
                    template, name = templates.GREATER_EQUAL_INT64, f"{STEP}/reached_{step}"
                found = self.add(template, name, self._counted_step(), limit)
                if op == "Less":
                    found = self.add(templates.BOOL_TO_FLOAT, f"{name}/float", found)
            self._steps[key] = found
        return found

    def _counted_step(self) -> Value:
        """The step variable after its increment: one increment a run, whoever asks."""
        if self._step is None:
            zero = self.constant(0, dtype=DT_INT64)
            one = self.constant(1, dtype=DT_INT64)
            counter = self.variable(STEP, zero, dtype=DT_INT64)
            self._step = self.assign(counter, "AssignAdd", one, f"{STEP}/AssignAdd", dtype=DT_INT64)
        return self._step
