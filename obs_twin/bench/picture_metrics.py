"""How well the twin sits in the actor's picture: seam, colour, sharpness, noise, flicker, and what stays in front.

Colours are compared in CIE Lab (D65), so a distance of 2 to 3 is just seen side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FaceObservation
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, LIPS_OUTER, MESH_POINTS, OVAL, RIGHT_BROW, RIGHT_EYE

Image = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_RADII = np.linspace(0.72, 1.22, 51)  # of the outline's distance from the face's middle
_SEAM_STEP = 4  # of _RADII: a jump is measured over 4 % of that distance, about 3 % of the head's size
_EDGE_MOVES = 8  # of _RADII
_MIDDLE = 168  # between the eyes
# Cheeks, forehead and chin: skin without features.
_SKIN = (50, 101, 118, 205, 280, 330, 347, 425, 151, 108, 337, 9, 199, 200)
_OCCLUDER_LEVELS = 12.0
_RAW_LEVELS = 1


@dataclass(frozen=True)
class Seam:
    """How much more the colour jumps along a ray through the outline than on the actor's own face, in Lab units.

    `worst` is the 90th percentile around the face; the others are means over that part of the outline.
    """

    forehead: float
    sides: float
    jaw: float
    worst: float


def seam(frame: Image, output: Image, face: FaceObservation) -> Seam:
    """Compare the colour jumps near the outline, ray by ray, with the actor's own within 8 % of the way.

    So an edge of the actor's that only moved, because the target's face is narrower, is no seam.
    """
    outline = face.landmarks[OVAL, :2].astype(np.float64)
    middle = face.landmarks[:MESH_POINTS, :2].mean(0).astype(np.float64)
    rays = middle + (outline - middle)[:, None] * _RADII[None, :, None]
    own = cv2.dilate(_jumps(frame, rays, face), np.ones((1, 2 * _EDGE_MOVES + 1), np.uint8))
    excess = np.maximum(0.0, _jumps(output, rays, face) - own).max(axis=1)
    angle = np.degrees(np.arctan2(*(outline - middle).T[::-1]))  # 90 is down
    forehead = (angle < -40) & (angle > -140)
    jaw = (angle > 25) & (angle < 155)
    sides = ~(forehead | jaw)
    means = [float(excess[part].mean()) if part.any() else 0.0 for part in (forehead, sides, jaw)]
    return Seam(means[0], means[1], means[2], float(np.percentile(excess, 90)))


def skin_difference(frame: Image, output: Image, face: FaceObservation) -> float:
    """Lab distance between the twin's mean skin and the actor's own in the same frame, which fits neck and ears."""
    return float(np.linalg.norm(_skin(output, face) - _skin(frame, face)))


def neck_difference(frame: Image, output: Image, face: FaceObservation) -> float:
    """How much farther in Lab the twin's chin is from the neck's colour than the actor's own chin is."""
    chin = face.landmarks[152, :2]
    down = (chin - face.landmarks[10, :2]).astype(np.float64)
    across = (face.landmarks[454, :2] - face.landmarks[234, :2]).astype(np.float64) * 0.12
    neck = _patch(frame, [chin + 0.16 * down + k * across for k in (-1.0, 0.0, 1.0)], face.head.scale)
    twin, own = (_patch(picture, [chin - 0.12 * down], face.head.scale) for picture in (output, frame))
    return float(np.linalg.norm(twin - neck) - np.linalg.norm(own - neck))


@dataclass(frozen=True)
class Detail:
    """Twin over actor, 1 is equal: RMS of detail of 1 to 2 pixels and of 2 to 4, and of the noise between features."""

    fine: float
    coarse: float
    noise: float


def detail(frame: Image, output: Image, face: FaceObservation) -> Detail:
    """Sharpness and noise of the inner face without eyes, brows and mouth."""
    mask = inner_mask(frame.shape[:2], face)
    ratios = []
    figures = [_bands(picture, mask, face) for picture in (output, frame)]
    for twin, actor in zip(*figures, strict=True):
        ratios.append(twin / max(actor, 0.05))
    return Detail(*ratios)


def flicker(frames: Sequence[Image], outputs: Sequence[Image], faces: Sequence[FaceObservation | None]) -> float:
    """RMS of the second difference in time of skin colours at mesh points, twin over actor; 1 is as the actor's own."""
    twin, own = [], []
    for frame, output, face in zip(frames, outputs, faces, strict=True):
        if face is not None:
            points = face.landmarks[list(_SKIN), :2]
            twin.append(_samples(output, points))
            own.append(_samples(frame, points))
    if len(twin) < 3:
        return float("nan")
    rms = [float(np.sqrt(np.mean(np.diff(np.array(track), 2, axis=0) ** 2))) for track in (twin, own)]
    return rms[0] / max(rms[1], 1e-6)


