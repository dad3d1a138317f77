"""Making and reading plans in tests."""

from __future__ import annotations

from typing import Any

from configs import contrib
from fqrewrite.config.records import Config
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import LeftOut, Plan

INPUT = "x = Placeholder {shape: [?, 8, 8, 3]}\nb = VariableV2 {shape: [4]}\nb/read = Identity(b)\n"
"""An input for four-channel layers, and a bias for them."""

_COVERAGE = {"input-not-quantized", "no-quantizer-in-preset"}


def declined(plan: Plan) -> tuple[LeftOut, ...]:
    """What is left out, but for tensors that the preset never quantizes, such as the input of almost every graph."""
    return tuple(entry for entry in plan.left_out if entry.code not in _COVERAGE)


def conv(scope: str, x: str = "x") -> str:
    """A convolution ``<scope>/Conv2D`` of `x` with a kernel variable ``<scope>/w``."""
    return (
        f"{scope}/w = VariableV2 {{shape: [1, 1, 3, 4]}}\n{scope}/w/read = Identity({scope}/w)\n"
        f"{scope}/Conv2D = Conv2D({x}, {scope}/w/read)\n"
    )


def plan_of(text: str, outputs: tuple[str, ...] = ()) -> Plan:
    """The plan of a printed graph under the preset contrib."""
    return build_plan(Graph(parse(text)), contrib(), source_sha256="0", public_outputs=outputs)


def integer_plan(text: str, outputs: tuple[str, ...] = (), **settings: Any) -> Plan:
    """The plan of a printed graph under the default preset: integer placement, with the weights that TFLite needs."""
    return build_plan(Graph(parse(text)), Config(**settings), source_sha256="0", public_outputs=outputs)


def sites(plan: Plan) -> dict[str, str]:
    """What is quantized beside weights: the rule by tensor, or the role of what no rule computes."""
    roles = {"activation": None, "weights": None}
    return {
        item.tensor: roles.get(item.role, item.role) or item.rule for item in plan.quantizers if item.role != "weights"
    }


def ties(plan: Plan) -> set[frozenset[str]]:
    """The tensors of each group that shares a range."""
    tensors = {item.scope: item.tensor for item in plan.quantizers}
    return {
        frozenset({item.tensor, *(tensors[scope] for scope in item.tied_with)})
        for item in plan.quantizers
        if item.tied_with
    }


def left_float(plan: Plan) -> dict[str, str]:
    """The code by tensor or node of what stays float."""
    return {entry.name: entry.code for entry in plan.left_out}


def activations(plan: Plan, rule: str | None = None) -> dict[str, str]:
    """Tensor by scope of the plan's activation quantizers; of one rule if given."""
    return {
        item.scope: item.tensor
        for item in plan.quantizers
        if item.role != "weights" and (rule is None or item.rule == rule)
    }
