"""A gate: what is not speech becomes silence, opened before the first sound of a word is heard."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from obs_twin.voice.frames import FRAME_S
from obs_twin.voice.model import F64

ABSOLUTE_FLOOR_DB = -58.0  # below this nothing is speech
MARGIN_DB = 7.0  # speech is at least so much above the room's noise
HIGHEST_FLOOR_DB = -34.0  # a "noise" louder than this is somebody who speaks without a pause
NOISE_WINDOW_S = 4.0
LOOKAHEAD_FRAMES = 8  # 40 ms
HOLD_FRAMES = round(0.16 / FRAME_S)
OPEN_STEP = 1 / 4  # gain per frame: open within 20 ms
CLOSE_STEP = 1 / 16  # closed within 80 ms


class SpeechGate:
    """Gain 0..1 per 5 ms frame from frame levels; the gain of a frame looks ``LOOKAHEAD_FRAMES`` ahead."""

    def __init__(self) -> None:
        self._minima: deque[float] = deque(maxlen=round(NOISE_WINDOW_S / 0.25))
        self.reset()

    def reset(self) -> None:
        self._block: list[float] = []
        self._hold = 0
        self._gain = 0.0

    @property
    def noise_db(self) -> float:
        """The room's noise as far as it is known (dB below full scale)."""
        return min(*self._minima, HIGHEST_FLOOR_DB) if self._minima else -math.inf

    def gains(self, level_db: F64, voiced: F64) -> F64:
        """Gain of the first n frames, given levels (dB) of n + LOOKAHEAD_FRAMES frames and F0 (n,) of the n.

        Each frame must be among the first n exactly once.
        """
        count = len(level_db) - LOOKAHEAD_FRAMES
        gains = np.empty(count)
        for i in range(count):
            self._learn(float(level_db[i]))
            threshold_db = max(ABSOLUTE_FLOOR_DB, self.noise_db + MARGIN_DB)
            loud = level_db[i : i + LOOKAHEAD_FRAMES + 1].max() > threshold_db
            sustained = voiced[i] > 0 and level_db[i] > threshold_db - MARGIN_DB / 2
            self._hold = HOLD_FRAMES if loud or sustained else self._hold - 1
            step = OPEN_STEP if self._hold > 0 else -CLOSE_STEP
            self._gain = min(max(self._gain + step, 0.0), 1.0)
            gains[i] = self._gain
        return gains

    def _learn(self, level_db: float) -> None:
        """Noise is the lowest level, averaged over 50 ms, of the last seconds."""
        self._block.append(level_db)
        if len(self._block) == round(0.25 / FRAME_S):
            levels = np.array(self._block).reshape(-1, 10).mean(axis=1)
            self._minima.append(float(levels.min()))
            self._block.clear()
