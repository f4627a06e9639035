"""Hair is found above the face, and only hair changes its colour."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.hair import COLOURS, Hair, HairFinder, hair_colour, tint
from obs_twin.face.observation import FaceObservation
from obs_twin.host.filters import HAIR_COLOURS
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
BACKGROUND = (150, 140, 120)


def person(face: DrawnFace) -> tuple[Image, npt.NDArray[np.float32], FaceObservation]:
    picture = draw_face(face, background=BACKGROUND)
    apart = np.abs(picture.astype(int) - BACKGROUND).max(axis=2) > 12
    alpha = cv2.morphologyEx(apart.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)).astype(np.float32)
    seen = new_perceiver().perceive(picture)
    assert seen is not None
    return picture, alpha, seen


def found(face: DrawnFace) -> tuple[Image, FaceObservation, Hair | None]:
    picture, alpha, seen = person(face)
    finder = HairFinder()
    for _ in range(12):
        hair = finder.find(picture, seen, alpha)
    return picture, seen, hair


def test_hair_changes_and_the_rest_stays() -> None:
    picture, seen, hair = found(DrawnFace())
    assert hair is not None
    assert hair.lab[0] < 30
    after = picture.copy()
    x0, y0, x1, y1 = tint(after, hair, np.array(COLOURS["blond"], np.float32), 1.0)
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480
    changed = np.abs(after.astype(int) - picture).max(axis=2) > 10
    is_hair = np.abs(picture.astype(int) - DrawnFace().hair).max(axis=2) < 6
    is_hair[round(seen.landmarks[1, 1]) :] = False
    assert changed[is_hair].mean() > 0.85
    skin = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(skin, cv2.convexHull(seen.landmarks[[50, 280, 152, 205, 425], :2].astype(np.int32)), 255)
    assert changed[skin > 0].mean() < 0.01
    assert not changed[:, :100].any()
    lightness = cv2.cvtColor(after, cv2.COLOR_BGR2LAB)[..., 0][is_hair & changed]
    assert np.median(lightness) * 100 / 255 > 50


def test_no_strength_no_change() -> None:
    picture, _, hair = found(DrawnFace())
    assert hair is not None
    after = picture.copy()
    assert tint(after, hair, np.array(COLOURS["red"], np.float32), 0.0) == (0, 0, 0, 0)
    assert np.array_equal(after, picture)


def test_a_bald_head_has_no_hair() -> None:
    skin = DrawnFace().skin
    _, _, hair = found(DrawnFace(hair=(skin[0], skin[1], skin[2])))
    assert hair is None


def test_the_colour_of_a_photo() -> None:
    picture, alpha, seen = person(DrawnFace(hair=(40, 60, 150)))
    lab = hair_colour(picture, seen, alpha)
    assert lab is not None
    assert lab[1] > 15
    assert hair_colour(picture, seen, np.zeros_like(alpha)) is None


def test_the_pane_offers_the_colours_that_exist() -> None:
    assert tuple(COLOURS) == HAIR_COLOURS
