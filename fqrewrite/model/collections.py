"""The variable collections of a MetaGraphDef.

`import_meta_graph` makes Variable objects from the VariableDefs in these collections; without them an
optimizer finds "No variables to optimize" and a Saver nothing to save.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from fqrewrite.errors import GraphError
from fqrewrite.model.variables import find_variables
from fqrewrite.proto import VariableDef

GLOBAL_VARIABLES = "variables"
TRAINABLE_VARIABLES = "trainable_variables"
LOSSES = "losses"
UPDATE_OPS = "update_ops"
VARIABLE_COLLECTIONS = frozenset(
    {
        GLOBAL_VARIABLES,
        TRAINABLE_VARIABLES,
        "concatenated_variables",
        "global_step",
        "local_variables",
        "metric_variables",
        "model_variables",
        "moving_average_variables",
    }
)
"""Collections whose bytes are VariableDefs."""


class Reconstruction(msgspec.Struct, frozen=True, kw_only=True):
    """What `reconstruct` found.

    Attributes:
        trainable: names of the variable ops put into both collections.
        other: names of those put into the global collection only.
        skipped: name and reason of those that cannot be described.
    """

    trainable: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()


def variable_def(
    *,
    variable: str,
    initializer: str,
    initial_value: str,
    snapshot: str,
    is_resource: bool,
    trainable: bool,
) -> bytes:
    """Builds a serialised VariableDef.

    Args:
        variable: name of the VariableV2 or VarHandleOp node.
        initializer: name of the op that assigns the initial value.
        initial_value: tensor that it assigns, ``node:port``.
        snapshot: tensor that reads the variable: an Identity or, for a resource variable, a ReadVariableOp.
        is_resource: whether `variable` is a VarHandleOp.
        trainable: as `add_variables` is going to be told.
    """
    message = VariableDef(
        variable_name=f"{variable}:0",
        initializer_name=initializer,
        initial_value_name=initial_value,
        snapshot_name=snapshot,
        is_resource=is_resource,
        trainable=trainable,
    )
    return bytes(message.SerializeToString(deterministic=True))


def add_variables(meta_graph: Any, serialized: Sequence[bytes], *, trainable: bool) -> None:
    """Appends serialised VariableDefs to the global collection and, if trainable, to the trainable one.

    Raises:
        GraphError: the collection holds something else than bytes (code collection-malformed).
    """
    for key in (GLOBAL_VARIABLES, TRAINABLE_VARIABLES) if trainable else (GLOBAL_VARIABLES,):
        collection = meta_graph.collection_def[key]
        if collection.WhichOneof("kind") not in (None, "bytes_list"):
            raise GraphError("collection-malformed", f"the collection {key!r} does not hold variables")
        collection.bytes_list.value.extend(serialized)


def remove_variables(meta_graph: Any, names: Collection[str]) -> None:
    """Takes the variables of these names (of nodes) out of the global collection; a Saver takes each name once only."""
    collection = meta_graph.collection_def.get(GLOBAL_VARIABLES)
    if collection is not None and collection.WhichOneof("kind") == "bytes_list":
        kept = [entry for entry in collection.bytes_list.value if _variable_name(entry) not in names]
        collection.bytes_list.value[:] = kept


def _variable_name(serialized: bytes) -> str:
    """The name in a VariableDef; "" when it is none."""
    try:
        return str(VariableDef.FromString(serialized).variable_name).removesuffix(":0")
    except DecodeError:
        return ""


def node_list(meta_graph: Any, key: str) -> list[str]:
    """The names in a collection of nodes or tensors; none when there is no such collection."""
    collections = meta_graph.collection_def
    return list(collections[key].node_list.value) if key in collections else []


def reconstruct(meta_graph: Any) -> Reconstruction:
    """Adds every variable of the graph to the collections; see `variables` for which are trainable.

    A variable without an initializer in the graph, or a resource variable that nothing reads, is skipped: a
    VariableDef must name both. Slices of a partitioned variable are added as variables of their own.
    """
    trainable: list[str] = []
    other: list[str] = []
    skipped: list[tuple[str, str]] = []
    for found in find_variables(meta_graph.graph_def):
        if found.initializer is None or found.initial_value is None:
            skipped.append((found.name, "no op in the graph assigns its initial value"))
            continue
        if found.snapshot is None:
            skipped.append((found.name, "no op in the graph reads it"))
            continue
        serialized = variable_def(
            variable=found.name,
            initializer=found.initializer,
            initial_value=found.initial_value,
            snapshot=found.snapshot,
            is_resource=found.is_resource,
            trainable=found.trainable,
        )
        add_variables(meta_graph, [serialized], trainable=found.trainable)
        (trainable if found.trainable else other).append(found.name)
    return Reconstruction(trainable=tuple(trainable), other=tuple(other), skipped=tuple(skipped))
