"""What scripts/integer_tasks computes by itself: audio, keypoints, boxes, notes, and the errors of downloads."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of scripts/integer_tasks."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return lambda name: importlib.import_module(f"integer_tasks.{name}")


@pytest.mark.parametrize(("hertz", "band"), [(440, 14), (1000, 32), (4000, 74)])
def test_a_tone_is_loudest_in_its_mel_band(task: Any, hertz: float, band: int) -> None:
    """The bands by Slaney's formula: 66.7 Hz to a mel below 1 kHz, 96 bands up to 8 kHz."""
    audio = task("audio")
    tone = audio.scaled(audio.Player(16_000, 16_000).sine(hertz), 0.5)
    spectrogram = audio.log_mel(tone, rate=16_000, fft=512, hop=256, bands=96)
    assert spectrogram.shape == (63, 96)
    assert abs(int(spectrogram.mean(axis=0).argmax()) - band) <= 1


def test_a_note_has_no_harmonics_that_alias(task: Any) -> None:
    audio = task("audio")
    spectrum = np.abs(np.fft.rfft(audio.Player(8_000, 8_000).note(96, decay=0)))
    assert set(np.flatnonzero(spectrum > 0.2 * spectrum.max())) <= {2092, 2093, 2094}


def test_keypoints_are_cells_and_offsets(task: Any) -> None:
    heatmap, offsets = np.full((1, 4, 5, 2), -9.0), np.zeros((1, 4, 5, 4))
    heatmap[0, 1, 2, 0], heatmap[0, 3, 0, 1] = 5, 6
    offsets[0, 1, 2, [0, 2]], offsets[0, 3, 0, [1, 3]] = (3, -4), (-1, 2)
    points, scores = task("people").keypoints(heatmap, offsets)
    np.testing.assert_array_equal(points, [[[16 + 3, 32 - 4], [48 - 1, 2]]])
    assert scores[0, 0] == pytest.approx(1 / (1 + np.exp(-5)))


def test_boxes_stand_around_their_anchors(task: Any) -> None:
    logits = [np.full((1, 512, 1), -9.0), np.full((1, 384, 1), -9.0)]
    shapes = [np.zeros((1, 512, 16)), np.zeros((1, 384, 16))]
    # The second of six anchors in row 2, column 3 of the 8 by 8 cells of 16 pixels.
    anchor = (2 * 8 + 3) * 6 + 1
    logits[1][0, anchor], shapes[1][0, anchor, :4] = 4, (1, -2, 20, 10)
    boxes, scores = task("people").faces([*logits, *shapes])
    np.testing.assert_allclose(boxes, [[56 + 1 - 10, 40 - 2 - 5, 56 + 1 + 10, 40 - 2 + 5]])
    assert scores[0] > 0.9


def test_overlap(task: Any) -> None:
    assert task("people").union(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])) == pytest.approx(1 / 3)


def test_notes_that_are_heard(task: Any) -> None:
    transcription = task("transcription")
    activation = np.zeros((172, 88))
    activation[40:110, 69 - 21] = 0.9
    assert transcription.heard(activation) == {69}
    clip = transcription.Clip(np.zeros(1), frozenset({69, 72}))
    assert transcription.describe(activation[np.newaxis], [clip]) == "MIDI 69; 1; 0"


def test_a_package_that_cannot_be_had_is_one_message(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(task("route").StepFailed, match=r"cannot be downloaded from PyPI .*--only"):
        task("packages").unpack("musicnn==0.1.0", tmp_path)
