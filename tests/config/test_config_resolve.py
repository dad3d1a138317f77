"""Precedence, origins, presets, and that the common run reads no YAML."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fqrewrite.config import presets
from fqrewrite.config.records import ActivationSettings, Config, Rule, WeightOverrides, WeightSettings
from fqrewrite.config.resolve import resolve
from fqrewrite.config.selectors import Selector
from fqrewrite.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "c.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def settings(config: Config) -> Config:
    """The config without its origins, to compare."""
    return msgspec.structs.replace(config, origins={})


@pytest.mark.parametrize("text", ["", "version: 1\n"])
def test_nothing_said_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert settings(resolve(None)) == Config()
    assert settings(resolve(write(tmp_path, text))) == Config()


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "quant_delay: 5\nfreeze_bn_delay: 7\nscope: net/\n"
        "weights:\n  bits: 3\n  symmetric: true\ntarget: null\noutputs: [a, 'b:1', 'a:0']\n",
    )
    config = resolve(file, quant_delay=0, weight_bits=6, activation_bits=6)
    assert settings(config) == Config(
        quant_delay=0,
        freeze_bn_delay=7,
        scope="net",
        target=None,
        weights=WeightSettings(bits=6),
        activations=ActivationSettings(bits=6),
        outputs=("a:0", "b:1"),
    )
    assert config.origins["quant_delay"] == "--quant-delay"
    assert config.origins["freeze_bn_delay"] == f"{file.name}:2"
    assert config.origins["weights.bits"] == "--weight-bits"
    assert config.origins["weights.symmetric"] == f"{file.name}:6"
    assert config.origins["activations.symmetric"] == "preset tflite-int8"
    assert config.origins["preset"] == "default"


def test_a_file_can_take_a_value_back_to_null(tmp_path: Path) -> None:
    config = resolve(write(tmp_path, "freeze_bn_delay: null\nscope: ''\noutputs: null\n"))
    assert settings(config) == Config()
    assert config.origins["freeze_bn_delay"].endswith("c.yaml:1")


def test_remaining_flags(tmp_path: Path) -> None:
    file = write(tmp_path, "scope: net\noutputs: [a]\n")
    config = resolve(file, freeze_bn_delay=0, scope="", symmetric=True, outputs=["x:1", "y"])
    assert settings(config) == Config(
        freeze_bn_delay=0,
        weights=WeightSettings(symmetric=True),
        activations=ActivationSettings(symmetric=True),
        outputs=("x:1", "y:0"),
    )
    assert config.origins["activations.symmetric"] == config.origins["weights.symmetric"] == "--symmetric"
    # No --outputs at all comes as an empty sequence from a repeatable option.
    assert resolve(file, outputs=()).outputs == ("a:0",)


def test_flags_meet_the_limits_of_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(None, weight_bits=16)
    assert caught.value.where == "--weight-bits"
    assert caught.value.what == "expected an integer from 2 to 8, got 16"
    with pytest.raises(ConfigError) as caught:
        resolve(None, outputs=["good:0", "^bad"])
    assert caught.value.where == "--outputs"


def test_rules_keep_their_order_and_their_lines(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "rules:\n  - {match: a/**, weights: {bits: 4}}\n"
        "  - match: {op: [MatMul, Conv2D], name: b}\n    quantize: false\n    because: see ticket\n"
        "  - match: {op: Add}\n    activations: {ema_decay: 0.5}\n",
    )
    preset, first, second, third = resolve(file).rules
    assert (preset,) == Config().rules
    assert first == Rule(selector=Selector(name="a/**"), weights=WeightOverrides(bits=4), origin=f"{file.name}:2")
    assert second == Rule(
        selector=Selector(name="b", ops=("MatMul", "Conv2D")),
        quantize=False,
        because="see ticket",
        origin=f"{file.name}:3",
    )
    assert third.selector == Selector(ops=("Add",))
    assert third.activations is not None
    assert (third.activations.bits, third.activations.ema_decay, third.origin) == (None, 0.5, f"{file.name}:6")


def test_another_preset_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "strict.yaml").write_text(
        "preset: strict\nweights: {symmetric: false, bits: 3}\nrules:\n  - {match: a, quantize: false}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(presets, "folder", lambda: tmp_path / "presets")
    file = write(
        tmp_path, "preset: strict\ntarget: null\nweights: {bits: 6}\nrules:\n  - {match: b, quantize: false}\n"
    )
    config = resolve(file)
    assert config.preset == "strict"
    assert config.weights == WeightSettings(bits=6, symmetric=False)
    assert [rule.selector.name for rule in config.rules] == ["a", "b"]
    assert [rule.origin for rule in config.rules] == ["preset strict:4", f"{file.name}:5"]
    assert config.origins["preset"] == f"{file.name}:1"
    assert config.origins["weights.symmetric"] == "preset strict:2"
    assert config.origins["weights.bits"] == f"{file.name}:3"
    assert config.origins["quant_delay"] == "default"
    back = resolve(file, preset="tflite-int8")
    assert (back.preset, back.origins["preset"]) == ("tflite-int8", "--preset")
    assert [rule.selector.name for rule in back.rules] == [None, "b"]
    assert back.weights == WeightSettings(bits=6)


def test_an_unknown_preset_lists_the_presets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'"tflite".*the presets are: .*contrib') as caught:
        resolve(None, preset="tflite")
    assert (caught.value.code, caught.value.where) == ("config-preset", "--preset")
    file = write(tmp_path, "version: 1\npreset: ../examples/x\n")
    with pytest.raises(ConfigError) as caught:
        resolve(file)
    assert (caught.value.code, caught.value.where) == ("config-preset", f"{file.name}:2")


def test_ranges_and_bindings_are_merged_name_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strict.yaml").write_text("ranges: {a: [0, 1], b: [0, 2]}\nset: {x: 1}\n", encoding="utf-8")
    monkeypatch.setattr(presets, "folder", lambda: tmp_path)
    text = "ranges:\n  b:0: [-1, 2]\n  w: [[-1, 0], [1, 2]]\nset: {'x:0': 2, y: true, z: [a, 1]}\n"
    file = write(tmp_path, text)
    config = resolve(file, preset="strict", bindings=["y=false", "x = 0.5"])
    assert config.ranges == {"a:0": (0, 1), "b:0": (-1, 2), "w:0": ((-1, 0), (1, 2))}
    assert config.bindings == {"x": 0.5, "y": False, "z": ("a", 1)}
    assert type(config.bindings["y"]) is bool
    ranges = [config.origins[f"ranges.{name}:0"] for name in "abw"]
    assert ranges == ["preset strict:1", f"{file.name}:2", f"{file.name}:3"]
    assert [config.origins[f"set.{name}"] for name in "xyz"] == ["--set x", "--set y", f"{file.name}:4"]
    printed = json.loads(msgspec.json.encode(config))
    assert printed["set"] == {"x": 0.5, "y": False, "z": ["a", 1]}
    assert printed["ranges"]["w:0"] == [[-1, 0], [1, 2]]
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_a_config_can_be_printed_for_the_report(tmp_path: Path) -> None:
    file = write(tmp_path, "rules:\n  - {match: a/**, weights: {bits: 4}}\n")
    printed = json.loads(msgspec.json.encode(resolve(file)))
    assert printed["weights"] == {"bits": 8, "symmetric": True, "narrow_range": True, "granularity": "per_channel"}
    assert printed["rules"][1:] == [{"selector": {"name": "a/**"}, "weights": {"bits": 4}, "origin": f"{file.name}:2"}]
    assert printed["origins"]["weights.bits"] == "preset tflite-int8"


def test_without_a_file_no_yaml_is_imported() -> None:
    code = (
        "import sys\nfrom fqrewrite.config.resolve import resolve\n"
        "resolve(None, preset='tflite-int8', quant_delay=3, outputs=['a:0'], bindings=['b=1'])\n"
        "print(sorted({'yaml', 'difflib', 'numpy', 'rich', 'tensorflow'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
