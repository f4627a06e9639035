"""Spectral envelopes: how they are measured, summed up as mel cepstra, and stretched along frequency."""

from __future__ import annotations

import numpy as np
import pyworld

from obs_twin.voice.frames import BINS, FFT_SIZE, FRAME_S, WORK_RATE_HZ
from obs_twin.voice.model import F64

CEPSTRA = 24  # mel-cepstral coefficients 1..24; the 0th is loudness, which stays the actor's
MEL_BANDS = 64
ENVELOPE_FLOOR = 1e-10
WORLD_F0_FLOOR_HZ = 71.0  # what 1024 points at 24 kHz can resolve; lower voices are measured as if at this
LOVE_TRAIN_THRESHOLD = 0.5  # D4C's own voicing check, milder than its default: our tracker has already decided


def measure(x: F64, f0_hz: F64, first_s: float) -> tuple[F64, F64]:
    """Power envelope (n, BINS) and aperiodicity (n, BINS, 0..1) of frames at ``first_s + i * 5 ms`` in ``x``.

    CheapTrick and D4C (Morise 2015, 2016).
    """
    times_s = first_s + np.arange(len(f0_hz)) * FRAME_S
    f0_hz = np.where(f0_hz > 0, np.maximum(f0_hz, WORLD_F0_FLOOR_HZ), 0.0)
    envelope = pyworld.cheaptrick(x, f0_hz, times_s, WORK_RATE_HZ, fft_size=FFT_SIZE)
    aperiodicity = pyworld.d4c(x, f0_hz, times_s, WORK_RATE_HZ, fft_size=FFT_SIZE, threshold=LOVE_TRAIN_THRESHOLD)
    return np.maximum(envelope, ENVELOPE_FLOOR), aperiodicity


def _mel(hz: F64) -> F64:
    return np.asarray(1127.0 * np.log1p(hz / 700.0))


def _mel_cepstrum_matrices() -> tuple[F64, F64]:
    """(CEPSTRA, BINS) from a log envelope to its cepstrum, and (BINS, CEPSTRA) back to a smooth log envelope."""
    mel = _mel(np.linspace(0, WORK_RATE_HZ / 2, BINS))
    bands = (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS * mel[-1]
    order = np.arange(1, CEPSTRA + 1)
    # Each band is a triangle over its neighbours' centres, never narrower than one bin.
    width = np.maximum(mel[-1] / MEL_BANDS, np.gradient(mel)[None])
    triangles = np.maximum(1.0 - np.abs(mel[None] - bands[:, None]) / width, 0.0)
    triangles /= triangles.sum(axis=1, keepdims=True)
    forward = np.cos(np.pi * order[:, None] * (np.arange(MEL_BANDS) + 0.5)[None] / MEL_BANDS) * (2 / MEL_BANDS)
    backward = np.cos(np.pi * order[None] * (mel / mel[-1])[:, None])
    return forward @ triangles, backward


TO_CEPSTRUM, FROM_CEPSTRUM = _mel_cepstrum_matrices()


def cepstrum(log_envelope: F64) -> F64:
    """Mel cepstra (n, CEPSTRA) of natural-log power envelopes (n, BINS)."""
    return np.asarray(log_envelope @ TO_CEPSTRUM.T)


def stretched(spectra: F64, ratio: float) -> F64:
    """Spectra (n, BINS) with everything at f moved to ``ratio * f``; the top is continued with its last value."""
    position = np.minimum(np.arange(BINS) / ratio, BINS - 1.0)
    low = np.minimum(position.astype(np.intp), BINS - 2)
    weight = position - low
    return np.asarray(spectra[:, low] * (1 - weight) + spectra[:, low + 1] * weight)


FORMANT_BAND_HZ = 5500.0  # holds five formants
FORMANT_BINS = int(FORMANT_BAND_HZ / (WORK_RATE_HZ / FFT_SIZE)) + 1
PREDICTION_ORDER = 11
WIDEST_FORMANT_HZ = 600.0


def upper_formants_hz(log_envelope: F64) -> F64:
    """Mean of the third and the fourth formant (m,) of those of the n frames (n, BINS) that show four formants.

    These two say how long the vocal tract is and little about the vowel. They are the poles of an all-pole fit
    to the envelope's lower band (linear prediction; Markel and Gray 1976), which pitch cannot mislead as it
    would a fit to the sound.
    """
    bins = np.arange(FORMANT_BINS) / FORMANT_BINS
    power = np.exp(log_envelope[:, :FORMANT_BINS]) * (bins**2 + 0.003)  # the source's slope taken out
    correlation = np.fft.irfft(power)[:, : PREDICTION_ORDER + 1]
    order = np.arange(PREDICTION_ORDER)
    matrix = correlation[:, np.abs(order[:, None] - order[None])]
    matrix = matrix + np.eye(PREDICTION_ORDER) * (correlation[:, :1, None] * 1e-6 + 1e-30)
    companion = np.zeros((len(power), PREDICTION_ORDER, PREDICTION_ORDER))
    companion[:, 0] = np.linalg.solve(matrix, correlation[:, 1:, None])[:, :, 0]
    companion[:, 1:, :-1] = np.eye(PREDICTION_ORDER - 1)
    poles = np.linalg.eigvals(companion)
    hz = np.angle(poles) / np.pi * FORMANT_BAND_HZ
    width_hz = -np.log(np.maximum(np.abs(poles), 1e-9)) * 2 / np.pi * FORMANT_BAND_HZ
    is_formant = (hz > 150) & (hz < FORMANT_BAND_HZ - 200) & (width_hz < WIDEST_FORMANT_HZ)
    ordered = np.sort(np.where(is_formant, hz, np.inf), axis=1)
    return np.asarray(ordered[np.isfinite(ordered[:, 3]), 2:4].mean(axis=1))
