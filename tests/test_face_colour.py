"""Colour transfer: what each mode promises to match does match, and nothing runs away."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.face.colour import MODES, transfer

FloatArray = npt.NDArray[np.float32]
CHANGING = [mode for mode in MODES if mode != "none"]


def picture(seed: int, mean: tuple[float, ...] = (0.4, 0.5, 0.6), spread: float = 0.08, side: int = 96) -> FloatArray:
    """Smooth blobs whose colours have about this mean and spread."""
    rng = np.random.default_rng(seed)
    blobs = cv2.GaussianBlur(rng.standard_normal((side, side, 3)).astype(np.float32), (0, 0), 2)
    mixed = blobs @ rng.normal(0, 1, (3, 3)).astype(np.float32)
    mixed = (mixed - mixed.mean((0, 1))) / mixed.std((0, 1)) * np.float32(spread) + np.float32(mean)
    return np.asarray(np.clip(mixed, 0, 1), np.float32)


def covariance(p: FloatArray) -> npt.NDArray[np.float64]:
    return np.asarray(np.cov(p.reshape(-1, 3).T.astype(np.float64)))


@pytest.mark.parametrize("mode", MODES)
def test_like_itself_changes_nothing(mode: str) -> None:
    a = picture(1)
    np.testing.assert_allclose(transfer(mode, a, a), a, atol=1.1 / 255)


@pytest.mark.parametrize("mode", CHANGING)
def test_the_mean_is_matched(mode: str) -> None:
    a, b = picture(1), picture(2, (0.25, 0.35, 0.7), 0.05)
    out = transfer(mode, a, b)
    np.testing.assert_allclose(out.mean((0, 1)), b.mean((0, 1)), atol=0.012)


@pytest.mark.parametrize("mode", ["lct", "mkl", "idt", "sot"])
def test_the_covariance_is_matched(mode: str) -> None:
    a, b = picture(1), picture(2, (0.45, 0.5, 0.55), 0.06)
    before = np.linalg.norm(covariance(a) - covariance(b))
    after = np.linalg.norm(covariance(transfer(mode, a, b)) - covariance(b))
    assert after < (0.25 if mode in ("lct", "mkl") else 0.45) * before


def test_rct_matches_the_spread_of_each_channel_of_lab() -> None:
    a, b = picture(1), picture(2, (0.45, 0.5, 0.55), 0.05)
    lab_out, lab_like = (cv2.cvtColor(p, cv2.COLOR_BGR2LAB).reshape(-1, 3) for p in (transfer("rct", a, b), b))
    np.testing.assert_allclose(lab_out.mean(0), lab_like.mean(0), atol=1.0)
    np.testing.assert_allclose(lab_out.std(0), lab_like.std(0), rtol=0.12)


@pytest.mark.parametrize("mode", ["idt", "sot"])
def test_the_whole_distribution_is_matched(mode: str) -> None:
    """Two-humped colours become one-humped, which no affine map can do."""
    rng = np.random.default_rng(3)
    humps = np.where(rng.random((96, 96, 1)) < 0.5, np.float32(0.35), np.float32(0.65))
    a = (humps + rng.normal(0, 0.02, (96, 96, 3))).clip(0, 1).astype(np.float32)
    b = rng.normal(0.5, 0.1, (96, 96, 3)).clip(0, 1).astype(np.float32)
    levels = np.linspace(0.02, 0.98, 49)

    def apart(p: FloatArray) -> float:
        grey, wanted = (np.quantile(q.mean(2), levels) for q in (p, b))
        return float(np.abs(grey - wanted).mean())

    assert apart(transfer(mode, a, b)) < 0.75 * apart(transfer("mkl", a, b))


@pytest.mark.parametrize("mode", CHANGING)
def test_only_what_is_in_the_mask_is_compared(mode: str) -> None:
    a, b = picture(1), picture(2, (0.3, 0.4, 0.5), 0.05)
    mask = np.zeros((96, 96), np.float32)
    mask[20:70, 20:70] = 1
    wild_a, wild_b = a.copy(), b.copy()
    wild_a[mask == 0], wild_b[mask == 0] = (0, 1, 0), (1, 0, 1)
    out, wild = transfer(mode, a, b, mask), transfer(mode, wild_a, wild_b, mask)
    np.testing.assert_allclose(wild[20:70, 20:70], out[20:70, 20:70], atol=1e-5)


@pytest.mark.parametrize("mode", CHANGING)
def test_the_amount_leads_from_nothing_to_all(mode: str) -> None:
    a, b = picture(1), picture(2, (0.3, 0.4, 0.5), 0.05)
    assert transfer(mode, a, b, None, 0.0) is a
    half, full = transfer(mode, a, b, None, 0.5), transfer(mode, a, b)
    np.testing.assert_allclose(half, np.clip((a + full) / 2, 0, 1), atol=0.02)


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(CHANGING),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    spreads=st.tuples(st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from([0.0, 0.01, 0.3])),
    means=st.tuples(st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.sampled_from([0.0, 0.02, 0.5, 1.0])),
)
def test_nothing_runs_away(
    mode: str, seeds: tuple[int, int], spreads: tuple[float, float], means: tuple[float, float]
) -> None:
    a, b = (picture(s, (m,) * 3, p, 40) for s, m, p in zip(seeds, means, spreads, strict=True))
    out = transfer(mode, a, b)
    assert out.dtype == np.float32
    assert out.shape == a.shape
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    # Steps between neighbours are at most a few times larger: no noise is pulled up into a pattern.
    steps, before = (float(np.abs(np.diff(p, axis=0)).max()) for p in (out, a))
    assert steps <= 6 * before + 0.05


def test_too_small_a_mask_changes_nothing() -> None:
    a, b = picture(1), picture(2)
    assert transfer("rct", a, b, np.zeros((96, 96), np.float32)) is a


def test_nonsense_is_refused_in_words() -> None:
    a = picture(1)
    with pytest.raises(ValueError, match="one of none, rct"):
        transfer("mix", a, a)
    with pytest.raises(ValueError, match="sizes should be equal"):
        transfer("rct", a, a[:50])
