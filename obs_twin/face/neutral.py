"""The actor's own resting face, learnt while they are on camera."""

from __future__ import annotations

import math

import numpy as np

from obs_twin.face.observation import FaceObservation, FloatArray, opening_ratio
from obs_twin.face.topology import LEFT_EYE, RIGHT_EYE

_MAX_WEIGHT = 150.0  # in frontal frames; older ones are forgotten, so that a bad start heals within seconds
_FRONTAL_DEG = 15.0
_CLOSING = 0.8  # of their resting opening: eyes that are open less than this are not at rest
_CLOSED_STEP = 0.2  # how much less those count
_TALKING = 0.03  # lips this far apart, in units of the head's size, are not at rest


class NeutralTracker:
    """A running mean of the face's shape in the head's own axes: of frontal frames with closed lips and open eyes."""

    def __init__(self) -> None:
        self._mean: FloatArray | None = None
        self._weight = 0.0

    def reset(self) -> None:
        self._mean = None
        self._weight = 0.0

    @property
    def shape(self) -> FloatArray | None:
        """The resting face `(478, 3)`, the resting gaze with it, as known so far; not to be written to."""
        return self._mean

    def update(self, seen: FaceObservation) -> None:
        """Take one more frame into account."""
        turn = seen.yaw_deg**2 + seen.pitch_deg**2
        lips_apart = float(seen.local[14, 1] - seen.local[13, 1])
        weight = math.exp(-turn / (2 * _FRONTAL_DEG**2) - max(lips_apart, 0) / _TALKING) + 1e-3
        shape = seen.local
        if self._mean is None:
            self._mean = shape.copy()
            self._weight = weight
        else:
            self._weight = min(self._weight + weight, _MAX_WEIGHT)
            # A new array each time: observations keep the older ones.
            step = np.full((len(shape), 1), weight / self._weight, np.float32)
            for eye, opening in zip((RIGHT_EYE, LEFT_EYE), seen.eye_opening, strict=True):
                if opening < _CLOSING * opening_ratio(self._mean[eye, :2]):
                    step[eye] *= np.float32(_CLOSED_STEP)
            self._mean = self._mean + (shape - self._mean) * step
