"""Where one scene ends and another begins."""

from __future__ import annotations

import numpy as np

from obs_twin.face.square import FloatArray, Image

SCENE, FACE = 0.35, 0.6
"""Correlations below which a whole frame shows another scene, and the square around a face another face. One person's
square stays above 0.8 from frame to frame, whatever passes in front of it."""
_STEPS = 40  # samples across and down


class CutDetector:
    """Compares each picture with the one before, by their correlation: brightness and contrast do not count."""

    def __init__(self, alike: float) -> None:
        self._alike = alike
        self._before: FloatArray | None = None

    def reset(self) -> None:
        self._before = None

    def cut(self, bgr: Image) -> bool:
        """Whether `bgr` `(H, W, 3) uint8` shows something else than the picture before it."""
        down, across = (max(side // _STEPS, 1) for side in bgr.shape[:2])
        # Green is most of the brightness, and one channel is enough.
        now = bgr[down // 2 :: down, across // 2 :: across, 1].astype(np.float32).ravel()
        now -= now.mean()
        norm = float(np.linalg.norm(now))
        now /= max(norm, 1e-6)
        before, self._before = self._before, now
        if before is None:
            return False
        if before.shape != now.shape:
            return True
        flat = norm < 2.0 * np.sqrt(now.size)  # nothing to be seen: neither a cut nor the same
        return not flat and float(before @ now) < self._alike
