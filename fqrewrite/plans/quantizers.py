"""From what is quantized to quantizer items: under which name, how, and from what range."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from fqrewrite.config.records import ActivationSettings, WeightSettings
from fqrewrite.config.settings import LayerSettings
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer, channel_axis
from fqrewrite.match.parameters import FAKE_QUANT_OPS, is_constant, static_shape
from fqrewrite.plans.constants import NotConstant
from fqrewrite.plans.items import FoldItem, Note, QuantizerItem, RangeSpec, Role, Scheme
from fqrewrite.plans.ledger import Ledger
from fqrewrite.plans.weight_ranges import constant_weight_range

_WEIGHTS_INITIAL = (-6.0, 6.0)


class Owner(NamedTuple):
    """What an activation quantizer belongs to: its layer and fold if any, their settings, and who decided it."""

    layer: str | None
    fold: FoldItem | None
    settings: ActivationSettings
    rule: str
    because: str | None


class QuantizerBuilder:
    """Makes items, one by one: later ones see what earlier ones have quantized."""

    def __init__(self, analysis: Analysis, ledger: Ledger, scope: str | None, delay: int) -> None:
        self.analysis = analysis
        self.ledger = ledger
        self.scope = f"{scope.rstrip('/')}/" if scope else ""
        self.delay = delay
        self._shared: dict[tuple[Value, Scheme], int] = {}

    def in_scope(self, name: str) -> bool:
        """Whether a name is in the configured scope."""
        return name.startswith(self.scope)

    def weights(self, layer: Layer, fold: FoldItem | None, settings: LayerSettings, rule: str) -> None:
        """Quantizes the weights of a layer, folded ones by their product with the batch norm's scale."""
        weights, node = layer.weights, layer.node
        quantizer = _fake_quant_behind(weights)
        if quantizer is not None:
            reason = f"its weights go through the model's own {quantizer.op} {quantizer.name!r}, which stays"
            self.ledger.leave_out_tensor(weights, "already-quantized", reason)
            return
        scheme, shape = self._weight_scheme(layer, settings.weights)
        edge = f"{node.name}:in{layer.slot}"
        if fold is None:
            shared = self._shared.get((weights, scheme))
            if shared is not None:
                self.ledger.add_edge(shared, edge)
                return
        limits = self._weight_range(layer, fold, scheme)
        if not all(map(math.isfinite, (*limits.minimum, *limits.maximum))):
            self.ledger.leave_out_tensor(weights, "weights-not-finite", "it holds NaN or infinity")
            return
        scope = self.ledger.names.free_scope(join(node.scope, "weights_quant"))
        index = self.ledger.add_quantizer(
            QuantizerItem(
                id=f"quantize:{scope}",
                scope=scope,
                role="weights",
                layer=node.name,
                tensor=str(weights),
                edges=(edge,),
                fold=fold.id if fold else None,
                scheme=scheme,
                range=limits,
                weight_shape=shape,
                depthwise=layer.kind == "depthwise",
                delay=self.delay,
                rule=rule,
                because=settings.weights_origin,
            )
        )
        if fold is None:
            self._shared[weights, scheme] = index

    def constant_range(self, value: Value, settings: ActivationSettings) -> RangeSpec:
        """The range of a parameter that is read like an activation: known when it is constant, else that of the step.

        Args:
            value: float32 of any shape, made of variables and constants.
            settings: how activations are quantized.
        """
        if is_constant(value):
            scheme = Scheme(bits=settings.bits, symmetric=settings.symmetric, narrow_range=False)
            try:
                limits = constant_weight_range(str(value), scheme, None, self.analysis.graph, depthwise=False)
            except NotConstant:
                limits = None
            if limits is not None:
                return limits
        return RangeSpec(source="last_value", initial=_WEIGHTS_INITIAL)

    def _weight_scheme(self, layer: Layer, wanted: WeightSettings) -> tuple[Scheme, tuple[int, ...]]:
        scheme = Scheme(bits=wanted.bits, symmetric=wanted.symmetric, narrow_range=wanted.narrow_range)
        if wanted.granularity == "per_tensor":
            return scheme, ()
        shape = static_shape(layer.weights)
        name = layer.node.name
        if shape is None or min(shape) <= 0:
            why = f"{name}: the shape of its weights is unknown; its weights are quantized per tensor"
        elif not _ends_with_channels(layer):
            why = f"{name}: its output channels are not the last axis of its weights, which are quantized per tensor"
        else:
            return msgspec.structs.replace(scheme, granularity="per_channel"), shape
        self.ledger.note(Note(code="per-channel-unavailable", text=why))
        return scheme, ()

    def _weight_range(self, layer: Layer, fold: FoldItem | None, scheme: Scheme) -> RangeSpec:
        if layer.constant:
            try:
                limits = constant_weight_range(
                    str(layer.weights), scheme, fold, self.analysis.graph, depthwise=layer.kind == "depthwise"
                )
            except NotConstant as error:
                text = f"{layer.node.name}: the range of its weights is not known, {error} is not evaluated"
                self.ledger.note(Note(code="weights-not-evaluated", text=text))
            else:
                if limits is not None:
                    return limits
        return RangeSpec(source="last_value", initial=_WEIGHTS_INITIAL)

    def activation(
        self,
        value: Value,
        scope: str,
        role: Role,
        limits: RangeSpec,
        owner: Owner,
        *,
        takes_name: bool = False,
        edges: tuple[str, ...] | None = None,
    ) -> str | None:
        """Quantizes a value, unless it is quantized already; returns the quantizer's scope, None without one.

        Args:
            value: what is quantized.
            scope: the scope wanted; a number is put behind it when it is taken.
            role: what the value is.
            limits: from what range.
            owner: what the quantizer belongs to.
            takes_name: whether the quantized tensor gets the name of the value.
            edges: the consumer edges that read the quantized value; None for all.
        """
        if value in self.analysis.quantized:
            return None
        if self.analysis.runs_into_fake_quant(value):
            quantizer = _fake_quant_after(value)
            if quantizer is not None:
                reason = f"it runs into the model's own {quantizer.op} {quantizer.name!r}, which stays"
                self.ledger.leave_out_tensor(value, "already-quantized", reason)
            return None
        scope = self.ledger.names.free_scope(scope)
        fold, settings = owner.fold, owner.settings
        self.ledger.add_quantizer(
            QuantizerItem(
                id=f"quantize:{scope}",
                scope=scope,
                role=role,
                layer=owner.layer,
                tensor=str(value),
                edges=edges,
                fold=fold.id if fold is not None and str(value) == fold.output else None,
                scheme=Scheme(bits=settings.bits, symmetric=settings.symmetric, narrow_range=False),
                range=limits,
                delay=self.delay,
                rule=owner.rule,
                because=owner.because,
                takes_name=takes_name,
            )
        )
        self.analysis.quantized.add(value)
        return scope


def _ends_with_channels(layer: Layer) -> bool:
    """Whether the output channels are the last axis, or the last two, of the weights."""
    return layer.kind in ("conv2d", "depthwise", "matmul") and channel_axis(layer.node, layer.slot) == -1


def join(scope: str, name: str) -> str:
    """A name in a scope, which may be ""."""
    return f"{scope}/{name}" if scope else name


def _fake_quant_behind(value: Value) -> Node | None:
    """The model's own fake quant that a parameter comes out of."""
    node = value.node
    while node.op in ("Identity", "Reshape"):
        node = node.inputs[0].node
    return node if node.op in FAKE_QUANT_OPS else None


def _fake_quant_after(value: Value) -> Node | None:
    """The model's own fake quant that a value runs into behind nothing but Reshape and Identity."""
    queue = [value]
    for current in queue:
        for consumer in current.consumers():
            if consumer.op in FAKE_QUANT_OPS:
                return consumer
            if consumer.op in ("Identity", "Reshape"):
                queue.append(consumer.value())
    return None
