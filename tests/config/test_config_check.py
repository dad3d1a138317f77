"""The schema's verdicts: what is taken, what is refused, and whether the message says where and what."""

from __future__ import annotations

import json

import jsonschema
import pytest

from fqrewrite.config.check import check
from fqrewrite.config.source import parse_source
from fqrewrite.config.template import schema_json
from fqrewrite.errors import ConfigError

VALID = [
    "{}",
    "version: 1",
    "preset: contrib",
    "{quant_delay: 0, freeze_bn_delay: null, scope: null, outputs: null, rules: []}",
    "{quant_delay: 9223372036854775807, freeze_bn_delay: 0, scope: ''}",
    "scope: net/block_1/",
    "weights: {}",
    "weights: {bits: 2, symmetric: yes, granularity: per_channel}",
    "activations: {bits: 8, symmetric: false, ema_decay: 0}",
    "activations: {ema_decay: 0.5}",
    "outputs: ['logits:0', logits, 'a/b:12']",
    "ranges: {}",
    "ranges: {relu1: [0, 6], 'a/b:1': [-1.5, 0], w: [[-1, 0, -0.5], [1, 2, 0]]}",
    "set: {is_training: no, 'keep_prob:0': 1.0, mode: eval, sizes: [1, 2], flags: [true]}",
    "rules: [{match: a/**, weights: {bits: 4}}, {match: {op: MatMul}, quantize: false, because: x}]",
    "rules: [{match: {op: [Conv2D, MatMul], name: 'regex:a.*'}, quantize: true, activations: {bits: 4}}]",
]

