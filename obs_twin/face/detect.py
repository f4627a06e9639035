"""BlazeFace and its sister BlazePalm: where the faces and the hands are.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (2019); Zhang et al., "MediaPipe
Hands: On-device Real-time Hand Tracking" (2020). The networks are MediaPipe's `face_detection_short_range.tflite` and
`palm_detection_lite.tflite`; their anchors (one or more per cell of two grids) and their decoding are rebuilt here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.litert import Network

_ANCHORS_PER_CELL = (2, 6)  # on the grid of stride 8, and on that of stride 16, which three layers share
_STRIDES = (8, 16)
_SCORE_CLIP = 80.0


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected face or palm, in pixels of the picture.

    Attributes:
        score: 0..1.
        box: `(x0, y0, x1, y1)` float pixels: a face from brows to chin, or a palm.
        keypoints: `(N, 2) float32`. Face: right eye, left eye, nose tip, mouth, right ear, left ear. Palm: wrist, the
            knuckles of index, middle, ring and little finger, the thumb's two lower joints.
    """

    score: float
    box: tuple[float, float, float, float]
    keypoints: npt.NDArray[np.float32]

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, 0.0) * max(y1 - y0, 0.0)


def anchor_centres(input_px: int = 128) -> npt.NDArray[np.float32]:
    """`(N, 2) float32`: the anchors' centres as fractions of the input; 896 for a face's 128 pixels."""
    centres = []
    for stride, per_cell in zip(_STRIDES, _ANCHORS_PER_CELL, strict=True):
        side = input_px // stride
        line = (np.arange(side, dtype=np.float32) + 0.5) / side
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two `(x0, y0, x1, y1)` boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


class _BlazeDetector:
    """What the two detectors share; `value_range` is what the network expects for black and white."""

    def __init__(
        self, model_path: Path, input_px: int, value_range: tuple[float, float], keypoints: int, min_score: float
    ) -> None:
        self._network = Network(model_path, (1, input_px, input_px, 3))
        self._input_px = input_px
        self._black, white = value_range
        self._gain = (white - self._black) / 255.0
        self._values = 2 + keypoints  # pairs of numbers: centre, size, key points
        self._anchors = anchor_centres(input_px)
        self._min_logit = float(np.log(min_score / (1 - min_score)))

    def detect(self, bgr: npt.NDArray[np.uint8], region: Sequence[float] | None = None) -> list[Detection]:
        """What is found in `bgr` `(H, W, 3) uint8`, or in its `region` `(x0, y0, x1, y1)`, best score first."""
        height, width = bgr.shape[:2]
        x0, y0, x1, y1 = region if region is not None else (0.0, 0.0, float(width), float(height))
        scale = self._input_px / max(x1 - x0, y1 - y0, 1.0)
        # The region centred in the square, bars at its sides.
        shift_x = self._input_px / 2 - (x0 + x1) / 2 * scale
        shift_y = self._input_px / 2 - (y0 + y1) / 2 * scale
        matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]], np.float64)
        flags = cv2.INTER_AREA if region is None else cv2.INTER_LINEAR
        if region is None:
            small = cv2.resize(bgr, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=flags)
            square = np.zeros((self._input_px, self._input_px, 3), np.uint8)
            top, left = (self._input_px - small.shape[0]) // 2, (self._input_px - small.shape[1]) // 2
            square[top : top + small.shape[0], left : left + small.shape[1]] = small
        else:
            square = np.asarray(cv2.warpAffine(bgr, matrix, (self._input_px, self._input_px), flags=flags), np.uint8)
        rgb = cv2.cvtColor(square, cv2.COLOR_BGR2RGB).astype(np.float32)
        regressors, logits = self._network.run(rgb * np.float32(self._gain) + np.float32(self._black))
        return self._decode(regressors[0], logits[0, :, 0], scale, (shift_x, shift_y))

    def _decode(
        self,
        regressors: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32],
        scale: float,
        shift: tuple[float, float],
    ) -> list[Detection]:
        chosen = np.flatnonzero(logits > self._min_logit)
        if not len(chosen):
            return []
        scores = (1.0 / (1.0 + np.exp(-np.clip(logits[chosen], -_SCORE_CLIP, _SCORE_CLIP)))).astype(np.float32)
        points = regressors[chosen].reshape(-1, self._values, 2).copy()
        relative = [0, *range(2, self._values)]  # all but the size are relative to the anchor
        points[:, relative] += self._anchors[chosen, None] * self._input_px
        points[:, relative] -= np.array(shift, np.float32)
        points /= scale
        half = points[:, 1] / 2
        boxes = np.concatenate([points[:, 0] - half, points[:, 0] + half], axis=1)
        return _merge(scores, boxes, points[:, 2:])


class FaceDetector(_BlazeDetector):
    """Finds faces that fill at least about a tenth of the region looked at."""

    def __init__(self, model_path: Path, *, min_score: float = 0.5) -> None:
        super().__init__(model_path, 128, (-1.0, 1.0), 6, min_score)


class PalmDetector(_BlazeDetector):
    """Finds palms and fists that fill at least about a tenth of the region looked at."""

    def __init__(self, model_path: Path, *, min_score: float = 0.5) -> None:
        super().__init__(model_path, 192, (0.0, 1.0), 7, min_score)


def _merge(
    scores: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], keypoints: npt.NDArray[np.float32]
) -> list[Detection]:
    """Weighted non-maximum suppression, as BlazeFace proposes: overlapping boxes are averaged by their scores."""
    left = list(np.argsort(-scores))
    merged = []
    while left:
        best = left[0]
        group = [i for i in left if overlap(boxes[best], boxes[i]) > 0.3]
        weights = scores[group] / scores[group].sum()
        x0, y0, x1, y1 = (float(v) for v in weights @ boxes[group])
        points = np.tensordot(weights, keypoints[group], axes=1).astype(np.float32)
        merged.append(Detection(float(scores[best]), (x0, y0, x1, y1), points))
        taken = set(group)
        left = [i for i in left if i not in taken]
    return merged
