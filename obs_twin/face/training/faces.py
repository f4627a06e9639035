"""From photos and clips to aligned faces: what the network is trained on.

A face set is what DeepFaceLab calls aligned faces: squares cut by the same rule as in use (`face.dfm.align`), each with
a mask of the face, found with the same perception as in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.dfm.align import face_matrix
from obs_twin.face.dfm.twin import cut
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.topology import LEFT_BROW, LEFT_EYE, LIPS_OUTER, MESH_POINTS, OVAL, RIGHT_BROW, RIGHT_EYE

Image = npt.NDArray[np.uint8]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
MARGIN = 1.25
"""Faces are kept this much larger than the network sees them, so that they can be turned and shifted in training."""

_MIN_FACE_PX = 48
_MAX_YAW_DEG = 60.0
_FOREHEAD = 0.18  # how far above the mesh the forehead goes on, in heights of the mesh


class FaceSetError(ValueError):
    """There is nothing to learn from; the message says what was found and what is needed."""


@dataclass(frozen=True, eq=False)
class FaceSet:
    """One person's aligned faces.

    Attributes:
        faces: `(N, S, S, 3) uint8` BGR.
        masks: `(N, S, S) uint8`, 255 is face.
        features: `(N, S, S) uint8`, 255 is eyes, brows and mouth, which are to count more.
        looked_at: how many pictures or frames were looked at.
    """

    faces: Image
    masks: Image
    features: Image
    looked_at: int


def read_pictures(source: Path, *, most: int = 2000) -> Iterator[Image]:
    """The pictures of a folder, or evenly spaced frames of a video, `(H, W, 3) uint8` BGR.

    Raises:
        FaceSetError: neither.
    """
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURES)
        if not paths:
            raise FaceSetError(f"{source} holds no pictures. Expected were {', '.join(sorted(PICTURES))} files.")
        for path in paths[:: max(1, -(-len(paths) // most))]:
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                yield np.asarray(picture, np.uint8)
        return
    video = cv2.VideoCapture(str(source))
    try:
        if not video.isOpened():
            raise FaceSetError(f"{source} is neither a folder of pictures nor a video that can be read.")
        step = max(1, int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // most)
        number = 0
        while video.grab():
            if number % step == 0:
                ok, picture = video.retrieve()
                if ok:
                    yield np.ascontiguousarray(picture, np.uint8)
            number += 1
    finally:
        video.release()


def extract(
    pictures: Iterable[Image], perceiver: FacePerceiver, side_px: int, face_type: str = "whole_face"
) -> FaceSet:
    """Cut the largest face out of each picture.

    Args:
        pictures: of one person, each `(H, W, 3) uint8` BGR.
        perceiver: used for nothing else meanwhile.
        side_px: the network's resolution; faces are cut `MARGIN` times as large.
        face_type: how much of the head goes in (`face.dfm.align.FACE_TYPES`).

    Raises:
        FaceSetError: there is a usable face in none of them.
    """
    faces, masks, features = [], [], []
    looked_at = 0
    for picture in pictures:
        looked_at += 1
        perceiver.reset()
        seen = perceiver.perceive(picture)
        if seen is None or seen.hands or seen.head.scale < _MIN_FACE_PX or abs(seen.yaw_deg) > _MAX_YAW_DEG:
            continue
        cut_px = round(side_px * MARGIN)
        matrix = face_matrix(seen.landmarks, side_px, face_type)
        matrix[:, 2] += (cut_px - side_px) / 2
        mask, feature = _masks(picture.shape, seen)
        faces.append(cut(picture, matrix, cut_px))
        masks.append(cv2.warpAffine(mask, matrix, (cut_px, cut_px), flags=cv2.INTER_AREA))
        features.append(cv2.warpAffine(feature, matrix, (cut_px, cut_px), flags=cv2.INTER_AREA))
    if not faces:
        raise FaceSetError(
            f"No usable face was found in {looked_at} pictures. Needed are pictures of one person, the face at least "
            f"{_MIN_FACE_PX} pixels wide and turned by at most {_MAX_YAW_DEG:.0f} degrees, with no hand before it."
        )
    return FaceSet(np.stack(faces), np.stack(masks).astype(np.uint8), np.stack(features).astype(np.uint8), looked_at)


def outline(landmarks: FloatArray, forehead: float = _FOREHEAD) -> FloatArray:
    """The face's outline `(36, 2)` in pixels: the mesh's, its upper part moved up over the forehead."""
    points = landmarks[OVAL, :2].copy()
    up = landmarks[10, :2] - landmarks[152, :2]
    height = landmarks[:MESH_POINTS, :2] @ up / float(up @ up)
    brow, top = float(height[168]), float(height[10])
    share = np.clip((points @ up / float(up @ up) - brow) / max(top - brow, 1e-6), 0, 1)
    return np.asarray(points + share[:, None] * up * np.float32(forehead), np.float32)


def _masks(shape: tuple[int, ...], seen: FaceObservation) -> tuple[Image, Image]:
    """`(H, W)` masks of the face and of its features, 255 inside."""
    mask, feature = np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline(seen.landmarks)).astype(np.int32)], 255)
    for part in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, LIPS_OUTER):
        hull = cv2.convexHull(np.round(seen.landmarks[part, :2]).astype(np.int32))
        cv2.fillConvexPoly(feature, hull, 255)
    reach = max(round(seen.head.scale * 0.04), 1)
    return mask, np.asarray(cv2.dilate(feature, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)), np.uint8)
