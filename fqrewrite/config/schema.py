"""What a config *file* may contain.

Every key may be left out, and "not said" (`msgspec.UNSET`) is kept apart from every value, because a file is
laid over a preset. The descriptions here document the keys: `fqrewrite config schema` prints them.

`Meta.extra["words"]` is how an error message names what is expected, where the type alone does not say it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

VERSION = 1

# Step counters are int64 variables in the graph.
_MAX_STEP = 2**63 - 1
_NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.\\/>-]*"
# In Python a $ also matches before a newline at the end of the text.
_END = r"$(?!\n)"

Step = Annotated[int, Meta(ge=0, le=_MAX_STEP, extra={"words": "a number of steps, 0 or more"})]
# The FakeQuant ops themselves take 2 to 16 bits, but TFLite has no integer kernels for weights of more than
# 8, and 16-bit activations convert to wrong numbers.
Bits = Annotated[int, Meta(ge=2, le=8)]
ScopeName = Annotated[str, Meta(pattern=f"^({_NAME})?{_END}", extra={"words": "a name scope such as net/block1"})]
TensorName = Annotated[
    str, Meta(pattern=f"^{_NAME}(:[0-9]+)?{_END}", extra={"words": "the name of a tensor, such as logits:0"})
]
OpType = Annotated[
    str,
    Meta(pattern=f"^[A-Za-z][A-Za-z0-9_>]*{_END}", extra={"words": "an op type such as Conv2D (no wildcards)"}),
]
NamePattern = Annotated[
    str,
    Meta(min_length=1, extra={"words": "a node name, a scope, a glob such as net/**/conv*, or regex:..."}),
]

# Ranges are float32 constants in the graph, and so must the distance of their ends be.
Number = Annotated[float, Meta(ge=-1e38, le=1e38, extra={"words": "a number from -1e38 to 1e38"})]
PlaceholderName = Annotated[
    str, Meta(pattern=f"^{_NAME}(:0)?{_END}", extra={"words": "the name of a placeholder, such as is_training"})
]
_INT64 = Meta(ge=-(2**63), le=_MAX_STEP)
_FLOAT64 = Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)
Scalar = bool | Annotated[int, _INT64] | Annotated[float, _FLOAT64] | str
# Kept in step with `entries`, which says the same in words, and more.
FixedRange = Annotated[
    list[Number | Annotated[list[Number], Meta(min_length=1)]],
    Meta(min_length=2, max_length=2, extra={"words": "[min, max], such as [0, 6]"}),
]
Binding = Annotated[
    Scalar | Annotated[list[Scalar], Meta(min_length=1)],
    Meta(extra={"words": "true, false, a finite number, text, or a list of these"}),
]

_NOT_EMPTY = {"minProperties": 1}
# Kept in step with `check._check_rule`, which says the same in words.
_RULE = {
    "anyOf": [{"required": [key]} for key in ("weights", "activations", "quantize")],
    "not": {
        "properties": {"quantize": {"const": False}},
        "required": ["quantize"],
        "anyOf": [{"required": ["weights"]}, {"required": ["activations"]}],
    },
}


class Weights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights are quantized: by their range in this very step, after batch norm is folded into them."""

    bits: Annotated[Bits, Meta(description="Number of bits of the integers.")] | UnsetType = UNSET
    symmetric: Annotated[bool, Meta(description="Whether the range is made symmetric around zero.")] | UnsetType = UNSET
    narrow_range: (
        Annotated[bool, Meta(description="Whether the lowest integer is left out: -127 to 127 of 8 bits.")] | UnsetType
    ) = UNSET
    granularity: (
        Annotated[
            Literal["per_tensor", "per_channel"],
            Meta(description="One range for the whole tensor, or one for each output channel."),
        ]
        | UnsetType
    ) = UNSET


