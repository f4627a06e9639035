"""The one-photo twin: the target's photo on the actor's moving mesh.

A frame's way, all of it inside one rectangle around the face:

    surroundings   the actor's own picture, its outline pulled towards the target's (shape)
    texture        the photo's triangles on the actor's, lit by the actor's room (light), far to near
    match          softened to the camera's sharpness, the camera's own grain put back
    blend          coverage feathered towards the outline, open at eyes and mouth: the actor's own are seen there
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.light import LightTransfer, smoothing_kernel
from obs_twin.face.observation import FaceObservation, FloatArray, Rect
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import TargetPhoto, read_photo
from obs_twin.face.rasterise import blend, draw, visible_order
from obs_twin.face.settings import FaceSettings
from obs_twin.face.topology import LEFT_EYE, LIPS_INNER, MESH_POINTS, OVAL, RIGHT_EYE, TRIANGLES

Image = npt.NDArray[np.uint8]

# The surroundings: rings around the outline, as multiples of its distance from the middle, and how much of the
# outline's shift each takes part in.
_RINGS = ((1.18, 0.75), (1.42, 0.3), (1.75, 0.0))
_MIDDLE = 6  # the bridge of the nose


def _ring_triangles() -> npt.NDArray[np.int32]:
    count = len(OVAL)
    rows = [OVAL, *(np.arange(MESH_POINTS + r * count, MESH_POINTS + (r + 1) * count) for r in range(len(_RINGS)))]
    triangles = []
    for inner, outer in zip(rows, rows[1:], strict=False):
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


_OPENINGS = np.array(_fan(LIPS_INNER) + _fan(RIGHT_EYE) + _fan(LEFT_EYE), np.int32)
_RING_TRIANGLES = _ring_triangles()


class MeshTwin:
    """Draws one photo's face over an actor's. `render` may run in several threads at once: it keeps no state.

    Args:
        photo: the target.
        settings: what `render` uses when it is given none.
    """

    def __init__(self, photo: TargetPhoto, settings: FaceSettings | None = None) -> None:
        self._photo = photo
        self._settings = settings or FaceSettings()
        self._neutral = photo.observation.local[:MESH_POINTS]
        self._light = LightTransfer(photo.observation.tones, self._neutral)
        kernel = smoothing_kernel(self._neutral, 0.09)
        self._shape_kernel = kernel / kernel.sum(1, keepdims=True)
        self._outline_distance = _distance_to_outline(self._neutral)
        self._jaw = _jaw_share(self._neutral)

    def render(self, bgr: Image, observation: FaceObservation, settings: FaceSettings | None = None) -> Rect:
        """Draw the twin into `bgr` `(H, W, 3) uint8`, in place.

        Returns:
            The changed rectangle `(x0, y0, x1, y1)`; empty `(0, 0, 0, 0)` if nothing was changed.
        """
        chosen = settings or self._settings
        if chosen.strength <= 0:
            return (0, 0, 0, 0)
        mesh = observation.landmarks[:MESH_POINTS]
        shaped = self._shaped(observation, chosen.shape)
        actor_points, twin_points = _with_rings(mesh, shaped)
        rect = _bounds(actor_points, twin_points, bgr.shape)
        x0, y0, x1, y1 = rect
        if x1 - x0 < 8 or y1 - y0 < 8:
            return (0, 0, 0, 0)
        region = bgr[y0:y1, x0:x1]
        corner = np.array([x0, y0], np.float32)
        actor_xy = actor_points[:, :2] - corner
        twin_xy = twin_points[:, :2] - corner
        alpha = np.clip(self._outline_distance / max(chosen.feather, 1e-3), 0, 1).astype(np.float32)

        base = _surroundings(region, actor_xy, twin_xy, alpha) if chosen.shape > 0 else region.copy()
        layer = base.copy()
        coverage = np.zeros(layer.shape[:2], np.uint8)
        level, uv = self._photo.level_for(observation.head.scale)
        gains = self._light.gains(observation.tones, chosen.light)
        draw(level, uv, twin_xy, visible_order(shaped, TRIANGLES), gains, alpha, layer, coverage)
        softness = max(observation.head.scale * 0.006, 0.6)
        coverage = cv2.GaussianBlur(coverage, (0, 0), softness)
        blend(base, layer, coverage, chosen.strength, region)
        return rect

    def _shaped(self, observation: FaceObservation, amount: float) -> FloatArray:
        """The actor's mesh points `(468, 3)` with the target's proportions, in the actor's pose and expression."""
        mesh = observation.landmarks[:MESH_POINTS]
        if amount <= 0 or observation.neutral is None:
            return mesh
        difference = self._neutral - observation.neutral
        # Not the photo's open mouth: only what the two faces differ in at rest.
        gap = difference[14, 1] - difference[13, 1]
        difference[:, 1] -= gap * self._jaw
        change = self._shape_kernel @ difference
        shaped: FloatArray = mesh + (change * np.float32(amount * observation.head.scale)) @ observation.head.rotation.T
        return shaped


