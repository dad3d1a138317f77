"""Statistics batch by batch, and of several runs together."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from fqrewrite.errors import InputError
from fqrewrite.model.statistics_file import Method, Statistics
from fqrewrite.run.measure import Meter, Wanted, merged

WANTED = Wanted(tensor="x:0", bits=8, symmetric=False, narrow_range=False, decay=0.8)
BATCHES = [np.random.RandomState(seed).normal(seed, 2, (4, 5)).astype(np.float32) for seed in range(7)]


def run(batches: list[Any], method: Method, model: str = "m") -> Statistics:
    meter = Meter(WANTED, method)
    for batch in batches:
        meter.add(batch, "sample 0")
    entry = meter.record()
    assert entry is not None
    return Statistics(
        model=model, method=method, samples=4 * len(batches), batches=len(batches), tensors={"x:0": entry}
    )


@pytest.mark.parametrize("method", ["min-max", "percentile", "mse", "entropy"])
def test_parts_give_the_whole(method: Method) -> None:
    parts = [("a", run(BATCHES[:2], method)), ("b", run(BATCHES[2:3], method)), ("c", run(BATCHES[3:], method))]
    assert merged(parts) == run(BATCHES, method) == merged(parts[::-1])
    assert merged(parts[:1]) == parts[0][1]


def test_moving_averages() -> None:
    low, high = 0.0, 0.0
    for batch in BATCHES:
        low += 0.2 * (float(batch.min()) - low)
        high += 0.2 * (float(batch.max()) - high)
    whole = run(BATCHES, "moving-average").tensors["x:0"].average
    assert whole is not None and (whole.low, whole.high) == pytest.approx((low, high)) and whole.steps == 7
    parts = [("a", run(BATCHES[:3], "moving-average")), ("b", run(BATCHES[3:], "moving-average"))]
    together = merged(parts).tensors["x:0"].average
    assert together is not None and together.steps == 7
    assert (together.low, together.high) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_without_a_range(bad: float) -> None:
    meter = Meter(WANTED, "min-max")
    values = BATCHES[0].copy()
    values[2, 2] = bad
    with pytest.raises(InputError, match="sample 8 to 15") as caught:
        meter.add(values, "sample 8 to 15")
    assert caught.value.code == "tensor-not-finite" and caught.value.where == "x:0"


def test_empty_tensors_say_nothing() -> None:
    meter = Meter(WANTED, "min-max")
    meter.add(np.zeros((0, 4), np.float32), "sample 0")
    assert meter.record() is None


def test_what_does_not_belong_together() -> None:
    one = run(BATCHES, "mse")
    entry = one.tensors["x:0"]
    others = {
        "another model": run(BATCHES, "mse", "n"),
        "the first is y:0": msgspec.structs.replace(one, tensors={"x:0": entry, "y:0": entry}),
        "another scheme": msgspec.structs.replace(one, tensors={"x:0": msgspec.structs.replace(entry, bits=4)}),
        "decay or method": run(BATCHES, "min-max"),
    }
    for words, other in others.items():
        with pytest.raises(InputError, match=words) as caught:
            merged([("a", one), ("b", other)])
        assert caught.value.code == "statistics-differ" and caught.value.where == "b"


def test_a_damaged_histogram() -> None:
    one = run(BATCHES, "mse")
    entry = one.tensors["x:0"]
    assert entry.histogram is not None
    histogram = msgspec.structs.replace(entry.histogram, first=99_999)
    bad = msgspec.structs.replace(one, tensors={"x:0": msgspec.structs.replace(entry, histogram=histogram)})
    with pytest.raises(InputError, match="damaged") as caught:
        merged([("a", one), ("b", bad)])
    assert caught.value.code == "ranges-unreadable"
