"""Streaming resampling in which sample k of the output is exactly at time k / rate of the input's clock."""

from __future__ import annotations

import numpy as np
import soxr

from obs_twin.voice.model import F32


class AlignedResampler:
    """soxr as a stream: no offset and no drift, and after ``flush`` exactly round(n * out / in) samples.

    soxr takes its filter's delay off the start of a stream, so outputs are in place and merely come late, by at
    most ``delay_s``.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self.rate_in_hz = rate_in_hz
        self.rate_out_hz = rate_out_hz
        self.reset()

    def reset(self) -> None:
        self._same = self.rate_in_hz == self.rate_out_hz
        self._stream = (
            None if self._same else soxr.ResampleStream(self.rate_in_hz, self.rate_out_hz, 1, "float32", "HQ")
        )
        self._taken = 0
        self._given = 0

    def push(self, x: F32) -> F32:
        """Take (N,) samples, return the (M,) samples that are ready."""
        self._taken += len(x)
        if self._stream is None:
            return x
        y = np.asarray(self._stream.resample_chunk(x), np.float32)
        self._given += len(y)
        return y

    def flush(self) -> F32:
        """Return the rest and start afresh."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        y = np.asarray(self._stream.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)
        due = round(self._taken * self.rate_out_hz / self.rate_in_hz) - self._given
        self.reset()
        return y[:due] if len(y) >= due else np.pad(y, (0, due - len(y)))
