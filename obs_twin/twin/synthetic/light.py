"""Light that falls on a mesh: area lights with soft shadows, ambient occlusion, and light scattered under the skin.

Everything here is computed per vertex: the refined mesh has a vertex every pixel or two, and light under skin is
smooth anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from .geometry import affine
from .raster import FAR, draw_depth

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_MAP_SIZE = 448
_MAP_CENTRE = np.array([0.0, -0.75, -0.2], np.float32)
_MAP_HALF_EXTENT = 2.3


@dataclass(frozen=True)
class Light:
    """One large, far light.

    Attributes
    ----------
    direction : towards the light, need not be normalised
    colour : linear RGB radiance
    softness : decimetres by which shadow edges are blurred; 0 for a light that casts none
    wrap : how far the light reaches round the terminator, 0..1; large sources reach further
    """

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    softness: float = 0.0
    wrap: float = 0.25


@dataclass(frozen=True)
class Rig:
    """The lights of a scene; the first one is the key."""

    lights: tuple[Light, ...]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]

    def directions(self) -> FloatArray:
        table = np.array([light.direction for light in self.lights], np.float32)
        return np.asarray(table / np.linalg.norm(table, axis=1, keepdims=True), np.float32)

    def colours(self) -> FloatArray:
        return np.array([light.colour for light in self.lights], np.float32)


def basis(direction: FloatArray) -> FloatArray:
    """(3, 3) rows: right, up, and ``direction`` itself."""
    helper = np.array([0, 1, 0], np.float32) if abs(direction[1]) < 0.95 else np.array([1, 0, 0], np.float32)
    right = np.cross(helper, direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction]).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def _look_up(at: FloatArray, depth: FloatArray, bias: float, radius: int, out: FloatArray) -> None:
    size = depth.shape[0]
    stride = 2 if radius > 3 else 1
    for i in range(at.shape[0]):
        x = int(at[i, 0])
        y = int(at[i, 1])
        lit = 0.0
        total = 0.0
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if stride == 2 and (dx + dy) % 2 != 0:
                    continue
                weight = (radius + 1.0) ** 2 - dx * dx - dy * dy
                if weight <= 0.0:
                    continue
                u = min(max(x + dx, 0), size - 1)
                v = min(max(y + dy, 0), size - 1)
                total += weight
                # The further the tap, the more of the surface's own slope must be forgiven.
                if at[i, 2] - bias - 0.012 * max(abs(dx), abs(dy)) < depth[v, u]:
                    lit += weight
        out[i] = lit / total


@njit(cache=True, nogil=True, fastmath=True)
def _splat_hair(at: FloatArray, points: int, depth: FloatArray, density: FloatArray) -> None:
    """Count, per texel, the length of hair that lies in front of the first surface."""
    size = depth.shape[0]
    for i in range(at.shape[0]):
        if i % points == points - 1:
            continue
        length = abs(at[i + 1, 0] - at[i, 0]) + abs(at[i + 1, 1] - at[i, 1])
        steps = int(length * 0.5) + 1
        for n in range(steps):
            f = n / steps
            x = int(at[i, 0] + (at[i + 1, 0] - at[i, 0]) * f)
            y = int(at[i, 1] + (at[i + 1, 1] - at[i, 1]) * f)
            if x < 0 or y < 0 or x >= size or y >= size:
                continue
            if at[i, 2] < depth[y, x] + 0.02:
                density[y, x] += 2.0 if steps > 1 else max(length, 0.5)


@dataclass(frozen=True)
class Strands:
    """Hair as it stands now: (S * points, 3) vertices, ``points`` to a strand; ``shade`` is the share of light that one
    texel's worth of strand length takes away."""

    vertices: FloatArray
    points: int
    shade: float


