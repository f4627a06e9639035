"""Things held before the face are found and stay in front; light, shadow and speech are no things."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.front import clear_openings
from obs_twin.face.mesh_twin import MeshTwin
from obs_twin.face.observation import FaceObservation
from obs_twin.face.occlusion import MASK_PX, MOST_COVERED, Occlusion, steadied
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import photo_from
from obs_twin.face.square import Square
from obs_twin.face.surroundings import with_rings
from obs_twin.face.topology import LIPS_OUTER, MESH_POINTS, OVAL
from tests.drawn_face import DrawnFace, draw_face
from tests.drawn_things import THINGS, put
from tests.test_face_hands import TARGET
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
SIZE, CENTRE = (640, 480), (320, 250)
LEARN = 26


def actor(step: int, mouth_open: float = 0.0, eye_open: float = 1.0) -> Image:
    face = DrawnFace(mouth_open=mouth_open, eye_open=eye_open)
    return draw_face(face, SIZE, (CENTRE[0] + 2 * np.sin(step / 4), CENTRE[1]), 250)


@cache
def resting() -> list[Image]:
    return [actor(step, 0.5 * (step % 6 == 3)) for step in range(8)]


def learnt() -> tuple[FacePerceiver, list[Image]]:
    perceiver, frames = new_perceiver(), resting()
    for step in range(LEARN):
        assert perceiver.perceive(frames[step % 8]) is not None
    return perceiver, frames


def inside_face(seen: FaceObservation) -> npt.NDArray[np.bool_]:
    face = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(seen.landmarks[:468, :2].astype(np.int32)), 255)
    return face > 0


def found_mask(seen: FaceObservation) -> npt.NDArray[np.bool_]:
    if seen.occlusion is None:
        return np.zeros(SIZE[::-1], np.bool_)
    return seen.occlusion.drawn(seen.occlusion.mask, np.zeros(2, np.float32), SIZE) > 127


@pytest.mark.parametrize("name", sorted(THINGS))
def test_a_thing_is_found_where_it_is(name: str) -> None:
    perceiver, frames = learnt()
    thing, mask = THINGS[name](230)
    overlaps = []
    for step in range(8):
        picture = frames[step].copy()
        top = 120 if name == "hair" else 270
        truth = put(picture, thing, mask, 330 - 20 * step, top) > 127
        seen = perceiver.perceive(picture)
        assert seen is not None
        face = inside_face(seen)
        both, either = truth & face & found_mask(seen), (truth | found_mask(seen)) & face
        if (truth & face).sum() > 0.04 * face.sum():
            overlaps.append(both.sum() / either.sum())
    assert len(overlaps) >= 3
    assert np.median(overlaps) > (0.6 if name == "hair" else 0.75)
    gone = [perceiver.perceive(frames[step % 8]) for step in range(4)]
    assert gone[-1] is not None
    assert gone[-1].covered < 0.01


def brightened(picture: Image, factor: float | npt.NDArray[np.float64]) -> Image:
    return np.asarray(np.clip(picture * factor, 0, 255), np.uint8)


def test_light_shadow_and_expression_are_no_things() -> None:
    perceiver, _ = learnt()
    across = np.arange(SIZE[0])[None, :, None]
    for step in range(16):
        picture = actor(step, 0.6 * abs(np.sin(step / 2)), 0.05 if step in (5, 6) else 1.0)
        two_stops = 2.0 ** (-2 / 2.2 * min(step / 8, 1))
        shadow = 0.6 + 0.4 / (1 + np.exp(-(across - 40 * step) / 12))
        seen = perceiver.perceive(brightened(picture, two_stops * shadow))
        assert seen is not None
        assert seen.covered < 0.01


def test_the_thing_is_seen_unchanged_before_the_twin() -> None:
    twin = MeshTwin(photo_from(draw_face(TARGET, (900, 1000), (450, 500), 600), new_perceiver()))
    perceiver, frames = learnt()
    thing, mask = THINGS["phone"](230)
    for step in range(3):
        picture = frames[step].copy()
        truth = put(picture, thing, mask, 200, 270)
        seen = perceiver.perceive(picture)
    assert seen is not None
    after = picture.copy()
    twin.render(after, seen)
    core = (cv2.erode(truth, np.ones((15, 15), np.uint8)) > 0) & inside_face(seen)
    assert core.sum() > 1000
    changed = np.abs(after.astype(int) - picture).max(axis=2) > 12
    assert changed[core].mean() < 0.05
    assert changed[inside_face(seen) & (truth == 0)].mean() > 0.07


def test_most_of_a_face_is_never_uncovered() -> None:
    perceiver, frames = learnt()
    shares = []
    for step in range(4):
        picture = frames[step].copy()
        cv2.rectangle(picture, (180, 200), (460, 480), (200, 60, 40), -1)
        seen = perceiver.perceive(picture)
        if seen is not None and seen.occlusion is not None:
            shares.append(seen.covered)
            assert seen.covered <= MOST_COVERED or not seen.occlusion.mask.any()
    assert not shares or max(shares) > 0.3


def test_what_two_of_three_frames_agree_on() -> None:
    square = Square((100.0, 100.0), 96.0, 0.0, MASK_PX)
    one, two = np.zeros((2, MASK_PX, MASK_PX), np.uint8)
    one[20:40, 20:40], two[20:40, 30:50] = 255, 255
    a, b = Occlusion(one, square, 0.1), Occlusion(two, square, 0.1)
    assert steadied(None, a, None) is None
    assert steadied(None, None, None) is None
    bridged = steadied(a, None, a)
    assert bridged is not None
    assert np.array_equal(bridged.mask, one)
    mixed = steadied(a, b, None)
    assert mixed is not None
    assert np.array_equal(mixed.mask, np.minimum(one, two))
    moved = Occlusion(one, Square((110.0, 100.0), 96.0, 0.0, MASK_PX), 0.1)
    assert moved.in_square(square)[30, 35] == 255
    assert a.at(np.array([[100 - 48 + 30, 100 - 48 + 30], [100, 140]], np.float32)).tolist() == [True, False]


def test_a_cup_at_the_lips_is_not_seen_in_the_mouth() -> None:
    picture = draw_face(DrawnFace())
    seen = new_perceiver().perceive(picture)
    assert seen is not None
    points = seen.landmarks[:, :2]
    top = int(points[13, 1])
    held = picture.copy()
    held[top:] = (160, 40, 10)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[top:] = 255
    cleared = held.copy()
    clear_openings(cleared, mask, points)
    x, y = np.round(points[17]).astype(int)
    assert np.abs(cleared[y - 3, x].astype(int) - held[y - 3, x]).max() > 60
    changed = np.argwhere((cleared != held).any(axis=2))
    low, high = points[LIPS_OUTER].min(0), points[LIPS_OUTER].max(0)
    assert (changed.min(0)[::-1] > low - 6).all()
    assert (changed.max(0)[::-1] < high + 6).all()


def test_surroundings_stay_where_a_thing_is() -> None:
    seen = new_perceiver().perceive(draw_face(DrawnFace()))
    assert seen is not None
    mesh = seen.landmarks[:MESH_POINTS]
    shaped = mesh + np.array([9, 0, 0], np.float32)
    held = np.zeros(len(OVAL), np.float32)
    held[10:14] = 1
    actor, twin = with_rings(mesh, shaped, held)
    shift = (twin - actor)[MESH_POINTS : MESH_POINTS + len(OVAL), 0]
    np.testing.assert_allclose(shift[10:14], 0, atol=1e-3)
    assert shift[20] > 5
    assert np.abs(np.diff(shift)).max() < 4
