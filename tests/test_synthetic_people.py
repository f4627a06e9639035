"""The synthetic people and rooms: found by the face detector, different from each other, the same every time."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from obs_twin.face.perceive import FacePerceiver
from obs_twin.twin.make import MakeError
from obs_twin.twin.synthetic import cache, clip
from obs_twin.twin.synthetic.base_mesh import MODEL_NAME, BaseMeshFile
from obs_twin.twin.synthetic.clip import OFFICE_LIGHT, make_actor_clip
from obs_twin.twin.synthetic.geometry import affine
from obs_twin.twin.synthetic.head import Pose, rotation
from obs_twin.twin.synthetic.people import ADA, BRUNO, PEOPLE
from obs_twin.twin.synthetic.persona import build_persona_pack
from obs_twin.twin.synthetic.raster import VisibilityBuffer, draw_triangles
from obs_twin.twin.synthetic.render import Camera, PersonRenderer, composite, develop
from obs_twin.twin.synthetic.room import room_linear
from obs_twin.twin.synthetic.subdivide import catmull_clark
from obs_twin.zoo.store import ModelError, ModelStore

SIZE = 360


def _model(name: str) -> Path:
    try:
        return ModelStore().path(name)
    except ModelError as error:
        pytest.skip(f"model {name} is not on this machine: {error}")


@lru_cache
def _renderer(name: str) -> PersonRenderer:
    return PersonRenderer(PEOPLE[name], BaseMeshFile(_model(MODEL_NAME)), level=1, strand_factor=0.5)


def _draw(name: str, pose: Pose) -> np.ndarray:
    camera = Camera(SIZE, SIZE, SIZE * 2.4)
    drawing = _renderer(name).draw(pose, camera, OFFICE_LIGHT, detail=0.7, factor=2)
    return develop(composite(drawing, np.full((SIZE, SIZE, 3), 0.4, np.float32)))


@lru_cache
def _perceiver() -> FacePerceiver:
    return FacePerceiver(_model("face_detection_short_range"), _model("face_landmark"), _model("iris_landmark"))


def _landmarks(picture: np.ndarray) -> np.ndarray:
    perceiver = _perceiver()
    perceiver.reset()
    seen = perceiver.perceive(picture)
    assert seen is not None, "no face was found"
    return np.asarray(seen.landmarks)


def _mouth_opening(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[13, :2] - points[14, :2]) / np.linalg.norm(points[61, :2] - points[291, :2]))


def _eye_opening(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[159, :2] - points[145, :2]) / np.linalg.norm(points[33, :2] - points[133, :2]))


@pytest.mark.parametrize("name", [ADA.name, BRUNO.name])
@pytest.mark.parametrize("yaw", [-20.0, 0.0, 20.0])
def test_the_detector_finds_the_face_where_it_is(name: str, yaw: float) -> None:
    points = _landmarks(_draw(name, Pose({}, yaw=yaw)))
    # Between the eyes lies the origin, which the camera puts in the middle of the width when the head is straight.
    eyes = points[[33, 133, 362, 263], :2].mean(axis=0)
    assert abs(eyes[1] - 0.42 * SIZE) < 0.04 * SIZE
    if yaw == 0:
        assert abs(eyes[0] - 0.5 * SIZE) < 0.02 * SIZE


@pytest.mark.parametrize("name", [ADA.name, BRUNO.name])
def test_the_landmarks_follow_mouth_and_eyes(name: str) -> None:
    rest = _landmarks(_draw(name, Pose({})))
    wide = _landmarks(_draw(name, Pose({"jawOpen": 0.6})))
    shut = _landmarks(_draw(name, Pose({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})))
    assert _mouth_opening(wide) > _mouth_opening(rest) + 0.12
    assert _eye_opening(shut) < 0.6 * _eye_opening(rest)


def test_the_two_people_differ() -> None:
    ada, bruno = (_draw(name, Pose({})).astype(float) for name in (ADA.name, BRUNO.name))
    assert np.abs(ada - bruno).mean() > 12


def test_drawing_is_the_same_every_time() -> None:
    pose = Pose({"jawOpen": 0.2}, yaw=8)
    assert np.array_equal(_draw(BRUNO.name, pose), _draw(BRUNO.name, pose))


def test_a_clip_has_sound_and_picture_of_one_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("hibari")
    from obs_twin.twin.synthetic.stamp import read

    _model(MODEL_NAME)
    for module in (cache, clip):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    path = make_actor_clip(tmp_path / "clip.mkv", seconds=1.0, size=(320, 180), fps=10, stamp_counter=True)
    capture = cv2.VideoCapture(str(path))
    numbers = []
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        numbers.append(read(picture))
    assert numbers == list(range(10))
    (sound,) = (tmp_path / "cache").glob("*.npy")
    assert len(np.load(sound)) == 48_000
    again = make_actor_clip(tmp_path / "again.mp4", seconds=1.0, size=(320, 180), fps=10)
    assert again.stat().st_size > 1000


def test_a_folder_that_is_no_pack_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("keep me")
    with pytest.raises(MakeError, match="no twin pack"):
        build_persona_pack(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "keep me"


def test_the_cache_keeps_what_this_code_drew_and_drops_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thing-0123.png").write_bytes(b"old")
    (tmp_path / "cache" / "other-0123.png").write_bytes(b"not ours")
    (tmp_path / "new").write_bytes(b"new")
    place = cache.store(tmp_path / "new", "thing", ".png")
    assert place == cache.cached("thing", ".png")
    assert place.read_bytes() == b"new"
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {place.name, "other-0123.png"}


def test_a_clip_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        make_actor_clip(tmp_path / "a.mkv", size=(321, 180))
    with pytest.raises(ValueError, match="divide"):
        make_actor_clip(tmp_path / "a.mkv", fps=7)
    with pytest.raises(ValueError, match="one second"):
        make_actor_clip(tmp_path / "a.mkv", seconds=0.1)
    with pytest.raises(ValueError, match=r"\.mkv"):
        make_actor_clip(tmp_path / "a.avi")


def test_rooms_are_lit_and_an_unknown_one_is_refused() -> None:
    study, office = room_linear("study", 160, 120), room_linear("office", 160, 120)
    for picture in (study, office):
        assert np.isfinite(picture).all()
        assert 0.05 < picture.mean() < 1.2
    assert np.abs(study - office).mean() > 0.05
    with pytest.raises(ValueError, match="study, office"):
        room_linear("kitchen", 160, 120)


def test_a_file_that_is_no_base_mesh_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="should be the package"):
        BaseMeshFile(tmp_path / "x.whl")


def test_catmull_clark_rounds_a_cube_and_keeps_its_middle() -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]], np.int32)
    fine_quads, matrix = catmull_clark(quads, 8)
    fine = matrix @ corners
    assert fine_quads.shape == (24, 4)
    assert len(fine) == 8 + 6 + 12
    np.testing.assert_allclose(fine[:8], corners * (5 / 9), atol=1e-5)  # the rule's own result for a cube's corner
    np.testing.assert_allclose(fine.mean(axis=0), 0, atol=1e-5)
    rows = np.add.reduceat(matrix.data, matrix.starts[:-1])
    np.testing.assert_allclose(rows, 1, atol=1e-5)


def test_the_nearer_triangle_wins_and_back_faces_are_left_out() -> None:
    screen = np.array([[2, 2, 5], [18, 2, 5], [2, 18, 5], [2, 2, 3], [18, 2, 3], [2, 18, 3]], np.float32)
    front, near = [0, 2, 1], [3, 5, 4]
    buffer = VisibilityBuffer.empty(20, 20)
    draw_triangles(
        screen, np.array([front, near, [0, 1, 2]], np.int32), (0, 0), buffer.depth, buffer.triangle, buffer.weights
    )
    assert buffer.triangle[5, 5] == 1
    assert buffer.depth[5, 5] == pytest.approx(3)
    assert buffer.triangle[19, 19] == -1


def test_turning_is_a_rotation() -> None:
    matrix = rotation(20, -10, 5)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    nose = affine(np.array([[0, 0, 1]], np.float32), rotation(30, 0, 0), np.zeros(3, np.float32))[0]
    assert nose[0] > 0  # to the person's left
    assert affine(np.array([[0, 0, 1]], np.float32), rotation(0, 30, 0), np.zeros(3, np.float32))[0][1] > 0  # up
