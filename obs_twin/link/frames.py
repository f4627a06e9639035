"""The ring that carries pictures: raw in, twin out, in the same slot.

```
            host writes frame n            engine overwrites it with the twin        host shows it at t + D
 slots   ...| twin | twin | twin | twin | twin | working | raw | raw | <- newest (head_seq)
               ^ shown now (capture time nearest to t - D)
```

A frame stays in its slot for the whole delay D: first as the camera's picture, then, overwritten in place, as the
finished one. One ring of D (and a little more) is therefore all the memory there is, whatever happens to the
engine: what it had finished goes on being shown while it restarts, and what it had not is still there to be done.

A slot is only ever shown when `done_seq == seq`. The host invalidates a slot (new `seq`) before it writes raw planes
into it, and the engine sets `done_seq` to the sequence number that it worked on after its last byte: however the two
race, and wherever either dies, a slot that holds any byte of a raw picture is not shown.

Each field has one writer. Python's own locks around each foreign call order the stores (and x86 keeps stores in
order anyway).

Behind the slots lie two more pictures of the same size, written by the engine and shown by the host on its own
decision: the card (fail closed) and the slate (opening notice).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from obs_twin.link import memory

MAGIC = 0x54574652  # "TWFR"
VERSION = 1

FACE = 1
"""Slot flag: the face of this frame is to be replaced."""
BACKGROUND = 2
"""Slot flag: the background of this frame is to be replaced."""
REVEAL = 4
"""Slot flag: the operator asked for the real picture while this frame was captured."""

EMPTY, TWIN, FALLBACK, REVEALED, TEST = 0, 1, 2, 3, 4
"""What a finished slot holds: nothing yet; the twin; the failure policy's picture; the real picture, on request; the
calibration's flash."""


class Header(ctypes.Structure):
    """First page of the ring."""

    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        # set by the host once
        ("slots", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("format", ctypes.c_uint32),
        ("out_format", ctypes.c_uint32),
        ("full_range", ctypes.c_uint32),
        ("flip", ctypes.c_uint32),
        ("slot_bytes", ctypes.c_uint64),
        ("color_matrix", ctypes.c_float * 16),
        ("color_range_min", ctypes.c_float * 3),
        ("color_range_max", ctypes.c_float * 3),
        # written by the host for each frame
        ("head_seq", ctypes.c_uint64),
        ("delay_ns", ctypes.c_int64),
        # written by the engine
        ("card_ready", ctypes.c_uint32),
        ("slate_ready", ctypes.c_uint32),
    )


class Slot(ctypes.Structure):
    """What is known of one frame; its planes lie elsewhere (`FrameRing.picture_address`).

    `time_ns` is its place on the content clock, `stamp_ns` OBS's own timestamp, `posted_ns` when the host took it in
    (on the system's monotonic clock).
    """

    _fields_ = (
        ("seq", ctypes.c_uint64),
        ("time_ns", ctypes.c_int64),
        ("posted_ns", ctypes.c_int64),
        ("stamp_ns", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("done_seq", ctypes.c_uint64),
    )


PAGE = 4096
_SLOT_TABLE = PAGE


@dataclass(frozen=True)
class PictureFormat:
    """How a picture lies in memory: all that a codec needs to know of it."""

    width: int
    height: int
    format: int
    out_format: int
    full_range: bool
    flip: bool
    color_matrix: tuple[float, ...]
    color_range_min: tuple[float, ...]
    color_range_max: tuple[float, ...]
    slot_bytes: int


def _round_up(value: int, step: int) -> int:
    return (value + step - 1) // step * step


def ring_bytes(slots: int, slot_bytes: int) -> int:
    """Bytes of shared memory for a ring, its card and its slate."""
    table = _round_up(slots * ctypes.sizeof(Slot), PAGE)
    return _SLOT_TABLE + table + (slots + 2) * _round_up(slot_bytes, PAGE)


class FrameRing:
    """One side's view of the ring. Sequence numbers start at 1; slot of frame n is n % slots."""

    def __init__(self, shared: memory.SharedMemory) -> None:
        self.shared = shared
        self.header = Header.from_buffer(shared.mapping)
        if self.header.magic != MAGIC or self.header.version != VERSION:
            raise ValueError(
                f"frame ring: expected magic {MAGIC:#x} version {VERSION}, found {self.header.magic:#x} version "
                f"{self.header.version}. OBS and the engine run different versions of OBS Twin: restart OBS."
            )
        self.slots = int(self.header.slots)
        self.slot_bytes = int(self.header.slot_bytes)
        self.table = (Slot * self.slots).from_buffer(shared.mapping, _SLOT_TABLE)
        self._pictures = _SLOT_TABLE + _round_up(self.slots * ctypes.sizeof(Slot), PAGE)
        self._stride = _round_up(self.slot_bytes, PAGE)

    @classmethod
    def create(cls, slots: int, picture: PictureFormat) -> FrameRing:
        """Host: make a ring. Raises OSError if the system has no memory for it."""
        shared = memory.create(ring_bytes(slots, picture.slot_bytes))
        header = Header.from_buffer(shared.mapping)
        header.slots = slots
        header.width, header.height = picture.width, picture.height
        header.format, header.out_format = picture.format, picture.out_format
        header.full_range, header.flip = picture.full_range, picture.flip
        header.slot_bytes = picture.slot_bytes
        header.color_matrix[:] = picture.color_matrix
        header.color_range_min[:] = picture.color_range_min
        header.color_range_max[:] = picture.color_range_max
        header.version = VERSION
        header.magic = MAGIC
        return cls(shared)

    @classmethod
    def open(cls, handle: str, size_bytes: int) -> FrameRing:
        """Engine: open the host's ring. Raises OSError if it is gone, ValueError if it is not a ring of ours."""
        return cls(memory.open_shared(handle, size_bytes))

    @property
    def picture(self) -> PictureFormat:
        """The format that the host wrote at creation."""
        h = self.header
        return PictureFormat(
            h.width,
            h.height,
            h.format,
            h.out_format,
            bool(h.full_range),
            bool(h.flip),
            tuple(h.color_matrix),
            tuple(h.color_range_min),
            tuple(h.color_range_max),
            h.slot_bytes,
        )

    def picture_offset(self, index: int) -> int:
        """Byte offset of slot `index`'s planes; `card_index` and `slate_index` are valid too."""
        return self._pictures + index * self._stride

    def picture_address(self, index: int) -> int:
        """Address of slot `index`'s planes in this process."""
        return self.shared.address + self.picture_offset(index)

    @property
    def card_index(self) -> int:
        """Where the fail-closed picture lies."""
        return self.slots

    @property
    def slate_index(self) -> int:
        """Where the opening notice lies."""
        return self.slots + 1

    def close(self) -> None:
        """Drop the views, then the memory."""
        del self.header, self.table
        self.shared.close()
