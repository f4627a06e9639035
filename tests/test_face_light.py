"""The actor's light: found again when it is known, and not fooled by features."""

from __future__ import annotations

import numpy as np
import pytest

from obs_twin.face.light import LightTransfer
from obs_twin.face.shadows import without_side_shadows
from obs_twin.face.topology import MESH_POINTS
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver


@pytest.fixture
def points() -> np.ndarray:
    """Points all over a dome, as large as a face."""
    rng = np.random.default_rng(5)
    xy = rng.uniform(-0.5, 0.5, (MESH_POINTS, 2))
    xy[4] = 0, 0.1
    z = 0.3 - np.sqrt(np.maximum(1 - (xy**2).sum(1), 0)) * 0.5
    return np.column_stack([xy, z]).astype(np.float32)


@pytest.fixture
def transfer(points: np.ndarray) -> LightTransfer:
    tones = np.full((MESH_POINTS, 3), (100, 130, 180), np.float32)
    return LightTransfer(tones, points, np.full(MESH_POINTS, 0.15, np.float32))


def lit(points: np.ndarray, left: float, right: float) -> np.ndarray:
    share = (points[:, :1] + 0.5).astype(np.float32)
    tones: np.ndarray = np.array([100, 130, 180], np.float32) * (left + (right - left) * share)
    return tones


def test_the_same_light_changes_nothing(transfer: LightTransfer, points: np.ndarray) -> None:
    np.testing.assert_allclose(transfer.gains(lit(points, 1, 1)), 1, atol=0.01)


@pytest.mark.parametrize(("left", "right"), [(0.25, 0.25), (1.4, 1.4), (0.4, 1.3), (1.2, 0.3)])
def test_a_known_light_is_found(transfer: LightTransfer, points: np.ndarray, left: float, right: float) -> None:
    expected = left + (right - left) * (points[:, 0] + 0.5)
    inner = (np.abs(points[:, :2]) < 0.4).all(axis=1)
    got = transfer.gains(lit(points, left, right))
    assert np.median(np.abs(got[inner, 1] / expected[inner] - 1)) < 0.08


def test_a_tint_is_found_channel_by_channel(transfer: LightTransfer, points: np.ndarray) -> None:
    tint = np.array([1.5, 1.0, 0.7], np.float32)
    np.testing.assert_allclose(transfer.gains(lit(points, 1, 1) * tint).mean(0), tint, rtol=0.08)


def test_amount_goes_from_none_to_all(transfer: LightTransfer, points: np.ndarray) -> None:
    tones = lit(points, 0.5, 0.5)
    np.testing.assert_allclose(transfer.gains(tones, 0.0), 1, atol=1e-6)
    half, full = transfer.gains(tones, 0.5).mean(), transfer.gains(tones, 1.0).mean()
    assert half == pytest.approx(np.sqrt(full), rel=0.01)


def test_dark_hair_on_the_forehead_is_no_light(transfer: LightTransfer, points: np.ndarray) -> None:
    tones = lit(points, 1, 1)
    hair = points[:, 1] < -0.3
    tones[hair] = (40, 45, 50)
    got = transfer.gains(tones)
    assert got[~hair].min() > 0.85
    assert got[hair].mean() > 0.7


def test_a_shadow_on_the_side_of_the_photo_is_lifted_and_features_stay() -> None:
    picture = draw_face(DrawnFace(), (640, 640), (320, 320), 400)
    observation = new_perceiver().perceive(picture)
    assert observation is not None
    shaded = picture.copy()
    cheek = observation.landmarks[[93, 132, 234, 123, 147]][:, :2]
    x1, y0, y1 = int(cheek[:, 0].min()) + 35, 200, 420
    shaded[y0:y1, :x1] = shaded[y0:y1, :x1] * 0.35
    lifted = without_side_shadows(shaded, observation, np.full(shaded.shape[:2], 255, np.uint8))
    inner = (slice(260, 340), slice(x1 - 22, x1 - 8))
    assert lifted[inner].mean() > 1.5 * shaded[inner].mean()
    assert lifted[inner].mean() < 1.15 * picture[inner].mean()
    middle = (slice(250, 480), slice(270, 370))
    np.testing.assert_allclose(lifted[middle].mean(), shaded[middle].mean(), rtol=0.03)
