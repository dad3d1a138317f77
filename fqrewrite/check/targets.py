"""What graphs can be checked for."""

from __future__ import annotations

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A route through the TFLite converter.

    Attributes:
        name: as on the command line.
        integer: of inputs, outputs and activations: "int8" or "uint8".
        per_channel: whether weights may have one range per channel.
        symmetric_weights: whether weights need zero point 0.
        ranged_inputs: whether the converter is told the ranges of the graph's inputs.
        lacking: ops whose kernels exist for int8 alone; the model does not load.
        converter: what the route is, for reports.
    """

    name: str
    integer: str
    per_channel: bool
    symmetric_weights: bool
    ranged_inputs: bool
    lacking: frozenset[str]
    converter: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="tflite-int8",
            integer="int8",
            per_channel=True,
            symmetric_weights=True,
            ranged_inputs=False,
            lacking=frozenset(),
            converter="TFLiteConverter.from_saved_model, optimizations=[DEFAULT]",
        ),
        Target(
            name="tflite-uint8",
            integer="uint8",
            per_channel=False,
            symmetric_weights=False,
            ranged_inputs=True,
            lacking=frozenset(
                {"Abs", "Log", "Sqrt", "Rsqrt", "SquaredDifference", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"}
            ),
            converter="compat.v1 TFLiteConverter, inference_type=uint8, quantized_input_stats",
        ),
    )
}
