"""Things to hold before a face, painted: a cup, and an open hand. Each returns its exact mask."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Prop = Literal["cup", "hand"]

_CUP_BGR = np.array([120.0, 70.0, 40.0])
# Joints of each finger in units of the head's size, from the palm's middle, and its thickness.
_FINGERS = (
    (((-0.17, -0.10), (-0.22, -0.33), (-0.235, -0.50)), 0.085),
    (((-0.06, -0.14), (-0.07, -0.40), (-0.075, -0.60)), 0.090),
    (((0.05, -0.13), (0.07, -0.38), (0.08, -0.56)), 0.087),
    (((0.15, -0.08), (0.20, -0.27), (0.225, -0.42)), 0.075),
    (((-0.14, 0.12), (-0.30, -0.02), (-0.40, -0.14)), 0.100),
)


def paint_cup(picture: Image, centre: tuple[float, float], scale: float, _skin: F32) -> Image:
    """A dark blue mug, 0.42 of the head's size wide, its rim at `centre`; in place. Returns the mask (H, W) uint8."""

    def shape(mask: Image, at: Callable[[float, float], tuple[int, int]], size: Callable[[float], int]) -> None:
        body = np.array([at(-0.21, 0.0), at(0.21, 0.0), at(0.18, 0.5), at(-0.18, 0.5)], np.int32)
        cv2.fillConvexPoly(mask, body, 255, cv2.LINE_AA)
        cv2.ellipse(mask, at(0.0, 0.0), (size(0.21), size(0.06)), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(mask, at(0.0, 0.5), (size(0.18), size(0.05)), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(mask, at(0.23, 0.24), (size(0.12), size(0.14)), 0, 0, 360, 255, max(1, size(0.05)), cv2.LINE_AA)

    return _paint(picture, centre, scale, shape, _CUP_BGR, roundness=0.2)


def paint_hand(picture: Image, centre: tuple[float, float], scale: float, skin: F32) -> Image:
    """An open hand with its forearm in the given skin colour (3,) BGR, the palm's middle at `centre`; in place."""

    def shape(mask: Image, at: Callable[[float, float], tuple[int, int]], size: Callable[[float], int]) -> None:
        for joints, width in _FINGERS:
            for a, b in pairwise(joints):
                cv2.line(mask, at(*a), at(*b), 255, max(1, size(width)), cv2.LINE_AA)
        cv2.ellipse(mask, at(0.0, 0.06), (size(0.21), size(0.25)), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.line(mask, at(0.0, 0.2), at(0.10, 1.6), 255, max(1, size(0.24)), cv2.LINE_AA)

    return _paint(picture, centre, scale, shape, skin.astype(np.float64), roundness=0.06)


def _paint(
    picture: Image,
    centre: tuple[float, float],
    scale: float,
    shape: Callable[..., None],
    colour: npt.NDArray[np.float64],
    roundness: float,
) -> Image:
    """Fill a shape with a colour, shaded towards its edges as a round thing lit from the front, with a little noise."""
    mask = np.zeros(picture.shape[:2], np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(centre[0] + x * scale), round(centre[1] + y * scale)

    shape(mask, at, lambda length: round(length * scale))
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3) / max(1.0, roundness * scale)
    light = 0.62 + 0.45 * np.sqrt(np.clip(depth * (2 - np.minimum(depth, 1.0)), 0.0, 1.0))
    noise = np.random.default_rng(3).normal(0.0, 1.5, mask.shape)
    paint = np.clip(light[..., None] * colour + noise[..., None], 0, 255)
    share = (cv2.GaussianBlur(mask, (0, 0), 0.8) / 255.0)[..., None]
    picture[:] = np.round(picture * (1 - share) + paint * share)
    return np.asarray((share[..., 0] * 255).round(), np.uint8)