# (text, code, parts of the message); a JSON schema must refuse them too.
INVALID = [
    ("version: 2", "config-version", ["reads config files of version 1, got 2"]),
    ("version: '1'", "config-version", ['got "1"']),
    ("version: true", "config-version", ["got true"]),
    ("version: null", "config-version", ["got null"]),
    ("- 1", "config-value", ["expected a mapping", "got a list"]),
    ("just text", "config-value", ["expected a mapping", 'got "just text"']),
    (
        "quant_delay: -1",
        "config-value",
        ["f.yaml:1: quant_delay: expected a number of steps, 0 or more, got -1"],
    ),
    ("quant_delay: 9223372036854775808", "config-value", ["got 9223372036854775808"]),
    ("quant_delay: 1.5", "config-value", ["got 1.5"]),
    (
        "freeze_bn_delay: never",
        "config-value",
        ['expected a number of steps, 0 or more, or null, got "never"'],
    ),
    ("scope: /net", "config-value", ["a name scope such as net/block1"]),
    ("scope: 'net/*'", "config-value", ["a name scope such as net/block1"]),
    ("scope: |\n  net\n", "config-value", ["a name scope"]),
    ("preset: 3", "config-value", ["expected text, got 3"]),
    ("weights: null", "config-value", ["with some of the keys bits, symmetric, narrow_range, granularity, got null"]),
    (
        "weights:\n  symmetric: false\n  bits: eight",
        "config-value",
        ['f.yaml:3: weights.bits: expected an integer from 2 to 8, got "eight"'],
    ),
    ("weights: {bits: 16}", "config-value", ["expected an integer from 2 to 8, got 16"]),
    ("weights: {bits: 1}", "config-value", ["expected an integer from 2 to 8, got 1"]),
    ("weights: {bits: '8'}", "config-value", ['got "8" (text: in YAML write numbers unquoted']),
    ("weights: {bits: true}", "config-value", ["got true"]),
    ("weights: {symmetric: 1}", "config-value", ["expected true or false, got 1"]),
    ("weights: {granularity: channel}", "config-value", ["per_channel or per_tensor", 'got "channel"']),
    ("activations: {ema_decay: 1}", "config-value", ["at least 0 and less than 1, got 1"]),
    ("activations: {ema_decay: 1e-3}", "config-value", ['got "1e-3" (text']),
    ("outputs: []", "config-value", ["expected a list of entries", "got an empty list"]),
    ("outputs: 'a:0'", "config-value", ["expected a list", 'got "a:0"']),
    ("outputs: ['a:0', '^b']", "config-value", ["outputs[1]", "such as logits:0"]),
    ("ranges: [0, 6]", "config-value", ["f.yaml:1: ranges: expected a mapping of tensors to ranges", "got a list"]),
    ("ranges:\n  a: [0, 6]\n  b: 6", "config-value", ["f.yaml:3: ranges.b: expected [min, max], such as", "got 6"]),
    ("ranges: {a: [6]}", "config-value", ["ranges.a: expected [min, max]", "got a list"]),
    ("ranges: {a: [0, 3, 6]}", "config-value", ["ranges.a: expected [min, max]"]),
    ("ranges: {a: [[], []]}", "config-value", ["ranges.a: expected [min, max]"]),
    ("ranges: {a: [0, six]}", "config-value", ['ranges.a[1]: expected a number from -1e38 to 1e38, got "six"']),
    ("ranges: {a: [0, true]}", "config-value", ["ranges.a[1]: expected a number", "got true"]),
    ("ranges: {a: [0, .inf]}", "config-value", ["ranges.a[1]: expected a number", "got inf"]),
    ("ranges: {a: [[0, -1], [1, 1.0e+39]]}", "config-value", ["ranges.a[1][1]: expected a number", "got 1e+39"]),
    ("ranges: {'^a': [0, 6]}", "config-value", ["ranges.^a: expected the name of a tensor", 'got "^a"']),
    ("set: null", "config-value", ["set: expected a mapping of placeholders to values", "got null"]),
    ("set: {a: null}", "config-value", ["set.a: expected true, false, a finite number, text, or a list of these"]),
    ("set: {a: []}", "config-value", ["got an empty list"]),
    ("set: {a: {b: 1}}", "config-value", ["got a mapping"]),
    ("set: {a: -.inf}", "config-value", ["got -inf"]),
    ("set: {'a:1': 3}", "config-value", ["set.a:1: expected the name of a placeholder"]),
    ("rules: null", "config-value", ["expected a list of mappings, got null"]),
    ("rules: [text]", "config-value", ["rules[0]", "match, weights, activations, quantize, because"]),
    ("rules: [{quantize: false}]", "config-value", ["rules[0]: the key match is missing"]),
    ("rules: [{match: a}]", "config-value", ["the rule changes nothing"]),
    ("rules: [{match: a, because: x}]", "config-value", ["the rule changes nothing"]),
    ("rules: [{match: a, weights: {}}]", "config-value", ["rules[0].weights: the mapping is empty"]),
    (
        "rules: [{match: a, quantize: false, weights: {bits: 4}}]",
        "config-value",
        ["rules[0].weights: has no effect"],
    ),
    (
        "rules: [{match: a, quantize: false, activations: {bits: 4}}]",
        "config-value",
        ["rules[0].activations: has"],
    ),
    ("rules: [{match: '', quantize: true}]", "config-value", ["expected a node name", 'got ""']),
    (
        "rules: [{match: 5, quantize: true}]",
        "config-value",
        ["or a mapping with some of the keys op, name, got 5"],
    ),
    ("rules: [{match: {}, quantize: true}]", "config-value", ["rules[0].match: the mapping is empty"]),
    (
        "rules: [{match: {op: []}, quantize: true}]",
        "config-value",
        ["rules[0].match.op", "got an empty list"],
    ),
    ("rules: [{match: {op: 'Conv*'}, quantize: true}]", "config-value", ["no wildcards", 'got "Conv*"']),
    ("rules: [{match: {op: [A, 'B C']}, quantize: true}]", "config-value", ["rules[0].match.op[1]"]),
    (
        "rules:\n  - match: a\n    weights:\n      bits: 99",
        "config-value",
        ["f.yaml:4: rules[0].weights.bits: "],
    ),
    ("quant_dealy: 3", "config-unknown-key", ["f.yaml:1: quant_dealy", "did you mean quant_delay?"]),
    ("Quant-Delay: 3", "config-unknown-key", ["did you mean quant_delay?"]),
    ("bits: 3", "config-unknown-key", ["did you mean weights.bits or activations.bits?"]),
    ("zzz: 3", "config-unknown-key", ["known here: version, preset, placement"]),
    ("1: 3", "config-unknown-key", ["unknown key 1"]),
    (
        "weights:\n  bits: 4\n  ema_deca: 4",
        "config-unknown-key",
        ["f.yaml:3: weights.ema_deca", "known here: bits"],
    ),
    (
        "rules: [{match: a, quantise: false}]",
        "config-unknown-key",
        ["rules[0].quantise", "did you mean quantize?"],
    ),
    ("rules: [{match: {ops: a}, quantize: false}]", "config-unknown-key", ["match.ops", "did you mean op?"]),
    # The unknown key is named even where a wrong value stands before it.
    ("{quant_delay: -1, wieghts: {}}", "config-unknown-key", ["did you mean weights?"]),
    ("<<: {}", "config-unknown-key", ["unknown key <<"]),
]

