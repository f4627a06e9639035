"""The actor's glasses: dark frames that stay in front of the twin as a whole.

They are looked for in what the face has looked like for seconds (`occlusion`, texels that stay on the same spot of
skin): a dark line across the bridge of the nose and one below each eye, where no face has lines. In the frame itself
the dark pixels near those texels are kept. Light or rimless frames are not found; they vanish under the twin.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.square import FloatArray, Image
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

_LINE_TEXELS = 11  # wider than any frame
# Log units of brightness below the skin around it: folds and shadows stay below 0.18, thin frames are above 0.45.
_LINE = 0.27
_VERY_DARK = 0.7  # the same, where there may also be a brow
_BRIDGE_SHARE, _RIM_SHARE = 0.8, 0.6  # of the columns across the nose, and below each eye
_BELOW_LID = (3, 16)  # texels
_AROUND = 3
_BRIDGE = (9, 197)  # between the brows, and halfway down the nose: a bridge lies in between
_WIDEST = 0.13  # of the head's size
_SKIN, _FRAME = 0.84, 0.62  # brightness over that of the skin around it


def frame_texels(brightness: FloatArray, places: FloatArray) -> Image | None:
    """Where a face wears dark frames.

    Args:
        brightness: `(T, T) float32`, logarithm, of the face as usual, in texels.
        places: `(468, 2)`, of the mesh points in texels.

    Returns:
        `(T, T) uint8`, 255 around frames; None if there are no glasses.
    """
    side = brightness.shape[0]
    kernel = np.ones((_LINE_TEXELS, _LINE_TEXELS), np.uint8)
    depth = cv2.morphologyEx(brightness, cv2.MORPH_CLOSE, kernel) - brightness
    line = depth > _LINE
    right, left = (places[eye] for eye in (RIGHT_EYE, LEFT_EYE))
    first, last = round(float(right[8, 0])) + 1, round(float(left[8, 0]))
    top, bottom = (round(float(places[k, 1])) for k in _BRIDGE)
    bridge = line[max(top, 0) : bottom, first:last]
    if not bridge.size or bridge.any(axis=0).mean() < _BRIDGE_SHARE:
        return None
    for eye in (right, left):
        x0, x1 = sorted((round(float(eye[0, 0])), round(float(eye[8, 0]))))
        lid = round(float(eye[1:8, 1].max()))
        below = line[lid + _BELOW_LID[0] : lid + _BELOW_LID[1], x0:x1]
        if not below.size or below.any(axis=0).mean() < _RIM_SHARE:
            return None
    lowest = max(float(eye[:, 1].max()) for eye in (right, left)) + _BELOW_LID[1] + _AROUND
    highest = min(float(places[brow, 1].min()) for brow in (RIGHT_BROW, LEFT_BROW)) - _AROUND
    frames = line.astype(np.uint8) * np.uint8(255)
    frames[: max(round(highest), 0)] = 0
    frames[min(round(lowest), side) :] = 0
    features = np.zeros((side, side), np.uint8)
    for part in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW):
        cv2.fillConvexPoly(features, cv2.convexHull(np.round(places[part]).astype(np.int32)), 255)
    features = np.asarray(cv2.dilate(features, np.ones((3, 3), np.uint8)), np.uint8)
    frames[(features > 0) & (depth < _VERY_DARK)] = 0
    return np.asarray(cv2.dilate(frames, np.ones((3, 3), np.uint8)), np.uint8)


def frame_pixels(picture: Image, zone: Image, head_px: float) -> npt.NDArray[np.uint8]:
    """The frames' own pixels in `picture` `(H, W, 3) uint8`, near the `zone` `(H, W) uint8`: `(H, W) uint8`."""
    out = np.zeros(zone.shape, np.uint8)
    x, y, width, height = cv2.boundingRect((zone > 8).astype(np.uint8))
    if width < 3 or height < 3:
        return out
    reach = max(round(head_px * _WIDEST), 3) | 1
    low = np.maximum([x - reach, y - reach], 0)
    high = np.minimum([x + width + reach, y + height + reach], zone.shape[::-1])
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    grey = cv2.GaussianBlur(cv2.cvtColor(picture[part], cv2.COLOR_BGR2GRAY), (3, 3), 0)
    around = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    ratio = (grey.astype(np.float32) + 4) / (around.astype(np.float32) + 4)
    amount = np.clip((_SKIN - ratio) * (255 / (_SKIN - _FRAME)), 0, 255).astype(np.uint8)
    out[part] = cv2.multiply(amount, np.ascontiguousarray(zone[part]), scale=1 / 255)
    return out
