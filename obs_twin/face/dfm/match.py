"""Making a network's face look as if the actor's camera had taken it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.appearance import fine_detail
from obs_twin.face.observation import FloatArray

Image = npt.NDArray[np.uint8]

_BLURS_PX = (0.7, 1.2, 2.0)
_MOST_SHARPENING = 1.0
_SHARPEN_PX = 1.2
_SAMPLE_PX = 160  # the middle of the face that is measured, at most so wide
_LEVELS = 3


def match_sharpness(layer: Image, landmarks: FloatArray, fineness: float, amount: float) -> Image:
    """`layer` `(H, W, 3) uint8`, softened or sharpened towards the camera's sharpness.

    Args:
        layer: the face at the frame's own size.
        landmarks: `(468 or more, 2)`, in pixels of `layer`.
        fineness: the camera's (`appearance.Appearance.fineness`).
        amount: 0 leaves it alone, 1 goes all the way (sharpening has a limit: it brings no detail back).
    """
    if amount <= 0 or not math.isfinite(fineness) or fineness <= 0:
        return layer
    sample, marks = _middle(layer, landmarks)
    own, noise = fine_detail(sample, marks)
    if not math.isfinite(own):
        if noise <= 0:  # too small to measure
            return layer
        own = 0.0  # so soft that its detail drowns in rounding
    wanted, now = math.log(max(fineness, 1e-3)), math.log(max(own, 1e-3))
    if now < wanted:
        # Energy grows with the square of what is added to the fine band.
        gain = min(math.exp((wanted - now) / 2) - 1, _MOST_SHARPENING) * amount
        if gain < 0.03:
            return layer
        soft = cv2.GaussianBlur(layer, (0, 0), _SHARPEN_PX)
        return np.asarray(cv2.addWeighted(layer, 1 + gain, soft, -gain, 0), np.uint8)
    before_px = 0.0
    for blur_px in _BLURS_PX:
        blurred, _ = fine_detail(np.asarray(cv2.GaussianBlur(sample, (0, 0), blur_px), np.uint8), marks)
        then = math.log(max(blurred, 1e-3)) if math.isfinite(blurred) else now
        if then <= wanted:
            before_px += (blur_px - before_px) * (now - wanted) / max(now - then, 1e-6)
            break
        before_px, now = blur_px, then
    sigma_px = before_px * amount
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma_px), np.uint8) if sigma_px > 0.3 else layer


def _middle(layer: Image, landmarks: FloatArray) -> tuple[Image, FloatArray]:
    """The middle of the face, not larger than is needed to measure it."""
    centre = landmarks[4, :2]
    low = np.maximum(np.floor(centre - _SAMPLE_PX / 2), 0).astype(int)
    high = np.maximum(np.ceil(centre + _SAMPLE_PX / 2), 0).astype(int)
    return layer[low[1] : high[1], low[0] : high[0]], (landmarks - low).astype(np.float32)


def blend_bands(base: Image, layer: Image, coverage: Image) -> Image:
    """`layer` whose coarse colours go over into `base`'s before its detail does.

    Two bands of Burt and Adelson 1983: where `coverage` `(H, W) uint8` is full, far from its edge, the layer is
    unchanged; towards the edge, its coarse band takes the base's colours. The result is to be blended as usual.
    """
    if min(base.shape[:2]) < 8 << _LEVELS:
        return layer
    mask = cv2.bitwise_not(coverage)
    coarse = cv2.subtract(base, layer, dtype=cv2.CV_16S)
    sizes = [base.shape[1::-1]]
    for _ in range(_LEVELS):
        coarse, mask = cv2.pyrDown(coarse), cv2.pyrDown(mask)
        sizes.append(coarse.shape[1::-1])
    # Only the coarsest band of the difference crosses the seam: it holds the colours, not the features.
    share = cv2.GaussianBlur(mask, (0, 0), 2.0).astype(np.float32) * np.float32(1 / 255)
    crossing = (coarse.astype(np.float32) * share[..., None]).astype(np.int16)
    for size in reversed(sizes[:-1]):
        crossing = np.asarray(cv2.pyrUp(crossing, dstsize=size), np.int16)
    return np.asarray(cv2.add(layer, crossing, dtype=cv2.CV_8U), np.uint8)
