"""What a comparison and a calibration say, for numbers that do not exist and names that nobody expects."""

from __future__ import annotations

import json

from fqrewrite.model.statistics_file import Statistics, TensorStatistics
from fqrewrite.plans.items import Note
from fqrewrite.report.calibration import calibration_text
from fqrewrite.report.comparison import comparison_json, comparison_text
from fqrewrite.run.noise import Noise
from fqrewrite.verbs.calibrate import Calibrated
from fqrewrite.verbs.compare import Compared, Comparison

EXACT = Noise(sqnr_db=None, max_error=0.0, mean_error=0.0, bias=0.0)
SILENT = Noise(sqnr_db=None, max_error=0.5, mean_error=0.1, bias=-0.1)
LOUD = Noise(sqnr_db=12.345, max_error=0.5, mean_error=0.1, bias=0.1)
MADE = Comparison(
    samples=1,
    tensors=(
        Compared(kind="activation", tensor="a\nb:0", quantized="q:0", layer=None, bits=8, noise=SILENT, own=LOUD),
        Compared(kind="output", tensor="y:0", quantized="y:0", layer=None, bits=None, noise=EXACT),
    ),
    missing=("gone:0",),
)


def test_a_comparison_as_text() -> None:
    lines = comparison_text(MADE, "a.pb", "b.pb").splitlines()
    assert lines[0] == "fqrewrite compare: a.pb, b.pb: 1 sample"
    assert lines[2].split() == ["activation", r"a\nb:0", "no", "signal", "12.3", "0.5", "0.1", "-0.1", "8"]
    assert lines[3].split() == ["output", "y:0", "exact", "0", "0", "+0", "-"]
    assert lines[4] == "not in a.pb: gone:0"
    assert lines[6] == r"worst by themselves: a\nb:0 (12.3 dB, 8 bits)"


def test_a_comparison_as_json() -> None:
    found = json.loads(comparison_json(MADE, "a.pb", "b.pb"))
    assert found["schema_version"] == 1 and (found["float"], found["quantized"]) == ("a.pb", "b.pb")
    assert [entry["noise"]["sqnr_db"] for entry in found["tensors"]] == [None, None]
    assert found["tensors"][0]["own"]["sqnr_db"] == 12.345


def test_a_calibration() -> None:
    entry = TensorStatistics(minimum=-9.0, maximum=9.5, bits=8, symmetric=False, narrow_range=False)
    statistics = Statistics(
        model="ab", method="percentile", percentile=99.9, samples=1, batches=1, tensors={"a:0": entry}
    )
    made = Calibrated(statistics=statistics, ranges={"a:0": ((-1.0,), (2.0,))}, notes=(Note(code="c", text="t"),))
    lines = calibration_text(made, "m.pb", "r.json", verbose=True).splitlines()
    assert lines == [
        "fqrewrite calibrate: m.pb -> r.json: 1 range, percentile 99.9, 1 sample in 1 batch",
        "  a:0  [-1, 2]  observed [-9, 9.5]",
        "note  c  t",
    ]
