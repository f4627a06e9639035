"""The actor's own resting face, learnt while they are on camera."""

from __future__ import annotations

import numpy as np

from obs_twin.face.observation import FloatArray, head_frame
from obs_twin.face.topology import MESH_POINTS

_FULL_WEIGHT_FRAMES = 150  # from here on old frames are forgotten, so that a wrong start heals within seconds


def to_head(landmarks: FloatArray) -> FloatArray:
    """Mesh points `(468, 3)` in the head's own axes and units (`observation.head_frame`)."""
    rotation, origin, scale = head_frame(landmarks)
    local: FloatArray = (landmarks[:MESH_POINTS] - origin) @ rotation / np.float32(scale)
    return local


class NeutralTracker:
    """A running mean of the face's shape, in which frontal frames count most."""

    def __init__(self) -> None:
        self._mean: FloatArray | None = None
        self._weight = 0.0

    def reset(self) -> None:
        self._mean = None
        self._weight = 0.0

    def update(self, landmarks: FloatArray, yaw_deg: float, pitch_deg: float) -> FloatArray:
        """Take one frame's landmarks into account; returns the resting face `(468, 3)`, not to be written to."""
        weight = float(np.exp(-(yaw_deg**2 + pitch_deg**2) / (2 * 15.0**2))) + 1e-3
        shape = to_head(landmarks)
        if self._mean is None:
            self._mean = shape
            self._weight = weight
        else:
            self._weight = min(self._weight + weight, _FULL_WEIGHT_FRAMES)
            # A new array each time: observations keep the older ones.
            self._mean = self._mean + (shape - self._mean) * np.float32(weight / self._weight)
        return self._mean
