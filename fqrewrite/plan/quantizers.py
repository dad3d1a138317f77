"""From a placement to quantizer items: what is quantized, under which name, how, and from what range."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from fqrewrite.config.records import ActivationSettings, WeightSettings
from fqrewrite.config.settings import LayerSettings
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer
from fqrewrite.match.parameters import FAKE_QUANT_OPS, static_shape, transposed
from fqrewrite.match.proposal import PlacementProposal
from fqrewrite.plan.constants import NotConstant
from fqrewrite.plan.items import FoldItem, Note, QuantizerItem, RangeSpec, Role, Scheme
from fqrewrite.plan.ledger import Ledger
from fqrewrite.plan.weight_ranges import constant_weight_range

_RELU = frozenset({"Relu", "Relu6"})
_ACTIVATIONS = _RELU | {"Identity"}
_WEIGHTS_INITIAL = (-6.0, 6.0)
_ACTIVATION_INITIAL = (0.0, 6.0)


class _Owner(NamedTuple):
    """What an activation quantizer belongs to: its layer and fold if any, their settings, and who decided it."""

    layer: str | None
    fold: FoldItem | None
    settings: ActivationSettings
    rule: str
    because: str | None


class QuantizerBuilder:
    """Turns placements into items, one by one: later ones see what earlier ones have quantized."""

    def __init__(self, analysis: Analysis, ledger: Ledger, scope: str | None, delay: int) -> None:
        self.analysis = analysis
        self.ledger = ledger
        self.scope = f"{scope.rstrip('/')}/" if scope else ""
        self.delay = delay
        self._shared: dict[tuple[Value, Scheme], int] = {}

    def place(self, found: PlacementProposal, fold: FoldItem | None, settings: LayerSettings, rule: str) -> None:
        """Quantizes one layer.

        Names and order are those of tf.contrib.quantize, where scope is the layer's:
        ``weights_quant``, ``act_quant`` (in the parent scope when there is a bypass), ``conv_quant``, ``add_quant``
        and ``post_activation_bypass_quant``.
        """
        layer, node = found.layer, found.layer.node
        owner = _Owner(node.name, fold, settings.activations, rule, settings.activations_origin)
        if self._in_scope(node.name):
            self._weights(layer, fold, settings, rule)
        else:
            self.ledger.leave_out_layer(node, "outside-scope", f"it is outside the scope {self.scope!r}")
        context = node.scope
        outer = context.rpartition("/")[0] if found.bypass is not None else context

        def activation(value: Value, scope: str, kind: str, role: Role, *, consumers_too: bool = False) -> None:
            inside = self._in_scope(self._name_of(value, fold))
            if consumers_too:
                inside = inside and all(self._in_scope(consumer.name) for consumer in value.consumers())
            if inside:
                initial = _ACTIVATION_INITIAL if kind == "act_quant" else _WEIGHTS_INITIAL
                self._activation(value, _join(scope, kind), role, initial, owner)
            elif self._in_scope(node.name):
                self.ledger.leave_out_tensor(value, "outside-scope", f"it reaches outside the scope {self.scope!r}")
            self.analysis.settled.add(value.node)

        activation(found.activation, outer, "act_quant", "activation")
        if found.bypass is not None and found.biased is not None:
            activation(found.biased, context, "conv_quant", "bypass_input", consumers_too=True)
            if not any(consumer.op in _ACTIVATIONS for consumer in found.bypass.consumers()):
                activation(found.bypass, outer, "add_quant", "bypass_output", consumers_too=True)
        if found.post is not None and not any(consumer.op in _RELU for consumer in found.post.consumers()):
            kind = "post_activation_bypass_quant"
            activation(found.post, found.post.node.scope, kind, "post_activation_bypass")

    def elementwise(self, value: Value, settings: ActivationSettings, rule: str, because: str | None) -> None:
        """Quantizes the result of an Add or Mul outside any layer, under a scope of its own name."""
        node = value.node
        if not self._in_scope(node.name):
            self.ledger.leave_out_tensor(value, "outside-scope", f"it is outside the scope {self.scope!r}")
            return
        # tf.contrib.quantize forgets `symmetric` for this kind, and checkpoints trained with it expect that.
        plain = ActivationSettings(bits=settings.bits, symmetric=False, ema_decay=settings.ema_decay)
        scope = f"{node.name}/activation_{node.op}_quant"
        self._activation(value, scope, "elementwise", _WEIGHTS_INITIAL, _Owner(None, None, plain, rule, because))

    def _weights(self, layer: Layer, fold: FoldItem | None, settings: LayerSettings, rule: str) -> None:
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
        scope = self.ledger.names.free_scope(_join(node.scope, "weights_quant"))
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

    def _weight_scheme(self, layer: Layer, wanted: WeightSettings) -> tuple[Scheme, tuple[int, ...]]:
        scheme = Scheme(bits=wanted.bits, symmetric=wanted.symmetric, narrow_range=True)
        if wanted.granularity == "per_tensor":
            return scheme, ()
        shape = static_shape(layer.weights)
        name = layer.node.name
        if shape is None or min(shape) <= 0:
            why = f"{name}: the shape of its weights is unknown; its weights are quantized per tensor"
        elif layer.kind == "matmul" and (layer.slot != 1 or transposed(layer.node, "b")):
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

    def _activation(self, value: Value, scope: str, role: Role, initial: tuple[float, float], owner: _Owner) -> None:
        if value in self.analysis.quantized:
            return
        if self.analysis.runs_into_fake_quant(value):
            quantizer = _fake_quant_after(value)
            if quantizer is not None:
                reason = f"it runs into the model's own {quantizer.op} {quantizer.name!r}, which stays"
                self.ledger.leave_out_tensor(value, "already-quantized", reason)
            return
        scope = self.ledger.names.free_scope(scope)
        fold, settings = owner.fold, owner.settings
        self.ledger.add_quantizer(
            QuantizerItem(
                id=f"quantize:{scope}",
                scope=scope,
                role=role,
                layer=owner.layer,
                tensor=str(value),
                edges=None,
                fold=fold.id if fold is not None and str(value) == fold.output else None,
                scheme=Scheme(bits=settings.bits, symmetric=settings.symmetric, narrow_range=False),
                range=RangeSpec(source="ema", initial=initial, decay=settings.ema_decay),
                delay=self.delay,
                rule=owner.rule,
                because=owner.because,
            )
        )
        self.analysis.quantized.add(value)

    def _in_scope(self, name: str) -> bool:
        return name.startswith(self.scope)

    def _name_of(self, value: Value, fold: FoldItem | None) -> str:
        """The name that the producer of `value` will have: a fold's result belongs to the layer's scope."""
        if fold is not None and value in self.analysis.folded:
            return _join(fold.scope, "add_fold")
        return value.node.name


def _join(scope: str, name: str) -> str:
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
