"""Rewrites serialized TensorFlow graphs for quantization-aware training and TFLite conversion.

    import fqrewrite

    model = fqrewrite.load("model.meta")
    print(fqrewrite.plan(model, preset="tflite-int8").report.to_text())
    fqrewrite.save(fqrewrite.train(model, preset="tflite-int8"), "train.meta")

Everything here is imported when it is first used; `import fqrewrite` alone costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fqrewrite import tf1
    from fqrewrite.api import Planned, Result, evaluate, load, plan, save, train
    from fqrewrite.errors import ConfigError, FqrewriteError, GraphError, InputError, Refusal
    from fqrewrite.open import Source
    from fqrewrite.plan.items import Plan
    from fqrewrite.report.records import Report

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


class _Member:
    """A name of this package that is imported when it is read.

    Importing a submodule enters it in its package under its own name, and two verbs are called like submodules
    (`plan`, `evaluate`). The verbs keep the names; `from fqrewrite.plan.items import Plan` finds the submodule anyway.
    """

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.module = module

    def __get__(self, package: ModuleType, owner: type) -> object:
        module = import_module(self.module)
        return module if self.module == f"{__name__}.{self.name}" else getattr(module, self.name)

    def __set__(self, package: ModuleType, value: object) -> None:
        if not isinstance(value, ModuleType):
            raise AttributeError(f"{self.name!r} of {package.__name__!r} cannot be set")


_MEMBERS = {
    "api": ("Planned", "Result", "evaluate", "load", "plan", "save", "train"),
    "errors": ("ConfigError", "FqrewriteError", "GraphError", "InputError", "Refusal"),
    "open": ("Source",),
    "plan.items": ("Plan",),
    "report.records": ("Report",),
    "tf1": ("tf1",),
}
sys.modules[__name__].__class__ = type(
    "_Package",
    (ModuleType,),
    {name: _Member(name, f"{__name__}.{module}") for module, names in _MEMBERS.items() for name in names},
)
