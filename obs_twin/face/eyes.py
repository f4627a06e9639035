"""The target's own eyes, looking where the actor looks.

Each eye of the photo is a small mesh: the opening's contour, and in it the iris, put where the actor's iris is. It is
drawn before the lids, so that they cover what they must. The parts of the iris that the photo's lids hide are completed
from what is seen of it, for actors who open their eyes wider than the photo does.

Eyes differ in where they rest when they look at the camera, and networks differ about that too. So the target's eyes
rest where they rest in the photo, and move as the actor's do.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.photo import TargetPhoto
from obs_twin.face.rasterise import Texture, draw, pack
from obs_twin.face.topology import LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS

Image = npt.NDArray[np.uint8]

_EYES = ((RIGHT_EYE, RIGHT_IRIS), (LEFT_EYE, LEFT_IRIS))
_CONTOUR = 16
_CENTRE = 16  # row of the iris's centre in an eye's points; its outline's points follow
_OUTLINE = 12
_SPOKES = np.array([[np.cos(a), np.sin(a)] for a in np.arange(_OUTLINE) * (2 * np.pi / _OUTLINE)], np.float32)
_IRIS_MARGIN = 1.05  # the outline runs just outside of the iris
MIN_OPENING = 0.22  # of the photo's eyes; narrower ones show too little to be used
_MARGIN = 0.35  # kept around the eyes, in units of an eye's width
# Of the difference between the two resting gazes: how much is taken over (the actor's is known roughly, and a long look
# aside must stay one), and at most how much, in widths of the eye.
_REST_SHARE, _MOST_REST_SHIFT = 0.5, 0.04


class TargetEyes:
    """Draws one photo's eyes.

    Attributes:
        usable: whether the photo's eyes are open enough.
    """

    def __init__(self, photo: TargetPhoto) -> None:
        seen = photo.observation
        self.usable = min(seen.eye_opening) >= MIN_OPENING
        self._textures: list[list[Texture]] = []
        self._places: list[list[FloatArray]] = []
        self._triangles: list[npt.NDArray[np.int32]] = []
        self._radius: list[float] = []  # of the iris, in widths of its eye
        self._rest = [_gaze(seen.local, eye, iris) for eye, iris in _EYES]
        if not self.usable:
            return
        levels, landmarks, _ = photo.measured_levels()
        for eye, iris in _EYES:
            points, radius = _eye_points(seen.landmarks, eye, iris)
            self._radius.append(radius / max(float(np.linalg.norm(points[8] - points[0])), 1e-3))
            self._triangles.append(_eye_triangles(points))
            cut = [_cut_eye(level, marks, eye, iris) for level, marks in zip(levels, landmarks, strict=True)]
            self._textures.append([texture for texture, _ in cut])
            self._places.append([places for _, places in cut])

    def draw(
        self,
        level: int,
        observation: FaceObservation,
        shaped: FloatArray,
        corner: FloatArray,
        gains: FloatArray,
        amount: float,
        layer: Image,
        drawn: Image,
    ) -> None:
        """Draw both eyes.

        Args:
            level: the size of the photo, an index into `TargetPhoto.levels`.
            shaped: `(468, 3) float32`, the twin's mesh points in the frame.
            corner: `(2,)`, where `layer` begins in the frame.
            gains: `(468, 3) float32`, the light at the mesh points.
            amount: 0..1, coverage.
            layer: `(H, W, 3) uint8`, gets the colours.
            drawn: `(H, W, 2) uint8`, gets the coverage in its first channel.
        """
        marks = np.zeros((_CENTRE + 1 + _OUTLINE, 2), np.float32)
        marks[:, 0] = amount
        c, s = np.cos(np.radians(observation.roll_deg)), np.sin(np.radians(observation.roll_deg))
        turn = np.array([[c, s], [-s, c]], np.float32)
        for side, (eye, iris) in enumerate(_EYES):
            contour = shaped[eye, :2] - corner
            moved = (shaped[eye, :2] - observation.landmarks[eye, :2]).mean(0) - corner
            centre = observation.landmarks[iris.start, :2] + moved
            across = contour[8] - contour[0] if side == 0 else contour[0] - contour[8]
            if observation.neutral is not None:
                rest = _REST_SHARE * (self._rest[side] - _gaze(observation.neutral, eye, iris))
                rest = np.clip(rest, -_MOST_REST_SHIFT, _MOST_REST_SHIFT)
                centre = centre + rest[0] * across + rest[1] * np.array([-across[1], across[0]], np.float32)
            radius = self._radius[side] * float(np.linalg.norm(across))
            outline = centre + _SPOKES @ turn * np.float32(radius)
            xy = np.concatenate([contour, centre[None], outline]).astype(np.float32)
            light = np.repeat(gains[eye].mean(0)[None], len(xy), axis=0)
            draw(
                self._textures[side][level],
                self._places[side][level],
                xy,
                self._triangles[side],
                layer,
                light,
                marks,
                drawn,
            )


def _gaze(local: FloatArray, eye: npt.NDArray[np.int32], iris: slice) -> FloatArray:
    """Where the iris is from the middle of its eye's corners `(2,)`: across and down, in widths of the eye."""
    corners = local[eye[[0, 8]], :2]
    width = max(float(np.linalg.norm(corners[1] - corners[0])), 1e-6)
    return np.asarray((local[iris.start, :2] - corners.mean(0)) / width, np.float32)


