"""Hands in front of the face: found, followed, and turned into a mask.

MediaPipe's palm detector and hand landmark network (Zhang et al. 2020). They are large for a face filter, so the palm
detector runs only now and then or when the face's colours change, and the landmarks only while a hand is at the face.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.detect import Detection, PalmDetector, overlap
from obs_twin.face.litert import Network
from obs_twin.face.square import FloatArray, Image, Square, square_around

HAND_PX = 224
_MAX_HANDS = 2
_MIN_PRESENCE = 0.5
_MIN_PALM = 0.35  # low: the landmark network says whether it is one
_PALM_MARGIN, _PALM_LIFT = 2.6, 0.5
_HAND_MARGIN, _HAND_LIFT = 2.0, 0.1
# Looking takes as long as the rest of a frame. What covers the face is told by `changed` at once; this is for the rest.
_LOOK_EVERY_FRAMES = 25
_SEARCH_SIDES = 3.2  # the square searched, in sizes of the face

# Landmark rows: the wrist, then four joints of each finger from the thumb on.
_PALM_OUTLINE = [0, 1, 5, 9, 13, 17]
_FINGERS = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]]
_BONES = [(f[k], f[k + 1]) for f in _FINGERS for k in range(3)] + [(0, f[0]) for f in _FINGERS]
_STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # without the finger tips: the next square is around these
_FINGER_WIDTHS = (0.42, 0.38, 0.38, 0.36, 0.32)  # of the knuckles' distance, index to little finger


class HandFinder:
    """Follows hands near a face. Frames must come in order; one instance per stream.

    Args:
        palm_path, hand_path: `palm_detection_lite`, `hand_landmark_lite` (.tflite).
    """

    def __init__(self, palm_path: Path, hand_path: Path) -> None:
        self._palms = PalmDetector(palm_path, min_score=_MIN_PALM)
        self._network = Network(hand_path, (1, HAND_PX, HAND_PX, 3))
        self._squares: list[Square] = []
        self._frames_since_look = _LOOK_EVERY_FRAMES

    def reset(self) -> None:
        self._squares = []
        self._frames_since_look = _LOOK_EVERY_FRAMES

    def drop(self) -> None:
        """What is followed is no hand: look again when it is time to."""
        self._squares = []

    def find(self, bgr: Image, face_box: Sequence[int], changed: bool) -> tuple[FloatArray, ...]:
        """The hands that overlap the face, each `(21, 2) float32` in pixels of the frame.

        Args:
            face_box: `(x0, y0, x1, y1)`.
            changed: the face looks as if something had come in front of it: look now.
        """
        self._frames_since_look += 1
        squares = list(self._squares)
        if self._frames_since_look >= (3 if changed else _LOOK_EVERY_FRAMES) and len(squares) < _MAX_HANDS:
            self._frames_since_look = 0
            for palm in self._palms.detect(bgr, _search_region(face_box)):
                square = _square_from(palm)
                if all(_apart(square, other) for other in squares):
                    squares.append(square)
        self._squares, hands = [], []
        for square in squares[:_MAX_HANDS]:
            hand = self._landmarks(bgr, square)
            if hand is None or not _touches(hand, face_box):
                continue
            hands.append(hand)
            self._squares.append(square_around(hand[_STEADY], _turn(hand), _HAND_MARGIN, HAND_PX, _HAND_LIFT))
        return tuple(hands)

    def _landmarks(self, bgr: Image, square: Square) -> FloatArray | None:
        rgb = cv2.cvtColor(square.crop(bgr), cv2.COLOR_BGR2RGB).astype(np.float32)
        rgb *= 1 / 255.0
        points, presence, *_ = self._network.run(rgb)
        if float(presence.reshape(-1)[0]) < _MIN_PRESENCE:
            return None
        return square.to_frame(np.ascontiguousarray(points.reshape(21, 3)[:, :2]))


def hand_mask(hands: Sequence[FloatArray], picture: Image) -> npt.NDArray[np.uint8]:
    """Where the `hands` are in `picture` `(H, W, 3) uint8`, its rim drawn to the picture's edges.

    Returns:
        `(H, W) uint8`, 255 is hand.
    """
    mask = np.zeros(picture.shape[:2], np.uint8)
    reach = 1.0
    for hand in hands:
        knuckles = float(np.linalg.norm(hand[5] - hand[17]))
        length = float(np.linalg.norm(hand[9] - hand[0]))
        width = max(knuckles, 0.55 * length)  # seen from its edge, a hand is not thinner
        reach = max(reach, width * 0.12)
        cv2.fillPoly(mask, [np.round(hand[_PALM_OUTLINE]).astype(np.int32)], 255)
        outline = np.round(np.concatenate([hand[_PALM_OUTLINE], hand[:1]])).astype(np.int32)
        cv2.polylines(mask, [outline], False, 255, max(round(width * 0.4), 1))
        for finger, share in zip(_FINGERS, _FINGER_WIDTHS, strict=True):
            joints = np.round(hand[finger]).astype(np.int32)
            cv2.polylines(mask, [joints], False, 255, max(round(width * share), 1), cv2.LINE_AA)
        arm = hand[0] + (hand[0] - hand[9]) * 0.8
        ends = np.round(np.stack([hand[0], arm])).astype(np.int32)
        cv2.polylines(mask, [ends], False, 255, max(round(width * 0.9), 1), cv2.LINE_AA)
    return to_edges(mask, picture, max(round(reach), 2))


def under_hands(hands: Sequence[FloatArray], points: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of `points` `(N, 2)` lie under one of the hands, roughly: near one of its bones."""
    hidden = np.zeros(len(points), np.bool_)
    for hand in hands:
        reach = 0.6 * float(np.linalg.norm(hand[9] - hand[0]))
        starts, ends = hand[[a for a, _ in _BONES]], hand[[b for _, b in _BONES]]
        line = ends - starts
        gap = points[:, None] - starts[None]
        along = np.clip((gap * line).sum(2) / np.maximum((line * line).sum(1), 1e-6), 0, 1)
        hidden |= np.linalg.norm(gap - along[..., None] * line, axis=2).min(1) < reach / 2
    return hidden


