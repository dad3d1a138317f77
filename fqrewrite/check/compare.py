"""The integer model next to the fake-quantized graph, on the same inputs."""

from __future__ import annotations

import math
from typing import Any

from fqrewrite.check.flatbuffer import LiteModel
from fqrewrite.check.records import OutputDifference
from fqrewrite.check.request import Request

_SHARE = 0.99
_BINS_PER_STEP, _MOST_STEPS = 16, 1 << 10


class _Sum:
    """Differences of one output over the samples, in constant memory."""

    def __init__(self) -> None:
        import numpy as np

        self.greatest = 0.0
        self.total = 0.0
        self.elements = 0
        self.rows = 0
        self.agreeing = 0
        self.signal = self.noise = 0.0
        self.counts = np.zeros(_BINS_PER_STEP * _MOST_STEPS + 1, np.int64)  # errors in sixteenths of a step

    def add(self, wanted: Any, found: Any, scale: float) -> None:
        import numpy as np

        exact = wanted.astype(np.float64) / scale
        error = np.abs(found.astype(np.float64) / scale - exact)
        if error.size:
            # NaN, on whichever side, is as wrong as can be, and JSON has none.
            error = np.nan_to_num(error, nan=1e30, posinf=1e30)
            self.greatest = max(self.greatest, float(error.max()))
            self.total += float(error.sum())
            self.elements += error.size
            self.signal += float(np.square(np.nan_to_num(exact, nan=0.0, posinf=0.0, neginf=0.0)).sum())
            self.noise += float(np.square(error).sum())
            bins = np.minimum(np.round(error * _BINS_PER_STEP), len(self.counts) - 1).astype(np.int64)
            self.counts += np.bincount(bins.ravel(), minlength=len(self.counts))
        if wanted.ndim and wanted.shape[-1] > 1:
            same = wanted.argmax(-1) == found.argmax(-1)
            self.rows += same.size
            self.agreeing += int(same.sum())

    def _most(self) -> float:
        """What the given share of the errors does not exceed, to a sixteenth of a step."""
        import numpy as np

        place = int(np.searchsorted(np.cumsum(self.counts), _SHARE * self.elements))
        return min(place / _BINS_PER_STEP, self.greatest)

    def result(self, tensor: str, scale: float | None) -> OutputDifference:
        return OutputDifference(
            tensor=tensor,
            scale=scale,
            max_error=self.greatest,
            p99_error=self._most(),
            mean_error=self.total / max(1, self.elements),
            sqnr_db=10 * math.log10(self.signal / self.noise) if self.signal and self.noise else None,
            argmax_agreement=self.agreeing / self.rows if self.rows else None,
        )


def compare_outputs(
    session: Any, interpreter: Any, model: LiteModel, request: Request, samples: list[dict[str, Any]]
) -> tuple[OutputDifference, ...]:
    """Runs both on every sample.

    Args:
        session: of the graph.
        interpreter: of the model.
        model: the model, taken apart.
        request: says what inputs and outputs are called.
        samples: feeds by key of the signature.

    Returns:
        A difference for each output.
    """
    sums = {key: _Sum() for key in request.outputs}
    scales = dict(zip(request.outputs, model.output_scales.values(), strict=False))
    if request.integer == "int8":
        scales = {key: model.output_scales.get(key) for key in request.outputs}
        runner: Any = interpreter.get_signature_runner()
    for feeds in samples:
        wanted = session.run(list(request.outputs.values()), {item.tensor: feeds[item.key] for item in request.inputs})
        if request.integer == "int8":
            given = runner(**feeds)
            found = [given[key] for key in request.outputs]
        else:
            found = _run_uint8(interpreter, request, feeds)
        for key, here, there in zip(request.outputs, wanted, found, strict=True):
            sums[key].add(here, there, scales.get(key) or 1.0)
    return tuple(sums[key].result(tensor, scales.get(key)) for key, tensor in request.outputs.items())


def _run_uint8(interpreter: Any, request: Request, feeds: dict[str, Any]) -> list[Any]:
    """Runs a model with uint8 inputs and outputs on real numbers."""
    import numpy as np

    by_name = {detail["name"].partition(":")[0]: detail for detail in interpreter.get_input_details()}
    for item in request.inputs:
        detail = by_name[item.tensor.partition(":")[0]]
        scale, zero = detail["quantization"]
        value = feeds[item.key]
        if detail["dtype"] == np.uint8 and scale:
            value = np.clip(np.round(value / scale) + zero, 0, 255).astype(np.uint8)
        interpreter.resize_tensor_input(detail["index"], value.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    found = []
    for detail in interpreter.get_output_details():
        value = interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        found.append((value.astype(np.float32) - zero) * scale if value.dtype == np.uint8 and scale else value)
    return found
