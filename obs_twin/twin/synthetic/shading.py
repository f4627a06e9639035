"""Per-pixel shading of skin, eyes, mouth and cloth from a visibility buffer, in numba.

Skin reflects with two lobes (Kelemen and Szirmay-Kalos' approximation, as in d'Eon and Luebke, GPU Gems 3, ch. 14);
what it scatters back was computed per vertex in `light`. Eyes are drawn on a sphere: sclera, an iris that lies behind
a cornea, and the mirror image of the lights on the cornea.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .noise import lattice, noise

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

# Columns of the vertex attribute table.
REST, NORMAL, WORLD, ALBEDO, LIGHT, KEY, GLOSS, ROUGH, STUBBLE, OPEN = 0, 3, 6, 9, 12, 15, 16, 17, 18, 19
ATTRIBUTES = 20


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _lobe(n_dot_h: float, h_dot_h: float, n_dot_l: float, v_dot_h: float, rough: float) -> float:
    """One Beckmann lobe with Schlick's Fresnel of skin (F0 = 0.028); ``h`` is the unnormalised half vector."""
    cosine = min(max(n_dot_h, 1e-3), 1.0)
    c2 = cosine * cosine
    m2 = rough * rough
    beckmann = np.exp((c2 - 1.0) / (m2 * c2)) / (3.14159 * m2 * c2 * c2)
    fresnel = 0.028 + 0.972 * (1.0 - v_dot_h) ** 5
    return float(max(beckmann * fresnel / h_dot_h, 0.0) * n_dot_l)


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _bristles(x: float, y: float, z: float) -> float:
    """Cut hairs of a beard as small dark specks, one to a cell of a jittered lattice in space: 0 none, 1 dark."""
    u = x * 105.0
    v = y * 85.0
    w = z * 105.0
    cu = int(np.floor(u))
    cv = int(np.floor(v))
    cw = int(np.floor(w))
    dark = 0.0
    for k in range(8):
        iu = cu - (k & 1)
        iv = cv - ((k >> 1) & 1)
        iw = cw - (k >> 2)
        ex = (u - iu - 0.5 - lattice(iu, iv, iw * 4)) * 2.0
        ey = (v - iv - 0.5 - lattice(iu, iv, iw * 4 + 1)) * 1.3
        ez = (w - iw - 0.5 - lattice(iu, iv, iw * 4 + 2)) * 2.0
        dark = max(dark, (1.0 - ex * ex - ey * ey - ez * ez) * (0.4 + 0.6 * lattice(iu, iv, iw * 4 + 3)))
    return dark