# Beyond what a JSON schema can say.
INVALID_SELECTORS = [
    ("rules: [{match: /a, quantize: false}]", ["rules[0].match", "begins with a slash"]),
    (
        "rules: [{match: {name: 'regex:('}, quantize: false}]",
        ["rules[0].match.name", "not a regular expression"],
    ),
    ("activations: {ema_decay: .nan}", ["got nan"]),
    ("ranges: {a: [0, .nan]}", ["ranges.a[1]: expected a number", "got nan"]),
    ("set: {a: 9223372036854775808}", ["got 9223372036854775808"]),
    ("set: {a: .nan}", ["set.a: expected", "got nan"]),
    ("ranges:\n  a: [2, 5]", ["f.yaml:2: ranges.a: the range [2, 5] must hold zero", "; write [0, 5]"]),
    ("ranges: {a: [-3, -1]}", ["; write [-3, 0]"]),
    ("ranges: {a: [6, 0]}", ["ranges.a: the range [6, 0] must hold zero and have min < max"]),
    ("ranges: {a: [0, 0]}", ["must hold zero and have min < max"]),
    ("ranges: {a: [[0, 1], [1, 2]]}", ["ranges.a: the range [1, 2] of channel 1 must hold zero", "write [0, 2]"]),
    ("ranges: {a: [0, [1, 2]]}", ["ranges.a: one end is a list and the other is not"]),
    ("ranges: {a: [[0], [1, 2]]}", ["ranges.a: 1 minima and 2 maxima"]),
]


def verdict(text: str) -> ConfigError | None:
    source = parse_source(text, "f.yaml")
    try:
        check(source.data, source.where)
    except ConfigError as error:
        return error
    return None


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(schema_json())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("text", VALID)
def test_valid_here_and_under_the_json_schema(text: str, validator: jsonschema.Draft202012Validator) -> None:
    assert verdict(text) is None
    validator.validate(parse_source(text, "f.yaml").data)


@pytest.mark.parametrize(("text", "code", "parts"), INVALID)
def test_invalid_here_and_under_the_json_schema(
    text: str, code: str, parts: list[str], validator: jsonschema.Draft202012Validator
) -> None:
    error = verdict(text)
    assert error is not None
    assert error.code == code
    for part in parts:
        assert part in str(error)
    assert not validator.is_valid(parse_source(text, "f.yaml").data)


@pytest.mark.parametrize(("text", "parts"), INVALID_SELECTORS)
def test_invalid_beyond_the_json_schema(text: str, parts: list[str]) -> None:
    error = verdict(text)
    assert error is not None
    for part in parts:
        assert part in str(error)


def test_the_version_is_judged_before_keys_of_another_version() -> None:
    error = verdict("{version: 3, brand_new: 1}")
    assert error is not None
    assert error.code == "config-version"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("ranges:\n  relu1: [0, 6]\n  relu1:0: [0, 5]", "f.yaml:3: ranges.relu1:0"),
        ("set:\n  a:0: 1\n  b: 2\n  a: 1", "f.yaml:4: set.a"),
    ],
)
def test_one_tensor_under_two_names(text: str, where: str) -> None:
    error = verdict(text)
    assert error is not None
    assert (error.code, error.where) == ("config-duplicate-key", where)
