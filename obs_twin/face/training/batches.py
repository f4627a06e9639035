"""Training samples: a face, and the same face bent out of shape for the network to put right.

A network that only ever copied would learn nothing about faces. So it is shown each face through a random elastic warp
and has to give it back straight (DeepFaceLab's `random_warp`); both are shifted, turned and scaled alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.training.faces import FaceSet

FloatArray = npt.NDArray[np.float32]

_GRID = 5  # control points of the warp along a side
_WARP = 0.03  # standard deviation of their shifts, in sides
_TURN_DEG, _ZOOM, _SHIFT = 8.0, 0.05, 0.04
_LIGHT, _TINT = 0.10, 0.04  # log units


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures `(N, 3, S, S)` and masks `(N, 1, S, S)`, float32 0..1.

    Attributes:
        warped: what the network sees.
        straight, mask, features: what it should give; where the face is; where it counts more.
    """

    warped: FloatArray
    straight: FloatArray
    mask: FloatArray
    features: FloatArray


class Batches:
    """An endless supply of batches from one face set.

    Args:
        faces: the faces, cut larger than `side_px`.
        side_px: the network's resolution.
        rng: where chance comes from.
        colour: vary brightness and tint, for a target who is known from few lights.
        mirror: also show faces mirrored.
    """

    def __init__(
        self, faces: FaceSet, side_px: int, rng: np.random.Generator, *, colour: bool = False, mirror: bool = False
    ) -> None:
        self._set = faces
        self._side = side_px
        self._rng = rng
        self._colour = colour
        self._mirror = mirror
        self._order: list[int] = []

    def next(self, size: int, *, warp: float = 1.0) -> Batch:
        """The next `size` samples, warped by `warp` times the usual amount."""
        samples = [self._sample(self._draw(), warp) for _ in range(size)]
        warped, straight, mask, features = (np.stack(part) for part in zip(*samples, strict=True))
        return Batch(
            np.ascontiguousarray(warped.transpose(0, 3, 1, 2)),
            np.ascontiguousarray(straight.transpose(0, 3, 1, 2)),
            mask[:, None],
            features[:, None],
        )

    def _draw(self) -> int:
        if not self._order:
            self._order = list(self._rng.permutation(len(self._set.faces)))
        return int(self._order.pop())

    def _sample(self, index: int, warp: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        rng, side = self._rng, self._side
        matrix = self._placement()
        layers = [self._set.faces[index], self._set.masks[index], self._set.features[index]]
        size = (side, side)
        straight, mask, features = (
            cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for layer in layers
        )
        warped = straight
        if warp > 0:
            shifts = rng.normal(0, _WARP * warp, (_GRID, _GRID, 2)).clip(-0.1, 0.1).astype(np.float32)
            field = cv2.resize(shifts, size, interpolation=cv2.INTER_CUBIC) * np.float32(side)
            y, x = np.mgrid[:side, :side].astype(np.float32)
            warped = cv2.remap(
                straight, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
            )
        seen, wanted, inside, counts = (_shares(layer) for layer in (warped, straight, mask, features))
        if self._colour:
            change = np.exp(rng.normal(0, _LIGHT) + rng.normal(0, _TINT, 3)).astype(np.float32)
            np.minimum(seen * change, 1, out=seen)
            np.minimum(wanted * change, 1, out=wanted)
        return seen, wanted, inside, counts

    def _placement(self) -> npt.NDArray[np.float64]:
        rng, side = self._rng, self._side
        have = self._set.faces.shape[1]
        angle = float(rng.normal(0, _TURN_DEG / 2))
        zoom = float(np.exp(rng.normal(0, _ZOOM / 2)))
        matrix = np.asarray(cv2.getRotationMatrix2D((have / 2, have / 2), angle, zoom), np.float64)
        matrix[:, 2] += (side - have) / 2 + rng.normal(0, _SHIFT / 2, 2) * side
        if self._mirror and rng.random() < 0.5:
            flip = np.array([[-1.0, 0.0, side - 1.0], [0.0, 1.0, 0.0]])
            matrix = flip[:, :2] @ matrix + np.array([[0, 0, side - 1.0], [0, 0, 0]])
        return matrix


def _shares(layer: npt.NDArray[Any]) -> FloatArray:
    """0..255 as 0..1."""
    return np.asarray(layer * np.float32(1 / 255), np.float32)
