"""Put the person of a frame in front of something else, without a rim of the room that they really sit in.

Along the outline a camera pixel is a mixture of person and room: `pixel = a F + (1 - a) B`. Showing that pixel
against another background shows the room's colour as a halo. F and B are estimated as in M. Forte, "Approximate
Fast Foreground Colour Estimation" (ICIP 2021): local means of the surely-person and surely-room colours, here on a
coarse grid, then corrected so that the mixture explains the pixel. Only F goes into the composite. Away from the
outline, pixels are kept or copied in whole runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit

from obs_twin.background.grid import F32, I32, U8, U32, axis, between, box_mean, mix_rows, shrink

GRID_WIDTH = 256  # nodes across; at 720p a node stands for 5 pixels
COLOUR_RADIUS = 3  # grid nodes over which the person's and the room's colours are averaged
FLAT = np.float32(255.0)  # squared colour difference between person and room that is too small to tell
CHUNK = 64  # pixels blended at a time
RIM_RADIUS = 2  # grid nodes by which the room's tint and the light wrap reach into the person
BLUR_SIGMA = (0.008, 0.035)  # of the picture's height, for strength 0 and 1


class Backdrop(NamedTuple):
    """A background picture prepared for one frame size: itself, and its soft light on the coarse grid."""

    picture: U8  # (H, W, 3)
    glow: F32  # (3, h, w), 0..255


def fit(picture: U8, width: int, height: int) -> Backdrop:
    """Scale `picture` (`(h, w, 3) uint8 BGR`) to cover `width` x `height`, cropping what juts out. Do this once."""
    rows, columns = picture.shape[:2]
    scale = max(width / columns, height / rows)
    crop_columns = max(1, min(columns, round(width / scale)))
    crop_rows = max(1, min(rows, round(height / scale)))
    x, y = (columns - crop_columns) // 2, (rows - crop_rows) // 2
    crop = picture[y : y + crop_rows, x : x + crop_columns]
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted = np.asarray(cv2.resize(crop, (width, height), interpolation=kernel), np.uint8)
    return Backdrop(fitted, _glow(fitted))


def replace(bgr: U8, alpha: F32, backdrop: Backdrop, light_wrap: float = 0.4) -> None:
    """Put the person of `bgr` in front of `backdrop`, in place.

    `bgr` is `(H, W, 3) uint8`, `alpha` `(H, W) float32`; `backdrop` comes from `fit` for the same size. `light_wrap`
    (0..1) lets the new background's light graze the person's outline, as it would in that room.
    """
    if backdrop.picture.shape != bgr.shape:
        raise ValueError(f"the backdrop is fitted for {backdrop.picture.shape}, the frame is {bgr.shape}")
    _compose(bgr, alpha, *_coarse(bgr, alpha), backdrop.picture, backdrop.glow, 0.5 * light_wrap)


def blur(bgr: U8, alpha: F32, strength: float) -> None:
    """Blur the room behind the person, in place; the person's colours do not smear into it.

    `strength` runs from 0 (slight) to 1 (only light and colour remain).
    """
    small, mask = _coarse(bgr, alpha)
    low, high = BLUR_SIGMA
    sigma = mask.shape[0] * (low + (high - low) * min(max(strength, 0.0), 1.0))
    soft = cv2.GaussianBlur(_weigh(small, mask), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    room = cv2.resize(_normalise(np.asarray(soft, np.float32)), bgr.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    _compose(bgr, alpha, small, mask, np.asarray(room, np.uint8), None, 0.0)


def cut_out(bgr: U8, alpha: F32) -> U8:
    """Prepare `bgr`, in place, for straight alpha, and return that alpha as `(H, W) uint8`.

    OBS reads async BGRA frames as straight alpha. Along the outline the colours become the person's own; where
    nothing shows, the picture is wiped, so that the room is not sent along unseen.
    """
    _compose(bgr, alpha, *_coarse(bgr, alpha), np.zeros_like(bgr), None, -1.0)
    return np.asarray(cv2.convertScaleAbs(alpha, alpha=255.0), np.uint8)


def _grid_size(height: int, width: int) -> tuple[int, int]:
    columns = min(GRID_WIDTH, width)
    return max(1, min(height, round(height * columns / width))), columns


def _glow(picture: U8) -> F32:
    rows, columns = _grid_size(*picture.shape[:2])
    small = np.empty((rows, columns, 3), np.uint8)
    shrink(picture, small)
    soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 8.0)
    return np.ascontiguousarray(np.asarray(soft, np.float32).transpose(2, 0, 1))


def _coarse(bgr: U8, alpha: F32) -> tuple[U8, F32]:
    """Frame and matte on the grid. The matte's cells are true means: 0 or 1 only if all their pixels are."""
    height, width = bgr.shape[:2]
    if alpha.shape != (height, width) or alpha.dtype != np.float32:
        raise ValueError(f"expected a float32 matte of {(height, width)}, got {alpha.dtype} {alpha.shape}")
    rows, columns = _grid_size(height, width)
    small = np.empty((rows, columns, 3), np.uint8)
    shrink(bgr, small)
    return small, np.asarray(cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _compose(bgr: U8, alpha: F32, small: U8, mask: F32, picture: U8, glow: F32 | None, wrap: float) -> None:
    (height, width), (rows, columns) = alpha.shape, mask.shape
    planes = np.empty((8, rows, columns), np.float32)
    nodes = np.empty((10, rows, columns), np.float32)
    _gather_colours(small, mask, planes)
    box_mean(planes, COLOUR_RADIUS, nodes)
    _estimate(nodes)
    box_mean(mask[None], RIM_RADIUS, nodes[6:7])
    nodes[7:] = 0.0 if glow is None else glow
    _blend(bgr, alpha, picture, mask, nodes, *axis(height, rows), *axis(width, columns), wrap)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _weigh(small: U8, mask: F32) -> F32:
    """b, g, r times the room's share, and that share. Uncertain cells count little: they hold some person."""
    out = np.empty((*small.shape[:2], 4), np.float32)
    for y in range(small.shape[0]):
        for x in range(small.shape[1]):
            share = np.float32(1.0) - mask[y, x]
            share = share * share * share + np.float32(1e-5)
            for c in range(3):
                out[y, x, c] = share * np.float32(small[y, x, c])
            out[y, x, 3] = share
    return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _normalise(weighted: F32) -> U8:
    out = np.empty((*weighted.shape[:2], 3), np.uint8)
    for y in range(weighted.shape[0]):
        for x in range(weighted.shape[1]):
            scale = np.float32(1.0) / max(weighted[y, x, 3], np.float32(1e-9))
            for c in range(3):
                level = weighted[y, x, c] * scale + np.float32(0.5)
                out[y, x, c] = np.uint8(min(max(level, np.float32(0.0)), np.float32(255.0)))
    return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _gather_colours(small: U8, mask: F32, out: F32) -> None:
    """Planes: person-weighted b, g, r, that weight, room-weighted b, g, r, that weight.

    Weights are squared, so that mixed cells colour the estimate less than pure ones.
    """
    least, one = np.float32(1e-6), np.float32(1.0)
    for y in range(mask.shape[0]):
        colours, share = small[y].ravel(), mask[y]
        person, room = out[3, y], out[7, y]
        for x in range(share.size):
            person[x] = share[x] * share[x] + least
            room[x] = (one - share[x]) * (one - share[x]) + least
        for c in range(3):
            of_person, of_room = out[c, y], out[4 + c, y]
            for x in range(share.size):
                level = np.float32(colours[3 * x + c])
                of_person[x] = person[x] * level
                of_room[x] = room[x] * level


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _estimate(nodes: F32) -> None:
    """From those planes' means, in place: the person's b, g, r and the room's b, g, r."""
    for y in range(nodes.shape[1]):
        person, room = nodes[3, y], nodes[7, y]
        for c in range(3):
            of_person = nodes[c, y]
            for x in range(person.size):
                of_person[x] /= person[x]
        for c in range(3):
            of_room, result = nodes[4 + c, y], nodes[3 + c, y]
            for x in range(room.size):
                result[x] = of_room[x] / room[x]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _grey(b: Any, g: Any, r: Any) -> Any:
    return np.float32(0.114) * b + np.float32(0.587) * g + np.float32(0.299) * r


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _level(x: Any) -> Any:
    """`x` as a level of 0..255."""
    return min(max(x, np.float32(0.0)), np.float32(255.0))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _spread(line: F32, spans: U32, weights: F32, wide: F32) -> None:
    """The ten quantities of a row of nodes at up to CHUNK pixels, quantity c from `wide[c * CHUNK]` on."""
    for c in range(10):
        nodes = line[c]
        for x in range(spans.size):
            wide[c * CHUNK + x] = between(nodes, spans[x], np.float32(1.0) - weights[x], weights[x])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _blend_chunk(pixels: U8, behind: U8, cover: F32, wide: F32, strength: Any, opaque: bool) -> None:
    """Up to CHUNK pixels of one row along the outline."""
    one, zero, half = np.float32(1.0), np.float32(0.0), np.float32(0.5)
    shown = one if opaque else zero
    for x in range(cover.size):
        a = cover[x]
        rest = one - a
        pb, pg, pr = wide[x], wide[x + CHUNK], wide[x + 2 * CHUNK]
        rb, rg, rr = wide[x + 3 * CHUNK], wide[x + 4 * CHUNK], wide[x + 5 * CHUNK]
        rim = one - wide[x + 6 * CHUNK]
        # The person's colour that, mixed with the room's, explains the pixel best.
        b = _level(pb + a * (np.float32(pixels[3 * x]) - a * pb - rest * rb))
        g = _level(pg + a * (np.float32(pixels[3 * x + 1]) - a * pg - rest * rg))
        r = _level(pr + a * (np.float32(pixels[3 * x + 2]) - a * pr - rest * rr))
        # Colour bleeds further than brightness. Take back the share of the pixel's colour that leads from the
        # person's towards the room's; its brightness stays.
        db, dg, dr = rb - pb, rg - pg, rr - pr
        grey = _grey(db, dg, dr)
        db, dg, dr = db - grey, dg - grey, dr - grey
        eb, eg, er = b - pb, g - pg, r - pr
        grey = _grey(eb, eg, er)
        along = (eb - grey) * db + (eg - grey) * dg + (er - grey) * dr
        tint = min(max(along / (db * db + dg * dg + dr * dr + FLAT), zero), one) * min(rim + rim, one)
        light = strength * a * rim
        b = (b - tint * db) * (one - light) + light * wide[x + 7 * CHUNK]
        g = (g - tint * dg) * (one - light) + light * wide[x + 8 * CHUNK]
        r = (r - tint * dr) * (one - light) + light * wide[x + 9 * CHUNK]
        rest *= shown
        keep = one - rest
        pixels[3 * x] = np.uint8(_level(keep * b + rest * np.float32(behind[3 * x])) + half)
        pixels[3 * x + 1] = np.uint8(_level(keep * g + rest * np.float32(behind[3 * x + 1])) + half)
        pixels[3 * x + 2] = np.uint8(_level(keep * r + rest * np.float32(behind[3 * x + 2])) + half)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _blend(
    bgr: U8,
    alpha: F32,
    picture: U8,
    mask: F32,
    nodes: F32,
    row_starts: I32,
    row_spans: U32,
    row_weights: F32,
    column_starts: I32,
    column_spans: U32,
    column_weights: F32,
    wrap: float,
) -> None:
    """The composite. `wrap` < 0 leaves the person's own colours unmixed, for a cut-out."""
    rows, columns = mask.shape
    kinds = np.empty(columns + 1, np.int8)
    line = np.empty((10, columns + 2), np.float32)
    wide = np.empty(10 * CHUNK, np.float32)
    strength = np.float32(max(wrap, 0.0))
    opaque = wrap >= 0.0
    # The light wrap reaches a little into the person.
    solid = nodes[6]
    for row_span in range(rows + 1):
        if row_starts[row_span] == row_starts[row_span + 1]:
            continue
        top, bottom = max(row_span - 1, 0), min(row_span, rows - 1)
        mixed = False
        for s in range(columns + 1):
            i, j = max(s - 1, 0), min(s, columns - 1)
            low = min(min(solid[top, i], solid[top, j]), min(solid[bottom, i], solid[bottom, j]))
            high = max(max(mask[top, i], mask[top, j]), max(mask[bottom, i], mask[bottom, j]))
            kinds[s] = 0 if high <= np.float32(1e-6) else (1 if low >= np.float32(0.9999) else 2)
            mixed = mixed or kinds[s] == 2
        for y in range(row_starts[row_span], row_starts[row_span + 1]):
            if mixed:
                mix_rows(nodes, top, bottom, row_weights[y], line)
            pixel_row, picture_row, coverage = bgr[y].ravel(), picture[y].ravel(), alpha[y]
            s = 0
            while s <= columns:
                kind, end = kinds[s], s + 1
                while end <= columns and kinds[end] == kind:
                    end += 1
                first, last = column_starts[s], column_starts[end]
                if kind == 0:
                    pixels, behind = pixel_row[3 * first : 3 * last], picture_row[3 * first : 3 * last]
                    for i in range(pixels.size):
                        pixels[i] = behind[i]
                elif kind == 2:
                    for x in range(first, last, CHUNK):
                        stop = min(x + CHUNK, last)
                        _spread(line, column_spans[x:stop], column_weights[x:stop], wide)
                        pixels, behind = pixel_row[3 * x : 3 * stop], picture_row[3 * x : 3 * stop]
                        _blend_chunk(pixels, behind, coverage[x:stop], wide, strength, opaque)
                s = end
