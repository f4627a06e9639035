"""Rasteriser of triangles and hair strands into a visibility buffer, in numba.

Screen coordinates are pixels of the (supersampled) target, x right, y down; depth grows away from the camera.
The visibility buffer holds, for each pixel, the nearest depth, the triangle seen there and its barycentric
coordinates, from which the shader interpolates whatever it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

FAR = np.float32(1e9)


@dataclass
class VisibilityBuffer:
    """What is seen at each pixel.

    Attributes
    ----------
    depth : (H, W) float32, FAR where nothing is
    triangle : (H, W) int32, index of the triangle seen, -1 where none
    weights : (H, W, 2) float32, barycentric weights of the triangle's second and third corner
    """

    depth: FloatArray
    triangle: IntArray
    weights: FloatArray

    @staticmethod
    def empty(height: int, width: int) -> VisibilityBuffer:
        return VisibilityBuffer(
            np.full((height, width), FAR, np.float32),
            np.full((height, width), -1, np.int32),
            np.zeros((height, width, 2), np.float32),
        )


@njit(cache=True, nogil=True, fastmath=True)
def draw_triangles(
    screen: FloatArray,
    triangles: IntArray,
    two_sided: tuple[int, int],
    depth: FloatArray,
    triangle: IntArray,
    weights: FloatArray,
) -> None:
    """Draw ``triangles`` (T, 3) over ``screen`` (V, 3); counter-clockwise in y-up space is the front.

    Of the triangles from ``two_sided[0]`` up to ``two_sided[1]`` the back is drawn as well.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a = triangles[t, 0]
        b = triangles[t, 1]
        c = triangles[t, 2]
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bz = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cz = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or (area > 0.0 and not two_sided[0] <= t < two_sided[1]):
            continue  # y runs down on screen, so a front face has a negative area
        x0 = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        x1 = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        y0 = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        y1 = min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        if x0 > x1 or y0 > y1:
            continue
        inverse = 1.0 / area
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * inverse
                wa = 1.0 - wb - wc
                if wa < -1e-5 or wb < -1e-5 or wc < -1e-5:
                    continue
                z = wa * az + wb * bz + wc * cz
                if z < depth[y, x]:
                    depth[y, x] = z
                    triangle[y, x] = t
                    weights[y, x, 0] = wb
                    weights[y, x, 1] = wc


@njit(cache=True, nogil=True, fastmath=True)
def draw_depth(screen: FloatArray, triangles: IntArray, depth: FloatArray) -> None:
    """Depth only, both sides: a shadow map."""
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a = triangles[t, 0]
        b = triangles[t, 1]
        c = triangles[t, 2]
        ax, ay, az = screen[a, 0], screen[a, 1], screen[a, 2]
        bx, by, bz = screen[b, 0], screen[b, 1], screen[b, 2]
        cx, cy, cz = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        x0 = max(0, int(np.floor(min(ax, bx, cx))))
        x1 = min(width - 1, int(np.ceil(max(ax, bx, cx))))
        y0 = max(0, int(np.floor(min(ay, by, cy))))
        y1 = min(height - 1, int(np.ceil(max(ay, by, cy))))
        inverse = 1.0 / area
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * inverse
                wa = 1.0 - wb - wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                z = wa * az + wb * bz + wc * cz
                if z < depth[y, x]:
                    depth[y, x] = z


@njit(cache=True, nogil=True, fastmath=True)
def draw_strands(
    screen: FloatArray,
    colour: FloatArray,
    points: int,
    width_px: int,
    bias: float,
    depth: FloatArray,
    image: FloatArray,
    opacity: FloatArray,
) -> None:
    """Draw strands of ``points`` vertices each: screen (S*points, 3), colour (S*points, 3) linear RGB.

    ``opacity`` (S*points,) mixes a strand with what is behind it; depth is written where it is above a third.
    ``bias`` is subtracted from the strand's depth, so that a hair lying on the skin is seen.
    """
    height, width = depth.shape
    strands = screen.shape[0] // points
    for s in range(strands):
        for k in range(points - 1):
            i = s * points + k
            x0, y0, z0 = screen[i, 0], screen[i, 1], screen[i, 2]
            x1, y1, z1 = screen[i + 1, 0], screen[i + 1, 1], screen[i + 1, 2]
            across = abs(x1 - x0) < abs(y1 - y0)
            steps = int(max(abs(x1 - x0), abs(y1 - y0))) + 1
            if steps > 4000:
                continue
            inverse = 1.0 / steps
            for n in range(steps):
                f = n * inverse
                x = int(x0 + (x1 - x0) * f)
                y = int(y0 + (y1 - y0) * f)
                z = z0 + (z1 - z0) * f - bias
                a = opacity[i] + (opacity[i + 1] - opacity[i]) * f
                for w in range(width_px):
                    u = x + w if across else x
                    v = y if across else y + w
                    if u < 0 or v < 0 or u >= width or v >= height or z >= depth[v, u]:
                        continue
                    for j in range(3):
                        c = colour[i, j] + (colour[i + 1, j] - colour[i, j]) * f
                        image[v, u, j] += (c - image[v, u, j]) * a
                    if a > 0.33:
                        depth[v, u] = z


@njit(cache=True, nogil=True, fastmath=True)
def vertex_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """(V, 3) unit normals, weighted by area."""
    normals = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        a = triangles[t, 0]
        b = triangles[t, 1]
        c = triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx = uy * vz - uz * vy
        ny = uz * vx - ux * vz
        nz = ux * vy - uy * vx
        for j in range(3):
            k = triangles[t, j]
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(normals.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length
    return normals
