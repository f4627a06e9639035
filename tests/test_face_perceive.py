"""From a frame to landmarks, irises and pose, on painted faces."""

from __future__ import annotations

import numpy as np
import pytest

from obs_twin.face.observation import FaceObservation, head_angles, head_frame
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.topology import LEFT_EYE, RIGHT_EYE, TRIANGLES
from obs_twin.zoo.store import ModelStore
from tests.drawn_face import DrawnFace, draw_face


def new_perceiver() -> FacePerceiver:
    store = ModelStore()
    names = ("face_detection_short_range", "face_landmark", "iris_landmark")
    return FacePerceiver(*(store.path(name) for name in names))


@pytest.fixture
def perceiver() -> FacePerceiver:
    return new_perceiver()


def seen(perceiver: FacePerceiver, face: DrawnFace, **where: object) -> FaceObservation:
    observation = perceiver.perceive(draw_face(face, **where))  # type: ignore[arg-type]
    assert observation is not None
    return observation


def lips_apart(observation: FaceObservation) -> float:
    return float(observation.local[14, 1] - observation.local[13, 1])


def test_features_lie_where_they_were_painted(perceiver: FacePerceiver) -> None:
    found = seen(perceiver, DrawnFace(), centre=(300, 220), height_px=260)
    assert found.landmarks.shape == (478, 3)
    assert found.landmarks.dtype == np.float32
    assert found.confidence > 0.9
    for iris, side in zip(found.irises, (-1, 1), strict=True):
        assert np.hypot(iris[0] - 300 - side * 0.165 * 260, iris[1] - 220 + 0.08 * 260) < 4
        assert 0.5 < iris[2] / (0.028 * 260) < 1.6
    mouth = found.landmarks[[13, 14], :2].mean(0)
    assert np.hypot(mouth[0] - 300, mouth[1] - 220 - 0.27 * 260) < 6
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480


def test_it_follows_a_moving_and_growing_face(perceiver: FacePerceiver) -> None:
    for step in range(15):
        x, y, height = 250 + step * 8, 220 + 10 * np.sin(step / 3), 200 + step * 6
        found = seen(perceiver, DrawnFace(), centre=(x, y), height_px=height)
        middle = found.irises[:, :2].mean(0)
        assert np.hypot(middle[0] - x, middle[1] - y + 0.08 * height) < 0.04 * height


def test_a_blink_shows_in_the_very_frame(perceiver: FacePerceiver) -> None:
    openings = []
    for step in range(12):
        face = DrawnFace(eye_open=0.05 if step in (6, 7) else 1.0)
        openings.append(min(seen(perceiver, face).eye_opening))
    resting = np.median(openings[:6])
    assert openings[6] < 0.75 * resting
    assert openings[7] < 0.7 * resting
    assert openings[8] > 0.8 * resting


@pytest.mark.parametrize("first", [8, 9])
def test_both_eyes_are_seen_shut_and_open_again_in_the_very_frame(perceiver: FacePerceiver, first: int) -> None:
    shut = (first, first + 1)
    curve = np.array([seen(perceiver, DrawnFace(eye_open=0.05 if i in shut else 1.0)).eye_opening for i in range(16)])
    rest = curve[4:8].min()
    for i, openings in enumerate(curve[4:], start=4):
        assert np.ptp(openings) < 0.25 * rest, i
        assert (openings.max() < 0.6 * rest) if i in shut else (openings.min() > 0.8 * rest), i


def test_the_mouth_is_followed(perceiver: FacePerceiver) -> None:
    shut = lips_apart(seen(perceiver, DrawnFace(mouth_open=0.0)))
    half = lips_apart(seen(perceiver, DrawnFace(mouth_open=0.5)))
    wide = lips_apart(seen(perceiver, DrawnFace(mouth_open=1.0)))
    assert shut < half < wide
    assert wide > shut + 0.08


