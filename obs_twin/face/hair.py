"""The actor's hair in another colour, where it can be told from everything else.

```
 square around the head -> person (selfie segmentation) x more like the hair above the forehead than like the skin
      -> joined to the top of the head -> steadied over frames -> at the picture's own edges: shifted in Lab
```

Honest limits: without hair above the forehead (bald, hat, shaved) nothing is tinted; hair that lies on clothes of its
own colour, or before a part of the room that the segmentation takes for the person, is tinted with it or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.hands import to_edges
from obs_twin.face.observation import FaceObservation
from obs_twin.face.square import FloatArray, Image, Square
from obs_twin.face.topology import MESH_POINTS, OVAL

MASK_PX = 96
Rect = tuple[int, int, int, int]

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (12.0, 1.0, 0.0),
    "dark brown": (22.0, 5.0, 7.0),
    "brown": (33.0, 9.0, 14.0),
    "light brown": (46.0, 10.0, 20.0),
    "blond": (66.0, 5.0, 27.0),
    "red": (38.0, 24.0, 27.0),
    "grey": (58.0, 0.0, 1.0),
    "white": (82.0, 0.0, 3.0),
}
"""CIE L (0..100), a, b of typical hair in even light."""

_SIDE, _LIFT = 2.7, 0.32  # of the square, in sizes of the head
_DARKEST = 8.0  # added before the logarithm
# Where the top of the head is looked for: lines up from the forehead, in sizes of the head along its own axes.
_UP, _ACROSS = np.meshgrid(np.arange(0.06, 0.75, 0.05), np.linspace(-0.22, 0.22, 7), indexing="ij")
_INSET = 2  # steps below the topmost place that is still the person
_SPREAD = np.array([0.45, 0.12, 0.12], np.float32)  # of hair and of skin: brightness and two differences of colour
# Hair this near to the skin, in spreads, cannot be told from it; a bald head is brighter than a face, and no more.
_APART, _SHINE = 1.0, 0.3
_SHADED = np.float32(0.45)  # hair is darker below than on top of the head
_FOLLOW, _STEADY = 0.08, 0.35
_BELOW_CHIN = 0.35  # of the head; farther down, clothes are likelier than hair
_LEAST_SEEDS, _LEAST_KNOWN = 5, 100
_CONTRAST = (0.7, 1.5)  # how much the hair's own light and dark may be flattened or deepened
_KEPT_TINT = 0.5
# The face below the brows, which is no hair: the outline's lower part, and the brows from left to right.
_LOWER_OUTLINE = OVAL[8:29]
_BROW_LINE = np.array([70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300], np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Hair:
    """The hair in one frame.

    Attributes:
        mask: `(MASK_PX, MASK_PX) uint8` over `square`.
        square: where in the frame.
        lab: `(3,)` its typical colour, L 0..100.
        head_px: the head's size.
    """

    mask: Image
    square: Square
    lab: FloatArray
    head_px: float


class HairFinder:
    """Follows the hair of one stream's actor. Frames must come in order."""

    def __init__(self) -> None:
        y, x = np.mgrid[0:MASK_PX, 0:MASK_PX].astype(np.float32)
        self._grid = np.stack([x, y], axis=-1)
        self.reset()

    def reset(self) -> None:
        self._hair: FloatArray | None = None
        self._state = np.zeros((MASK_PX, MASK_PX), np.float32)

    def find(self, bgr: Image, seen: FaceObservation, alpha: FloatArray) -> Hair | None:
        """The hair around the face `seen` in `bgr` `(H, W, 3) uint8`; None if there is none that can be told apart.

        Args:
            alpha: `(H, W) float32`, the person's matte of this frame.
        """
        head = seen.head
        up = -head.rotation[:2, 1] / max(float(np.linalg.norm(head.rotation[:2, 1])), 1e-6)
        right = np.array([-up[1], up[0]], np.float32)
        middle = head.origin[:2] + up * np.float32(_LIFT * head.scale)
        angle = float(np.arctan2(right[1], right[0]))
        square = Square((float(middle[0]), float(middle[1])), _SIDE * head.scale, angle, MASK_PX)
        crop = cv2.blur(square.crop(bgr), (3, 3))
        size = (MASK_PX, MASK_PX)
        person = np.asarray(
            cv2.warpAffine(alpha, square.matrix(), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        )
        values = _values(np.asarray(crop, np.uint8))

        sure = self._crown(seen, square, person, up, right)
        skin = np.median(_values(seen.appearance.tones[None, [50, 280, 205, 425, 101, 330]])[0], axis=0)
        if len(sure) < _LEAST_SEEDS:
            self._fade()
            return None
        colour: FloatArray = np.median(values[sure[:, 1], sure[:, 0]], axis=0).astype(np.float32)
        known = self._state > 0.5
        if int(known.sum()) > _LEAST_KNOWN:
            # The rest of the hair has its say: the top of the head is mostly shine.
            colour = ((colour + np.median(values[known], axis=0)) / 2).astype(np.float32)
        self._hair = colour if self._hair is None else self._hair + (colour - self._hair) * np.float32(_FOLLOW)
        apart = (self._hair - skin) / _SPREAD
        if apart[0] > 0:
            apart[0] *= _SHINE
        if float(np.linalg.norm(apart)) < _APART:
            self._fade()
            return None

        away = (values - self._hair) / _SPREAD
        away[..., 0] *= np.where(away[..., 0] < 0, _SHADED, np.float32(1))
        like_hair = np.exp(-0.5 * np.square(away).sum(axis=2))
        like_skin = np.exp(-0.5 * np.square((values - skin) / _SPREAD).sum(axis=2))
        share = like_hair / (like_hair + like_skin + np.float32(0.02)) * person * self._room_for_hair(seen, square)
        whole = _joined((share > 0.4).astype(np.uint8), sure)
        self._state += (share * whole - self._state) * np.float32(_STEADY)
        mask = (np.clip(self._state * 1.5 - 0.2, 0, 1) * 255).astype(np.uint8)
        bgr_mean = np.exp(np.array([self._hair[0] + k for k in self._back()], np.float32)) - np.float32(_DARKEST)
        lab = cv2.cvtColor((bgr_mean / 255)[None, None].clip(0, 1).astype(np.float32), cv2.COLOR_BGR2LAB)[0, 0]
        return Hair(mask, square, np.asarray(lab, np.float32), head.scale)

    def _crown(
        self, seen: FaceObservation, square: Square, person: FloatArray, up: FloatArray, right: FloatArray
    ) -> npt.NDArray[np.int_]:
        """Places `(N, 2)` in the square at the top of the head, where hair is if there is any."""
        scale = np.float32(seen.head.scale)
        lines = seen.landmarks[10, :2] + scale * (_UP[..., None] * up + _ACROSS[..., None] * right)
        places = square.from_frame(lines.reshape(-1, 2).astype(np.float32)).round().astype(int)
        places = places.clip(0, MASK_PX - 1).reshape(*_UP.shape, 2)
        inside = person[places[..., 1], places[..., 0]] > 0.7
        # The steps up to the first that is no longer the person.
        steps = np.where(inside.all(axis=0), len(inside), inside.argmin(axis=0))
        chosen = [places[max(top - _INSET - 2, 0) : max(top - _INSET, 0), k] for k, top in enumerate(steps)]
        return np.concatenate(chosen)

    def _back(self) -> tuple[float, float, float]:
        """What blue, green and red have over the mean of their logarithms."""
        assert self._hair is not None
        blue_green, red_green = float(self._hair[1]), float(self._hair[2])
        green = -(blue_green + red_green) / 3
        return green + blue_green, green, green + red_green

    def _fade(self) -> None:
        self._state *= np.float32(1 - _STEADY)

    def _room_for_hair(self, seen: FaceObservation, square: Square) -> FloatArray:
        """0..1 `(MASK_PX, MASK_PX)`: not on the face below the brows, and not far below the chin."""
        points = square.from_frame(seen.landmarks[:MESH_POINTS, :2])
        face = np.zeros((MASK_PX, MASK_PX), np.uint8)
        outline = np.concatenate([points[_LOWER_OUTLINE], points[_BROW_LINE]])
        cv2.fillPoly(face, [outline.round().astype(np.int32)], 255)
        soft = cv2.GaussianBlur(face, (0, 0), 1.0).astype(np.float32) / 255
        per_head = MASK_PX / _SIDE
        below = (self._grid[..., 1] - points[152, 1]) / (_BELOW_CHIN * per_head)
        return np.asarray((1 - soft) * np.clip(1 - below, 0, 1), np.float32)


def tint(bgr: Image, hair: Hair, lab: FloatArray, strength: float) -> Rect:
    """Give the `hair` in `bgr` `(H, W, 3) uint8` the colour `lab` `(3,)`, in place; returns the changed rectangle."""
    height, width = bgr.shape[:2]
    to_frame = np.linalg.inv(np.vstack([hair.square.matrix(), [0, 0, 1]]))[:2]
    ys, xs = np.nonzero(hair.mask > 8)
    if not len(xs) or strength <= 0:
        return (0, 0, 0, 0)
    corners = np.array([[xs.min(), ys.min()], [xs.max(), ys.min()], [xs.min(), ys.max()], [xs.max(), ys.max()]])
    there = corners @ to_frame[:, :2].T + to_frame[:, 2]
    margin = 0.06 * hair.head_px
    x0, y0 = (int(np.clip(v, 0, end)) for v, end in zip(there.min(0) - margin, (width, height), strict=True))
    x1, y1 = (int(np.clip(v, 0, end)) for v, end in zip(there.max(0) + margin, (width, height), strict=True))
    if x1 - x0 < 4 or y1 - y0 < 4:
        return (0, 0, 0, 0)
    to_frame[:, 2] -= (x0, y0)
    part = bgr[y0:y1, x0:x1]
    coarse = np.asarray(cv2.warpAffine(hair.mask, to_frame, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR), np.uint8)
    share = to_edges(coarse, part, max(round(0.03 * hair.head_px), 2))
    share = (share * np.float32(min(strength, 1.0))).astype(np.uint8)
    contrast = float(np.clip(np.sqrt((lab[0] + 4) / (hair.lab[0] + 4)), *_CONTRAST))
    steps = np.arange(256, dtype=np.float32)
    table = np.empty((1, 256, 3), np.uint8)
    light = lab[0] + (steps * (100 / 255) - hair.lab[0]) * contrast
    table[0, :, 0] = np.clip(light * 2.55, 0, 255)
    for k in (1, 2):
        table[0, :, k] = np.clip(128 + lab[k] + (steps - 128 - hair.lab[k]) * _KEPT_TINT, 0, 255)
    changed = cv2.cvtColor(cv2.LUT(cv2.cvtColor(part, cv2.COLOR_BGR2LAB), table), cv2.COLOR_LAB2BGR)
    weight = cv2.merge([share, share, share])
    kept = cv2.multiply(part, cv2.bitwise_not(weight), scale=1 / 255)
    part[:] = cv2.add(kept, cv2.multiply(changed, weight, scale=1 / 255))
    return (x0, y0, x1, y1)


def hair_colour(photo: Image, seen: FaceObservation, alpha: FloatArray) -> FloatArray | None:
    """CIE Lab `(3,)` of the hair in a target's photo; None if no hair can be told from the skin there."""
    found = HairFinder().find(photo, seen, alpha)
    return None if found is None else found.lab


def _values(bgr: Image | FloatArray) -> FloatArray:
    """Brightness, blue less green, red less green, as logarithms, of `(..., 3)` colours."""
    logs = np.log(bgr.astype(np.float32) + np.float32(_DARKEST))
    green = logs[..., 1]
    return np.stack([logs.mean(axis=-1), logs[..., 0] - green, logs[..., 2] - green], axis=-1)


def _joined(some: Image, seeds: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """The parts of `some` that hold one of the `seeds` `(N, 2)`, slightly grown."""
    closed = cv2.morphologyEx(some, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(np.asarray(closed, np.uint8), connectivity=4)
    chosen = np.unique(labels[seeds[:, 1], seeds[:, 0]])
    whole = np.isin(labels, chosen[chosen > 0]).astype(np.uint8)
    return np.asarray(cv2.dilate(whole, np.ones((3, 3), np.uint8)) > 0)
