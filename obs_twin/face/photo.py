"""The target's photo, ready to be used as a texture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.shadows import without_side_light, without_side_shadows
from obs_twin.face.skin import face_mask
from obs_twin.face.topology import LIPS_INNER, LIPS_OUTER, MESH_POINTS, OVAL

Image = npt.NDArray[np.uint8]

FRONTAL_DEG = 35.0  # of yaw and pitch: the most for a twin's only photo
SIDE_DEG = 65.0  # the most for one of several
_MIN_FACE_PX = 96
_MAX_FACE_PX = 900  # more than a 4K close-up needs
_MARGIN = 0.35  # of the face's size, kept around it
_LEVEL_STEP = 2**0.5
_LIP_INSET = np.float32(0.25)
_OUTLINE_INSET = np.float32(0.04)
_MIDDLE = 6  # the bridge of the nose


class FaceModelError(ValueError):
    """A face model cannot be opened; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class TargetPhoto:
    """A face cut out of its photo, in several sizes.

    Attributes:
        levels: the picture, each `_LEVEL_STEP` smaller than the one before, `(h, w, 3) uint8` BGR.
        observation: the face in pixels of `levels[0]`.
        texture_points: `(468, 2) float32`, where in `levels[0]` each mesh point takes its colour from.
        skin: `(H, W) uint8`, 255 where `levels[0]` shows the face and not hair or background.
    """

    levels: tuple[Image, ...]
    observation: FaceObservation
    texture_points: FloatArray
    skin: Image

    def level_for(self, size_px: float) -> tuple[int, FloatArray]:
        """The index of the level whose pixels come closest to a head of `size_px` on screen, not coarser; and its uv.

        uv is `(468, 2) float32`, pixel centres at whole numbers.
        """
        steps = np.log(max(self.observation.head.scale / max(size_px, 1.0), 1.0)) / np.log(_LEVEL_STEP)
        index = min(int(steps + 0.25), len(self.levels) - 1)
        level = self.levels[index]
        scale = np.array(
            [level.shape[1] / self.levels[0].shape[1], level.shape[0] / self.levels[0].shape[0]], np.float32
        )
        return index, (self.texture_points + 0.5) * scale - 0.5

    def measured_levels(self) -> tuple[list[Image], list[FloatArray], list[float]]:
        """All sizes of the photo with their landmarks and the head's size in their pixels."""
        scales = [np.float32(level.shape[1] / self.levels[0].shape[1]) for level in self.levels]
        landmarks = [self.observation.landmarks * scale for scale in scales]
        return list(self.levels), landmarks, [float(self.observation.head.scale * scale) for scale in scales]


def read_photo(path: Path, perceiver: FacePerceiver, most_turned_deg: float = FRONTAL_DEG) -> TargetPhoto:
    """Open a photo of one face, turned by `most_turned_deg` at most.

    Raises:
        FaceModelError: it is missing or no picture, or shows no face, several faces, one too small or one turned away.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise FaceModelError(f"The photo {path.name} cannot be read: {error.strerror}.") from error
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        raise FaceModelError(
            f"The photo {path.name} is damaged or not a picture that can be opened (JPEG, PNG or WebP)."
        )
    return photo_from(np.asarray(picture, np.uint8), perceiver, path.name, most_turned_deg)


def photo_from(
    picture: Image, perceiver: FacePerceiver, name: str = "photo", most_turned_deg: float = FRONTAL_DEG
) -> TargetPhoto:
    """`read_photo` for a picture in memory, `(H, W, 3) uint8` BGR; `name` is for messages."""
    perceiver.reset()
    seen = perceiver.perceive(picture)
    if seen is None:
        raise FaceModelError(
            f"No face was found in {name}. Use a photo with one face from the front, well lit, that fills "
            "at least a fifth of the picture's height."
        )
    faces = perceiver.count_faces(picture)
    if faces > 1:
        raise FaceModelError(f"{faces} faces were found in {name}. Cut the photo so that it shows one person only.")
    x0, y0, x1, y1 = seen.box
    size = max(x1 - x0, y1 - y0)
    if size < _MIN_FACE_PX:
        raise FaceModelError(
            f"The face in {name} is {size} pixels high; at least {_MIN_FACE_PX} are needed. Use a larger photo."
        )
    if max(abs(seen.yaw_deg), abs(seen.pitch_deg)) > most_turned_deg:
        raise FaceModelError(
            f"The face in {name} is turned {abs(seen.yaw_deg):.0f} degrees to the side and {abs(seen.pitch_deg):.0f} "
            f"up or down; at most {most_turned_deg:.0f} can be used."
        )
    margin = int(size * _MARGIN)
    x0, y0 = max(x0 - margin, 0), max(y0 - margin, 0)
    face = picture[y0 : y1 + margin, x0 : x1 + margin]
    if size > _MAX_FACE_PX:
        shrink = _MAX_FACE_PX / size
        face = np.asarray(cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    perceiver.reset()
    again = perceiver.perceive(face)
    if again is not None:
        perceiver.reset()
        skin = face_mask(face, again)
        face = without_side_shadows(without_side_light(face, again), again, skin)
        again = perceiver.perceive(face)  # exactly the picture that is kept
    perceiver.reset()
    if again is None:
        raise FaceModelError(f"The face in {name} could not be measured. Use a sharper photo from the front.")
    return TargetPhoto(pyramid(face), again, _texture_points(again.landmarks), skin)


def _texture_points(landmarks: FloatArray) -> FloatArray:
    """The mesh points, a little off the openings, so that no teeth are taken for lip."""
    points = landmarks[:MESH_POINTS, :2].copy()
    # Nor what lies behind the face for cheek.
    points[OVAL] += (points[_MIDDLE] - points[OVAL]) * _OUTLINE_INSET
    points[LIPS_INNER] += (points[LIPS_OUTER] - points[LIPS_INNER]) * _LIP_INSET
    return points


def pyramid(face: Image) -> tuple[Image, ...]:
    """`face` in several sizes, each `_LEVEL_STEP` smaller than the one before."""
    levels = [np.ascontiguousarray(face)]
    scale = 1.0
    while min(levels[-1].shape[:2]) > 48:
        scale /= _LEVEL_STEP
        size = (max(round(face.shape[1] * scale), 2), max(round(face.shape[0] * scale), 2))
        levels.append(np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA), np.uint8))
    return tuple(levels)
