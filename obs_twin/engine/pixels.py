"""Codec between OBS's frame formats and `(H, W, 3) uint8 BGR`.

A frame comes as its tight planes (`obs_twin.link.formats.layout`) in one flat `uint8` array. The arithmetic follows
what OBS itself does when it draws such a frame (libobs/data/format_conversion.effect, libobs/obs-source.c):

- YUV: samples scaled to 0..1, clamped to the frame's range, then `rgb = color_matrix[0:3, 0:3] @ yuv +
  color_matrix[0:3, 3]`. The range counts only when `full_range` is false. 10-bit samples are divided by 1023, with
  the matrix that OBS computed for 10 bits.
- 4:2:0 and 4:2:2 chroma sits on the left of its pair of columns and, in 4:2:0, midway between its two rows; it is
  interpolated linearly on decode, and gathered with the matching [1 2 1] x [1 1] filter on encode.
- RGB and Y800: the matrix is not used. With `full_range` false the levels are stretched from 16..235.
- BGRX has no alpha; BGRA and RGBA carry straight alpha. OBS takes a frame of another format from a filter than it
  gave, so a transparent picture can leave as BGRA whatever the camera's format was.
- HDR (`trc` PQ or HLG) is not toned down: the levels are read as if they were SDR, and written back the same way.

Odd sizes, and `flip` (frames stored bottom row first), are handled. The kernels hold no state and release the GIL,
so one codec may serve several threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from obs_twin.link.formats import WITH_ALPHA, VideoFormat, layout

U8: TypeAlias = npt.NDArray[np.uint8]
F32: TypeAlias = npt.NDArray[np.float32]
Rect: TypeAlias = tuple[int, int, int, int]

# How the samples of one row lie in the planes.
_PLANAR, _SEMI_PLANAR, _YUYV, _YVYU, _UYVY = range(5)

# format -> (packing, log2 of the pixels a chroma sample spans in x, in y, unit of a stored sample, largest sample)
_YUV: dict[VideoFormat, tuple[int, int, int, int, int]] = {
    VideoFormat.I420: (_PLANAR, 1, 1, 1, 255),
    VideoFormat.I422: (_PLANAR, 1, 0, 1, 255),
    VideoFormat.I444: (_PLANAR, 0, 0, 1, 255),
    VideoFormat.NV12: (_SEMI_PLANAR, 1, 1, 1, 255),
    VideoFormat.YUY2: (_YUYV, 1, 0, 1, 255),
    VideoFormat.YVYU: (_YVYU, 1, 0, 1, 255),
    VideoFormat.UYVY: (_UYVY, 1, 0, 1, 255),
    VideoFormat.I010: (_PLANAR, 1, 1, 1, 1023),
    VideoFormat.P010: (_SEMI_PLANAR, 1, 1, 64, 1023),
}

# format -> (bytes per pixel, offset of blue, green, red, and of the fourth byte or -1)
_RGB: dict[VideoFormat, tuple[int, int, int, int, int]] = {
    VideoFormat.BGRA: (4, 0, 1, 2, 3),
    VideoFormat.BGRX: (4, 0, 1, 2, 3),
    VideoFormat.RGBA: (4, 2, 1, 0, 3),
    VideoFormat.BGR3: (3, 0, 1, 2, -1),
    VideoFormat.Y800: (1, 0, 0, 0, -1),
}

LUMA_WEIGHTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
"""Kr and Kb of the colour spaces that OBS knows."""


def standard_matrix(space: str, full_range: bool, bits: int = 8) -> tuple[F32, F32, F32]:
    """OBS's `color_matrix` (16,), `color_range_min` (3,) and `color_range_max` (3,) of a colour space.

    `space` is "601", "709" or "2020". The same arithmetic as libobs/media-io/video-matrices.c.
    """
    kr, kb = LUMA_WEIGHTS[space]
    kg = 1.0 - kr - kb
    top, unit = float((1 << bits) - 1), float(1 << (bits - 8))
    low, high_y, high_c, middle = 16 * unit, 235 * unit, 240 * unit, 128 * unit
    y_scale = 1.0 if full_range else top / (high_y - low)
    c_scale = 2.0 if full_range else 2.0 * top / (high_c - low)
    matrix = np.zeros((4, 4))
    matrix[:3, 0] = y_scale
    matrix[0, 2] = c_scale * (1 - kr)
    matrix[1, 1] = c_scale * (kb - 1) * kb / kg
    matrix[1, 2] = c_scale * (kr - 1) * kr / kg
    matrix[2, 1] = c_scale * (1 - kb)
    matrix[:3, 3] = matrix[:3, :3] @ (np.array([0.0 if full_range else -low, -middle, -middle]) / top)
    matrix[3, 3] = 1.0
    range_min, range_max = np.zeros(3), np.ones(3)
    if not full_range:
        range_min, range_max = np.full(3, low) / top, np.array([high_y, high_c, high_c]) / top
    return matrix.ravel().astype(np.float32), range_min.astype(np.float32), range_max.astype(np.float32)


class Codec:
    """Reads and writes the frames of one format, size and colour description.

    `matrix` (16 floats, row-major), `range_min` and `range_max` (3 floats each) and `full_range` are the fields of
    OBS's `obs_source_frame`, unchanged. A YUV frame whose matrix is not invertible (OBS would show it black) is read
    as Rec. 709. Raises ValueError for an unsupported format, an empty size, or numbers of the wrong count.
    """

    def __init__(
        self,
        fmt: int,
        width: int,
        height: int,
        matrix: Sequence[float] | F32 = (),
        range_min: Sequence[float] | F32 = (),
        range_max: Sequence[float] | F32 = (),
        full_range: bool = True,
        flip: bool = False,
    ) -> None:
        self.planes = layout(fmt, width, height)
        self.fmt = VideoFormat(fmt)
        self.width = width
        self.height = height
        self.full_range = bool(full_range)
        self.flip = bool(flip)
        self.frame_bytes = sum(plane.size_bytes for plane in self.planes)
        self.has_alpha = self.fmt in WITH_ALPHA
        if self.fmt in _YUV:
            self._prepare_yuv(matrix, range_min, range_max)

    def _prepare_yuv(self, matrix: Any, range_min: Any, range_max: Any) -> None:
        bits = 10 if _YUV[self.fmt][4] == 1023 else 8
        default_matrix, default_min, default_max = standard_matrix("709", self.full_range, bits)
        affine = _numbers("color_matrix", matrix, 16, default_matrix).reshape(4, 4)
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
            affine = default_matrix.astype(np.float64).reshape(4, 4)
        low, high = np.zeros(3), np.ones(3)
        if not self.full_range:
            low = _numbers("color_range_min", range_min, 3, default_min)
            high = _numbers("color_range_max", range_max, 3, default_max)
            if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
                low, high = default_min.astype(np.float64), default_max.astype(np.float64)
        unit, top = (float(number) for number in _YUV[self.fmt][3:])
        linear = affine[:3, :3] * (255.0 / top)
        offset = affine[:3, 3] * 255.0
        inverse = np.linalg.inv(linear)
        # Rows in the order in which the kernels store them; + 0.5 because they truncate.
        to_bgr = np.column_stack([linear / unit, offset + 0.5])[::-1]
        to_yuv = np.column_stack([inverse[:, ::-1], -inverse @ offset])
        self._to_bgr = np.ascontiguousarray(to_bgr.ravel(), np.float32)
        self._to_yuv = np.ascontiguousarray(to_yuv.ravel(), np.float32)
        self._low = np.ascontiguousarray(low * top, np.float32)
        self._high = np.ascontiguousarray(high * top, np.float32)
        self._low_stored, self._high_stored = self._low * np.float32(unit), self._high * np.float32(unit)

    def decode(self, buffer: U8, out: U8, rect: Rect | None = None) -> U8:
        """Write the picture into `out`, `(H, W, 3) uint8 BGR`, C-contiguous; only inside `rect` if one is given.

        `rect` is clipped to the frame and widened to even columns. Returns `out`.
        """
        planes = self._split(buffer)
        x0, y0, x1, y1 = self._coded_rect(rect)
        bgr = self._rows(out, 3)
        if self.fmt in _YUV:
            packing, sx, sy, _, _ = _YUV[self.fmt]
            m, low, high = self._to_bgr, self._low_stored, self._high_stored
            _decode_yuv(*planes, packing, sx, sy, bgr, x0, y0, x1, y1, self.flip, m, low, high)
        else:
            _decode_rgb(planes[0], *_RGB[self.fmt][:4], self.full_range, bgr, x0, y0, x1, y1, self.flip)
        return out

    def encode(self, bgr: U8, buffer: U8, rect: Rect | None = None, alpha: U8 | None = None) -> None:
        """Write `bgr` `(H, W, 3)` into the frame's planes, only inside `rect` if one is given.

        `rect` is clipped to the frame and widened to even columns and rows; nothing outside it is written. `alpha`
        is `(H, W) uint8`, straight; without it, and for the fourth byte of BGRX, the picture is opaque (255).
        Raises ValueError for an alpha that the format cannot carry: send such a picture as BGRA.
        """
        if alpha is not None and not self.has_alpha:
            raise ValueError(f"{self.fmt.name} frames carry no alpha; a transparent picture needs BGRA or RGBA")
        planes = self._split(buffer)
        x0, y0, x1, y1 = self._coded_rect(rect)
        rows = self._rows(bgr, 3)
        if self.fmt in _YUV:
            packing, sx, sy, unit, _ = _YUV[self.fmt]
            m, low, high = self._to_yuv, self._low, self._high
            _encode_yuv(*planes, packing, sx, sy, unit, rows, x0, y0, x1, y1, self.flip, m, low, high)
        elif self.fmt is VideoFormat.Y800:
            _encode_grey(planes[0], self.full_range, rows, x0, y0, x1, y1, self.flip)
        else:
            opaque = alpha is None
            mask = rows if alpha is None else self._rows(alpha, 1)
            _encode_rgb(planes[0], *_RGB[self.fmt], self.full_range, rows, mask, opaque, x0, y0, x1, y1, self.flip)

    def read_alpha(self, buffer: U8, out: U8) -> U8:
        """Write the frame's alpha into `out` `(H, W) uint8`: 255 everywhere for a format without alpha."""
        rows = self._rows(out, 1)
        if self.has_alpha:
            plane = self._split(buffer)[0]
            rows[:] = plane[::-1, 3::4] if self.flip else plane[:, 3::4]
        else:
            rows[:] = 255
        return out

    def warm_up(self) -> None:
        """Compile (or load from numba's cache) the kernels that this format needs, before the first frame."""
        buffer = np.zeros(self.frame_bytes, np.uint8)
        bgr = np.zeros((self.height, self.width, 3), np.uint8)
        rect = (0, 0, 2, 2)
        self.encode(self.decode(buffer, bgr, rect), buffer, rect)
        if self.has_alpha:
            self.encode(bgr, buffer, rect, np.zeros((self.height, self.width), np.uint8))

    def _split(self, buffer: U8) -> tuple[Any, Any, Any]:
        """The planes as 2-D arrays of samples; a format with fewer than three repeats its last one."""
        if buffer.dtype != np.uint8 or buffer.ndim != 1 or not buffer.flags.c_contiguous:
            raise ValueError("a frame's buffer must be one flat, contiguous uint8 array")
        if buffer.size < self.frame_bytes:
            raise ValueError(
                f"a {self.fmt.name} frame of {self.width} x {self.height} has {self.frame_bytes} bytes, "
                f"the buffer only {buffer.size}"
            )
        planes = []
        start = 0
        for plane in self.planes:
            flat = buffer[start : start + plane.size_bytes]
            if self.fmt in (VideoFormat.I010, VideoFormat.P010):
                flat = flat.view("<u2")
            planes.append(flat.reshape(plane.rows, -1))
            start += plane.size_bytes
        while len(planes) < 3:
            planes.append(planes[-1])
        return planes[0], planes[1], planes[2]

    def _rows(self, picture: U8, channels: int) -> U8:
        shape = (self.height, self.width, 3)[: 2 if channels == 1 else 3]
        if picture.shape != shape or picture.dtype != np.uint8 or not picture.flags.c_contiguous:
            raise ValueError(f"expected a contiguous uint8 picture {shape}, got {picture.dtype} {picture.shape}")
        return picture.reshape(self.height, self.width * channels)

    def _coded_rect(self, rect: Rect | None) -> Rect:
        """`rect` in the rows as they are stored, clipped, and widened to even columns and rows."""
        x0, y0, x1, y1 = (int(edge) for edge in rect or (0, 0, self.width, self.height))
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, self.width), min(y1, self.height)
        if x1 <= x0 or y1 <= y0:
            return 0, 0, 0, 0
        if self.flip:
            y0, y1 = self.height - y1, self.height - y0
        return x0 & ~1, y0 & ~1, min((x1 + 1) & ~1, self.width), min((y1 + 1) & ~1, self.height)


