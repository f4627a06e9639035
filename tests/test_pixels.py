"""The pixel codec against OBS's shader arithmetic in float64, against OpenCV, and against itself."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.engine.pixels import Codec, standard_matrix
from obs_twin.link.formats import SUPPORTED, VideoFormat, fill_values, frame_bytes, is_supported, layout

YUV = sorted(SUPPORTED - {VideoFormat.RGBA, VideoFormat.BGRA, VideoFormat.BGRX, VideoFormat.BGR3, VideoFormat.Y800})
TEN_BIT = (VideoFormat.I010, VideoFormat.P010)

# Of the first and of the later planes: bytes per unit, and the columns and rows of pixels that a unit spans.
PLANE_UNITS = {
    VideoFormat.I420: ((1, 1, 1), (1, 2, 2)),
    VideoFormat.NV12: ((1, 1, 1), (2, 2, 2)),
    VideoFormat.YVYU: ((4, 2, 1),),
    VideoFormat.YUY2: ((4, 2, 1),),
    VideoFormat.UYVY: ((4, 2, 1),),
    VideoFormat.RGBA: ((4, 1, 1),),
    VideoFormat.BGRA: ((4, 1, 1),),
    VideoFormat.BGRX: ((4, 1, 1),),
    VideoFormat.Y800: ((1, 1, 1),),
    VideoFormat.I444: ((1, 1, 1), (1, 1, 1)),
    VideoFormat.BGR3: ((3, 1, 1),),
    VideoFormat.I422: ((1, 1, 1), (1, 2, 1)),
    VideoFormat.I010: ((2, 1, 1), (2, 2, 2)),
    VideoFormat.P010: ((2, 1, 1), (4, 2, 2)),
}

formats = st.sampled_from(sorted(SUPPORTED))
sizes = st.tuples(st.integers(1, 41), st.integers(1, 23))
spaces = st.sampled_from(["601", "709", "2020"])


def codec(fmt: VideoFormat, width: int, height: int, space: str, full_range: bool, flip: bool = False) -> Codec:
    matrix, low, high = standard_matrix(space, full_range, 10 if fmt in TEN_BIT else 8)
    return Codec(fmt, width, height, matrix, low, high, full_range, flip)


def sample_planes(fmt: VideoFormat, width: int, height: int, buffer: np.ndarray) -> list[np.ndarray]:
    """y, u, v samples of a tight frame as float arrays of their own sizes, read by plain indexing."""
    parts, start = [], 0
    for plane in layout(fmt, width, height):
        raw = buffer[start : start + plane.size_bytes].reshape(plane.rows, plane.row_bytes)
        parts.append(raw.view("<u2") if fmt in TEN_BIT else raw)
        start += plane.size_bytes
    if fmt is VideoFormat.P010:
        parts = [part >> 6 for part in parts]
    match fmt:
        case VideoFormat.NV12 | VideoFormat.P010:
            y, u, v = parts[0], parts[1][:, 0::2], parts[1][:, 1::2]
        case VideoFormat.YUY2:
            y, u, v = parts[0][:, 0::2], parts[0][:, 1::4], parts[0][:, 3::4]
        case VideoFormat.YVYU:
            y, u, v = parts[0][:, 0::2], parts[0][:, 3::4], parts[0][:, 1::4]
        case VideoFormat.UYVY:
            y, u, v = parts[0][:, 1::2], parts[0][:, 0::4], parts[0][:, 2::4]
        case _:
            y, u, v = parts
    return [y[:, :width].astype(float), u.astype(float), v.astype(float)]


def bilinear(chroma: np.ndarray, width: int, height: int) -> np.ndarray:
    """A texture lookup with clamped, linear sampling, chroma sited left (x) and midway (y), as OBS samples it."""
    rows, columns = chroma.shape
    x = np.arange(width) / 2 if columns < width or width == 1 else np.arange(width, dtype=float)
    y = (np.arange(height) - 0.5) / 2 if rows < height else np.arange(height, dtype=float)
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx, fy = x - left, (y - top)[:, None]
    upper = chroma[top][:, left] * (1 - fx) + chroma[top][:, right] * fx
    lower = chroma[bottom][:, left] * (1 - fx) + chroma[bottom][:, right] * fx
    return upper * (1 - fy) + lower * fy


def shader(fmt: VideoFormat, width: int, height: int, buffer: np.ndarray, space: str, full: bool) -> np.ndarray:
    """What OBS's format_conversion.effect makes of the frame: BGR levels, float."""
    bits = 10 if fmt in TEN_BIT else 8
    matrix, low, high = standard_matrix(space, full, bits)
    y, u, v = sample_planes(fmt, width, height, buffer)
    yuv = np.stack([y, bilinear(u, width, height), bilinear(v, width, height)], axis=-1) / (2**bits - 1)
    if not full:
        yuv = np.clip(yuv, low, high)
    affine = matrix.astype(float).reshape(4, 4)
    rgb = yuv @ affine[:3, :3].T + affine[:3, 3]
    return np.clip(rgb[..., ::-1], 0, 1) * 255


