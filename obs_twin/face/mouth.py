"""The inside of the mouth: the actor's own teeth and tongue between the twin's lips.

They are taken from within the actor's lips, so that none of those is seen, and darken towards the twin's, as every
mouth does: the lips shade what lies behind them, and there two pictures meet.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FloatArray
from obs_twin.face.rasterise import extent
from obs_twin.face.topology import LIPS_INNER, LIPS_OUTER

Image = npt.NDArray[np.uint8]

_INSET, _MOST_INSET = 0.3, 0.15  # of a lip's thickness; of the opening's height
_SHADE = 0.55  # of the brightness, at the lips
_DEPTH, _OF_OPENING = 0.035, 0.4  # how far the shade reaches: of the head's size; at most of the opening's height
_RIM = 0.012  # of the head's size, to either side of the lips' contour
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
    part, low = _around(picture, contour, reach)
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


def soften_rim(layer: Image, coverage: Image, contour: FloatArray, head_px: float) -> None:
    """Let the twin's lips end softly in the mouth, in place.

    The `layer` `(H, W, 3) uint8` is blurred along the lips' inner `contour` `(20, 2)`; its `coverage` `(H, W) uint8`
    reaches a little into the mouth, where it holds the same teeth as what is below it.
    """
    reach = max(round(_RIM * head_px), 1)
    side = 2 * reach + 1
    part, low = _around(layer, contour, reach)
    if min(part.shape[:2]) < 2:
        return
    rim = np.zeros(part.shape[:2], np.uint8)
    cv2.polylines(rim, [np.round(contour - low).astype(np.int32)], True, 255, side)
    cv2.copyTo(cv2.GaussianBlur(part, (side, side), 0), rim, part)
    covered, _ = _around(coverage, contour, reach)
    covered[:] = cv2.dilate(covered, np.ones((side, side), np.uint8))


def _around(picture: Image, contour: FloatArray, reach_px: int) -> tuple[Image, npt.NDArray[np.int_]]:
    """The part of a `picture` around a `contour`, and where it begins `(2,)`."""
    left, top, right, bottom = extent(contour, contour)
    height, width = picture.shape[:2]
    x0, x1 = (min(max(v, 0), width) for v in (math.floor(left) - reach_px, math.ceil(right) + reach_px + 1))
    y0, y1 = (min(max(v, 0), height) for v in (math.floor(top) - reach_px, math.ceil(bottom) + reach_px + 1))
    return picture[y0:y1, x0:x1], np.array([x0, y0])
