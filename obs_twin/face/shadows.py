"""A photo without the light that fell on it from one side.

The room's light is put on the twin point by point of the mesh (`light`), which is too coarse to take a sharp shadow
away. So it is taken out of the photo, once, when it is opened:

- Faces are nearly symmetric, and light hardly ever is. What the two sides of the face differ in is taken for light and
  evened out, so that no shadow of the photo's lies beside the nose in a room that is lit from the other side.
- Towards the outline, skin that is much darker than the face's plain trend of light is lifted to it: the shadows that
  hair and head throw. Chin and lips keep their shade, since it may be a beard.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.skin import feature_mask
from obs_twin.face.topology import MESH_POINTS, MIRROR, OVAL

Image = npt.NDArray[np.uint8]

_WORK_PX = 200.0  # the head's size while measuring
_DARKEST = 4.0
_ALLOWED = 0.25  # log units below the trend that are left: the face's own relief
_MOST = 0.9
_BAND = 0.30  # width of the outline's band, in units of the head's size
_OUTLIER = 0.3
_BLUR = 0.02
_MAP_PX = 60.0  # the head's size in the map of the light from the side
_MAP_RADIUS = 0.08  # in units of the head's size
_NOT_LIGHT = 0.9  # log units between the two sides; more is hair or a hand
_MOST_TINT = 0.08
_FRONTAL_DEG, _TURNED_DEG = 8.0, 22.0  # further from the front, one side is not seen as the other is


def without_side_light(picture: Image, observation: FaceObservation) -> Image:
    """The `picture` `(H, W, 3) uint8` of one face, both sides of it equally bright; the face as it is, if turned."""
    turn = max(abs(observation.yaw_deg), abs(observation.pitch_deg) - _FRONTAL_DEG)
    amount = float(np.interp(turn, [_FRONTAL_DEG, _TURNED_DEG], [0.5, 0]))
    if amount <= 0:
        return picture
    logs = np.log(observation.appearance.tones + np.float32(_DARKEST))
    excess = logs - logs[MIRROR]
    brightness = excess.mean(axis=1, keepdims=True)
    trust = np.square(np.clip(1 - np.square(brightness / _NOT_LIGHT), 0, 1))
    excess = brightness + np.clip(excess - brightness, -_MOST_TINT, _MOST_TINT)
    scale = min(_MAP_PX / observation.head.scale, 1.0)
    shape = [max(round(n * scale), 2) for n in picture.shape[:2]]
    light = _spread(
        observation.landmarks[:MESH_POINTS, :2] * np.float32(scale),
        excess * trust,
        shape,
        observation.head.scale * scale,
    )
    full = cv2.resize(light, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((picture + _DARKEST) * np.exp(np.float32(-amount) * full) - _DARKEST, 0, 255), np.uint8)


def _spread(places: FloatArray, values: FloatArray, shape: list[int], head_px: float) -> FloatArray:
    """A picture `(H, W, C)` that is `values` `(N, C)` at `places` `(N, 2)`, smooth between them and fading around."""
    rows, columns = (np.arange(n, dtype=np.float32) for n in shape)
    radius_px = np.float32(_MAP_RADIUS * head_px)
    across = np.exp(-0.5 * np.square((columns[:, None] - places[:, 0]) / radius_px))
    down = np.exp(-0.5 * np.square((rows[:, None] - places[:, 1]) / radius_px))
    weight = down @ across.T
    mixed = np.stack([(down * values[:, k]) @ across.T for k in range(values.shape[1])], axis=-1)
    return np.asarray(mixed / (weight + np.float32(0.05))[..., None], np.float32)


def without_side_shadows(picture: Image, observation: FaceObservation, face: Image) -> Image:
    """The `picture` `(H, W, 3) uint8` of one face, its side shadows lifted where `face` `(H, W)` is 255."""
    scale = min(_WORK_PX / observation.head.scale, 1.0)
    head_px = observation.head.scale * scale
    small = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points = observation.landmarks[:, :2] * np.float32(scale)
    seen = np.asarray(cv2.resize(face, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA), np.uint8)
    skin, zone = _skin_and_zone(seen, points, head_px)
    if not (skin > 0).any():
        return picture
    logs = np.log(small.astype(np.float32) + _DARKEST)
    below = np.clip(_trend(logs, skin) - logs - _ALLOWED, 0, _MOST)
    weight = (skin > 0).astype(np.float32)
    blur_px = max(_BLUR * head_px, 0.8)
    known = cv2.GaussianBlur(weight, (0, 0), blur_px) + np.float32(1e-3)
    lift = cv2.GaussianBlur(below * weight[..., None], (0, 0), blur_px) / known[..., None]
    lift *= (zone * np.minimum(known, 1))[..., None]  # features keep their own colour
    full = cv2.resize(lift, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip((picture + _DARKEST) * np.exp(full) - _DARKEST, 0, 255), np.uint8)


def _skin_and_zone(face: Image, points: FloatArray, head_px: float) -> tuple[Image, FloatArray]:
    """`(H, W)`: where plain skin is (255), and how much its shadows are lifted (0..1)."""
    shape = face.shape
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [np.round(points[OVAL]).astype(np.int32)], 255)
    skin = np.where(feature_mask(shape, points, 0.03 * head_px) > 0, 0, np.minimum(inside, face)).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) / np.float32(head_px)
    t = np.clip(1 - depth / _BAND, 0, 1)
    mouth, chin = points[[78, 308]].mean(0), points[152]
    down = (chin - mouth) / max(float(np.linalg.norm(chin - mouth)), 1e-6)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    lower = ((columns - mouth[0]) * down[0] + (rows - mouth[1]) * down[1]) / np.float32(np.linalg.norm(chin - mouth))
    above_the_beard = np.clip(1 - lower, 0, 1)
    zone = t * t * (3 - 2 * t) * above_the_beard
    return skin, np.asarray(cv2.GaussianBlur(zone, (0, 0), max(0.02 * head_px, 0.8)), np.float32)


def _trend(logs: FloatArray, skin: Image) -> FloatArray:
    """The quadratic surface `(H, W, 3)` that most of the skin follows."""
    rows, columns = np.mgrid[: logs.shape[0], : logs.shape[1]].astype(np.float32)
    x, y = columns / logs.shape[1] - 0.5, rows / logs.shape[0] - 0.5
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y], axis=-1)
    sampled = np.zeros(skin.shape, np.bool_)
    sampled[::3, ::3] = skin[::3, ::3] > 0
    a, b = terms[sampled].astype(np.float64), logs[sampled].astype(np.float64)
    trust = np.ones(len(a))
    ridge = 1e-3 * len(a) * np.diag([0, 0.1, 0.1, 1, 1])
    for _ in range(6):
        weighted = a * trust[:, None]
        fit = np.linalg.solve(weighted.T @ a + ridge, weighted.T @ b)
        rest = (b - a @ fit).mean(axis=1)
        trust = np.square(np.clip(1 - np.square(rest / _OUTLIER), 1e-3, 1))
    return np.asarray(terms @ fit, np.float32)
