"""Clothes: shells over the shoulders, cut by necklines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .head import SKIN, Head, head_weight
from .noise import noise_at
from .raster import vertex_normals

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Clothing:
    """All the person wears, as one mesh in the rest frame.

    Attributes
    ----------
    vertices : (V, 3)
    triangles : (T, 3) int32
    albedo : (V, 3) linear RGB
    crease : (V,) share of light that folds and overlaps leave
    follow : (V,) how much each vertex follows the head
    """

    vertices: FloatArray
    triangles: IntArray
    albedo: FloatArray
    crease: FloatArray
    follow: FloatArray


@dataclass(frozen=True)
class _Layer:
    edge: FloatArray
    """(V,) decimetres inside the garment's edge, negative outside."""
    thickness: float
    hem: float
    """Width of the rolled edge."""
    colour: tuple[float, float, float]
    folds: float


def dress(head: Head) -> Clothing:
    clothes = head.person.clothes
    rest = head.rest
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    collar = _collar_height(head)
    # A hole round the neck: below the collar's plane, or out on the shoulders.
    plane = (collar - y - 0.38 * (z + 0.5)) * 0.93
    radial = np.sqrt(x**2 + (0.85 * (z + 0.95)) ** 2) - 0.86 - 3.0 * np.clip((z + 0.6) / 0.4, 0, 1)
    edge = np.logaddexp(plane * 12, radial * 12) / 12
    if clothes.neckline == "vee":
        low, slope = collar - 0.85, 0.62
        vee = (x - slope * (y - low)) / np.hypot(1.0, slope)
        front = np.clip((z + 1.0) / 0.3, 0, 1)
        edge = edge + (vee - edge) * front * front * (3 - 2 * front)
    layer = _Layer(edge.astype(np.float32), 0.07, 0.17, clothes.colour, 1.0)
    vertices, triangles, albedo, crease = _shell(head, layer)
    return Clothing(vertices, triangles, albedo, crease, head_weight(vertices))


def _collar_height(head: Head) -> float:
    """Height of the hollow of the throat: where the neck's front is furthest back."""
    middle = head.rest[(np.abs(head.rest[:, 0]) < 0.1) & (head.rest[:, 2] > -0.75)]
    band = middle[(middle[:, 1] < -1.25) & (middle[:, 1] > -2.3)]
    heights = np.arange(-2.3, -1.25, 0.05)
    front = [band[np.abs(band[:, 1] - h) < 0.06][:, 2].max(initial=-9) for h in heights]
    slope = np.gradient(np.asarray(front))
    # Going down, the throat slants forward again below the hollow.
    below = [h for h, s in zip(heights, slope, strict=True) if s < -0.012]
    return float(max(below) if below else -1.75)


_Part = tuple[FloatArray, IntArray, FloatArray, FloatArray]


def _shell(head: Head, layer: _Layer) -> _Part:
    triangles = head.topology.triangles[head.topology.material == SKIN]
    normals = vertex_normals(head.rest, triangles)
    triangles = triangles[(head.rest[triangles][:, :, 1] < -1.0).all(axis=1)]
    rest, normals, d, triangles = _cut(head.rest, normals, layer.edge, triangles)
    t = np.clip(d / layer.hem, 0, 1)
    roll = np.sqrt(np.clip(1 - (1 - t) ** 2, 0, 1))
    rib = 0.35 * layer.thickness * np.exp(-(((d - 0.5 * layer.hem) / (0.4 * layer.hem)) ** 2)) * t
    wrinkles = noise_at(rest * np.array([1.0, 0.35, 1.0], np.float32), 1.6, 2) - 0.5
    fold = wrinkles * 0.10 * layer.folds * np.clip(d / 0.5, 0, 1)
    away = layer.thickness * roll + rib + fold + 0.028
    vertices = rest + normals * away[:, None].astype(np.float32)
    albedo = np.tile(np.asarray(layer.colour, np.float32), (len(rest), 1))
    # The seam of the hem, and its ribs.
    ribs = 0.5 + 0.5 * np.sin(np.arctan2(rest[:, 0], rest[:, 2] + 0.6) * 150)
    crease = 1 - 0.22 * np.exp(-(((d - layer.hem) / 0.04) ** 2)) - 0.10 * (d < layer.hem) * ribs
    return vertices.astype(np.float32), triangles, albedo, crease.astype(np.float32)


def _cut(
    rest: FloatArray, normals: FloatArray, edge: FloatArray, triangles: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Cut the mesh along ``edge`` = 0 and keep the positive side: rest positions, normals, edge and triangles."""
    inside = edge[triangles] > 0
    kept = [triangles[inside.all(axis=1)]]
    table = np.concatenate([rest, normals, edge[:, None]], axis=1)
    added: list[FloatArray] = []
    known: dict[tuple[int, int], int] = {}

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in known:
            f = edge[a] / (edge[a] - edge[b])
            known[key] = len(table) + len(added)
            added.append(table[a] * (1 - f) + table[b] * f)
        return known[key]

    across = inside.any(axis=1) & ~inside.all(axis=1)
    extra: list[list[int]] = []
    for corners, signs in zip(triangles[across].tolist(), inside[across].tolist(), strict=True):
        ring: list[int] = []
        for k in range(3):
            a, b = corners[k], corners[(k + 1) % 3]
            if signs[k]:
                ring.append(a)
            if signs[k] != signs[(k + 1) % 3]:
                ring.append(crossing(a, b))
        extra += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
    if extra:
        kept.append(np.asarray(extra, np.int32))
        table = np.concatenate([table, np.asarray(added, np.float32)])
    used, index = np.unique(np.concatenate(kept), return_inverse=True)
    table = np.ascontiguousarray(table[used], np.float32)
    return table[:, :3], table[:, 3:6], table[:, 6], np.ascontiguousarray(index.reshape(-1, 3), np.int32)
