"""Building the report: every plan item is joined with the edits that were filed under its id.

The names of what an item inserts follow from the plan. Where there is a log, each of them must be in it, and
every item must have been realised; a report that contradicts the edits is never written.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from fqrewrite import __version__
from fqrewrite.errors import GraphError
from fqrewrite.plans.items import FoldItem, Plan, QuantizerItem, RangeSpec, fake_quant_op
from fqrewrite.report.records import FakeQuant, Fold, Input, PlanSummary, Range, Report, Summary

if TYPE_CHECKING:
    from fqrewrite.ir.editor import EditLog, ItemEdits
    from fqrewrite.verbs.rewrite import Rewritten

# ir.editor.SHARED and prepare.PREPARATION; importing them would bring the graph along.
_SHARED, _PREPARATION = "shared", "preparation"


def build_report(
    *,
    model_path: str,
    model_kind: str,
    plan: Plan,
    mode: Literal["train", "eval"] | None,
    rewritten: Rewritten | None,
    output: str | None,
) -> Report:
    """Makes the report of one run.

    Args:
        model_path: of the input, as it was given.
        model_kind: "graph_def", "meta_graph" or "checkpoint".
        plan: what was decided, made from that very file.
        mode: what the plan is applied for; None for `fqrewrite plan`.
        rewritten: what the application did; None in a dry run, which changes nothing.
        output: path that the result is written to, as it was given; None for `fqrewrite plan`.

    Raises:
        GraphError: `broken-invariant` when the edits are not those of the plan.
    """
    joined = _Join(plan, rewritten)
    log = joined.log
    return Report(
        tool_version=__version__,
        input=Input(path=model_path, kind=model_kind, sha256=plan.source_sha256),
        output=output,
        mode=mode,
        config=plan.config,
        plan=PlanSummary(
            schema_version=plan.schema_version,
            tool_version=plan.tool_version,
            outputs=plan.outputs,
            resource_variables=plan.resource_variables,
        ),
        inserted=tuple(joined.fake_quant(item) for item in plan.quantizers),
        folds=tuple(joined.fold(item) for item in plan.folds),
        left_out=plan.left_out,
        notes=plan.notes + (rewritten.notes if rewritten is not None else ()),
        shared=None if log is None else tuple(log.items[_SHARED].inserted),
        summary=_summary(plan, rewritten),
        changes=None if rewritten is None else rewritten.changes,
        outputs=None if rewritten is None else rewritten.outputs,
        respelled=plan.respelled,
    )


class _Join:
    """Plan items on one side, edits on the other; `log` is None in a dry run."""

    def __init__(self, plan: Plan, rewritten: Rewritten | None) -> None:
        self.log: EditLog | None = None if rewritten is None else rewritten.applied.log
        variables = () if rewritten is None else rewritten.applied.variables
        self.origins = {} if rewritten is None else rewritten.origins
        self.variables = frozenset(variable.node for variable in variables)
        self.folds = {item.id: item for item in plan.folds}
        self.results = {item.output: _fold_name(item, "add_fold") + ":0" for item in plan.folds}
        if self.log is not None:
            planned = {item.id for item in plan.folds} | {item.id for item in plan.quantizers}
            realised = self.log.items.keys() - {_SHARED, _PREPARATION}
            if planned != realised:
                what = f"the edits are not those of the plan: {min(planned ^ realised)!r} is on one side only"
                raise GraphError("broken-invariant", what)

    def fake_quant(self, item: QuantizerItem) -> FakeQuant:
        op = fake_quant_op(item.scheme)
        node = f"{item.scope}/{op}"
        variables = () if item.range.source == "constant" else (f"{item.scope}/min", f"{item.scope}/max")
        edits = self._edits(item.id, (node, *variables))
        made = () if edits is None else [name for name in edits.inserted if name in self.variables]
        return FakeQuant(
            node=node,
            op=op,
            role=item.role,
            layer=item.layer,
            shared_with=tuple(name for name in _layers(item) if name != item.layer),
            tensor=item.tensor,
            quantized=self._quantized(item),
            bits=item.scheme.bits,
            narrow_range=item.scheme.narrow_range,
            symmetric=item.scheme.symmetric,
            granularity=item.scheme.granularity,
            range=_range(item.range, self.origins.get(item.id)),
            variables=variables,
            averages=tuple(name for name in made if name not in variables),
            delay=item.delay,
            rule=item.rule,
            because=item.because,
            nodes_inserted=None if edits is None else len(edits.inserted),
            rewired=None if edits is None else tuple(edits.rewired),
            function=item.function,
        )

    def fold(self, item: FoldItem) -> Fold:
        weights, result = _fold_name(item, "mul_fold"), _fold_name(item, "add_fold")
        edits = self._edits(item.id, (weights, result))
        return Fold(
            layer=item.layer,
            batch_norm=item.norm,
            output=item.output,
            result=f"{result}:0",
            weights=f"{weights}:0",
            form=item.form,
            statistics=item.statistics,
            freeze_delay=item.freeze_delay,
            rule=item.rule,
            inserted=None if edits is None else tuple(edits.inserted),
            replaced=None if edits is None else tuple(edits.replaced),
            rewired=None if edits is None else tuple(edits.rewired),
            function=item.function,
        )

    def _quantized(self, item: QuantizerItem) -> str:
        """What is quantized in the rewritten graph: a fold's product or result, or the source's tensor."""
        if item.role == "weights":
            fold = None if item.fold is None else self.folds[item.fold]
            return item.tensor if fold is None else _fold_name(fold, "mul_fold") + ":0"
        return self.results.get(item.tensor, item.tensor)

    def _edits(self, item: str, names: tuple[str, ...]) -> ItemEdits | None:
        """The edits of an item, which must have made nodes of these names."""
        if self.log is None:
            return None
        edits = self.log.items[item]
        missing = set(names).difference(edits.inserted)
        if missing:
            raise GraphError("broken-invariant", f"plan item {item!r} did not insert {min(missing)!r}")
        return edits


def _fold_name(item: FoldItem, name: str) -> str:
    prefix = f"{item.scope}/" if item.scope else ""
    return f"{prefix}{name}{item.suffix}"


def _layers(item: QuantizerItem) -> list[str]:
    """The layers that read the quantized weights, each once, in order."""
    if item.role != "weights":
        return []
    return list(dict.fromkeys(edge.rpartition(":in")[0] for edge in item.edges or ()))


def _range(spec: RangeSpec, origin: str | None) -> Range:
    constant = spec.source == "constant"
    return Range(
        source=spec.source,
        initial=None if constant else spec.initial,
        decay=spec.decay if spec.source == "ema" else None,
        minimum=spec.minimum if constant else None,
        maximum=spec.maximum if constant else None,
        origin=origin,
    )


def _summary(plan: Plan, rewritten: Rewritten | None) -> Summary:
    return Summary(
        layers=plan.layers,
        layers_quantized=len({layer for item in plan.quantizers for layer in _layers(item)}),
        fake_quants=_counts([item.role for item in plan.quantizers]),
        folds=len(plan.folds),
        left_out_kinds=_counts([entry.kind for entry in plan.left_out]),
        left_out_codes=_counts([entry.code for entry in plan.left_out]),
        nodes_inserted=None if rewritten is None else rewritten.applied.log.inserted,
        variables_created=None if rewritten is None else len(rewritten.applied.variables),
    )


def _counts(names: list[str]) -> dict[str, int]:
    """How often each name occurs, most frequent first, then by name."""
    return dict(sorted(Counter(names).items(), key=lambda entry: (-entry[1], entry[0])))
