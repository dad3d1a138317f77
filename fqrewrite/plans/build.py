"""Making the plan: rules propose, phase by phase, and the first claim on a layer wins."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fqrewrite import __version__
from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError
from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer
from fqrewrite.match.proposal import (
    Decline,
    FoldProposal,
    LayerProposal,
    Phase,
    Proposal,
)
from fqrewrite.match.refusals import refuse_backward_pass, refuse_rewritten
from fqrewrite.plans.contrib_placement import ContribPlacement
from fqrewrite.plans.fixed_ranges import fix_ranges
from fqrewrite.plans.folds import fold_item
from fqrewrite.plans.functions import Origins, layers_in_functions
from fqrewrite.plans.integer_placement import IntegerPlacement
from fqrewrite.plans.items import Note, Plan, Preparation
from fqrewrite.plans.outputs import named_outputs, sink_outputs
from fqrewrite.plans.planning import Planning
from fqrewrite.rules import rules_of


def build_plan(
    graph: Graph,
    config: Config,
    *,
    source_sha256: str,
    public_outputs: tuple[str, ...] = (),
    preparation: Preparation | None = None,
) -> Plan:
    """Decides everything about one graph, and edits nothing.

    Args:
        graph: the source graph.
        config: the resolved configuration.
        source_sha256: of the file that the graph was read from, in hex.
        public_outputs: tensors that signatures or collections call outputs, for when the config names none.
        preparation: what was done to the graph before; None for nothing.

    Raises:
        Refusal: `graph-has-gradients` or `already-rewritten`.
        ConfigError: about outputs (`plans.outputs`) or fixed ranges (`plans.fixed_ranges`), or `scope-matches-nothing`.
        GraphError: `graph-cycle` or `wrong-number-of-inputs`.
    """
    check_arity(graph)
    refuse_rewritten(graph)
    wanted = config.outputs or public_outputs
    analysis = Analysis(graph, named_outputs(graph, wanted))
    refuse_backward_pass(analysis)
    if not wanted:
        analysis.outputs = sink_outputs(analysis)
    return _Planner(analysis, config).plan(source_sha256, preparation or Preparation())


_PLACEMENTS: dict[str, type[ContribPlacement] | type[IntegerPlacement]] = {
    "contrib": ContribPlacement,
    "integer": IntegerPlacement,
}

# What a batch norm and its statistics may be made of, between the layer and the fold; a second one has its own note.
_BEFORE_BATCH_NORM = frozenset(
    {"Identity", "BiasAdd", "Add", "AddV2", "Mean", "SquaredDifference", "Sub", "Mul", "Cast", "Shape", "Size"}
    | {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
)


class _Planner:
    def __init__(self, analysis: Analysis, config: Config) -> None:
        self.planning = Planning(analysis, config, self._proposals)
        self.analysis = analysis
        self.config = config
        self.ledger = self.planning.ledger
        self.settings = self.planning.settings
        self.folds = self.planning.folds

    def plan(self, source_sha256: str, preparation: Preparation) -> Plan:
        self._find_layers()
        self._find_folds()
        self.analysis.find_raw_outputs()
        _PLACEMENTS[self.config.placement](self.planning).place()
        quantizers, range_notes = fix_ranges(self.ledger.quantizers, self.config)
        self._add_notes(range_notes)
        ledger, analysis = self.ledger, self.analysis
        names = {node.name for node in analysis.layers}
        origins = Origins(analysis.graph)
        return Plan(
            tool_version=__version__,
            source_sha256=source_sha256,
            config=msgspec.json.decode(msgspec.json.encode(self.config)),  # lists, as in a plan that was read back
            outputs=tuple(str(value) for value in analysis.outputs),
            resource_variables=_uses_resources(analysis.graph),
            folds=tuple(map(origins.fold, ledger.folds)),
            quantizers=tuple(map(origins.quantizer, quantizers)),
            left_out=tuple(map(origins.left_out, ledger.left_out)),
            notes=ledger.notes,
            respelled=tuple(ledger.respelled),
            preparation=preparation,
            layers=len(names | {entry.name for entry in ledger.left_out if entry.kind == "layer"}),
        )

    def _proposals(
        self, phase: Phase, order: list[Node] | None = None, among: set[Node] | None = None
    ) -> Iterator[tuple[str, Proposal]]:
        """What the rules of a phase say, rule by rule; each proposal is acted on before the next one is asked for.

        Args:
            phase: the phase.
            order: all nodes, in the order in which each rule is to meet them; None for that of the graph.
            among: the only nodes that rules are asked about; None for all.
        """
        graph = self.analysis.graph
        for rule in rules_of(phase):
            if self.config.placement not in rule.placements or (
                rule.targets and self.config.target not in rule.targets
            ):
                continue
            nodes = graph.by_op(*rule.ops)
            if among is not None:
                nodes = [node for node in nodes if node in among]
            if order is not None:
                wanted = set(nodes)
                nodes = [node for node in order if node in wanted]
            for node in nodes:
                for proposal in rule.propose(node, self.analysis):
                    yield rule.name, proposal

    def _find_layers(self) -> None:
        for _, proposal in self._proposals("layer"):
            if isinstance(proposal, LayerProposal):
                self._add_layer(proposal.layer)
            elif isinstance(proposal, Decline):
                self.settings.for_layer((proposal.node.name,), proposal.node.op)
                self.ledger.decline(proposal)
        for entry in layers_in_functions(self.analysis):
            self.ledger.leave_out(
                "layer", entry.name, entry.op, "inside-function", entry.reason, function=entry.function
            )
        scope = self.config.scope
        if scope and not any(name.startswith(scope.rstrip("/") + "/") for name in self.analysis.graph.nodes):
            raise ConfigError("scope-matches-nothing", f"no node of the graph is in the scope {scope!r}", where="scope")

    def _add_layer(self, layer: Layer) -> None:
        node = layer.node
        settings = self.settings.for_layer(layer.names, node.op)
        self.analysis.layers[node] = layer
        self.planning.layer_settings[node] = settings
        if not settings.quantize:
            reason = settings.because or "a rule of the config leaves it float"
            self.ledger.leave_out_layer(node, "excluded-by-config", reason, settings.origin)
            self.analysis.set_aside.add(node)

    def _find_folds(self) -> None:
        for rule, proposal in self._proposals("fold"):
            if isinstance(proposal, FoldProposal):
                layer = proposal.layer
                if layer.node in self.folds:
                    text = f"{layer.node.name}: {proposal.output} is a second batch norm behind it, and is not folded"
                    self.ledger.note(Note(code="second-batch-norm", text=text))
                    self.planning.unfolded.append(proposal.output.node)
                    continue
                item = fold_item(proposal, self.ledger.names, self.config.freeze_bn_delay, rule)
                self.folds[layer.node] = item
                self.ledger.folds.append(item)
                self.analysis.add_fold(layer, proposal.output, batch_statistics=item.statistics == "batch")
                self._note_other_readers(proposal)
            elif isinstance(proposal, Decline):
                if proposal.layer is not None and proposal.layer.node in self.folds:
                    proposal = msgspec.structs.replace(proposal, layer=None)  # another batch norm is folded into it
                self.ledger.decline(proposal)
                self.planning.unfolded.append(proposal.node)
                if proposal.layer is not None:
                    self.analysis.set_aside.add(proposal.layer.node)

    def _note_other_readers(self, found: FoldProposal) -> None:
        """Says who else reads a layer in front of its batch norm: that branch keeps the unfolded, float layer."""
        own = {*found.chain, found.output.node}
        for consumer in found.layer.node.value().consumers():
            if consumer not in own and consumer.op not in _BEFORE_BATCH_NORM:
                text = f"{found.layer.node.name}: {consumer.name} reads it in front of its batch norm, and stays float"
                self.ledger.note(Note(code="unfolded-branch", text=text))

    def _add_notes(self, range_notes: tuple[Note, ...]) -> None:
        for note in range_notes:
            self.ledger.note(note)
        for unused in self.settings.unmatched():
            if unused.origin.startswith("preset "):
                continue  # a preset speaks of layers that a model may have
            text = f"{unused.origin}: the rule's selector {str(unused.selector)!r} matches no layer of this graph"
            self.ledger.note(Note(code="selector-matches-nothing", text=text))
        for value in self.analysis.outputs if self.config.placement == "contrib" else ():
            if value in self.analysis.quantized and not value.uses():
                text = f"{value}: the output is quantized behind the tensor of that name, which stays float"
                self.ledger.note(Note(code="output-not-quantized", text=text))


def _uses_resources(graph: Graph) -> bool:
    """Whether the model keeps resource variables; a model without variables gets them, as TensorFlow 2 prefers them."""
    return bool(graph.by_op("VarHandleOp")) or not graph.by_op("VariableV2", "Variable")
