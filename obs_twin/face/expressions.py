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
from numba import njit

from obs_twin.face.atlas import MOVING, Atlas, Layer, painted
from obs_twin.face.lids import is_shut, lash_marks, paint_shut, shut_contour
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.rasterise import Texture, pack

Image = npt.NDArray[np.uint8]

_NEW = 0.012  # root mean square of the points' movement, in units of the head's size, from which an expression is one
_NEARNESS = 0.6  # of the gap between two expressions over which the one gives way to the other
_SEEN = 0.5  # of the part, at least, for its texture to be of use
_MOST = 4  # expressions a part
_CHANGE_ONE, _SHARE_ONE = 64, 1 << 14
_STEP_BITS, _STEP_HALF = np.int32(6 + 14), np.int32(1 << 19)
_SHUT = 0.16  # height over width of an eye's opening


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One moving part: its points, its expressions, the first being the atlas's own, and what the others change.

    Attributes:
        points: `(P,)` mesh points.
        expressions: `(K, P, 2) float32`, the points' movement away from rest.
        reach: the gap between expressions over which their textures mix.
        corners: for each level of the atlas, where the changed rectangle begins, `(x, y)`.
        changes: for each level, `(K - 1, h, w * 4) int16`, added to the packed atlas in full; 1 is `1 / _CHANGE_ONE`.
    """

    points: npt.NDArray[np.int32]
    expressions: FloatArray
    reach: float
    corners: tuple[tuple[int, int], ...]
    changes: tuple[npt.NDArray[np.int16], ...]


class Expressions:
    """Textures for an actor's expression, out of an atlas's layers."""

    def __init__(self, atlas: Atlas) -> None:
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
            x0, y0 = part.corners[level]
            parts = [round(float(share) * _SHARE_ONE) for share in shares[1:]]
            for share, change in zip(parts, part.changes[level], strict=True):
                if share:
                    _add(_channels(texture), change, share, 4 * x0, y0)
        return texture


def _channels(texture: Texture) -> Image:
    """A packed texture `(h, w)` as its bytes `(h, 4 w)`: blue, green, red and what is not used."""
    return texture.view(np.uint8)


@njit(cache=True, nogil=True, fastmath=True)
def _add(channels: Image, change: npt.NDArray[np.int16], share: int, x0: int, y0: int) -> None:
    """Add a `share` (of `_SHARE_ONE`) of a `change` `(h, w * 4)` to the `channels` from column `x0`, row `y0` on."""
    part = np.int32(share)
    for y in range(change.shape[0]):
        steps = change[y]
        row = channels[y0 + y, x0 : x0 + steps.shape[0]]
        for n in range(steps.shape[0]):
            value = (np.int32(row[n]) << _STEP_BITS) + np.int32(steps[n]) * part
            row[n] = np.uint8(min(max((value + _STEP_HALF) >> _STEP_BITS, np.int32(0)), np.int32(255)))


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
    corners, changes = [], []
    for level in atlas.levels:
        shape = (level.shape[1], level.shape[0])
        share = cv2.resize(where, shape, interpolation=cv2.INTER_AREA)
        rows, columns = np.flatnonzero(share.max(1) > 0), np.flatnonzero(share.max(0) > 0)
        x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        corners.append((x0, y0))
        small = [cv2.resize(change, shape, interpolation=cv2.INTER_AREA)[y0:y1, x0:x1] for change in full]
        steps = np.zeros((len(small), y1 - y0, x1 - x0, 4), np.int16)
        steps[..., :3] = np.rint(np.stack(small) * _CHANGE_ONE)
        changes.append(steps.reshape(len(small), y1 - y0, -1))
    return _Part(points, np.stack(moved), float(min(gaps)) * _NEARNESS / 2, tuple(corners), tuple(changes))