def _numbers(name: str, given: Any, count: int, default: F32) -> npt.NDArray[np.float64]:
    """`given` as `count` float64 numbers, `default` where nothing is given."""
    numbers = np.asarray(given, np.float64).ravel()
    if numbers.size == 0:
        return default.astype(np.float64)
    if numbers.size != count:
        raise ValueError(f"{name} must hold {count} numbers, got {numbers.size}")
    return numbers


# --- Kernels. One row at a time through float32 row buffers that stay in the first-level cache: every inner loop
# --- has constant strides, so that LLVM turns it into vector code.


@njit(cache=True, nogil=True, fastmath=True)
def _clip(x: Any, low: Any, high: Any) -> Any:
    return min(max(x, low), high)


@njit(cache=True, nogil=True, fastmath=True)
def _load_luma(row: Any, packing: int, x0: int, n: int, out: F32) -> None:
    if packing <= _SEMI_PLANAR:
        samples = row[x0 : x0 + n]
        for i in range(n):
            out[i] = np.float32(samples[i])
    elif packing == _UYVY:
        samples = row[2 * x0 : 2 * (x0 + n)]
        for i in range(n):
            out[i] = np.float32(samples[2 * i + 1])
    else:
        samples = row[2 * x0 : 2 * (x0 + n)]
        for i in range(n):
            out[i] = np.float32(samples[2 * i])


