"""The person's matte: MediaPipe's selfie segmentation, steadied over time and fitted to the picture's own edges.

1. The network (landscape model, 144 x 256) says for each coarse cell how sure it is of a person.
2. Over time: where the picture stands still, the answer is averaged over some frames; where it moves, or where
   the network is sure, the newest answer counts, so nothing trails behind a moving hand.
3. Into the picture: a guided filter with a colour guide (K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV
   2010; coefficients on the coarse grid after K. He, J. Sun, "Fast Guided Filter", 2015) turns coarse steps into
   the outline of hair and shoulders at full resolution. Its answer is kept between the least and the most that
   the network says close by, so that nothing in the room that resembles the person joins them. Only where the
   outline can run is it evaluated per pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numba import njit

from obs_twin.background.grid import F32, I32, U8, U32, axis, between, box_mean, mix_rows, shrink
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.provider import open_tflite

GUIDE_RADIUS = 4  # coarse cells: 20 pixels at 720p
REACH = 2  # coarse cells by which the outline may leave the network's own
GUIDE_EPSILON = 3e-4  # colour variance (0..1 squared) that counts as flat
DOUBT = (0.2, 0.8)  # network answers below and above are taken as none and all
EDGE = (0.15, 0.85)  # filter output below and above is taken as none and all
MEMORY = 0.75  # share of the past where the picture stands still
MOTION_RADIUS = 2  # coarse cells over which change is judged
STILL = (0.012, 0.05)  # local change per frame (0..1): below is still, above is motion
CUT = 0.2  # mean change per frame above which the scene is another one


class Matte:
    """One stream's matte. Frames must come in order; not to be shared between threads."""

    def __init__(self, model_path: Path) -> None:
        """`model_path`: `selfie_segmentation_landscape.tflite`. Raises ValueError if it is no such model."""
        try:
            self._net = open_tflite(model_path)
        except ModelError as error:
            raise ValueError(f"{model_path} cannot be opened as a segmentation model: {error}") from error
        shape, out = self._net.input_shapes[0], self._net.output_shapes[0]
        if len(shape) != 4 or shape[3] != 3 or out != (*shape[:3], 1):
            raise ValueError(
                f"{model_path} is no selfie segmentation model: expected (1, h, w, 3) to (1, h, w, 1), "
                f"found {shape} to {out}"
            )
        self.rows, self.columns = shape[1], shape[2]
        self._small = np.empty((self.rows, self.columns, 3), np.uint8)
        self._rgb = np.empty((1, self.rows, self.columns, 3), np.float32)
        self._moments = np.empty((13, self.rows, self.columns), np.float32)
        self._means = np.empty_like(self._moments)
        self._coefficients = np.empty((4, self.rows, self.columns), np.float32)
        self._nodes = np.empty((6, self.rows, self.columns), np.float32)
        self._change = np.empty((2, 1, self.rows, self.columns), np.float32)
        self._reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
        self._seen: U8 | None = None
        self._past = np.zeros((self.rows, self.columns), np.float32)

    def reset(self) -> None:
        """Forget the frames before: after a cut, a gap, or a change of source."""
        self._seen = None

    def alpha(self, bgr: U8, out: F32 | None = None) -> F32:
        """The matte of this very frame: `(H, W) float32`, 1 where the person is, 0 where not.

        `bgr` is `(H, W, 3) uint8`. `out`, if given, is written and returned.
        """
        height, width = bgr.shape[:2]
        shrink(bgr, self._small)
        _to_rgb(self._small, self._rgb[0])
        person = self._steady(self._net.run(self._rgb)[0][0, :, :, 0])

        _gather_moments(self._rgb[0], person, DOUBT[0], DOUBT[1], self._moments)
        box_mean(self._moments, GUIDE_RADIUS, self._means)
        _solve(self._means, GUIDE_EPSILON, self._coefficients)
        nodes = self._nodes
        box_mean(self._coefficients, GUIDE_RADIUS, nodes)
        nodes[4] = cv2.erode(self._moments[3], self._reach)
        nodes[5] = cv2.dilate(self._moments[3], self._reach)

        if out is None:
            out = np.empty((height, width), np.float32)
        _evaluate(bgr, nodes, *axis(height, self.rows), *axis(width, self.columns), EDGE[0], EDGE[1], out)
        return out

    def _steady(self, person: F32) -> F32:
        """The network's answer averaged with the past, as far as the picture allows."""
        if self._seen is None:
            self._seen = self._small.copy()
            self._past[:] = person
            return self._past
        raw, change = self._change
        _difference(self._small, self._seen, raw[0])
        box_mean(raw, MOTION_RADIUS, change)
        self._seen[:] = self._small
        if change.mean() > CUT:
            self._past[:] = person
        else:
            _blend_past(person, change[0], MEMORY, STILL[0], STILL[1], self._past)
        return self._past


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _to_rgb(bgr: U8, rgb: F32) -> None:
    scale = np.float32(1 / 255)
    source, out = bgr.ravel(), rgb.ravel()
    for i in range(source.size // 3):
        out[3 * i] = np.float32(source[3 * i + 2]) * scale
        out[3 * i + 1] = np.float32(source[3 * i + 1]) * scale
        out[3 * i + 2] = np.float32(source[3 * i]) * scale


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _difference(a: U8, b: U8, change: F32) -> None:
    """Mean absolute difference of the three colours, 0..1."""
    scale = np.float32(1 / 765)
    p, q, out = a.ravel(), b.ravel(), change.ravel()
    for i in range(out.size):
        total = np.int32(0)
        for c in range(3):
            total += np.int32(abs(np.int32(p[3 * i + c]) - np.int32(q[3 * i + c])))
        out[i] = np.float32(total) * scale


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _smoothstep(x: Any, low: Any, high: Any) -> Any:
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _blend_past(person: F32, change: F32, memory: float, still: float, moving: float, past: F32) -> None:
    memory32, still32, moving32 = np.float32(memory), np.float32(still), np.float32(moving)
    new, motion, old = person.ravel(), change.ravel(), past.ravel()
    for i in range(new.size):
        keep = memory32 * (np.float32(1.0) - _smoothstep(motion[i], still32, moving32))
        old[i] = new[i] + keep * (old[i] - new[i])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _gather_moments(rgb: F32, person: F32, low: float, high: float, out: F32) -> None:
    """Planes r, g, b, p, rp, gp, bp, rr, rg, rb, gg, gb, bb."""
    low32, high32 = np.float32(low), np.float32(high)
    for y in range(rgb.shape[0]):
        colours, answers = rgb[y].ravel(), person[y]
        red, green, blue, p = out[0, y], out[1, y], out[2, y], out[3, y]
        rp, gp, bp = out[4, y], out[5, y], out[6, y]
        rr, rg, rb, gg, gb, bb = out[7, y], out[8, y], out[9, y], out[10, y], out[11, y], out[12, y]
        for x in range(answers.size):
            red[x], green[x], blue[x] = colours[3 * x], colours[3 * x + 1], colours[3 * x + 2]
            p[x] = _smoothstep(answers[x], low32, high32)
        for x in range(answers.size):
            rp[x], gp[x], bp[x] = red[x] * p[x], green[x] * p[x], blue[x] * p[x]
        for x in range(answers.size):
            rr[x], rg[x], rb[x] = red[x] * red[x], red[x] * green[x], red[x] * blue[x]
        for x in range(answers.size):
            gg[x], gb[x], bb[x] = green[x] * green[x], green[x] * blue[x], blue[x] * blue[x]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _solve(means: F32, epsilon: float, out: F32) -> None:
    """Per node the a (in b, g, r order) and b of p = a . colour + b: a 3 x 3 solve by the adjugate."""
    eps = np.float32(epsilon)
    m, to_blue, to_green, to_red, rest = (
        means.reshape(13, -1),
        out[0].ravel(),
        out[1].ravel(),
        out[2].ravel(),
        out[3].ravel(),
    )
    for i in range(rest.size):
        r, g, b, p = m[0, i], m[1, i], m[2, i], m[3, i]
        cr, cg, cb = m[4, i] - r * p, m[5, i] - g * p, m[6, i] - b * p
        rr, rg, rb = m[7, i] - r * r + eps, m[8, i] - r * g, m[9, i] - r * b
        gg, gb, bb = m[10, i] - g * g + eps, m[11, i] - g * b, m[12, i] - b * b + eps
        i00, i01, i02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        scale = np.float32(1.0) / (rr * i00 + rg * i01 + rb * i02)
        ar = (i00 * cr + i01 * cg + i02 * cb) * scale
        ag = (i01 * cr + i11 * cg + i12 * cb) * scale
        ab = (i02 * cr + i12 * cg + i22 * cb) * scale
        to_blue[i], to_green[i], to_red[i] = ab, ag, ar
        rest[i] = p - ar * r - ag * g - ab * b


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _bounds(nodes: F32, least: F32, most: F32) -> None:
    """Per node, what alpha can be for any colour in 0..1: b plus the negative (positive) a's, within reach."""
    n, below, above = nodes.reshape(6, -1), least.ravel(), most.ravel()
    zero = np.float32(0.0)
    for i in range(below.size):
        low = n[3, i] + min(n[0, i], zero) + min(n[1, i], zero) + min(n[2, i], zero)
        high = n[3, i] + max(n[0, i], zero) + max(n[1, i], zero) + max(n[2, i], zero)
        below[i] = min(max(low, n[4, i]), n[5, i])
        above[i] = min(max(high, n[4, i]), n[5, i])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _evaluate(
    bgr: U8,
    nodes: F32,
    row_starts: I32,
    row_spans: U32,
    row_weights: F32,
    column_starts: I32,
    column_spans: U32,
    column_weights: F32,
    low: float,
    high: float,
    out: F32,
) -> None:
    """alpha = a . colour + b at every pixel, kept between least and most; all interpolated between the grid's nodes.

    A span whose four nodes can only give values under `low` or over `high` is filled without a look at its pixels.
    """
    _, rows, columns = nodes.shape
    low32, high32, one, scale = np.float32(low), np.float32(high), np.float32(1.0), np.float32(1 / 255)
    least, most = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    _bounds(nodes, least, most)
    line = np.empty((6, columns + 2), np.float32)
    kinds = np.empty(columns + 1, np.int8)
    for row_span in range(rows + 1):
        if row_starts[row_span] == row_starts[row_span + 1]:
            continue
        top, bottom = max(row_span - 1, 0), min(row_span, rows - 1)
        mixed = False
        for s in range(columns + 1):
            i, j = max(s - 1, 0), min(s, columns - 1)
            floor = min(min(least[top, i], least[top, j]), min(least[bottom, i], least[bottom, j]))
            ceiling = max(max(most[top, i], most[top, j]), max(most[bottom, i], most[bottom, j]))
            kinds[s] = 0 if ceiling <= low32 else (1 if floor >= high32 else 2)
            mixed = mixed or kinds[s] == 2
        for y in range(row_starts[row_span], row_starts[row_span + 1]):
            if mixed:
                mix_rows(nodes, top, bottom, row_weights[y], line)
                to_blue, to_green, to_red, rest, under, over = line
            colour_row = bgr[y].ravel()
            s = 0
            while s <= columns:
                kind, end = kinds[s], s + 1
                while end <= columns and kinds[end] == kind:
                    end += 1
                # Slices, so that indices count from zero and no index needs a test for being negative.
                first, last = column_starts[s], column_starts[end]
                result = out[y, first:last]
                if kind < 2:
                    for x in range(result.size):
                        result[x] = np.float32(kind)
                else:
                    colours = colour_row[3 * first : 3 * last]
                    spans, weights = column_spans[first:last], column_weights[first:last]
                    for x in range(result.size):
                        i, t = spans[x], weights[x]
                        u = one - t
                        value = between(to_blue, i, u, t) * (np.float32(colours[3 * x]) * scale)
                        value += between(to_green, i, u, t) * (np.float32(colours[3 * x + 1]) * scale)
                        value += between(to_red, i, u, t) * (np.float32(colours[3 * x + 2]) * scale)
                        value += between(rest, i, u, t)
                        value = max(value, between(under, i, u, t))
                        value = min(value, between(over, i, u, t))
                        result[x] = _smoothstep(value, low32, high32)
                s = end