class Activations(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How activations are quantized: by a moving average of their range, learned in training."""

    bits: Annotated[Bits, Meta(description="Number of bits of the integers.")] | UnsetType = UNSET
    symmetric: Annotated[bool, Meta(description="Whether the range is made symmetric around zero.")] | UnsetType = UNSET
    ema_decay: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description="Decay of the moving averages of the smallest and largest value, for each step.",
            ),
        ]
        | UnsetType
    ) = UNSET


class MatchBy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Layers by op type, by name, or by both at once."""

    op: (
        Annotated[
            OpType | Annotated[list[OpType], Meta(min_length=1)],
            Meta(description="The op type of the layer, such as MatMul, or a list of them."),
        ]
        | UnsetType
    ) = UNSET
    name: (
        Annotated[NamePattern, Meta(description="A name, scope, glob or regex:, as in a plain match.")] | UnsetType
    ) = UNSET


class RuleEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other settings for some layers."""

    match: Annotated[
        NamePattern | MatchBy,
        Meta(
            description="The layers meant, by the name of the layer's node or of its weight variable. A name "
            "without wildcards is that node, or all that is in the scope of that name. In a glob, * stays "
            "within one component of the name, ** is any number of whole components, ? is one character. "
            "regex:... must match the whole name."
        ),
    ]
    weights: (
        Annotated[Weights, Meta(description="Replaces single weight settings.", extra_json_schema=_NOT_EMPTY)]
        | UnsetType
    ) = UNSET
    activations: (
        Annotated[
            Activations,
            Meta(description="Replaces single activation settings.", extra_json_schema=_NOT_EMPTY),
        ]
        | UnsetType
    ) = UNSET
    quantize: (
        Annotated[bool, Meta(description="false leaves the layer float; true takes an earlier rule's false back.")]
        | UnsetType
    ) = UNSET
    because: Annotated[str, Meta(description="The reason, for the report.")] | UnsetType = UNSET


class ConfigFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A config file of fqrewrite. Every key is optional: what is left out comes from the preset."""

    version: Annotated[Literal[1], Meta(description="Version of this format.")] | UnsetType = UNSET
    preset: Annotated[str, Meta(description="The settings to start from.")] | UnsetType = UNSET
    placement: (
        Annotated[
            Literal["contrib", "integer"],
            Meta(
                description="Which activations are quantized: those that tf.contrib.quantize did, "
                "or every tensor that an integer runtime needs a range for."
            ),
        ]
        | UnsetType
    ) = UNSET
    target: (
        Annotated[
            Literal["tflite-int8", "tflite-uint8", "openvino", "onnx-qdq"] | None,
            Meta(description="Who runs the result; settings that it cannot run are refused. null for nobody."),
        ]
        | UnsetType
    ) = UNSET
    quant_delay: (
        Annotated[
            Step,
            Meta(description="Training steps before tensors are quantized. Ranges are learned from the first step."),
        ]
        | UnsetType
    ) = UNSET
    freeze_bn_delay: (
        Annotated[
            Step | None,
            Meta(
                description="Training step from which batch norms use their moving averages "
                "and stop updating them; null for never."
            ),
        ]
        | UnsetType
    ) = UNSET
    scope: (
        Annotated[
            ScopeName | None,
            Meta(description="Only layers in this name scope are quantized; null for all of them."),
        ]
        | UnsetType
    ) = UNSET
    weights: Annotated[Weights, Meta(description="How weights are quantized.")] | UnsetType = UNSET
    activations: Annotated[Activations, Meta(description="How activations are quantized.")] | UnsetType = UNSET
    outputs: (
        Annotated[
            Annotated[list[TensorName], Meta(min_length=1)] | None,
            Meta(
                description="The tensors the graph is there to compute. null takes them from the model's "
                "signatures, collections or sinks."
            ),
        ]
        | UnsetType
    ) = UNSET
    ranges: (
        Annotated[
            dict[TensorName, FixedRange],
            Meta(
                description="Fixed ranges, by the tensor of the model that is quantized: [min, max] with zero inside, "
                "or for per-channel weights [[min, ...], [max, ...]]. They are neither learned nor restored. Where a "
                "batch norm is folded, its output and the folded weights are meant.",
                extra={"words": "a mapping of tensors to ranges, such as {relu1:0: [0, 6]}"},
            ),
        ]
        | UnsetType
    ) = UNSET
    bindings: (
        Annotated[
            dict[PlaceholderName, Binding],
            Meta(
                description="Values for placeholders such as is_training or keep_prob, which become constants.",
                extra={"words": "a mapping of placeholders to values, such as {is_training: false}"},
            ),
        ]
        | UnsetType
    ) = field(default=UNSET, name="set")
    rules: (
        Annotated[
            list[Annotated[RuleEntry, Meta(extra_json_schema=_RULE)]],
            Meta(description="Other settings for some layers. Later rules win, setting by setting."),
        ]
        | UnsetType
    ) = UNSET
