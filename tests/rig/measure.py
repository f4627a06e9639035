"""When the meeting got what: delay of picture and voice, the step between them, and anything raw that leaked.

Both taps date what they get on CLOCK_MONOTONIC. The picture tells its content time by the stamped counter; the
voice, which may be another person's by now, by its envelope, correlated with the clip's around the whole loop. At one
moment T the meeting sees content c_p(T) and hears content c_v(T):

    voice ahead of picture = c_v(T) - c_p(T)

and against a reference series taken from the same run without the twin, a delay is c_reference(T) - c(T).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obs_twin.twin.synthetic import stamp

from .camera import TappedFrame
from .clip import Clip
from .sound import SAMPLE_RATE_HZ, Sound

ENVELOPE_HOP = 48  # samples at 48 kHz: 1 ms
ENVELOPE_WINDOW_MS = 12
LEAK_RATE_HZ = 8_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ContentSeries:
    """Content time against arrival: `phase_s[i]` is (content time - arrival time) modulo the clip's length.

    A constant phase is a constant delay. `arrival_ns` (n,) int64 rises; `phase_s` (n,) float64 lies in 0..loop_s.
    """

    arrival_ns: NDArray[np.int64]
    phase_s: Floats
    loop_s: float

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def between(self, start_ns: int, end_ns: int) -> ContentSeries:
        inside = (self.arrival_ns >= start_ns) & (self.arrival_ns < end_ns)
        return ContentSeries(self.arrival_ns[inside], self.phase_s[inside], self.loop_s)

    def ahead_of(self, other: ContentSeries) -> Floats:
        """Seconds by which this content is further than `other`'s nearest in arrival; (n,) in -loop/2..loop/2."""
        nearest = np.searchsorted(other.arrival_ns, self.arrival_ns)
        left = np.clip(nearest - 1, 0, len(other) - 1)
        right = np.clip(nearest, 0, len(other) - 1)
        closer = np.where(
            np.abs(other.arrival_ns[left] - self.arrival_ns) <= np.abs(other.arrival_ns[right] - self.arrival_ns),
            left,
            right,
        )
        return wrap(self.phase_s - other.phase_s[closer], self.loop_s)

    def delay_against(self, reference_phase_s: float) -> Floats:
        """Seconds by which this content is older than a path of that phase would give, in 0..loop."""
        return np.asarray((reference_phase_s - self.phase_s) % self.loop_s)

    def median_phase_s(self) -> float:
        """The circular median of the phase."""
        about = self.phase_s[len(self) // 2]
        return float((about + np.median(wrap(self.phase_s - about, self.loop_s))) % self.loop_s)


def wrap(seconds: Floats, loop_s: float) -> Floats:
    """To -loop/2..loop/2."""
    return np.asarray((seconds + loop_s / 2) % loop_s - loop_s / 2)


def read_counter(frame: TappedFrame) -> int | None:
    """What to give a `PictureTap` for `picture_series`."""
    return stamp.read(frame.luma)


def brightness(frame: TappedFrame) -> float:
    """What to give a `PictureTap` to see the flashes of a calibration: the mean luma of every eighth pixel."""
    return float(frame.luma[::8, ::8].mean())


def picture_series(times_ns: Sequence[int], counters: Sequence[object], clip: Clip) -> ContentSeries:
    """The picture's content from a tap with `read_counter`: one entry for each frame that shows a new counter.

    Repetitions are left out: OBS shows a frame of a slower source several times, and only the first says when it came.
    """
    arrivals, phases = [], []
    last: object = None
    for time_ns, counter in zip(times_ns, counters, strict=True):
        if isinstance(counter, int) and counter != last:
            arrivals.append(time_ns)
            phases.append((counter / clip.fps - time_ns / 1e9) % clip.seconds)
        last = counter
    return ContentSeries(np.array(arrivals, np.int64), np.array(phases), clip.seconds)


def voice_series(
    sound: Sound, clip: Clip, window_s: float = 3.0, hop_s: float = 0.5, least_correlation: float = 0.5
) -> ContentSeries:
    """The voice's content from the cable: one entry for each window whose envelope is surely found in the clip.

    The envelope of each window is correlated with the looped clip's at every lag (normalised, by FFT); the peak is
    refined by a parabola. Windows that are silent, or correlate less than `least_correlation`, are left out. An entry's
    arrival is its window's middle.
    """
    looped = envelope(clip.speech, circular=True)
    heard = envelope(sound.samples)
    hop_ns = ENVELOPE_HOP * sound.sample_ns
    size, step = round(min(window_s, 0.8 * clip.seconds) * 1000), round(hop_s * 1000)
    arrivals, phases = [], []
    for first in range(0, len(heard) - size, step):
        window = heard[first : first + size]
        if window.std() < 0.02 * looped.std():
            continue
        lag, correlation = best_lag(window, looped)
        if correlation < least_correlation:
            continue
        start_ns = sound.time_ns(first * ENVELOPE_HOP)
        arrivals.append(round(start_ns + size / 2 * hop_ns))
        phases.append((lag / 1000 - start_ns / 1e9) % clip.seconds)
    return ContentSeries(np.array(arrivals, np.int64), np.array(phases), clip.seconds)


def envelope(samples: NDArray[np.float32], circular: bool = False) -> Floats:
    """The level in steps of 1 ms: RMS over a 12 ms Hann window, its square root, so that no loud syllable rules."""
    taps = np.hanning(ENVELOPE_WINDOW_MS * SAMPLE_RATE_HZ // 1000 + 1)
    power = samples.astype(np.float64) ** 2
    half = len(taps) // 2
    padded = np.r_[power[-half:], power, power[:half]] if circular else np.pad(power, half)
    length = len(padded) + len(taps) - 1
    smooth = np.fft.irfft(np.fft.rfft(padded, length) * np.fft.rfft(taps / taps.sum(), length), length)
    smooth = smooth[2 * half : 2 * half + len(power)]
    level = np.maximum(smooth[: len(smooth) // ENVELOPE_HOP * ENVELOPE_HOP : ENVELOPE_HOP], 0)
    return np.asarray(level**0.25)


def best_lag(window: Floats, looped: Floats) -> tuple[float, float]:
    """Where in the loop the window fits best, as (lag in steps, with a fraction; correlation -1..1)."""
    correlation = _circular_correlation(window, looped)
    peak = int(np.argmax(correlation))
    before, here, after = (correlation[(peak + shift) % len(looped)] for shift in (-1, 0, 1))
    curvature = before - 2 * here + after
    fraction = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return peak + fraction, float(here)


def _circular_correlation(window: Floats, looped: Floats) -> Floats:
    """Pearson's correlation of the window with the loop at every lag; lags where the loop is flat give 0."""
    size, length = len(window), len(looped)
    centred = np.zeros(length)
    centred[:size] = window - window.mean()
    spectrum = np.fft.rfft(looped)
    products = np.fft.irfft(spectrum * np.conj(np.fft.rfft(centred)), length)
    unrolled = np.r_[looped, looped[:size]]
    sums, squares = np.cumsum(np.r_[0, unrolled]), np.cumsum(np.r_[0, unrolled**2])
    sums = (sums[size:] - sums[:-size])[:length]
    squares = (squares[size:] - squares[:-size])[:length]
    deviation = np.sqrt(np.maximum(squares - sums**2 / size, 0) * (centred**2).sum())
    flat = deviation <= 1e-9 * deviation.max()
    return np.where(flat, 0.0, products / np.where(flat, 1.0, deviation))


@dataclass(frozen=True)
class Step:
    """How far the voice is ahead of the picture (negative: behind), over one run."""

    median_ms: float
    p95_abs_ms: float
    spread_ms: float
    frames: int
    voice_windows: int

    def __str__(self) -> str:
        return (
            f"voice ahead by {self.median_ms:+.1f} ms (median), |step| p95 {self.p95_abs_ms:.1f} ms, "
            f"p95-p5 {self.spread_ms:.1f} ms, {self.frames} frames, {self.voice_windows} voice windows"
        )


def step(picture: ContentSeries, voice: ContentSeries) -> Step:
    """Compares both at the same moments, each fresh frame with the voice's nearest window.

    Raises `ValueError` when either series is empty: nothing recognisable arrived.
    """
    if not len(picture) or not len(voice):
        raise ValueError(f"nothing to compare: {len(picture)} stamped frames and {len(voice)} voice windows arrived")
    ahead_ms = -1000 * picture.ahead_of(voice)
    low, high = np.percentile(ahead_ms, (5, 95))
    return Step(
        median_ms=float(np.median(ahead_ms)),
        p95_abs_ms=float(np.percentile(np.abs(ahead_ms), 95)),
        spread_ms=float(high - low),
        frames=len(picture),
        voice_windows=len(voice),
    )


@dataclass(frozen=True)
class VoiceLeak:
    """A stretch of the cable's sound that is the clip's own waveform."""

    arrival_ns: int
    correlation: float


def raw_voice(sound: Sound, clip: Clip, window_s: float = 0.15, threshold: float = 0.9) -> list[VoiceLeak]:
    """Windows of the cable in which the actor's own voice is heard, at whatever delay.

    The waveform (at 8 kHz) of each window, overlapping by half, is correlated with the whole clip's; either
    polarity counts. Windows quieter than -60 dBFS carry nothing to recognise.
    """
    heard, looped = _to_8k(sound.samples), _to_8k(clip.speech)
    size = round(window_s * LEAK_RATE_HZ)
    leaks = []
    for first in range(0, len(heard) - size, size // 2):
        window = heard[first : first + size]
        if np.sqrt(np.mean(window**2)) < 1e-3:
            continue
        correlation = float(np.abs(_circular_correlation(window, looped)).max())
        if correlation > threshold:
            middle = (first + size / 2) * SAMPLE_RATE_HZ / LEAK_RATE_HZ
            leaks.append(VoiceLeak(round(sound.time_ns(middle)), correlation))
    return leaks


def raw_voice_at(
    sound: Sound, clip: Clip, raw_phase_s: float, slack_s: float = 0.01, window_s: float = 0.02, threshold: float = 0.9
) -> list[VoiceLeak]:
    """As `raw_voice`, for leaks as short as one OBS packet, where the phase of the undelayed voice is known.

    `raw_phase_s` is the phase of a `voice_series` from before the twin was switched on. A short window of a vowel
    resembles many others, so only lags within `slack_s` of that phase are looked at.
    """
    heard, looped = _to_8k(sound.samples), _to_8k(clip.speech)
    size, slack = round(window_s * LEAK_RATE_HZ), round(slack_s * LEAK_RATE_HZ)
    leaks = []
    for first in range(0, len(heard) - size, size // 2):
        window = heard[first : first + size]
        if np.sqrt(np.mean(window**2)) < 1e-3:
            continue
        start_s = sound.time_ns(first * SAMPLE_RATE_HZ / LEAK_RATE_HZ) / 1e9
        lag = round(((start_s + raw_phase_s) % clip.seconds) * LEAK_RATE_HZ)
        around = np.take(looped, np.arange(lag - slack, lag + slack + size), mode="wrap")
        views = np.lib.stride_tricks.sliding_window_view(around, size)
        views = views - views.mean(axis=1, keepdims=True)
        centred = window - window.mean()
        deviation = np.sqrt((views**2).sum(axis=1) * (centred**2).sum())
        correlation = float(np.max(np.abs(views @ centred) / np.maximum(deviation, 1e-12)))
        if correlation > threshold:
            leaks.append(VoiceLeak(round((start_s + window_s / 2) * 1e9), correlation))
    return leaks


def raw_frames(picture: ContentSeries, reference_phase_s: float, delay_s: float) -> NDArray[np.int64]:
    """Arrival times of stamped frames that came sooner than the delay D allows: frames that bypassed the twin.

    `reference_phase_s` is the phase of a `picture_series` from before the twin was switched on; anything younger than
    half of `delay_s` is raw. The clip must be longer than twice the delay.
    """
    delays_s = wrap(picture.delay_against(reference_phase_s), picture.loop_s)
    return picture.arrival_ns[delays_s < delay_s / 2]


def _to_8k(samples: NDArray[np.float32]) -> Floats:
    """48 kHz to 8 kHz: a windowed sinc at 3.4 kHz, every sixth sample."""
    factor = SAMPLE_RATE_HZ // LEAK_RATE_HZ
    reach = 8 * factor
    place = np.arange(-reach, reach + 1)
    taps = np.sinc(place * 6800 / SAMPLE_RATE_HZ) * np.hamming(len(place))
    filtered = np.convolve(samples.astype(np.float64), taps / taps.sum(), mode="same")
    return filtered[::factor]
