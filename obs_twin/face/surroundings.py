"""The actor's own picture around the twin's face, pulled to where the twin's outline is.

Rings of triangles around the mesh's outline take part in the outline's shift, the outer ones less; inside, what the
twin does not cover (mouth, eyes, the feathered edge) moves with the twin's mesh.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.face.mouth import inside_lips
from obs_twin.face.observation import FloatArray
from obs_twin.face.rasterise import draw, pack, visible_order
from obs_twin.face.topology import LEFT_EYE, LIPS_INNER, MESH_POINTS, OVAL, RIGHT_EYE, TRIANGLES

Image = npt.NDArray[np.uint8]

# Rings around the outline, as multiples of its distance from the middle, and how much of the
# outline's shift each takes part in.
_RINGS = ((1.15, 0.75), (1.32, 0.3), (1.55, 0.0))
_HELD_BESIDE = 1  # points of the outline
_MIDDLE = 6  # the bridge of the nose


def _ring_triangles() -> npt.NDArray[np.int32]:
    count = len(OVAL)
    rows: list[npt.NDArray[Any]] = [OVAL]
    rows += [np.arange(MESH_POINTS + r * count, MESH_POINTS + (r + 1) * count) for r in range(len(_RINGS))]
    triangles = []
    for inner, outer in pairwise(rows):
        for k in range(count):
            n = (k + 1) % count
            triangles += [(inner[k], outer[k], inner[n]), (inner[n], outer[k], outer[n])]
    return np.array(triangles, np.int32)


def _fan(contour: npt.NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """A strip of triangles across an opening whose contour runs there and back."""
    points = [int(v) for v in contour]
    low, high = 0, len(points) - 1
    strip = []
    while high - low > 1:
        strip.append((points[low], points[low + 1], points[high]))
        low += 1
        if high - low > 1:
            strip.append((points[low], points[high - 1], points[high]))
            high -= 1
    return strip


_EYES = np.array(_fan(RIGHT_EYE) + _fan(LEFT_EYE), np.int32)
_RING_TRIANGLES = _ring_triangles()
_MOUTH_START = MESH_POINTS + len(_RINGS) * len(OVAL)  # where the mouth's contour follows behind the rings
_MOUTH = np.array(_fan(np.arange(_MOUTH_START, _MOUTH_START + len(LIPS_INNER), dtype=np.int32)), np.int32)


def with_rings(mesh: FloatArray, shaped: FloatArray, held: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Mesh points with the surroundings' rings and the mouth's inside behind them, at the actor's and the twin's.

    Args:
        held: `(36,) float32` 0..1 at the outline's points (`topology.OVAL`): how much of the shift the surroundings
            leave out there, because what is before them must stay in its place.
    """
    middle = mesh[_MIDDLE]
    outwards = mesh[OVAL] - middle
    shift = shaped[OVAL] - mesh[OVAL]
    if held is not None:
        shift *= (1 - _spread(held))[:, None]
    actor = [mesh, *(middle + outwards * np.float32(reach) for reach, _ in _RINGS), inside_lips(mesh)]
    twin = [shaped, *(middle + outwards * np.float32(reach) + shift * np.float32(part) for reach, part in _RINGS)]
    return np.concatenate(actor), np.concatenate([*twin, shaped[LIPS_INNER]])


def _spread(held: FloatArray) -> FloatArray:
    """The largest of each point and its neighbours on either side, so that the way back begins beside the thing."""
    wide = np.maximum.reduce([np.roll(held, step) for step in range(-_HELD_BESIDE, _HELD_BESIDE + 1)])
    return np.asarray((np.roll(wide, 1) + 2 * wide + np.roll(wide, -1)) / 4, np.float32)


def pull_surroundings(
    region: Image,
    actor_points: FloatArray,
    twin_points: FloatArray,
    corner: FloatArray,
    uncovered: npt.NDArray[np.bool_],
) -> None:
    """Pull the actor's own picture to the twin's outline, mouth and eyes, where the twin does not cover it."""
    corners = uncovered[TRIANGLES]
    seen = TRIANGLES[corners[:, 0] | corners[:, 1] | corners[:, 2]]
    triangles = np.concatenate([_RING_TRIANGLES, seen, _EYES, _MOUTH])
    far_to_near = visible_order(twin_points, triangles, both_sides=True)
    draw(pack(region), actor_points[:, :2] - corner, twin_points[:, :2] - corner, far_to_near, region)