@pytest.mark.parametrize("roll_deg", [-30, -12, 0, 20, 35])
def test_roll_is_measured(perceiver: FacePerceiver, roll_deg: float) -> None:
    found = seen(perceiver, DrawnFace(), roll_deg=roll_deg)
    assert found.roll_deg == pytest.approx(roll_deg, abs=4)
    assert abs(found.yaw_deg) < 12
    assert abs(found.pitch_deg) < 15


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (40, 0), (-55, 0), (0, 20), (25, -15)])
def test_angles_name_the_direction_of_the_nose(perceiver: FacePerceiver, yaw: float, pitch: float) -> None:
    local = seen(perceiver, DrawnFace()).local
    a, b = np.radians(yaw), np.radians(pitch)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    # A point in front of the face moves right with a positive yaw and up with a positive pitch.
    nose = np.array([0, 0, -1]) @ (turn @ nod).T
    assert np.sign(np.round(nose[0], 9)) == np.sign(yaw)
    assert np.sign(np.round(-nose[1], 9)) == np.sign(pitch)
    level = head_angles(head_frame(local).rotation)
    found = head_angles(head_frame((local @ (turn @ nod).T).astype(np.float32)).rotation)
    assert found[0] == pytest.approx(yaw, abs=3)
    assert found[1] - level[1] == pytest.approx(pitch, abs=3)


def test_the_larger_of_two_is_followed_and_both_are_counted(perceiver: FacePerceiver) -> None:
    picture = draw_face(DrawnFace(), (960, 480), (260, 240), 200)
    picture[:, 480:] = draw_face(DrawnFace(), (480, 480), (240, 240), 270)
    found = perceiver.perceive(picture)
    assert found is not None
    assert found.irises[:, 0].min() > 480
    assert perceiver.count_faces(picture) == 2


def test_a_small_face_is_found_within_a_few_frames(perceiver: FacePerceiver) -> None:
    picture = draw_face(DrawnFace(), (1280, 720), (700, 280), 110)
    assert any(perceiver.perceive(picture) is not None for _ in range(8))


def test_a_lost_face_is_none_and_comes_back(perceiver: FacePerceiver) -> None:
    empty = np.full((480, 640, 3), 120, np.uint8)
    assert perceiver.perceive(empty) is None
    seen(perceiver, DrawnFace())
    assert perceiver.perceive(empty) is None
    seen(perceiver, DrawnFace(), centre=(450, 240))
    perceiver.reset()
    seen(perceiver, DrawnFace(), centre=(200, 240))


def test_what_is_no_longer_a_face_is_let_go(perceiver: FacePerceiver) -> None:
    seen(perceiver, DrawnFace())
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    assert sum(perceiver.perceive(noise) is not None for _ in range(60)) < 40
    assert perceiver.perceive(noise) is None


def test_a_change_of_size_and_a_face_at_the_edge(perceiver: FacePerceiver) -> None:
    seen(perceiver, DrawnFace())
    perceiver.perceive(draw_face(DrawnFace(), (320, 240), (160, 120), 150))
    for x in (60, 20, -20, 640):
        found = perceiver.perceive(draw_face(DrawnFace(), centre=(x, 240)))
        assert found is None or (found.box[0] >= 0 and found.box[2] <= 640)
    for shape in ((1, 1, 3), (7, 300, 3), (300, 7, 3)):
        assert perceiver.perceive(np.zeros(shape, np.uint8)) is None


def test_the_resting_face_is_learnt_from_closed_lips(perceiver: FacePerceiver) -> None:
    for step in range(16):
        found = seen(
            perceiver, DrawnFace(mouth_open=0.8 if step % 2 else 0.0), size=(320, 240), centre=(160, 120), height_px=150
        )
    assert found.neutral is not None
    assert found.neutral.shape == (478, 3)
    assert found.neutral[14, 1] - found.neutral[13, 1] < 0.05


def test_every_mesh_point_is_in_a_triangle_and_openings_are_free() -> None:
    assert TRIANGLES.shape == (852, 3)
    assert set(TRIANGLES.ravel()) == set(range(468))
    edges = np.sort(TRIANGLES[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    border = {tuple(e) for e in unique[counts == 1].tolist()}
    for eye in (RIGHT_EYE, LEFT_EYE):
        ring = zip(eye, np.roll(eye, -1), strict=True)
        assert all((min(a, b), max(a, b)) in border for a, b in ring)
