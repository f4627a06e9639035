"""Loudness follows the speaker: the converted voice rises and falls as the actor's does, and is as loud."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.voice.model import F32, F64
from obs_twin.voice.neural_grid import HEAR_STEP
from obs_twin.voice.spectral_synthesis import WINDOW_SAMPLES
from obs_twin.voice.statistics import RunningMoments

HEAR_WINDOW = 800  # 50 ms at 16 kHz, as long as the synthesiser's window
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(HEAR_WINDOW) / HEAR_WINDOW)).astype(np.float32)
_BINS = slice(4, 375)  # 80 to 7500 Hz, 20 Hz a bin in both spectra
_FLOOR = 1e-4

MEMORY_STEPS = 800  # 10 s of speech
PRIOR_STEPS = 4.0
PRIOR_DB = -6.0  # what the built-in voice is louder than a close microphone
FOLLOW = 0.7  # share of the difference from step to step that is made up
RISE_LIMIT_DB, FALL_LIMIT_DB = 6.0, 12.0
SPEECH_RANGE_DB = 20.0  # steps so far below the loudest of late tell of pauses, not of the voice's level


def source_levels(x: F32, count: int) -> F64:
    """Levels in dB below full scale (RMS) of ``count`` steps; ``x``, at 16 kHz, begins half a window before."""
    windows = np.lib.stride_tricks.sliding_window_view(x, HEAR_WINDOW)[::HEAR_STEP][:count]
    return _level_db(np.fft.rfft(windows * _HANN, axis=1), HEAR_WINDOW)


def spectrum_levels(spectrum: npt.NDArray[np.complex64]) -> F64:
    """The same of the synthesiser's spectra (n, 601)."""
    return _level_db(spectrum, WINDOW_SAMPLES)


def _level_db(spectrum: npt.NDArray[Any], window_samples: int) -> F64:
    """RMS level in dB of spectra (n, bins) of sound under a Hann window of so many samples."""
    part = spectrum[:, _BINS]
    power = (part.real**2 + part.imag**2).sum(axis=1, dtype=np.float64)
    # Parseval; the mean square of a Hann window is 3/8.
    return np.asarray(10 * np.log10((power + _FLOOR) * 2 / (window_samples**2 * 3 / 8)))


class LoudnessFollower:
    """Gain that makes the converted voice as loud as the actor's, learnt while they speak."""

    def __init__(self) -> None:
        self._difference = RunningMoments(np.array([PRIOR_DB]), np.zeros(1), PRIOR_STEPS, MEMORY_STEPS)
        self._loudest_db = -200.0

    def gains(self, source_db: F64, made_db: F64) -> F64:
        """Gains (n,), factors, of n steps with these levels."""
        difference = source_db - made_db
        self._loudest_db = max(float(made_db.max()), self._loudest_db - 0.05 * len(made_db))
        self._difference.add(difference[made_db > self._loudest_db - SPEECH_RANGE_DB][:, None])
        usual = float(self._difference.mean[0])
        follow = np.clip(FOLLOW * (difference - usual), -FALL_LIMIT_DB, RISE_LIMIT_DB)
        return np.asarray(10 ** ((usual + follow) / 20))
