"""The settings of single layers under rules."""

from __future__ import annotations

from fqrewrite.config.records import (
    ActivationOverrides,
    ActivationSettings,
    Config,
    Rule,
    WeightOverrides,
    WeightSettings,
)
from fqrewrite.config.selectors import Selector
from fqrewrite.config.settings import LayerSettings, Settings


def rule(
    name: str,
    line: int,
    *,
    weights: WeightOverrides | None = None,
    activations: ActivationOverrides | None = None,
    quantize: bool | None = None,
    because: str | None = None,
) -> Rule:
    return Rule(
        selector=Selector(name=name),
        weights=weights,
        activations=activations,
        quantize=quantize,
        because=because,
        origin=f"f.yaml:{line}",
    )


def test_layers_that_no_rule_touches_share_the_configs_own_settings() -> None:
    config = Config(weights=WeightSettings(bits=5), rules=(rule("a", 1, quantize=False),))
    settings = Settings(config)
    plain = settings.for_layer(("b",), "Conv2D")
    assert plain == LayerSettings(weights=WeightSettings(bits=5), activations=ActivationSettings())
    assert settings.for_layer(("c",), "MatMul") is plain


def test_later_rules_win_setting_by_setting() -> None:
    config = Config(
        weights=WeightSettings(symmetric=True),
        rules=(
            rule("net", 1, weights=WeightOverrides(bits=4, granularity="per_channel"), because="first"),
            rule("net", 2, activations=ActivationOverrides(bits=6)),
            rule("net/a", 3, weights=WeightOverrides(bits=2, symmetric=False), because="third"),
        ),
    )
    settings = Settings(config)
    assert settings.for_layer(("net/a",), "Conv2D") == LayerSettings(
        weights=WeightSettings(bits=2, symmetric=False, granularity="per_channel"),
        activations=ActivationSettings(bits=6),
        origin="f.yaml:3",
        because="third",
        weights_origin="f.yaml:3",
        activations_origin="f.yaml:2",
    )
    other = settings.for_layer(("net/b",), "Conv2D")
    assert other.weights == WeightSettings(bits=4, symmetric=True, granularity="per_channel")
    assert (other.origin, other.because, other.weights_origin) == ("f.yaml:2", None, "f.yaml:1")


def test_the_rule_that_leaves_a_layer_float_is_named_whatever_comes_after_it() -> None:
    rules = (
        rule("net", 1, quantize=False, because="slow"),
        rule("net", 2, weights=WeightOverrides(bits=4), because="small"),
    )
    left = Settings(Config(rules=rules)).for_layer(("net/a",), "Conv2D")
    assert (left.quantize, left.origin, left.because) == (False, "f.yaml:1", "slow")
    assert left.weights_origin == "f.yaml:2"


def test_a_later_rule_takes_false_back() -> None:
    rules = (rule("net", 1, quantize=False), rule("net/a", 2, quantize=True, because="needed"))
    settings = Settings(Config(rules=rules))
    back = settings.for_layer(("net/a",), "Conv2D")
    assert (back.quantize, back.origin, back.because) == (True, "f.yaml:2", "needed")
    assert not settings.for_layer(("net/b",), "Conv2D").quantize


def test_rules_that_match_nothing_are_known_afterwards() -> None:
    rules = tuple(rule(name, line, quantize=False) for line, name in enumerate(["a", "b", "c"], start=1))
    settings = Settings(Config(rules=rules))
    assert settings.unmatched() == rules
    settings.for_layer(("b/x", "c/weights"), "Conv2D")
    assert settings.unmatched() == rules[:1]
