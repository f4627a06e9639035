"""The target's proportions on the actor's moving mesh: whose face it is, and not what it does.

The twin's points are the actor's, moved by what the two faces differ in at rest. So pose and expression stay the
actor's. To tell a difference in shape from one in pose, the two resting faces are laid over each other by what no
expression moves: the corners of the eyes and the nose.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from obs_twin.face.light import smoothing_kernel
from obs_twin.face.observation import FaceObservation, FloatArray, opening_ratio
from obs_twin.face.topology import LEFT_EYE, LIPS_INNER, MESH_POINTS, OVAL, RIGHT_EYE

_SHAPE_RADIUS = 0.01  # of the smoothing of the differences in shape, in units of the head's size: against jitter
# Turned by the first the target's depth, or shape, counts in full; by the second not at all, or by `_TURNED_SHAPE`.
_FLAT_DEG, _OWN_SHAPE_DEG, _TURNED_SHAPE = (8.0, 25.0), (20.0, 42.0), 0.15
_CHIN_SHARE = 0.35
# Corners of the eyes; root, tip and base of the nose.
_FIXED = np.array([33, 133, 362, 263, 168, 4, 2], np.int32)
_MOST_SCALE = 1.25  # of one face over the other; more is a network's mistake
# From the outline, in units of the head's size: features of the face lie beyond the second.
_FEATURES_FROM = (0.05, 0.25)
_UPPER_LIP, _LOWER_LIP = LIPS_INNER[1:10], LIPS_INNER[19:10:-1]
# The mouth opens by this share of what is measured on the actor: else the actor's own lips are seen behind the twin's.
_MOUTH_SHARE = 0.9
# How far an eye is open as the networks measure it, and as it is, in parts of its resting opening: found by drawing
# lids of known height on several faces. A shut eye is seen as a third open, a half-shut one as hardly closing.
_MEASURED_OPEN = (0.42, 0.49, 0.60, 0.69, 0.77, 0.84, 0.90, 0.95, 1.0, 1.12)
_TRULY_OPEN = (0.0, 0.1, 0.2, 0.3, 0.42, 0.58, 0.74, 0.87, 1.0, 1.3)
# Eyes open and shut together: what they differ in by less than this, in parts of their rest, is mostly jitter.
_YOKED = 0.2
_WIDE_DEG = (8.0, 20.0)  # turned further than the first, eyes open wider than at rest less and less
_AT_REST = 0.1  # short of the resting opening by less, in parts of it, an eye may be of another form than at rest
FULLY_SHUT, FULLY_OPEN = 0.09, 0.16
"""`FaceObservation.eye_opening`: below the first an eye is shut, above the second surely open."""


class TargetShape:
    """A target's resting face, to be given to actors.

    Args:
        neutral: the target's resting mesh `(468, 3)` in the head's own axes and units.
    """

    def __init__(self, neutral: FloatArray) -> None:
        self._neutral = neutral
        self._inside = np.interp(distance_to_outline(neutral), _FEATURES_FROM, [0, 1]).astype(np.float32)[:, None]
        kernel = smoothing_kernel(neutral, _SHAPE_RADIUS)
        self._kernel = kernel / kernel.sum(1, keepdims=True)
        self._jaw = _jaw_share(neutral, _CHIN_SHARE)
        self._lip = _jaw_share(neutral, 0.0)

    def on(self, observation: FaceObservation, amount: float) -> FloatArray:
        """The actor's mesh points `(468, 3)` with the target's proportions, in the actor's pose and expression."""
        mesh = observation.landmarks[:MESH_POINTS]
        if amount <= 0 or observation.neutral is None:
            return mesh
        rest = observation.neutral[:MESH_POINTS]
        difference = laid_over(self._neutral, rest, _FIXED) - rest
        # Not the photo's open mouth: only what the two faces differ in at rest.
        gap = difference[14, 1] - difference[13, 1]
        difference[:, 1] -= gap * self._jaw
        # Lips that meet on the actor meet on the twin, all along.
        difference[_LOWER_LIP, 1] = difference[_UPPER_LIP, 1]
        change = self._kernel @ difference
        # A turned face ends where nose, lips and chin stick out, and there nothing can be pulled into place: whatever
        # of the actor's lies beyond the twin's would be seen.
        turn = abs(observation.yaw_deg)
        change[:, 2] *= np.float32(np.interp(turn, _FLAT_DEG, [1, 0]))
        amount *= float(np.interp(turn, _OWN_SHAPE_DEG, [1, _TURNED_SHAPE]))
        # Eyes, nose and mouth are drawn wherever they belong; only the outline has to be met by the surroundings.
        change *= np.float32(amount) * (1 + self._inside * np.float32(1 - amount))
        gap = observation.local[14, 1] - observation.local[13, 1]
        parted = gap - max(observation.neutral[14, 1] - observation.neutral[13, 1], 0)
        change[:, 1] -= max(parted, 0) * np.float32(1 - _MOUTH_SHARE) * self._lip
        shaped: FloatArray = mesh + (change * np.float32(observation.head.scale)) @ observation.head.rotation.T
        return shaped


