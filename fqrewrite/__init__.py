"""Rewrites serialized TensorFlow graphs for quantization-aware training and TFLite conversion.

    import fqrewrite

    model = fqrewrite.load("model.meta")
    print(fqrewrite.plan(model, preset="tflite-int8").report.to_text())
    fqrewrite.save(fqrewrite.train(model, preset="tflite-int8"), "train.meta")

Everything here is imported when it is first used; `import fqrewrite` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fqrewrite import tf1
    from fqrewrite.api import Planned, Result, evaluate, load, plan, save, train
    from fqrewrite.errors import ConfigError, FqrewriteError, GraphError, InputError, Refusal
    from fqrewrite.plans.items import Plan
    from fqrewrite.report.records import Report
    from fqrewrite.source.open import Source

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "FqrewriteError",
    "GraphError",
    "InputError",
    "Plan",
    "Planned",
    "Refusal",
    "Report",
    "Result",
    "Source",
    "__version__",
    "evaluate",
    "load",
    "plan",
    "save",
    "tf1",
    "train",
]


_HOMES = {
    "api": ("Planned", "Result", "evaluate", "load", "plan", "save", "train"),
    "errors": ("ConfigError", "FqrewriteError", "GraphError", "InputError", "Refusal"),
    "source.open": ("Source",),
    "plans.items": ("Plan",),
    "report.records": ("Report",),
}


def __getattr__(name: str) -> object:
    if name == "tf1":
        return import_module(f"{__name__}.tf1")
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
