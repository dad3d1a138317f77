"""What several items of a plan share while they are emitted: constants, the step counter, recorded blocks.

Constants that many quantizers need (zero, the EMA rate) exist once a device. That keeps graphs small, and writing
them fast: a ResNet-152 takes 14,000 new nodes instead of 24,000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from fqrewrite.ir.block import Block, BlockBuilder, BlockVariable
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Value
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT32, DT_INT64
from fqrewrite.transform import templates
from fqrewrite.transform.variables import add_variable, update_variable

_CONSTANTS = "fqrewrite/constant"
STEP = "fake_quantization_step"


class Emitter:
    """Adds nodes and blocks through an editor.

    Args:
        editor: the editor of the graph.
        resource: whether new variables are resource variables (like the model's own) or reference variables.

    Attributes:
        variables: the variables that were inserted.
    """

    def __init__(self, editor: Editor, *, resource: bool) -> None:
        self.editor = editor
        self.resource = resource
        self.variables: list[BlockVariable] = []
        self._constants: dict[tuple[str, str], Value] = {}
        self._blocks: dict[Hashable, Block] = {}
        self._steps: dict[tuple[str, int], Value] = {}
        self._step: Value | None = None

    def add(self, template: Any, name: str, *inputs: Value, device: str = "") -> Value:
        """Adds a node; returns its output 0."""
        return Value(self.editor.add(template, name, inputs, device=device), 0)

    def insert(self, key: Hashable, record: Callable[[], Block], scope: str, arguments: Sequence[Value]) -> list[Value]:
        """Inserts a block, which is recorded when its key is met for the first time; returns what it exports."""
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = record()
        exports = self.editor.insert(block, scope, arguments)
        self.variables += block.variables(scope)
        return exports

    def constant(self, value: float, device: str = "", dtype: int = DT_FLOAT) -> Value:
        """A scalar constant, shared by all that ask for it on one device."""
        key = (f"{dtype}_{value!r}".replace("+", ""), device)
        found = self._constants.get(key)
        return found or self._shared_constant(key, templates.scalar(value, dtype))

    def int_vector(self, values: tuple[int, ...], device: str = "") -> Value:
        """An int32 constant of rank 1 (axes, shapes), shared by all that ask for it on one device."""
        key = ("shape_" + "_".join(map(str, values)), device)
        found = self._constants.get(key)
        return found or self._shared_constant(key, templates.vector(values, DT_INT32))

    def _shared_constant(self, key: tuple[str, str], template: Any) -> Value:
        text, device = key
        where = re.sub("[^A-Za-z0-9_.]", "_", device.strip("/"))
        name = f"{_CONSTANTS}/{where}/{text}" if where else f"{_CONSTANTS}/{text}"
        with self.editor.shared():
            found = self._constants[key] = self.add(template, name, device=device)
        return found

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
            (self._step,) = self.insert(STEP, self._record_step, STEP, ())
        return self._step

    def _record_step(self) -> Block:
        zero = self.constant(0, dtype=DT_INT64).node.name
        one = self.constant(1, dtype=DT_INT64).node.name
        builder = BlockBuilder()
        counter = add_variable(builder, "", zero, resource=self.resource, dtype=DT_INT64)
        counted = update_variable(builder, counter, "AssignAdd", one, "AssignAdd", dtype=DT_INT64)
        return builder.build(counted)
