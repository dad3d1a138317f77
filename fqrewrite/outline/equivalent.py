"""Functions of a model that compute what a signature computes: Keras's `serve` or `__call__`, a module's own method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import Library
from fqrewrite.outline.numbering import Computed, Numbering


class Same(NamedTuple):
    """How a function computes what a signature computes.

    Attributes:
        inputs: of each input of the signature, the number of the function's argument.
        outputs: of each thing that the function returns, the number of the signature's output.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Equivalence:
    """Compares functions of an object graph.

    Args:
        objects: SavedObjectGraph.
        library: functions by name.
    """

    def __init__(self, objects: Any, library: Library) -> None:
        self._objects = objects
        self._library = library
        self._numbering = Numbering(library)

    def same(self, function: str, signature: str) -> Same | None:
        """How `function` computes what `signature` computes; None when it does not, or cannot be told.

        Arguments correspond by name, or else by position.
        """
        if function not in self._library or signature not in self._library:  # the object graph is damaged
            return None
        own, others = self.own_arguments(function), self.own_arguments(signature)
        if len(own) != len(others):
            return None
        positions = tuple(range(len(others)))
        orders = [positions]
        if sorted(own) == sorted(others):
            orders.insert(0, tuple(own.index(name) for name in others))
        try:
            wanted = self._computed(signature, positions)
            for order in dict.fromkeys(orders):
                found = self._computed(function, [order.index(number) for number in positions])
                if found.effects == wanted.effects and set(found.outputs) <= set(wanted.outputs):
                    return Same(order, tuple(wanted.outputs.index(number) for number in found.outputs))
        except GraphError:  # a function that nobody needs to call may be anything
            return None
        return None

    def own_arguments(self, function: str) -> list[str]:
        """Names of a function's arguments that it did not capture."""
        arguments = [entry.name for entry in self._library[function].signature.input_arg]
        return arguments[: len(arguments) - len(self._objects.concrete_functions[function].bound_inputs)]

    def _computed(self, function: str, labels: Sequence[int]) -> Computed:
        bound = self._objects.concrete_functions[function].bound_inputs
        numbers = [self._numbering.number(("input", label)) for label in labels]
        numbers += [self._numbering.number(("object", number)) for number in bound]
        return self._numbering.computed(function, numbers)