def kept_in_front(frame: Image, output: Image, occluder: Image, face: FaceObservation) -> float:
    """Share of an occluder's pixels over the face that are still themselves.

    Args:
        occluder: (H, W) uint8, 255 where something stands in front.
    """
    hull = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillConvexPoly(hull, np.round(face.landmarks[OVAL, :2]).astype(np.int32), 255)
    inside = (cv2.erode(occluder, np.ones((3, 3), np.uint8)) > 250) & (hull > 0)
    if not inside.any():
        return float("nan")
    change = np.abs(output[inside].astype(np.float32) - frame[inside]).max(axis=1)
    return float(np.mean(change < _OCCLUDER_LEVELS))


def raw_share(frame: Image, output: Image, face: FaceObservation) -> float:
    """Share of the inner face without eyes, brows and mouth that still is the actor's own picture."""
    mask = inner_mask(frame.shape[:2], face)
    if not mask.any():
        return float("nan")
    change = np.abs(output[mask].astype(np.int16) - frame[mask]).max(axis=1)
    return float(np.mean(change <= _RAW_LEVELS))


def inner_mask(shape: tuple[int, ...], face: FaceObservation) -> npt.NDArray[np.bool_]:
    """(H, W) true on the inner face without eyes, brows and mouth."""
    mask = np.zeros(shape[:2], np.uint8)
    middle = face.landmarks[_MIDDLE, :2]
    outline = middle + (face.landmarks[OVAL, :2] - middle) * 0.78
    cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), 255)
    grow = 1.25
    for part in (LEFT_EYE, RIGHT_EYE, LIPS_OUTER, LEFT_BROW, RIGHT_BROW):
        points = face.landmarks[part, :2]
        centre = points.mean(0)
        hull = cv2.convexHull(np.round(centre + (points - centre) * grow).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 0)
    return mask > 0


def lab(colours: npt.NDArray[np.floating]) -> F32:
    """(..., 3) BGR 0..255 to CIE Lab, L 0..100."""
    flat = np.ascontiguousarray(colours, np.float32).reshape(-1, 1, 3) / 255
    converted = np.asarray(cv2.cvtColor(flat, cv2.COLOR_BGR2Lab), np.float32)
    return converted.reshape(np.shape(colours))


def _jumps(picture: Image, rays: F64, face: FaceObservation) -> F32:
    """(rays, steps) Lab distances between points of a ray that lie 4 % apart, pores and noise smoothed away."""
    x0, y0 = np.maximum(np.floor(rays.min(axis=(0, 1))).astype(int) - 4, 0)
    x1, y1 = np.ceil(rays.max(axis=(0, 1))).astype(int) + 5
    sigma = max(0.6, face.head.scale * 0.006)
    soft = np.asarray(cv2.GaussianBlur(picture[y0:y1, x0:x1], (0, 0), sigma), np.uint8)
    colours = lab(_samples(soft, (rays - (x0, y0)).reshape(-1, 2)).reshape(*rays.shape[:2], 3))
    jumps: F32 = np.linalg.norm(colours[:, _SEAM_STEP:] - colours[:, :-_SEAM_STEP], axis=2)
    return jumps


def _skin(picture: Image, face: FaceObservation) -> F64:
    return _patch(picture, list(face.landmarks[list(_SKIN), :2]), face.head.scale)


def _patch(picture: Image, centres: Sequence[npt.NDArray[np.floating]], scale: float) -> F64:
    """Mean Lab of squares of 4 % of the head's size."""
    side = max(3, round(scale * 0.04))
    means = [
        cv2.getRectSubPix(picture, (side, side), (float(c[0]), float(c[1]))).reshape(-1, 3).mean(0) for c in centres
    ]
    colour: F64 = lab(np.array(means)).mean(0).astype(np.float64)
    return colour


def _samples(picture: Image, points: npt.NDArray[np.floating]) -> F32:
    """(N, 3) BGR at points (N, 2)."""
    x, y = (np.ascontiguousarray(points[None, :, k], np.float32) for k in (0, 1))
    source = picture.astype(np.float32)
    sampled: F32 = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return sampled


def _bands(picture: Image, mask: npt.NDArray[np.bool_], face: FaceObservation) -> tuple[float, float, float]:
    """RMS of two bands of detail, and the noise (median of the finest band, which features do not move), in levels."""
    x0, y0, x1, y1 = face.box
    grey = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = mask[y0:y1, x0:x1]
    blurred = [cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (0.7, 1.4, 2.8)]
    fine, coarse = blurred[0] - blurred[1], blurred[1] - blurred[2]
    finest = grey - blurred[0]
    rms = [float(np.sqrt(np.mean(_without_outliers(band[inside]) ** 2))) for band in (fine, coarse)]
    return rms[0], rms[1], 1.4826 * float(np.median(np.abs(finest[inside])))


def _without_outliers(values: F32) -> F32:
    """The few strong edges (nostrils, a beard's border) would hide the skin."""
    limit = np.percentile(np.abs(values), 98)
    kept: F32 = values[np.abs(values) <= limit]
    return kept
