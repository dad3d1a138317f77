"""The config once everything is decided: no key is missing, and every value knows where it came from.

The defaults here are those of the preset tflite-int8, so that the common run reads no YAML.
`configs/presets/tflite-int8.yaml` says the same; a test compares the two.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

from fqrewrite.config.selectors import Selector

DEFAULT_PRESET = "tflite-int8"
"""The preset of a run that names none; its settings are the defaults of the records below."""

Limit: TypeAlias = float | tuple[float, ...]
"""One end of a range: for the tensor, or for each channel."""

Placement: TypeAlias = Literal["contrib", "integer"]
Target: TypeAlias = Literal["tflite-int8", "tflite-uint8", "openvino", "onnx-qdq"]

Scalar: TypeAlias = bool | int | float | str


class WeightSettings(Struct, frozen=True, kw_only=True):
    """How the weights of a layer are quantized.

    Attributes:
        bits: number of bits, 2 to 8.
        symmetric: whether the range is made symmetric around zero.
        narrow_range: whether the lowest level is left out, so that the integers are symmetric, too.
        granularity: one range for the tensor, or one for each output channel.
    """

    bits: int = 8
    symmetric: bool = True
    narrow_range: bool = True
    granularity: Literal["per_tensor", "per_channel"] = "per_channel"


class ActivationSettings(Struct, frozen=True, kw_only=True):
    """How activations are quantized.

    Attributes:
        bits: number of bits, 2 to 8.
        symmetric: whether the range is made symmetric around zero.
        ema_decay: decay per step of the moving averages of the range, in [0, 1).
    """

    bits: int = 8
    symmetric: bool = False
    ema_decay: float = 0.999


class WeightOverrides(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule says about weights; None where it says nothing. Fields as in `WeightSettings`."""

    bits: int | None = None
    symmetric: bool | None = None
    narrow_range: bool | None = None
    granularity: Literal["per_tensor", "per_channel"] | None = None


class ActivationOverrides(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule says about activations; None where it says nothing. Fields as in `ActivationSettings`."""

    bits: int | None = None
    symmetric: bool | None = None
    ema_decay: float | None = None


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Other settings for the layers that a selector matches.

    Attributes:
        selector: which layers.
        weights, activations: the settings it replaces; None for none.
        quantize: False leaves the layers float, True takes an earlier False back, None says nothing.
        because: the user's reason.
        origin: where the rule is written, ``file:line``.
    """

    selector: Selector
    weights: WeightOverrides | None = None
    activations: ActivationOverrides | None = None
    quantize: bool | None = None
    because: str | None = None
    origin: str


_DEFAULT_RULES = (
    Rule(
        selector=Selector(
            ops=("MatMul", "Conv2DBackpropInput", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")
        ),
        weights=WeightOverrides(granularity="per_tensor"),
        because="the converter takes these layers with one range per tensor only",
        origin=f"preset {DEFAULT_PRESET}",
    ),
)


class Config(Struct, frozen=True, kw_only=True):
    """All settings of one run.

    Attributes:
        preset: name of the preset it started from.
        quant_delay: training steps before tensors are quantized, 0 or more.
        freeze_bn_delay: training step from which batch norms are frozen, 0 or more; None for never.
        placement: who decides where activations are quantized: "contrib" as tf.contrib.quantize did, "integer" every
            tensor that an integer runtime needs a range for.
        target: who runs the result, and so limits what the settings may be; None for nobody in particular.
        scope: name scope (without a slash at its end) that a layer must be in; None for everywhere.
        weights, activations: the settings where no rule says otherwise.
        outputs: tensors, ``node:port``; None to find them in the model.
        ranges: fixed (min, max) by tensor, ``node:port``.
        bindings: values of placeholders by node name (the key ``set``).
        rules: in the order in which they are applied: those of the preset, then those of the file.
        origins: for each setting by its dotted key (``weights.bits``, ``ranges.relu1:0``) where its value came from:
            ``preset tflite-int8``, ``file:line``, ``--flag`` or ``default``.
    """

    preset: str = DEFAULT_PRESET
    placement: Placement = "integer"
    target: Target | None = "tflite-int8"
    quant_delay: int = 0
    freeze_bn_delay: int | None = None
    scope: str | None = None
    weights: WeightSettings = WeightSettings()
    activations: ActivationSettings = ActivationSettings()
    outputs: tuple[str, ...] | None = None
    ranges: dict[str, tuple[Limit, Limit]] = {}
    bindings: dict[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict, name="set")
    rules: tuple[Rule, ...] = _DEFAULT_RULES
    origins: dict[str, str] = {}
