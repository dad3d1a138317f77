"""Converting a graph in a child process, and what came of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fqrewrite.check import request as files
from fqrewrite.check.flatbuffer import LiteOperation
from fqrewrite.check.quantizers import read_quantizer
from fqrewrite.check.records import Conversion, Finding, Island, Static
from fqrewrite.check.request import InputSpec, Request, Result
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import Target
from fqrewrite.errors import ConfigError
from fqrewrite.ir.graph import Value
from fqrewrite.match.parameters import FAKE_QUANT_OPS
from fqrewrite.model.saved_model import saved_model_bytes
from fqrewrite.model.signature import TensorInfo, signature_of
from fqrewrite.proto import MetaGraphDef
from fqrewrite.proto.dtypes import dtype_name

KERNELS = "TFLite builtin kernels, no delegates (BUILTIN_WITHOUT_DEFAULT_DELEGATES; XNNPACK rounds differently)"
MOST_LSB = 2.0
"""Two kernel sets of TFLite differ by as much in a shallow net."""


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion, and the model that came of it (None without one)."""

    conversion: Conversion
    model: bytes | None


def convert(
    message: Any,
    subject: Subject,
    static: Static,
    target: Target,
    *,
    data: Path | None,
    samples: int,
    seed: int = 0,
    timeout: float,
) -> Converted:
    """Converts a graph, loads the model and runs it next to the graph, all in a child process.

    Args:
        message: GraphDef or MetaGraphDef.
        subject: its graph and outputs.
        static: what was predicted, for islands to be recognised.
        target: the route.
        data: .npz file of inputs; None for random numbers.
        samples: how many at most.
        seed: of random numbers.
        timeout: of the child process, seconds.

    Raises:
        ConfigError: TensorFlow is missing, or the data do not fit (as `samples.read_samples`).
    """
    with tempfile.TemporaryDirectory(prefix="fqrewrite-check-") as name:
        directory = Path(name)
        prepare(directory, message, subject, target, data=data, samples=samples, seed=seed)
        error, killed_by = _run(directory, timeout)
        return collect(directory, static, target, error, killed_by, data)


def prepare(
    directory: Path,
    message: Any,
    subject: Subject,
    target: Target,
    *,
    data: Path | None = None,
    samples: int = 4,
    seed: int = 0,
) -> None:
    """Writes what the child process needs into a directory: a SavedModel, and the request."""
    inputs, outputs = signature_of(subject.graph, subject.outputs)
    (directory / files.GRAPH).write_bytes(saved_model_bytes(_without_signatures(message), inputs, outputs))
    request = Request(
        integer=target.integer,
        inputs=tuple(_specs(subject, inputs)),
        outputs={key: info.tensor for key, info in outputs.items()},
        data=data is not None,
        samples=samples,
        seed=seed,
    )
    if data is not None:
        try:
            shutil.copyfile(data, directory / files.DATA)
        except OSError as error:
            what = f"the data cannot be read: {error.strerror}"
            raise ConfigError("data-unreadable", what, where=str(data)) from error
    (directory / files.REQUEST).write_bytes(msgspec.json.encode(request))


def _without_signatures(message: Any) -> Any:
    """The graph alone: the signature that is written has the inputs and outputs that are checked, and no others."""
    return message.graph_def if message.DESCRIPTOR.full_name == MetaGraphDef.DESCRIPTOR.full_name else message


def _specs(subject: Subject, inputs: Mapping[str, TensorInfo]) -> list[InputSpec]:
    ranges = {key: _range(subject, subject.graph.value(info.tensor), info) for key, info in inputs.items()}
    return [
        InputSpec(
            key=key,
            tensor=info.tensor,
            dtype=dtype_name(info.dtype),
            shape=info.shape,
            low=ranges[key][0],
            high=ranges[key][1],
        )
        for key, info in inputs.items()
    ]


def _range(subject: Subject, value: Value, info: TensorInfo) -> tuple[float, float]:
    for node, _ in subject.readers(value):
        quantizer = read_quantizer(node) if node.op in FAKE_QUANT_OPS else None
        if quantizer is not None and all(map(_is_usable, (*quantizer.low, *quantizer.high))):
            return min(quantizer.low), max(quantizer.high)
    return (-1.0, 1.0) if dtype_name(info.dtype).startswith("float") else (0.0, 1.0)


def _is_usable(number: float) -> bool:
    return abs(number) < 1e30


