"""What perception says about one face in one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from obs_twin.face.appearance import Appearance
from obs_twin.face.occlusion import Occlusion
from obs_twin.face.topology import LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS

FloatArray = npt.NDArray[np.float32]
Rect = tuple[int, int, int, int]

# Pairs of landmarks that mirror each other (right, left) and hardly move with the expression: the head's x axis.
_RIGHT_SIDE = (33, 133, 127, 234, 162, 93)
_LEFT_SIDE = (263, 362, 356, 454, 389, 323)
# Forehead and chin: the head's y axis.
_TOP, _BOTTOM = 10, 152
# Forehead and chin are not equally deep: this turn brings a face that looks straight at the camera to pitch 0.
_LEVEL_PITCH_DEG = 6.5


class HeadFrame(NamedTuple):
    """The head's own axes: `landmarks == origin + scale * local @ rotation.T`.

    Attributes:
        rotation: `(3, 3) float32`, the head's x (to the picture's right), y (down) and z (away from the camera).
        origin: `(3,) float32`, between the eyes' corners.
        scale: the head's size in pixels, about its width at the temples.
    """

    rotation: FloatArray
    origin: FloatArray
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class FaceObservation:
    """One face in one frame; make one with `measured`. Its arrays are shared and must not be written to.

    Attributes:
        landmarks: `(478, 3) float32`, x and y in pixels of the frame, z in the same scale (smaller is nearer to the
            camera): 468 mesh points, then five points of the right and five of the left iris.
        confidence: 0..1, the mesh network's own belief that it looks at a face.
        box: `(x0, y0, x1, y1)` integer pixels around the mesh, clipped to the frame, half open.
        appearance: light, eye colour, sharpness and noise of the face in this frame, for a face model to match.
        neutral: `(478, 3) float32` or None: the actor's resting face as known so far, like `local`.
        head: the head's axes.
        local: `(478, 3) float32`, the landmarks in the head's axes and units: the expression without the pose.
        hands: each `(21, 2) float32`, the joints of the hands in front of or beside the face, in pixels.
        yaw_deg, pitch_deg, roll_deg: the head's turn; positive turns the nose to the right of the picture, lifts
            the chin, tilts the head clockwise.
        occlusion: what else than hands is in front of the face, None if nothing is.
        scene: counts the cuts before this frame.
    """

    landmarks: FloatArray
    confidence: float
    box: Rect
    appearance: Appearance
    neutral: FloatArray | None
    head: HeadFrame
    local: FloatArray
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    hands: tuple[FloatArray, ...] = ()
    occlusion: Occlusion | None = None
    scene: int = 0

    @classmethod
    def measured(
        cls,
        landmarks: FloatArray,
        confidence: float,
        box: Rect,
        appearance: Appearance,
        neutral: FloatArray | None = None,
        hands: tuple[FloatArray, ...] = (),
        occlusion: Occlusion | None = None,
        scene: int = 0,
    ) -> FaceObservation:
        """An observation whose head, local points and angles follow from its landmarks."""
        head = head_frame(landmarks)
        yaw, pitch, roll = head_angles(head.rotation)
        local = to_local(landmarks, head)
        return cls(
            landmarks, confidence, box, appearance, neutral, head, local, yaw, pitch, roll, hands, occlusion, scene
        )

    @property
    def covered(self) -> float:
        """How much of the visible face is hidden by things in front of it, 0..1."""
        return 0.0 if self.occlusion is None else self.occlusion.share

    @property
    def irises(self) -> FloatArray:
        """`(2, 3) float32`: centre x, centre y and radius in pixels of the right and the left iris."""
        out = np.empty((2, 3), np.float32)
        for row, part in enumerate((RIGHT_IRIS, LEFT_IRIS)):
            points = self.landmarks[part, :2]
            out[row, :2] = points[0]
            out[row, 2] = np.linalg.norm(points[1:] - points[0], axis=1).mean()
        return out

    @property
    def eye_opening(self) -> tuple[float, float]:
        """Height over width of the right and the left eye's opening: about 0.3 open, below 0.12 shut."""
        right, left = (opening_ratio(self.landmarks[eye, :2]) for eye in (RIGHT_EYE, LEFT_EYE))
        return right, left


