"""Sounds that are no speech and must come out as silence: made here, the same every time."""

from __future__ import annotations

import numpy as np

from obs_twin.voice.model import F32, F64

SECONDS = 10.0
ROOM_RMS = 10 ** (-50 / 20)
TYPING_PEAK = 0.15
BREATH_PEAK = 0.03


def quiet_clips(rate_hz: int) -> dict[str, F32]:
    """{name: (N,) samples} of ten seconds each: silence, a room with a fan, typing, and breathing."""
    rng = np.random.default_rng(7)
    count = round(SECONDS * rate_hz)
    room = _coloured(rng, count, rate_hz, 1.0, 60.0, 8000.0)
    room *= ROOM_RMS / np.sqrt(np.mean(room**2))
    hum = ROOM_RMS * 0.5 * np.sin(2 * np.pi * 100 * np.arange(count) / rate_hz)
    return {
        "silence": np.zeros(count, np.float32),
        "room noise": (room + hum).astype(np.float32),
        "typing": (_typing(rng, count, rate_hz) + 0.3 * room).astype(np.float32),
        "breathing": (_breathing(rng, count, rate_hz) + 0.3 * room).astype(np.float32),
    }


def _coloured(rng: np.random.Generator, count: int, rate_hz: int, slope: float, low_hz: float, high_hz: float) -> F64:
    """Noise whose power falls with f ** slope between two edges; RMS about 1."""
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    shape = np.where((hz >= low_hz) & (hz <= high_hz), np.maximum(hz, 1.0) ** (-slope / 2), 0.0)
    noise: F64 = np.fft.irfft(shape * np.fft.rfft(rng.standard_normal(count)), count)
    noise /= np.sqrt(np.mean(noise**2))
    return noise


def _typing(rng: np.random.Generator, count: int, rate_hz: int) -> F64:
    """Strokes: a click, 60 to 90 ms later a softer one, each a few milliseconds of noise that rings in a case."""
    out: F64 = np.zeros(count)
    length = round(0.03 * rate_hz)
    at_s = np.arange(length) / rate_hz
    position_s = 0.2
    while position_s < SECONDS - 0.3:
        for offset_s, loudness in ((0.0, 1.0), (rng.uniform(0.06, 0.09), 0.45)):
            ring = 0.4 * np.sin(2 * np.pi * rng.uniform(900, 2400) * at_s) * np.exp(-at_s / 0.006)
            stroke = ring + rng.standard_normal(length) * np.exp(-at_s / 0.002)
            first = round((position_s + offset_s) * rate_hz)
            out[first : first + length] += loudness * rng.uniform(0.5, 1.0) * stroke
        position_s += rng.uniform(0.09, 0.25) if rng.random() < 0.85 else rng.uniform(0.5, 1.0)
    out *= TYPING_PEAK / np.abs(out).max()
    return out


def _breathing(rng: np.random.Generator, count: int, rate_hz: int) -> F64:
    """In and out: noise through a mouth, 1.2 s long, every 2 s."""
    noise = _coloured(rng, count, rate_hz, 0.6, 300.0, 7000.0)
    at_s = np.arange(count) / rate_hz
    swell = np.clip(np.sin(np.pi * (at_s % 2.0) / 1.2), 0.0, None) ** 2 * (at_s % 2.0 < 1.2)
    breath: F64 = noise * swell
    breath *= BREATH_PEAK / np.abs(breath).max()
    return breath
