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
from ai_edge_litert.interpreter import Interpreter
from numba import njit

from obs_twin.background.grid import F32, I64, U8, Axis, axis, box_mean, mix_rows, shrink

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
            self._net = Interpreter(str(model_path), num_threads=1)
            self._net.allocate_tensors()
            source, answer = self._net.get_input_details(), self._net.get_output_details()
        except (ValueError, RuntimeError, OSError) as error:
            raise ValueError(f"{model_path} cannot be opened as a segmentation model: {error}") from error
        shape, out = tuple(source[0]["shape"]), tuple(answer[0]["shape"])
        if len(shape) != 4 or shape[3] != 3 or out != (*shape[:3], 1):
            raise ValueError(
                f"{model_path} is no selfie segmentation model: expected (1, h, w, 3) to (1, h, w, 1), "
                f"found {shape} to {out}"
            )
        self._input, self._output = source[0]["index"], answer[0]["index"]
        self.rows, self.columns = int(shape[1]), int(shape[2])
        self._small = np.empty((self.rows, self.columns, 3), np.uint8)
        self._rgb = np.empty((1, self.rows, self.columns, 3), np.float32)
        self._moments = np.empty((self.rows, self.columns, 13), np.float32)
        self._coefficients = np.empty((self.rows, self.columns, 4), np.float32)
        self._nodes = np.empty((self.rows, self.columns, 6), np.float32)
        self._reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
        self._seen: U8 | None = None
        self._past = np.zeros((self.rows, self.columns), np.float32)
        self._axes: tuple[int, int, Axis, Axis] | None = None

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
        self._net.set_tensor(self._input, self._rgb)
        self._net.invoke()
        person = self._steady(self._net.get_tensor(self._output)[0, :, :, 0])

        _gather_moments(self._rgb[0], person, DOUBT[0], DOUBT[1], self._moments)
        means = box_mean(self._moments, GUIDE_RADIUS)
        _solve(means, GUIDE_EPSILON, self._coefficients)
        nodes = self._nodes
        nodes[:, :, :4] = box_mean(self._coefficients, GUIDE_RADIUS)
        nodes[:, :, 4] = cv2.erode(self._moments[:, :, 3], self._reach)
        nodes[:, :, 5] = cv2.dilate(self._moments[:, :, 3], self._reach)

        if out is None:
            out = np.empty((height, width), np.float32)
        if self._axes is None or self._axes[:2] != (height, width):
            self._axes = (height, width, axis(height, self.rows), axis(width, self.columns))
        _, _, down, across = self._axes
        _evaluate(bgr, nodes, *down, *across, EDGE[0], EDGE[1], out)
        return out

    def _steady(self, person: F32) -> F32:
        """The network's answer averaged with the past, as far as the picture allows."""
        if self._seen is None:
            self._seen = self._small.copy()
            self._past[:] = person
            return self._past
        change = box_mean(_difference(self._small, self._seen), MOTION_RADIUS)
        self._seen[:] = self._small
        if change.mean() > CUT:
            self._past[:] = person
        else:
            _blend_past(person, change, MEMORY, STILL[0], STILL[1], self._past)
        return self._past


