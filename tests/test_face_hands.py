"""Hands in front of the face stay in front of the twin."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.hands import HandFinder, hand_mask, under_hands
from obs_twin.face.mesh_twin import MeshTwin
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import photo_from
from obs_twin.zoo.store import ModelStore
from tests.drawn_face import DrawnFace, draw_face
from tests.drawn_hand import draw_hand
from tests.test_face_perceive import new_perceiver

FACE_BOX = (220, 140, 420, 370)
TARGET = DrawnFace(skin=(110, 130, 190), lips=(160, 60, 160), brow=(10, 15, 20), face_width=0.66)


def hand_models() -> tuple[Path, Path]:
    store = ModelStore()
    return store.path("palm_detection_lite"), store.path("hand_landmark_lite")


@pytest.fixture
def finder() -> HandFinder:
    return HandFinder(*hand_models())


def perceiver_with_hands() -> FacePerceiver:
    store = ModelStore()
    names = ("face_detection_short_range", "face_landmark", "iris_landmark")
    palm, hand = hand_models()
    return FacePerceiver(*(store.path(name) for name in names), palm_path=palm, hand_path=hand)


def scene(x: int, y: int, side_px: int = 300) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    picture = draw_face(DrawnFace())
    return picture, draw_hand(picture, x, y, side_px)


def test_joints_lie_on_the_hand(finder: HandFinder) -> None:
    picture, mask = scene(40, 180)
    (hand,) = finder.find(picture, FACE_BOX, changed=False)
    assert hand.shape == (21, 2)
    grown = cv2.dilate(mask, np.ones((15, 15), np.uint8))
    assert all(grown[round(float(y)), round(float(x))] for x, y in hand)
    assert hand[12, 1] < hand[9, 1] < hand[0, 1]  # the fingers are up


def test_a_hand_is_followed_and_let_go(finder: HandFinder) -> None:
    for step in range(10):
        picture, _ = scene(20 + step * 8, 180)
        assert len(finder.find(picture, FACE_BOX, changed=False)) == 1
    face_alone = draw_face(DrawnFace())
    assert finder.find(face_alone, FACE_BOX, changed=False) == ()
    far, _ = scene(20, 180)
    assert finder.find(far, (560, 10, 620, 90), changed=True) == ()


def test_a_face_is_no_hand(finder: HandFinder) -> None:
    picture = draw_face(DrawnFace())
    assert all(finder.find(picture, FACE_BOX, changed=True) == () for _ in range(6))


def test_the_mask_is_the_hand(finder: HandFinder) -> None:
    picture, truth = scene(60, 150)
    hands = finder.find(picture, FACE_BOX, changed=False)
    found = hand_mask(hands, picture) > 127
    known = truth > 127
    assert (found & known).sum() / known.sum() > 0.85
    assert (found & ~known).sum() / known.sum() < 0.35
    assert not hand_mask((), picture).any()


def test_points_under_a_hand_are_known() -> None:
    hand = np.array([[100, 200], *[(60 + 10 * (i % 5), 180 - 8 * i) for i in range(20)]], np.float32)
    points = np.array([[100, 200], [75, 150], [400, 20]], np.float32)
    assert under_hands([hand], points).tolist() == [True, True, False]
    assert not under_hands([], points).any()


def test_the_hand_is_seen_unchanged_before_the_twin() -> None:
    photo = photo_from(draw_face(TARGET, (900, 1000), (450, 500), 600), new_perceiver())
    twin = MeshTwin(photo)
    perceiver = perceiver_with_hands()
    for step in range(8):
        picture, truth = scene(10 + step * 12, 190)
        observation = perceiver.perceive(picture)
        assert observation is not None
    assert len(observation.hands) == 1
    after = picture.copy()
    twin.render(after, observation)
    inside = cv2.erode(truth, np.ones((13, 13), np.uint8)) > 0
    face = np.zeros(truth.shape, np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(observation.landmarks[:468, :2].astype(np.int32)), 255)
    changed = np.abs(after.astype(int) - picture).max(axis=2) > 12
    overlap = inside & (face > 0)
    assert overlap.sum() > 500
    assert changed[overlap].mean() < 0.12
    assert changed[(face > 0) & (truth == 0)].mean() > 0.07


def test_a_face_behind_a_hand_is_held_for_a_moment() -> None:
    perceiver = perceiver_with_hands()
    for step in range(14):
        picture, _ = scene(-20 + step * 14, 150)
        observation = perceiver.perceive(picture)
        assert observation is not None
    empty = np.full_like(picture, 120)
    assert perceiver.perceive(empty) is None
