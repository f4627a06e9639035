"""The grid on which voices are analysed: 24 kHz, one frame each 5 ms, spectra of 1024 points."""

from __future__ import annotations

WORK_RATE_HZ = 24_000
FRAME_HOP = 120
FRAME_S = FRAME_HOP / WORK_RATE_HZ
FFT_SIZE = 1024
BINS = FFT_SIZE // 2 + 1
