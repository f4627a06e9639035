"""Triangles into pixels: exact cover, exact sampling, planes of gain and coverage."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from obs_twin.face.rasterise import blend, draw, keep_in_front, pack, tint_disc, visible_order

WHITE = np.full((4, 4, 3), 255, np.uint8)
SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (5, 2), elements=st.floats(-12, 52, width=32)),
    st.floats(0.05, 0.95),
)
def test_a_split_triangle_covers_the_same_pixels_once(points: np.ndarray, share: float) -> None:
    # A triangle, and the same cut in two from a corner: no gap, no pixel outside.
    a, b, c = points[:3]
    cut = (a + (b - a) * np.float32(share)).astype(np.float32)
    xy = np.stack([a, b, c, cut])
    whole, parts = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    draw(pack(WHITE), np.ones((4, 2), np.float32), xy, np.array([[0, 1, 2]], np.int32), whole)
    draw(pack(WHITE), np.ones((4, 2), np.float32), xy, np.array([[0, 3, 2], [3, 1, 2]], np.int32), parts)
    differing = (whole != parts).any(axis=2)
    # `cut` is rounded, so pixels whose centre lies on the very edge may fall to either side.
    edge = np.zeros((40, 40), np.uint8)
    cv2.polylines(edge, [np.round(xy[:3]).astype(np.int32)], True, 255, 3)
    assert not (differing & (edge == 0)).any()


def test_an_upright_texture_is_copied_exactly() -> None:
    texture = picture(30, 40)
    corners = np.array([[0, 0], [39, 0], [39, 29], [0, 29]], np.float32)
    out = np.zeros((50, 60, 3), np.uint8)
    draw(pack(texture), corners, corners + np.float32(5), SQUARE, out)
    # Ends owned by the next triangle are left out; the texture's rim is clamped by a twentieth of a texel.
    np.testing.assert_allclose(out[6:33, 6:43].astype(int), texture[1:28, 1:38], atol=1)
    assert not out[:5].any()
    assert not out[35:].any()


@pytest.mark.parametrize("angle_deg", [10, 75, 200])
def test_sampling_agrees_with_opencv(angle_deg: float) -> None:
    texture = picture(64, 64)
    matrix = cv2.getRotationMatrix2D((32, 32), angle_deg, 0.9)
    corners = np.array([[1, 1], [62, 1], [62, 62], [1, 62]], np.float32)
    turned = (corners @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    out = np.zeros((64, 64, 3), np.uint8)
    draw(pack(texture), corners, turned, SQUARE, out)
    expected = cv2.warpAffine(texture, matrix, (64, 64), flags=cv2.INTER_LINEAR)
    drawn = out.any(axis=2)
    assert drawn.mean() > 0.4
    assert np.abs(out[drawn].astype(int) - expected[drawn]).mean() < 1.0


def test_gain_and_marks_are_planes_over_the_triangle() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    xy = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32)
    gain = np.array([[0, 1, 0.5], [2, 1, 0.5], [2, 1, 1.5], [0, 1, 1.5]], np.float32)
    marks = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    out, drawn = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100, 2), np.uint8)
    draw(pack(grey), np.ones((4, 2), np.float32), xy, SQUARE, out, gain, marks, drawn)
    ramp = np.arange(100) / 100
    np.testing.assert_allclose(out[..., 0], np.tile(200 * ramp, (100, 1)), atol=1)
    np.testing.assert_allclose(out[..., 1], 100, atol=1)
    np.testing.assert_allclose(out[..., 2], np.tile(50 + 100 * ramp[:, None], (1, 100)), atol=1)
    np.testing.assert_allclose(drawn[..., 0], np.tile(255 * ramp, (100, 1)), atol=1)
    np.testing.assert_allclose(drawn[..., 1], np.tile(255 * (1 - ramp[:, None]), (1, 100)), atol=1)


def test_bright_gains_end_at_white() -> None:
    xy = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)
    out = np.zeros((9, 9, 3), np.uint8)
    draw(pack(WHITE), np.ones((4, 2), np.float32), xy, SQUARE, out, np.full((4, 3), 30, np.float32), None, None)
    assert (out == 255).all()


@pytest.mark.parametrize("shift", [(-500, 0), (500, 500), (0, -90), (-45, -45), (1e7, 0)])
def test_triangles_beyond_the_picture_do_no_harm(shift: tuple[float, float]) -> None:
    xy = np.array([[0, 0], [80, 0], [80, 80], [0, 80]], np.float32) + np.array(shift, np.float32)
    uv = np.array([[-50, -50], [500, -50], [500, 500], [-50, 500]], np.float32)
    out = np.zeros((64, 64, 3), np.uint8)
    draw(pack(WHITE), uv, xy, SQUARE, out)
    assert set(np.unique(out)) <= {0, 255}


def test_faces_away_are_left_out_and_near_ones_come_last() -> None:
    points = np.array([[0, 0, 5], [0, 9, 5], [9, 0, 5], [0, 0, 1], [0, 9, 1], [9, 0, 1]], np.float32)
    away, far, near = (0, 2, 1), (0, 1, 2), (3, 4, 5)
    order = visible_order(points, np.array([near, away, far], np.int32))
    assert [tuple(t) for t in order.tolist()] == [far, near]


def test_blend_eases_between_the_layers() -> None:
    base, layer = np.full((1, 5, 3), 50, np.uint8), np.full((1, 5, 3), 150, np.uint8)
    coverage = np.array([[0, 64, 128, 191, 255]], np.uint8)
    out = np.empty_like(base)
    blend(base, base, layer, coverage, 1.0, 0.0, out)
    t = coverage[0] / 255
    np.testing.assert_allclose(out[0, :, 1], 50 + 100 * t * t * (3 - 2 * t), atol=1)
    blend(base, base, layer, coverage, 0.5, 0.0, out)
    assert out[0, 4, 0] == 100


def test_blend_keeps_small_differences_as_grain_and_not_large_ones() -> None:
    soft, layer = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    base = soft.copy()
    base[0, 1], base[0, 2] = 103, 180
    out = np.empty_like(base)
    blend(base, soft, layer, np.full((1, 3), 255, np.uint8), 1.0, 5.0, out)
    assert out[0, :, 0].tolist() == [200, 203, 205]


def test_dark_hair_stays_in_front_of_skin_only_inside_its_zone() -> None:
    layer = np.full((1, 4, 3), (120, 150, 200), np.uint8)
    base = layer.copy()
    base[0, 1] = (130, 160, 210)  # skin a little brighter
    base[0, 2:] = (20, 25, 30)
    zone, out = np.array([[255, 255, 255, 0]], np.uint8), np.empty((1, 4), np.uint8)
    keep_in_front(base, layer, zone, 0.25, 0.5, out)
    assert out[0].tolist() == [255, 255, 0, 255]


def test_tint_stays_inside_its_disc_and_leaves_glints() -> None:
    base = np.full((40, 40, 3), 80, np.uint8)
    base[20, 20] = 255
    tint_disc(base, 20.0, 20.0, 8.0, np.array([1.5, 1.0, 0.5], np.float32))
    assert base[16, 20].tolist() == [120, 80, 40]
    assert base[20, 20].tolist() == [255, 255, 255]
    assert base[2, 2].tolist() == [80, 80, 80]
    tint_disc(base, -100.0, 1e4, 8.0, np.ones(3, np.float32))