def _distance_to_outline(points: FloatArray) -> FloatArray:
    """How far inside the outline each mesh point lies, in units of the head's size; on the forehead it counts half."""
    outline = points[OVAL, :2]
    following = np.roll(outline, -1, axis=0)
    line = following - outline
    gap = points[:, None, :2] - outline[None]
    along = np.clip((gap * line).sum(2) / (line * line).sum(1), 0, 1)
    distance = np.linalg.norm(gap - along[..., None] * line, axis=2).min(1)
    distance[OVAL] = 0
    brows = points[[66, 296], 1].mean()
    forehead = np.clip((brows - points[:, 1]) / (brows - points[10, 1]), 0, 1)
    shortened: FloatArray = (distance * (1 - 0.5 * forehead)).astype(np.float32)
    return shortened


def _jaw_share(points: FloatArray) -> FloatArray:
    """How much each point moves with the jaw: 0 above the mouth's line, 1 at the lower lip and the chin."""
    line = points[[78, 308], 1].mean()
    lower_lip = points[17, 1]
    share: FloatArray = np.clip((points[:, 1] - line) / (lower_lip - line), 0, 1).astype(np.float32)
    share[LIPS_INNER[11:]] = 1
    return share


def _with_rings(mesh: FloatArray, shaped: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mesh points with the surroundings' rings behind them, at the actor's and at the twin's places."""
    middle = mesh[_MIDDLE]
    outwards = mesh[OVAL] - middle
    shift = shaped[OVAL] - mesh[OVAL]
    actor = [mesh, *(middle + outwards * np.float32(reach) for reach, _ in _RINGS)]
    twin = [shaped, *(middle + outwards * np.float32(reach) + shift * np.float32(part) for reach, part in _RINGS)]
    return np.concatenate(actor), np.concatenate(twin)


def _bounds(actor: FloatArray, twin: FloatArray, shape: tuple[int, ...]) -> Rect:
    low = np.floor(np.minimum(actor[:, :2].min(0), twin[:, :2].min(0))) - 1
    high = np.ceil(np.maximum(actor[:, :2].max(0), twin[:, :2].max(0))) + 2
    x0, x1 = (int(np.clip(v, 0, shape[1])) for v in (low[0], high[0]))
    y0, y1 = (int(np.clip(v, 0, shape[0])) for v in (low[1], high[1]))
    return (x0, y0, x1, y1)


def _surroundings(region: Image, actor_xy: FloatArray, twin_xy: FloatArray, alpha: FloatArray) -> Image:
    """The actor's own picture, pulled to the twin's outline, mouth and eyes; only where the twin does not cover it."""
    out = region.copy()
    seen = TRIANGLES[(alpha[TRIANGLES] < 1).any(axis=1)]
    triangles = np.concatenate([_RING_TRIANGLES, seen, _OPENINGS])
    ones = np.ones((len(actor_xy), 3), np.float32)
    source = np.ascontiguousarray(region)
    draw(source, actor_xy, twin_xy, triangles, ones, ones[:, 0].copy(), out, np.empty(out.shape[:2], np.uint8))
    return out


def open_mesh_twin(files: Sequence[Path], perceiver: FacePerceiver, settings: FaceSettings | None = None) -> MeshTwin:
    """A mesh twin from its photo.

    Raises:
        FaceModelError: as `photo.read_photo`.
    """
    return MeshTwin(read_photo(files[0], perceiver), settings)
