"""Detail by octaves: taken apart and put together, measured and matched."""

import cv2
import numpy as np
import pytest

from obs_twin.face.appearance import motion_blur
from obs_twin.face.detail import OCTAVES, assembled, gains, octaves, strengths
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

ALL = (slice(0, 1000), slice(0, 1000))
F32 = np.float32


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Blobs of many sizes, as a sharp photo has them."""
    rng = np.random.default_rng(3)
    layers = [cv2.GaussianBlur(rng.normal(0, 1, (180, 150, 3)), (0, 0), s) * s * 22 for s in (0.8, 1.6, 3.2, 6.4)]
    return np.clip(120 + sum(layers), 0, 255).astype(np.uint8)


def test_gains_of_one_give_the_picture_back(picture: np.ndarray) -> None:
    out = np.empty_like(picture)
    assembled(octaves(picture), np.ones(OCTAVES, F32), out)
    np.testing.assert_array_equal(out, picture)


def test_odd_and_tiny_sizes() -> None:
    for shape in ((1, 1, 3), (3, 2, 3), (7, 13, 3)):
        tiny = np.full(shape, 90, np.uint8)
        out = np.empty_like(tiny)
        assembled(octaves(tiny), np.full(OCTAVES, 0.5, F32), out)
        np.testing.assert_array_equal(out, tiny)


@pytest.mark.parametrize("sigma_px", [0.8, 1.5])
def test_a_sharp_picture_becomes_as_strong_as_a_soft_one(picture: np.ndarray, sigma_px: float) -> None:
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.uint8)
    wanted = strengths(octaves(soft), ALL)
    parts = octaves(picture)
    out = np.empty_like(picture)
    assembled(parts, gains(strengths(parts, ALL), wanted, 1.0), out)
    now = strengths(octaves(out), ALL)
    assert (strengths(parts, ALL)[:2] > 1.2 * wanted[:2]).all()
    assert (np.abs(np.log(now / wanted)) < np.abs(np.log(strengths(parts, ALL) / wanted)) * 0.5 + 0.1).all()


def test_strength_does_not_depend_on_the_light(picture: np.ndarray) -> None:
    dark = np.asarray(picture * 0.5, np.uint8)
    assert strengths(octaves(dark), ALL) == pytest.approx(strengths(octaves(picture), ALL), rel=0.1)
    assert np.isnan(strengths(octaves(np.zeros((20, 20, 3), np.uint8)), ALL)).all()


def test_limits_and_what_is_unknown() -> None:
    own = np.full(OCTAVES, 0.02, F32)
    assert gains(own, np.array([1e-4, 0.02, 1.0], F32), 1.0) == pytest.approx([0.1, 0.83, 1.4], abs=0.01)
    # Unknown octaves are softened with the next coarser one, never sharpened.
    assert gains(own, np.array([np.nan, np.nan, 0.01], F32), 1.0) == pytest.approx([0.5, 0.5, 0.5])
    assert gains(own, np.array([np.nan, np.nan, 0.026], F32), 1.0) == pytest.approx([1.0, 1.0, 1.3])
    assert gains(own, np.full(OCTAVES, np.nan, F32), 1.0) == pytest.approx([1, 1, 1])
    assert gains(own, np.array([np.nan, np.nan, 0.01], F32), 0.5) == pytest.approx([0.75, 0.75, 0.75])


def test_blur_by_movement_is_no_longer_than_the_movement() -> None:
    still = np.full(OCTAVES, 0.02, F32)
    blurred = still * np.array([0.5, 0.6, 0.75], F32)
    np.testing.assert_allclose(motion_blur(np.array([-30, 40], F32), blurred, still), [-8.83, 11.77], rtol=0.01)
    np.testing.assert_allclose(motion_blur(np.array([0, 6], F32), blurred, still), [0, 6], rtol=0.01)
    assert not motion_blur(np.array([30, 0], F32), still, still).any()
    assert not motion_blur(np.array([30, 0], F32), still, np.full(OCTAVES, np.nan, F32)).any()


def test_a_face_that_moves_quickly_is_seen_to_be_blurred() -> None:
    drawn = draw_face(DrawnFace(), (640, 480), (320, 240), 300)
    perceiver = new_perceiver()
    for step in range(14):
        moved = max(step - 9, 0) * 14
        frame = np.roll(drawn, moved, axis=1)
        if moved:
            frame = np.asarray(cv2.blur(frame, (11, 1)), np.uint8)
        seen = perceiver.perceive(frame)
        assert seen is not None
        across, down = seen.appearance.motion
        if not moved:
            assert across == down == 0
    assert 3 < across <= 15
    assert abs(down) < 3
