"""What rules say: proposals and declines. Rules never edit and never raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer
from fqrewrite.match.moving_average import Update

Phase = Literal["layer", "fold", "placement", "elementwise", "coverage", "site"]
PHASES: tuple[Phase, ...] = ("layer", "fold", "placement", "elementwise", "coverage", "site")

Placement = Literal["contrib", "integer"]
"""Who decides about activations: the recipe of tf.contrib.quantize, or what an integer runtime needs."""

RangeKind = Literal["own", "fixed", "same", "tied", "given"]
"""Where the range of an operation's result comes from, when it is computed in integers.

"own": it has a quantizer. "fixed": it has one, with the range that the integer kernel writes. "same": the kernel hands
the range of its operand on. "tied": operands and result share one range. "given": the model has a quantizer there.
"""


class LayerProposal(msgspec.Struct, frozen=True):
    """This node is a layer."""

    layer: Layer


class FoldProposal(msgspec.Struct, frozen=True, kw_only=True):
    """This batch norm can be folded into that layer. The fields are those of `plans.items.FoldItem`, as values."""

    layer: Layer
    chain: tuple[Node, ...]
    bias: Value | None
    output: Value
    form: Literal["fused", "unfused"]
    statistics: Literal["batch", "moving"]
    gamma: Value | None
    beta: Value | None
    mean: Value | None
    variance: Value | None
    epsilon: float
    moving_mean: Update | None = None
    moving_variance: Update | None = None


class PlacementProposal(msgspec.Struct, frozen=True, kw_only=True):
    """Where the quantizers of one layer go.

    Attributes:
        layer: the layer.
        activation: the layer's result that is quantized.
        biased: the bias add or fold that feeds a bypass.
        bypass: the add of something else before the activation.
        post: the add of something else behind the activation.
    """

    layer: Layer
    activation: Value
    biased: Value | None = None
    bypass: Value | None = None
    post: Value | None = None


class ElementwiseProposal(msgspec.Struct, frozen=True):
    """This result of an elementwise operation is quantized."""

    value: Value


class SiteProposal(msgspec.Struct, frozen=True, kw_only=True):
    """One integer kernel: an operation, or several that the converter makes one of.

    Attributes:
        result: what it computes; of an operation with several results, the first.
        operands: the activations and constants that it reads in integers; not biases and weights. With "same" and
            several operands, each result has the range of the operand at its place.
        kind: where the range of the result comes from.
        inner: the other operations that are part of it; their results exist in no integer model.
        limits: (min, max) with "fixed".
        layer: the layer that it is, with its weights.
        marked: with "same", a result that has a quantizer all the same, with the range of the operand.
        respelled: a node without an integer kernel that becomes other operations which compute the same.
    """

    result: Value
    operands: tuple[Value, ...]
    kind: RangeKind = "own"
    inner: tuple[Node, ...] = ()
    limits: tuple[float, float] | None = None
    layer: Layer | None = None
    marked: Value | None = None
    respelled: Node | None = None


class Decline(msgspec.Struct, frozen=True, kw_only=True):
    """Something that looks as if it should be rewritten, and why it is not.

    Attributes:
        kind: "layer", "batch_norm" or "tensor".
        node: the node in question.
        code: a code of kind "left-out".
        reason: one sentence about this very place.
        layer: a layer that must be left alone because of it.
        keeps_result_float: whether the result must have no range, as the converter would then take a wrong kernel.
    """

    kind: Literal["layer", "batch_norm", "tensor"]
    node: Node
    code: str
    reason: str
    layer: Layer | None = None
    keeps_result_float: bool = False


Proposal = LayerProposal | FoldProposal | PlacementProposal | ElementwiseProposal | SiteProposal | Decline


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the tool knows.

    Attributes:
        name: as it stands in plans and reports.
        phase: when it runs; within a phase, `rank` decides, lowest first.
        rank: the longer the match, the lower.
        ops: op types of the nodes it is tried on, in graph order.
        summary: one sentence, Markdown, for README and `fqrewrite rules`.
        propose: what it says about one node.
        placements: the placements that it is for.
        targets: the targets of a config that it is for; empty for all, and for a config without one.
    """

    name: str
    phase: Phase
    ops: tuple[str, ...]
    summary: str
    propose: Callable[[Node, Analysis], Iterator[Proposal]]
    rank: int = 0
    placements: tuple[Placement, ...] = ("contrib", "integer")
    targets: tuple[str, ...] = ()
