"""Up to which frequency recordings hold anything of a voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from obs_twin.voice.model import F32
from obs_twin.voice.neural_grid import MAKE_RATE_HZ

WINDOW = 1024
BAND_HZ = 250.0
FALL_DB = 62.0
"""So far below its strongest band even the hiss of an s does not fall; what a codec cut off does."""


def bandwidth_hz(sounds: Sequence[F32]) -> float:
    """The upper end, in Hz, of what is in sounds at 24 kHz; at most 12 000."""
    frames = [
        np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[:: WINDOW // 2]
        for sound in sounds
        if len(sound) >= WINDOW
    ]
    if not frames:
        return MAKE_RATE_HZ / 2
    rows = np.concatenate(frames)
    power = np.abs(np.fft.rfft(rows * np.hanning(WINDOW), axis=1)) ** 2
    bins = int(BAND_HZ / (MAKE_RATE_HZ / WINDOW))
    bands = power[:, : power.shape[1] // bins * bins].reshape(len(power), -1, bins).mean(axis=2)
    # Each band where it is strongest: the high ones are, in hisses.
    strongest = 10 * np.log10(np.quantile(bands, 0.98, axis=0) + 1e-12)
    held = np.nonzero(strongest > strongest.max() - FALL_DB)[0]
    return float((held[-1] + 1) * bins * MAKE_RATE_HZ / WINDOW) if len(held) else 0.0
