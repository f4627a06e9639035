"""Signal maths of the audio/video calibration: how late is what was heard, when did it flash, when did it beep.

Arrays in, numbers out; whoever records and plays lives elsewhere.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

NS_PER_S = 1_000_000_000

ENVELOPE_RATE_HZ = 200
SPEECH_BAND_HZ = (120.0, 4000.0)  # what every monitoring path lets through
COARSE_CANDIDATES = 5
FINE_RANGE_S = 0.03  # around a coarse candidate
SEGMENT_S = 1.0  # short enough that clock drift and a lost packet blur nothing
LEAST_OVERLAP_S = 0.25
SAME_DELAY_S = 0.0015  # segments that differ by less agree
LEAST_CLARITY = 0.15


def audio_delay_s(sent: F32, heard: F32, rate: int, max_delay_s: float) -> tuple[float, float]:
    """By how many seconds ``heard`` lags ``sent`` (both (N,) mono at ``rate``, started together), and how sure it is.

    Looks from ``-max_delay_s`` to ``+max_delay_s``; the confidence is 0..1, and above 0.5 worth believing. First
    the loudness envelopes are correlated, which survives resampling, gain control and codecs; then, around the
    best few lags, the waveforms with the phase transform (Knapp and Carter 1976), segment by segment, so that
    clock drift and jumps of a jitter buffer do not smear the peak.
    Returns (0.0, 0.0) where there is nothing to compare. Raises ``ValueError`` for an impossible rate or range.
    """
    if rate < 2000 or not (math.isfinite(max_delay_s) and max_delay_s > 0):
        raise ValueError(f"expected a rate of at least 2000 Hz and a positive range, not {rate} and {max_delay_s}")
    a, b = _clean(sent), _clean(heard)
    if min(len(a), len(b)) < LEAST_OVERLAP_S * rate:
        return 0.0, 0.0
    if not (np.abs(a).max() > 0 and np.abs(b).max() > 0):
        return 0.0, 0.0
    envelope_a, envelope_b = _loudness(a, rate), _loudness(b, rate)
    limit = math.ceil(max_delay_s * ENVELOPE_RATE_HZ)
    coarse = _normalised_correlation(envelope_a, envelope_b, limit)
    peaks = _highest_peaks(coarse, COARSE_CANDIDATES)
    if not peaks:
        return 0.0, 0.0
    best_delay_s, best_agreement, best_envelope = 0.0, -1.0, 0.0
    for peak in peaks:
        lag_s, envelope = (peak - limit) / ENVELOPE_RATE_HZ, float(coarse[peak])
        delay_s, agreement = _fine_delay(a, b, rate, lag_s)
        if agreement + envelope > best_agreement + best_envelope:
            best_delay_s, best_agreement, best_envelope = delay_s, agreement, envelope
    if abs(best_delay_s) > max_delay_s:
        return 0.0, 0.0
    # One segment in ten agrees by chance.
    by_waveform = (best_agreement - 0.2) / 0.4
    by_envelope = best_envelope / 0.4
    return best_delay_s, float(np.clip(by_waveform, 0, 1) * np.clip(by_envelope, 0, 1))


def _clean(x: F32) -> F64:
    """Finite, and free of a constant: (N,)."""
    y = np.nan_to_num(np.asarray(x, np.float64).reshape(-1), posinf=0.0, neginf=0.0)
    return y - y.mean() if len(y) else y


def _loudness(x: F64, rate: int) -> F64:
    """Log loudness at ENVELOPE_RATE_HZ, its slow course taken out: what is left are syllables."""
    edges = (np.arange(int(len(x) / rate * ENVELOPE_RATE_HZ) + 1) * rate / ENVELOPE_RATE_HZ).astype(np.intp)
    power = np.add.reduceat(x**2, edges[:-1]) / np.diff(edges)
    floor = max(float(power.max(initial=0.0)) * 1e-5, 1e-12)
    level = np.log(power + floor)
    width = ENVELOPE_RATE_HZ  # one second
    kernel = np.ones(width) / width
    padded = np.pad(level, (width // 2, width - 1 - width // 2), mode="edge")
    smooth = np.convolve(level, np.hanning(7)[1:-1] / np.hanning(7).sum(), mode="same")
    return np.asarray(smooth - np.convolve(padded, kernel, mode="valid"))


def _normalised_correlation(a: F64, b: F64, limit: int) -> F64:
    """Correlation coefficient of a[n] with b[n + lag] over their overlap, for lag = -limit .. limit."""
    size = 1 << (len(a) + len(b) + 1).bit_length()

    def correlate(u: F64, v: F64) -> F64:
        full = np.fft.irfft(np.conj(np.fft.rfft(u, size)) * np.fft.rfft(v, size), size)
        return full[np.arange(-limit, limit + 1) % size]

    overlap = correlate(np.ones(len(a)), np.ones(len(b)))
    energy_a = correlate(a**2, np.ones(len(b)))
    energy_b = correlate(np.ones(len(a)), b**2)
    dot = correlate(a, b)
    scale = np.sqrt(np.maximum(energy_a, 0) * np.maximum(energy_b, 0))
    usable = (overlap > LEAST_OVERLAP_S * ENVELOPE_RATE_HZ) & (scale > 1e-6 * max(float(scale.max()), 1e-9))
    longest = max(float(overlap.max()), 1.0)
    # A short overlap correlates well by chance.
    trust = np.sqrt(np.clip(overlap / longest, 0, 1))
    return np.where(usable, dot / np.maximum(scale, 1e-12), 0.0) * trust


def _highest_peaks(values: F64, count: int) -> list[int]:
    inner = values[1:-1]
    is_peak = (inner >= values[:-2]) & (inner > values[2:]) & (inner > 0.05)
    index = np.flatnonzero(is_peak) + 1
    return [int(i) for i in index[np.argsort(-values[index])][:count]]


def _fine_delay(a: F64, b: F64, rate: int, lag_s: float) -> tuple[float, float]:
    """Delay near ``lag_s`` from the waveforms, and the share (0..1) of the energy in segments that agree on it."""
    lag = round(lag_s * rate)
    length = int(SEGMENT_S * rate)
    reach = int(FINE_RANGE_S * rate)
    first, last = max(0, -lag), min(len(a), len(b) - lag)
    delays: list[float] = []
    energies: list[float] = []
    clear: list[bool] = []
    for start in range(first, max(last - length // 2, first + 1), length // 2):
        stop = min(start + length, last)
        if stop - start < LEAST_OVERLAP_S * rate:
            continue
        part_a, part_b = a[start:stop], b[start + lag : stop + lag]
        offset, clarity = _phase_transform_peak(part_a, part_b, rate, reach)
        delays.append((lag + offset) / rate)
        energies.append(float(np.sqrt((part_a**2).sum() * (part_b**2).sum())))
        clear.append(clarity >= LEAST_CLARITY)
    if sum(energies) <= 0:
        return lag_s, 0.0
    found = np.array(delays)
    weights = np.array(energies) * np.array(clear)
    near = np.abs(found[:, None] - found[None]) < SAME_DELAY_S
    middle = int(np.argmax(near @ weights))
    share = float((near[middle] * weights).sum() / sum(energies))
    if share <= 0:
        return lag_s, 0.0
    return float(np.average(found[near[middle]], weights=weights[near[middle]])), share


def _phase_transform_peak(a: F64, b: F64, rate: int, reach: int) -> tuple[float, float]:
    """Lag (samples, fractional, within +-reach) of b against a, and how clearly it stands out (0..1)."""
    size = 1 << (len(a) + reach).bit_length()
    window = np.hanning(len(a))
    cross = np.conj(np.fft.rfft(a * window, size)) * np.fft.rfft(b * window, size)
    frequency = np.fft.rfftfreq(size, 1 / rate)
    magnitude = np.abs(cross)
    # Partial whitening: a full one would listen to bins that hold nothing but noise.
    cross *= ((frequency > SPEECH_BAND_HZ[0]) & (frequency < SPEECH_BAND_HZ[1])) / (
        magnitude**0.8 + 1e-6 * magnitude.max(initial=0.0) ** 0.8 + 1e-30
    )
    full = np.fft.irfft(cross, size)
    values = full[np.arange(-reach, reach + 1) % size]
    peak = int(np.argmax(values))
    spread = float(np.sqrt(np.mean(values**2)))
    if spread <= 0 or not 0 < peak < 2 * reach:
        return float(peak - reach), 0.0
    left, middle, right = values[peak - 1 : peak + 2]
    curvature = left - 2 * middle + right
    offset = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    # Of noise, the highest of some thousand values is about 3.5 deviations high.
    return peak - reach + float(offset), float(np.clip((middle / spread - 4.0) / 6.0, 0.0, 1.0))


LEAST_FLASH = 12.0  # brightness steps of 255
FLASH_NOISE_RATIO = 8.0


def flash_times(luma_means: F64, times_ns: I64) -> I64:
    """When the picture turned bright: onsets (K,) in ns.

    ``luma_means`` (N,) is each frame's mean brightness (0..255), ``times_ns`` (N,) the time from which it was shown.
    A frame of which only a share p of the full brightness is reached was lit for its last p: the onset is then
    (1 - p) of its duration after its time.
    """
    luma = np.asarray(luma_means, np.float64).reshape(-1)
    times = np.asarray(times_ns, np.int64).reshape(-1)
    if len(luma) != len(times):
        raise ValueError(f"expected as many times as brightnesses, not {len(times)} and {len(luma)}")
    good = np.isfinite(luma)
    luma, times = luma[good], times[good]
    if len(luma) < 4:
        return np.zeros(0, np.int64)
    dark = float(np.median(luma))
    noise = float(np.median(np.abs(luma - dark)))
    least = max(LEAST_FLASH, FLASH_NOISE_RATIO * noise)
    if luma.max() - dark < least:
        dark = float(np.percentile(luma, 10))  # lit for more than half of the time
        if luma.max() - dark < LEAST_FLASH:
            return np.zeros(0, np.int64)
    half = dark + 0.5 * (float(luma.max()) - dark)
    usual_ns = float(np.median(np.diff(times)))
    onsets: list[int] = []
    for rise in np.flatnonzero((luma[1:] > half) & (luma[:-1] <= half)) + 1:
        full = float(luma[rise : rise + 2].max())
        first = int(rise)
        if first > 0 and luma[first - 1] - dark > max(0.08 * (full - dark), 3 * noise + 1.0):
            first -= 1  # lit for less than half of its duration
        share = min(max((float(luma[first]) - dark) / (full - dark), 0.0), 1.0)
        ends_ns = int(times[first + 1]) if first + 1 < len(times) else int(times[first] + usual_ns)
        duration_ns = min(max(float(ends_ns - times[first]), 0.0), 2 * usual_ns)
        onsets.append(int(times[first]) + round((1 - share) * duration_ns))
    return np.array(onsets, np.int64)


BEEP_SMOOTHING_S = 0.002
LEAST_BEEP_S = 0.01
BEEP_NOISE_RATIO = 12.0  # in power
LEAST_BEEP_POWER = 1e-7  # -70 dB of full scale
BEEP_REST_S = 0.15  # quiet before the next beep counts as one


def beep_times(samples: F32, rate: int, start_ns: int) -> I64:
    """When a tone set in: onsets (K,) in ns, of (N,) mono samples of which the first is at ``start_ns``."""
    x = np.nan_to_num(np.asarray(samples, np.float64).reshape(-1), posinf=0.0, neginf=0.0)
    width = max(int(BEEP_SMOOTHING_S * rate) | 1, 3)
    if rate < 2000 or len(x) < 4 * width:
        return np.zeros(0, np.int64)
    # The centred mean of the power crosses half of its plateau exactly where a tone begins.
    total = np.concatenate([[0.0], np.cumsum(np.pad(x**2, (width // 2 + 1, width // 2)))])
    power = np.maximum(total[width + 1 :] - total[1:-width], 0.0) / width
    threshold = max(BEEP_NOISE_RATIO * float(np.median(power)), 0.05 * float(power.max()), LEAST_BEEP_POWER)
    loud = power > threshold
    if not loud.any():
        return np.zeros(0, np.int64)
    rises = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    falls = np.flatnonzero(~loud[1:] & loud[:-1]) + 1
    onsets: list[int] = []
    quiet_since = 0
    for rise in rises:
        before = falls[falls <= rise]
        quiet_since = int(before[-1]) if len(before) else 0
        if quiet_since and rise - quiet_since < BEEP_REST_S * rate:
            continue
        after = power[rise : rise + int(LEAST_BEEP_S * rate)]
        if len(after) < int(LEAST_BEEP_S * rate) or np.median(after) <= threshold:
            continue
        half = 0.5 * float(np.median(after))
        cross = int(rise) - width + int(np.argmax(power[max(rise - width, 0) :] > half)) if rise >= width else int(rise)
        cross = max(cross, 1)
        low, high = float(power[cross - 1]), float(power[cross])
        exact = cross - 1 + (half - low) / (high - low) if high > low else float(cross)
        onsets.append(start_ns + round(exact * NS_PER_S / rate))
    return np.array(onsets, np.int64)


PAIR_RANGE_MS = 2000.0
PAIR_WINDOW_MS = 60.0


def pair_offsets_ms(flash_ns: I64, beep_ns: I64) -> F64:
    """How much later each beep is than the flash that belongs to it: (pairs,) ms, empty without a pair.

    The pairing is the one shift on which the most flashes find a beep; among equals, the smallest.
    """
    flashes = np.sort(np.asarray(flash_ns, np.int64).reshape(-1))
    beeps = np.sort(np.asarray(beep_ns, np.int64).reshape(-1))
    if len(flashes) == 0 or len(beeps) == 0:
        return np.zeros(0)
    differences = (beeps[None, :] - flashes[:, None]) / 1e6
    shifts = np.sort(differences[np.abs(differences) <= PAIR_RANGE_MS])
    if len(shifts) == 0:
        return np.zeros(0)
    ends = np.searchsorted(shifts, shifts + PAIR_WINDOW_MS, side="right")
    counts = ends - np.arange(len(shifts))
    middles = np.array([np.median(shifts[i:end]) for i, end in enumerate(ends)])
    best = min(range(len(shifts)), key=lambda i: (-counts[i], abs(middles[i])))
    nearest = differences[np.arange(len(flashes)), np.abs(differences - middles[best]).argmin(axis=1)]
    return np.asarray(nearest[np.abs(nearest - middles[best]) <= PAIR_WINDOW_MS])


AGREEMENT_MS = 15.0


class FollowOffset:
    """Follows a slowly changing offset through noisy estimates, without ever jumping.

    The goal is the median of the last ``window`` estimates that were sure enough. It moves only when that median is
    ``hysteresis_ms`` away from it and most of the estimates agree on it; ``at`` walks there with at most
    ``slew_ms_per_s``.
    """

    def __init__(
        self,
        start_ms: float = 0.0,
        *,
        window: int = 7,
        least_confidence: float = 0.5,
        hysteresis_ms: float = 5.0,
        slew_ms_per_s: float = 10.0,
        largest_ms: float = 1000.0,
    ) -> None:
        if not math.isfinite(start_ms):
            raise ValueError(f"expected a finite offset to start from, not {start_ms}")
        self._estimates: deque[float] = deque(maxlen=window)
        self._least_count = (window + 1) // 2
        self._least_confidence = least_confidence
        self._hysteresis_ms = hysteresis_ms
        self._slew_ms_per_s = slew_ms_per_s
        self._largest_ms = largest_ms
        self._goal_ms = self._offset_ms = start_ms
        self._now_ns: int | None = None

    @property
    def goal_ms(self) -> float:
        """Where the offset is going."""
        return self._goal_ms

    def add(self, estimate_ms: float, confidence: float) -> None:
        """Take an estimate; unsure, impossible and not finite ones are ignored."""
        if not (math.isfinite(estimate_ms) and abs(estimate_ms) <= self._largest_ms):
            return
        if not confidence >= self._least_confidence:
            return
        self._estimates.append(estimate_ms)
        if len(self._estimates) < self._least_count:
            return
        median_ms = float(np.median(self._estimates))
        agreeing = sum(abs(one - median_ms) <= AGREEMENT_MS for one in self._estimates)
        if agreeing >= self._least_count and abs(median_ms - self._goal_ms) > self._hysteresis_ms:
            self._goal_ms = median_ms

    def at(self, now_ns: int) -> float:
        """The offset in ms to use now. Times must not decrease; an earlier one changes nothing."""
        if self._now_ns is None:
            self._now_ns = now_ns
        elapsed_s = max(now_ns - self._now_ns, 0) / NS_PER_S
        self._now_ns = max(self._now_ns, now_ns)
        step_ms = elapsed_s * self._slew_ms_per_s
        way_ms = self._goal_ms - self._offset_ms
        self._offset_ms += min(max(way_ms, -step_ms), step_ms)
        return self._offset_ms
