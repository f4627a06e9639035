"""Triangles into pixels: the hot loops of the mesh twin, compiled.

Pixels are sampled at their centres; a triangle owns the centres from its left edge up to, not including, its right one,
so that neighbours neither overlap nor leave gaps. Nearer triangles are drawn later (painter's order); those that face
away are left out. Texture places and colours run along a row in fixed point.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Texture = npt.NDArray[np.uint32]

_UV_BITS = 16
_UV_ONE = float(1 << _UV_BITS)
_UV_MARGIN = 0.05  # texels; more than the fixed point's rounding can add up to along a row
_GAIN_BITS = 18
_GAIN_ONE = float(1 << _GAIN_BITS)
_EASED = 255 * (np.arange(256) / 255) ** 2 * (3 - 2 * np.arange(256) / 255)  # smoothstep, of 255
_MARK_ONE = 255.0 * (1 << _UV_BITS)
_GAIN_SHIFT = np.int64(_GAIN_BITS + 8)
_GAIN_HALF = np.int64(1 << (_GAIN_BITS + 7))
_MOST = np.int64(255)
_OUTER, _HALF = np.uint64(0x00FF00FF00FF00FF), np.uint64(0xFFFFFFFF)
_LOW, _WORD = np.uint64(0xFF), np.uint64(0xFFFF)
_BYTE, _TWO_BYTES, _THREE_BYTES, _FOUR_BYTES = np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(32)
_SIXTEEN, _ROUND, _ROUND_LOW = np.uint64(16), np.uint64(0x00800080), np.uint64(0x80)


def pack(picture: Image) -> Texture:
    """`(H, W, 3) uint8` as a texture for `draw`: one word a pixel."""
    packed: Texture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA).view(np.uint32)[..., 0]
    return packed


def visible_order(
    points: FloatArray, triangles: npt.NDArray[np.int32], *, both_sides: bool = False
) -> npt.NDArray[np.int32]:
    """The `triangles` `(M, 3)` that face the camera, far to near.

    Args:
        points: `(N, 3) float32`, x, y pixels and z in the same scale, smaller is nearer.
        both_sides: those that face away too.
    """
    rows, nearness = np.empty(len(triangles), np.int64), np.empty(len(triangles), np.float32)
    count = _facing(points, triangles, both_sides, rows, nearness)
    order = np.argsort(nearness[:count], kind="stable")
    return np.ascontiguousarray(triangles[rows[order]])


@njit(cache=True, nogil=True)
def _facing(
    points: FloatArray,
    triangles: npt.NDArray[np.int32],
    both_sides: bool,
    rows: npt.NDArray[np.int64],
    nearness: FloatArray,
) -> int:
    """How many triangles face the camera; which they are, and how near, is written to `rows` and `nearness` `(M,)`."""
    count = 0
    for t in range(len(triangles)):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x, y = points[i, 0], points[i, 1]
        area = (points[j, 0] - x) * (points[k, 1] - y) - (points[j, 1] - y) * (points[k, 0] - x)
        # The mesh's triangles run against the clock, as seen on the picture, when they face the camera.
        if area < 0 or both_sides:
            rows[count] = t
            nearness[count] = -(points[i, 2] + points[j, 2] + points[k, 2])
            count += 1
    return count


@njit(cache=True, nogil=True)
def extent(some: FloatArray, others: FloatArray) -> tuple[float, float, float, float]:
    """The least x and y and the largest of all points `(N, 2 or more)`."""
    left, top, right, bottom = math.inf, math.inf, -math.inf, -math.inf
    for points in (some, others):
        for n in range(len(points)):
            x, y = points[n, 0], points[n, 1]
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
    return left, top, right, bottom


@njit(cache=True, nogil=True, fastmath=True)
def draw(
    texture: Texture,
    uv: FloatArray,
    xy: FloatArray,
    triangles: npt.NDArray[np.int32],
    out: Image,
    gain: FloatArray | None = None,
    marks: FloatArray | None = None,
    out_marks: Image | None = None,
) -> None:
    """Draw textured triangles into `out`.

    Args:
        texture: `(h, w) uint32` from `pack`, sampled bilinearly.
        uv: `(N, 2) float32`, each vertex's place in the texture, in its pixels (centres at whole numbers).
        xy: `(N, 2) float32`, each vertex's place in `out`.
        triangles: `(M, 3) int32`, drawn in this order.
        out: `(H, W, 3) uint8`, gets the colours.
        gain: `(N, 3) float32`, what the texture's channels are multiplied with at each vertex.
        marks: `(N, 2) float32` 0..1, two amounts at each vertex, such as coverage, for
        out_marks: `(H, W, 2) uint8`, 255 is full.
    """
    height, width = out.shape[:2]
    tex_h, tex_w = texture.shape[:2]
    flat = texture.reshape(-1)
    planes = np.empty((5, 3), np.float64)
    u_max, v_max = tex_w - 1 - _UV_MARGIN - 0.001, tex_h - 1 - _UV_MARGIN - 0.001
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = xy[i, 0], xy[i, 1]
        x1, y1 = xy[j, 0], xy[j, 1]
        x2, y2 = xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        top = max(0, math.ceil(min(y0, y1, y2)))
        bottom = min(height, math.ceil(max(y0, y1, y2)))
        if abs(area) < 1e-4 or bottom <= top:
            continue
        # Each value over the triangle is a plane: its worth at the frame's origin, and its steps along x and y.
        inverse = 1.0 / area
        jx, jy = (y2 - y0) * inverse, (x0 - x2) * inverse
        kx, ky = (y0 - y1) * inverse, (x1 - x0) * inverse
        j_at, k_at = -jx * x0 - jy * y0, -kx * x0 - ky * y0
        u0 = min(max(uv[i, 0], _UV_MARGIN), u_max) * _UV_ONE
        v0 = min(max(uv[i, 1], _UV_MARGIN), v_max) * _UV_ONE
        du_j, du_k = (
            min(max(uv[j, 0], _UV_MARGIN), u_max) * _UV_ONE - u0,
            min(max(uv[k, 0], _UV_MARGIN), u_max) * _UV_ONE - u0,
        )
        dv_j, dv_k = (
            min(max(uv[j, 1], _UV_MARGIN), v_max) * _UV_ONE - v0,
            min(max(uv[k, 1], _UV_MARGIN), v_max) * _UV_ONE - v0,
        )
        u_at, v_at = u0 + du_j * j_at + du_k * k_at, v0 + dv_j * j_at + dv_k * k_at
        u_x, v_x = du_j * jx + du_k * kx, dv_j * jx + dv_k * kx
        u_y, v_y = du_j * jy + du_k * ky, dv_j * jy + dv_k * ky
        u_step, v_step = np.int64(u_x), np.int64(v_x)
        if gain is not None:
            for c in range(3):
                start = gain[i, c] * _GAIN_ONE
                to_j, to_k = gain[j, c] * _GAIN_ONE - start, gain[k, c] * _GAIN_ONE - start
                planes[c, 0] = start + to_j * j_at + to_k * k_at
                planes[c, 1] = to_j * jx + to_k * kx
                planes[c, 2] = to_j * jy + to_k * ky
            b_step, g_step, r_step = np.int64(planes[0, 1]), np.int64(planes[1, 1]), np.int64(planes[2, 1])
        if marks is not None:
            for c in range(2):
                start = marks[i, c] * _MARK_ONE
                to_j, to_k = marks[j, c] * _MARK_ONE - start, marks[k, c] * _MARK_ONE - start
                planes[3 + c, 0] = start + to_j * j_at + to_k * k_at + 0.5 * (1 << _UV_BITS)
                planes[3 + c, 1] = to_j * jx + to_k * kx
                planes[3 + c, 2] = to_j * jy + to_k * ky
            m_step, n_step = np.int64(planes[3, 1]), np.int64(planes[4, 1])
        # Sorted downwards, one edge runs all along the other two; each edge owns its upper end, not its lower.
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        long = (x2 - x0) / (y2 - y0)
        above = (x1 - x0) / (y1 - y0) if y1 > y0 else 0.0
        beneath = (x2 - x1) / (y2 - y1) if y2 > y1 else 0.0
        long_left = x1 - x0 > (y1 - y0) * long
        for y in range(top, bottom):
            at_long = x0 + (y - y0) * long
            at_short = x0 + (y - y0) * above if y < y1 else x1 + (y - y1) * beneath
            left, right = (at_long, at_short) if long_left else (at_short, at_long)
            first, last = max(0, math.ceil(left)), min(width, math.ceil(right))
            if first >= last:
                continue
            u = np.int64(u_at + u_x * first + u_y * y)
            v = np.int64(v_at + v_x * first + v_y * y)
            if gain is not None:
                b = np.int64(planes[0, 0] + planes[0, 1] * first + planes[0, 2] * y)
                g = np.int64(planes[1, 0] + planes[1, 1] * first + planes[1, 2] * y)
                r = np.int64(planes[2, 0] + planes[2, 1] * first + planes[2, 2] * y)
            if marks is not None:
                m = np.int64(planes[3, 0] + planes[3, 1] * first + planes[3, 2] * y)
                n = np.int64(planes[4, 0] + planes[4, 1] * first + planes[4, 2] * y)
            for x_pixel in range(first, last):
                at = np.uintp((v >> _UV_BITS) * tex_w + (u >> _UV_BITS))
                below = at + np.uintp(tex_w)
                fu = np.uint64((u >> (_UV_BITS - 4)) & 15)
                fv = np.uint64((v >> (_UV_BITS - 4)) & 15)
                nu, nv = _SIXTEEN - fu, _SIXTEEN - fv
                # Two pixels side by side are one word of 64 bits, each channel 16 bits: one product mixes both.
                upper = np.uint64(flat[at]) | (np.uint64(flat[at + np.uintp(1)]) << _FOUR_BYTES)
                lower = np.uint64(flat[below]) | (np.uint64(flat[below + np.uintp(1)]) << _FOUR_BYTES)
                outer = (upper & _OUTER) * nv + (lower & _OUTER) * fv
                inner = ((upper >> _BYTE) & _OUTER) * nv + ((lower >> _BYTE) & _OUTER) * fv
                outer = (outer & _HALF) * nu + (outer >> _FOUR_BYTES) * fu
                inner = (inner & _WORD) * nu + ((inner >> _FOUR_BYTES) & _WORD) * fu
                if gain is not None:
                    blue, green, red = np.int64(outer & _WORD), np.int64(inner & _WORD), np.int64(outer >> _TWO_BYTES)
                    out[y, x_pixel, 0] = np.uint8(min((blue * b + _GAIN_HALF) >> _GAIN_SHIFT, _MOST))
                    out[y, x_pixel, 1] = np.uint8(min((green * g + _GAIN_HALF) >> _GAIN_SHIFT, _MOST))
                    out[y, x_pixel, 2] = np.uint8(min((red * r + _GAIN_HALF) >> _GAIN_SHIFT, _MOST))
                    b += b_step
                    g += g_step
                    r += r_step
                else:
                    outer += _ROUND
                    out[y, x_pixel, 0] = np.uint8((outer >> _BYTE) & _LOW)
                    out[y, x_pixel, 1] = np.uint8((inner + _ROUND_LOW) >> _BYTE)
                    out[y, x_pixel, 2] = np.uint8(outer >> _THREE_BYTES)
                u += u_step
                v += v_step
                if marks is not None and out_marks is not None:
                    out_marks[y, x_pixel, 0] = np.uint8(min(max(m >> _UV_BITS, np.int64(0)), np.int64(255)))
                    out_marks[y, x_pixel, 1] = np.uint8(min(max(n >> _UV_BITS, np.int64(0)), np.int64(255)))
                    m += m_step
                    n += n_step


def blend(
    base: Image, base_soft: Image, layer: Image, coverage: Image, strength: float, grain_levels: float, out: Image
) -> None:
    """`out = base + coverage * strength * (layer + grain - base)`, coverage's ramps eased at both ends (smoothstep).

    Args:
        base: `(H, W, 3) uint8`, what lies below.
        base_soft: `(H, W, 3) uint8`, the same without its noise; what `base` differs from it is the camera's grain.
        layer: `(H, W, 3) uint8`, what lies above.
        coverage: `(H, W) uint8`, 255 is full.
        strength: 0..1.
        grain_levels: the most that is taken for grain; larger differences are the actor's features. 0: no grain.
        out: `(H, W, 3) uint8`, may be `base`.
    """
    eased = cv2.LUT(coverage, (_EASED * strength + 0.5).astype(np.uint8))
    # One weight a channel and one long row: what the compiler can do many pixels of at once.
    weights = cv2.merge([eased] * 3).reshape(-1)
    below, soft, above = (np.ascontiguousarray(p).reshape(-1) for p in (base, base_soft, layer))
    mixed = np.empty(base.shape, np.uint8)
    _mix(below, soft, above, np.asarray(weights, np.uint8), int(grain_levels), mixed.reshape(-1))
    out[:] = mixed


@njit(cache=True, nogil=True, fastmath=True)
def _mix(base: Image, base_soft: Image, layer: Image, weights: Image, grain_levels: int, out: Image) -> None:
    """`blend` on one long row; 255 of `weights` is full."""
    most = np.int32(grain_levels)
    for n in range(out.shape[0]):
        below = np.int32(base[n])
        weight = np.int32(weights[n])
        grain = min(max(below - np.int32(base_soft[n]), -most), most)
        mixed = below + (((np.int32(layer[n]) + grain - below) * (weight + (weight >> 7)) + 128) >> 8)
        out[n] = np.uint8(min(max(mixed, np.int32(0)), np.int32(255)))


@njit(cache=True, nogil=True, fastmath=True)
def keep_in_front(base: Image, layer: Image, zone: Image, low: float, high: float, out: Image) -> None:
    """How much of `layer` may be seen where the actor's hair may hang in front of it.

    Args:
        base, layer: `(H, W, 3) uint8`, the actor and the twin; there the twin shows plain skin.
        zone: `(H, W) uint8`, where hair is looked for, 255 is full.
        low, high: a pixel that differs by less than `low` is skin, by more than `high` is hair; in log units of
            brightness plus twice those of tint.
        out: `(H, W) uint8`, 255 where the twin covers all.
    """
    height, width = zone.shape
    logs = np.empty(256, np.float32)
    for n in range(256):
        logs[n] = np.log(np.float32(n + 8))
    span = np.float32(1.0 / (high - low))
    for y in range(height):
        for x in range(width):
            z = zone[y, x]
            if z == 0:
                out[y, x] = 255
                continue
            blue = logs[base[y, x, 0]] - logs[layer[y, x, 0]]
            green = logs[base[y, x, 1]] - logs[layer[y, x, 1]]
            red = logs[base[y, x, 2]] - logs[layer[y, x, 2]]
            brightness = (blue + green + red) * np.float32(1 / 3)
            # Skin varies in brightness more than in colour.
            tint = max(abs(blue - brightness), abs(green - brightness), abs(red - brightness))
            away = abs(brightness) + np.float32(2) * tint
            hair = min(max((away - np.float32(low)) * span, np.float32(0)), np.float32(1))
            out[y, x] = np.uint8(255 - hair * z)


@njit(cache=True, nogil=True, fastmath=True)
def tint_disc(picture: Image, x: float, y: float, radius: float, factors: FloatArray) -> None:
    """Multiply the channels of `picture` `(H, W, 3) uint8` with `factors` `(3,)` inside a soft disc; glints stay."""
    height, width = picture.shape[:2]
    for row in range(max(0, int(y - radius) - 1), min(height, int(y + radius) + 3)):
        for column in range(max(0, int(x - radius) - 1), min(width, int(x + radius) + 3)):
            distance = math.sqrt((row - y) ** 2 + (column - x) ** 2)
            inside = min(max((radius - distance) / (0.25 * radius) + 0.5, 0.0), 1.0)
            brightest = max(picture[row, column, 0], picture[row, column, 1], picture[row, column, 2])
            share = inside * min(max((190.0 - brightest) / 60.0, 0.0), 1.0)
            for c in range(3):
                factor = 1.0 + (factors[c] - 1.0) * share
                picture[row, column, c] = np.uint8(min(picture[row, column, c] * factor + 0.5, 255.0))
