"""basic-pitch 0.4.0: which notes the net hears in made-up tones and chords. 440 Hz must give MIDI 69."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from integer_tasks.audio import Player, scaled
from integer_tasks.packages import unpack
from integer_tasks.route import PRESET, Array, Feeds, Result, make_integer, run_integer

tf1 = tf.compat.v1

PACKAGE = "basic-pitch==0.4.0"
SAVED_MODEL = Path("basic_pitch", "saved_models", "icassp_2022", "nmp")
PLACEHOLDER = "serving_default_input_2"
NOTE = 1
"""Which of the outputs contour, note and onset."""
RATE, SAMPLES, LOWEST_NOTE = 22_050, 43_844, 21
SILENCE = 0.25
HEARD = 0.3
"""A note is heard when its mean activation while it sounds is above this; basic-pitch's frame threshold."""
SOUNDING = slice(30, 120)
"""Frames, 86 per second."""

FLOAT_FRONT = """\
version: 1
preset: tflite-int8
rules:
  - match: "regex:.*/(cq_t2010v2_1|normalized_log_1|flatten_audio_ch_1)/.*"
    quantize: false
    because: "a spectrogram and its logarithm span more than 8 bits hold"
  - {match: serving_default_input_2, quantize: false, because: "read by the spectrogram alone"}
"""


class Clip(NamedTuple):
    """Audio float32[SAMPLES, 1] and the notes in it."""

    audio: Array
    notes: frozenset[int]


def results(folder: Path, package: Path | None) -> Iterator[Result]:
    """Two rows: all in integers, and with the spectrogram in front of the net in float.

    Args:
        folder: to work in.
        package: the unzipped wheel; None: download it.
    """
    saved_model = (package or unpack(PACKAGE, folder)) / SAVED_MODEL
    (folder / "float_front.yaml").write_text(FLOAT_FRONT, encoding="utf-8")
    practice, test = clips(range(40, 88, 4), range(41, 80, 6), 4), clips(range(45, 85, 5), range(48, 76, 7), 3)
    test = [Clip(recording(lambda play: play.sine(440)), frozenset({69})), *test]
    feeds = {PLACEHOLDER: np.stack([clip.audio for clip in test])}
    wanted = run_signature(saved_model, feeds)
    variants: tuple[tuple[str, Sequence[object]], ...] = (
        ("basic-pitch", PRESET),
        ("basic-pitch, spectrogram in float", ("--config", "float_front.yaml")),
    )
    for index, (title, settings) in enumerate(variants):
        print(f"\n{title}", flush=True)
        model = make_integer(
            saved_model,
            f"basic_pitch_{index}",
            {PLACEHOLDER: np.stack([clip.audio for clip in practice])},
            folder,
            settings=settings,
            batch=1,
        )
        found = run_integer(model, feeds)
        task = f"440 Hz; notes found of {sum(len(clip.notes) for clip in test)}; others; mean error of the activations"
        error = np.mean([np.abs(a - b).mean() for a, b in zip(found, wanted, strict=True)])
        yield model.result(title, task, describe(wanted[NOTE], test), f"{describe(found[NOTE], test)}; {error:.4f}")


def run_signature(saved_model: Path, feeds: Feeds) -> list[Array]:
    """What a SavedModel gives for clips, by output key in the order of the alphabet, one clip at a time."""
    with tf.Graph().as_default(), tf1.Session() as session:
        signature = tf1.saved_model.load(session, ["serve"], str(saved_model)).signature_def["serving_default"]
        tensors = [signature.outputs[key].name for key in sorted(signature.outputs)]
        (audio,) = feeds.values()
        parts = [session.run(tensors, {f"{PLACEHOLDER}:0": clip[np.newaxis]}) for clip in audio]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def clips(tones: Sequence[int], roots: Sequence[int], third: int) -> list[Clip]:
    """Single notes, and triads of a root, a third and a fifth."""
    chords = [(note,) for note in tones] + [(root, root + third, root + 7) for root in roots]
    return [Clip(recording(lambda play, chord=chord: play.chord(chord)), frozenset(chord)) for chord in chords]


def recording(playing: Any) -> Array:
    play = Player(RATE, SAMPLES)
    return scaled(play.delayed(playing(play), SILENCE), 0.6)[:, np.newaxis]


def heard(activation: Array) -> frozenset[int]:
    """The MIDI notes in float32[frames, 88]."""
    loudness = activation[SOUNDING].mean(axis=0)
    return frozenset(int(index) + LOWEST_NOTE for index in np.flatnonzero(loudness > HEARD))


def describe(activations: Array, test: Sequence[Clip]) -> str:
    """`MIDI 69; FOUND; OTHERS` of the activations float32[clips, frames, 88]; the first clip is 440 Hz."""
    found = [heard(activation) for activation in activations]
    right = sum(len(clip.notes & notes) for clip, notes in zip(test, found, strict=True))
    wrong = sum(len(notes - clip.notes) for clip, notes in zip(test, found, strict=True))
    first = "+".join(map(str, sorted(found[0]))) or "nothing"
    return f"MIDI {first}; {right}; {wrong}"
