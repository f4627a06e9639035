"""Clothes: shells over the shoulders, cut by necklines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .head import SKIN, Head
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
    radial = np.sqrt(x**2 + (0.85 * (z + 0.95)) ** 2) - 0.86
    round_neck = np.logaddexp(plane * 12, radial * 12) / 12
    layers: list[_Layer]
    if clothes.neckline == "crew":
        layers = [_Layer(round_neck, 0.075, 0.16, clothes.outer, 1.0)]
    else:
        # The blouse shows in a V between the lapels.
        opening = np.clip((y - (collar - 2.0)) / 2.0, 0, 1.2) * 0.62
        vee = np.where(z > -0.45, x - opening, 0.5 + 0 * x)
        scoop = round_neck - 0.42 * np.exp(-((x / 0.5) ** 2)) * (z > -0.4)
        layers = [
            _Layer(scoop.astype(np.float32), 0.05, 0.05, clothes.inner, 0.5),
            _Layer(np.minimum(vee, round_neck + 0.1).astype(np.float32), 0.125, 0.05, clothes.outer, 0.7),
        ]
    parts = [_shell(head, layer) for layer in layers]
    if clothes.neckline == "blazer":
        lapel = _lapel(head, layers[-1], collar)
        parts.append(lapel)
    vertices, triangles, albedo, crease, offset = [], [], [], [], 0
    for v, t, a, c in parts:
        vertices.append(v)
        triangles.append(t + offset)
        albedo.append(a)
        crease.append(c)
        offset += len(v)
    joined = np.concatenate(vertices).astype(np.float32)
    return Clothing(
        joined,
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(albedo).astype(np.float32),
        np.concatenate(crease).astype(np.float32),
        np.zeros(len(joined), np.float32),
    )


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
    rest = head.rest
    triangles = head.topology.triangles[head.topology.material == SKIN]
    normals = vertex_normals(rest, triangles)
    # Cloth bridges hollows: smooth the direction in which it stands off.
    d = layer.edge
    t = np.clip(d / layer.hem, 0, 1)
    roll = np.sqrt(np.clip(1 - (1 - t) ** 2, 0, 1))
    rib = 0.35 * layer.thickness * np.exp(-(((d - 0.5 * layer.hem) / (0.4 * layer.hem)) ** 2))
    fold = (
        (noise_at(rest * np.array([1.0, 0.35, 1.0], np.float32), 1.6, 2) - 0.5)
        * 0.10
        * layer.folds
        * np.clip(d / 0.5, 0, 1)
    )
    # Outside its edge the shell dives under the skin, so that the two meet in a clean line.
    away = layer.thickness * roll + rib * (d > 0) + fold + np.minimum(d, 0) * 0.9
    vertices = rest + normals * away[:, None].astype(np.float32)
    keep = (d[triangles] > 0).any(axis=1) & (rest[triangles][:, :, 1] < -1.0).all(axis=1)
    albedo = np.tile(np.asarray(layer.colour, np.float32), (len(rest), 1))
    ribbed = (d > 0) & (d < layer.hem)
    crease = (
        1
        - 0.35 * np.exp(-(((d - layer.hem) / 0.025) ** 2))
        - 0.15 * ribbed * (0.5 + 0.5 * np.sin(np.arctan2(rest[:, 0], rest[:, 2] + 0.6) * 150))
    )
    return vertices.astype(np.float32), triangles[keep], albedo, crease.astype(np.float32)


def _lapel(head: Head, jacket: _Layer, collar: float) -> _Part:
    """The turned-back edge of a jacket: a second shell along the V, with a notch."""
    rest = head.rest
    y, z = rest[:, 1], rest[:, 2]
    height = (y - (collar - 2.0)) / 2.0
    width = np.interp(height, [0.0, 0.35, 0.70, 0.76, 0.80, 1.1], [0.02, 0.34, 0.52, 0.34, 0.42, 0.36])
    inside = np.minimum(jacket.edge, (width - jacket.edge) * 1.0)
    layer = _Layer(np.where(z > -1.2, inside, -1).astype(np.float32), 0.175, 0.05, jacket.colour, 0.3)
    vertices, triangles, albedo, crease = _shell(head, layer)
    return vertices, triangles, albedo * np.float32(1.12), crease
