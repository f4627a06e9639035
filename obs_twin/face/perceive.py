"""From a frame to a face: detector, face mesh and irises, tracked from frame to frame.

    frame -> BlazeFace (only when there is no face to follow) -> rotated square around the face
          -> face mesh, 468 points on 192x192 -> square around each eye -> iris network on 64x64 -> observation

The squares, their margins and the networks' conventions are MediaPipe's (face_landmark_front and iris_landmark graphs;
Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs"; Ablavatski et al. 2020,
"Real-time Pupil Tracking from Monocular Video for Digital Puppetry").
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.appearance import Appearance, Detail, UsualTones, all_detail, iris_tone, motion_blur, tones_at
from obs_twin.face.choose import ActorChoice
from obs_twin.face.cut import FACE, SCENE, CutDetector
from obs_twin.face.detail import OCTAVES
from obs_twin.face.detect import Detection, FaceDetector, overlap
from obs_twin.face.hands import HandFinder, under_hands
from obs_twin.face.litert import Network
from obs_twin.face.neutral import NeutralTracker
from obs_twin.face.observation import FaceObservation, FloatArray, Rect, opening_ratio
from obs_twin.face.occlusion import OcclusionFinder
from obs_twin.face.square import Square, square_around
from obs_twin.face.topology import (
    ALL_POINTS,
    IRIS_POINTS,
    LEFT_EYE,
    LEFT_IRIS,
    MESH_POINTS,
    RIGHT_EYE,
    RIGHT_IRIS,
)

Image = npt.NDArray[np.uint8]

MESH_PX = 192
EYE_PX = 64
_ROI_MARGIN = 1.5  # the mesh network's square, over the face's bounding box
_EYE_MARGIN = 2.3  # the iris network's square, over the distance between the eye's corners
_MIN_EYE_PX = 7.0  # below this width of an eye the iris network only guesses
_MIN_PRESENCE = 0.5
_VERIFY_EVERY_FRAMES = 30
_MAX_HELD_FRAMES = 20
_DETAIL_EVERY_FRAMES = 5  # odd, so that both eyes have their turn
_MOST_FACES = 4
_REFUSED_FRAMES, _DOUBTED_FRAMES = 8, 5
_KNOWN_YAW_DEG = 30.0  # up to here the embedding tells people apart
_JUMP = 0.5
_HAND_YAW_DEG, _HAND_EVIDENCE = 25.0, 0.15
_QUICK, _QUICK_PX = 0.015, 3.0  # from one frame to the next: of the head's size and at least, to be blurred by it
_DETAIL_STEP = 0.38
_SOFT_PX = 3
_USUAL_DETAIL = Detail(0.2, 0.0, np.full(OCTAVES, np.nan, np.float32))  # of a webcam, until it is measured
# The iris network's contour rows in the order of `topology.RIGHT_EYE`: lower lid from the outer to the inner corner,
# then the upper lid backwards.
_LIDS = [*range(0, 9), *range(15, 8, -1)]
_QUICK_LIDS, _CLOSING = 0.04, 0.8  # in two frames, height over width; of the resting opening
_NO_TONE = np.full(3, 60, np.float32)
_EYES = ((RIGHT_EYE, RIGHT_IRIS), (LEFT_EYE, LEFT_IRIS))


class FacePerceiver:
    """Follows one face through a stream. Frames must come in order; one instance per stream, one thread.

    Args:
        detector_path, mesh_path, iris_path: `face_detection_short_range`, `face_landmark`, `iris_landmark` (.tflite).
        palm_path, hand_path: `palm_detection_lite`, `hand_landmark_lite`; with both, hands stay in front of the twin.
        choice: which of several faces to follow; the largest unless told otherwise.

    Attributes:
        refused: a face is in the picture, but `choice` says that it is not the actor's.

    Raises:
        ValueError: a model file is missing or is another model.
    """

    def __init__(
        self,
        detector_path: Path,
        mesh_path: Path,
        iris_path: Path,
        *,
        palm_path: Path | None = None,
        hand_path: Path | None = None,
        choice: ActorChoice | None = None,
    ) -> None:
        self._detector = FaceDetector(detector_path)
        self._mesh = Network(mesh_path, (1, MESH_PX, MESH_PX, 3))
        self._iris = Network(iris_path, (1, EYE_PX, EYE_PX, 3))
        self._hands = HandFinder(palm_path, hand_path) if palm_path and hand_path else None
        self._usual = UsualTones()
        self._choice = choice or ActorChoice()
        self.refused = False
        self._strangers = 0
        self._wait = 0
        self._hands_proved = False
        self._cuts = CutDetector(SCENE)
        self._faces = CutDetector(FACE)
        self._neutral = NeutralTracker()
        self._things = OcclusionFinder()
        self._frame_number = 0
        self._scene = 0
        self._roi: Square | None = None
        self._last: FaceObservation | None = None
        self._frames_held = 0
        self._doubts = 0
        self._eyes: list[_Look | None] = [None, None]
        self._detail = _USUAL_DETAIL

    def reset(self) -> None:
        """Forget the followed face: after a cut, a change of source or of size."""
        self._roi = self._last = None
        self._frames_held = 0
        self._doubts = 0
        self._frame_number = 0
        self._detail = _USUAL_DETAIL
        self._eyes = [None, None]
        self._usual.reset()
        if self._hands is not None:
            self._hands.reset()
        self._neutral.reset()
        self._things.reset()
        self._cuts.reset()
        self._faces.reset()
        self.refused = False
        self._strangers = self._wait = 0
        self._hands_proved = False

    def follow(self, choice: ActorChoice) -> None:
        """From now on, follow the face that `choice` picks."""
        if choice is not self._choice:
            self._choice = choice
            self.reset()

    def perceive(self, bgr: Image) -> FaceObservation | None:
        """The followed face in `bgr` `(H, W, 3) uint8`, or None when there is none."""
        if self._cuts.cut(bgr):
            self._next_scene()
        self._frame_number += 1
        found = None
        if self._roi is not None and self._verified(bgr):
            found = self._landmarks(bgr, self._roi)
            if found is None and self._last is not None and self._last.hands:
                return self._behind_hands(bgr, self._last)
        if found is not None and self._faces.cut(found[2]):
            self._next_scene()
            found = None
        if found is None:
            found = self._search(bgr)
        if found is None:
            self._roi = self._last = None
            return None
        mesh, presence, crop, roi = found
        if self._stranger(bgr, mesh):
            self._roi = self._last = None
            return None
        self._roi = _square_around(mesh)
        if not _inside(mesh, bgr.shape):
            self._roi = self._last = None
            return None
        landmarks = self._with_irises(bgr, mesh)
        tones = tones_at(crop, roi.from_frame(landmarks[:MESH_POINTS, :2]))
        box = _clipped_box(mesh, bgr.shape)
        hands: tuple[FloatArray, ...] = ()
        if self._hands is not None:
            hands = self._hands.find(bgr, box, self._usual.covered(tones))
        hidden = under_hands(hands, landmarks[:MESH_POINTS, :2])
        irises = np.stack([_NO_TONE if look is None else look.tone for look in self._eyes])
        motion = self._follow_detail(bgr, landmarks)
        appearance = Appearance(tones, irises, *self._detail, motion)
        seen = FaceObservation.measured(landmarks, presence, box, appearance, hands=hands)
        soft = np.asarray(cv2.blur(crop, (_SOFT_PX, _SOFT_PX)), np.uint8)
        thing = self._things.find(soft, roi, seen, hidden)
        if not self._proved(seen, self._things.unlike_under_hands):
            seen, hidden = replace(seen, hands=()), np.zeros_like(hidden)
            if self._hands is not None:
                self._hands.drop()
        if thing is not None and thing.share > 0:
            hidden |= thing.at(mesh[:, :2])
        elif not seen.hands:
            self._neutral.update(seen)
        appearance = appearance._replace(tones=self._usual.update(tones, hidden))
        self._last = replace(
            seen, appearance=appearance, occlusion=thing, neutral=self._neutral.shape, scene=self._scene
        )
        self._frames_held = 0
        return self._last

    def _next_scene(self) -> None:
        self.reset()
        self._scene += 1

    def _stranger(self, bgr: Image, mesh: FloatArray) -> bool:
        """Whether the followed face turns out not to be the actor's: asked now and then, and when it jumps."""
        last = self._last
        if not self._choice.knows_faces or last is None or abs(last.yaw_deg) > _KNOWN_YAW_DEG or last.hands:
            return False
        jump = float(np.linalg.norm(mesh.mean(0) - last.landmarks[:MESH_POINTS].mean(0))) > _JUMP * last.head.scale
        if not jump and self._frame_number % (_VERIFY_EVERY_FRAMES if not self._strangers else _DOUBTED_FRAMES):
            return False
        self._strangers = 0 if self._choice.accepts(bgr, mesh) else self._strangers + 1
        self.refused = self._strangers >= (1 if jump else 2)
        return self.refused

    def _proved(self, seen: FaceObservation, unlike: float) -> bool:
        """Whether the hands found may be hands: a turned head is now and then taken for one.

        So a hand that was first found on a turned head only counts once the face does not look as ever under it.
        """
        if not seen.hands:
            self._hands_proved = False
        elif abs(seen.yaw_deg) < _HAND_YAW_DEG or unlike >= _HAND_EVIDENCE:
            self._hands_proved = True
        return self._hands_proved or not seen.hands

    def _behind_hands(self, bgr: Image, last: FaceObservation) -> FaceObservation | None:
        """A face that went out of sight behind hands is taken to stay where it was, for a moment."""
        assert self._hands is not None
        self._frames_held += 1
        hands = self._hands.find(bgr, last.box, changed=True)
        if not hands or self._frames_held > _MAX_HELD_FRAMES:
            self._roi = self._last = None
            return None
        self._last = replace(last, hands=hands, confidence=0.0)
        return self._last

    def _follow_detail(self, bgr: Image, landmarks: FloatArray) -> FloatArray:
        """Measure sharpness and noise, which change slowly, where it is due; returns `Appearance.motion`."""
        before = self._detail
        still = np.zeros(2, np.float32)
        if self._last is not None:
            moved = (landmarks[:MESH_POINTS, :2] - self._last.landmarks[:MESH_POINTS, :2]).mean(axis=0)
            if float(np.linalg.norm(moved)) > max(_QUICK_PX, _QUICK * self._last.head.scale):
                return motion_blur(moved, all_detail(bgr, landmarks).octaves, before.octaves)
        if self._frame_number % _DETAIL_EVERY_FRAMES != 1:
            return still
        seen = all_detail(bgr, landmarks)
        step = np.float32(1.0 if self._frame_number <= _DETAIL_EVERY_FRAMES else _DETAIL_STEP)
        fineness = before.fineness + float(step) * (seen.fineness - before.fineness)
        # An octave that was not known begins with what is seen; one that cannot be seen now stays. Detail that comes
        # back after a movement is believed sooner than that it is gone.
        steps = np.where(seen.octaves > before.octaves, np.minimum(2 * step, 1), step)
        known = before.octaves + steps * (seen.octaves - before.octaves)
        octaves = np.where(np.isnan(before.octaves), seen.octaves, np.where(np.isnan(known), before.octaves, known))
        self._detail = Detail(
            fineness if math.isfinite(fineness) else before.fineness,
            before.noise + float(step) * (seen.noise - before.noise),
            octaves.astype(np.float32),
        )
        return still

    def count_faces(self, bgr: Image) -> int:
        """How many faces of about the same size or larger than half the largest are in the picture."""
        found = self._detector.detect(bgr)
        largest = max((d.area for d in found), default=0.0)
        return sum(d.area > largest / 4 for d in found)

    def _verified(self, bgr: Image) -> bool:
        """Now and then, let the detector confirm that what is followed is a face; two doubts in a row end it."""
        if self._doubts == 0 and self._frame_number % _VERIFY_EVERY_FRAMES:
            return True
        assert self._roi is not None
        (x, y), half = self._roi.centre, self._roi.side_px * 0.75
        seen = self._detector.detect(bgr, (x - half, y - half, x + half, y + half))
        face = self._roi.side_px / _ROI_MARGIN / 2
        box = (x - face, y - face, x + face, y + face)
        self._doubts = 0 if any(overlap(d.box, box) > 0.2 for d in seen) else self._doubts + 1
        return self._doubts < 3

    def _search(self, bgr: Image) -> tuple[FloatArray, float, Image, Square] | None:
        """Detect anew: the whole frame, and one of its squares in turn (the whole frame hides small faces)."""
        self._doubts = 0
        self._eyes = [None, None]
        self._wait = max(self._wait - 1, 0)
        if self._wait:
            return None
        detections = self._detector.detect(bgr)
        if not detections or self.refused:
            detections += self._detector.detect(bgr, self._search_square(bgr.shape))
        self.refused = False
        for detection in self._choice.ordered(detections, bgr.shape)[:_MOST_FACES]:
            first = self._landmarks(bgr, _square_from(detection))
            # A detection's square is rough; the mesh's own square gives the precise landmarks.
            found = first and self._landmarks(bgr, _square_around(first[0]))
            if found is None:
                continue
            if self._choice.accepts(bgr, found[0]):
                self._strangers = 0
                self.refused = False
                return found
            self.refused = True
        # Looking at strangers' faces costs time.
        self._wait = _REFUSED_FRAMES if self.refused else 0
        return None

    def _search_square(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        height, width = shape[:2]
        side = min(height, width) * 0.6
        places = ((0.5, 0.4), (0.3, 0.4), (0.7, 0.4), (0.5, 0.7))
        x, y = places[self._frame_number % len(places)]
        return (x * width - side / 2, y * height - side / 2, x * width + side / 2, y * height + side / 2)

    def _landmarks(self, bgr: Image, roi: Square) -> tuple[FloatArray, float, Image, Square] | None:
        crop = roi.crop(bgr)
        rgb = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)
        rgb *= 1 / 255.0
        raw, flag = self._mesh.run(rgb)
        presence = 1.0 / (1.0 + math.exp(-float(flag.reshape(-1)[0])))
        if presence < _MIN_PRESENCE:
            return None
        return roi.to_frame(raw.reshape(MESH_POINTS, 3)), presence, crop, roi

    def _with_irises(self, bgr: Image, mesh: FloatArray) -> FloatArray:
        """All 478 landmarks. One eye is looked at per frame, in turn, and the other follows it, as eyes do; in a blink,
        which is too quick for that, both."""
        landmarks = np.empty((ALL_POINTS, 3), np.float32)
        landmarks[:MESH_POINTS] = mesh
        turn = self._frame_number % 2
        before = self._eyes[turn]
        self._eyes[turn] = fresh = self._look(bgr, mesh, turn)
        other = self._eyes[1 - turn]
        if fresh is None:
            self._eyes[1 - turn] = other = None
        elif other is None or (before is not None and self._blinks(fresh, before, turn)):
            self._eyes[1 - turn] = other = self._look(bgr, mesh, 1 - turn)
        elif before is not None:
            # The other eye's look is one frame old, `before` two. What is hardly a movement is mostly jitter.
            moved = min(abs(fresh.opening - before.opening) / _QUICK_LIDS, 1.0)
            lids = other.lids + (fresh.lids - before.lids) * np.array([0, 0.5 * moved], np.float32)
            iris = other.iris + (fresh.iris.mean(0) - before.iris.mean(0)) * np.float32(0.5)
            other = replace(other, lids=lids, iris=iris)
        for side, (eye, iris_rows) in enumerate(_EYES):
            look = fresh if side == turn else other
            square = _eye_square(mesh, side)
            depth = float(mesh[eye, 2].mean())
            if look is None:
                landmarks[iris_rows] = _resting_iris(mesh[eye])
                continue
            lids = square.from_frame(mesh[eye, :2]) + look.lids * EYE_PX
            landmarks[eye, :2] = square.to_frame(lids)
            landmarks[iris_rows, :2] = square.to_frame(look.iris * np.float32(EYE_PX))
            landmarks[iris_rows, 2] = depth
        return landmarks

    def _blinks(self, now: _Look, before: _Look, side: int) -> bool:
        """Whether the lids of an eye move quickly, or are neither open nor at rest."""
        rest = self._neutral.shape
        resting = now.opening if rest is None else opening_ratio(rest[_EYES[side][0], :2])
        return abs(now.opening - before.opening) > _QUICK_LIDS or now.opening < _CLOSING * resting

    def _look(self, bgr: Image, mesh: FloatArray, side: int) -> _Look | None:
        """Measure one eye; None if it is too small."""
        eye, _ = _EYES[side]
        square = _eye_square(mesh, side)
        if square.side_px < _MIN_EYE_PX * _EYE_MARGIN:
            return None
        mirrored = side == 1
        crop = square.crop(bgr)
        rgb = cv2.cvtColor(cv2.flip(crop, 1) if mirrored else crop, cv2.COLOR_BGR2RGB).astype(np.float32)
        rgb *= 1 / 255.0
        contours, points = self._iris.run(rgb)
        lids = contours.reshape(71, 3)[_LIDS, :2]
        iris = points.reshape(IRIS_POINTS, 3)[:, :2].copy()
        if mirrored:
            lids[:, 0] = EYE_PX - lids[:, 0]
            iris[:, 0] = EYE_PX - iris[:, 0]
        radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        before = self._eyes[side]
        old = before is None or self._frame_number % _DETAIL_EVERY_FRAMES == 0
        tone = iris_tone(crop, iris[0], radius) if old or before is None else before.tone
        offset = (lids - square.from_frame(mesh[eye, :2])) / EYE_PX
        opening = opening_ratio(np.ascontiguousarray(lids, np.float32))
        return _Look(offset.astype(np.float32), iris / np.float32(EYE_PX), tone, opening)


