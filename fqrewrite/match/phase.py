"""Placeholders that switch a graph between training and inference: which they are, and which way they go.

They are recognised by use first: on one side of the conditionals that such a placeholder decides stand batch
norms in training mode, dropout, statistics of the batch; on the other, moving averages. Their names come second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.conditionals import IF, MERGE, SELECT, SWITCH, Resolution, resolve_predicates
from fqrewrite.match.parameters import Parameters
from fqrewrite.match.predicates import Predicates, Scalar
from fqrewrite.proto.attrs import get_bool, get_type
from fqrewrite.proto.dtypes import DT_BOOL

PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_RANDOM = re.compile(r"^(Stateless)?(Random|TruncatedNormal|Multinomial|Bernoulli)")
_BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_LOGIC = frozenset({"Identity", "LogicalNot", "LogicalAnd", "LogicalOr", "Switch", "Cast", "Equal", "NotEqual"})
_TRAINING_NAME = re.compile(
    r"(^|_)(is_?)?(train(ing)?|learning)(_?(phase|mode|flag|time))?(_?\d+)?$|(^|_)phase(_train(ing)?)?$"
)
_INFERENCE_NAME = re.compile(
    r"(^|_)(is_?)?(test(ing)?|eval(uation)?|infer(ence)?|predict(ion)?)(_?(phase|mode))?(_?\d+)?$"
)


def find_phases(graph: Graph, order: list[Node]) -> dict[str, bool]:
    """The placeholders that switch the phase, by name, with the value that means training.

    Args:
        graph: only read.
        order: its nodes, each behind what it reads.
    """
    found: dict[str, bool] = {}
    parameters = Parameters()
    for node in open_predicates(graph):
        score = _training_marks(graph, order, {node: True}, parameters)
        score -= _training_marks(graph, order, {node: False}, parameters)
        meaning = score > 0 if score else _meaning_of(node.name)
        if meaning is not None:
            found[node.name] = meaning
    return found


def open_predicates(graph: Graph) -> list[Node]:
    """Boolean placeholders that decide a conditional."""
    candidates = graph.by_op(*PLACEHOLDERS)
    return [node for node in candidates if get_type(node.proto, "dtype", 0) == DT_BOOL and _decides(node)]


def _decides(placeholder: Node) -> bool:
    """Whether the placeholder is, through logic alone, the predicate of something."""
    seen, queue = {placeholder}, [placeholder]
    for node in queue:
        for consumer, slot in node.uses:
            if consumer.op in SWITCH and slot == 1:
                return True
            if consumer.op in SELECT | IF and slot == 0:
                return True
            if consumer.op in _LOGIC and consumer not in seen:
                seen.add(consumer)
                queue.append(consumer)
    return False


def _training_marks(graph: Graph, order: list[Node], bound: dict[Node, Scalar], parameters: Parameters) -> int:
    """How much in a graph, with these placeholders bound, belongs to training."""
    known = resolve_predicates(graph, order, Predicates(bound))
    return sum(1 for _ in _marks(graph, known, parameters))


def _marks(graph: Graph, known: Resolution, parameters: Parameters) -> Iterator[Node]:
    for node in graph.by_op(*_BATCH_NORMS):
        if node not in known.dead and get_bool(node.proto, "is_training", True):
            yield node
    for op in graph.op_types():
        if _RANDOM.match(op):
            yield from (node for node in graph.by_op(op) if node not in known.dead and _varies(node, parameters))
    # Between a statistic of the batch and its moving average, the first is for training.
    for node, choice in known.choices.items():
        sides = node.inputs if node.op in MERGE else node.inputs[1:]
        if (
            len(sides) == 2
            and any(_settled(side.node, parameters) for side in sides)
            and not _settled(choice.node, parameters)
        ):
            yield node
    # A branch of an If is in the library; what it is called for is judged by its name alone.


def _settled(node: Node, parameters: Parameters) -> bool:
    """Whether a value depends on variables and constants alone, also behind a Switch."""
    while node.op in SWITCH or node.op in ("Identity", "ReadVariableOp"):
        node = node.inputs[0].node
    return parameters.is_parameter(node.value())


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
    if _TRAINING_NAME.search(last):
        return True
    return False if _INFERENCE_NAME.search(last) else None
