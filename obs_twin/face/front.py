"""What stays in front of the twin, at the frame's own pixels: the actor's hands and other things."""

from __future__ import annotations

import cv2
import numpy as np

from obs_twin.face.glasses import frame_pixels
from obs_twin.face.hands import hand_mask, to_edges
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.rasterise import blend
from obs_twin.face.square import Image
from obs_twin.face.topology import LEFT_EYE, LIPS_OUTER, RIGHT_EYE

_EDGE_SHARE = 0.025  # how far a thing's rim may be moved to the picture's edges, in parts of the head's size
_SHRINK = 4
_FREE = 8  # of 255: a pixel covered less shows what is behind
_REACHES = (5, 11, 25)  # shrunken pixels from which what is behind a thing is guessed, the nearest that are known first


def front_mask(observation: FaceObservation, corner: FloatArray, picture: Image) -> Image:
    """Where in `picture` `(H, W, 3) uint8`, the part of the frame at `corner`, something is in front of the face.

    Returns:
        `(H, W) uint8`, 255 is in front.
    """
    thing = observation.occlusion
    if thing is None:
        return hand_mask([hand - corner for hand in observation.hands], picture)
    size = (picture.shape[1], picture.shape[0])
    mask = np.zeros(picture.shape[:2], np.uint8)
    if thing.share > 0:
        drawn = thing.drawn(thing.mask, corner, size)
        mask = to_edges(drawn, picture, max(round(observation.head.scale * _EDGE_SHARE), 2))
    if thing.glasses is not None:
        zone = thing.drawn(thing.glasses, corner, size)
        mask = np.maximum(mask, frame_pixels(picture, zone, observation.head.scale))
    if observation.hands:
        mask = np.maximum(mask, hand_mask([hand - corner for hand in observation.hands], picture))
    return np.asarray(mask, np.uint8)


def clear_openings(picture: Image, mask: Image, points: FloatArray) -> None:
    """Replace what is in front of mouth and eyes in `picture` `(H, W, 3) uint8` by the colours around it, in place.

    So that a cup at the lips is not seen in the twin's mouth, which may open elsewhere.

    Args:
        mask: `(H, W) uint8`, 255 is in front.
        points: `(468 or 478, 2) float32`, the actor's mesh in pixels of `picture`.
    """
    openings = np.zeros_like(mask)
    for contour in (LIPS_OUTER, RIGHT_EYE, LEFT_EYE):
        cv2.fillPoly(openings, [np.round(points[contour]).astype(np.int32)], 255)
    openings = np.asarray(np.minimum(cv2.dilate(openings, np.ones((5, 5), np.uint8)), mask), np.uint8)
    x, y, width, height = cv2.boundingRect(openings)
    if width < 2 or height < 2:
        return
    margin = _SHRINK * _REACHES[-1] // 2
    rows, columns = (slice(max(low - margin, 0), low + long + margin) for low, long in ((y, height), (x, width)))
    part = picture[rows, columns]
    size = (max(part.shape[1] // _SHRINK, 1), max(part.shape[0] // _SHRINK, 1))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    free = (cv2.resize(mask[rows, columns], size, interpolation=cv2.INTER_AREA) < _FREE).astype(np.float32)
    around = small
    for reach in _REACHES[::-1]:
        weight = cv2.blur(free, (reach, reach))[..., None]
        near = cv2.blur(small * free[..., None], (reach, reach)) / np.maximum(weight, 1e-6)
        around = np.where(weight > 1e-3, near, around)
    behind = np.asarray(cv2.resize(around, part.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    blend(part, part, behind, np.ascontiguousarray(openings[rows, columns]), 1.0, 0.0, part)
