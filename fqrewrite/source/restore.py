"""Values of a graph's variables, out of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.message import DecodeError

from fqrewrite.errors import InputError, path_text
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.parameters import dtype_of
from fqrewrite.model.checkpoint import Checkpoint
from fqrewrite.model.container import Model
from fqrewrite.model.declared import declared_outputs
from fqrewrite.model.object_checkpoint import OBJECT_GRAPH_KEY, object_keys, variable_objects
from fqrewrite.model.saver_keys import Key, find_key, partition_keys, saver_keys
from fqrewrite.model.values import Values, open_values, read_variables
from fqrewrite.proto.attrs import get_shape, get_str
from fqrewrite.proto.messages import TrackableObjectGraph
from fqrewrite.source.flatten import flatten_model

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array

_MOST_LISTED = 12
_MOST_STEPS = 200
_PASS = frozenset(
    {"Identity", "ReadVariableOp", "Reshape", "Cast", "Switch", "Merge", "Enter", "ExpandDims", "Squeeze"}
)
_SLOTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MatMul"), ("input", "weights")),
    **dict.fromkeys(
        ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
        ("input", "gamma", "beta", "moving mean", "moving variance"),
    ),
    "BiasAdd": ("input", "bias"),
}


class VariableKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says about the keys of its variables in checkpoints.

    Attributes:
        saved: the keys that its savers and collections name, by the variable op's name.
        objects: SavedObjectGraph of a SavedModel of TensorFlow 2, for other checkpoints of its objects; None without.
        variables: the objects in it that the variables are.
    """

    saved: Mapping[str, list[Key]] = {}
    objects: Any = None
    variables: Mapping[str, int] = {}

    def in_checkpoint(self, values: Values) -> Mapping[str, list[Key]]:
        """The keys in one checkpoint, the likeliest first.

        Raises:
            InputError: `checkpoint-corrupt`.
        """
        if self.objects is None or OBJECT_GRAPH_KEY not in values:
            return self.saved
        try:
            checkpoint = TrackableObjectGraph.FromString(bytes(values.read(OBJECT_GRAPH_KEY).item()))
        except DecodeError as error:
            what = f"its value of {OBJECT_GRAPH_KEY} is no graph of objects: {error}"
            raise InputError("checkpoint-corrupt", what, where=path_text(values.checkpoint.prefix)) from None
        found = object_keys(self.variables, self.objects, checkpoint)
        return {name: [found[name]] if name in found else [] for name in (*self.saved, *self.variables)}


def variable_keys(model: Model) -> VariableKeys:
    """The keys of a model's variables in its checkpoints, by what its savers and collections say.

    Args:
        model: the calls of functions in a SavedModel are inlined: there, variables of a training graph that fqrewrite
            made take the names that its plan has for them.
    """
    if model.kind == "graph_def":
        return VariableKeys(saved=saver_keys(Graph(model.graph_def)))
    if model.saved_model is None:
        return meta_graph_keys(model.message)
    flatten_model(model, declared_outputs(model))
    found = meta_graph_keys(model.saved_model.message.meta_graphs[model.saved_model.index])
    return msgspec.structs.replace(
        found,
        saved={model.renamed.get(name, name): keys for name, keys in found.saved.items()},
        variables={model.renamed.get(name, name): index for name, index in found.variables.items()},
    )


def meta_graph_keys(meta_graph: Any) -> VariableKeys:
    """As `variable_keys`, of a MetaGraphDef as it was read."""
    saved = {**partition_keys(meta_graph), **saver_keys(Graph(meta_graph.graph_def))}
    if not meta_graph.object_graph_def.nodes:
        return VariableKeys(saved=saved)
    objects = type(meta_graph.object_graph_def)()
    objects.CopyFrom(meta_graph.object_graph_def)
    return VariableKeys(saved=saved, objects=objects, variables=variable_objects(meta_graph, saved))


