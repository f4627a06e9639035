"""One audio source's crossing: the hot path of that source's capture thread.

N samples in, N samples out, under the same timestamp, with content exactly D older. What the engine has not written
yet, and everything while panic is on, is silence; the microphone's own samples never leave.
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter

from obs_twin.host.libobs import AudioData
from obs_twin.link.clock import SampleClock
from obs_twin.link.sound import MAX_CHANNELS, REVEAL, SAMPLE_BYTES, SoundRing

CAPACITY_S = 8.0
"""Longest D, its change, and the time that an engine needs to come back."""
FADE_SAMPLES = 240
"""5 ms at 48 kHz: the voice begins and ends without a click."""
MAX_PACKET_SAMPLES = 1 << 16


class SoundStream:
    """The crossing of one source."""

    def __init__(self, parent: int, name: str, rate_hz: int, channels: int) -> None:
        self.parent = parent
        self.name = name
        self.rate_hz = rate_hz
        self.channels = min(channels, MAX_CHANNELS)
        self.ring: SoundRing | None = SoundRing.create(rate_hz, self.channels, int(CAPACITY_S * rate_hz))
        self.delay_samples = 0
        self.reveal = False
        self.panic = False
        self.counts: Counter[str] = Counter()
        self._clock = SampleClock(rate_hz)
        self._playing = False
        self._last_delay = -1
        self._last = 0.0

    def cross(self, address: int) -> int:
        """Take in OBS's packet and overwrite it with the twin's voice of D ago."""
        audio = AudioData.from_address(address)
        count = audio.frames
        lanes = [plane for plane in audio.data[: self.channels] if plane]
        ring = self.ring
        if not count or not lanes:
            return address
        if ring is None or count > MAX_PACKET_SAMPLES:
            self._silence(lanes, count)
            return address
        now_ns = time.monotonic_ns()
        self.counts["packets"] += 1
        start, hole = self._clock.advance(audio.timestamp, count)
        header = ring.header
        for lane in range(self.channels):
            if hole:
                ring.silence(lane, start - hole, hole)
            ring.write(lane, start, lanes[min(lane, len(lanes) - 1)], count)
        header.flags = REVEAL if self.reveal else 0
        header.delay_samples = self.delay_samples
        header.in_time_ns = now_ns
        header.origin_stamp_ns = audio.timestamp - start * 1_000_000_000 // self.rate_hz
        header.in_pos = start + count
        self._play(ring, start - self.delay_samples, lanes[0], count)
        for plane in lanes[1:]:
            ctypes.memmove(plane, lanes[0], count * SAMPLE_BYTES)
        return address

    def _play(self, ring: SoundRing, start: int, target: int, count: int) -> None:
        """Fill `target` with the voice at `start`; silence wherever there is none."""
        written_from = max(ring.header.out_from, ring.header.out_pos - ring.capacity, 0)
        first = max(start, written_from)
        end = min(start + count, ring.header.out_pos)
        moved, self._last_delay = self._last_delay != self.delay_samples, self.delay_samples
        if self.panic or end <= first:
            ctypes.memset(target, 0, count * SAMPLE_BYTES)
            if self._playing:
                _ring_out(target, count, self._last)
            self.counts["panic" if self.panic else "silent" if start < 0 else "late"] += 1
            self._playing = False
            return
        if first > start:
            ctypes.memset(target, 0, (first - start) * SAMPLE_BYTES)
        ring.read(ring.voice_lane, first, target + (first - start) * SAMPLE_BYTES, end - first)
        if end < start + count:
            ctypes.memset(target + (end - start) * SAMPLE_BYTES, 0, (start + count - end) * SAMPLE_BYTES)
            _fade(target + (end - start) * SAMPLE_BYTES, end - first, rising=False)
            self.counts["late"] += 1
        if first > start or not self._playing or moved:
            _fade(target + (first - start) * SAMPLE_BYTES, end - first, rising=True)
        self._playing = end == start + count
        self._last = ctypes.c_float.from_address(target + (count - 1) * SAMPLE_BYTES).value
        self.counts["voice"] += 1

    def _silence(self, lanes: list[int], count: int) -> None:
        self.counts["silent"] += 1
        for plane in lanes:
            ctypes.memset(plane, 0, count * SAMPLE_BYTES)


def _ring_out(target: int, room: int, last: float) -> None:
    """Lead from the last sample that was played to silence, where nothing follows it."""
    length = min(FADE_SAMPLES, room)
    samples = (ctypes.c_float * length).from_address(target)
    for i in range(length):
        samples[i] = last * (1 - (i + 1) / length) ** 2


def _fade(edge: int, room: int, *, rising: bool) -> None:
    """Ramp up the samples after `edge`, or down those before it."""
    length = min(FADE_SAMPLES, room)
    samples = (ctypes.c_float * length).from_address(edge if rising else edge - length * SAMPLE_BYTES)
    for i in range(length):
        samples[i] *= (i + 1) / length if rising else 1 - (i + 1) / length
