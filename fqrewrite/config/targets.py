"""What the consumers of a quantized graph can run; anything else is refused before a graph is read.

Measured on TensorFlow 2.21 for TFLite (semantics.md, C1), OpenVINO 2026.4, and tf2onnx 1.17 with onnxruntime 1.32;
`scripts/try_targets.py --settings` shows what becomes of the settings that are refused here.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fqrewrite.config.records import Config, Target
from fqrewrite.config.selectors import Selector
from fqrewrite.errors import ConfigError


class Demand(msgspec.Struct, frozen=True):
    """Values that one setting may have.

    Attributes:
        values: these.
        reason: why no others, one sentence.
        ops: only layers of these op types are meant; empty for all.
    """

    values: tuple[object, ...]
    reason: str
    ops: frozenset[str] = frozenset()


_EIGHT = Demand((8,), "it has kernels for 8-bit activations only; 16 bits convert to wrong numbers")
_ROUNDED_AGAIN = (
    "tf2onnx folds the weights, and onnxruntime quantizes them again: 8 bits, asymmetric, 256 levels, per tensor"
)
_PER_TENSOR_OPS = frozenset(
    {"MatMul", "Conv2DBackpropInput", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
)

_DEMANDS: dict[Target, dict[str, tuple[Demand, ...]]] = {
    "tflite-int8": {
        "weights.bits": (Demand((4, 8), "it keeps weights in 4 or 8 bits; others are put on one of these grids"),),
        "weights.symmetric": (Demand((True,), "it multiplies weights without a zero point; others do not load"),),
        "weights.narrow_range": (Demand((True,), "with all 256 levels their zero point is -1, and they do not load"),),
        "weights.granularity": (
            Demand(("per_tensor",), "the converter takes these layers with one range per tensor only", _PER_TENSOR_OPS),
        ),
        "activations.bits": (_EIGHT,),
    },
    "tflite-uint8": {
        "weights.bits": (Demand((8,), "it has kernels for 8-bit weights only"),),
        "weights.granularity": (Demand(("per_tensor",), "it has no kernels for one range per channel"),),
        "activations.bits": (_EIGHT,),
    },
    "openvino": {
        "weights.bits": (Demand((8,), "it computes layers with weights of other bits in float"),),
        "weights.symmetric": (Demand((True,), "it computes convolutions whose weights have a zero point in float"),),
        "activations.bits": (Demand((4, 8), "it runs 16 and 256 levels in integers, and others in float"),),
    },
    "onnx-qdq": {
        # The 16 levels of 4 bits are among the 256 of 8.
        "weights.bits": (Demand((4, 8), _ROUNDED_AGAIN),),
        "weights.symmetric": (Demand((False,), _ROUNDED_AGAIN),),
        "weights.narrow_range": (Demand((False,), _ROUNDED_AGAIN),),
        "weights.granularity": (Demand(("per_tensor",), _ROUNDED_AGAIN),),
        "activations.bits": (Demand((8,), "tf2onnx converts 8 bits only"),),
        "activations.symmetric": (
            Demand((False,), "onnxruntime computes a Relu in front of one, with its layer, in float"),
        ),
    },
}


_NO_KERNELS: dict[Target, frozenset[str]] = {
    "tflite-uint8": frozenset(
        {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Abs", "Exp", "Log", "Sqrt", "Rsqrt", "Prod"}
        | {"SquaredDifference"}
    ),
}


def without_kernels(target: Target | None) -> frozenset[str]:
    """Op types that a target computes in float, although others have integer kernels for them.

    With ranges on all sides, the converter would make integer operations of them that do not run.
    """
    return _NO_KERNELS.get(target, frozenset()) if target is not None else frozenset()


def check_target(config: Config) -> None:
    """Refuses settings that the target of a config cannot run.

    Raises:
        ConfigError: `target-cannot-run`.
    """
    if config.target is None:
        return
    for key, demands in _DEMANDS[config.target].items():
        for selector, value, where in _said(config, key):
            for demand in demands:
                if value not in demand.values and _concerns(selector, demand):
                    allowed = " or ".join(map(_text, demand.values))
                    what = f"{config.target} cannot run {_text(value)} here, only {allowed}: {demand.reason}"
                    raise ConfigError("target-cannot-run", what, where=f"{where}: {key}")


def _said(config: Config, key: str) -> Iterator[tuple[Selector | None, object, str]]:
    """The values that a setting has: for all layers, and in rules; each with its selector and where it is written."""
    section, _, name = key.partition(".")
    yield None, getattr(getattr(config, section), name), config.origins.get(key, "config")
    for rule in config.rules:
        value = getattr(getattr(rule, section), name, None)
        if value is not None:
            yield rule.selector, value, rule.origin


def _concerns(selector: Selector | None, demand: Demand) -> bool:
    """Whether a demand on some op types is about the layers of a selector, as far as that says so."""
    if not demand.ops:
        return True
    return selector is not None and not demand.ops.isdisjoint(selector.ops)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
