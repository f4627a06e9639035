"""Loudness follows the speaker: the converted voice rises and falls as the actor's does, and is as loud."""

from __future__ import annotations

import math
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
PRIOR_DB = 0.0  # of a close microphone against the built-in voice
PRIOR_VOICE_DB = -22.0
MOST_GAIN_DB = 15.0
FOLLOW = 0.65  # share of the difference from step to step that is made up
RISE_LIMIT_DB, FALL_LIMIT_DB = 9.0, 12.0
FORGET_DB_PER_STEP = 0.05
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
    """Gain that makes the converted voice as loud as the actor's, learnt while they speak.

    The usual difference between the two is made up whole, so that the voice as a whole is as loud as the actor's; what
    a step differs from that only by the share ``FOLLOW``, because each sound has its own loudness in each voice.
    """

    def __init__(self) -> None:
        self._difference_db = RunningMoments(np.array([PRIOR_DB]), np.zeros(1), PRIOR_STEPS, MEMORY_STEPS)
        # Mean powers of the actor, and of the voice once it has followed.
        prior = 10 ** (np.array([PRIOR_VOICE_DB + PRIOR_DB, PRIOR_VOICE_DB]) / 10)
        self._powers = RunningMoments(prior, np.zeros(2), PRIOR_STEPS, MEMORY_STEPS)
        self._loudest_db = -200.0

    def gains(self, source_db: F64, made_db: F64) -> F64:
        """Gains (n,), factors, of n steps with these levels."""
        difference_db = source_db - made_db
        self._loudest_db = max(float(made_db.max()), self._loudest_db - FORGET_DB_PER_STEP * len(made_db))
        speech = made_db > self._loudest_db - SPEECH_RANGE_DB
        self._difference_db.add(difference_db[speech][:, None])
        usual_db = float(self._difference_db.mean[0])
        follow_db = np.clip(FOLLOW * (difference_db - usual_db), -FALL_LIMIT_DB, RISE_LIMIT_DB)
        powers = np.stack([source_db, made_db + follow_db], axis=1)[speech]
        self._powers.add(10 ** (powers / 10))
        level = self._powers.mean
        whole_db = min(10 * math.log10(level[0] / level[1]), MOST_GAIN_DB)
        return np.asarray(10 ** ((whole_db + follow_db) / 20))