class Restorer:
    """Reads the variables of one model from one checkpoint. Opening it imports TensorFlow.

    Args:
        checkpoint: where it is.
        keys: what `variable_keys` found in the model that it belongs to.
        scope: the name scope that the model was imported under before it was trained; "" for none.

    Raises:
        InputError: see `model.values.open_values`.
    """

    def __init__(self, checkpoint: Checkpoint, keys: VariableKeys, scope: str) -> None:
        self.checkpoint = checkpoint
        self.scope = scope
        self.values = open_values(checkpoint)
        self._keys = keys.in_checkpoint(self.values)

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        return path_text(self.checkpoint.prefix)

    def key(self, variable: str, shared_name: str = "") -> Key | None:
        """Where a variable of the source graph is in the checkpoint; None when it is not."""
        found = find_key(f"{self.scope}{variable}", shared_name, self._keys, self.values, self.scope.rstrip("/"))
        return found or (find_key(variable, "", self._keys, self.values) if self.scope else None)

    def read_some(self, names: Iterable[str]) -> dict[str, Array]:
        """Those of these variables that the checkpoint has, by the names given."""
        found = {name: key for name in names if (key := self.key(name)) is not None}
        return {name: self._read(key) for name, key in found.items()}

    def read(self, variables: list[Node]) -> tuple[dict[str, Array], list[Node]]:
        """The values of variables by name, and the variables that the checkpoint does not have.

        Raises:
            InputError: values of another dtype or shape, see `model.values.read_variables`.
        """
        wanted = {node.name: (dtype_of(node), get_shape(node.proto, "shape")) for node in variables}
        keys = {node.name: self.key(node.name, get_str(node.proto, "shared_name", "")) for node in variables}
        found = read_variables(self.values, wanted, keys)
        missing = set(found.missing)
        return found.arrays, [node for node in variables if node.name in missing]

    def read_all(self, variables: list[Node]) -> dict[str, Array]:
        """The values of variables by name.

        Raises:
            InputError: `checkpoint-variables-missing`, which lists them, or as `read`.
        """
        arrays, missing = self.read(variables)
        if missing:
            raise self.missing(missing, len(variables))
        return arrays

    def missing(self, nodes: list[Node], wanted: int) -> InputError:
        """The error about variables that are not in the checkpoint, what each is for, and the likely cause."""
        lines = [f"\n  {self.scope}{node.name}: {_purpose(node)}" for node in nodes[:_MOST_LISTED]]
        if len(nodes) > _MOST_LISTED:
            lines.append(f"\n  and {len(nodes) - _MOST_LISTED} more")
        what = f"{len(nodes)} of the {wanted} variables are not in the checkpoint:{''.join(lines)}\n  "
        return InputError("checkpoint-variables-missing", what + self._cause(nodes, wanted), where=self.name)

    def _read(self, key: Key) -> Array:
        values: Any = self.values
        found: Array = values.read_slice(key.name, key.slice_spec) if key.slice_spec else values.read(key.name)
        return found

    def _cause(self, missing: list[Node], wanted: int) -> str:
        names = list(self.values)
        if any(name.endswith(".ATTRIBUTES/VARIABLE_VALUE") for name in names):
            if any(self._keys.values()):
                return "it holds other objects than the SavedModel: it was saved from another model"
            return (
                "it is an object-based checkpoint of TensorFlow 2, and none of its objects is like the SavedModel's; "
                "save what tf.saved_model.load gives, as in tf.train.Checkpoint(model=loaded), and name its SavedModel "
                "with --model"
            )
        for node in missing:
            near = [name for name in names if name.endswith(f"/{node.name}") or node.name.endswith(f"/{name}")]
            if near:
                return f"it has {near[0]!r}: the model was saved under another name scope"
        if len(missing) == wanted:
            return f"it has none of them, but {len(names)} others such as {min(names)!r}" if names else "it is empty"
        return "it was saved from another graph, or by a Saver that was given some of the variables only"


def _purpose(variable: Node) -> str:
    """What a variable is for: the first operation that reads its value, and as what."""
    queue: list[Node] = [variable]
    for node in islice(queue, _MOST_STEPS):
        for consumer, slot in node.uses:
            if consumer.op.startswith(("Assign", "Save", "VarIsInitialized", "IsVariableInitialized")):
                continue
            if consumer.op in _PASS:
                queue.append(consumer)
                continue
            names = _SLOTS.get(consumer.op, ())
            role = names[slot] if slot < len(names) else f"input {slot}"
            return f"{role} of {consumer.op} {consumer.name}"
    return "nothing in the graph reads it"
