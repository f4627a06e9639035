"""What every converter does around its own work: change the rate there and back, and give sample k for sample k."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.resample import AlignedResampler

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 8_000, 192_000

Work = Callable[[F32], F32]
"""Takes samples at the rate that a converter hears, returns the finished ones at the rate that it makes."""


def check_rate(sample_rate_hz: int) -> None:
    """Raise ``VoiceModelError`` for a stream's rate that no converter serves."""
    if not LOWEST_RATE_HZ <= sample_rate_hz <= HIGHEST_RATE_HZ:
        raise VoiceModelError(
            f"a sample rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz is needed, not {sample_rate_hz}"
        )


class AlignedStream:
    """One stream of ``rate_hz`` through a converter that hears ``hear_rate_hz`` and makes ``make_rate_hz``."""

    def __init__(self, rate_hz: int, hear_rate_hz: int, make_rate_hz: int) -> None:
        self._to_work = AlignedResampler(rate_hz, hear_rate_hz)
        self._from_work = AlignedResampler(make_rate_hz, rate_hz)
        self._taken = self._given = 0  # at the stream's rate

    @property
    def delay_s(self) -> float:
        """What resampling there and back holds back."""
        return self._to_work.delay_s + self._from_work.delay_s

    def reset(self) -> None:
        """Forget the samples not yet given."""
        self._to_work.reset()
        self._from_work.reset()
        self._taken = self._given = 0

    def push(self, x: F32, work: Work) -> F32:
        """Take (N,) samples, whatever they are; return the finished ones, in -1..1."""
        x = np.clip(np.nan_to_num(np.asarray(x, np.float32).reshape(-1)), -1.0, 1.0)
        self._taken += len(x)
        # Resampling may overshoot what was limited before.
        y = np.clip(self._from_work.push(work(self._to_work.push(x))), -1.0, 1.0)[: self._taken - self._given]
        self._given += len(y)
        return y

    def flush(self, silence: int, work: Work) -> F32:
        """Return all samples still owed. ``silence`` samples at the rate heard let the last ones ring out."""
        made = [work(self._to_work.flush()), work(np.zeros(silence, np.float32))]
        sound = self._from_work.push(np.concatenate(made))
        sound = np.clip(np.concatenate([sound, self._from_work.flush()]), -1.0, 1.0)
        due = self._taken - self._given
        return sound[:due] if len(sound) >= due else np.pad(sound, (0, due - len(sound)))
