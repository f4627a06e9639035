"""What perception says about one face in one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
    width = float(np.linalg.norm(contour[8] - contour[0]))
    heights = np.linalg.norm(contour[[15, 14, 13, 12, 11, 10, 9]] - contour[1:8], axis=1)
    return float(heights[1:6].mean()) / max(width, 1e-6)


def head_frame(landmarks: FloatArray) -> HeadFrame:
    """The head's axes from its landmarks `(468 or 478, 3)`."""
    points = landmarks.astype(np.float64)
    across = points[list(_LEFT_SIDE)].mean(0) - points[list(_RIGHT_SIDE)].mean(0)
    down = points[_BOTTOM] - points[_TOP]
    x_axis = across / max(float(np.linalg.norm(across)), 1e-9)
    y_axis = down - x_axis * (down @ x_axis)
    y_axis /= max(float(np.linalg.norm(y_axis)), 1e-9)
    rotation = np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1)
    origin = points[[33, 133, 362, 263]].mean(0)
    width = float(np.linalg.norm(points[454] - points[234]))
    height = float(np.linalg.norm(points[_TOP] - points[168]) + np.linalg.norm(points[168] - points[4])) * 1.2
    return HeadFrame(rotation.astype(np.float32), origin.astype(np.float32), max((width + height) / 2.0, 1e-6))


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