@njit(cache=True, nogil=True, fastmath=True)
def _to_rgb(bgr: U8, rgb: F32) -> None:
    scale = np.float32(1 / 255)
    source, out = bgr.ravel(), rgb.ravel()
    for i in range(source.size // 3):
        out[3 * i] = np.float32(source[3 * i + 2]) * scale
        out[3 * i + 1] = np.float32(source[3 * i + 1]) * scale
        out[3 * i + 2] = np.float32(source[3 * i]) * scale


@njit(cache=True, nogil=True, fastmath=True)
def _difference(a: U8, b: U8) -> F32:
    """Mean absolute difference of the three colours, 0..1."""
    change = np.empty(a.shape[:2], np.float32)
    scale = np.float32(1 / 765)
    p, q, out = a.ravel(), b.ravel(), change.ravel()
    for i in range(out.size):
        total = np.int32(0)
        for c in range(3):
            total += np.int32(abs(np.int32(p[3 * i + c]) - np.int32(q[3 * i + c])))
        out[i] = np.float32(total) * scale
    return change


@njit(cache=True, nogil=True, fastmath=True)
def _smoothstep(x: Any, low: Any, high: Any) -> Any:
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@njit(cache=True, nogil=True, fastmath=True)
def _blend_past(person: F32, change: F32, memory: float, still: float, moving: float, past: F32) -> None:
    memory32, still32, moving32 = np.float32(memory), np.float32(still), np.float32(moving)
    new, motion, old = person.ravel(), change.ravel(), past.ravel()
    for i in range(new.size):
        keep = memory32 * (np.float32(1.0) - _smoothstep(motion[i], still32, moving32))
        old[i] = new[i] + keep * (old[i] - new[i])


@njit(cache=True, nogil=True, fastmath=True)
def _gather_moments(rgb: F32, person: F32, low: float, high: float, out: F32) -> None:
    """Per cell: r, g, b, p, rp, gp, bp, rr, rg, rb, gg, gb, bb."""
    low32, high32 = np.float32(low), np.float32(high)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            r, g, b = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
            p = _smoothstep(person[y, x], low32, high32)
            m = out[y, x]
            m[0], m[1], m[2], m[3] = r, g, b, p
            m[4], m[5], m[6] = r * p, g * p, b * p
            m[7], m[8], m[9], m[10], m[11], m[12] = r * r, r * g, r * b, g * g, g * b, b * b


@njit(cache=True, nogil=True, fastmath=True)
def _solve(means: F32, epsilon: float, out: F32) -> None:
    """Per cell the a (in b, g, r order) and b of p = a . colour + b: a 3 x 3 solve by the adjugate."""
    eps = np.float32(epsilon)
    for y in range(means.shape[0]):
        for x in range(means.shape[1]):
            m = means[y, x]
            r, g, b, p = m[0], m[1], m[2], m[3]
            cr, cg, cb = m[4] - r * p, m[5] - g * p, m[6] - b * p
            rr, rg, rb = m[7] - r * r + eps, m[8] - r * g, m[9] - r * b
            gg, gb, bb = m[10] - g * g + eps, m[11] - g * b, m[12] - b * b + eps
            i00, i01, i02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
            i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
            scale = np.float32(1.0) / (rr * i00 + rg * i01 + rb * i02)
            ar = (i00 * cr + i01 * cg + i02 * cb) * scale
            ag = (i01 * cr + i11 * cg + i12 * cb) * scale
            ab = (i02 * cr + i12 * cg + i22 * cb) * scale
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = ab, ag, ar
            out[y, x, 3] = p - ar * r - ag * g - ab * b


@njit(cache=True, nogil=True, fastmath=True)
def _evaluate(
    bgr: U8,
    nodes: F32,
    row_starts: I64,
    row_weights: F32,
    column_starts: I64,
    column_weights: F32,
    low: float,
    high: float,
    out: F32,
) -> None:
    """alpha = a . colour + b at every pixel, kept between least and most; all interpolated between the grid's nodes.

    Colours lie in 0..1, so a node's b plus its negative (positive) a's bounds its alpha from below (above) too. A
    span whose four nodes all stay under `low` or over `high` is filled without looking at its pixels.
    """
    rows, columns = nodes.shape[:2]
    low32, high32 = np.float32(low), np.float32(high)
    least, most = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    for j in range(rows):
        for i in range(columns):
            below = above = nodes[j, i, 3]
            for c in range(3):
                below += min(nodes[j, i, c], np.float32(0.0))
                above += max(nodes[j, i, c], np.float32(0.0))
            least[j, i] = min(max(below, nodes[j, i, 4]), nodes[j, i, 5])
            most[j, i] = min(max(above, nodes[j, i, 4]), nodes[j, i, 5])
    line = np.empty((columns, 6), np.float32)
    kinds = np.empty(columns + 1, np.int8)
    scale = np.float32(1 / 255)
    for row_span in range(rows + 1):
        top, bottom = max(row_span - 1, 0), min(row_span, rows - 1)
        if row_starts[row_span] == row_starts[row_span + 1]:
            continue
        for s in range(columns + 1):
            left, right = max(s - 1, 0), min(s, columns - 1)
            floor = min(min(least[top, left], least[top, right]), min(least[bottom, left], least[bottom, right]))
            ceiling = max(max(most[top, left], most[top, right]), max(most[bottom, left], most[bottom, right]))
            kinds[s] = 0 if ceiling <= low32 else (1 if floor >= high32 else 2)
        for y in range(row_starts[row_span], row_starts[row_span + 1]):
            mix_rows(nodes[top], nodes[bottom], row_weights[y], line)
            result = out[y]
            s = 0
            while s <= columns:
                kind = kinds[s]
                end = s + 1
                while end <= columns and kinds[end] == kind:
                    end += 1
                if kind < 2:
                    result[column_starts[s] : column_starts[end]] = np.float32(kind)
                else:
                    for span in range(s, end):
                        i, j = max(span - 1, 0), min(span, columns - 1)
                        for x in range(column_starts[span], column_starts[span + 1]):
                            t = column_weights[x]
                            u = np.float32(1.0) - t
                            value = u * line[i, 3] + t * line[j, 3]
                            for c in range(3):
                                value += (u * line[i, c] + t * line[j, c]) * np.float32(bgr[y, x, c]) * scale
                            value = max(value, u * line[i, 4] + t * line[j, 4])
                            value = min(value, u * line[i, 5] + t * line[j, 5])
                            result[x] = _smoothstep(value, low32, high32)
                s = end
