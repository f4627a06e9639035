"""Triangles into pixels: the hot loops of the mesh twin, compiled.

Pixels are sampled at their centres; a triangle owns the centres from its left edge up to, not including, its right one,
so that neighbours neither overlap nor leave gaps. Nearer triangles are drawn later (painter's order); those that face
away are left out. Texture places and colours run along a row in fixed point.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_UV_BITS = 16
_UV_ONE = float(1 << _UV_BITS)
_UV_MARGIN = 0.05  # texels; more than the fixed point's rounding can add up to along a row
_GAIN_BITS = 10
_GAIN_ONE = float(1 << (_GAIN_BITS + 8))  # 8 more bits, so that a gain can grow by small steps
_MAX_GAIN = 7.9


def visible_order(points: FloatArray, triangles: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The `triangles` `(M, 3)` that face the camera, far to near.

    Args:
        points: `(N, 3) float32`, x, y pixels and z in the same scale, smaller is nearer.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    depth = a[:, 2] + b[:, 2] + c[:, 2]
    # The mesh's triangles run against the clock, as seen on the picture, when they face the camera.
    facing = np.flatnonzero(area < 0)
    order = facing[np.argsort(-depth[facing], kind="stable")]
    return np.ascontiguousarray(triangles[order])


@njit(cache=True, nogil=True, fastmath=True)
def draw(
    texture: Image,
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
        texture: `(h, w, 3) uint8`, C-contiguous, sampled bilinearly.
        uv: `(N, 2) float32`, each vertex's place in the texture, in its pixels (centres at whole numbers).
        xy: `(N, 2) float32`, each vertex's place in `out`.
        triangles: `(M, 3) int32`, drawn in this order.
        out: `(H, W, 3) uint8`, gets the colours.
        gain: `(N, 3) float32`, what the texture's channels are multiplied with at each vertex; at most 7.9.
        marks: `(N, 2) float32` 0..1, two amounts at each vertex, such as coverage, for
        out_marks: `(H, W, 2) uint8`, 255 is full.
    """
    height, width = out.shape[:2]
    tex_h, tex_w = texture.shape[:2]
    flat = texture.reshape(-1)
    stride = np.int64(tex_w * 3)
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
        # Barycentric weights of vertices j and k grow by these per pixel.
        inverse = 1.0 / area
        wj_x, wj_y = (y2 - y0) * inverse, (x0 - x2) * inverse
        wk_x, wk_y = (y0 - y1) * inverse, (x1 - x0) * inverse
        u0 = min(max(uv[i, 0], _UV_MARGIN), u_max)
        v0 = min(max(uv[i, 1], _UV_MARGIN), v_max)
        du_j, du_k = min(max(uv[j, 0], _UV_MARGIN), u_max) - u0, min(max(uv[k, 0], _UV_MARGIN), u_max) - u0
        dv_j, dv_k = min(max(uv[j, 1], _UV_MARGIN), v_max) - v0, min(max(uv[k, 1], _UV_MARGIN), v_max) - v0
        u_step = np.int64((du_j * wj_x + du_k * wk_x) * _UV_ONE)
        v_step = np.int64((dv_j * wj_x + dv_k * wk_x) * _UV_ONE)
        for y in range(top, bottom):
            # Where the row crosses the edges (each edge owns its upper end, not its lower).
            left, right = 1e9, -1e9
            if (y0 <= y) != (y1 <= y):
                x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                left, right = min(left, x), max(right, x)
            if (y1 <= y) != (y2 <= y):
                x = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
                left, right = min(left, x), max(right, x)
            if (y2 <= y) != (y0 <= y):
                x = x2 + (y - y2) * (x0 - x2) / (y0 - y2)
                left, right = min(left, x), max(right, x)
            first, last = max(0, math.ceil(max(left, -1.0))), min(width, math.ceil(min(right, 1e6)))
            if first >= last:
                continue
            wj = wj_x * (first - x0) + wj_y * (y - y0)
            wk = wk_x * (first - x0) + wk_y * (y - y0)
            u = np.int64((u0 + du_j * wj + du_k * wk) * _UV_ONE)
            v = np.int64((v0 + dv_j * wj + dv_k * wk) * _UV_ONE)
            if gain is not None:
                b = np.int64((gain[i, 0] + (gain[j, 0] - gain[i, 0]) * wj + (gain[k, 0] - gain[i, 0]) * wk) * _GAIN_ONE)
                g = np.int64((gain[i, 1] + (gain[j, 1] - gain[i, 1]) * wj + (gain[k, 1] - gain[i, 1]) * wk) * _GAIN_ONE)
                r = np.int64((gain[i, 2] + (gain[j, 2] - gain[i, 2]) * wj + (gain[k, 2] - gain[i, 2]) * wk) * _GAIN_ONE)
                b_step = np.int64(((gain[j, 0] - gain[i, 0]) * wj_x + (gain[k, 0] - gain[i, 0]) * wk_x) * _GAIN_ONE)
                g_step = np.int64(((gain[j, 1] - gain[i, 1]) * wj_x + (gain[k, 1] - gain[i, 1]) * wk_x) * _GAIN_ONE)
                r_step = np.int64(((gain[j, 2] - gain[i, 2]) * wj_x + (gain[k, 2] - gain[i, 2]) * wk_x) * _GAIN_ONE)
            for x_pixel in range(first, last):
                at = np.uintp((v >> _UV_BITS) * stride + (u >> _UV_BITS) * 3)
                below = at + np.uintp(stride)
                fu = np.uint32((u >> (_UV_BITS - 8)) & 255)
                fv = np.uint32((v >> (_UV_BITS - 8)) & 255)
                w11 = fu * fv
                w01 = (fu << np.uint32(8)) - w11
                w10 = (fv << np.uint32(8)) - w11
                w00 = np.uint32(65536) - (fu << np.uint32(8)) - w10
                blue = flat[at] * w00 + flat[at + np.uintp(3)] * w01
                blue += flat[below] * w10 + flat[below + np.uintp(3)] * w11
                green = flat[at + np.uintp(1)] * w00 + flat[at + np.uintp(4)] * w01
                green += flat[below + np.uintp(1)] * w10 + flat[below + np.uintp(4)] * w11
                red = flat[at + np.uintp(2)] * w00 + flat[at + np.uintp(5)] * w01
                red += flat[below + np.uintp(2)] * w10 + flat[below + np.uintp(5)] * w11
                if gain is not None:
                    # Colours have 16 bits, of which 8 are fraction; gains 10 bits of fraction.
                    blue = ((blue >> np.uint32(8)) * np.uint32(b >> 8)) >> np.uint32(_GAIN_BITS)
                    green = ((green >> np.uint32(8)) * np.uint32(g >> 8)) >> np.uint32(_GAIN_BITS)
                    red = ((red >> np.uint32(8)) * np.uint32(r >> 8)) >> np.uint32(_GAIN_BITS)
                    b += b_step
                    g += g_step
                    r += r_step
                    out[y, x_pixel, 0] = np.uint8(min((blue + np.uint32(128)) >> np.uint32(8), np.uint32(255)))
                    out[y, x_pixel, 1] = np.uint8(min((green + np.uint32(128)) >> np.uint32(8), np.uint32(255)))
                    out[y, x_pixel, 2] = np.uint8(min((red + np.uint32(128)) >> np.uint32(8), np.uint32(255)))
                else:
                    out[y, x_pixel, 0] = np.uint8((blue + np.uint32(32768)) >> np.uint32(16))
                    out[y, x_pixel, 1] = np.uint8((green + np.uint32(32768)) >> np.uint32(16))
                    out[y, x_pixel, 2] = np.uint8((red + np.uint32(32768)) >> np.uint32(16))
                u += u_step
                v += v_step
            if marks is not None and out_marks is not None:
                for c in range(2):
                    m = marks[i, c] + (marks[j, c] - marks[i, c]) * wj + (marks[k, c] - marks[i, c]) * wk
                    m_step = (marks[j, c] - marks[i, c]) * wj_x + (marks[k, c] - marks[i, c]) * wk_x
                    now = np.int64(m * 255 * 65536.0 + 32768.0)
                    step = np.int64(m_step * 255 * 65536.0)
                    for x_pixel in range(first, last):
                        out_marks[y, x_pixel, c] = np.uint8(min(max(now >> 16, np.int64(0)), np.int64(255)))
                        now += step


