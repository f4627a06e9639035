"""Bringing a microphone's colour to that of the speech which the converter learnt from, without any delay.

    matcher = DeviceMatcher(48_000)
    y = matcher.push(x)            # as many samples as came in, at their own places
    matcher.report                 # what was measured so far, or None

What a filter can mend is the slow shape of the spectrum, within 9 dB and where the voice stands out of the noise. What
it cannot (missing high frequencies, noise, echoes, clipping) is said in words by `device.DeviceReport`.

What it is worth, as words that Whisper base misses after conversion with D = 0.5 s (four LJSpeech clips, 71 words; six
of LibriSpeech test-other, 124 words): at full gain a dull microphone (-14 dB at 4 kHz) 7 -> 4, a boomy one 7 -> 5, a
telephone's band 7 -> 7, a thin one 2 -> 2. Live from a cold start, with ENOUGH_DB: dull 7 -> 6, and the recordings
as they are 5 -> 5 and 44 -> 44. So few words say little more than that it does no harm. Costs 1.5 % of a core.
"""

from __future__ import annotations

import numpy as np

from obs_twin.voice.device import REMEMBERED_S, THIRDS_HZ, DeviceMeter, DeviceReport
from obs_twin.voice.model import F32, F64

# Mean long-term spectrum of the built-in speech as a woman and as a man, by DeviceMeter; bands of THIRDS_HZ.
REFERENCE_DB = np.array(
    [-7, 4, 12, 11, 6, 6, 2, 3, 5, 1, -2, -4.5, -5, -6.5, -8.5, -9.5, -7, -6, -4, -4.5, -21, -28], float
)
MOST_DB = 9.0
STRENGTH = 0.6
"""Of the difference that is corrected: part of it is the speaker, not the device."""
ENOUGH_DB = 2.5
"""Voices differ by so much on the same microphone: differences are corrected only as far as they are greater."""
SMOOTHING = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
"""Over neighbouring thirds of an octave: a device has no narrow peaks, a vowel has."""
LOWEST_HZ, HIGHEST_HZ = 230.0, 8500.0
"""Below lies the pitch, above the breath: both are the speaker's."""
LEAST_OVER_NOISE_DB = 10.0
TAPS_S = 0.012
FFT_SIZE = 4096
EVERY_S = 2.0
SLEW_DB = 1.5
"""The most that a band changes at a time: nobody hears it turn."""