def _run(directory: Path, timeout: float) -> tuple[str | None, str | None]:
    """Runs the child process. Returns (why it did not end by itself, the signal that killed it)."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(part for part in sys.path if part)
    command = [sys.executable, "-m", "fqrewrite.check.child", str(directory)]
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout:g} seconds and was stopped", None
    if done.returncode < 0:
        name = signal_name(-done.returncode)
        return f"the process was killed by {name}", name
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"the process ended with status {done.returncode}: {lines[-1] if lines else ''}", None
    return None, None


def signal_name(number: int) -> str:
    """The name of a signal: SIGSEGV for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def collect(
    directory: Path, static: Static, target: Target, error: str | None, killed_by: str | None, data: Path | None
) -> Converted:
    """Reads what the child process left in a directory.

    Raises:
        ConfigError: as `convert`.
    """
    stage, result, model = "converting", Result(), None
    if (directory / files.STAGE).exists():
        stage = (directory / files.STAGE).read_text(encoding="ascii")
    if (directory / files.RESULT).exists():
        result = msgspec.json.decode((directory / files.RESULT).read_bytes(), type=Result)
    if result.code is not None and result.error is not None:
        raise ConfigError(result.code, result.error, where=str(data) if data else None)
    if (directory / files.MODEL).exists():
        model = (directory / files.MODEL).read_bytes()
    operations = [LiteOperation(*operation) for operation in result.operations]
    counts: dict[str, int] = {}
    for operation in operations:
        counts[operation.name] = counts.get(operation.name, 0) + 1
    named = {name for operation in static.float_operations for name in operation.nodes}
    conversion = Conversion(
        stage=stage,
        error=error or result.error,
        signal=killed_by,
        converter=target.converter,
        kernels=KERNELS,
        tensorflow=result.tensorflow,
        operations=dict(sorted(counts.items())),
        quantize=counts.get("QUANTIZE", 0),
        dequantize=counts.get("DEQUANTIZE", 0),
        islands=tuple(_island(operation, named) for operation in operations if operation.is_island),
        outputs=result.outputs,
        samples=result.samples,
        data="random numbers within the ranges of the inputs" if data is None else str(data),
        size=len(model) if model else 0,
    )
    return Converted(conversion=conversion, model=model)


def _island(operation: LiteOperation, named: set[str]) -> Island:
    return Island(
        op=operation.name,
        tensor=operation.tensors[0] if operation.tensors else "",
        inputs=operation.inputs,
        outputs=operation.outputs,
        predicted=any(not named.isdisjoint(_nodes(tensor)) for tensor in operation.tensors),
    )


def _nodes(tensor: str) -> set[str]:
    """The nodes that a tensor of the model can be of: ``Relu;Conv2D``, ``Relu:0``, ``Relu1`` for its second part."""
    parts = [part.partition(":")[0] for part in tensor.split(";")]
    for part in parts:
        if part[-1:].isdigit():
            parts.append(part[:-1])
    return set(parts)


def conversion_findings(conversion: Conversion) -> list[Finding]:
    """What the conversion found, as findings; an island that the static check named before is none again."""
    found = []
    if conversion.error is not None:
        code = {"converting": "conversion-failed", "loading": "model-does-not-load"}.get(
            conversion.stage, "model-does-not-run"
        )
        found.append(
            Finding(
                code=code,
                severity="fails",
                name=conversion.stage,
                op="",
                reason=f"{conversion.error} (while {conversion.stage})",
                remedy="see what else is found; the converter's own message says which op it is",
            )
        )
    for island in conversion.islands:
        if not island.predicted:
            found.append(
                Finding(
                    code="float-island",
                    severity="float",
                    name=island.tensor,
                    op=island.op,
                    reason=f"the converted model computes {island.op} in float",
                    remedy="put a fake quantizer behind it and behind what it reads",
                )
            )
    for output in conversion.outputs:
        if output.scale is not None and output.max_error > MOST_LSB and not conversion.islands:
            found.append(
                Finding(
                    code="numbers-differ",
                    severity="warning",
                    name=output.tensor,
                    op="",
                    reason=f"integers and fake quantization differ by up to {output.max_error:.3g} steps, "
                    f"{output.mean_error:.3g} on average",
                    remedy="nothing in a deep net or behind a steep function, where single roundings grow; "
                    "compare the results of the task",
                )
            )
    return found
