"""The settings of single layers: the config's own, with every rule that matches laid over them in order."""

from __future__ import annotations

import msgspec

from fqrewrite.config.records import ActivationSettings, Config, Rule, WeightSettings


class LayerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one layer is quantized, and which rules say so.

    Attributes:
        quantize: False when a rule leaves the layer float.
        weights, activations: the settings, whether or not the layer is quantized.
        origin: where the rule is written (``file:line``) that decided `quantize`, or else the last one that
            matched; None when no rule matched.
        because: that rule's reason.
        weights_origin, activations_origin: where the last rule is written that set something about them; None
            when they are the config's own.
    """

    quantize: bool = True
    weights: WeightSettings
    activations: ActivationSettings
    origin: str | None = None
    because: str | None = None
    weights_origin: str | None = None
    activations_origin: str | None = None


class Settings:
    """Answers for each layer, and remembers which rules were ever of use."""

    def __init__(self, config: Config) -> None:
        self.config = config
        # Layers that no rule touches share one record.
        self._plain = LayerSettings(weights=config.weights, activations=config.activations)
        self._used: set[int] = set()

    def for_layer(self, names: tuple[str, ...], op: str) -> LayerSettings:
        """The settings of a layer; later rules win, setting by setting.

        Args:
            names: the name of the layer's node and those of its weight variables.
            op: the op type of the layer's node.
        """
        settings = self._plain
        decider: Rule | None = None
        for index, rule in enumerate(self.config.rules):
            if rule.selector.matches(names, op):
                self._used.add(index)
                settings = _overlaid(settings, rule)
                if rule.quantize is not None or decider is None or decider.quantize is None:
                    decider = rule
        if decider is None:
            return self._plain
        return msgspec.structs.replace(settings, origin=decider.origin, because=decider.because)

    def unmatched(self) -> tuple[Rule, ...]:
        """The rules that have matched no layer so far, in order."""
        return tuple(rule for index, rule in enumerate(self.config.rules) if index not in self._used)


def _overlaid(settings: LayerSettings, rule: Rule) -> LayerSettings:
    if rule.quantize is not None:
        settings = msgspec.structs.replace(settings, quantize=rule.quantize)
    # The builtins of overrides hold what is set, and only that.
    if rule.weights is not None:
        weights = msgspec.structs.replace(settings.weights, **msgspec.to_builtins(rule.weights))
        settings = msgspec.structs.replace(settings, weights=weights, weights_origin=rule.origin)
    if rule.activations is not None:
        activations = msgspec.structs.replace(settings.activations, **msgspec.to_builtins(rule.activations))
        settings = msgspec.structs.replace(settings, activations=activations, activations_origin=rule.origin)
    return settings
