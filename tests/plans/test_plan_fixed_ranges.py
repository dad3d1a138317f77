"""`ranges` of the config: constants in the plan, in the place of what would be learned."""

from __future__ import annotations

import numpy as np
import pytest
from planning import INPUT, conv

from configs import contrib, contrib_weights
from fqrewrite.config.records import ActivationSettings, Config, Limit, Rule, WeightOverrides
from fqrewrite.config.selectors import Selector
from fqrewrite.errors import ConfigError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.constants import evaluate
from fqrewrite.plans.items import Plan, RangeSpec
from fqrewrite.plans.serialise import plan_from_json, plan_to_json
from fqrewrite.transform.apply import apply_plan

NET = f"{INPUT}{conv('a')}a/Relu = Relu(a/Conv2D)\nout = Neg(a/Relu)\n"
FOLDED = (
    f"{INPUT}{conv('a')}a/bn = FusedBatchNormV3(a/Conv2D, b/read, b/read, b/read, b/read) {{is_training: false}}\n"
    "out = Neg(a/bn)\n"
)


def plan_of(text: str, ranges: dict[str, tuple[Limit, Limit]], config: Config | None = None) -> Plan:
    settings = config or contrib()
    origins = {f"ranges.{tensor}": f"c.yaml:{line}" for line, tensor in enumerate(ranges, 2)}
    fields = {name: getattr(settings, name) for name in ("weights", "activations", "rules")}
    return build_plan(Graph(parse(text)), contrib(ranges=ranges, origins=origins, **fields), source_sha256="0")


def spec(plan: Plan, scope: str) -> RangeSpec:
    (found,) = (item.range for item in plan.quantizers if item.scope == scope)
    return found


def constant(*limits: tuple[float, float]) -> RangeSpec:
    low, high = (tuple(float(np.float32(end)) for end in ends) for ends in zip(*limits, strict=True))
    return RangeSpec(source="constant", minimum=low, maximum=high)


def test_activations_and_weights() -> None:
    plan = plan_of(NET, {"a/Relu:0": (0.0, 0.1), "a/w/read:0": (-1.0, 2.0)})
    assert spec(plan, "a/act_quant") == constant((0, 0.1))
    assert spec(plan, "a/weights_quant") == constant((-1, 2))
    assert {item.because for item in plan.quantizers} == {"c.yaml:2", "c.yaml:3"}
    assert not [note for note in plan.notes if note.code == "range-unused"]
    assert plan_from_json(plan_to_json(plan), "p") == plan


def test_a_folded_batch_norm_is_meant_by_its_output() -> None:
    plan = plan_of(FOLDED, {"a/bn:0": (-1.0, 1.0)})
    assert spec(plan, "a/act_quant") == constant((-1, 1))
    assert spec(plan, "a/weights_quant").source == "last_value"


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_fixed_range_needs_no_variables(mode: str) -> None:
    graph = Graph(parse(NET))
    config = contrib(ranges={"a/Relu:0": (0.0, 6.0)})
    applied = apply_plan(build_plan(graph, config, source_sha256="0"), Editor(graph), mode)  # type: ignore[arg-type]
    assert {variable.node for variable in applied.variables} == {"a/weights_quant/min", "a/weights_quant/max"}
    written = Graph(graph.graph_def)
    quantizer = written.node("a/act_quant/FakeQuantWithMinMaxVars")
    assert [float(evaluate(limit)) for limit in quantizer.inputs[1:]] == [0, 6]


def test_symmetric_schemes_have_symmetric_ranges() -> None:
    config = contrib(weights=contrib_weights(symmetric=True), activations=ActivationSettings(symmetric=True))
    plan = plan_of(NET, {"a/Relu:0": (0.0, 127.0), "a/w/read:0": (-1.0, 2.0)}, config)
    assert spec(plan, "a/weights_quant") == constant((-2, 2))
    assert spec(plan, "a/act_quant") == constant((-128, 127))


def test_per_channel_weights() -> None:
    config = contrib(weights=contrib_weights(granularity="per_channel"))
    limits = ((-1.0, -2.0, 0.0, -4.0), (1.0, 2.0, 3.0, 0.0))
    assert spec(plan_of(NET, {"a/w/read:0": limits}, config), "a/weights_quant") == RangeSpec(
        source="constant", minimum=limits[0], maximum=limits[1]
    )
    plan = plan_of(NET, {"a/w/read:0": (-1.0, 1.0)}, config)
    assert spec(plan, "a/weights_quant") == constant(*[(-1, 1)] * 4)
    depthwise = NET.replace("Conv2D(x", "DepthwiseConv2dNative(x").replace("[1, 1, 3, 4]", "[1, 1, 3, 2]")
    plan = plan_of(depthwise, {"a/w/read:0": (-1.0, 1.0)}, config)
    assert spec(plan, "a/weights_quant") == constant(*[(-1, 1)] * 6)


@pytest.mark.parametrize(
    ("tensor", "config", "words"),
    [
        ("a/Relu:0", contrib(), "a/Relu:0 is quantized with one range for the whole tensor"),
        ("a/w/read:0", contrib(), "one range for the whole tensor"),
        ("a/w/read:0", contrib(weights=contrib_weights(granularity="per_channel")), "has 4 channels, and the range is"),
    ],
)
def test_another_number_of_channels(tensor: str, config: Config, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        plan_of(NET, {tensor: ((-1.0, -1.0), (1.0, 1.0))}, config)
    assert (caught.value.code, caught.value.where) == ("config-value", f"c.yaml:2: ranges.{tensor}")


def test_entries_that_no_quantizer_is_on() -> None:
    plan = plan_of(NET, {"a/relu:0": (0.0, 6.0), "a/Relu:0": (0.0, 6.0), "zzz:7": (0.0, 6.0)})
    assert [note.text for note in plan.notes if note.code == "range-unused"] == [
        "c.yaml:2: ranges has a/relu:0, which no quantizer is on (did you mean a/Relu:0?)",
        "c.yaml:4: ranges has zzz:7, which no quantizer is on",
    ]


def test_a_rule_that_shaped_the_quantizer_stays_its_reason() -> None:
    rule = Rule(selector=Selector(ops=("Conv2D",)), weights=WeightOverrides(bits=4), origin="c.yaml:9")
    plan = plan_of(NET, {"a/w/read:0": (-1.0, 1.0), "a/Relu:0": (0.0, 6.0)}, contrib(rules=(rule,)))
    assert [(item.scope, item.because) for item in plan.quantizers] == [
        ("a/weights_quant", "c.yaml:9"), ("a/act_quant", "c.yaml:3"),
    ]  # fmt: skip
