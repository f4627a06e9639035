"""What an ear trained on many people makes of a window of sound: features of Whisper base's encoder, at 40 Hz.

    (N,) at 16 kHz -> log mel, 100 Hz -> Whisper's encoder, 50 Hz: after layer 3 and at the end -> (N // 400, 1024)

The encoder attends to all of its window, so what it says of a frame depends on where the window begins and ends. The
adapter has been trained on windows that begin and end anywhere.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from obs_twin.voice.model import F32
from obs_twin.voice.neural_grid import FRAME_S, HEAR_FRAME, HEAR_RATE_HZ
from obs_twin.voice.sessions import open_session

ENCODER = "whisper_taps"
"""Its name among the derived models."""
TAPS = ("layer_3", "last")
TAP_WIDTH = 512
FEATURE_WIDTH = TAP_WIDTH * len(TAPS)
TAP_HOP_S = 0.02
MELS, MEL_HOP, MEL_WINDOW = 80, 160, 400
LEAST_SAMPLES = 3 * HEAR_FRAME


class Ear:
    """Opens Whisper's encoder. Raises ``ModelError`` when it cannot be opened."""

    def __init__(self, encoder: Path) -> None:
        self._encoder = open_session(encoder)

    @property
    def provider(self) -> str:
        return self._encoder.provider

    def features(self, x: F32) -> F32:
        """(N // 400, 1024) features of (N,) samples in -1..1 at 16 kHz, N at least 1,200."""
        taps = self._encoder.run({"mel": log_mel(x)}, TAPS)
        return at_frames(np.concatenate([tap[0] for tap in taps], axis=1), len(x) // HEAR_FRAME)


def log_mel(x: F32) -> F32:
    """(1, 80, N // 160) log mel spectrum of (N,) samples at 16 kHz, N over 200, as Whisper was trained on."""
    padded = np.pad(x, MEL_WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEL_WINDOW)[::MEL_HOP][: len(x) // MEL_HOP]
    filters, hann = _filters()
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    levels = np.log10(np.maximum(filters @ power.T.astype(np.float32), 1e-10))
    return np.asarray((np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0, np.float32)[None]


@lru_cache(maxsize=1)
def _filters() -> tuple[F32, F32]:
    """Triangles of equal area on Slaney's mel scale (Auditory Toolbox, 1998), (80, 201); and the window, (400,)."""
    step, knee_hz = 200.0 / 3.0, 1000.0
    octave = np.log(6.4) / 27.0
    knee = knee_hz / step
    top = knee + np.log(HEAR_RATE_HZ / 2 / knee_hz) / octave
    mels = np.linspace(0.0, top, MELS + 2)
    edges = np.where(mels < knee, mels * step, knee_hz * np.exp(octave * (mels - knee)))
    bins = np.linspace(0.0, HEAR_RATE_HZ / 2, MEL_WINDOW // 2 + 1)
    low, middle, high = (edges[k : k + MELS, None] for k in range(3))
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    filters = np.maximum(triangles, 0.0) * 2.0 / (high - low)
    return filters.astype(np.float32), np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32)


def at_frames(taps: F32, count: int) -> F32:
    """Tap frames (n, width), the first one centred at 0 s, interpolated at the middles of frames 0 to ``count``."""
    at = np.minimum((np.arange(count) + 0.5) * (FRAME_S / TAP_HOP_S), len(taps) - 1.0)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, len(taps) - 1)
    weight = (at - low).astype(np.float32)[:, None]
    return np.asarray(taps[low] * (1 - weight) + taps[high] * weight, np.float32)
