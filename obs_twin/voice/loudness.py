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
ENERGY_SHARE = 0.7  # of the actor's own level in the decoder's energy
ENERGY_LIMITS = (-8.0, 9.0)
SPEECH_ENERGY = 2.0
ENERGY_PRIOR_STEPS = 40.0
PRIOR_SPEECH_DB, PRIOR_SPEECH_SPREAD_DB = -26.0, 6.0
PRIOR_ENERGY, PRIOR_ENERGY_SPREAD = 5.0, 1.3
PRIOR_STEPS = 4.0
PRIOR_DB = 0.0  # of a close microphone against the built-in voice
PRIOR_VOICE_DB = -22.0
MOST_GAIN_DB = 15.0
FOLLOW = 0.65  # share of the difference from step to step that is made up
RISE_LIMIT_DB, FALL_LIMIT_DB = 9.0, 12.0
FORGET_DB_PER_STEP = 0.05
SPEECH_RANGE_DB = 20.0  # steps so far below the loudest of late tell of pauses, not of the voice's level


def source_levels(x: F32, count: int) -> F64:
    """Levels in dB below full scale (RMS) of ``count`` steps; ``x``, at 16 kHz, begins half a window before.

    Steps whose window is cut off get the last level that could be measured.
    """
    windows = np.lib.stride_tricks.sliding_window_view(x, HEAR_WINDOW)[::HEAR_STEP][:count]
    levels = _level_db(np.fft.rfft(windows * _HANN, axis=1), HEAR_WINDOW)
    return np.pad(levels, (0, count - len(levels)), mode="edge")


def spectrum_levels(spectrum: npt.NDArray[np.complex64]) -> F64:
    """The same of the synthesiser's spectra (n, 601)."""
    return _level_db(spectrum, WINDOW_SAMPLES)


def _level_db(spectrum: npt.NDArray[Any], window_samples: int) -> F64:
    """RMS level in dB of spectra (n, bins) of sound under a Hann window of so many samples."""
    part = spectrum[:, _BINS]
    power = (part.real**2 + part.imag**2).sum(axis=1, dtype=np.float64)
    # Parseval; the mean square of a Hann window is 3/8.
    return np.asarray(10 * np.log10((power + _FLOOR) * 2 / (window_samples**2 * 3 / 8)))


class EnergyMap:
    """The decoder's energy, partly taken from the actor's own level.

    How loud a sound is meant to be is heard better than the adapter guesses it, so that weak syllables stay weak, and
    closures silent. The actor's level is moved to the mean and spread that the adapter's energy has in speech.
    """

    def __init__(self) -> None:
        # Of steps that are speech: the actor's level in dB, the adapter's energy.
        self._speech = RunningMoments(
            np.array([PRIOR_SPEECH_DB, PRIOR_ENERGY]),
            np.array([PRIOR_SPEECH_SPREAD_DB, PRIOR_ENERGY_SPREAD]),
            ENERGY_PRIOR_STEPS,
            MEMORY_STEPS,
        )

    def apply(self, energy: F32, source_db: F64, new: int) -> F32:
        """Energy (n,) for the decoder, of the adapter's (n,) and the actor's levels (n,); the first ``new`` of them
        have not been given before."""
        given = np.stack([source_db[:new], energy[:new].astype(float)], axis=1)
        self._speech.add(given[energy[:new] > SPEECH_ENERGY])
        (level_db, usual), (spread_db, spread) = self._speech.mean, self._speech.deviation
        of_level = (source_db - level_db) * (spread / max(float(spread_db), 1.0)) + usual
        mixed = (1 - ENERGY_SHARE) * energy + ENERGY_SHARE * np.clip(of_level, *ENERGY_LIMITS)
        return np.where(energy > 0, mixed, energy).astype(np.float32)


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