def random_frame(fmt: VideoFormat, width: int, height: int, seed: int) -> np.ndarray:
    size = frame_bytes(fmt, width, height)
    rng = np.random.default_rng(seed)
    if fmt in TEN_BIT:
        shift = 6 if fmt is VideoFormat.P010 else 0
        return (rng.integers(0, 1024, size // 2) << shift).astype("<u2").view(np.uint8)
    return rng.integers(0, 256, size).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(YUV), sizes, spaces, st.booleans(), st.integers(0, 2**32 - 1))
def test_decode_is_what_obs_draws(fmt: VideoFormat, size: tuple[int, int], space: str, full: bool, seed: int) -> None:
    width, height = size
    buffer = random_frame(fmt, width, height, seed)
    out = codec(fmt, width, height, space, full).decode(buffer, np.empty((height, width, 3), np.uint8))
    assert np.abs(out - shader(fmt, width, height, buffer, space, full)).max() <= 0.51


@settings(max_examples=100, deadline=None)
@given(formats, sizes, spaces, st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_one_colour_survives_the_round_trip(
    fmt: VideoFormat, size: tuple[int, int], space: str, full: bool, flip: bool, seed: int
) -> None:
    width, height = size
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    if fmt is VideoFormat.Y800:
        colour[:] = colour[0]
    bgr = np.broadcast_to(colour, (height, width, 3)).astype(np.uint8).copy()
    subject = codec(fmt, width, height, space, full, flip)
    buffer = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, buffer)
    back = subject.decode(buffer, np.empty_like(bgr))
    assert np.abs(back.astype(int) - bgr).max() <= 2


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([VideoFormat.I444, VideoFormat.BGRA, VideoFormat.RGBA, VideoFormat.BGRX, VideoFormat.BGR3]),
    sizes,
    spaces,
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_any_picture_survives_the_round_trip_where_nothing_is_subsampled(
    fmt: VideoFormat, size: tuple[int, int], space: str, full: bool, flip: bool, seed: int
) -> None:
    width, height = size
    bgr = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    subject = codec(fmt, width, height, space, full, flip)
    buffer = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, buffer)
    back = subject.decode(buffer, np.empty_like(bgr))
    assert np.abs(back.astype(int) - bgr).max() <= 2


