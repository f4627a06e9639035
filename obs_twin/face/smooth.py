"""Steady landmarks without lag: each frame is smoothed with the frames before and after it.

A bilateral filter in time. Neighbouring frames are averaged while the face is at rest, so that the detector's jitter
goes; where a point really moves (a blink, a word), the neighbours differ, count less, and the movement stays as quick
as it was. So that a moving head is not held back, its own steady motion (a weighted straight line in time, for uneven
times) is taken out before averaging. The head's rigid motion and the expression are filtered separately, since they
move at different speeds (Tomasi and Manduchi 1998, "Bilateral Filtering", in time instead of space).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from obs_twin.face.appearance import Appearance, mean_appearance
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.occlusion import Occlusion, steadied
from obs_twin.face.topology import LEFT_EYE, RIGHT_EYE

MAX_GAP_NS = 500_000_000

_REACH_NS = 90_000_000  # standard deviation of the filter in time
_LIGHT_REACH_NS = 200_000_000
# Movement of the head that is taken for jitter, in units of its size: of its place, and of its axes' ends, which the
# network's guess of the depth moves most.
_STILL_PLACE, _STILL_AXES = 0.012, 0.05
_STILL_LOCAL = 0.010  # the same of a point in the head's own axes
_STILL_LIDS = 0.010  # the same of the gap between an eye's lids: a blink takes two or three frames
_CUT = 0.5  # a jump of half a head between neighbours is another face


def smooth(window: Sequence[FaceObservation | None], times_ns: Sequence[int], index: int) -> FaceObservation | None:
    """The observation of frame `index`, steadied, or bridged from both sides if the face was lost for a moment.

    Args:
        window: the frames around `index`, oldest first, as many before and after as there are; 0.2 s on each side
            steady a face, 0.5 s after it bridge the longest gap. With none after it the filter looks back only.
        times_ns: their capture times.
        index: the frame asked for.

    Returns:
        None if the frame has no face and lies in no gap of at most `MAX_GAP_NS` between two frames that have one.
    """
    centre = window[index]
    if centre is None:
        centre = _bridged(window, times_ns, index)
        if centre is None:
            return None
    near = _same_face(window, index, centre)
    if len(near) < 2:
        return centre
    here = next(k for k, (i, _) in enumerate(near) if i == index)
    seconds = np.array([(times_ns[i] - times_ns[index]) / 1e9 for i, _ in near])
    closeness = np.exp(-0.5 * (seconds / (_REACH_NS / 1e9)) ** 2)

    rigid = np.stack([_rigid(o) for _, o in near])
    now = _rigid(centre)
    offset = rigid - now
    speed = _slope(offset, seconds, closeness)
    astray = offset - seconds[:, None] * speed
    place, axes = np.square(astray[:, :3]).sum(axis=1), np.square(astray[:, 3:]).sum(axis=1)
    away = (place / _STILL_PLACE**2 + axes / _STILL_AXES**2) / centre.head.scale**2
    weights = closeness * np.exp(-0.5 * away)
    steady = now + weights @ astray / weights.sum()

    local = np.stack([o.local for _, o in near])
    apart = np.square(local - centre.local).sum(axis=2) * np.float32(-0.5 / _STILL_LOCAL**2)
    for eye in (RIGHT_EYE, LEFT_EYE):
        # The points of an eye's lids move together, those near its corners too little to be told from jitter.
        gap = (local[:, eye[3:6], 1] - local[:, eye[13:10:-1], 1]).mean(axis=1)
        apart[:, eye] -= (np.square(gap - gap[here]) * np.float32(0.5 / _STILL_LIDS**2))[:, None]
    shares = closeness[:, None].astype(np.float32) * np.exp(apart)
    shares /= shares.sum(axis=0)
    expression = np.einsum("tn,tnc->nc", shares, local)

    slow = np.exp(-0.5 * (seconds / (_LIGHT_REACH_NS / 1e9)) ** 2).astype(np.float32)
    appearance = mean_appearance([o.appearance for _, o in near], slow / slow.sum())
    in_front = _in_front(window, index, centre)
    return _assembled(centre, steady, expression, appearance, in_front)


def _rigid(observation: FaceObservation) -> npt.NDArray[np.float64]:
    """Origin and scaled axes of the head as one vector `(12,)`, all in pixels."""
    head = observation.head
    return np.concatenate([head.origin, (head.rotation * head.scale).ravel()]).astype(np.float64)


def _assembled(
    like: FaceObservation,
    rigid: npt.NDArray[np.float64],
    local: FloatArray,
    appearance: Appearance,
    in_front: Occlusion | None,
) -> FaceObservation:
    u, stretch, vt = np.linalg.svd(rigid[3:].reshape(3, 3))
    rotation = (u @ vt).astype(np.float32)
    landmarks = (rigid[:3] + stretch.mean() * (local @ rotation.T)).astype(np.float32)
    return FaceObservation.measured(
        landmarks, like.confidence, like.box, appearance, like.neutral, like.hands, in_front, like.scene
    )


def _in_front(window: Sequence[FaceObservation | None], index: int, centre: FaceObservation) -> Occlusion | None:
    """What is in front of the face in this frame, steadied by the frames next to it."""
    before, after = (window[i] if 0 <= i < len(window) else None for i in (index - 1, index + 1))
    if before is None or after is None or not before.scene == centre.scene == after.scene:
        return centre.occlusion
    return steadied(before.occlusion, centre.occlusion, after.occlusion)


def _slope(
    values: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Each column's rate of change per second, by weighted least squares."""
    share = weights / weights.sum()
    centred = seconds - share @ seconds
    spread = share @ centred**2
    if spread < 1e-9:
        return np.zeros(values.shape[1])
    rate: npt.NDArray[np.float64] = (share * centred) @ values / spread
    return rate


