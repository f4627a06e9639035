"""Triangles into pixels: the one hot loop of the mesh twin, compiled.

Pixels are sampled at their centres; a triangle owns the centres from its left edge up to, not including, its right one,
so that neighbours neither overlap nor leave gaps. Nearer triangles are drawn later (painter's order), those that face
away are left out.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


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
    gain: FloatArray,
    alpha: FloatArray,
    out: Image,
    out_alpha: Image,
) -> None:
    """Draw textured triangles into `out`.

    Args:
        texture: `(h, w, 3) uint8`, sampled bilinearly.
        uv: `(N, 2) float32`, each vertex's place in the texture, in its pixels (centres at whole numbers).
        xy: `(N, 2) float32`, each vertex's place in `out`.
        triangles: `(M, 3) int32`, drawn in this order.
        gain: `(N, 3) float32`, what the texture's channels are multiplied with at each vertex.
        alpha: `(N,) float32` 0..1, coverage at each vertex.
        out: `(H, W, 3) uint8`, gets the colours.
        out_alpha: `(H, W) uint8`, gets the coverage, 255 is full.
    """
    height, width = out.shape[:2]
    tex_h, tex_w = texture.shape[:2]
    u_max, v_max = np.float32(tex_w - 1.001), np.float32(tex_h - 1.001)
    zero = np.float32(0.0)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = xy[i, 0], xy[i, 1]
        x1, y1 = xy[j, 0], xy[j, 1]
        x2, y2 = xy[k, 0], xy[k, 1]
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if abs(area) < 1e-6:
            continue
        inverse = np.float32(1.0) / area
        # Barycentric weights of vertices j and k grow by these per pixel.
        wj_x, wj_y = (y2 - y0) * inverse, (x0 - x2) * inverse
        wk_x, wk_y = (y0 - y1) * inverse, (x1 - x0) * inverse
        du_j, du_k = uv[j, 0] - uv[i, 0], uv[k, 0] - uv[i, 0]
        dv_j, dv_k = uv[j, 1] - uv[i, 1], uv[k, 1] - uv[i, 1]
        da_j, da_k = alpha[j] - alpha[i], alpha[k] - alpha[i]
        db_j, db_k = gain[j, 0] - gain[i, 0], gain[k, 0] - gain[i, 0]
        dg_j, dg_k = gain[j, 1] - gain[i, 1], gain[k, 1] - gain[i, 1]
        dr_j, dr_k = gain[j, 2] - gain[i, 2], gain[k, 2] - gain[i, 2]
        u_x, u_y = du_j * wj_x + du_k * wk_x, du_j * wj_y + du_k * wk_y
        v_x, v_y = dv_j * wj_x + dv_k * wk_x, dv_j * wj_y + dv_k * wk_y
        a_x, a_y = (da_j * wj_x + da_k * wk_x) * 255, (da_j * wj_y + da_k * wk_y) * 255
        b_x, b_y = db_j * wj_x + db_k * wk_x, db_j * wj_y + db_k * wk_y
        g_x, g_y = dg_j * wj_x + dg_k * wk_x, dg_j * wj_y + dg_k * wk_y
        r_x, r_y = dr_j * wj_x + dr_k * wk_x, dr_j * wj_y + dr_k * wk_y
        top = max(0, math.ceil(min(y0, y1, y2)))
        bottom = min(height, math.ceil(max(y0, y1, y2)))
        for y in range(top, bottom):
            left, right = np.float32(1e9), np.float32(-1e9)
            fy = np.float32(y)
            # Where the row crosses the edges (each edge owns its upper end, not its lower).
            if (y0 <= fy) != (y1 <= fy):
                x = x0 + (fy - y0) * (x1 - x0) / (y1 - y0)
                left, right = min(left, x), max(right, x)
            if (y1 <= fy) != (y2 <= fy):
                x = x1 + (fy - y1) * (x2 - x1) / (y2 - y1)
                left, right = min(left, x), max(right, x)
            if (y2 <= fy) != (y0 <= fy):
                x = x2 + (fy - y2) * (x0 - x2) / (y0 - y2)
                left, right = min(left, x), max(right, x)
            if right < left:
                continue
            first, last = max(0, math.ceil(left)), min(width, math.ceil(right))
            if first >= last:
                continue
            dx, dy = np.float32(first) - x0, fy - y0
            u = uv[i, 0] + u_x * dx + u_y * dy
            v = uv[i, 1] + v_x * dx + v_y * dy
            a = alpha[i] * 255 + a_x * dx + a_y * dy + np.float32(0.5)
            gb = gain[i, 0] + b_x * dx + b_y * dy
            gg = gain[i, 1] + g_x * dx + g_y * dy
            gr = gain[i, 2] + r_x * dx + r_y * dy
            for x_pixel in range(first, last):
                uc = min(max(u, zero), u_max)
                vc = min(max(v, zero), v_max)
                ui, vi = int(uc), int(vc)
                fu, fv = uc - ui, vc - vi
                w11 = fu * fv
                w01 = fu - w11
                w10 = fv - w11
                w00 = np.float32(1.0) - fu - w10
                blue = (
                    texture[vi, ui, 0] * w00
                    + texture[vi, ui + 1, 0] * w01
                    + texture[vi + 1, ui, 0] * w10
                    + texture[vi + 1, ui + 1, 0] * w11
                ) * gb
                green = (
                    texture[vi, ui, 1] * w00
                    + texture[vi, ui + 1, 1] * w01
                    + texture[vi + 1, ui, 1] * w10
                    + texture[vi + 1, ui + 1, 1] * w11
                ) * gg
                red = (
                    texture[vi, ui, 2] * w00
                    + texture[vi, ui + 1, 2] * w01
                    + texture[vi + 1, ui, 2] * w10
                    + texture[vi + 1, ui + 1, 2] * w11
                ) * gr
                out[y, x_pixel, 0] = np.uint8(min(blue + np.float32(0.5), np.float32(255.0)))
                out[y, x_pixel, 1] = np.uint8(min(green + np.float32(0.5), np.float32(255.0)))
                out[y, x_pixel, 2] = np.uint8(min(red + np.float32(0.5), np.float32(255.0)))
                out_alpha[y, x_pixel] = np.uint8(min(max(a, zero), np.float32(255.0)))
                u += u_x
                v += v_x
                a += a_x
                gb += b_x
                gg += g_x
                gr += r_x


@njit(cache=True, nogil=True, fastmath=True)
def blend(base: Image, layer: Image, alpha: Image, strength: float, out: Image) -> None:
    """`out = base + alpha * strength * (layer - base)`, with alpha's ramps eased at both ends (smoothstep).

    All `(H, W, 3) uint8`, alpha `(H, W) uint8`; `out` may be `base`.
    """
    weights = np.empty(256, np.int32)
    for n in range(256):
        t = n / 255.0
        weights[n] = round(t * t * (3.0 - 2.0 * t) * strength * 256.0)
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            w = weights[alpha[y, x]]
            if w:
                for c in range(3):
                    below = np.int32(base[y, x, c])
                    out[y, x, c] = np.uint8(below + (((np.int32(layer[y, x, c]) - below) * w + 128) >> 8))
            else:
                for c in range(3):
                    out[y, x, c] = base[y, x, c]
