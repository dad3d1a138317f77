"""What the batch-norm rules share: the end of their judgement, a proposal or a decline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fqrewrite.match.analysis import Analysis
from fqrewrite.match.batch_norm import BatchNorm
from fqrewrite.match.moving_average import Update
from fqrewrite.match.proposal import Decline, FoldProposal, Proposal
from fqrewrite.rules._chain import Chain, NoChain

Obstacle = tuple[str, str]
"""A code of kind "left-out", and the reason in one sentence."""


def fold_or_decline(
    norm: BatchNorm,
    chain: Chain | NoChain,
    analysis: Analysis,
    obstacle: Callable[[BatchNorm, Chain, Analysis], Obstacle | None],
) -> Iterator[Proposal]:
    """Proposes a fold, or says what is in its way; nothing for a layer that is set aside, or an unread batch norm.

    Args:
        norm: the batch norm.
        chain: the way to its layer, or why there is none.
        analysis: the graph around it.
        obstacle: why it cannot be folded although a layer is before it; None when it can.
    """
    if chain.layer is not None and chain.layer.node in analysis.set_aside:
        return
    output = norm.node.value()
    problem = (chain.code, chain.reason) if isinstance(chain, NoChain) else obstacle(norm, chain, analysis)
    if problem is not None:
        code, reason = problem
        yield Decline(kind="batch_norm", node=norm.node, code=code, reason=reason, layer=chain.layer)
    elif isinstance(chain, Chain) and (output.uses() or output in analysis.outputs):
        yield FoldProposal(
            layer=chain.layer,
            chain=chain.nodes,
            bias=chain.bias,
            output=output,
            form=norm.form,
            statistics="batch" if norm.training else "moving",
            gamma=norm.gamma,
            beta=norm.beta,
            mean=norm.mean,
            variance=norm.variance,
            epsilon=norm.epsilon,
            moving_mean=norm.moving_mean,
            moving_variance=norm.moving_variance,
        )


def missing_updates(*averages: Update | None) -> Obstacle | None:
    """The obstacle of a batch norm in training mode without moving averages; None when all are found."""
    if all(average is not None for average in averages):
        return None
    reason = "it is in training mode and the graph has no update of its moving averages in a known form"
    return "batch-norm-without-moving-average", reason
