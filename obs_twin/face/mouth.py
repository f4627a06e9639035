"""The inside of the mouth: the actor's own teeth and tongue between the twin's lips.

They are taken from within the actor's lips, so that none of those is seen, and darken towards the twin's, as every
mouth does: the lips shade what lies behind them, and there two pictures meet.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FloatArray
from obs_twin.face.topology import LIPS_INNER, LIPS_OUTER

Image = npt.NDArray[np.uint8]

_INSET, _MOST_INSET = 0.3, 0.15  # of a lip's thickness; of the opening's height
_SHADE = 0.55  # of the brightness, at the lips
_DEPTH, _OF_OPENING = 0.035, 0.4  # how far the shade reaches: of the head's size; at most of the opening's height
_LEAST_PX = 2.0  # a mouth that is open less shows nothing


def inside_lips(mesh: FloatArray) -> FloatArray:
    """The contour `(20, 3)` of an actor's open mouth, from the mesh `(468, 3)`, a little within the lips."""
    inner = mesh[LIPS_INNER]
    inwards = inner - mesh[LIPS_OUTER]
    opening = float(np.linalg.norm(mesh[14, :2] - mesh[13, :2]))
    thickness = np.linalg.norm(inwards[:, :2], axis=1, keepdims=True)
    share = np.minimum(_INSET, _MOST_INSET * opening / np.maximum(thickness, 1e-3))
    share[[0, 10]] = 0  # the corners
    return np.asarray(inner + inwards * share, np.float32)


def shade_mouth(picture: Image, contour: FloatArray, head_px: float) -> None:
    """Darken `picture` `(H, W, 3) uint8`, in place, close to the lips' inner `contour` `(20, 2)`."""
    opening = float(np.linalg.norm(contour[5] - contour[15]))
    if opening < _LEAST_PX:
        return
    reach = max(round(min(_DEPTH * head_px, _OF_OPENING * opening)), 1)
    low = np.clip(np.floor(contour.min(0)).astype(int) - reach, 0, picture.shape[1::-1])
    high = np.clip(np.ceil(contour.max(0)).astype(int) + reach + 1, 0, picture.shape[1::-1])
    part = picture[low[1] : high[1], low[0] : high[0]]
    if min(part.shape[:2]) < 2:
        return
    inside = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(contour - low).astype(np.int32)], 255)
    depth = cv2.blur(inside, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_CONSTANT)
    # Half of the neighbourhood is inside at the lips, and all of it at the full depth. Outwards the shade ends as
    # softly, under the twin's lips.
    light = np.abs(np.arange(256) / 127.5 - 1)
    table = ((_SHADE + (1 - _SHADE) * light) * 255 + 0.5).astype(np.uint8)
    factor = cv2.merge([cv2.LUT(depth, table)] * 3)
    part[:] = cv2.multiply(part, factor, scale=1 / 255)
