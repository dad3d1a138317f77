"""Placeholders that switch a graph between training and inference: which they are, and which way they go.

They are recognised by use first: on one side of the conditionals that such a placeholder decides stand batch
norms in training mode, dropout, statistics of the batch; on the other, moving averages. Their names come second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fqrewrite.ir.functions import count_nodes, functions_of
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.conditionals import CALLS, IF, MERGE, SELECT, SWITCH, Resolution, resolve_predicates
from fqrewrite.match.parameters import VARIABLE_OPS, Parameters
from fqrewrite.match.predicates import Predicates, Scalar
from fqrewrite.proto.attrs import get_bool, get_shape, get_type
from fqrewrite.proto.dtypes import DT_BOOL, DT_INT32, DT_INT64, DT_UINT8

PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_RANDOM = re.compile(r"^(Stateless)?(Random|TruncatedNormal|Multinomial|Bernoulli)")
_BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_LOGIC = frozenset(
    {"Identity", "LogicalNot", "LogicalAnd", "LogicalOr", "Switch", "Cast", "Enter"}
    | {"Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual"}
)
_SWITCH_DTYPES = frozenset({DT_BOOL, DT_INT32, DT_INT64, DT_UINT8})
_MOMENTS = frozenset({"Mean", *_BATCH_NORMS})
_SAME_STATISTIC = frozenset({"Identity", "Squeeze", "Reshape", "Cast", "StopGradient", *SWITCH})
_TRAINING_NAME = re.compile(
    r"(^|_)(is_?)?(train(ing)?|learning)(_?(phase|mode|flag|time))?(_?\d+)?$|(^|_)phase(_train(ing)?)?$"
)
_INFERENCE_NAME = re.compile(
    r"(^|_)(is_?)?(test(ing)?|eval(uation)?|infer(ence)?|predict(ion)?)(_?(phase|mode))?(_?\d+)?$"
    r"|(^|_)not?_(in_)?train(ing)?(_?(phase|mode))?(_?\d+)?$"
)


def find_phases(graph: Graph, order: list[Node]) -> dict[str, bool]:
    """The placeholders that switch the phase, by name, with the value that means training; 1 is True.

    What is inside the training side of one of them is no reason to take another for a phase.

    Args:
        graph: only read.
        order: its nodes, each behind what it reads.
    """
    found: dict[Node, bool] = {}
    parameters = Parameters()
    candidates = open_predicates(graph)
    for node in sorted(candidates, key=lambda node: _meaning_of(node.name) is None):
        inference: dict[Node, Scalar] = {phase: not value for phase, value in found.items()}
        score = _training_marks(graph, order, {**inference, node: True}, parameters)
        score -= _training_marks(graph, order, {**inference, node: False}, parameters)
        meaning = score > 0 if score else _meaning_of(node.name)
        if meaning is not None:
            found[node] = meaning
    return {node.name: found[node] for node in candidates if node in found}


def takes_batch_statistics(graph: Graph, order: list[Node], phases: dict[str, bool]) -> bool:
    """Whether batch norms normalise with the statistics of the batch when all phases are bound to training."""
    known = resolve_predicates(graph, order, Predicates({graph.nodes[name]: value for name, value in phases.items()}))
    marks = _marks(graph, known, Parameters())
    return any(not _RANDOM.match(node.op) for node in marks) or _marks_of_branches(graph, known, _is_training_norm) > 0


def open_predicates(graph: Graph) -> list[Node]:
    """Scalar placeholders that decide a conditional: booleans, and integers that are compared or cast to one."""
    return [node for node in graph.by_op(*PLACEHOLDERS) if decides(node)]


def decides(placeholder: Node) -> bool:
    """Whether a scalar placeholder is, through logic alone, the predicate of something.

    A tensor of conditions, such as a mask or labels that are compared with a class, decides nothing as a whole.
    """
    dtype = get_type(placeholder.proto, "dtype", 0)
    if dtype not in _SWITCH_DTYPES:
        return False
    is_bool, shape = dtype == DT_BOOL, get_shape(placeholder.proto, "shape")
    if shape:
        return False
    named = _meaning_of(placeholder.name) is not None
    seen, queue = {placeholder}, [placeholder]
    for node in queue:
        for consumer, slot in node.uses:
            if consumer.op in SWITCH and slot == 1:
                return True
            if is_bool and (consumer.op in CALLS or consumer.op in IF):  # the predicate, or handed on to one inside
                return True
            # Where the shape is not known, a Select may choose between elements.
            if slot == 0 and (consumer.op in IF or (consumer.op in SELECT and (shape is not None or named))):
                return True
            if consumer.op in _LOGIC and consumer not in seen:
                seen.add(consumer)
                queue.append(consumer)
    return False


def _training_marks(graph: Graph, order: list[Node], bound: dict[Node, Scalar], parameters: Parameters) -> int:
    """How much in a graph, with these placeholders bound, belongs to training."""
    known = resolve_predicates(graph, order, Predicates(bound))
    return sum(1 for _ in _marks(graph, known, parameters)) + _marks_of_branches(graph, known, _is_mark)


def _marks(graph: Graph, known: Resolution, parameters: Parameters) -> Iterator[Node]:
    for node in graph.by_op(*_BATCH_NORMS):
        if node not in known.dead and _is_training_norm(node):
            yield node
    for op in graph.op_types():
        if _RANDOM.match(op):
            yield from (node for node in graph.by_op(op) if node not in known.dead and _varies(node, parameters))
    # Between a statistic of the batch and its moving average, the first is for training.
    for node, choice in known.choices.items():
        sides = node.inputs if node.op in MERGE else node.inputs[1:]
        others = [side for side in sides if side != choice]
        if _is_statistic(choice) and len(others) == 1 and _is_stored(others[0]):
            yield node


def _marks_of_branches(graph: Graph, known: Resolution, is_mark: Callable[[Node], bool]) -> int:
    """How many marks are in the branches of Ifs that are taken, and in what they call."""
    if not known.branches:
        return 0
    library = functions_of(graph.graph_def)
    branches = [(node, "then_branch" if taken else "else_branch") for node, taken in known.branches.items()]
    return sum(count_nodes(library, node.proto.attr[key].func.name, is_mark) for node, key in branches)


def _is_mark(node: Node) -> bool:
    return _is_training_norm(node) or _RANDOM.match(node.op) is not None


def _is_training_norm(node: Node) -> bool:
    return node.op in _BATCH_NORMS and get_bool(node.proto, "is_training", True)


def _is_statistic(value: Value) -> bool:
    """Whether a value is a mean or variance, as it was computed or in another shape."""
    while value.node.op in _SAME_STATISTIC:
        value = value.node.inputs[0]
    return value.node.op in _MOMENTS and not (value.node.op in _BATCH_NORMS and value.port == 0)


def _is_stored(value: Value) -> bool:
    """Whether a value is that of a variable, as it is or in another shape."""
    while value.node.op in _SAME_STATISTIC or value.node.op == "ReadVariableOp":
        value = value.node.inputs[0]
    return value.node.op in VARIABLE_OPS


def random_operations(graph: Graph) -> list[Node]:
    """The operations that make random numbers for data, not for the initial value of a variable."""
    parameters = Parameters()
    ops = [op for op in graph.op_types() if _RANDOM.match(op)]
    return [node for node in graph.by_op(*ops) if _varies(node, parameters)] if ops else []


def _varies(node: Node, parameters: Parameters) -> bool:
    """Whether random numbers are used for data, not for the initial value of a variable."""
    seen, queue = {node}, [node]
    for current in queue:
        for consumer, _ in current.uses:
            if consumer.op.startswith("Assign"):
                return False
            if consumer not in seen and len(seen) < 50:
                if not parameters.is_parameter(consumer.value()):
                    return True
                seen.add(consumer)
                queue.append(consumer)
    return True


def _meaning_of(name: str) -> bool | None:
    """The value that means training, by the last component of a name; None when it does not say."""
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rpartition("/")[2]).lower()
    if _INFERENCE_NAME.search(last):
        return False
    return True if _TRAINING_NAME.search(last) else None
