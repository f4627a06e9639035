"""Replacing, blurring and cutting out, on pictures mixed from a known person and a known room."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.background.compose import blur, cut_out, fit, replace

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


def soft_disc(width: int, height: int, softness_px: float = 6.0) -> F32:
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot(x - width / 2, y - height / 2) - min(width, height) / 3.5
    return np.clip(0.5 - distance / (2 * softness_px), 0, 1).astype(np.float32)


def textured(width: int, height: int, base: tuple[int, int, int], seed: int) -> npt.NDArray[np.float64]:
    """A colour with soft blotches of +- 12 levels."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (height, width, 3)), (0, 0), 6)
    return np.clip(np.array(base) + 12 * noise / noise.std(), 0, 255)


def mixed(person: npt.ArrayLike, room: npt.ArrayLike, alpha: F32) -> U8:
    a = alpha[..., None]
    return np.rint(a * np.asarray(person) + (1 - a) * np.asarray(room)).astype(np.uint8)


def test_replaced_outline_shows_no_rim_of_the_old_room() -> None:
    width, height = 640, 360
    alpha = soft_disc(width, height, 4)
    person, room = textured(width, height, (60, 70, 90), 1), textured(width, height, (90, 220, 110), 2)
    wanted = textured(width, height, (170, 120, 150), 3)
    frame = mixed(person, room, alpha)
    ideal = mixed(person, wanted, alpha).astype(float)
    naive = mixed(frame, wanted, alpha).astype(float)
    replace(frame, alpha, fit(wanted.astype(np.uint8), width, height), light_wrap=0.0)
    rim = (alpha > 0.02) & (alpha < 0.98)
    assert np.abs(frame - ideal)[rim].mean() < 0.35 * np.abs(naive - ideal)[rim].mean()


def test_colour_that_bled_into_the_person_is_taken_back() -> None:
    """Cameras and 4:2:0 smear colour, not brightness, over the outline: a green wall tints the hair's rim."""
    width, height = 640, 360
    alpha = soft_disc(width, height, 1.0)
    person, room = textured(width, height, (60, 70, 90), 1), textured(width, height, (60, 200, 80), 2)
    sharp = cv2.cvtColor(mixed(person, room, alpha), cv2.COLOR_BGR2YCrCb)
    sharp[..., 1:] = cv2.GaussianBlur(sharp[..., 1:], (0, 0), 3.0)
    frame = cv2.cvtColor(sharp, cv2.COLOR_YCrCb2BGR)
    wanted = np.full((height, width, 3), 90, np.uint8)
    ideal, naive = mixed(person, wanted, alpha).astype(float), mixed(frame, wanted, alpha).astype(float)
    replace(frame, alpha, fit(wanted, width, height), light_wrap=0.0)
    rim = (alpha > 0.5) & (cv2.erode((alpha > 0.5).astype(np.uint8), np.ones((9, 9))) == 0)
    assert np.abs(frame - ideal)[rim].mean() < 0.7 * np.abs(naive - ideal)[rim].mean()


def test_replace_leaves_the_person_and_shows_the_picture() -> None:
    width, height = 640, 360
    alpha = soft_disc(width, height, 4)
    frame = textured(width, height, (60, 70, 90), 1).astype(np.uint8)
    before, backdrop = frame.copy(), fit(textured(width, height, (200, 180, 40), 2).astype(np.uint8), width, height)
    replace(frame, alpha, backdrop)
    deep = cv2.erode((alpha == 1).astype(np.uint8), np.ones((61, 61))) > 0
    assert deep.sum() > 1000
    np.testing.assert_array_equal(frame[deep], before[deep])
    np.testing.assert_array_equal(frame[alpha == 0], backdrop.picture[alpha == 0])


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 300), st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_flat_colours_mix_exactly_at_any_size_and_matte(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alpha = soft_disc(width, height, rng.uniform(0.5, 40))
    person, room, wanted = rng.integers(0, 256, (3, 3))
    frame = mixed(person, room, alpha)
    backdrop = fit(np.broadcast_to(wanted, (7, 5, 3)).astype(np.uint8), width, height)
    replace(frame, alpha, backdrop, light_wrap=0.0)
    sure = alpha == 1
    np.testing.assert_array_equal(frame[sure], np.broadcast_to(person, frame.shape)[sure])
    np.testing.assert_array_equal(frame[alpha == 0], np.broadcast_to(wanted, frame.shape)[alpha == 0])


def test_light_wrap_brightens_only_the_outline() -> None:
    width, height = 640, 360
    alpha = soft_disc(width, height, 3)
    dark = np.full((height, width, 3), 40, np.uint8)
    backdrop = fit(np.full((height, width, 3), 240, np.uint8), width, height)
    plain, wrapped = dark.copy(), dark.copy()
    replace(plain, alpha, backdrop, light_wrap=0.0)
    replace(wrapped, alpha, backdrop, light_wrap=1.0)
    gain = wrapped.astype(int) - plain
    assert gain.min() >= 0
    assert 10 < gain.max() < 120
    assert gain[height // 2, width // 2].max() == 0


def test_blur_keeps_the_persons_colour_out_of_the_room() -> None:
    width, height = 640, 360
    alpha = soft_disc(width, height, 1.5)
    frame = mixed((30, 30, 230), (120, 120, 120), alpha)
    blur(frame, alpha, 1.0)
    near = (alpha == 0) & (cv2.dilate((alpha > 0).astype(np.uint8), np.ones((9, 9))) > 0)
    assert np.abs(frame[near].astype(int) - 120).max() <= 6
    np.testing.assert_array_equal(frame[height // 2, width // 2], (30, 30, 230))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_blur_softens_more_the_stronger(strength: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    blur(frame, np.zeros((360, 640), np.float32), strength)
    assert frame.std() < (20, 9, 6)[round(2 * strength)]
    assert frame.mean() == pytest.approx(127.5, abs=2)


def test_cut_out_lays_cleanly_over_anything_and_hides_the_room() -> None:
    width, height = 640, 360
    alpha = soft_disc(width, height)
    person, room = textured(width, height, (60, 70, 90), 1), textured(width, height, (90, 220, 110), 2)
    frame = mixed(person, room, alpha)
    coverage = cut_out(frame, alpha)
    assert np.abs(coverage / 255 - alpha).max() <= 0.5 / 255 + 1e-6
    over = mixed(frame, (255, 0, 255), (coverage / 255).astype(np.float32)).astype(float)
    ideal = mixed(person, (255, 0, 255), alpha).astype(float)
    assert np.abs(over - ideal).mean() < 1.5
    far = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((31, 31))) == 0
    assert not frame[far].any()


@pytest.mark.parametrize("shape", [(100, 400), (400, 100), (720, 1280), (3, 3)])
def test_fit_covers_without_distorting(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    picture[:, shape[1] // 2 :] = 255
    fitted = fit(picture, 640, 360).picture
    assert fitted.shape == (360, 640, 3)
    if min(shape) > 3:
        assert fitted[:, :300].max() < 20
        assert fitted[:, 340:].min() > 235


def test_wrong_arrays_are_refused() -> None:
    frame = np.zeros((36, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="the backdrop is fitted for"):
        replace(frame, np.zeros((36, 64), np.float32), fit(frame, 32, 18))
    with pytest.raises(ValueError, match="expected a float32 matte"):
        blur(frame, np.zeros((36, 64)), 0.5)  # type: ignore[arg-type]
