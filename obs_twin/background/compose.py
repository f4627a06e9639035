"""Put the person of a frame in front of something else, without a rim of the room that they really sit in.

Along the outline a camera pixel is a mixture of person and room: `pixel = a F + (1 - a) B`. Showing that pixel
against another background shows the room's colour as a halo. F and B are estimated as in "Fast Multi-Level
Foreground Estimation" 's successor "Approximate Fast Foreground Colour Estimation" (M. Forte, ICIP 2021): local
means of the surely-person and surely-room colours, on a coarse grid, then corrected so that the mixture explains
the pixel. Only F goes into the composite. Away from the outline, pixels are kept or copied in whole runs.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from obs_twin.background.grid import F32, I64, U8, axis, box_mean, mix_rows, shrink

GRID_WIDTH = 256  # nodes across; at 720p a node stands for 5 pixels
COLOUR_RADIUS = 3  # grid nodes over which the person's and the room's colours are averaged
BLUR_SIGMA = (0.008, 0.035)  # of the picture's height, for strength 0 and 1


class Backdrop(NamedTuple):
    """A background picture prepared for one frame size: itself, and its soft light on the coarse grid."""

    picture: U8  # (H, W, 3)
    glow: F32  # (h, w, 3), 0..255


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
    _compose(bgr, alpha, backdrop.picture, backdrop.glow, 0.5 * light_wrap)


def blur(bgr: U8, alpha: F32, strength: float) -> None:
    """Blur the room behind the person, in place; the person's colours do not smear into it.

    `strength` runs from 0 (slight) to 1 (only light and colour remain).
    """
    height, width = bgr.shape[:2]
    low, high = BLUR_SIGMA
    sigma = height * (low + (high - low) * min(max(strength, 0.0), 1.0))
    # Blur at a scale where the sigma is about two pixels: the rest is the interpolation back.
    factor = max(1.0, sigma / 2.0)
    rows, columns = max(2, round(height / factor)), max(2, round(width / factor))
    small = np.empty((rows, columns, 3), np.uint8)
    mask = np.empty((rows, columns), np.float32)
    shrink(bgr, small)
    shrink(alpha, mask)
    soft = cv2.GaussianBlur(_weigh(small, mask), (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
    room = cv2.resize(_normalise(np.asarray(soft, np.float32)), (width, height), interpolation=cv2.INTER_LINEAR)
    _compose(bgr, alpha, np.asarray(room, np.uint8), None, 0.0)


def cut_out(bgr: U8, alpha: F32) -> U8:
    """Prepare `bgr`, in place, for straight alpha, and return that alpha as `(H, W) uint8`.

    OBS reads async BGRA frames as straight alpha. Along the outline the colours become the person's own; where
    nothing shows, the picture is wiped, so that the room is not sent along unseen.
    """
    _compose(bgr, alpha, np.zeros_like(bgr), None, -1.0)
    return np.asarray(cv2.convertScaleAbs(alpha, alpha=255.0), np.uint8)


def _grid_size(height: int, width: int) -> tuple[int, int]:
    columns = min(GRID_WIDTH, width)
    return max(1, min(height, round(height * columns / width))), columns


def _glow(picture: U8) -> F32:
    rows, columns = _grid_size(*picture.shape[:2])
    small = np.empty((rows, columns, 3), np.uint8)
    shrink(picture, small)
    return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), 8.0), np.float32)


def _compose(bgr: U8, alpha: F32, picture: U8, glow: F32 | None, wrap: float) -> None:
    height, width = bgr.shape[:2]
    if alpha.shape != (height, width) or alpha.dtype != np.float32:
        raise ValueError(f"expected a float32 matte of {(height, width)}, got {alpha.dtype} {alpha.shape}")
    rows, columns = _grid_size(height, width)
    small = np.empty((rows, columns, 3), np.uint8)
    shrink(bgr, small)
    mask = np.asarray(cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    sums = box_mean(_gather_colours(small, mask), COLOUR_RADIUS)
    nodes = _estimate(sums, picture[:1, :1].astype(np.float32) if glow is None else glow)
    _blend(bgr, alpha, picture, mask, nodes, *axis(height, rows), *axis(width, columns), wrap)


@njit(cache=True, nogil=True, fastmath=True)
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


@njit(cache=True, nogil=True, fastmath=True)
def _normalise(weighted: F32) -> U8:
    out = np.empty((*weighted.shape[:2], 3), np.uint8)
    for y in range(weighted.shape[0]):
        for x in range(weighted.shape[1]):
            scale = np.float32(1.0) / max(weighted[y, x, 3], np.float32(1e-9))
            for c in range(3):
                level = weighted[y, x, c] * scale + np.float32(0.5)
                out[y, x, c] = np.uint8(min(max(level, np.float32(0.0)), np.float32(255.0)))
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _gather_colours(small: U8, mask: F32) -> F32:
    """Per node: person-weighted b, g, r, that weight, room-weighted b, g, r, that weight, and the matte.

    Weights are squared, so that mixed cells colour the estimate less than pure ones.
    """
    out = np.empty((*small.shape[:2], 9), np.float32)
    for y in range(small.shape[0]):
        for x in range(small.shape[1]):
            share = mask[y, x]
            person = share * share + np.float32(1e-6)
            room = (np.float32(1.0) - share) * (np.float32(1.0) - share) + np.float32(1e-6)
            node = out[y, x]
            for c in range(3):
                level = np.float32(small[y, x, c])
                node[c] = person * level
                node[4 + c] = room * level
            node[3], node[7], node[8] = person, room, share
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _estimate(sums: F32, glow: F32) -> F32:
    """Per node: the person's b, g, r, the room's b, g, r, how far inside the person it lies, and the glow."""
    out = np.empty((*sums.shape[:2], 10), np.float32)
    lit = glow.shape[0] == sums.shape[0]
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            node, total = out[y, x], sums[y, x]
            for c in range(3):
                node[c] = total[c] / total[3]
                node[3 + c] = total[4 + c] / total[7]
                node[7 + c] = glow[y, x, c] if lit else np.float32(0.0)
            node[6] = total[8]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _blend(
    bgr: U8,
    alpha: F32,
    picture: U8,
    mask: F32,
    nodes: F32,
    row_starts: I64,
    row_weights: F32,
    column_starts: I64,
    column_weights: F32,
    wrap: float,
) -> None:
    """The composite. `wrap` < 0 leaves the person's own colours unmixed, for a cut-out."""
    rows, columns = mask.shape
    kinds = np.empty(columns + 1, np.int8)
    line = np.empty((columns, 10), np.float32)
    one, zero, half, full = np.float32(1.0), np.float32(0.0), np.float32(0.5), np.float32(255.0)
    strength = np.float32(max(wrap, 0.0))
    opaque = wrap >= 0.0
    for row_span in range(rows + 1):
        if row_starts[row_span] == row_starts[row_span + 1]:
            continue
        top, bottom = max(row_span - 1, 0), min(row_span, rows - 1)
        mixed = False
        for s in range(columns + 1):
            left, right = max(s - 1, 0), min(s, columns - 1)
            low = min(min(mask[top, left], mask[top, right]), min(mask[bottom, left], mask[bottom, right]))
            high = max(max(mask[top, left], mask[top, right]), max(mask[bottom, left], mask[bottom, right]))
            if strength > zero:
                # The light wrap reaches a little into the person.
                low = min(
                    low,
                    min(
                        min(nodes[top, left, 6], nodes[top, right, 6]),
                        min(nodes[bottom, left, 6], nodes[bottom, right, 6]),
                    ),
                )
            kinds[s] = 0 if high <= np.float32(1e-6) else (1 if low >= np.float32(0.9999) else 2)
            mixed = mixed or kinds[s] == 2
        for y in range(row_starts[row_span], row_starts[row_span + 1]):
            pixels, picture_row, coverage = bgr[y].ravel(), picture[y].ravel(), alpha[y]
            if mixed:
                mix_rows(nodes[top], nodes[bottom], row_weights[y], line)
            s = 0
            while s <= columns:
                kind = kinds[s]
                end = s + 1
                while end <= columns and kinds[end] == kind:
                    end += 1
                first, last = column_starts[s], column_starts[end]
                if kind == 0:
                    room_row = picture_row[3 * first : 3 * last]
                    shown = pixels[3 * first : 3 * last]
                    for i in range(shown.size):
                        shown[i] = room_row[i]
                elif kind == 2:
                    for span in range(s, end):
                        i, j = max(span - 1, 0), min(span, columns - 1)
                        for x in range(column_starts[span], column_starts[span + 1]):
                            t, a = column_weights[x], coverage[x]
                            u, rest = one - t, one - a
                            light = strength * a * (one - u * line[i, 6] - t * line[j, 6])
                            for c in range(3):
                                level = np.float32(pixels[3 * x + c])
                                if a < one:
                                    person = u * line[i, c] + t * line[j, c]
                                    room = u * line[i, 3 + c] + t * line[j, 3 + c]
                                    level = person + a * (level - a * person - rest * room)
                                    level = min(max(level, zero), full)
                                glow = u * line[i, 7 + c] + t * line[j, 7 + c]
                                level += light * (glow - level)
                                if opaque:
                                    level = a * level + rest * np.float32(picture_row[3 * x + c])
                                pixels[3 * x + c] = np.uint8(level + half)
                s = end