def laid_over(face: FloatArray, other: FloatArray, rows: npt.NDArray[np.int32]) -> FloatArray:
    """`face` `(N, 3)` turned, shifted and scaled so that its `rows` come closest to those of `other` (Umeyama 1991)."""
    a, b = face[rows].astype(np.float64), other[rows].astype(np.float64)
    middle_a, middle_b = a.mean(0), b.mean(0)
    a -= middle_a
    b -= middle_b
    u, stretch, vt = np.linalg.svd(a.T @ b)
    if np.linalg.det(u @ vt) < 0:
        u[:, 2] *= -1
        stretch[2] *= -1
    scale = float(np.clip(stretch.sum() / max(float((a * a).sum()), 1e-12), 1 / _MOST_SCALE, _MOST_SCALE))
    linear = scale * (u @ vt)
    laid: FloatArray = (face @ linear.astype(np.float32) + (middle_b - middle_a @ linear)).astype(np.float32)
    return laid


def lids_lowered(shaped: FloatArray, observation: FaceObservation) -> FloatArray:
    """Mesh points `(468, 3)` with the lids as low as they are seen, not as they are measured.

    An eye closes as far of its own resting opening as the actor's does of the actor's: lids meet when the actor's meet,
    however wide either eye is. What the networks make of half-shut lids is undone, so that they stand where they do.
    """
    if observation.neutral is None:
        return shaped
    lowered = shaped.copy()
    head, neutral = observation.head, observation.neutral
    eyes = (RIGHT_EYE, LEFT_EYE)
    resting = [max(opening_ratio(neutral[eye, :2]), FULLY_OPEN) for eye in eyes]
    right, left = (ratio / rest for ratio, rest in zip(observation.eye_opening, resting, strict=True))
    apart = (right - left) / 2 * math.exp(-0.5 * ((right - left) / _YOKED) ** 2)
    # A turned eye is narrower in the picture, and seems to be wide open.
    widest = float(np.interp(abs(observation.yaw_deg), _WIDE_DEG, [_MEASURED_OPEN[-1], 1]))
    for opening, eye in zip((right - apart, left + apart), eyes, strict=True):
        if opening >= widest == 1:
            continue
        opening = min(opening, widest)
        lower, upper = eye[1:8], eye[15:8:-1]
        # What the actor's lids lack to their rest is given back first, and then the twin's own opening is shut.
        lacking = (neutral[upper] - neutral[lower]) @ head.rotation.T * np.float32(head.scale)
        lacking -= observation.landmarks[upper] - observation.landmarks[lower]
        given_back = min(abs(1.0 - opening) / _AT_REST, 1.0)
        share = float(np.interp(opening, _MEASURED_OPEN, _TRULY_OPEN))
        gap = shaped[upper] - shaped[lower] + lacking * np.float32(given_back)
        lowered[upper] = shaped[lower] + gap * np.float32(share)
    return lowered


def distance_to_outline(points: FloatArray) -> FloatArray:
    """How far inside the outline each mesh point lies, in units of the head's size; on the forehead it counts half."""
    outline = points[OVAL, :2]
    following = np.roll(outline, -1, axis=0)
    line = following - outline
    gap = points[:, None, :2] - outline[None]
    along = np.clip((gap * line).sum(2) / (line * line).sum(1), 0, 1)
    distance = np.linalg.norm(gap - along[..., None] * line, axis=2).min(1)
    distance[OVAL] = 0
    brows = points[[66, 296], 1].mean()
    forehead = np.clip((brows - points[:, 1]) / (brows - points[10, 1]), 0, 1)
    shortened: FloatArray = (distance * (1 - 0.5 * forehead)).astype(np.float32)
    return shortened


def _jaw_share(points: FloatArray, chin_share: float) -> FloatArray:
    """How much each point sinks when the lips part by 1: none above the mouth's line, the chin by `chin_share`."""
    line, lip, chin = points[[78, 308], 1].mean(), points[17, 1], points[152, 1]
    share = np.interp(points[:, 1], [line, lip, chin], [0.0, 1.0, chin_share])
    share[LIPS_INNER[11:]] = 1
    return share.astype(np.float32)
