"""How much a sharp photo must be softened to look as if the actor's camera had taken it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.appearance import fine_detail
from obs_twin.face.observation import FloatArray

Image = npt.NDArray[np.uint8]

_SHARP = 1.0  # taken for a level that is too small to measure
_BLURS_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0)


class FocusTable:
    """The photo's fineness (`appearance.Appearance`) at every size and under every blur, measured once.

    Args:
        levels: the photo in several sizes.
        landmarks: for each of them, the face's landmarks in its pixels.
        head_px: for each of them, the head's size in its pixels.
    """

    def __init__(self, levels: Sequence[Image], landmarks: Sequence[FloatArray], head_px: Sequence[float]) -> None:
        rows = []
        for level, points in zip(levels, landmarks, strict=True):
            blurred = [cv2.GaussianBlur(level, (0, 0), s) if s else level for s in _BLURS_PX]
            fineness = [fine_detail(np.asarray(picture, np.uint8), points)[0] for picture in blurred]
            known = np.nan_to_num(fineness, nan=_SHARP)
            rows.append(np.minimum.accumulate(np.log(np.maximum(known, 1e-3))))
        order = np.argsort(head_px)
        self._log_sizes = np.log(np.asarray(head_px))[order]
        self._log_fineness = np.array(rows)[order]

    def blur_px(self, head_px: float, fineness: float) -> float:
        """Standard deviation in pixels of the Gaussian that brings the photo, drawn `head_px` large, to `fineness`."""
        size = np.log(max(head_px, 1.0))
        at_size = [np.interp(size, self._log_sizes, column) for column in self._log_fineness.T]
        # Falling with the blur; np.interp wants it rising.
        return float(np.interp(-np.log(max(fineness, 1e-3)), -np.asarray(at_size), _BLURS_PX))