def opening_ratio(contour: FloatArray) -> float:
    """Height over width of an eye's 16-point contour, as ordered in `topology.RIGHT_EYE`."""
    return float(_opening_ratio(contour))


def head_frame(landmarks: FloatArray) -> HeadFrame:
    """The head's axes from its landmarks `(468 or 478, 3)`."""
    rotation, origin, scale = _head_frame(landmarks)
    return HeadFrame(rotation, origin, float(scale))


@njit(cache=True, nogil=True, fastmath=True)
def _opening_ratio(contour: FloatArray) -> float:
    """The mean height over the middle five of seven pairs of lid points."""
    height = 0.0
    for k in range(2, 7):
        x, y = contour[16 - k, 0] - contour[k, 0], contour[16 - k, 1] - contour[k, 1]
        height += math.sqrt(x * x + y * y)
    x, y = contour[8, 0] - contour[0, 0], contour[8, 1] - contour[0, 1]
    return height / 5 / max(math.sqrt(x * x + y * y), 1e-6)


@njit(cache=True, nogil=True, fastmath=True)
def _head_frame(landmarks: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """`HeadFrame`'s fields. A dozen points by hand: a call for each into NumPy costs more than all the arithmetic."""
    x_axis, y_axis, origin = np.zeros(3), np.zeros(3), np.empty(3, np.float32)
    wide = high = low = 0.0
    for c in range(3):
        for k in range(len(_RIGHT_SIDE)):
            x_axis[c] += np.float64(landmarks[_LEFT_SIDE[k], c]) - np.float64(landmarks[_RIGHT_SIDE[k], c])
        y_axis[c] = np.float64(landmarks[_BOTTOM, c]) - np.float64(landmarks[_TOP, c])
        origin[c] = (landmarks[33, c] + landmarks[133, c] + landmarks[362, c] + landmarks[263, c]) / 4
        wide += (np.float64(landmarks[454, c]) - np.float64(landmarks[234, c])) ** 2
        high += (np.float64(landmarks[_TOP, c]) - np.float64(landmarks[168, c])) ** 2
        low += (np.float64(landmarks[168, c]) - np.float64(landmarks[4, c])) ** 2
    x_axis /= max(math.sqrt((x_axis * x_axis).sum()), 1e-9)
    y_axis -= x_axis * (y_axis * x_axis).sum()
    y_axis /= max(math.sqrt((y_axis * y_axis).sum()), 1e-9)
    rotation = np.empty((3, 3), np.float32)
    for c in range(3):
        rotation[c, 0], rotation[c, 1] = x_axis[c], y_axis[c]
        rotation[c, 2] = x_axis[(c + 1) % 3] * y_axis[(c + 2) % 3] - x_axis[(c + 2) % 3] * y_axis[(c + 1) % 3]
    height = (math.sqrt(high) + math.sqrt(low)) * 1.2
    return rotation, origin, max((math.sqrt(wide) + height) / 2, 1e-6)


def to_local(landmarks: FloatArray, head: HeadFrame) -> FloatArray:
    """Landmarks `(N, 3)` in the head's axes and units."""
    return np.asarray((landmarks - head.origin) @ head.rotation / head.scale, np.float32)


def head_angles(rotation: FloatArray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of `head_frame`'s rotation (R = Rz(roll) Rx(pitch) Ry(yaw))."""
    forward = -rotation[:, 2].astype(np.float64)  # out of the face, towards the camera (z smaller is nearer)
    yaw = math.degrees(math.atan2(forward[0], -forward[2]))
    pitch = math.degrees(math.atan2(-forward[1], math.hypot(forward[0], forward[2]))) + _LEVEL_PITCH_DEG
    roll = math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))
    return yaw, pitch, roll
