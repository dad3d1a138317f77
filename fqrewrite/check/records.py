"""What a check finds: the records that reports are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

FORMAT_VERSION = 1
Severity = Literal["fails", "wrong", "float", "warning"]
"""fails: no model, or none that loads and runs. wrong: integers, and other numbers than the graph's. float: an
operation stays float. warning: worth knowing; no reason to fail a build."""

Prediction = Literal["integer", "float", "wrong", "fails"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stands in the way.

    Attributes:
        code: a stable code; `fqrewrite explain` explains it.
        severity: see `Severity`.
        name: the node or tensor.
        op: its op type.
        reason: what is the matter, one sentence.
        remedy: what to do.
    """

    code: str
    severity: Severity
    name: str
    op: str
    reason: str
    remedy: str


class FloatOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that will be computed in float.

    Attributes:
        name, op: the node.
        because: the node or tensor that is the cause; a finding names it.
        nodes: all nodes of the operation, with those that are fused into it.
    """

    name: str
    op: str
    because: str
    nodes: tuple[str, ...]


class Static(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph says without a conversion.

    Attributes:
        prediction: the worst that is to come.
        findings: causes, worst first.
        operations: how many operations there are, fused ones counted once.
        float_operations: those that will be float, causes and victims.
        quantizers: how many fake quantizers the outputs need.
    """

    prediction: Prediction
    findings: tuple[Finding, ...]
    operations: int
    float_operations: tuple[FloatOperation, ...]
    quantizers: int


class Island(msgspec.Struct, frozen=True, kw_only=True):
    """A float operation of the converted model.

    Attributes:
        op: TFLite's name of it.
        tensor: its first output.
        inputs, outputs: types, "-" for none.
        predicted: whether the static check named it.
    """

    op: str
    tensor: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    predicted: bool


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """An output of the integer model next to the fake-quantized graph's.

    Attributes:
        tensor: the graph's output.
        scale: one step of its quantized form; None when it has none, and errors are in its own units.
        max_error, p99_error, mean_error: absolute, in steps (LSB): the greatest, what 99 % do not exceed (to 1/16 of a
            step, up to 1024), and the mean.
        sqnr_db: 10 log10 of the energy of the graph's output over that of the difference; None when one is 0.
        argmax_agreement: share of rows (last axis) with the same greatest element; None for fewer than two columns.
    """

    tensor: str
    scale: float | None
    max_error: float
    p99_error: float
    mean_error: float
    sqnr_db: float | None
    argmax_agreement: float | None


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a conversion.

    Attributes:
        stage: how far it went: "converting", "inspecting", "loading", "running", "done".
        error: why it went no further; None when done.
        signal: that killed the child process, such as "SIGSEGV".
        converter: the route and its flags.
        kernels: the kernel set that the model ran with.
        tensorflow: its version.
        operations: how many there are of each of TFLite's ops.
        quantize, dequantize: how many there are, those of float inputs and outputs included.
        islands: float operations.
        outputs: the comparison.
        samples: how many inputs were compared.
        data: where they came from.
        size: of the model, bytes.
    """

    stage: str
    error: str | None
    signal: str | None
    converter: str
    kernels: str
    tensorflow: str | None
    operations: dict[str, int]
    quantize: int
    dequantize: int
    islands: tuple[Island, ...]
    outputs: tuple[OutputDifference, ...]
    samples: int
    data: str
    size: int


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole check.

    Attributes:
        format_version: of this record.
        tool_version: of fqrewrite.
        path: the graph.
        target: its name.
        outputs: tensors that were checked.
        static, conversion: what was found; the second is None without `--convert`.
        findings: all of both, worst first.
        passed: whether there is none but warnings.
    """

    format_version: int = FORMAT_VERSION
    tool_version: str
    path: str
    target: str
    outputs: tuple[str, ...]
    static: Static
    conversion: Conversion | None
    findings: tuple[Finding, ...]
    passed: bool


_ORDER = ("fails", "wrong", "float", "warning")


def worst_first(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Sorts by severity; otherwise the order stays."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def prediction(findings: tuple[Finding, ...]) -> Prediction:
    """What the worst finding means for the model."""
    severities = {finding.severity for finding in findings}
    for severity in _ORDER[:3]:
        if severity in severities:
            return severity  # type: ignore[return-value]
    return "integer"
