"""What lies between a mouth and the program: rooms, microphones, noise, lines, levels. All at 16 kHz.

`Scenery(rng).spoil(x)` for speech; `Scenery(rng).no_speech(seconds)` for sound in which nobody speaks.
"""

from __future__ import annotations

import io
from collections import deque

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy import signal

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
RATE_HZ = 16_000
BABBLE_TALKERS = 24


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _rms(x: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))) + 1e-9)


def _equalise(x: F64, rng: np.random.Generator) -> F64:
    """Up to three peaking filters (R. Bristow-Johnson's cookbook) and a tilt."""
    for _ in range(rng.integers(0, 4)):
        w = 2 * np.pi * _log_uniform(rng, 80, 7000) / RATE_HZ
        gain, alpha = 10 ** (rng.uniform(-9, 9) / 40), np.sin(w) / 2 / rng.uniform(0.5, 2)
        b = np.array([1 + alpha * gain, -2 * np.cos(w), 1 - alpha * gain])
        a = np.array([1 + alpha / gain, -2 * np.cos(w), 1 - alpha / gain])
        x = signal.lfilter(b / a[0], a / a[0], x)
    if rng.random() < 0.4:
        x = signal.lfilter([1, -rng.uniform(0, 0.7)], [1, -rng.uniform(0, 0.7)], x)
    return x


def _room(x: F64, rng: np.random.Generator) -> F64:
    """A few early echoes and a tail that decays over 0.1 to 0.9 s, darker as it goes."""
    reverberation_s = _log_uniform(rng, 0.1, 0.9)
    length = int(RATE_HZ * reverberation_s * 0.8)
    t = np.arange(length) / RATE_HZ
    tail = rng.standard_normal(length) * 10 ** (-3 * t / reverberation_s)
    tail = signal.lfilter([1 - 0.5], [1, -0.5], tail) if rng.random() < 0.5 else tail
    tail[: int(rng.uniform(0.001, 0.02) * RATE_HZ)] = 0
    tail *= _log_uniform(rng, 0.08, 0.9) / (np.sqrt((tail**2).sum()) + 1e-9)
    for _ in range(rng.integers(0, 7)):
        tail[rng.integers(10, min(length, 600))] += rng.uniform(-0.4, 0.4)
    tail[0] = 1
    return np.asarray(signal.fftconvolve(x, tail)[: len(x)])


def _line(x: F64, rng: np.random.Generator) -> F64:
    """A narrow band, a telephone's sample rate, or a lossy codec."""
    kind = rng.random()
    if kind < 0.4:
        band = [rng.uniform(60, 320), rng.uniform(3200, 7000)]
        return np.asarray(signal.sosfilt(signal.butter(4, band, "band", fs=RATE_HZ, output="sos"), x))
    if kind < 0.6:
        telephone = soxr.resample(x, RATE_HZ, 8000)
        peak = np.abs(telephone).max() + 1e-6
        mu = 255.0
        pressed = np.sign(telephone) * np.log1p(mu * np.abs(telephone) / peak) / np.log1p(mu)
        pressed = np.rint(pressed * 127) / 127
        telephone = np.sign(pressed) * np.expm1(np.abs(pressed) * np.log1p(mu)) / mu * peak
        return _fit(soxr.resample(telephone, 8000, RATE_HZ), len(x))
    container, codec = (("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))[rng.integers(3)]
    file = io.BytesIO()
    peak = np.abs(x).max() + 1e-6
    quality = float(rng.uniform(0.6, 1.0))  # 1 is the smallest file
    soundfile.write(file, x / peak * 0.7, RATE_HZ, format=container, subtype=codec, compression_level=quality)
    file.seek(0)
    return _aligned(soundfile.read(file)[0] * peak / 0.7, x)


def _aligned(y: F64, x: F64) -> F64:
    """A decoder's output without the delay that it added."""
    n = min(len(x), len(y), RATE_HZ)
    around = signal.fftconvolve(y[:n], x[:n][::-1])
    shift = int(np.argmax(np.abs(around))) - (n - 1)
    return _fit(y[max(shift, 0) :] if abs(shift) < 3000 else y, len(x))


def _fit(y: F64, length: int) -> F64:
    return y[:length] if len(y) >= length else np.pad(y, (0, length - len(y)))


def _colour_noise(length: int, rng: np.random.Generator) -> F64:
    noise = signal.lfilter([1], [1, -rng.uniform(0, 0.98)], rng.standard_normal(length))
    if rng.random() < 0.3:
        centre = _log_uniform(rng, 150, 6000)
        band = [centre / 1.5, min(centre * 1.5, 7900)]
        noise = noise / _rms(noise) + rng.uniform(0.5, 2) * signal.sosfilt(
            signal.butter(2, band, "band", fs=RATE_HZ, output="sos"), rng.standard_normal(length)
        )
    if rng.random() < 0.3:
        slow = np.interp(np.arange(length), np.linspace(0, length, 8), rng.uniform(-1.2, 1.2, 8))
        noise = noise * np.exp(slow)
    return np.asarray(noise)


def _hum(length: int, rng: np.random.Generator) -> F64:
    base, t = rng.choice([50.0, 60.0, 100.0, 120.0, _log_uniform(rng, 80, 900)]), np.arange(length) / RATE_HZ
    parts = [np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) / k ** rng.uniform(0.5, 2) for k in range(1, 9)]
    return np.asarray(np.sum(parts, axis=0))


def _typing(length: int, rng: np.random.Generator) -> F64:
    """Key strokes: two short bursts each, of a hard or soft key, five to twelve a second."""
    x = np.zeros(length + 4000)
    at = rng.exponential(0.1)
    damping, ring = rng.uniform(0.002, 0.012), _log_uniform(rng, 600, 6000)
    while at * RATE_HZ < length:
        for delay, level in ((0.0, 1.0), (rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.8))):
            n = int(5 * damping * RATE_HZ)
            t = np.arange(n) / RATE_HZ
            click = rng.standard_normal(n) + 2 * np.sin(2 * np.pi * ring * t * rng.uniform(0.9, 1.1))
            start = int((at + delay) * RATE_HZ)
            x[start : start + n] += (click * np.exp(-t / damping) * level * rng.uniform(0.4, 1))[: len(x) - start]
        at += rng.exponential(0.15) + 0.05
    return x[:length]


