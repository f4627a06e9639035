"""A rotated square of a frame, as the networks are given it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Square:
    """The way between the frame and a network's input.

    Attributes:
        centre: in the frame's pixels.
        side_px: in the frame.
        angle: radians by which the square is turned clockwise in the frame.
        input_px: side of the network's input.
    """

    centre: tuple[float, float]
    side_px: float
    angle: float
    input_px: int

    def matrix(self) -> npt.NDArray[np.float64]:
        """`(2, 3)`: frame to input."""
        scale = self.input_px / self.side_px
        c, s = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        rotation = np.array([[c, s], [-s, c]])
        shift = self.input_px / 2 - rotation @ np.array(self.centre)
        return np.concatenate([rotation, shift[:, None]], axis=1)

    def crop(self, bgr: Image) -> Image:
        size = (self.input_px, self.input_px)
        crop = cv2.warpAffine(bgr, self.matrix(), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(crop, np.uint8)

    def to_frame(self, points: FloatArray) -> FloatArray:
        """Points `(N, 2 or 3)` of the input, back in the frame; z is scaled alike."""
        scale = self.side_px / self.input_px
        c, s = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        moved = points * np.float32(scale)
        local = points[:, :2] - np.float32(self.input_px / 2)
        moved[:, :2] = local @ np.array([[c, s], [-s, c]], np.float32) + np.array(self.centre, np.float32)
        return moved

    def from_frame(self, points: FloatArray) -> FloatArray:
        """Points `(N, 2)` of the frame in the input."""
        matrix = self.matrix().astype(np.float32)
        return points @ matrix[:, :2].T + matrix[:, 2]


def square_around(points: FloatArray, angle: float, margin: float, input_px: int, lift: float = 0.0) -> Square:
    """The square around `points` `(N, 2)`, turned by `angle`, `margin` times as large as they need.

    Args:
        lift: shifts it upwards along its own y axis, in parts of the points' extent.
    """
    c, s = math.cos(angle), math.sin(angle)
    rotation = np.array([[c, s], [-s, c]], np.float32)
    upright = points @ rotation.T
    low, high = upright.min(0), upright.max(0)
    middle = (low + high) / 2
    middle[1] -= lift * float((high - low).max())
    centre = middle @ rotation
    side = max(float((high - low).max()) * margin, 8.0)
    return Square((float(centre[0]), float(centre[1])), side, angle, input_px)