@njit(cache=True, nogil=True, fastmath=True)
def _mix_chroma(row_u: Any, row_v: Any, packing: int, c0: int, n: int, weight: Any, keep: Any, u: F32, v: F32) -> None:
    """u, v = keep * (u, v) + weight * the row's samples c0 .. c0 + n."""
    if packing == _PLANAR:
        us, vs = row_u[c0 : c0 + n], row_v[c0 : c0 + n]
        for i in range(n):
            u[i] = keep * u[i] + weight * np.float32(us[i])
            v[i] = keep * v[i] + weight * np.float32(vs[i])
    elif packing == _SEMI_PLANAR:
        pairs = row_u[2 * c0 : 2 * (c0 + n)]
        for i in range(n):
            u[i] = keep * u[i] + weight * np.float32(pairs[2 * i])
            v[i] = keep * v[i] + weight * np.float32(pairs[2 * i + 1])
    elif packing == _YUYV:
        quads = row_u[4 * c0 : 4 * (c0 + n)]
        for i in range(n):
            u[i] = np.float32(quads[4 * i + 1])
            v[i] = np.float32(quads[4 * i + 3])
    elif packing == _YVYU:
        quads = row_u[4 * c0 : 4 * (c0 + n)]
        for i in range(n):
            u[i] = np.float32(quads[4 * i + 3])
            v[i] = np.float32(quads[4 * i + 1])
    else:
        quads = row_u[4 * c0 : 4 * (c0 + n)]
        for i in range(n):
            u[i] = np.float32(quads[4 * i])
            v[i] = np.float32(quads[4 * i + 2])


