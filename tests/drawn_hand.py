"""A painted open hand, fingers up: enough of a hand for the networks."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

# Joints of each finger from the knuckle to its tip, and its thickness; fractions of the picture's side.
_FINGERS = (
    (((0.40, 0.5), (0.375, 0.36), (0.365, 0.26)), 0.052),
    (((0.47, 0.48), (0.465, 0.32), (0.462, 0.20)), 0.055),
    (((0.54, 0.48), (0.55, 0.33), (0.555, 0.22)), 0.053),
    (((0.605, 0.52), (0.63, 0.40), (0.645, 0.31)), 0.045),
    (((0.42, 0.68), (0.33, 0.57), (0.27, 0.49)), 0.062),
)


def draw_hand(picture: Image, left: int, top: int, side_px: int, skin: tuple[int, int, int] = (140, 170, 215)) -> Image:
    """Paint a hand, its arm below it, into the square at `(left, top)` of `picture` `(H, W, 3) uint8`, in place.

    Returns:
        The exact mask `(H, W) uint8`, 255 is hand or arm.
    """
    k = 2
    canvas = np.zeros((side_px * k, side_px * k, 3), np.uint8)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    unit = side_px * k
    dark, middle, light = (tuple(min(c * f, 255.0) for c in skin) for f in (0.72, 0.9, 1.12))

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * unit), round(y * unit)

    def line(a: tuple[float, float], b: tuple[float, float], width: float, colour: tuple[float, ...]) -> None:
        cv2.line(canvas, at(*a), at(*b), colour, max(round(width * unit), 1), cv2.LINE_AA)
        cv2.line(mask, at(*a), at(*b), 255, max(round(width * unit), 1), cv2.LINE_AA)

    def oval(x: float, y: float, rx: float, ry: float, angle: int, colour: tuple[float, ...]) -> None:
        axes = (round(rx * unit), round(ry * unit))
        cv2.ellipse(canvas, at(x, y), axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(mask, at(x, y), axes, angle, 0, 360, 255, -1, cv2.LINE_AA)

    line((0.5, 0.72), (0.5, 1.0), 0.155, dark)
    line((0.5, 0.72), (0.5, 1.0), 0.14, middle)
    for joints, width in _FINGERS:
        for colour, share in ((dark, 1.15), (skin, 1.0)):
            for a, b in pairwise(joints):
                line(a, b, width * share, colour)
        oval(joints[-1][0], joints[-1][1] - 0.008, width * 0.32, width * 0.4, 0, light)
    oval(0.5, 0.60, 0.125, 0.15, 0, dark)
    oval(0.5, 0.60, 0.118, 0.143, 0, skin)
    for y in (0.60, 0.65):
        axes = (round(0.09 * unit), round(0.05 * unit))
        cv2.ellipse(canvas, at(0.5, y), axes, 0, 200, 330, dark, max(round(0.006 * unit), 1), cv2.LINE_AA)
    oval(0.43, 0.64, 0.05, 0.08, 20, middle)
    full = np.zeros(picture.shape[:2], np.uint8)
    small_mask = cv2.resize(mask, (side_px, side_px), interpolation=cv2.INTER_AREA)
    small = cv2.resize(canvas, (side_px, side_px), interpolation=cv2.INTER_AREA)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side_px, picture.shape[1]), min(top + side_px, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return full
    inner = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    share = small_mask[inner][..., None] / 255.0
    part = picture[y0:y1, x0:x1]
    part[:] = np.round(part * (1 - share) + small[inner] * (share > 0)).clip(0, 255)
    full[y0:y1, x0:x1] = small_mask[inner]
    return full