def to_edges(mask: Image, picture: Image, radius_px: int) -> Image:
    """Move the mask's rim to the picture's edges: a guided filter (He et al. 2013) with the brightness as its guide."""
    guide = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    source = mask.astype(np.float32) / 255
    size = (2 * radius_px + 1, 2 * radius_px + 1)
    mean_guide, mean_source = cv2.blur(guide, size), cv2.blur(source, size)
    covariance = cv2.blur(guide * source, size) - mean_guide * mean_source
    variance = cv2.blur(guide * guide, size) - mean_guide * mean_guide
    slope = covariance / (variance + np.float32(1e-4))
    shift = mean_source - slope * mean_guide
    refined = cv2.blur(slope, size) * guide + cv2.blur(shift, size)
    return np.asarray(np.clip((refined - 0.5) * 1.6 + 0.5, 0, 1) * 255, np.uint8)


def _square_from(palm: Detection) -> Square:
    wrist, middle = palm.keypoints[0], palm.keypoints[2]
    corners = np.array(palm.box, np.float32).reshape(2, 2)
    side = float((corners[1] - corners[0]).max())
    angle = math.atan2(float(wrist[1] - middle[1]), float(wrist[0] - middle[0])) - math.pi / 2
    up = np.array([math.sin(angle), -math.cos(angle)]) * (_PALM_LIFT * side)
    x, y = (float(v) for v in corners.mean(0) + up)
    return Square((x, y), side * _PALM_MARGIN, angle, HAND_PX)


def _turn(hand: FloatArray) -> float:
    """The hand's angle: 0 with the fingers up."""
    knuckles = (hand[5] + hand[13] + 2 * hand[9]) / 4
    down = hand[0] - knuckles
    return math.atan2(float(down[1]), float(down[0])) - math.pi / 2


def _search_region(face_box: Sequence[int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = face_box
    half = max(x1 - x0, y1 - y0) * _SEARCH_SIDES / 2
    x, y = (x0 + x1) / 2, (y0 + y1) / 2 + half * 0.25  # hands come from below
    return (x - half, y - half, x + half, y + half)


def _apart(a: Square, b: Square) -> bool:
    boxes = []
    for square in (a, b):
        (x, y), half = square.centre, square.side_px / 2
        boxes.append((x - half, y - half, x + half, y + half))
    return overlap(boxes[0], boxes[1]) < 0.3


def _touches(hand: FloatArray, face_box: Sequence[int]) -> bool:
    low, high = hand.min(0), hand.max(0)
    x0, y0, x1, y1 = face_box
    margin = 0.5 * (x1 - x0)
    return bool(high[0] > x0 - margin and low[0] < x1 + margin and high[1] > y0 - margin and low[1] < y1 + margin)
