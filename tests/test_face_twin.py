"""The one-photo twin, end to end on painted faces: what it draws, where, and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.mesh_twin import MeshTwin
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import photo_from
from obs_twin.face.registry import FaceModel, FaceModelError, FaceSettings, kinds, open_face
from obs_twin.face.topology import LEFT_EYE, LIPS_INNER, RIGHT_EYE
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
TARGET = DrawnFace(skin=(120, 150, 200), lips=(160, 60, 160), brow=(10, 15, 20), face_width=0.66)
ACTOR = DrawnFace(skin=(150, 180, 220), lips=(95, 95, 190), brow=(60, 90, 120))


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    return new_perceiver()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("target") / "photo.png"
    cv2.imwrite(str(path), draw_face(TARGET, (900, 1000), (450, 500), 600))
    return path


@pytest.fixture(scope="module")
def twin(photo: Path, perceiver: FacePerceiver) -> FaceModel:
    return open_face("mesh", [photo], perceiver)


def acted(perceiver: FacePerceiver, face: DrawnFace = ACTOR, **where: object) -> tuple[Image, FaceObservation]:
    picture = draw_face(face, **where)  # type: ignore[arg-type]
    perceiver.reset()
    observation = perceiver.perceive(picture)
    assert observation is not None
    return picture, observation


def around(picture: Image, place: npt.NDArray[np.float32], reach: int = 2) -> npt.NDArray[np.float64]:
    x, y = (round(float(v)) for v in place[:2])
    colour: npt.NDArray[np.float64] = picture[y - reach : y + reach + 1, x - reach : x + reach + 1].mean(axis=(0, 1))
    return colour


def test_only_the_returned_rectangle_changes(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver)
    after = before.copy()
    x0, y0, x1, y1 = twin.render(after, observation)
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480
    inside = after[y0:y1, x0:x1] != before[y0:y1, x0:x1]
    assert inside.any(axis=2).mean() > 0.2
    after[y0:y1, x0:x1] = before[y0:y1, x0:x1]
    np.testing.assert_array_equal(after, before)


def test_the_target_s_features_are_seen_in_the_actor_s_skin_tone(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver)
    after = before.copy()
    twin.render(after, observation, FaceSettings(shape=0))
    lip, cheek = observation.landmarks[[14, 17]].mean(0), observation.landmarks[50]
    # The target's lips are purple, bluer than the actor's beside the same skin.
    was, now = around(before, lip, 1), around(after, lip, 1)
    assert now[0] / now[1] > 1.25 * was[0] / was[1]
    np.testing.assert_allclose(around(after, cheek, 4), around(before, cheek, 4), rtol=0.1)


def test_the_actor_s_open_mouth_is_kept(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver, replace(ACTOR, mouth_open=1.0), height_px=320)
    after = before.copy()
    twin.render(after, observation, FaceSettings(shape=0))
    middle = observation.landmarks[LIPS_INNER].mean(0)
    np.testing.assert_allclose(around(after, middle, 3), around(before, middle, 3), atol=14)


@pytest.mark.parametrize("factor", [0.3, 0.6, 1.15])
def test_the_room_s_light_is_followed(twin: FaceModel, perceiver: FacePerceiver, factor: float) -> None:
    skin = tuple(int(c * factor) for c in ACTOR.skin)
    before, observation = acted(perceiver, replace(ACTOR, skin=skin))
    after = before.copy()
    twin.render(after, observation)
    cheek = observation.landmarks[280]
    np.testing.assert_allclose(around(after, cheek, 4), around(before, cheek, 4), rtol=0.2)


def test_shape_moves_the_outline_towards_the_target_s(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver, replace(ACTOR, face_width=0.8))
    widths = []
    for shape in (0.0, 1.0):
        after = before.copy()
        twin.render(after, observation, FaceSettings(shape=shape, hair_in_front=0))
        found = new_perceiver().perceive(after)
        assert found is not None
        widths.append(np.linalg.norm(found.local[172] - found.local[397]))
    assert widths[1] < widths[0]


def test_strength_nought_and_light_nought(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver)
    after = before.copy()
    assert twin.render(after, observation, FaceSettings(strength=0)) == (0, 0, 0, 0)
    np.testing.assert_array_equal(after, before)
    own = before.copy()
    twin.render(own, observation, FaceSettings(light=0))
    cheek = observation.landmarks[50]
    assert around(own, cheek).sum() < around(before, cheek).sum() - 20


@pytest.mark.parametrize("shift", [(-250, 0), (250, 0), (0, -200), (0, 220), (-320, -240), (2000, 0)])
def test_a_face_that_leaves_the_frame(twin: FaceModel, perceiver: FacePerceiver, shift: tuple[float, float]) -> None:
    picture, seen = acted(perceiver)
    moved = seen.landmarks + np.array([*shift, 0], np.float32)
    observation = FaceObservation.measured(moved, 1.0, seen.box, seen.appearance, seen.neutral)
    x0, y0, x1, y1 = twin.render(picture, observation)
    assert 0 <= x0 <= x1 <= 640
    assert 0 <= y0 <= y1 <= 480


@pytest.mark.parametrize("yaw_deg", [-75, -45, 45, 75])
def test_a_turned_head_is_drawn(twin: FaceModel, perceiver: FacePerceiver, yaw_deg: float) -> None:
    picture, seen = acted(perceiver)
    a = np.radians(yaw_deg)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]], np.float32)
    moved = seen.head.origin + seen.head.scale * seen.local @ turn.T
    observation = FaceObservation.measured(moved.astype(np.float32), 1.0, seen.box, seen.appearance, seen.neutral)
    x0, y0, x1, y1 = twin.render(picture, observation)
    assert x1 - x0 > 40
    assert y1 - y0 > 100


def test_a_tiny_face_is_left_alone_or_drawn_but_never_fails(twin: FaceModel, perceiver: FacePerceiver) -> None:
    picture, seen = acted(perceiver)
    for size in (0.02, 0.1, 0.3):
        small = (seen.landmarks * np.float32(size)).astype(np.float32)
        twin.render(picture.copy(), FaceObservation.measured(small, 1.0, seen.box, seen.appearance, seen.neutral))


def test_several_threads_draw_what_one_draws(twin: FaceModel, perceiver: FacePerceiver) -> None:
    before, observation = acted(perceiver)
    expected = before.copy()
    twin.render(expected, observation)

    def once(_: int) -> Image:
        picture = before.copy()
        twin.render(picture, observation)
        return picture

    with ThreadPoolExecutor(4) as pool:
        for picture in pool.map(once, range(12)):
            np.testing.assert_array_equal(picture, expected)


def saved(path: Path, picture: Image) -> Path:
    cv2.imwrite(str(path), picture)
    return path


def test_photos_that_cannot_be_used_are_refused_in_words(tmp_path: Path, perceiver: FacePerceiver) -> None:
    two = np.concatenate([draw_face(DrawnFace(), (480, 480), (240, 240), 260)] * 2, axis=1)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "empty.png").write_bytes(b"")
    cases = {
        "cannot be read": tmp_path / "missing.png",
        "damaged": tmp_path / "torn.png",
        "not a picture": tmp_path / "empty.png",
        "No face": saved(tmp_path / "wall.png", np.full((300, 300, 3), 130, np.uint8)),
        "2 faces": saved(tmp_path / "two.png", two),
        "are needed": saved(tmp_path / "small.png", draw_face(DrawnFace(), (160, 120), (80, 60), 75)),
    }
    for words, path in cases.items():
        with pytest.raises(FaceModelError, match=words):
            open_face("mesh", [path], perceiver)


def test_unknown_kinds_and_empty_packs_are_refused(photo: Path, perceiver: FacePerceiver) -> None:
    assert "mesh" in kinds()
    with pytest.raises(FaceModelError, match="unknown; known are"):
        open_face("portrait", [photo], perceiver)
    with pytest.raises(FaceModelError, match="names no file"):
        open_face("mesh", [], perceiver)


def test_a_shut_eye_shows_the_target_s_lid_and_nothing_of_the_actor_s_eye(
    twin: FaceModel, perceiver: FacePerceiver
) -> None:
    before, seen = acted(perceiver, height_px=320)
    landmarks = seen.landmarks.copy()
    for eye in (RIGHT_EYE, LEFT_EYE):
        landmarks[eye[15:8:-1]] = landmarks[eye[1:8]] - np.array([0, 1, 0], np.float32)
    shut = FaceObservation.measured(landmarks, 1.0, seen.box, seen.appearance, seen.neutral)
    assert max(shut.eye_opening) < 0.1
    after = before.copy()
    twin.render(after, shut, FaceSettings(shape=0))
    for iris in seen.irises:
        # The actor's blue iris is still in the frame below; the twin's lid lies over it.
        colour = around(after, iris, 2)
        assert colour[2] > colour[0]


@pytest.mark.parametrize("shift_px", [-7.0, 0.0, 7.0])
def test_the_target_s_eyes_look_where_the_actor_s_look(
    twin: FaceModel, perceiver: FacePerceiver, shift_px: float
) -> None:
    before, seen = acted(perceiver, height_px=360)
    landmarks = seen.landmarks.copy()
    landmarks[468:, 0] += shift_px
    observation = FaceObservation.measured(landmarks, 1.0, seen.box, seen.appearance, seen.neutral)
    after = before.copy()
    twin.render(after, observation, FaceSettings(shape=0, sharpness_match=0))
    for iris in observation.irises:
        x, y, reach = round(float(iris[0])), round(float(iris[1])), 14
        eye = after[y - 3 : y + 4, x - reach : x + reach + 1].astype(float).sum(axis=(0, 2))
        pupil = float(np.average(np.arange(-reach, reach + 1), weights=(eye.max() - eye) ** 4))
        assert abs(pupil) < 3.5


def test_a_photo_with_shut_eyes_leaves_the_actor_s_eyes(perceiver: FacePerceiver) -> None:
    photo = photo_from(draw_face(replace(TARGET, eye_open=0.05), (900, 1000), (450, 500), 600), perceiver)
    before, seen = acted(perceiver, height_px=320)
    after = before.copy()
    MeshTwin(photo).render(after, seen, FaceSettings(shape=0, iris_colour=0))
    for iris in seen.irises:
        np.testing.assert_allclose(around(after, iris, 2), around(before, iris, 2), atol=25)