@settings(max_examples=300, deadline=None)
@given(
    formats,
    sizes,
    st.booleans(),
    st.tuples(st.integers(-4, 45), st.integers(-4, 27), st.integers(-4, 45), st.integers(-4, 27)),
    st.integers(0, 2**32 - 1),
)
def test_a_rectangle_changes_itself_and_nothing_else(
    fmt: VideoFormat, size: tuple[int, int], flip: bool, rect: tuple[int, int, int, int], seed: int
) -> None:
    width, height = size
    rng = np.random.default_rng(seed)
    subject = codec(fmt, width, height, "709", False, flip)
    bgr = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    whole = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, whole)
    before = random_frame(fmt, width, height, seed)
    part = before.copy()
    subject.encode(bgr, part, rect)

    inside = np.zeros((height, width), bool)
    x0, y0, x1, y1 = max(rect[0], 0), max(rect[1], 0), min(rect[2], width), min(rect[3], height)
    if x1 > x0 and y1 > y0:
        if flip:
            y0, y1 = height - y1, height - y0
        inside[y0 & ~1 : (y1 + 1) & ~1, x0 & ~1 : (x1 + 1) & ~1] = True
    start = 0
    for index, plane in enumerate(layout(fmt, width, height)):
        unit_bytes, across, down = PLANE_UNITS[fmt][min(index, 1)]
        columns = np.arange(plane.row_bytes) // unit_bytes * across
        here = inside[np.arange(plane.rows) * down][:, columns]
        expected, found, untouched = (
            buffer[start : start + plane.size_bytes].reshape(plane.rows, -1) for buffer in (whole, part, before)
        )
        np.testing.assert_array_equal(found, np.where(here, expected, untouched))
        start += plane.size_bytes

    out = np.zeros_like(bgr)
    subject.decode(whole, out, rect)
    full_picture = subject.decode(whole, np.empty_like(bgr))
    touched = out.any(axis=2)
    np.testing.assert_array_equal(out[touched], full_picture[touched])


OPENCV_TO_BGR = {
    VideoFormat.NV12: cv2.COLOR_YUV2BGR_NV12,
    VideoFormat.I420: cv2.COLOR_YUV2BGR_I420,
    VideoFormat.YUY2: cv2.COLOR_YUV2BGR_YUY2,
    VideoFormat.YVYU: cv2.COLOR_YUV2BGR_YVYU,
    VideoFormat.UYVY: cv2.COLOR_YUV2BGR_UYVY,
}


@pytest.mark.parametrize("fmt", OPENCV_TO_BGR, ids=lambda fmt: fmt.name)
def test_encode_reads_back_in_opencv(fmt: VideoFormat) -> None:
    """OpenCV knows Rec. 601, limited range; on a smooth picture its plain chroma repetition hardly matters."""
    height, width = 120, 160
    y, x = np.mgrid[0:height, 0:width].astype(float)
    bgr = np.stack([60 + x, 220 - y, 100 + 0.3 * x + 0.5 * y], axis=-1).round().astype(np.uint8)
    subject = codec(fmt, width, height, "601", False)
    buffer = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, buffer)
    shape: Any = (height * 3 // 2, width) if fmt in (VideoFormat.NV12, VideoFormat.I420) else (height, width, 2)
    theirs = cv2.cvtColor(buffer.reshape(shape), OPENCV_TO_BGR[fmt])
    assert np.abs(theirs.astype(int) - bgr).max() <= 4
    assert np.abs(theirs.astype(int) - bgr).mean() <= 1.0


def test_chroma_keeps_its_place() -> None:
    """A soft colour ramp comes back without a sideways shift: half a pixel would show as a constant bias."""
    x = np.arange(320)
    wave = 128 + 60 * np.sin(x / 9)
    bgr = np.broadcast_to(np.stack([wave, 256 - wave, 0 * wave + 128], axis=-1), (64, 320, 3)).round()
    bgr = bgr.astype(np.uint8)
    subject = codec(VideoFormat.NV12, 320, 64, "709", True)
    buffer = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, buffer)
    back = subject.decode(buffer, np.empty_like(bgr)).astype(float)
    difference = back[32, 8:-8, 0] - bgr[32, 8:-8, 0]
    slope = np.gradient(bgr[32, :, 0].astype(float))[8:-8]
    shift_px = -(difference @ slope) / (slope @ slope)
    assert abs(shift_px) < 0.02


