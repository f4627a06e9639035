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

from obs_twin.face.glasses import frame_texels
from obs_twin.face.rasterise import draw, pack
from obs_twin.face.square import FloatArray, Image, Square
from obs_twin.face.texels import FALL, LEARN_FRAMES, TEXELS, areas, compare, fit_light, learn, to_values, unwrapped
from obs_twin.face.topology import MESH_POINTS, TRIANGLES

if TYPE_CHECKING:
    from obs_twin.face.observation import FaceObservation

MASK_PX = 96
MOST_COVERED = 0.6
"""A face that is covered more than this is no longer drawn; its mask is empty."""
_TYPICAL = round(0.8 * len(TRIANGLES))
_MAX_SHRINK = 0.35  # triangles seen at a smaller share of the typical scale are too slanted to be judged
_START_SPREAD = np.array([0.12, 0.05], np.float32)
_SKIN_BLUR = 25
_FIT_STEP = 3  # every third texel in both directions is enough to fit the light
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

    def cover(self, points: FloatArray) -> FloatArray:
        """How much each of `points` `(N, 2)`, in pixels of the frame, is covered: `(N,) float32` 0..1."""
        x, y = np.clip(self.square.from_frame(points).astype(int), 0, MASK_PX - 1).T
        return np.asarray(self.mask[y, x] * np.float32(1 / 255))

    def at(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """Which of `points` `(N, 2)`, in pixels of the frame, are covered."""
        return np.asarray(self.cover(points) > 0.5)

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
            self._state *= np.float32(1 - FALL)
            return None
        if self._places is None:
            self._places = unwrapped(seen.local)
            self._areas = areas(self._places)
        inside = square.from_frame(seen.landmarks[:MESH_POINTS, :2])
        seen_area = areas(inside) / self._areas
        typical = max(float(np.partition(seen_area, _TYPICAL)[_TYPICAL]), 1e-6)
        facing = seen_area > _MAX_SHRINK * typical
        triangles = TRIANGLES[facing]
        self._known[:] = 0
        self._marks[:, 1] = hidden
        draw(pack(soft), inside, self._places, triangles, self._seen, None, self._marks, self._known)
        known, under_hand = (np.ascontiguousarray(self._known[..., k]) for k in (0, 1))
        to_values(self._seen, known, self._values)
        self._fit_light(known)
        unlike, all_under = compare(
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
        trusted = self._frames > LEARN_FRAMES and all_under >= _MIN_TEXELS
        self.unlike_under_hands = unlike / all_under if trusted else math.nan
        self._frames += 1
        covered, share = self._regions(known)
        self._near = np.asarray(cv2.dilate(covered, np.ones((7, 7), np.uint8)), np.uint8)
        learn(
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
        fit_light(
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
