"""Which of many pictures of a person a mesh twin is made from: sharp, well lit, and each with something of its own.

Every kind of picture that helps has a place: the front, both sides near and far, from above and below, an open mouth, a
smile, shut eyes. For each place the best picture is taken; what no picture shows is said in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.neutral import NeutralTracker
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FRONTAL_DEG, SIDE_DEG, FaceModelError
from obs_twin.face.topology import OVAL

Image = npt.NDArray[np.uint8]

MAX_PICTURES = 9
_LOOK_FPS = 8.0  # of a video
_MAX_LOOKS = 900
_SHARPNESS_PX = 160.0  # the head's size while its sharpness is measured
_SOFT, _DARK, _BRIGHT = 2.5, 45.0, 225.0  # sharpness and levels that are worth a word
_GOOD_PX = 200.0  # of the head; less is worth less
_VIDEO_MARGIN = 0.8  # of the face's size, kept around it
_APART, _WIDER, _SHUT = 0.08, 1.08, 0.13  # lips apart, mouth against the resting one, eyes' opening
_FAR_DEG = 35.0
_SHORT_OF_DEG = 20.0  # a side is missing if no picture shows it from further round than this


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture of the person, as it was measured.

    Attributes:
        name: for messages.
        observation: the face in it.
        sharpness: standard deviation of its finest detail, in levels, with the face at a common size.
        brightness: mean level of the face.
    """

    name: str
    observation: FaceObservation
    sharpness: float
    brightness: float

    @property
    def quality(self) -> float:
        """How well it serves, whatever it shows."""
        light = np.exp(-np.square((self.brightness - 140.0) / 90.0))
        return float(min(self.sharpness, 12.0) * light * min(self.observation.head.scale / _GOOD_PX, 1.0))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a twin is made of.

    Attributes:
        places: (index into the shots, what it is for), the front's first.
        notes: what is missing or poor, one sentence each.
    """

    places: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]


def measure(name: str, picture: Image, observation: FaceObservation) -> Shot:
    """A shot of `picture` `(H, W, 3) uint8` BGR, whose face is `observation`."""
    x0, y0, x1, y1 = observation.box
    scale = min(_SHARPNESS_PX / observation.head.scale, 1.0)
    face = cv2.resize(picture[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    inside = np.zeros(grey.shape, np.uint8)
    outline = (observation.landmarks[OVAL, :2] - np.array([x0, y0], np.float32)) * np.float32(scale)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
    inside = np.asarray(cv2.erode(inside, np.ones((15, 15), np.uint8)), np.uint8)
    if not inside.any():
        return Shot(name, observation, 0.0, float(grey.mean()))
    detail = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.CV_32F)
    # A small face that is enlarged later is as soft as it is small.
    return Shot(
        name, observation, float(detail[inside > 0].std()) * min(1.0, scale**-0.5), float(grey[inside > 0].mean())
    )


def choose(shots: Sequence[Shot], most: int = MAX_PICTURES) -> Choice:
    """The pictures for a twin.

    Raises:
        FaceModelError: none shows the face from the front.
    """
    rest = _resting(shots)
    taken: dict[int, str] = {}
    for purpose, merit in _purposes(rest):
        scores = [merit(shot.observation) * shot.quality for shot in shots]
        best = int(np.argmax(scores)) if scores else -1
        if purpose == "front" and (best < 0 or scores[best] <= 0):
            raise FaceModelError(
                "No picture shows the face from the front with open eyes. Look into the camera for one of them."
            )
        if scores[best] > 0 and best not in taken and len(taken) < most:
            taken[best] = purpose
    places = tuple(taken.items())
    return Choice(places, tuple(_notes([shots[index] for index in taken], rest)))


def watch(path: Path, perceiver: FacePerceiver) -> tuple[list[Shot], list[int]]:
    """Every look at a video of one person: the shots, and the numbers of their frames.

    Raises:
        FaceModelError: it cannot be read, or shows no face.
    """
    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS) or 30.0
    count = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    step = max(round(rate / _LOOK_FPS), -(-count // _MAX_LOOKS), 1)
    shots: list[Shot] = []
    numbers: list[int] = []
    perceiver.reset()
    number = -1
    while video.grab() and len(shots) < _MAX_LOOKS:
        number += 1
        if number % step:
            continue
        ok, frame = video.retrieve()
        picture = np.asarray(frame, np.uint8)
        seen = perceiver.perceive(picture) if ok else None
        if seen is not None and max(abs(seen.yaw_deg), abs(seen.pitch_deg)) < SIDE_DEG:
            shots.append(measure(f"{path.name} at {number / rate:.1f} s", picture, seen))
            numbers.append(number)
    video.release()
    perceiver.reset()
    if number < 0:
        raise FaceModelError(f"The video {path.name} cannot be read. Use MP4, MOV, MKV or AVI.")
    if not shots:
        raise FaceModelError(f"No face was found in the video {path.name}. One person, well lit, should fill it.")
    return shots, numbers


def frames(path: Path, numbers: Sequence[int], shots: Sequence[Shot]) -> list[Image]:
    """The frames `numbers` of a video, each cut out around the face of its shot."""
    wanted = {number: index for index, number in enumerate(numbers)}
    pictures: dict[int, Image] = {}
    video = cv2.VideoCapture(str(path))
    number = -1
    while len(pictures) < len(numbers) and video.grab():
        number += 1
        if number not in wanted:
            continue
        ok, frame = video.retrieve()
        if not ok:
            break
        x0, y0, x1, y1 = shots[wanted[number]].observation.box
        margin = int(max(x1 - x0, y1 - y0) * _VIDEO_MARGIN)
        part = frame[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin]
        pictures[wanted[number]] = np.ascontiguousarray(part, np.uint8)
    video.release()
    if len(pictures) < len(numbers):
        raise FaceModelError(f"The video {path.name} could not be read a second time. Copy it and try again.")
    return [pictures[index] for index in range(len(numbers))]


def _resting(shots: Sequence[Shot]) -> FloatArray | None:
    tracker = NeutralTracker()
    for shot in shots:
        tracker.update(shot.observation)
    return tracker.shape


def _lips_apart(local: FloatArray) -> float:
    return float(local[14, 1] - local[13, 1])


def _mouth_width(local: FloatArray) -> float:
    return float(np.linalg.norm(local[291, :2] - local[61, :2]))


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _purposes(rest: FloatArray | None) -> list[tuple[str, Callable[[FaceObservation], float]]]:
    """What pictures are wanted, the most wanted first, and how well a face fits each: 0 not at all."""

    def eyes_open(seen: FaceObservation) -> float:
        return _ramp(min(seen.eye_opening), 0.14, 0.26)

    def frontal(seen: FaceObservation, within: float) -> float:
        return max(1 - (abs(seen.yaw_deg) + abs(seen.pitch_deg)) / within, 0.0)

    def front(seen: FaceObservation) -> float:
        if max(abs(seen.yaw_deg), abs(seen.pitch_deg)) > FRONTAL_DEG:
            return 0.0
        return (frontal(seen, 30) + 0.02) * eyes_open(seen) * (1.2 - _ramp(_lips_apart(seen.local), 0.0, 0.08))

    def turned(low: float, high: float, sign: float) -> Callable[[FaceObservation], float]:
        def fits(seen: FaceObservation) -> float:
            yaw = seen.yaw_deg * sign
            inside = low <= yaw < high and abs(seen.pitch_deg) < 20
            return _ramp(yaw, low - 10, high) * eyes_open(seen) if inside else 0.0

        return fits

    def tilted(sign: float) -> Callable[[FaceObservation], float]:
        def fits(seen: FaceObservation) -> float:
            inside = abs(seen.yaw_deg) < 15 and 9 <= seen.pitch_deg * sign < 35
            return _ramp(seen.pitch_deg * sign, 5, 20) * eyes_open(seen) if inside else 0.0

        return fits

    def mouth_open(seen: FaceObservation) -> float:
        return frontal(seen, 40) * _ramp(_lips_apart(seen.local), _APART, 0.2)

    def smile(seen: FaceObservation) -> float:
        wider = _mouth_width(seen.local) / _mouth_width(rest) if rest is not None else 1.0
        return frontal(seen, 40) * _ramp(wider, _WIDER, 1.2)

    def eyes_shut(seen: FaceObservation) -> float:
        return frontal(seen, 40) * (1 - _ramp(max(seen.eye_opening), 0.08, _SHUT))

    return [
        ("front", front),
        ("right side", turned(15, 33, 1)),
        ("left side", turned(15, 33, -1)),
        ("open mouth", mouth_open),
        ("smile", smile),
        ("shut eyes", eyes_shut),
        ("far right side", turned(33, SIDE_DEG, 1)),
        ("far left side", turned(33, SIDE_DEG, -1)),
        ("from below", tilted(1)),
        ("from above", tilted(-1)),
    ]


def _notes(shots: Sequence[Shot], rest: FloatArray | None) -> list[str]:
    """Pictures that would make the twin better than the chosen ones do, and why."""
    yaws = [shot.observation.yaw_deg for shot in shots]
    notes = []
    for side, reach in (("left", -min(yaws)), ("right", max(yaws))):
        if reach < _SHORT_OF_DEG:
            known = 5 * int(max(reach, 0.0) // 5)
            notes.append(
                f"your head turned to show your {side} side, to {_FAR_DEG:.0f} degrees (now to {known:.0f}): what lies "
                "beyond is guessed"
            )
    if not any(_lips_apart(shot.observation.local) > _APART for shot in shots):
        notes.append("your mouth wide open: now its lips are stretched from nearly closed ones")
    if rest is None or not any(_mouth_width(shot.observation.local) > _WIDER * _mouth_width(rest) for shot in shots):
        notes.append("a broad smile: now the twin smiles without your own creases")
    if not any(max(shot.observation.eye_opening) < _SHUT for shot in shots):
        notes.append("shut eyes: now your lids are guessed when the actor blinks")
    for shot in shots:
        if shot.sharpness < _SOFT:
            notes.append(f"{shot.name}, but sharper: hold still, come closer, or clean the lens")
        if not _DARK < shot.brightness < _BRIGHT:
            wanted = "brighter" if shot.brightness <= _DARK else "darker"
            notes.append(f"{shot.name}, but {wanted}: even light from the front works best")
    return notes
