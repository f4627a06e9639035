"""Which of several faces is followed, how one is remembered, and where a scene ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.choose import CENTRE, ENROLLED, LARGEST, ActorChoice, Enrolment, forget, recall, remember
from obs_twin.face.cut import SCENE, CutDetector
from obs_twin.face.perceive import FacePerceiver
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
ME, OTHER = DrawnFace(), DrawnFace(skin=(70, 95, 140), hair=(10, 12, 15), brow=(8, 10, 14))


class SkinTone:
    """Stands in for the network, which needs real people: tells the two painted faces apart by their skin."""

    def embed(self, bgr: Image, landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        x, y = landmarks[[205, 425], :2].mean(0).astype(int)
        patch = bgr[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0)
        return np.repeat(patch / 255, 30).astype(np.float32)


def scene(left: DrawnFace | None, right: DrawnFace | None, left_px: float = 200, right_px: float = 230) -> Image:
    picture = np.full((480, 960, 3), (150, 140, 120), np.uint8)
    for face, x, height in ((left, 0, left_px), (right, 480, right_px)):
        if face is not None:
            picture[:, x : x + 480] = draw_face(face, (480, 480), (240, 240), height)
    return picture


def side(perceiver: FacePerceiver, picture: Image, frames: int = 1) -> str:
    for _ in range(frames):
        found = perceiver.perceive(picture)
    return "none" if found is None else "left" if found.landmarks[0, 0] < 480 else "right"


def template(face: DrawnFace) -> npt.NDArray[np.float32]:
    picture = draw_face(face)
    found = new_perceiver().perceive(picture)
    assert found is not None
    return SkinTone().embed(picture, found.landmarks)


def test_largest_and_middlemost() -> None:
    picture = draw_face(OTHER, (1280, 480), (330, 240), 270)
    picture[:, 480:800] = draw_face(ME, (320, 480), (160, 240), 180)
    for rule, expected in ((LARGEST, 330), (CENTRE, 640)):
        perceiver = new_perceiver()
        perceiver.follow(ActorChoice(rule))
        found = perceiver.perceive(picture)
        assert found is not None
        assert found.landmarks[:, 0].mean() == pytest.approx(expected, abs=30)


def test_only_the_remembered_face_is_followed() -> None:
    perceiver = new_perceiver()
    perceiver.follow(ActorChoice(ENROLLED, template(ME), SkinTone()))
    assert side(perceiver, scene(ME, OTHER), 3) == "left"
    assert not perceiver.refused
    # The actor leaves; the other stays, and is never followed.
    assert all(side(perceiver, scene(None, OTHER)) == "none" for _ in range(20))
    assert perceiver.refused
    assert side(perceiver, scene(ME, OTHER), 12) == "left"
    assert not perceiver.refused
    # Somebody else in the actor's very place, without a cut in the rest of the picture.
    assert all(side(perceiver, scene(OTHER, None)) == "none" for _ in range(5))


def test_nobody_is_followed_without_a_memory() -> None:
    perceiver = new_perceiver()
    perceiver.follow(ActorChoice(ENROLLED, None, SkinTone()))
    assert side(perceiver, scene(ME, OTHER), 3) == "none"
    perceiver.follow(ActorChoice(LARGEST))
    assert side(perceiver, scene(ME, OTHER)) == "right"


def test_a_face_is_remembered_while_it_is_alone(tmp_path: Path) -> None:
    enrolment, perceiver = Enrolment(SkinTone()), new_perceiver()
    picture = draw_face(ME)
    seen = perceiver.perceive(picture)
    assert enrolment.add(picture, None, 0) is None
    assert "not seen" in enrolment.advice
    for _ in range(30):
        assert enrolment.add(picture, seen, 1) is None
    assert enrolment.add(picture, seen, 2) is None
    assert "More than one face" in enrolment.advice
    found = None
    for _ in range(70):
        found = found if found is not None else enrolment.add(picture, seen, 1)
    assert found is not None
    file = tmp_path / "actor" / "face.json"
    assert recall(file) is None
    remember(file, found)
    stored = recall(file)
    assert stored is not None
    assert np.abs(stored - found).max() < 1e-5
    assert forget(file)
    assert not forget(file)
    assert recall(file) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"version": 9, "embedding": [1]}', '{"version": 1, "embedding": "x"}']
)
def test_a_damaged_memory_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "face.json"
    file.write_text(text, encoding="utf-8")
    assert recall(file) is None


def test_cuts_are_seen_and_light_is_none() -> None:
    cuts = CutDetector(SCENE)
    here, there = scene(ME, None), np.ascontiguousarray(np.rot90(scene(OTHER, ME), 2))
    assert not cuts.cut(here)
    assert not cuts.cut(here)
    assert not cuts.cut((here * 0.3).astype(np.uint8))
    assert cuts.cut(there)
    assert not cuts.cut(there)
    assert cuts.cut(np.zeros((20, 30, 3), np.uint8))
    assert not cuts.cut(np.zeros((20, 30, 3), np.uint8))


def test_a_cut_starts_another_scene() -> None:
    perceiver = new_perceiver()
    before = perceiver.perceive(scene(ME, None, 260))
    after = perceiver.perceive(scene(None, OTHER, right_px=180)[::, ::-1].copy())
    assert before is not None
    assert after is None or after.scene == before.scene + 1