def _eye_points(landmarks: FloatArray, eye: npt.NDArray[np.int32], iris: slice) -> tuple[FloatArray, float]:
    """One eye's points: contour, iris centre, iris outline `(29, 2)`; and the outline's radius in pixels."""
    measured = landmarks[iris, :2]
    radius = float(np.linalg.norm(measured[1:] - measured[0], axis=1).mean()) * _IRIS_MARGIN
    ring = measured[0] + _SPOKES * np.float32(radius)
    return np.concatenate([landmarks[eye, :2], measured[:1], ring]).astype(np.float32), radius


def _eye_triangles(points: FloatArray) -> npt.NDArray[np.int32]:
    """Triangles of one eye `(29, 2)`: from the contour to the iris's outline, and then the iris itself."""
    centre = points[_CENTRE]

    def angle(row: int) -> float:
        return float(np.arctan2(points[row, 1] - centre[1], points[row, 0] - centre[0]))

    outline = list(range(_CENTRE + 1, _CENTRE + 1 + _OUTLINE))

    def nearest(row: int) -> int:
        return min(outline, key=lambda k: abs((angle(row) - angle(k) + np.pi) % (2 * np.pi) - np.pi))

    triangles = []
    for k in range(_CONTOUR):
        following = (k + 1) % _CONTOUR
        a, b = nearest(k), nearest(following)
        triangles.append((k, following, a))
        steps = (b - a) % _OUTLINE
        way = range(steps) if steps <= _OUTLINE // 2 else range(0, steps - _OUTLINE, -1)
        for step in way:
            here, there = ((a - outline[0] + step + d) % _OUTLINE + outline[0] for d in (0, 1 if way.step > 0 else -1))
            triangles.append((following, there, here))
    triangles += [(_CENTRE, outline[k], outline[(k + 1) % _OUTLINE]) for k in range(_OUTLINE)]
    return np.array(triangles, np.int32)


def _cut_eye(
    level: Image, landmarks: FloatArray, eye: npt.NDArray[np.int32], iris: slice
) -> tuple[Texture, FloatArray]:
    """One eye's texture out of the photo, its iris completed, and where its points `(29, 2)` are in it."""
    points, radius = _eye_points(landmarks, eye, iris)
    margin = _MARGIN * float(np.linalg.norm(points[8] - points[0])) + 2
    low = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
    high = np.ceil(points.max(0) + margin).astype(int)
    picture = level[low[1] : high[1], low[0] : high[0]].copy()
    if min(picture.shape[:2]) < 2:
        return pack(np.zeros((2, 2, 3), np.uint8)), np.zeros((len(points), 2), np.float32)
    places = np.asarray(points - low, np.float32)
    centre = places[_CENTRE]
    opening = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.round(places[:_CONTOUR]).astype(np.int32)], 255)
    opening = np.asarray(cv2.erode(opening, np.ones((3, 3), np.uint8)), np.uint8)
    _complete_iris(picture, centre, radius * 1.08, opening > 0)
    return pack(picture), places


def _complete_iris(picture: Image, centre: FloatArray, radius: float, seen: npt.NDArray[np.bool_]) -> None:
    """Fill the parts of an iris in `picture` that are not `seen` `(H, W)`, from its other side or other half."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    distance = np.hypot(columns - centre[0], rows - centre[1])
    iris = distance <= radius
    known = iris & seen
    if not known.any():
        return
    rings = np.minimum((distance / radius * 12).astype(int), 12)
    counts = np.bincount(rings[known], minlength=13)
    filled = np.flatnonzero(counts)
    for ring in range(13):
        nearest = filled[np.argmin(np.abs(filled - ring))]
        picture[iris & ~seen & (rings == ring)] = picture[known & (rings == nearest)].mean(0)
    still = iris & ~seen
    for flip_x, flip_y in ((False, True), (True, False), (True, True)):
        x = np.round(2 * centre[0] - columns).astype(int) if flip_x else columns
        y = np.round(2 * centre[1] - rows).astype(int) if flip_y else rows
        inside = still & (x >= 0) & (y >= 0) & (x < picture.shape[1]) & (y < picture.shape[0])
        inside[inside] = seen[y[inside], x[inside]]
        picture[inside] = picture[y[inside], x[inside]]
        still &= ~inside