@njit(cache=True, nogil=True, fastmath=True)
def shade_surface(
    triangle: IntArray,
    weights: FloatArray,
    triangles: IntArray,
    material: npt.NDArray[np.uint8],
    table: FloatArray,
    directions: FloatArray,
    colours: FloatArray,
    sky: FloatArray,
    camera: FloatArray,
    detail: float,
    together: bool,
    image: FloatArray,
) -> None:
    """Shade skin, tongue, teeth, gums (materials 0, 2, 3, 4) and cloth (1) into ``image`` (H, W, 3) linear RGB.

    With ``together``, a block of 2x2 samples of one material is shaded once.
    """
    height, width = triangle.shape
    a = np.empty(20, np.float32)
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0:
                continue
            m = material[t]
            if m == 5:
                continue
            if together:
                top = y & ~1
                left = x & ~1
                same = top + 1 < height and left + 1 < width
                if same:
                    for n in range(4):
                        other = triangle[top + (n >> 1), left + (n & 1)]
                        if other < 0 or material[other] != m:
                            same = False
                            break
                if same and (y != top or x != left):
                    for c in range(3):
                        image[y, x, c] = image[top, left, c]
                    continue
            wb = weights[y, x, 0]
            wc = weights[y, x, 1]
            wa = 1.0 - wb - wc
            i = triangles[t, 0]
            j = triangles[t, 1]
            k = triangles[t, 2]
            for c in range(20):
                a[c] = wa * table[i, c] + wb * table[j, c] + wc * table[k, c]
            nx, ny, nz = a[3], a[4], a[5]
            rx, ry, rz = a[0], a[1], a[2]
            tint = 1.0
            if m == 0:
                # Pores and fine creases: the gradient of two octaves of noise tilts the normal.
                s1 = 42.0
                s2 = 17.0
                e = 0.35
                n0 = noise(rx * s1, ry * s1, rz * s1)
                m0 = noise(rx * s2, ry * s2, rz * s2)
                k1 = 0.10 * detail
                k2 = 0.05 * detail
                gx = k1 * (noise(rx * s1 + e, ry * s1, rz * s1) - n0) + k2 * (noise(rx * s2 + e, ry * s2, rz * s2) - m0)
                gy = k1 * (noise(rx * s1, ry * s1 + e, rz * s1) - n0) + k2 * (noise(rx * s2, ry * s2 + e, rz * s2) - m0)
                gz = k1 * (noise(rx * s1, ry * s1, rz * s1 + e) - n0) + k2 * (noise(rx * s2, ry * s2, rz * s2 + e) - m0)
                nx -= gx / e
                ny -= gy / e
                nz -= gz / e
                tint = 1.0 + 0.10 * detail * (n0 - 0.5)
                if a[18] > 0.02:
                    tint *= 1.0 - a[18] * detail * _bristles(rx, ry, rz)
            elif m == 1:
                # Woven threads.
                u = (rx + 0.35 * rz) * 150.0
                v = ry * 150.0
                weave = np.sin(u) * np.sin(v) * 0.5 + 0.5
                tint = 0.88 + 0.12 * weave * detail + 0.14 * (noise(rx * 30.0, ry * 12.0, rz * 30.0) - 0.5)
                nx += 0.10 * detail * np.cos(u)
                ny += 0.10 * detail * np.cos(v)
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx /= length
            ny /= length
            nz /= length
            vx = camera[0] - a[6]
            vy = camera[1] - a[7]
            vz = camera[2] - a[8]
            length = np.sqrt(vx * vx + vy * vy + vz * vz)
            vx /= length
            vy /= length
            vz /= length
            if m == 1 and nx * vx + ny * vy + nz * vz < 0.0:
                # The inside of a garment, seen over its edge.
                nx, ny, nz = -nx, -ny, -nz
                tint *= 0.45
            n_dot_v = max(nx * vx + ny * vy + nz * vz, 0.0)
            r = a[9] * a[12] * tint
            g = a[10] * a[13] * tint
            b = a[11] * a[14] * tint
            gloss = a[16]
            rough = a[17]
            for n in range(directions.shape[0]):
                lx = directions[n, 0]
                ly = directions[n, 1]
                lz = directions[n, 2]
                n_dot_l = nx * lx + ny * ly + nz * lz
                if n_dot_l <= 0.0:
                    continue
                hx = lx + vx
                hy = ly + vy
                hz = lz + vz
                h2 = hx * hx + hy * hy + hz * hz
                hl = np.sqrt(h2) + 1e-9
                n_dot_h = (nx * hx + ny * hy + nz * hz) / hl
                v_dot_h = (vx * hx + vy * hy + vz * hz) / hl
                shadow = a[15] if n == 0 else a[19]
                if m == 1:
                    # Cloth: no mirror, but a sheen at grazing angles.
                    sheen = 0.10 * (1.0 - n_dot_v) ** 3 * n_dot_l * shadow
                    r += sheen * colours[n, 0] * (0.2 + a[9])
                    g += sheen * colours[n, 1] * (0.2 + a[10])
                    b += sheen * colours[n, 2] * (0.2 + a[11])
                    continue
                s = 0.70 * _lobe(n_dot_h, h2, n_dot_l, v_dot_h, rough) + 0.30 * _lobe(
                    n_dot_h, h2, n_dot_l, v_dot_h, rough * 0.55
                )
                # Lights from behind would frost the skin's edge.
                s *= gloss * shadow * (1.0 if lz > 0.0 else 0.45)
                r += s * colours[n, 0]
                g += s * colours[n, 1]
                b += s * colours[n, 2]
            if m != 1:
                edge = 0.16 * (1.0 - n_dot_v) ** 4 * a[19] * gloss
                r += edge * sky[0]
                g += edge * sky[1]
                b += edge * sky[2]
            image[y, x, 0] = r
            image[y, x, 1] = g
            image[y, x, 2] = b


