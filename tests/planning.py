"""Reading plans in tests."""

from __future__ import annotations

from fqrewrite.plan.items import LeftOut, Plan

_COVERAGE = {"input-not-quantized", "no-quantizer-in-preset"}


def declined(plan: Plan) -> tuple[LeftOut, ...]:
    """What is left out, but for tensors that the preset never quantizes, such as the input of almost every graph."""
    return tuple(entry for entry in plan.left_out if entry.code not in _COVERAGE)
