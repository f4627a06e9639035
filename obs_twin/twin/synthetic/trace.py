"""A small path tracer for rooms: boxes, ellipsoids and leaves, a window for a light, in numba.

Every solid is a unit shape under an affine map, found through a bounding volume hierarchy. Light at a point is gathered
with next event estimation to the rectangular lights and a few diffuse bounces (Kajiya, "The rendering equation", 1986).
What is gathered is irradiance alone; colours are multiplied in afterwards at full resolution, so that few samples
suffice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numba import njit

from .noise import noise

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
DoubleArray = npt.NDArray[np.float64]

BOX, BALL, LEAF, TUBE = range(4)
PLAIN, WOOD, FABRIC, BRICK, PAINTING, CARPET = range(6)


@dataclass
class Scene:
    """Solids and lights. Lengths in decimetres; the camera looks along -z."""

    kinds: list[int] = field(default_factory=list)
    to_world: list[FloatArray] = field(default_factory=list)
    centres: list[FloatArray] = field(default_factory=list)
    colours: list[tuple[float, float, float]] = field(default_factory=list)
    glow: list[tuple[float, float, float]] = field(default_factory=list)
    textures: list[int] = field(default_factory=list)
    lights: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = field(default_factory=list)
    """Corner, first edge, second edge, radiance; shines towards edge one x edge two."""
    surroundings: tuple[float, float, float] = (0.25, 0.25, 0.25)
    """Light that comes from where nothing is: the part of the room behind the camera."""

    def add(
        self,
        kind: int,
        centre: tuple[float, float, float],
        half: tuple[float, float, float],
        colour: tuple[float, float, float],
        *,
        turn: FloatArray | None = None,
        glow: tuple[float, float, float] = (0.0, 0.0, 0.0),
        texture: int = PLAIN,
    ) -> None:
        matrix = (np.eye(3) if turn is None else turn) * np.asarray(half)[None, :]
        self.kinds.append(kind)
        self.to_world.append(matrix.astype(np.float32))
        self.centres.append(np.asarray(centre, np.float32))
        self.colours.append(colour)
        self.glow.append(glow)
        self.textures.append(texture)

    def box(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        colour: tuple[float, float, float],
        texture: int = PLAIN,
    ) -> None:
        """An upright box from corner to corner."""
        centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
        half = tuple(max(abs(b - a) / 2, 1e-3) for a, b in zip(low, high, strict=True))
        self.add(BOX, centre, half, colour, texture=texture)  # type: ignore[arg-type]

    def light(
        self,
        corner: tuple[float, float, float],
        first: tuple[float, float, float],
        second: tuple[float, float, float],
        radiance: tuple[float, float, float],
    ) -> None:
        self.lights.append(tuple(np.asarray(v, np.float32) for v in (corner, first, second, radiance)))  # type: ignore[arg-type]

    def pack(self) -> PackedScene:
        matrix = np.stack(self.to_world)
        inverse = np.linalg.inv(matrix.astype(np.float64)).astype(np.float32)
        centre = np.stack(self.centres)
        extent = np.abs(matrix).sum(axis=2) + 1e-3
        low, high = centre - extent, centre + extent
        order, nodes, bounds = _build(low, high)
        return PackedScene(
            np.asarray(self.kinds, np.int32)[order],
            np.ascontiguousarray(inverse[order]),
            np.ascontiguousarray(centre[order]),
            np.asarray(self.colours, np.float32)[order],
            np.asarray(self.glow, np.float32)[order],
            np.asarray(self.textures, np.int32)[order],
            nodes,
            bounds,
            np.asarray([np.concatenate(light) for light in self.lights], np.float32).reshape(-1, 12),
            np.asarray(self.surroundings, np.float32),
        )


@dataclass(frozen=True)
class PackedScene:
    """`Scene` as arrays; ``nodes`` (N, 4): left, right (or -1), first solid, count; ``bounds`` (N, 6)."""

    kinds: IntArray
    inverse: FloatArray
    centre: FloatArray
    colour: FloatArray
    glow: FloatArray
    texture: IntArray
    nodes: IntArray
    bounds: FloatArray
    lights: FloatArray
    surroundings: FloatArray


def _build(low: FloatArray, high: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    nodes: list[list[int]] = []
    bounds: list[npt.NDArray[np.floating]] = []
    order: list[int] = []

    def split(ids: npt.NDArray[np.int64]) -> int:
        here = len(nodes)
        nodes.append([-1, -1, 0, 0])
        bounds.append(np.concatenate([low[ids].min(0), high[ids].max(0)]))
        if len(ids) <= 2:
            nodes[here] = [-1, -1, len(order), len(ids)]
            order.extend(int(i) for i in ids)
            return here
        middle = (low[ids] + high[ids]) / 2
        axis = int(np.ptp(middle, axis=0).argmax())
        ranked = ids[np.argsort(middle[:, axis])]
        half = len(ids) // 2
        left, right = split(ranked[:half]), split(ranked[half:])
        nodes[here] = [left, right, 0, 0]
        return here

    split(np.arange(len(low)))
    return np.asarray(order, np.int32), np.asarray(nodes, np.int32), np.asarray(bounds, np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def _hit(
    kinds: IntArray,
    inverse: FloatArray,
    centre: FloatArray,
    nodes: IntArray,
    bounds: FloatArray,
    o: DoubleArray,
    d: DoubleArray,
    limit: float,
    normal: DoubleArray,
) -> tuple[int, float]:
    """Nearest solid along the ray: (index or -1, distance); ``normal`` (3,) is filled in."""
    stack = np.empty(48, np.int32)
    stack[0] = 0
    top = 1
    best = limit
    found = -1
    ix = 1.0 / (d[0] if abs(d[0]) > 1e-9 else 1e-9)
    iy = 1.0 / (d[1] if abs(d[1]) > 1e-9 else 1e-9)
    iz = 1.0 / (d[2] if abs(d[2]) > 1e-9 else 1e-9)
    while top > 0:
        top -= 1
        node = stack[top]
        t1 = (bounds[node, 0] - o[0]) * ix
        t2 = (bounds[node, 3] - o[0]) * ix
        near = min(t1, t2)
        far = max(t1, t2)
        t1 = (bounds[node, 1] - o[1]) * iy
        t2 = (bounds[node, 4] - o[1]) * iy
        near = max(near, min(t1, t2))
        far = min(far, max(t1, t2))
        t1 = (bounds[node, 2] - o[2]) * iz
        t2 = (bounds[node, 5] - o[2]) * iz
        near = max(near, min(t1, t2))
        far = min(far, max(t1, t2))
        if far < max(near, 0.0) or near > best:
            continue
        if nodes[node, 0] >= 0:
            stack[top] = nodes[node, 0]
            stack[top + 1] = nodes[node, 1]
            top += 2
            continue
        for n in range(nodes[node, 2], nodes[node, 2] + nodes[node, 3]):
            rx = o[0] - centre[n, 0]
            ry = o[1] - centre[n, 1]
            rz = o[2] - centre[n, 2]
            px = inverse[n, 0, 0] * rx + inverse[n, 0, 1] * ry + inverse[n, 0, 2] * rz
            py = inverse[n, 1, 0] * rx + inverse[n, 1, 1] * ry + inverse[n, 1, 2] * rz
            pz = inverse[n, 2, 0] * rx + inverse[n, 2, 1] * ry + inverse[n, 2, 2] * rz
            qx = inverse[n, 0, 0] * d[0] + inverse[n, 0, 1] * d[1] + inverse[n, 0, 2] * d[2]
            qy = inverse[n, 1, 0] * d[0] + inverse[n, 1, 1] * d[1] + inverse[n, 1, 2] * d[2]
            qz = inverse[n, 2, 0] * d[0] + inverse[n, 2, 1] * d[1] + inverse[n, 2, 2] * d[2]
            t = -1.0
            lx = 0.0
            ly = 0.0
            lz = 0.0
            if kinds[n] == 0:
                jx = 1.0 / (qx if abs(qx) > 1e-9 else 1e-9)
                jy = 1.0 / (qy if abs(qy) > 1e-9 else 1e-9)
                jz = 1.0 / (qz if abs(qz) > 1e-9 else 1e-9)
                ax = min((-1 - px) * jx, (1 - px) * jx)
                bx = max((-1 - px) * jx, (1 - px) * jx)
                ay = min((-1 - py) * jy, (1 - py) * jy)
                by = max((-1 - py) * jy, (1 - py) * jy)
                az = min((-1 - pz) * jz, (1 - pz) * jz)
                bz = max((-1 - pz) * jz, (1 - pz) * jz)
                a = max(ax, ay, az)
                b = min(bx, by, bz)
                if b >= max(a, 0.0):
                    if a > 1e-3:
                        t = a
                        if a == ax:
                            lx = -np.sign(qx)
                        elif a == ay:
                            ly = -np.sign(qy)
                        else:
                            lz = -np.sign(qz)
                    elif b > 1e-3:
                        t = b
                        if b == bx:
                            lx = -np.sign(qx)
                        elif b == by:
                            ly = -np.sign(qy)
                        else:
                            lz = -np.sign(qz)
            elif kinds[n] == 1:
                aa = qx * qx + qy * qy + qz * qz
                bb = px * qx + py * qy + pz * qz
                cc = px * px + py * py + pz * pz - 1.0
                disc = bb * bb - aa * cc
                if disc > 0.0:
                    root = np.sqrt(disc)
                    t = (-bb - root) / aa
                    if t < 1e-3:
                        t = (-bb + root) / aa
                    lx = px + qx * t
                    ly = py + qy * t
                    lz = pz + qz * t
            elif kinds[n] == 2:
                if abs(qz) > 1e-9:
                    t = -pz / qz
                    lx = px + qx * t
                    ly = py + qy * t
                    # A leaf: pointed at both ends.
                    if abs(ly) > 1.0 or abs(lx) > (1.0 - ly * ly) * (1.0 - 0.25 * ly):
                        t = -1.0
                    lx = 0.25 * lx
                    ly = 0.0
                    lz = -np.sign(qz)
            else:  # an open tube along y
                aa = qx * qx + qz * qz
                bb = px * qx + pz * qz
                cc = px * px + pz * pz - 1.0
                disc = bb * bb - aa * cc
                if disc > 0.0 and aa > 1e-12:
                    root = np.sqrt(disc)
                    t = (-bb - root) / aa
                    if t < 1e-3 or abs(py + qy * t) > 1.0:
                        t = (-bb + root) / aa
                        if abs(py + qy * t) > 1.0:
                            t = -1.0
                    lx = px + qx * t
                    lz = pz + qz * t
            if t > 1e-3 and t < best:
                best = t
                found = n
                # Normals go with the transpose of the inverse.
                for c in range(3):
                    normal[c] = inverse[n, 0, c] * lx + inverse[n, 1, c] * ly + inverse[n, 2, c] * lz
    if found >= 0:
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + 1e-12
        flip = 1.0 if normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2] < 0 else -1.0
        for c in range(3):
            normal[c] *= flip / length
    return found, best


@njit(cache=True, nogil=True, fastmath=True)
def _random(state: npt.NDArray[np.uint32]) -> float:
    x = state[0]
    x ^= (x << np.uint32(13)) & np.uint32(0xFFFFFFFF)
    x ^= x >> np.uint32(17)
    x ^= (x << np.uint32(5)) & np.uint32(0xFFFFFFFF)
    state[0] = x
    return float((x & np.uint32(0xFFFFFF)) / 16777216.0)


@njit(cache=True, nogil=True, fastmath=True)
def primary(
    kinds: IntArray,
    inverse: FloatArray,
    centre: FloatArray,
    colour: FloatArray,
    glow: FloatArray,
    texture: IntArray,
    nodes: IntArray,
    bounds: FloatArray,
    width: int,
    height: int,
    focal: float,
    cx: float,
    cy: float,
    camera_z: float,
    first_row: int,
    last_row: int,
    albedo: FloatArray,
    emitted: FloatArray,
    normal_out: FloatArray,
    depth: FloatArray,
) -> None:
    """What each pixel sees: colour, own glow, normal, depth (camera z); 1e9 where nothing."""
    o = np.empty(3, np.float64)
    d = np.empty(3, np.float64)
    normal = np.zeros(3, np.float64)
    for y in range(first_row, last_row):
        for x in range(width):
            d[0] = (x + 0.5 - cx * width) / focal
            d[1] = -(y + 0.5 - cy * height) / focal
            d[2] = -1.0
            o[0] = 0.0
            o[1] = 0.0
            o[2] = camera_z
            n, t = _hit(kinds, inverse, centre, nodes, bounds, o, d, 1e6, normal)
            depth[y, x] = 1e9
            if n < 0:
                continue
            depth[y, x] = t
            px = d[0] * t
            py = d[1] * t
            pz = camera_z - t
            shade = 1.0
            m = texture[n]
            if m == 1:  # wood: stretched rings
                rx = px - centre[n, 0]
                ry = py - centre[n, 1]
                rz = pz - centre[n, 2]
                ring = noise(rx * 0.35 + n * 7.0, ry * 5.0, rz * 5.0)
                fine = noise(rx * 1.5 + n * 3.0, ry * 28.0, rz * 28.0)
                shade = 0.72 + 0.42 * ring + 0.18 * fine
            elif m == 2:
                shade = 0.8 + 0.25 * noise(px * 12.0, py * 12.0, pz * 12.0) + 0.15 * noise(px * 1.5, py * 0.7, pz)
            elif m == 3:  # plastered wall: hardly any structure
                shade = 0.965 + 0.05 * noise(px * 0.8, py * 0.8, pz) + 0.03 * noise(px * 9, py * 9, pz)
            elif m == 5:
                shade = 0.75 + 0.5 * noise(px * 7.0, py, pz * 7.0)
            for c in range(3):
                albedo[y, x, c] = colour[n, c] * shade
                emitted[y, x, c] = glow[n, c]
                normal_out[y, x, c] = normal[c]
            if m == 4:  # an abstract painting: bands of noise
                u = px - centre[n, 0]
                v = py - centre[n, 1]
                a = 0.75 * noise(u * 0.32 + 4.7, v * 0.35, 3.0) + 0.2 * noise(u * 1.1, v * 1.3, 8.0) + 0.15 * v + 0.12
                if a > 0.75:
                    albedo[y, x, 0], albedo[y, x, 1], albedo[y, x, 2] = 0.62, 0.42, 0.24
                elif a > 0.58:
                    albedo[y, x, 0], albedo[y, x, 1], albedo[y, x, 2] = 0.70, 0.64, 0.54
                elif a > 0.42:
                    albedo[y, x, 0], albedo[y, x, 1], albedo[y, x, 2] = 0.16, 0.27, 0.30
                else:
                    albedo[y, x, 0], albedo[y, x, 1], albedo[y, x, 2] = 0.42, 0.17, 0.11
                for c in range(3):
                    albedo[y, x, c] *= 0.85 + 0.3 * noise(u * 14, v * 3, 1.0 + c)


@njit(cache=True, nogil=True, fastmath=True)
def gather(
    kinds: IntArray,
    inverse: FloatArray,
    centre: FloatArray,
    colour: FloatArray,
    glow: FloatArray,
    nodes: IntArray,
    bounds: FloatArray,
    lights: FloatArray,
    surroundings: FloatArray,
    width: int,
    height: int,
    focal: float,
    cx: float,
    cy: float,
    camera_z: float,
    first_row: int,
    last_row: int,
    samples: int,
    bounces: int,
    seed: int,
    light_out: FloatArray,
) -> None:
    """Mean light (H, W, 3) that arrives at what each pixel sees."""
    state = np.empty(1, np.uint32)
    o = np.empty(3, np.float64)
    d = np.empty(3, np.float64)
    normal = np.zeros(3, np.float64)
    other = np.zeros(3, np.float64)
    through = np.empty(3, np.float64)
    for y in range(first_row, last_row):
        for x in range(width):
            state[0] = np.uint32((x * 1973 + y * 9277 + seed * 26699 + 12345) & 0x7FFFFFFF) | np.uint32(1)
            for _ in range(6):
                _random(state)
            for _ in range(samples):
                d[0] = (x + _random(state) - cx * width) / focal
                d[1] = -(y + _random(state) - cy * height) / focal
                d[2] = -1.0
                o[0] = 0.0
                o[1] = 0.0
                o[2] = camera_z
                for c in range(3):
                    through[c] = 1.0
                for bounce in range(bounces + 1):
                    n, t = _hit(kinds, inverse, centre, nodes, bounds, o, d, 1e6, normal)
                    if n < 0:
                        if bounce > 0:
                            for c in range(3):
                                light_out[y, x, c] += through[c] * surroundings[c]
                        break
                    if bounce > 0:
                        for c in range(3):
                            # Small glowing things would only make noise; what they light is told by the rectangles.
                            light_out[y, x, c] += through[c] * min(glow[n, c], 1.0)
                            through[c] *= colour[n, c]
                    for c in range(3):
                        o[c] += d[c] * t + normal[c] * 2e-3
                    for k in range(lights.shape[0]):
                        u = _random(state)
                        v = _random(state)
                        lx = lights[k, 0] + u * lights[k, 3] + v * lights[k, 6] - o[0]
                        ly = lights[k, 1] + u * lights[k, 4] + v * lights[k, 7] - o[1]
                        lz = lights[k, 2] + u * lights[k, 5] + v * lights[k, 8] - o[2]
                        gx = lights[k, 4] * lights[k, 8] - lights[k, 5] * lights[k, 7]
                        gy = lights[k, 5] * lights[k, 6] - lights[k, 3] * lights[k, 8]
                        gz = lights[k, 3] * lights[k, 7] - lights[k, 4] * lights[k, 6]
                        r2 = lx * lx + ly * ly + lz * lz
                        r = np.sqrt(r2)
                        cosine = (normal[0] * lx + normal[1] * ly + normal[2] * lz) / r
                        other_cosine = -(gx * lx + gy * ly + gz * lz) / r  # times the area
                        if cosine <= 0.0 or other_cosine <= 0.0:
                            continue
                        d[0] = lx / r
                        d[1] = ly / r
                        d[2] = lz / r
                        hit, _t = _hit(kinds, inverse, centre, nodes, bounds, o, d, r - 0.02, other)
                        if hit < 0:
                            g = cosine * other_cosine / (r2 + 0.3) / 3.14159
                            for c in range(3):
                                light_out[y, x, c] += through[c] * g * lights[k, 9 + c]
                    if bounce == bounces:
                        break
                    # Onward, cosine-weighted about the normal.
                    phi = 6.28318 * _random(state)
                    z = 1.0 - 2.0 * _random(state)
                    s = np.sqrt(max(0.0, 1.0 - z * z))
                    d[0] = normal[0] + s * np.cos(phi)
                    d[1] = normal[1] + s * np.sin(phi)
                    d[2] = normal[2] + z
                    length = np.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2) + 1e-9
                    for c in range(3):
                        d[c] /= length
            for c in range(3):
                light_out[y, x, c] /= samples


@njit(cache=True, nogil=True, fastmath=True)
def smooth_light(light: FloatArray, normal: FloatArray, depth: FloatArray, spread: int) -> FloatArray:
    """One pass of the edge-avoiding a-trous wavelet filter (Dammertz et al., 2010) over the gathered light."""
    height, width = depth.shape
    out = np.empty_like(light)
    kernel = (0.0625, 0.25, 0.375, 0.25, 0.0625)
    for y in range(height):
        for x in range(width):
            total = 0.0
            r = 0.0
            g = 0.0
            b = 0.0
            own = light[y, x, 0] + light[y, x, 1] + light[y, x, 2]
            for j in range(-2, 3):
                for i in range(-2, 3):
                    u = min(max(x + i * spread, 0), width - 1)
                    v = min(max(y + j * spread, 0), height - 1)
                    agree = (
                        normal[y, x, 0] * normal[v, u, 0]
                        + normal[y, x, 1] * normal[v, u, 1]
                        + normal[y, x, 2] * normal[v, u, 2]
                    )
                    if agree < 0.8:
                        continue
                    gap = abs(depth[y, x] - depth[v, u]) / (0.15 + 0.05 * spread)
                    there = light[v, u, 0] + light[v, u, 1] + light[v, u, 2]
                    tone = abs(there - own) / (0.35 * (own + there) + 0.05) / (4.0 / spread)
                    w = kernel[i + 2] * kernel[j + 2] * np.exp(-gap - tone * tone)
                    total += w
                    r += w * light[v, u, 0]
                    g += w * light[v, u, 1]
                    b += w * light[v, u, 2]
            out[y, x, 0] = r / total
            out[y, x, 1] = g / total
            out[y, x, 2] = b / total
    return out
