"""The matte on a drawn person whose exact outline is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obs_twin.background.grid import axis
from obs_twin.background.matte import Matte
from obs_twin.zoo.store import ModelStore
from tests.drawn_person import draw_person

WIDTH, HEIGHT = 640, 360


@pytest.fixture(scope="module")
def model_path() -> Path:
    return ModelStore().path("selfie_segmentation_landscape")


@pytest.fixture
def matte(model_path: Path) -> Matte:
    return Matte(model_path)


def noisy(picture: npt.NDArray[np.uint8], seed: int, sigma: float = 5.0) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def overlap(found: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> float:
    a, b = found > 0.5, truth > 0.5
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (641, 481), (360, 640), (256, 144), (97, 61)])
def test_outline_is_found_at_any_size(matte: Matte, width: int, height: int) -> None:
    picture, truth = draw_person(width, height)
    alpha = matte.alpha(picture)
    assert alpha.shape == (height, width)
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert overlap(alpha, truth) > (0.98 if width > height else 0.9)


def test_edge_lies_where_the_picture_has_it(matte: Matte) -> None:
    """Far finer than the network's own cells of 5 x 5 pixels."""
    picture, truth = draw_person(1280, 720)
    wrong = np.abs(matte.alpha(picture) - truth) > 0.5
    outline_px = 2 * 720
    assert wrong.sum() / outline_px < 0.5


def test_size_may_change_from_frame_to_frame(matte: Matte) -> None:
    for width, height in ((640, 360), (320, 240), (640, 360)):
        picture, truth = draw_person(width, height)
        assert overlap(matte.alpha(picture), truth) > 0.95


def test_nothing_trails_behind_a_moving_person(matte: Matte) -> None:
    for step in range(8):
        picture, truth = draw_person(WIDTH, HEIGHT, shift_px=-120 + 35 * step)
        alpha = matte.alpha(noisy(picture, step))
        assert overlap(alpha, truth) > 0.97


def test_doubtful_places_are_steadied_while_nothing_moves(model_path: Path) -> None:
    """Before a cluttered wall the network wavers from one noisy frame to the next."""
    picture, truth = draw_person(WIDTH, HEIGHT)
    clutter, rng = picture.copy(), np.random.default_rng(1)
    for _ in range(40):
        x, y, rx, ry = (int(rng.integers(low, high)) for low, high in ((0, 640), (0, 360), (8, 50), (8, 70)))
        cv2.ellipse(clutter, (x, y), (rx, ry), 0, 0, 360, rng.integers(20, 230, 3).tolist(), -1, cv2.LINE_AA)
    picture = np.where(truth[..., None] > 0.5, picture, clutter)
    frames = [noisy(picture, seed, sigma=12.0) for seed in range(10)]

    def swim(matte: Matte, forget: bool) -> float:
        previous, total = None, 0.0
        for frame in frames:
            if forget:
                matte.reset()
            alpha = matte.alpha(frame)
            total += 0.0 if previous is None else float(np.abs(alpha - previous).mean())
            previous = alpha
        return total

    assert swim(Matte(model_path), forget=False) < 0.9 * swim(Matte(model_path), forget=True)


def test_reset_makes_the_next_frame_the_first(matte: Matte, model_path: Path) -> None:
    first, _ = draw_person(WIDTH, HEIGHT, shift_px=-100)
    second, _ = draw_person(WIDTH, HEIGHT, shift_px=100)
    matte.alpha(first)
    matte.reset()
    np.testing.assert_array_equal(matte.alpha(second), Matte(model_path).alpha(second))


def test_writes_into_the_array_it_is_given(matte: Matte) -> None:
    picture, _ = draw_person(WIDTH, HEIGHT)
    out = np.full((HEIGHT, WIDTH), -1, np.float32)
    assert matte.alpha(picture, out) is out
    assert out.min() >= 0


def test_empty_room_is_empty(matte: Matte) -> None:
    assert matte.alpha(np.full((HEIGHT, WIDTH, 3), 120, np.uint8)).mean() < 0.05


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be opened as a segmentation model"):
        Matte(tmp_path / "missing.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="cannot be opened as a segmentation model"):
        Matte(broken)
    with pytest.raises(ValueError, match="is no selfie segmentation model"):
        Matte(ModelStore().path("face_landmark"))


@given(st.integers(1, 400), st.integers(1, 60))
def test_grid_interpolates_a_ramp_exactly(pixels: int, nodes: int) -> None:
    starts, spans, weights = axis(pixels, nodes)
    assert (spans == np.searchsorted(starts, np.arange(pixels), side="right") - 1).all()
    assert starts[0] == 0
    assert starts[-1] == pixels
    assert (np.diff(starts) >= 0).all()
    assert ((weights >= 0) & (weights < 1.0001)).all()
    centres = (np.arange(nodes) + 0.5) * pixels / nodes
    for span in range(nodes + 1):
        near, far = centres[max(span - 1, 0)], centres[min(span, nodes - 1)]
        for pixel in range(starts[span], starts[span + 1]):
            value = near + weights[pixel] * (far - near)
            expected = np.clip(pixel + 0.5, centres[0], centres[-1])
            assert value == pytest.approx(expected, abs=1e-3)
