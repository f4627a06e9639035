"""Dark frames of glasses are found as a whole, and nothing else is taken for them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.front import front_mask
from obs_twin.face.observation import FaceObservation
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

Image = npt.NDArray[np.uint8]
CENTRE, HEIGHT = (320, 240), 260


def with_glasses(picture: Image) -> tuple[Image, Image]:
    truth = np.zeros(picture.shape[:2], np.uint8)
    for side in (-1, 1):
        x, y = CENTRE[0] + side * 0.165 * HEIGHT, CENTRE[1] - 0.05 * HEIGHT
        cv2.ellipse(truth, (round(x), round(y)), (32, 27), 0, 0, 360, 255, 5, cv2.LINE_AA)
        outer, ear = (round(x + side * 32), round(y - 5)), (round(CENTRE[0] + side * 0.36 * HEIGHT), round(y - 8))
        cv2.line(truth, outer, ear, 255, 5, cv2.LINE_AA)
    cv2.line(truth, (CENTRE[0] - 11, round(y - 3)), (CENTRE[0] + 11, round(y - 3)), 255, 5, cv2.LINE_AA)
    share = truth[..., None] / np.float32(255)
    return np.round(picture * (1 - share) + np.array([30, 26, 28]) * share).astype(np.uint8), truth


def after_a_while(picture: Image) -> FaceObservation:
    perceiver = new_perceiver()
    for _ in range(12):
        seen = perceiver.perceive(picture)
    assert seen is not None
    return seen


def test_frames_stay_in_front_and_skin_does_not() -> None:
    picture, truth = with_glasses(draw_face(DrawnFace(), centre=CENTRE, height_px=HEIGHT))
    seen = after_a_while(picture)
    assert seen.occlusion is not None
    assert seen.occlusion.glasses is not None
    assert seen.covered == 0
    mask = front_mask(seen, np.zeros(2, np.float32), picture) > 100
    assert mask[truth > 200].mean() > 0.75
    assert mask[cv2.dilate(truth, np.ones((9, 9), np.uint8)) == 0].mean() < 0.005


def test_a_face_without_glasses_has_none() -> None:
    for face in (DrawnFace(), DrawnFace(skin=(60, 80, 120), brow=(10, 12, 15)), DrawnFace(mouth_open=0.7)):
        seen = after_a_while(draw_face(face, centre=CENTRE, height_px=HEIGHT))
        assert seen.occlusion is None
