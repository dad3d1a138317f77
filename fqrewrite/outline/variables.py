"""New variables in a model's object graph and in the graph of its checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.outline.records import GENERIC_OBJECT, SavedObject
from fqrewrite.proto.attrs import get_shape, get_type, shape_proto
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT64
from fqrewrite.transform.emitter import STEP

HOME = "fqrewrite"
"""The attribute of the root object below which the new variables are."""

_LIST = "trackable_list_wrapper"
_LISTS = ("variables", "trainable_variables", "non_trainable_variables")
_KEY_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_ON_READ = 3  # VariableSynchronization
_MEAN, _ONLY_FIRST = 2, 3  # VariableAggregation
_COUNTER = "local_step"


class NewVariable(NamedTuple):
    """A variable that the rewrite made.

    Attributes:
        node: its VarHandleOp.
        start: TensorProto of the value that it starts with.
        trainable: whether optimizers change it.
        key: in the checkpoint.
    """

    node: Node
    start: Any
    trainable: bool
    key: str

    @property
    def dtype(self) -> int:
        """DataType number."""
        return get_type(self.node.proto, "dtype", DT_FLOAT)

    @property
    def shape(self) -> Any:
        """TensorShapeProto."""
        return shape_proto(get_shape(self.node.proto, "shape"))


def new_variables(
    graph: Graph, variables: Sequence[BlockVariable], trainable: Collection[str], home: str
) -> list[NewVariable]:
    """The variables that a rewrite made, with the values that they start with.

    Args:
        graph: the rewritten graph.
        variables: names of their nodes.
        trainable: the nodes of those that optimizers change.
        home: the root's attribute that they will be below.

    Raises:
        GraphError: `variable-without-value` for an initial value that is not a constant.
    """
    found = []
    for variable in variables:
        initial = graph.value(variable.initial).node
        if initial.op != "Const":
            what = f"the initial value of {variable.node!r} is computed, by {initial.op}, and not known here"
            raise GraphError("variable-without-value", what, where=variable.node)
        key = f"{home}/{_escaped(variable.node)}{_KEY_SUFFIX}"
        start = initial.proto.attr["value"].tensor
        found.append(NewVariable(graph.node(variable.node), start, variable.node in trainable, key))
    return found


def free_home(objects: Any) -> str:
    """An attribute that the root object does not have yet."""
    taken = {child.local_name for child in objects.nodes[0].children}
    name, number = HOME, 1
    while name in taken:
        name, number = f"{HOME}_{number}", number + 1
    return name


def track(objects: Any, home: str, variables: Sequence[NewVariable]) -> dict[str, int]:
    """Enters new variables in an object graph, below a new object of the root's.

    Args:
        objects: SavedObjectGraph.
        home: the root's new attribute.
        variables: the new variables.

    Returns:
        Their object ids by the names of their nodes.
    """
    if not variables:
        return {}
    parent = _add_object(objects, GENERIC_OBJECT)
    objects.nodes[0].children.add(node_id=parent, local_name=home)
    ids = {}
    for variable in variables:
        ids[variable.node.name] = len(objects.nodes)
        saved = objects.nodes.add().variable
        saved.name, saved.dtype, saved.trainable = variable.node.name, variable.dtype, variable.trainable
        saved.shape.CopyFrom(variable.shape)
        if not variable.trainable:
            # Each replica updates its own copy; a reader, and a checkpoint, get the mean of them. Moving averages are
            # linear, so that is the average of the replicas' means. Counters are the same in all.
            saved.synchronization = _ON_READ
            saved.aggregation = _ONLY_FIRST if _counts(variable) else _MEAN
        objects.nodes[parent].children.add(node_id=ids[variable.node.name], local_name=variable.node.name)
    return ids


def complete_lists(objects: Any, new: Sequence[int]) -> None:
    """Gives the root object lists of its variables, or completes those that it has.

    What the root calls by these names and is no list stays as it is.
    """
    lists = {child.local_name: child.node_id for child in objects.nodes[0].children if child.local_name in _LISTS}
    if "variables" in lists:  # Keras's leaves out those of optimizers and metrics
        known = [child.node_id for child in objects.nodes[lists["variables"]].children]
    else:
        slots = {slot.slot_variable_node_id for node in objects.nodes for slot in node.slot_variables}
        known = [number for number in _descendants(objects) if number not in slots]
    known = [number for number in known if objects.nodes[number].HasField("variable")]
    everything = list(dict.fromkeys([*known, *new]))
    for name in _LISTS:
        wanted = [number for number in everything if _belongs(objects.nodes[number].variable, name)]
        if name not in lists:
            lists[name] = _add_object(objects, _LIST)
            objects.nodes[0].children.add(node_id=lists[name], local_name=name)
        entry = objects.nodes[lists[name]]
        if entry.user_object.identifier == _LIST:
            present = {child.node_id for child in entry.children}
            for number in wanted:
                if number not in present:
                    entry.children.add(node_id=number, local_name=str(len(entry.children)))


def extend_tracking(graph: Any, objects: Any, keys: Mapping[int, tuple[str, str]]) -> None:
    """Enters new objects in the graph by which a checkpoint's values are found.

    Args:
        graph: TrackableObjectGraph of the checkpoint. What of the model is not in it yet is entered: variables, and
            the objects that hold them.
        objects: SavedObjectGraph of the model.
        keys: (name, key in the checkpoint) by object id of the new variables.
    """
    same, order = _known(graph, objects)
    for number in order:  # grows
        tracked = graph.nodes[same[number]]
        known = {child.local_name for child in tracked.children}
        for child in objects.nodes[number].children:
            kind = objects.nodes[child.node_id].WhichOneof("kind")
            if child.local_name in known or kind not in ("user_object", "variable"):
                continue
            if child.node_id not in same:
                same[child.node_id] = len(graph.nodes)
                order.append(child.node_id)
                made = graph.nodes.add()
                if child.node_id in keys:
                    name, key = keys[child.node_id]
                    made.attributes.add(name="VARIABLE_VALUE", full_name=name, checkpoint_key=key)
                    made.has_checkpoint_values.value = True
            tracked.children.add(node_id=same[child.node_id], local_name=child.local_name)


def _known(graph: Any, objects: Any) -> tuple[dict[int, int], list[int]]:
    """The objects that a checkpoint knows, by object id, and these ids breadth first."""
    same, order = {0: 0}, [0]
    for number in order:
        tracked = {child.local_name: child.node_id for child in graph.nodes[same[number]].children}
        for child in objects.nodes[number].children:
            if child.local_name in tracked and child.node_id not in same:
                same[child.node_id] = tracked[child.local_name]
                order.append(child.node_id)
    return same, order


def _descendants(objects: Any) -> list[int]:
    """Object ids below the root, breadth first: as objects come in the source of a model."""
    found, queue = {0: None}, [0]
    for number in queue:
        new = [child.node_id for child in objects.nodes[number].children if child.node_id not in found]
        found |= dict.fromkeys(new)
        queue += dict.fromkeys(new)
    return sorted(found)


def _belongs(variable: Any, name: str) -> bool:
    return name == "variables" or variable.trainable == (name == "trainable_variables")


def _counts(variable: NewVariable) -> bool:
    name = variable.node.name
    return variable.dtype == DT_INT64 or name == STEP or name.endswith(f"/{_COUNTER}")


def _add_object(objects: Any, identifier: str) -> int:
    made = SavedObject()
    made.user_object.identifier = identifier
    made.user_object.version.producer = made.user_object.version.min_consumer = 1
    objects.nodes.append(made)
    return len(objects.nodes) - 1


def _escaped(name: str) -> str:
    """A name as a component of a checkpoint's key (tensorflow/python/checkpoint/trackable_view.py)."""
    return name.replace(".", "..").replace("/", ".S")
