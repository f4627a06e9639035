"""The ring that carries sound, addressed by sample position.

The host writes what the microphone gave (one lane per channel) at position p, p+1, ... and reads the twin's voice
(one lane) at p - D. The engine writes the twin's voice for position p at position p: the delay is the host's alone,
so it is exact to the sample whatever the engine does. A sample is only played when the engine has written it
(`out_from <= position < out_pos`); everything else is silence.
"""

from __future__ import annotations

import ctypes

from obs_twin.link import memory

MAGIC = 0x5457534E  # "TWSN"
VERSION = 1
MAX_CHANNELS = 8
SAMPLE_BYTES = 4

REVEAL = 1
"""Header flag: the operator asked for the real voice."""


class Header(ctypes.Structure):
    """First page of the ring. Positions are counts of samples since the ring was made.

    Of the newest packet, `in_pos` is its end and `in_time_ns` when the host took it in (the system's monotonic clock).
    `origin_stamp_ns` is what OBS's own timestamps say of position 0.
    """

    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        # set by the host once
        ("rate_hz", ctypes.c_uint32),
        ("channels", ctypes.c_uint32),
        ("capacity", ctypes.c_uint64),
        # written by the host
        ("in_pos", ctypes.c_uint64),
        ("in_time_ns", ctypes.c_int64),
        ("origin_stamp_ns", ctypes.c_int64),
        ("delay_samples", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        # written by the engine
        ("out_from", ctypes.c_uint64),
        ("out_pos", ctypes.c_uint64),
    )


_LANES = 4096


def ring_bytes(channels: int, capacity: int) -> int:
    """Bytes of shared memory: a lane for each channel, and one for the voice."""
    return _LANES + (channels + 1) * capacity * SAMPLE_BYTES


class SoundRing:
    """One side's view of the ring."""

    def __init__(self, shared: memory.SharedMemory) -> None:
        self.shared = shared
        self.header = Header.from_buffer(shared.mapping)
        if self.header.magic != MAGIC or self.header.version != VERSION:
            raise ValueError(
                f"sound ring: expected magic {MAGIC:#x} version {VERSION}, found {self.header.magic:#x} version "
                f"{self.header.version}. OBS and the engine run different versions of OBS Twin: restart OBS."
            )
        self.rate_hz = int(self.header.rate_hz)
        self.channels = int(self.header.channels)
        self.capacity = int(self.header.capacity)

    @classmethod
    def create(cls, rate_hz: int, channels: int, capacity: int) -> SoundRing:
        """Host: make a ring of `capacity` samples a lane. Raises OSError if there is no memory."""
        shared = memory.create(ring_bytes(channels, capacity))
        header = Header.from_buffer(shared.mapping)
        header.rate_hz, header.channels, header.capacity = rate_hz, channels, capacity
        header.version = VERSION
        header.magic = MAGIC
        return cls(shared)

    @classmethod
    def open(cls, handle: str, size_bytes: int) -> SoundRing:
        """Engine: open the host's ring. Raises OSError if it is gone, ValueError if it is not a ring of ours."""
        return cls(memory.open_shared(handle, size_bytes))

    def lane_offset(self, lane: int) -> int:
        """Byte offset of a lane: 0 to channels - 1 from the microphone, `channels` is the voice."""
        return _LANES + lane * self.capacity * SAMPLE_BYTES

    def lane_address(self, lane: int) -> int:
        """Address of a lane in this process."""
        return self.shared.address + self.lane_offset(lane)

    @property
    def voice_lane(self) -> int:
        """The lane that the engine writes."""
        return self.channels

    def write(self, lane: int, position: int, source: int, count: int) -> None:
        """Copy `count` float32 samples from address `source` to `position` of a lane, around the end if need be."""
        self._copy(lane, position, source, count, into_ring=True)

    def read(self, lane: int, position: int, target: int, count: int) -> None:
        """Copy `count` float32 samples at `position` of a lane to address `target`."""
        self._copy(lane, position, target, count, into_ring=False)

    def silence(self, lane: int, position: int, count: int) -> None:
        """Zero `count` samples of a lane."""
        base = self.lane_address(lane)
        start = position % self.capacity
        first = min(count, self.capacity - start)
        ctypes.memset(base + start * SAMPLE_BYTES, 0, first * SAMPLE_BYTES)
        if count > first:
            ctypes.memset(base, 0, (count - first) * SAMPLE_BYTES)

    def _copy(self, lane: int, position: int, other: int, count: int, *, into_ring: bool) -> None:
        base = self.lane_address(lane)
        start = position % self.capacity
        first = min(count, self.capacity - start)
        rest = count - first
        if into_ring:
            ctypes.memmove(base + start * SAMPLE_BYTES, other, first * SAMPLE_BYTES)
            if rest:
                ctypes.memmove(base, other + first * SAMPLE_BYTES, rest * SAMPLE_BYTES)
        else:
            ctypes.memmove(other, base + start * SAMPLE_BYTES, first * SAMPLE_BYTES)
            if rest:
                ctypes.memmove(other + first * SAMPLE_BYTES, base, rest * SAMPLE_BYTES)

    def close(self) -> None:
        """Drop the view, then the memory."""
        del self.header
        self.shared.close()
