"""Shut eyes for a target whose photos show open ones.

What covers a shut eye is skin that lies in the lid's fold while the eye is open. The photo does not show it; what it
shows there is a thin band between fold and lashes, and drawn out over the eye, the lashes become dark smudges. So the
band is painted: the skin's colour from above the fold and from under the eye, and the lashes as a line along its edge.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FloatArray
from obs_twin.face.topology import LEFT_EYE, MIRROR, RIGHT_EYE

Image = npt.NDArray[np.uint8]

# Of the right eye, from the outer to the inner corner: the fold above the upper lid and the skin above it, the bags
# under the lower lid and the skin under them.
_FOLD = np.array([247, 30, 29, 27, 28, 56, 190], np.int32)
_ABOVE = np.array([113, 225, 224, 223, 222, 221, 189], np.int32)
_BAG = np.array([25, 110, 24, 23, 22, 26, 112], np.int32)
_BELOW = np.array([228, 229, 229, 230, 231, 232, 233], np.int32)
_UPPER, _LOWER = RIGHT_EYE[15:8:-1], RIGHT_EYE[1:8]

_MEASURED_SHUT = 0.72  # of the way, as which the networks see a shut eye's lid
_SKIN_BLUR = 0.012  # in units of the head's size
_FROM_ABOVE = 0.6  # the rest is from under the eye
_SMOOTH = (0.1, 0.45)  # of the way from the fold to the lashes, over which the photo gives way to plain skin
_LASHES = (0.78, 0.92)  # where their line begins, and is full
_LASH_TONE, _LID_SHADE = 0.25, 0.12


def shut_contour(face: FloatArray, right: bool) -> FloatArray:
    """A face `(468 or 478, 3)` as the networks would see it with its right, or left, eye shut."""
    upper, lower = (points if right else MIRROR[points] for points in (_UPPER, _LOWER))
    shut = face.copy()
    shut[upper] += (shut[lower] - shut[upper]) * np.float32(_MEASURED_SHUT)
    return shut


def is_shut(face: FloatArray, right: bool, limit: float) -> bool:
    """Whether that eye of a face `(468 or 478, 3)` is open less than `limit`, height over width."""
    eye = RIGHT_EYE if right else LEFT_EYE
    height = float(np.linalg.norm(face[eye[12], :2] - face[eye[4], :2]))
    return height < limit * float(np.linalg.norm(face[eye[8], :2] - face[eye[0], :2]))


def paint_shut(picture: Image, points: FloatArray, head_px: float, across: FloatArray, right: bool) -> Image:
    """An atlas's `picture` `(H, W, 3) uint8` with the band of its right, or left, upper lid as on a shut eye.

    Args:
        points: `(468, 2) float32`, the mesh points' places in it.
        head_px: the head's size in it.
        across: `(H, W) float32`, 0 at the fold and all around, 1 at the lashes (`lash_marks`, painted).
    """
    fold, above, bag, below = (p if right else MIRROR[p] for p in (_FOLD, _ABOVE, _BAG, _BELOW))
    soft = cv2.GaussianBlur(picture, (0, 0), max(_SKIN_BLUR * head_px, 0.8))
    over, under = (_sampled(soft, (points[a] + points[b]) * np.float32(0.5)) for a, b in ((fold, above), (bag, below)))
    tones = np.exp(_FROM_ABOVE * np.log(over + 1) + (1 - _FROM_ABOVE) * np.log(under + 1)) - 1
    rows, columns = np.nonzero(across > 0)
    if not len(rows):
        return picture
    # Across the lid, from corner to corner, the tones run into each other.
    order = np.argsort(points[fold, 0])
    places = points[fold, 0][order]
    skin = np.stack([np.interp(columns, places, tones[order, c]) for c in range(3)], axis=1)
    way = across[rows, columns][:, None]
    line = _eased(way, _LASHES)
    shaded = skin * (1 - np.float32(_LID_SHADE) * way * way) * (1 - line * np.float32(1 - _LASH_TONE))
    share = _eased(way, _SMOOTH)
    painted = picture.copy()
    painted[rows, columns] = np.clip(picture[rows, columns] * (1 - share) + shaded * share + 0.5, 0, 255)
    return painted


def lash_marks(right: bool) -> FloatArray:
    """`(468,) float32`: 1 at the mesh points along the upper lashes of the right, or left, eye."""
    marks = np.zeros(len(MIRROR), np.float32)
    marks[_UPPER if right else MIRROR[_UPPER]] = 1
    return marks


def _sampled(picture: npt.NDArray[np.generic], places: FloatArray) -> FloatArray:
    x, y = np.round(places).astype(int).T
    rows, columns = np.clip(y, 0, picture.shape[0] - 1), np.clip(x, 0, picture.shape[1] - 1)
    return np.asarray(picture[rows, columns], np.float32)


def _eased(way: FloatArray, ends: tuple[float, float]) -> FloatArray:
    t = np.clip((way - np.float32(ends[0])) / np.float32(ends[1] - ends[0]), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
