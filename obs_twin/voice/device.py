"""What microphone and room do to a voice: measured from some seconds of speech, and said in words.

    meter = DeviceMeter(48_000)
    meter.push(block) ...                 # a live stream, or a whole recording
    report = meter.report()               # None until there was enough speech
    print("\\n".join(report.words()))

Speech is what stands out of the quietest tenth. From its frames come the long-term spectrum in thirds of an octave, the
highest frequency that still carries voice, and the level; from the others the noise. Reverberation is told from how
fast the sound dies away: no sound can end faster than the room lets it (the idea of Ratnam et al. 2003), so the fastest
of all decays tell of the room.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from obs_twin.voice.model import F32, F64

FRAME_S = 0.042
HOP_S = 0.0105
REMEMBERED_S = 60.0
LEAST_SPEECH_S = 3.0
SPEECH_OVER_NOISE_DB = 7.0
SPEECH_UNDER_PEAK_DB = 30.0  # quieter than this beside the loudest frames is no speech, however quiet the room is
SILENT_DB = -100.0

THIRDS_HZ = np.round(1000 * 2.0 ** (np.arange(-9, 13) / 3), 1)
"""Middles of the bands: 125 Hz to 16 kHz."""
LINEAR_HZ = 500.0  # width of the bands in which the upper end is looked for
CARRIES_OVER_NOISE_DB = 6.0
CARRIES_UNDER_PEAK_DB = 65.0
CLIPPED = 0.985

DECAY_BAND_HZ = (400.0, 4000.0)
DECAY_S = 0.128
LEAST_DECAY_DB = 6.0
STEP_UP_DB = 1.5  # between two frames, a decay may rise so much
FAST_SHARE = 25.0  # per cent of all decays
# What the method reads, and the reverberation time: measured on six voices, dry and with exponential echoes as strong
# as the voice itself. Speech alone reads 0.28 s, as sounds do not end at once.
READ_S, ROOM_S = (0.28, 0.36, 0.51, 0.67, 0.85), (0.0, 0.3, 0.5, 0.8, 1.2)

NARROW_HZ, HEADSET_HZ = 4600.0, 9500.0
LOUD_ROOM_DB, QUIET_ROOM_DB = 18.0, 28.0
ECHO_S, HALL_S = 0.45, 0.8
CLIPPED_SHARE = 2e-4
LOW_LEVEL_DB, HIGH_LEVEL_DB = -42.0, -12.0


@dataclass(frozen=True)
class DeviceReport:
    """Microphone and room.

    speech_s: seconds of speech that were heard.
    level_db, noise_db: of speech and of the room, below full scale.
    bandwidth_hz: the highest frequency that carries voice; 0 if none was found.
    reverberation_s: estimated time in which a sound dies away by 60 dB.
    clipped_share: share of the samples at full scale.
    spectrum_db: long-term level of speech in the bands of THIRDS_HZ, relative to the mean of 500 to 2000 Hz; SILENT_DB
        where nothing is.
    over_noise_db: by how much speech stands out of the noise in each of these bands.
    """

    speech_s: float
    level_db: float
    noise_db: float
    bandwidth_hz: float
    reverberation_s: float
    clipped_share: float
    spectrum_db: tuple[float, ...]
    over_noise_db: tuple[float, ...]

    @property
    def signal_to_noise_db(self) -> float:
        """How far speech stands out of the room."""
        return self.level_db - self.noise_db

    def figures(self) -> str:
        """One line of numbers."""
        return (
            f"speech {self.level_db:.0f} dBFS, room {self.noise_db:.0f} dBFS, up to {self.bandwidth_hz / 1000:.1f} kHz"
            f", reverberation about {self.reverberation_s:.1f} s"
        )

    def words(self, recorded_to_hz: float = 24_000.0) -> list[str]:
        """What no filter can mend, and what would help; empty if all is well.

        Args:
            recorded_to_hz: the highest frequency that the recording could hold; what lies above is no fault of the
                microphone.
        """
        said: list[str] = []
        if self.bandwidth_hz > recorded_to_hz - 2 * LINEAR_HZ:
            pass
        elif 0 < self.bandwidth_hz < NARROW_HZ:
            said.append(
                f"This microphone carries nothing above {self.bandwidth_hz / 1000:.1f} kHz, as a telephone or a "
                "Bluetooth headset in call mode does; s, f and th are lost. Use a cable, or another microphone."
            )
        elif 0 < self.bandwidth_hz < HEADSET_HZ:
            said.append(f"This headset cuts at {self.bandwidth_hz / 1000:.0f} kHz; a condenser microphone would help.")
        if self.signal_to_noise_db < LOUD_ROOM_DB:
            said.append(
                f"The room is only {self.signal_to_noise_db:.0f} dB quieter than your voice. Switch off what hums, "
                "close the window, and come closer to the microphone."
            )
        elif self.signal_to_noise_db < QUIET_ROOM_DB:
            said.append("The room is a little loud. Coming closer to the microphone helps most.")
        if self.reverberation_s > ECHO_S:
            much = "strongly" if self.reverberation_s > HALL_S else "a little"
            said.append(
                f"The room echoes {much} (about {self.reverberation_s:.1f} s). Come closer to the microphone; a "
                "carpet, curtains or a coat behind it help."
            )
        if self.clipped_share > CLIPPED_SHARE:
            said.append("The microphone is turned up too far: loud sounds are cut off. Turn it down.")
        elif self.level_db > HIGH_LEVEL_DB:
            said.append("The microphone is turned up very far. Lower its level a little.")
        elif self.level_db < LOW_LEVEL_DB:
            said.append("The microphone is very quiet. Raise its level, or come closer.")
        return said


class DeviceMeter:
    """Listens to one mono stream; cheap enough to run along (two per cent of a core)."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._size = 1 << round(np.log2(FRAME_S * rate_hz))
        self._hop = self._size // 4
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._x = np.zeros(0, np.float32)
        middles = np.fft.rfftfreq(self._size, 1 / rate_hz)
        edges = THIRDS_HZ * 2.0 ** (-1 / 6), THIRDS_HZ * 2.0 ** (1 / 6)
        thirds = (middles >= edges[0][:, None]) & (middles < edges[1][:, None])
        bands = int(rate_hz / 2 // LINEAR_HZ)
        linear = (middles // LINEAR_HZ).astype(int)[None] == np.arange(bands)[:, None]
        decay = (middles >= DECAY_BAND_HZ[0]) & (middles <= DECAY_BAND_HZ[1])
        all_of_it = middles >= 80.0  # rumble is not heard
        power = 2.0 / (self._size * float((self._window**2).sum()))
        self._weights = (np.concatenate([thirds, linear, [decay], [all_of_it]]) * power).astype(np.float32)
        self._frames: deque[F32] = deque(maxlen=int(REMEMBERED_S * rate_hz / self._hop))
        self._samples = self._clipped = 0

    def push(self, x: F32) -> None:
        """Take (N,) further samples in -1..1."""
        x = np.nan_to_num(np.asarray(x, np.float32).reshape(-1))
        self._samples += len(x)
        self._clipped += int((np.abs(x) >= CLIPPED).sum())
        self._x = np.concatenate([self._x, x])
        count = (len(self._x) - self._size) // self._hop + 1
        if count <= 0:
            return
        view = np.lib.stride_tricks.sliding_window_view(self._x, self._size)[:: self._hop][:count]
        for at in range(0, count, 256):
            spectrum = np.fft.rfft(view[at : at + 256] * self._window, axis=1)
            power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
            self._frames.extend(power @ self._weights.T)
        self._x = self._x[count * self._hop :]

    def report(self) -> DeviceReport | None:
        """What was found in the last minute; None if there were less than three seconds of speech in it."""
        if len(self._frames) < 4:
            return None
        power = np.stack(self._frames).astype(np.float64)
        level_db = _db(power[:, -1])
        heard = level_db > SILENT_DB + 10  # digital silence tells nothing of the room
        if not heard.any():
            return None
        noise_db = float(np.percentile(level_db[heard], 10))
        loudest_db = float(np.percentile(level_db, 99))
        speech = level_db > max(noise_db + SPEECH_OVER_NOISE_DB, loudest_db - SPEECH_UNDER_PEAK_DB)
        speech_s = float(speech.sum()) * self._hop / self._rate_hz
        if speech_s < LEAST_SPEECH_S:
            return None
        quiet = heard & (level_db < noise_db + 3)
        spoken, room = power[speech].mean(axis=0), power[quiet].mean(axis=0)
        thirds = len(THIRDS_HZ)
        spectrum_db = _db(spoken[:thirds])
        middle = (THIRDS_HZ >= 500) & (THIRDS_HZ <= 2000)
        over_db = spectrum_db - _db(room[:thirds])
        relative_db = np.where(spectrum_db > SILENT_DB + 10, spectrum_db - spectrum_db[middle].mean(), SILENT_DB)
        return DeviceReport(
            speech_s=speech_s,
            level_db=float(_db(spoken[-1])),
            noise_db=float(_db(room[-1])) if (~heard).mean() < 0.2 else SILENT_DB,
            bandwidth_hz=_bandwidth_hz(power[speech, thirds:-2], room[thirds:-2]),
            reverberation_s=_reverberation_s(_db(power[:, -2]), self._hop / self._rate_hz),
            clipped_share=self._clipped / max(1, self._samples),
            spectrum_db=tuple(relative_db.tolist()),
            over_noise_db=tuple(over_db.tolist()),
        )


def _bandwidth_hz(speech: F64, room: F64) -> float:
    """The upper edge of the highest of the linear bands that carries voice: s and f count, so the loudest frames do."""
    loud_db = _db(np.percentile(speech, 95, axis=0))
    carries = (loud_db > _db(room) + CARRIES_OVER_NOISE_DB) & (loud_db > loud_db.max() - CARRIES_UNDER_PEAK_DB)
    found = np.flatnonzero(carries)
    return float((found[-1] + 1) * LINEAR_HZ) if len(found) else 0.0


def _reverberation_s(level_db: F64, hop_s: float) -> float:
    """Time for 60 dB, from the fastest decays in the level (n,) of frames `hop_s` apart; 0 if there are too few."""
    frames = round(DECAY_S / hop_s)
    views = np.lib.stride_tricks.sliding_window_view(level_db, frames)
    at = np.arange(frames) - (frames - 1) / 2
    slope = views @ at / (at @ at) / hop_s  # dB a second
    falls = (np.diff(views, axis=1) < STEP_UP_DB).all(axis=1) & (views[:, 0] - views[:, -1] > LEAST_DECAY_DB)
    falls &= views[:, -1] > np.percentile(level_db, 10) + 4  # above the noise
    if falls.sum() < 5:
        return 0.0
    return float(np.interp(np.percentile(60.0 / -slope[falls], FAST_SHARE), READ_S, ROOM_S))


def _db(power: F64) -> F64:
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10))))
