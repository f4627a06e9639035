"""OBS's pixel formats: their numbers, names and plane layouts, for both sides of the link.

The numbers are OBS's `enum video_format` (libobs/media-io/video-io.h), the same in OBS 29 to 32.

A frame crosses the link *tight*: its planes one after the other, each with `rows` rows of exactly `row_bytes`
bytes, no padding. OBS's own rows (`linesize`) may be longer; copy row by row when they differ.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

CARD_GREY = 38
"""Level (0..255, full range) of the dark grey that a solid card is filled with."""


class VideoFormat(enum.IntEnum):
    """`enum video_format` of libobs."""

    NONE = 0
    I420 = 1
    NV12 = 2
    YVYU = 3
    YUY2 = 4
    UYVY = 5
    RGBA = 6
    BGRA = 7
    BGRX = 8
    Y800 = 9
    I444 = 10
    BGR3 = 11
    I422 = 12
    I40A = 13
    I42A = 14
    YUVA = 15
    AYUV = 16
    I010 = 17
    P010 = 18
    I210 = 19
    I412 = 20
    YA2L = 21
    P216 = 22
    P416 = 23
    V210 = 24
    R10L = 25


class Plane(NamedTuple):
    """One plane of a tight frame."""

    row_bytes: int
    rows: int

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * self.rows


class _Packing(NamedTuple):
    """How each plane is made: bytes per unit, and the log2 of the pixels that one unit spans."""

    unit_bytes: int
    log2_width: int
    log2_height: int


_PLANES: dict[VideoFormat, tuple[_Packing, ...]] = {
    VideoFormat.I420: (_Packing(1, 0, 0), _Packing(1, 1, 1), _Packing(1, 1, 1)),
    VideoFormat.NV12: (_Packing(1, 0, 0), _Packing(2, 1, 1)),
    VideoFormat.YVYU: (_Packing(4, 1, 0),),
    VideoFormat.YUY2: (_Packing(4, 1, 0),),
    VideoFormat.UYVY: (_Packing(4, 1, 0),),
    VideoFormat.RGBA: (_Packing(4, 0, 0),),
    VideoFormat.BGRA: (_Packing(4, 0, 0),),
    VideoFormat.BGRX: (_Packing(4, 0, 0),),
    VideoFormat.Y800: (_Packing(1, 0, 0),),
    VideoFormat.I444: (_Packing(1, 0, 0), _Packing(1, 0, 0), _Packing(1, 0, 0)),
    VideoFormat.BGR3: (_Packing(3, 0, 0),),
    VideoFormat.I422: (_Packing(1, 0, 0), _Packing(1, 1, 0), _Packing(1, 1, 0)),
    VideoFormat.I010: (_Packing(2, 0, 0), _Packing(2, 1, 1), _Packing(2, 1, 1)),
    VideoFormat.P010: (_Packing(2, 0, 0), _Packing(4, 1, 1)),
}

SUPPORTED: frozenset[VideoFormat] = frozenset(_PLANES)
"""The formats that the engine can read and write."""

WITH_ALPHA: frozenset[VideoFormat] = frozenset({VideoFormat.RGBA, VideoFormat.BGRA})
"""Supported formats whose alpha OBS honours. OBS blends async frames with straight (not premultiplied) alpha."""


def is_supported(value: int) -> bool:
    """Whether the engine can read and write frames of this OBS format number."""
    return value in SUPPORTED


def format_name(value: int) -> str:
    """OBS's name of a format number, or "format N" for a number that this version does not know."""
    try:
        return VideoFormat(value).name
    except ValueError:
        return f"format {value}"


def layout(value: int, width: int, height: int) -> tuple[Plane, ...]:
    """Tight planes of a `width` x `height` frame, in OBS's plane order.

    Odd sizes round chroma up, as libobs does. Raises ValueError for an unsupported format or an empty frame.
    """
    if not is_supported(value):
        raise ValueError(
            f"pixel format {format_name(value)} is not supported; supported are "
            + ", ".join(sorted(known.name for known in SUPPORTED))
        )
    if width <= 0 or height <= 0:
        raise ValueError(f"a frame needs a width and a height, got {width} x {height}")
    return tuple(
        Plane(
            row_bytes=packing.unit_bytes * _units(width, packing.log2_width),
            rows=_units(height, packing.log2_height),
        )
        for packing in _PLANES[VideoFormat(value)]
    )


def _units(pixels: int, log2_span: int) -> int:
    return (pixels + (1 << log2_span) - 1) >> log2_span


def frame_bytes(value: int, width: int, height: int) -> int:
    """Bytes of a tight frame; raises ValueError like `layout`."""
    return sum(plane.size_bytes for plane in layout(value, width, height))


def fill_values(value: int, full_range: bool) -> tuple[bytes, ...]:
    """For each plane, the bytes to repeat along every row for a solid dark grey, opaque card.

    A pattern's length always divides its plane's `row_bytes`. Raises ValueError for an unsupported format.
    """
    if not is_supported(value):
        raise ValueError(f"pixel format {format_name(value)} is not supported")
    video_format = VideoFormat(value)
    grey = CARD_GREY if full_range else 16 + round(CARD_GREY * 219 / 255)
    y, c = bytes([grey]), b"\x80"
    if video_format in (VideoFormat.I010, VideoFormat.P010):
        y10 = round(CARD_GREY * 1023 / 255) if full_range else grey * 4
        shift = 6 if video_format is VideoFormat.P010 else 0
        y, c = (y10 << shift).to_bytes(2, "little"), (512 << shift).to_bytes(2, "little")
    match video_format:
        case VideoFormat.I420 | VideoFormat.I422 | VideoFormat.I444 | VideoFormat.I010:
            return (y, c, c)
        case VideoFormat.NV12 | VideoFormat.P010:
            return (y, c + c)
        case VideoFormat.YUY2 | VideoFormat.YVYU:
            return (y + c + y + c,)
        case VideoFormat.UYVY:
            return (c + y + c + y,)
        case VideoFormat.RGBA | VideoFormat.BGRA | VideoFormat.BGRX:
            return (y * 3 + b"\xff",)
        case VideoFormat.BGR3:
            return (y * 3,)
        case _:
            return (y,)