@njit(cache=True, nogil=True, fastmath=True)
def _decode_yuv(
    p0: Any,
    p1: Any,
    p2: Any,
    packing: int,
    sx: int,
    sy: int,
    bgr: U8,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    flip: bool,
    m: F32,
    low: F32,
    high: F32,
) -> None:
    height, n = bgr.shape[0], x1 - x0
    if n <= 0:
        return
    chroma_rows, chroma_columns = p1.shape[0], ((bgr.shape[1] // 3) + sx) >> sx
    c0 = x0 >> sx
    c1 = min(((x1 - 1) >> sx) + 1 + sx, chroma_columns)  # one more to the right, to interpolate towards
    half = c1 - c0
    luma = np.empty(n, np.float32)
    u, v = np.zeros(half + 2, np.float32), np.zeros(half + 2, np.float32)
    wide_u, wide_v = np.empty(2 * half + 2, np.float32), np.empty(2 * half + 2, np.float32)
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11 = m
    y_low, u_low, v_low = low
    y_high, u_high, v_high = high
    zero, quarter, most, one = np.float32(0.0), np.float32(0.25), np.float32(0.75), np.float32(1.0)
    floor, top = np.float32(0.0), np.float32(255.0)
    for y in range(y0, y1):
        _load_luma(p0[y], packing, x0, n, luma)
        if sy:
            # Chroma lies midway between two luma rows: 3/4 of the own row, 1/4 of the nearer neighbour.
            own = y >> 1
            other = min(max(own + (1 if y & 1 else -1), 0), chroma_rows - 1)
            _mix_chroma(p1[own], p2[own], packing, c0, half, most, zero, u, v)
            _mix_chroma(p1[other], p2[other], packing, c0, half, quarter, one, u, v)
        else:
            _mix_chroma(p1[y], p2[y], packing, c0, half, one, zero, u, v)
        if sx:
            u[half], v[half] = u[half - 1], v[half - 1]
            for i in range(half):
                wide_u[2 * i] = u[i]
                wide_u[2 * i + 1] = np.float32(0.5) * (u[i] + u[i + 1])
                wide_v[2 * i] = v[i]
                wide_v[2 * i + 1] = np.float32(0.5) * (v[i] + v[i + 1])
            full_u, full_v = wide_u, wide_v
        else:
            full_u, full_v = u, v
        out = bgr[height - 1 - y if flip else y][3 * x0 : 3 * x1]
        for i in range(n):
            yy = _clip(luma[i], y_low, y_high)
            uu = _clip(full_u[i], u_low, u_high)
            vv = _clip(full_v[i], v_low, v_high)
            out[3 * i] = np.uint8(_clip(m0 * yy + m1 * uu + m2 * vv + m3, floor, top))
            out[3 * i + 1] = np.uint8(_clip(m4 * yy + m5 * uu + m6 * vv + m7, floor, top))
            out[3 * i + 2] = np.uint8(_clip(m8 * yy + m9 * uu + m10 * vv + m11, floor, top))


@njit(cache=True, nogil=True, fastmath=True)
def _store_luma(row: Any, x0: int, n: int, unit: int, luma: F32) -> None:
    samples = row[x0 : x0 + n]
    for i in range(n):
        samples[i] = np.int32(luma[i]) * unit


@njit(cache=True, nogil=True, fastmath=True)
def _store_chroma(row_u: Any, row_v: Any, packing: int, c0: int, n: int, unit: int, u: F32, v: F32) -> None:
    if packing == _PLANAR:
        us, vs = row_u[c0 : c0 + n], row_v[c0 : c0 + n]
        for i in range(n):
            us[i] = np.int32(u[i]) * unit
            vs[i] = np.int32(v[i]) * unit
    else:
        pairs = row_u[2 * c0 : 2 * (c0 + n)]
        for i in range(n):
            pairs[2 * i] = np.int32(u[i]) * unit
            pairs[2 * i + 1] = np.int32(v[i]) * unit


@njit(cache=True, nogil=True, fastmath=True)
def _store_packed(row: Any, packing: int, c0: int, n: int, luma: F32, u: F32, v: F32) -> None:
    """A row of 4:2:2 quads, all four bytes in one loop; `luma` has 2 n entries."""
    quads = row[4 * c0 : 4 * (c0 + n)]
    if packing == _UYVY:
        for i in range(n):
            quads[4 * i], quads[4 * i + 1] = np.int32(u[i]), np.int32(luma[2 * i])
            quads[4 * i + 2], quads[4 * i + 3] = np.int32(v[i]), np.int32(luma[2 * i + 1])
    else:
        if packing == _YVYU:
            u, v = v, u
        for i in range(n):
            quads[4 * i], quads[4 * i + 1] = np.int32(luma[2 * i]), np.int32(u[i])
            quads[4 * i + 2], quads[4 * i + 3] = np.int32(luma[2 * i + 1]), np.int32(v[i])


@njit(cache=True, nogil=True, fastmath=True)
def _encode_yuv(
    p0: Any,
    p1: Any,
    p2: Any,
    packing: int,
    sx: int,
    sy: int,
    unit: int,
    bgr: U8,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    flip: bool,
    m: F32,
    low: F32,
    high: F32,
) -> None:
    height, width, n = bgr.shape[0], bgr.shape[1] // 3, x1 - x0
    if n <= 0:
        return
    c0 = x0 >> sx
    half = ((x1 - 1) >> sx) + 1 - c0
    luma = np.empty(n + 1, np.float32)
    # Sums over the rows that share chroma, with one pixel more on either side for the horizontal filter.
    blue, green, red = np.zeros(n + 3, np.float32), np.zeros(n + 3, np.float32), np.zeros(n + 3, np.float32)
    u, v = np.empty(half, np.float32), np.empty(half, np.float32)
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11 = m
    y_low, u_low, v_low = low
    y_high, u_high, v_high = high
    rounding, two, quarter = np.float32(0.5), np.float32(2.0), np.float32(0.25)
    for first in range(y0, y1, 1 + sy):
        last = min(first + sy, y1 - 1)
        blue[:], green[:], red[:] = 0.0, 0.0, 0.0
        for y in range(first, last + 1):
            row = bgr[height - 1 - y if flip else y]
            inside = row[3 * x0 : 3 * x1]
            for i in range(n):
                b, g, r = np.float32(inside[3 * i]), np.float32(inside[3 * i + 1]), np.float32(inside[3 * i + 2])
                blue[i + 1] += b
                green[i + 1] += g
                red[i + 1] += r
                luma[i] = _clip(m0 * b + m1 * g + m2 * r + m3, y_low, y_high) + rounding
            left, right = max(x0 - 1, 0), min(x1, width - 1)
            blue[0] += np.float32(row[3 * left])
            green[0] += np.float32(row[3 * left + 1])
            red[0] += np.float32(row[3 * left + 2])
            blue[n + 1] += np.float32(row[3 * right])
            green[n + 1] += np.float32(row[3 * right + 1])
            red[n + 1] += np.float32(row[3 * right + 2])
            if packing <= _SEMI_PLANAR:
                _store_luma(p0[y], x0, n, unit, luma)
        scale = np.float32(1.0) / np.float32(last + 1 - first)
        if sx:
            scale *= quarter
            for i in range(half):
                b = (blue[2 * i] + two * blue[2 * i + 1] + blue[2 * i + 2]) * scale
                g = (green[2 * i] + two * green[2 * i + 1] + green[2 * i + 2]) * scale
                r = (red[2 * i] + two * red[2 * i + 1] + red[2 * i + 2]) * scale
                u[i] = _clip(m4 * b + m5 * g + m6 * r + m7, u_low, u_high) + rounding
                v[i] = _clip(m8 * b + m9 * g + m10 * r + m11, v_low, v_high) + rounding
        else:
            for i in range(half):
                b, g, r = blue[i + 1] * scale, green[i + 1] * scale, red[i + 1] * scale
                u[i] = _clip(m4 * b + m5 * g + m6 * r + m7, u_low, u_high) + rounding
                v[i] = _clip(m8 * b + m9 * g + m10 * r + m11, v_low, v_high) + rounding
        if packing <= _SEMI_PLANAR:
            _store_chroma(p1[first >> sy], p2[first >> sy], packing, c0, half, unit, u, v)
        else:
            luma[n] = luma[n - 1]  # the unused half of an odd row's last quad
            _store_packed(p0[first], packing, c0, half, luma, u, v)


@njit(cache=True, nogil=True, fastmath=True)
def _decode_rgb(
    plane: U8,
    step: int,
    b: int,
    g: int,
    r: int,
    full_range: bool,
    bgr: U8,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    flip: bool,
) -> None:
    levels = np.empty(256, np.uint8)
    for level in range(256):
        stretched = level if full_range else (level - 16) * 255.0 / 219.0 + 0.5
        levels[level] = np.uint8(min(max(stretched, 0.0), 255.0))
    scale = np.float32(1.0 if full_range else 255.0 / 219.0)
    offset = np.float32(0.5 if full_range else 0.5 - 16 * 255.0 / 219.0)
    height, n = bgr.shape[0], x1 - x0
    for y in range(y0, y1):
        pixels = plane[y][step * x0 : step * x1]
        out = bgr[height - 1 - y if flip else y][3 * x0 : 3 * x1]
        if full_range and step == 4:
            if b == 0:
                for i in range(n):
                    out[3 * i], out[3 * i + 1], out[3 * i + 2] = pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]
            else:
                for i in range(n):
                    out[3 * i], out[3 * i + 1], out[3 * i + 2] = pixels[4 * i + 2], pixels[4 * i + 1], pixels[4 * i]
        elif step == 1:
            for i in range(n):
                grey = np.uint8(_clip(np.float32(pixels[i]) * scale + offset, np.float32(0.0), np.float32(255.0)))
                out[3 * i], out[3 * i + 1], out[3 * i + 2] = grey, grey, grey
        elif full_range:
            for i in range(3 * n):
                out[i] = pixels[i]
        else:
            for i in range(n):
                out[3 * i] = levels[pixels[step * i + b]]
                out[3 * i + 1] = levels[pixels[step * i + g]]
                out[3 * i + 2] = levels[pixels[step * i + r]]


@njit(cache=True, nogil=True, fastmath=True)
def _encode_rgb(
    plane: U8,
    step: int,
    b: int,
    g: int,
    r: int,
    fourth: int,
    full_range: bool,
    bgr: U8,
    alpha: U8,
    opaque: bool,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    flip: bool,
) -> None:
    levels = np.empty(256, np.uint8)
    for level in range(256):
        levels[level] = level if full_range else np.uint8(level * 219.0 / 255.0 + 16.5)
    height, n = bgr.shape[0], x1 - x0
    for y in range(y0, y1):
        source = height - 1 - y if flip else y
        picture = bgr[source][3 * x0 : 3 * x1]
        out = plane[y][step * x0 : step * x1]
        if full_range and step == 4 and b == 0:
            for i in range(n):
                out[4 * i], out[4 * i + 1], out[4 * i + 2] = picture[3 * i], picture[3 * i + 1], picture[3 * i + 2]
                out[4 * i + 3] = 255
        elif full_range and step == 4:
            for i in range(n):
                out[4 * i], out[4 * i + 1], out[4 * i + 2] = picture[3 * i + 2], picture[3 * i + 1], picture[3 * i]
                out[4 * i + 3] = 255
        elif full_range:
            for i in range(3 * n):
                out[i] = picture[i]
        else:
            for i in range(n):
                out[step * i + b] = levels[picture[3 * i]]
                out[step * i + g] = levels[picture[3 * i + 1]]
                out[step * i + r] = levels[picture[3 * i + 2]]
                if fourth >= 0:
                    out[step * i + fourth] = 255
        if not opaque:
            mask = alpha[source][x0:x1]
            for i in range(n):
                out[4 * i + 3] = mask[i]


@njit(cache=True, nogil=True, fastmath=True)
def _encode_grey(plane: U8, full_range: bool, bgr: U8, x0: int, y0: int, x1: int, y1: int, flip: bool) -> None:
    scale = np.float32(1.0 if full_range else 219.0 / 255.0)
    offset = np.float32(0.5 if full_range else 16.5)
    wb, wg, wr = np.float32(0.0722) * scale, np.float32(0.7152) * scale, np.float32(0.2126) * scale
    height, n = bgr.shape[0], x1 - x0
    for y in range(y0, y1):
        row = bgr[height - 1 - y if flip else y][3 * x0 : 3 * x1]
        out = plane[y][x0:x1]
        for i in range(n):
            grey = wb * np.float32(row[3 * i]) + wg * np.float32(row[3 * i + 1]) + wr * np.float32(row[3 * i + 2])
            out[i] = np.uint8(grey + offset)
