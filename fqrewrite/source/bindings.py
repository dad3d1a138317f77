"""Values that a user gives for placeholders, as these take them."""

from __future__ import annotations

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError
from fqrewrite.ir.graph import Graph
from fqrewrite.match.parameters import dtype_of, static_shape
from fqrewrite.match.phase import PLACEHOLDERS
from fqrewrite.match.predicates import Scalar
from fqrewrite.plans.items import Plan
from fqrewrite.proto.dtypes import DT_BOOL, DT_STRING, FLOATING, dtype_name

Binding = Scalar | tuple[Scalar, ...]


def checked_bindings(config: Config, graph: Graph) -> dict[str, Binding]:
    """The values that a config binds, in the kinds of their placeholders, by name.

    Raises:
        ConfigError: `binding-not-found` for a value of what is no placeholder, `binding-value` for one of the wrong
            dtype or number of elements.
    """
    return {name: _checked(name, value, graph) for name, value in sorted(config.bindings.items())}


def rebind(plan: Plan, graph: Graph, config: Config) -> Plan:
    """A plan whose preparation has the bindings of another run over those that it was made with.

    Raises:
        ConfigError: as `checked_bindings`.
    """
    old = plan.preparation
    more = checked_bindings(config, graph)
    phases = {name: value for name, value in old.phases.items() if name not in more}
    new = msgspec.structs.replace(old, bound={**old.bound, **more}, phases=phases)
    return msgspec.structs.replace(plan, preparation=new)


def _checked(name: str, value: Binding, graph: Graph) -> Binding:
    """A value as its placeholder takes it."""
    node = graph.nodes.get(name)
    if node is None or node.op not in PLACEHOLDERS:
        known = ", ".join(node.name for node in graph.by_op(*PLACEHOLDERS)[:12]) or "none"
        what = f"the graph has no placeholder {name!r}; it has {known}"
        raise ConfigError("binding-not-found", what, where=f"set.{name}")
    elements = value if isinstance(value, tuple) else (value,)
    number = dtype_of(node)
    cast = tuple(_cast(element, number) for element in elements)
    if None in cast:
        what = f"the placeholder takes {dtype_name(number)}, not {value!r}"
        raise ConfigError("binding-value", what, where=f"set.{name}")
    shape = static_shape(node.value())
    if isinstance(value, tuple) and shape is not None and min(shape, default=1) >= 0:
        count = 1
        for size in shape:
            count *= size
        if count != len(value):
            what = f"the placeholder holds {count} elements, not {len(value)}"
            raise ConfigError("binding-value", what, where=f"set.{name}")
    known_cast = tuple(element for element in cast if element is not None)
    return known_cast if isinstance(value, tuple) else known_cast[0]


def _cast(value: Scalar, number: int) -> Scalar | None:
    """A scalar in the kind of a dtype; None when it is of another kind."""
    if number == DT_STRING:
        return value if isinstance(value, str) else None
    if isinstance(value, str):
        return None
    if number == DT_BOOL:
        return bool(value) if value in (0, 1) else None
    if number in FLOATING:
        return float(value)
    return int(value) if not isinstance(value, float) or value.is_integer() else None
