"""Continuous sound from a decoder's spectra: pulse train and noise, shaped, overlapped and added.

The recipe is that of the hibari voice (harmonic, noise and free-phase branch, one inverse short-time transform),
made continuous: the phase of the pulse train, the pulses behind and the tails of the windows are carried from one
call to the next. The pulse train is band-limited: sin((H + 1/2) t) / (2 sin(t / 2)) - 1/2 is the sum of H cosines
of equal strength.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from obs_twin.voice.decoder import BINS, Spectra
from obs_twin.voice.model import F32, F64
from obs_twin.voice.neural_grid import MAKE_RATE_HZ, MAKE_STEP

WINDOW_SAMPLES = 1200
TAIL_SAMPLES = WINDOW_SAMPLES // 2
"""Sound lags so many samples behind the steps that were pushed."""
AHEAD_STEPS = 2
"""Steps of F0 that must be known beyond the spectra."""
VOICED_FROM_HZ = 40.0
HIGHEST_HARMONIC_HZ = 11_000.0
MAX_LOG_LEVEL = 7.0

_OVERLAP = WINDOW_SAMPLES // MAKE_STEP
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)).astype(np.float32)
_ANALYSIS = _HANN / np.float32(WINDOW_SAMPLES / 4)  # a cosine of strength 1 is 1 in its bin
_SYNTHESIS = _HANN / np.float32((_HANN.reshape(_OVERLAP, MAKE_STEP) ** 2).sum(axis=0)[0])
# Where the samples of a step lie between the middles of two steps.
_WEIGHT = (((np.arange(MAKE_STEP) + 0.5) / MAKE_STEP - 0.5) % 1.0)[None]


C64 = npt.NDArray[np.complex64]


class SpectralSynthesiser:
    """Sound at 24 kHz, ``MAKE_STEP`` samples a step; the first sample given is that of the first step pushed."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(1)
        self._tail = np.zeros((_OVERLAP - 1, MAKE_STEP), np.float32)
        self._pulses = np.zeros(TAIL_SAMPLES, np.float32)
        self._phase = 0.0  # of the pulse train, turns, at the first sample of the next step
        self._f0_hz = 0.0  # of the step before
        self._skip = TAIL_SAMPLES  # before the first step there is nothing

    def shape(self, spectra: Spectra, f0_hz: F64) -> C64:
        """The short-time spectra (n, BINS) of the next n steps, from their parts and F0 (n + AHEAD_STEPS,) in Hz.

        The F0 beyond the n steps may be a guess; it is asked for again with the next call.
        """
        count = spectra.lh.shape[1]
        pulses = np.concatenate([self._pulses, self._train(f0_hz, count)])
        self._pulses = pulses[count * MAKE_STEP : count * MAKE_STEP + TAIL_SAMPLES]
        windows = np.lib.stride_tricks.sliding_window_view(pulses, WINDOW_SAMPLES)[::MAKE_STEP][:count]
        spectrum = np.fft.rfft(windows * _ANALYSIS, axis=1).astype(np.complex64)
        spectrum *= _polar(spectra.lh, np.float32(np.pi) * np.tanh(spectra.theta))
        noise = self._noise.standard_normal((count, 2 * BINS), dtype=np.float32).view(np.complex64)
        spectrum += noise * _magnitude(spectra.ln).T
        spectrum += _polar(spectra.lr, spectra.phi)
        return spectrum

    def add(self, spectrum: C64) -> F32:
        """Take the spectra (n, BINS) of n steps; return the samples that are finished."""
        return self._overlap(np.fft.irfft(spectrum, WINDOW_SAMPLES, axis=1).astype(np.float32))

    def rest(self, count: int) -> F32:
        """``count`` steps of silence, in which the last windows ring out."""
        self._pulses = np.zeros(TAIL_SAMPLES, np.float32)
        self._phase = self._f0_hz = 0.0
        return self._overlap(np.zeros((count, WINDOW_SAMPLES), np.float32))

    def _overlap(self, windows: F32) -> F32:
        count = len(windows)
        parts = (windows * _SYNTHESIS).reshape(count, _OVERLAP, MAKE_STEP)
        sound = np.zeros((count + _OVERLAP - 1, MAKE_STEP), np.float32)
        sound[: _OVERLAP - 1] = self._tail
        for k in range(_OVERLAP):
            sound[k : k + count] += parts[:, k]
        self._tail = sound[count:]
        samples = sound[:count].reshape(-1)
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        return samples[skipped:]

    def _train(self, f0_hz: F64, count: int) -> F32:
        """The pulse train of ``count`` + 1 steps; its state is kept after ``count`` of them."""
        steps = count + AHEAD_STEPS - 1
        f0 = np.concatenate([[self._f0_hz], f0_hz])
        self._f0_hz = float(f0[count])
        half = MAKE_STEP // 2
        rate = np.empty((steps, MAKE_STEP))
        before, now, after = f0[:steps, None], f0[1 : steps + 1, None], f0[2 : steps + 2, None]
        rate[:, :half] = before * (1 - _WEIGHT[:, :half]) + now * _WEIGHT[:, :half]
        rate[:, half:] = now * (1 - _WEIGHT[:, half:]) + after * _WEIGHT[:, half:]
        flat = rate.reshape(-1)
        voiced = flat > VOICED_FROM_HZ
        flat = np.maximum(flat, VOICED_FROM_HZ)
        turns = self._phase + np.cumsum(flat) / MAKE_RATE_HZ
        self._phase = float(turns[count * MAKE_STEP - 1] % 1.0)
        angle = (2 * np.pi) * (turns % 1.0)
        harmonics = np.floor(HIGHEST_HARMONIC_HZ / flat) + 0.5
        below = 2 * np.sin(angle / 2)
        peak = np.abs(below) <= 2e-3
        train = np.where(peak, harmonics, np.sin(harmonics * angle) / np.where(peak, 1.0, below)) - 0.5
        return np.where(voiced, train, 0.0).astype(np.float32)


def _magnitude(log_level: F32) -> F32:
    return np.exp(np.minimum(log_level, MAX_LOG_LEVEL))


def _polar(log_level: F32, phase: F32) -> C64:
    """Complex spectra (n, BINS) from log magnitude and phase (BINS, n)."""
    rotated = np.empty(log_level.shape[::-1], np.complex64)
    level = _magnitude(log_level).T
    rotated.real = np.cos(phase).T * level
    rotated.imag = np.sin(phase).T * level
    return rotated