@dataclass(frozen=True, slots=True)
class _Look:
    """One measured eye, in its square (unit: the square's side).

    Attributes:
        lids: `(16, 2)`, the opening's contour as the iris network sees it, less the mesh network's.
        iris: `(5, 2)`.
        tone: `(3,)` the iris's colour.
        opening: height over width of the opening.
    """

    lids: FloatArray
    iris: FloatArray
    tone: FloatArray
    opening: float


def _eye_square(mesh: FloatArray, side: int) -> Square:
    """The iris network's square around the right (0) or left (1) eye."""
    eye, _ = _EYES[side]
    outer, inner = mesh[eye[0], :2], mesh[eye[8], :2]
    across = inner - outer if side == 0 else outer - inner
    x, y = (float(v) for v in (outer + inner) / 2)
    width = float(np.hypot(across[0], across[1]))
    return Square((x, y), max(width * _EYE_MARGIN, 1.0), math.atan2(float(across[1]), float(across[0])), EYE_PX)


def _square_from(detection: Detection) -> Square:
    x0, y0, x1, y1 = detection.box
    right_eye, left_eye = detection.keypoints[:2]
    angle = math.atan2(float(left_eye[1] - right_eye[1]), float(left_eye[0] - right_eye[0]))
    return Square(((x0 + x1) / 2, (y0 + y1) / 2), max(x1 - x0, y1 - y0) * _ROI_MARGIN, angle, MESH_PX)


