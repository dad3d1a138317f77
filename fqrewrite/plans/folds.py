"""From a fold proposal to a fold item: values become names."""

from __future__ import annotations

from fqrewrite.ir.graph import Value
from fqrewrite.match.moving_average import Update
from fqrewrite.match.proposal import FoldProposal
from fqrewrite.plans.items import FoldItem, MovingAverage
from fqrewrite.plans.names import Names


def fold_item(found: FoldProposal, names: Names, freeze_delay: int | None, rule: str) -> FoldItem:
    """The item of a batch norm that is folded.

    Args:
        found: what the rule found.
        names: gives the suffix that makes the new names free.
        freeze_delay: step from which moving statistics are used, only for batch statistics.
        rule: name of the rule.
    """
    layer = found.layer
    scope = layer.node.scope
    prefix = f"{scope}/" if scope else ""
    wanted = [f"{prefix}{name}" for name in ("mul_fold", "add_fold", "BatchNorm_Fold", "post_conv_mul")]
    wanted += [f"{node.name}_Fold" for node in (layer.node, *found.chain)]
    batch = found.statistics == "batch"
    return FoldItem(
        id=f"fold:{found.output}",
        scope=scope,
        suffix=names.free_suffix(wanted),
        layer=layer.node.name,
        weight_slot=layer.slot,
        chain=tuple(node.name for node in found.chain),
        bias=_name(found.bias),
        norm=found.output.node.name,
        output=str(found.output),
        statistics=found.statistics,
        gamma=_name(found.gamma),
        beta=_name(found.beta),
        mean=_name(found.mean),
        variance=_name(found.variance),
        epsilon=found.epsilon,
        moving_mean=_moving_average(found.moving_mean),
        moving_variance=_moving_average(found.moving_variance),
        channels=layer.channels,
        data_format=layer.data_format,
        freeze_delay=freeze_delay if batch else None,
        form=found.form,
        rule=rule,
    )


def _name(value: Value | None) -> str | None:
    return None if value is None else str(value)


def _moving_average(update: Update | None) -> MovingAverage | None:
    if update is None:
        return None
    return MovingAverage(
        read=str(update.read),
        update=update.assign.name,
        amount_slot=1,
        absolute=update.absolute,
        ordered=update.ordered,
    )
