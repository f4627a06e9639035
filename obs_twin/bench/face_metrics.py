"""Scores of a face twin: is it the target, does it do what the actor does, does it hold still, does it fit the picture.

All take pictures (H, W, 3) uint8 BGR and observations of `face.perceive`. Landmark scores compare what is seen in the
output (`perceive_all(outputs)`) with what is seen in the camera's frames by the same networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from obs_twin.face.identity import SAME_PERSON, FaceEmbedder, distance
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.topology import MESH_POINTS

Image = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Observations = Sequence[FaceObservation | None]

_LIP_UPPER, _LIP_LOWER = 13, 14  # the middle of the inner lips
_EYE_CORNERS = ((33, 133), (362, 263))
_SHUT_SHARE = 0.7  # of the usual opening, below which an eye is closing
_SLOW_S = 0.2  # what changes slower than this is movement, faster is jitter (or a blink)


def perceive_all(pictures: Sequence[Image], perceiver: FacePerceiver) -> list[FaceObservation | None]:
    """What perception says of each picture of a stream, from its beginning."""
    perceiver.reset()
    return [perceiver.perceive(picture) for picture in pictures]


@dataclass(frozen=True)
class Identity:
    """Distances of dlib's embedding, one per frame that was looked at."""

    twin_target: F64
    twin_actor: F64
    actor_target: F64
    twin_step: F64
    """From each looked-at frame to the next one looked at, on the output."""
    actor_step: F64

    @property
    def below_threshold(self) -> float:
        """Share of frames in which the twin passes for the target."""
        return float(np.mean(self.twin_target < SAME_PERSON))

    @property
    def nearer_to_target(self) -> float:
        """Share of frames in which the twin is nearer to the target than to the actor."""
        return float(np.mean(self.twin_target < self.twin_actor))


def identity(
    frames: Sequence[Image],
    outputs: Sequence[Image],
    actor: Observations,
    target: F32,
    embedder: FaceEmbedder,
    *,
    every: int = 5,
) -> Identity:
    """Look at every fifth frame and the one after it. `actor` are the landmarks by which both pictures are aligned.

    Args:
        target: (128,) embedding of the target's photo.
    """
    pairs = [i for i in range(0, len(frames) - 1, every) if actor[i] is not None and actor[i + 1] is not None]
    twin: dict[int, F32] = {}
    own: dict[int, F32] = {}
    for i in sorted({*pairs, *(first + 1 for first in pairs)}):
        seen = actor[i]
        assert seen is not None
        own[i] = embedder.embed(frames[i], seen.landmarks)
        twin[i] = embedder.embed(outputs[i], seen.landmarks)
    return Identity(
        np.array([distance(twin[i], target) for i in twin]),
        np.array([distance(twin[i], own[i]) for i in twin]),
        np.array([distance(own[i], target) for i in own]),
        np.array([distance(twin[i], twin[i + 1]) for i in pairs]),
        np.array([distance(own[i], own[i + 1]) for i in pairs]),
    )


def expression_error(actor: Observations, twin: Observations) -> F64:
    """(T,) mean distance of the 468 points, as a share of the distance between the pupils, shape taken out.

    Points are compared in the head's own axes; the median difference of each point over the clip is the difference
    in shape between the two people, and is taken out. Frames in which either has no face are left out.
    """
    a, b = _paired(actor, twin)
    if not len(a):
        return np.zeros(0)
    difference = b[:, :MESH_POINTS, :2] - a[:, :MESH_POINTS, :2]
    difference -= np.median(difference, axis=0)
    pupils = np.median(np.linalg.norm(a[:, 468, :2] - a[:, 473, :2], axis=1))
    error: F64 = np.linalg.norm(difference, axis=2).mean(axis=1) / pupils
    return error


def curves(seen: Observations) -> dict[str, F64]:
    """{"eyes": opening, "mouth": gap over head size, "gaze": 0..1 across the eye}, each (T,), NaN without a face.

    Gaze is NaN while the eyes are shut, too.
    """
    eyes, mouth, gaze = (np.full(len(seen), np.nan) for _ in range(3))
    for i, face in enumerate(seen):
        if face is None:
            continue
        eyes[i] = float(np.mean(face.eye_opening))
        mouth[i] = face.local[_LIP_LOWER, 1] - face.local[_LIP_UPPER, 1]
        corners = [(face.local[a, :2], face.local[b, :2]) for a, b in _EYE_CORNERS]
        irises = (face.local[468, :2], face.local[473, :2])
        gaze[i] = np.mean(
            [
                (iris - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-9)
                for (a, b), iris in zip(corners, irises, strict=True)
            ]
        )
    if not np.isnan(eyes).all():
        gaze[eyes < _SHUT_SHARE * np.nanmedian(eyes)] = np.nan
    return {"eyes": eyes, "mouth": mouth, "gaze": gaze}


LEAST_MOVEMENT = {"eyes": 0.08, "mouth": 0.02, "gaze": 0.08}
"""A curve of `curves` that moves less than this (from its 2nd to its 98th percentile) is the networks' noise."""


def correlation(a: F64, b: F64, least: float = 0.0) -> float:
    """Pearson correlation where both are known; NaN if `a` moves less than `least` (2nd to 98th percentile)."""
    both = ~(np.isnan(a) | np.isnan(b))
    x, y = a[both], b[both]
    if len(x) < 10 or x.std() < 1e-9 or y.std() < 1e-9 or np.ptp(np.percentile(x, [2, 98])) < least:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def depth(a: F64, b: F64, least: float = 0.0) -> float:
    """How far `b` moves (2nd to 98th percentile) over how far `a` does: 0.5 is a blink that closes halfway."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 10:
        return float("nan")
    first, second = (float(np.ptp(np.percentile(curve[both], [2, 98]))) for curve in (a, b))
    return second / first if first >= max(least, 1e-9) else float("nan")


def jitter(seen: Observations, rate_hz: float) -> float:
    """RMS of the landmarks' movement quicker than 0.2 s, as a share of the head's size; what is slower is taken out."""
    points = np.array([face.landmarks[:MESH_POINTS, :2] for face in seen if face is not None], np.float64)
    if len(points) < 5:
        return float("nan")
    scale = float(np.median([face.head.scale for face in seen if face is not None]))
    reach = max(1, round(_SLOW_S * rate_hz / 2))
    kernel = np.hanning(2 * reach + 3)[1:-1]
    kernel /= kernel.sum()
    slow = np.apply_along_axis(lambda track: np.convolve(track, kernel, "valid"), 0, points)
    return float(np.sqrt(np.mean((points[reach:-reach] - slow) ** 2))) / scale


def _paired(actor: Observations, twin: Observations) -> tuple[F64, F64]:
    pairs = [(a.local, b.local) for a, b in zip(actor, twin, strict=True) if a is not None and b is not None]
    if not pairs:
        return np.zeros((0, 478, 3)), np.zeros((0, 478, 3))
    a, b = zip(*pairs, strict=True)
    return np.array(a, np.float64), np.array(b, np.float64)