def correction_db(report: DeviceReport, strength: float = STRENGTH) -> F64:
    """Gain in each band of THIRDS_HZ, (22,), within -9 to 9 dB, that brings this device nearer to the reference.

    Bands below 230 Hz, above 8.5 kHz, beyond the device's bandwidth, or drowned in noise follow their neighbours
    downwards and are never raised.
    """
    found_db = np.array(report.spectrum_db)
    gain = strength * (REFERENCE_DB - found_db)
    bands_hz, highest_hz = THIRDS_HZ, min(HIGHEST_HZ, 0.9 * report.bandwidth_hz)
    good = (bands_hz >= LOWEST_HZ) & (bands_hz <= highest_hz)
    good &= np.array(report.over_noise_db) >= LEAST_OVER_NOISE_DB
    if good.sum() < 4:
        return np.zeros(len(THIRDS_HZ))
    gain = np.interp(np.log(THIRDS_HZ), np.log(THIRDS_HZ[good]), gain[good])
    gain = np.convolve(np.pad(gain, len(SMOOTHING) // 2, mode="edge"), SMOOTHING, "valid")
    gain -= gain[(THIRDS_HZ >= 500) & (THIRDS_HZ <= 2000)].mean()  # the level is not its business
    gain = np.sign(gain) * np.maximum(np.abs(gain) - ENOUGH_DB, 0.0)
    return np.asarray(np.clip(np.where(good, gain, np.minimum(gain, 0.0)), -MOST_DB, MOST_DB))


def minimum_phase_taps(gain_db: F64, rate_hz: int) -> F32:
    """The shortest-lived filter with these gains in the bands of THIRDS_HZ: its energy comes at once, so it adds no
    delay (Oppenheim and Schafer, "Discrete-Time Signal Processing", cepstral method)."""
    hz = np.fft.rfftfreq(FFT_SIZE, 1 / rate_hz)
    log_gain = np.interp(np.log(np.maximum(hz, 1.0)), np.log(THIRDS_HZ), gain_db) * (np.log(10) / 20)
    quefrency = np.fft.irfft(log_gain)
    quefrency[1 : FFT_SIZE // 2] *= 2.0
    quefrency[FFT_SIZE // 2 + 1 :] = 0.0
    taps = np.fft.irfft(np.exp(np.fft.rfft(quefrency)))[: int(TAPS_S * rate_hz)]
    fade = np.ones(len(taps))
    fade[len(taps) // 2 :] = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, len(taps) - len(taps) // 2))
    return np.asarray(taps * fade, np.float32)


class StreamingEqualiser:
    """A filter whose gains may change while it runs. Sample k in is sample k out, at once."""

    def __init__(self, rate_hz: int, gain_db: F64 | None = None) -> None:
        self._rate_hz = rate_hz
        self.gain_db = np.zeros(len(THIRDS_HZ)) if gain_db is None else gain_db
        self._taps = minimum_phase_taps(self.gain_db, rate_hz)
        self._old: F32 | None = None
        self._past = np.zeros(len(self._taps) - 1, np.float32)

    def set_gains(self, gain_db: F64) -> None:
        """Gains (22,) in dB in the bands of THIRDS_HZ; taken over within the next push, without a click."""
        if np.array_equal(gain_db, self.gain_db):
            return
        self.gain_db = np.clip(np.asarray(gain_db, float), -MOST_DB, MOST_DB)
        if self._old is None:
            self._old = self._taps
        self._taps = minimum_phase_taps(self.gain_db, self._rate_hz)

    def push(self, x: F32) -> F32:
        """Take (N,) samples, return (N,)."""
        if not len(x):
            return x
        heard = np.concatenate([self._past, np.asarray(x, np.float32)])
        self._past = heard[-len(self._past) :]
        y = np.convolve(heard, self._taps, "valid")
        if self._old is not None:
            ramp = (np.arange(len(y), dtype=np.float32) + 1) / len(y)
            y = np.convolve(heard, self._old, "valid") * (1 - ramp) + y * ramp
            self._old = None
        return np.asarray(y, np.float32)

    def reset(self) -> None:
        """Forget the samples before (after a gap), keeping the gains."""
        self._past = np.zeros_like(self._past)


class DeviceMatcher:
    """Measures a stream and corrects it as it goes; put it in front of a converter's ears.

    Args:
        rate_hz: of the stream.
        strength: 0 measures only.

    Attributes:
        report: the latest measurement, None before there was enough speech.
    """

    def __init__(self, rate_hz: int, strength: float = STRENGTH) -> None:
        self._meter = DeviceMeter(rate_hz)
        self._equaliser = StreamingEqualiser(rate_hz)
        self._every = int(EVERY_S * rate_hz)
        self._since = 0
        self._strength = strength
        self.report: DeviceReport | None = None

    def push(self, x: F32) -> F32:
        """Take (N,) samples, return (N,) corrected ones; sample k stays sample k."""
        self.measure(x)
        return self.correct(x)

    def measure(self, x: F32) -> None:
        """The first half of `push`: learn from (N,) samples."""
        self._meter.push(x)
        self._since += len(x)
        if self._since >= self._every:
            self._since = 0
            self.report = self._meter.report() or self.report
            if self.report is not None:
                now_db = self._equaliser.gain_db
                wanted_db = correction_db(self.report, self._strength)
                self._equaliser.set_gains(now_db + np.clip(wanted_db - now_db, -SLEW_DB, SLEW_DB))

    def correct(self, x: F32) -> F32:
        """The second half: (N,) samples with what was learnt so far."""
        return self._equaliser.push(x)

    def reset(self) -> None:
        """After a gap: forget the samples before, keep what was learnt of the device."""
        self._equaliser.reset()

    def state(self) -> list[str]:
        """For the panel: what is measured, and what the filter does about it."""
        if self.report is None:
            return ["Microphone: not enough speech heard yet (three seconds are needed)."]
        return [f"Microphone: {self.report.figures()}", colour_in_words(self._equaliser.gain_db)]

    def advice(self) -> list[str]:
        """For the panel: what no filter can mend, and what would help."""
        return [] if self.report is None else self.report.words()


def correct_whole(sound: F32, rate_hz: int) -> tuple[F32, DeviceReport | None]:
    """A whole recording (N,), measured first and then corrected from its first sample on, and what was measured."""
    meter = DeviceMeter(rate_hz)
    meter.push(sound[: int(REMEMBERED_S * rate_hz)])
    report = meter.report()
    if report is None:
        return sound, None
    equaliser = StreamingEqualiser(rate_hz, correction_db(report))
    # Second by second: a recording may last for hours.
    return np.concatenate([equaliser.push(sound[at : at + rate_hz]) for at in range(0, len(sound), rate_hz)]), report


def describe(report: DeviceReport | None, recorded_to_hz: float = 24_000.0) -> list[str]:
    """A report in words, with what the filter would correct."""
    if report is None:
        return ["Microphone: not enough speech heard yet (three seconds are needed)."]
    lines = [f"Microphone: {report.figures()}", colour_in_words(correction_db(report))]
    return lines + (report.words(recorded_to_hz) or ["Nothing else stands in the way of a good voice."])


def colour_in_words(gain_db: F64) -> str:
    """What a filter with these gains does, for a person."""
    low, high = int(np.argmin(gain_db)), int(np.argmax(gain_db))
    changes = [f"{gain_db[at]:+.0f} dB at {_hz(THIRDS_HZ[at])}" for at in (high, low) if abs(gain_db[at]) >= 1.5]
    return f"Corrected by a filter: {', '.join(changes)}" if changes else "Its colour needs no correction."


def _hz(frequency: float) -> str:
    return f"{frequency / 1000:.1f} kHz" if frequency >= 1000 else f"{frequency:.0f} Hz"
