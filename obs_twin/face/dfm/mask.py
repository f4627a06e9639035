"""Where in the network's square the twin is seen."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.dfm.settings import DfmSettings
from obs_twin.face.observation import FloatArray
from obs_twin.face.topology import MESH_POINTS

Image = npt.NDArray[np.uint8]

_UNIT_PX = 224.0  # the square in which DeepFaceLive's numbers for erosion and blur are meant
_NOTHING = 8  # of 255; less of a mask is the network's noise


def face_mask(
    target: FloatArray | None, actor: FloatArray | None, landmarks: FloatArray, side_px: int, settings: DfmSettings
) -> Image:
    """The chosen masks together, eroded and softened, `(S, S) uint8`; 255 shows the twin.

    Args:
        target, actor: `(S, S) float32`, the network's masks of the target's and the actor's face, if it gives them.
        landmarks: `(468 or more, 2 or 3) float32`, the mesh in pixels of the square.
        side_px: S.
        settings: which masks, and how much erosion and blur.

    Where masks are wanted but the network gives none of them, the landmarks' outline takes their place: without any,
    the square itself would show.
    """
    parts = [mask for mask, wanted in ((actor, settings.mask_source), (target, settings.mask_celeb)) if wanted]
    given = [mask for mask in parts if mask is not None]
    whole = np.full((side_px, side_px), 255, np.uint8)
    for mask in given:
        level = np.asarray(np.clip(mask * 255, 0, 255), np.uint8)
        whole = np.asarray(cv2.multiply(whole, level, scale=1 / 255), np.uint8)
    if settings.mask_lmrks or (parts and not given):
        whole = np.asarray(cv2.bitwise_and(whole, hull(landmarks, side_px)), np.uint8)
    return _soft(whole, side_px, settings.face_mask_erode, settings.face_mask_blur)


def hull(landmarks: FloatArray, side_px: int) -> Image:
    """The convex outline of the face mesh, 255 inside."""
    mask = np.zeros((side_px, side_px), np.uint8)
    points = np.round(landmarks[:MESH_POINTS, :2]).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 255, cv2.LINE_AA)
    return mask


def _soft(mask: Image, side_px: int, erode: float, blur: float) -> Image:
    """Erode (or grow), fade towards the square's rim, and blur."""
    scale = side_px / _UNIT_PX
    reach = round(abs(erode) / 2 * scale)
    if reach:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        change = cv2.erode if erode > 0 else cv2.dilate
        mask = np.asarray(change(mask, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)
    # A clear rim, as wide as the blur reaches: the square's straight edge must never show.
    rim = min(max(round(blur / 2 * scale), 1), side_px // 3)
    mask[:rim] = mask[-rim:] = 0
    mask[:, :rim] = mask[:, -rim:] = 0
    mask[mask < _NOTHING] = 0
    sigma_px = blur / 4 * scale
    if sigma_px > 0.2:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.uint8)
    return mask