@njit(cache=True, nogil=True, fastmath=True)
def shade_eyes(
    triangle: IntArray,
    weights: FloatArray,
    triangles: IntArray,
    material: npt.NDArray[np.uint8],
    table: FloatArray,
    turns: FloatArray,
    first_right: int,
    inner: FloatArray,
    outer: FloatArray,
    directions: FloatArray,
    colours: FloatArray,
    sky: FloatArray,
    camera: FloatArray,
    lid_shade: FloatArray,
    seed: int,
    image: FloatArray,
) -> None:
    """Shade the eyeballs (material 5).

    ``table``'s REST holds the unit direction in the eye's own frame (the gaze is +z), ``turns`` (2, 3, 3) takes that
    frame to the world, triangles from ``first_right`` on belong to the right eye; ``lid_shade`` (H, W) is the light
    that the lids leave.
    """
    height, width = triangle.shape
    iris_radius = 0.405
    pupil_radius = 0.150
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0 or material[t] != 5:
                continue
            wb = weights[y, x, 0]
            wc = weights[y, x, 1]
            wa = 1.0 - wb - wc
            i = triangles[t, 0]
            j = triangles[t, 1]
            k = triangles[t, 2]
            qx = wa * table[i, 0] + wb * table[j, 0] + wc * table[k, 0]
            qy = wa * table[i, 1] + wb * table[j, 1] + wc * table[k, 1]
            qz = wa * table[i, 2] + wb * table[j, 2] + wc * table[k, 2]
            length = np.sqrt(qx * qx + qy * qy + qz * qz) + 1e-9
            qx /= length
            qy /= length
            qz /= length
            lr = wa * table[i, 12] + wb * table[j, 12] + wc * table[k, 12]
            lg = wa * table[i, 13] + wb * table[j, 13] + wc * table[k, 13]
            lb = wa * table[i, 14] + wb * table[j, 14] + wc * table[k, 14]
            key = wa * table[i, 15] + wb * table[j, 15] + wc * table[k, 15]
            vx = camera[0] - (wa * table[i, 6] + wb * table[j, 6] + wc * table[k, 6])
            vy = camera[1] - (wa * table[i, 7] + wb * table[j, 7] + wc * table[k, 7])
            vz = camera[2] - (wa * table[i, 8] + wb * table[j, 8] + wc * table[k, 8])
            length = np.sqrt(vx * vx + vy * vy + vz * vz)
            vx /= length
            vy /= length
            vz /= length
            eye = 1 if t >= first_right else 0
            radius = np.sqrt(qx * qx + qy * qy)
            shade = lid_shade[y, x]
            # Sclera: off-white, pinker towards the corners, with a few veins.
            pink = min(max((radius - 0.55) / 0.45, 0.0), 1.0)
            vein = noise(qx * 7.0 + seed + eye * 50, qy * 26.0, qz * 7.0)
            vein = max(0.0, 1.0 - abs(vein - 0.5) * 22.0) * (0.25 + 0.75 * pink)
            ar = 0.58 - 0.05 * pink
            ag = 0.535 - 0.17 * pink - 0.13 * vein
            ab = 0.505 - 0.19 * pink - 0.13 * vein
            edge = min(max((iris_radius + 0.025 - radius) / 0.06, 0.0), 1.0)
            if edge > 0.0 and qz > 0.0:
                # The iris lies a little behind the cornea: shift it against the view.
                ex = turns[eye, 0, 0] * vx + turns[eye, 1, 0] * vy + turns[eye, 2, 0] * vz
                ey = turns[eye, 0, 1] * vx + turns[eye, 1, 1] * vy + turns[eye, 2, 1] * vz
                sx = qx - 0.10 * ex
                sy = qy - 0.10 * ey
                r = np.sqrt(sx * sx + sy * sy) / iris_radius
                angle = np.arctan2(sy, sx)
                fibre = noise(np.cos(angle) * 13.0 + seed, np.sin(angle) * 13.0, r * 1.3)
                fibre2 = noise(np.cos(angle) * 31.0 + seed, np.sin(angle) * 31.0, r * 2.2 + 9.0)
                pattern = 0.55 + 0.60 * fibre + 0.45 * (fibre2 - 0.5)
                mix = min(max((r - 0.40 + 0.25 * (fibre - 0.5)) / 0.28, 0.0), 1.0)
                ir = (inner[0] + (outer[0] - inner[0]) * mix) * pattern
                ig = (inner[1] + (outer[1] - inner[1]) * mix) * pattern
                ib = (inner[2] + (outer[2] - inner[2]) * mix) * pattern
                # A dark ring where the iris meets the white, light gathered on the side away from the key.
                ring = 1.0 - 0.72 * min(max((r - 0.78) / 0.22, 0.0), 1.0)
                lx = (
                    turns[eye, 0, 0] * directions[0, 0]
                    + turns[eye, 1, 0] * directions[0, 1]
                    + turns[eye, 2, 0] * directions[0, 2]
                )
                ly = (
                    turns[eye, 0, 1] * directions[0, 0]
                    + turns[eye, 1, 1] * directions[0, 1]
                    + turns[eye, 2, 1] * directions[0, 2]
                )
                caustic = 1.0 - 1.1 * (sx * lx + sy * ly) / iris_radius
                ring *= max(caustic, 0.3) * 1.5
                hole = min(max((r * iris_radius - pupil_radius) / 0.03, 0.0), 1.0)
                ir = ir * ring * hole + 0.002
                ig = ig * ring * hole + 0.002
                ib = ib * ring * hole + 0.002
                ar += (ir - ar) * edge
                ag += (ig - ag) * edge
                ab += (ib - ab) * edge
            image[y, x, 0] = ar * lr * shade
            image[y, x, 1] = ag * lg * shade
            image[y, x, 2] = ab * lb * shade
            # What the wet surface mirrors. The cornea is more curved than the ball.
            cornea = min(max((iris_radius + 0.06 - radius) / 0.12, 0.0), 1.0)
            stretch = 1.0 + 0.75 * cornea
            cx = qx * stretch
            cy = qy * stretch
            cz = max(qz, 0.05)
            length = np.sqrt(cx * cx + cy * cy + cz * cz)
            cx /= length
            cy /= length
            cz /= length
            nx = turns[eye, 0, 0] * cx + turns[eye, 0, 1] * cy + turns[eye, 0, 2] * cz
            ny = turns[eye, 1, 0] * cx + turns[eye, 1, 1] * cy + turns[eye, 1, 2] * cz
            nz = turns[eye, 2, 0] * cx + turns[eye, 2, 1] * cy + turns[eye, 2, 2] * cz
            d = nx * vx + ny * vy + nz * vz
            rx = 2 * d * nx - vx
            ry = 2 * d * ny - vy
            rz = 2 * d * nz - vz
            fresnel = 0.03 + 0.97 * (1.0 - max(d, 0.0)) ** 5
            gleam = 0.55 * (1 - cornea) + cornea
            for n in range(min(2, directions.shape[0])):
                lx = directions[n, 0]
                ly = directions[n, 1]
                lz = directions[n, 2]
                ahead = rx * lx + ry * ly + rz * lz
                if ahead <= 0.1:
                    continue
                # A window: wider than tall for the fill, tall with a bar for the key.
                sx2 = (rx * lz - rz * lx) / ahead
                sy2 = (ry - ahead * ly) / (ahead * max(np.sqrt(lx * lx + lz * lz), 0.2))
                half_w = 0.16 if n == 0 else 0.10
                half_h = 0.20 if n == 0 else 0.12
                inside = min(max((half_w - abs(sx2)) / 0.05, 0.0), 1.0) * min(max((half_h - abs(sy2)) / 0.05, 0.0), 1.0)
                power = (34.0 if n == 0 else 12.0) * fresnel * inside * gleam * min(1.0, 0.25 + shade)
                power *= 0.3 + 0.7 * key if n == 0 else 1.0
                image[y, x, 0] += power * colours[n, 0]
                image[y, x, 1] += power * colours[n, 1]
                image[y, x, 2] += power * colours[n, 2]
            rise = max(ry * 0.5 + 0.5, 0.0) * fresnel * 1.2 * shade
            image[y, x, 0] += rise * sky[0]
            image[y, x, 1] += rise * sky[1]
            image[y, x, 2] += rise * sky[2]


@njit(cache=True, nogil=True, fastmath=True)
def develop(
    linear: FloatArray,
    curve: FloatArray,
    scale: float,
    exposure: float,
    grain: float,
    seed: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Linear RGB (H, W, 3) through ``curve`` (over the square root) to 8-bit BGR, with a camera's noise."""
    height, width = linear.shape[:2]
    last = curve.shape[0] - 1
    for y in range(height):
        for x in range(width):
            for c in range(3):
                place = np.sqrt(max(linear[y, x, c] * exposure, 0.0)) * scale
                value = curve[min(int(place), last)]
                if grain > 0.0:
                    noise_here = lattice(x, y, seed * 3 + c) + lattice(x + 7919, y, seed * 3 + c) - 1.0
                    value += noise_here * grain
                out[y, x, 2 - c] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
