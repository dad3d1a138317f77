"""A plan in the making: what the phases of planning share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fqrewrite.config.records import Config
from fqrewrite.config.settings import LayerSettings, Settings
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal
from fqrewrite.plans.items import FoldItem
from fqrewrite.plans.ledger import Ledger
from fqrewrite.plans.names import Names
from fqrewrite.plans.quantizers import QuantizerBuilder

Proposals = Callable[..., Iterator[tuple[str, Proposal]]]
"""``proposals(phase, order=None, among=None)``: what the rules say, with the rule's name; see `plans.build`."""


class Planning:
    """Everything that is known and decided about one graph so far.

    Attributes:
        analysis: the graph, and what rules have found in it.
        config: the resolved configuration.
        settings: its answers for single layers and operations.
        ledger: the items.
        builder: makes quantizer items.
        proposals: asks the rules of a phase.
        layer_settings: the settings of each layer that was found.
        folds: the fold of each layer that has one.
        unfolded: the outputs of batch norms that stay.
    """

    def __init__(self, analysis: Analysis, config: Config, proposals: Proposals) -> None:
        self.analysis = analysis
        self.config = config
        self.settings = Settings(config)
        self.ledger = Ledger(Names(analysis.graph))
        self.builder = QuantizerBuilder(analysis, self.ledger, config.scope, config.quant_delay)
        self.proposals = proposals
        self.layer_settings: dict[Node, LayerSettings] = {}
        self.folds: dict[Node, FoldItem] = {}
        self.unfolded: list[Node] = []

    @property
    def graph(self) -> Graph:
        """The source graph."""
        return self.analysis.graph

    def leave_excluded(self, value: Value, settings: LayerSettings) -> None:
        """Records that a rule of the config leaves a result float."""
        reason = settings.because or "a rule of the config leaves it float"
        self.ledger.leave_out_tensor(value, "excluded-by-config", reason, settings.origin)