@njit(cache=True, nogil=True, fastmath=True)
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
    weights = np.empty(256, np.int32)
    for n in range(256):
        t = n / 255.0
        weights[n] = int(t * t * (3.0 - 2.0 * t) * strength * 256.0 + 0.5)
    most = np.int32(grain_levels)
    height, width = coverage.shape
    for y in range(height):
        for x in range(width):
            w = weights[coverage[y, x]]
            for c in range(3):
                below = np.int32(base[y, x, c])
                if w:
                    grain = min(max(below - np.int32(base_soft[y, x, c]), -most), most)
                    mixed = below + (((np.int32(layer[y, x, c]) + grain - below) * w + 128) >> 8)
                    out[y, x, c] = np.uint8(min(max(mixed, 0), 255))
                else:
                    out[y, x, c] = np.uint8(below)


@njit(cache=True, nogil=True, fastmath=True)
def keep_in_front(base: Image, layer: Image, zone: Image, low: float, high: float, out: Image) -> None:
    """How much of `layer` may be seen where the actor's hair may hang in front of it.

    Args:
        base, layer: `(H, W, 3) uint8`, the actor and the twin; there the twin shows plain skin.
        zone: `(H, W) uint8`, where hair is looked for, 255 is full.
        low, high: a pixel that differs by less than `low` (in log units, the light taken out) is skin, by more than
            `high` is hair.
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
            away = np.float32(0.0)
            for c in range(3):
                away += abs(logs[base[y, x, c]] - logs[layer[y, x, c]])
            hair = min(max((away * np.float32(1 / 3) - np.float32(low)) * span, np.float32(0)), np.float32(1))
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
