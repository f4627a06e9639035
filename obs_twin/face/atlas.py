"""The target's face as one texture, put together from all photos of it.

The layout is that of a label around a tin: the mesh, projected from the head's axis onto a cylinder, so that the sides
have as many pixels as the front. Every photo is drawn into the layout, brought into the first photo's light, and counts
pixel by pixel for how squarely, how large and how sharp it shows that piece of skin. The pictures are joined band by
band: coarse differences over wide ramps, fine detail over short ones (Burt and Adelson 1983, "A multiresolution spline
with application to image mosaics"). What no photo shows is taken from the other side of the face.

Where faces move (mouth, eyes) only photos with the first one's expression are mixed in; the others are kept for
`expressions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.light import smoothing_kernel
from obs_twin.face.neutral import NeutralTracker
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.photo import TargetPhoto, pyramid
from obs_twin.face.rasterise import draw, pack
from obs_twin.face.topology import (
    LEFT_BROW,
    LEFT_EYE,
    LIPS_INNER,
    LIPS_OUTER,
    LOWER_LIP,
    MESH_POINTS,
    MIRROR,
    RIGHT_BROW,
    RIGHT_EYE,
    TRIANGLES,
)

Image = npt.NDArray[np.uint8]

_AXIS_Z, _RADIUS = 0.5, 0.8  # of the cylinder, in units of the head's size
_MIN_PX, _MAX_PX = 192, 560  # of the head in the atlas
_BORDER_PX = 8
_LIPS_APART = 0.08  # in the layout, so that no lip lies over the other
# The lower lip's points, corner to corner, all rows of it alike: rows that overtook each other would be drawn torn.
_LOWER_LIP_MOVES = np.array([0.45, 0.85, 1, 1, 1, 1, 1, 0.85, 0.45], np.float32)
_LIDS_SHUT = 0.8  # in the layout, so that a shut eye's lid has as many pixels as it is high
_GRAZING, _SQUARE = 0.15, 0.75  # cosine of the viewing angle: below the first nothing is seen, above the second all
_RIM, _LEAST = np.float32(0.008), np.float32(0.15)
_MIRRORED = 0.02  # how much the other side of the face counts against what was seen
_LIGHT_RADIUS = 0.25
_FIRST = 3.0  # how much more the first photo counts, whose features are in the right place for its own light
_SHADE = np.float32(0.0)  # log units
_SAME_EXPRESSION = 0.03  # in units of the head's size
_BANDS = 5

MOUTH = np.unique(np.concatenate([LIPS_INNER, LIPS_OUTER]))
MOVING = (MOUTH, np.concatenate([RIGHT_EYE, RIGHT_BROW]), np.concatenate([LEFT_EYE, LEFT_BROW]))
"""Mesh points of the parts of a face that move: mouth, right eye, left eye."""
_REACHES = ((0.05, 0.2), (0.03, 0.1), (0.03, 0.1))  # how far around them the skin moves along: all of it, none


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One photo in the atlas's layout.

    Attributes:
        picture: `(H, W, 3) uint8`, in the first photo's light.
        weight: `(H, W) float32`, how well the photo shows each pixel's skin; 0 not at all.
        skin: `(H, W) float32`, how sure it is that this is skin, 0..1.
        expression: `(478, 3) float32`, its face in the head's axes.
    """

    picture: Image
    weight: FloatArray
    skin: FloatArray
    expression: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """The target's texture in several sizes.

    Attributes:
        levels: each `(h, w, 3) uint8` BGR, smaller by the root of two than the one before.
        points: `(468, 2) float32`, the mesh points' places in `levels[0]`, pixel centres at whole numbers.
        head_px: the head's size in pixels of `levels[0]`.
        neutral: `(478, 3) float32`, the target's resting face in the head's axes.
        tones: `(468, 3) float32` BGR, the texture's colours around each mesh point.
        layers: what it was made of, the first photo's first.
        moving: for each of `MOVING`, `(H, W) float32` 0..1, where in `levels[0]` it is.
    """

    levels: tuple[Image, ...]
    points: FloatArray
    head_px: float
    neutral: FloatArray
    tones: FloatArray
    layers: tuple[Layer, ...]
    moving: tuple[FloatArray, ...]

    def level_for(self, size_px: float) -> tuple[int, FloatArray]:
        """The index of the level whose pixels come closest to a head of `size_px`, not coarser; and its points."""
        sizes = self.head_px * np.array([level.shape[1] / self.levels[0].shape[1] for level in self.levels])
        index = max(int((sizes * 2**0.125 >= size_px).sum()) - 1, 0)
        return index, self.points_in(index)

    def points_in(self, index: int) -> FloatArray:
        """The mesh points' places `(468, 2)` in one level."""
        shape = self.levels[index].shape
        scale = np.array([shape[k] / self.levels[0].shape[k] for k in (1, 0)], np.float32)
        return (self.points + np.float32(0.5)) * scale - np.float32(0.5)

    def measured_levels(self) -> tuple[list[Image], list[FloatArray], list[float]]:
        """All levels, the mesh points in them, and the head's size in their pixels."""
        points = [self.points_in(index) for index in range(len(self.levels))]
        sizes = [self.head_px * level.shape[1] / self.levels[0].shape[1] for level in self.levels]
        return list(self.levels), points, sizes