def _square_around(mesh: FloatArray) -> Square:
    """The next frame's square: the mesh's bounds along the line of the eyes' outer corners, with a margin."""
    across = mesh[263, :2] - mesh[33, :2]
    return square_around(mesh[:, :2], math.atan2(float(across[1]), float(across[0])), _ROI_MARGIN, MESH_PX)


def _inside(mesh: FloatArray, shape: tuple[int, ...]) -> bool:
    """Whether the mesh is sane and its middle lies in the frame."""
    if not np.isfinite(mesh).all():
        return False
    x, y = mesh[:, :2].mean(0)
    return bool(0 <= x < shape[1] and 0 <= y < shape[0])


def _clipped_box(mesh: FloatArray, shape: tuple[int, ...]) -> Rect:
    low, high = np.floor(mesh[:, :2].min(0)), np.ceil(mesh[:, :2].max(0)) + 1
    x0, x1 = (int(np.clip(v, 0, shape[1])) for v in (low[0], high[0]))
    y0, y1 = (int(np.clip(v, 0, shape[0])) for v in (low[1], high[1]))
    return (x0, y0, x1, y1)


def _resting_iris(eye: FloatArray) -> FloatArray:
    """Where an iris would be in an eye that is too small to measure: in the middle, a quarter of its width wide."""
    centre = eye.mean(0)
    radius = float(np.linalg.norm(eye[8, :2] - eye[0, :2])) * 0.22
    ring = np.array([[0, 0, 0], [1, 0, 0], [0, -1, 0], [-1, 0, 0], [0, 1, 0]], np.float32)
    return np.asarray(centre + ring * radius, np.float32)
