"""Where one scene ends and another begins."""

from __future__ import annotations

import numpy as np

from obs_twin.face.square import FloatArray, Image

_STEPS = 40  # samples across and down
_ALIKE = 0.35


class CutDetector:
    """Compares each frame with the one before, by their correlation: brightness and contrast do not count."""

    def __init__(self) -> None:
        self._before: FloatArray | None = None

    def reset(self) -> None:
        self._before = None

    def cut(self, bgr: Image) -> bool:
        """Whether `bgr` `(H, W, 3) uint8` shows another scene than the frame before it."""
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
        return not flat and float(before @ now) < _ALIKE