def build_atlas(photos: Sequence[TargetPhoto]) -> Atlas:
    """The atlas of one person's `photos`; the first sets light, expression and eyes."""
    neutral = _neutral([photo.observation for photo in photos])
    head_px = float(np.clip(max(photo.observation.head.scale for photo in photos), _MIN_PX, _MAX_PX))
    points, size = _layout(neutral[:MESH_POINTS], head_px)
    moving = tuple(_around(part, reach, neutral) for part, reach in zip(MOVING, _REACHES, strict=True))
    first = photos[0].observation
    layers: list[Layer] = []
    seen: list[FloatArray] = []
    for photo in photos:
        facing = _facing(photo.observation)
        gains = None if photo is photos[0] else _gains(first, photo.observation, facing)
        quality = min(photo.observation.head.scale / head_px, 1.0) ** 2 * (_FIRST if photo is photos[0] else 1.0)
        for mirrored in (False, True):
            layer = _layer(photo, points, size, head_px, facing, gains, mirrored)
            layers.append(_without_shades(layer, layers[0], head_px) if layers else layer)
            part = np.float32(quality * (_MIRRORED if mirrored else 1.0)) * layers[-1].weight
            for where, marks in zip(MOVING, moving, strict=True):
                gap = photo.observation.local[where, :2] - first.local[where, :2]
                strange = 1 - np.exp(-np.square(gap).sum(1).mean() / _SAME_EXPRESSION**2)
                part = part * (1 - np.float32(strange) * painted(marks, points, size))
            seen.append(part)
    picture = layers[0].picture if len(photos) == 1 and not _one_sided(layers[0]) else _joined(layers, seen)
    known = np.maximum.reduce([layer.skin for layer in layers])[..., None]
    around = _filled(picture, known[..., 0] > 0.9)
    picture = np.asarray(around + (picture - around.astype(np.float32)) * known + np.float32(0.5), np.uint8)
    tones = _tones(picture, points, head_px)
    regions = tuple(painted(marks, points, size) for marks in moving)
    return Atlas(pyramid(picture), points, head_px, neutral, tones, tuple(layers[::2]), regions)


def _neutral(observations: Sequence[FaceObservation]) -> FloatArray:
    tracker = NeutralTracker()
    for observation in observations:
        tracker.update(observation)
    assert tracker.shape is not None
    return tracker.shape


def _layout(neutral: FloatArray, head_px: float) -> tuple[FloatArray, tuple[int, int]]:
    """The mesh points' places `(468, 2)` in the atlas, symmetric, and its size (height, width)."""
    even = (neutral + neutral[MIRROR] * np.array([-1, 1, 1], np.float32)) / 2
    gap = float(even[14, 1] - even[13, 1])
    lower = np.interp(even[:, 1], even[[13, 17, 152], 1], [0, 1, 0.4])
    lower[LIPS_INNER[:11]] = 0
    lower[LOWER_LIP] = _LOWER_LIP_MOVES
    even[:, 1] += np.float32(max(_LIPS_APART - gap, 0)) * lower
    for eye in (RIGHT_EYE, LEFT_EYE):
        lids = eye[15:8:-1], eye[1:8]
        even[lids[0]] += (even[lids[1]] - even[lids[0]]) * np.float32(_LIDS_SHUT)
    flat = np.stack([np.arctan2(even[:, 0], _AXIS_Z - even[:, 2]) * _RADIUS, even[:, 1]], axis=1)
    places = flat * np.float32(head_px)
    places -= places.min(0) - _BORDER_PX
    width, height = (int(v) for v in np.ceil(places.max(0)) + _BORDER_PX + 1)
    return places.astype(np.float32), (height, width)