class ShadowMap:
    """What a far light in ``direction`` sees of the scene.

    Parameters
    ----------
    direction : (3,) unit vector towards the light
    casters, triangles : the solid mesh
    strands : hair, which dims without blocking; None for none
    softness : decimetres by which edges are blurred
    size : texels along each side
    """

    def __init__(
        self,
        direction: FloatArray,
        casters: FloatArray,
        triangles: IntArray,
        strands: Strands | None,
        softness: float,
        size: int = _MAP_SIZE,
    ) -> None:
        scale = size / (2 * _MAP_HALF_EXTENT)
        frame = basis(direction)
        # Pixel x to the right, pixel y down, depth away from the light.
        self._matrix = (frame * np.array([[scale], [-scale], [-1.0]])).astype(np.float32)
        self._offset = (np.array([size / 2, size / 2, 0.0]) - self._matrix @ _MAP_CENTRE).astype(np.float32)
        self._texel = 1 / scale
        self._depth = np.full((size, size), FAR, np.float32)
        draw_depth(self._map(casters), triangles, self._depth)
        self._density: FloatArray | None = None
        if strands is not None:
            density = np.zeros((size, size), np.float32)
            _splat_hair(self._map(strands.vertices), strands.points, self._depth, density)
            blur = max(1.0, 0.7 * softness / self._texel)
            self._density = np.exp(-strands.shade * np.asarray(cv2.GaussianBlur(density, (0, 0), blur), np.float32))

    def _map(self, points: FloatArray) -> FloatArray:
        return affine(np.ascontiguousarray(points, np.float32), self._matrix, self._offset)

    def visibility(self, points: FloatArray, softness: float, through_hair: bool = True) -> FloatArray:
        """Share of the light that reaches each of ``points`` (N, 3): (N,) float32, 0..1."""
        at = self._map(points)
        radius = int(np.clip(np.rint(softness / self._texel), 0, 8))
        out = np.empty(len(points), np.float32)
        _look_up(at, self._depth, 0.035 + 0.6 * self._texel, radius, out)
        if self._density is not None and through_hair:
            size = len(self._depth)
            x = np.clip(at[:, 0].astype(np.int32), 0, size - 1)
            y = np.clip(at[:, 1].astype(np.int32), 0, size - 1)
            out *= self._density[y, x]
        return out


def sphere_directions(count: int) -> FloatArray:
    """(count, 3) directions spread evenly (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    r = np.sqrt(1 - y * y)
    phi = np.pi * (1 + np.sqrt(5)) * i
    return np.stack([r * np.cos(phi), y, r * np.sin(phi)], axis=1).astype(np.float32)


def ambient_occlusion(
    vertices: FloatArray,
    normals: FloatArray,
    casters: FloatArray,
    triangles: IntArray,
    strands: Strands | None,
    directions: int = 96,
) -> FloatArray:
    """(V,) share of the surroundings that each of ``vertices`` sees past ``casters``, weighted by the cosine."""
    seen = np.zeros(len(vertices), np.float32)
    total = np.full(len(vertices), 1e-6, np.float32)
    for direction in sphere_directions(directions):
        cosine = np.maximum(normals @ direction, 0.0)
        shadow = ShadowMap(direction, casters, triangles, strands, 0.015, 256)
        seen += cosine * shadow.visibility(vertices, 0.015)
        total += cosine
    return np.asarray(np.clip(seen / total, 0.0, 1.0), np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def scatter(
    light: FloatArray, starts: IntArray, neighbours: IntArray, amount: FloatArray, rounds: IntArray
) -> FloatArray:
    """Diffuse ``light`` (V, 3) over the mesh: ``rounds[c]`` smoothing steps for channel c, as strong as ``amount``.

    Red light wanders furthest under skin, blue hardly at all (d'Eon and Luebke, GPU Gems 3, chapter 14); steps over
    mesh neighbours stand in for the sum of Gaussians.
    """
    out = light.copy()
    count = light.shape[0]
    other = np.empty(count, np.float32)
    for c in range(3):
        for _ in range(rounds[c]):
            for i in range(count):
                first = starts[i]
                last = starts[i + 1]
                if last == first:
                    other[i] = out[i, c]
                    continue
                total = 0.0
                for k in range(first, last):
                    total += out[neighbours[k], c]
                mean = total / (last - first)
                other[i] = out[i, c] + (mean - out[i, c]) * 0.6 * amount[i]
            for i in range(count):
                out[i, c] = other[i]
    return out


def adjacency(quads: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Neighbours of each vertex along the edges of ``quads``: starts (count + 1,), neighbours."""
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    both = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    starts = np.zeros(count + 1, np.int32)
    starts[1:] = np.cumsum(np.bincount(both[:, 0], minlength=count))
    return starts, both[:, 1].astype(np.int32)


def irradiance(normals: FloatArray, rig: Rig, key: FloatArray, occlusion: FloatArray) -> FloatArray:
    """(V, 3) light that arrives at each vertex; ``key`` (V,) is the share of the rig's first light that does."""
    up = normals[:, 1:2] * 0.5 + 0.5
    total = np.asarray(rig.sky, np.float32) * up + np.asarray(rig.ground, np.float32) * (1 - up)
    total = total * occlusion[:, None]
    for number, (light, direction) in enumerate(zip(rig.lights, rig.directions(), strict=True)):
        wrapped = np.clip((normals @ direction + light.wrap) / (1 + light.wrap), 0.0, 1.0)
        # A light with no shadow map of its own is dimmed by the occlusion.
        share = wrapped * (key * (0.35 + 0.65 * occlusion) if number == 0 else occlusion**1.5)
        total = total + share[:, None] * np.asarray(light.colour, np.float32)
    return np.asarray(total, np.float32)
