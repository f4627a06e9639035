"""Where a photo shows the face's skin, and where hair or what is behind it.

The mesh reaches to the ears and the hairline, and in most photos its rim lies over hair. There the twin must not take
its colours from the photo.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, LIPS_OUTER, OVAL, RIGHT_BROW, RIGHT_EYE

Image = npt.NDArray[np.uint8]

_WORK_PX = 200.0  # the head's size while measuring
_DARKEST = 4.0
_BAND, _SEED = 0.55, 0.08  # how far it may reach inwards, and where it begins, in units of the head's size
_HAIR, _BEARD_HAIR = 0.6, 2.0  # log units darker than the face: hair; below the mouth it may be a beard, which is kept
_OTHER_TINT, _RIM_TINT = 0.26, 0.18  # log units between channels; the second at the very rim
_FRONTAL_DEG = 18.0
_LOCKS = 0.03  # half of the skin that may be seen between two locks
_GROWN, _SOFT = 0.09, 0.03  # the rim of hair is thin


def face_mask(picture: Image, observation: FaceObservation) -> Image:
    """`(H, W) uint8`, 255 where the face in `picture` `(H, W, 3) uint8` shows skin and features, softly ending."""
    scale = min(_WORK_PX / observation.head.scale, 1.0)
    head_px = observation.head.scale * scale
    small = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points = observation.landmarks[:, :2] * np.float32(scale)
    inside = np.zeros(small.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(points[OVAL]).astype(np.int32)], 255)
    features = feature_mask(inside.shape, points, 0.02 * head_px)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    depth = depth[1:-1, 1:-1]
    front = (inside > 0) & (feature_mask(inside.shape, points, 0.03 * head_px) == 0) & (depth > 0.18 * head_px)
    if front.sum() < 50:
        return np.full(picture.shape[:2], 255, np.uint8)
    logs = np.log(cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32) + np.float32(_DARKEST))
    brightness = logs.mean(axis=2)
    tint = logs - brightness[..., None]
    away = np.abs(tint - np.median(tint[front], axis=0)).max(axis=2)
    away /= np.where(depth < _SEED / 2 * head_px, _RIM_TINT, _OTHER_TINT)
    # Seen from the side, long hair lies where a beard would be; the beard is taken from the front.
    bearded = _below_mouth(points, inside.shape) & (abs(observation.yaw_deg) < _FRONTAL_DEG)
    limit = np.where(bearded, _BEARD_HAIR, _HAIR)
    dark = (np.median(brightness[front]) - brightness) / limit
    other = (inside > 0) & (features == 0) & (depth < _BAND * head_px) & (np.maximum(away, dark) > 1)
    side = 2 * round(_LOCKS * head_px) + 1
    other = cv2.morphologyEx(other.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8)) > 0
    # Hair and background reach the outline; dark eyes and moles do not.
    _, parts = cv2.connectedComponents(other.astype(np.uint8))
    other &= np.isin(parts, np.unique(parts[other & (depth < _SEED * head_px)]))
    side = 2 * round(_GROWN * (1 + min(abs(observation.yaw_deg) / 30, 1.0)) * head_px) + 1  # hair's rim, seen squarely
    grown = cv2.dilate(other.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    mask = np.where((grown > 0) & (features == 0), 0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(mask, (0, 0), max(_SOFT * head_px, 0.8))
    full = cv2.resize(soft, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.uint8)


def feature_mask(shape: tuple[int, ...], points: FloatArray, margin_px: float) -> Image:
    """`(H, W) uint8`, 255 over eyes, brows and lips, whose places are `points` `(N, 2)`, and around them."""
    mask = np.zeros(shape[:2], np.uint8)
    for part in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, LIPS_OUTER):
        hull = cv2.convexHull(np.round(points[part]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 255)
        cv2.polylines(mask, [hull], True, 255, max(round(2 * margin_px), 1))
    return mask


def _below_mouth(points: FloatArray, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """`(H, W)`: lower than the line between nose and mouth."""
    nose, mouth, chin = points[2], points[[78, 308]].mean(0), points[152]
    down = (chin - nose) / max(float(np.linalg.norm(chin - nose)), 1e-6)
    start = (nose + mouth) / 2
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.asarray((columns - start[0]) * down[0] + (rows - start[1]) * down[1] > 0, np.bool_)