def _same_face(
    window: Sequence[FaceObservation | None], index: int, centre: FaceObservation
) -> list[tuple[int, FaceObservation]]:
    """The frames around `index` that show the same face without a jump, `index` among them, oldest first."""
    near = [(index, centre)]
    for step in (-1, 1):
        last = centre
        i = index + step
        while 0 <= i < len(window):
            other = window[i]
            if other is None:
                i += step
                continue
            jump = float(np.linalg.norm(other.head.origin - last.head.origin))
            if other.scene != centre.scene:
                break
            if jump > _CUT * last.head.scale or abs(other.head.scale / last.head.scale - 1) > _CUT:
                break
            near.append((i, other))
            last = other
            i += step
    return sorted(near, key=lambda pair: pair[0])


def _bridged(window: Sequence[FaceObservation | None], times_ns: Sequence[int], index: int) -> FaceObservation | None:
    """The face in a short gap, halfway between the frames that saw it on either side."""
    before = next((i for i in range(index - 1, -1, -1) if window[i] is not None), None)
    after = next((i for i in range(index + 1, len(window)) if window[i] is not None), None)
    if before is None or after is None or times_ns[after] - times_ns[before] > MAX_GAP_NS:
        return None
    a, b = window[before], window[after]
    assert a is not None
    assert b is not None
    if a.scene != b.scene or float(np.linalg.norm(a.head.origin - b.head.origin)) > _CUT * a.head.scale:
        return None
    share = (times_ns[index] - times_ns[before]) / max(times_ns[after] - times_ns[before], 1)
    rigid = _rigid(a) * (1 - share) + _rigid(b) * share
    mix = np.float32(share)
    local = a.local * (1 - mix) + b.local * mix
    like = a if share < 0.5 else b
    appearance = mean_appearance([a.appearance, b.appearance], np.array([1 - mix, mix], np.float32))
    return _assembled(like, rigid, local, appearance, like.occlusion)
