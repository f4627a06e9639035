"""Continuous synthesis from F0, envelope and aperiodicity: one filtered pulse and one burst of noise per period.

The method is that of WORLD's synthesis (Morise et al. 2016), made continuous: the phase of the pulse train, the
last frame, the noise and the tails of the responses are carried from one call to the next, so that the sound
does not depend on how it was cut.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from obs_twin.voice.envelope import ENVELOPE_FLOOR
from obs_twin.voice.frames import BINS, FFT_SIZE, FRAME_HOP, WORK_RATE_HZ
from obs_twin.voice.model import F64

UNVOICED_RATE_HZ = 400.0  # bursts of noise per second where there is no pitch
_FREQUENCY = np.arange(BINS) / FFT_SIZE


class PulseSynthesiser:
    """Sound of frames each 5 ms at 24 kHz. Output sample 0 is at the time of the first frame pushed."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(1)
        self.reset()

    def reset(self) -> None:
        self._frame: tuple[float, F64, F64] | None = None  # the last one: F0, log envelope, aperiodicity
        self._phase = 1.0  # of the pulse train at the next sample; a pulse is due at 1
        self._tail = np.zeros(FFT_SIZE)

    def rest(self) -> None:
        """Go on from silence: as if silent frames had been pushed and had rung out."""
        self._frame = (0.0, np.full(BINS, math.log(ENVELOPE_FLOOR)), np.ones(BINS))
        self._phase = 1.0
        self._tail = np.zeros(FFT_SIZE)

    def push(self, f0_hz: F64, log_envelope: F64, aperiodicity: F64) -> F64:
        """Take n frames: F0 (n,), log power (n, BINS), aperiodicity (n, BINS); return the samples between them.

        From the frame before to the last of these: n * FRAME_HOP samples, or one hop less for the first call.
        """
        if self._frame is not None:
            f0_hz = np.concatenate([[self._frame[0]], f0_hz])
            log_envelope = np.concatenate([self._frame[1][None], log_envelope])
            aperiodicity = np.concatenate([self._frame[2][None], aperiodicity])
        self._frame = (float(f0_hz[-1]), log_envelope[-1], aperiodicity[-1])
        count = (len(f0_hz) - 1) * FRAME_HOP
        sound = np.zeros(count + FFT_SIZE)
        sound[:FFT_SIZE] = self._tail
        position, period, voiced = self._pulses(f0_hz, count)
        if len(position):
            whole = position.astype(np.intp)
            responses = self._responses(position, period, voiced, log_envelope, aperiodicity)
            for start, response in zip(whole.tolist(), responses, strict=True):
                sound[start : start + FFT_SIZE] += response
        self._tail = sound[count:]
        return sound[:count]

    def _pulses(self, f0_hz: F64, count: int) -> tuple[F64, F64, npt.NDArray[np.bool_]]:
        """Times (samples, fractional), periods (samples) and voicing of the pulses in ``count`` samples."""
        if count == 0:
            return np.zeros(0), np.zeros(0), np.zeros(0, bool)
        # Voiced from half-way between an unvoiced and a voiced frame; the pitch itself is not interpolated there.
        at = np.arange(count) / FRAME_HOP
        low = at.astype(np.intp)
        weight = at - low
        a, b = f0_hz[low], f0_hz[low + 1]
        both = (a > 0) & (b > 0)
        rate = np.where(both, a * (1 - weight) + b * weight, np.where(weight < 0.5, a, b))
        voiced = rate > 0
        rate = np.where(voiced, rate, UNVOICED_RATE_HZ)
        phase = self._phase + np.concatenate([[0.0], np.cumsum(rate) / WORK_RATE_HZ])
        turns = np.floor(phase)
        index = np.flatnonzero(turns[1:] > turns[:-1]) + 1  # a pulse between samples index - 1 and index
        index_low = index - 1
        step = rate[index_low] / WORK_RATE_HZ
        position = index_low + (turns[index] - phase[index_low]) / step
        self._phase = float(phase[-1] % 1.0)
        return position, WORK_RATE_HZ / rate[index_low], voiced[index_low]

    def _responses(
        self,
        position: F64,
        period: F64,
        voiced: npt.NDArray[np.bool_],
        log_envelope: F64,
        aperiodicity: F64,
    ) -> F64:
        """What each pulse adds to the sound from sample floor(position) on: (pulses, FFT_SIZE)."""
        at = position / FRAME_HOP
        low = np.minimum(at.astype(np.intp), len(log_envelope) - 2)
        weight = (at - low)[:, None]
        log_power = log_envelope[low] * (1 - weight) + log_envelope[low + 1] * weight
        noise_share = aperiodicity[low] * (1 - weight) + aperiodicity[low + 1] * weight
        noise_share = np.where(voiced[:, None], np.clip(noise_share, 0.0, 1.0) ** 2, 1.0)

        filters = minimum_phase(log_power)
        fraction = (position - np.floor(position))[:, None]
        shift = np.exp(-2j * np.pi * _FREQUENCY * fraction)
        pulse = np.sqrt(period)[:, None] * np.sqrt(1.0 - noise_share) * shift

        length = np.ceil(period).astype(np.intp)
        longest = int(length.max())
        noise = self._noise.standard_normal((len(position), longest))
        noise *= np.arange(longest) < length[:, None]
        noise *= np.sqrt(period / length)[:, None]
        excitation = pulse + np.fft.rfft(noise, FFT_SIZE) * np.sqrt(noise_share)
        excitation[:, 0] = 0.0  # no direct current
        return np.asarray(np.fft.irfft(excitation * filters))


def minimum_phase(log_power: F64) -> npt.NDArray[np.complex128]:
    """Minimum-phase spectra (n, BINS) with the given natural-log power (n, BINS)."""
    quefrency = np.fft.irfft(0.5 * log_power)
    quefrency[:, 1 : FFT_SIZE // 2] *= 2.0
    quefrency[:, FFT_SIZE // 2 + 1 :] = 0.0
    return np.asarray(np.exp(np.fft.rfft(quefrency)))
