"""Made-up music, and the log-mel spectrogram that musicnn computes with librosa, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Signal: TypeAlias = NDArray[np.float64]


class Player:
    """Plays clips of one length.

    Args:
        rate: samples per second.
        samples: of every clip.
    """

    def __init__(self, rate: int, samples: int) -> None:
        self._rate = rate
        self._time = np.arange(samples) / rate
        self._random = np.random.RandomState(0)

    def sine(self, hertz: float) -> Signal:
        wave: Signal = np.sin(2 * np.pi * hertz * self._time)
        return wave

    def note(self, midi: float, *, decay: float = 1.0, harmonics: int = 6) -> Signal:
        """A string-like tone: harmonics that are the weaker and fade the faster the higher they are."""
        hertz = frequency(midi)
        waves = [
            self.sine(hertz * k) / k * np.exp(-decay * k * self._time)
            for k in range(1, harmonics)
            if hertz * k < self._rate / 2
        ]
        tone: Signal = np.sum(waves, axis=0)
        return tone

    def chord(self, notes: Sequence[float], *, decay: float = 1.0) -> Signal:
        tones: Signal = np.sum([self.note(midi, decay=decay) for midi in notes], axis=0)
        return tones

    def melody(self, notes: Sequence[float], seconds: float = 0.25, *, decay: float = 2.0) -> Signal:
        """The notes in turn, over and over."""
        played = np.zeros_like(self._time)
        for index, start in enumerate(range(0, len(played), int(seconds * self._rate))):
            played[start:] += self.note(notes[index % len(notes)], decay=decay)[: len(played) - start]
        return played

    def drums(self, beats_per_minute: float) -> Signal:
        """Low thumps on the beat, clicks of noise between."""
        played = np.zeros_like(self._time)
        for index, start in enumerate(range(0, len(played), int(30 / beats_per_minute * self._rate))):
            size = min(self._rate // 8, len(played) - start)
            fade = np.exp(-np.arange(size) / (0.02 * self._rate))
            click = self._random.randn(size) if index % 2 else 2 * np.sin(2 * np.pi * 60 * self._time[:size])
            played[start : start + size] += fade * click
        return played

    def noise(self) -> Signal:
        sound: Signal = self._random.randn(len(self._time))
        return sound

    def delayed(self, signal: Signal, seconds: float) -> Signal:
        """The signal after a silence, cut to the clip's length."""
        start = int(seconds * self._rate)
        return np.concatenate([np.zeros(start), signal[: len(signal) - start]])


def frequency(midi: float) -> float:
    """In Hz: 440 for the note 69."""
    return float(440 * 2 ** ((midi - 69) / 12))


def scaled(signal: Signal, peak: float) -> NDArray[np.float32]:
    quiet: NDArray[np.float32] = (peak * signal / np.abs(signal).max()).astype(np.float32)
    return quiet


def log_mel(signal: NDArray[Any], *, rate: int, fft: int, hop: int, bands: int) -> NDArray[np.float32]:
    """log10(10000 * mel power + 1), float32[frames, bands], as musicnn's extractor.py has it.

    librosa's defaults: a periodic Hann window, frames centred in a signal padded with zeros, Slaney's mel scale and
    area-normalised triangles.
    """
    padded = np.pad(signal, fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft)[::hop]
    window = np.hanning(fft + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    mel = (power @ _mel_filters(rate, fft, bands).T).astype(np.float16).astype(np.float32)
    logarithm: NDArray[np.float32] = np.log10(10000 * mel + 1).astype(np.float32)
    return logarithm


def _mel_filters(rate: int, fft: int, bands: int) -> Signal:
    """float64[bands, fft // 2 + 1]."""
    knee, slope, step = 15.0, 200 / 3, np.log(6.4) / 27
    top = knee + np.log(rate / 2 / (knee * slope)) / step
    mels = np.linspace(0, top, bands + 2)
    edges = np.where(mels < knee, slope * mels, knee * slope * np.exp(step * (mels - knee)))
    distance = edges[:, np.newaxis] - np.linspace(0, rate / 2, fft // 2 + 1)
    width = np.diff(edges)[:, np.newaxis]
    triangles = np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]))
    filters: Signal = triangles * (2 / (edges[2:] - edges[:-2]))[:, np.newaxis]
    return filters
