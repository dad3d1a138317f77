"""What the batch-norm rules share: the end of their judgement, a proposal or a decline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.moving_average import Update
from fqrewrite.match.proposal import Decline, FoldProposal, Proposal
from fqrewrite.rules._chain import Chain, NoChain

Obstacle = tuple[str, str]
"""A code of kind "left-out", and the reason in one sentence."""


def fold_or_decline(
    node: Node,
    chain: Chain | NoChain,
    analysis: Analysis,
    obstacle: Callable[[Chain], Obstacle | None],
    proposal: Callable[[Chain], FoldProposal],
) -> Iterator[Proposal]:
    """Proposes a fold, or says what is in its way; nothing for a layer that is set aside, or an unread batch norm.

    Args:
        node: what computes the batch norm's output.
        chain: the way to its layer, or why there is none.
        analysis: the graph around it.
        obstacle: why it cannot be folded although a layer is before it; None when it can.
        proposal: the fold.
    """
    if chain.layer is not None and chain.layer.node in analysis.set_aside:
        return
    problem = (chain.code, chain.reason) if isinstance(chain, NoChain) else obstacle(chain)
    if problem is not None:
        code, reason = problem
        yield Decline(kind="batch_norm", node=node, code=code, reason=reason, layer=chain.layer)
    elif isinstance(chain, Chain) and (node.value().uses() or node.value() in analysis.outputs):
        yield proposal(chain)


def missing_updates(*averages: Update | None) -> Obstacle | None:
    """The obstacle of a batch norm in training mode without moving averages; None when all are found."""
    if all(average is not None for average in averages):
        return None
    reason = "it is in training mode and the graph has no update of its moving averages in a known form"
    return "batch-norm-without-moving-average", reason
