"""The eval graph: of a float model, or from the checkpoint of a training graph that fqrewrite made.

The plan (see `recovery`) is applied to the inference form of the source graph (see `prepare`). With a checkpoint, the
source's variables become constants first, and every range is a number when the quantizers are inserted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import EditLog, Editor
from fqrewrite.ir.functions import drop_unused_functions
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.labels import before_labels
from fqrewrite.match.phase import random_operations
from fqrewrite.match.reach import ancestors, with_initializers
from fqrewrite.match.refusals import MARKER_NAME, backward_pass
from fqrewrite.model.container import Model
from fqrewrite.model.declared import declared_outputs
from fqrewrite.model.stale import drop_stale
from fqrewrite.plans.items import Changes, Note, Plan, QuantizerItem, fake_quant_op
from fqrewrite.plans.offsets import find_uniform_offsets
from fqrewrite.plans.outputs import named_outputs
from fqrewrite.plans.ranges import Origin, RangeSources, range_values, range_variables, resolve_ranges
from fqrewrite.plans.restrict import restrict, without_unseen
from fqrewrite.source.prepare import PREPARATION, resolve_for_inference
from fqrewrite.source.provenance import Provenance, mark
from fqrewrite.source.served import input_nodes, servable_nodes, trim_main_ops
from fqrewrite.transform.apply import apply_plan
from fqrewrite.transform.colocation import drop_stale_colocations
from fqrewrite.transform.freeze import freeze, needed_variables
from fqrewrite.transform.inference import NotConverted, to_inference
from fqrewrite.transform.prune import prune, remove_unused, used_names
from fqrewrite.verbs.recovery import Recovered
from fqrewrite.verbs.rewrite import Rewritten, describe_variables, drop_shapes

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array
    from fqrewrite.source.restore import Restorer


class InferenceGraph(NamedTuple):
    """The inference form of a model, float and without variables.

    Attributes:
        graph: of it; where a graph was in that form, all that is in it.
        plan: what the eval graph would be made by; its activation ranges are not known yet.
        outputs: the point of the graph.
        notes: on what was done.
    """

    graph: Graph
    plan: Plan
    outputs: tuple[Value, ...]
    notes: tuple[Note, ...]


class Evaluated(NamedTuple):
    """An eval graph.

    Attributes:
        plan: what was applied: the plan, less what the outputs do not need.
        rewritten: what was done; None when no layer would be quantized.
        values: of all variables of the graph by name, when they stay variables and there is a checkpoint.
    """

    plan: Plan
    rewritten: Rewritten | None
    values: dict[str, Array]


def evaluate_model(
    model: Model,
    found: Recovered,
    config: Config,
    sources: RangeSources,
    restorer: Restorer | None,
    *,
    freezes: bool,
    serves: bool = False,
    notes: Iterable[Note] = (),
) -> Evaluated:
    """Makes the eval graph of a model, in place.

    Args:
        model: the source; is edited.
        found: what `verbs.recovery.recover_model` found out about it.
        config: of this run.
        sources: of ranges, but for the checkpoint's.
        restorer: the checkpoint; None without one.
        freezes: whether variables become constants. Without a checkpoint a graph with variables keeps them.
        serves: whether what else is in use of the SavedModel that it is from stays: other signatures, the main op.
        notes: on what was done before.

    Raises:
        Refusal: `training-graph-in-eval` for a batch norm that cannot be turned into inference; `range-unknown`.
        InputError, GraphError, ConfigError: of the checkpoint, the ranges, the outputs.
    """
    return _Evaluation(model, found, config, sources, restorer, freezes, serves, list(notes)).run()


def inference_graph(model: Model, found: Recovered, config: Config, restorer: Restorer | None) -> InferenceGraph:
    """Makes the float graph that `evaluate_model` would insert quantizers in, in place, its variables frozen.

    Args:
        model, found, config, restorer: as for `evaluate_model`.

    Raises:
        Refusal, InputError, GraphError, ConfigError: as `evaluate_model`, but for ranges; `variable-value-missing` for
            a graph with variables and no checkpoint.
    """
    sources = RangeSources(config=config)
    return _Evaluation(model, found, config, sources, restorer, True, False, []).float_graph()


class _Evaluation:
    def __init__(
        self,
        model: Model,
        found: Recovered,
        config: Config,
        sources: RangeSources,
        restorer: Restorer | None,
        freezes: bool,
        serves: bool,
        notes: list[Note],
    ) -> None:
        self.model = model
        self.found = found
        self.plan = found.plan
        self.config = config
        self.sources = sources
        self.restorer = restorer
        self.freezes = freezes
        self.serves = serves
        self.graph = Graph(model.graph_def)
        self.editor = Editor(self.graph)
        self.editor.begin(PREPARATION)
        self.changes = Changes(inlined=model.inlined)
        self.notes = notes
        self.origins: dict[str, Origin] = {}
        self.values: dict[str, Array] = {}
        self.served: list[str] = []

    def run(self) -> Evaluated:
        outputs, whole = self._to_inference()
        self.plan = restrict(self.plan, self.graph)
        self._find_values(outputs)
        used = used_names(self.graph) - {item.norm for item in self.plan.folds}
        applied = apply_plan(self.plan, self.editor, "eval")
        self.notes += describe_variables(self.model, applied.variables)
        if applied.variables and not self.values:
            count = sum(item.range.source == "ema" for item in self.plan.quantizers)
            text = f"{count} activation ranges are variables; restore them from a checkpoint of the training graph"
            self.notes.append(Note(code="range-not-trained", text=text))
        if applied.log.inserted:
            self.model.edited = True
            self._change(output_shapes=drop_shapes(self.model))
            mark(self.editor, Provenance(mode="eval", plan=self.plan, changes=self.changes))
        if not whole:
            self.model.edited = True
            self._clean(outputs, applied.log)
        elif (
            applied.log.inserted and self.model.kind == "graph_def"
        ):  # what a MetaGraphDef says elsewhere may name any node
            self._drop_retired(used - {value.node.name for value in outputs}, applied.log)
        quantized = self._quantized_outputs()
        rewritten = Rewritten(
            applied=applied,
            changes=self.changes,
            notes=tuple(self.notes),
            outputs=tuple(quantized.get(value, str(value)) for value in outputs),
            origins=self.origins,
        )
        return Evaluated(self.plan, rewritten, self.values)

    def float_graph(self) -> InferenceGraph:
        outputs, _ = self._to_inference()
        plan = restrict(self.plan, self.graph)
        sites = [self.graph.value(item.tensor) for item in plan.quantizers]
        variables = needed_variables(self.graph, [*outputs, *sites])
        values = self.restorer.read_all(variables) if self.restorer else {}
        freeze(self.graph, self.editor, values, [*outputs, *sites])
        return InferenceGraph(self.graph, plan, outputs, tuple(self.notes))

    def _to_inference(self) -> tuple[tuple[Value, ...], bool]:
        """Turns the graph into its inference form; returns the outputs, and whether nothing was in need of that.

        An inference graph stays as it is, with all that is in it but what folds replace; of any other there stays
        what the outputs need.
        """
        graph, editor, preparation = self.graph, self.editor, self.plan.preparation
        outputs = named_outputs(graph, self.config.outputs or self._outputs())
        conditionals = resolve_for_inference(editor, preparation, self.plan, outputs)
        results = outputs if self.config.outputs else before_labels(graph, outputs)
        if results != outputs:
            text = f"{_names(outputs)} depends on labels; the eval graph gives {_names(results)}"
            self.notes.append(Note(code="outputs-before-labels", text=text))
        inference = to_inference(graph, editor, results)
        trains = self.found.trained or bool(editor.originals) or results != outputs or bool(backward_pass(graph))
        whole = not trains and self.restorer is None
        if not whole:
            self.served = self._served([value.node for value in results]) if self.serves else []
            needed = ancestors([*(value.node for value in results), *map(graph.node, self.served)])
            self._change(removed=prune(editor, needed if self._becomes_constant else with_initializers(needed)))
        self._refuse_unconverted(inference.not_converted)
        if not whole and (random := random_operations(graph)):
            text = f"{len(random)} operations make random numbers, the first is {random[0].name} ({random[0].op})"
            self.notes.append(Note(code="random-in-inference", text=text))
        bound = {**preparation.bound, **{name: not value for name, value in preparation.phases.items()}}
        self._change(
            bound={name: value for name, value in bound.items() if conditionals or name in preparation.bound},
            phases=tuple(preparation.phases),
            conditionals=conditionals,
            batch_norms=inference.batch_norms,
            dropouts=inference.dropouts,
        )
        return results, whole

    def _served(self, outputs: list[Node]) -> list[str]:
        """What else of a SavedModel stays: other signatures that are no training, and the main op as far as needed."""
        others = servable_nodes(self.model, self.graph)
        needed, constant = ancestors([*outputs, *others]), self._becomes_constant
        inputs = input_nodes(self.model, self.graph)
        kept = [*inputs, *others, *trim_main_ops(self.editor, self.model, needed, keeps_variables=not constant)]
        return [node.name for node in kept]

    def _outputs(self) -> tuple[str, ...]:
        """The point of the graph: the plan's, but of a trained SavedModel what its chosen signatures are now."""
        served = self.found.trained and self.model.saved_model is not None
        return (declared_outputs(self.model) if served else ()) or self.plan.outputs

    @property
    def _becomes_constant(self) -> bool:
        return self.freezes and self.restorer is not None

    def _refuse_unconverted(self, entries: tuple[NotConverted, ...]) -> None:
        if entries:
            first = f"the first is {entries[0].name!r}: {entries[0].reason}"
            what = f"{len(entries)} of the batch norms cannot be turned from training mode into inference; {first}"
            raise Refusal("training-graph-in-eval", what, where=entries[0].name)

    def _find_values(self, outputs: tuple[Value, ...]) -> None:
        """Finds the values of variables and ranges, as far as the eval graph shall have them."""
        roots: list[Value | Node] = [*outputs, *map(self.graph.node, self.served)]
        variables = needed_variables(self.graph, roots)
        if self.restorer is None:
            if self.freezes and not variables:
                self._resolve_ranges(self.graph)
            elif self.sources.file or self.config.ranges:
                self._resolve_known_ranges()
            return
        values = self.restorer.read_all(variables)
        self.sources = msgspec.structs.replace(
            self.sources,
            checkpoint=self.restorer.read_some(range_variables(self.plan)),
            checkpoint_name=self.restorer.name,
        )
        ends = {str(value) for value in outputs if not value.uses()} - {*self.sources.file, *self.config.ranges}
        self.plan, unseen = without_unseen(self.plan, ends, self.sources.checkpoint)
        for tensor in unseen:
            text = f"{tensor}: the training never ran the quantizer behind the output, which stays float"
            self.notes.append(Note(code="output-not-trained", text=text))
        if self.freezes:
            frozen = freeze(self.graph, self.editor, values, roots)
            self._change(frozen=len(frozen.variables))
            self._resolve_ranges(self.graph)
            return
        constants = Graph(_copy(self.model.graph_def))
        freeze(constants, Editor(constants), values, [constants.value(str(value)) for value in outputs])
        learned = self.plan
        self._resolve_ranges(constants)
        self.values = {**values, **range_values(learned, self.plan)}
        self.plan = learned

    def _resolve_ranges(self, constants: Graph) -> None:
        resolved = resolve_ranges(self.plan, constants, self.sources)
        self.plan, self.origins = find_uniform_offsets(resolved.plan, constants), resolved.origins
        self.notes += resolved.notes

    def _resolve_known_ranges(self) -> None:
        """Makes constants of the ranges that are given; the others stay variables."""
        given = [item for item in self.plan.quantizers if self._is_given(item)]
        resolved = resolve_ranges(msgspec.structs.replace(self.plan, quantizers=tuple(given)), self.graph, self.sources)
        known = {item.id: item for item in resolved.plan.quantizers}
        quantizers = tuple(known.get(item.id, item) for item in self.plan.quantizers)
        self.plan, self.origins = msgspec.structs.replace(self.plan, quantizers=quantizers), resolved.origins
        self.notes += resolved.notes

    def _is_given(self, item: QuantizerItem) -> bool:
        return item.tensor in self.sources.file or item.tensor in self.config.ranges

    def _quantized_outputs(self) -> dict[Value, str]:
        """The quantized form of each output whose quantizer stands behind the tensor of that name."""
        graph = self.graph
        found = {}
        for item in self.plan.quantizers:
            if item.role != "weights" and not item.takes_name:
                found[graph.value(item.tensor)] = f"{item.scope}/{fake_quant_op(item.scheme)}:0"
        return found

    def _clean(self, outputs: tuple[Value, ...], log: EditLog) -> None:
        """Removes what nothing needs any more, and what says something about it."""
        graph = Graph(self.model.graph_def)
        quantized = self._quantized_outputs()
        roots = {graph.value(quantized.get(value, str(value))).node for value in outputs}
        roots |= {graph.node(value.node.name) for value in outputs}
        roots |= {graph.node(name) for name in (MARKER_NAME, *self.served) if name in graph}
        editor, needed = Editor(graph), ancestors(roots)
        if not self._becomes_constant:
            needed = with_initializers(needed)
        editor.remove([node for node in graph if node not in needed])
        drop_stale_colocations(editor)
        log.forget(lambda name: name not in graph)
        drop_unused_functions(self.model.graph_def)
        if self.model.kind == "meta_graph":
            self._change(stale=drop_stale(self.model.message))

    def _drop_retired(self, names: set[str], log: EditLog) -> None:
        """Removes what folds left unread; a batch norm's own name hands on what was folded.

        Args:
            names: of the nodes that something read before, and that are no outputs.
            log: of the rewrite.
        """
        graph = Graph(self.model.graph_def)
        editor = Editor(graph)
        remove_unused(editor, names)
        drop_stale_colocations(editor)
        log.forget(lambda name: name not in graph)

    def _change(self, **changes: object) -> None:
        self.changes = msgspec.structs.replace(self.changes, **changes)


def _copy(graph_def: Any) -> Any:
    copied = type(graph_def)()
    copied.CopyFrom(graph_def)
    return copied


def _names(values: Iterable[Value]) -> str:
    return ", ".join(map(str, values))
