"""How much of the actor's delivery is left: pitch and loudness over time, and what silence is left of silence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.voice import pitch
from obs_twin.voice.frames import WORK_RATE_HZ
from obs_twin.voice.model import F64

FRAME_S = 0.005
ENVELOPE_HOP_S = 0.01
ENVELOPE_WINDOW_S = 0.03
ENVELOPE_FLOOR_DB = -50.0
"""Below the loudest 10 ms: what lies under it is silence to a listener beside the speech."""
MOST_LAG_S = 0.06
LEVEL_WINDOW_S = 0.4
LEVEL_HOP_S = 0.1
SILENCE_DBFS = -120.0
FEWEST_FRAMES = 20


@dataclass(frozen=True)
class Contours:
    """The pitch (T,) in Hz, 0 where unvoiced, every 5 ms, and the loudness (U,) in dBFS, every 10 ms."""

    f0_hz: F64
    level_db: F64


def contours(x: npt.NDArray[np.floating], sample_rate_hz: int) -> Contours:
    """Pitch and loudness of (N,) mono samples."""
    sound = np.asarray(x, np.float64)
    at_work_rate = soxr.resample(sound, sample_rate_hz, WORK_RATE_HZ) if sample_rate_hz != WORK_RATE_HZ else sound
    f0_hz = pitch.track(at_work_rate, 0.0, int(len(sound) / sample_rate_hz / FRAME_S))
    return Contours(f0_hz, _level(sound, sample_rate_hz, ENVELOPE_WINDOW_S, ENVELOPE_HOP_S))


def f0_correlation(a: Contours, b: Contours) -> float:
    """Pearson correlation of the log pitches where both are voiced; NaN if that is less than 0.1 s.

    Octave jumps of the tracker (a third or more of an octave from the median of the ratio) are left out if they are
    few (10 %), because they are its error and not the voice's.
    """
    n = min(len(a.f0_hz), len(b.f0_hz))
    both = (a.f0_hz[:n] > 0) & (b.f0_hz[:n] > 0)
    if both.sum() < FEWEST_FRAMES:
        return float("nan")
    log_a, log_b = np.log2(a.f0_hz[:n][both]), np.log2(b.f0_hz[:n][both])
    jump = np.abs((log_b - log_a) - np.median(log_b - log_a)) > 0.75
    if jump.mean() <= 0.1:
        log_a, log_b = log_a[~jump], log_b[~jump]
    return _pearson(log_a, log_b)


def envelope_correlation(a: Contours, b: Contours) -> float:
    """Pearson correlation of the loudness in dB, floored 50 dB under the loudest, at the best lag of +-60 ms."""
    n = min(len(a.level_db), len(b.level_db))
    if n < FEWEST_FRAMES:
        return float("nan")
    x, y = (np.maximum(c.level_db[:n], c.level_db[:n].max() + ENVELOPE_FLOOR_DB) for c in (a, b))
    reach = round(MOST_LAG_S / ENVELOPE_HOP_S)
    lags = range(-reach, reach + 1)
    return max(_pearson(x[max(0, -lag) : n - max(0, lag)], y[max(0, lag) : n - max(0, -lag)]) for lag in lags)


def loudest_dbfs(x: npt.NDArray[np.floating], sample_rate_hz: int) -> float:
    """RMS level of the loudest 0.4 s, in dB of full scale; -120 for true silence. For clips that should be silent."""
    return float(
        _level(np.asarray(x, np.float64), sample_rate_hz, LEVEL_WINDOW_S, LEVEL_HOP_S).max(initial=SILENCE_DBFS)
    )


def _level(sound: F64, sample_rate_hz: int, window_s: float, hop_s: float) -> F64:
    window, hop = max(1, round(window_s * sample_rate_hz)), max(1, round(hop_s * sample_rate_hz))
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound))])
    first = np.arange(0, max(1, len(sound)), hop)
    last = np.minimum(first + window, len(sound))
    mean = (energy[last] - energy[first]) / np.maximum(1, last - first)
    level: F64 = 10 * np.log10(np.maximum(mean, 10 ** (SILENCE_DBFS / 10)))
    return level


def _pearson(x: F64, y: F64) -> float:
    if len(x) < 2 or x.std() < 1e-9 or y.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
