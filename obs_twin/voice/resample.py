"""Streaming resampling in which sample k of the output is exactly at time k / rate of the input's clock."""

from __future__ import annotations

import numba
import numpy as np

from obs_twin.voice.model import F32, F64

ZERO_CROSSINGS = 24  # of the sinc on either side, counted at the lower of the two rates
STEPS = 256  # of the kernel's table between two zero crossings
CUTOFF = 0.94  # of the lower Nyquist frequency
KAISER_BETA = 9.0  # about 90 dB


def _kernel() -> F64:
    """One side of a windowed sinc, from its middle to ZERO_CROSSINGS, and a zero behind."""
    at = np.arange(ZERO_CROSSINGS * STEPS + 1) / STEPS
    window = np.i0(KAISER_BETA * np.sqrt(1 - (at / ZERO_CROSSINGS) ** 2)) / np.i0(KAISER_BETA)
    return np.append(CUTOFF * np.sinc(CUTOFF * at) * window, 0.0)


_KERNEL = _kernel()


# No fastmath: sums in a fixed order make the result the same however the stream is cut.
@numba.njit(cache=True, nogil=True)
def _interpolate(x: F32, x_first: int, first: int, count: int, rate_in: int, rate_out: int, kernel: F64) -> F32:
    """Output samples first .. first + count of a stream of which ``x`` is the part from sample ``x_first`` on."""
    scale = min(1.0, rate_out / rate_in)
    reach = ZERO_CROSSINGS / scale
    y = np.empty(count, np.float32)
    for i in range(count):
        whole, rest = divmod((first + i) * rate_in, rate_out)
        fraction = rest / rate_out
        middle = whole - x_first
        low = max(middle + int(np.ceil(fraction - reach)), 0)
        high = min(middle + int(np.floor(fraction + reach)), len(x) - 1)
        total = 0.0
        for j in range(low, high + 1):
            at = abs((j - middle) - fraction) * scale * STEPS
            index = int(at)
            share = at - index
            total += x[j] * (kernel[index] * (1 - share) + kernel[index + 1] * share)
        y[i] = total * scale
    return y


class AlignedResampler:
    """Windowed-sinc interpolation of a stream (Smith 1984): no offset, no drift, however it is cut.

    Positions are exact ratios of integers. An output sample is given as soon as ``delay_s`` more input has come.
    After ``flush`` exactly round(n * rate_out / rate_in) samples were given for n.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self._rate_in = rate_in_hz
        self._rate_out = rate_out_hz
        self._reach = int(np.ceil(ZERO_CROSSINGS * max(1.0, rate_in_hz / rate_out_hz)))
        self.reset()

    @property
    def delay_s(self) -> float:
        return (self._reach + 1) / self._rate_in

    def reset(self) -> None:
        self._x = np.zeros(0, np.float32)
        self._x_first = 0
        self._taken = 0
        self._given = 0

    def push(self, x: F32) -> F32:
        """Take (N,) samples, return the (M,) samples that are ready."""
        if self._rate_in == self._rate_out:
            return x
        self._taken += len(x)
        self._x = np.concatenate([self._x, x])
        # Sample k lies at k * in / out, and needs all up to its reach.
        return self._give(-(-(self._taken - self._reach) * self._rate_out // self._rate_in))

    def flush(self) -> F32:
        """Return the rest and start afresh."""
        y = self._give(round(self._taken * self._rate_out / self._rate_in))
        self.reset()
        return y

    def _give(self, upto: int) -> F32:
        count = max(upto - self._given, 0)
        y = _interpolate(self._x, self._x_first, self._given, count, self._rate_in, self._rate_out, _KERNEL)
        self._given += count
        drop = self._given * self._rate_in // self._rate_out - self._reach - self._x_first
        if drop > 0:
            self._x = self._x[drop:]
            self._x_first += drop
        return y
