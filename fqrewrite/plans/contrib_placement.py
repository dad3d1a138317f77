"""Where tf.contrib.quantize puts activation quantizers: behind layers, bypasses, and elementwise operations."""

from __future__ import annotations

from fqrewrite.config.records import ActivationSettings
from fqrewrite.config.settings import LayerSettings
from fqrewrite.ir.graph import Value
from fqrewrite.match.proposal import Decline, ElementwiseProposal, PlacementProposal
from fqrewrite.plans.items import FoldItem, RangeSpec, Role
from fqrewrite.plans.planning import Planning
from fqrewrite.plans.quantizers import Owner, join

_RELU = frozenset({"Relu", "Relu6"})
_ACTIVATIONS = _RELU | {"Identity"}
_ACTIVATION_INITIAL = (0.0, 6.0)
_OTHER_INITIAL = (-6.0, 6.0)


class ContribPlacement:
    """Places quantizers layer by layer, then elementwise operation by operation; lists what stays float."""

    def __init__(self, planning: Planning) -> None:
        self.planning = planning
        self.analysis = planning.analysis
        self.builder = planning.builder
        self.ledger = planning.ledger

    def place(self) -> None:
        """Makes the items."""
        self._place_layers()
        self._place_elementwise()
        for _, proposal in self.planning.proposals("coverage"):
            if isinstance(proposal, Decline):
                self.ledger.leave_out_tensor(proposal.node.value(), proposal.code, proposal.reason)

    def _place_layers(self) -> None:
        planning = self.planning
        claimed = set(self.analysis.set_aside)
        for rule, proposal in planning.proposals("placement"):
            if isinstance(proposal, PlacementProposal) and proposal.layer.node not in claimed:
                node = proposal.layer.node
                claimed.add(node)
                self._layer(proposal, planning.folds.get(node), planning.layer_settings[node], rule)

    def _layer(self, found: PlacementProposal, fold: FoldItem | None, settings: LayerSettings, rule: str) -> None:
        """Quantizes one layer.

        Names and order are those of tf.contrib.quantize, where scope is the layer's:
        ``weights_quant``, ``act_quant`` (in the parent scope when there is a bypass), ``conv_quant``, ``add_quant``
        and ``post_activation_bypass_quant``.
        """
        layer, node, builder = found.layer, found.layer.node, self.builder
        owner = Owner(node.name, fold, settings.activations, rule, settings.activations_origin)
        if builder.in_scope(node.name):
            builder.weights(layer, fold, settings, rule)
        else:
            self.ledger.leave_out_layer(node, "outside-scope", f"it is outside the scope {builder.scope!r}")
        context = node.scope
        outer = context.rpartition("/")[0] if found.bypass is not None else context

        def activation(value: Value, scope: str, kind: str, role: Role, *, consumers_too: bool = False) -> None:
            inside = builder.in_scope(self._name_of(value, fold))
            if consumers_too:
                inside = inside and all(builder.in_scope(consumer.name) for consumer in value.consumers())
            if inside:
                initial = _ACTIVATION_INITIAL if kind == "act_quant" else _OTHER_INITIAL
                builder.activation(value, join(scope, kind), role, _learned(initial, owner.settings), owner)
            elif builder.in_scope(node.name):
                self.ledger.leave_out_tensor(value, "outside-scope", f"it reaches outside the scope {builder.scope!r}")
            self.analysis.settled.add(value.node)

        activation(found.activation, outer, "act_quant", "activation")
        if found.bypass is not None and found.biased is not None:
            activation(found.biased, context, "conv_quant", "bypass_input", consumers_too=True)
            if not any(consumer.op in _ACTIVATIONS for consumer in found.bypass.consumers()):
                activation(found.bypass, outer, "add_quant", "bypass_output", consumers_too=True)
        if found.post is not None and not any(consumer.op in _RELU for consumer in found.post.consumers()):
            kind = "post_activation_bypass_quant"
            activation(found.post, found.post.node.scope, kind, "post_activation_bypass")

    def _place_elementwise(self) -> None:
        for rule, proposal in self.planning.proposals("elementwise", self.analysis.order):
            if isinstance(proposal, ElementwiseProposal):
                self._elementwise(proposal.value, rule)
            elif isinstance(proposal, Decline):
                self.ledger.leave_out_tensor(proposal.node.value(), proposal.code, proposal.reason)

    def _elementwise(self, value: Value, rule: str) -> None:
        """Quantizes the result of an Add or Mul outside any layer, under a scope of its own name."""
        node = value.node
        settings = self.planning.settings.for_layer((node.name,), node.op)
        if not settings.quantize:
            self.planning.leave_excluded(value, settings)
            return
        if not self.builder.in_scope(node.name):
            self.ledger.leave_out_tensor(value, "outside-scope", f"it is outside the scope {self.builder.scope!r}")
            return
        # tf.contrib.quantize forgets `symmetric` for this kind, and checkpoints trained with it expect that.
        wanted = settings.activations
        plain = ActivationSettings(bits=wanted.bits, symmetric=False, ema_decay=wanted.ema_decay)
        owner = Owner(None, None, plain, rule, settings.activations_origin)
        scope = f"{node.name}/activation_{node.op}_quant"
        self.builder.activation(value, scope, "elementwise", _learned(_OTHER_INITIAL, plain), owner)

    def _name_of(self, value: Value, fold: FoldItem | None) -> str:
        """The name that the producer of `value` will have: a fold's result belongs to the layer's scope."""
        if fold is not None and value in self.analysis.folded:
            return join(fold.scope, "add_fold")
        return value.node.name


def _learned(initial: tuple[float, float], settings: ActivationSettings) -> RangeSpec:
    return RangeSpec(source="ema", initial=initial, decay=settings.ema_decay)
