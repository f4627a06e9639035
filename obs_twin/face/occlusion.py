"""Things in front of the face: found because they do not look like this actor's own face.

```
 mesh network's square -> unwrapped by the mesh's triangles to texels that stay on the same spot of skin
      -> logarithm of the colours, less a smooth field of light fitted to the texels that fit
      -> compared with the running mean and spread of each texel -> outliers that are not skin
      -> steadied over frames and texels -> drawn back into the square: a small mask, 255 is in front
```

An outlier test against a background model (Stauffer and Grimson 1999; Wren et al. 1997, "Pfinder"), on the moving face
instead of a still scene. Light moves the brightness of all texels smoothly, and that of some by a lot (cast shadows),
but their colour hardly; so colour counts more than brightness. What looks like the skin around it is never
taken for a thing: hands have a network of their own (`hands`). Whatever the face showed in its first second (glasses, a
beard) belongs to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from obs_twin.face.glasses import frame_texels
from obs_twin.face.rasterise import draw, pack
from obs_twin.face.square import FloatArray, Image, Square
from obs_twin.face.topology import MESH_POINTS, TRIANGLES

if TYPE_CHECKING:
    from obs_twin.face.observation import FaceObservation

TEXELS = 80
MASK_PX = 96
MOST_COVERED = 0.6
"""A face that is covered more than this is no longer drawn; its mask is empty."""
_AXIS_DEPTH = 0.55  # of the cylinder onto which the face is unwrapped, behind the eyes, in sizes of the head
_EDGE_TEXELS = 2.0
_TYPICAL = round(0.8 * len(TRIANGLES))
_MAX_SHRINK = 0.35  # triangles seen at a smaller share of the typical scale are too slanted to be judged
_DARKEST = 6.0  # added before the logarithm, so that noise in black does not count
_CLIPPED = 250
_LEARN_FRAMES = 24.0
_SLOWEST_STEP = 0.02
_HEAL_STEP = 0.12
_START_SPREAD = np.array([0.12, 0.05], np.float32)
# Differences in brightness and in colour (log units) that make an outlier by themselves, and the share of the texel's
# own spread that is added to them.
_BRIGHTNESS, _COLOUR, _SPREADS = 0.62, 0.17, 2.0
# What is within these of the skin around it is skin.
_SKIN_BRIGHTNESS, _SKIN_COLOUR = 0.38, 0.11
_SKIN_BLUR = 25
# What is within these of a texel's own mean, and twice its spread, is surely the face.
_SAME_BRIGHTNESS, _SAME_COLOUR = 0.12, 0.05
_FIT_STEP = 3  # every third texel in both directions is enough to fit the light
_FIT_ROUNDS = 3
_FIT_SCALE = 0.25
_FIT_RIDGE = 0.02
_FIT_LEAST = 40
_RELOCK = 1.2
_RISE, _FALL = 0.9, 0.7
_SEED, _REST = 0.6, 0.3
_MIN_TEXELS = 40
_FILL_PX = (7, 7, 9, 9)  # steps by which the mask is carried on beyond the mesh
_TRUST_FRAMES = 6
_PATIENCE_FRAMES = 45
_MAX_YAW_DEG, _MAX_PITCH_DEG = 42.0, 26.0  # beyond, the mesh is too inexact to compare texels


@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """What is in front of a face in one frame.

    Attributes:
        mask: `(MASK_PX, MASK_PX) uint8` over `square`, 255 is in front.
        square: where in the frame the mask lies; its `input_px` is `MASK_PX`.
        share: 0..1, how much of the visible face is covered.
        glasses: like `mask`, around the dark frames of glasses that the actor wears; None without.
    """

    mask: Image
    square: Square
    share: float
    glasses: Image | None = None

    def at(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """Which of `points` `(N, 2)`, in pixels of the frame, are covered."""
        x, y = np.clip(self.square.from_frame(points).astype(int), 0, MASK_PX - 1).T
        return np.asarray(self.mask[y, x] > 127)

    def drawn(self, mask: Image, corner: FloatArray, size: tuple[int, int]) -> Image:
        """A `mask` of this in pixels, for the part of the frame of `size` (width, height) from `corner` on."""
        to_part = np.linalg.inv(np.vstack([self.square.matrix(), [0, 0, 1]]))[:2]
        to_part[:, 2] -= corner
        return np.asarray(cv2.warpAffine(mask, to_part, size, flags=cv2.INTER_LINEAR), np.uint8)

    def in_square(self, square: Square) -> Image:
        """The mask moved into another `square`."""
        if square == self.square:
            return self.mask
        there = np.vstack([square.matrix(), [0, 0, 1]]) @ np.linalg.inv(np.vstack([self.square.matrix(), [0, 0, 1]]))
        return np.asarray(cv2.warpAffine(self.mask, there[:2], (MASK_PX, MASK_PX), flags=cv2.INTER_LINEAR), np.uint8)


def steadied(before: Occlusion | None, now: Occlusion | None, after: Occlusion | None) -> Occlusion | None:
    """What two of three frames in a row agree on, place by place: neither flickers nor lags."""
    some = [o for o in (before, now, after) if o is not None]
    if len(some) < 2:
        return None
    square = (now or some[0]).square
    glasses = None if now is None else now.glasses
    if all(o.share <= 0 for o in some):
        return now if glasses is not None else None
    empty = np.zeros((MASK_PX, MASK_PX), np.uint8)
    a, b, c = (empty if o is None else o.in_square(square) for o in (before, now, after))
    median = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    share = sorted(0.0 if o is None else o.share for o in (before, now, after))[1]
    return Occlusion(np.asarray(median, np.uint8), square, share, glasses)


class OcclusionFinder:
    """Learns one actor's face and says what is in front of it. Frames must come in order; one instance per stream.

    Attributes:
        unlike_under_hands: of the face that is said to lie under hands, how much does not look as ever, 0..1; nan if
            that cannot be said.
    """

    def __init__(self) -> None:
        grid = np.linspace(-1, 1, TEXELS, dtype=np.float32)
        v, u = np.meshgrid(grid, grid, indexing="ij")
        self._basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
        self._seen = np.empty((TEXELS, TEXELS, 3), np.uint8)
        self._known = np.empty((TEXELS, TEXELS, 2), np.uint8)
        self._marks = np.ones((MESH_POINTS, 2), np.float32)
        self._ones = np.ones((MESH_POINTS, 2), np.float32)
        self._values = np.empty((TEXELS, TEXELS, 3), np.float32)
        self._score = np.empty((TEXELS, TEXELS), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the face: after a cut or a change of person."""
        self.unlike_under_hands = math.nan
        self._too_much = 0
        self._glasses: Image | None = None
        self._places: FloatArray | None = None
        self._areas = np.empty(0, np.float32)
        self._frames = 0
        self._mean = np.zeros((TEXELS, TEXELS, 3), np.float32)
        self._spread = np.empty((TEXELS, TEXELS, 2), np.float32)
        self._spread[:] = _START_SPREAD**2
        self._count = np.zeros((TEXELS, TEXELS), np.float32)
        self._skin = np.zeros((TEXELS, TEXELS, 3), np.float32)
        self._light = np.zeros((3, 6), np.float32)
        self._state = np.zeros((TEXELS, TEXELS), np.float32)
        self._near = np.zeros((TEXELS, TEXELS), np.uint8)

    def find(
        self, soft: Image, square: Square, seen: FaceObservation, hidden: npt.NDArray[np.bool_]
    ) -> Occlusion | None:
        """What is in front of the face in the next frame; None while the face is being learnt, or if nothing is.

        Args:
            soft: the mesh network's square of the frame `(S, S, 3) uint8`, slightly blurred.
            square: where it was taken from.
            seen: the face.
            hidden: which mesh points are known to lie under a hand.
        """
        if abs(seen.yaw_deg) > _MAX_YAW_DEG or abs(seen.pitch_deg) > _MAX_PITCH_DEG:
            self.unlike_under_hands = math.nan
            self._state *= np.float32(1 - _FALL)
            return None
        if self._places is None:
            self._places = unwrapped(seen.local)
            self._areas = _areas(self._places)
        inside = square.from_frame(seen.landmarks[:MESH_POINTS, :2])
        areas = _areas(inside)
        seen_area = areas / self._areas
        typical = max(float(np.partition(seen_area, _TYPICAL)[_TYPICAL]), 1e-6)
        facing = seen_area > _MAX_SHRINK * typical
        triangles = TRIANGLES[facing]
        self._known[:] = 0
        self._marks[:, 1] = hidden
        draw(pack(soft), inside, self._places, triangles, self._seen, None, self._marks, self._known)
        known, under_hand = (np.ascontiguousarray(self._known[..., k]) for k in (0, 1))
        _to_values(self._seen, known, self._values)
        self._fit_light(known)
        unlike, all_under = _compare(
            self._values,
            known,
            under_hand,
            self._mean,
            self._spread,
            self._count,
            self._skin,
            self._light,
            self._basis,
            self._score,
            self._state,
        )
        trusted = self._frames > _LEARN_FRAMES and all_under >= _MIN_TEXELS
        self.unlike_under_hands = unlike / all_under if trusted else math.nan
        self._frames += 1
        covered, share = self._regions(known)
        self._near = np.asarray(cv2.dilate(covered, np.ones((7, 7), np.uint8)), np.uint8)
        _learn(
            self._values,
            known,
            covered,
            under_hand,
            self._light,
            self._basis,
            self._skin,
            self._frames,
            self._mean,
            self._spread,
            self._count,
            self._score,
        )
        if self._frames % 8 == 1:
            self._follow_skin()
            if self._frames > _TRUST_FRAMES:
                self._glasses = frame_texels(self._brightness(), self._places)
        if self._all_wrong(share):
            self.reset()
            return None
        glasses = None if self._glasses is None else self._back(self._glasses, inside, triangles)
        if (share <= 0 and glasses is None) or self._frames < _TRUST_FRAMES:
            return None
        if share > MOST_COVERED:
            # Most of a face is never shown on such evidence: it might be the actor's own.
            return Occlusion(np.zeros((MASK_PX, MASK_PX), np.uint8), self._small(square), share)
        mask = self._back(covered, inside, triangles) if share > 0 else np.zeros((MASK_PX, MASK_PX), np.uint8)
        return Occlusion(mask, self._small(square), share, glasses)

    def _all_wrong(self, share: float) -> bool:
        """Whether this much has looked covered for so long that it is the memory that is wrong."""
        self._too_much = self._too_much + 1 if share > MOST_COVERED else 0
        return self._too_much > _PATIENCE_FRAMES

    def _fit_light(self, known: Image) -> None:
        """The smooth light of this frame: from the last frame's, or anew if that explains much more of the face."""
        step = slice(_FIT_STEP // 2, None, _FIT_STEP)
        _fit(
            self._values[step, step],
            known[step, step],
            self._mean[step, step],
            self._count[step, step],
            self._basis[step, step],
            self._near[step, step],
            self._light,
        )

    def _regions(self, known: Image) -> tuple[Image, float]:
        """The covered texels `(TEXELS, TEXELS) uint8` as whole regions, and their share of the visible face."""
        strong = self._state > _REST
        if self._frames < _TRUST_FRAMES or int((self._state > _SEED).sum()) < _MIN_TEXELS // 2:
            return np.zeros(known.shape, np.uint8), 0.0
        closed = cv2.morphologyEx(strong.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
        seeds = np.bincount(labels[self._state > _SEED], minlength=count)
        keep = (stats[:, cv2.CC_STAT_AREA] >= _MIN_TEXELS) & (seeds >= _MIN_TEXELS // 2)
        keep[0] = False
        covered = keep[labels].astype(np.uint8) * np.uint8(255)
        visible = max(int((known > 0).sum()), 1)
        return covered, float(((covered > 0) & (known > 0)).sum()) / visible

    def _back(self, covered: Image, inside: FloatArray, triangles: npt.NDArray[np.int32]) -> Image:
        """The covered texels drawn into the square, carried on over the outline and the openings."""
        assert self._places is not None
        out = np.zeros((MASK_PX, MASK_PX, 3), np.uint8)
        drawn = np.zeros((MASK_PX, MASK_PX, 2), np.uint8)
        texture = np.repeat(covered[..., None], 3, axis=2)
        scale = np.float32(MASK_PX / 192)
        draw(pack(texture), self._places, inside * scale, triangles, out, None, self._ones, drawn)
        mask, valid = out[..., 0].astype(np.float32), drawn[..., 0].astype(np.float32)
        # Where there is no mesh (mouth, eyes, next to the outline), what is around decides.
        for reach in _FILL_PX:
            around = cv2.blur(valid, (reach, reach))
            near = cv2.blur(mask, (reach, reach)) / np.maximum(around, 1.0)
            open_yet = (valid == 0) & (around > 0)
            mask = np.where(open_yet, near * np.float32(255), mask)
            valid = np.where(open_yet, np.float32(255), valid)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0).clip(0, 255), np.uint8)

    def _small(self, square: Square) -> Square:
        return Square(square.centre, square.side_px, square.angle, MASK_PX)

    def _brightness(self) -> FloatArray:
        """The face's usual brightness, with what was never seen as bright as all of it."""
        known = self._count > 0
        usual = float(np.median(self._mean[..., 0][known]))
        return np.where(known, self._mean[..., 0], np.float32(usual))

    def _follow_skin(self) -> None:
        """The typical colour around each texel, without the face's features."""
        weight = np.minimum(self._count, 4.0)
        total = cv2.blur(weight, (_SKIN_BLUR, _SKIN_BLUR), borderType=cv2.BORDER_CONSTANT)
        summed = cv2.blur(self._mean * weight[..., None], (_SKIN_BLUR, _SKIN_BLUR), borderType=cv2.BORDER_CONSTANT)
        self._skin = np.asarray(summed / np.maximum(total, 1e-3)[..., None], np.float32)


def unwrapped(local: FloatArray) -> FloatArray:
    """Places `(468, 2) float32` of the mesh points on a cylinder around the head's axis, in texels."""
    points = local[:MESH_POINTS]
    angle = np.arctan2(points[:, 0], _AXIS_DEPTH - points[:, 2])
    flat = np.stack([angle, points[:, 1]], axis=1)
    low, high = flat.min(0), flat.max(0)
    scaled = (flat - low) / np.maximum(high - low, 1e-6) * (TEXELS - 1 - 2 * _EDGE_TEXELS) + _EDGE_TEXELS
    return np.asarray(scaled, np.float32)


def _areas(points: FloatArray) -> FloatArray:
    """Areas of the mesh's triangles, positive where they face the camera."""
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    area = (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) - (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    return np.asarray(np.where(np.abs(area) < 1e-3, 1e-3, area), np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def _fit(
    values: FloatArray,
    known: Image,
    mean: FloatArray,
    count: FloatArray,
    basis: FloatArray,
    near: Image,
    light: FloatArray,
) -> None:
    """Find the `light` `(3, 6)` that explains the difference between `values` and `mean` best, in place.

    Reweighted least squares, once from the light of the frame before without what is `near` a thing that was in front,
    and once from a plain shift to the median.
    """
    most = values.shape[0] * values.shape[1]
    away = np.empty((most, 3), np.float32)
    rows = np.empty((most, 6), np.float32)
    trust = np.empty(most, np.float32)
    n = 0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if known[y, x] == 255 and count[y, x] > 0:
                away[n] = values[y, x] - mean[y, x]
                rows[n] = basis[y, x]
                trust[n] = np.float32(0.05) if near[y, x] else np.float32(1)
                n += 1
    if n < _FIT_LEAST:
        return
    best_fit = np.float32(-1)
    best = light.copy()
    for attempt in range(2):
        guess = light.copy()
        if attempt == 1:
            rest = away[:n] - rows[:n] @ light.T
            for c in range(3):
                guess[c, 0] += np.median(rest[:, c])
        fit = np.float32(0)
        for step in range(_FIT_ROUNDS + 1):
            normal = np.zeros((6, 6), np.float64)
            right = np.zeros((6, 3), np.float64)
            fit = np.float32(0)
            for i in range(n):
                rest0, rest1, rest2 = away[i, 0], away[i, 1], away[i, 2]
                for k in range(6):
                    rest0 -= guess[0, k] * rows[i, k]
                    rest1 -= guess[1, k] * rows[i, k]
                    rest2 -= guess[2, k] * rows[i, k]
                size = (rest0 * rest0 + rest1 * rest1 + rest2 * rest2) * np.float32(1 / _FIT_SCALE**2)
                weight = np.float32(1) / (np.float32(1) + size) ** 2
                fit += weight
                if attempt == 0:
                    weight *= trust[i]
                if step == _FIT_ROUNDS:
                    continue
                for k in range(6):
                    part = weight * rows[i, k]
                    right[k, 0] += part * rest0
                    right[k, 1] += part * rest1
                    right[k, 2] += part * rest2
                    for m in range(k + 1):
                        normal[k, m] += part * rows[i, m]
            if step == _FIT_ROUNDS:
                break
            for k in range(6):
                for m in range(k):
                    normal[m, k] = normal[k, m]
                normal[k, k] += _FIT_RIDGE * n if k else 1e-3
            change = np.linalg.solve(normal, right)
            for c in range(3):
                for k in range(6):
                    guess[c, k] += np.float32(change[k, c])
        if fit > best_fit * (_RELOCK if attempt else 1.0):
            best_fit = fit
            best[:] = guess
    light[:] = best


@njit(cache=True, nogil=True, fastmath=True)
def _to_values(seen: Image, known: Image, values: FloatArray) -> None:
    """Brightness, blue less green, red less green, as logarithms. Clipped texels become unknown."""
    logs = np.empty(256, np.float32)
    for n in range(256):
        logs[n] = np.log(np.float32(n + _DARKEST))
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            if known[y, x] == 0:
                continue
            b, g, r = seen[y, x, 0], seen[y, x, 1], seen[y, x, 2]
            if b >= _CLIPPED and g >= _CLIPPED and r >= _CLIPPED:
                known[y, x] = 1
            values[y, x, 0] = (logs[b] + logs[g] + logs[r]) / np.float32(3)
            values[y, x, 1] = logs[b] - logs[g]
            values[y, x, 2] = logs[r] - logs[g]


@njit(cache=True, nogil=True, fastmath=True)
def _compare(
    values: FloatArray,
    known: Image,
    under_hand: Image,
    mean: FloatArray,
    spread: FloatArray,
    count: FloatArray,
    skin: FloatArray,
    light: FloatArray,
    basis: FloatArray,
    score: FloatArray,
    state: FloatArray,
) -> tuple[int, int]:
    """Move each texel's `state` (0 face .. 1 covered) towards what this frame says.

    Returns:
        Of the texels under a hand, how many do not look like the face there; and how many they are.
    """
    unlike, under = 0, 0
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            now = np.float32(0)
            if known[y, x] and count[y, x] > 0:
                off0, off1, off2 = values[y, x, 0], values[y, x, 1], values[y, x, 2]
                for k in range(6):
                    off0 -= light[0, k] * basis[y, x, k]
                    off1 -= light[1, k] * basis[y, x, k]
                    off2 -= light[2, k] * basis[y, x, k]
                d0, d1, d2 = off0 - mean[y, x, 0], off1 - mean[y, x, 1], off2 - mean[y, x, 2]
                s0, s1, s2 = off0 - skin[y, x, 0], off1 - skin[y, x, 1], off2 - skin[y, x, 2]
                own0 = np.float32(_BRIGHTNESS) + np.float32(_SPREADS) * np.sqrt(spread[y, x, 0])
                own1 = np.float32(_COLOUR) + np.float32(_SPREADS) * np.sqrt(spread[y, x, 1])
                if under_hand[y, x] > 127:
                    close0 = np.float32(_SAME_BRIGHTNESS) + np.float32(2) * np.sqrt(spread[y, x, 0])
                    close1 = np.float32(_SAME_COLOUR) + np.float32(2) * np.sqrt(spread[y, x, 1])
                    under += 1
                    unlike += int((d0 / close0) ** 2 + (d1 * d1 + d2 * d2) / (close1 * close1) > 1)
                face = (d0 / own0) ** 2 + (d1 * d1 + d2 * d2) / (own1 * own1)
                like = (s0 / np.float32(_SKIN_BRIGHTNESS)) ** 2 + (s1 * s1 + s2 * s2) / np.float32(_SKIN_COLOUR**2)
                away = min(np.sqrt(face), np.sqrt(like))
                now = min(max((away - np.float32(0.7)) / np.float32(0.6), np.float32(0)), np.float32(1))
            if under_hand[y, x]:
                now = np.float32(0)
            score[y, x] = now
            step = np.float32(_RISE) if now > state[y, x] else np.float32(_FALL)
            state[y, x] += (now - state[y, x]) * step
    return unlike, under


@njit(cache=True, nogil=True, fastmath=True)
def _learn(
    values: FloatArray,
    known: Image,
    covered: Image,
    under_hand: Image,
    light: FloatArray,
    basis: FloatArray,
    skin: FloatArray,
    frames: int,
    mean: FloatArray,
    spread: FloatArray,
    count: FloatArray,
    score: FloatArray,
) -> None:
    """Take this frame's uncovered texels into mean and spread."""
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            # After the first second, nothing but face is learnt: else a thing that moves slowly would creep in.
            if known[y, x] != 255 or under_hand[y, x] or covered[y, x] or (frames > _LEARN_FRAMES and score[y, x] > 0):
                continue
            n = count[y, x] + np.float32(1)
            count[y, x] = min(n, np.float32(_LEARN_FRAMES))
            step = max(np.float32(1) / n, np.float32(_SLOWEST_STEP))
            colour = np.float32(0)
            for c in range(3):
                off = values[y, x, c]
                for k in range(6):
                    off -= light[c, k] * basis[y, x, k]
                difference = off - mean[y, x, c]
                mean[y, x, c] += difference * step
                if n > 1:
                    if c == 0:
                        spread[y, x, 0] += (difference * difference - spread[y, x, 0]) * np.float32(_SLOWEST_STEP)
                    else:
                        colour += difference * difference
            if n > 1:
                spread[y, x, 1] += (colour - spread[y, x, 1]) * np.float32(_SLOWEST_STEP)