@pytest.mark.parametrize("fmt", [VideoFormat.BGRA, VideoFormat.RGBA], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("flip", [False, True])
def test_alpha_travels(fmt: VideoFormat, flip: bool) -> None:
    rng = np.random.default_rng(1)
    bgr = rng.integers(0, 256, (9, 13, 3)).astype(np.uint8)
    alpha = rng.integers(0, 256, (9, 13)).astype(np.uint8)
    subject = Codec(fmt, 13, 9, flip=flip)
    buffer = np.zeros(subject.frame_bytes, np.uint8)
    subject.encode(bgr, buffer, alpha=alpha)
    np.testing.assert_array_equal(subject.read_alpha(buffer, np.empty_like(alpha)), alpha)
    np.testing.assert_array_equal(subject.decode(buffer, np.empty_like(bgr)), bgr)
    subject.encode(bgr, buffer)
    assert (subject.read_alpha(buffer, alpha) == 255).all()


def test_alpha_is_refused_where_it_would_be_lost() -> None:
    subject = codec(VideoFormat.NV12, 4, 4, "709", False)
    with pytest.raises(ValueError, match="NV12 frames carry no alpha"):
        subject.encode(np.zeros((4, 4, 3), np.uint8), np.zeros(24, np.uint8), alpha=np.zeros((4, 4), np.uint8))


@given(formats, sizes, st.booleans())
def test_a_filled_card_is_dark_grey(fmt: VideoFormat, size: tuple[int, int], full: bool) -> None:
    width, height = size
    rows = []
    for plane, pattern in zip(layout(fmt, width, height), fill_values(fmt, full), strict=True):
        assert plane.row_bytes % len(pattern) == 0
        rows.append(pattern * (plane.row_bytes // len(pattern)) * plane.rows)
    buffer = np.frombuffer(bytearray(b"".join(rows)), np.uint8)
    subject = codec(fmt, width, height, "709", full)
    bgr = subject.decode(buffer, np.empty((height, width, 3), np.uint8))
    assert np.abs(bgr.astype(int) - 38).max() <= 2


def test_matrices_are_those_of_obs() -> None:
    """Numbers that OBS 29 and 32 give for Rec. 709, limited range, 8 bits."""
    matrix, low, high = standard_matrix("709", False)
    expected = [1.164384, 0.0, 1.792741, -0.972945, 1.164384, -0.213249, -0.532909, 0.301483]
    expected += [1.164384, 2.112402, 0.0, -1.133402, 0, 0, 0, 1]
    np.testing.assert_allclose(matrix, expected, atol=1e-5)
    np.testing.assert_allclose(low * 255, [16, 16, 16])
    np.testing.assert_allclose(high * 255, [235, 240, 240])


@pytest.mark.parametrize("matrix", [np.zeros(16), np.full(16, np.nan), ()])
def test_a_useless_matrix_reads_as_rec_709(matrix: Any) -> None:
    buffer = random_frame(VideoFormat.NV12, 16, 8, 3)
    low, high = np.zeros(3), np.zeros(3)
    out = Codec(VideoFormat.NV12, 16, 8, matrix, low, high, False).decode(buffer, np.empty((8, 16, 3), np.uint8))
    usual = codec(VideoFormat.NV12, 16, 8, "709", False).decode(buffer, np.empty((8, 16, 3), np.uint8))
    np.testing.assert_array_equal(out, usual)


@pytest.mark.parametrize("value", [0, VideoFormat.V210, VideoFormat.I40A, 99, -1])
def test_unknown_formats_are_named(value: int) -> None:
    assert not is_supported(value)
    with pytest.raises(ValueError, match="is not supported"):
        Codec(value, 16, 16)


def test_wrong_arrays_are_refused() -> None:
    subject = codec(VideoFormat.NV12, 16, 8, "709", False)
    good = np.zeros((8, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="the buffer only 10"):
        subject.decode(np.zeros(10, np.uint8), good)
    with pytest.raises(ValueError, match="expected a contiguous uint8 picture"):
        subject.decode(np.zeros(subject.frame_bytes, np.uint8), good[:, ::-1])
    with pytest.raises(ValueError, match="color_matrix must hold 16 numbers"):
        Codec(VideoFormat.NV12, 16, 8, [1.0, 2.0])
    with pytest.raises(ValueError, match="needs a width and a height"):
        Codec(VideoFormat.NV12, 0, 8)
