"""musicnn 0.1.0: which tags four nets give to made-up music."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import try_musicnn

from integer_tasks.audio import Player, log_mel, scaled
from integer_tasks.packages import unpack
from integer_tasks.route import Array, Result, make_integer, run_integer

RATE, FFT, HOP, BANDS, FRAMES = 16_000, 512, 256, 96, 187
PLACEHOLDER = try_musicnn.INPUT.removesuffix(":0")
FOR_CALIBRATION = 24
TAGS = 3


def results(folder: Path, package: Path | None) -> Iterator[Result]:
    """A row for each net.

    Args:
        folder: to work in.
        package: the unzipped wheel's folder with MTT_musicnn etc.; None: download it.
    """
    package = package or unpack(try_musicnn.PACKAGE, folder) / "musicnn"
    clips = music()
    calibration, test = {PLACEHOLDER: clips[:FOR_CALIBRATION]}, clips[FOR_CALIBRATION:]
    for net, logits in try_musicnn.NETS.items():
        print(f"\nmusicnn {net}", flush=True)
        model = make_integer(package / net, net, calibration, folder, method="mse")
        (wanted,) = try_musicnn.run_original(package / net, [logits], test)
        (found,) = run_integer(model, {PLACEHOLDER: test})
        wanted, found = sigmoid(wanted), sigmoid(found)
        shared = [len(set(a) & set(b)) / TAGS for a, b in zip(best(wanted), best(found), strict=True)]
        task = f"first tag; {TAGS} first tags; mean error of the tags' probabilities ({len(test)} clips)"
        first = 100 * np.mean(wanted.argmax(axis=1) == found.argmax(axis=1))
        integer = f"{first:.0f} % the same; {100 * np.mean(shared):.0f} %; {np.abs(found - wanted).mean():.4f}"
        yield model.result(f"musicnn {net}", task, f"mean {wanted.mean():.4f}", integer)


def music() -> Array:
    """Log-mel spectrograms of 3 s clips of 14 kinds at 3 loudnesses, shuffled: float32[42, 187, 96]."""
    play = Player(RATE, FRAMES * HOP)
    kinds = [
        play.sine(440),
        play.note(57),
        play.note(81, decay=0.2),
        play.chord((60, 64, 67)),
        play.chord((48, 55, 60, 63), decay=0.3),
        play.melody((60, 64, 67, 72)),
        play.melody((72, 76, 79, 84), decay=6),
        play.drums(90),
        play.drums(140),
        play.drums(120) + play.chord((36, 43), decay=0.5),
        0.3 * play.noise(),
        0.05 * play.noise() + play.melody((57, 60, 64)),
        0.5 * np.sign(play.sine(110)) + play.drums(128),
        play.melody((40, 40, 43, 45), 0.125, decay=1) + play.drums(150),
    ]
    clips = [
        log_mel(scaled(kind, peak), rate=RATE, fft=FFT, hop=HOP, bands=BANDS)[:FRAMES]
        for peak in (0.1, 0.5, 0.9)
        for kind in kinds
    ]
    return np.array(clips)[np.random.RandomState(0).permutation(len(clips))]


def sigmoid(logits: Array) -> Array:
    probabilities: Array = 1 / (1 + np.exp(-logits))
    return probabilities


def best(probabilities: Array) -> Array:
    """int64[clips, TAGS]."""
    return np.argsort(-probabilities, axis=1)[:, :TAGS]
