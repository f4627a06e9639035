"""One video source's crossing to the engine and back: the hot path of the graphics thread.

`VideoStream.cross` is called by OBS once for each frame and each of our filters on the source. The first call takes
the frame's planes into the ring and gives the frame the finished picture of the frame that was captured D earlier;
further filters of ours on the same source find that done and pass the frame on. Nothing here blocks, allocates per
frame or knows what a picture shows.

Fail closed: whatever is not a finished picture becomes the card (or, by policy, the last finished picture).
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from dataclasses import dataclass, field

from obs_twin.host.libobs import Frame, LibObs
from obs_twin.link import formats
from obs_twin.link.clock import FrameClock
from obs_twin.link.frames import (
    BACKGROUND,
    FACE,
    FALLBACK,
    REVEAL,
    REVEALED,
    TEST,
    TWIN,
    FrameRing,
    PictureFormat,
)

MARGIN_S = 0.8
"""The ring is longer than D by this: m, jitter, and frames that the engine may still hold."""
NEAREST_NS = 150_000_000
"""A neighbour may stand in for a frame that is not finished if it was captured within this time of it."""
HOLD_LIMIT_NS = 2_000_000_000
"""A frozen picture longer than this would mislead; then the card comes."""
START_GRACE_NS = 500_000_000
MAX_RING_BYTES = 3 << 30

SHOWN = {
    TWIN: ("twin", "twin"),
    FALLBACK: ("engine_fallback", "fallback"),
    REVEALED: ("revealed", "revealed"),
    TEST: ("test_signal", "test signal"),
}
"""Counter and name for what a finished slot holds."""

CARD, HOLD, PIXELATE = "card", "hold", "pixelate"


@dataclass
class VideoControls:
    """What the housekeeping thread decides for this stream; read on the hot path."""

    policy: str = CARD
    transparent: bool = False
    slate: bool = True
    slate_until_ns: int = 0
    reveal: bool = False
    panic: bool = False


@dataclass
class Effects:
    """Our filters on one source: handles of the OBS filter sources, by kind."""

    face: list[int] = field(default_factory=list)
    background: list[int] = field(default_factory=list)


class OwnFrame:
    """A BGRA frame of ours to give to OBS when the source's own frame cannot hold the answer (no alpha, or a
    format we do not know). OBS keeps a pointer to the last frame it was given, so these are never freed."""

    _pool: dict[tuple[int, int], list[OwnFrame]] = {}  # noqa: RUF012 - shared on purpose: they outlive every stream

    def __init__(self, width: int, height: int) -> None:
        self.pixels = ctypes.create_string_buffer(width * height * 4)
        self.frame = Frame()
        self.frame.data[0] = ctypes.addressof(self.pixels)
        self.frame.linesize[0] = width * 4
        self.frame.width, self.frame.height = width, height
        self.frame.format = formats.VideoFormat.BGRA
        self.frame.full_range = True

    @classmethod
    def take(cls, width: int, height: int, turn: int) -> OwnFrame:
        """One of three of this size, in turn: OBS may still be uploading the one before."""
        three = cls._pool.setdefault((width, height), [])
        if len(three) < 3:
            three.append(cls(width, height))
            return three[-1]
        return three[turn % 3]


class Steady:
    """What has been shown for some time: `VideoStream.showing` may change with each frame."""

    AFTER_S = 2.0

    def __init__(self) -> None:
        self.showing = ""
        self._lately = ""
        self._since_s = 0.0

    def look(self, showing: str, now_s: float) -> None:
        """Note what is shown now; called now and then."""
        if showing != self._lately:
            self._lately, self._since_s = showing, now_s
        elif now_s - self._since_s >= self.AFTER_S:
            self.showing = showing


class VideoStream:
    """The crossing of one source."""

    def __init__(self, obs: LibObs, parent: int, name: str) -> None:
        self.obs = obs
        self.parent = parent
        self.name = name
        self.effects = Effects()
        self.controls = VideoControls()
        self.video_delay_ns = 0
        self.ring: FrameRing | None = None
        self.wanted: PictureFormat | None = None
        self.problem = ""
        self.counts: Counter[str] = Counter()
        self.last_frame_ns = 0
        self.made_ns = 0
        self.showing = "starting"
        self.steady = Steady()
        self._clock = FrameClock()
        self._seen: set[str] = set()
        self._last_stamp = -1
        # Of the frame that was crossed last: as OBS gave it, and as we gave it back.
        self._last_addresses = (-1, -1)
        self._key: tuple[object, ...] = ()
        self._matrix = b""
        self._planes: list[tuple[int, int]] = []
        self._out_planes: list[tuple[int, int]] = []
        self._blank: ctypes.Array[ctypes.c_char] | None = None
        self._times: list[int] = []
        self._head = 0
        self._candidate = 1
        self._last_shown: tuple[int, int] | None = None
        self._hold: ctypes.Array[ctypes.c_char] | None = None
        self._hold_since_ns = 0
        self._first_ns = 0

    # ---- hot path -----------------------------------------------------------------------------------------------

    def cross(self, kind: str, address: int) -> int:
        """Take in OBS's frame and return the frame to show (usually the same one, overwritten)."""
        frame = Frame.from_address(address)
        stamp = frame.timestamp
        if stamp == self._last_stamp and address in self._last_addresses and kind not in self._seen:
            self._seen.add(kind)
            return address
        self._seen = {kind}
        self._last_stamp = stamp
        self._last_addresses = (address, address)
        now_ns = time.monotonic_ns()
        self.last_frame_ns = now_ns
        self.counts["frames"] += 1

        key = (frame.width, frame.height, frame.format, frame.full_range, frame.flip, self.controls.transparent)
        matrix = bytes(frame.color_matrix)
        if key != self._key or matrix != self._matrix:
            self._format_changed(frame, key, matrix)
        if not self._planes:
            self.counts["unsupported_format"] += 1
            return self._own_card(address, frame)

        content_ns = self._clock.advance(stamp, now_ns)
        ring = self.ring
        if ring is None or self.wanted is not None:
            self.counts["starting"] += 1
            self.showing = "card"
            return self._give(address, frame, self._blank_address())
        self._post(ring, frame, content_ns, now_ns)
        source = self._choose(ring, content_ns, now_ns)
        return self._give(address, frame, source)

    def _post(self, ring: FrameRing, frame: Frame, content_ns: int, now_ns: int) -> None:
        seq = self._head + 1
        index = seq % ring.slots
        slot = ring.table[index]
        slot.seq = seq
        target = ring.picture_address(index)
        data = frame.data
        for plane, (offset, size) in enumerate(self._planes):
            ctypes.memmove(target + offset, data[plane], size)
        slot.time_ns, slot.posted_ns, slot.stamp_ns = content_ns, now_ns, frame.timestamp
        enabled = self.obs.obs_source_enabled
        flags = REVEAL if self.controls.reveal else 0
        for filter_source in self.effects.face:
            if enabled(filter_source):
                flags |= FACE
        for filter_source in self.effects.background:
            if enabled(filter_source):
                flags |= BACKGROUND
        slot.flags = flags
        self._times[index] = content_ns
        self._head = seq
        ring.header.delay_ns = self.video_delay_ns
        ring.header.head_seq = seq

    def _choose(self, ring: FrameRing, content_ns: int, now_ns: int) -> int:
        """Address of the planes to show."""
        controls = self.controls
        if controls.panic:
            self.counts["panic"] += 1
            self.showing = "panic card"
            return self._card(ring)
        if now_ns < controls.slate_until_ns and ring.header.slate_ready:
            self.counts["slate"] += 1
            self.showing = "slate"
            return ring.picture_address(ring.slate_index)
        index = self._nearest_finished(ring, content_ns - self.video_delay_ns)
        if index is not None:
            slot = ring.table[index]
            counter, self.showing = SHOWN[slot.kind]
            self.counts[counter] += 1
            self._last_shown = (int(slot.seq), index)
            self._hold_since_ns = 0
            return ring.picture_address(index)
        return self._fail_closed(ring, content_ns, now_ns)

    def _nearest_finished(self, ring: FrameRing, target_ns: int) -> int | None:
        times, slots, head = self._times, ring.slots, self._head
        oldest = max(1, head - slots + 1)
        seq = min(max(self._candidate, oldest), head)
        while seq > oldest and abs(times[(seq - 1) % slots] - target_ns) <= abs(times[seq % slots] - target_ns):
            seq -= 1
        while seq < head and abs(times[(seq + 1) % slots] - target_ns) < abs(times[seq % slots] - target_ns):
            seq += 1
        self._candidate = seq
        table = ring.table
        for step in (0, -1, 1, -2, 2, -3, 3, -4, 4):
            near = seq + step
            if oldest <= near <= head and abs(times[near % slots] - target_ns) <= NEAREST_NS:
                index = near % slots
                if table[index].done_seq == near:
                    if step:
                        self.counts["late"] += 1
                    return index
        return None

    def _fail_closed(self, ring: FrameRing, content_ns: int, now_ns: int) -> int:
        if content_ns - self._first_ns < self.video_delay_ns + START_GRACE_NS:
            self.counts["starting"] += 1
            self.showing = "starting"
            if ring.header.slate_ready and self.controls.slate:
                return ring.picture_address(ring.slate_index)
            return self._card(ring)
        self.counts["not_finished"] += 1
        if self.controls.policy == HOLD and self._last_shown is not None:
            seq, index = self._last_shown
            if not self._hold_since_ns and ring.table[index].seq == seq and self._hold is not None:
                ctypes.memmove(self._hold, ring.picture_address(index), ring.slot_bytes)
                self._hold_since_ns = now_ns
            if self._hold_since_ns and now_ns - self._hold_since_ns < HOLD_LIMIT_NS and self._hold is not None:
                self.counts["held"] += 1
                self.showing = "hold"
                return ctypes.addressof(self._hold)
        self.showing = "card"
        return self._card(ring)

    def _card(self, ring: FrameRing) -> int:
        if ring.header.card_ready:
            return ring.picture_address(ring.card_index)
        return self._blank_address()

    def _blank_address(self) -> int:
        assert self._blank is not None
        return ctypes.addressof(self._blank)

    def _give(self, address: int, frame: Frame, source: int) -> int:
        if not self.controls.transparent or frame.format in formats.WITH_ALPHA:
            data = frame.data
            for plane, (offset, size) in enumerate(self._out_planes):
                ctypes.memmove(data[plane], source + offset, size)
            return address
        own = OwnFrame.take(frame.width, frame.height, self.counts["frames"])
        ctypes.memmove(own.pixels, source, frame.width * frame.height * 4)
        return self._exchange(address, frame, own)

    def _own_card(self, address: int, frame: Frame) -> int:
        """Formats that we cannot even fill: give OBS a grey picture of ours instead."""
        self.showing = "card"
        own = OwnFrame.take(frame.width, frame.height, self.counts["frames"])
        grey = bytes((formats.CARD_GREY, formats.CARD_GREY, formats.CARD_GREY, 255))
        ctypes.memmove(own.pixels, grey * (frame.width * frame.height), frame.width * frame.height * 4)
        return self._exchange(address, frame, own)

    def _exchange(self, address: int, frame: Frame, own: OwnFrame) -> int:
        own.frame.timestamp = frame.timestamp
        own.frame.flip = frame.flip
        # OBS takes one reference off whatever a filter returns, and would free at zero.
        own.frame.refs = 1 << 20
        self.obs.obs_source_release_frame(self.parent, address)
        given = ctypes.addressof(own.frame)
        self._last_addresses = (address, given)
        return given

    # ---- changes ------------------------------------------------------------------------------------------------

    def _format_changed(self, frame: Frame, key: tuple[object, ...], matrix: bytes) -> None:
        """A new size, format, range or matrix: cards until the housekeeping thread has made a ring for it."""
        self._key, self._matrix = key, matrix
        self.ring = None
        if not formats.is_supported(frame.format) or not frame.width or not frame.height:
            self._planes = []
            known = ", ".join(sorted(f.name for f in formats.SUPPORTED))
            self.problem = (
                f"{self.name} delivers the pixel format {formats.format_name(frame.format)}, which OBS Twin cannot "
                f"read; expected one of {known}. Choose another video format in the source's properties."
            )
            return
        self.problem = ""
        tight = formats.layout(frame.format, frame.width, frame.height)
        if any(frame.linesize[i] != plane.row_bytes for i, plane in enumerate(tight)):
            self._planes = []
            self.problem = (
                f"{self.name}: expected rows of {[p.row_bytes for p in tight]} bytes, found "
                f"{list(frame.linesize[: len(tight)])}. Choose a width that is a multiple of 32 in its properties."
            )
            return
        self._planes = _offsets(tight)
        out_format = int(frame.format)
        if self.controls.transparent and frame.format not in formats.WITH_ALPHA:
            out_format = int(formats.VideoFormat.BGRA)
        out = formats.layout(out_format, frame.width, frame.height)
        self._out_planes = _offsets(out)
        slot_bytes = max(sum(p.size_bytes for p in tight), sum(p.size_bytes for p in out))
        fill = formats.fill_values(out_format, bool(frame.full_range))
        raw = b"".join(pattern * (plane.size_bytes // len(pattern)) for pattern, plane in zip(fill, out, strict=True))
        self._blank = ctypes.create_string_buffer(raw, max(slot_bytes, len(raw)))
        self.wanted = PictureFormat(
            width=frame.width,
            height=frame.height,
            format=int(frame.format),
            out_format=out_format,
            full_range=bool(frame.full_range),
            flip=bool(frame.flip),
            color_matrix=tuple(frame.color_matrix),
            color_range_min=tuple(frame.color_range_min),
            color_range_max=tuple(frame.color_range_max),
            slot_bytes=slot_bytes,
        )

    def slots_needed(self, delay_ns: int, fps: float) -> int:
        """Slots for this delay, in steps, so that small changes of D keep the ring."""
        step_s = next(s for s in (1.0, 2.0, 3.5, 5.0, 6.0) if delay_ns / 1e9 <= s)
        return int((step_s + MARGIN_S) * fps) + 8

    def make_ring(self, delay_ns: int, fps: float) -> FrameRing | None:
        """Housekeeping thread: make the ring that `wanted` asks for, or report why not in `problem`."""
        picture = self.wanted
        if picture is None:
            return None
        slots = self.slots_needed(delay_ns, fps)
        if slots * picture.slot_bytes > MAX_RING_BYTES:
            self.problem = (
                f"{self.name}: {picture.width}x{picture.height} with a delay of {delay_ns // 1_000_000} ms would "
                f"need {slots * picture.slot_bytes / 1e9:.1f} GB of memory; the limit is "
                f"{MAX_RING_BYTES / 1e9:.1f} GB. Choose a shorter delay or a smaller picture."
            )
            return None
        try:
            ring = FrameRing.create(slots, picture)
        except OSError as error:
            self.problem = f"{self.name}: {error.strerror or error}"
            return None
        # Touch every page now, in this thread: the graphics thread should not pay for first use.
        ctypes.memset(ring.picture_address(0), 0, (slots + 2) * ring.slot_bytes)
        self._times = [0] * slots
        self._head = 0
        self._candidate = 1
        self._last_shown = None
        self._hold = ctypes.create_string_buffer(picture.slot_bytes)
        self._first_ns = self._clock.time_ns
        self.made_ns = time.monotonic_ns()
        self.ring = ring
        # Last: the hot path starts to use the ring when nothing is wanted any more.
        if self.wanted is picture:
            self.wanted = None
        return ring

    def make_again(self) -> None:
        """Ask for a new ring of the same format (the delay has outgrown the old one)."""
        if self.ring is not None:
            self.wanted = self.ring.picture
            self.ring = None


def _offsets(planes: tuple[formats.Plane, ...]) -> list[tuple[int, int]]:
    """(offset, bytes) of each plane in a slot."""
    result, offset = [], 0
    for plane in planes:
        result.append((offset, plane.size_bytes))
        offset += plane.size_bytes
    return result
