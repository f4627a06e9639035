"""The target's own wrinkles, lips and lids for each expression, where photos show it.

Of each part of the face that moves (mouth, right eye, left eye), a photo holds the texture for one expression; shut
eyes are painted (`lids`) where no photo shows them. How much of which is seen follows from how close the actor's
expression is to each, by a continuous function of the mesh alone: nothing is remembered from frame to frame, so nothing
can pop, and frames may be drawn in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.atlas import MOVING, Atlas, Layer, painted
from obs_twin.face.lids import is_shut, lash_marks, paint_shut, shut_contour
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.rasterise import Texture, pack

_NEW = 0.012  # root mean square of the points' movement, in units of the head's size, from which an expression is one
_NEARNESS = 0.6  # of the gap between two expressions over which the one gives way to the other
_SEEN = 0.5  # of the part, at least, for its texture to be of use
_MOST = 4  # expressions a part
_SHUT = 0.16  # height over width of an eye's opening


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One moving part: its points, its expressions, the first being the atlas's own, and what the others change.

    Attributes:
        points: `(P,)` mesh points.
        expressions: `(K, P, 2) float32`, the points' movement away from rest.
        reach: the gap between expressions over which their textures mix.
        boxes: for each level of the atlas, the changed rectangle.
        changes: for each level, `(K - 1, h, w, 3) float32`, added to the atlas in full.
    """

    points: npt.NDArray[np.int32]
    expressions: FloatArray
    reach: float
    boxes: tuple[tuple[int, int, int, int], ...]
    changes: tuple[FloatArray, ...]


class Expressions:
    """Textures for an actor's expression, out of an atlas's layers."""

    def __init__(self, atlas: Atlas) -> None:
        self._levels = atlas.levels
        self._neutral = atlas.neutral
        self._packed = [pack(level) for level in atlas.levels]
        shut = (None, _shut_eye(atlas, right=True), _shut_eye(atlas, right=False))
        parts = (_part(atlas, *part) for part in zip(MOVING, atlas.moving, shut, strict=True))
        self._parts = [part for part in parts if part is not None]

    def texture(self, level: int, observation: FaceObservation) -> Texture:
        """The atlas's `level`, packed, as the actor's expression in `observation` needs it; not to be written to."""
        texture = self._packed[level]
        if observation.neutral is None:
            return texture
        for part in self._parts:
            shares = _shares(part, observation.local[part.points, :2] - observation.neutral[part.points, :2])
            if shares[1:].max() < 0.01:
                continue
            if texture is self._packed[level]:
                texture = texture.copy()
            x0, y0, x1, y1 = part.boxes[level]
            mixed = self._levels[level][y0:y1, x0:x1].astype(np.float32)
            for share, change in zip(shares[1:], part.changes[level], strict=True):
                if share > 0.002:
                    cv2.scaleAdd(change, float(share), mixed, mixed)
            texture[y0:y1, x0:x1] = pack(np.clip(mixed, 0, 255, out=mixed).astype(np.uint8))
        return texture


def _shares(part: _Part, movement: FloatArray) -> FloatArray:
    """How much of each expression's texture is seen `(K,)`, together 1."""
    gaps = np.sqrt(np.square(part.expressions - movement).sum(2).mean(1))
    nearness = np.exp(-0.5 * np.square((gaps - gaps.min()) / part.reach))
    return np.asarray(nearness / nearness.sum(), np.float32)


def _shut_eye(atlas: Atlas, right: bool) -> Layer | None:
    """The target with an eye shut, if no photo shows that; None if one does, or if all do."""
    if any(is_shut(layer.expression, right, _SHUT) for layer in atlas.layers):
        return None
    across = painted(lash_marks(right), atlas.points, atlas.levels[0].shape[:2])
    picture = paint_shut(atlas.levels[0], atlas.points, atlas.head_px, across, right)
    everywhere = np.ones(across.shape, np.float32)
    return Layer(picture, everywhere, everywhere, shut_contour(atlas.layers[0].expression, right))


def _part(atlas: Atlas, points: npt.NDArray[np.int32], where: FloatArray, made: Layer | None) -> _Part | None:
    """One part's expressions, one of them `made` and not photographed; None if there is but one."""
    chosen: list[Layer] = [atlas.layers[0]]
    rest = atlas.neutral[points, :2]
    moved = [atlas.layers[0].expression[points, :2] - rest]
    for layer in [*([] if made is None else [made]), *atlas.layers[1:]]:
        movement = layer.expression[points, :2] - rest
        seen = float((layer.weight * where).sum() / max(float(where.sum()), 1e-6))
        gap = min(float(np.sqrt(np.square(movement - other).sum(1).mean())) for other in moved)
        if gap > _NEW and seen > _SEEN and len(chosen) < _MOST:
            chosen.append(layer)
            moved.append(movement)
    if len(chosen) == 1:
        return None
    gaps = [np.sqrt(np.square(a - b).sum(1).mean()) for i, a in enumerate(moved) for b in moved[:i]]
    base = atlas.levels[0].astype(np.float32)
    full = [(layer.picture - base) * (where * np.minimum(layer.skin, 1))[..., None] for layer in chosen[1:]]
    boxes, changes = [], []
    for level in atlas.levels:
        shape = (level.shape[1], level.shape[0])
        share = cv2.resize(where, shape, interpolation=cv2.INTER_AREA)
        rows, columns = np.flatnonzero(share.max(1) > 0), np.flatnonzero(share.max(0) > 0)
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        boxes.append((x0, y0, x1, y1))
        small = [cv2.resize(change, shape, interpolation=cv2.INTER_AREA)[y0:y1, x0:x1] for change in full]
        changes.append(np.ascontiguousarray(np.stack(small), np.float32))
    return _Part(points, np.stack(moved), float(min(gaps)) * _NEARNESS / 2, tuple(boxes), tuple(changes))
