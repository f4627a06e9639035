"""BlazeFace: anchors, decoding, merging; on a painted face whose place is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obs_twin.face.detect import FaceDetector, anchor_centres, overlap
from obs_twin.zoo.store import ModelStore
from tests.drawn_face import DrawnFace, draw_face


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(ModelStore().path("face_detection_short_range"))


def test_anchors_cover_the_input_evenly() -> None:
    centres = anchor_centres()
    assert centres.shape == (896, 2)
    np.testing.assert_allclose(centres.mean(0), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(centres[:2], [[1 / 32, 1 / 32]] * 2)
    np.testing.assert_allclose(centres[512:518], [[1 / 16, 1 / 16]] * 6)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640)])
def test_eyes_and_mouth_are_where_they_were_painted(detector: FaceDetector, size: tuple[int, int]) -> None:
    centre, height = (size[0] * 0.45, size[1] * 0.5), 240.0
    (found,) = detector.detect(draw_face(DrawnFace(), size, centre, height))
    right_eye, left_eye, _, mouth = found.keypoints[:4]
    expected = [(-0.165, -0.08), (0.165, -0.08), (0.0, 0.27)]
    for point, (x, y) in zip((right_eye, left_eye, mouth), expected, strict=True):
        assert np.hypot(point[0] - centre[0] - x * height, point[1] - centre[1] - y * height) < 0.06 * height


def test_a_region_is_searched_in_the_frame_s_own_pixels(detector: FaceDetector) -> None:
    picture = draw_face(DrawnFace(), (1280, 720), (1000, 300), 90)
    (found,) = detector.detect(picture, (850, 150, 1150, 450))
    x0, y0, x1, y1 = found.box
    assert x0 < 1000 < x1
    assert y0 < 310 < y1
    assert 40 < x1 - x0 < 120


def test_nothing_is_found_where_there_is_nothing(detector: FaceDetector) -> None:
    assert detector.detect(np.full((480, 640, 3), 120, np.uint8)) == []
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []
    assert detector.detect(np.zeros((300, 2, 3), np.uint8)) == []


def test_a_file_that_is_no_network_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"not a network" * 10)
    for path in (tmp_path / "broken.tflite", tmp_path / "missing.tflite", ModelStore().path("iris_landmark")):
        with pytest.raises(ValueError, match="Fetch the models again"):
            FaceDetector(path)


corner = st.floats(-1e4, 1e4)
side = st.floats(1, 1e4)


@given(corner, corner, side, side, corner, corner, side, side)
def test_overlap_is_a_symmetric_share(
    x: float, y: float, w: float, h: float, u: float, v: float, r: float, s: float
) -> None:
    a, b = (x, y, x + w, y + h), (u, v, u + r, v + s)
    assert 0 <= overlap(a, b) <= 1 + 1e-9
    assert overlap(a, b) == pytest.approx(overlap(b, a))
    assert overlap(a, a) == pytest.approx(1)