def _around(points: npt.NDArray[np.int32], reach: tuple[float, float], neutral: FloatArray) -> FloatArray:
    """How much each mesh point `(468,)` moves along with `points`."""
    gaps = np.linalg.norm(neutral[:MESH_POINTS, None, :2] - neutral[None, points, :2], axis=2).min(1)
    return np.asarray(np.interp(gaps, reach, [1, 0]), np.float32)


def painted(marks: FloatArray, points: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Values `(468,)` 0..1 at the mesh points as a picture `(H, W) float32` in the atlas's layout."""
    out, drawn = np.zeros((*size, 3), np.uint8), np.zeros((*size, 2), np.uint8)
    both = np.stack([marks, marks], axis=1)
    draw(pack(np.zeros((2, 2, 3), np.uint8)), np.zeros_like(points), points, TRIANGLES, out, None, both, drawn)
    return np.asarray(drawn[..., 0] * np.float32(1 / 255), np.float32)


def _facing(observation: FaceObservation) -> FloatArray:
    """How well each mesh point `(468,)` is seen, 0..1, by the angle under which the camera sees the skin around it."""
    points = observation.landmarks[:MESH_POINTS]
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)  # longer for larger triangles, which thereby count more
    summed = np.zeros((MESH_POINTS, 3), np.float32)
    for k in range(3):
        np.add.at(summed, TRIANGLES[:, k], normals)
    cosine = summed[:, 2] / np.maximum(np.linalg.norm(summed, axis=1), 1e-6)
    if np.median(cosine) < 0:
        cosine = -cosine
    share = np.clip((cosine - _GRAZING) / (_SQUARE - _GRAZING), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _gains(first: FaceObservation, other: FaceObservation, facing: FloatArray) -> FloatArray:
    """Factors `(468, 3)` that bring another photo into the first one's light, judged by what both show."""
    ratio = np.log(first.appearance.tones + 4) - np.log(other.appearance.tones + 4)
    weight = (facing * _facing(first) + np.float32(1e-4))[:, None]
    middle = np.median(ratio[weight[:, 0] > 0.25], axis=0) if (weight > 0.25).any() else np.median(ratio, axis=0)
    weight *= np.exp(-np.square((ratio - middle).mean(1, keepdims=True) / 0.5))
    kernel = smoothing_kernel(first.local[:MESH_POINTS], _LIGHT_RADIUS)
    smooth = (kernel @ (ratio * weight) + 0.02 * middle) / (kernel @ weight + 0.02)
    return np.asarray(np.exp(np.clip(smooth, -1.5, 1.5)), np.float32)


def _layer(
    photo: TargetPhoto,
    points: FloatArray,
    size: tuple[int, int],
    head_px: float,
    facing: FloatArray,
    gains: FloatArray | None,
    mirrored: bool,
) -> Layer:
    index, source = photo.level_for(head_px)
    rows = MIRROR if mirrored else np.arange(MESH_POINTS)
    picture, drawn = np.zeros((*size, 3), np.uint8), np.zeros((*size, 2), np.uint8)
    marks = np.stack([facing[rows], np.ones(MESH_POINTS, np.float32)], axis=1).astype(np.float32)
    light = None if gains is None else np.ascontiguousarray(gains[rows])
    draw(pack(photo.levels[index]), np.ascontiguousarray(source[rows]), points, TRIANGLES, picture, light, marks, drawn)
    weight = drawn[..., 0] * np.float32(1 / 255)
    # Better the first photo's rim, smeared as it is, than nothing; other photos' only where they show something.
    weight = (
        np.maximum(weight, (drawn[..., 1] > 0) * _RIM) if gains is None and not mirrored else weight * (weight > _LEAST)
    )
    skin = pack(np.asarray(cv2.merge([cv2.resize(photo.skin, photo.levels[index].shape[1::-1])] * 3), np.uint8))
    face = np.zeros((*size, 3), np.uint8)
    draw(skin, np.ascontiguousarray(source[rows]), points, TRIANGLES, face)
    skin_share = face[..., 0] * np.float32(1 / 255)
    weight = np.asarray(weight * skin_share, np.float32)
    own = gains is None and not mirrored
    sure = (weight > 0) * 1.0 if own else np.clip((weight - _LEAST) / np.float32(0.3), 0, 1)
    return Layer(picture, weight, np.asarray(skin_share * sure, np.float32), photo.observation.local)


def _without_shades(layer: Layer, first: Layer, head_px: float) -> Layer:
    """`layer` without what is much darker than the skin that the first photo shows nearest to it: shade under hair."""
    sigma = max(0.025 * head_px, 1.0)
    skin = cv2.GaussianBlur(_filled(first.picture, first.skin > 0.9), (0, 0), sigma).astype(np.float32).mean(2)
    here = cv2.GaussianBlur(_filled(layer.picture, layer.skin > 0.5), (0, 0), sigma).astype(np.float32).mean(2)
    darker = np.log(skin + np.float32(8)) - np.log(here + np.float32(8))
    trust = np.clip((_SHADE + np.float32(0.15) - darker) / np.float32(0.15), 0, 1)
    trust = np.maximum(trust, np.clip((first.skin - np.float32(0.5)) / np.float32(0.45), 0, 1))
    trust = np.asarray(cv2.GaussianBlur(trust, (0, 0), sigma), np.float32)
    return replace(layer, weight=layer.weight * trust, skin=layer.skin * trust)


def _one_sided(layer: Layer) -> bool:
    """Whether one half of the face is seen much worse than the other."""
    middle = layer.weight.shape[1] // 2
    right, left = float(layer.weight[:, :middle].mean()), float(layer.weight[:, middle:].mean())
    return min(right, left) < 0.7 * max(right, left)


def _joined(layers: Sequence[Layer], weights: Sequence[FloatArray]) -> Image:
    """The layers' pictures mixed by `weights`, each band of detail over ramps of its own width."""
    # Where nothing is known all count alike, so that the ramps do not run into black.
    weights = [w + np.float32(1e-4) for w in weights]
    total = np.add.reduce([w**2 for w in weights])
    known = np.add.reduce([layer.weight for layer in layers]) > 0
    bands: list[FloatArray] = []
    for layer, weight in zip(layers, weights, strict=True):
        share = np.asarray(weight**2 / total, np.float32)
        picture = _filled(layer.picture, layer.weight > 0).astype(np.float32)
        for band in range(_BANDS):
            last = band == _BANDS - 1
            below = picture if last else cv2.pyrDown(picture)
            shape = (picture.shape[1], picture.shape[0])
            detail = picture if last else picture - cv2.pyrUp(below, dstsize=shape)
            mixed = detail * share[..., None]
            if band < len(bands):
                bands[band] += mixed
            else:
                bands.append(np.asarray(mixed, np.float32))
            if not last:
                picture, share = np.asarray(below, np.float32), np.asarray(cv2.pyrDown(share), np.float32)
    joined = bands[-1]
    for band_picture in bands[-2::-1]:
        shape = (band_picture.shape[1], band_picture.shape[0])
        joined = np.asarray(cv2.pyrUp(joined, dstsize=shape) + band_picture, np.float32)
    return np.asarray(np.clip(joined + 0.5, 0, 255) * known[..., None], np.uint8)


def _filled(picture: Image, known: npt.NDArray[np.bool_]) -> Image:
    """`picture` with what is not known taken from around it, so that smaller levels mix no black in."""
    colours = [picture * known[..., None].astype(np.float32)]
    shares = [known.astype(np.float32)]
    while min(shares[-1].shape) > 2:
        colours.append(np.asarray(cv2.pyrDown(colours[-1]), np.float32))
        shares.append(np.asarray(cv2.pyrDown(shares[-1]), np.float32))
    filled = colours[-1] / np.maximum(shares[-1], 1e-6)[..., None]
    for colour, share in zip(colours[-2::-1], shares[-2::-1], strict=True):
        above = cv2.pyrUp(filled, dstsize=(share.shape[1], share.shape[0]))
        part = np.minimum(share, 1)[..., None]
        filled = np.where(part > 0.05, colour / np.maximum(share, 1e-6)[..., None], above) * part + above * (1 - part)
    return np.asarray(np.where(known[..., None], picture, np.clip(filled, 0, 255)), np.uint8)


def _tones(picture: Image, points: FloatArray, head_px: float) -> FloatArray:
    """The colours `(468, 3)` around each mesh point."""
    side = max(round(head_px * 0.04), 1)
    soft = cv2.blur(picture, (side, side))
    x, y = (np.ascontiguousarray(points[None, :, k]) for k in (0, 1))
    return np.asarray(cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float32)
