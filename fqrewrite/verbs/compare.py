"""A float graph and its fake-quantized eval graph on the same data: which quantizer costs how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import InputError, Refusal, path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.model.signature import output_dtype
from fqrewrite.plans.items import Plan, QuantizerItem, fake_quant_op
from fqrewrite.proto.dtypes import FLOATING
from fqrewrite.run.data import open_data
from fqrewrite.run.fake_quant import Grid, fake_quant, grid
from fqrewrite.run.images import AS_THEY_ARE, ImageOptions
from fqrewrite.run.inputs import graph_inputs
from fqrewrite.run.noise import Noise, NoiseMeter, in_chunks, noise_of
from fqrewrite.run.session import Runner
from fqrewrite.source.open import Source
from fqrewrite.source.provenance import find_provenance, require_provenance
from fqrewrite.source.restore import Restorer, VariableKeys, variable_keys
from fqrewrite.transform.freeze import freeze, needed_variables
from fqrewrite.verbs.evaluate import InferenceGraph
from fqrewrite.verbs.float_graph import float_graph

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_PARAMETER_KINDS: dict[str, Literal["weights", "constant"]] = {"weights": "weights", "constant": "constant"}

Progress = Callable[[int, int | None], None]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor in both graphs.

    Attributes:
        kind: "weights" and "constant" are the same for all data.
        tensor: in the float graph.
        quantized: in the eval graph.
        layer: whose tensor it is; None for none.
        bits: of its quantizer; None for an output without one.
        noise: all that came about up to here; of weights and constants, their own.
        own: what this quantizer alone does to the float tensor; None where its range is a variable, or there is none.
    """

    kind: Literal["activation", "output", "weights", "constant"]
    tensor: str
    quantized: str
    layer: str | None
    bits: int | None
    noise: Noise
    own: Noise | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two graphs on the same data.

    Attributes:
        samples: how many there were.
        tensors: the worst first, those without error last.
        missing: tensors that the eval graph quantizes and the float graph does not have.
    """

    samples: int
    tensors: tuple[Compared, ...]
    missing: tuple[str, ...]


def compare(
    original: Source,
    quantized: Source,
    data: str,
    *,
    batch_size: int,
    images: ImageOptions = AS_THEY_ARE,
    progress: Progress,
) -> Comparison:
    """Runs a float model and an eval graph that was made of it on sample data, and compares them tensor by tensor.

    Args:
        original: as `eval` takes it; the model is edited.
        quantized: a graph that `eval` wrote, with its checkpoint if it kept variables; is edited.
        data: see `run.data.open_data`.
        batch_size: where neither graph nor data decide it.
        images: how pictures become samples.
        progress: is called after every batch.

    Raises:
        Refusal: `not-an-eval-graph`, `nothing-to-compare`, `provenance-missing`; as `verbs.float_graph.float_graph`.
        InputError: `graph-not-run`, `tensor-not-finite`, `tensors-differ`; about the data, see `run.data`.
    """
    where = path_text(quantized.path)
    plan = _eval_plan(quantized, where)
    trained = find_provenance(original.model.graph_def, path_text(original.path)) is not None
    if not trained:
        _refuse_another_model(plan, original, where)
    found = float_graph(original, Config(), None if trained else plan)
    pairs, missing = _pairs(plan, found, Graph(quantized.model.graph_def))
    if not pairs:
        what = f"{path_text(original.path)} has none of the {len(missing)} tensors that are quantized"
        raise Refusal("nothing-to-compare", what, where=where)
    graph = _frozen(quantized, [*(pair.quantized for pair in pairs), *map(_behind, _parameters(plan))])
    parameters = _parameter_noise(plan, graph, where)
    inputs = graph_inputs(found.graph, [found.graph.value(pair.tensor) for pair in pairs])
    samples = 0
    with (
        Runner(found.graph, [pair.tensor for pair in pairs], path_text(original.path)) as floats,
        Runner(graph, [pair.quantized for pair in pairs], where) as integers,
        open_data(data, inputs, batch_size, images) as opened,
    ):
        for batch in opened.batches:
            for pair, wanted, got in zip(pairs, floats.run(batch.feed), integers.run(batch.feed), strict=True):
                pair.add(wanted, got)
            samples += batch.samples
            progress(batch.samples, opened.samples)
    tensors = sorted([*(pair.record() for pair in pairs), *parameters], key=_badness)
    return Comparison(samples=samples, tensors=tuple(tensors), missing=tuple(missing))


def _eval_plan(source: Source, where: str) -> Plan:
    provenance, scope = require_provenance(source.model.graph_def, where)
    if provenance.mode != "eval" or scope:
        what = "this is a training graph" if provenance.mode != "eval" else f"it was imported under {scope!r}"
        raise Refusal("not-an-eval-graph", what, where=where)
    return provenance.plan


def _refuse_another_model(plan: Plan, original: Source, where: str) -> None:
    graph = Graph(original.model.graph_def)
    missing = [tensor for tensor in plan.outputs if tensor.partition(":")[0] not in graph]
    if missing:
        what = f"it was made of another model: {path_text(original.path)} has no tensor {missing[0]}"
        raise Refusal("nothing-to-compare", what, where=where)


class _Pair:
    """A tensor in both graphs, and what was found out about it so far."""

    def __init__(self, tensor: str, quantized: str, item: QuantizerItem | None, is_output: bool) -> None:
        self.tensor = tensor
        self.quantized = quantized
        self.item = item
        self.kind: Literal["activation", "output"] = "output" if is_output else "activation"
        self.noise = NoiseMeter()
        self.levels = _levels(item) if item is not None and item.range.source == "constant" else None
        self.own = NoiseMeter() if self.levels is not None else None

    def add(self, wanted: Array, got: Array) -> None:
        """Adds one batch."""
        import numpy as np

        if wanted.shape != got.shape:
            what = f"it is {list(wanted.shape)} in the float graph, and {list(got.shape)} in the other one"
            raise InputError("tensors-differ", what, where=self.tensor)
        for values, quantized in in_chunks(wanted, got):
            self.noise.add(values, quantized)
            if self.levels is not None and self.own is not None:
                self.own.add(values, fake_quant(values, self.levels))
        if not self.noise.is_finite:
            name = self.quantized if np.isfinite(wanted).all() else self.tensor
            raise InputError("tensor-not-finite", "the graph computes NaN or infinity here", where=name)

    def record(self) -> Compared:
        """The outcome."""
        return Compared(
            kind=self.kind,
            tensor=self.tensor,
            quantized=self.quantized,
            layer=self.item.layer if self.item else None,
            bits=self.item.scheme.bits if self.item else None,
            noise=self.noise.record(),
            own=self.own.record() if self.own else None,
        )


def _levels(item: QuantizerItem) -> Grid:
    limits, scheme = item.range, item.scheme
    return grid(limits.minimum[0], limits.maximum[0], scheme.bits, scheme.narrow_range)


def _pairs(plan: Plan, found: InferenceGraph, quantized: Graph) -> tuple[list[_Pair], list[str]]:
    """The tensors to compare, and the quantized ones that the float graph does not have."""
    outputs = {str(value) for value in found.outputs}
    pairs, missing = list[_Pair](), list[str]()
    for item in plan.quantizers:
        if item.role in _PARAMETER_KINDS:
            continue
        if item.tensor.rpartition(":")[0] in found.graph:
            pairs.append(_Pair(item.tensor, _behind(item), item, item.tensor in outputs))
        else:
            missing.append(item.tensor)
    done = {pair.tensor for pair in pairs}
    # Not labels and the like, which have no noise.
    numbers = {str(value) for value in found.outputs if output_dtype(value) in FLOATING}
    float_outputs = [tensor for tensor in sorted(numbers - done) if tensor.rpartition(":")[0] in quantized]
    return pairs + [_Pair(tensor, tensor, None, True) for tensor in float_outputs], missing


def _behind(item: QuantizerItem) -> str:
    """What a quantizer gives: of depthwise weights by channel in the shape that it works on."""
    return f"{item.scope}/{fake_quant_op(item.scheme)}:0"


def _parameters(plan: Plan) -> list[QuantizerItem]:
    return [item for item in plan.quantizers if item.role in _PARAMETER_KINDS]


def _frozen(source: Source, tensors: list[str]) -> Graph:
    """An eval graph whose variables, if it kept some, are constants."""
    model = source.model
    keys = variable_keys(model) if source.checkpoint else VariableKeys()
    graph = Graph(model.graph_def)
    roots = [graph.value(tensor) for tensor in tensors]
    variables = needed_variables(graph, roots)
    values = Restorer(source.checkpoint, keys, "").read_all(variables) if source.checkpoint else {}
    freeze(graph, Editor(graph), values, roots)
    return graph


def _parameter_noise(plan: Plan, graph: Graph, where: str) -> list[Compared]:
    """The noise of what no data changes."""
    items = _parameters(plan)
    if not items:
        return []
    after = [_behind(item) for item in items]
    before = [str(graph.value(name).node.inputs[0]) for name in after]
    with Runner(graph, [*before, *after], where) as runner:
        values = runner.run({})
    return [
        Compared(
            kind=_PARAMETER_KINDS[item.role],
            tensor=item.tensor,
            quantized=name,
            layer=item.layer,
            bits=item.scheme.bits,
            noise=noise_of(wanted, got),
        )
        for item, name, wanted, got in zip(items, after, values[: len(items)], values[len(items) :], strict=True)
    ]


def _badness(entry: Compared) -> tuple[float, str]:
    """Orders tensors: no signal under the error first, no error last."""
    noise = entry.noise
    if noise.sqnr_db is not None:
        return noise.sqnr_db, entry.tensor
    return (float("-inf") if noise.max_error else float("inf")), entry.tensor
