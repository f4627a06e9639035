"""The badge, the slate and the card: there, the same in every frame, and readable."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.twin.disclosure import CORNERS, badge_for, badge_text, card, draw_badge, slate
from obs_twin.twin.slates import AMBER, INK, WHITE

SIZES = [(320, 180), (640, 360), (640, 480), (1280, 720), (1920, 1080), (720, 1280)]
Picture = npt.NDArray[np.uint8]


def noise(width: int, height: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def luminance(bgr: npt.NDArray[np.uint8] | tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Relative luminance, WCAG 2.2."""
    c = np.asarray(bgr, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    weighted: npt.NDArray[np.float64] = linear @ np.array([0.0722, 0.7152, 0.2126])
    return weighted


def contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("corner", CORNERS)
def test_badge_is_the_same_in_every_frame(width: int, height: int, corner: str) -> None:
    badge = badge_for(width, height, "Ada Lovelace", corner=corner)
    x0, y0, x1, y1 = badge.rect
    side = badge.corner_px
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert not any(value % 2 for value in badge.rect)
    assert (x0 + x1 > width) == corner.endswith("right")
    assert (y0 + y1 > height) == corner.startswith("bottom")
    for seed in range(2):
        frame = noise(width, height, seed)
        before = frame.copy()
        assert draw_badge(frame, "Ada Lovelace", corner=corner) == badge.rect
        assert np.array_equal(frame[y0 + side : y1 - side, x0:x1], badge.plate[side:-side])
        assert np.array_equal(frame[y0:y1, x0 + side : x1 - side], badge.plate[:, side:-side])
        frame[y0:y1, x0:x1] = before[y0:y1, x0:x1]
        assert np.array_equal(frame, before)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_badge_can_be_read_in_a_thumbnail(width: int, height: int) -> None:
    frame = np.full((height, width, 3), 255, np.uint8)
    x0, y0, x1, y1 = draw_badge(frame, "Ada Lovelace")
    scale = 320 / width
    size = (320, round(height * scale))
    thumbnail = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    left, top, right, bottom = (round(value * scale) for value in (x0, y0, x1, y1))
    inner = thumbnail[top + 2 : bottom - 2, left + 4 : right - 2]
    light = luminance(inner)
    plate = float(np.median(light))
    # Rows of letters: each line must reach a strong contrast somewhere, over at least 4 rows of pixels.
    written = light.max(axis=1) > plate + 0.3
    starts = np.flatnonzero(np.diff(np.concatenate([[0], written.astype(np.int8)])) == 1)
    ends = np.flatnonzero(np.diff(np.concatenate([written.astype(np.int8), [0]])) == -1)
    lines = [(a, b + 1) for a, b in zip(starts, ends, strict=True) if b + 1 - a >= 4]
    assert len(lines) >= 3
    for a, b in lines:
        assert contrast(float(np.percentile(light[a:b], 98)), plate) >= 4.5


def test_lines_are_at_least_four_per_cent_of_the_height() -> None:
    short = badge_for(1280, 720, "A")
    longer = badge_for(1280, 720, "Maximiliane von Hohenstein-Waldburg zu Altenburg")
    assert longer.plate.shape[0] - short.plate.shape[0] >= 0.04 * 720


def test_colours_meet_the_strictest_contrast() -> None:
    plate = float(luminance(INK))
    assert contrast(float(luminance(WHITE)), plate) >= 7
    assert contrast(float(luminance(AMBER)), plate) >= 7


def test_words() -> None:
    assert badge_text("Ada", False) == "AI MODIFIED – digital twin of Ada, with consent"
    assert badge_text("Nova", True) == "AI MODIFIED – digital twin of Nova, a synthetic person"
    with_consent = badge_for(1280, 720, "Nova").plate
    as_synthetic = badge_for(1280, 720, "Nova", synthetic=True).plate
    assert with_consent.shape != as_synthetic.shape or not np.array_equal(with_consent, as_synthetic)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    name=st.text(min_size=1, max_size=80),
    corner=st.sampled_from(CORNERS),
)
def test_any_size_and_name(width: int, height: int, name: str, corner: str) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = draw_badge(frame, name, corner=corner)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert frame[y0:y1, x0:x1].any()


@pytest.mark.parametrize(
    ("width", "height"), [(320, 180), (1280, 720), (720, 1280), (16, 16), (1, 1), (900, 30), (30, 900)]
)
def test_pages(width: int, height: int) -> None:
    first = slate(width, height, "Ada Lovelace", operator="Grace Hopper")
    pages = [
        first,
        slate(width, height, "Nova", synthetic=True),
        card(width, height, "The twin is paused", ["The consent ended.", "The presenter is not shown."]),
        card(width, height, "Word " * 30, ["A very long reason. " * 40] * 3),
        card(width, height, "No reason", []),
    ]
    for page in pages:
        assert page.shape == (height, width, 3)
        assert page.dtype == np.uint8
        assert not page.flags.writeable
    assert slate(width, height, "Ada Lovelace", operator="Grace Hopper") is first
    if min(width, height) >= 180:
        assert not np.array_equal(pages[0], pages[1])
        light = luminance(first)
        assert contrast(float(np.percentile(light, 99.5)), float(np.median(light))) >= 7


def test_unknown_corner() -> None:
    with pytest.raises(ValueError, match="top-right"):
        draw_badge(np.zeros((90, 160, 3), np.uint8), "Ada", corner="middle")
