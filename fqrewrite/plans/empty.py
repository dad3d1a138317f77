"""Refusing a plan that would quantize nothing, with what the user needs to find out why."""

from __future__ import annotations

from collections import Counter
from typing import NoReturn

from fqrewrite.errors import Refusal
from fqrewrite.plans.items import Plan


def refuse_empty(plan: Plan, where: str) -> NoReturn:
    """Refuses an empty plan.

    Args:
        plan: is empty.
        where: the model.

    Raises:
        Refusal: `nothing-quantized`, with the codes of the layers that are left out.
    """
    codes = Counter(entry.code for entry in plan.left_out if entry.kind == "layer")
    listed = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    what = "no layer would be quantized" + (
        f"; left out: {listed}"
        if listed
        else ": the graph has no convolution, depthwise convolution or matmul with weights"
    )
    raise Refusal("nothing-quantized", what, where=where)
