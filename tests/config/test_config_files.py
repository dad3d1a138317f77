"""The files in `configs/`, the template and the exported JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from fqrewrite.config import presets
from fqrewrite.config.check import check
from fqrewrite.config.records import Config
from fqrewrite.config.resolve import resolve
from fqrewrite.config.schema import ConfigFile
from fqrewrite.config.settings import Settings
from fqrewrite.config.source import parse_source, read_source
from fqrewrite.config.template import schema_json, template

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))


def test_there_are_presets_and_examples() -> None:
    assert {file.parent.name for file in FILES} == {"presets", "examples"}
    assert presets.names() == tuple(file.stem for file in sorted((CONFIGS / "presets").glob("*.yaml")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shipped_config_is_valid(file: Path) -> None:
    resolve(file)


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_names_itself(name: str) -> None:
    source = read_source(presets.path(name))
    assert check(source.data, source.where).preset == name


def test_the_default_preset_and_the_template_hold_exactly_the_defaults() -> None:
    said = cast("dict[str, object]", parse_source(template(), "template").data)
    assert list(said) == [*ConfigFile.__struct_encode_fields__]
    (rule,) = cast("list[dict[str, Any]]", said.pop("rules"))
    defaults = json.loads(msgspec.json.encode(Config()))
    (default,) = defaults.pop("rules")
    assert said == {"version": 1, **{key: value for key, value in defaults.items() if key != "origins"}}
    assert rule.pop("match") == {"op": default.pop("selector")["ops"]}
    assert rule == {key: value for key, value in default.items() if key != "origin"}


def test_a_copy_of_the_template_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(template(), encoding="utf-8")
    copied, plain = resolve(tmp_path / "c.yaml"), resolve(None)
    assert copied.rules == plain.rules
    assert msgspec.structs.replace(copied, origins={}) == msgspec.structs.replace(plain, origins={})


@pytest.mark.parametrize("name", [name for name in presets.names() if name != Config().preset])
def test_no_other_preset_inherits_the_scheme_of_the_default_one(name: str) -> None:
    said = cast("dict[str, dict[str, object]]", read_source(presets.path(name)).data)
    assert said.keys() >= {"placement", "target", "weights", "activations"}
    assert said["weights"].keys() == {"bits", "symmetric", "narrow_range", "granularity"}
    assert said["activations"].keys() >= {"bits", "symmetric"}
    assert resolve(None, preset=name).rules == ()


def test_the_rules_in_the_template_are_valid_when_uncommented() -> None:
    head, _, rest = template().partition("\n# rules:\n")
    commented, _, _ = rest.partition("\nrules:\n")
    lines = ["rules:", *(line.removeprefix("# ") for line in commented.splitlines() if line.startswith("# "))]
    source = parse_source("\n".join([head, *lines]), "template")
    assert len(check(source.data, source.where).rules or []) == 2


def test_the_rules_of_the_mobilenet_examples_match_its_names() -> None:
    layers = [
        ("MobilenetV1/MobilenetV1/Conv2d_0/Conv2D", "MobilenetV1/Conv2d_0/weights", "Conv2D"),
        (
            "MobilenetV1/MobilenetV1/Conv2d_1_depthwise/depthwise",
            "MobilenetV1/Conv2d_1_depthwise/depthwise_weights",
            "DepthwiseConv2dNative",
        ),
        (
            "MobilenetV1/MobilenetV1/Conv2d_12_pointwise/Conv2D",
            "MobilenetV1/Conv2d_12_pointwise/weights",
            "Conv2D",
        ),
        ("MobilenetV1/Logits/Conv2d_1c_1x1/Conv2D", "MobilenetV1/Logits/Conv2d_1c_1x1/weights", "Conv2D"),
    ]
    study = Settings(resolve(CONFIGS / "examples" / "first_layer_4bit_logits_float.yaml"))
    found = [study.for_layer((node, variable), op) for node, variable, op in layers]
    assert [layer.weights.bits for layer in found] == [4, 8, 8, 8]
    assert [layer.quantize for layer in found] == [True, True, True, False]
    assert all(rule.origin.startswith("preset ") for rule in study.unmatched())
    training = Settings(resolve(CONFIGS / "examples" / "mobilenet_v1_qat.yaml"))
    found = [training.for_layer((node, variable), op) for node, variable, op in layers]
    assert [layer.weights.bits for layer in found] == [8, 8, 4, 8]
    assert {layer.weights.granularity for layer in found} == {"per_channel"}
    assert all(rule.origin.startswith("preset ") for rule in training.unmatched())


def test_every_property_of_the_json_schema_is_described() -> None:
    schema = json.loads(schema_json())
    assert schema["$schema"].endswith("2020-12/schema")
    undescribed = [
        f"{name}.{key}"
        for name, record in schema["$defs"].items()
        for key, value in record["properties"].items()
        if not value.get("description")
    ]
    assert undescribed == []
    properties = schema["$defs"]["ConfigFile"]["properties"]
    assert properties["preset"]["enum"] == list(presets.names())
    assert properties["activations"]["default"]["ema_decay"] == 0.999
    assert "default" in properties["freeze_bn_delay"]
