"""A checkpoint for the first step of quantization-aware training, made from that of the float model.

It holds every variable of the training graph: the float model's own; ranges of weights, from the weights; ranges of
activations, from a ranges file or as they start; and step counters at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fqrewrite.errors import Refusal, path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.parameters import VARIABLE_OPS, dtype_of
from fqrewrite.match.reach import initializer
from fqrewrite.model.container import Model
from fqrewrite.plans.constants import NotConstant, evaluate
from fqrewrite.plans.items import Note, Plan, QuantizerItem
from fqrewrite.plans.ranges import RangeSources, range_values, resolve_ranges
from fqrewrite.proto.dtypes import FLOATING
from fqrewrite.source.prepare import resolve_for_planning
from fqrewrite.source.provenance import Provenance, recover
from fqrewrite.transform.emitter import STEP
from fqrewrite.transform.freeze import freeze, needed_variables

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array
    from fqrewrite.source.restore import Restorer

_GLOBAL_STEP = "global_step"


class WarmStart(NamedTuple):
    """Values for all variables of a training graph.

    Attributes:
        values: by the variable's name.
        from_float: number of variables that are the float model's.
        from_weights, from_file: number of quantizers whose range is that of their weights, or the ranges file's.
        initial: tensors whose range starts at its initial values.
        fresh: variables that the float model does not have, and that start as the training graph says.
        notes: on the ranges.
    """

    values: dict[str, Array]
    from_float: int
    from_weights: int
    from_file: int
    initial: tuple[str, ...]
    fresh: tuple[str, ...]
    notes: tuple[Note, ...]


def warm_start(
    model: Model, provenance: Provenance, scope: str, restorer: Restorer, sources: RangeSources
) -> WarmStart:
    """Makes the values.

    Args:
        model: a training graph that fqrewrite made; only read.
        provenance: found in it.
        scope: that it was imported under; "" for none.
        restorer: the float model's checkpoint.
        sources: the ranges file, if there is one.

    Raises:
        Refusal: `warm-start-not-needed` for a training graph with values.
        InputError: `checkpoint-variables-missing`, and what is wrong with the checkpoint or the ranges.
    """
    import numpy as np

    if provenance.captures:
        what = "the training graph is in a SavedModel of TensorFlow 2, which has the float model's values with it"
        raise Refusal("warm-start-not-needed", what, where=path_text(model.path))
    plan, graph = provenance.plan, Graph(model.graph_def)
    variables = {node.name.removeprefix(scope): node for node in graph if node.op in VARIABLE_OPS}
    made = _initial_ranges(plan, variables)
    steps = {name: np.zeros((), np.int64) for name in (STEP, _GLOBAL_STEP) if name in variables}
    own = [node for name, node in variables.items() if name not in made and name not in steps]
    found, missing = restorer.read(own)
    values = {name.removeprefix(scope): value for name, value in found.items()}
    fresh = {node.name.removeprefix(scope): start for node in missing if (start := _start(node, plan)) is not None}
    lost = [node for node in missing if node.name.removeprefix(scope) not in fresh]
    if lost:
        raise restorer.missing(lost, len(own))
    known = {**values, **fresh}
    source = Graph(recover(model.graph_def, provenance, scope))
    resolve_for_planning(Editor(source), plan.preparation, [name.partition(":")[0] for name in plan.outputs])
    resolved, notes = _resolve(plan, source, known, sources)
    ranges = range_values(plan, resolved)
    for item in resolved.quantizers:
        if item.role != "weights":
            ranges.update(_averages(item, ranges))
    every = {**known, **made, **ranges, **steps}
    weights = sum(item.role == "weights" for item in resolved.quantizers)
    learned = [item for item in plan.quantizers if item.range.source != "constant"]
    known_ids = {item.id for item in resolved.quantizers}
    return WarmStart(
        values={scope + name: value for name, value in every.items()},
        from_float=len(values),
        from_weights=weights,
        from_file=len(resolved.quantizers) - weights,
        initial=tuple(item.tensor for item in learned if item.id not in known_ids),
        fresh=tuple(fresh),
        notes=notes,
    )


def _initial_ranges(plan: Plan, variables: Mapping[str, Node]) -> dict[str, Array]:
    """All that the quantizers keep, as the training graph initialises it."""
    found = {}
    for item in plan.quantizers:
        for name, node in variables.items():
            if name.startswith(f"{item.scope}/") and (assign := initializer(node)):
                found[name] = evaluate(assign.inputs[1])
    return found


def _start(variable: Node, plan: Plan) -> Array | None:
    """The value that a variable starts with when it needs no checkpoint: a thawed constant, or a counter."""
    assign = initializer(variable)
    if assign is None or not (plan.preparation.thaw or dtype_of(variable) not in FLOATING):
        return None
    try:
        return evaluate(assign.inputs[1])
    except NotConstant:
        return None


def _resolve(
    plan: Plan, source: Graph, values: Mapping[str, Array], sources: RangeSources
) -> tuple[Plan, tuple[Note, ...]]:
    """The quantizers whose ranges are known before training: those of weights, and those in the ranges file."""
    quantizers = [item for item in plan.quantizers if item.range.source != "constant"]
    known = tuple(item for item in quantizers if item.role == "weights" or item.tensor in sources.file)
    part = msgspec.structs.replace(plan, quantizers=known)
    tensors = [item.tensor for item in known if item.role == "weights"]
    folds = {item.id: item for item in plan.folds}
    for item in known:
        if item.role == "weights" and item.fold is not None:
            fold = folds[item.fold]
            variance = fold.moving_variance.read if fold.moving_variance else fold.variance
            tensors += filter(None, (fold.gamma, variance))
    roots = [source.value(tensor) for tensor in tensors]
    needed = {node.name for node in needed_variables(source, roots)}
    freeze(source, Editor(source), {name: values[name] for name in needed}, roots)
    resolved = resolve_ranges(part, source, sources)
    return resolved.plan, resolved.notes


def _averages(item: QuantizerItem, ranges: Mapping[str, Array]) -> dict[str, Array]:
    """The zero-debiased averages behind a range that is known: as if it had been seen for 1 / (1 - decay) steps."""
    import numpy as np

    rate = np.float32(1.0 - item.range.decay)
    steps = np.float32(max(1.0, np.round(1.0 / rate)))
    weight = 1.0 - (1.0 - rate) ** steps
    found: dict[str, Array] = {}
    for end in ("min", "max"):
        prefix = f"{item.scope}/{item.scope}/{end}"
        found[f"{prefix}/biased"] = (ranges[f"{item.scope}/{end}"] * weight).astype(np.float32)
        found[f"{prefix}/local_step"] = np.asarray(steps, np.float32)
    return found