def _breath(length: int, rng: np.random.Generator) -> F64:
    """Breaths, sighs and coughs: noise through a wide vocal tract, in puffs."""
    x = np.zeros(length)
    at = rng.uniform(0, 0.5)
    while at * RATE_HZ < length - 1600:
        cough = rng.random() < 0.2
        n = int(RATE_HZ * (rng.uniform(0.1, 0.3) if cough else rng.uniform(0.25, 0.9)))
        puff = rng.standard_normal(n)
        for centre in (rng.uniform(350, 900), rng.uniform(1100, 2200), rng.uniform(2400, 4500)):
            b, a = signal.iirpeak(centre, rng.uniform(1.5, 5), fs=RATE_HZ)
            puff = puff * 0.3 + signal.lfilter(b, a, puff)
        puff *= np.exp(-np.arange(n) / (0.2 * n)) if cough else np.hanning(n)
        start = int(at * RATE_HZ)
        part = min(n, length - start)
        x[start : start + part] += puff[:part] / _rms(puff) * rng.uniform(0.3, 1)
        at += n / RATE_HZ + rng.exponential(0.7)
    return x


class Scenery:
    """Draws surroundings. Remembers some speech, for the people who talk in the background."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._talkers: deque[F32] = deque(maxlen=BABBLE_TALKERS)

    def spoil(self, x: F32) -> F32:
        """(N,) speech as it would arrive from some microphone; a fifth of it arrives clean."""
        rng = self._rng
        self._talkers.append(x)
        y = x.astype(np.float64)
        if rng.random() < 0.8:
            if rng.random() < 0.65:
                y = _equalise(y, rng)
            if rng.random() < 0.45:
                y = _room(y, rng)
            if rng.random() < 0.65:
                snr_db = rng.uniform(5, 20) if rng.random() < 0.35 else rng.uniform(20, 45)
                noise = self._noise(len(y))
                y = y + noise * (_rms(y) / _rms(noise) * 10 ** (-snr_db / 20))
            if rng.random() < 0.22:
                y = _line(y, rng)
        return self._level(y)

    def no_speech(self, seconds: float) -> F32:
        """(N,) noise, hum, typing, breath, coughs or plain silence."""
        rng, length = self._rng, int(seconds * RATE_HZ)
        y = _colour_noise(length, rng) * 0.02
        for make, chance in ((_typing, 0.3), (_breath, 0.4), (_hum, 0.15)):
            if rng.random() < chance:
                more = make(length, rng)
                y = y + more / _rms(more) * _log_uniform(rng, 0.01, 1)
        if rng.random() < 0.5:
            y = _equalise(y, rng)
        if rng.random() < 0.3:
            y = _room(y, rng)
        peak = np.abs(y).max() + 1e-9
        return np.asarray(y / peak * _log_uniform(rng, 1e-4, 0.6), np.float32)

    def _noise(self, length: int) -> F64:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.15:
            return _colour_noise(length, rng) * 0.02 + _typing(length, rng)
        if kind < 0.25:
            return _colour_noise(length, rng) * 0.1 + _hum(length, rng)
        if kind < 0.4 and len(self._talkers) > 8:
            crowd = np.zeros(length)
            for k in rng.choice(len(self._talkers), rng.integers(3, 8), replace=False):
                talker = np.resize(self._talkers[k], length)
                crowd += np.roll(talker, rng.integers(length)) / _rms(talker) * rng.uniform(0.3, 1)
            return crowd
        return _colour_noise(length, rng)

    def _level(self, y: F64) -> F32:
        rng = self._rng
        if rng.random() < 0.1:
            slow = np.interp(np.arange(len(y)), np.linspace(0, len(y), 5), rng.uniform(-0.7, 0.7, 5))
            y = y * np.exp(slow)
        y = y / (np.abs(y).max() + 1e-6)
        if rng.random() < 0.06:
            y = np.clip(y * rng.uniform(1.5, 4), -1, 1)
        return (y * _log_uniform(rng, 0.03, 0.97)).astype(np.float32)
